"""Columns that follow the database are those that are read anew, whatever was written, added or deleted meanwhile."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import datetime

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_plugin.dataset.fields import region_columns, regions

NAME = "key_regions"
STATUSES = ("pending", "accepted", "rejected")


def new_sample(rng, number):
    drawn = [
        fo.Detection(
            label=str(rng.choice(["missing", "boundary"])), given=str(rng.choice(["road", "$car", "a.b"])),
            suggested=None if rng.random() < 0.1 else "tree", score=float(rng.random()), area=int(rng.integers(1, 99)),
            status=str(rng.choice(STATUSES)), bounding_box=[0, 0, 1, 1],
        )
        for _ in range(rng.integers(0, 4))
    ]  # fmt: skip
    return fo.Sample(f"/none/{number}.png", **{NAME: fo.Detections(detections=drawn)})


@pytest.fixture
def dataset():
    dataset = fo.Dataset()
    regions.declare_regions(dataset, NAME)
    rng = np.random.default_rng(0)
    dataset.add_samples([new_sample(rng, number) for number in range(12)], progress=False)
    yield dataset
    dataset.delete()


def plain_table(dataset):
    found, areas = Counter(), Counter()
    for sample in dataset.iter_samples(progress=False):
        for region in sample[NAME].detections if sample[NAME] else []:
            key = (region.label, region.given, region.suggested or "", region.status)
            found[key] += 1
            areas[key] += region.area
    return {(*key, count, areas[key]) for key, count in found.items()}


def found_table(columns):
    return {(row.kind, row.given, row.suggested, row.status, row.count, row.area) for row in columns.table}


def pending_rows(waiting):
    """The regions whatever their order, their images by id."""
    images = [str(waiting.image_ids[number]) for number in waiting.images]
    return sorted(zip(images, waiting.scores, waiting.shown, waiting.areas, waiting.kinds, strict=True))


def change(dataset, rng, number):
    """One thing that people, runs or other programs do to a dataset."""
    what = rng.integers(5)
    sample = dataset.shuffle(seed=int(rng.integers(1 << 20))).first()
    if what == 0 and sample[NAME] and sample[NAME].detections:
        sample[NAME].detections[0].status = str(rng.choice(STATUSES))
        sample[NAME].detections[0].given = f"class {number}"
        sample.save()
    elif what == 1:
        dataset.delete_samples(sample)
        dataset.add_sample(new_sample(rng, number))
    elif what == 2:
        dataset.add_sample(new_sample(rng, number))
    elif what == 3:
        sample[NAME] = None
        sample.save()
    else:
        dataset.delete_samples(sample)


@pytest.fixture
def kept_always(monkeypatch):
    monkeypatch.setattr(region_columns, "_SKEW", region_columns.timedelta(0))
    monkeypatch.setattr(region_columns, "_WORTH_A_FILE", 0)


def test_columns_follow_the_dataset(dataset, tmp_path, kept_always):
    """In memory, through a file that the last process left at some time, and read anew."""
    rng = np.random.default_rng(1)
    for number in range(30):
        change(dataset, rng, number)
        if number % 4 == 0:
            region_columns.keep_regions(dataset, NAME, tmp_path / "kept.npz")
        shutil.copy(tmp_path / "kept.npz", tmp_path / "copy.npz")  # as it was, not as this look leaves it
        followed = region_columns.region_columns(dataset, NAME, ("one",))
        by_file = region_columns.region_columns(dataset, NAME, (f"file {number}",), tmp_path / "copy.npz")
        anew = region_columns.region_columns(dataset, NAME, (f"state {number}",))
        assert found_table(followed) == found_table(by_file) == found_table(anew) == plain_table(dataset)
        rows = [pending_rows(columns.pending(["missing", "boundary"])) for columns in (followed, by_file, anew)]
        assert rows[0] == rows[1] == rows[2]
        assert sorted(followed.decided_images()) == sorted(by_file.decided_images()) == sorted(anew.decided_images())


def cleared(dataset):
    dataset.clear_sample_field(NAME)


def emptied_behind_fiftyone(dataset):
    dataset._sample_collection.update_many({}, {"$set": {NAME: None}})


def restored(dataset):
    """What a backup of the database brings back is older than what was looked at."""
    old = {f"{NAME}.detections.0.status": "pending", "last_modified_at": datetime(2020, 1, 1)}
    dataset._sample_collection.update_many({f"{NAME}.detections.0": {"$exists": True}}, {"$set": old})


def all_deleted(dataset):
    dataset.delete_samples(dataset.values("id"))


@pytest.mark.parametrize("happens", [cleared, emptied_behind_fiftyone, restored, all_deleted])
def test_a_file_is_not_believed(dataset, tmp_path, kept_always, happens):
    region_columns.keep_regions(dataset, NAME, tmp_path / "kept.npz")
    happens(dataset)
    assert found_table(region_columns.region_columns(dataset, NAME, ("a",), tmp_path / "kept.npz")) == plain_table(
        dataset
    )


@pytest.mark.parametrize("content", [None, b"", b"no archive", "of a clone"])
def test_a_file_that_is_gone_or_not_ours_changes_nothing(dataset, tmp_path, kept_always, content):
    path = tmp_path / "kept.npz"
    region_columns.keep_regions(dataset, NAME, path)
    clone = dataset.clone()
    clone.first().update_fields({NAME: fo.Detections()})
    if content == "of a clone":
        region_columns.keep_regions(clone, NAME, path)
    elif content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    for one in (dataset, clone):
        assert found_table(region_columns.region_columns(one, NAME, (one.name,), path)) == plain_table(one)
    clone.delete()


def test_only_what_was_written_is_read(dataset, tmp_path, kept_always, monkeypatch):
    """Also where all samples were written at once, as in a clone, and in a process that has only the file."""
    first, *_ = ids = dataset.values("_id")
    dataset._sample_collection.update_many({}, {"$set": {"last_modified_at": datetime(2026, 1, 1)}})
    region_columns.region_columns(dataset, NAME, ("two",), tmp_path / "kept.npz")
    asked, before = [], region_columns._documents
    monkeypatch.setattr(region_columns, "_documents", lambda *given: asked.append(len(given[2])) or before(*given))
    for state in ("two", "another process"):
        region_columns.region_columns(dataset, NAME, (state,), tmp_path / "kept.npz")
        assert asked.pop() == 0
        dataset._sample_collection.update_one({"_id": first}, {"$currentDate": {"last_modified_at": True}})
        for _ in range(2):  # what was written just now may be written again within the same millisecond
            region_columns.region_columns(dataset, NAME, (state,))
            assert asked.pop() == 1 < len(ids)
        dataset._sample_collection.update_one({"_id": first}, {"$set": {"last_modified_at": datetime(2026, 1, 1)}})
        region_columns.region_columns(dataset, NAME, (state,))
        asked.clear()
