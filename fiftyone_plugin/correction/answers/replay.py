"""The corrected label: the original with the answers painted onto it, always derivable again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Repaint:
    """A part of a label that gets another value.

    Attributes:
        bbox: (top, left, bottom, right) in pixels, half open
        mask: (bottom - top, right - left) bool
        value: the mask value there
    """

    bbox: tuple[int, int, int, int]
    mask: np.ndarray
    value: int


def replay(label: np.ndarray, repaints: Iterable[Repaint]) -> np.ndarray:
    """Paint answers onto a label, in the order in which they were given.

    Args:
        label: (H, W) integer mask values; not changed
        repaints: oldest first, so that later answers lie over earlier ones

    Returns:
        (H, W) mask values, of a wider type where a value does not fit into the label's

    Raises:
        ValueError: if a part does not lie within the label, or its mask does not have the size of its box

    Example:
        >>> part = Repaint((0, 1, 1, 3), np.array([[True, False]]), 7)
        >>> replay(np.zeros((2, 3), np.uint8), [part]).tolist()
        [[0, 7, 0], [0, 0, 0]]
    """
    parts = list(repaints)
    highest = max((part.value for part in parts), default=0)
    lowest = min((part.value for part in parts), default=0)
    kind = np.result_type(label.dtype, np.min_scalar_type(highest), np.min_scalar_type(lowest))
    painted = label.astype(kind)  # a copy
    for part in parts:
        top, left, bottom, right = part.bbox
        inside = 0 <= top <= bottom <= label.shape[0] and 0 <= left <= right <= label.shape[1]
        if not inside or part.mask.shape != (bottom - top, right - left):
            raise ValueError(
                f"Expected a part within a label of {label.shape[0]}x{label.shape[1]} pixels, with a mask of "
                f"that size, but got the box {part.bbox} with a mask of {part.mask.shape}; was the label resized "
                "since the question was answered?"
            )
        painted[top:bottom, left:right][part.mask] = part.value
    return painted


def tight(mask: np.ndarray) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """Cut a mask down to the box of what is set.

    Args:
        mask: (H, W) bool, not empty

    Returns:
        (top, left, bottom, right), half open, and the mask within it

    Raises:
        ValueError: if nothing is set

    Example:
        >>> tight(np.array([[False, True], [False, False]]))[0]
        (0, 1, 1, 2)
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise ValueError("Expected a mask with at least one pixel, but got an empty one")
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return (top, left, bottom, right), mask[top:bottom, left:right]
