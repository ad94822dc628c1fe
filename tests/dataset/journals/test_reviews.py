"""Decisions are kept exactly, in the order of time, and of several about one region the newest counts."""

from __future__ import annotations

from dataclasses import replace

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_plugin.dataset.fields.regions import utc_now
from fiftyone_plugin.dataset.journals import reviews


@pytest.fixture
def dataset():
    dataset = fo.Dataset()
    yield dataset
    dataset.delete()


def review(number=0, **changes):
    mask = np.zeros((3, 5), bool)
    mask[:, 1:4] = True
    known = reviews.Review(
        label_field="ground_truth", sample_id="a" * 24, label_id=f"{number:024d}", run="label_quality", kind="missing",
        given="road", suggested="car", bbox=(2, 4, 5, 9), shape=(24, 32), mask=mask,
        features={"margin": 0.123456789012345, "size": -1.0}, decision="accepted", reviewer="ada", time=utc_now(),
        key=f"{number:020d}-x",
    )  # fmt: skip
    return replace(known, **changes)


def test_everything_comes_back_as_it_was(dataset):
    given = review(reviewer=None)
    assert reviews.add_reviews(dataset, [given]) == 1
    (found,) = reviews.read_reviews(dataset, "ground_truth")
    assert np.array_equal(found.mask, given.mask)
    for name in ("sample_id", "label_id", "run", "kind", "given", "suggested", "bbox", "shape", "features", "decision",
                 "reviewer", "time", "key", "label_field"):  # fmt: skip
        assert getattr(found, name) == getattr(given, name), name


def test_only_what_was_asked_for(dataset):
    other = review(1, label_field="other", sample_id="b" * 24)
    reviews.add_reviews(dataset, [review(0), other])
    assert len(reviews.read_reviews(dataset)) == 2
    assert [r.key for r in reviews.read_reviews(dataset, "other")] == [other.key]
    assert [r.key for r in reviews.read_reviews(dataset, sample_ids=["b" * 24])] == [other.key]
    assert [r.key for r in reviews.read_reviews(dataset, keys=[other.key])] == [other.key]
    assert reviews.read_reviews(dataset, masks=False)[0].mask is None


def test_keys_are_in_the_order_of_time(dataset):
    made = [reviews.Review(**{k: v for k, v in vars(review(i)).items() if k != "key"}) for i in range(20)]
    reviews.add_reviews(dataset, reversed(made))
    assert [r.label_id for r in reviews.read_reviews(dataset)] == [r.label_id for r in made]


def test_reviews_are_of_one_dataset(dataset):
    other = fo.Dataset()
    try:
        reviews.add_reviews(dataset, [review()])
        assert reviews.read_reviews(other) == []
    finally:
        other.delete()


@pytest.mark.parametrize(
    ("second", "same"),
    [
        ({"label_id": "f" * 24}, True),
        ({"label_id": "f" * 24, "given": "tree"}, False),
        ({"label_id": "f" * 24, "suggested": "tree"}, False),
        ({"label_id": "f" * 24, "kind": "boundary"}, True),
        ({"label_id": "f" * 24, "sample_id": "c" * 24}, False),
        ({"label_id": "f" * 24, "shape": (48, 64)}, False),
        ({"label_id": "f" * 24, "bbox": (2, 5, 5, 10)}, True),
        ({"label_id": "f" * 24, "bbox": (2, 6, 5, 11)}, False),
        ({"given": "tree"}, True),
    ],
    ids=["equal", "given", "suggested", "kind", "sample", "size", "IoU 1/2", "IoU 1/5", "same label"],
)
def test_what_counts_as_the_same_region(dataset, second, same):
    reviews.add_reviews(dataset, [review(0), review(1, **{"label_id": f"{0:024d}"} | second, decision="rejected")])
    counted = [r.decision for r in reviews.newest_reviews(dataset, "ground_truth")]
    assert counted == (["rejected"] if same else ["rejected", "accepted"])


def test_many_reviews_of_many_samples(dataset):
    """More than one chunk, each region judged three times under three ids."""
    rows = [
        review(3 * number + turn, sample_id=f"{number:024d}", decision=decision)
        for number in range(250)
        for turn, decision in enumerate(["accepted", "rejected", "accepted" if number % 2 else "pending"])
    ]
    reviews.add_reviews(dataset, rows)
    newest = reviews.newest_reviews(dataset, "ground_truth")
    assert {r.sample_id: r.decision for r in newest} == {r.sample_id: r.decision for r in rows[2::3]}
    assert len(newest) == 250
    memory = reviews.Memory(dataset, "ground_truth")
    found = memory.of_samples([f"{number:024d}" for number in range(4)])
    assert sorted(found) == [f"{1:024d}", f"{3:024d}"], "what was taken back is not remembered"
    assert found[f"{1:024d}"][0].mask.any()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [((0, 0, 2, 2), (0, 0, 2, 2), 1.0), ((0, 0, 2, 2), (0, 1, 2, 3), 1 / 3), ((0, 0, 2, 2), (2, 2, 4, 4), 0.0)],
)
def test_overlap(first, second, expected):
    full = np.ones((2, 2), bool)
    assert reviews.overlap(first, full, second, full) == pytest.approx(expected)
