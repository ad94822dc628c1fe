"""A job works on the images that a person means, and says what to pass where there are none."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin import (
    LabelQualityError,
    apply_corrections,
    check_labels,
    export_label_issues,
    plan_correction_queries,
    review_regions,
    score_label_quality,
    show_regions,
    simulate_answers,
)
from fiftyone_plugin.dataset.door.instance_masks import instance_mask
from fiftyone_plugin.dataset.door.scan import require_label_field
from fiftyone_plugin.dataset.door.slices import images_of, samples_behind
from fiftyone_plugin.dataset.runs import run_records
from tests.panels.test_label_correction import Screen
from tests.panels.test_label_quality import Sitting


@pytest.fixture
def grouped(make_dataset):
    """A dataset of four groups: the slice `left` is right everywhere, `right` has one wrong label, in image 2."""
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    groups = [fo.Group() for _ in range(4)]
    for name, wrong in (("left", ()), ("right", (2,))):
        for number, sample in enumerate(make_dataset(4, wrong=wrong).iter_samples()):
            dataset.add_sample(
                fo.Sample(
                    sample.filepath,
                    group=groups[number].element(name),
                    ground_truth=fo.Segmentation(mask_path=sample.ground_truth.mask_path),
                    truth=fo.Segmentation(mask_path=sample.ground_truth.mask_path),
                    probabilities=sample.probabilities,
                    number=number,
                )
            )
    dataset.default_mask_targets = {1: "road", 2: "car", 3: "tree", 255: "void"}
    yield dataset
    dataset.delete()


def quiet(*_):
    """No bar."""


def names(view):
    return {sample.group.name for sample in view}


def test_a_slice_is_scored_reviewed_and_corrected_by_itself(grouped, tmp_path):
    right = grouped.select_group_slices("right")
    report = score_label_quality(right, probabilities="probabilities", progress=quiet)
    assert report.num_scored == 4
    worst = grouped.load_saved_view("label_quality worst")
    assert names(worst) == {"right"}
    assert worst.first().number == 2
    assert grouped.select_group_slices("left").count("label_quality") == 0
    found = show_regions(grouped)
    assert len(found) == len(show_regions(right)) == report.num_regions > 0
    assert review_regions(found.limit(1), "accepted").by_status["accepted"] == 1
    panel = Sitting(grouped)
    panel.pick("worst", at=worst.first().id)
    assert names(panel.view()) == {"right"}
    export_label_issues(grouped, tmp_path / "issues.csv", tag="fix me", statuses=None)
    assert names(grouped.select_group_slices(["left", "right"]).match_tags("fix me")) == {"right"}

    plan_correction_queries(right, probabilities="probabilities", budget=5, progress=quiet)
    screen = Screen(grouped)
    screen.answer()
    statuses = right.values("ground_truth_queries.detections.status", unwind=True)
    assert sum(status != "pending" for status in statuses) == 1
    simulate_answers(right, "ground_truth", "truth", progress=quiet)
    corrected = apply_corrections(grouped, progress=quiet)
    assert (corrected.num_images, sum(corrected.by_status.values())) == (4, 5)


def test_what_is_checked_of_a_slice_is_shown_of_it(grouped):
    right = grouped.select_group_slices("right")
    sample = right.first()
    Image.fromarray(np.ones((24, 32), np.uint8)).save(sample.ground_truth.mask_path)
    check_labels(right, progress=quiet)
    shown = grouped.load_saved_view("label_check constant_mask")
    assert [one.id for one in shown] == [sample.id]


def test_the_active_slice_stands_for_a_grouped_dataset(grouped):
    assert names(images_of(grouped)) == {"left"}
    grouped.group_slice = "right"
    assert names(images_of(grouped)) == {"right"}
    assert names(samples_behind(grouped.limit(1))) == {"left", "right"}


def test_dynamic_groups_of_a_slice_are_its_members(grouped):
    for view in (grouped.select_group_slices("right"), grouped):
        slices = {"right"} if view is not grouped else {"left"}
        found = images_of(view.group_by("number"))
        assert (names(found), len(found)) == (slices, 4)


def test_files_that_are_no_images_to_fiftyone_say_what_to_do(tmp_path):
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(str(tmp_path / "scan.dcm")))
    with pytest.raises(LabelQualityError, match=r"scan.dcm for images; write them as PNG or TIFF"):
        images_of(dataset)
    dataset.delete()


def test_dynamic_groups_are_taken_as_their_members(make_dataset):
    dataset = make_dataset(4)
    dataset.set_values("scene", ["a", "a", "b", "b"])
    view = dataset.group_by("scene")
    assert score_label_quality(view, probabilities="probabilities", progress=quiet).num_scored == 4


def video(tmp_path):
    path = tmp_path / "v.mp4"
    path.touch()
    sample = fo.Sample(str(path))
    truth = np.ones((24, 32), np.uint8)
    truth[8:16, 8:24] = 2
    for number in (1, 2, 3):
        given = truth if number < 3 else np.ones_like(truth)
        predictions = fo.Segmentation(mask=truth) if number > 1 else None
        sample.frames[number] = fo.Frame(ground_truth=fo.Segmentation(mask=given), predictions=predictions)
    dataset = fo.Dataset()
    dataset.media_type = "video"
    dataset.add_sample(sample)
    return dataset


def test_labels_of_frames_are_compared_frame_by_frame(tmp_path):
    from fiftyone_plugin.workflows.scoring.evaluation import label_agreement

    dataset = video(tmp_path)
    found = label_agreement(dataset, "frames.ground_truth", "frames.predictions", eval_key="ev")
    assert found.num_images == 2
    (scores,) = dataset.values("frames.ev_label_softmin")
    assert scores[0] is None
    assert scores[1] > scores[2]
    assert dataset.first().ev_label_regions == 0.5
    dataset.delete()


def test_what_cannot_be_worked_on_says_what_to_pass(make_dataset, tmp_path):
    dataset = make_dataset(2)
    box = {"label": "a", "bounding_box": [0, 0, 1, 1]}
    dataset.set_values("objects", [fo.Detections(detections=[fo.Detection(**box)]) for _ in range(2)])
    videos = video(tmp_path)
    clips = videos.to_clips([[(1, 2)]])
    for samples, way_out in (
        (dataset.to_patches("objects"), r"dataset\.select\(patches\.values\('sample_id'\)\)"),
        (videos, r"got videos.*samples\.to_frames\(sample_frames=True\)\.clone\(\)"),
        (clips, r"got clips of videos.*samples\.to_frames\(sample_frames=True\)\.clone\(\)"),
    ):
        with pytest.raises(LabelQualityError, match=way_out):
            images_of(samples)
    videos.delete()


@pytest.mark.parametrize("shape", [(3, 0), (0, 0), (0, 4)])
def test_an_object_without_pixels_paints_nothing(shape):
    nothing = SimpleNamespace(mask=np.zeros(shape, bool), mask_path=None, bounding_box=[0.5, 0.25, 0, 0.5])
    assert not instance_mask(nothing, (8, 8)).any()


def test_what_another_process_wrote_is_there_at_once(make_dataset):
    dataset = make_dataset(2)
    assert run_records.list_runs(dataset) == []
    there = (
        "import fiftyone as fo; from fiftyone_plugin import score_label_quality; "
        f"dataset = fo.load_dataset({dataset.name!r}); dataset.clone_sample_field('ground_truth', 'copied'); "
        "score_label_quality(dataset, probabilities='probabilities')"
    )
    subprocess.run([sys.executable, "-c", there], check=True, capture_output=True)
    assert run_records.find_run(dataset, "label_quality") is not None
    assert dataset.has_field("label_quality")
    assert require_label_field(dataset, "copied") is not None
