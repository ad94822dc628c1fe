"""Strips of one pixel at the edge of the image, which cropping and shifting leave."""

from __future__ import annotations

from typing import Final

import numpy as np

from .check import WARNING, Array, Check, Spot

EDGE_STRIP = Check(
    "edge_strip",
    "Strips of one pixel at the image's edge",
    WARNING,
    "Nearly all pixels of one edge have a value that the pixels beside them do not have.",
    "Crop or shift image and mask alike; or paint over the strip with `begin_hand_edits`.",
)

_SHARE: Final = 0.95
"""Of the edge, set by hand."""

_SHORTEST: Final = 8


def edge_strips(values: Array) -> list[Spot]:
    """Find edges whose outermost pixels have one value that the pixels beside them do not have.

    Args:
        values: (H, W) integer mask values

    Returns:
        one for each such edge

    Example:
        >>> mask = np.ones((10, 10), int)
        >>> mask[:, 0] = 255
        >>> edge_strips(mask)[0].bbox
        (0, 0, 10, 1)
    """
    height, width = values.shape
    sides = (
        (values[:1], values[1:2], (0, 0, 1, width)),
        (values[-1:], values[-2:-1], (height - 1, 0, height, width)),
        (values[:, :1], values[:, 1:2], (0, 0, height, 1)),
        (values[:, -1:], values[:, -2:-1], (0, width - 1, height, width)),
    )
    found = []
    for outer, inner, box in sides:
        if outer.size < _SHORTEST or inner.size != outer.size or outer.size in (height * width,):
            continue
        kinds, counts = np.unique(outer, return_counts=True)
        if counts.max() < _SHARE * outer.size:
            continue
        strip = (outer == kinds[counts.argmax()]) & (inner != outer)
        if strip.sum() >= _SHARE * outer.size:
            found.append(Spot(EDGE_STRIP.code, box, int(strip.sum())))
    return found
