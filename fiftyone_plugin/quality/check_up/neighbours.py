"""Frames of one sequence, and tiles of one picture: what both show must have one class in both."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from ..pixels.boundaries import components
from .check import WARNING, Array, Check, box_of

NEIGHBOURS_DISAGREE = Check(
    "neighbours_disagree",
    "Neighbouring frames or tiles with different masks",
    WARNING,
    "Two frames, or two tiles that overlap, show the same thing, but their masks give it different classes.",
    "Compare both masks there, and correct the one that is wrong.",
)

_OVERLAP: Final = 0.08
"""Share of the image that two images must have in common, at least."""

_ALIGNED: Final = 0.8
"""Correlation of what two images have in common from which on they are parts of one scene."""

_LEAST: Final = 0.001
"""Share of the image that a difference between masks takes, at least."""

_SAME: Final = 0.8
"""Correlation of the pixels at a difference, from which on both images show the same there."""

_SAME_GREY: Final = 10.0
"""Mean difference of these pixels, of 255, up to which they show the same."""

_AROUND, _WAY = 6, 4
"""Pixels around a difference that are compared, too; and how far it may have moved besides."""

_SQUARE: Final = np.ones((3, 3), np.bool_)

_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Difference:
    """One place that two images show and to which their masks give different classes.

    Attributes:
        boxes: (top, left, bottom, right) in the first and in the second image, as shares of the image
        share: of the image that differs
        values: which value most of it has in the first and in the second mask
    """

    boxes: tuple[_Box, _Box]
    share: float
    values: tuple[int, int]


def name_rows(paths: Sequence[str]) -> list[list[int]]:
    """Files that follow one another by a number in their names: a sequence of frames, a row or a column of tiles.

    Args:
        paths: of the images

    Returns:
        places of the files of each row, in the order of their numbers; rows of one file are left out

    Example:
        >>> name_rows(["drive_10.jpg", "drive_9.jpg", "a_0_0.png", "a_0_256.png", "a_512_0.png"])
        [[1, 0], [2, 4], [2, 3]]
    """
    rows: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for place, path in enumerate(paths):
        parts = re.split(r"([0-9]+)", path)
        for at in range(1, len(parts), 2):
            others = (*parts[:at], "", *parts[at + 1 :])
            rows[others].append((int(parts[at]), place))
    return [[place for _, place in sorted(row)] for row in rows.values() if len(row) > 1]


def neighbour_differences(
    images: tuple[Array, Array], masks: tuple[Array, Array], ignored: Collection[int] = ()
) -> list[Difference] | None:
    """Where two masks differ although their images show the same there.

    The images are laid over each other by phase correlation, and each difference once more by itself, so that a camera
    that pans and things that move a little do not matter; what cannot be laid over each other says nothing.

    Args:
        images: two (H, W) grey images of one size, 0 to 255
        masks: two (H, W) masks of that size
        ignored: values that count for nothing

    Returns:
        the differences; None if the images do not overlap

    Example:
        >>> scene = np.random.default_rng(0).integers(0, 255, (60, 90)).astype(np.float32)
        >>> mask = np.zeros((60, 90), int)
        >>> mask[20:40, 40:60] = 1
        >>> left, right = np.s_[:, :70], np.s_[:, 20:]
        >>> neighbour_differences((scene[left], scene[right]), (mask[left], mask[right]))
        []
        >>> difference, = neighbour_differences((scene[left], scene[right]), (mask[left], mask[right] * 0))
        >>> difference.values, round(difference.share, 3)
        ((1, 0), 0.095)
        >>> neighbour_differences((scene[left], scene[left].T.reshape(60, 70)), (mask[left], mask[left])) is None
        True
    """
    shift = _shift(*images)
    if shift is None:
        return None
    starts, (first, second) = _common(*images, shift)
    given, other = _common(*masks, shift)[1]
    offset = float(np.median(first - second))
    solid = binary_erosion(_differs(given, other, ignored), _SQUARE)  # borders that lie a pixel aside have none
    numbers, _ = components(np.where(solid, 0, -1).astype(np.int32))
    counts = np.bincount(numbers[numbers >= 0]) if solid.any() else np.zeros(0)
    found = []
    for number in np.flatnonzero(counts >= _LEAST * images[0].size / 2).tolist():  # eroded, so that it was larger
        box = box_of(*np.nonzero(numbers == number))
        moved = _moved(first, second, box)
        if moved is None:
            continue
        one, two = _window(box, given.shape), _window(box, given.shape, moved)
        differs = _differs(given[one], other[two], ignored)
        core = binary_erosion(differs, _SQUARE) & (numbers[one] == number)
        pixels = binary_dilation(core, _SQUARE) & differs
        if pixels.sum() < _LEAST * images[0].size or not _shows_the_same(first[one], second[two] + offset, core):
            continue
        rows, columns = np.nonzero(pixels)
        boxes = tuple(
            _share_of(box_of(rows + window[0].start + top, columns + window[1].start + left), images[0].shape)
            for window, (top, left) in zip((one, two), starts, strict=True)
        )
        values = (_most(given[one][pixels]), _most(other[two][pixels]))
        found.append(Difference((boxes[0], boxes[1]), float(pixels.sum()) / images[0].size, values))
    return found


def _shift(image: Array, other: Array) -> tuple[int, int] | None:
    """(down, right) by which the other image must be moved to lie over the first."""
    from skimage.registration import phase_cross_correlation

    if image.std() == 0 or other.std() == 0:
        return None
    found = phase_cross_correlation(image, other)[0]
    # The shift is known but for a turn round the edge of the image.
    ways = [(round(by), round(by) - math.copysign(side, by)) for by, side in zip(found, image.shape, strict=True)]
    shifts = [(int(down), int(right)) for down in ways[0] for right in ways[1]]
    shifts = [one for one in shifts if _overlap(one, image.shape) >= _OVERLAP]
    scored = [(_correlation(*_common(image, other, one)[1]), one) for one in shifts]
    best = max(scored, default=(0.0, (0, 0)))
    return best[1] if best[0] >= _ALIGNED else None


def _overlap(shift: tuple[int, int], shape: tuple[int, ...]) -> float:
    return math.prod(max(1 - abs(by) / side, 0) for by, side in zip(shift, shape, strict=True))


def _common(image: Array, other: Array, shift: tuple[int, int]) -> tuple[list[tuple[int, int]], tuple[Array, Array]]:
    """Where the common part begins in each image, and that part of each."""
    down, right = shift
    height, width = image.shape[0] - abs(down), image.shape[1] - abs(right)
    starts = [(max(down, 0), max(right, 0)), (max(-down, 0), max(-right, 0))]
    parts = (
        one[top : top + height, left : left + width] for one, (top, left) in zip((image, other), starts, strict=True)
    )
    return starts, (next(parts), next(parts))


def _correlation(one: Array, other: Array) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = math.sqrt(float((one * one).sum()) * float((other * other).sum()))
    return float((one * other).sum()) / size if size > 0 else 0.0


def _differs(mask: Array, other: Array, ignored: Collection[int]) -> Array:
    differs: Array = mask != other
    for value in ignored:
        differs = differs & (mask != value) & (other != value)
    return differs


def _window(
    box: tuple[int, int, int, int], shape: tuple[int, ...], moved: tuple[int, int] = (0, 0)
) -> tuple[slice, slice]:
    """A box with what is around it, so far that it can be moved by `_WAY` and stays in the image."""
    ends = []
    for axis in (0, 1):
        low = max(box[axis] - _AROUND, _WAY)
        high = max(min(box[axis + 2] + _AROUND, shape[axis] - _WAY), low)
        ends.append(slice(low + moved[axis], high + moved[axis]))
    return ends[0], ends[1]


def _moved(image: Array, other: Array, box: tuple[int, int, int, int]) -> tuple[int, int] | None:
    """(down, right) by which what the first image shows at a box has moved in the other; None if that is not seen."""
    from skimage.feature import match_template

    rows, columns = _window(box, image.shape)
    patch = image[rows, columns]
    if min(patch.shape) < 3 or patch.std() == 0:
        return None
    wide = other[rows.start - _WAY : rows.stop + _WAY, columns.start - _WAY : columns.stop + _WAY]
    matches = match_template(wide, patch)
    down, right = np.unravel_index(int(np.argmax(matches)), matches.shape)
    return int(down) - _WAY, int(right) - _WAY


def _shows_the_same(image: Array, other: Array, core: Array) -> bool:
    here = binary_dilation(core, _SQUARE, iterations=3)
    one, two = image[here], other[here]
    return float(np.abs(one - two).mean()) <= _SAME_GREY and _correlation(one, two) >= _SAME


def _most(values: Array) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def _share_of(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> _Box:
    height, width = shape
    return box[0] / height, box[1] / width, box[2] / height, box[3] / width
