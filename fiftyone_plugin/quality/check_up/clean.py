"""What a clean-up changes in one label: specks, pinholes and blended borders become what is around them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np

from .check import Array
from .parts import PINHOLE, SPECK, Parts, tiny_parts
from .values import BLENDED_BORDER, blended_pixels

CLEANED: Final = (BLENDED_BORDER.code, PINHOLE.code, SPECK.code)
"""Codes of what can be cleaned, in the order in which it is done."""


@dataclass(frozen=True, eq=False)
class Repair:
    """Pixels that get another value.

    Attributes:
        code: of the check that found them
        before: the commonest value that they had
        value: that they get
        mask: (H, W) bool
    """

    code: str
    before: int
    value: int
    mask: Array


def repairs(
    values: Array,
    codes: Collection[str],
    named: Collection[int],
    ignored: Collection[int],
    nothing: Collection[int],
    max_area: int | None = None,
) -> list[Repair]:
    """What to change in a label.

    Args:
        values: (H, W) integer mask values
        codes: of `CLEANED`
        named: values of classes and ignored ones; empty where none are named
        ignored: values that count for nothing
        nothing: values that mean "no class here"
        max_area: pixels of the largest speck, see `speck_area`

    Returns:
        in the order in which they are done

    Example:
        >>> mask = np.ones((9, 9), int)
        >>> mask[4, 4] = 2
        >>> [(one.code, one.before, one.value) for one in repairs(mask, CLEANED, (1, 2), (), ())]
        [('speck', 2, 1)]
    """
    found: list[Repair] = []
    now = values.astype(np.int64)
    if BLENDED_BORDER.code in codes:
        wrong = blended_pixels(now, named, ignored)
        if wrong.any() and not wrong.all():
            found += _grouped(BLENDED_BORDER.code, now, wrong, _nearest(now, wrong))
            now = np.where(wrong, _nearest(now, wrong), now)
    parts = tiny_parts(Parts.of(now), ignored, max_area)
    for code in (PINHOLE.code, SPECK.code):
        chosen = [part for part in parts if part.spot(nothing).code == code and code in codes]
        target = now.copy()
        for part in chosen:
            target[part.rows, part.columns] = part.around
        found += _grouped(code, now, target != now, target)
    return found


def _nearest(values: Array, wrong: Array) -> Array:
    """Every pixel's value, of the nearest pixel that is not wrong."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(wrong, return_distances=False, return_indices=True)
    return np.asarray(values[rows, columns])


def _grouped(code: str, before: Array, changed: Array, after: Array) -> list[Repair]:
    found = []
    for value in np.unique(after[changed]).tolist():
        mask = changed & (after == value)
        kinds, counts = np.unique(before[mask], return_counts=True)
        found.append(Repair(code, int(kinds[counts.argmax()]), int(value), mask))
    return found
