"""How much is still wrong, estimated from questions that were drawn at random, and whether to go on.

The questions worth asking are no fair sample, so a few are drawn by chance: audits, each superpixel with probability in
proportion to its area. The mean share of wrong pixels in them is then the share of wrong pixels in everything that
could have been asked when they were drawn (Hansen & Hurwitz 1943, On the theory of sampling from finite populations,
Annals of Mathematical Statistics 14). What has been repaired since, in audits or not, comes off.

Where the most valuable questions were asked one after the other, the answers say all about that part, so that only the
rest has to be estimated, and audits in the rest are a fair sample of it. Otherwise what was estimated of the asked part
and what was found there would not cancel, and few audits would estimate many times what is true.

An interval holds all shares against which the audits do not speak. With x the sum of the wrong shares of n audits, a
share m is spoken against by the ratio of a bet, the beta-binomial chance of x, to m^x (1 - m)^(n - x). If m is true,
the ratio exceeds 1 / a at any time with probability a at most (Ville's inequality; for shares between 0 and 1 the ratio
is at most a mean of products 1 + c (y - m): Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by
betting, JRSS B 86). So one may look after every answer and stop when one likes, which is what it is for. Ratios of
several rounds are multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ...quality.regions.review_statistics import LEVEL, Interval
from ...wording import count

TARGET: Final = 0.01
"""Share of wrong pixels that is good enough, unless asked otherwise."""

LATEST: Final = 30
"""Answers that the present yield is taken from."""

_FEWEST: Final = 20
_SMALL_YIELD: Final = 0.1
_BET: Final = (0.2, 2.0)
"""Beta distribution of the bet: most labels are right."""

_HALVINGS: Final = 50


@dataclass(frozen=True, eq=False)
class AuditRound:
    """The audits that were drawn together, as far as they are answered, and what happened since.

    Attributes:
        areas: (n,) pixels of each answered audit
        wrong: (n,) pixels of it that its answer changed
        population: pixels of everything that could be asked about when the audits were drawn
        planned: audits that were drawn, answered or not; None: as many as were answered
        repaired: pixels that answers, audits or not, have changed since they were drawn
        unknown: pixels beside the population of which nothing is known: all of them may be wrong
    """

    areas: npt.ArrayLike
    wrong: npt.ArrayLike
    population: float
    repaired: float = 0.0
    planned: float | None = None
    unknown: float = 0.0


@dataclass(frozen=True, eq=False)
class AskedRound:
    """Everything that was planned together, asked for its value or drawn at random.

    Attributes:
        values: (q,) what each question was worth when it was planned
        areas: (q,) pixels
        repaired: (q,) pixels that its answer changed; 0 where there is none
        audits: (q,) bool, drawn at random
        answered: (q,) bool
        population: pixels of everything that could be asked about
        planned: audits that were drawn, answered or not
        repaired_since: pixels that answers to questions of later rounds have changed
    """

    values: npt.ArrayLike
    areas: npt.ArrayLike
    repaired: npt.ArrayLike
    audits: npt.ArrayLike
    answered: npt.ArrayLike
    population: float
    planned: int
    repaired_since: float = 0.0

    def rest(self) -> AuditRound:
        """What the audits say about the part that was not asked from end to end.

        The asked part are the most valuable questions down to the first one without an answer. Audits that would have
        been in it, had they not been drawn, count as asked: those without an answer are unknown.

        Returns:
            audits, population and repairs of the rest

        Example:
            >>> asked = AskedRound([9, 8, 7, 1], [10, 10, 10, 10], [10, 10, 0, 0], [0, 1, 0, 1], [1, 1, 1, 1], 400, 2)
            >>> asked.rest()
            AuditRound(areas=array([10.]), wrong=array([0.]), population=370.0, repaired=0.0, planned=1.85, unknown=0.0)
        """
        values, areas, repaired = (np.asarray(part, np.float64) for part in (self.values, self.areas, self.repaired))
        audits, answered = np.asarray(self.audits, bool), np.asarray(self.answered, bool)
        open_values = values[~audits & ~answered]
        lowest = values[~audits & answered].min(initial=np.inf)
        known = values >= lowest if not open_values.size else values > open_values.max()
        drawn = audits & answered & ~known
        population = max(self.population - areas[known].sum(), areas[drawn].sum(), 1.0)
        return AuditRound(
            areas=areas[drawn],
            wrong=repaired[drawn],
            population=float(population),
            repaired=float(repaired[~known].sum() + self.repaired_since),
            planned=float(self.planned * population / max(self.population, 1.0)),
            unknown=float(areas[known & ~answered].sum()),
        )


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
        the share with an interval that holds the truth whenever one looks; None without audits

    Raises:
        LabelQualityError: if a number does not fit

    Example:
        >>> audits = AuditRound(areas=[40] * 50, wrong=[40] * 5 + [0] * 45, population=8000, repaired=300)
        >>> left = remaining_share([audits], 10_000)
        >>> round(left.estimate, 3), round(left.low, 3), round(left.high, 3)
        (0.05, 0.0, 0.195)
    """
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
    low, high = _ends([one for one in counted if one.number], level)
    unknown = max(one.unknown for one in rounds)
    estimate = float(np.clip(share * population - repaired, low, high))
    left = np.clip(np.array([estimate, low, high + unknown]) / labelled_pixels, 0, 1)
    return Interval(*(float(value) for value in left))


