"""Masks are painted large to small, every segment keeps its number, and the published label maps come out again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin.correction.superpixels.composition import compose_masks
from fiftyone_plugin.errors import LabelQualityError

LARGE = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])  # area 8
MIDDLE = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0]])  # area 5, overlaps 4 of the large one
SMALL = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]])  # area 2, inside the large one, 1 pixel in the middle one


@pytest.fixture
def pseudo_labels():
    beside = Path(__file__).parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("LABEL_QUALITY_DATA", beside)) / "voc_grounded_sam"
    if not (folder / "superpixels_sam").is_dir():
        pytest.skip(f"no published pseudo labels in {folder}")
    return folder


def test_small_over_large_by_hand():
    composed = compose_masks([SMALL, LARGE, MIDDLE], [7, 4, 9], [0.25, 0.5, 0.75], (3, 4), unpainted=255)
    assert composed.labels.tolist() == [[4, 4, 9, 9], [4, 7, 7, 9], [255, 255, 9, 255]]
    assert composed.segments.tolist() == [[2, 2, 3, 3], [2, 1, 1, 3], [0, 0, 3, 0]]
    assert composed.confidence.tolist() == [[0.5, 0.5, 0.75, 0.75], [0.5, 0.25, 0.25, 0.75], [0, 0, 0.75, 0]]
    assert composed.kept.tolist() == [0, 1, 2]
    assert [composed.labels.dtype, composed.segments.dtype, composed.confidence.dtype] == ["u1", "i4", "f4"]


def test_of_equal_areas_the_later_is_on_top():
    left, right = [[1, 1, 0]], [[0, 1, 1]]
    assert compose_masks([left, right], [1, 2], [1, 1], (1, 3)).labels.tolist() == [[1, 2, 2]]
    assert compose_masks([right, left], [2, 1], [1, 1], (1, 3)).labels.tolist() == [[1, 1, 2]]


@pytest.mark.parametrize("unpainted", [0, 255])
def test_no_detection(unpainted):
    composed = compose_masks([], [], [], (2, 3), unpainted=unpainted, nms_iou=0.5)
    assert composed.labels.tolist() == [[unpainted] * 3] * 2
    assert composed.labels.dtype == np.uint8
    assert not composed.segments.any()
    assert not composed.confidence.any()
    assert composed.kept.tolist() == []


def test_segment_numbers_do_not_wrap():
    masks = (np.arange(300).reshape(15, 20) == index for index in range(300))
    composed = compose_masks(masks, np.arange(300) % 5, np.ones(300), (15, 20))
    assert composed.segments.ravel().tolist() == list(range(1, 301))


@pytest.mark.parametrize(
    ("class_id", "unpainted", "dtype"), [(255, 255, "u1"), (256, 0, "u2"), (1, 256, "u2"), (65535, 0, "u2")]
)
def test_label_type_holds_every_class(class_id, unpainted, dtype):
    composed = compose_masks([[[1, 0]]], [class_id], [1], (1, 2), unpainted=unpainted)
    assert composed.labels.dtype == dtype
    assert composed.labels.tolist() == [[class_id, unpainted]]


def test_small_masks_are_left_out_and_numbers_follow_kept():
    composed = compose_masks([SMALL, LARGE, np.zeros((3, 4)), MIDDLE], [7, 4, 8, 9], [1] * 4, (3, 4), min_area=5)
    assert composed.kept.tolist() == [1, 3]
    assert composed.segments.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 2, 0]]
    assert composed.labels.tolist() == [[4, 4, 9, 9], [4, 4, 9, 9], [0, 0, 9, 0]]


def test_a_hidden_mask_stays_in_kept():
    whole, left, right = [[1, 1]], [[1, 0]], [[0, 1]]
    composed = compose_masks([whole, left, right], [1, 2, 3], [1, 1, 1], (1, 2))
    assert composed.kept.tolist() == [0, 1, 2]
    assert composed.segments.tolist() == [[2, 3]]


# MIDDLE and LARGE share 4 of 9 pixels (0.444), SMALL and LARGE 2 of 8 (0.25), SMALL and MIDDLE 1 of 6 (0.167)
@pytest.mark.parametrize(
    ("limit", "scores", "kept"),
    [
        (0.45, [0.5, 0.6, 0.7], [0, 1, 2]),
        (0.44, [0.5, 0.6, 0.7], [0, 2]),
        (0.44, [0.5, 0.7, 0.6], [0, 1]),
        (0.2, [0.5, 0.7, 0.6], [1]),
        (0.2, [0.7, 0.5, 0.6], [0, 2]),  # LARGE falls to SMALL and MIDDLE; SMALL does not suppress MIDDLE
        (0.25, [0.7, 0.7, 0.1], [0, 1]),  # equal to the limit is kept
        (0.2, [0.7, 0.7, 0.1], [0, 2]),  # of equal scores the earlier stays; LARGE, left out, suppresses nothing
    ],
)
def test_duplicates_by_masks(limit, scores, kept):
    composed = compose_masks([SMALL, LARGE, MIDDLE], [7, 4, 9], scores, (3, 4), nms_iou=limit)
    assert composed.kept.tolist() == kept


def test_duplicates_by_boxes():
    boxes = [[0, 0, 4, 2], [0, 0, 4, 4], [10, 10, 11, 11]]  # the first two share 8 of 16
    masks = [[[1, 0, 0]], [[0, 1, 0]], [[0, 0, 1]]]
    for limit, kept in ((0.5, [0, 1, 2]), (0.49, [1, 2])):
        composed = compose_masks(masks, [1, 1, 1], [0.2, 0.9, 0.1], (1, 3), nms_iou=limit, boxes=boxes)
        assert composed.kept.tolist() == kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": [np.ones((2, 2))]}, r"\(1, 2\), but mask 0 has shape \(2, 2\)"),
        ({"class_ids": [1, 2]}, "1 masks, 2 class ids and 1 scores"),
        ({"class_ids": [-1]}, "from -1 to 0"),
        ({"class_ids": [65536]}, "to 65536"),
        ({"scores": [1.5]}, "between 0 and 1, but got 1.5"),
        ({"scores": [float("nan")]}, "between 0 and 1, but got nan"),
        ({"shape": (0, 2)}, "image with pixels"),
        ({"nms_iou": 1.5}, "`nms_iou` between 0 and 1"),
        ({"nms_iou": 0.5, "boxes": [[0, 0, 1]]}, r"shape \(1, 4\)"),
    ],
)
def test_bad_input(change, message):
    arguments = {"masks": [[[1, 0]]], "class_ids": [1], "scores": [0.5], "shape": (1, 2)} | change
    with pytest.raises(LabelQualityError, match=message):
        compose_masks(**arguments)


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def _hidden_parts_restored(visible: list[np.ndarray]) -> list[np.ndarray]:
    """Overlapping masks whose visible parts are given: each also covers the smaller ones inside its bounding box."""
    whole = [mask.copy() for mask in visible]
    done: list[int] = []
    for index in sorted(range(len(visible)), key=lambda number: visible[number].sum()):
        rows, columns = np.nonzero(visible[index])
        frame = np.zeros_like(visible[index])
        frame[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        for smaller in done:
            if frame[whole[smaller]].all():
                whole[index] |= whole[smaller]
        done.append(index)
    return whole


def test_published_label_maps_come_out_again(pseudo_labels):
    compared = overlapping = 0
    for path in sorted((pseudo_labels / "masks_grounded_sam").glob("*.png")):
        labels, segments = _read(path), _read(pseudo_labels / "superpixels_sam" / path.name)
        ids = [number for number in np.unique(segments) if number]
        visible = [segments == number for number in ids]
        classes = [labels[mask][0] for mask in visible]
        whole = _hidden_parts_restored(visible)
        overlapping += sum(int(mask.sum()) for mask in whole) > np.count_nonzero(segments)
        composed = compose_masks(whole, classes, np.ones(len(ids)), labels.shape)
        np.testing.assert_array_equal(composed.labels, labels, err_msg=path.name)
        np.testing.assert_array_equal(np.array([0, *ids])[composed.segments], segments, err_msg=path.name)
        compared += 1
    assert compared == 300
    assert overlapping > 100
