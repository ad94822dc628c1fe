"""Correction where it is awkward: views, clones, groups, interruptions, edits, and several people at once."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin import (
    apply_corrections,
    apply_proposals,
    begin_hand_edits,
    delete_label_quality_run,
    export_corrected_labels,
    finish_hand_edits,
    open_sitting,
    plan_correction_queries,
    review_regions,
    score_label_quality,
    show_regions,
)
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.dataset.journals.answers import PROPAGATED, Answer, add_answers, answers_that_count, read_answers
from fiftyone_plugin.dataset.runs import files
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.correcting import query_planning
from fiftyone_plugin.workflows.correcting.corrected_labels import _file_names, derive
from fiftyone_plugin.workflows.correcting.correction_run import open_correction

FIELD = "ground_truth"
QUERIES = "ground_truth_queries.detections"


def plan(dataset, folder, **arguments):
    options = {
        "probabilities": "probabilities",
        "budget": 20,
        "superpixel_size": 40,
        "output_dir": str(folder),
        "progress": silent,
        "propagate": False,
    }
    return plan_correction_queries(dataset, FIELD, **options | arguments)


def corrected(dataset, sample_id):
    return read_mask_file(dataset[sample_id].ground_truth_corrected.mask_path)


def statuses(dataset):
    return {n: k for n, k in dataset.count_values(f"{QUERIES}.status").items() if n}


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


def edit(dataset, sample_id):
    path = dataset[sample_id].ground_truth.mask_path
    mask = np.array(Image.open(path))
    mask[-1] = 3
    Image.fromarray(mask).save(path)


def test_extra_channels(dataset, tmp_path):
    for s in dataset:
        p = np.load(s.probabilities)
        q = np.full((5, *p.shape[1:]), 0.0001, np.float32)
        q[:3] = p
        q /= q.sum(0)
        np.save(s.probabilities, q)
    plan(dataset, tmp_path / "run", class_mapping={0: "road", 1: "car", 2: "tree"})
    s = open_sitting(dataset, FIELD, sitting_id="x")
    assert s.question is not None
    assert set(s.question.classes) >= {"road", "car", "tree"}


def test_extra_channels_no_targets(dataset, tmp_path):
    dataset.mask_targets = {}
    dataset.save()
    for s in dataset:
        p = np.load(s.probabilities)
        q = np.full((4, *p.shape[1:]), 0.0001, np.float32)
        q[:3] = p
        q /= q.sum(0)
        np.save(s.probabilities, q)
    plan(dataset, tmp_path / "run", class_mapping={0: 1, 1: 2, 2: 3})
    s = open_sitting(dataset, FIELD, sitting_id="x")
    assert all("channel" not in name for name in s.question.alternatives)


def test_view_without_targets(dataset, tmp_path):
    dataset.mask_targets = {}
    dataset.save()
    ids = dataset.values("id")
    m = np.array(Image.open(dataset[ids[0]].ground_truth.mask_path))
    m[m == 3] = 1
    Image.fromarray(m).save(dataset[ids[0]].ground_truth.mask_path)
    for i in ids:
        p = np.load(dataset[i].probabilities)
    plan(dataset, tmp_path / "run")
    for i in ids[:1]:
        p = np.load(dataset[i].probabilities)
        q = p[:2] + 0
        q[0] += p[2]
        np.save(dataset[i].probabilities, q)
    plan(dataset.select(ids[:1]), tmp_path / "run")
    apply_corrections(dataset, FIELD, progress=silent)


def test_propagated_outside_view_withdrawn(dataset, tmp_path):
    plan(dataset, tmp_path / "run")
    ids = dataset.values("id")
    run = open_correction(dataset, FIELD)
    m = np.zeros((2, 2), bool)
    m[:] = True
    add_answers(
        dataset,
        [
            Answer(
                FIELD,
                ids[4],
                "propagated-1",
                "corrected",
                "car",
                "tree",
                3,
                (5, 5, 7, 7),
                (24, 32),
                m,
                source=PROPAGATED,
            )
        ],
    )
    derive(run, ids[4])
    before = corrected(dataset, ids[4])
    plan(dataset.select(ids[:1]), tmp_path / "run")
    found = answers_that_count(read_answers(dataset, FIELD))
    stale = not np.array_equal(before, corrected(dataset, ids[4]))
    assert [a for a in found if a.source == PROPAGATED], f"withdrawn; corrected mask brought up to date: {stale}"


def test_clone_apply_deletes_original(planned, sitting):
    q = sitting.question
    clone = planned.clone()
    try:
        sitting.correct("tree")
        sitting.flush()
        with contextlib.suppress(LabelQualityError):
            apply_corrections(clone, FIELD, progress=silent)
        planned.reload()
        assert Path(planned[q.sample_id].ground_truth_corrected.mask_path).is_file(), (
            "original's corrected label deleted by clone's apply"
        )
    finally:
        clone.delete()


def test_stale_digests_after_replay(planned, sitting):
    first = sitting.question
    edit(planned, first.sample_id)
    apply_corrections(planned, FIELD, on_edited="replay", progress=silent)
    again = open_sitting(planned, FIELD, sitting_id="a")
    again.correct("tree")
    assert again.flush() == []
    assert "edited" not in again.message, again.message
    assert len(read_answers(planned, FIELD)) == 1


def test_refused_question_is_lost(planned, sitting):
    first = sitting.question
    edit(planned, first.sample_id)
    sitting.correct("tree")
    apply_corrections(planned, FIELD, on_edited="replay", progress=silent)
    assert statuses(planned) == {"pending": 20}, statuses(planned)


def test_unreadable_drive_skips_all(planned, tmp_path):
    folder = Path(planned.first().filepath).parent
    folder.rename(folder.with_name("away"))
    s = open_sitting(planned, FIELD, sitting_id="z")
    assert s.question is None
    folder.with_name("away").rename(folder)
    assert statuses(planned) == {"pending": 20}, statuses(planned)


def test_label_removed(planned, sitting):
    q = sitting.question
    sample = planned[q.sample_id]
    sample.ground_truth = None
    sample.save()
    sitting.correct("tree")


def test_label_removed_apply(planned, sitting):
    sample = planned.first()
    sample.ground_truth = None
    sample.save()
    apply_corrections(planned, FIELD, progress=silent)


def test_interrupted_first_plan(dataset, tmp_path, monkeypatch):

    def crash(*a, **k):
        raise SystemError("power cut")

    monkeypatch.setattr(query_planning, "write_all", crash)
    with pytest.raises(SystemError):
        plan(dataset, tmp_path / "run")
    monkeypatch.undo()
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "candidates").glob("*")}
    plan(dataset, tmp_path / "run")
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "candidates").glob("*")}
    assert before == after


def test_interrupted_prediction_first_plan(dataset, tmp_path, monkeypatch):

    def crash(*a, **k):
        raise SystemError("power cut")

    monkeypatch.setattr(query_planning, "propagate_answers", crash)
    with pytest.raises(SystemError):
        plan(dataset, tmp_path / "run")
    monkeypatch.undo()
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "candidates").glob("*")}
    plan(dataset, tmp_path / "run")
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "candidates").glob("*")}
    assert before == after


def test_same_file_two_threads(tmp_path):
    failures = []

    def work():
        try:
            for _ in range(200):
                files.write_bytes(tmp_path / "x.png", b"x" * 100000)
        except Exception as e:
            failures.append(e)

    ts = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in ts]
    [t.join() for t in ts]
    assert failures == []


def test_grouped(make_dataset, tmp_path):
    flat = make_dataset(6, wrong=(2, 4))
    ds = fo.Dataset()
    ds.add_group_field("group", default="left")
    samples = []
    for _n, s in enumerate(flat):
        g = fo.Group()
        for side in ("left", "right"):
            samples.append(  # noqa: PERF401
                fo.Sample(
                    filepath=s.filepath,
                    group=g.element(side),
                    probabilities=s.probabilities,
                    ground_truth=fo.Segmentation(mask_path=s.ground_truth.mask_path),
                )
            )
    ds.add_samples(samples, progress=False)
    ds.mask_targets = {FIELD: flat.mask_targets[FIELD]}
    ds.save()
    right = ds.select_group_slices("right")
    plan(right, tmp_path / "run")
    s = open_sitting(right, FIELD, sitting_id="g")
    s.correct("tree")
    assert s.flush() == []
    apply_corrections(right, FIELD, progress=silent)
    pass
    missing = [p for p in right.values("ground_truth_corrected.mask_path") if not Path(p).is_file()]
    assert not missing, f"{len(missing)} corrected masks deleted"
    ds.delete()


def test_export_names():
    names = _file_names(["/d/a.jpg", "/d/a.png", "/d/b.jpg"])
    assert len(set(names)) == 3, names


def test_export_coco(planned, sitting, tmp_path):
    sitting.correct("tree")
    sitting.flush()
    export_corrected_labels(planned, tmp_path / "o", FIELD, dataset_type=fo.types.COCODetectionDataset)
    import json

    assert json.loads((tmp_path / "o" / "labels.json").read_text())["annotations"]


def test_hand_edits_revert_answers(planned, sitting):
    begin_hand_edits(planned, FIELD)
    q = sitting.question
    sitting.correct("tree")
    sitting.flush()
    report = finish_hand_edits(planned, FIELD)
    assert (corrected(planned, q.sample_id)[q.region] == 3).all(), f"{report.num_answers} answers revert it"


def test_hand_edits_500(make_dataset, tmp_path, monkeypatch):
    from fiftyone_plugin.workflows.correcting import outside_answers

    monkeypatch.setattr(outside_answers, "MOST_OBJECTS", 2)
    ds = make_dataset(2, wrong=())
    ds.mask_targets = {FIELD: {0: "background", **ds.mask_targets[FIELD]}}
    ds.save()
    begin_hand_edits(ds, FIELD)
    report = finish_hand_edits(ds, FIELD)
    assert report.num_answers == 0, f"{report.num_answers}, {report.corrections.changes}"


def test_reapplied_proposals(make_dataset, tmp_path):
    ds = make_dataset(6, wrong=(2, 4))
    score_label_quality(
        ds, FIELD, probabilities="probabilities", output_dir=str(tmp_path / "score"), progress=silent, min_region_area=1
    )
    ids = show_regions(ds, given="car", suggested="road").values("id")
    review_regions(ds, "accepted", label_ids=ids)
    apply_proposals(ds, "label_quality")
    plan(ds, tmp_path / "run", acquisition="random", budget=200, audits=0.0, superpixel_size=60)
    [a] = [a for a in read_answers(ds, FIELD)][:1]
    begin_hand_edits(ds, FIELD)
    mask = a.mask
    add_answers(
        ds,
        [
            Answer(
                FIELD, a.sample_id, "edit-x", "corrected", "road", "tree", 3, a.bbox, a.shape, mask, source="hand_edit"
            )
        ],
    )
    derive(open_correction(ds, FIELD), a.sample_id)
    top, left, bottom, right = a.bbox
    assert (corrected(ds, a.sample_id)[top:bottom, left:right][mask] == 3).all()
    apply_proposals(ds, "label_quality")
    assert (corrected(ds, a.sample_id)[top:bottom, left:right][mask] == 3).all(), (
        "the old proposal lies over the later edit"
    )


def test_forward_stuck(planned):
    s = open_sitting(planned, FIELD, sitting_id="f")
    seen = []
    while len(set(seen)) < 2 and s.question is not None:
        seen.append(s.question.sample_id)
        s.skip()
    open_q = s.question.query_id
    for _ in seen:
        s.back()
    planned.delete_samples([seen[-1]])
    for _ in range(30):
        s.forward()
    assert s.question is None or s.question.query_id == open_q or s._place is None, s._place


def test_undo_after_delete(planned, sitting):
    sitting.correct("tree")
    sitting.flush()
    delete_label_quality_run(planned, "ground_truth_correction")
    sitting.undo()
    sitting.flush()
    n = planned._sample_collection.count_documents({"ground_truth_corrected": {"$exists": True}})
    assert n == 0, f"{n} documents have an undeclared field"
    planned.first()


def test_negative_ignore(make_dataset, tmp_path):
    ds = make_dataset(6, wrong=(2, 4), store="database")
    for s in ds:
        m = s.ground_truth.mask.astype(np.int16)
        m[m == 255] = -1
        s.ground_truth.mask = m
        s.save()
    ds.mask_targets = {FIELD: {1: "road", 2: "car", 3: "tree"}}
    ds.save()
    plan(ds, tmp_path / "run", ignore_index=-1)
    apply_corrections(ds, FIELD, progress=silent)


def test_big_values(make_dataset, tmp_path):
    ds = make_dataset(6, wrong=(2, 4), store="database")
    for s in ds:
        m = s.ground_truth.mask.astype(np.int32)
        m[m == 3] = 70000
        s.ground_truth.mask = m
        s.save()
    ds.mask_targets = {FIELD: {1: "road", 2: "car", 70000: "tree"}}
    ds.save()
    try:
        plan(ds, tmp_path / "run")
    except LabelQualityError:
        pass
        return
    assert 70000 in np.unique(corrected(ds, ds.first().id))


def test_db_superpixels(dataset, tmp_path):
    for s in dataset:
        sp = np.ones((24, 32), np.uint8)
        sp[:, 16:] = 2
        s["sp"] = fo.Segmentation(mask=sp)
        s.save()
    with pytest.raises(LabelQualityError, match="as files"):
        plan(dataset, tmp_path / "run", superpixels="sp", budget=1000, audits=0.0)


def test_discard_then_other_answers_then_undo(planned, sitting):
    q = sitting.question
    sitting.correct("tree")
    sitting.flush()
    edit(planned, q.sample_id)
    apply_corrections(planned, FIELD, on_edited="discard", progress=silent)
    other = open_sitting(planned, FIELD, sitting_id="b")
    while other.question.query_id != q.query_id:
        other.skip()
    other.correct("road")
    a = open_sitting(planned, FIELD, sitting_id="a")
    a.undo()
    mine = [x for x in answers_that_count(read_answers(planned, FIELD)) if x.query_id == q.query_id]
    assert [x.sitting for x in mine] == ["b"]


def test_back_on_edited(planned, sitting):
    q = sitting.question
    sitting.correct("tree")
    sitting.flush()
    edit(planned, q.sample_id)
    sitting.back()
    sitting.correct("road")
    pass
    assert sitting.flush() == []


def test_modal_and_grid_share_id(planned):
    wanted = [s.id for s in planned if len(s.ground_truth_queries.detections) > 1]
    grid = open_sitting(planned, FIELD, sitting_id="t")
    first = grid.question
    grid.correct("tree")
    other = next(w for w in wanted if w != first.sample_id)
    modal = open_sitting(planned, FIELD, sitting_id="t", sample_id=other)
    modal.undo()
    assert modal.question is None or modal.question.sample_id == other


def test_round_after_delete(planned, sitting, tmp_path):
    while sitting.question:
        sitting.correct("tree")
    sitting.flush()
    delete_label_quality_run(planned, "ground_truth_correction")
    rep = plan(planned, tmp_path / "run2", audits=1.0)
    assert rep.round == 2
