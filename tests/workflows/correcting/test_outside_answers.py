"""Accepted regions repair the corrected labels, and the next round is trained on them."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin import (
    apply_proposals,
    plan_correction_queries,
    review_regions,
    score_label_quality,
    show_regions,
    start_correction_round,
)
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.dataset.journals.answers import PROPOSAL, read_answers
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent


@pytest.fixture
def scored(make_dataset, tmp_path):
    dataset = make_dataset(6, wrong=(2, 4))
    score_label_quality(
        dataset, "ground_truth", probabilities="probabilities", output_dir=str(tmp_path / "score"), progress=silent,
        min_region_area=1,
    )  # fmt: skip
    return dataset


def corrected(sample):
    return read_mask_file(sample.ground_truth_corrected.mask_path)


def test_accepted_regions_become_their_suggested_class(scored, tmp_path):
    view = show_regions(scored, given="car", suggested="road")
    assert len(view) >= 2
    wanted = view.values("id")
    review_regions(scored, "accepted", label_ids=wanted)
    report = apply_proposals(scored, "label_quality", reviewer="me")
    assert report.num_answers == len(wanted)
    assert report.num_images == 2
    found = read_answers(scored, "ground_truth")
    assert {(a.source, a.given, a.answer, a.reviewer) for a in found} == {(PROPOSAL, "car", "road", "me")}
    for place, sample in enumerate(scored):
        given = read_mask_file(sample.ground_truth.mask_path)
        true = np.load(sample.probabilities).argmax(0) + 1
        now = corrected(sample)
        wrong, before = ((mask != true) & (given != 255) for mask in (now, given))
        assert wrong.sum() <= 0.05 * before.sum() if place in (2, 4) else (now == given).all()
    again = apply_proposals(scored, "label_quality")
    assert again.corrections.num_repaired == report.corrections.num_repaired
    planned = plan_correction_queries(
        scored, "ground_truth", probabilities="probabilities", budget=3, superpixel_size=60, progress=silent,
        output_dir=str(tmp_path / "plan"),
    )  # fmt: skip
    assert planned.num_answered > 0
    assert planned.people == {}, "who agrees with a proposal says nothing about answers to questions"
    back = review_regions(scored, "pending", label_ids=wanted)
    assert back.num_applied == len(wanted)
    assert "still in the corrected labels; apply label proposals again" in back.warnings[-1]
    assert apply_proposals(scored, "label_quality").corrections.num_repaired == 0
    assert review_regions(scored, "rejected", label_ids=wanted).num_applied == 0


def test_only_what_was_accepted_is_taken(scored):
    ids = show_regions(scored).values("id")
    review_regions(scored, "rejected", label_ids=ids)
    report = apply_proposals(scored, "label_quality", status="pending")
    assert report.num_answers == 0
    assert report.corrections.num_repaired == 0


def test_proposals_that_nobody_looked_at_lie_below_what_people_say(scored, tmp_path):
    from fiftyone_plugin import open_sitting
    from fiftyone_plugin.dataset.journals.answers import UNREVIEWED

    plan_correction_queries(
        scored, "ground_truth", probabilities="probabilities", budget=3, superpixel_size=60, audits=0.0,
        output_dir=str(tmp_path / "plan"), progress=silent, propagate=False,
    )  # fmt: skip
    sitting = open_sitting(scored, "ground_truth", sitting_id="me")
    question = sitting.question
    sitting.correct("tree")
    sitting.close()
    apply_proposals(scored, "label_quality", status="pending")
    assert UNREVIEWED in {answer.source for answer in read_answers(scored, "ground_truth")}
    mask = corrected(scored[question.sample_id])
    assert (mask[question.region] == 3).all()


def test_a_run_without_regions_is_refused(make_dataset):
    dataset = make_dataset(2)
    with pytest.raises(LabelQualityError, match="run with regions"):
        apply_proposals(dataset, "label_quality")
    with pytest.raises(LabelQualityError, match="`status`"):
        apply_proposals(dataset, "label_quality", status="rejected")


def test_a_round_trains_on_the_corrected_labels_and_plans_again(make_dataset, tmp_path):
    dataset = make_dataset(6, size=(32, 32), wrong=(2, 4))
    plan_correction_queries(
        dataset, "ground_truth", probabilities="probabilities", budget=5, superpixel_size=60, acquisition="sim",
        output_dir=str(tmp_path / "plan"), progress=silent, propagate=False,
    )  # fmt: skip
    training = {
        "folds": 2, "epochs": 1, "weights": None, "crop_size": 32, "batch_size": 2, "encoder": "mobilenet_v2",
        "architecture": "fpn", "output_dir": str(tmp_path / "train"), "device": "cpu",
    }  # fmt: skip
    report = start_correction_round(dataset, "ground_truth", budget=7, training=training, progress=silent)
    assert report.plan.round == 2
    assert report.plan.num_queries == 7
    assert report.model == "ground_truth_round_2"
    assert report.scoring.label_field == "ground_truth_corrected"
    assert dataset.count("ground_truth_corrected_quality") == 6
    assert dataset.count_values("ground_truth_queries.detections.status") == {"pending": 7}
    assert 0 <= report.mean_iou <= 1
    assert report.plan.acquisition.startswith("look-ahead")  # as in the round before
    assert "Trained `ground_truth_round_2`" in report.markdown()
