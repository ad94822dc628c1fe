"""What somebody does to a run in FiftyOne, in the database or on disk leaves nothing stuck and nothing unsaid."""

from __future__ import annotations

import fiftyone as fo
import pytest

import fiftyone_plugin as lq
from fiftyone_plugin.dataset.runs import run_records
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.written_files import LIST, MARKER
from tests.faults.harness import _answer, _plan, _score

KEY, CORRECTION = "label_quality", "ground_truth_correction"
OTHERS = {"id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "ground_truth", "probabilities"}


def left_of(scene, dataset=None):
    dataset = dataset or scene.dataset
    files = [path for name in ("score", "correction") for path in (scene.root / name).rglob("*") if path.is_file()]
    return set(dataset.get_field_schema()) - OTHERS, dataset.list_saved_views(), dataset.list_runs(), files


NOTHING = (set(), [], [], [])


def test_a_run_that_fiftyone_deleted_is_taken_away_or_made_again_under_its_key(scene):
    _score(scene)
    scene.dataset.delete_run(KEY)
    assert [(run.key, run.finished) for run in lq.list_label_quality_runs(scene.dataset)] == [(KEY, False)]
    lq.delete_label_quality_run(scene.dataset, KEY)
    assert left_of(scene) == NOTHING
    assert lq.list_label_quality_runs(scene.dataset) == []
    _score(scene)
    before = left_of(scene)[:3]
    scene.dataset.delete_runs()
    _score(scene)
    assert left_of(scene)[:3] == before
    lq.delete_label_quality_run(scene.dataset, KEY)
    assert left_of(scene) == NOTHING


def test_a_correction_that_fiftyone_deleted_goes_on_with_its_answers(scene):
    _plan(scene)
    _answer(scene)
    scene.dataset.delete_run(CORRECTION)
    with pytest.raises(LabelQualityError, match="plan_correction_queries"):
        lq.apply_corrections(scene.dataset, "ground_truth")
    _plan(scene)
    assert scene.dataset.count_values("ground_truth_queries.detections.status")["corrected"] == 6
    scene.dataset.delete_run(CORRECTION)
    lq.delete_label_quality_run(scene.dataset, CORRECTION)
    assert left_of(scene) == NOTHING


def test_a_clones_run_that_fiftyone_deleted_takes_nothing_from_the_original(scene):
    _score(scene)
    before, clone = left_of(scene), scene.dataset.clone()
    clone.delete_run(KEY)
    lq.delete_label_quality_run(clone, KEY)
    assert left_of(scene, clone)[:3] == NOTHING[:3]
    assert left_of(scene) == before
    clone.add_sample_field(KEY, fo.FloatField)  # of the person; the original's run is no run of this one any more
    with pytest.raises(LabelQualityError, match="delete_sample_fields"):
        run_records.require_free_key(clone, KEY, [KEY], overwrite=True, method=run_records.SCORING)
    clone.delete()


def test_a_renamed_run_answers_to_both_names(scene):
    _score(scene)
    scene.dataset.rename_run(KEY, "mine")
    assert lq.load_report(scene.dataset, "mine") == lq.load_report(scene.dataset, KEY)
    for key in (KEY, "mine"):
        with pytest.raises(LabelQualityError, match="free `key`"):
            _score(scene, key=key)
    _score(scene, overwrite=True)
    assert scene.dataset.list_runs() == ["mine"]
    assert lq.delete_label_quality_run(scene.dataset, "mine").key == KEY
    assert left_of(scene) == NOTHING


def test_fields_and_views_that_were_deleted_by_hand_are_missed_in_words(scene):
    _score(scene)
    dataset = scene.dataset
    for name in dataset.list_saved_views():
        dataset.delete_saved_view(name)
    dataset.delete_sample_fields([f"{KEY}_num_regions", f"{KEY}_map"])
    lq.rescore_regions(dataset)
    lq.write_report(dataset, scene.root / "report.html")
    dataset.delete_sample_fields([KEY, f"{KEY}_regions"])
    for call in (
        lambda: lq.show_regions(dataset),
        lambda: lq.rescore_regions(dataset),
        lambda: lq.export_label_issues(dataset, scene.root / "issues.csv"),
        lambda: lq.write_report(dataset, scene.root / "report.html"),
    ):
        with pytest.raises(LabelQualityError):
            call()
    assert lq.dataset_status(dataset).steps
    dataset.add_sample_field(f"{KEY}_note", fo.StringField)
    _score(scene, overwrite=True)
    lq.delete_label_quality_run(dataset, KEY)
    assert left_of(scene) == ({f"{KEY}_note"}, [], [], [])


@pytest.mark.parametrize("name", [MARKER, LIST])
@pytest.mark.parametrize("content", [None, b"", b"[1]", b"\x00\xff garbage\n../../x\n"])
def test_a_folder_whose_own_account_was_destroyed_is_named(scene, name, content):
    _score(scene, write_map=False)
    path = scene.root / "score" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    [said] = lq.delete_label_quality_run(scene.dataset, KEY).left
    assert str(path.parent) in said
    assert f"{sum(one.is_file() for one in path.parent.rglob('*'))} files" in said
    assert (MARKER if name == MARKER else LIST) in said
    assert left_of(scene)[:3] == NOTHING[:3]


def test_a_destroyed_folder_of_a_replaced_run_is_named_when_the_run_goes(scene):
    _score(scene)
    (scene.root / "score" / MARKER).write_bytes(b"")
    _score(scene, overwrite=True)
    [said] = lq.delete_label_quality_run(scene.dataset, KEY).left
    assert f"{scene.root / 'score'} was kept" in said


def test_regions_that_share_an_id_are_told_of(scene):
    _score(scene)
    samples = scene.dataset._sample_collection
    regions = samples.find_one({f"{KEY}_regions.detections.0": {"$exists": True}})[f"{KEY}_regions"]
    samples.update_many({}, {"$set": {f"{KEY}_regions": regions}})
    with pytest.raises(LabelQualityError, match="copied with their labels"):
        lq.show_regions(scene.dataset)
