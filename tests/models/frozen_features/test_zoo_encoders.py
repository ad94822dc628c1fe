"""Embeddings models of FiftyOne's zoo are encoders by timm's name for the same weights."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.frozen_features.encoders import load_encoder_network
from fiftyone_plugin.models.frozen_features.zoo_encoders import ZOO_ENCODERS, timm_name


def test_names_are_the_zoos_and_timms():
    found = find_spec("fiftyone")  # where it is, without the ten seconds of importing it
    manifest = json.loads((Path(found.origin).parent / "zoo/models/manifest-torch.json").read_text())
    tags = {model["base_name"]: model.get("tags") or [] for model in manifest["models"]}
    assert [name for name in ZOO_ENCODERS if "embeddings" not in tags.get(name, [])] == []
    assert [name for name in ZOO_ENCODERS.values() if not timm.models.is_model_pretrained(name)] == []


def test_an_encoder_of_the_zoo_is_timms(monkeypatch):
    monkeypatch.setitem(ZOO_ENCODERS, "tiny-imagenet-torch", "test_resnet")
    encoder = load_encoder_network("zoo:tiny-imagenet-torch", None, torch.device("cpu"))
    assert encoder.about.name == "test_resnet"  # what is written down, so that the run's folder is read without the zoo
    assert timm_name("vgg16-imagenet-torch") == "vgg16.tv_in1k"


def test_a_model_without_feature_maps_is_refused():
    with pytest.raises(LabelQualityError, match=r"whose weights timm has, too.*but got 'zoo:clip-vit-base32-torch'"):
        timm_name("zoo:clip-vit-base32-torch")
