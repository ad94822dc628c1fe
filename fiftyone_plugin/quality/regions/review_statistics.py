"""What reviewed regions say about the regions nobody has looked at, and about the whole dataset.

People review the worst regions first, so what they found is no fair sample. It is one among regions of equal score:
which regions are looked at depends on the score, not on whether there is an error (Rubin 1976, Inference and missing
data, Biometrika 63). So the chance of an error is modelled as a function of score and kind, learned from the reviewed
regions, and applied to the pending ones:

    logit P(error) = intercept + slope * logit(score) + offset of the kind

which is Platt's scaling (Platt 1999, Probabilistic outputs for support vector machines) with a weak prior: intercept
N(0, 2), slope N(1, 0.5) and not negative, offsets N(0, 0.7). Without reviews the prior alone speaks: the scores are
believed, within a wide interval. Intervals come from draws of the coefficients (a Laplace approximation, corrected by
importance resampling: Rubin 1988, Bayesian Statistics 3) and from the chance that is left when they are known.

Errors that no region marks are not counted, and regions of equal score and kind are taken to be alike: whoever reviews
one class only learns about that class only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEVEL: Final = 0.95
"""Share of intervals that hold the truth, unless asked otherwise."""

NUM_DRAWS: Final = 400
_NUM_PROPOSALS: Final = 4_000
_HEAVY_TAILS: Final = 5  # degrees of freedom of the proposals
_INTERCEPT_SPREAD: Final = 2.0
_SLOPE_SPREAD: Final = 0.5
_KIND_SPREAD: Final = 0.7
_STEPS_PER_LOGIT: Final = 10
_LARGEST_LOGIT: Final = 7.0
_IMAGES_AT_ONCE: Final = 20_000
_NEXT: Final = 20


@dataclass(frozen=True)
class Interval:
    """A number that is not known exactly.

    Attributes:
        estimate: the most sensible single value
        low: lower end
        high: upper end
    """

    estimate: float
    low: float
    high: float


def precision_interval(accepted: int, reviewed: int, level: float = LEVEL) -> Interval:
    """Share of reviewed regions that were errors, as an estimate for more of their like.

    Jeffreys' interval: quantiles of Beta(accepted + 1/2, rejected + 1/2), with an end at 0 or 1 where all agree. Its
    coverage is close to the level even for few reviews (Brown, Cai & DasGupta 2001, Interval estimation for a binomial
    proportion, Statistical Science 16).

    Args:
        accepted: how many were errors
        reviewed: how many were looked at
        level: share of intervals that hold the truth

    Returns:
        the share found and the interval; 0 to 1 if nothing was reviewed

    Raises:
        LabelQualityError: if more were accepted than reviewed, or a number is negative

    Example:
        >>> found = precision_interval(2, 50)
        >>> round(found.estimate, 2), round(found.low, 3), round(found.high, 3)
        (0.04, 0.008, 0.122)
    """
    from scipy.stats import beta

    if not 0 <= accepted <= reviewed:
        raise LabelQualityError(
            f"Expected `accepted` between 0 and `reviewed`, but got {accepted} of {reviewed}; count each region once."
        )
    if reviewed == 0:
        return Interval(0.5, 0.0, 1.0)
    tail = (1 - level) / 2
    ends = beta.ppf([tail, 1 - tail], accepted + 0.5, reviewed - accepted + 0.5)
    low = 0.0 if accepted == 0 else float(ends[0])
    high = 1.0 if accepted == reviewed else float(ends[1])
    return Interval(accepted / reviewed, low, high)


@dataclass(frozen=True, eq=False)
class ReviewCurve:
    """How likely a region is an error, given its score and kind, with what is uncertain about that.

    Attributes:
        draws: (D, 2 + number of kinds) equally likely coefficients: intercept, slope, one offset per kind
        num_reviewed: regions it was learned from

    Example:
        >>> scores = np.linspace(0.05, 0.95, 40)
        >>> curve = ReviewCurve.fit(scores, scores > 0.6, np.zeros(40, int), num_kinds=1)
        >>> few, many = curve.chances([0.1, 0.9], [0, 0]).mean(axis=0)
        >>> bool(few < 0.1 and many > 0.8)
        True
    """

    draws: FloatArray
    num_reviewed: int

    @classmethod
    def fit(
        cls,
        scores: npt.ArrayLike,
        accepted: npt.ArrayLike,
        kinds: npt.ArrayLike,
        *,
        num_kinds: int,
        num_draws: int = NUM_DRAWS,
        seed: int = 0,
    ) -> ReviewCurve:
        """Learn from reviewed regions.

        Args:
            scores: (R,) score of each reviewed region, in [0, 1]
            accepted: (R,) bool, whether it was an error
            kinds: (R,) kind of each, as a number from 0
            num_kinds: how many kinds there are
            num_draws: how many coefficients to draw
            seed: of the draws

        Returns:
            the curve; without regions, the prior

        Raises:
            LabelQualityError: if shapes differ, a score is outside [0, 1] or a kind is unknown
        """
        cells = _Cells.of(scores, kinds, num_kinds)
        answers = np.asarray(accepted, np.float64)
        if answers.shape != cells.index.shape:
            raise LabelQualityError(
                f"Expected one answer for each of {cells.index.size} scores, but got shape {answers.shape}."
            )
        reviewed = np.bincount(cells.index, minlength=cells.count).astype(np.float64)
        errors = np.bincount(cells.index, weights=answers, minlength=cells.count).astype(np.float64)
        used = reviewed > 0
        rows, offset = cells.design()
        posterior = _Posterior(rows[used], offset[used], errors[used], reviewed[used])
        changes = posterior.sample(num_draws, np.random.default_rng(seed))
        spread, center = _prior(num_kinds)
        return cls(changes * spread + center, int(answers.size))

    def chances(self, scores: npt.ArrayLike, kinds: npt.ArrayLike) -> FloatArray:
        """Chance of an error by draw and region.

        Args:
            scores: (R,) in [0, 1]
            kinds: (R,) numbers from 0

        Returns:
            (D, R); their mean over draws is the estimate
        """
        cells = _Cells.of(scores, kinds, self.draws.shape[1] - 2)
        return self._by_cell(cells)[:, cells.index]

    def _by_cell(self, cells: _Cells) -> FloatArray:
        spread, center = _prior(cells.num_kinds)
        rows, offset = cells.design()
        return _logistic((self.draws - center) / spread @ rows.T + offset)


def _prior(num_kinds: int) -> tuple[FloatArray, FloatArray]:
    """Spread and centre of intercept, slope and offsets."""
    spread = np.array([_INTERCEPT_SPREAD, _SLOPE_SPREAD, *[_KIND_SPREAD] * num_kinds])
    return spread, np.array([0.0, 1.0, *[0.0] * num_kinds])


@dataclass(frozen=True, eq=False)
class _Cells:
    """Regions in cells of equal kind and nearly equal score, so that cost does not grow with their number."""

    index: IntArray
    num_kinds: int

    @classmethod
    def of(cls, scores: npt.ArrayLike, kinds: npt.ArrayLike, num_kinds: int) -> _Cells:
        values, codes = np.asarray(scores, np.float64), np.asarray(kinds, np.int64)
        if values.ndim != 1 or values.shape != codes.shape:
            raise LabelQualityError(
                f"Expected one kind for each score, but got shapes {values.shape} and {codes.shape}."
            )
        if values.size and not ((values >= 0) & (values <= 1)).all():  # also refuses NaN
            raise LabelQualityError(f"Expected scores in [0, 1], but got {values.min()} to {values.max()}.")
        if codes.size and not 0 <= codes.min() <= codes.max() < num_kinds:
            raise LabelQualityError(
                f"Expected kinds from 0 to {num_kinds - 1}, but got {codes.min()} to {codes.max()}."
            )
        with np.errstate(divide="ignore"):
            logits = np.clip(np.log(values) - np.log1p(-values), -_LARGEST_LOGIT, _LARGEST_LOGIT)
        steps = np.rint((logits + _LARGEST_LOGIT) * _STEPS_PER_LOGIT).astype(np.int64)
        return cls(codes * cls.levels() + steps, num_kinds)

    @staticmethod
    def levels() -> int:
        return round(2 * _LARGEST_LOGIT * _STEPS_PER_LOGIT) + 1

    @property
    def count(self) -> int:
        return self.levels() * self.num_kinds

    def design(self) -> tuple[FloatArray, FloatArray]:
        """(count, 2 + kinds) rows for coefficients of unit prior, and the logit at the prior's centre."""
        logits = np.tile(np.arange(self.levels()) / _STEPS_PER_LOGIT - _LARGEST_LOGIT, self.num_kinds)
        kinds = np.repeat(np.eye(self.num_kinds), self.levels(), axis=0)
        spread, center = _prior(self.num_kinds)
        rows = np.column_stack([np.ones(self.count), logits, kinds])
        return rows * spread, rows @ center


