"""The gain of one model over another: right by hand, and its interval covers about as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.quality.certainty.paired_scores import overlaps, paired_gain


def of_images(rng, right, number=40):
    """Overlaps of images whose pixels are predicted rightly with the given chance."""
    rows = []
    for chance in np.clip(rng.normal(right, 0.1, number), 0, 1):
        label = rng.integers(0, 3, (8, 8))
        rows.append(overlaps(label, np.where(rng.random(label.shape) < chance, label, (label + 1) % 3), 3))
    return np.stack(rows)


def test_means_by_hand():
    first = np.array([[[4.0, 0, 0], [4, 0, 4]], [[2, 0, 0], [8, 0, 0]]])  # the second class occurs nowhere
    found = paired_gain(first, first[:, :, ::-1])
    assert (found.first, found.second) == (pytest.approx((6 / 12 + 0) / 2), pytest.approx((6 / 12 + 0) / 2))
    assert not found.is_certain
    assert overlaps(np.array([[1, -1]]), np.array([[-1, 1]]), 2).tolist() == [[0, 0], [0, 1]]


def test_the_interval_covers():
    rng = np.random.default_rng(1)
    gains = [paired_gain(of_images(rng, 0.7), of_images(rng, 0.75), draws=200, seed=run) for run in range(60)]
    truth = np.mean([one.gain.estimate for one in gains])
    covered = np.mean([one.gain.low <= truth <= one.gain.high for one in gains])
    assert covered >= 0.85
    nothing = [paired_gain(of_images(rng, 0.7), of_images(rng, 0.7), draws=200).is_certain for _ in range(40)]
    assert np.mean(nothing) <= 0.15


def test_frames_of_a_video_are_drawn_together():
    rng = np.random.default_rng(2)
    one, other = (np.repeat(of_images(rng, right, 6), 10, axis=0) for right in (0.7, 0.75))
    apart, together = paired_gain(one, other), paired_gain(one, other, groups=np.repeat(range(6), 10).tolist())
    assert together.gain.high - together.gain.low > 2 * (apart.gain.high - apart.gain.low)
    for wrong in ({"groups": ["a"]}, {"groups": ["a"] * 60}):
        with pytest.raises(LabelQualityError):
            paired_gain(one, other, **wrong)
    with pytest.raises(LabelQualityError, match=r"\(60, 2, 3\) and \(50, 2, 3\)"):
        paired_gain(one, other[:50])
    with pytest.raises(LabelQualityError, match="one size"):
        overlaps(np.zeros((2, 2), int), np.zeros((2, 3), int), 2)
