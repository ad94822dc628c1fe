"""Values that no class has: strays, what lossy compression leaves, and borders that were interpolated."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from .check import ERROR, TIP, WARNING, Array, Check
from .scans import count_bare_steps, mark_between

LOSSY_MASK = Check(
    "lossy_mask",
    "Lossy masks: compression has changed the values",
    ERROR,
    "JPEG or the like has put values there that no class has.",
    "Export the masks again as PNG; if there is no original, snap each pixel to the nearest named value.",
)
BLENDED_BORDER = Check(
    "blended_border",
    "Blended borders: interpolation has put values between two classes",
    ERROR,
    "The mask was resized like a photograph, so pixels at borders have values of other classes or of none.",
    '`clean_labels` gives these pixels the nearest class; resize masks with "nearest" only.',
)
STRAY_VALUE = Check(
    "stray_value",
    "Stray values: a few pixels of a value that no class has",
    ERROR,
    "They are mostly the slip of a tool.",
    "`clean_labels` repaints those amid one class; or leave the value out with `ignore_index`.",
)
VALUE_WITHOUT_CLASS = Check(
    "value_without_class",
    "Values without a class",
    ERROR,
    "Nobody has said which class these values are, so their pixels cannot be judged.",
    "Name them in the dataset's mask targets, or leave them out with `ignore_index`.",
)
CLASS_WITHOUT_PIXELS = Check(
    "class_without_pixels",
    "Classes without pixels",
    TIP,
    "The dataset names a class that no mask has.",
    "Remove them from the dataset's mask targets, or look whether their masks are missing.",
)
EMPTY_MASK = Check(
    "empty_mask",
    "Empty masks: no pixel has a class",
    WARNING,
    "All pixels are background or ignored.",
    "Right where nothing is to be seen; else label the image or leave it out of the view.",
)
CONSTANT_MASK = Check(
    "constant_mask",
    "Constant masks: one class everywhere",
    WARNING,
    "All pixels have the same class.",
    "Right for close-ups; else label the image or leave it out of the view.",
)

LOSSY_FORMATS: Final = ("JPEG", "MPO", "JPEG2000")

_STRAY: Final = 0.001
"""Share of an image's pixels up to which a value is a stray."""

_CORE: Final = 0.05
"""Share of an image's pixels from which a value is a class without a doubt."""

_APART: Final = 16
_NOISY_VALUES: Final = 4
_NOISY_SHARE: Final = 0.001
_FEWEST: Final = 10
"""Pixels from which a border counts as blended."""

_FEWEST_VALUES: Final = 4
"""Different values between others that classes by themselves do not make."""


def value_counts(values: Array) -> dict[int, int]:
    """How many pixels each value has.

    Args:
        values: (H, W) integer mask values

    Example:
        >>> value_counts(np.array([[3, 3, 0]]))
        {0: 1, 3: 2}
    """
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        found = np.flatnonzero(counts)
        return dict(zip(found.tolist(), counts[found].tolist(), strict=True))
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def lossy_pixels(counts: Mapping[int, int], named: Collection[int]) -> int:
    """Count pixels whose values scatter closely around those of the classes, as after JPEG compression.

    Args:
        counts: value to pixels of one mask
        named: values of classes and ignored ones; empty where none are named, then those of many pixels stand for them,
            and they must lie far apart

    Returns:
        pixels of all values without a class, if many different ones lie close to a class; else 0

    Example:
        >>> lossy_pixels({0: 900, 1: 9, 2: 4, 3: 3, 251: 1, 252: 2, 253: 6, 255: 800}, ())
        25
        >>> lossy_pixels({0: 900, 1: 140, 2: 130, 3: 4, 4: 3, 5: 2, 6: 1, 7: 3}, ())
        0
    """
    total = sum(counts.values())
    core = sorted(named) or sorted(value for value, number in counts.items() if number >= _CORE * total)
    strange = np.array([value for value in counts if value not in set(core)])
    crowded = not named and len(core) > 1 and np.diff(core).min() < _APART  # then rare values may well be classes
    if len(strange) < _NOISY_VALUES or not core or crowded:
        return 0
    close = strange[np.abs(strange[:, None] - np.array(core)[None]).min(axis=1) < _APART].tolist()
    if len(close) < _NOISY_VALUES or sum(counts[value] for value in close) < _NOISY_SHARE * total:
        return 0
    return sum(counts[value] for value in strange.tolist())


def blended_pixels(values: Array, named: Collection[int], ignored: Collection[int]) -> Array:
    """Find pixels whose value lies between those on both sides, as interpolation makes them.

    Where the value is that of a class, it may be a thin thing between two others; so such pixels count only if they are
    of several values, and if between classes that are not neighbours in number there are hardly any other borders.

    Args:
        values: (H, W) integer mask values
        named: values of classes and ignored ones; empty where none are named
        ignored: values that count for nothing

    Returns:
        (H, W) bool; nothing is set where there are too few

    Example:
        >>> mask = np.repeat([[0, 0, 0, 9, 20, 20, 20]], 12, axis=0)
        >>> int(blended_pixels(mask, (0, 20), ()).sum()), int(blended_pixels(mask, (0, 9, 20), ()).sum())
        (12, 0)
    """
    wide = values.astype(np.int32)
    between = np.zeros(wide.shape, bool)
    mark_between(wide, between)
    found = np.zeros_like(between)
    places = np.flatnonzero(between)
    kinds = wide.reshape(-1)[places]
    if len(places) < _FEWEST:
        return found
    meant = places[~np.isin(kinds, list(ignored))]
    many = len(meant) >= _FEWEST and len(np.unique(kinds)) >= _FEWEST_VALUES
    if not (many and len(meant) >= count_bare_steps(wide, between)):
        meant = places[~np.isin(kinds, list(named))] if named else places[:0]
    if len(meant) >= _FEWEST:
        found.reshape(-1)[meant] = True
    return found


def is_stray(pixels: int, size: int) -> bool:
    """Whether a value without a class has so few pixels that it was hardly meant.

    Args:
        pixels: of the value in one image
        size: all pixels of the image

    Example:
        >>> is_stray(3, 10_000), is_stray(300, 10_000)
        (True, False)
    """
    return pixels <= _STRAY * size