@dataclass(frozen=True, eq=False)
class _Posterior:
    """Logistic regression on counts with a standard normal prior."""

    rows: FloatArray
    offset: FloatArray
    errors: FloatArray
    reviewed: FloatArray

    def sample(self, count: int, rng: np.random.Generator) -> FloatArray:
        """(count, C) coefficients: proposals of heavy tails around the mode, resampled by their true weight."""
        mode, covariance = self._mode()
        size = mode.size
        root = np.linalg.cholesky(covariance)
        stretch = np.sqrt(_HEAVY_TAILS / rng.chisquare(_HEAVY_TAILS, _NUM_PROPOSALS))
        steps = rng.standard_normal((_NUM_PROPOSALS, size)) * stretch[:, None]
        proposals = mode + steps @ root.T
        proposed = -(_HEAVY_TAILS + size) / 2 * np.log1p((steps**2).sum(axis=1) / _HEAVY_TAILS)
        weights = self._log_density(proposals) - proposed
        slopes = 1 + proposals[:, 1] * _SLOPE_SPREAD
        weights[slopes < 0] = -np.inf  # a higher score never means fewer errors
        weights = np.exp(weights - weights.max())
        places = (rng.random() + np.arange(count)) / count
        chosen = np.searchsorted(np.cumsum(weights / weights.sum()), places)
        return proposals[np.minimum(chosen, _NUM_PROPOSALS - 1)]

    def _log_density(self, coefficients: FloatArray) -> FloatArray:
        values = coefficients @ self.rows.T + self.offset
        fit = values @ self.errors - np.logaddexp(0, values) @ self.reviewed
        return np.asarray(fit - (coefficients**2).sum(axis=1) / 2)

    def _mode(self) -> tuple[FloatArray, FloatArray]:
        """Newton's method with halved steps where a full one overshoots; the density is strictly log-concave."""
        mode = np.zeros(self.rows.shape[1])
        for _ in range(50):
            chances = _logistic(self.rows @ mode + self.offset)
            gradient = self.rows.T @ (self.errors - self.reviewed * chances) - mode
            curvature = (self.rows * (self.reviewed * chances * (1 - chances))[:, None]).T @ self.rows
            curvature += np.eye(mode.size)
            step = np.linalg.solve(curvature, gradient)
            height = self._log_density(mode[None])[0]
            while self._log_density((mode + step)[None])[0] < height and np.abs(step).max() > 1e-9:
                step = step / 2
            mode = mode + step
            if np.abs(step).max() < 1e-8:
                break
        return mode, np.linalg.inv(curvature)


