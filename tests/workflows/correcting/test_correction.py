"""Questions are planned, answered, undone and replayed; nothing is lost, nothing is answered twice, originals stay."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin import (
    apply_corrections,
    begin_hand_edits,
    delete_label_quality_run,
    export_corrected_labels,
    finish_hand_edits,
    open_sitting,
    plan_correction_queries,
)
from fiftyone_plugin.correction.answers.propagation import Trials
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.dataset.fields import queries
from fiftyone_plugin.dataset.journals.answers import AGREED, PROPAGATED, add_answers, answers_that_count, read_answers
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.correcting import sitting as answering
from fiftyone_plugin.workflows.correcting.corrected_labels import derive
from fiftyone_plugin.workflows.correcting.correction_run import open_correction
from fiftyone_plugin.workflows.correcting.label_changes import find_label_changes
from fiftyone_plugin.workflows.correcting.propagation import relabelled_fields, undo_relabelled

FIELD = "ground_truth"
QUERIES = "ground_truth_queries.detections"


def plan(dataset, folder, **arguments):
    options = {
        "probabilities": "probabilities", "budget": 20, "superpixel_size": 40, "output_dir": str(folder),
        "progress": silent, "propagate": False,
    }  # fmt: skip
    return plan_correction_queries(dataset, FIELD, **(options | arguments))


def truth_of(dataset, question):
    """What most of the question's region is."""
    true = np.load(dataset[question.sample_id].probabilities).argmax(0)
    return question.classes[np.bincount(true[question.region]).argmax()]


def answer_all(dataset, sitting, most=1000):
    number = 0
    while (question := sitting.question) is not None and number < most:
        sitting.correct(truth_of(dataset, question))
        number += 1
    assert sitting.flush() == []
    return number


def statuses(dataset):
    return {name: number for name, number in dataset.count_values(f"{QUERIES}.status").items() if name}


def corrected(dataset, sample_id):
    return read_mask_file(dataset[sample_id].ground_truth_corrected.mask_path)


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(6, wrong=(2, 4))


@pytest.fixture
def planned(dataset, tmp_path):
    plan(dataset, tmp_path / "run")
    return dataset


@pytest.fixture
def sitting(planned):
    sitting = open_sitting(planned, FIELD, sitting_id="a", reviewer="me")
    yield sitting
    sitting.close()


def test_a_plan_asks_about_the_wrong_labels_first(dataset, tmp_path):
    report = plan(dataset, tmp_path / "run", budget=6, audits=0.0)
    wrong = {sample.id for place, sample in enumerate(dataset) if place in (2, 4)}
    asked = [s.id for s in dataset for _ in s.ground_truth_queries.detections]
    assert report.num_queries == len(asked) == 6
    assert set(asked) == wrong
    assert report.reachable == 1.0
    assert set(report.by_class) == {"car"}
    first = next(d for s in dataset for d in s.ground_truth_queries.detections if d.rank == 0)
    assert (first.given, first.suggested, first.status, first.round) == ("car", "road", "pending", 1)
    assert first.area == int((read_mask_file(first.mask_path) > 0).sum())
    assert "6 questions about 2 images" in report.markdown()


def test_planning_leaves_the_labels_alone_and_copies_them(planned):
    for sample in planned:
        given, copy = read_mask_file(sample.ground_truth.mask_path), corrected(planned, sample.id)
        np.testing.assert_array_equal(given, copy)
        assert sample.ground_truth.mask_path != sample.ground_truth_corrected.mask_path
    assert planned.mask_targets["ground_truth_corrected"] == planned.mask_targets["ground_truth"]


def test_answers_repair_the_label_and_the_original_stays(planned, sitting):
    before = [Path(sample.ground_truth.mask_path).read_bytes() for sample in planned]
    assert answer_all(planned, sitting) == 20
    report = apply_corrections(planned, FIELD, progress=silent)
    assert [Path(sample.ground_truth.mask_path).read_bytes() for sample in planned] == before
    assert report.changes == {("car", "road"): report.num_repaired}
    assert report.num_repaired > 300
    assert report.num_changed == 2
    wrong = 0
    for sample in planned:
        true = np.load(sample.probabilities).argmax(0) + 1
        mask = corrected(planned, sample.id)
        wrong += int(((mask != true) & (mask != 255)).sum())
    before_wrong = 0
    for sample in planned:
        true = np.load(sample.probabilities).argmax(0) + 1
        mask = read_mask_file(sample.ground_truth.mask_path)
        before_wrong += int(((mask != true) & (mask != 255)).sum())
    assert wrong < 0.1 * before_wrong
    assert before_wrong - wrong > 0.9 * report.num_repaired
    progress = sitting.progress()
    assert (progress.answered, progress.pending) == (20, 0)
    assert progress.pixels_repaired == report.num_repaired
    assert statuses(planned) == {"confirmed": progress.confirmed, "corrected": progress.corrected}


