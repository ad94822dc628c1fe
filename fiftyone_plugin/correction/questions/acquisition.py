"""Which questions to ask first.

"cil" and "sim" are those of Kim, Hwang, Kwak & Ok 2024, Active label correction for semantic segmentation with
foundation models (ICML, PMLR 235), "balanced" is the adaptively balanced acquisition of its successor A2LC (AAAI 2026).
"expected_repair" is our own: by how much the mean IoU of the labels is expected to grow per second of the annotator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from .candidates import Candidates
from .query_costs import AnswerSeconds

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Asked = Sequence["Collection[int] | BoolArray"]

ACQUISITIONS: Final = {
    "random": "any superpixel, all equally likely",
    "cil": "doubt in the label at the representative pixel",
    "mean_cil": "mean doubt in the label",
    "sim": "look-ahead: doubt in the label, summed over pixels like the representative one",
    "balanced": "look-ahead with rare classes first (A2LC)",
    "expected_repair": "mean IoU that an answer is expected to add, per second",
}
"""Methods of choosing questions by name, and what each goes by."""

DEFAULT_ACQUISITION: Final = "expected_repair"

_LEAST_SHARE: Final = 0.01
"""A class counts as if its union had at least this share of the mean number of pixels per class: very small classes
would be worth more than they are likely to gain."""


def acquisition_values(
    candidates: Sequence[Candidates],
    method: str = DEFAULT_ACQUISITION,
    *,
    seed: int = 0,
    asked: Asked | None = None,
    beliefs: Sequence[npt.ArrayLike] | None = None,
    seconds: AnswerSeconds | None = None,
    ask_unlabelled: bool = False,
) -> list[FloatArray]:
    """Say what each question is worth.

    Args:
        candidates: of all images; class weights are those of these images together
        method: one of `ACQUISITIONS`
        seed: of "random"
        asked: for each image the rows of superpixels that were asked about before, or a (n,) bool array; they are not
            asked again, and their labels count as right
        beliefs: for "expected_repair": for each image the (n, K) probabilities of the classes that an annotator may
            answer with, where more is known than what the model says, for example `AnswerModel.posterior`; NaN where
            not
        seconds: for "expected_repair": what an answer takes
        ask_unlabelled: whether superpixels without a given class are asked about too

    Returns:
        (n,) for each image, higher = sooner; NaN = not to be asked. "expected_repair" is in points of mean IoU (0 to
        100) per second.

    Raises:
        LabelQualityError: if the method is unknown, or images have different numbers of classes or do not fit `asked`
            or `beliefs`

    Example:
        >>> from .candidates import find_candidates
        >>> probs = np.array([[[0.9, 0.9, 0.2, 0.3]], [[0.1, 0.1, 0.8, 0.7]]])
        >>> found = find_candidates([[0, 0, 0, 1]], probs, [[1, 1, 2, 3]])
        >>> acquisition_values([found], "sim", asked=[{0}])[0].round(2)
        array([nan, 0.8, 0.3])
    """
    if method not in ACQUISITIONS:
        raise LabelQualityError(f"Expected a method out of {', '.join(ACQUISITIONS)}, but got {method!r}; pass one.")
    if not candidates:
        return []
    done = _first_look(candidates, asked)
    value_of = _value_of(method, candidates, done, beliefs, seconds or AnswerSeconds(), seed)
    found_values = []
    for place, (found, rows) in enumerate(zip(candidates, done, strict=True)):
        closed = rows | ((found.given < 0) & (not ask_unlabelled))
        found_values.append(np.where(closed, np.nan, value_of(place, found)))
    return found_values


def _value_of(
    method: str,
    candidates: Sequence[Candidates],
    done: Sequence[BoolArray],
    beliefs: Sequence[npt.ArrayLike] | None,
    seconds: AnswerSeconds,
    seed: int,
) -> Callable[[int, Candidates], FloatArray]:
    """Return what gives the values of one image, called for one after the other."""
    if method == "random":
        rng = np.random.default_rng(seed)
        return lambda place, found: rng.random(len(found))
    if method == "balanced":
        weights = _balance(candidates, done)
        return lambda place, found: found.sim_to_mean * weights[found.given]
    if method == "expected_repair":
        return _expected_repair(candidates, done, beliefs, seconds)
    return lambda place, found: np.asarray(getattr(found, method), np.float64)


def _first_look(candidates: Sequence[Candidates], asked: Asked | None) -> list[BoolArray]:
    """Return which rows were asked about, (n,) bool for each image; all images must have the same classes."""
    if asked is not None and len(asked) != len(candidates):
        raise LabelQualityError(
            f"Expected `asked` for each of {len(candidates)} images, but got {len(asked)}; pass an empty set for "
            "images without answers."
        )
    counts: set[int] = set()
    done = []
    for place, found in enumerate(candidates):
        counts.add(found.num_classes)
        done.append(np.zeros(len(found), np.bool_) if asked is None else _as_rows(asked[place], len(found)))
    if len(counts) > 1:
        raise LabelQualityError(
            f"Expected the same number of classes for all images, but got {sorted(counts)}; find candidates again for "
            "all images with the same model."
        )
    return done


def _as_rows(asked: Collection[int] | BoolArray, count: int) -> BoolArray:
    if isinstance(asked, np.ndarray) and asked.dtype == np.bool_ and asked.shape == (count,):
        return asked
    rows = np.array(list(asked), np.int64)
    if (isinstance(asked, np.ndarray) and asked.dtype == np.bool_) or (rows < 0).any() or (rows >= count).any():
        raise LabelQualityError(
            f"Expected `asked` as rows from 0 to {count - 1} or {count} booleans, but got {np.asarray(list(asked))}; "
            "were the superpixels made anew since?"
        )
    done = np.zeros(count, np.bool_)
    done[rows] = True
    return done


def _balance(candidates: Sequence[Candidates], done: Sequence[BoolArray]) -> FloatArray:
    """(K + 1,) weight by given class, the last one for no class: (smallest / N_c) ^ KL^3, 0 for absent classes.

    N_c are the pixels of class c in superpixels that were not asked about, KL the divergence of their distribution from
    the uniform one in nats.
    """
    num_classes = candidates[0].num_classes
    pixels = np.zeros(num_classes + 1)
    for found, rows in zip(candidates, done, strict=True):
        np.add.at(pixels, found.given[~rows], found.area[~rows])
    pixels[-1] = 0
    present = pixels > 0
    if not present.any():
        return np.zeros(num_classes + 1)
    shares = pixels[present] / pixels.sum()
    divergence = float((shares * np.log(shares * num_classes)).sum())
    weights = np.zeros(num_classes + 1)
    weights[present] = (pixels[present].min() / pixels[present]) ** (divergence**3)
    return weights


@dataclass(frozen=True, eq=False)
class _Expected:
    """What is expected of the superpixels of one image.

    Attributes:
        answers: (n, K) probability of each answer
        shares: (n, K) shares of the true classes among the pixels
    """

    answers: FloatArray
    shares: FloatArray

    @classmethod
    def of(cls, found: Candidates, done: BoolArray, belief: npt.ArrayLike | None) -> _Expected:
        """Expect what the model says, what is known better, and of superpixels that were asked about their label.

        The model's mean probabilities mean two things: a superpixel of one class that the model is unsure about, to the
        extent that it says the same of all pixels, and a mixture that is answered with its largest class, to the extent
        that it says different things (`mixed`).
        """
        total = np.maximum(found.mean_probs.sum(axis=1, keepdims=True), 1e-12)
        shares = found.mean_probs.astype(np.float64) / total
        answers = _blend(shares, np.eye(found.num_classes)[shares.argmax(axis=1)], found.mixed)
        if belief is not None:
            known = _check_belief(belief, shares.shape)
            rows = ~np.isnan(known).any(axis=1)
            answers[rows] = known[rows]
            shares[rows] = _blend(known[rows], shares[rows], found.mixed[rows])
        settled = done & (found.given >= 0)
        shares[settled] = answers[settled] = np.eye(found.num_classes)[found.given[settled]]
        return cls(answers, shares)


def _blend(one: FloatArray, other: FloatArray, share: FloatArray) -> FloatArray:
    """Rows of two arrays mixed, with `share` of the other."""
    return np.asarray((1 - share[:, None]) * one + share[:, None] * other)


def _check_belief(belief: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    known = np.asarray(belief, np.float64)
    if known.shape != shape:
        raise LabelQualityError(
            f"Expected `beliefs` of shape {shape} for the superpixels and classes of an image, but got {known.shape}; "
            "were the superpixels made anew since?"
        )
    sums = known.sum(axis=1)
    if (np.abs(sums - 1) > 1e-3).any() or (known < 0).any():
        raise LabelQualityError(
            f"Expected probabilities of each superpixel that sum to 1, but got values from {np.nanmin(known):.4g} and "
            f"sums from {np.nanmin(sums):.4g} to {np.nanmax(sums):.4g}; divide by the sum, or put NaN where unknown."
        )
    return known


def _expected_repair(
    candidates: Sequence[Candidates],
    done: Sequence[BoolArray],
    beliefs: Sequence[npt.ArrayLike] | None,
    seconds: AnswerSeconds,
) -> Callable[[int, Candidates], FloatArray]:
    """Return what gives points of mean IoU per second of one image; nothing of other images is kept for it."""
    if beliefs is not None and len(beliefs) != len(candidates):
        raise LabelQualityError(
            f"Expected `beliefs` for each of {len(candidates)} images, but got {len(beliefs)}; fill in NaN where "
            "nothing is known."
        )

    def expect(place: int, found: Candidates) -> _Expected:
        return _Expected.of(found, done[place], None if beliefs is None else beliefs[place])

    weights = _ClassWeights.of(candidates[0].num_classes, ((one, expect(i, one)) for i, one in enumerate(candidates)))
    return lambda place, found: weights.repair(found, expect(place, found), seconds)


@dataclass(frozen=True, eq=False)
class _ClassWeights:
    """What a pixel is worth in points of mean IoU, by class.

    A pixel whose label changes from g to its true class t takes a false positive from g and gives a true positive to t.
    To first order IoU_g grows by IoU_g / U_g and IoU_t by 1 / U_t, where U is the union of the pixels of a class in
    labels and truth. But then it would be worth nothing to clear a class whose labels are nearly all wrong, which only
    pays once most are cleared. So a repaired pixel counts as all errors of a class do on average: with E of them left,
    (1 - IoU) / E = 1 / U, for false positives as for false negatives. What an answer would spoil in a mixture counts
    to first order. Unions and IoUs are the expected ones. A class that no label has and that is nowhere the most
    probable one is not in the dataset and worth nothing.

    Attributes:
        hit: (K,) of a true positive, and of a repaired pixel, 1 / U
        miss: (K,) of a false positive, IoU / U
    """

    hit: FloatArray
    miss: FloatArray

    @classmethod
    def of(cls, num_classes: int, images: Iterable[tuple[Candidates, _Expected]]) -> _ClassWeights:
        given, true, both, likely = (np.zeros(num_classes) for _ in range(4))
        for found, hope in images:
            pixels = hope.shares * found.area[:, None]
            rows = np.flatnonzero(found.given >= 0)
            np.add.at(given, found.given[rows], found.area[rows])
            np.add.at(both, found.given[rows], pixels[rows, found.given[rows]])
            true += pixels.sum(axis=0)
            likely += np.bincount(hope.answers.argmax(axis=1), minlength=num_classes)
        union = np.maximum(given + true - both, max(_LEAST_SHARE * true.sum() / num_classes, 1.0))
        points = 100 / max(int((given > 0).sum()), 1)  # the mean is over classes that are there
        return cls(points / union * ((given > 0) | (likely > 0)), points * both / union**2)

    def repair(self, found: Candidates, expected: _Expected, seconds: AnswerSeconds) -> FloatArray:
        """(n,) expected points of mean IoU per second of the annotator.

        If the answer is t, all pixels become t. To the extent that the superpixel is a mixture, its pixels are what
        the model says, otherwise all of them are t.
        """
        rows = np.flatnonzero(found.given >= 0)
        given = found.given[rows]
        freed, lost, right = np.zeros(len(found)), np.zeros(len(found)), np.zeros(len(found))
        freed[rows], lost[rows] = self.miss[given], self.hit[given]
        right[rows] = expected.shares[rows, given]
        pure = lost[:, None] + self.hit
        part = (freed * (1 - right) - lost * right)[:, None]
        part = part + expected.shares * self.hit - (1 - expected.shares) * self.miss
        changes = expected.answers.copy()
        changes[rows, given] = 0
        gain = (changes * np.maximum(_blend(pure, part, found.mixed), 0)).sum(axis=1)
        return np.asarray(found.area * gain / seconds.expected(changes.sum(axis=1)))


@dataclass(frozen=True)
class Chosen:
    """A question to ask.

    Attributes:
        image: number of the image
        row: of the superpixel in the image's candidates
        value: what the question is worth
        audit: whether it was drawn at random, to estimate how much is wrong
    """

    image: int
    row: int
    value: float
    audit: bool


def choose_queries(
    candidates: Sequence[Candidates],
    values: Sequence[npt.ArrayLike],
    budget: int,
    *,
    audits: float = 0.0,
    seed: int = 0,
) -> list[Chosen]:
    """Choose the questions to ask, and their order.

    Args:
        candidates: of all images
        values: (n,) for each image, as from `acquisition_values`
        budget: number of questions
        audits: share of them that is drawn at random among all that can be asked, with probability in proportion to
            area, whatever they are worth; what is found wrong there estimates what is wrong everywhere
        seed: of the draws

    Returns:
        the most valuable first, audits mixed in at even distances; fewer than `budget` where no more can be asked

    Raises:
        LabelQualityError: if the budget is negative, `audits` no share, or arrays do not fit

    Example:
        >>> from .candidates import find_candidates
        >>> found = find_candidates([[0, 0]], np.full((2, 1, 2), 0.5), [[1, 2]])
        >>> choose_queries([found], [[0.1, 0.7]], 1)
        [Chosen(image=0, row=1, value=0.7, audit=False)]
    """
    if budget < 0 or not 0 <= audits <= 1:
        raise LabelQualityError(
            f"Expected `budget` from 0 and `audits` in [0, 1], but got {budget} and {audits}; audits are a share."
        )
    value, area, place_of = _open_rows(candidates, values)
    count = min(int(budget), value.size)
    drawn = _draw_by_area(area, round(audits * count), np.random.default_rng(seed))
    best = _highest(value, count)  # at most as many as are drawn are taken from them
    best = best[~np.isin(best, drawn)][: count - drawn.size]
    order = _mix(best, drawn)
    is_audit = np.isin(order, drawn)
    return [Chosen(*place_of(i), float(value[i]), bool(audit)) for i, audit in zip(order, is_audit, strict=True)]


def _open_rows(
    candidates: Sequence[Candidates], values: Sequence[npt.ArrayLike]
) -> tuple[FloatArray, Array, Callable[[int], tuple[int, int]]]:
    """Value and area of everything that can be asked, and what tells image and row of one of them."""
    arrays = [np.asarray(value, np.float64) for value in values]
    areas = [np.asarray(found.area) for found in candidates]
    if [array.shape for array in arrays] != [area.shape for area in areas]:
        raise LabelQualityError(
            f"Expected one value per superpixel, {[area.size for area in areas][:5]} ... by image, but got "
            f"shapes {[array.shape for array in arrays][:5]} ...; compute `acquisition_values` of these candidates."
        )
    used = [~np.isnan(array) for array in arrays]
    ends = np.cumsum([rows.sum() for rows in used], dtype=np.int64)

    def place_of(number: int) -> tuple[int, int]:
        image = int(np.searchsorted(ends, number, side="right"))
        rows = np.flatnonzero(used[image])
        return image, int(rows[number - (ends[image] - rows.size)])

    value = np.concatenate([np.zeros(0), *(array[rows] for array, rows in zip(arrays, used, strict=True))])
    area = np.concatenate([np.zeros(0, np.int32), *(each[rows] for each, rows in zip(areas, used, strict=True))])
    return value, area, place_of


def _highest(value: FloatArray, count: int) -> Array:
    """Places of the highest values, so many and all that are equal to the last of them, highest first."""
    if count >= value.size:
        return np.argsort(-value, kind="stable")
    ranked, last = -value, max(count - 1, 0)
    ranked.partition(last)
    found = np.flatnonzero(value >= -ranked[last])
    return found[np.argsort(-value[found], kind="stable")]


def _draw_by_area(area: Array, count: int, rng: np.random.Generator) -> Array:
    """Systematic sampling in random order: each is drawn with probability count * area / total, at most 1."""
    if not count:
        return np.zeros(0, np.int64)
    order = rng.permutation(area.size)
    ends = np.cumsum(area[order], dtype=np.float64)
    marks = (rng.random() + np.arange(count)) * ends[-1] / count
    drawn = order[np.minimum(np.searchsorted(ends, marks, side="right"), area.size - 1)]
    return rng.permutation(np.unique(drawn))


def _mix(best: Array, drawn: Array) -> Array:
    """Put `drawn` between `best` at even distances."""
    size = best.size + drawn.size
    places = ((np.arange(drawn.size) + 0.5) * size / max(drawn.size, 1)).astype(np.int64)
    order = np.empty(size, np.int64)
    rest = np.ones(size, np.bool_)
    rest[places] = False
    order[places], order[rest] = drawn, best
    return order
