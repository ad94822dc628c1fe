"""Repairs raise a quick model that is trained on them; models change places once the labels are right."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin import compare_models, repairs_worth
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.correcting.correction_start import begin_correction

QUICK = {"encoder": "test_efficientnet", "weights": None, "width": 16, "steps": 40, "blocks": 0, "mirrored": False}


@pytest.fixture
def corrected(make_dataset, tmp_path):
    """In five of eight labels the road is called tree; the corrected ones are the truth."""
    dataset = make_dataset(8, wrong=())
    for path in dataset.values("ground_truth.mask_path")[:5]:
        mask = read_mask_file(path)
        Image.fromarray(np.where(mask == 1, 3, mask).astype(np.uint8)).save(path)
    begin_correction(dataset, "ground_truth")
    for number, sample in enumerate(dataset.iter_samples(autosave=True)):
        truth = (np.load(sample.probabilities).argmax(0) + 1).astype(np.uint8)
        truth[0] = 255
        given = read_mask_file(sample.ground_truth.mask_path)
        for name, mask in (("good", truth), ("fooled", given), ("ground_truth_corrected", truth)):
            path = str(tmp_path / f"{name}{number}.png")
            Image.fromarray(mask.astype(np.uint8)).save(path)
            sample[name] = fo.Segmentation(mask_path=path)
    dataset.mask_targets = {
        **dataset.mask_targets,
        **{name: {1: "road", 2: "car", 3: "tree"} for name in ("good", "fooled")},
    }
    dataset.save()
    return dataset


def test_models_change_places_once_labels_are_right(corrected):
    found = compare_models(corrected, "good", "fooled")
    assert found.given.gain.estimate > 0 > found.corrected.gain.estimate
    assert found.turned
    assert found.corrected.first == 1
    assert found.corrected.is_certain
    assert "`good` is better; by the given ones it seemed worse" in found.markdown()
    assert not compare_models(corrected, "fooled", "fooled").turned
    job, params = foo.get_operator("@label-quality/segmentation/compare_models"), {"first": "good", "second": "fooled"}
    assert job.work(corrected, params, silent).markdown() == found.markdown()
    assert job(corrected, **params).error is None


def test_a_quick_model_gains(corrected):
    found = repairs_worth(corrected, folds=2, **QUICK)
    assert found.num_changed == 5
    assert found.gain.second > found.gain.first
    assert "points of mean IoU" in found.markdown()
    worth = foo.get_operator("@label-quality/segmentation/repairs_worth")
    found = worth.work(corrected, {"folds": 2, "encoder": "test_efficientnet", "steps": 2, "weights": "none"}, silent)
    assert found.num_changed == 5
    with pytest.raises(LabelQualityError, match="being corrected"):
        repairs_worth(corrected, "good")