def test_an_answer_says_who_and_when_and_for_how_long(planned, sitting):
    question = sitting.question
    sitting.correct("tree", seconds=3.5)
    detection = next(d for s in planned for d in s.ground_truth_queries.detections if d.id == question.query_id)
    assert (detection.status, detection.answer, detection.reviewer, detection.seconds) == (
        "corrected", "tree", "me", 3.5
    )  # fmt: skip
    assert detection.answered_at is not None
    [answer] = read_answers(planned, FIELD)
    assert (answer.given, answer.answer, answer.value, answer.sitting) == ("car", "tree", 3, "a")
    assert answer.repaired == int(question.region.sum())


def test_undo_takes_back_at_any_depth(planned, sitting):
    start = [question := sitting.question]
    for _ in range(3):
        sitting.correct("tree")
        start.append(question := sitting.question)
    for depth in (2, 1, 0):
        assert sitting.undo()
        assert sitting.question.query_id == start[depth].query_id
    assert not sitting.undo()
    assert "nothing to take back" in sitting.message
    sitting.flush()
    assert statuses(planned) == {"pending": 20}
    assert apply_corrections(planned, FIELD, progress=silent).num_repaired == 0
    assert len(read_answers(planned, FIELD)) == 6  # nothing is deleted from the record
    assert question is not None


def test_back_looks_without_changing_and_a_second_answer_replaces_the_first(planned, sitting):
    first = sitting.question
    sitting.correct("tree")
    second = sitting.question
    sitting.back()
    assert sitting.question.query_id == first.query_id
    assert sitting.question.answered == "tree"
    sitting.forward()
    assert sitting.question.query_id == second.query_id
    sitting.back()
    sitting.correct("road")
    assert sitting.question.query_id == second.query_id
    sitting.flush()
    [answer] = answers_that_count(read_answers(planned, FIELD))
    assert answer.answer == "road"
    mask = corrected(planned, first.sample_id)
    region = np.zeros(mask.shape, bool)
    region[first.window[0] : first.window[2], first.window[1] : first.window[3]] = first.region
    assert set(np.unique(mask[region])) == {1}


def test_a_sitting_goes_on_after_a_restart(planned, sitting):
    first = sitting.question
    sitting.correct("tree")
    second = sitting.question
    sitting.flush()
    answering._sittings.clear()  # as if the server had been started again
    again = open_sitting(planned, FIELD, sitting_id="a")
    assert again.question.query_id == second.query_id
    assert again.progress().answered == 1
    assert again.undo()
    assert again.question.query_id == first.query_id


def test_a_closed_sitting_gives_back_its_query_and_goes_on_when_opened_again(planned, sitting):
    first = sitting.question
    sitting.correct("tree")
    second = sitting.question
    sitting.close()
    sitting.close()
    other = open_sitting(planned, FIELD, sitting_id="b")
    assert other.question.query_id == second.query_id  # nobody has it any more
    again = open_sitting(planned, FIELD, sitting_id="a")
    assert again is not sitting
    assert again.undo()
    assert again.question.query_id == first.query_id
    again.correct("road")
    assert again.flush() == []


def test_two_sittings_never_answer_the_same_query(planned):
    sittings = [open_sitting(planned, FIELD, sitting_id=name) for name in "abcd"]
    failures = []

    def work(sitting):
        try:
            while sitting.question is not None:
                sitting.correct("tree")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(sitting,)) for sitting in sittings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for sitting in sittings:
        assert sitting.flush() == []
    assert failures == []
    found = read_answers(planned, FIELD)
    assert len(found) == len({answer.query_id for answer in found}) == 20
    run = open_correction(planned, FIELD)
    for sample in planned:
        mine = [a for a in found if a.sample_id == sample.id]
        mask = corrected(planned, sample.id)
        for answer in mine:  # nobody's answer was overwritten by another's
            top, left, bottom, right = answer.bbox
            assert (mask[top:bottom, left:right][answer.mask] == 3).all()
        assert str(derive(run, sample.id)) == planned[sample.id].ground_truth_corrected.mask_path