def _logistic(values: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -60, 60))))


@dataclass(frozen=True, eq=False)
class PendingRegions:
    """Regions that nobody has decided on.

    Attributes:
        scores: (R,) in [0, 1], on the scale of the scores that the curve was learned from
        kinds: (R,) numbers from 0
        areas: (R,) pixels
        images: (R,) number of the image of each region, any numbering from 0
        shown: (R,) scores by which they are looked at, the highest first; None if these are `scores`
    """

    scores: FloatArray
    kinds: IntArray
    areas: FloatArray
    images: IntArray
    shown: FloatArray | None = None


@dataclass(frozen=True)
class ErrorEstimate:
    """How many errors there are, as far as regions mark them.

    Attributes:
        remaining: errors among the pending regions
        next_precision: share of errors among the `num_next` pending regions that are looked at first
        num_next: how many that are
        pixel_share: share of the labelled pixels that are wrong, in accepted and pending regions
        image_share: share of the images with at least one error
    """

    remaining: Interval
    next_precision: Interval
    num_next: int
    pixel_share: Interval
    image_share: Interval


def estimate_errors(
    curve: ReviewCurve,
    pending: PendingRegions,
    *,
    accepted_area: float,
    labelled_pixels: float,
    accepted_images: npt.ArrayLike,
    num_accepted_images: int,
    num_images: int,
    level: float = LEVEL,
    seed: int = 0,
) -> ErrorEstimate:
    """Estimate the errors of a dataset from what was reviewed and what was not.

    Args:
        curve: learned from the reviewed regions
        pending: the others
        accepted_area: pixels of the accepted regions
        labelled_pixels: pixels of the dataset that have a label
        accepted_images: numbers, as in `pending.images`, of images that also have an accepted region
        num_accepted_images: how many images have an accepted region, whether or not they have pending ones
        num_images: images of the dataset
        level: share of intervals that hold the truth
        seed: of the draws

    Returns:
        the estimate

    Raises:
        LabelQualityError: if arrays do not fit, or a score is outside [0, 1]

    Example:
        >>> curve = ReviewCurve.fit([], [], [], num_kinds=1)
        >>> pending = PendingRegions(np.array([0.5] * 8), np.zeros(8, int), np.full(8, 10.0), np.arange(8))
        >>> found = estimate_errors(
        ...     curve, pending, accepted_area=0, labelled_pixels=1000, accepted_images=[],
        ...     num_accepted_images=0, num_images=20,
        ... )
        >>> bool(found.remaining.low < 4 < found.remaining.high)
        True
    """
    cells = _Cells.of(pending.scores, pending.kinds, curve.draws.shape[1] - 2)
    if not pending.areas.shape == pending.images.shape == cells.index.shape:
        raise LabelQualityError(
            f"Expected an area and an image for each of {cells.index.size} regions, but got shapes "
            f"{pending.areas.shape} and {pending.images.shape}."
        )
    rng = np.random.default_rng(seed)
    chances = curve._by_cell(cells)
    shown = pending.scores if pending.shown is None else pending.shown
    first = _highest(shown, _NEXT)
    wrong_area = _weighted_total(chances, cells, pending.areas, rng)
    wrong_images = _wrong_images(chances, cells, pending.images, np.asarray(accepted_images, np.int64), rng)
    return ErrorEstimate(
        remaining=_interval(_count(chances, cells.index, rng), level),
        next_precision=_interval(_count(chances, cells.index[first], rng) / max(first.size, 1), level),
        num_next=int(first.size),
        pixel_share=_interval((wrong_area + accepted_area) / max(labelled_pixels, 1), level, highest=1.0),
        image_share=_interval((wrong_images + num_accepted_images) / max(num_images, 1), level, highest=1.0),
    )


