"""Windows over an image larger than the model takes, and their smooth blending."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from ..hardware.devices import BatchLimit


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Return where windows begin so that they cover an axis, spread evenly, overlapping at least `overlap`.

    Args:
        length: pixels of the axis
        tile: pixels of a window
        overlap: least pixels that neighbours share

    Returns:
        first pixel of each window, ascending; the last window ends at `length`

    Example:
        >>> tile_starts(100, tile=40, overlap=10)
        [0, 30, 60]
        >>> tile_starts(30, tile=40, overlap=10)
        [0]
    """
    if length <= tile:
        return [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def blend_weights(size: tuple[int, int], overlap: tuple[int, int]) -> torch.Tensor:
    """Return a window's weights: one inside, falling as a raised cosine over `overlap` pixels to its edges.

    Args:
        size: (height, width) of the window
        overlap: (rows, columns) over which the weight falls

    Returns:
        (height, width) float32, above zero everywhere

    Example:
        >>> blend_weights((1, 6), (0, 2)).round(decimals=2)
        tensor([[0.1500, 0.8500, 1.0000, 1.0000, 0.8500, 0.1500]])
    """
    rows, columns = (_ramp(length, width) for length, width in zip(size, overlap, strict=True))
    return rows[:, None] * columns[None, :]


def predict_tiles(
    predict: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    tile: tuple[int, int],
    overlap: tuple[int, int],
    limit: BatchLimit,
) -> torch.Tensor:
    """Predict an image window by window and blend the windows' probabilities where they overlap.

    Args:
        predict: (n, 3, h, w) windows -> (n, C, h, w) probabilities
        image: (3, H, W)
        tile: (height, width) of a window
        overlap: (rows, columns) that neighbours share at least
        limit: how many windows one pass takes

    Returns:
        (C, H, W) probabilities

    Example:
        >>> image = torch.rand(3, 5, 7)
        >>> same = predict_tiles(lambda x: x, image, (4, 4), (2, 2), BatchLimit(2))
        >>> torch.allclose(same, image, atol=1e-6)
        True
    """
    height, width = image.shape[1:]
    tile = (min(tile[0], height), min(tile[1], width))
    weights = blend_weights(tile, overlap).to(image.device)
    corners = [
        (top, left)
        for top in tile_starts(height, tile[0], overlap[0])
        for left in tile_starts(width, tile[1], overlap[1])
    ]

    def run(part: Sequence[tuple[int, int]]) -> tuple[Sequence[tuple[int, int]], torch.Tensor]:
        windows = [image[:, top : top + tile[0], left : left + tile[1]] for top, left in part]
        return part, predict(torch.stack(windows))

    blended: torch.Tensor | None = None
    total = torch.zeros(height, width, device=image.device)
    for part, probabilities in limit.passes(run, corners):
        if blended is None:
            blended = probabilities.new_zeros(probabilities.shape[1], height, width)
        for (top, left), window in zip(part, probabilities, strict=True):
            blended[:, top : top + tile[0], left : left + tile[1]] += window * weights
            total[top : top + tile[0], left : left + tile[1]] += weights
    if blended is None:
        raise ValueError(f"Expected an image with pixels, but got shape {tuple(image.shape)}.")
    return blended / total


def _ramp(length: int, width: int) -> torch.Tensor:
    weights = torch.ones(length)
    width = min(width, length // 2)
    if width > 0:
        rising = torch.sin(torch.pi / 2 * (torch.arange(width) + 0.5) / width).square()
        weights[:width] = rising
        weights[-width:] = rising.flip(0)
    return weights