def test_a_taken_query_comes_back_after_a_while(planned, monkeypatch):
    first = open_sitting(planned, FIELD, sitting_id="a").question
    other = open_sitting(planned, FIELD, sitting_id="b")
    assert other.question.query_id != first.query_id
    monkeypatch.setattr(queries, "CLAIM_SECONDS", -1)
    third = open_sitting(planned, FIELD, sitting_id="c")
    assert third.question.query_id == first.query_id
    late = open_sitting(planned, FIELD, sitting_id="a")
    third.correct("tree")
    late.correct("road")  # too late: somebody else has answered it
    assert "Somebody else" in late.message
    [answer] = [a for a in read_answers(planned, FIELD) if a.query_id == first.query_id]
    assert answer.answer == "tree"


def test_whoever_refines_keeps_the_query(planned):
    first = open_sitting(planned, FIELD, sitting_id="a")
    question = first.question
    [query] = queries.find_queries(planned, "ground_truth_queries", [question.query_id])
    first.refine(3, 3, True)
    [renewed] = queries.find_queries(planned, "ground_truth_queries", [question.query_id])
    assert renewed.claimed_by == "a"
    assert renewed.claimed_at > query.claimed_at


def test_a_crash_after_the_record_loses_nothing(planned, sitting, monkeypatch):
    question = sitting.question

    def crash(*args, **kwargs):
        raise SystemError("power cut")

    monkeypatch.setattr(queries, "set_query_status", crash)
    with pytest.raises(SystemError):
        sitting.correct("tree")
    monkeypatch.undo()
    assert statuses(planned) == {"pending": 20}
    report = apply_corrections(planned, FIELD, progress=silent)
    assert report.num_repaired == int(question.region.sum())
    assert statuses(planned) == {"pending": 19, "corrected": 1}


def test_a_question_that_was_answered_before_a_crash_is_not_asked_again(planned, sitting, monkeypatch):
    question = sitting.question
    monkeypatch.setattr(queries, "set_query_status", lambda *args, **kwargs: (_ for _ in ()).throw(SystemError("cut")))
    with pytest.raises(SystemError):
        sitting.correct("tree")
    monkeypatch.undo()
    again = open_sitting(planned, FIELD, sitting_id="after the crash")
    assert again.question.query_id != question.query_id
    assert statuses(planned) == {"pending": 19, "corrected": 1}


def test_a_crash_between_writing_and_naming_leaves_the_old_file(planned, sitting, monkeypatch):
    from fiftyone_plugin.workflows.correcting import corrected_labels

    question = sitting.question
    old = planned[question.sample_id].ground_truth_corrected.mask_path
    run = open_correction(planned, FIELD)

    def crash(*args):
        raise SystemError("power cut")

    monkeypatch.setattr(corrected_labels, "_point_to", crash)
    sitting.correct("tree")
    assert sitting.flush() == ["power cut"]
    monkeypatch.undo()
    assert Path(old).is_file()
    assert planned[question.sample_id].ground_truth_corrected.mask_path == old
    apply_corrections(planned, FIELD, progress=silent)
    assert not Path(old).exists()
    assert len(list((run.folder / "corrected").glob("*.png"))) == len(planned)


def test_a_deleted_sample_is_passed_over(planned, sitting):
    question = sitting.question
    planned.delete_samples([question.sample_id])
    sitting.correct("tree")
    assert sitting.question.sample_id != question.sample_id
    assert answer_all(planned, sitting) > 0
    assert question.sample_id not in {answer.sample_id for answer in read_answers(planned, FIELD)}
    assert apply_corrections(planned, FIELD, progress=silent).gone == 0


def test_answers_about_deleted_samples_are_counted(planned, sitting):
    question = sitting.question
    sitting.correct("tree")
    sitting.flush()
    planned.delete_samples([question.sample_id])
    report = apply_corrections(planned, FIELD, progress=silent)
    assert report.gone == 1
    assert "images that were deleted" in report.markdown()


def edit(dataset, sample_id):
    path = dataset[sample_id].ground_truth.mask_path
    mask = np.array(Image.open(path))
    mask[-1] = 3
    Image.fromarray(mask).save(path)


