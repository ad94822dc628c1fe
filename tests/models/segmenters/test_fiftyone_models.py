"""A FiftyOne model's channels are called as FiftyOne calls the mask values that it writes for them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from fiftyone_plugin.models.segmenters.fiftyone_models import fiftyone_source


@pytest.mark.parametrize(
    ("targets", "first_is_background", "names"),
    [
        ({0: "background", 1: "tram", 2: "car"}, True, ("background", "tram", "car")),
        ({"1": "tram", "2": "car"}, False, ("tram", "car")),
        ({0: "background", 2: "car"}, True, ("background", "class 1", "car")),
        (None, True, ("background", "car", "tram")),
    ],
    ids=["in their order", "from 1", "gap", "classes without mask targets"],
)
def test_channels_have_the_names_of_mask_values(targets, first_is_background, names):
    model = SimpleNamespace(
        _model=torch.nn.Conv2d(3, 3, 1),
        mask_targets=targets,
        _classes=["background", "car", "tram"],  # FiftyOne sorts the names of mask targets by the alphabet
        _output_processor=SimpleNamespace(no_background_cls=not first_is_background),
    )
    assert fiftyone_source(model).outputs.channel_names == names
