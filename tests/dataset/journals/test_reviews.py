"""Decisions are kept exactly, in the order of time, and of several about one region the newest counts."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_plugin.dataset.fields.regions import utc_now
from fiftyone_plugin.dataset.journals import append_log, reviews


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
    )  # fmt: skip
    return replace(known, **changes)


def add(dataset, *rows):
    return reviews.add_reviews(dataset, rows, len(rows))


def test_everything_comes_back_as_it_was(dataset):
    given = review(reviewer=None)
    (key,) = add(dataset, given)
    (found,) = reviews.read_reviews(dataset, "ground_truth")
    assert np.array_equal(found.mask, given.mask)
    for name in ("sample_id", "label_id", "run", "kind", "given", "suggested", "bbox", "shape", "features", "decision",
                 "reviewer", "time", "label_field"):  # fmt: skip
        assert getattr(found, name) == getattr(given, name), name
    assert found.key == key


def test_only_what_was_asked_for(dataset):
    other = review(1, label_field="other", sample_id="b" * 24)
    key = add(dataset, review(0), other)[1]
    assert len(reviews.read_reviews(dataset)) == 2
    assert [r.key for r in reviews.read_reviews(dataset, "other")] == [key]
    assert [r.key for r in reviews.read_reviews(dataset, sample_ids=["b" * 24])] == [key]
    assert [r.key for r in reviews.read_reviews(dataset, keys=[key])] == [key]
    assert reviews.read_reviews(dataset, masks=False)[0].mask is None


def test_keys_are_in_the_order_of_adding_whatever_clocks_say(dataset, monkeypatch):
    made = [review(i, time=utc_now() - timedelta(seconds=i)) for i in range(20)]
    for start in range(0, 20, 4):
        monkeypatch.setattr(time, "time_ns", lambda start=start: 10**18 - start)
        add(dataset, *made[start : start + 4])
    assert [r.label_id for r in reviews.read_reviews(dataset)] == [r.label_id for r in made]


def test_records_of_older_versions_whose_keys_are_times_come_first(dataset):
    add(dataset, review(0))
    place = {"store_name": reviews.STORE, "dataset_id": dataset._doc.id}
    old = {
        **append_log.store_documents().find_one({**place, "key": {"$regex": "^0"}}),
        "key": f"{time.time_ns():020d}-0",
    }
    append_log.store_documents().delete_many(place)
    append_log._counted.clear()
    append_log.store_documents().insert_one(old)
    (new,) = add(dataset, review(1))
    assert new > old["key"]
    assert [r.label_id for r in reviews.read_reviews(dataset)] == [review(0).label_id, review(1).label_id]


def test_many_writers_never_share_a_number(dataset):
    with ThreadPoolExecutor(4) as pool:
        keys = [key for found in pool.map(lambda i: add(dataset, review(i), review(i)), range(20)) for key in found]
    numbers = [append_log.order_of(key) for key in keys]
    assert sorted(numbers) == list(range(1, 41))
    assert all(second == first + 1 for first, second in zip(numbers[::2], numbers[1::2], strict=True))


def test_reviews_are_of_one_dataset(dataset):
    other = fo.Dataset()
    try:
        add(dataset, review())
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
    add(dataset, review(0), review(1, **{"label_id": f"{0:024d}"} | second, decision="rejected"))
    counted = [r.decision for r in reviews.newest_reviews(dataset, "ground_truth")]
    assert counted == (["rejected"] if same else ["rejected", "accepted"])


def test_many_reviews_of_many_samples(dataset):
    """More than one chunk, each region judged three times under three ids."""
    rows = [
        review(3 * number + turn, sample_id=f"{number:024d}", decision=decision)
        for number in range(250)
        for turn, decision in enumerate(["accepted", "rejected", "accepted" if number % 2 else "pending"])
    ]
    add(dataset, *rows)
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
