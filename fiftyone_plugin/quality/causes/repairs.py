"""Repairs of systematic errors: one rule for the labels of many images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ...errors import LabelQualityError

IntArray = npt.NDArray[np.integer[Any]]

UNKNOWN: Final = -1
"""In labels: ignored; in predictions: not known."""


@dataclass(frozen=True)
class Repair:
    """A rule.

    Attributes:
        kind: swapped (two classes), renamed (the first is the second everywhere), called (the first was drawn as the
            second), left_out (a class), small_left_out (its parts below an area), too_wide, too_narrow (a class by some
            pixels), moved (back by pixels down and right), mirrored, upside_down (the whole label)
        classes: class indices that it is about
        amount: pixels: (down, right), (width,) or (area,)
    """

    kind: str
    classes: tuple[int, ...] = ()
    amount: tuple[int, ...] = ()


def repaired(given: IntArray, predicted: IntArray, repair: Repair) -> IntArray:
    """Apply a rule to a label.

    Args:
        given: (H, W) class indices, `UNKNOWN` where ignored
        predicted: (H, W) class indices, `UNKNOWN` where not known
        repair: the rule

    Returns:
        (H, W) class indices; ignored pixels stay ignored unless the whole label moves

    Raises:
        LabelQualityError: if there is no such kind, or shapes differ

    Example:
        >>> label, seen = np.array([[0, 1, 2, 2]]), np.array([[1, 0, 2, 3]])
        >>> repaired(label, seen, Repair("swapped", (0, 1))).tolist()
        [[1, 0, 2, 2]]
        >>> repaired(label, seen, Repair("left_out", (3,))).tolist()
        [[0, 1, 2, 3]]
        >>> repaired(label, seen, Repair("moved", amount=(0, -1))).tolist()
        [[1, 2, 2, 2]]
    """
    if repair.kind not in _RULES:
        raise LabelQualityError(f"Expected a kind of repair among {sorted(_RULES)}, but got {repair.kind!r}")
    if given.shape != predicted.shape:
        raise LabelQualityError(
            f"Expected label and prediction of one size, but got {given.shape} and {predicted.shape}"
        )
    return _RULES[repair.kind](given, predicted, repair)


def border_distances(inside: npt.NDArray[np.bool_]) -> IntArray:
    """How far each pixel is from the border of a region, in steps that may be diagonal.

    Args:
        inside: (H, W) bool

    Returns:
        (H, W): 1, 2, ... inside and -1, -2, ... outside, from the border on; 0 where there is no border

    Example:
        >>> border_distances(np.array([[False, False, True, True]])).tolist()
        [[-2, -1, 1, 2]]
    """
    if inside.all() or not inside.any():
        return np.zeros(inside.shape, np.int64)
    within = ndimage.distance_transform_cdt(inside, "chessboard")
    return np.asarray(within - ndimage.distance_transform_cdt(~inside, "chessboard"), np.int64)


def small_parts(inside: npt.NDArray[np.bool_], area: int) -> npt.NDArray[np.bool_]:
    """The connected parts of a region that are smaller than an area.

    Args:
        inside: (H, W) bool
        area: pixels

    Returns:
        (H, W) bool

    Example:
        >>> small_parts(np.array([[True, False, True, True]]), 2).tolist()
        [[True, False, False, False]]
    """
    parts, _ = ndimage.label(inside)
    areas = np.bincount(parts.ravel())
    return np.asarray(inside & (areas < area)[parts])


def _swapped(given: IntArray, _: IntArray, repair: Repair) -> IntArray:
    first, second = repair.classes
    return np.where(given == first, second, np.where(given == second, first, given))


def _renamed(given: IntArray, _: IntArray, repair: Repair) -> IntArray:
    first, second = repair.classes
    return np.where(given == first, second, given)


def _called(given: IntArray, predicted: IntArray, repair: Repair) -> IntArray:
    true, drawn = repair.classes
    return np.where((given == drawn) & (predicted == true), true, given)


def _left_out(given: IntArray, predicted: IntArray, repair: Repair) -> IntArray:
    (value,) = repair.classes
    return np.where((given != UNKNOWN) & (predicted == value), value, given)


def _small_left_out(given: IntArray, predicted: IntArray, repair: Repair) -> IntArray:
    (value,), (area,) = repair.classes, repair.amount
    return np.where((given != UNKNOWN) & small_parts(predicted == value, area), value, given)


def _moved(given: IntArray, _: IntArray, repair: Repair) -> IntArray:
    down, right = repair.amount
    height, width = given.shape
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return given[rows][:, columns]


def _too_wide(given: IntArray, _: IntArray, repair: Repair) -> IntArray:
    (value,), (pixels,) = repair.classes, repair.amount
    distances = border_distances(given == value)
    foreign = (given != value) & (given != UNKNOWN)
    if not foreign.any():
        return given.copy()
    rows, columns = ndimage.distance_transform_edt(~foreign, return_distances=False, return_indices=True)
    return np.where((distances > 0) & (distances <= pixels), given[rows, columns], given)


def _too_narrow(given: IntArray, _: IntArray, repair: Repair) -> IntArray:
    (value,), (pixels,) = repair.classes, repair.amount
    distances = border_distances(given == value)
    return np.where((distances < 0) & (distances >= -pixels) & (given != UNKNOWN), value, given)


_RULES: Final[dict[str, Callable[[IntArray, IntArray, Repair], IntArray]]] = {
    "swapped": _swapped,
    "renamed": _renamed,
    "called": _called,
    "left_out": _left_out,
    "small_left_out": _small_left_out,
    "too_wide": _too_wide,
    "too_narrow": _too_narrow,
    "moved": _moved,
    "mirrored": lambda given, predicted, repair: given[:, ::-1].copy(),
    "upside_down": lambda given, predicted, repair: given[::-1].copy(),
}
