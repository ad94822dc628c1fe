"""One ranking of images and one score of regions that hold on any dataset, learnt on the dataset itself.

No score of one image can know how good the model is: where the model is weak, large disagreements are its own, and
where it is strong they are the label's. So the dataset is asked, in three steps.

1. Errors of one object (dropped, added, of a wrong class, drawn too small or too large) are put into copies of some
   labels, and a logistic regression learns to tell the regions of these errors from all others. Besides the features of
   a region it sees its context: how often the dataset's labels and predictions disagree on these two classes, and how
   sure and how right the model is about them. What the model confuses everywhere counts less than what happens once.
   How many of the dataset's own regions are errors is then estimated from their scores: rehearsed errors are many.
2. Errors that the labels hold already must not teach the opposite. A calibrated model tells how often it expects to be
   wrong: the mean of 1 - best probability. What it disagrees beyond that is taken for wrong labels (see
   `Judge.wrong_share`), and the worst regions of that total area are not shown as examples of good ones.
3. Three things speak against an image, and one of them is enough: the log odds of its softmin with the sign turned
   round, those of its worst region, and the logarithm of -ln(chance that none of its regions is an error). Each is
   measured from its median in units of its spread over the dataset, and the evidence is their smooth maximum. They look
   for single errors, the last for many faint ones. Where that is no use, they give way to what follows the area that is
   wrong, the mean of three that are measured likewise: the mean confidence in the label, the share of pixels that agree
   with the prediction, and the strength of the strongest region. That is so where a good part of the dataset is wrong,
   so that every image has errors and the question is how large; and where the model expects to be wrong on a good part
   of the pixels, so that it cannot see single errors. There the regions, too, keep the fixed score
   (`regions.SCORE_WEIGHTS`). A label that agrees with the prediction much better when it is moved has that as further
   evidence.

Regions are scored, and images judged, by a regression that has not seen errors in the same image. Which features,
kinds and combinations to use was decided on the tuning images of CamVid and VOC in `benchmarks/detection`; from where
on the wrong area takes over, and what a warning asks for, with reported images in view.
"""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ...wording import count, percent
from ..records.image_records import ImageRecord
from ..records.on_disk import OnDisk
from ..regions.issue_regions import ImageRegions, region_scores
from ..regions.logistic_regression import log_odds, logistic
from ..regions.region_terms import FEATURE_NAMES
from ..regions.region_verifier import CONTEXT_NAMES, RegionVerifier
from ..regions.review_shift import ReviewShift
from ..scores.image_scores import divide
from ..scores.local_scores import HALF_STRENGTH
from .rehearsed_labels import RegionRows, Rehearsal

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

NUM_PARTS: Final = 2
FEWEST_HITS: Final = 30
"""Rehearsed errors that must have been found in each part; with fewer the fixed score is used."""

FEWEST_IMAGES: Final = 10
"""With fewer images there is no spread to measure by, and softmin is the ranking."""

EVERYWHERE: Final = 0.95
SOMEWHERE: Final = 0.6

REHEARSED_STRENGTH: Final = 3.3
NOISY: Final = (0.1, 0.2)
"""Share of wrong labels: from the first on the area that is wrong counts, from the second on nothing else."""

UNSURE: Final = (0.15, 0.3)
"""Share of pixels on which the model expects to be wrong: from the first on single errors count less, from the second
on they do not, and the model cannot tell how much is wrong: all that it disagrees with may be, or nothing."""

USEFUL: Final = 0.6
"""AUROC that a ranking must be shown to exceed: where the rehearsed errors of a kind or size leave that open (1.96
standard errors over the images), a warning names them."""

CHANCE: Final = 0.56
"""AUROC of the rehearsed errors of a class up to which the model is said not to judge it."""

FEWEST_OF_CLASS: Final = 20
"""Rehearsed errors of a class, or of a kind, from which on it is said how well they are found."""

ASKED: Final = {
    "drop_object": "forgotten objects",
    "add_object": "invented objects",
    "wrong_class": "objects of a wrong class",
    "erode": "borders drawn aside",
    "dilate": "borders drawn aside",
}
"""What rehearsed errors of each kind are called."""

SMALL: Final = "errors of up to {:,} pixels"
"""What the smaller half of the rehearsed errors is called."""

MOVED: Final = (0.006, 0.004, 6.0)
"""Share of the pixels that must agree in addition when the label is moved; how many more are one unit of evidence; and
most units. Nearly all good labels fit best where they are."""

