"""Intervals hold the truth about as often as they say, though only the worst regions are reviewed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.quality.regions.review_statistics import (
    Interval,
    PendingRegions,
    ReviewCurve,
    estimate_errors,
    precision_interval,
    stopping_advice,
)

KINDS = 4


def sitting(rng, num_reviewed, num_regions=400, num_images=150):
    """A dataset whose scores are off, and a reviewer who has looked at the worst regions."""
    scores = rng.beta(0.7, 2.0, num_regions).clip(1e-4, 1 - 1e-4)
    kinds = rng.integers(0, KINDS, num_regions)
    offsets = rng.normal(0, 0.5, KINDS)
    logits = rng.normal(-0.5, 1.2) + rng.uniform(0.5, 1.5) * np.log(scores / (1 - scores)) + offsets[kinds]
    wrong = rng.random(num_regions) < 1 / (1 + np.exp(-logits))
    areas = rng.lognormal(4, 1, num_regions)
    images = rng.integers(0, num_images, num_regions)
    order = np.argsort(-scores)
    return scores, kinds, wrong, areas, images, order[:num_reviewed], order[num_reviewed:], num_images


def judge(rng, num_reviewed, seed):
    """The estimate and what is true, as (interval, truth) by name."""
    scores, kinds, wrong, areas, images, seen, rest, num_images = sitting(rng, num_reviewed)
    curve = ReviewCurve.fit(scores[seen], wrong[seen], kinds[seen], num_kinds=KINDS, seed=seed)
    found = np.unique(images[seen][wrong[seen]])
    estimate = estimate_errors(
        curve,
        PendingRegions(scores[rest], kinds[rest], areas[rest], images[rest]),
        accepted_area=float(areas[seen][wrong[seen]].sum()),
        labelled_pixels=float(areas.sum() * 10),
        accepted_images=found,
        num_accepted_images=found.size,
        num_images=num_images,
        seed=seed,
    )
    return {
        "remaining": (estimate.remaining, wrong[rest].sum()),
        "pixels": (estimate.pixel_share, areas[wrong].sum() / (areas.sum() * 10)),
        "images": (estimate.image_share, np.unique(images[wrong]).size / num_images),
        "next": (estimate.next_precision, wrong[rest[:20]].mean()),
    }


@pytest.mark.parametrize("num_reviewed", [0, 20, 60, 200])
def test_intervals_cover_the_truth_when_the_worst_are_reviewed_first(num_reviewed):
    rng = np.random.default_rng(num_reviewed)
    held: dict[str, list[bool]] = {}
    for number in range(120):
        for name, (interval, truth) in judge(rng, num_reviewed, number).items():
            held.setdefault(name, []).append(interval.low - 1e-9 <= truth <= interval.high + 1e-9)
    assert {name: np.mean(hits) for name, hits in held.items() if np.mean(hits) < 0.9} == {}


def test_reviews_narrow_the_interval():
    widths = {}
    for num_reviewed in (0, 200):
        rng = np.random.default_rng(7)
        found = [judge(rng, num_reviewed, number)["pixels"][0] for number in range(20)]
        widths[num_reviewed] = np.mean([interval.high - interval.low for interval in found])
    assert widths[200] < widths[0] / 2


def test_the_naive_estimate_would_be_wrong():
    """The precision of the worst regions says too much about the others; the curve does not."""
    rng = np.random.default_rng(3)
    scores, kinds, wrong, _, _, seen, rest, _ = sitting(rng, 100)
    curve = ReviewCurve.fit(scores[seen], wrong[seen], kinds[seen], num_kinds=KINDS)
    estimate = curve.chances(scores[rest], kinds[rest]).mean()
    assert abs(estimate - wrong[rest].mean()) < abs(wrong[seen].mean() - wrong[rest].mean()) / 3


def test_precision_covers_at_its_level():
    for truth in (0.05, 0.3, 0.9):
        counts = np.arange(41)
        held = [found.low <= truth <= found.high for found in (precision_interval(int(k), 40) for k in counts)]
        assert binom.pmf(counts, 40, truth)[held].sum() > 0.9


@pytest.mark.parametrize(
    ("accepted", "reviewed", "expected"),
    [(0, 0, (0.5, 0.0, 1.0)), (0, 20, (0.0, 0.0, 0.117)), (20, 20, (1.0, 0.883, 1.0)), (5, 10, (0.5, 0.224, 0.776))],
)
def test_precision_of_known_counts(accepted, reviewed, expected):
    found = precision_interval(accepted, reviewed)
    assert (found.estimate, found.low, found.high) == pytest.approx(expected, abs=5e-4)


def test_kinds_are_told_apart():
    scores = np.full(200, 0.5)
    kinds = np.repeat([0, 1], 100)
    curve = ReviewCurve.fit(scores, kinds == 0, kinds, num_kinds=2)
    good, bad = curve.chances([0.5, 0.5], [0, 1]).mean(axis=0)
    assert good > 0.7
    assert bad < 0.3


def test_certain_scores_and_one_sided_answers_stay_finite():
    curve = ReviewCurve.fit([0.0, 1.0, 1.0], [False, True, True], [0, 0, 0], num_kinds=1)
    chances = curve.chances([0.0, 0.5, 1.0], [0, 0, 0])
    assert np.isfinite(chances).all()
    assert (np.diff(chances, axis=1) >= 0).all()


def test_nothing_pending_leaves_what_was_accepted():
    nothing = np.zeros(0)
    pending = PendingRegions(nothing, nothing.astype(int), nothing, nothing.astype(int))
    curve = ReviewCurve.fit([0.9], [True], [0], num_kinds=1)
    found = estimate_errors(
        curve, pending, accepted_area=50, labelled_pixels=1000, accepted_images=[], num_accepted_images=1, num_images=10
    )
    assert found.remaining == Interval(0, 0, 0)
    assert found.pixel_share == Interval(0.05, 0.05, 0.05)
    assert found.image_share == Interval(0.1, 0.1, 0.1)


@pytest.mark.parametrize(
    ("scores", "answers", "kinds", "message"),
    [
        ([0.5], [True, False], [0], "one answer for each of 1"),
        ([0.5, 0.5], [True, False], [0], "one kind for each score"),
        ([1.5], [True], [0], r"scores in \[0, 1\]"),
        ([np.nan], [True], [0], r"scores in \[0, 1\]"),
        ([0.5], [True], [4], "kinds from 0 to 3, but got 4"),
    ],
)
def test_bad_input_is_refused(scores, answers, kinds, message):
    with pytest.raises(LabelQualityError, match=message):
        ReviewCurve.fit(scores, answers, kinds, num_kinds=4)
    with pytest.raises(LabelQualityError, match="5 of 3"):
        precision_interval(5, 3)


@pytest.mark.parametrize(
    ("latest", "num_latest", "upcoming", "pending", "advice"),
    [
        (precision_interval(2, 50), 50, 0.04, 340, "stop"),
        (precision_interval(30, 50), 50, 0.4, 340, "go on"),
        (precision_interval(8, 50), 50, 0.12, 340, "choose"),
        (precision_interval(12, 50), 50, 0.05, 340, "choose"),
        (precision_interval(3, 5), 5, 0.4, 340, "start"),
        (precision_interval(30, 50), 50, 0.4, 0, "done"),
    ],
)
def test_advice(latest, num_latest, upcoming, pending, advice):
    assert stopping_advice(latest, num_latest, Interval(upcoming, 0, 1), pending) == advice
