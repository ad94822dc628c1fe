"""Damaged, shared and renamed things of a correction: made again, left to others, known again."""

from __future__ import annotations

import errno
import os
import warnings
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_plugin as lq
from fiftyone_plugin.dataset.journals.answers import read_answers
from fiftyone_plugin.dataset.runs import run_records
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.reviewing.overview import run_overview
from tests.faults.harness import CLASSES, JOBS, _answer, _edit, _plan, _score, state_of

FIELD = "ground_truth"


def corrected(dataset):
    return [Path(path) for path in dataset.values(f"{FIELD}_corrected.mask_path")]


def test_what_is_derived_is_made_again(scene):
    """Empty, cut, wrong, of another size, gone; and the list of labels emptied."""
    _plan(scene)
    _answer(scene)
    wanted = state_of(scene)
    paths = corrected(scene.dataset)
    paths[0].write_bytes(b"")
    paths[1].write_bytes(paths[1].read_bytes()[:-9])
    Image.fromarray(np.full((32, 32), 2, np.uint8)).save(paths[2])
    paths[3].unlink()
    (paths[0].parent / "labels.json").write_bytes(b"")
    lq.apply_corrections(scene.dataset, FIELD, progress=silent)
    assert state_of(scene) == wanted
    Image.fromarray(np.full((3, 3), 2, np.uint8)).save(corrected(scene.dataset)[0])
    lq.export_corrected_labels(scene.dataset, scene.root / "export", FIELD)
    assert sorted(path.name for path in (scene.root / "export").glob("*.png")) == ["0.png", "1.png", "2.png", "3.png"]


def test_images_that_came_after_the_plan_are_exported_and_said(scene):
    _plan(scene)
    old = scene.dataset.first()
    scene.dataset.add_sample(
        fo.Sample(filepath=str(scene.root / "images" / "new.png"),
                  ground_truth=fo.Segmentation(mask_path=old.ground_truth.mask_path))
    )  # fmt: skip
    report = lq.apply_corrections(scene.dataset, FIELD, progress=silent)
    assert report.added == 1
    assert "1 image was added" in report.markdown()
    lq.export_corrected_labels(scene.dataset, scene.root / "export", FIELD)
    assert (scene.root / "export" / "new.png").is_file()


def test_a_clone_keeps_its_labels_and_goes_on_with_its_answers(scene):
    _plan(scene)
    _answer(scene, 3)
    clone = scene.dataset.clone()
    try:
        before = [path.read_bytes() for path in corrected(clone)]
        _answer(scene, 12)
        assert [path.read_bytes() for path in corrected(clone)] == before
        assert lq.apply_corrections(clone, FIELD, progress=silent).by_status["corrected"] == 3
        assert [path.read_bytes() for path in corrected(clone)] == before
        assert not {path.parent for path in corrected(clone)} & {path.parent for path in corrected(scene.dataset)}
        lq.delete_label_quality_run(scene.dataset, f"{FIELD}_correction")
        assert [path.read_bytes() for path in corrected(clone)] == before
        lq.open_sitting(clone, FIELD, sitting_id="x").close()
        assert len(read_answers(clone, FIELD)) == 3
        assert [path.read_bytes() for path in corrected(clone)] == before
    finally:
        clone.delete()


