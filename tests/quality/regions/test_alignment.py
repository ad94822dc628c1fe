"""A moved label fits the prediction better where it came from; one that lies right does not."""

import numpy as np
import pytest

from fiftyone_plugin import quality
from fiftyone_plugin.quality.regions.alignment import alignment


def mask(size=(120, 160), seed=0):
    rng = np.random.default_rng(seed)
    classes = np.zeros(size, np.int32)
    for value in range(1, 9):
        top, left = rng.integers(5, size[0] - 40), rng.integers(5, size[1] - 50)
        classes[top : top + rng.integers(12, 35), left : left + rng.integers(12, 45)] = value
    return classes


@pytest.mark.parametrize(("down", "right"), [(2, 0), (0, -2), (-3, 3), (3, 0)])
def test_the_way_back_is_found(down, right):
    predicted = mask()
    found = alignment(np.roll(predicted, (down, right), axis=(0, 1)), predicted)
    assert (np.sign(found.down), np.sign(found.right)) == (-np.sign(down), -np.sign(right))
    assert found.gain > 0.01


def test_a_label_in_place_gains_nothing():
    predicted = mask()
    assert alignment(predicted, predicted) == (0.0, 0, 0)
    label = predicted.copy()
    label[30:60, 30:70] = 3  # wrong, but not moved
    assert alignment(label, predicted).gain == 0


def test_large_images_are_compared_coarsely_and_distances_are_those_of_the_image():
    predicted = np.kron(mask(), np.ones((8, 8), np.int32))
    found = alignment(np.roll(predicted, 12, axis=1), predicted)
    assert found.right in (-9, -15)  # every third pixel is compared
    assert found.down == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (5, 5)])
def test_images_too_small_to_move_gain_nothing(size):
    assert alignment(np.ones(size, np.int32), np.zeros(size, np.int32)) == (0.0, 0, 0)


def test_ignored_pixels_never_agree():
    predicted = mask()
    label = np.full_like(predicted, -1)
    assert alignment(label, predicted) == (0.0, 0, 0)


def test_moved_labels_are_ranked_first():
    rng = np.random.default_rng(0)
    labels, probs = [], []
    for number in range(14):
        true = mask(seed=number)
        sure = rng.uniform(0.75, 0.95, true.shape)
        probs.append(np.where(np.arange(9)[:, None, None] == true, sure, (1 - sure) / 8))
        labels.append(np.roll(true, 3, axis=1) if number in (4, 9) else true)
    assert set(np.argsort(quality.judge_labels(labels, probs).scores)[:2]) == {4, 9}
