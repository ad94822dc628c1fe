"""A small network on frozen features: every level added on one grid, some residual blocks, a score per class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

_KERNEL = 5
_PLACE_CHANNELS = 4


class FeatureHead(nn.Module):
    """Class scores on a grid from maps of features of several strides.

    A 1x1 convolution commutes with enlarging, so each level is brought to the head's width at its own size, and the
    sum of the enlarged maps is what a 1x1 convolution of all levels together would give, for a fraction of its cost.

    Args:
        channels: of each level
        num_classes: scores per cell
        width: channels inside
        blocks: residual blocks (depthwise 5x5, then two 1x1 convolutions)
        mean: of each channel of all levels, one after the other; None = zeros
        std: their deviation; None = ones

    Example:
        >>> head = FeatureHead([3, 5], 4, width=8, blocks=1)
        >>> head([torch.zeros(2, 3, 8, 12), torch.zeros(2, 5, 4, 6)], place_map(8, 12)[None]).shape
        torch.Size([2, 4, 8, 12])
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        width: int,
        blocks: int,
        mean: torch.Tensor | None = None,
        std: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.channels = list(channels)
        total = sum(channels)
        self.register_buffer("mean", torch.zeros(total) if mean is None else mean)
        self.register_buffer("std", torch.ones(total) if std is None else std)
        self.levels = nn.ModuleList(nn.Linear(count, width) for count in channels)
        self.place = nn.Linear(_PLACE_CHANNELS, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.classes = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, num_classes))

    def forward(self, features: Sequence[torch.Tensor], place: torch.Tensor) -> torch.Tensor:
        """Compute scores.

        Args:
            features: (N, C, h, w) per level
            place: (N or 1, 4, H, W) where each cell of the grid is in its image, see `place_map`

        Returns:
            (N, K, H, W) logits
        """
        size = (place.shape[2], place.shape[3])
        total = self.place(place.movedim(1, 3))
        means, stds = self.mean.split(self.channels), self.std.split(self.channels)
        for level, mean, std, layer in zip(features, means, stds, self.levels, strict=True):
            weight = layer.weight / std  # normalises on the way, without another copy of the maps
            values = functional.linear(level.float().movedim(1, 3), weight, layer.bias - weight @ mean)
            total = total + _enlarged(values, size)
        scores: torch.Tensor = self.classes(self.blocks(functional.gelu(self.norm(total))))
        return scores.movedim(3, 1)


class _Block(nn.Module):
    """A residual block on (N, H, W, C) that begins as the identity.

    1x1 convolutions are linear layers with the channels last, which a CPU computes more than twice as fast.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        around = self.around(values.movedim(3, 1)).movedim(1, 3)
        change: torch.Tensor = self.narrow(functional.gelu(self.widen(self.norm(around))))
        return values + change


def _enlarged(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(N, h, w, C) -> (N, H, W, C)."""
    if values.shape[1:3] == size:
        return values
    large = functional.interpolate(values.movedim(3, 1), size, mode="bilinear", align_corners=False)
    return large.movedim(1, 3)


def place_map(rows: int, columns: int) -> torch.Tensor:
    """Where each cell is: its height and breadth in [-1, 1], and their squares.

    Args:
        rows: of the grid
        columns: of the grid

    Returns:
        (4, rows, columns)

    Example:
        >>> place_map(3, 3)[:, 0, 1].tolist()
        [-1.0, 0.0, 1.0, 0.0]
    """
    down = torch.linspace(-1, 1, rows)[:, None].expand(rows, columns)
    right = torch.linspace(-1, 1, columns)[None].expand(rows, columns)
    return torch.stack([down, right, down.square(), right.square()])
