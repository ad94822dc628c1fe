"""Folds depend on keys, groups and seed alone, are balanced, and keep groups together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import FoldMetrics, assign_folds
from fiftyone_plugin.models.training.folds import FoldRecord, read_record, require_same, write_record

KEYS = [f"street_{index}" for index in range(23)]


def test_order_of_keys_does_not_matter():
    assert assign_folds(KEYS, 4, seed=3) == assign_folds(KEYS[::-1], 4, seed=3)


def test_another_seed_gives_other_folds():
    assert assign_folds(KEYS, 4, seed=3) != assign_folds(KEYS, 4, seed=4)


def test_folds_are_the_same_on_every_machine():
    assert assign_folds(["a", "b", "c", "d", "e", "f"], 3, seed=0) == {"a": 0, "b": 2, "c": 0, "d": 1, "e": 1, "f": 2}


@pytest.mark.parametrize("folds", [2, 4, 23])
def test_folds_are_balanced(folds):
    counts = Counter(assign_folds(KEYS, folds).values())
    assert sorted(counts) == list(range(folds))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_groups_stay_together_and_differ_from_keys_of_the_same_name():
    groups = ["drive_a"] * 6 + ["drive_b"] * 6 + [None] * 11
    folds = assign_folds(KEYS, 4, groups=groups)
    assert len({folds[key] for key in KEYS[:6]}) == 1
    assert len({folds[key] for key in KEYS[6:12]}) == 1
    assert max(Counter(folds.values()).values()) == 6


@pytest.mark.parametrize(
    ("keys", "folds", "groups", "message"),
    [
        (["a", "b", "c"], 4, None, "3 images for 4 folds; pass `folds=3`"),
        (["a", "b", "c"], 3, ["x", "x", "y"], "3 images in 2 groups for 3 folds; pass `folds=2`"),
        (["a", "b"], 1, None, "at least 2 folds, but got 1"),
        (["a", "b", "a"], 2, None, r"unique keys, but \['a'\] occur more than once"),
        (["a", "b"], 2, ["x"], "a group per key, but got 1 for 2 keys"),
    ],
)
def test_impossible_folds_say_the_numbers(keys, folds, groups, message):
    with pytest.raises(LabelQualityError, match=message):
        assign_folds(keys, folds, groups=groups)


def record(**changes):
    plain = FoldRecord(
        config={"folds": 2, "epochs": 5, "lr": 1e-3},
        num_classes=3,
        class_names=("road", "car", "sky"),
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        fold_of={"a": 0, "b": 1},
        fold_of_group={"x": 0},
        fingerprints={"a": 1, "b": 2},
        skipped={"c": "cannot read"},
        metrics=(FoldMetrics(0, 1, 0.5, 0.75, (0.5, None, 0.5), 1.5), None),
        weights="random weights",
    )
    return replace(plain, **changes)


def test_the_record_survives_the_file(tmp_path):
    write_record(tmp_path, record())
    assert read_record(tmp_path) == record()
    assert [path.name for path in tmp_path.iterdir()] == ["folds.json"]


def test_damaged_records_are_said_to_be(tmp_path):
    (tmp_path / "folds.json").write_text('{"format": 1, "config"')
    with pytest.raises(LabelQualityError, match="cannot be understood"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"config": {"folds": 2, "epochs": 7, "lr": 1e-3}},
            "made with epochs=5 there and epochs=7 now; pass `resume=F",
        ),
        (
            {"fold_of": {"a": 0}, "fingerprints": {"a": 1}},
            r"2 images and now there are 1 \(0 more, 1 gone, b for one\)",
        ),
        ({"fingerprints": {"a": 1, "b": 9}}, "1 of 2 images or masks have changed since, b for one"),
        ({"fold_of": {"a": 1, "b": 0}}, "made with other groups"),
    ],
)
def test_another_training_in_the_folder_names_both_values(tmp_path, changes, message):
    with pytest.raises(LabelQualityError, match=message):
        require_same(tmp_path, record(), record(**changes))
