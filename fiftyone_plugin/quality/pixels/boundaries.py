"""Where the given and the predicted mask have borders, and which disagreement is no more than a border drawn aside.

Distances are chessboard distances in pixels. A pixel on a border has distance 1, on either side of it. Ignored pixels
neither are nor hide a border, so leaving pixels out is the same as cropping them away.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from . import kernels
from .compiled import compiled
from .pixel_maps import PixelMaps

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.integer[Any]]

TOLERANCE_SHARE: Final = 0.01
"""Tolerance as a share of the image's diagonal, the width that beyond-IoU uses (Bernhard et al., WACV 2024)."""

NOWHERE: Final = -1
"""Class, component or region of pixels that have none: ignored, or outside of every region."""

FAR: Final = 2**30
"""Distance to a border or contact that does not exist."""


def boundary_tolerance(shape: tuple[int, int], tolerance: float | None = None) -> int:
    """Return how many pixels a border may be off without being an error.

    Args:
        shape: (H, W)
        tolerance: in pixels, at least 0; None means 1 % of the diagonal, rounded, but at least 1

    Returns:
        Whole pixels.

    Raises:
        LabelQualityError: if it is not a finite number of at least 0.

    Example:
        >>> boundary_tolerance((1024, 2048)), boundary_tolerance((20, 30)), boundary_tolerance((20, 30), 4)
        (23, 1, 4)
    """
    if tolerance is None:
        return max(1, round(TOLERANCE_SHARE * math.hypot(*shape)))
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float, np.integer, np.floating)):
        raise LabelQualityError(f"Expected `tolerance` in pixels or None, but got {tolerance!r}; None is the default.")
    if not 0 <= tolerance < FAR:
        raise LabelQualityError(
            f"Expected `tolerance` of a finite number of pixels, at least 0, but got {tolerance}; None is the default."
        )
    return int(tolerance)


def class_maps(label: IntArray, maps: PixelMaps) -> tuple[IntArray, IntArray]:
    """Return given and predicted classes in one type, `NOWHERE` where the label is ignored.

    Args:
        label: (H, W) class indices
        maps: of the same image

    Returns:
        Two (H, W) int32 arrays.

    Example:
        >>> maps = PixelMaps(np.array([[0.9, np.nan]]), np.array([[0.9, 0.8]]), np.array([[0, 1]], np.uint8))
        >>> given, predicted = class_maps(np.array([[0, 255]]), maps)
        >>> given, predicted
        (array([[ 0, -1]], dtype=int32), array([[ 0, -1]], dtype=int32))
    """
    valid = ~np.isnan(maps.self_confidence)
    # Signed before the choice: NumPy would squeeze -1 into a label of unsigned type as 255.
    given, predicted = (
        np.where(valid, classes.astype(np.int32), np.int32(NOWHERE)) for classes in (label, maps.predicted)
    )
    return given, predicted


def border_distances(given: IntArray, predicted: IntArray) -> IntArray:
    """Return how far each pixel is from the nearest class border of either mask.

    Args:
        given: (H, W) int32, see `class_maps`
        predicted: (H, W) int32

    Returns:
        (H, W) int32; 1 next to a border, `FAR` where there is no border at all.

    Example:
        >>> row = np.array([[0, 0, 0, 1, 1]], np.int32)
        >>> border_distances(row, row)
        array([[3, 2, 1, 1, 2]], dtype=int32)
    """
    distances = np.full(given.shape, FAR, np.int32)
    mark_borders(given, predicted, distances)
    spread_distances(distances)
    return distances


