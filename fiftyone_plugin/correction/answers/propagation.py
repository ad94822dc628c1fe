"""What the answers so far say about superpixels that nobody was asked about.

A2LC (AAAI 2026) trains a network on the mean predictions of the queried masks and relabels others where it is certain.
Here a conditional logit model (McFadden 1974) with few, shrunken weights takes its place, so that it works from the
first answers on: how far the segmenter is to be believed, how often each class of the label was right when it was asked
about, what it was instead, and what the answers in the same image were. It learns from the answers of all rounds and
needs neither a confidence per dataset nor a rule about rare classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.special import betaincinv

from ...errors import LabelQualityError
from ...quality.records.made_anew import MadeAnew

__all__ = [
    "Answer",
    "AnswerModel",
    "Proposal",
    "Trials",
    "certain_proposals",
    "doubtful_answers",
    "propagate",
    "trials_of",
]

CERTAIN: Final = 0.95
"""Probability of a class from which a superpixel like the answered ones is relabelled."""

WRONG: Final = 0.1
"""Share of what is relabelled that may be wrong, if nothing else is asked for: 29 of 29 trials, or 45 of 46."""

CONFIDENCE: Final = 0.95
"""How surely no more of it is wrong."""

FloatArray = npt.NDArray[np.float64]
_SMALLEST_PROBABILITY = 1e-4
_SMALLEST_SHARE = 1e-5


class Described(Protocol):
    """What is read of an image's candidates."""

    @property
    def segment(self) -> npt.NDArray[Any]:
        """(n,) superpixel id."""

    @property
    def area(self) -> npt.NDArray[Any]:
        """(n,) pixels."""

    @property
    def given(self) -> npt.NDArray[Any]:
        """(n,) given class, -1 for none."""

    @property
    def mean_probs(self) -> npt.NDArray[Any]:
        """(n, K) mean probabilities."""


