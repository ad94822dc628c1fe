"""Is a whole label moved? Whether it would agree better with the prediction a few pixels to the side."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ..pixels.boundaries import NOWHERE, count_equal

IntArray = npt.NDArray[np.integer[Any]]

REACHES: Final = (0.005, 0.01, 0.017)
"""How far a label is moved, as shares of the image's diagonal; 3, 6 and 10 pixels of 360 x 480."""

FINEST: Final = 600
"""Diagonal in pixels that is looked at; of larger images every second, third, ... pixel is compared."""


class Alignment(NamedTuple):
    """Where a label would fit best.

    Attributes:
        gain: share of the pixels that would agree in addition, 0 if the label fits best where it is
        down: pixels to move it down by; negative is up
        right: pixels to move it to the right by
    """

    gain: float
    down: int
    right: int


IN_PLACE: Final = Alignment(0.0, 0, 0)


def alignment(given: IntArray, predicted: IntArray) -> Alignment:
    """Try a label at 24 places around its own, in eight directions.

    Args:
        given: (H, W) int32 classes, `NOWHERE` where ignored
        predicted: (H, W) int32 classes

    Returns:
        The best place.

    Example:
        >>> predicted = np.zeros((60, 80), np.int32)
        >>> predicted[20:40, 30:50] = 1
        >>> alignment(np.roll(predicted, (0, 2), axis=(0, 1)), predicted)[1:]
        (0, -2)
    """
    step = max(1, round(math.hypot(*given.shape) / FINEST))
    given, predicted = given[::step, ::step], predicted[::step, ::step]
    height, width = given.shape
    reaches = sorted({max(1, round(share * math.hypot(height, width))) for share in REACHES})
    edge = reaches[-1]
    if min(height, width) <= 4 * edge:
        return IN_PLACE
    label = given[edge : height - edge, edge : width - edge]
    known = max(int(np.count_nonzero(label != NOWHERE)), 1)
    label = np.where(label == NOWHERE, np.int32(NOWHERE - 1), label)  # agrees with nothing

    def agreeing(down: int, right: int) -> int:
        moved = predicted[edge + down : height - edge + down, edge + right : width - edge + right]
        return int(count_equal(label, moved))

    still = agreeing(0, 0)
    places = [(r * down, r * right) for r in reaches for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
    best, (down, right) = max((agreeing(*place), place) for place in places)
    if best <= still:
        return IN_PLACE
    return Alignment((best - still) / known, down * step, right * step)
