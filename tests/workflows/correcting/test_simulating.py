"""A simulated annotator answers through the same sittings as a person, and repairs what is wrong."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_plugin import plan_correction_queries, simulate_answers
from fiftyone_plugin.correction.answers.annotators import HonestAnnotator
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.dataset.journals.answers import read_answers
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent


@pytest.fixture
def planned(make_dataset, tmp_path):
    dataset = make_dataset(6, wrong=(2, 4))
    for sample in dataset:
        true = np.load(sample.probabilities).argmax(0).astype(np.uint8) + 1
        sample["truth"] = fo.Segmentation(mask=true)
        sample.save()
    plan_correction_queries(
        dataset, "ground_truth", probabilities="probabilities", budget=14, superpixel_size=60, audits=0.0,
        output_dir=str(tmp_path / "plan"), progress=silent, propagate=False,
    )  # fmt: skip
    return dataset


def wrong_pixels(dataset, field):
    total = 0
    for sample in dataset:
        mask = read_mask_file(sample[field].mask_path)
        total += int(((mask != sample.truth.mask) & (mask != 255)).sum())
    return total


def test_honest_answers_repair_most_of_it(planned):
    before = wrong_pixels(planned, "ground_truth")
    done = simulate_answers(planned, "ground_truth", "truth", progress=silent)
    assert (done.answered, done.pending) == (14, 0)
    assert wrong_pixels(planned, "ground_truth_corrected") < 0.25 * before
    assert {answer.sitting for answer in read_answers(planned, "ground_truth")} == {"simulated"}


def test_cut_regions_are_what_is_painted(planned):
    person = HonestAnnotator(3, refine=True, pure=1.0, spill=0)
    done = simulate_answers(planned, "ground_truth", "truth", annotator=person, most=5, progress=silent)
    assert (done.answered, done.pending) == (5, 9)
    for answer in read_answers(planned, "ground_truth"):
        if answer.status == "corrected":
            top, left, bottom, right = answer.bbox
            true = planned[answer.sample_id].truth.mask[top:bottom, left:right][answer.mask]
            assert (true == answer.value).all()


def test_a_field_without_truth_is_refused(planned):
    with pytest.raises(LabelQualityError, match="no 'nothing'"):
        simulate_answers(planned, "ground_truth", "nothing", progress=silent)
