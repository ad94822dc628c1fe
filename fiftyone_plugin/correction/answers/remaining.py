"""How much is still wrong, estimated from questions that were drawn at random, and whether to go on.

The questions worth asking are no fair sample, so a few are drawn by chance: audits, each superpixel with probability in
proportion to its area. The mean share of wrong pixels in them is then the share of wrong pixels in everything that
could have been asked when they were drawn (Hansen & Hurwitz 1943, On the theory of sampling from finite populations,
Annals of Mathematical Statistics 14). What has been repaired since, in audits or not, comes off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ...quality.regions.review_statistics import LEVEL, Interval

TARGET: Final = 0.01
"""Share of wrong pixels that is good enough, unless asked otherwise."""

LATEST: Final = 30
"""Answers that the present yield is taken from."""

_FEWEST: Final = 20
_SMALL_YIELD: Final = 0.1
_FLOOR: Final = 0.5
"""Jeffreys' prior: half a wrong and half a right audit."""


@dataclass(frozen=True, eq=False)
class AuditRound:
    """The audits that were drawn together, as far as they are answered, and what happened since.

    Attributes:
        areas: (n,) pixels of each answered audit
        wrong: (n,) pixels of it that its answer changed
        population: pixels of everything that could be asked about when the audits were drawn
        planned: audits that were drawn, answered or not; None: as many as were answered
        repaired: pixels that answers, audits or not, have changed since they were drawn
    """

    areas: npt.ArrayLike
    wrong: npt.ArrayLike
    population: float
    repaired: float = 0.0
    planned: int | None = None


def remaining_share(rounds: Sequence[AuditRound], labelled_pixels: float, *, level: float = LEVEL) -> Interval | None:
    """Estimate the share of pixels that are still wrong.

    Pixels that cannot be asked about are counted as right, as are errors that an annotator does not see: a superpixel
    that was confirmed is right as a whole. Labels that were changed by other means than answers count with what they
    were.

    Args:
        rounds: of audits; of each, audits are taken to be answered in random order
        labelled_pixels: of the whole dataset
        level: share of intervals that hold the truth

    Returns:
        the share with Jeffreys' interval (a little too wide if superpixels are partly wrong); None without audits

    Raises:
        LabelQualityError: if a number does not fit

    Example:
        >>> audits = AuditRound(areas=[40] * 50, wrong=[40] * 5 + [0] * 45, population=8000, repaired=300)
        >>> left = remaining_share([audits], 10_000)
        >>> round(left.estimate, 3), round(left.low, 3), round(left.high, 3)
        (0.05, 0.001, 0.134)
    """
    from scipy.stats import beta

    counted = [_Counted.of(one) for one in rounds]
    number = sum(one.number for one in counted)
    if not number:
        return None
    largest = max(one.population for one in rounds)
    if labelled_pixels < largest:
        raise LabelQualityError(
            f"Expected `labelled_pixels` of at least the {largest:g} pixels that could be asked about, but got "
            f"{labelled_pixels:g}; count the whole dataset."
        )
    population = sum(one.number * one.population for one in counted) / number
    repaired = sum(one.number * one.repaired for one in counted) / number
    share = sum(one.number * one.population * one.share for one in counted) / (number * population)
    tail = (1 - level) / 2
    low, high = beta.ppf([tail, 1 - tail], number * share + _FLOOR, number * (1 - share) + _FLOOR)
    ends = (share, 0.0 if share == 0 else low, 1.0 if share == 1 else high)
    left = np.clip((np.array(ends) * population - repaired) / labelled_pixels, 0, 1)
    return Interval(*(float(value) for value in left))


@dataclass(frozen=True)
class _Counted:
    number: float
    share: float
    population: float
    repaired: float

    @classmethod
    def of(cls, drawn: AuditRound) -> _Counted:
        areas, wrong = np.asarray(drawn.areas, np.float64), np.asarray(drawn.wrong, np.float64)
        if areas.shape != wrong.shape or (areas <= 0).any() or (wrong < 0).any() or (wrong > areas).any():
            raise LabelQualityError(
                f"Expected `wrong` pixels between 0 and the area of each audit, but got {wrong.ravel()[:5]} ... of "
                f"{areas.ravel()[:5]} ...; count the changed pixels of each."
            )
        if drawn.population < areas.sum() or drawn.repaired < 0:
            raise LabelQualityError(
                f"Expected a `population` of at least the audits' {areas.sum():g} pixels and `repaired` from 0, but "
                f"got {drawn.population:g} and {drawn.repaired:g}; the population is all that could be asked about."
            )
        planned = areas.size if drawn.planned is None else drawn.planned
        # one that takes up several of the equal steps at which audits are drawn was drawn as often, but asked once
        times = np.maximum(1, planned * areas / max(drawn.population, 1))
        share = float((times * wrong / areas).sum() / times.sum()) if areas.size else 0.0
        return cls(float(areas.size), share, float(drawn.population), float(drawn.repaired))


@dataclass(frozen=True)
class Advice:
    """Whether to go on.

    Attributes:
        kind: "done" if nothing is left to ask, "target" if little enough is wrong, "little" if answers repair little by
            now, "start" if too little was answered to say, else "go on"
        text: a sentence for the annotator
    """

    kind: str
    text: str


def advice(
    remaining: Interval | None,
    num_pending: int,
    repaired: npt.ArrayLike,
    seconds: npt.ArrayLike,
    *,
    target: float = TARGET,
    latest: int = LATEST,
) -> Advice:
    """Say whether going on is worth it.

    Args:
        remaining: share of pixels that are still wrong, as from `remaining_share`
        num_pending: questions that are left
        repaired: (n,) pixels that each answer changed, the oldest first, audits left out
        seconds: (n,) that each took
        target: share of wrong pixels that is good enough
        latest: how many answers the present yield is taken from

    Returns:
        the advice; to stop as soon as the upper end of the interval is below the target, or when the latest answers
        repaired less than a tenth of what answers repaired per minute before

    Raises:
        LabelQualityError: if the arrays do not fit

    Example:
        >>> advice(Interval(0.004, 0.001, 0.009), 310, [50] * 40, [3.0] * 40).text
        'You can stop: at most 0.9 % of the pixels are still wrong, and 1 % was the target.'
    """
    pixels, times = np.asarray(repaired, np.float64), np.asarray(seconds, np.float64)
    if pixels.shape != times.shape or pixels.ndim != 1:
        raise LabelQualityError(
            f"Expected seconds for each answer, but got shapes {pixels.shape} and {times.shape}; pass one per answer."
        )
    if num_pending == 0:
        return Advice("done", "All questions are answered.")
    if remaining is not None and remaining.high <= target:
        shown = (
            f"at most {_percent(remaining.high)} of the pixels are still wrong, and {_percent(target)} was the target"
        )
        return Advice("target", f"You can stop: {shown}.")
    if pixels.size < max(_FEWEST, 2 * latest):
        return Advice("start", "Too few answers so far to say when to stop.")
    before, now = _per_minute(pixels[:-latest], times[:-latest]), _per_minute(pixels[-latest:], times[-latest:])
    if now < _SMALL_YIELD * before:
        compared = f"the last {latest} repaired {now:,.0f} pixels per minute, those before {before:,.0f}"
        return Advice("little", f"Answers repair little by now: {compared}.")
    return Advice("go on", f"Go on: the last {latest} answers repaired {now:,.0f} pixels per minute.")


def _per_minute(pixels: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]) -> float:
    return float(60 * pixels.sum() / max(seconds.sum(), 1e-9))


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