@pytest.mark.parametrize("is_packed", [True, False])
def test_an_import_carries_what_was_packed_and_says_what_was_not(scene, is_packed):
    _plan(scene)
    _answer(scene, 3)
    _score(scene)
    lq.review_regions(scene.dataset, "rejected")
    reviews = [(one.decision, one.sample_id) for one in lq.review_history(scene.dataset, FIELD)]
    report, before = lq.apply_corrections(scene.dataset, FIELD, progress=silent), corrected(scene.dataset)
    before = [path.read_bytes() for path in before]
    if is_packed:
        assert lq.pack_history(scene.dataset) == {"answers": 3, "reviews": len(reviews)}
    folder = scene.root / "export"
    scene.dataset.export(str(folder), dataset_type=fo.types.FiftyOneDataset, progress=False)
    scene.dataset.delete()  # as on another machine
    there = fo.Dataset.from_dir(str(folder), dataset_type=fo.types.FiftyOneDataset, progress=False)
    try:
        if not is_packed:
            with pytest.raises(LabelQualityError, match=r"to the 3 answered .*`pack_history\(dataset\)` on that one"):
                lq.apply_corrections(there, FIELD, progress=silent)
            return
        again = lq.apply_corrections(there, FIELD, progress=silent)
        assert (again.by_status, again.num_repaired) == (report.by_status, report.num_repaired)
        assert [path.read_bytes() for path in corrected(there)] == before
        assert [(one.decision, one.sample_id) for one in lq.review_history(there, FIELD)] == reviews
    finally:
        there.delete()


def test_a_renamed_field_is_found_again_with_answers_and_reviews(scene):
    _plan(scene)
    _answer(scene, 3)
    _score(scene)
    lq.review_regions(scene.dataset, "rejected")
    report = lq.apply_corrections(scene.dataset, FIELD, progress=silent)
    scene.dataset.rename_sample_field(FIELD, "labels")
    again = lq.apply_corrections(scene.dataset, "labels", progress=silent)
    assert (again.by_status, again.num_repaired) == (report.by_status, report.num_repaired)
    assert again.num_repaired > 0
    assert scene.dataset.has_field("labels_corrected")
    assert not scene.dataset.has_field(f"{FIELD}_corrected")
    assert scene.dataset.mask_targets["labels"] == CLASSES
    assert lq.open_sitting(scene.dataset, "labels", sitting_id="x").question is not None
    assert lq.changed_labels(scene.dataset) == []
    decided = lq.review_history(scene.dataset, "labels")
    assert {one.decision for one in decided} == {"rejected"}
    again = lq.score_label_quality(scene.dataset, "labels", probabilities="probabilities", key="second",
                                   **scene.options("second"))  # fmt: skip
    assert again.left_out == len(decided)
    lq.delete_label_quality_run(scene.dataset, "labels_correction")
    assert not scene.dataset.has_field("labels_corrected")
    assert not list((scene.root / "correction").rglob("*.png"))


def test_deleting_a_run_leaves_what_a_clone_names(scene):
    _score(scene)
    clone = scene.dataset.clone()
    try:
        paths = [Path(path) for path in clone.values("label_quality_map.map_path")]
        lq.delete_label_quality_run(scene.dataset, "label_quality")
        assert all(path.is_file() for path in paths)
        assert not list((scene.root / "score" / "records").glob("*"))
    finally:
        clone.delete()
    lq.check_labels(scene.dataset, FIELD, progress=silent)  # any job takes away what nobody names any more
    assert not any(path.exists() for path in paths)
    assert not (scene.root / "score" / "map").exists()


def test_deleting_a_run_leaves_what_is_named_otherwise(scene):
    """By a copy of its field, as the image of another dataset, or as originals that a forged marker calls its own."""
    _score(scene)
    record = run_records.find_run(scene.dataset, "label_quality")
    maps = [Path(path) for path in scene.dataset.values("label_quality_map.map_path")]
    issues = [Path(path) for path in scene.dataset.values("label_quality_issues.mask_path")]
    scene.dataset.clone_sample_field("label_quality_map", "mine")
    other = fo.Dataset()
    other.add_samples([fo.Sample(str(path)) for path in issues], progress=False)
    for name in ("images", "masks"):
        (scene.root / name / "files.txt").write_text("0.png\n1.png\n")
        (scene.root / name / "run.json").write_bytes((scene.root / "score" / "run.json").read_bytes())
    folders = [str(scene.root / name) for name in ("images", "masks")]
    run_records.register_run(scene.dataset, replace(record, folders=folders))
    try:
        lq.delete_label_quality_run(scene.dataset, "label_quality")
        assert all(path.is_file() for path in (*maps, *issues))
        assert [len(list((scene.root / name).glob("*.png"))) for name in ("images", "masks")] == [4, 4]
    finally:
        other.delete()
    scene.dataset.delete_sample_field("mine")
    lq.check_labels(scene.dataset, FIELD, progress=silent)
    assert not any(path.exists() for path in (*maps, *issues))
    assert [len(list((scene.root / name).glob("*.png"))) for name in ("images", "masks")] == [4, 4]