def test_an_edited_label_is_noticed_and_the_choice_is_the_users(planned, sitting, tmp_path):
    question = sitting.question
    sitting.correct("tree")
    sitting.flush()
    kept = corrected(planned, question.sample_id)
    edit(planned, question.sample_id)
    report = apply_corrections(planned, FIELD, progress=silent)
    assert report.edited == [question.sample_id]
    assert 'on_edited="replay"' in report.markdown()
    np.testing.assert_array_equal(corrected(planned, question.sample_id), kept)
    with pytest.raises(LabelQualityError, match="edited since"):
        export_corrected_labels(planned, tmp_path / "out", FIELD)
    with pytest.raises(LabelQualityError, match="edited since"):
        plan(planned, tmp_path / "run")
    report = apply_corrections(planned, FIELD, on_edited="replay", progress=silent)
    assert report.edited == []
    now = corrected(planned, question.sample_id)
    assert (now[-1][~question.region[-1]] == 3).all()
    assert (now[question.region] == 3).all()


def test_answers_about_an_edited_label_can_be_taken_back(planned, sitting):
    question = sitting.question
    sitting.correct("tree")
    sitting.flush()
    edit(planned, question.sample_id)
    report = apply_corrections(planned, FIELD, on_edited="discard", progress=silent)
    assert report.discarded == 1
    assert report.num_repaired == 0
    assert statuses(planned) == {"pending": 20}


def test_a_question_about_an_edited_label_is_not_taken(planned, sitting):
    question = sitting.question
    edit(planned, question.sample_id)
    sitting.correct("tree")
    assert "was edited" in sitting.message
    assert read_answers(planned, FIELD) == []
    assert sitting.question.query_id != question.query_id


def test_a_class_that_is_added_midway_can_be_answered(planned, sitting):
    planned.mask_targets = {**planned.mask_targets, FIELD: {**planned.mask_targets[FIELD], 9: "bus"}}
    planned.save()
    sitting = open_sitting(planned, FIELD, sitting_id="a")
    question = sitting.question
    assert "bus" in question.alternatives
    sitting.correct("bus")
    assert sitting.flush() == []
    assert (corrected(planned, question.sample_id)[question.region] == 9).all()
    with pytest.raises(LabelQualityError, match="Expected one of the classes"):
        sitting.correct("zebra")


def test_the_next_round_does_not_ask_again(planned, sitting, tmp_path):
    asked = answer_all(planned, sitting)
    masks = [(a.sample_id, a.bbox, a.mask) for a in read_answers(planned, FIELD)]
    report = plan(planned, tmp_path / "run", budget=200, audits=0.0)
    assert report.round == 2
    assert report.num_answered == asked
    assert len(statuses(planned)) >= 2
    for sample in planned:
        covered = np.zeros((24, 32), bool)
        for sample_id, (top, left, bottom, right), mask in masks:
            if sample_id == sample.id:
                covered[top:bottom, left:right] |= mask
        for detection in sample.ground_truth_queries.detections:
            if detection.status == "pending":
                query = queries.find_queries(planned, "ground_truth_queries", [detection.id])[0]
                (top, left, bottom, right), mask = query.region((24, 32))
                assert (covered[top:bottom, left:right] & mask).sum() < 0.5 * mask.sum()


def test_a_sitting_takes_up_a_new_plan(planned, sitting, tmp_path):
    sitting.correct("tree")
    sitting.flush()
    assert len(find_label_changes(planned)) == 1
    plan(planned, tmp_path / "run", budget=5, audits=0.0)
    assert len(find_label_changes(planned)) == 1, "the run still owns what shows them"
    again = open_sitting(planned, FIELD, sitting_id="a")
    assert again.question.round == 2
    assert again.progress().pending == 5


