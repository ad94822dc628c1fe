"""Encoders whose normalisations are folded away compute the same, and those that cannot be stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fiftyone_plugin.models.frozen_features.encoders import load_encoder_network
from fiftyone_plugin.models.hardware.folding import folded


class Branches(nn.Module):
    """A normalisation that stands behind a convolution, but is given something else."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.convolution(pixels) + self.norm(pixels)


def trained(network: nn.Module) -> nn.Module:
    """Give the normalisations numbers that matter."""
    network.train()
    for _ in range(3):
        network(torch.randn(4, 3, 32, 32) * 2 + 1)
    return network.eval()


def num_norms(network: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_convnext", "test_vit"])
def test_an_encoder_computes_the_same_in_less_steps(name):
    torch.manual_seed(0)
    encoder = load_encoder_network(name, None, torch.device("cpu"))
    network = trained(encoder.network)
    pixels = torch.randn(2, 3, encoder.multiple * 2, encoder.multiple * 3)
    quick = folded(network, torch.randn(1, 3, encoder.multiple, encoder.multiple))
    assert num_norms(quick) < num_norms(network) or (quick is network and not num_norms(network))
    for new, old in zip(quick(pixels), network(pixels), strict=True):
        np.testing.assert_allclose(new.detach(), old.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "network",
    [
        trained(Branches()),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval(),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False, track_running_stats=False)).eval(),
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)).eval(),
    ],
    ids=["another order", "statistics of the batch", "no numbers", "before the convolution"],
)
def test_what_cannot_be_folded_stays(network):
    assert folded(network, torch.randn(2, 3, 8, 8)) is network


def test_normalisations_without_weights_are_folded():
    network = trained(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False)))
    pixels = torch.randn(2, 3, 8, 8)
    quick = folded(network, pixels)
    assert num_norms(quick) == 0
    np.testing.assert_allclose(quick(pixels).detach(), network(pixels).detach(), rtol=1e-4, atol=1e-5)
