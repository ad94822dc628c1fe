"""When a class begins to be memorised: the bend in its training IoU, read off a fitted curve.

A network first learns what is right in noisy labels and later memorises what is wrong, each class at its own
time. Liu et al. ("Adaptive Early-Learning Correction for Segmentation from Noisy Annotations", CVPR 2022,
arXiv 2110.03740) fit f(t) = a (1 - exp(-b t^c)) to the class' IoU with the given labels and take the moment
when the slope has lost a share r of f'(1). Their two experiments differ in how the curve is sampled, trimmed and
compared: `PUBLISHED_VOC` and `PUBLISHED_SEGTHOR`. Both act on the point estimate of the newest fit, so that a
single wrong fit fires for good. `TriggerRule()` instead asks how sure the trigger lies in the past.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError

Values = npt.NDArray[np.float64]
Trim = Literal["gain", "share"]

_HORIZON = 100  # epochs that the published rule looks ahead
_LEAST_GAIN = 0.1  # published: the curve begins with the first gain of so much
_TRIM_SHARE = 0.1  # the curve begins where this share of the highest IoU is reached
_FIRST_TRIGGER, _LAST_TRIGGER = 1.3, 200.0  # epochs
_NOISE, _NOISE_WEIGHT = 0.03, 20  # expected deviation of an IoU from the curve, and its weight in samples
_TAIL = 3  # samples whose mean is the IoU that a class has reached


@dataclass(frozen=True)
class LearningCurve:
    """The curve f(t) = a (1 - exp(-b t^c)) of a class' training IoU, t in epochs since `start`.

    Args:
        a: IoU that the curve tends to
        b: speed
        c: shape, at most 1
        start: epoch at which the class began to be learned

    Example:
        >>> curve = LearningCurve(a=0.8, b=1.0, c=1.0)
        >>> round(curve.value(2.0), 3), round(curve.trigger(0.9), 3)
        (0.692, 3.303)
    """

    a: float
    b: float
    c: float
    start: float = 0.0

    def value(self, epoch: float) -> float:
        """Return the curve's IoU.

        Args:
            epoch: counted from the beginning of training
        """
        return self.a * (1 - math.exp(-self.b * max(0.0, epoch - self.start) ** self.c))

    def relative_change(self, time: float) -> float:
        """Return |f'(1) - f'(t)| / |f'(1)|, in which a cancels.

        Args:
            time: epochs since `start`
        """
        return abs(1 - math.exp(self._log_slope(time)))

    def trigger(self, relative_change: float = 0.9) -> float:
        """Return the time after `start` at which the slope has lost a share of f'(1); infinite if it never does.

        Args:
            relative_change: the share r, in (0, 1)
        """
        wanted, low, high = math.log(1 - relative_change), 1.0, 2.0
        while self._log_slope(high) > wanted:
            low, high = high, 2 * high
            if high > 1e9:
                return math.inf
        for _ in range(80):  # bisection: the slope falls monotonously
            middle = (low + high) / 2
            low, high = (middle, high) if self._log_slope(middle) > wanted else (low, middle)
        return high

    def _log_slope(self, time: float) -> float:
        """Log of f'(t) / f'(1)."""
        return (self.c - 1) * math.log(time) - self.b * (time**self.c - 1)


@dataclass(frozen=True)
class TriggerRule:
    """When a class counts as about to be memorised.

    Args:
        relative_change: share r of f'(1) that the slope must have lost; 0.9 in all published experiments
        confidence: how probable it must be that this moment has passed, given the noise of the IoU;
            None = the published point estimate, with its weights, from 1 for the first to 100 for the last sample
        patience: epochs in a row that the rule must hold; firing cannot be taken back
        sample_steps: training steps per sample of the curve; None = one sample per epoch
        trim: where the curve begins: "gain" = with the first rise of 0.1 between two samples (as published for
            SegTHOR), "share" = where a tenth of the highest IoU is reached, None = at once
        compare: IoU with the "given" labels or with those "trained" on, which are corrected ones from some time on
        least_iou: a class whose IoU (mean of the last three samples) is lower has learned nothing yet
        latest_epoch: fires every class after so many epochs at the latest; None = never without the rule

    Raises:
        LabelQualityError: a value out of its range

    Example:
        >>> TriggerRule(relative_change=0.7).confidence
        0.6
    """

    relative_change: float = 0.9
    confidence: float | None = 0.6
    patience: int = 2
    sample_steps: int | None = None
    trim: Trim | None = "share"
    compare: Literal["given", "trained"] = "given"
    least_iou: float = 0.1
    latest_epoch: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("relative_change", self.relative_change), ("confidence", self.confidence)):
            if value is not None and not 0 < value < 1:
                raise LabelQualityError(f"Expected `{name}` between 0 and 1, but got {value}.")
        for name, count in (
            ("patience", self.patience), ("sample_steps", self.sample_steps), ("latest_epoch", self.latest_epoch)
        ):  # fmt: skip
            if count is not None and count < 1:
                raise LabelQualityError(f"Expected `{name}` of at least 1, but got {count}.")
        if self.trim not in (None, "gain", "share") or self.compare not in ("given", "trained"):
            raise LabelQualityError(
                "Expected `trim` to be None, 'gain' or 'share' and `compare` to be 'given' or 'trained', but got "
                f"{self.trim!r} and {self.compare!r}."
            )


#: The rule of the VOC experiment, without its hidden firing of every class at epoch 16 (`latest_epoch=17`).
PUBLISHED_VOC = TriggerRule(confidence=None, patience=1, sample_steps=100, trim=None, least_iou=0.0)

#: The rule of the SegTHOR experiment.
PUBLISHED_SEGTHOR = TriggerRule(confidence=None, patience=1, trim="gain", compare="trained", least_iou=0.0)


@dataclass(frozen=True)
class Detection:
    """What a class' training IoU says at the end of an epoch.

    Args:
        fires: the class is about to be memorised, or has begun to be
        curve: the best fit; None where there is nothing to fit
        trigger: the estimated moment, in epochs; None where there is none
        interval: moments between which it lies with a probability of 80 %; None for a point estimate
        confidence: probability that it has passed; 0 or 1 for a point estimate
    """

    fires: bool
    curve: LearningCurve | None = None
    trigger: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float = 0.0


def detect(
    ious: Sequence[float], epochs: int, rule: TriggerRule | None = None, samples_per_epoch: float = 1.0
) -> Detection:
    """Tell whether a class is about to be memorised, from its training IoU up to now.

    Args:
        ious: one IoU per sample of the curve, oldest first; NaN where the class did not occur
        epochs: finished epochs
        rule: None = `TriggerRule()`
        samples_per_epoch: samples of the curve per epoch

    Returns:
        whether it fires, and the fit behind it

    Example:
        >>> ious = [0.30, 0.45, 0.53, 0.58, 0.61, 0.63, 0.645, 0.655, 0.662, 0.668]
        >>> [epochs for epochs in range(1, 11) if detect(ious[:epochs], epochs).fires]
        [8, 9, 10]
        >>> [epochs for epochs in range(1, 11) if detect(ious[:epochs], epochs, PUBLISHED_VOC).fires]
        [8, 9, 10]
    """
    rule = rule or TriggerRule()
    now = _estimate(ious, epochs, rule, samples_per_epoch)
    fires = now.fires
    for back in range(1, rule.patience):
        if not fires:
            break
        earlier = ious[: math.floor((epochs - back) * samples_per_epoch)]
        fires = epochs > back and _estimate(earlier, epochs - back, rule, samples_per_epoch).fires
    forced = rule.latest_epoch is not None and epochs >= rule.latest_epoch
    return replace(now, fires=fires or forced)


def fit_learning_curve(times: npt.ArrayLike, ious: npt.ArrayLike, start: float = 0.0) -> LearningCurve | None:
    """Fit the curve by bounded least squares, the last sample with a hundred times the weight of the first.

    Bounds, first guess and weights are those of the published code: a and c in [0, 1], b >= 0, all first 1,
    deviations that fall geometrically from 1 to 0.1.

    Args:
        times: (n,) epochs since `start`
        ious: (n,) values
        start: kept in the result

    Returns:
        the curve; None where the search does not end

    Example:
        >>> ious = [0.30, 0.45, 0.53, 0.58, 0.61, 0.63, 0.645, 0.655, 0.662, 0.668]
        >>> curve = fit_learning_curve(np.linspace(0, 10, 10), ious)
        >>> round(curve.a, 3), round(curve.b, 3), round(curve.c, 3)
        (0.698, 0.961, 0.517)
    """
    from scipy.optimize import curve_fit

    times, ious = np.asarray(times, float), np.asarray(ious, float)
    deviations = np.geomspace(1, 0.1, len(times))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # with fewer samples than parameters there is no covariance
        try:
            (a, c, scale), _ = curve_fit(
                _published_curve, times, ious, p0=(1, 1, 1), sigma=deviations, method="trf",
                bounds=([0, 0, 0], [1, 1, np.inf]),
            )  # fmt: skip
        except RuntimeError:
            return None
    return LearningCurve(float(a), 1 / max(float(scale), 1e-12), float(c), start)


def trigger_epoch(curve: LearningCurve, relative_change: float = 0.9, horizon: int = _HORIZON) -> int:
    """Return the epoch that the published rule waits for: one more than the epochs before the trigger.

    Args:
        curve: fitted
        relative_change: the share r
        horizon: epochs to look ahead; where the trigger is not among them, the result is the horizon

    Returns:
        epochs since the curve's start, at most `horizon`

    Example:
        >>> trigger_epoch(LearningCurve(0.7, b=0.5, c=0.5)), trigger_epoch(LearningCurve(0.7, b=0.1, c=0.7), horizon=16)
        (11, 16)
    """
    changes = (curve.relative_change(time + 1e-6) for time in range(1, horizon))
    return 1 + sum(not relative_change < change <= 1 for change in changes)


def _published_curve(times: Values, a: float, c: float, scale: float) -> Values:
    return a * (1 - np.exp(-np.power(times, c) / scale))


def _estimate(ious: Sequence[float], epochs: int, rule: TriggerRule, samples_per_epoch: float) -> Detection:
    values = np.asarray(ious, float)
    known = np.isfinite(values)
    if not known.any():
        return Detection(False)
    point = rule.confidence is None
    times = np.arange(1, len(values) + 1) / samples_per_epoch
    values, times = values[known], times[known]
    reached = float(values[-_TAIL:].mean()) >= rule.least_iou
    dropped = _dropped(values, rule.trim)
    values = values[dropped:]
    if point:
        found = _point(values, dropped / samples_per_epoch, epochs, rule, samples_per_epoch)
    else:
        start = float(times[dropped - 1]) if dropped else 0.0
        found = _posterior(values, times[dropped:] - start, start, epochs, rule)
    return found if reached else replace(found, fires=False)


def _dropped(values: Values, trim: Trim | None) -> int:
    """Count the samples before the class began to be learned; at least one is left."""
    if trim is None:
        return 0
    begun = np.diff(values) >= _LEAST_GAIN if trim == "gain" else values >= _TRIM_SHARE * values.max()
    return int(begun.argmax()) if begun.any() else len(values) - 1


def _point(values: Values, start: float, epochs: int, rule: TriggerRule, samples_per_epoch: float) -> Detection:
    """Apply the published rule; it counts epochs from 0 and puts the first sample at time 0."""
    curve = fit_learning_curve(np.linspace(0, len(values) / samples_per_epoch, len(values)), values, start)
    if curve is None:
        return Detection(False)
    waited_for = start + trigger_epoch(curve, rule.relative_change)
    fires = epochs - 1 >= waited_for
    trigger = start + curve.trigger(rule.relative_change)
    return Detection(fires, curve, trigger if math.isfinite(trigger) else None, confidence=float(fires))


def _posterior(values: Values, times: Values, start: float, epochs: int, rule: TriggerRule) -> Detection:
    """Weigh all triggers and shapes by how well their best curve explains the samples.

    For each trigger (flat in its logarithm) and each c (flat), b follows from the trigger and the best a is that
    of least squares. The deviation of the samples is unknown and integrated out, which leaves a Student
    likelihood; it is expected to be about 0.03, worth twenty samples.
    """
    triggers, b, c = _grid(rule.relative_change, max(_LAST_TRIGGER, 2.0 * epochs))
    shapes = 1 - np.exp(-b[:, None] * times ** c[:, None])
    a = np.clip((shapes @ values) / (shapes**2).sum(1), 0, 1)
    squares = ((a[:, None] * shapes - values) ** 2).sum(1)
    log_weights = -(len(values) + _NOISE_WEIGHT) / 2 * np.log(squares + _NOISE_WEIGHT * _NOISE**2)
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    best = int(weights.argmax())
    passed = float(weights[triggers + start <= epochs].sum())
    # the grid goes through the triggers in order
    low, middle, high = (start + float(q) for q in triggers[np.searchsorted(weights.cumsum(), (0.1, 0.5, 0.9))])
    return Detection(
        fires=passed >= (rule.confidence or 0),
        curve=LearningCurve(float(a[best]), float(b[best]), float(c[best]), start),
        trigger=middle,
        interval=(low, high),
        confidence=passed,
    )


@lru_cache(maxsize=8)
def _grid(relative_change: float, last: float) -> tuple[Values, Values, Values]:
    """Return trigger, b and c of curves all over the plausible ones, triggers in rising order."""
    axes = np.geomspace(_FIRST_TRIGGER, last, 60), np.linspace(0.2, 1, 17)
    triggers, c = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    b = ((c - 1) * np.log(triggers) - math.log(1 - relative_change)) / (triggers**c - 1)
    possible = b > 1e-4  # without growth left to lose, the slope of t^(c - 1) alone falls as far
    return triggers[possible], b[possible], c[possible]
