"""A region changed by clicks: what belongs to it and what does not, without a model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ...quality.pixels.compiled import compiled
from ..superpixels.methods import check_same_size

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Click = tuple[int, int, bool]

METHODS: Final = ("random_walker", "region_growing")

_TOLERANCES: Final = (4.0, 6.0, 9.0, 13.0, 19.0, 27.0, 38.0)
"""Colour distances (of 0 to 441) between a click and the pixels that it spreads to."""

_LEAK: Final = 4.0
"""A larger tolerance that multiplies the pixels reached by more than this has leaked."""

_SPECK: Final = 0.002
"""Below this share of the crop, a click has reached too little to tell a leak from growth."""

_RADIUS: Final = 2
_WALKED_PIXELS: Final = 72 * 72
_BETA: Final = 200.0
_CORE: Final = 0.25
"""Depth in the region, as a share of the largest, from which pixels are sure to belong to it."""

_REACH: Final = 2.0
"""How far a click makes the region uncertain, in multiples of its distance from the outline."""


def grow_region(
    image: npt.ArrayLike,
    start: npt.ArrayLike,
    points: Sequence[Click],
    method: Literal["random_walker", "region_growing"] = "random_walker",
) -> Mask:
    """Change a region by clicks on what belongs to it (positive) and what does not.

    "random_walker" (Grady 2006, Random walks for image segmentation, TPAMI 28) draws the line between the clicks, the
    core of the region and what is far from it; it works at reduced size, so its outlines are coarser on large crops.
    "region_growing" spreads each click over connected pixels of like colour, as far as it neither leaks nor reaches a
    click of the other kind, and adds them to the region or takes them away: less of an object at a time, but only what
    looks like the pixel that was clicked on.

    Args:
        image: (H, W, 3) uint8, the part of the image around the region
        start: (H, W) bool, the region to begin with
        points: (x, y, positive) in pixels of the crop, in the order of the clicks
        method: "random_walker" or "region_growing"

    Returns:
        (H, W) bool; positive clicks are in it, negative ones are not, and a later click on the same pixel counts

    Raises:
        LabelQualityError: if image and region do not fit, a click is outside or the method is unknown

    Example:
        >>> image = np.zeros((4, 6, 3), np.uint8)
        >>> image[:, 3:] = 200
        >>> start = np.zeros((4, 6), bool)
        >>> start[:, :4] = True
        >>> grow_region(image, start, [(3, 1, False)], "region_growing")[0]
        array([ True,  True,  True, False, False, False])
    """
    pixels, region = np.asarray(image), np.asarray(start, np.bool_)
    check_same_size("start", region.shape, "image", pixels.shape[:2])
    clicks = _check_clicks(points, region.shape)
    if method not in METHODS:
        raise LabelQualityError(f"Expected `method` out of {', '.join(METHODS)}, but got {method!r}; pass one of them.")
    if not clicks:
        return region.copy()
    change = _spread_clicks if method == "region_growing" else _walk
    region = change(pixels, region, clicks)
    for x, y, positive in clicks:
        region[y, x] = positive
    return region


def _check_clicks(points: Sequence[Click], shape: tuple[int, ...]) -> list[Click]:
    """Clicks in order, only the latest on each pixel."""
    latest: dict[tuple[int, int], bool] = {}
    for x, y, positive in points:
        if not (0 <= x < shape[1] and 0 <= y < shape[0]):
            raise LabelQualityError(
                f"Expected clicks within the crop of height {shape[0]} and width {shape[1]}, but got x={x}, y={y}; "
                "pass x before y, relative to the crop."
            )
        latest.pop((int(x), int(y)), None)
        latest[int(x), int(y)] = bool(positive)
    return [(x, y, positive) for (x, y), positive in latest.items()]


def _spread_clicks(image: Array, start: Mask, clicks: list[Click]) -> Mask:
    from scipy.ndimage import uniform_filter

    raw = image.astype(np.float32)
    smooth = uniform_filter(raw, size=(3, 3, 0))
    region = start.copy()
    for x, y, positive in clicks:
        opposite = [(v, u) for u, v, other in clicks if other != positive]
        region[_like(raw, smooth, (y, x), opposite)] = positive
    return region


def _like(raw: Array, smooth: Array, place: tuple[int, int], opposite: list[tuple[int, int]]) -> Mask:
    """Connected pixels of like colour around a place, none of the opposite ones among them.

    They are followed in the smoothed image; along edges, where it mixes colours, the pixel's own colour counts too.
    """
    from scipy.ndimage import binary_dilation

    reached = _reach(_steps(smooth, smooth[place]), *place)
    areas = np.cumsum(np.bincount(reached.ravel(), minlength=len(_TOLERANCES) + 1)[:-1])
    allowed = min((int(reached[other]) for other in opposite), default=len(_TOLERANCES))
    if not allowed:
        return _disk(reached.shape, place, opposite)
    step = 0
    while step + 1 < allowed and areas[step + 1] <= _LEAK * max(areas[step], _SPECK * reached.size):
        step += 1
    found = reached <= step
    return np.asarray(found | (binary_dilation(found) & (_steps(raw, smooth[place]) <= step)))


def _steps(colors: Array, color: Array) -> npt.NDArray[np.uint8]:
    """For each pixel the number of tolerances that its distance from a colour exceeds."""
    return np.searchsorted(_TOLERANCES, np.linalg.norm(colors - color, axis=2)).astype(np.uint8)


@compiled
def _reach(steps: Array, row: int, column: int) -> Array:
    """For each pixel the largest step on the path from a place on which that is smallest; the place itself is 0."""
    height, width = steps.shape
    highest = int(steps.max())
    reached = np.full((height, width), 255, np.uint8)
    stacks = np.empty((highest + 1, height * width), np.int32)
    sizes = np.zeros(highest + 1, np.int64)
    stacks[0, 0], sizes[0], reached[row, column] = row * width + column, 1, 0
    for step in range(highest + 1):
        while sizes[step]:
            sizes[step] -= 1
            place = stacks[step, sizes[step]]
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                y, x = place // width + dy, place % width + dx
                if y < 0 or y >= height or x < 0 or x >= width or reached[y, x] != 255:
                    continue
                level = max(step, int(steps[y, x]))
                reached[y, x] = level
                stacks[level, sizes[level]] = y * width + x
                sizes[level] += 1
    return reached


def _disk(shape: tuple[int, ...], place: tuple[int, int], opposite: list[tuple[int, int]]) -> Mask:
    """A few pixels around a place, fewer where an opposite one is near."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    squares = (y - place[0]) ** 2 + (x - place[1]) ** 2
    nearest = min((int(squares[other]) for other in opposite), default=_RADIUS**2)
    return np.asarray(squares <= min(_RADIUS**2, nearest / 4))


