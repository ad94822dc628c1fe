"""Superpixels are connected and of one label where they must be, and none is lost but slivers of the same label."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label as connected_components

from fiftyone_plugin.correction.superpixels import methods
from fiftyone_plugin.errors import LabelQualityError


def grid(text):
    """One character per pixel: digits and letters are numbers from 0, a dot is 0."""
    return np.array([[0 if c == "." else int(c, 36) for c in row] for row in text.split()], np.int32)


def masks_of(*texts):
    return [grid(text) > 0 for text in texts]


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        pytest.param(masks_of("1110", "0100"), "1210", id="small over large"),
        pytest.param(masks_of("0100", "1110"), "2120", id="in any order"),
        pytest.param(masks_of("1100", "0110"), "1220", id="of equal ones the later"),
        pytest.param(masks_of("0100", "0100"), "0200", id="a hidden one has no pixel"),
        pytest.param([], "....", id="none"),
    ],
)
def test_masks_lie_over_each_other(masks, expected):
    found = methods.superpixels_from_masks(masks, (1, 4))
    assert found.tolist() == grid(expected).tolist()
    assert found.dtype == np.int32


def test_there_may_be_more_than_255_masks():
    found = methods.superpixels_from_masks(np.eye(300, dtype=bool)[:, None], (1, 300))
    assert found[0].tolist() == list(range(1, 301))


@pytest.mark.parametrize(
    ("labels", "options", "expected"),
    [
        pytest.param("0010 0110", {}, "1123 1223", id="parts of a class"),
        pytest.param("10 01", {}, "12 21", id="over corners"),
        pytest.param("101 111", {}, "121 111", id="parts that meet later"),
        pytest.param("22 22", {}, "11 11", id="one"),
    ],
)
def test_labels_fall_into_connected_parts(labels, options, expected):
    assert methods.superpixels_from_labels(grid(labels), **options).tolist() == grid(expected).tolist()


def test_what_has_no_class_belongs_to_no_superpixel():
    labels = np.array([[255, 1, -1, 1]])
    assert methods.superpixels_from_labels(labels).tolist() == [[0, 1, 0, 2]]
    assert methods.superpixels_from_labels(labels, ignore_index=None).tolist() == [[1, 2, 0, 3]]
    assert methods.superpixels_from_labels(labels, ignore_index=1).tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([[0, 26001], [24000, 26001]], [[0, 2], [1, 2]]),
        ([[5, 5], [9, 5]], [[1, 1], [2, 1]]),
        ([[2**40, 0], [7, 2**40]], [[2, 0], [1, 2]]),
        ([[2**40, 3], [7, 2**40]], [[3, 1], [2, 3]]),
        ([[0, 0]], [[0, 0]]),
    ],
)
def test_instances_are_numbered_without_holes(ids, expected):
    found = methods.superpixels_from_instances(np.array(ids))
    assert found.tolist() == expected
    assert found.dtype == np.int32


@pytest.mark.parametrize(
    ("segments", "labels", "min_area", "expected"),
    [
        pytest.param("1112", "0055", 1, "1123", id="cut where the label changes"),
        pytest.param("1112", "0055", 2, "1122", id="slivers join a neighbour of their label"),
        pytest.param("1123 1123", "0001 0001", 3, "1112 1112", id="and no other"),
        pytest.param("1231 1231", "0500 0500", 2, "1234 1234", id="parts are connected"),
        pytest.param("1.1", "0.0", 5, "1.2", id="a sliver joins no gap"),
        pytest.param("1133 1223 3333", "0000 0000 0000", 3, "1122 1222 2222", id="the longest border"),
        pytest.param("1234 1234", "0000 0000", 4, "1111 1111", id="slivers grow together"),
        pytest.param("1234567", "0000000", 2, "1111111", id="in a chain"),
        pytest.param("12", "07", 9, "12", id="nothing to join"),
        pytest.param("..", "00", 9, "..", id="no superpixel"),
    ],
)
def test_superpixels_are_split_by_label(segments, labels, min_area, expected):
    found = methods.split_by_label(grid(segments), grid(labels), min_area=min_area)
    assert found.tolist() == grid(expected).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_split_superpixels_are_pure_connected_and_large(seed):
    rng = np.random.default_rng(seed)
    segments = rng.integers(0, 5, (6, 8)).repeat(5, 0).repeat(4, 1)
    labels = np.where(rng.random(segments.shape) < 0.03, 255, rng.integers(0, 2, (10, 8)).repeat(3, 0).repeat(4, 1))
    found = methods.split_by_label(segments, labels, min_area=7)
    assert ((found == 0) == (segments == 0)).all()
    assert sorted(np.unique(found[found > 0])) == list(range(1, found.max() + 1))
    for number in range(1, found.max() + 1):
        part = found == number
        assert np.unique(labels[part]).size == 1
        assert connected_components(part, np.ones((3, 3)))[1] == 1
        if part.sum() < 7:  # then no neighbour of the same label
            cross = connected_components(part)[0] > 0
            around = np.zeros_like(cross)
            around[1:] |= cross[:-1]
            around[:-1] |= cross[1:]
            around[:, 1:] |= cross[:, :-1]
            around[:, :-1] |= cross[:, 1:]
            assert not (around & ~part & (found > 0) & (labels == labels[part][0])).any()


@pytest.mark.parametrize("method", ["slic", "felzenszwalb"])
def test_an_image_is_covered_by_connected_superpixels_that_keep_to_edges(method):
    rng = np.random.default_rng(0)
    image = np.full((60, 90, 3), 40, np.uint8)
    image[20:45, 30:70] = (200, 180, 20)
    image += rng.integers(0, 6, image.shape, dtype=np.uint8)
    found = methods.image_superpixels(image, method=method, size=150)
    inside = np.zeros((60, 90), bool)
    inside[20:45, 30:70] = True
    assert sorted(np.unique(found)) == list(range(1, found.max() + 1))
    assert max(connected_components(found == n, np.ones((3, 3)))[1] for n in range(1, found.max() + 1)) == 1
    rows, columns = np.indices((60, 90))
    tiles = rows // 12 * 8 + columns // 12 + 1
    assert 1.5 * pixels_across(found, inside) < pixels_across(tiles, inside)


def pixels_across(segments, inside):
    """Pixels on the smaller side of the outline in superpixels that cross it."""
    numbers = range(1, segments.max() + 1)
    return sum(min((inside & (segments == n)).sum(), (~inside & (segments == n)).sum()) for n in numbers)


def test_size_is_pixels_per_superpixel():
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), dtype=np.uint8)
    assert 30 <= methods.image_superpixels(image, size=400).max() <= 60
    assert 140 <= methods.image_superpixels(image // 30).max() <= 200


def test_texture_does_not_merge_everything():
    tiles = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    image = tiles.repeat(10, 0).repeat(10, 1)
    assert methods.image_superpixels(image, size=2000).max() >= 15


def test_large_images_are_segmented_at_reduced_size():
    image = np.zeros((1501, 2003, 3), np.uint8)
    image[:, 1000:] = 200
    found = methods.image_superpixels(image, size=60_000)
    assert found.shape == (1501, 2003)
    assert found.min() == 1
    assert not set(np.unique(found[:, :990])) & set(np.unique(found[:, 1010:]))


def test_gaps_become_superpixels_and_the_others_stay():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 220
    segments = np.zeros((40, 60), np.int32)
    segments[10:30, 20:50] = 7
    found = methods.fill_gaps(segments, image, size=200)
    assert found.min() > 0
    assert ((found == 7) == (segments == 7)).all()
    new = np.unique(found[segments == 0])
    assert new.min() == 8
    assert new.size > 4
    assert all(connected_components(found == number, np.ones((3, 3)))[1] == 1 for number in new)
    assert not set(np.unique(found[:, :28])) & set(np.unique(found[:, 32:])) - {7}


def test_without_gaps_nothing_changes():
    segments = np.array([[300, 2]])
    assert methods.fill_gaps(segments, np.zeros((1, 2, 3), np.uint8)).tolist() == [[300, 2]]


def test_an_image_of_one_pixel():
    image = np.zeros((1, 1, 3), np.uint8)
    assert methods.image_superpixels(image).tolist() == [[1]]
    assert methods.fill_gaps([[0]], image).tolist() == [[1]]
    assert methods.split_by_label([[4]], [[0]]).tolist() == [[1]]


IMAGE = np.zeros((2, 2, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: methods.superpixels_from_masks([np.ones((2, 3))], (2, 2)),
            r"\(2, 2\), but got \(2, 3\) for mask 0",
        ),
        (lambda: methods.superpixels_from_labels([0, 1]), r"`labels` as a \(H, W\) array"),
        (lambda: methods.superpixels_from_labels([[0.5]]), "of float64"),
        (lambda: methods.superpixels_from_labels(np.zeros((0, 3), int)), r"shape \(0, 3\)"),
        (lambda: methods.superpixels_from_instances([[-1, 2]]), "ids from 0 in `ids`, but got -1"),
        (lambda: methods.image_superpixels(np.zeros((2, 2), np.uint8)), r"\(H, W, 3\) array of uint8"),
        (lambda: methods.image_superpixels(IMAGE.astype(float)), "of float64"),
        (lambda: methods.image_superpixels(IMAGE, method="seeds"), "'seeds'"),
        (lambda: methods.image_superpixels(IMAGE, size=0), "at least 1 pixel per superpixel, but got 0"),
        (lambda: methods.fill_gaps(np.zeros((3, 2), int), IMAGE), r"\(3, 2\) and \(2, 2\)"),
        (lambda: methods.split_by_label([[1, 2]], [[0]]), r"\(1, 2\) and \(1, 1\)"),
        (lambda: methods.split_by_label([[1]], [[0]], min_area=0), "at least 1 pixel, but got 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(LabelQualityError, match=message):
        call()


def test_parts_of_one_superpixel_that_do_not_touch_can_stay_one():
    # numbered by superpixel, then by label
    segments = np.array([[1, 1, 2, 2, 1, 1]])
    labels = np.array([[3, 3, 3, 3, 3, 0]])
    np.testing.assert_array_equal(
        methods.split_by_label(segments, labels, min_area=1, connected=False), [[2, 2, 3, 3, 2, 1]]
    )
    np.testing.assert_array_equal(methods.split_by_label(segments, labels, min_area=1), [[1, 1, 2, 2, 3, 4]])


def test_what_only_the_model_sees_becomes_a_superpixel():
    segments = np.zeros((40, 40), np.int32)
    segments[:5] = 3
    labels = np.zeros((40, 40), np.int64)
    labels[:, 39] = -1  # no label: nothing is missed there
    predicted = np.zeros((40, 40), np.int64)
    predicted[10:20, 10:20] = 2
    predicted[0:5, 0:5] = 2  # there is a superpixel already
    predicted[30:32, 30:32] = 1  # a speck
    predicted[20:40, 39] = 1
    found = methods.add_missed_objects(segments, labels, predicted)
    expected = segments.copy()
    expected[10:20, 10:20] = 4
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(LabelQualityError, match="predicted"):
        methods.add_missed_objects(segments, labels, predicted[1:])
