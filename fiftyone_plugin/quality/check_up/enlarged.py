"""Jagged masks: those that were made larger by repeating pixels, so that their borders are stairs."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from .check import WARNING, Array, Check

JAGGED_MASK = Check(
    "jagged_mask",
    "Jagged masks: enlarged by repeating pixels",
    WARNING,
    "All borders lie on a coarse grid, so small things and thin borders are lost.",
    "Take the masks in the size in which they were drawn or predicted, or draw their borders anew.",
)

_LEAST, _MOST = 1.5, 16.0
"""Times that a mask was enlarged; by less it cannot be told."""

_TIE: Final = 1e-6
_WITHIN: Final = 0.995
_FEWEST: Final = 8
"""Different rows and columns with a border that it takes."""

_BITS: Final = 40.0
"""How unlikely it must be, as a power of a half, that borders lie on the grid by chance; far beyond the number of grids
that are tried."""


def enlarged_from(values: Array) -> tuple[int, int] | None:
    """Tell from which size a mask was enlarged by repeating pixels.

    Then borders are only between the rows and columns where the small mask had pixels beside each other, by the rule
    of either OpenCV or Pillow.

    Args:
        values: (H, W) integer mask values

    Returns:
        (h, w), the smallest that explains all borders; None if the mask was drawn in its own size, or has few borders

    Example:
        >>> small = np.tri(24, 32, k=4, dtype=int)
        >>> enlarged_from(np.kron(small, np.ones((4, 4), int)))
        (24, 32)
        >>> enlarged_from(np.tri(96, 128, k=16, dtype=int)) is None
        True
    """
    rows = np.count_nonzero(values[1:] != values[:-1], axis=1)
    columns = np.count_nonzero(values[:, 1:] != values[:, :-1], axis=0)
    if min(np.count_nonzero(rows), np.count_nonzero(columns)) < _FEWEST:
        return None
    height, vertical = _grid(rows)
    width, horizontal = _grid(columns)
    if height is None or width is None or vertical + horizontal < _BITS:
        return None
    return height, width


def _grid(borders: Array) -> tuple[int | None, float]:
    """The number of pixels of the small side and how unlikely it is, in bits, that these borders fit by chance."""
    sizes, steps = _steps(len(borders) + 1)
    if not len(sizes):
        return None, 0.0
    fits = np.flatnonzero(steps @ borders >= _WITHIN * borders.sum())
    distinct = steps[fits] @ (borders > 0).astype(np.int64)
    fits, distinct = fits[distinct >= _FEWEST], distinct[distinct >= _FEWEST]
    if not len(fits):
        return None, 0.0
    bits = -distinct * np.log2(steps[fits].mean(axis=1))
    best = int(bits.argmax())
    return int(sizes[fits[best]]), float(bits[best])


@lru_cache(maxsize=8)
def _steps(side: int) -> tuple[Array, Array]:
    """Sizes from which a side may have been enlarged; for each, between which pixels borders can lie."""
    sizes = np.arange(max(int(np.ceil(side / _MOST)), 2), int(side / _LEAST) + 1)
    if not len(sizes):
        return sizes, np.zeros((0, side - 1), bool)
    # A pixel whose middle lies exactly on a border goes to either side, as rounding will have it.
    rules = [_changes(sizes, side, offset) | _changes(sizes, side, offset - _TIE) for offset in (0.5, _TIE)]
    return np.concatenate([sizes, sizes]), np.concatenate(rules)


def _changes(sizes: Array, side: int, offset: float) -> Array:
    """Between which pixels of the large side the pixel of the small one changes."""
    places = ((np.arange(side) + offset) * sizes[:, None] / side).astype(np.int64)
    return np.asarray(np.diff(places, axis=1) > 0)
