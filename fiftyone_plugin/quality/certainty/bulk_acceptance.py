"""Accept many regions after a few decisions, with a promise about how many of them are mistakes.

A mistake is a region that is accepted as an error though its label is right.

Regions are sorted by how likely they are errors and cut into bands before anything is drawn; a set is the first bands
together. Within each band regions are decided on in a random order. A set may be accepted as soon as the decisions
speak strongly enough against the hypothesis that more than the allowed share of it are mistakes. How strongly is a
likelihood ratio. Its denominator is the chance of the decisions if W_b of the n_b regions of band b are mistakes, k_b
of them were decided on in random order, and x_b were mistakes,

    p = product over bands of  [W_b]_x [n_b - W_b]_(k-x) / [n_b]_k ,    [a]_m = a (a - 1) ... (a - m + 1),

at its largest over all (W_b) that the hypothesis allows, however unlikely. Its numerator is a bet: a mixture of rates
that was fixed before. Under the hypothesis the ratio exceeds 1 / a at any time with probability a at most (Ville's
inequality; Wald 1947, Sequential analysis; Waudby-Smith & Ramdas 2020, Confidence sequences for sampling without
replacement, NeurIPS 33), so one may look after every decision and decide on more, as often as one likes, and the
promise is exact for the finite number of regions.

Which set is accepted depends on the decisions, too. Sets are tested in an order that is fixed before: larger and larger
ones until one fails (fixed-sequence testing; Angelopoulos, Bates, Candes, Jordan & Lei 2021, Learn then test). One
sequence begins at the largest set that the scores themselves take for good; a second one, with a fifth of the risk,
at the smallest, for the case that the scores are wrong.

Only decisions in the drawn order count. Regions that somebody has picked, for instance the worst, are no random sample:
they may sort the regions before the draw, and they are no evidence after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ...wording import count

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ALLOWED: Final = 0.05
CONFIDENCE: Final = 0.95

SMALLEST: Final = 100
"""Regions of the smallest set; fewer are decided on one by one nearly as quickly."""

_GROWTH: Final = 1.6
_FALLBACK: Final = 0.2  # share of the risk for the sequence that begins at the smallest set
_BET_RATES: Final = np.array([0.05, 0.2, 0.4, 0.6, 0.8])  # of the allowed share
_BET_WEIGHTS: Final = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
_BET_SHAPES: Final = (0.0, 0.5, 1.0)  # how much the scores are believed about which band has more
_PRIOR_REVIEWS: Final = 20.0


@dataclass(frozen=True, eq=False)
class BulkBands:
    """Regions in bands, the likeliest errors first; all of it is settled before a region is drawn.

    Attributes:
        bands: (R,) band of each region, from 0
        sizes: (B,) regions of each band
        expected: (B,) share of mistakes in each band that the scores expect
        start: band with which the largest set ends that the scores take for good
    """

    bands: IntArray
    sizes: IntArray
    expected: FloatArray
    start: int


def cut_bands(chances: npt.ArrayLike, *, allowed: float = ALLOWED) -> BulkBands:
    """Sort regions into bands.

    Args:
        chances: (R,) how likely each region is an error, in [0, 1]
        allowed: share of an accepted set that may be mistakes

    Returns:
        the bands; sets of the first ones grow by three fifths each

    Raises:
        LabelQualityError: if there is no region, a chance is no probability, or the allowed share is not in (0, 1)

    Example:
        >>> bands = cut_bands(np.r_[np.full(300, 0.99), np.full(200, 0.6)])
        >>> bands.sizes.tolist(), bands.start
        ([122, 73, 117, 188], 2)
    """
    values = np.asarray(chances, np.float64)
    _check_risk(allowed, CONFIDENCE)
    if values.ndim != 1 or not values.size or not ((values >= 0) & (values <= 1)).all():
        raise LabelQualityError(
            f"Expected at least one chance in [0, 1], but got shape {values.shape}; pass the scores of all regions."
        )
    order = np.argsort(-values, kind="stable")
    doubts = np.cumsum(1 - values[order]) / np.arange(1, values.size + 1)
    good = int((doubts <= allowed / 2).sum())  # the mean doubt only rises
    ends, start = _ends(values.size, good)
    bands = np.empty(values.size, np.int64)
    bands[order] = np.searchsorted(ends, np.arange(values.size), side="right")
    sizes = np.diff(ends, prepend=0)
    expected = np.bincount(bands, weights=1 - values, minlength=sizes.size) / sizes
    return BulkBands(bands, sizes, expected, start)


def _ends(count: int, good: int) -> tuple[IntArray, int]:
    middle = min(max(good, SMALLEST), count)
    smaller = [middle]
    while smaller[-1] / _GROWTH >= SMALLEST:
        smaller.append(round(smaller[-1] / _GROWTH))
    larger = [middle]
    while larger[-1] * _GROWTH**0.5 < count:
        larger.append(round(larger[-1] * _GROWTH))
    larger[-1] = count if len(larger) > 1 else larger[-1]
    if larger[-1] < count:
        larger.append(count)
    return np.array([*smaller[::-1], *larger[1:]], np.int64), len(smaller) - 1


@dataclass(frozen=True)
class Promise:
    """What may be accepted.

    Attributes:
        num_bands: bands that may be accepted, from the first; 0 if none
        num_regions: regions in them, decided on or not
        allowed: at most this share of them are mistakes
        confidence: with this probability
        num_reviewed: decisions that it rests on
        num_wrong: of those, regions that were rejected
    """

    num_bands: int
    num_regions: int
    allowed: float
    confidence: float
    num_reviewed: int
    num_wrong: int

    def text(self) -> str:
        """The promise in words.

        Example:
            >>> Promise(3, 1840, 0.05, 0.95, 120, 2).text()
            '1,840 regions can be accepted: at most 5 % mistakes, with 95 % confidence, from 120 decisions.'
            >>> Promise(0, 0, 0.05, 0.95, 14, 3).text()
            'Nothing can be accepted at once yet: 14 decisions so far about drawn regions, 3 regions rejected.'
        """
        if not self.num_bands:
            drawn = f"{count(self.num_reviewed, 'decision')} so far" if self.num_reviewed else "no decision so far"
            so_far = f"{drawn} about drawn regions"
            rejected = f", {count(self.num_wrong, 'region')} rejected" if self.num_wrong else ""
            return f"Nothing can be accepted at once yet: {so_far}{rejected}."
        return (
            f"{count(self.num_regions, 'region')} can be accepted: at most {100 * self.allowed:g} % mistakes, with "
            f"{100 * self.confidence:g} % confidence, from {count(self.num_reviewed, 'decision')}."
        )


def bulk_promise(
    bands: BulkBands,
    reviewed: npt.ArrayLike,
    wrong: npt.ArrayLike,
    *,
    allowed: float = ALLOWED,
    confidence: float = CONFIDENCE,
) -> Promise:
    """How many regions may be accepted, given the decisions so far.

    Args:
        bands: as they were before anything was drawn
        reviewed: (B,) regions of each band that were decided on, the first ones of its random order
        wrong: (B,) of those, how many were rejected
        allowed: share of the accepted regions that may be mistakes
        confidence: probability with which that must hold, however often it is asked

    Returns:
        the promise; it is about all regions of the bands together

    Raises:
        LabelQualityError: if counts do not fit

    Example:
        >>> bands = cut_bands(np.full(1000, 0.99))
        >>> reviewed = np.ceil(bands.sizes * 0.08)
        >>> bulk_promise(bands, reviewed, np.zeros(bands.sizes.size)).num_regions
        1000
    """
    counts = _counted(bands, reviewed, wrong)
    _check_risk(allowed, confidence)
    passed = _passed(bands, *counts, allowed, confidence)
    return Promise(
        passed, int(bands.sizes[:passed].sum()), allowed, confidence, int(counts[0].sum()), int(counts[1].sum())
    )


@dataclass(frozen=True, eq=False)
class NextStep:
    """What further decisions would allow.

    Attributes:
        reviews: (B,) further regions of each band to decide on, the next ones of its order
        num_regions: regions that could be accepted then beyond those that may be now
    """

    reviews: IntArray
    num_regions: int

    def text(self) -> str:
        """The step in words."""
        number = int(self.reviews.sum())
        return f"Review {number:,} more: if nearly all are errors, about {self.num_regions:,} more can be accepted."


def next_step(
    bands: BulkBands,
    reviewed: npt.ArrayLike,
    wrong: npt.ArrayLike,
    *,
    allowed: float = ALLOWED,
    confidence: float = CONFIDENCE,
) -> NextStep | None:
    """Further decisions that probably let most regions be accepted for each decision.

    Args:
        bands: as they were before anything was drawn
        reviewed: (B,) as in `bulk_promise`
        wrong: (B,) as in `bulk_promise`
        allowed: as in `bulk_promise`
        confidence: as in `bulk_promise`

    Returns:
        the step, if further regions are like those seen so far; None where no further decision would help

    Example:
        >>> bands = cut_bands(np.full(1000, 0.99))
        >>> step = next_step(bands, np.zeros(bands.sizes.size), np.zeros(bands.sizes.size))
        >>> bool(60 < step.reviews.sum() < 120), step.num_regions
        (True, 1000)
    """
    counts, faults = _counted(bands, reviewed, wrong)
    _check_risk(allowed, confidence)
    passed = _passed(bands, counts, faults, allowed, confidence)
    best, most = None, 0.0
    rates = _probable_rates(bands, counts, faults, bands.expected)
    for risk, first in _open_sets(bands, passed, confidence):
        more = np.zeros(bands.sizes.size, np.int64)
        for place in range(first, bands.sizes.size):
            further = _reviews_for(bands, counts, faults, more, rates, place, allowed, -np.log(risk))
            if further is None:
                break
            more, gain = further, int(bands.sizes[passed : place + 1].sum())
            if gain > most * more.sum():
                best, most = NextStep(more, gain), gain / max(int(more.sum()), 1)
    if best is not None or passed >= bands.sizes.size:
        return best
    # Scores may be too low: what was seen decides whether the smallest set is worth a try.
    rates = _probable_rates(bands, counts, faults, np.minimum(bands.expected, allowed / 4))
    risk, place = _open_sets(bands, passed, confidence)[-1]
    none = np.zeros(bands.sizes.size, np.int64)
    further = _reviews_for(bands, counts, faults, none, rates, place, allowed, -np.log(risk))
    return None if further is None else NextStep(further, int(bands.sizes[passed : place + 1].sum()))


def _sequences(bands: BulkBands, confidence: float) -> list[tuple[float, int]]:
    """Risk and first set of each sequence of tests."""
    risk = 1 - confidence
    if bands.start == 0:
        return [(risk, 0)]
    return [(risk * (1 - _FALLBACK), bands.start), (risk * _FALLBACK, 0)]


def _passed(bands: BulkBands, reviewed: FloatArray, wrong: FloatArray, allowed: float, confidence: float) -> int:
    most = 0
    for risk, first in _sequences(bands, confidence):
        place = first
        while place < bands.sizes.size and _evidence(bands, reviewed, wrong, place, allowed) >= -np.log(risk):
            place += 1
        most = max(most, place if place > first else 0)
    return most


def _open_sets(bands: BulkBands, passed: int, confidence: float) -> list[tuple[float, int]]:
    """Risk and last band of the sets that could be accepted next."""
    sequences = _sequences(bands, confidence)
    if passed == 0:
        return sequences
    if passed >= bands.sizes.size:
        return []
    main, *fallback = sequences
    return [(main[0], max(passed, main[1])), *((risk, passed) for risk, _ in fallback)]


def _reviews_for(
    bands: BulkBands,
    reviewed: FloatArray,
    wrong: FloatArray,
    planned: IntArray,
    rates: FloatArray,
    place: int,
    allowed: float,
    needed: float,
) -> IntArray | None:
    """Further decisions, those planned already among them, that probably are evidence enough for a set.

    The bands of the set are brought to an equal share, because a hypothesis hides its errors where few were looked at.
    """
    sizes = bands.sizes.astype(np.float64)
    in_set = np.arange(sizes.size) <= place

    def more_at(share: float) -> IntArray:
        return np.where(in_set, np.maximum(np.ceil(share * sizes) - reviewed, planned), planned).astype(np.int64)

    def enough(share: float) -> bool:
        more = more_at(share)
        return _evidence(bands, reviewed + more, np.round(wrong + rates * more), place, allowed) >= needed

    low, high = 0.0, 1.0
    if enough(low):
        return more_at(low)
    if not enough(high):
        return None
    while high - low > 0.5 / sizes[in_set].max():
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return more_at(high)


def _probable_rates(bands: BulkBands, reviewed: FloatArray, wrong: FloatArray, expected: FloatArray) -> FloatArray:
    """Share of mistakes in each band: what the scores expect, as far off as they were so far, and what was seen."""
    off = (wrong.sum() + 1) / ((reviewed * expected).sum() + 1)
    expected = np.clip(expected * off, 0, 0.95)
    return np.asarray((wrong + _PRIOR_REVIEWS * expected) / (reviewed + _PRIOR_REVIEWS))


def _evidence(bands: BulkBands, reviewed: FloatArray, wrong: FloatArray, place: int, allowed: float) -> float:
    """Log of the likelihood ratio against more than the allowed share in the bands up to one."""
    sizes, counts, faults = bands.sizes[: place + 1], reviewed[: place + 1], wrong[: place + 1]
    bet = _log_bet(sizes, counts, faults, bands.expected[: place + 1], allowed)
    least = int(np.floor(allowed * sizes.sum() + 1e-9)) + 1
    worst = _largest_likelihood(sizes, counts, faults, least)
    return np.inf if worst == -np.inf else bet - worst


def _log_bet(sizes: IntArray, reviewed: FloatArray, wrong: FloatArray, expected: FloatArray, allowed: float) -> float:
    logs = []
    for shape in _BET_SHAPES:
        profile = np.maximum(expected, 1e-3) ** shape
        profile = profile / np.average(profile, weights=sizes)
        rates = np.clip(allowed * _BET_RATES[:, None] * profile, 1e-4, 0.95)
        chances = (wrong * np.log(rates) + (reviewed - wrong) * np.log1p(-rates)).sum(axis=1)
        logs.append(chances + np.log(_BET_WEIGHTS / len(_BET_SHAPES)))
    return float(np.logaddexp.reduce(np.concatenate(logs)))


def _largest_likelihood(sizes: IntArray, reviewed: FloatArray, wrong: FloatArray, least: int) -> float:
    """Largest log chance of the decisions if at least so many regions are mistakes; -inf if that cannot be.

    The log chance is concave in the number of each band, so that filling up step by step, each time where it costs
    least, ends at the maximum.
    """
    likeliest = [_likeliest(*band) for band in zip(sizes, reviewed, wrong, strict=True)]
    best = sum(
        float(_log_chances(size, count, faults, np.array([at]))[0])
        for size, count, faults, at in _rows(sizes, reviewed, wrong, likeliest)
    )
    missing = least - sum(likeliest)
    if missing <= 0:
        return best
    steps = [
        np.diff(_log_chances(size, count, faults, np.arange(at, min(at + missing, int(size - count + faults)) + 1)))
        for size, count, faults, at in _rows(sizes, reviewed, wrong, likeliest)
    ]
    every = np.concatenate(steps)
    if every.size < missing:
        return -np.inf
    return best + float(np.partition(every, every.size - missing)[every.size - missing :].sum())


def _rows(
    sizes: IntArray, reviewed: FloatArray, wrong: FloatArray, likeliest: Sequence[int]
) -> list[tuple[int, float, float, int]]:
    return list(zip(sizes.tolist(), reviewed.tolist(), wrong.tolist(), likeliest, strict=True))


def _likeliest(size: int, reviewed: float, wrong: float) -> int:
    """The number of a band that makes its decisions most likely; as many as can be where there are none."""
    if reviewed == 0:
        return int(size)
    return int(min(np.floor(wrong * (size + 1) / reviewed), size - reviewed + wrong))


def _log_chances(size: int, reviewed: float, wrong: float, numbers: IntArray) -> FloatArray:
    """Log chance of the decisions of one band, in their order, for numbers of regions that are mistakes."""
    from scipy.special import gammaln

    right = reviewed - wrong
    ways = gammaln(numbers + 1) - gammaln(numbers - wrong + 1)
    ways = ways + gammaln(size - numbers + 1) - gammaln(size - numbers - right + 1)
    return np.asarray(ways - gammaln(size + 1) + gammaln(size - reviewed + 1))


def _counted(bands: BulkBands, reviewed: npt.ArrayLike, wrong: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    counts, faults = np.asarray(reviewed, np.float64), np.asarray(wrong, np.float64)
    fits = counts.shape == faults.shape == bands.sizes.shape
    if not fits or (faults < 0).any() or (faults > counts).any() or (counts > bands.sizes).any():
        raise LabelQualityError(
            f"Expected of each of {bands.sizes.size} bands 0 <= wrong <= reviewed <= size, but got {faults.tolist()} "
            f"of {counts.tolist()} of {bands.sizes.tolist()}; count each region once."
        )
    return counts, faults


def _check_risk(allowed: float, confidence: float) -> None:
    if not (0 < allowed < 1 and 0 < confidence < 1):
        raise LabelQualityError(
            f"Expected `allowed` and `confidence` between 0 and 1, but got {allowed} and {confidence}; "
            "5 % with 95 % confidence is allowed=0.05, confidence=0.95."
        )