def test_a_lost_record_is_adopted_with_its_answers(scene):
    _plan(scene)
    _answer(scene)
    answers, paths = len(read_answers(scene.dataset, FIELD)), corrected(scene.dataset)
    scene.dataset.delete_run(f"{FIELD}_correction")
    _plan(scene)
    assert len(read_answers(scene.dataset, FIELD)) == answers
    assert corrected(scene.dataset) == paths
    assert run_records.find_run(scene.dataset, f"{FIELD}_correction").summary["round"] == 2


def test_unfinished_edits_stay_and_finished_ones_are_taken_once(scene, monkeypatch):
    from fiftyone_plugin.workflows.correcting import outside_answers

    lq.begin_hand_edits(scene.dataset, FIELD)
    _edit(scene)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        lq.begin_hand_edits(scene.dataset, FIELD)
    assert any("edited and not finished" in str(one.message) for one in said)
    # Killed between keeping the answers and renewing the offer, then something else is said about the same pixels.
    with monkeypatch.context() as patch:
        patch.setattr(outside_answers._Offer, "save", lambda *_: None)
        assert lq.finish_hand_edits(scene.dataset, FIELD).num_answers > 0
    assert lq.finish_hand_edits(scene.dataset, FIELD).num_answers == 0


@pytest.mark.parametrize("names", [{1: "street", 2: "automobile", 3: "wood"}, {1: "car", 2: "road", 3: "tree"}])
def test_edits_of_a_class_that_gets_another_name_are_finished(scene, names):
    lq.begin_hand_edits(scene.dataset, FIELD)
    given = [np.array(Image.open(path)) for path in scene.dataset.values(f"{FIELD}.mask_path")]
    _edit(scene)  # each car is a tree
    scene.dataset.mask_targets = {**scene.dataset.mask_targets, FIELD: {**names, 255: "void"}}
    scene.dataset.save()
    assert lq.finish_hand_edits(scene.dataset, FIELD).num_answers == 4
    for path, label in zip(corrected(scene.dataset), given, strict=True):
        np.testing.assert_array_equal(np.array(Image.open(path)), np.where(label == 2, 3, label))
    assert lq.finish_hand_edits(scene.dataset, FIELD).num_answers == 0
    lq.begin_hand_edits(scene.dataset, FIELD)
    labels = set(scene.dataset.values(f"{FIELD}_objects.detections.label", unwind=True))
    assert labels == {names[1], names[3]}


def test_a_class_that_gets_another_name_is_known_again(scene):
    _plan(scene)
    names = {1: "street", 2: "automobile", 3: "tree", 255: "void"}
    scene.dataset.mask_targets = {**scene.dataset.mask_targets, FIELD: names}
    scene.dataset.save()
    sitting = lq.open_sitting(scene.dataset, FIELD, sitting_id="a")
    while (given := sitting.question.given) == "tree":
        sitting.skip()
    assert given in ("street", "automobile")
    assert not {"road", "car"} & set(sitting.question.alternatives)
    sitting.confirm()
    answer = read_answers(scene.dataset, FIELD)[-1]
    assert names[answer.value] == given
    assert answer.repaint() is not None


