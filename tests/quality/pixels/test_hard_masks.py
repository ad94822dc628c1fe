"""A hard mask as a prediction: valid probabilities, the same classes, unsure at borders only."""

import numpy as np
import pytest

from fiftyone_plugin import quality
from fiftyone_plugin.errors import LabelQualityError


@pytest.mark.parametrize("seed", range(3))
def test_the_most_probable_class_is_the_predicted_one(seed):
    mask = np.random.default_rng(seed).integers(0, 5, (23, 31))
    probs = quality.hard_mask_probabilities(mask, 6)
    assert probs.shape == (6, 23, 31)
    assert probs.dtype == np.float32
    np.testing.assert_array_equal(probs.argmax(axis=0), mask)
    np.testing.assert_allclose(probs.sum(axis=0), 1, atol=1e-6)


def test_it_is_sure_inside_and_unsure_at_the_border():
    mask = np.zeros((40, 40), int)
    mask[:, 20:] = 1
    sure = quality.hard_mask_probabilities(mask, 2, tolerance=2).max(axis=0)
    assert (sure[:, :17] == 1).all()
    assert (sure[:, 23:] == 1).all()
    assert (sure[:, 19:21] < 0.9).all()


def test_pixels_without_a_prediction_say_nothing():
    mask = np.full((6, 6), 255)
    assert (quality.hard_mask_probabilities(mask, 4) == 0.25).all()
    mask[:3] = 2
    probs = quality.hard_mask_probabilities(mask, 4)
    assert (probs[:, 3:] == 0.25).all()
    assert (probs[:, :3].argmax(axis=0) == 2).all()
    np.testing.assert_allclose(probs.sum(axis=0), 1, atol=1e-6)


def test_two_masks_alone_find_the_missing_object():
    second = np.zeros((60, 80), int)
    second[20:40, 30:55] = 1
    label = np.zeros((60, 80), int)
    region = quality.issue_regions([label], [quality.hard_mask_probabilities(second, 2)])[0]
    assert (region.kind, region.given, region.suggested, region.bbox) == ("missing", 0, 1, (20, 30, 40, 55))
    scores = quality.image_scores([label, second], [quality.hard_mask_probabilities(second, 2)] * 2)["softmin"]
    assert scores[0] < scores[1]


@pytest.mark.parametrize(
    ("mask", "classes", "message"),
    [([[0, 3]], 3, "0 to 2, but got 3"), ([[-1, 0]], 2, "but got -1"), ([[0]], 0, "at least 1, but got 0")],
)
def test_bad_input(mask, classes, message):
    with pytest.raises(LabelQualityError, match=message):
        quality.hard_mask_probabilities(np.array(mask), classes)
