"""All that one mask says by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from .check import Array, Spot, box_of
from .copies import Outline, outlines
from .edges import edge_strips
from .enlarged import JAGGED_MASK, enlarged_from
from .parts import Parts, tiny_parts
from .values import (
    BLENDED_BORDER,
    CONSTANT_MASK,
    EMPTY_MASK,
    LOSSY_MASK,
    blended_pixels,
    is_stray,
    lossy_pixels,
    value_counts,
)

_BLENDED: Final = 0.95
"""Of the strange pixels, those that lie between two values, where a mask was interpolated and not compressed."""


@dataclass(frozen=True)
class Legend:
    """What mask values mean, as far as a check-up needs it.

    Attributes:
        named: values of classes, and ignored ones; empty where the dataset names none
        ignored: values that count for nothing
        nothing: values that mean "no class here": ignored ones and the background
    """

    named: frozenset[int] = frozenset()
    ignored: frozenset[int] = frozenset()
    nothing: frozenset[int] = frozenset()


@dataclass(frozen=True)
class MaskLook:
    """What one mask says by itself.

    Attributes:
        counts: value to pixels
        unnamed: of those, values without a class that nothing else explains
        spots: what was found
        outlines: its larger parts, to find copies by
    """

    counts: dict[int, int]
    unnamed: dict[int, int] = field(default_factory=dict)
    spots: tuple[Spot, ...] = ()
    outlines: tuple[Outline, ...] = ()


def look_at_mask(values: Array, legend: Legend, *, lossy_file: bool = False, max_area: int | None = None) -> MaskLook:
    """Check one mask.

    In a mask that compression or interpolation has changed, nothing else is looked for: all of it would be their doing.

    Args:
        values: (H, W) integer mask values
        legend: what they mean
        lossy_file: whether the mask is in a format that changes values
        max_area: pixels of the largest speck, see `speck_area`

    Returns:
        what was found

    Example:
        >>> mask = np.ones((20, 20), np.uint8)
        >>> mask[9, 9] = 2
        >>> [spot.code for spot in look_at_mask(mask, Legend(frozenset({1, 2}))).spots]
        ['speck']
    """
    counts = value_counts(values)
    present = set(counts)
    if lossy_file:
        return MaskLook(counts, spots=(Spot(LOSSY_MASK.code, note="the file format is lossy"),))
    if present <= legend.nothing:
        return MaskLook(counts, spots=(Spot(EMPTY_MASK.code),))
    if len(present) == 1:
        return MaskLook(counts, _unnamed(counts, legend), (Spot(CONSTANT_MASK.code),))
    blended = blended_pixels(values, legend.named, legend.ignored)
    lossy = lossy_pixels(counts, legend.named)
    if np.count_nonzero(blended) < _BLENDED * lossy:
        return MaskLook(counts, spots=(Spot(LOSSY_MASK.code, area=lossy, note=f"{len(counts)} values"),))
    if blended.any():
        spot = Spot(BLENDED_BORDER.code, box_of(*np.nonzero(blended)), int(np.count_nonzero(blended)))
        beside = value_counts(values[~blended])
        left = {value: pixels for value, pixels in beside.items() if not is_stray(pixels, values.size)}
        return MaskLook(counts, _unnamed(left, legend), (spot, *edge_strips(values)))
    parts = Parts.of(values)
    spots = (*_tiny(parts, legend, max_area), *edge_strips(values), *_jagged(values))
    return MaskLook(counts, _unnamed(counts, legend), spots, tuple(outlines(parts, legend.nothing)))


def _unnamed(counts: dict[int, int], legend: Legend) -> dict[int, int]:
    return {value: pixels for value, pixels in counts.items() if legend.named and value not in legend.named}


def _tiny(parts: Parts, legend: Legend, max_area: int | None) -> list[Spot]:
    found = tiny_parts(parts, legend.ignored, max_area)
    return [part.spot(legend.nothing) for part in found if not legend.named or part.value in legend.named]


def _jagged(values: Array) -> list[Spot]:
    size = enlarged_from(values)
    return [] if size is None else [Spot(JAGGED_MASK.code, note=f"as if from {size[0]} x {size[1]} pixels")]
