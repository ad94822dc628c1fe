"""Regions are accepted in bulk by what was decided in the drawn order alone, marked as unseen, and taken back."""

from __future__ import annotations

import fiftyone.operators as foo
import pytest

from fiftyone_plugin import (
    accept_in_bulk,
    begin_bulk_review,
    bulk_review_report,
    review_history,
    review_regions,
    show_bulk_review,
    undo_accept_in_bulk,
)
from fiftyone_plugin.cli.commands import main
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.workflows.reviewing.overview import run_overview

FIELD = "label_quality_regions"


def statuses(dataset):
    return dataset.count_values(f"{FIELD}.detections.status")


def test_from_the_draw_to_bulk_and_back(dataset, capsys):
    worst = dataset.to_patches(FIELD).limit(40)
    review_regions(dataset, "accepted", label_ids=worst.values("id"))  # chosen by hand: no evidence
    report = begin_bulk_review(dataset)
    assert (report.promise.num_reviewed, report.promise.num_regions, report.waiting) == (0, 0, ())
    with pytest.raises(LabelQualityError, match="may be accepted, but got none"):
        accept_in_bulk(dataset)
    view = show_bulk_review(dataset)
    assert set(view.values("id")) == set(report.to_review)
    assert set(view.values(f"{FIELD}.status")) == {"pending"}
    outside = [i for i in dataset.values(f"{FIELD}.detections.id", unwind=True) if i not in report.to_review]
    review_regions(dataset, "accepted", label_ids=outside[-30:])
    assert bulk_review_report(dataset).promise.num_reviewed < 30  # only what follows on in the order
    first, *others = report.to_review
    review_regions(dataset, "rejected", label_ids=first)
    review_regions(dataset, "accepted", label_ids=others, reviewer="ada")
    report = bulk_review_report(dataset)
    while not report.promise.num_regions:
        review_regions(dataset, "accepted", label_ids=report.to_review, reviewer="ada")
        report = bulk_review_report(dataset)
    assert report.promise.num_wrong == 1
    before = statuses(dataset)
    done = accept_in_bulk(dataset, reviewer="ada")
    assert done.num_accepted == len(report.waiting) > 0
    assert done.waiting == ()
    assert done.promise == report.promise  # what nobody looked at is no evidence
    assert statuses(dataset)["rejected"] == 1
    unseen = [row for row in review_history(dataset) if row.source == "bulk"]
    assert len(unseen) == done.num_accepted
    assert {row.reviewer for row in unseen} == {"ada"}
    reviewed = run_overview(dataset, "label_quality").regions.review
    assert reviewed.accepted == before["accepted"] + done.num_accepted
    assert sum(number for _, number, _ in reviewed.by_kind) == before["accepted"] + 1  # nor do estimates learn from it
    assert main(["bulk", "report", dataset.name]) == 0
    assert "can be taken back" in capsys.readouterr().out
    assert undo_accept_in_bulk(dataset) == done.num_accepted
    assert statuses(dataset) == before
    assert bulk_review_report(dataset).promise == report.promise


def test_kinds_have_draws_of_their_own_and_a_draw_is_not_thrown_away_unasked(dataset):
    report = begin_bulk_review(dataset, kinds="missing", allowed=0.1)
    chosen = show_bulk_review(dataset, kinds="missing")
    assert len(chosen) == len(report.to_review)
    assert "spurious" not in chosen.count_values(f"{FIELD}.label")
    with pytest.raises(LabelQualityError, match="restart=True"):
        begin_bulk_review(dataset, kinds=["missing"])
    assert begin_bulk_review(dataset, kinds="missing", restart=True).promise.allowed == 0.05
    with pytest.raises(LabelQualityError, match="begin_bulk_review"):
        bulk_review_report(dataset)
    with pytest.raises(LabelQualityError, match="'ghost'"):
        begin_bulk_review(dataset, kinds="ghost")


def test_by_operator(dataset):
    operator = foo.get_operator("@label-quality/segmentation/accept_in_bulk")
    found = operator(dataset, kinds="spurious", allowed=0.2)
    while not found["num_waiting"]:
        review_regions(dataset, "accepted", label_ids=found["to_review"])
        found = operator(dataset, kinds="spurious")
    assert "at most 20 %" in found["text"]
    assert operator(dataset, "accept", kinds="spurious")["num_accepted"] == found["num_waiting"]
    assert operator(dataset, "undo", kinds="spurious")["num_accepted"] == 0
