"""The overview of a run counts what is on the dataset, notices changes, and its views hold what was counted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fiftyone_plugin.dataset.fields import overview as numbers
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.workflows.reviewing import overview

KEY = "label_quality"


def region_values(dataset, name, key=KEY):
    return dataset.values(f"{key}_regions.detections.{name}", unwind=True)


@pytest.fixture
def dataset(make_scored):
    return make_scored(12, reviewed=4)


def test_counts_are_those_of_the_dataset(dataset):
    found = overview.run_overview(dataset, KEY)
    status = region_values(dataset, "status")
    assert found.num_images == 12
    assert found.regions.status == {name: status.count(name) for name in ("pending", "accepted", "rejected")}
    rows = list(zip(region_values(dataset, "label"), status, strict=True))
    for kind, pending, accepted, rejected in found.regions.kinds:
        expected = [rows.count((kind, state)) for state in ("pending", "accepted", "rejected")]
        assert [pending, accepted, rejected] == expected
    assert [image.score for image in found.worst] == sorted(dataset.values(KEY))[:8]


def test_pairs_hold_the_pending_regions(dataset):
    pairs = overview.run_overview(dataset, KEY).regions.pairs
    columns = (region_values(dataset, name) for name in ("given", "suggested", "status", "area"))
    pending = [(given, suggested, area) for given, suggested, status, area in zip(*columns, strict=True)
               if status == "pending"]  # fmt: skip
    for row, given in enumerate(pairs.given):
        for column, suggested in enumerate(pairs.suggested):
            areas = [area for g, s, area in pending if (g, s) == (given, suggested)]
            assert (pairs.counts[row][column], pairs.areas[row][column]) == (len(areas), sum(areas))
    assert (sum(map(sum, pairs.counts)), pairs.left_out) == (len(pending), 0)


def test_rare_classes_are_summed_up(dataset, monkeypatch):
    monkeypatch.setattr(overview, "MOST_CLASSES", 2)
    pairs = overview.run_overview(dataset, KEY).regions.pairs
    assert len(pairs.given) <= 2
    assert pairs.num_rare == 1
    assert sum(map(sum, pairs.counts)) + pairs.left_out == region_values(dataset, "status").count("pending")
    assert pairs.left_out > 0


def test_classes_are_sorted_by_trust(dataset):
    classes = overview.run_overview(dataset, KEY).classes
    assert [entry.name for entry in classes] == ["car", "tree", "road"]
    rows = zip(region_values(dataset, "given"), region_values(dataset, "status"), region_values(dataset, "area"),
               strict=True)  # fmt: skip
    area = sum(area for given, status, area in rows if given == "car" and status != "rejected")
    assert classes[0].issue_share == pytest.approx(area / 5_000)


def test_precision_counts_decisions(dataset):
    review = overview.run_overview(dataset, KEY).regions.review
    assert (review.accepted, review.rejected) == (3, 1)
    assert review.precision.estimate == 0.75
    assert sum(number for _, number, _ in review.by_kind) == 4
    assert review.latest == []
    assert review.advice == "start"
    images = {sample_id for sample_id, states in zip(*dataset.values(["id", f"{KEY}_regions.detections.status"]),
                                                     strict=True) if "accepted" in states}  # fmt: skip
    assert review.estimate.image_share.low >= len(images) / 12 - 1e-9
    assert 0 < review.estimate.pixel_share.low < review.estimate.pixel_share.high < 0.02


def test_the_last_reviewed_are_those_decided_last(make_scored):
    dataset = make_scored(32, reviewed=22)
    (count, latest), = overview.run_overview(dataset, KEY).regions.review.latest  # fmt: skip
    states = sorted(
        (at, status)
        for at, status in zip(region_values(dataset, "reviewed_at"), region_values(dataset, "status"), strict=True)
        if at
    )
    assert count == 20
    assert latest.estimate == np.mean([status == "accepted" for _, status in states[-20:]])


def test_numbers_follow_the_dataset(dataset):
    assert overview.run_overview(dataset, KEY) is overview.run_overview(dataset, KEY), (
        "remembered while nothing changes"
    )
    sample = dataset.match({f"{KEY}_regions.detections.status": "pending"}).first()
    next(d for d in sample[f"{KEY}_regions"].detections if d.status == "pending").status = "accepted"
    sample.save()
    assert overview.run_overview(dataset, KEY).regions.status == {"pending": 4, "accepted": 4, "rejected": 1}


def test_histogram_bins_hold_their_images(dataset):
    found = overview.score_histogram(dataset, KEY)
    scores = np.array(dataset.values(KEY))
    assert found.counts == np.histogram(scores, found.edges)[0].tolist()
    assert (found.median, found.mean) == (pytest.approx(np.median(scores)), pytest.approx(scores.mean()))
    for number, count in enumerate(found.counts):
        view = overview.images_between(dataset, KEY, number)
        assert len(view) == count
        assert view.values(KEY) == sorted(view.values(KEY))
    with pytest.raises(LabelQualityError, match="from 0 to 9, but got 10"):
        overview.images_between(dataset, KEY, 10)


def test_scores_that_are_missing_or_equal(make_scored):
    dataset = make_scored(6)
    dataset.set_values(KEY, [0.5] * 5 + [None])
    found = overview.score_histogram(dataset, KEY)
    assert (found.total, found.median, len(overview.run_overview(dataset, KEY).worst)) == (5, 0.5, 5)
    dataset.set_values(KEY, [None] * 6)
    found = overview.score_histogram(dataset, KEY)
    assert (found.total, found.median, found.mean) == (0, None, None)


@pytest.mark.parametrize("wanted", [{}, {"label": "missing"}, {"given": "car"}, {"given": "car", "suggested": "tree"}])
def test_regions_are_shown_worst_first(dataset, wanted):
    view = overview.regions_of(dataset, KEY, **wanted)
    columns = [region_values(dataset, name) for name in ("status", "score", *wanted)]
    expected = [row[1] for row in zip(*columns, strict=True) if row == ("pending", row[1], *wanted.values())]
    assert view.values(f"{KEY}_regions.score") == sorted(expected, reverse=True)
    assert expected


def test_two_runs_are_compared_image_by_image(make_scored):
    dataset = make_scored(12, reviewed=4, keys=["before", "after"])
    found = overview.compare_runs(dataset, "before", "after")
    change = np.subtract(dataset.values("after"), dataset.values("before"))
    assert found.fields == ("before", "after")
    assert found.change.mean == pytest.approx(change.mean())
    assert (found.change.better, found.change.worse) == ((change > 0).sum(), (change < 0).sum())
    assert [histogram.total for histogram in found.histograms] == [12, 12]
    assert found.histograms[0].edges == found.histograms[1].edges
    assert sum(row[1] for row in found.kinds) == 8  # one of nine was rejected
    better = overview.changed_images(dataset, found, better=True)
    gains = np.subtract(better.values("after"), better.values("before"))
    assert len(better) == found.change.better
    assert (np.diff(gains) <= 1e-12).all()
    assert len(overview.changed_images(dataset, found, better=False)) == found.change.worse


@pytest.mark.parametrize(("first", "second"), [("softmin", "iou"), ("combined", "combined")])
def test_runs_of_different_methods_or_scales_are_compared_by_softmin(make_scored, first, second):
    from fiftyone_plugin.dataset.runs import run_records

    dataset = make_scored(6, keys=["before", "after"])
    for key, method in (("before", first), ("after", second)):
        record = run_records.find_run(dataset, key)
        summary = {**json.loads(json.dumps(record.summary)), "method": method}
        changed = replace(record, parameters={}, fields=list(record.fields), views=[], summary=summary)
        run_records.register_run(dataset, changed)
    assert overview.compare_runs(dataset, "before", "after").fields == ("before_softmin", "after_softmin")


def test_a_run_without_regions_and_one_without_disagreement(make_scored):
    assert overview.run_overview(make_scored(6, regions=False), KEY).regions is None
    agreed = overview.run_overview(make_scored(6, agree=True), KEY).regions
    assert (agreed.total, agreed.pairs.given, agreed.review.advice) == (0, [], "done")


def test_a_deleted_field_is_not_looked_for(make_scored):
    dataset = make_scored(6)
    dataset.delete_sample_fields([KEY, f"{KEY}_regions"])
    found = overview.run_overview(dataset, KEY)
    assert (found.worst, found.regions) == ([], None)
    assert [name for name, _ in found.score_fields] == [f"{KEY}_softmin"]


def test_a_run_that_does_not_exist(dataset):
    with pytest.raises(LabelQualityError, match=r"'nothing'; there are \['label_quality'\]"):
        overview.run_overview(dataset, "nothing")


def test_labels_that_changed_are_noticed_when_asked(make_dataset, tmp_path):
    from fiftyone_plugin import score_label_quality

    dataset = make_dataset(4)
    score_label_quality(dataset, probabilities="probabilities", output_dir=str(tmp_path / "run"))
    assert overview.check_labels(dataset, KEY) == 0
    sample = dataset.first()
    mask = sample.ground_truth.get_mask()
    mask[-3:] = 2
    sample.ground_truth.mask = mask
    sample.ground_truth.export_mask(sample.ground_truth.mask_path, update=False, overwrite_path=True)
    assert overview.num_changed_labels(dataset, KEY) == 0, "not before it is asked: it reads files"
    assert overview.check_labels(dataset, KEY) == 1
    assert overview.changed_labels(dataset, KEY).values("id") == [sample.id]
    dataset.delete_sample_field("ground_truth")
    assert overview.check_labels(dataset, KEY) == 0


def test_the_overview_of_a_real_run(make_dataset, tmp_path):
    from fiftyone_plugin import score_label_quality

    dataset = make_dataset(6, wrong=(2,))
    score_label_quality(dataset, probabilities="probabilities", output_dir=str(tmp_path / "run"))
    found = overview.run_overview(dataset, KEY)
    assert found.worst[0].path.endswith("2.png")
    assert found.regions.total == dataset.count(f"{KEY}_regions.detections") > 0
    assert found.regions.review.pixels_known
    assert len(overview.regions_of(dataset, KEY, given="car")) == found.regions.status["pending"]


def test_counting_reads_the_index_alone(dataset):
    explained = dataset._sample_collection.database.command(
        "explain",
        {"aggregate": dataset._sample_collection.name, "cursor": {}, "hint": f"{KEY}_1",
         "pipeline": [{"$match": {KEY: {"$ne": None}}}, {"$project": {"_id": 0, KEY: 1}}]},
        verbosity="executionStats",
    )  # fmt: skip
    stats = explained.get("executionStats") or explained["stages"][0]["$cursor"]["executionStats"]
    assert stats["totalDocsExamined"] == 0
    assert numbers._index_of(dataset, KEY) == f"{KEY}_1"