def test_regions_and_reviews_of_a_renamed_class_are_known_again(scene):
    _score(scene)
    lq.review_regions(scene.dataset.limit(1), "accepted")
    lq.review_regions(scene.dataset.skip(1), "rejected")
    old = lq.review_history(scene.dataset, FIELD)
    assert {one.suggested for one in old} <= {"road", "car", "tree"}
    names = {1: "street", 2: "automobile", 3: "wood", 255: "void"}
    scene.dataset.mask_targets = {**scene.dataset.mask_targets, FIELD: names}
    scene.dataset.save()
    assert {one.suggested for one in lq.review_history(scene.dataset, FIELD)} <= set(names.values())
    report = lq.apply_proposals(scene.dataset, "label_quality")
    assert report.num_answers == sum(one.decision == "accepted" for one in old) > 0
    assert report.passed_over == 0
    again = lq.score_label_quality(scene.dataset, FIELD, probabilities="probabilities", key="second",
                                   **scene.options("second"))  # fmt: skip
    assert again.left_out == sum(one.decision == "rejected" for one in old)


def test_regions_are_called_by_the_names_that_classes_have_now(scene):
    _score(scene)
    lq.review_regions(scene.dataset.limit(1), "rejected")

    def names():
        paths = [f"label_quality_regions.detections.{end}" for end in ("given", "suggested")]
        return list(zip(*scene.dataset.values(paths, unwind=True), strict=True))

    before = names()
    for new in ({"road": "street"}, {"street": "car", "car": "street"}, {"street": "tree", "tree": "street"}):
        targets = {value: new.get(name, name) for value, name in scene.dataset.mask_targets[FIELD].items()}
        scene.dataset.mask_targets = {**scene.dataset.mask_targets, FIELD: targets}
        scene.dataset.save()
        found = run_overview(scene.dataset, "label_quality")
        before = [tuple(new.get(name, name) for name in pair) for pair in before]
        assert names() == before
        assert {one.name for one in found.classes} == set(targets.values()) - {"void"}
        view = lq.show_regions(scene.dataset)
        assert set(view.values("label_quality_regions.given")) <= set(targets.values())
        assert lq.rescore_regions(scene.dataset).num_rejected > 0


def test_a_name_of_a_dataset_leads_nowhere(scene):
    scene.dataset.name = f"../../../{scene.root.name}"
    report = lq.score_label_quality(scene.dataset, FIELD, probabilities="probabilities", progress=silent)
    assert Path(report.output_dir).resolve().is_relative_to(Path(fo.config.default_dataset_dir).resolve())
    lq.delete_label_quality_run(scene.dataset, "label_quality")
    assert not Path(report.output_dir).exists()


@pytest.mark.parametrize("name", ["superpixels", "plan", "begin edits", "inject"])
def test_a_disk_that_fills_up_in_the_middle_is_said(scene, monkeypatch, name):
    left = iter(range(6))

    def full(file):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device", "x.png")

    JOBS[name].before(scene)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LabelQualityError, match="No space left"):
            JOBS[name].work(scene)
    JOBS[name].work(scene)
    assert all(run.finished for run in run_records.list_runs(scene.dataset, unfinished=True))


def test_a_full_disk_is_said_at_once_and_keeps_the_answer(scene, monkeypatch):
    from fiftyone_plugin.dataset.runs import files

    _plan(scene)
    sitting = lq.open_sitting(scene.dataset, FIELD, sitting_id="a")
    monkeypatch.setattr(files, "is_writable", lambda folder: False)
    sitting.correct(sitting.question.alternatives[0])
    assert "kept" in sitting.message
    assert "read-only" in sitting.message
    assert len(read_answers(scene.dataset, FIELD)) == 1
    assert sitting.undo()
    assert "read-only" in sitting.message
    sitting.flush()
    with pytest.raises(LabelQualityError, match="read-only"):
        lq.delete_label_quality_run(scene.dataset, f"{FIELD}_correction")
    assert scene.dataset.has_field(f"{FIELD}_queries")