@dataclass(frozen=True)
class Answer:
    """An answer about a superpixel.

    Attributes:
        image: index of the image
        row: of the superpixel among the image's candidates
        given: class that was asked about, -1 if none
        answer: class that it has
        audit: whether the question was drawn at random, as `choose_queries` says
    """

    image: int
    row: int
    given: int
    answer: int
    audit: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A class for a superpixel that nobody was asked about.

    Attributes:
        image: index of the image
        row: of the superpixel
        answer: class
        confidence: probability that the class is right
    """

    image: int
    row: int
    answer: int
    confidence: float


@dataclass(frozen=True)
class Shrinkage:
    """How strongly each group of weights is held to its value without answers (penalty on half the squared distance).

    Attributes:
        segmenter: how far the segmenter is believed
        trust: in the given label, of each given class
        bias: of each true class
        pair: of each pair of given and true class
        context: of the answers and labels in the same image
    """

    segmenter: float = 2.0
    trust: float = 1.0
    bias: float = 1.0
    pair: float = 4.0
    context: float = 1.0


@dataclass(frozen=True, eq=False)
class AnswerModel:
    """Probabilities of the true classes of superpixels, learnt from answers.

    Attributes:
        weights: of the features, shared by all classes
        trust: (K + 1,) by given class, the last one for none
        bias: (K,) by true class
        pair: (K + 1, K) by given and true class
        answers: number of answers it was learnt from
    """

    weights: FloatArray
    trust: FloatArray
    bias: FloatArray
    pair: FloatArray
    answers: int

    @classmethod
    def fit(
        cls, candidates: Sequence[Described], answers: Sequence[Answer], *, shrinkage: Shrinkage | None = None
    ) -> AnswerModel:
        """Learn from answers.

        Args:
            candidates: one per image, with out-of-sample predictions
            answers: all so far; none is fine
            shrinkage: how strongly the weights are held

        Raises:
            LabelQualityError: an answer names no candidate or no class

        Example:
            >>> from types import SimpleNamespace
            >>> flat = np.full((9, 3), 1 / 3)
            >>> given = np.repeat([0, 1], [5, 4])
            >>> found = SimpleNamespace(segment=np.arange(9), area=np.full(9, 50), given=given, mean_probs=flat)
            >>> said = [Answer(0, row, 0, 2) for row in range(4)]
            >>> model = AnswerModel.fit([found], said)
            >>> model.posterior([found], said)[0][4].argmax()
            np.int64(2)
        """
        classes = _num_classes(candidates)
        _check(candidates, answers, classes)
        start = _Weights.before_answers(classes)
        model = cls(start.weights, start.trust, start.bias, start.pair, len(answers))
        if not answers:
            return model
        context = _Context(candidates, answers, classes)
        asked = context.asked()  # image by image
        of_image = MadeAnew(len(candidates), context.features)
        rows = np.stack([of_image[image][row] for image, row, _ in asked])
        given = np.array([context.given(image)[row] for image, row, _ in asked])
        truth = np.array([said for _, _, said in asked])
        found = _fitted(start, rows, given, truth, shrinkage or Shrinkage())
        return cls(found.weights, found.trust, found.bias, found.pair, len(answers))

    def posterior(self, candidates: Sequence[Described], answers: Sequence[Answer]) -> Sequence[FloatArray]:
        """Probabilities of the true classes of all superpixels; those of asked ones as if they had not been asked.

        Args:
            candidates: one per image
            answers: all so far, which tell about others in the same image

        Returns:
            (n, K) per image, computed when it is asked for
        """
        classes = len(self.bias)
        context = _Context(candidates, answers, classes)
        weights = _Weights(self.weights, self.trust, self.bias, self.pair)
        return MadeAnew(
            len(candidates), lambda image: _softmax(weights.scores(context.features(image), context.given(image)))
        )


def propagate(
    candidates: Sequence[Described],
    answers: Sequence[Answer],
    *,
    confidence: float = CERTAIN,
    wrong: float = WRONG,
    shrinkage: Shrinkage | None = None,
) -> list[Proposal]:
    """Propose classes for superpixels that nobody was asked about, where it is certain, and answers bear that out.

    The rule of `plan_correction_queries`, but for doubts in the answers.

    Args:
        candidates: one per image, with out-of-sample predictions and the labels as corrected by answers
        answers: all so far
        confidence: smallest probability of the proposed class
        wrong: share of the proposals that may be wrong, with 95 % confidence
        shrinkage: how strongly the weights are held

    Returns:
        proposals of another class than the given one, the most certain first; never for an asked superpixel

    Raises:
        LabelQualityError: an answer names no candidate or no class, or the confidence is no probability
    """
    if not 0 < confidence <= 1:
        raise LabelQualityError(f"Expected `confidence` above 0 and at most 1, but got {confidence}; try {CERTAIN}.")
    model = AnswerModel.fit(candidates, answers, shrinkage=shrinkage)
    posterior = model.posterior(candidates, answers)
    if trials_of(answers, posterior, confidence).wrong_at_most > wrong:
        return []
    return certain_proposals(candidates, answers, posterior, confidence)


def certain_proposals(
    candidates: Sequence[Described], answers: Sequence[Answer], posterior: Sequence[FloatArray], confidence: float
) -> list[Proposal]:
    """The proposals that are certain enough, from probabilities that are known already.

    Args:
        candidates: one per image
        answers: all so far
        posterior: (n, K) per image, from `AnswerModel.posterior`, where no answer tells about itself
        confidence: smallest probability of the proposed class

    Returns:
        the most certain first
    """
    asked = {(answer.image, answer.row) for answer in answers}
    found = []
    for image, (candidate, probs) in enumerate(zip(candidates, posterior, strict=True)):
        if not len(probs):
            continue
        best, top = probs.argmax(axis=1), probs.max(axis=1)
        rows = np.flatnonzero((top >= confidence) & (best != candidate.given)).tolist()
        found += [Proposal(image, row, int(best[row]), float(top[row])) for row in rows if (image, row) not in asked]
    return sorted(found, key=lambda proposal: -proposal.confidence)


@dataclass(frozen=True)
class Trials:
    """What questions drawn at random say about superpixels that would be relabelled unasked.

    Attributes:
        asked: such superpixels that somebody answered about
        right: of those, answered as they would have been relabelled
    """

    asked: int = 0
    right: int = 0

    @property
    def wrong_at_most(self) -> float:
        """Share of what is relabelled that may be wrong, with 95 % confidence (Clopper and Pearson 1934).

        Example:
            >>> round(Trials(29, 29).wrong_at_most, 3), Trials().wrong_at_most
            (0.098, 1.0)
        """
        return 1 - float(betaincinv(self.right, self.asked - self.right + 1, 1 - CONFIDENCE)) if self.right else 1.0

    def needed(self, wrong: float) -> int:
        """How many more must be answered as expected, all of them, until no more than a share may be wrong.

        Args:
            wrong: share of what is relabelled that may be wrong, in (0, 1)

        Example:
            >>> Trials(12, 12).needed(0.1), Trials(29, 29).needed(0.1), Trials(1, 0).needed(0.1)
            (17, 0, 45)
        """
        more = 0
        while Trials(self.asked + more, self.right + more).wrong_at_most > wrong:
            more += 1
        return more


def trials_of(answers: Sequence[Answer], posterior: Sequence[FloatArray], confidence: float) -> Trials:
    """Whether answers bear out that what is certain without them is right.

    Only questions drawn at random tell: those that were chosen because much is wrong there say that the model is right
    and the label is not, which need not hold elsewhere.

    Args:
        answers: all so far
        posterior: (n, K) per image, from `AnswerModel.posterior`, where no answer tells about itself
        confidence: probability from which a class counts as certain

    Returns:
        how many there were, and how many of them were right

    Example:
        >>> sure = [np.array([[0.01, 0.99]] * 29)]
        >>> said = [Answer(0, row, given=0, answer=1, audit=True) for row in range(29)]
        >>> trials_of(said, sure, 0.95)
        Trials(asked=29, right=29)
    """
    right = [
        int(row.argmax()) == one.answer
        for one in answers
        for row in (posterior[one.image][one.row],)
        if one.audit and row.max() >= confidence and row.argmax() != one.given
    ]
    return Trials(len(right), sum(right))


def doubtful_answers(answers: Sequence[Answer], posterior: Sequence[FloatArray], least: float = 0.05) -> list[Answer]:
    """The answers that everything else speaks against: slips of the annotator among them, so worth asking again once.

    Args:
        answers: all so far
        posterior: (n, K) per image, from `AnswerModel.posterior`, where no answer tells about itself
        least: smallest probability of an answer that is not doubted

    Returns:
        the least probable first

    Example:
        >>> said = [Answer(0, 0, given=1, answer=0), Answer(0, 1, given=1, answer=1)]
        >>> doubtful_answers(said, [np.array([[0.01, 0.99], [0.4, 0.6]])]) == said[:1]
        True
    """
    found = [(float(posterior[each.image][each.row, each.answer]), number) for number, each in enumerate(answers)]
    return [answers[number] for probability, number in sorted(found) if probability < least]


_FEATURES = (
    "segmenter",  # log of the mean probability
    "image",  # log of the mean probability over the image
    "given",  # 1 for the given class
    "given_area",  # the same times the log of the share of the image
    "elsewhere",  # square root of the share of the image, outside the superpixel, that has this label
    "said",  # 1 if it was answered elsewhere in the image
    "refuted",  # 1 if it was given elsewhere in the image and answered to be something else
    "given_said",  # the same two for the given class
    "given_refuted",
)
_PRIOR = np.array([1.0, 0.0, 0.5, 0.0, 0.0, 0.5, -0.5, 0.5, -0.5])


class _Context:
    """Features of (superpixel, class); answers about a superpixel itself are left out of its features."""

    def __init__(self, candidates: Sequence[Described], answers: Sequence[Answer], classes: int) -> None:
        self._candidates, self._classes = candidates, classes
        self._own: dict[int, dict[int, Answer]] = {}  # of images with answers only
        for answer in answers:
            self._own.setdefault(answer.image, {})[answer.row] = answer  # the newest counts

    def asked(self) -> list[tuple[int, int, int]]:
        """(image, row, answer) of every superpixel that was asked about."""
        return [(image, row, each.answer) for image, own in sorted(self._own.items()) for row, each in own.items()]

    def given(self, image: int) -> npt.NDArray[np.int64]:
        """(n,) class that was asked about, or is given where nothing was asked; K for none."""
        given = np.array(self._candidates[image].given, np.int64)
        for row, answer in self._own.get(image, {}).items():
            given[row] = answer.given
        return np.where((given >= 0) & (given < self._classes), given, self._classes)

    def features(self, image: int) -> FloatArray:
        """(n, K, F) features of the superpixels of one image."""
        candidate, classes = self._candidates[image], self._classes
        count = len(candidate.segment)
        said, refuted = self._without_own(image, count)
        share = candidate.area / max(float(candidate.area.sum()), 1.0)
        is_given = np.eye(classes + 1)[self.given(image)][:, :classes]
        label = np.where((candidate.given >= 0) & (candidate.given < classes), candidate.given, classes)
        own_share = np.eye(classes + 1)[label][:, :classes] * share[:, None]
        labels = np.zeros(classes)
        np.add.at(labels, label[label < classes], share[label < classes])
        elsewhere = np.maximum(labels - own_share, 0)
        probs = np.maximum(candidate.mean_probs, _SMALLEST_PROBABILITY)
        over_image = np.maximum((candidate.mean_probs * share[:, None]).sum(axis=0), _SMALLEST_PROBABILITY)
        return np.stack(
            [
                np.log(probs),
                np.broadcast_to(np.log(over_image), probs.shape),
                is_given,
                is_given * np.log10(np.maximum(share, _SMALLEST_SHARE) * 100)[:, None],
                np.sqrt(elsewhere),
                said,
                refuted,
                is_given * said,
                is_given * refuted,
            ],
            axis=2,
        )

    def _without_own(self, image: int, count: int) -> tuple[FloatArray, FloatArray]:
        """(n, K) each: what was said, and what was refuted and not said, about other superpixels of the image."""
        said, refuted = np.zeros((count, self._classes)), np.zeros((count, self._classes))
        for row, answer in self._own.get(image, {}).items():
            others = np.arange(count) != row
            said[others, answer.answer] += 1
            if _is_refuted(answer):
                refuted[others, answer.given] += 1
        return (said > 0).astype(np.float64), ((refuted > 0) & (said <= 0)).astype(np.float64)


def _is_refuted(answer: Answer) -> bool:
    return 0 <= answer.given != answer.answer


@dataclass(frozen=True, eq=False)
class _Weights:
    weights: FloatArray
    trust: FloatArray
    bias: FloatArray
    pair: FloatArray

    @classmethod
    def before_answers(cls, classes: int) -> _Weights:
        return cls(_PRIOR.copy(), np.zeros(classes + 1), np.zeros(classes), np.zeros((classes + 1, classes)))

    @classmethod
    def from_vector(cls, vector: FloatArray, classes: int) -> _Weights:
        ends = np.cumsum([len(_FEATURES), classes + 1, classes])
        weights, trust, bias, pair = np.split(vector, ends)
        return cls(weights, trust, bias, pair.reshape(classes + 1, classes))

    def vector(self) -> FloatArray:
        return np.concatenate([self.weights, self.trust, self.bias, self.pair.ravel()])

    def scores(self, features: FloatArray, given: npt.NDArray[np.integer]) -> FloatArray:
        """(N, K) log odds; `given` is K where no class is."""
        found = features @ self.weights + self.bias + self.pair[given]
        known = np.flatnonzero(given < len(self.bias))
        found[known, given[known]] += self.trust[given[known]]
        return np.asarray(found)


def _fitted(
    start: _Weights,
    features: FloatArray,
    given: npt.NDArray[np.integer],
    truth: npt.NDArray[np.integer],
    shrinkage: Shrinkage,
) -> _Weights:
    """Least penalised cross entropy."""
    classes = len(start.bias)
    prior = start.vector()
    strengths = np.full(len(_FEATURES), shrinkage.context)
    strengths[0] = shrinkage.segmenter
    groups = [(shrinkage.trust, classes + 1), (shrinkage.bias, classes), (shrinkage.pair, (classes + 1) * classes)]
    strength = np.concatenate([strengths, *(np.full(count, value) for value, count in groups)])
    each = np.arange(len(truth))
    known = np.flatnonzero(given < classes)

    def objective(vector: FloatArray) -> tuple[float, FloatArray]:
        probs = _softmax(_Weights.from_vector(vector, classes).scores(features, given))
        loss = -np.log(np.maximum(probs[each, truth], 1e-12)).sum()
        error = probs
        error[each, truth] -= 1
        trust, pair = np.zeros(classes + 1), np.zeros((classes + 1, classes))
        np.add.at(trust, given[known], error[known, given[known]])
        np.add.at(pair, given, error)
        slope = _Weights(np.einsum("nk,nkf->f", error, features), trust, error.sum(axis=0), pair).vector()
        away = vector - prior
        return float(loss + 0.5 * (strength * away**2).sum()), slope + strength * away

    found = optimize.minimize(objective, prior, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return _Weights.from_vector(found.x, classes)


def _softmax(scores: FloatArray) -> FloatArray:
    if not len(scores):
        return scores
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _num_classes(candidates: Sequence[Described]) -> int:
    for candidate in candidates:
        return int(candidate.mean_probs.shape[1])
    raise LabelQualityError("Expected the candidates of at least one image, but got none.")


def _check(candidates: Sequence[Described], answers: Sequence[Answer], classes: int) -> None:
    for answer in answers:
        if not (0 <= answer.image < len(candidates) and 0 <= answer.row < len(candidates[answer.image].segment)):
            raise LabelQualityError(
                f"Expected answers about superpixels of {len(candidates)} images, but got one about row {answer.row} "
                f"of image {answer.image}; were the superpixels computed again since?"
            )
        if not 0 <= answer.answer < classes:
            raise LabelQualityError(
                f"Expected answers from 0 to {classes - 1}, but got {answer.answer}; leave skipped questions out."
            )
