"""A segmenter of FiftyOne's model zoo scores labels by the probabilities that FiftyOne itself throws away."""

from __future__ import annotations

import json

import fiftyone as fo
import pytest

from fiftyone_plugin import score_label_quality
from fiftyone_plugin.dataset.door.zoo import zoo_segmenter, zoo_segmenter_names
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent

NAME = "random-segmenter-torch"


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A zoo with one more model: torchvision's smallest segmenter with random weights."""
    manifest = {
        "models": [
            {
                "base_name": NAME,
                "tags": ["segmentation", "torch"],
                "default_deployment_config_dict": {
                    "type": "fiftyone.utils.torch.TorchImageModel",
                    "config": {
                        "entrypoint_fcn": "torchvision.models.segmentation.lraspp_mobilenet_v3_large",
                        "entrypoint_args": {"weights": None, "weights_backbone": None, "num_classes": 3},
                        "output_processor_cls": "fiftyone.utils.torch.SemanticSegmenterOutputProcessor",
                        "output_processor_args": {"has_softmax_out": False},
                        "image_mean": [0.5, 0.5, 0.5],
                        "image_std": [0.25, 0.25, 0.25],
                    },
                },
            }
        ]
    }
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest))
    monkeypatch.setattr(fo.config, "model_zoo_manifest_paths", [str(path)])


def test_dense_segmenters_are_offered(zoo):
    names = zoo_segmenter_names()
    assert {NAME, "fcn-resnet50-coco-torch", "segformer-b0-ade20k-torch"} <= set(names)
    assert "segment-anything-vitb-torch" not in names
    assert "mask2former-swin-tiny-ade-semantic-torch" not in names


def test_scoring_with_a_zoo_model(zoo, make_dataset, tmp_path):
    dataset = make_dataset(3)
    report = score_label_quality(
        dataset, "ground_truth", model=f"zoo:{NAME}", output_dir=str(tmp_path / "run"), progress=silent
    )
    assert report.num_scored == 3
    assert report.classes == ["road", "car", "tree"]


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(LabelQualityError, match=r"fcn-resnet50-coco-torch.*but got 'nope'"):
        zoo_segmenter("nope")
