"""Regions are written as FiftyOne would write them, and changed where they are."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_plugin.dataset.fields import regions
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.quality import IssueRegion

NAME = "key_regions"


def region(number=0, score=0.5, kind="missing"):
    return IssueRegion(0, (2, 4, 5, 12), np.ones((3, 8), bool), kind, 0, 1, score, 24 + number)


def documents(scores):
    return [
        regions.region_document(
            region(row, score), row=row, names=["road", "car"], shape=(24, 32), mask_path=f"/m/{row}.png"
        )
        for row, score in enumerate(scores)
    ]


@pytest.fixture
def dataset():
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=f"/none/{i}.png") for i in range(3)], progress=False)
    regions.declare_regions(dataset, NAME)
    ids = dataset.values("id")
    regions.write_regions(dataset, NAME, {ids[0]: documents([0.9, 0.5, 0.1]), ids[1]: documents([0.7]), ids[2]: []})
    yield dataset
    dataset.delete()


def test_a_document_is_what_fiftyone_makes_of_a_detection(dataset):
    made = fo.Detection(
        label="missing", kind="missing", bounding_box=[4 / 32, 2 / 24, 8 / 32, 3 / 24], mask_path="/m/0.png",
        given="road", suggested="car", score=0.5, area=24, status="pending", reviewed_at=None, reviewer=None,
        unseen=False, row=0,
    )  # fmt: skip
    sample = dataset.last()
    sample[NAME] = fo.Detections(detections=[made])
    sample.save()
    raw = dataset._sample_collection.find_one({"_id": sample._id})[NAME]["detections"][0]
    ours = regions.region_document(region(), row=0, names=["road", "car"], shape=(24, 32), mask_path="/m/0.png")
    assert {**raw, "_id": 0} == {**ours, "_id": 0}
    assert {key: type(value) for key, value in raw.items()} == {key: type(value) for key, value in ours.items()}


def test_samples_in_memory_see_what_is_written(dataset):
    sample = dataset.first()
    assert [d.score for d in sample[NAME].detections] == [0.9, 0.5, 0.1]
    regions.write_regions(dataset, NAME, {sample.id: documents([0.3])})
    assert [d.score for d in sample[NAME].detections] == [0.3]
    assert dataset.last()[NAME].detections == []


def test_declaring_twice_changes_nothing(dataset):
    before = dataset.get_field_schema(flat=True).keys()
    regions.declare_regions(dataset, NAME)
    assert dataset.get_field_schema(flat=True).keys() == before


def test_regions_are_found_by_id(dataset):
    ids = dataset.values(f"{NAME}.detections.id", unwind=True)
    found = regions.find_regions(dataset, NAME, [ids[1], ids[3], "0" * 24, "nonsense", ids[1]])
    assert [(r.label_id, r.row) for r in found] == [(ids[1], 1), (ids[3], 0)]
    assert found[0].box == (4 / 32, 2 / 24, 8 / 32, 3 / 24)
    assert (found[0].kind, found[0].given, found[0].suggested) == ("missing", "road", "car")


def test_scores_of_pending_regions_change_in_place(dataset):
    first = dataset.first()
    ids = [d.id for d in first[NAME].detections]
    (chosen,) = regions.find_regions(dataset, NAME, ids[:1])
    regions.set_status(dataset, NAME, [chosen], "rejected", regions.utc_now(), "ada")
    regions.set_scores(dataset, NAME, {first.id: [0.2, 0.3, 0.95], dataset.skip(1).first().id: []})
    after = [(d.id, d.score) for d in first[NAME].detections]
    assert after == [(ids[2], 0.95), (ids[0], 0.9), (ids[1], 0.3)]
    assert dataset.skip(1).first()[NAME].detections[0].score == 0.7, "a row that the file does not have stays"


def test_nothing_to_do(dataset):
    regions.set_scores(dataset, NAME, {})
    regions.write_regions(dataset, NAME, {})
    assert regions.find_regions(dataset, NAME, []) == []
    assert regions.count_regions(dataset, NAME) == {"missing": 4}


def test_a_collection_without_the_regions_is_refused(dataset):
    with pytest.raises(LabelQualityError, match=r"other_regions.*Dataset"):
        regions.region_ids(dataset, "other_regions")
