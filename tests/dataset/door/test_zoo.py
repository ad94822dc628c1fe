"""A segmenter of FiftyOne's model zoo scores labels by the probabilities that FiftyOne itself throws away."""

from __future__ import annotations

import json

import fiftyone as fo
import pytest

from fiftyone_plugin import score_label_quality
from fiftyone_plugin.dataset.door.zoo import zoo_class_names, zoo_segmenter, zoo_segmenter_names
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import load_segmenter
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
                        "labels_string": "road,car,tree",
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
    assert {"mask2former-swin-tiny-ade-semantic-torch", "oneformer-ade20k-swin-tiny-panoptic-torch"} <= set(names)
    assert not {"segment-anything-vitb-torch", "med-sam-2-video-torch", "mask-rcnn-resnet50-fpn-coco-torch"} & set(
        names
    )


def test_names_of_channels_are_known_before_a_model_is_loaded(zoo):
    assert zoo_class_names(NAME) == ["road", "car", "tree"]
    assert zoo_class_names("fcn-resnet50-coco-torch")[:3] == ["background", "aeroplane", "bicycle"]
    assert zoo_class_names("segformer-b0-ade20k-torch") == zoo_class_names("no such model") == []


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_model_that_fiftyone_loaded(zoo, wrapped):
    """Class names, normalisation and logits are the zoo's, by its name and as an object."""
    import fiftyone.zoo as foz
    import numpy as np
    import torch

    model = foz.load_zoo_model(NAME)
    segmenter = load_segmenter(model, device="cpu") if wrapped else zoo_segmenter(NAME, device="cpu")
    assert segmenter.class_names == ["road", "car", "tree"]
    assert (segmenter.inputs.mean, segmenter.inputs.std) == ((0.5,) * 3, (0.25,) * 3)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    (found,) = segmenter.predict([image])
    if wrapped:
        with torch.no_grad():
            expected = model._model((torch.tensor(image).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25)["out"].softmax(1)
        torch.testing.assert_close(found, expected[0])


def test_a_fiftyone_model_without_a_network_is_refused():
    class Painter(fo.Model):
        media_type = "image"

        def predict(self, arg):
            return fo.Segmentation()

    with pytest.raises(LabelQualityError, match="Painter has none; pass its network itself"):
        load_segmenter(Painter())


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