def test_propagated_labels_never_lie_over_a_persons_answer(planned, sitting, tmp_path, monkeypatch):
    answer_all(planned, sitting)
    monkeypatch.setattr("fiftyone_plugin.workflows.correcting.propagation.CERTAIN", 0.5)
    assert plan(planned, tmp_path / "run", propagate=True).num_propagated == 0  # nothing bears it out
    assert planned.count_values(f"{FIELD}_queries.detections.trial")[True] == 2  # a tenth of the questions will tell
    assert len(open_sitting(planned, FIELD, sitting_id="b").progress().advice) > 0
    assert open_sitting(planned, FIELD, sitting_id="b").relabelled()[0] == 0
    report = plan(planned, tmp_path / "run", propagate=True)
    assert "wait to be relabelled. So that at most 10 % of them are wrong, 29 more answers" in report.markdown()
    monkeypatch.setattr(
        "fiftyone_plugin.workflows.correcting.propagation.trials_of", lambda *_: Trials(asked=46, right=45)
    )
    assert plan(planned, tmp_path / "run", propagate_wrong=0.05).num_propagated == 0, "45 of 46 do not promise that"
    report = plan(planned, tmp_path / "run", propagate=True)
    assert report.num_propagated > 0
    assert "At most 10 % of them are wrong, with 95 % confidence: of 46 such ones" in report.markdown()
    found = answers_that_count(read_answers(planned, FIELD))
    spread = [answer for answer in found if answer.source == PROPAGATED]
    assert len(spread) == report.num_propagated
    said = [answer for answer in found if answer.source != PROPAGATED]
    for answer in said:
        if answer.status == "corrected":
            top, left, bottom, right = answer.bbox
            mask = corrected(planned, answer.sample_id)
            assert (mask[top:bottom, left:right][answer.mask] == answer.value).all()
    assert open_sitting(planned, FIELD, sitting_id="c").relabelled()[0] == report.num_propagated
    assert relabelled_fields(planned) == [FIELD]
    undo_relabelled(planned, FIELD, progress=silent)
    left = answers_that_count(read_answers(planned, FIELD))
    assert sorted(a.key for a in left) == sorted(a.key for a in said)
    for answer in spread:
        top, left_end, bottom, right = answer.bbox
        mask, given = corrected(planned, answer.sample_id), read_mask_file(planned[answer.sample_id][FIELD].mask_path)
        assert (mask[top:bottom, left_end:right] == given[top:bottom, left_end:right])[answer.mask].all()
    assert relabelled_fields(planned) == []
    assert open_correction(planned, FIELD).record.parameters["propagate"] is False, "as the next round takes it over"


def test_audits_estimate_what_is_still_wrong(planned, tmp_path):
    plan(planned, tmp_path / "run", budget=60, audits=1.0)
    sitting = open_sitting(planned, FIELD, sitting_id="audit")
    wrong = total = 0
    for sample in planned:
        given = read_mask_file(sample.ground_truth.mask_path)
        true = np.load(sample.probabilities).argmax(0) + 1
        wrong += int(((given != true) & (given != 255)).sum())
        total += int((given != 255).sum())
    for _ in range(30):
        sitting.correct(truth_of(planned, sitting.question))
    progress = sitting.progress()
    left = wrong / total - progress.pixels_repaired / total
    assert progress.wrong_low <= left <= progress.wrong_high
    assert progress.wrong_low < progress.wrong_share < progress.wrong_high
    assert progress.bits_classification > 0


def test_skipping_changes_nothing(planned, sitting):
    sitting.skip()
    sitting.flush()
    assert statuses(planned) == {"pending": 19, "skipped": 1}
    assert apply_corrections(planned, FIELD, progress=silent).num_repaired == 0


def test_an_empty_queue_says_so(planned, sitting):
    answer_all(planned, sitting)
    assert sitting.question is None
    sitting.confirm()
    assert "no question" in sitting.message
    sitting.back()
    assert sitting.question.answered is not None


def test_only_one_sample_can_be_asked_about(planned):
    wanted = next(s.id for s in planned if len(s.ground_truth_queries.detections) > 1)
    number = len(planned[wanted].ground_truth_queries.detections)
    sitting = open_sitting(planned, FIELD, sitting_id="modal", sample_id=wanted)
    assert sitting.progress().pending == number
    seen = 0
    while sitting.question is not None:
        assert sitting.question.sample_id == wanted
        sitting.skip()
        seen += 1
    assert seen == number


def test_a_superpixel_of_one_pixel_can_be_asked_about(dataset, tmp_path):
    plan(dataset, tmp_path / "run", superpixel_size=1, budget=3, audits=0.0, acquisition="cil")
    sitting = open_sitting(dataset, FIELD, sitting_id="tiny")
    question = sitting.question
    assert question.region.sum() >= 1
    sitting.correct("tree")
    assert sitting.flush() == []
    assert (corrected(dataset, question.sample_id)[question.region] == 3).all()


@pytest.mark.parametrize("expansion", ["doubted", "similar"])
def test_a_question_can_be_about_the_part_that_is_doubted(make_dataset, tmp_path, expansion):
    dataset = make_dataset(6, wrong=(2, 4))
    options = {"superpixel_size": 400, "budget": 6, "audits": 0.0, "expansion": expansion, "acquisition": "sim"}
    plan(dataset, tmp_path / "run", **options)
    parts = 0
    for sample in dataset:
        true = np.load(sample.probabilities).argmax(0) + 1
        given = read_mask_file(sample.ground_truth.mask_path)
        for detection in sample.ground_truth_queries.detections:
            query = queries.find_queries(dataset, "ground_truth_queries", [detection.id])[0]
            (top, left, bottom, right), mask = query.region((24, 32))
            assert mask.any(0).all() or mask.any()
            assert mask[query.row - top, query.column - left]
            assert query.area == int(mask.sum())
            inside = true[top:bottom, left:right][mask]
            if inside[0] != given[top:bottom, left:right][mask][0]:
                parts += 1
                assert (inside == inside[0]).mean() > 0.9  # the rest of the superpixel, of another class, is left out
    assert parts > 0
    with pytest.raises(LabelQualityError, match="`expansion`"):
        plan(dataset, tmp_path / "run", expansion="all")


