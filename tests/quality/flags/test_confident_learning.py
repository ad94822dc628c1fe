"""Flags are those of the four written rules, whatever the order, split, ties and types of the images."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest

from fiftyone_plugin import quality
from fiftyone_plugin.errors import LabelQualityError


def scored(labels, probs, **options):
    return [quality.image_record(*pair, **options).without_maps() for pair in zip(labels, probs, strict=True)]


def totals_of(records, methods="softmin"):
    totals = quality.Totals(records[0].num_classes, methods)
    for record in records:
        totals.add(record)
    return totals


def flags_of(records):
    cut = quality.confident_learning_cut(records, totals_of(records))
    return [quality.record_flags(record, cut) for record in records]


def coarse(probs, steps=16):
    """Probabilities in whole sixteenths, so that many are tied; they still sum to one."""
    low = np.floor(probs * steps) / steps
    top = probs.argmax(1)[:, None]
    rest = 1 - low.sum(1, keepdims=True)
    np.put_along_axis(low, top, np.take_along_axis(low, top, 1) + rest, 1)
    return low


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_flags_follow_the_rules(make_dataset, plain_flags, seed, ties, dtype):
    labels, probs = make_dataset(seed, 4, 2 + 3 * seed, 24, 31, np.float64, accuracy=0.3 + 0.1 * seed)
    probs = (coarse(probs) if ties else probs).astype(dtype)
    labels[:, :3] = 255
    found = quality.label_issues(labels, probs)
    np.testing.assert_array_equal(found, plain_flags(labels, probs, 255))


def test_images_of_unequal_size_share_thresholds(make_dataset, plain_flags):
    parts = [make_dataset(seed, 1, 5, 10 + 7 * seed, 40 - 5 * seed) for seed in range(5)]
    labels, probs = [part[0][0] for part in parts], [part[1][0] for part in parts]
    for found, expected in zip(quality.label_issues(labels, probs), plain_flags(labels, probs), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_types_may_be_mixed(make_dataset, plain_flags):
    labels, probs = make_dataset(3, 2, 5, 30, 40, np.float64)
    mixed = [probs[0], probs[1].astype(np.float32)]
    for found, expected in zip(quality.label_issues(labels, mixed), plain_flags(labels, mixed), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_all_pixels_tied_with_the_cut_are_flagged():
    """Only the first pixel is counted; the second has the same, lowest self-confidence. In either order both go."""
    given = [0, 0, 0, 1, 2]
    rows = [[0.3, 0.7, 0.0], [0.3, 0.0, 0.7], [0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.05, 0.05, 0.9]]
    for order in itertools.permutations(range(5)):
        labels = [np.array([[given[i]]]) for i in order]
        probs = [np.array(rows[i]).reshape(3, 1, 1) for i in order]
        flags = np.ravel(quality.label_issues(labels, probs))
        assert {i for i, flag in zip(order, flags, strict=True) if flag} == {0, 1}


def test_order_of_images_does_not_matter(make_dataset):
    labels, probs = make_dataset(0, 4, 5, 20, 30, np.float64)
    probs = coarse(probs)
    expected = quality.label_issues(labels, probs)
    for order in itertools.permutations(range(4)):
        found = quality.label_issues(labels[list(order)], probs[list(order)])
        np.testing.assert_array_equal(found, np.stack(expected)[list(order)])


def test_tiling_of_images_does_not_matter(make_dataset):
    labels, probs = make_dataset(1, 2, 5, 24, 36, np.float64)
    whole = quality.label_issues(labels, probs)
    halves = quality.label_issues(
        np.concatenate([labels[:, :, :18], labels[:, :, 18:]]), np.concatenate([probs[..., :18], probs[..., 18:]])
    )
    np.testing.assert_array_equal(np.concatenate([halves[:2], halves[2:]], axis=2), whole)


@pytest.mark.parametrize("limit", [1, 10, 1000])
def test_narrowing_down_finds_the_same_cut(make_dataset, monkeypatch, limit):
    for dtype in (np.float32, np.float64):
        labels, probs = make_dataset(2, 3, 6, 40, 50, dtype, accuracy=0.5)
        records = scored(labels, probs)
        expected = quality.confident_learning_cut(records, totals_of(records)).self_confidence
        with monkeypatch.context() as patch:
            patch.setattr("fiftyone_plugin.quality.flags.confident_learning.COLLECT_LIMIT", limit)
            assert quality.confident_learning_cut(records, totals_of(records)).self_confidence == expected


@pytest.mark.parametrize("value", [0.0, 5e-324, 0.25, 0.5])
def test_cut_where_every_suspect_is_alike(monkeypatch, value):
    monkeypatch.setattr("fiftyone_plugin.quality.flags.confident_learning.COLLECT_LIMIT", 0)
    probs = np.array([value, 1 - value, 0.0]).reshape(3, 1, 1) * np.ones((1, 4, 5))
    record = quality.image_record(np.full((4, 5), 2 if value == 0 else 0), probs)
    cut = quality.confident_learning_cut([record], totals_of([record]))
    assert cut.self_confidence == (0.0 if value == 0 else value) or not cut.inclusive


def test_nothing_is_flagged_where_nothing_disagrees(good_image):
    label, probs = good_image
    records = scored([label], [probs])
    cut = quality.confident_learning_cut(records, totals_of(records))
    assert (cut.num_counted, cut.inclusive) == (0, False)
    assert not quality.record_flags(records[0], cut).any()
    assert quality.record_scores(records[0], totals_of(records), cut)["confident_learning_counts"] == 1


def test_totals_are_the_same_however_they_are_merged(make_dataset):
    labels, probs = make_dataset(4, 6, 5, 20, 30)
    records = scored(labels, probs, methods=quality.METHODS)
    expected = totals_of(records, quality.METHODS)
    rng = np.random.default_rng(0)
    for _ in range(10):
        order = rng.permutation(6)
        split = rng.integers(1, 6)
        left = totals_of([records[i] for i in order[:split]], quality.METHODS)
        right = totals_of([records[i] for i in order[split:]], quality.METHODS)
        empty = quality.Totals(5, quality.METHODS)
        for part in (right, pickle.loads(pickle.dumps(left))):
            empty.merge(part)
        np.testing.assert_array_equal(empty.class_thresholds, expected.class_thresholds)
        np.testing.assert_array_equal(empty.tccp_thresholds, expected.tccp_thresholds)
        assert (empty.num_images, empty.num_valid, empty.num_agreeing) == (6, 3600, expected.num_agreeing)


def test_pairs_add_up_to_the_flags(make_dataset):
    labels, probs = make_dataset(5, 3, 5, 20, 30)
    records = scored(labels, probs)
    cut = quality.confident_learning_cut(records, totals_of(records))
    pairs = sum(quality.class_pairs(record, cut) for record in records)
    flags = [quality.record_flags(record, cut) for record in records]
    np.testing.assert_array_equal(pairs, quality.class_pair_counts(flags, labels, probs))
    assert pairs.sum() == np.sum(flags)


def test_suspects_are_few_and_enough(make_dataset):
    """They are the pixels that disagree or are unsure, and every pixel below the cut is among them."""
    labels, probs = make_dataset(6, 1, 5, 200, 300, accuracy=0.99)
    record = quality.image_record(labels[0], probs[0])
    confidence = record.maps.self_confidence
    unsure = (record.maps.predicted != labels[0]) | (confidence <= 0.54)
    np.testing.assert_array_equal(record.suspects.index, np.flatnonzero(unsure))
    np.testing.assert_array_equal(record.suspects.self_confidence, confidence[unsure])
    np.testing.assert_array_equal(record.suspects.given, labels[0][unsure])
    np.testing.assert_array_equal(record.suspects.predicted, record.maps.predicted[unsure])
    np.testing.assert_array_equal(record.suspects.best_probability, record.maps.best_probability[unsure])
    assert record.suspects.nbytes == 14 * len(record.suspects)
    cut = quality.confident_learning_cut([record], totals_of([record]))
    below = np.flatnonzero(confidence <= cut.self_confidence)
    assert set(below) <= set(record.suspects.index.tolist())


def test_records_must_be_readable_again_and_complete(make_dataset):
    records = scored(*make_dataset(7, 3, 5, 20, 30))
    totals = totals_of(records)
    with pytest.raises(TypeError, match="read several times, but got an iterator"):
        quality.confident_learning_cut(iter(records), totals)
    table = quality.Suspects(*(column[:1] for column in vars(records[0].suspects).values()))
    with pytest.raises(LabelQualityError, match=r"with its [0-9]+ suspects, but it holds 1"):
        quality.confident_learning_cut([replace(records[0], suspects=table), *records[1:]], totals)
    with pytest.raises(LabelQualityError, match="1800 pixels in `totals`, but got 1200"):
        quality.confident_learning_cut(records[:2], totals)


def test_classes_and_methods_must_fit(good_image, make_dataset):
    two, five = quality.image_record(*good_image), scored(*make_dataset(8, 1, 5, 4, 4))[0]
    totals = totals_of([two])
    cut = quality.confident_learning_cut([two], totals)
    with pytest.raises(LabelQualityError, match="2 classes as for the images before, but got 5"):
        totals.add(five)
    with pytest.raises(LabelQualityError, match="2 classes as in the cut, but got 5"):
        quality.record_flags(five, cut)
    with pytest.raises(LabelQualityError, match="2 classes as in `totals`, but got 5"):
        quality.confident_learning_cut([five], totals)
    with pytest.raises(LabelQualityError, match="one without thresholded_ccp"):
        quality.Totals(2, "thresholded_ccp").add(two)
    with pytest.raises(LabelQualityError, match=r"methods \('softmin',\), but got \('iou',\)"):
        totals.merge(quality.Totals(2, "iou"))


@pytest.mark.parametrize(("accuracy", "suspicious"), [(1.0, True), (0.95, False)])
def test_predictions_that_agree_too_well(accuracy, suspicious):
    rng = np.random.default_rng(0)
    predicted = rng.integers(0, 3, (60, 70))
    probs = np.where(np.arange(3)[:, None, None] == predicted, 0.998, 0.001)
    label = np.where(rng.random((60, 70)) < accuracy, predicted, (predicted + 1) % 3)
    message = quality.in_sample_suspicion(totals_of([quality.image_record(label, probs)]))
    assert (message is not None) == suspicious
    assert quality.in_sample_suspicion(quality.Totals(3)) is None
