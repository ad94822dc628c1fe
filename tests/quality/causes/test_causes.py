"""Errors that images share are named, with the right group, and a repair mends them; nothing is named by chance."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from scipy import ndimage

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.quality.causes.causes import find_causes
from fiftyone_plugin.quality.causes.groups import groups_of
from fiftyone_plugin.quality.causes.repairs import UNKNOWN, Repair, repaired

IMAGES, FOLDERS = 30, ["a"] * 10 + ["b"] * 20
PEOPLE = ["ada", "bo", "cy"] * 10


def true_labels():
    """Sky above road, with cars, one of them small, and a tree; everything somewhere else in each image."""
    rng = np.random.default_rng(4)
    labels = []
    for _ in range(IMAGES):
        label = np.zeros((48, 64), int)
        label[rng.integers(16, 24) :] = 1
        top, left = rng.integers(26, 34), rng.integers(2, 26)
        label[top : top + rng.integers(6, 13), left : left + rng.integers(10, 18)] = 2
        label[42:46, 56:60] = 2
        left = rng.integers(44, 54)
        label[8:30, left : left + 6] = 3
        label[:2] = UNKNOWN
        labels.append(label)
    return labels


def around(label, inside):
    """The label without some of its pixels, which become what is beside them."""
    rows, columns = ndimage.distance_transform_edt(inside, return_distances=False, return_indices=True)
    return label[rows, columns]


def small_cars(label):
    return (label == 2) & (np.arange(48)[:, None] > 41)


CASES = [
    (Repair("swapped", (1, 3)), lambda label: repaired(label, label, Repair("swapped", (1, 3)))),
    (Repair("renamed", (4, 1)), lambda label: np.where(label == 1, 4, label)),
    (Repair("called", (3, 2)), lambda label: np.where(label == 3, 2, label)),
    (Repair("left_out", (3,)), lambda label: around(label, label == 3)),
    (Repair("small_left_out", (2,), (24,)), lambda label: around(label, small_cars(label))),
    (Repair("too_wide", (2,), (2,)), lambda label: repaired(label, label, Repair("too_narrow", (2,), (2,)))),
    (Repair("too_narrow", (2,), (1,)), lambda label: repaired(label, label, Repair("too_wide", (2,), (1,)))),
    (Repair("moved", (), (-3, 2)), lambda label: repaired(label, label, Repair("moved", (), (3, -2)))),
    (Repair("mirrored"), lambda label: label[:, ::-1]),
    (Repair("upside_down"), lambda label: label[::-1]),
]  # fmt: skip


COMPARED = ("renamed", "left_out", "too_wide", "too_narrow", "moved")  # with neighbours, who are of other people


@pytest.mark.parametrize("place", range(len(CASES)), ids=[repair.kind for repair, _ in CASES])
def test_a_cause_is_named_once_and_mended(place):
    repair, damage = CASES[place]
    attribute, value = (("folder", "a"), ("annotator", "bo"))[repair.kind in COMPARED]
    true = true_labels()
    attributes = {"folder": FOLDERS, "annotator": PEOPLE}
    hit = [one == value for one in attributes[attribute]]
    given = [damage(label) if wrong else label for label, wrong in zip(true, hit, strict=True)]
    [cause] = find_causes(lambda place: (given[place], true[place]), IMAGES, 5, attributes)
    assert (cause.repair, cause.group.attribute, cause.group.value) == (repair, attribute, value)
    assert (cause.num_images, cause.num_elsewhere, cause.compared) == (10, 20, repair.kind in COMPARED)
    assert cause.num_shown >= (8 if cause.compared else 10)
    assert cause.shown_elsewhere <= (10 if cause.compared else 0)
    assert cause.pixels > 0
    assert cause.chance <= 0.01
    assert cause.text(["sky", "road", "car", "tree", "wall"]).startswith(
        f"In the images whose {attribute} is {value}, "
    )
    before, after = (
        sum(int(((labels[place] != true[place]) & (true[place] != UNKNOWN)).sum()) for place in range(IMAGES))
        for labels in (
            given,
            [repaired(given[n], true[n], cause.repair) if cause.group.members[n] else given[n] for n in range(IMAGES)],
        )
    )
    assert after < 0.2 * before


def test_several_causes_in_the_same_images_and_none_in_others():
    true, rng = true_labels(), np.random.default_rng(0)
    noisy = [np.where((rng.random(one.shape) < 0.05) & (one != UNKNOWN), 1, one) for one in true]  # weak predictions
    attributes = {"folder": FOLDERS, "annotator": PEOPLE, "time": [float(n) for n in range(IMAGES)]}
    assert find_causes(lambda place: (true[place], noisy[place]), IMAGES, 4, attributes) == []
    given = []
    for place, label in enumerate(true):
        wrong = repaired(label, label, Repair("swapped", (0, 1))) if FOLDERS[place] == "a" else label
        given.append(around(wrong, wrong == 3) if PEOPLE[place] == "cy" else wrong)
    found = find_causes(lambda place: (given[place], noisy[place]), IMAGES, 4, attributes)
    assert [(one.repair.kind, one.group.value) for one in found] == [("swapped", "a"), ("left_out", "cy")]


@pytest.mark.parametrize(("elsewhere", "named"), [(range(40, 45), False), (range(40, 80, 8), True)])
def test_what_comes_with_a_scene_is_no_cause(elsewhere, named):
    """The model takes the trees of a folder, which is one scene, for walls; and those of another, or a few others."""
    given = (true_labels() * 3)[:80]
    wrong = [place < 15 or place in elsewhere for place in range(80)]
    predicted = [np.where(label == 3, 4, label) if err else label for label, err in zip(given, wrong, strict=True)]
    folders = ["a"] * 15 + ["b"] * 65
    found = find_causes(lambda place: (given[place], predicted[place]), 80, 5, {"folder": folders})
    assert [one.repair.kind for one in found if one.group.value == "a"] == ["renamed"] * named


def test_everything_moved_is_told_by_a_model_that_has_not_learnt_it():
    true = true_labels()
    [cause] = find_causes(lambda place: (np.roll(true[place], 4, 0), true[place]), IMAGES, 4, {})
    assert (cause.repair, cause.group.text(), cause.num_elsewhere) == (Repair("moved", (), (-4, 0)), "all images", 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["x"] * 5 + ["y"] * 3 + [None] * 4, ["x"]),  # too few have y
        ([True] * 6 + [False] * 6, ["True", "False"]),
        ([["p", "q"]] * 6 + [["q"]] * 5 + [[]], ["p", "q"]),
        ([3] * 6 + [4] * 6, ["3", "4"]),  # few numbers are kinds
        ([f"name {number}" for number in range(12)], []),
        ([None] * 12, []),
    ],
)
def test_groups(values, expected):
    assert [group.value for group in groups_of({"a": values}, 12)][1:] == expected


def test_numbers_and_times_become_ranges():
    times = [datetime.datetime(2026, 1, 1) + datetime.timedelta(days=number) for number in range(24)]
    found = groups_of({"t": times}, 24)[1:]
    assert {"from 2026-01-01 00:00:00 to 2026-01-13 00:00:00"} & {group.value for group in found}
    assert all(np.ptp(np.flatnonzero(group.members)) == group.members.sum() - 1 for group in found)
    unequal = groups_of({"n": [0] * 20 + [float(number) for number in range(1, 20)] + [None]}, 40)
    assert not any(group.members[-1] for group in unequal[1:])


def test_what_does_not_fit_is_said():
    label = np.zeros((3, 4), int)
    with pytest.raises(LabelQualityError, match="'unknown'"):
        repaired(label, label, Repair("unknown"))
    with pytest.raises(LabelQualityError, match=r"\(3, 4\) and \(4, 3\)"):
        repaired(label, label.T, Repair("mirrored"))
    with pytest.raises(LabelQualityError, match="2 classes"):
        find_causes(lambda place: (label, label), 1, 1, {})
    with pytest.raises(LabelQualityError, match="2 values of 'folder'"):
        groups_of({"folder": ["a"]}, 2)