def test_an_object_that_every_segment_missed_is_asked_about_as_one(make_dataset, tmp_path):
    dataset = make_dataset(4, wrong=())
    for sample in dataset:
        probs = np.full((3, 24, 32), 0.02, np.float32)
        probs[0] = 0.96
        probs[:, 14:22, 20:30] = [[[0.02]], [[0.96]], [[0.02]]]  # a car on the road that no superpixel covers
        np.save(sample.probabilities, probs)
        label = np.ones((24, 32), np.uint8)
        Image.fromarray(label).save(sample.ground_truth.mask_path)
        segments = np.zeros((24, 32), np.uint16)
        segments[:12] = 1
        path = tmp_path / f"{sample.id}.png"
        Image.fromarray(segments).save(path)
        sample["segments"] = fo.Segmentation(mask_path=str(path))
        sample.save()
    options = {"superpixels": "segments", "budget": 4, "audits": 0.0, "superpixel_size": 300}
    plan(dataset, tmp_path / "run", missed_objects=True, **options)
    boxes = []
    for sample in dataset:
        for detection in sample.ground_truth_queries.detections:
            query = queries.find_queries(dataset, "ground_truth_queries", [detection.id])[0]
            boxes.append(query.region((24, 32))[0])
    assert boxes == [(14, 20, 22, 30)] * 4


def test_measured_times_decide_what_is_worth_asking(planned, sitting, tmp_path, monkeypatch):
    from fiftyone_plugin.workflows.correcting import query_planning

    for seconds in (2.0, 3.0, 4.0):
        sitting.correct("tree", seconds=seconds)
    seen = []
    original = query_planning.acquisition_values
    monkeypatch.setattr(
        query_planning, "acquisition_values", lambda *a, **k: seen.append(k["seconds"]) or original(*a, **k)
    )
    plan(planned, tmp_path / "run")
    [pace] = seen
    assert 3.0 < pace.correct < 4.48  # between what was measured and what is assumed before


