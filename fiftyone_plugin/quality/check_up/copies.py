"""Images that are nearly one, and masks that were copied from one image to another."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.ndimage import binary_erosion

from ..pixels.boundaries import components
from .check import ERROR, WARNING, Array, Check, box_of
from .parts import Parts

DUPLICATES_DISAGREE = Check(
    "duplicates_disagree",
    "Near-duplicate images with different masks",
    ERROR,
    "Two images are the same, also after compression or resizing, but their masks are not.",
    "Keep the mask that is right, or leave one of the two images out; never let one train and the other test.",
)
COPIED_MASK = Check(
    "copied_mask",
    "One mask, maybe shifted, on different images",
    WARNING,
    "Clearly different images have the same mask, or most parts of it.",
    "Look whether the mask of another image was saved under this name.",
)

THUMBNAIL: Final = 16
"""Pixels of a side of the small grey images that are compared."""

_NEAR: Final = 6.0
"""Mean difference of thumbnails, of 255, up to which images may be nearly one."""

_SAME, _SAME_BLOCK, _BLOCK = 4.0, 10.0, 8
"""Mean difference of all pixels, of 255, and of each block of 8 x 8 pixels, up to which two images are one: anything
that moved makes some block differ by more."""

_DIFFERENT: Final = 12.0
_SIDE: Final = 256
_DISAGREE: Final = 0.005
"""Share of the image that a difference between masks takes."""

_BANDS: Final = 4
_MOST_OF_ONE: Final = 64
"""Images of one bucket that each is compared with; there are more only where all look alike."""

_LARGE: Final = 1 / 1_000
_SMALLEST: Final = 16
_WHOLE: Final = 0.5


def difference_hash(thumbnail: Array) -> int:
    """64 bits of where a small image gets lighter, which re-encoding and resizing hardly change.

    Args:
        thumbnail: (16, 16) grey

    Example:
        >>> difference_hash(np.zeros((16, 16))), difference_hash(np.tile(np.arange(16.0), (16, 1))) > 0
        (0, True)
    """
    rows = thumbnail.reshape(8, 2, 16).mean(axis=1)
    lighter = np.diff(rows, axis=1)[:, ::2][:, :8] > 0.5
    return int.from_bytes(np.packbits(lighter).tobytes(), "big")


def near_pairs(thumbnails: Array, hashes: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of images whose thumbnails are nearly one.

    Args:
        thumbnails: (n, 16, 16) grey
        hashes: (n,) of `difference_hash`

    Returns:
        pairs of places, nearest first

    Example:
        >>> dark, light = np.zeros((16, 16)), np.full((16, 16), 200.0)
        >>> near_pairs(np.stack([dark, light, dark + 1]), [0, 0, 0])
        [(0, 2)]
    """
    distances: dict[tuple[int, int], float] = {}
    for bucket in _buckets(hashes):
        order = sorted(bucket, key=lambda place: float(thumbnails[place].mean()))
        for position, one in enumerate(order):
            others = np.array(order[position + 1 : position + 1 + _MOST_OF_ONE], np.int64)
            far = np.abs(thumbnails[others] - thumbnails[one]).mean(axis=(1, 2))
            for other, distance in zip(others[far <= _NEAR].tolist(), far[far <= _NEAR].tolist(), strict=True):
                distances[min(one, other), max(one, other)] = distance
    return sorted(distances, key=lambda pair: distances[pair])


def _buckets(hashes: Sequence[int]) -> Iterator[list[int]]:
    """Images that share a quarter of their hashes: all those that differ in less than four bits, and others."""
    width = 64 // _BANDS
    for band in range(_BANDS):
        found: dict[int, list[int]] = defaultdict(list)
        for place, number in enumerate(hashes):
            found[number >> (band * width) & ((1 << width) - 1)].append(place)
        yield from (bucket for bucket in found.values() if len(bucket) > 1)


def disagreement(
    images: tuple[Array, Array], masks: tuple[Array, Array]
) -> tuple[tuple[float, float, float, float], float] | None:
    """Where two masks differ although their images are one.

    Args:
        images: two (H, W) grey images of one size
        masks: two (H, W) masks of that size

    Returns:
        (top, left, bottom, right) of the largest place as shares of the image, and the share that it takes of it; None
        if there is none worth naming, or the images differ somewhere

    Example:
        >>> empty, half = np.zeros((20, 20), int), np.repeat([[0, 1]], 20, 0).repeat(10, 1)
        >>> grey = np.zeros((20, 20))
        >>> disagreement((grey, grey), (empty, half))
        ((0.0, 0.5, 1.0, 1.0), 0.5)
        >>> disagreement((grey, grey + 200.0 * half), (empty, half)) is None
        True
    """
    if not _is_one(*images):
        return None
    differs = masks[0] != masks[1]
    height, width = differs.shape
    solid = binary_erosion(differs, np.ones((3, 3)))  # borders that lie a pixel aside have none
    if not solid.any():
        return None
    numbers, _ = components(np.where(solid, 0, -1).astype(np.int32))
    largest = int(np.bincount(numbers[numbers >= 0]).argmax())
    top, left, bottom, right = box_of(*np.nonzero(numbers == largest))
    top, left, bottom, right = top - 1, left - 1, bottom + 1, right + 1
    share = float(differs[top:bottom, left:right].sum()) / differs.size
    return ((top / height, left / width, bottom / height, right / width), share) if share >= _DISAGREE else None


