"""Each error of an object is one region of the right kind, box, mask and classes, and the list is worst first."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fiftyone_plugin import quality
from fiftyone_plugin.errors import LabelQualityError


def mask_of(text):
    """One character per pixel: a digit is a class, a dot class 0, an x ignored."""
    rows = text.split()
    return np.array([[255 if c == "x" else 0 if c == "." else int(c) for c in row] for row in rows])


def probs_of(predicted, num_classes=3, best=0.9):
    rest = (1 - best) / (num_classes - 1)
    return np.where(np.arange(num_classes)[:, None, None] == predicted, best, rest)


def found_in(given, predicted, **options):
    return quality.issue_regions([mask_of(given)], [probs_of(mask_of(predicted))], **options)


EMPTY = "...... ...... ...... ...... ...... ......"
OBJECT = "...... .111.. .111.. .111.. ...... ......"
OTHER = "...... .222.. .222.. .222.. ...... ......"
SMALLER = "...... ...... .111.. .111.. ...... ......"
TWO_SIDES = "...222 ...222 ...222 ...222 ...222 ...222"
ACROSS = "...222 .11122 .11122 .11122 ...222 ...222"
PIXEL = "...... ...... ..1... ...... ...... ......"


@pytest.mark.parametrize(
    ("given", "predicted", "expected"),
    [
        pytest.param(EMPTY, OBJECT, [("missing", 0, 1, (1, 1, 4, 4), 9)], id="missing"),
        pytest.param(OBJECT, EMPTY, [("spurious", 1, 0, (1, 1, 4, 4), 9)], id="spurious"),
        pytest.param(OBJECT, OTHER, [("wrong_class", 1, 2, (1, 1, 4, 4), 9)], id="wrong class"),
        pytest.param(SMALLER, OBJECT, [("boundary", 0, 1, (1, 1, 2, 4), 3)], id="drawn too small"),
        pytest.param(OBJECT, SMALLER, [("boundary", 1, 0, (1, 1, 2, 4), 3)], id="drawn too large"),
        pytest.param(TWO_SIDES, ACROSS, [("missing", 0, 1, (1, 1, 4, 4), 9)], id="missing from two classes"),
        pytest.param(ACROSS, TWO_SIDES, [("spurious", 1, 0, (1, 1, 4, 4), 9)], id="spurious on two classes"),
        pytest.param(EMPTY, PIXEL, [("missing", 0, 1, (2, 2, 3, 3), 1)], id="one missing pixel"),
        pytest.param(PIXEL, EMPTY, [("spurious", 1, 0, (2, 2, 3, 3), 1)], id="one spurious pixel"),
        pytest.param(OBJECT, OBJECT, [], id="nothing"),
        pytest.param("xxx xxx", "012 210", [], id="all ignored"),
        pytest.param("x", "1", [], id="one ignored pixel"),
        pytest.param("0", "1", [("wrong_class", 0, 1, (0, 0, 1, 1), 1)], id="one wrong pixel"),
        pytest.param(
            "...... .1x... .1x... ...... ...... ......",
            "...... ..2... ..2... ...... ...... ......",
            [("spurious", 1, 0, (1, 1, 3, 2), 2)],
            id="ignored pixels do not disagree",
        ),
    ],
)
def test_kinds(given, predicted, expected):
    regions = found_in(given, predicted)
    found = [(region.kind, region.given, region.suggested, region.bbox, region.area) for region in regions]
    assert found == expected


def test_wide_parts_of_an_object_are_missing_not_boundary():
    """Half an object without a label is no misplaced border, unless the tolerance says so."""
    given, predicted = np.zeros((30, 40), int), np.zeros((30, 40), int)
    predicted[10:20, 5:35] = 1
    given[10:20, 5:20] = 1
    kinds = {
        tolerance: {
            region.kind: region.area
            for region in quality.issue_regions([given], [probs_of(predicted)], tolerance=tolerance, min_area=21)
        }
        for tolerance in (0, 1, 30)
    }
    assert kinds[0] == {"missing": 150}
    assert kinds[1] == {"missing": 144}
    assert kinds[30] == {"boundary": 150}


def test_displaced_border_of_the_whole_object_is_one_region():
    given, predicted = np.zeros((40, 40), int), np.zeros((40, 40), int)
    given[:, 20:] = predicted[:, 20:] = 2
    predicted[8:32, 8:32] = 1
    given[10:30, 10:30] = 1
    (region,) = quality.issue_regions([given], [probs_of(predicted)])
    assert (region.kind, region.area, region.bbox, region.suggested) == ("boundary", 176, (8, 8, 32, 32), 1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_classes", [2, 5, 1000])
def test_regions_partition_the_disagreement(seed, num_classes):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, num_classes, (12, 16)).repeat(3, 0).repeat(3, 1)
    predicted = np.roll(label, 1, axis=1)
    predicted[20:30, 5:20] = num_classes - 1
    label[rng.random(label.shape) < 0.1] = 255
    label[label == 255] = 65535
    record = quality.image_record(label, probs_of(predicted, num_classes), ignore_index=65535)
    found = quality.image_regions(label, record, min_area=1, max_per_image=10**6)
    covered = np.zeros(label.shape, int)
    for region in found:
        top, left, bottom, right = region.bbox
        covered[top:bottom, left:right] += region.mask
        assert region.mask.shape == (bottom - top, right - left)
        assert region.mask.sum() == region.area
        assert region.mask.any(0).all() or region.mask.any(0)[[0, -1]].all()
        assert region.mask.any(1)[[0, -1]].all()
        inside = label[top:bottom, left:right][region.mask]
        assert (inside == region.given).sum() == np.bincount(inside).max()
        assert 0 <= region.score <= 1
        assert region.kind in quality.KINDS
    np.testing.assert_array_equal(covered, (label != predicted) & (label != 65535))
    assert np.isfinite(found.features).all()
    np.testing.assert_allclose(quality.region_features(label, record, found.regions), found.features)
    np.testing.assert_allclose(quality.region_scores(found.features), [region.score for region in found])


def test_worst_first_over_all_images(make_dataset):
    labels, probs = make_dataset(0, 4, 5, 24, 32)
    regions = quality.issue_regions(labels, probs)
    assert len({region.image_index for region in regions}) == 4
    scores = [region.score for region in regions]
    assert scores == sorted(scores, reverse=True)
    small, large = np.zeros((2, 60, 80), int), np.zeros((60, 80), int)
    large[20:40, 20:40] = small[1, 50:52, 50:52] = 1
    predicted = np.maximum(large, small[1])
    ranked = quality.issue_regions([small[0]], [probs_of(predicted)])
    assert [region.area for region in ranked] == [400, 4]


def test_sure_disagreement_scores_higher():
    label, predicted = np.zeros((40, 40), int), np.zeros((40, 40), int)
    predicted[10:20, 10:20] = 1
    sure, unsure = (quality.issue_regions([label], [probs_of(predicted, best=best)])[0] for best in (0.95, 0.4))
    assert sure.score > unsure.score


def test_cap_is_reported():
    label, predicted = np.zeros((90, 90), int), np.zeros((90, 90), int)
    predicted[::2, ::2] = 1
    record = quality.image_record(label, probs_of(predicted))
    found = quality.image_regions(label, record, max_per_image=5)
    assert (len(found), found.dropped, found.too_small) == (5, 2020, 0)
    everything = quality.image_regions(label, record, max_per_image=2025)
    assert (len(everything), everything.dropped) == (2025, 0)
    assert quality.image_regions(label, record, min_area=2).too_small == 2025
    with pytest.warns(UserWarning, match="1 images have more than max_per_image=5 regions; 2020 regions"):
        assert len(quality.issue_regions([label], [probs_of(predicted)], max_per_image=5)) == 5


def test_file_keeps_everything(make_dataset, tmp_path):
    labels, probs = make_dataset(1, 1, 5, 24, 32)
    found = quality.image_regions(labels[0], quality.image_record(labels[0], probs[0]), image_index=7)
    loaded = quality.load_regions(found.save(tmp_path / "regions.npz"))
    assert (loaded.shape, loaded.dropped, loaded.too_small, loaded.tolerance) == (
        found.shape,
        found.dropped,
        found.too_small,
        found.tolerance,
    )
    np.testing.assert_array_equal(loaded.features, found.features)
    assert len(loaded) == len(found) > 1
    for one, other in zip(loaded, found, strict=True):
        assert {**vars(one), "mask": None} == {**vars(other), "mask": None}
        np.testing.assert_array_equal(one.mask, other.mask)
    nothing = quality.image_regions(labels[0], quality.image_record(labels[0], probs_of(labels[0], 5)))
    assert len(quality.load_regions(nothing.save(tmp_path / "nothing.npz"))) == 0
    (tmp_path / "regions.npz").write_bytes(b"damaged")
    with pytest.raises(LabelQualityError, match="damaged"):
        quality.load_regions(tmp_path / "regions.npz")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tolerance": -1}, "`tolerance` of a finite number of pixels, at least 0, but got -1"),
        ({"tolerance": "wide"}, "`tolerance` in pixels or None, but got 'wide'"),
        ({"min_area": 0}, "`min_area` to be a whole number of at least 1, but got 0"),
        ({"max_per_image": 2.5}, "`max_per_image` to be a whole number of at least 1, but got 2.5"),
    ],
)
def test_bad_options(options, says):
    with pytest.raises(LabelQualityError, match=says):
        found_in(EMPTY, OBJECT, **options)


def test_bad_input():
    record = quality.image_record(mask_of(EMPTY), probs_of(mask_of(OBJECT)))
    with pytest.raises(LabelQualityError, match="record with its maps"):
        quality.image_regions(mask_of(EMPTY), record.without_maps())
    with pytest.raises(LabelQualityError, match=r"shapes \(2, 2\) and \(6, 6\)"):
        quality.image_regions(np.zeros((2, 2), int), record)
    with pytest.raises(LabelQualityError, match="Image 1: Expected label values"):
        quality.issue_regions([np.zeros((2, 2), int), np.full((2, 2), 7)], [probs_of(np.zeros((2, 2)))] * 2)
    regions = quality.image_regions(mask_of(EMPTY), record).regions
    ignored = quality.image_record(np.full((6, 6), 255), probs_of(mask_of(OBJECT)))
    with pytest.raises(LabelQualityError, match="1 regions that do not overlap and hold labelled pixels"):
        quality.region_features(np.full((6, 6), 255), ignored, regions)


def judged(seed, count=200):
    """Regions of which the small ones are errors, against what the fixed score thinks."""
    rng = np.random.default_rng(seed)
    features = rng.uniform(0, 1, (count, len(quality.FEATURE_NAMES)))
    return features, features[:, quality.FEATURE_NAMES.index("log_area")] < 0.5


def test_verifier_learns_from_decisions(tmp_path):
    features, accepted = judged(0)
    unseen, truth = judged(1)
    verifier = quality.RegionVerifier.fit(features, accepted)
    assert ((verifier.predict(unseen) > 0.5) == truth).mean() > 0.9
    assert (verifier.num_accepted, verifier.num_rejected) == (accepted.sum(), (~accepted).sum())
    path = verifier.save(tmp_path / "verifier.json")
    assert quality.RegionVerifier.load(path) == verifier
    assert set(json.loads(path.read_text())["features"]) == {*quality.FEATURE_NAMES, *quality.CONTEXT_NAMES}


def test_verifier_without_decisions_is_the_fixed_score():
    features, _ = judged(2)
    np.testing.assert_array_equal(
        quality.RegionVerifier.fit(features[:0], []).predict(features), quality.region_scores(features)
    )
    firm = quality.RegionVerifier.fit(features, np.ones(len(features), bool), strength=1e9)
    np.testing.assert_allclose(firm.predict(features), quality.region_scores(features), atol=1e-5)


HANDFULS = {  # decisions about kind and class pair
    "three of each": ([True] * 3 + [False] * 3, [(1, 2)] * 3 + [(3, 4)] * 3),
    "all accepted": ([True] * 20, [(i % 5, 5 + i % 4) for i in range(20)]),
    "all rejected": ([False] * 20, [(i % 5, 5 + i % 4) for i in range(20)]),
    "one pair": ([True] * 20, [(1, 2)] * 20),
    "contradicting": ([True, False] * 10, [(1, 2)] * 20),
}


@pytest.mark.parametrize("name", HANDFULS)
def test_a_handful_of_decisions_moves_scores_by_little(name):
    """Each is separable by some feature; the rest of the dataset must neither saturate nor change its order much."""
    answers, pairs = HANDFULS[name]
    rng = np.random.default_rng(4)
    reviewed = rng.uniform(0, 1, (len(answers), len(quality.FEATURE_NAMES)))
    reviewed[:, quality.FEATURE_NAMES.index("solidity")] = answers
    others = rng.uniform(0, 1, (500, len(quality.FEATURE_NAMES)))
    others_pairs = rng.integers(10, 20, (500, 2))
    others_pairs[:100] = (1, 2)
    verifier = quality.RegionVerifier.fit(reviewed, answers, pairs=pairs)
    before, after = (
        np.log(p / (1 - p)) for p in (quality.region_scores(others), verifier.predict(others, others_pairs))
    )
    change = after - before
    assert np.abs(change).max() <= 0.2 * len(answers)
    assert np.abs(change[100:]).max() <= 0.1 * len(answers)
    assert np.corrcoef(before, after)[0, 1] > 0.95
    elsewhere, there = change[100:].mean(), change[:100].mean()
    if name == "all accepted":
        assert elsewhere > 0.05
    elif name == "all rejected":
        assert elsewhere < 0
    elif name == "one pair":
        assert there > elsewhere + 0.5 > 0.5


def test_a_firmer_prior_moves_less_and_more_decisions_move_more():
    features, accepted = judged(3, 40)
    accepted[:] = True
    means = [
        quality.RegionVerifier.fit(features[:count], accepted[:count], strength=strength).predict(features).mean()
        for count, strength in ((1, 1.0), (10, 10.0), (10, 1.0), (40, 1.0))
    ]
    assert quality.region_scores(features).mean() < means[0] < means[2] < means[3]
    assert means[1] < means[2]


def test_verifier_refuses_what_does_not_fit(tmp_path):
    with pytest.raises(LabelQualityError, match=r"shape \(R, 23\), or \(R, 29\) with their context, but got \(2, 3\)"):
        quality.RegionVerifier.fit(np.zeros((2, 3)), [True, False])
    with pytest.raises(LabelQualityError, match="one answer for each of 2 regions"):
        quality.RegionVerifier.fit(np.zeros((2, 23)), [True])
    with pytest.raises(LabelQualityError, match="finite `features`"):
        quality.RegionVerifier().predict(np.full((1, 23), np.nan))
    (tmp_path / "old.json").write_text('{"features": {"size": 1}, "bias": 0}')
    with pytest.raises(LabelQualityError, match="but got size; fit it again"):
        quality.RegionVerifier.load(tmp_path / "old.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(LabelQualityError, match="damaged"):
        quality.RegionVerifier.load(tmp_path / "bad.json")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.int64])
def test_labels_of_every_integer_type_give_the_same_regions(dtype):
    ignored = 100  # fits every type
    label = mask_of("...... .1x... .1x... ...... ...... x.....")
    label[label == 255] = ignored
    probs = probs_of(mask_of("...... ..2... ..2... ...... ...... ......"))
    (region,) = quality.issue_regions([label.astype(dtype)], [probs], ignore_index=ignored)
    assert (region.kind, region.given, region.bbox, region.area) == ("spurious", 1, (1, 1, 3, 2), 2)
