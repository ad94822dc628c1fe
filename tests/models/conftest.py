"""Small images, networks and examples that the model tests share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the tests' tensors are tiny: threads only wait for each other
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture
def pointwise():
    """A network that sees one pixel at a time, so that windows, padding and crops must not change it."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(3, 4, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
        layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator))
    return layer


@pytest.fixture
def blurry():
    """A small convolutional network that looks around and halves the resolution."""
    generator = torch.Generator().manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return network


@pytest.fixture
def shared_data():
    """Folder of real images and weights: LABEL_QUALITY_DATA, or shared/data beside the repository."""
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("LABEL_QUALITY_DATA", beside))
    if not (folder / "weights").is_dir():
        pytest.skip(f"no real data in {folder}")
    return folder