def displaced_borders(given: IntArray, predicted: IntArray, tolerance: int) -> BoolArray:
    """Tell which disagreeing pixels lie between two borders of the same two classes that are nearly in one place.

    Such a pixel belongs to a strip that has correct pixels of its predicted class on one side and correct pixels of
    its given class on the other, and is at most twice the tolerance wide, so that all of it lies within the tolerance
    of a border of either mask. This is the boundary error of beyond-IoU (Bernhard et al., WACV 2024), which asks how
    far a wrong pixel is from correct ones of both kinds; here the way to them stays inside the strip. An object that
    the label misses altogether is never a displaced border, however thin, because it touches no correct part of its
    class.

    Args:
        given: (H, W) int32, see `class_maps`
        predicted: (H, W) int32
        tolerance: pixels

    Returns:
        (H, W) bool.

    Example:
        >>> given = np.array([[0, 0, 1, 1, 1, 0]], np.int32)
        >>> displaced_borders(given, np.array([[0, 0, 0, 1, 1, 1]], np.int32), 1)
        array([[False, False,  True, False, False, False]])
    """
    queue = np.empty(np.count_nonzero(given != predicted), np.int64)
    to_predicted, to_given = (np.full(given.shape, FAR, np.int32) for _ in range(2))
    contact_distances(given, predicted, predicted, 2 * tolerance, queue, to_predicted)
    contact_distances(given, predicted, given, 2 * tolerance, queue, to_given)
    displaced: BoolArray = to_predicted.astype(np.int64) + to_given - 1 <= 2 * tolerance
    return displaced


def components(classes: IntArray) -> tuple[IntArray, int]:
    """Number the 8-connected components of each class.

    Args:
        classes: (H, W) int32 or int64; `NOWHERE` belongs to no component

    Returns:
        (H, W) int64 component of each pixel from 0 in reading order, `NOWHERE` where there is none; and their number.

    Example:
        >>> components(np.array([[0, 1, -1], [1, 0, 0]], np.int32))
        (array([[ 0,  1, -1],
               [ 1,  0,  0]]), 2)
    """
    num_runs = kernels.count_runs(classes)
    starts, of_run = np.empty(num_runs + 1, np.int64), np.empty(num_runs, np.int64)
    found = kernels.run_components(classes, NOWHERE, starts, of_run)
    return np.repeat(of_run, np.diff(starts)).reshape(classes.shape), int(found)


def eroded(regions: IntArray, valid: BoolArray) -> BoolArray:
    """Return the core of each region: the pixels whose 3 x 3 neighbourhood lies in their region.

    Args:
        regions: (H, W) int64 region of each pixel, `NOWHERE` outside
        valid: (H, W) bool; neighbours that are ignored or outside of the image do not erode

    Returns:
        (H, W) bool.

    Example:
        >>> eroded(np.array([[0, 0, 0, -1]]), np.ones((1, 4), bool))
        array([[ True,  True, False, False]])
    """
    core = np.zeros(regions.shape, np.bool_)
    mark_cores(regions, valid, core)
    return core


@compiled
def mark_borders(given: Array, predicted: Array, distances: Array) -> None:
    """Set `distances` to 1 on both sides of each border between two pixels that are not ignored."""
    height, width = given.shape
    for row in range(height):
        for column in range(width):
            g, p = given[row, column], predicted[row, column]
            if g < 0:
                continue
            if column + 1 < width:
                other = given[row, column + 1]
                if (other >= 0) & ((other != g) | (predicted[row, column + 1] != p)):
                    distances[row, column] = 1
                    distances[row, column + 1] = 1
            if row + 1 < height:
                other = given[row + 1, column]
                if (other >= 0) & ((other != g) | (predicted[row + 1, column] != p)):
                    distances[row, column] = 1
                    distances[row + 1, column] = 1


@compiled
def lowest_behind(distances: Array, row: int, column: int, step: int) -> int:
    """Return the lowest distance among the four neighbours that a pass by `step` (1 or -1) has already seen."""
    height, width = distances.shape
    lowest = 1073741823
    if 0 <= column - step < width:
        lowest = min(lowest, distances[row, column - step])
    if 0 <= row - step < height:
        for near in range(max(column - 1, 0), min(column + 2, width)):
            lowest = min(lowest, distances[row - step, near])
    return lowest


