"""Specks and pinholes: parts of a few pixels that one other value surrounds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..pixels.boundaries import components
from .check import WARNING, Array, Check, Spot, box_of
from .scans import measured

SPECK = Check(
    "speck",
    "Specks: a few pixels of a class amid another",
    WARNING,
    "They are mostly slips of a tool; very small real things can be among them, so look before you clean.",
    "`clean_labels` gives them the class around them, in the corrected labels.",
)
PINHOLE = Check(
    "pinhole",
    "Pinholes: a few pixels without a class amid one",
    WARNING,
    "They are mostly slips of a tool; very small real holes can be among them, so look before you clean.",
    "`clean_labels` gives them the class around them, in the corrected labels.",
)

SMALLEST, LARGEST, SHARE = 2, 12, 1 / 50_000
"""Pixels of what counts as a speck: a share of the image between these two, set by hand. Far things that are real
are hardly smaller."""

_REACH: Final = 3
"""Pixels within which a part of the same value makes a small part a piece of it, as of a pole or a wire."""


@dataclass(frozen=True, eq=False)
class TinyPart:
    """One speck or pinhole.

    Attributes:
        value: of its pixels
        around: value of all pixels around it
        rows: (n,) row of each pixel
        columns: (n,) column of each
    """

    value: int
    around: int
    rows: Array
    columns: Array

    def spot(self, nothing: Collection[int]) -> Spot:
        """What is said of it.

        Args:
            nothing: values that mean "no class here"
        """
        code = PINHOLE.code if self.value in nothing else SPECK.code
        return Spot(code, box_of(self.rows, self.columns), len(self.rows))


def speck_area(shape: tuple[int, int]) -> int:
    """Pixels up to which a part counts as a speck.

    Args:
        shape: (H, W) of the mask

    Example:
        >>> speck_area((24, 32)), speck_area((360, 480)), speck_area((1024, 2048))
        (2, 3, 12)
    """
    return int(np.clip(shape[0] * shape[1] * SHARE, SMALLEST, LARGEST))


@dataclass(frozen=True, eq=False)
class Parts:
    """The connected parts of a mask.

    Attributes:
        values: (H, W) integer mask values
        numbers: (H, W) number of each pixel's part, from 0
        boxes: (n, 4) (top, left, bottom, right) of each, half open
        areas: (n,) pixels
    """

    values: Array
    numbers: Array
    boxes: Array
    areas: Array

    @classmethod
    def of(cls, values: Array) -> Parts:
        """Find the parts of one value that touch by side or corner.

        Args:
            values: (H, W) integer mask values
        """
        numbers, count = components((values - int(values.min())).astype(np.int32))
        return cls(values, numbers, *measured(numbers, count))

    def inside(self) -> Array:
        """(n,) whether a part does not touch the edge of the image."""
        height, width = self.values.shape
        return np.asarray((self.boxes[:, :2] > 0).all(axis=1) & (self.boxes[:, 2:] < (height, width)).all(axis=1))


def tiny_parts(parts: Parts, ignored: Collection[int] = (), max_area: int | None = None) -> list[TinyPart]:
    """Find connected parts of a few pixels that one single other value surrounds.

    Pieces of thin things are none: a part with pixels of its own value nearby belongs to those. Neither is what touches
    the edge of the image, where a thing may begin, nor what is surrounded by ignored pixels, which count for nothing.

    Args:
        parts: of the mask
        ignored: values that count for nothing
        max_area: pixels of the largest; see `speck_area` if None

    Returns:
        in reading order

    Example:
        >>> mask = np.zeros((9, 9), int)
        >>> mask[4, 4] = 7
        >>> [(part.value, part.around, len(part.rows)) for part in tiny_parts(Parts.of(mask))]
        [(7, 0, 1)]
    """
    values, numbers = parts.values, parts.numbers
    largest = speck_area((values.shape[0], values.shape[1])) if max_area is None else max_area
    small = np.flatnonzero((parts.areas <= largest) & parts.inside())
    if not len(small):
        return []
    rows, columns, part = _pixels(parts, small)
    lone, around = _surroundings(values, numbers, rows, columns, len(parts.areas))
    lone &= ~np.isin(around, list(ignored))
    kept = lone[part]
    return _split(values, around, rows[kept], columns[kept], part[kept])


def _pixels(parts: Parts, chosen: Array) -> tuple[Array, Array, Array]:
    """Row, column and part of each pixel of small parts."""
    rows, columns, part = [], [], []
    for number in chosen.tolist():
        top, left, bottom, right = parts.boxes[number].tolist()
        down, across = np.nonzero(parts.numbers[top:bottom, left:right] == number)
        rows.append(down + top)
        columns.append(across + left)
        part.append(np.full(len(down), number))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(part)


def _surroundings(values: Array, numbers: Array, rows: Array, columns: Array, count: int) -> tuple[Array, Array]:
    """(count,) whether one other value surrounds a part and its own is not near; and that value."""
    part, own = numbers[rows, columns], values[rows, columns]
    lowest = np.full(count, np.iinfo(np.int64).max)
    highest = np.full(count, np.iinfo(np.int64).min)
    lone = np.ones(count, bool)
    height, width = values.shape
    for down in range(-_REACH, _REACH + 1):
        for right in range(-_REACH, _REACH + 1):
            beside = np.clip(rows + down, 0, height - 1), np.clip(columns + right, 0, width - 1)
            other, elsewhere = values[beside], numbers[beside] != part
            lone[part[elsewhere & (other == own)]] = False
            if max(abs(down), abs(right)) == 1:
                np.minimum.at(lowest, part[elsewhere], other[elsewhere])
                np.maximum.at(highest, part[elsewhere], other[elsewhere])
    return lone & (lowest == highest), lowest


def _split(values: Array, around: Array, rows: Array, columns: Array, part: Array) -> list[TinyPart]:
    order = np.argsort(part, kind="stable")
    ends = np.flatnonzero(np.diff(part[order])) + 1
    found = []
    for place in np.split(order, ends):
        if len(place):
            first = place[0]
            value, outside = int(values[rows[first], columns[first]]), int(around[part[first]])
            found.append(TinyPart(value, outside, rows[place], columns[place]))
    return found
