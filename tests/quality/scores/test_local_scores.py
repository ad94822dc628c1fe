"""Interior softmin and worst component see one small wrong object where unsure borders hide it from softmin."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fiftyone_plugin import quality

OURS = ("interior_softmin", "worst_component")


def two_halves(shape=(200, 300), unsure=4, sure=0.98, border=0.3):
    """Left class 0, right class 1; the model is unsure for `unsure` pixels on each side of the border between them."""
    label = np.zeros(shape, int)
    middle = shape[1] // 2
    label[:, middle:] = 1
    confidence = np.full(shape, sure)
    confidence[:, middle - unsure : middle + unsure] = border
    probs = np.empty((3, *shape))
    np.put_along_axis(probs, label[None], confidence[None], 0)
    np.put_along_axis(probs, 1 - label[None], (1 - confidence[None]) * 0.5, 0)
    probs[2] = (1 - confidence) * 0.5
    return label, probs


def without_object(label, probs, side):
    """The model sees an object of class 2 that the label does not hold."""
    probs = probs.copy()
    probs[:, 40 : 40 + side, 40 : 40 + side] = np.array([0.01, 0.01, 0.98])[:, None, None]
    return label, probs


def scores_of(*pair):
    record = quality.image_record(*pair, methods=("softmin", *OURS))
    return record.scores


def test_unsure_borders_do_not_count():
    """2.7 % of the pixels are unsure: softmin falls, the interior and the components do not notice."""
    scores = scores_of(*two_halves(border=0.4))
    assert scores["softmin"] < 0.6
    assert scores["interior_softmin"] == pytest.approx(0.98)
    assert scores["worst_component"] == 1


def test_order_of_a_clean_image_and_one_with_a_missing_object():
    """Softmin takes the clean image with an unsure border for the worse one; ours do not."""
    clean, wrong = scores_of(*two_halves(border=0.34)), scores_of(*without_object(*two_halves(unsure=0), 6))
    assert clean["softmin"] < 0.6
    for method in OURS:
        assert clean[method] > wrong[method] + 0.01
    bad, good = (scores_of(*pair) for pair in (without_object(*two_halves(border=0.34), 14), two_halves(border=0.34)))
    assert good["softmin"] - bad["softmin"] < 0.3
    assert good["interior_softmin"] - bad["interior_softmin"] > 0.5
    assert good["worst_component"] - bad["worst_component"] > 0.5


def near_borders(mask, valid, tolerance):
    """Pixels at most `tolerance` from the other side of an edge between two classes, by repeated dilation."""
    border = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        here, there = [slice(None)] * 2, [slice(None)] * 2
        here[axis], there[axis] = slice(None, -1), slice(1, None)
        here, there = tuple(here), tuple(there)
        differs = (mask[here] != mask[there]) & valid[here] & valid[there]
        border[here] |= differs
        border[there] |= differs
    return ndimage.binary_dilation(border, np.ones((3, 3)), iterations=tolerance - 1) if tolerance > 1 else border


def test_interior_softmin_is_softmin_of_the_interior():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (5, 6)).repeat(20, 0).repeat(20, 1)
    label[:9, 30:50] = 255
    probs = rng.dirichlet(np.ones(3) * 0.05, (10, 12)).transpose(2, 0, 1).repeat(10, 1).repeat(10, 2)
    record = quality.image_record(label, probs, methods="interior_softmin")
    maps, valid = record.maps, label != 255
    tolerance = max(1, round(0.01 * np.hypot(*label.shape)))
    near = np.logical_and(*(near_borders(mask, valid, tolerance) for mask in (label, maps.predicted)))
    inside = maps.self_confidence[valid & ~near]
    assert record.scores["interior_softmin"] == pytest.approx(quality.softmin(inside), abs=1e-12)
    by_class = quality.class_scores([label], [probs], "interior_softmin")["interior_softmin"][0]
    for k in range(3):
        members = maps.self_confidence[(label == k) & ~near]
        assert by_class[k] == pytest.approx(quality.softmin(members), abs=1e-12)


def test_interior_softmin_falls_back_where_nothing_is_left():
    label = np.indices((6, 6)).sum(0) % 2
    probs = np.where(np.arange(2)[:, None, None] == label, 0.7, 0.3)
    scores = quality.image_scores([label], [probs], ["softmin", "interior_softmin"])
    np.testing.assert_array_equal(scores["interior_softmin"], scores["softmin"])
    by_class = quality.class_scores([label], [probs], "interior_softmin")["interior_softmin"]
    np.testing.assert_allclose(by_class, [[0.7, 0.7]])


@pytest.mark.parametrize(
    ("rows", "columns", "core"),
    [(3, 3, 1), (4, 6, 8), (2, 30, 0), (1, 1, 0)],
)
def test_strength_of_the_worst_component(rows, columns, core):
    label, probs = np.zeros((40, 50), int), np.full((2, 40, 50), 0.2)
    probs[0] = 0.8
    probs[:, 10 : 10 + rows, 10 : 10 + columns] = np.array([0.1, 0.9])[:, None, None]
    strength = 0.8 * core
    expected = 1 - strength / (strength + 2)
    found = quality.image_scores([label], [probs], "worst_component")["worst_component"]
    assert found == pytest.approx(expected)
    by_class = quality.class_scores([label], [probs], "worst_component")["worst_component"]
    np.testing.assert_allclose(by_class, [[expected, np.nan]])


def test_objects_count_the_same_at_any_resolution():
    label, probs = without_object(*two_halves(), 30)
    fine = label.repeat(3, 0).repeat(3, 1), probs.repeat(3, 1).repeat(3, 2)
    assert scores_of(*fine)["worst_component"] == pytest.approx(scores_of(label, probs)["worst_component"], abs=0.03)


def test_our_scores_come_after_those_of_the_paper():
    assert (*quality.PAPER_METHODS, *OURS) == quality.METHODS
    assert len(quality.PAPER_METHODS) == 7