@compiled
def spread_distances(distances: Array) -> None:
    """Turn 1 at borders and `FAR` elsewhere into chessboard distances: one pass down, one pass up."""
    height, width = distances.shape
    for row in range(height):
        for column in range(width):
            distances[row, column] = min(distances[row, column], lowest_behind(distances, row, column, 1) + 1)
    for row in range(height - 1, -1, -1):
        for column in range(width - 1, -1, -1):
            distances[row, column] = min(distances[row, column], lowest_behind(distances, row, column, -1) + 1)


@compiled
def find_contacts(given: Array, predicted: Array, target: Array, queue: Array, out: Array) -> int:
    """Set `out` to 1 at disagreeing pixels that touch a correct pixel of the class in `target`; return how many."""
    height, width = given.shape
    count = 0
    for row in range(height):
        for column in range(width):
            if given[row, column] == predicted[row, column]:
                continue
            wanted, touches = target[row, column], False
            for y in range(max(row - 1, 0), min(row + 2, height)):
                for x in range(max(column - 1, 0), min(column + 2, width)):
                    touches |= (given[y, x] == wanted) & (predicted[y, x] == wanted)
            if touches:
                out[row, column] = 1
                queue[count] = row * width + column
                count += 1
    return count


@compiled
def contact_distances(given: Array, predicted: Array, target: Array, limit: int, queue: Array, out: Array) -> None:
    """Write for disagreeing pixels the number of steps to a correct pixel of the class in `target`, up to `limit`.

    Steps go to any of 8 neighbours that disagree in the same way (same given and same predicted class).
    """
    height, width = given.shape
    count = find_contacts(given, predicted, target, queue, out)
    done = 0
    while done < count:
        row, column = queue[done] // width, queue[done] % width
        done += 1
        steps = out[row, column] + 1
        if steps > limit:
            break
        for y in range(max(row - 1, 0), min(row + 2, height)):
            for x in range(max(column - 1, 0), min(column + 2, width)):
                same = (given[y, x] == given[row, column]) & (predicted[y, x] == predicted[row, column])
                if same & (out[y, x] > steps):
                    out[y, x] = steps
                    queue[count] = y * width + x
                    count += 1


@compiled
def mark_cores(regions: Array, valid: Array, core: Array) -> None:
    """Set `core` where no neighbour that counts belongs to another region or to none."""
    height, width = regions.shape
    for row in range(height):
        for column in range(width):
            region = regions[row, column]
            if region < 0:
                continue
            inside = True
            for y in range(max(row - 1, 0), min(row + 2, height)):
                for x in range(max(column - 1, 0), min(column + 2, width)):
                    inside &= (regions[y, x] == region) | (not valid[y, x])
            core[row, column] = inside


@compiled
def count_rims(regions: Array, given: Array, predicted: Array, counts: Array) -> None:
    """Count the pixel edges around each region (R, 4): all, to correct predicted, given, and third classes.

    Edges to ignored pixels and the image's own edge do not count.
    """
    height, width = regions.shape
    for row in range(height):
        for column in range(width):
            region = regions[row, column]
            if region < 0:
                continue
            for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if (y < 0) | (x < 0) | (y >= height) | (x >= width):
                    continue
                outside = given[y, x]
                if (outside < 0) | (regions[y, x] == region):
                    continue
                correct = outside == predicted[y, x]
                counts[region, 0] += 1
                as_predicted, as_given = outside == predicted[row, column], outside == given[row, column]
                counts[region, 1] += correct & as_predicted
                counts[region, 2] += correct & as_given
                counts[region, 3] += correct & (not as_predicted) & (not as_given)


@compiled
def bounding_boxes(regions: Array, boxes: Array) -> None:
    """Widen `boxes` (R, 4), which start as (H, W, 0, 0), to (top, left, bottom, right) of each region, half open."""
    height, width = regions.shape
    for row in range(height):
        for column in range(width):
            region = regions[row, column]
            if region >= 0:
                boxes[region, 0] = min(boxes[region, 0], row)
                boxes[region, 1] = min(boxes[region, 1], column)
                boxes[region, 2] = max(boxes[region, 2], row + 1)
                boxes[region, 3] = max(boxes[region, 3], column + 1)