def _is_one(image: Array, other: Array) -> bool:
    """Whether two images show the same everywhere, but for their exposure."""
    difference = image.astype(np.float32) - other
    difference -= np.median(difference)
    height, width = (side // _BLOCK * _BLOCK for side in difference.shape)
    blocks = difference[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).mean(axis=(1, 3))
    return float(np.abs(difference).mean()) <= _SAME and float(np.abs(blocks).max(initial=0.0)) <= _SAME_BLOCK


@dataclass(frozen=True)
class Outline:
    """A part of a mask that the image's edge does not cut.

    Attributes:
        shape: hash of its pixels and its value
        top: row of its box
        left: column
        area: pixels
        regular: whether it is its own mirror image, as boxes and drawn shapes are
    """

    shape: str
    top: int
    left: int
    area: int
    regular: bool


def outlines(parts: Parts, nothing: Collection[int]) -> list[Outline]:
    """The larger parts of a mask, in a form that shifting does not change.

    Args:
        parts: of the mask
        nothing: values that mean "no class here"

    Returns:
        one per part

    Example:
        >>> mask = np.zeros((20, 20), int)
        >>> mask[3:8, 3:9] = mask[8, 3] = 1
        >>> one, other = (outlines(Parts.of(np.roll(mask, by, axis=1)), (0,)) for by in (0, 4))
        >>> one[0].shape == other[0].shape, other[0].left - one[0].left
        (True, 4)
    """
    found = []
    large = (parts.areas >= max(_LARGE * parts.values.size, _SMALLEST)) & parts.inside()
    for number in np.flatnonzero(large).tolist():
        top, left, bottom, right = parts.boxes[number].tolist()
        part = parts.numbers[top:bottom, left:right] == number
        value = int(parts.values[top:bottom, left:right][part][0])
        if value in nothing:
            continue
        digest = hashlib.blake2b(np.packbits(part).tobytes(), digest_size=8)
        digest.update(f"{part.shape} {value}".encode())
        regular = bool((part == part[:, ::-1]).all() or (part == part[::-1]).all())
        found.append(Outline(digest.hexdigest(), top, left, int(parts.areas[number]), regular))
    return found


def copies(masks: Sequence[Sequence[Outline]]) -> list[tuple[int, int, int, int]]:
    """Pairs of masks of which most is the same, shifted by the same way.

    Args:
        masks: outlines of each mask

    Returns:
        (place, other place, down, right): the parts of the other mask lie so many pixels further

    Example:
        >>> one = [Outline("a", 5, 5, 90, False), Outline("b", 50, 9, 80, False)]
        >>> other = [Outline("a", 7, 5, 90, False), Outline("b", 52, 9, 80, False)]
        >>> copies([one, other, [Outline("c", 9, 9, 90, True)]])
        [(0, 1, 2, 0)]
    """
    places: dict[str, list[tuple[int, Outline]]] = defaultdict(list)
    for number, parts in enumerate(masks):
        for part in parts:
            places[part.shape].append((number, part))
    shared: dict[tuple[int, int, int, int], list[Outline]] = defaultdict(list)
    for rows in places.values():
        for position, (one, part) in enumerate(rows[:_MOST_OF_ONE]):
            for other, again in rows[position + 1 : _MOST_OF_ONE]:
                if one != other:
                    shared[one, other, again.top - part.top, again.left - part.left].append(part)
    areas = [sum(part.area for part in parts) for parts in masks]
    return [
        key
        for key, parts in shared.items()
        if (key[2], key[3]) != (0, 0)
        and sum(part.area for part in parts) >= _WHOLE * max(areas[key[0]], areas[key[1]])
        and (len(parts) > 1 or not parts[0].regular)
    ]


def is_other_image(one: Array, other: Array) -> bool:
    """Whether two thumbnails are clearly of different images.

    Args:
        one: (16, 16) grey
        other: likewise

    Example:
        >>> is_other_image(np.zeros((16, 16)), np.full((16, 16), 99.0))
        True
    """
    return float(np.abs(one - other).mean()) > _DIFFERENT


def comparison_size(shape: tuple[int, int]) -> tuple[int, int]:
    """(H, W) at which near-duplicates are compared pixel by pixel.

    Args:
        shape: (H, W) of a mask

    Example:
        >>> comparison_size((1000, 2000)), comparison_size((60, 80))
        ((128, 256), (60, 80))
    """
    scale = min(1.0, _SIDE / max(shape))
    return max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)
