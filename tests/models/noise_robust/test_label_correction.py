"""Correction changes what its rule allows and nothing else, and its record says what, when and how sure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.noise_robust.label_correction import (
    DEFAULT_CORRECTION,
    SEGTHOR_CORRECTION,
    VOC_CORRECTION,
    CorrectionRule,
    correct_from_prediction,
    correct_label,
    first_change,
    next_change,
    prediction_probabilities,
    start_label,
)

UNGUARDED = replace(VOC_CORRECTION, most_background=None)


def corrected(label, predicted, confidence, fired, rule, classes=4):
    """Correct one row of pixels."""
    arrays = (np.array([row]) for row in (predicted, confidence))
    given = np.array([label], np.uint8)
    before = given.copy()
    done = correct_from_prediction(given, *arrays, fired, classes, rule)
    np.testing.assert_array_equal(given, before)
    assert done.label.dtype == given.dtype
    np.testing.assert_array_equal(done.changed, done.label != given)
    return done.label[0].tolist()


@pytest.mark.parametrize(
    ("why", "rule", "label", "predicted", "confidence", "fired", "wanted"),
    [
        ("confident", UNGUARDED, [0, 1, 1], [1, 1, 0], [0.9, 0.9, 0.81], {1}, [1, 1, 0]),
        ("at the threshold", UNGUARDED, [0, 1], [1, 0], [0.8, 0.8], {1}, [0, 1]),
        ("predicted class not fired", UNGUARDED, [0, 1, 2], [1, 1, 1], [0.9, 0.9, 0.9], {2}, [0, 1, 2]),
        ("given class need not be fired", UNGUARDED, [1, 2], [1, 1], [0.9, 0.9], {1}, [1, 1]),
        ("unless both must", replace(UNGUARDED, fired="both"), [1, 2, 0], [1, 1, 1], [0.9] * 3, {1}, [1, 2, 1]),
        ("ours: others keep theirs", DEFAULT_CORRECTION, [1, 2, 2, 0], [0, 0, 1, 1], [0.9] * 4, {1}, [0, 2, 2, 1]),
        ("VOC's: others lose theirs", VOC_CORRECTION, [1, 2, 2, 0], [0, 0, 1, 1], [0.9] * 4, {1}, [0, 0, 1, 1]),
        ("class not in the image", UNGUARDED, [0, 1], [2, 2], [0.9, 0.9], {1, 2}, [0, 1]),
        (
            "unless that is allowed",
            replace(UNGUARDED, class_constraint=False),
            [0, 1],
            [2, 2],
            [0.9] * 2,
            {1, 2},
            [2, 2],
        ),
        ("image without a fired class", UNGUARDED, [0, 1], [0, 0], [0.9, 0.9], {2}, [0, 1]),
        ("all background", UNGUARDED, [0, 0, 255], [2, 3, 2], [0.9, 0.9, 0.9], {2}, [2, 0, 255]),
        ("all background, SegTHOR", SEGTHOR_CORRECTION, [0, 0], [2, 2], [0.9, 0.9], {2}, [0, 0]),
        ("ignored", UNGUARDED, [255, 1], [1, 1], [0.9, 0.9], {1}, [255, 1]),
        ("SegTHOR's threshold", SEGTHOR_CORRECTION, [0, 1, 1], [1, 1, 0], [0.71, 0.9, 0.7], {1}, [1, 1, 1]),
        ("collapse", VOC_CORRECTION, [1, 1] + [0] * 40, [0] * 42, [0.9] * 42, {1}, [1, 1] + [0] * 40),
        ("half is left", VOC_CORRECTION, [1, 1] + [0] * 40, [1] + [0] * 41, [0.9] * 42, {1}, [1, 0] + [0] * 40),
        ("much foreground", VOC_CORRECTION, [1] * 5 + [0] * 5, [1] + [0] * 9, [0.9] * 10, {1}, [1] + [0] * 9),
        ("no background class", CorrectionRule(background=None), [0, 1], [1, 0], [0.9, 0.9], {1}, [1, 1]),
        ("removal", replace(UNGUARDED, removal="ignored"), [1, 1, 0], [0, 1, 1], [0.9] * 3, {1}, [255, 1, 1]),
        (
            "thresholds",
            CorrectionRule((0.5, 0.9, 0.5, 0.5)),
            [0, 2, 0, 1],
            [1, 1, 2, 1],
            [0.8] * 4,
            {1, 2},
            [0, 2, 2, 1],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rules(why, rule, label, predicted, confidence, fired, wanted):
    assert corrected(label, predicted, confidence, fired, rule) == wanted


def test_probabilities_and_predictions_tell_the_same():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.3] * 4, (20, 30)).transpose(2, 0, 1)
    label = rng.integers(0, 4, (20, 30)).astype(np.uint8)
    label[0] = 255
    one = correct_label(label, torch.from_numpy(probabilities), {1, 3})
    two = correct_from_prediction(label, probabilities.argmax(0), probabilities.max(0), {1, 3}, 4)
    np.testing.assert_array_equal(one.label, two.label)
    assert one.changed.sum() > 20
    np.testing.assert_array_equal(one.confidence > 0, one.changed)
    np.testing.assert_allclose(one.confidence[one.changed], probabilities.max(0)[one.changed], rtol=1e-6)


def test_other_sizes_are_refused():
    with pytest.raises(LabelQualityError, match=r"label's size \(2, 3\), but got \(4, 3, 2\)"):
        correct_label(np.zeros((2, 3), np.uint8), np.zeros((4, 3, 2)), {1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.0}, "`threshold` of at least 0 and below 1, but got 1.0"),
        ({"fired": "none"}, "`fired` among .* but got 'none'"),
        ({"start": "none"}, "`start` among .* but got 'none'"),
    ],
)
def test_wrong_rules_are_refused(options, message):
    with pytest.raises(LabelQualityError, match=message):
        CorrectionRule(**options)


def test_as_many_thresholds_as_classes():
    with pytest.raises(LabelQualityError, match="each of the 3 classes, but got 2"):
        CorrectionRule((0.5, 0.6)).threshold_of(3)


def test_views_are_averaged_at_the_temperature_of_training():
    logits = torch.tensor([[2.0, 0.0], [4.0, 0.0]]).reshape(2, 2, 1, 1)
    (plain,) = {round(float(prediction_probabilities(list(logits))[0, 0, 0]), 6)}
    assert plain == pytest.approx(1 / (1 + np.exp(-3.0)))
    assert float(prediction_probabilities(list(logits), 3.0)[0]) == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert float(prediction_probabilities(list(logits), [2.0, 4.0])[0]) == pytest.approx(1 / (1 + np.exp(-1.0)))


class TestRecord:
    GIVEN = np.array([[0, 1, 1, 0]], np.uint8)

    def corrections(self, rule, *predictions):
        change = first_change("a", self.GIVEN)
        for epoch, (predicted, confidence) in enumerate(predictions, 1):
            arrays = (np.array([row]) for row in (predicted, confidence))
            new = correct_from_prediction(start_label(change, rule), *arrays, {1}, 2, rule)
            change = next_change(change, new, epoch)
        return change

    def test_from_the_originals_each_correction_stands_alone(self):
        steps = ([1, 0, 1, 0], [0.9] * 4), ([1, 1, 0, 0], [0.95, 0.9, 0.85, 0.9])
        change = self.corrections(UNGUARDED, *steps)
        assert change.corrected.tolist() == [[1, 1, 0, 0]]
        assert change.epoch.tolist() == [[1, 0, 2, 0]]
        np.testing.assert_allclose(change.confidence, [[0.95, 0, 0.85, 0]], atol=1e-3)
        assert change.given.tolist() == self.GIVEN.tolist()

    def test_cumulative_corrections_add_up(self):
        steps = ([1, 0, 1, 0], [0.9] * 4), ([1, 0, 0, 0], [0.95, 0.5, 0.85, 0.9])
        change = self.corrections(replace(UNGUARDED, start="current"), *steps)
        assert change.corrected.tolist() == [[1, 0, 0, 0]]
        assert change.epoch.tolist() == [[1, 1, 2, 0]]
        np.testing.assert_allclose(change.confidence, [[0.9, 0.9, 0.85, 0]], atol=1e-3)

    def test_a_pixel_that_gets_its_given_class_back_is_no_change(self):
        rule = replace(UNGUARDED, start="current")
        change = self.corrections(rule, ([1, 1, 1, 0], [0.9] * 4), ([0, 1, 1, 0], [0.9] * 4))
        assert not change.changed.any()
        assert not change.epoch.any()
        assert not change.confidence.any()