def test_a_slip_is_asked_about_again_once(make_dataset, tmp_path):
    planned = make_dataset(10, wrong=(2, 4, 6))
    plan(planned, tmp_path / "run", budget=90, audits=0.0)
    sitting = open_sitting(planned, FIELD, sitting_id="slips")
    slip = None
    while (question := sitting.question) is not None:
        truth = truth_of(planned, question)
        if slip is None and truth == "road" and question.given == "car":
            slip = question
            sitting.correct("tree")
        else:
            sitting.correct(truth)
    sitting.flush()

    def asked_again(**options):
        plan(planned, tmp_path / "run", budget=200, audits=0.0, **options)
        shown = [
            queries.find_queries(planned, "ground_truth_queries", [d.id])[0]
            for d in planned[slip.sample_id].ground_truth_queries.detections
            if d.status == "pending"
        ]
        return [query for query in shown if (query.region((24, 32))[1].shape == slip_mask.shape)
                and query.given == "tree" and slip.region[query.row, query.column]]  # fmt: skip

    rows, columns = np.nonzero(slip.region)
    slip_mask = slip.region[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert asked_again(recheck=False) == []
    assert len(asked_again(recheck=True)) == 1
    again = open_sitting(planned, FIELD, sitting_id="again")
    while (question := again.question) is not None:
        again.correct(truth_of(planned, question))
    assert again.flush() == []
    assert (corrected(planned, slip.sample_id)[slip.region] == 1).all()


def test_where_people_differ_the_reliable_ones_count(make_dataset, tmp_path):
    planned = make_dataset(8, wrong=(2, 4))
    plan(planned, tmp_path / "run", budget=60, audits=0.0)
    ada = open_sitting(planned, FIELD, sitting_id="a", reviewer="ada")
    while (question := ada.question) is not None:
        ada.correct(truth_of(planned, question))
    said = read_answers(planned, FIELD)[::5]
    wrong = {1: ("tree", 3), 2: ("tree", 3), 3: ("road", 1)}
    add_answers(planned, [
        replace(one, query_id=f"bo-{one.query_id}", reviewer="bo", status="corrected", answer=wrong[one.value][0],
                value=wrong[one.value][1]) for one in said
    ])  # fmt: skip

    def spoilt():
        apply_corrections(planned, FIELD, progress=silent)
        parts = [(corrected(planned, a.sample_id)[a.bbox[0] : a.bbox[2], a.bbox[1] : a.bbox[3]], a) for a in said]
        return sum((part[a.mask] != a.value).mean() > 0.5 for part, a in parts)

    assert spoilt() == len(said) >= 8  # the newest answer counts
    report = plan(planned, tmp_path / "run", budget=5, audits=0.0)
    assert report.people["bo"].right.high < 0.6 < 0.9 < report.people["ada"].right.estimate
    assert "- bo: about" in report.markdown()
    assert spoilt() == 0
    agreed = sum(one.source == AGREED for one in read_answers(planned, FIELD, masks=False))
    plan(planned, tmp_path / "run", budget=5, audits=0.0)
    assert agreed == sum(one.source == AGREED for one in read_answers(planned, FIELD, masks=False)) == len(said)


def test_refining_changes_what_is_answered_about(planned, sitting):
    question = sitting.question
    rows, columns = np.nonzero(~question.region)
    sitting.refine(int(columns[0]), int(rows[0]), True)
    refined = sitting.question
    assert refined.refined
    assert refined.region[rows[0], columns[0]]
    assert refined.points == [(int(columns[0]), int(rows[0]), True)]
    sitting.unrefine()
    np.testing.assert_array_equal(sitting.question.region, question.region)
    sitting.refine(int(columns[0]), int(rows[0]), True)
    region = sitting.question.region
    sitting.correct("tree")
    assert sitting.flush() == []
    assert (corrected(planned, question.sample_id)[region] == 3).all()
    with pytest.raises(LabelQualityError, match="within 32 x 24"):
        sitting.refine(32, 0, True)


def test_masks_in_the_database_and_on_disk_give_the_same(make_dataset, tmp_path):
    found = []
    for store in ("path", "database"):
        dataset = make_dataset(6, wrong=(2, 4), store=store)
        plan(dataset, tmp_path / store)
        sitting = open_sitting(dataset, FIELD, sitting_id=store)
        answer_all(dataset, sitting)
        found.append([corrected(dataset, sample.id) for sample in dataset])
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


def test_rgb_masks_are_corrected_in_their_colours(make_dataset, tmp_path):
    dataset = make_dataset(6, wrong=(2, 4))
    colours = np.zeros((256, 3), np.uint8)
    colours[1], colours[2], colours[3], colours[255] = (128, 64, 128), (0, 0, 142), (107, 142, 35), (0, 0, 0)
    for sample in dataset:
        mask = np.array(Image.open(sample.ground_truth.mask_path))
        Image.fromarray(colours[mask]).save(sample.ground_truth.mask_path)
    dataset.mask_targets = {FIELD: {"#804080": "road", "#00008e": "car", "#6b8e23": "tree", "#000000": "void"}}
    dataset.save()
    mapping = {0: "road", 1: "car", 2: "tree"}
    plan(dataset, tmp_path / "run", class_mapping=mapping)
    sitting = open_sitting(dataset, FIELD, sitting_id="rgb")
    question = sitting.question
    sitting.correct("tree")
    assert sitting.flush() == []
    mask = corrected(dataset, question.sample_id)
    assert (mask[question.region] == (107, 142, 35)).all()


def test_export_as_pngs_and_in_a_format_of_fiftyone(planned, sitting, tmp_path):
    answer_all(planned, sitting)
    folder = export_corrected_labels(planned, tmp_path / "png", FIELD)
    assert sorted(path.name for path in folder.iterdir()) == [*(f"{number}.png" for number in range(6)), "classes.json"]
    for sample in planned:
        exported = read_mask_file(folder / f"{Path(sample.filepath).stem}.png")
        np.testing.assert_array_equal(exported, corrected(planned, sample.id))
    with pytest.raises(LabelQualityError, match="empty folder"):
        export_corrected_labels(planned, folder, FIELD)
    kind = fo.types.ImageSegmentationDirectory
    other = export_corrected_labels(planned, tmp_path / "fo", FIELD, dataset_type=kind)
    assert len(list((other / "labels").iterdir())) == len(list((other / "data").iterdir())) == 6


def test_hand_edits_come_back_as_answers(planned):
    name = begin_hand_edits(planned, FIELD)
    sample = planned.first()
    before = corrected(planned, sample.id)
    objects = {detection.label: detection for detection in sample[name].detections}
    assert set(objects) == {"road", "car", "tree"}
    car = objects["car"]
    rows, columns = np.nonzero(before == 2)
    mask = np.array(Image.open(car.mask_path)) > 0
    mask[:, 0] = False
    car.mask, car.mask_path = mask, None
    road = objects["road"]  # the road lies under the car now, where it was cut off
    box = road.bounding_box
    height, width = before.shape
    top, left = round(box[1] * height), round(box[0] * width)
    under = np.array(Image.open(road.mask_path)) > 0
    under[rows.min() - top : rows.max() + 1 - top, columns.min() - left] = True
    road.mask, road.mask_path = under, None
    sample.save()
    report = finish_hand_edits(planned, FIELD)
    assert report.num_answers == 1
    after = corrected(planned, sample.id)
    assert set(zip(*np.nonzero(after != before), strict=True)) == {
        (row, columns.min()) for row in range(rows.min(), rows.max() + 1)
    }
    assert (after[after != before] == 1).all()
    assert finish_hand_edits(planned, FIELD).num_answers == 0


def test_deleting_the_run_keeps_the_answers_for_the_next_plan(planned, sitting, tmp_path):
    answer_all(planned, sitting)
    repaired = apply_corrections(planned, FIELD, progress=silent).num_repaired
    folder = Path(open_correction(planned, FIELD).record.output_dir)
    delete_label_quality_run(planned, "ground_truth_correction")
    assert not folder.exists() or not list(folder.rglob("*.png"))
    assert not planned.has_field("ground_truth_queries")
    assert not planned.has_field("ground_truth_corrected")
    report = plan(planned, tmp_path / "run2", audits=0.0)
    assert report.num_answered == 20
    assert apply_corrections(planned, FIELD, progress=silent).num_repaired == repaired


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"acquisition": "best"}, "Expected `acquisition`"),
        ({"budget": 0}, "at least 1 question"),
        ({"superpixels": "nope"}, "Expected `superpixels`"),
        ({"probabilities": None}, "Expected one of `model`"),
    ],
)
def test_bad_arguments_change_nothing(dataset, tmp_path, arguments, message):
    with pytest.raises(LabelQualityError, match=message):
        plan(dataset, tmp_path / "run", **arguments)
    assert not dataset.has_field("ground_truth_queries")
    assert dataset.list_runs() == []


