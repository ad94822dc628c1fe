"""An answer reaches the part of its superpixel that it is about, and always the representative pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fiftyone_plugin.correction.questions.expansion import expand
from fiftyone_plugin.errors import LabelQualityError

ROWS = [(0.7, 0.2, 0.1), (0.6, 0.3, 0.1), (0.1, 0.8, 0.1), (0.5, 0.4, 0.1)]
PROBS = np.array(ROWS).T[:, None]
WHOLE = [[True] * 4]


@pytest.mark.parametrize(
    ("mode", "options", "expected"),
    [
        pytest.param("superpixel", {}, "1111", id="all"),
        pytest.param("similar", {"threshold": 0.0}, "1111", id="all are alike"),
        pytest.param("similar", {"threshold": 0.9}, "1101", id="alike"),
        pytest.param("similar", {"threshold": 0.99}, "0100", id="only itself"),
    ],
)
def test_modes(mode, options, expected):
    for probs in (PROBS, torch.from_numpy(PROBS)):
        found = expand(WHOLE, [[1, 1, 1, 0]], probs, (0, 1), mode, **options)
        assert "".join(str(int(x)) for x in found[0]) == expected


def test_pixels_are_alike_within_the_region_only():
    found = expand([[False, True, True, True]], [[1, 1, 1, 0]], PROBS, (0, 1), "similar", threshold=0.9)
    assert found.tolist() == [[False, True, False, True]]


def scene():
    """A region of 20 x 20, labelled 0, of which the left half is predicted 1, with specks and holes."""
    region, predicted = np.zeros((24, 24), bool), np.zeros((24, 24), int)
    region[2:22, 2:22] = True
    predicted[:, :12] = 1
    clean = region & (predicted == 1)
    predicted[5, 6] = 0  # a hole
    predicted[15:17, 17:19] = 1  # specks
    predicted[4, 14] = 2
    return region, predicted, clean


def test_the_doubted_part_has_no_specks_and_no_holes():
    region, predicted, clean = scene()
    found = expand(region, np.zeros((24, 24), int), predicted, (10, 6), "doubted")
    assert (found == clean).all()


def test_the_doubted_part_may_be_found_from_probabilities():
    region, predicted, clean = scene()
    probs = np.eye(3)[predicted].transpose(2, 0, 1)
    assert (expand(region, np.zeros((24, 24), int), probs, (10, 6), "doubted") == clean).all()


def test_a_doubted_part_at_the_edge_of_the_image_keeps_its_corners():
    predicted = np.zeros((20, 20), int)
    predicted[:, :10] = 1
    found = expand(np.ones((20, 20), bool), np.zeros((20, 20), int), predicted, (5, 5), "doubted")
    assert (found == (predicted == 1)).all()


def test_all_of_it_where_the_representative_pixel_is_not_doubted():
    region, predicted, _ = scene()
    assert (expand(region, np.zeros((24, 24), int), predicted, (10, 15), "doubted") == region).all()


def test_a_doubted_part_that_is_only_a_speck_is_kept():
    region, predicted, _ = scene()
    found = expand(region, np.zeros((24, 24), int), np.where(predicted == 2, 2, 0), (4, 14), "doubted")
    assert np.argwhere(found).tolist() == [[4, 14]]


def test_a_region_of_one_pixel():
    for mode in ("superpixel", "similar", "doubted"):
        assert expand([[True]], [[0]], [[[0.1]], [[0.9]]], (0, 0), mode).tolist() == [[True]]


@pytest.mark.parametrize(
    ("region", "labels", "predictions", "place", "mode", "message"),
    [
        (WHOLE, [[0, 0]], PROBS, (0, 0), "similar", r"\(1, 4\) and \(1, 2\)"),
        (WHOLE, [[0] * 4], PROBS[..., :3], (0, 0), "similar", r"\(1, 3\) and \(1, 4\)"),
        (WHOLE, [[0] * 4], [[0] * 4], (0, 0), "similar", r"\(K, H, W\)"),
        (WHOLE, [[0] * 4], PROBS, (1, 0), "doubted", "row 1, column 0"),
        (WHOLE, [[0] * 4], PROBS, (0, -1), "superpixel", "row 0, column -1"),
        ([[True, False, True, True]], [[0] * 4], PROBS, (0, 1), "superpixel", "to be in the region"),
        (WHOLE, [[0] * 4], PROBS, (0, 0), "all", "'all'"),
    ],
)
def test_bad_input_is_refused(region, labels, predictions, place, mode, message):
    with pytest.raises(LabelQualityError, match=message):
        expand(region, labels, predictions, place, mode)
