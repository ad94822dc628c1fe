"""Each image score follows its definition over the pixels that are not ignored, and so does its class's part of it."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label as label_components

from fiftyone_plugin import quality
from fiftyone_plugin.quality.pixels.pixel_maps import THRESHOLD_GRID

LABEL = np.array([[0, 0, 0], [1, 1, 255], [2, 2, 0]])
CONFIDENCE = np.array([[0.9, 0.8, 0.1], [0.6, 0.3, 0.5], [0.7, 0.2, 1.0]])
"""Probability of the given class; the rest goes to the next class. So predicted is wrong where it is below one half."""


def stacked(label, confidence, num_classes=3):
    probs = np.zeros((num_classes, *label.shape))
    given = np.where(label == 255, 0, label)
    np.put_along_axis(probs, given[None], confidence[None], 0)
    np.put_along_axis(probs, ((given + 1) % num_classes)[None], 1 - confidence[None], 0)
    return probs


VALUES = [0.9, 0.8, 0.1, 0.6, 0.3, 0.7, 0.2, 1.0]


def plain_softmin(values, temperature=0.1):
    values = np.asarray(values)
    weights = np.exp((1 - values) / temperature)
    return (values * weights).sum() / weights.sum()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("correctly_classified_pixels", 5 / 8),
        ("confidence_in_label", np.mean(VALUES)),
        ("softmin", plain_softmin(VALUES)),
        # class 0: 3 of {given 4, predicted 3 + 1}; class 1: 1 of {given 2, predicted 1 + 1}; class 2: 1 of {2, 1 + 1}
        ("iou", np.mean([3 / 5, 1 / 3, 1 / 3])),
        # the lone class-0 pixel at the bottom right touches no other class-0 pixel
        ("connected_components", np.mean([0.6, 0.45, 0.45, 1.0])),
        # counted: 3 pixels, all confidently wrong; all of their self-confidences are the lowest
        ("confident_learning_counts", 5 / 8),
    ],
)
def test_literal_image(method, expected):
    scores = quality.image_scores([LABEL], [stacked(LABEL, CONFIDENCE)], method)
    assert scores[method] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", quality.METHODS)
def test_perfect_label_scores_one(method):
    label = np.array([[0, 1], [1, 2]])
    assert quality.image_scores([label], [stacked(label, np.ones((2, 2)))], method)[method] == [1.0]


@pytest.mark.parametrize("method", quality.METHODS)
def test_ignored_images_score_nan_and_change_nothing(make_dataset, method):
    labels, probs = make_dataset(0, 3, 4, 20, 30)
    void, anything = np.full((5, 6), 255), np.full((4, 5, 6), np.nan)
    alone = quality.image_scores(labels, probs, method)[method]
    together = quality.image_scores([labels[0], void, *labels[1:]], [probs[0], anything, *probs[1:]], method)[method]
    assert np.isnan(together[1])
    np.testing.assert_array_equal(np.delete(together, 1), alone)
    assert not quality.label_issues([void], [anything])[0].any()


@pytest.mark.parametrize("method", quality.METHODS)
def test_ignoring_is_cropping(make_dataset, method):
    """Ignored pixels count as little as pixels that are not there."""
    labels, probs = make_dataset(1, 3, 4, 20, 30)
    padded = np.pad(labels, ((0, 0), (0, 0), (0, 7)), constant_values=255)
    surrounded = np.pad(probs, ((0, 0), (0, 0), (0, 0), (0, 7)), mode="edge")
    np.testing.assert_allclose(
        quality.image_scores(padded, surrounded, method)[method],
        quality.image_scores(labels, probs, method)[method],
        atol=1e-14,
    )


@pytest.mark.parametrize("method", quality.METHODS)
def test_scores_are_between_zero_and_one(make_dataset, method):
    labels, probs = make_dataset(2, 4, 6, 20, 30, accuracy=0.4)
    scores = quality.image_scores(labels, probs, method)[method]
    assert ((scores >= 0) & (scores <= 1)).all()


def test_softmin_limits():
    values = np.array([0.9, 0.2, np.nan, 0.7])
    assert quality.softmin(values, 1e-4) == pytest.approx(0.2)
    assert quality.softmin(values, 1e6) == pytest.approx(0.6, abs=1e-6)
    assert np.isnan(quality.softmin(np.full((2, 2), np.nan)))
    many = np.linspace(0, 1, 100_001)
    assert quality.softmin(many) == pytest.approx(plain_softmin(many), abs=1e-12)
    assert quality.softmin(many.astype(np.float32), 1e-3) == pytest.approx(plain_softmin(many, 2e-3) / 2, rel=1e-2)


@pytest.mark.parametrize("num_classes", [2, 3, 9])
@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (30, 41)])
def test_components_are_eight_connected(num_classes, shape):
    rng = np.random.default_rng(num_classes)
    label = rng.integers(0, num_classes, shape)
    confidence = rng.uniform(0.1, 0.9, shape)
    label[rng.random(shape) < 0.2] = 255
    parts = label_components(label + 1, background=256, connectivity=2)
    expected = np.mean([confidence[parts == part].mean() for part in range(1, parts.max() + 1)])
    probs = stacked(label, confidence, num_classes)
    found = quality.image_scores([label], [probs], "connected_components")["connected_components"]
    assert found == pytest.approx(expected, abs=1e-12)


def test_thresholded_ccp_follows_its_definition(make_dataset):
    labels, probs = make_dataset(3, 4, 4, 20, 30, np.float64, absent=True)
    thresholds = np.full(4, np.nan)
    for k in range(3):
        ious = [
            ((probs[:, k] > t) & (labels == k)).sum() / ((probs[:, k] > t) | (labels == k)).sum()
            for t in THRESHOLD_GRID
        ]
        thresholds[k] = THRESHOLD_GRID[int(np.argmax(ious))]
    agree = np.stack([(probs[:, k] > thresholds[k]) == (labels == k) for k in range(3)]).mean((2, 3)).T
    records = [quality.image_record(*pair, methods="thresholded_ccp") for pair in zip(labels, probs, strict=True)]
    totals = quality.Totals(4, "thresholded_ccp")
    for record in records:
        totals.add(record)

    np.testing.assert_allclose(totals.tccp_thresholds, thresholds)
    scores = quality.image_scores(labels, probs, "thresholded_ccp")["thresholded_ccp"]
    np.testing.assert_allclose(scores, agree.mean(1), atol=1e-14)
    by_class = quality.class_scores(labels, probs, "thresholded_ccp")["thresholded_ccp"]
    np.testing.assert_allclose(by_class[:, :3], agree, atol=1e-14)
    assert np.isnan(by_class[:, 3]).all()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("correctly_classified_pixels", [3 / 4, 1 / 2, 1 / 2, np.nan]),
        ("confidence_in_label", [0.7, 0.45, 0.45, np.nan]),
        (
            "softmin",
            [plain_softmin([0.9, 0.8, 0.1, 1.0]), plain_softmin([0.6, 0.3]), plain_softmin([0.7, 0.2]), np.nan],
        ),
        ("iou", [3 / 4, 1 / 3, 1 / 3, np.nan]),
        ("connected_components", [0.8, 0.45, 0.45, np.nan]),
        ("confident_learning_counts", [3 / 4, 1 / 2, 1 / 2, np.nan]),
    ],
)
def test_class_scores(method, expected):
    probs = stacked(LABEL, CONFIDENCE, 4)
    found = quality.class_scores([LABEL], [probs], method)[method]
    np.testing.assert_allclose(found, [expected], atol=1e-12)


def test_several_methods_at_once(make_dataset):
    labels, probs = make_dataset(4, 3, 4, 20, 30)
    together = quality.image_scores(labels, probs, quality.METHODS)
    assert tuple(together) == quality.METHODS
    for method in quality.METHODS:
        np.testing.assert_array_equal(together[method], quality.image_scores(labels, probs, method)[method])


def test_logits_score_like_their_softmax(make_dataset):
    labels, probs = make_dataset(5, 3, 4, 20, 30, np.float64)
    from_probs = quality.image_scores(labels, probs, quality.METHODS)
    from_logits = quality.image_scores(labels, np.log(probs) + 3, quality.METHODS, from_logits=True)
    for method in quality.METHODS:
        np.testing.assert_allclose(from_logits[method], from_probs[method], atol=1e-9)
