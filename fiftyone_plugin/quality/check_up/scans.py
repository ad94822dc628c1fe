"""Passes over the pixels of a mask, compiled."""

from __future__ import annotations

import numpy as np

from ..pixels.compiled import compiled
from .check import Array


@compiled
def _is_between(one: int, middle: int, other: int) -> bool:
    return (one < middle) & (middle < other) | (other < middle) & (middle < one)


@compiled
def mark_between(values: Array, found: Array) -> None:
    """Mark pixels whose value lies between those left and right of it, or above and below.

    One of the two may be two pixels away, where the pixel next to it is between them, too.

    Args:
        values: (H, W) int32
        found: (H, W) bool, written
    """
    height, width = values.shape
    for row in range(height):
        for column in range(width):
            value = values[row, column]
            if 0 < column < width - 1:
                left, right = values[row, column - 1], values[row, column + 1]
                if (left != value) | (right != value):
                    far_left, far_right = values[row, max(column - 2, 0)], values[row, min(column + 2, width - 1)]
                    found[row, column] |= (
                        _is_between(left, value, right)
                        | _is_between(left, value, far_right)
                        | _is_between(far_left, value, right)
                    )
            if 0 < row < height - 1:
                above, below = values[row - 1, column], values[row + 1, column]
                if (above != value) | (below != value):
                    far_above, far_below = values[max(row - 2, 0), column], values[min(row + 2, height - 1), column]
                    found[row, column] |= (
                        _is_between(above, value, below)
                        | _is_between(above, value, far_below)
                        | _is_between(far_above, value, below)
                    )


@compiled
def count_bare_steps(values: Array, between: Array) -> int:
    """Count neighbours whose values differ by more than one and of which none is marked.

    Args:
        values: (H, W) int32
        between: (H, W) bool of `mark_between`

    Returns:
        pairs of pixels that share a side
    """
    height, width = values.shape
    found = 0
    for row in range(height):
        for column in range(width):
            value = values[row, column]
            if between[row, column]:
                continue
            if column + 1 < width and not between[row, column + 1]:
                found += abs(values[row, column + 1] - value) > 1
            if row + 1 < height and not between[row + 1, column]:
                found += abs(values[row + 1, column] - value) > 1
    return found


@compiled
def measure_parts(numbers: Array, boxes: Array, areas: Array) -> None:
    """Write box and area of each numbered part.

    Args:
        numbers: (H, W) int64 from 0
        boxes: (n, 4) int32 of (height, width, 0, 0) each; (top, left, bottom, right), half open, afterwards
        areas: (n,) int64 of zeros
    """
    height, width = numbers.shape
    for row in range(height):
        for column in range(width):
            part = numbers[row, column]
            areas[part] += 1
            box = boxes[part]
            box[0] = min(box[0], row)
            box[1] = min(box[1], column)
            box[2] = max(box[2], row + 1)
            box[3] = max(box[3], column + 1)


def measured(numbers: Array, count: int) -> tuple[Array, Array]:
    """Boxes and areas of numbered parts.

    Args:
        numbers: (H, W) int64, 0..count - 1
        count: how many parts

    Returns:
        (n, 4) (top, left, bottom, right), half open, and (n,) pixels

    Example:
        >>> boxes, areas = measured(np.array([[0, 1], [0, 1]]), 2)
        >>> boxes.tolist(), areas.tolist()
        ([[0, 0, 2, 1], [0, 1, 2, 2]], [2, 2])
    """
    boxes = np.zeros((count, 4), np.int32)
    boxes[:, :2] = numbers.shape
    areas = np.zeros(count, np.int64)
    measure_parts(numbers, boxes, areas)
    return boxes, areas
