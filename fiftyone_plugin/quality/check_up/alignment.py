"""Masks that lie beside what they are of: where the borders of the labels fit the edges of the images best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .check import ERROR, Array, Check

SHIFTED_MASKS = Check(
    "shifted_masks",
    "Masks shifted against their images",
    ERROR,
    "The borders of the labels lie beside the edges that the images have, most by the same number of pixels.",
    "Look how masks were resized, cropped or exported, and shift them back before anything else.",
)

REACH: Final = 6
"""Pixels that a shift may have in each direction."""

_LEAST: Final = 2
"""Pixels of a shift that resizing conventions do not explain."""

FEWEST_FOR_SHIFT: Final = 8
"""Images that it takes."""

_SIGMAS: Final = 5.0
"""How far the mean gain must be from zero, in standard errors; and how far one mask's from those of the others."""

_LEAST_GAIN: Final = 0.5
"""Gain of a single mask below which nothing is said; it is 0 where a mask lies right and its borders are edges."""

_MOST_BORDER: Final = 3000
"""Border pixels that are looked at in each direction, evenly spread."""


@dataclass(frozen=True)
class Shift:
    """How masks must be moved to fit their images.

    Attributes:
        down: pixels
        right: pixels
        sigmas: mean gain by its standard error over the images
        num_images: looked at
    """

    down: int
    right: int
    sigmas: float
    num_images: int


def border_contrast(image: Array, values: Array) -> Array | None:
    """How strong the edges of an image are along the borders of its label, were that moved.

    Args:
        image: (H, W) grey
        values: (H, W) integer mask values

    Returns:
        (2 r + 1, 2 r + 1) mean gradient by pixels down and right, without mean and of unit spread; None where the label
        has hardly any borders, or the image no edges

    Example:
        >>> mask = np.zeros((60, 60), int)
        >>> mask[20:40, 20:40] = 1
        >>> found = border_contrast(np.roll(mask, (2, -3), (0, 1)) * 200.0, mask)
        >>> down, right = np.unravel_index(found.argmax(), found.shape)
        >>> int(down) - REACH, int(right) - REACH
        (2, -3)
    """
    grey = image.astype(np.float32)
    height, width = values.shape
    if min(height, width) <= 4 * REACH:
        return None
    inner = np.s_[REACH : height - REACH - 1, REACH : width - REACH - 1]
    means = np.zeros((2 * REACH + 1, 2 * REACH + 1))
    total = 0
    for axis in (0, 1):
        strength = np.abs(np.diff(grey, axis=axis))
        rows, columns = np.nonzero(np.diff(values.astype(np.int64), axis=axis)[inner])
        step = max(len(rows) // _MOST_BORDER, 1)
        rows, columns = rows[::step], columns[::step]
        total += len(rows)
        for down in range(2 * REACH + 1):
            for right in range(2 * REACH + 1):
                means[down, right] += float(strength[rows + down, columns + right].sum())
    spread = float(means.std())
    return None if total < 50 or spread == 0 else (means - means.mean()) / spread


def common_shift(contrasts: Sequence[Array]) -> Shift | None:
    """The shift that most images agree on, if it is no chance.

    Args:
        contrasts: of `border_contrast`, one per image

    Returns:
        the shift; None if labels lie where they should, or it cannot be told

    Example:
        >>> one = np.zeros((13, 13))
        >>> one[8, 6] = 5.0
        >>> common_shift([one + 0.1 * number for number in range(9)])
        Shift(down=2, right=0, sigmas=inf, num_images=9)
    """
    if len(contrasts) < FEWEST_FOR_SHIFT:
        return None
    stacked = np.stack(contrasts)
    mean = stacked.mean(axis=0)
    down, right = (int(place) for place in np.unravel_index(mean.argmax(), mean.shape))
    if max(abs(down - REACH), abs(right - REACH)) < _LEAST:
        return None
    gains = stacked[:, down, right] - stacked[:, REACH, REACH]
    error = float(gains.std(ddof=1)) / np.sqrt(len(gains))
    sigmas = float(gains.mean()) / error if error > 0 else float("inf")
    return Shift(down - REACH, right - REACH, sigmas, len(contrasts)) if sigmas >= _SIGMAS else None


def shows_shifts(contrasts: Sequence[Array]) -> bool:
    """Whether the borders of labels are edges of the images, so that a single shifted mask can be told.

    Args:
        contrasts: of `border_contrast`, of some images

    Returns:
        whether most fit best where they are

    Example:
        >>> one = np.zeros((13, 13))
        >>> one[6, 6] = 5.0
        >>> shows_shifts([one] * 9), shows_shifts([np.roll(one, 3)] * 9)
        (True, False)
    """
    if len(contrasts) < FEWEST_FOR_SHIFT:
        return False
    down, right = _best(np.stack(contrasts))
    return float((np.maximum(np.abs(down), np.abs(right)) < _LEAST).mean()) > 0.5


def _best(stacked: Array) -> tuple[Array, Array]:
    best = stacked.reshape(len(stacked), -1).argmax(1)
    return best // stacked.shape[2] - REACH, best % stacked.shape[2] - REACH


def single_shifts(contrasts: Sequence[Array]) -> dict[int, Shift]:
    """Masks that lie beside their images while those of most other images lie right.

    What a shift gains is compared with what it gains in the other images, so that nothing is said where the borders of
    labels are no edges of images anyway.

    Args:
        contrasts: of `border_contrast`, one per image

    Returns:
        place in `contrasts` to shift

    Example:
        >>> right, moved = np.zeros((13, 13)), np.zeros((13, 13))
        >>> right[6, 6], moved[6, 10] = 5.0, 5.0
        >>> single_shifts([right] * 9 + [moved])
        {9: Shift(down=0, right=4, sigmas=inf, num_images=10)}
    """
    if not shows_shifts(contrasts):
        return {}
    stacked = np.stack(contrasts)
    down, right = _best(stacked)
    away = np.maximum(np.abs(down), np.abs(right)) >= _LEAST
    near = stacked[:, REACH - 1 : REACH + 2, REACH - 1 : REACH + 2].max((1, 2))
    gains = np.where(away, stacked.max((1, 2)) - near, 0)
    middle = float(np.median(gains))
    spread = 1.4826 * float(np.median(np.abs(gains - middle)))
    limit = max(_LEAST_GAIN, middle + _SIGMAS * spread)
    return {
        int(place): Shift(
            int(down[place]), int(right[place]), float(gains[place]) / spread if spread else float("inf"), len(stacked)
        )
        for place in np.flatnonzero(gains > limit)
    }
