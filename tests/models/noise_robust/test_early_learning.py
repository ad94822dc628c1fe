"""The trigger: published numbers are met, and noise of an IoU does not move ours by several epochs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.noise_robust.early_learning import (
    PUBLISHED_SEGTHOR,
    PUBLISHED_VOC,
    LearningCurve,
    TriggerRule,
    detect,
    fit_learning_curve,
    trigger_epoch,
)

PER_EPOCH = replace(PUBLISHED_VOC, sample_steps=None)
EXAMPLE = [0.30, 0.45, 0.53, 0.58, 0.61, 0.63, 0.645, 0.655, 0.662, 0.668]


@pytest.mark.parametrize(
    ("b", "c", "time", "epoch"),
    [
        (1, 1, 3.303, 4),
        (0.5, 1, 5.605, 6),
        (0.25, 1, 10.211, 11),
        (1, 0.5, 5.853, 6),
        (2, 0.5, 3.404, 4),
        (0.5, 0.5, 10.554, 11),
        (0.5, 0.7, 8.158, 9),
        (0.2, 0.5, 22.43, 23),
        (0.1, 0.7, 39.13, 40),
    ],
)
def test_the_trigger_of_a_curve(b, c, time, epoch):
    curve = LearningCurve(0.7, b, c)
    assert curve.trigger(0.9) == pytest.approx(time, rel=3e-4)
    assert curve.relative_change(curve.trigger(0.9)) == pytest.approx(0.9)
    assert trigger_epoch(curve) == epoch
    assert trigger_epoch(curve, horizon=16) == min(epoch, 16)


@pytest.mark.parametrize(("share", "epoch"), [(0.5, 3), (0.7, 4), (0.8, 6), (0.9, 9), (0.95, 12)])
def test_the_share_decides_the_epoch(share, epoch):
    assert trigger_epoch(LearningCurve(0.7, b=0.5, c=0.7), share) == epoch


def test_a_straight_line_never_bends():
    assert LearningCurve(0.7, b=0.0, c=1.0).trigger() == np.inf


def test_the_published_fit():
    curve = fit_learning_curve(np.linspace(0, 10, 10), EXAMPLE)
    assert (curve.a, curve.b, curve.c) == pytest.approx((0.698, 0.961, 0.517), abs=6e-4)
    assert trigger_epoch(curve) == 6
    assert curve.value(5.0) == pytest.approx(0.61, abs=0.02)
    prefixes = [fit_learning_curve(np.linspace(0, n, n), EXAMPLE[:n]) for n in range(3, 10)]
    assert [trigger_epoch(curve) for curve in prefixes] == [11, 12, 8, 7, 7, 7, 6]
    assert first_epoch(EXAMPLE, PER_EPOCH) == 8


def first_epoch(ious, rule):
    """The first epoch at which a rule fires, one more than there are if it never does."""
    epochs = range(1, len(ious) + 1)
    return next((n for n in epochs if detect(ious[:n], n, rule).fires), len(ious) + 1)


def ious_of(curve, epochs=40):
    return [curve.value(epoch) for epoch in range(1, epochs + 1)]


@pytest.mark.parametrize("curve", [LearningCurve(0.7, 1, 1), LearningCurve(0.7, 0.25, 1), LearningCurve(0.9, 0.5, 0.7)])
def test_without_noise_it_fires_soon_after_the_trigger(curve):
    assert 0 <= first_epoch(ious_of(curve), TriggerRule()) - curve.trigger() < 4


def test_noise_moves_the_trigger_far_less_than_by_the_published_rule():
    """IoUs with a deviation of 0.02: how the epochs spread, and how far they are from the one without noise."""
    rng = np.random.default_rng(0)
    shapes = [(0.5, 1.0), (0.25, 1.0), (1.0, 0.5), (0.5, 0.7), (0.15, 1.0)]
    rules = {"published": PER_EPOCH, "ours": TriggerRule()}
    spread = {name: [] for name in rules}
    moved = {name: [] for name in rules}
    for b, c in shapes:
        clean = np.array(ious_of(LearningCurve(0.7, b, c), 30))
        noisy = [clean + rng.normal(0, 0.02, clean.shape) for _ in range(12)]
        for name, rule in rules.items():
            epochs = np.array([first_epoch(ious, rule) for ious in noisy])
            spread[name].append(epochs.std())
            moved[name].append(np.sqrt(np.mean((epochs - first_epoch(clean, rule)) ** 2)))
    assert max(spread["ours"]) < 2
    assert np.mean(spread["ours"]) < 0.65 * np.mean(spread["published"])
    assert np.mean(moved["ours"]) < 0.5 * np.mean(moved["published"])


def test_a_late_starter_is_followed_from_its_start():
    late = LearningCurve(0.7, 0.5, 1.0, start=10)
    ious = [value + 0.004 * (index % 3) for index, value in enumerate(ious_of(late))]
    assert 0 < first_epoch(ious, TriggerRule()) - (late.start + late.trigger()) < 4
    assert 0 < first_epoch(ious, PUBLISHED_SEGTHOR) - (late.start + late.trigger()) < 4
    assert first_epoch(ious, PER_EPOCH) > 22  # the curve cannot begin flat


@pytest.mark.parametrize("rule", [TriggerRule(), PUBLISHED_SEGTHOR])
@pytest.mark.parametrize("level", [0.0, 0.05])
def test_a_class_that_is_never_learned_never_fires(rule, level):
    ious = np.clip(np.random.default_rng(0).normal(level, 0.01, 40), 0, 1)
    assert first_epoch(ious, rule) == 41
    assert first_epoch(ious, replace(rule, latest_epoch=12)) == 12


def test_patience_waits_for_confirmation():
    ious = ious_of(LearningCurve(0.7, 0.5, 1.0))
    epochs = [first_epoch(ious, TriggerRule(patience=patience)) for patience in (1, 2, 5)]
    assert [epoch - epochs[0] for epoch in epochs] == [0, 1, 4]


def test_more_confidence_fires_later():
    ious = ious_of(LearningCurve(0.7, 0.5, 0.7))
    epochs = [first_epoch(ious, TriggerRule(confidence=confidence)) for confidence in (0.3, 0.8, 0.99)]
    assert epochs == sorted(set(epochs))


def test_epochs_without_the_class_are_left_out():
    ious = ious_of(LearningCurve(0.7, 0.5, 1.0))
    gaps = [np.nan if index % 5 == 2 else value for index, value in enumerate(ious)]
    assert abs(first_epoch(gaps, TriggerRule()) - first_epoch(ious, TriggerRule())) <= 1
    assert not detect([np.nan, np.nan], 2).fires
    assert not detect([], 0).fires


def test_samples_within_epochs_tell_the_same():
    """Every hundredth of 1058.1 iterations per epoch, as in the VOC experiment."""
    curve, per_epoch = LearningCurve(0.7, 0.5, 1.0), 10.581
    ious = [curve.value(sample / per_epoch) for sample in range(1, 200)]
    rule = TriggerRule(sample_steps=100)
    fired = [n for n in range(1, 18) if detect(ious[: int(n * per_epoch)], n, rule, per_epoch).fires]
    assert 0 <= fired[0] - curve.trigger() < 4
    published = [n for n in range(1, 18) if detect(ious[: int(n * per_epoch)], n, PUBLISHED_VOC, per_epoch).fires]
    assert published[0] == trigger_epoch(curve) + 1  # it counts epochs from 0


def test_the_interval_holds_the_trigger():
    curve = LearningCurve(0.7, 0.25, 1.0)
    found = detect(ious_of(curve), 40)
    low, high = found.interval
    assert low <= found.trigger <= high
    assert low - 1 <= curve.trigger() <= high + 1
    assert found.confidence > 0.99
    assert found.curve.value(20) == pytest.approx(curve.value(20), abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relative_change": 1.0}, "`relative_change` between 0 and 1, but got 1.0"),
        ({"confidence": 0.0}, "`confidence` between 0 and 1, but got 0.0"),
        ({"patience": 0}, "`patience` of at least 1, but got 0"),
        ({"latest_epoch": 0}, "`latest_epoch` of at least 1, but got 0"),
        ({"trim": "start"}, "'gain' or 'share' .* but got 'start'"),
    ],
)
def test_wrong_rules_are_refused(options, message):
    with pytest.raises(LabelQualityError, match=message):
        TriggerRule(**options)
