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
    if mark_borders(given, predicted, distances):
        spread_distances(distances)
    return distances


def displaced_borders(given: IntArray, predicted: IntArray, wrong: IntArray, tolerance: int) -> BoolArray:
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
        wrong: (N,) flat indices of all pixels whose two classes differ
        tolerance: pixels

    Returns:
        (N,) bool.

    Example:
        >>> given, predicted = np.array([[[0, 0, 1, 1, 1, 0]], [[0, 0, 0, 1, 1, 1]]], np.int32)
        >>> displaced_borders(given, predicted, np.array([2, 5]), 1)
        array([ True, False])
    """
    queue = np.empty(wrong.size, np.int64)
    correct = np.where(given == predicted, given, np.int32(NOWHERE - 1))
    pairs = given.astype(np.int64) << 32 | predicted
    to_predicted, to_given = (np.full(given.shape, FAR, np.int32) for _ in range(2))
    contact_distances(correct, pairs, predicted, wrong, 2 * tolerance, queue, to_predicted)
    contact_distances(correct, pairs, given, wrong, 2 * tolerance, queue, to_given)
    steps = to_predicted.reshape(-1)[wrong].astype(np.int64) + to_given.reshape(-1)[wrong]
    displaced: BoolArray = steps - 1 <= 2 * tolerance
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
    ids, sizes = sized_components(classes)
    return ids, int(sizes.size)


def sized_components(classes: IntArray, *, corners: bool = True) -> tuple[IntArray, IntArray]:
    """Number the components of each class and count their pixels.

    Args:
        classes: as for `components`
        corners: whether pixels that touch by a corner only are connected

    Returns:
        (H, W) int64 as of `components`; and the (N,) int64 pixels of each component

    Example:
        >>> sized_components(np.array([[0, 1, -1], [1, 0, 0]], np.int32))[1]
        array([3, 2])
    """
    num_runs = kernels.count_runs(classes)
    starts, of_run = np.empty(num_runs + 1, np.int64), np.empty(num_runs, np.int64)
    found = kernels.run_components(classes, NOWHERE, int(corners), starts, of_run)
    lengths = np.diff(starts)
    sizes = np.bincount(of_run + 1, lengths, minlength=int(found) + 1)[1:].astype(np.int64)
    return np.repeat(of_run, lengths).reshape(classes.shape), sizes


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
    at = np.flatnonzero(regions >= 0)
    inside, core = np.zeros(at.size, np.bool_), np.zeros(regions.shape, np.bool_)
    mark_cores(regions, valid, at, inside)
    core.reshape(-1)[at] = inside
    return core


@compiled
def mark_borders(given: Array, predicted: Array, distances: Array) -> bool:
    """Set `distances` to 1 on both sides of each border between two pixels that are not ignored; say if there is any.

    A pixel is marked by itself and not by its neighbour, which the compiler turns into vector instructions.
    """
    height, width = given.shape
    found = False
    for row in range(height):
        g, p, line = given[row], predicted[row], distances[row]
        for step in (-1, 1):
            if 0 <= row + step < height:
                other, second = given[row + step], predicted[row + step]
                for column in range(width):
                    differs = (g[column] != other[column]) | (p[column] != second[column])
                    border = (g[column] >= 0) & (other[column] >= 0) & differs
                    line[column] = 1 if border else line[column]
        for column in range(width - 1):
            differs = (g[column] != g[column + 1]) | (p[column] != p[column + 1])
            line[column] = 1 if (g[column] >= 0) & (g[column + 1] >= 0) & differs else line[column]
        for column in range(1, width):
            differs = (g[column] != g[column - 1]) | (p[column] != p[column - 1])
            line[column] = 1 if (g[column] >= 0) & (g[column - 1] >= 0) & differs else line[column]
        for column in range(width):
            found |= line[column] == 1
    return found


@compiled
def take_row(line: Array, before: Array) -> None:
    """Lower the distances of a row to one more than those of the three nearest pixels of the row that is done."""
    width = line.size
    for column in range(width):
        line[column] = min(line[column], before[column] + 1)
    for column in range(1, width):
        line[column] = min(line[column], before[column - 1] + 1)
    for column in range(width - 1):
        line[column] = min(line[column], before[column + 1] + 1)


@compiled
def spread_distances(distances: Array) -> None:
    """Turn 1 at borders and `FAR` elsewhere into chessboard distances: one pass down, one pass up."""
    height, width = distances.shape
    for row in range(height):
        line = distances[row]
        if row:
            take_row(line, distances[row - 1])
        last = line[0]
        for column in range(1, width):
            last = min(line[column], last + 1)
            line[column] = last
    for row in range(height - 1, -1, -1):
        line = distances[row]
        if row + 1 < height:
            take_row(line, distances[row + 1])
        last = line[width - 1]
        for column in range(width - 2, -1, -1):
            last = min(line[column], last + 1)
            line[column] = last


@compiled
def find_contacts(correct: Array, target: Array, wrong: Array, queue: Array, out: Array) -> int:
    """Set `out` to 1 at disagreeing pixels that touch a correct pixel of the class in `target`; return how many."""
    height, width = correct.shape
    count = 0
    for place in wrong:
        row = place // width
        column = place - row * width
        wanted, touches = target[row, column], False
        before, after = max(column - 1, 0), min(column + 1, width - 1)  # at the edge the pixel itself once more
        for y in range(max(row - 1, 0), min(row + 2, height)):
            line = correct[y]
            touches |= (line[before] == wanted) | (line[column] == wanted) | (line[after] == wanted)
        if touches:
            out[row, column] = 1
            queue[count] = place
            count += 1
    return count


@compiled
def contact_distances(
    correct: Array, pairs: Array, target: Array, wrong: Array, limit: int, queue: Array, out: Array
) -> None:
    """Write for disagreeing pixels the number of steps to a correct pixel of the class in `target`, up to `limit`.

    Steps go to any of 8 neighbours that disagree in the same way: `pairs` is one number for given and predicted class,
    `correct` the class of pixels that agree.
    """
    height, width = correct.shape
    count = find_contacts(correct, target, wrong, queue, out)
    done = 0
    while done < count:
        row, column = queue[done] // width, queue[done] % width
        done += 1
        steps = out[row, column] + 1
        if steps > limit:
            break
        pair = pairs[row, column]
        for y in range(max(row - 1, 0), min(row + 2, height)):
            for x in range(max(column - 1, 0), min(column + 2, width)):
                if (pairs[y, x] == pair) & (out[y, x] > steps):
                    out[y, x] = steps
                    queue[count] = y * width + x
                    count += 1


@compiled
def mark_cores(regions: Array, valid: Array, at: Array, core: Array) -> None:
    """Set `core` (N,) for pixels `at` of which no neighbour that counts belongs to another region or to none."""
    height, width = regions.shape
    for i in range(at.size):
        row = at[i] // width
        column = at[i] - row * width
        region, inside = regions[row, column], True
        before, after = max(column - 1, 0), min(column + 1, width - 1)  # at the edge the pixel itself once more
        for y in range(max(row - 1, 0), min(row + 2, height)):
            line, counts = regions[y], valid[y]
            inside &= (line[before] == region) | (not counts[before])
            inside &= (line[column] == region) | (not counts[column])
            inside &= (line[after] == region) | (not counts[after])
        core[i] = inside


@compiled
def count_rims(regions: Array, given: Array, predicted: Array, at: Array, counts: Array) -> None:
    """Count the pixel edges around each region (R, 4): all, to correct predicted, given, and third classes.

    Edges to ignored pixels and the image's own edge do not count. `at` are the pixels of all regions.
    """
    height, width = regions.shape
    for place in at:
        row, column = place // width, place % width
        region = regions[row, column]
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
def widen_boxes(at: Array, of: Array, width: int, boxes: Array) -> None:
    """Widen `boxes` (R, 4), which start as (H, W, 0, 0), to (top, left, bottom, right) of each region, half open."""
    for i in range(at.size):
        row, column, region = at[i] // width, at[i] % width, of[i]
        boxes[region, 0] = min(boxes[region, 0], row)
        boxes[region, 1] = min(boxes[region, 1], column)
        boxes[region, 2] = max(boxes[region, 2], row + 1)
        boxes[region, 3] = max(boxes[region, 3], column + 1)


@compiled
def raise_to(of: Array, values: Array, largest: Array) -> None:
    """Raise `largest` (R,) to the largest of the values of each region."""
    for i in range(of.size):
        if values[i] > largest[of[i]]:
            largest[of[i]] = values[i]


@compiled
def count_equal(one: Array, other: Array) -> int:
    """Count the places at which two arrays of one (H, W) shape are equal."""
    found = 0
    for row in range(one.shape[0]):
        a, b = one[row], other[row]
        for column in range(a.size):
            found += a[column] == b[column]
    return found