def test_a_field_without_queries_is_refused(dataset):
    with pytest.raises(LabelQualityError, match="being corrected"):
        open_sitting(dataset, FIELD, sitting_id="x")
    with pytest.raises(LabelQualityError, match="being corrected"):
        apply_corrections(dataset, FIELD)


def test_equal_arguments_use_what_was_predicted_before(planned, tmp_path):
    before = {path.name: os.stat(path).st_mtime_ns for path in (tmp_path / "run" / "candidates").iterdir()}
    plan(planned, tmp_path / "run", budget=7)
    after = {path.name: os.stat(path).st_mtime_ns for path in (tmp_path / "run" / "candidates").iterdir()}
    assert before == after


def test_a_large_image_is_shown_in_part(tmp_path):
    size = (1600, 2000)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / "big.png")
    mask = np.ones(size, np.uint8)
    mask[800:820, 1000:1040] = 2
    Image.fromarray(mask).save(tmp_path / "mask.png")
    probs = np.full((2, *size), 0.001, np.float32)
    probs[0] = 0.999
    np.save(tmp_path / "probs.npy", probs)
    dataset = fo.Dataset()
    label = fo.Segmentation(mask_path=str(tmp_path / "mask.png"))
    dataset.add_sample(
        fo.Sample(filepath=str(tmp_path / "big.png"), ground_truth=label, probabilities=str(tmp_path / "probs.npy"))
    )
    dataset.mask_targets = {FIELD: {1: "road", 2: "car"}}
    dataset.save()
    plan(dataset, tmp_path / "run", superpixel_size=40_000, budget=1, audits=0.0, acquisition="cil")
    question = open_sitting(dataset, FIELD, sitting_id="big").question
    height, width = question.window[2] - question.window[0], question.window[3] - question.window[1]
    assert question.image.shape[:2] == question.region.shape == question.labels.shape
    assert height * width < size[0] * size[1]
    assert question.given == "car"
    shown = np.zeros(size, bool)
    shown[question.window[0] : question.window[2], question.window[1] : question.window[3]] = question.region
    assert shown.any()
    assert (mask[shown] == 2).all()
    assert question.box[2] - question.box[0] <= 20
    dataset.delete()
