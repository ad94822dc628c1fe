"""A frozen network made quicker for processors: batch normalisation folded into convolutions, channels last."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_SAME = 1e-4  # of the largest value: what another order of sums may change


def folded(network: nn.Module, probe: torch.Tensor) -> nn.Module:
    """Make a copy of a frozen network that computes the same in less time on a CPU.

    A normalisation whose numbers no longer change is a factor and an addend per channel, which the convolution before
    it can take over. Which one that is follows from their order in the module; whether that was right is
    tried: where a probe comes out otherwise, the network itself is returned.

    Args:
        network: in evaluation mode, on the CPU, returns a tensor or a list of tensors
        probe: (N, C, H, W) of what it may be given

    Returns:
        the quicker copy, or the network itself where there is nothing to fold or the copy would differ

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
        >>> [type(layer).__name__ for layer in folded(network, torch.ones(1, 3, 8, 8))]
        ['Conv2d', 'Identity', 'ReLU']
    """
    quick = copy.deepcopy(network)
    with torch.no_grad():
        if not _fold(quick):
            return network
    quick = quick.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    quick.requires_grad_(requires_grad=False)
    return quick if _agree(network, quick, probe) else network


def _fold(module: nn.Module) -> int:
    """Fold inside a module, in place; how many normalisations are gone."""
    children = list(module.named_children())
    count = 0
    for (_, before), (name, after) in itertools.pairwise(children):
        if not isinstance(before, nn.Conv2d) or not isinstance(after, nn.BatchNorm2d):
            continue
        mean, variance = after.running_mean, after.running_var
        if mean is not None and variance is not None and before.out_channels == after.num_features:
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight, before.bias, mean, variance, after.eps, after.weight, after.bias
            )
            rest = [layer for layer in (getattr(after, "drop", None), getattr(after, "act", None)) if layer is not None]
            setattr(module, name, nn.Sequential(*rest) if rest else nn.Identity())  # timm's have an activation, too
            count += 1
    return count + sum(_fold(child) for _, child in module.named_children())


@torch.no_grad()
def _agree(network: nn.Module, quick: nn.Module, probe: torch.Tensor) -> bool:
    found, wanted = quick(probe), network(probe)
    pairs = [(found, wanted)] if isinstance(wanted, torch.Tensor) else list(zip(found, wanted, strict=True))
    return all(
        new.shape == old.shape and bool((new - old).abs().max() <= _SAME * old.abs().max().clamp_min(1e-6))
        for new, old in pairs
    )