def _walk(image: Array, start: Mask, clicks: list[Click]) -> Mask:
    """Random walker at reduced size; pixels are added only near positive and removed only near negative clicks."""
    from skimage.segmentation import random_walker
    from skimage.transform import resize

    factor = max(1.0, float(np.sqrt(start.size / _WALKED_PIXELS)))
    shape = tuple(max(2, round(length / factor)) for length in start.shape)
    scale = np.array(shape) / start.shape
    near = [(int(x * scale[1]), int(y * scale[0]), positive) for x, y, positive in clicks]
    seeds = _seeds(resize(start, shape, order=0), near)
    if np.unique(seeds).size < 3:  # nothing to find out, or nothing to tell apart
        return start.copy()
    small = resize(image, (*shape, 3), order=1, anti_aliasing=factor > 1)
    if not small.std():
        return start.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # chances a little beyond 0 and 1
        chances = random_walker(small, seeds, beta=_BETA, mode="cg_j", tol=1e-2, return_full_prob=True, channel_axis=-1)
    walked = resize(np.asarray(chances)[0], start.shape, order=1) > 0.5
    may_grow = _distance(start.shape, clicks, True) <= _distance(start.shape, clicks, False)
    return np.where(may_grow, start | walked, start & walked)


def _seeds(start: Mask, clicks: list[Click]) -> npt.NDArray[np.uint8]:
    """1 = certainly in the region, 2 = certainly not, 0 = to be found out.

    A click says that the region is wrong around it, and the deeper it lies on the wrong side, the farther. Certain are
    the clicks and, outside of their reach, the core of the region and what is well outside.
    """
    from scipy.ndimage import distance_transform_edt

    if start.any():
        depth = distance_transform_edt(np.pad(start, 1))[1:-1, 1:-1] - distance_transform_edt(~start)
    else:
        depth = np.full(start.shape, -float(max(start.shape)))
    margin = _CORE * max(float(depth.max()), 2.0)
    sure = (depth >= margin) | (depth < -margin)
    for x, y, positive in clicks:
        wrong = -depth[y, x] if positive else depth[y, x]
        if wrong > 0:
            sure &= _distance(start.shape, [(x, y, True)], True) > _REACH * wrong
    seeds = np.where(sure, np.where(start, 1, 2), 0).astype(np.uint8)
    for x, y, positive in clicks:
        seeds[y, x] = 1 if positive else 2
    return seeds


def _distance(shape: tuple[int, ...], clicks: list[Click], kind: bool) -> Array:
    """(H, W) distance to the nearest click of a kind."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    squares = [(y - v) ** 2 + (x - u) ** 2 for u, v, positive in clicks if positive == kind]
    return np.sqrt(np.min(squares, axis=0)) if squares else np.full(shape, np.inf)