def _ends(rounds: Sequence[_Counted], level: float) -> tuple[float, float]:
    """Fewest and most wrong pixels that the audits do not speak against.

    The log of the ratio is convex in the number of pixels, so its lowest place lies between the rounds' own estimates.
    """
    from scipy.optimize import minimize_scalar

    most = min(one.population - one.repaired for one in rounds)
    if most <= 0:
        return 0.0, 0.0

    def against(pixels: float) -> float:
        return sum(one.against((pixels + one.repaired) / one.population) for one in rounds)

    line = -np.log(1 - level)
    lowest = minimize_scalar(against, bounds=(0, most), method="bounded", options={"xatol": most * 1e-6}).x
    low, high = (end if against(end) < line else _crossing(against, lowest, end, line) for end in (0.0, most))
    return low, high


def _crossing(against: Callable[[float], float], inside: float, outside: float, line: float) -> float:
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if against(middle) < line else (inside, middle)
    return outside


def _log_beta(first: float, second: float) -> float:
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)


@dataclass(frozen=True)
class _Counted:
    number: float
    share: float
    population: float
    repaired: float

    def against(self, share: float) -> float:
        """Log of the ratio that speaks against a share of wrong pixels in the population."""
        wrong, right = self.number * self.share, self.number * (1 - self.share)
        if (wrong > 0 and share <= 0) or (right > 0 and share >= 1):
            return math.inf
        bet = _log_beta(_BET[0] + wrong, _BET[1] + right) - _log_beta(*_BET)
        return bet - (wrong * math.log(share) if wrong else 0) - (right * math.log1p(-share) if right else 0)

    @classmethod
    def of(cls, drawn: AuditRound) -> _Counted:
        areas, wrong = np.asarray(drawn.areas, np.float64), np.asarray(drawn.wrong, np.float64)
        if areas.shape != wrong.shape or (areas <= 0).any() or (wrong < 0).any() or (wrong > areas).any():
            raise LabelQualityError(
                f"Expected `wrong` pixels between 0 and the area of each audit, but got {wrong.ravel()[:5]} ... of "
                f"{areas.ravel()[:5]} ...; count the changed pixels of each."
            )
        if drawn.population < areas.sum() or min(drawn.repaired, drawn.unknown) < 0:
            raise LabelQualityError(
                f"Expected a `population` of at least the audits' {areas.sum():g} pixels, `repaired` and `unknown` "
                f"from 0, but got {drawn.population:g}, {drawn.repaired:g} and {drawn.unknown:g}; the population is "
                "all that could be asked about."
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
    missing = max(_FEWEST, 2 * latest) - pixels.size
    if missing > 0:
        return Advice("start", f"{count(missing, 'more answer', 'are')} needed to tell when to stop.")
    before, now = _per_minute(pixels[:-latest], times[:-latest]), _per_minute(pixels[-latest:], times[-latest:])
    if now < _SMALL_YIELD * before:
        compared = f"the last {latest} repaired {now:,.0f} pixels per minute, those before {before:,.0f}"
        return Advice("little", f"Answers repair little by now: {compared}.")
    return Advice("go on", f"Go on: the last {latest} answers repaired {now:,.0f} pixels per minute.")


def _per_minute(pixels: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]) -> float:
    return float(60 * pixels.sum() / max(seconds.sum(), 1e-9))


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