_FARTHEST: Final = 8.0
_SUREST: Final = 1 - 1e-6
_NO_ERROR: Final = 1e-3
_NOTHING: Final = (None, 0.5)
_SHARES: Final = logistic(np.linspace(-12, 4, 161))
_SINGLE: Final = 3
_COARSE: Final = 3
_ROWS_AT_ONCE: Final = 4096
_AREA: Final = FEATURE_NAMES.index("log_area")
_STRENGTH: Final = FEATURE_NAMES.index("log_strength")


@dataclass(frozen=True, eq=False)
class ClassContext:
    """What labels and predictions of a dataset do with each class, in images: a class that fills one image counts 1.

    Attributes:
        given: (K,) share of pixels given each class, summed over images
        predicted: (K,) the same of predicted classes
        agreeing: (K,) where both are this class
        confidence: (K,) mean self-confidence of the pixels given each class
        pairs: (K, K) share of pixels in regions of each (given, suggested) pair
    """

    given: FloatArray
    predicted: FloatArray
    agreeing: FloatArray
    confidence: FloatArray
    pairs: FloatArray

    def columns(self, rows: RegionRows) -> FloatArray:
        """Return the context of regions.

        Args:
            rows: of one image

        Returns:
            (R, C) float64, see `region_verifier.CONTEXT_NAMES`; a region's own area is not counted against it.
        """
        given, suggested = rows.given, rows.suggested
        others = np.maximum(self.pairs[given, suggested] - 10 ** rows.features[:, _AREA], 0) + 3e-4
        agree = self.agreeing + 1e-5
        return np.column_stack(
            [
                np.log10(others / (self.given[given] + 6e-3)),
                np.log10(others / (self.predicted[suggested] + 6e-3)),
                self.confidence[given],
                self.confidence[suggested],
                agree[given] / (self.given[given] + 2e-5),
                agree[suggested] / (self.predicted[suggested] + 2e-5),
            ]
        )

    def complete(self, rows: RegionRows) -> FloatArray:
        """Return the features of regions with their context, as a `RegionVerifier` takes them.

        Args:
            rows: of one image

        Returns:
            (R, F + C) float64, the columns of `FEATURE_NAMES` and then those of `region_verifier.CONTEXT_NAMES`.
        """
        return np.concatenate([rows.features, self.columns(rows)], axis=1)