def _highest(values: FloatArray, count: int) -> IntArray:
    """Places of the highest values, in any order; of equal ones the first."""
    if len(values) <= count:
        return np.arange(len(values))
    limit = np.partition(values, len(values) - count)[len(values) - count]
    above = np.flatnonzero(values > limit)
    return np.concatenate([above, np.flatnonzero(values == limit)[: count - len(above)]])


def _count(chances: FloatArray, cells: IntArray, rng: np.random.Generator) -> FloatArray:
    """(D,) number of errors among some regions, drawn."""
    sizes = np.bincount(cells, minlength=chances.shape[1])
    used = sizes > 0
    return rng.binomial(sizes[used], chances[:, used]).sum(axis=1).astype(np.float64)


def _weighted_total(chances: FloatArray, cells: _Cells, weights: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(D,) total weight of the errors, drawn; the sum over regions is taken for normal."""
    total = np.bincount(cells.index, weights=weights, minlength=cells.count)
    squares = np.bincount(cells.index, weights=weights**2, minlength=cells.count)
    spread = np.sqrt((chances * (1 - chances)) @ squares)
    return np.clip(chances @ total + spread * rng.standard_normal(len(chances)), 0, weights.sum())


def _wrong_images(
    chances: FloatArray, cells: _Cells, images: IntArray, known: IntArray, rng: np.random.Generator
) -> FloatArray:
    """(D,) number of images with an error among their pending regions, those known to be wrong left out."""
    from scipy.sparse import csr_array

    total, variance = np.zeros(len(chances)), np.zeros(len(chances))
    size = int(images.max()) + 1 if images.size else 0
    counts = csr_array((np.ones(images.size), (images, cells.index)), shape=(size, cells.count))
    silent = np.log1p(-np.minimum(chances, 1 - 1e-12)).T
    open_images = np.ones(size, np.bool_)
    open_images[known[known < size]] = False
    for start in range(0, size, _IMAGES_AT_ONCE):
        rows = slice(start, start + _IMAGES_AT_ONCE)
        right = np.exp(counts[rows] @ silent)[open_images[rows]]
        total += (1 - right).sum(axis=0)
        variance += (right * (1 - right)).sum(axis=0)
    return np.clip(total + np.sqrt(variance) * rng.standard_normal(total.size), 0, size)


def _interval(draws: FloatArray, level: float, highest: float = np.inf) -> Interval:
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(min(draws.mean(), highest)), float(low), float(min(high, highest)))


def stopping_advice(latest: Interval, num_latest: int, upcoming: Interval, num_pending: int) -> str:
    """Whether going on with the review is worth it.

    One in five is where looking at four good regions per error found begins; one in ten is where most reviewers stop.

    Args:
        latest: precision of the last regions that were reviewed
        num_latest: how many those were
        upcoming: expected precision of the next ones
        num_pending: regions that nobody has decided on

    Returns:
        "done" if nothing is pending, "start" if too little was reviewed to say, "go on" if the next regions hold enough
        errors, "stop" if both the last and the next ones hold few, "choose" in between

    Example:
        >>> stopping_advice(precision_interval(2, 50), 50, Interval(0.03, 0.0, 0.1), 340)
        'stop'
    """
    if num_pending == 0:
        return "done"
    if num_latest < _NEXT:
        return "start"
    if upcoming.estimate >= 0.2:
        return "go on"
    if upcoming.estimate < 0.1 and latest.high < 0.2:
        return "stop"
    return "choose"
