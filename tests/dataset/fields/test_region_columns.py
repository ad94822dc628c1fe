"""Columns that follow the database are those that are read anew, whatever was written, added or deleted meanwhile."""

from __future__ import annotations

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


def test_columns_follow_the_dataset(dataset, monkeypatch):
    rng = np.random.default_rng(1)
    monkeypatch.setattr(region_columns, "_SKEW", region_columns.timedelta(0))
    for number in range(30):
        change(dataset, rng, number)
        followed = region_columns.region_columns(dataset, NAME, ("one",), ["road"])
        anew = region_columns.region_columns(dataset, NAME, (f"state {number}",))
        assert found_table(followed) == found_table(anew) == plain_table(dataset)
        rows = [pending_rows(columns.pending(["missing", "boundary"])) for columns in (followed, anew)]
        assert rows[0] == rows[1]
        assert sorted(followed.decided_images()) == sorted(anew.decided_images())


def test_only_what_was_written_is_read(dataset, monkeypatch):
    written = datetime(2026, 1, 1)
    for number, sample_id in enumerate(dataset.values("_id")):
        when = {"last_modified_at": written + number * region_columns._SKEW}
        dataset._sample_collection.update_one({"_id": sample_id}, {"$set": when})
    region_columns.region_columns(dataset, NAME, ("two",))
    asked, before = [], region_columns._pipeline
    monkeypatch.setattr(region_columns, "_pipeline", lambda *given: asked.append(given[1]) or before(*given))
    region_columns.region_columns(dataset, NAME, ("two",))
    assert [dataset._sample_collection.count_documents(match) for match in asked] == [2]  # the last minute's