@dataclass(frozen=True, eq=False)
class RegionScorer:
    """Scores the regions of a dataset as `Judge` learnt to; small, and kept with a run to score them again.

    Attributes:
        context: of the classes
        verifiers: one for each part of the images, learnt from the other part; None where too little could be learnt
        background: class that stands for nothing, by which regions get their kinds; None if there is none
    """

    context: ClassContext
    verifiers: tuple[RegionVerifier | None, ...]
    background: int | None = None

    @property
    def learnt(self) -> bool:
        """Whether there were enough rehearsed errors to learn from; otherwise the fixed score stands."""
        return all(verifier is not None for verifier in self.verifiers)

    def scores(self, key: str, rows: RegionRows) -> FloatArray:
        """Return how surely regions of an image are label errors.

        Args:
            key: of the image
            rows: its regions

        Returns:
            (R,) float64 in [0, 1].
        """
        verifier = self.verifiers[_part_of(key, len(self.verifiers))]
        if verifier is None:
            return region_scores(rows.features)
        return verifier.predict(self.context.complete(rows.typed(self.background)), rows.pairs)

    def taught(self, rows: RegionRows, accepted: npt.ArrayLike) -> RegionScorer:
        """Return a scorer that has also learnt from a reviewer.

        Args:
            rows: the reviewed regions
            accepted: (R,) bool, whether the reviewer found a label error there

        Returns:
            A new scorer; one without decisions scores as this one.
        """
        complete = self.context.complete(rows.typed(self.background))
        verifiers = (RegionVerifier.fit(complete, accepted, prior=prior, pairs=rows.pairs) for prior in self.verifiers)
        return replace(self, verifiers=tuple(verifiers))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, to be kept as JSON."""
        context = {name: getattr(self.context, name).tolist() for name in ClassContext.__dataclass_fields__}
        verifiers = [
            None if one is None else [list(one.weights), one.bias, one.shift.as_dict()] for one in self.verifiers
        ]
        names = [*FEATURE_NAMES, *CONTEXT_NAMES]
        return {"features": names, "context": context, "verifiers": verifiers, "background": self.background}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RegionScorer:
        """Return the scorer that `as_dict` has taken apart.

        Args:
            content: plain values

        Returns:
            The scorer.

        Raises:
            LabelQualityError: if it was made for other features.
        """
        if list(content["features"]) != [*FEATURE_NAMES, *CONTEXT_NAMES]:
            raise LabelQualityError(
                f"Expected a scorer of the features {', '.join((*FEATURE_NAMES, *CONTEXT_NAMES))}, but got "
                f"{', '.join(content['features'])}; score the dataset again."
            )
        arrays = {name: np.array(values, np.float64) for name, values in content["context"].items()}
        verifiers = (
            None if one is None else RegionVerifier(tuple(one[0]), one[1], *map(ReviewShift.from_dict, one[2:]))
            for one in content["verifiers"]
        )
        return cls(ClassContext(**arrays), tuple(verifiers), content["background"])


def _part_of(key: str, parts: int = NUM_PARTS) -> int:
    return zlib.crc32(key.encode()) % parts


@dataclass(frozen=True, eq=False)
class ImageEvidence:
    """One image as the judge sees it; made by `image_evidence`."""

    key: str
    softmin: float
    confidence: float
    rows: RegionRows
    rehearsals: Sequence[Rehearsal]
    shares: FloatArray
    size: int
    valid: int
    disagreeing: int
    expected: float
    alignment_gain: float

    def typed(self, background: int | None) -> ImageEvidence:
        """Return the same image with kinds that agree with their classes, see `typed` of regions."""
        altered = tuple(replace(one, rows=one.rows.typed(background)) for one in self.rehearsals)
        return replace(self, rows=self.rows.typed(background), rehearsals=altered)

    @property
    def moved(self) -> float:
        """Evidence that the whole label is moved."""
        least, unit, most = MOVED
        return min(max((self.alignment_gain - least) / unit, 0.0), most)

    @property
    def part(self) -> int:
        """Which part of the dataset it belongs to."""
        return _part_of(self.key)


@dataclass(frozen=True)
class Found:
    """How well some of the errors that were put in on purpose are found.

    Attributes:
        num_labels: labels that one of them was put into
        auroc: probability that an altered label looks worse than a label as it is
        in_worst_fifth: share of the altered labels that would be among the worst fifth of the dataset
        error: standard error of `auroc` over images
    """

    num_labels: int
    auroc: float
    in_worst_fifth: float
    error: float

    @property
    def by_chance(self) -> bool:
        """Whether they would be found as well by guessing."""
        return self.auroc <= CHANCE

    @property
    def doubtful(self) -> bool:
        """Whether they might be found hardly better than by guessing."""
        return self.auroc - 1.96 * self.error <= USEFUL


@dataclass(frozen=True)
class Rehearsed:
    """How well the errors that were put in on purpose are found: what to expect of this model.

    Attributes:
        num_labels: labels that an error was put into
        num_found: those in which a region is the error
        everything: all of them
        limit: pixels of the error in the middle by size
        small: the errors up to that size
        large: the others; None where all have one size
        by_class: the errors that take a class for another or another for it, where there are `FEWEST_OF_CLASS`
        by_kind: the errors of each kind, as `ASKED` calls it, where there are as many
    """

    num_labels: int
    num_found: int
    everything: Found
    limit: int
    small: Found
    large: Found | None
    by_class: Mapping[int, Found]
    by_kind: Mapping[str, Found]

    @property
    def auroc(self) -> float:
        """Probability that an altered label looks worse than a label as it is."""
        return self.everything.auroc

    @property
    def found_in_worst_fifth(self) -> float:
        """Share of the altered labels that would be among the worst fifth of the dataset."""
        return self.everything.in_worst_fifth

    @property
    def doubtful(self) -> dict[str, Found]:
        """What might be found hardly better than by guessing, in words."""
        small = {SMALL.format(self.limit): self.small} if self.small.num_labels >= FEWEST_OF_CLASS else {}
        return {words: found for words, found in {**self.by_kind, **small}.items() if found.doubtful}

    @property
    def too_weak(self) -> bool:
        """Whether nothing that was asked for is surely found."""
        return self.everything.doubtful and all(found.doubtful for found in self.by_kind.values())


class Evidence:
    """Collects what a dataset is judged by: add every image, in any order, then call `judge`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> from ..records.image_records import image_record
        >>> from ..regions.issue_regions import image_regions
        >>> from .rehearsed_labels import rehearse
        >>> evidence = Evidence(2)
        >>> for name in range(12):
        ...     label = np.zeros((40, 60), int)
        ...     label[5:20, 10 + name : 30 + name] = 1
        ...     sure = np.where(rng.random((40, 60)) < 0.95, 0.9, 0.4)
        ...     probs = np.stack([np.where(label == 0, sure, 1 - sure), np.where(label == 1, sure, 1 - sure)])
        ...     label[30:36, 40:50] = int(name == 7)  # an object that is not there
        ...     record = image_record(label, probs)
        ...     altered = rehearse(label, probs, count=4, seed=name)
        ...     evidence.add(str(name), record, image_regions(label, record), altered)
        >>> scores = evidence.judge().image_scores()
        >>> min(scores, key=scores.get)
        '7'
    """

    def __init__(self, num_classes: int, background: int | None = None) -> None:
        """Start with no image.

        Args:
            num_classes: number of classes K
            background: class that stands for nothing; None means that it is looked for, see `Evidence.backdrop`
        """
        self.num_classes = num_classes
        self._background = background
        self._images: OnDisk[ImageEvidence] = OnDisk()
        self._keys: list[str] = []

    def __len__(self) -> int:
        return len(self._images)

    def add(self, key: str, record: ImageRecord, regions: ImageRegions, rehearsals: Sequence[Rehearsal] = ()) -> None:
        """Add one image.

        Args:
            key: unique name of the image; decides which half of the dataset it belongs to
            record: of the image, with softmin and suspects
            regions: of the image
            rehearsals: of the image, see `rehearse`

        Raises:
            LabelQualityError: if the record lacks its softmin or has another number of classes.
        """
        if "softmin" not in record.scores:
            raise LabelQualityError(
                f"Expected a record with the score softmin, but got {list(record.scores)}; pass it to `image_record`."
            )
        if record.num_classes != self.num_classes:
            raise LabelQualityError(
                f"Expected a record of {self.num_classes} classes, but got {record.num_classes}; predict all images "
                "with the same classes."
            )
        self.add_image(image_evidence(key, record, regions, rehearsals))

    def add_image(self, image: ImageEvidence) -> None:
        """Add one image of which the evidence was made elsewhere, in another process for instance.

        Args:
            image: of `image_evidence`
        """
        self._images.append(image)
        self._keys.append(image.key)

    @property
    def _sorted(self) -> Iterator[ImageEvidence]:
        """By key: sums of floats must not depend on the order in which images came."""
        return map(self._images.__getitem__, sorted(range(len(self)), key=self._keys.__getitem__))

    @property
    def backdrop(self) -> int | None:
        """The class that stands for nothing: the one that was named, or else the only one that all images have.

        All means `EVERYWHERE` of at least `FEWEST_IMAGES` images, and of the other classes none is in more than
        `SOMEWHERE` of them. A class that always is around the others is what is seen where an object is missing.
        """
        if self._background is not None or len(self) < FEWEST_IMAGES or self.num_classes < 2:
            return self._background
        present = sum((image.shares[0] > 0 for image in self._images), np.zeros(self.num_classes)) / len(self)
        first = int(present.argmax())
        return first if present[first] >= EVERYWHERE and np.delete(present, first).max() <= SOMEWHERE else None

    @property
    def excess(self) -> float:
        """Share of the labelled pixels on which labels and predictions disagree beyond what the model expects."""
        valid, disagreeing, expected = self._pixels()
        return max(0.0, (disagreeing - expected) / max(valid, 1))

    @property
    def unsure(self) -> float:
        """Share of the labelled pixels on which the model expects to be wrong."""
        valid, _, expected = self._pixels()
        return expected / max(valid, 1)

    def _pixels(self) -> tuple[int, int, float]:
        """Labelled pixels, those on which labels and predictions disagree, and those on which they are expected to."""
        valid, disagreeing, expected = 0, 0, array("d")
        for image in self._images:
            valid, disagreeing = valid + image.valid, disagreeing + image.disagreeing
            expected.append(image.expected)
        return valid, disagreeing, math.fsum(expected)

    def judge(self) -> Judge:
        """Learn from the rehearsals and judge the images.

        Returns:
            The judge of this dataset.
        """
        background, excess, unsure = self.backdrop, self.excess, self.unsure
        images = OnDisk(image.typed(background) for image in self._sorted)
        shares = np.zeros((4, self.num_classes))
        pairs = np.zeros((self.num_classes, self.num_classes))
        for image in images:
            shares += image.shares
            np.add.at(pairs, (image.rows.given, image.rows.suggested), 10 ** image.rows.features[:, _AREA])
        given, predicted, agreeing, confidence = shares
        context = ClassContext(given, predicted, agreeing, np.nan_to_num(divide(confidence, given)), pairs)
        learnt: list[tuple[RegionVerifier | None, float]] = [_NOTHING] * NUM_PARTS
        if _coarseness(excess, unsure) < 1:
            limit = _trusted_below(images, excess)
            learnt = [_learnt(images, context, limit, part) for part in range(NUM_PARTS)]
        scorer = RegionScorer(context, tuple(verifier for verifier, _ in learnt), background)
        counting = _with_prior(scorer, [share for _, share in learnt], images)
        return Judge(images, scorer, counting, excess, unsure)


def image_evidence(
    key: str, record: ImageRecord, regions: ImageRegions, rehearsals: Sequence[Rehearsal] = ()
) -> ImageEvidence:
    """Return what a dataset is judged by, of one image.

    Args:
        key: as for `Evidence.add`
        record: as for `Evidence.add`
        regions: as for `Evidence.add`
        rehearsals: as for `Evidence.add`

    Returns:
        The evidence, small and picklable.
    """
    size, sums = record.shape[0] * record.shape[1], record.sums
    return ImageEvidence(
        key,
        record.scores["softmin"],
        float(sums.self_confidence.sum() / record.num_valid) if record.num_valid else float("nan"),
        RegionRows.of(regions),
        tuple(rehearsals),
        np.stack([sums.given, sums.predicted, sums.agreeing, sums.self_confidence]) / size,
        size,
        record.num_valid,
        record.num_valid - int(sums.agreeing.sum()),
        expected_disagreement(record),
        regions.alignment.gain,
    )


def _coarseness(wrong_share: float, unsure: float) -> float:
    return max(_passed(wrong_share, NOISY), _passed(unsure, UNSURE))


def _passed(value: float, limits: tuple[float, float]) -> float:
    """How far a value has come from the first limit to the second, from 0 to 1."""
    return min(max((value - limits[0]) / (limits[1] - limits[0]), 0.0), 1.0)


def expected_disagreement(record: ImageRecord) -> float:
    """Return on how many pixels a calibrated model expects to be wrong: the sum of 1 - best probability.

    Args:
        record: of one image, with its suspects

    Returns:
        A number of pixels.

    Example:
        >>> from ..records.image_records import image_record
        >>> round(expected_disagreement(image_record([[0, 0]], np.array([[[0.9, 0.2]], [[0.1, 0.8]]]))), 6)
        0.3
    """
    # All pixels that are no suspects agree, so that their best probability is their self-confidence.
    table = record.suspects
    margins = table.best_probability.astype(np.float64) - table.self_confidence
    return float(record.num_valid - record.sums.self_confidence.sum() - margins.sum())


@dataclass(frozen=True)
class Judge:
    """What was learnt about a dataset.

    Attributes:
        images: what was collected, in the order of their keys; read when it is asked for
        scorer: of regions
        counting: the same, if errors were as common as the scores of the dataset's own regions say: nearer to the truth
            in sum, where most regions are surely none, and too careful about single ones
        wrong_share: share of the labelled pixels that seem to be wrong: what labels and predictions disagree on beyond
            what the model expects
        unsure: share of the labelled pixels on which the model expects to be wrong
    """

    images: Sequence[ImageEvidence]
    scorer: RegionScorer
    counting: RegionScorer
    wrong_share: float
    unsure: float

    @cached_property
    def wrong_share_range(self) -> tuple[float, float]:
        """Lowest and highest share of wrong pixels that this dataset speaks for.

        Two estimates, each plus and minus 1.96 standard errors over the images: what disagrees beyond what the model
        expects, and the area of the regions times their scores, which calls some of the model's own mistakes wrong. At
        the highest, errors are as common as rehearsed ones, and a label that is moved is wrong wherever it disagrees:
        its borders are wrong where the model expects its own mistakes. The more `UNSURE` a model is, the less it can
        tell its mistakes from wrong labels, above all one that learnt from these very labels: the range grows until it
        is from nothing to all that disagrees. Errors that labels and model share are in neither, and one error that is
        made all over the dataset counts too little: it looks like what the model confuses.
        """
        if not self.images:
            return 0.0, 0.0
        rows = _end_to_end(
            (
                *(image.valid, image.disagreeing, image.expected, image.moved == 0),
                *(_wrong_area(scorer, image) for scorer in (self.counting, self.scorer)),
            )
            for image in self.images
        )
        valid, disagreeing, expected, still, least, most = rows.reshape(-1, 6).T.copy()
        low = min(_ratio_range(values, valid)[0] for values in (disagreeing - expected, least))
        high = max(_ratio_range(values, valid)[1] for values in (disagreeing - still * expected, most))
        weak = _passed(self.unsure, UNSURE)
        highest = max(high, _ratio_range(disagreeing, valid)[1])
        low, high = np.clip([(1 - weak) * low, (1 - weak) * high + weak * highest], 0, 1).tolist()
        return low, high

    @property
    def expected_errors(self) -> float:
        """How many of the regions are expected to be errors."""
        some = (image for image in self.images if len(image.rows))
        return math.fsum(float(self.counting.scores(image.key, image.rows).sum()) for image in some)

    @property
    def coarse(self) -> float:
        """From 0 to 1, how far the ranking follows the wrong area instead of single errors."""
        return _coarseness(self.wrong_share, self.unsure)

    def region_scores(self, key: str, regions: ImageRegions) -> FloatArray:
        """Return how surely the regions of an image are label errors.

        Args:
            key: of the image
            regions: of the image

        Returns:
            (R,) float64 in [0, 1], in the order of the regions.
        """
        return self.scorer.scores(key, RegionRows.of(regions))

    def image_scores(self) -> dict[str, float]:
        """Return the combined score of each image by key, in [0, 1], higher is better; NaN where all is ignored.

        It ranks within this dataset; an image of median evidence has about one half.
        """
        if len(self.images) < FEWEST_IMAGES:
            return {image.key: image.softmin for image in self.images}
        return {
            image.key: float(logistic(np.array(-value / 2)))
            for image, value in zip(self.images, self._evidence, strict=True)
        }

    @cached_property
    def _columns(self) -> FloatArray:
        flat = _end_to_end(self._measures(image, image.rows, image.softmin) for image in self.images)
        return flat.reshape(-1, _SINGLE + _COARSE)

    @cached_property
    def _scale(self) -> tuple[FloatArray, FloatArray]:
        low, middle, high = np.nanpercentile(self._columns, [16, 50, 84], axis=0)
        return middle, np.maximum((high - low) / 2, 1e-6)

    @cached_property
    def _evidence(self) -> FloatArray:
        return self._combined(self._columns, self.images)

    def _combined(self, columns: FloatArray, images: Sequence[ImageEvidence]) -> FloatArray:
        middle, spread = self._scale
        moved = np.array([image.moved for image in images])
        steps = np.clip((columns - middle) / spread, -_FARTHEST, _FARTHEST)
        with np.errstate(invalid="ignore"):  # NaN where all is ignored
            single = np.logaddexp.reduce(steps[:, :_SINGLE], axis=1) - math.log(_SINGLE)
        area = steps[:, _SINGLE:].mean(axis=1)
        combined: FloatArray = (1 - self.coarse) * (single + moved) + self.coarse * area
        return combined

    def _measures(self, image: ImageEvidence, rows: RegionRows, softmin: float) -> tuple[float, ...]:
        """What speaks against an image, larger is worse: `_SINGLE` of single errors and `_COARSE` of the wrong area.

        Softmin, chance of any error, worst region; confidence in the label, disagreeing pixels, strongest region.
        """
        if np.isnan(softmin):
            return (np.nan,) * (_SINGLE + _COARSE)
        chances = self.scorer.scores(image.key, rows) if len(rows) else np.zeros(0)
        errors = -np.log1p(-np.minimum(chances, _SUREST)).sum()
        worst = _log_odds(float(chances.max(initial=0)))
        strongest = 10 ** rows.features[:, _STRENGTH].max() if len(rows) else 0.0
        return (
            *(-_log_odds(softmin), float(np.log(errors + _NO_ERROR)), worst),
            *(-image.confidence, image.disagreeing / max(image.valid, 1), math.log1p(strongest / HALF_STRENGTH)),
        )

    @cached_property
    def rehearsed(self) -> Rehearsed | None:
        """How well rehearsed errors are found; None if there were none."""
        if len(self.images) < FEWEST_IMAGES:
            return None
        altered = [(image, one) for image in self.images for one in image.rehearsals if not np.isnan(one.softmin)]
        asis = self._evidence[~np.isnan(self._evidence)]
        if not altered or len(asis) < FEWEST_IMAGES:
            return None
        columns = np.array([self._measures(image, one.rows, one.softmin) for image, one in altered])
        worse = self._combined(columns, [image for image, _ in altered])
        owners = np.array([image.key for image, _ in altered])
        pixels = np.array([one.pixels for _, one in altered])
        classes = np.array([one.classes for _, one in altered])
        kinds = np.array([ASKED[one.kind] for _, one in altered])
        limit = int(np.median(pixels))

        def found(chosen: BoolArray) -> Found:
            return _found(asis, worse[chosen], owners[chosen])

        of_class = {index: (classes == index).any(axis=1) for index in np.unique(classes).tolist()}
        of_kind = {words: kinds == words for words in dict.fromkeys(ASKED.values())}
        return Rehearsed(
            num_labels=len(altered),
            num_found=sum(bool(one.hits.any()) for _, one in altered),
            everything=found(pixels > 0),
            limit=limit,
            small=found(pixels <= limit),
            large=found(pixels > limit) if (pixels > limit).any() else None,
            by_class={index: found(some) for index, some in of_class.items() if some.sum() >= FEWEST_OF_CLASS},
            by_kind={words: found(some) for words, some in of_kind.items() if some.sum() >= FEWEST_OF_CLASS},
        )

    @property
    def warning(self) -> str | None:
        """What the user must know before trusting the ranking, or None."""
        if self.unsure >= UNSURE[1]:
            return (
                f"The model is too weak to see errors of single objects: it expects to be wrong on "
                f"{percent(self.unsure)} % of the pixels. So images are ranked by large disagreements only; train "
                "longer or take a larger model"
            )
        found = self.rehearsed
        if found is None or self.wrong_share >= NOISY[1]:
            return None
        if found.too_weak:
            return (
                f"The model is too weak to judge single objects: of {count(found.num_labels, 'error')}, put into "
                f"copies of these labels on purpose, it would rank {percent(found.found_in_worst_fifth)} % among the "
                "worst fifth of the images (20 % by chance); train longer or take a larger model"
            )
        if found.doubtful:
            listed = ", ".join(f"{words} ({percent(one.in_worst_fifth)} %)" for words, one in found.doubtful.items())
            return (
                f"The model hardly finds {listed}: so many of those, put into copies of these labels on purpose, would "
                "be among the worst fifth of the images (20 % by chance). Images with a good score may have such "
                "errors, too; take a model that sees them"
            )
        return None

    @property
    def blind_classes(self) -> list[int]:
        """Classes whose rehearsed errors are found no better than by chance, though others are."""
        found = self.rehearsed
        if found is None or found.auroc <= CHANCE:
            return []
        return [index for index, some in found.by_class.items() if some.by_chance]


def _found(asis: FloatArray, worse: FloatArray, owners: npt.NDArray[np.str_]) -> Found:
    """Compare altered labels, of the images `owners`, with labels as they are: larger is worse."""
    good = np.sort(asis)
    wins = (np.searchsorted(good, worse, "left") + np.searchsorted(good, worse, "right")) / (2 * len(good))
    auroc = float(wins.mean())
    sums = np.bincount(np.unique(owners, return_inverse=True)[1], wins - auroc)
    error = float(np.sqrt((sums**2).sum())) / len(wins)
    return Found(len(worse), auroc, float((worse >= np.percentile(asis, 80)).mean()), error)


def _wrong_area(scorer: RegionScorer, image: ImageEvidence) -> float:
    """Wrong pixels that a scorer expects in the regions of an image."""
    scores = scorer.scores(image.key, image.rows) if len(image.rows) else np.zeros(0)
    return float((scores * 10 ** image.rows.features[:, _AREA]).sum() * image.size)


def _ratio_range(values: FloatArray, sizes: FloatArray) -> tuple[float, float]:
    """Sum of values over sum of sizes, less and plus 1.96 standard errors."""
    total = max(float(sizes.sum()), 1.0)
    ratio = float(values.sum()) / total
    error = float(np.sqrt(((values - ratio * sizes) ** 2).sum())) / total
    return ratio - 1.96 * error, ratio + 1.96 * error


def _log_odds(value: float) -> float:
    kept = min(max(value, 1e-4), 1 - 1e-4)
    return float(np.log(kept / (1 - kept)))


def _end_to_end(rows: Iterable[npt.ArrayLike]) -> FloatArray:
    """Rows of floats as one array, which never are in memory twice."""
    found = array("d")
    for row in rows:
        found.frombytes(np.asarray(row, np.float64).tobytes())
    return np.frombuffer(found)


def _learnt(
    images: Sequence[ImageEvidence], context: ClassContext, limit: float, part: int
) -> tuple[RegionVerifier | None, float]:
    """Learn from the rehearsals of the other parts; and how many of their regions are errors.

    Regions from the `limit` on are no examples of good ones.
    """
    rows, hits = [], []
    for image in images:
        if image.part == part:
            continue
        for altered in image.rehearsals:
            keep = altered.hits | (region_scores(altered.rows.features) < limit)
            rows.append(context.complete(altered.rows)[keep])
            hits.append(altered.hits[keep])
    found = np.concatenate([np.zeros(0, np.bool_), *hits])
    if found.sum() < FEWEST_HITS or found.all():
        return _NOTHING
    return RegionVerifier.learnt(np.concatenate(rows), found, strength=REHEARSED_STRENGTH), float(found.mean())


def _with_prior(scorer: RegionScorer, shares: Sequence[float], images: Sequence[ImageEvidence]) -> RegionScorer:
    """Let the dataset's own regions tell how many of them are errors, besides the `shares` that were rehearsed.

    How likely these regions are if a share of them are errors follows from the odds of each; the share is its mean over
    all that are possible (with Jeffreys' prior). Expectation-maximisation finds the likeliest instead (Saerens, Latinne
    & Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities", Neural Computation 2002).
    Errors that are harder to see than rehearsed ones are missing in it, while rehearsals are one to a label: the log
    odds half way between the two are used.
    """
    rehearsed = log_odds(shares)
    known = (image for image in images if len(image.rows) and scorer.verifiers[image.part] is not None)
    odds = (log_odds(scorer.scores(image.key, image.rows)) - rehearsed[image.part] for image in known)
    excess = np.expm1(_end_to_end(odds))
    fits = np.array([np.log1p(share * excess).sum() for share in _SHARES])
    chances = np.exp(fits - fits.max()) * np.sqrt(_SHARES * (1 - _SHARES))  # per step of the log odds
    shifts = (log_odds(chances @ _SHARES / chances.sum()) - rehearsed) / 2
    shifted = (
        None if one is None else replace(one, bias=one.bias + float(shift))
        for one, shift in zip(scorer.verifiers, shifts, strict=True)
    )  # fmt: skip
    return replace(scorer, verifiers=tuple(shifted))


def _trusted_below(images: Sequence[ImageEvidence], excess: float) -> float:
    """Return the fixed score from which on regions are wrong labels already, as many as the excess is large."""
    if excess <= 0:
        return float("inf")
    rows = _end_to_end(np.stack([region_scores(some), some[:, _AREA]], axis=1).ravel() for some in _blocks(images))
    scores, log_areas = rows.reshape(-1, 2).T.copy()
    if not len(scores):
        return float("inf")
    order = np.argsort(-scores, kind="stable")
    areas = np.cumsum(10 ** log_areas[order]) / max(len(images), 1)
    return float(scores[order][min(int(np.searchsorted(areas, excess)), len(order) - 1)])


def _blocks(images: Sequence[ImageEvidence]) -> Iterator[FloatArray]:
    """Features of all regions, so many at a time; a product of so many rounds as that of all."""
    block, filled = np.empty((_ROWS_AT_ONCE, len(FEATURE_NAMES))), 0
    for image in images:
        rows = image.rows.features
        while len(rows):
            some = rows[: _ROWS_AT_ONCE - filled]
            block[filled : filled + len(some)] = some
            filled, rows = filled + len(some), rows[len(some) :]
            if filled == _ROWS_AT_ONCE:
                yield block
                filled = 0
    yield block[:filled]
