"""Every awkward input has a defined answer: it works as documented, or the error says both values and the way out."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from fiftyone_plugin import quality
from fiftyone_plugin.errors import LabelQualityError

LABEL = np.array([[0, 0, 1], [1, 1, 0]])
SECOND = np.array([[0.1, 0.2, 0.9], [0.6, 0.8, 0.3]])
PROBS = np.stack([1 - SECOND, SECOND])


def changed(array, value, where=(0, 1)):
    result = np.array(array)
    result[(..., *where)] = value
    return result


@pytest.mark.parametrize(
    ("label", "probs", "says"),
    [
        (changed(LABEL, 7), PROBS, "label values in 0..1 or `ignore_index`=255, but got 7 (1 pixel); map them"),
        (changed(LABEL, -1), PROBS, "but got -1 (1 pixel)"),
        (changed(LABEL, 2**40), PROBS, "but got 1099511627776 (1 pixel)"),
        (np.arange(6).reshape(2, 3), PROBS, "2 (1 pixel), 3 (1 pixel), 4 (1 pixel), 5 (1 pixel)"),
        (LABEL[None], PROBS, "(H, W), but got (1, 2, 3); drop the axis of length 1"),
        (np.stack([LABEL] * 2), PROBS, "for one-hot labels of shape (K, H, W) pass `label.argmax(axis=0)`"),
        (LABEL[0], PROBS, "but got (3,); a single image goes into a list"),
        (np.zeros((0, 4), int), PROBS, "but got shape (0, 4); leave such images out"),
        (LABEL, PROBS[:, :1], "(K, 2, 3) to fit the label, but got (2, 1, 3); resize"),
        (LABEL, np.moveaxis(PROBS, 0, -1), "np.moveaxis(pred_probs, -1, 0)"),
        (LABEL, PROBS[None], "but got (1, 2, 2, 3); drop the batch axis"),
        (LABEL, PROBS[0], "but got (2, 3); pass one map per class"),
        (LABEL, PROBS[:1], "for a binary model with probability p pass `np.stack([1 - p, p])`"),
        (LABEL, PROBS[:0], "2 to 65536 classes"),
        (LABEL, changed(PROBS, np.nan), "1 of 6 pixels holds NaN or infinity, the first at row 0, column 1"),
        (LABEL, changed(PROBS, np.inf), "NaN or infinity"),
        (LABEL, changed(PROBS, -np.inf), "NaN or infinity"),
        (LABEL, np.log(PROBS), "in [0, 1], but got values from -2.303 to -0.1054; if these are logits pass `from_log"),
        (LABEL, PROBS * 10, "got values from 1 to 9; if these are logits pass `from_logits=True`"),
        (LABEL, PROBS / 2, "to sum to 1 (±0.001), but the sums of 6 of 6 pixels do not: they lie between 0.5 and 0.5"),
        (LABEL, changed(PROBS, 0.6), "sums of 1 of 6 pixels"),
    ],
)
def test_values_and_shapes_that_do_not_fit(label, probs, says):
    with pytest.raises(LabelQualityError, match=re.escape(says)):
        quality.image_record(label, probs)
    with pytest.raises(LabelQualityError, match=r"^Image 1: "):
        quality.image_scores([LABEL, label], [PROBS, probs])


@pytest.mark.parametrize(
    ("label", "probs", "says"),
    [
        (LABEL * 1.0, PROBS, "integer class indices, but got float64 values; convert it with `label.astype(int)`"),
        (LABEL.astype(str), PROBS, "integer class indices"),
        (LABEL, (PROBS * 255).astype(np.uint8), "but got uint8; for probabilities stored as 0..255, cast to float32"),
        (LABEL, PROBS > 0.5, "for one-hot predictions pass `pred_probs.astype(np.float32)`"),
        (LABEL, (PROBS > 0.5).astype(int), "but got int64; pass the model's probabilities"),
        (LABEL, PROBS.astype(complex), "complex128"),
        (LABEL, torch.from_numpy((PROBS * 255).astype(np.uint8)), "for probabilities stored as 0..255"),
        (LABEL, None, "but got object"),
    ],
)
def test_types_that_do_not_fit(label, probs, says):
    with pytest.raises(TypeError, match=re.escape(says)):
        quality.image_record(label, probs)
    with pytest.raises(TypeError, match=r"^Image 0: "):
        quality.label_issues([label], [probs])


@pytest.mark.parametrize("temperature", [0, -1, None, np.nan, np.inf, "warm"])
def test_temperatures_that_do_not_fit(temperature):
    with pytest.raises(LabelQualityError, match="finite number larger than 0, but got"):
        quality.image_scores([LABEL], [PROBS], temperature=temperature)


def test_unknown_methods_and_arguments():
    with pytest.raises(LabelQualityError, match=r"among softmin, .*, but got 'softmax'"):
        quality.image_scores([LABEL], [PROBS], ["softmin", "softmax"])
    with pytest.raises(LabelQualityError, match="but got none"):
        quality.image_scores([LABEL], [PROBS], [])
    with pytest.raises(TypeError, match="temprature"):
        quality.image_scores([LABEL], [PROBS], temprature=5)
    with pytest.raises(TypeError, match=r"integer or None, but got 2\.5"):
        quality.image_scores([LABEL], [PROBS], ignore_index=2.5)


def test_probabilities_announced_as_logits():
    with pytest.raises(LabelQualityError, match="are probabilities already; leave `from_logits` out"):
        quality.image_record(LABEL, PROBS, from_logits=True)
    with pytest.raises(LabelQualityError, match="Expected finite logits, but 1 of 6"):
        quality.image_record(LABEL, changed(PROBS * 5, np.nan), from_logits=True)


@pytest.mark.parametrize(("void", "ignore_index"), [(255, 255), (-1, -1), (7, 7), (0, 0), (2**33, 2**33)])
def test_any_value_may_be_the_ignored_one(void, ignore_index):
    record = quality.image_record(changed(LABEL, void, where=(0, 0)), PROBS, ignore_index=ignore_index)
    assert record.num_valid == (3 if void == 0 else 5)


def test_nothing_is_ignored_with_none():
    assert quality.image_record(LABEL, PROBS, ignore_index=None).num_valid == 6
    with pytest.raises(LabelQualityError, match="`ignore_index`=None, but got 255"):
        quality.image_record(changed(LABEL, 255), PROBS, ignore_index=None)


def test_boolean_labels_are_two_classes():
    scores = quality.image_scores([LABEL == 1], [PROBS])
    np.testing.assert_array_equal(scores["softmin"], quality.image_scores([LABEL], [PROBS])["softmin"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_small_types_may_sum_to_nearly_one(dtype):
    probs = np.random.default_rng(0).dirichlet(np.ones(40), (20, 30)).transpose(2, 0, 1).astype(dtype)
    assert quality.image_record(np.zeros((20, 30), int), probs).num_valid == 600


def test_no_images():
    assert quality.image_scores([], [], ["softmin", "thresholded_ccp"])["softmin"].shape == (0,)
    assert quality.class_scores([], [])["softmin"].shape == (0, 0)
    assert quality.label_issues([], []) == quality.pixel_scores([], []) == []


def test_class_without_labels():
    probs = np.concatenate([PROBS * 0.9, np.full((3, 2, 3), 0.1 / 3)])
    totals = quality.Totals(5)
    totals.add(quality.image_record(LABEL, probs))
    np.testing.assert_array_equal(totals.class_thresholds[2:], 2e-6)


def test_constant_map_is_scored():
    scores = quality.image_scores([LABEL], [np.full((2, 2, 3), 0.5)], quality.METHODS)
    assert scores["softmin"] == [0.5]
    assert scores["correctly_classified_pixels"] == [0.5]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("num_labels", "num_probs"), [(2, 3), (3, 2), (0, 1)])
def test_different_numbers_of_images(num_labels, num_probs, lazy):
    labels, probs = [LABEL] * num_labels, [PROBS] * num_probs
    with pytest.raises(LabelQualityError, match="Expected as many"):
        quality.image_scores((x for x in labels) if lazy else labels, (x for x in probs) if lazy else probs)


class _Shelf:
    """Has images by number, but cannot be iterated over: the number of images is all that says where it ends."""

    __iter__ = None

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, number):
        assert 0 <= number < len(self)
        return self.images[number]


def test_what_has_images_by_number_is_read_like_a_list():
    labels, probs = [LABEL, LABEL], [PROBS, PROBS[::-1]]
    shelved, listed = quality.image_scores(_Shelf(labels), _Shelf(probs)), quality.image_scores(labels, probs)
    np.testing.assert_equal(shelved, listed)
    issues = zip(quality.label_issues(_Shelf(labels), _Shelf(probs)), quality.label_issues(labels, probs), strict=True)
    assert all(np.array_equal(found, wanted) for found, wanted in issues)


def test_different_numbers_of_classes():
    three = np.concatenate([PROBS, np.zeros((1, 2, 3))])
    with pytest.raises(LabelQualityError, match=r"Image 1: Expected predictions of 2 classes .* but got 3"):
        quality.label_issues([LABEL, LABEL], [PROBS, three])


def test_things_that_are_no_images():
    with pytest.raises(TypeError, match="a list, a generator or an array of images, but got int"):
        quality.image_scores(3, [PROBS])
