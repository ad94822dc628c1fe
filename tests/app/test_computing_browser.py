"""Everything that computes, computes in the App: a person presses each button and reads what it says."""

from __future__ import annotations

import pytest

from fiftyone_plugin import open_sitting
from fiftyone_plugin.models.foundation.random_checkpoints import save_random_detector, save_random_sam
from fiftyone_plugin.workflows.starting.sam_embeddings import known_embeddings

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

NETWORK = "A whole network per fold"
TINY = {"Encoder": "tu-mobilenetv3_small_050", "Encoder weights": "none", "Epochs": 1}
WRITTEN = (
    "cross_validation_fold", "label_quality", "superpixels.id", "pseudo_labels.id", "noise_robust_labels.id",
    "ground_truth_round_2_fold",
)  # fmt: skip


def test_from_training_to_the_next_round(person, make_dataset, tmp_path):
    dataset = make_dataset(10, wrong=(2, 5))
    detector = save_random_detector(tmp_path / "detector", ["road", "car", "tree"])
    sam = save_random_sam(tmp_path / "sam.pth")
    named = {"Classes": "road, car, tree", "Detector": detector, "SAM checkpoint": sam, "Box threshold": 0.05}
    person.open(dataset)
    person.execute("Train with cross-validation", {**TINY, "Folds": 2}, "2 models trained on 10 images", choose=NETWORK)
    person.execute("Score labels", {}, "10 images scored")
    person.execute("Train on noisy labels", TINY, "Trained for 1 epoch on 10 images")
    person.execute("Compute superpixels", {"Size": 60}, "10 images have superpixels")
    person.execute("Generate pseudo labels", named, "10 images have pseudo labels")
    person.execute("Precompute SAM embeddings", {"SAM checkpoint": sam}, "10 images have a SAM embedding")
    person.execute("Plan correction queries", {"Questions": 8}, "Round 1: 8 questions")
    sitting = open_sitting(dataset, "ground_truth", sitting_id="person")
    sitting.confirm()
    sitting.close()
    person.open(dataset)
    person.execute(
        "Start the next correction round", {**TINY, "Folds": 2, "Questions": 8}, "Round 2: 8 questions",
        choose=NETWORK, button="start_correction_round",
    )  # fmt: skip
    dataset.reload()
    assert {name: dataset.count(name) for name in WRITTEN} == dict.fromkeys(WRITTEN, 10)
    assert dataset.count_values("ground_truth_queries.detections.status") == {"confirmed": 1, "pending": 8}
    assert known_embeddings(dataset)[0] == str(sam)
