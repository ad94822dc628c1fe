"""What one image shows of systematic errors: how much better its label would agree, were it repaired by each rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from .repairs import UNKNOWN, border_distances, small_parts

IntArray = npt.NDArray[np.integer[Any]]
FloatArray = npt.NDArray[np.float64]

REACH: Final = 12
"""Pixels, of those looked at, that a label may have moved by."""

WIDEST: Final = 4
"""Pixels, of those looked at, by which a class may be drawn too wide or too narrow."""

RINGS: Final = 2 * WIDEST
"""Pixels on each side of a class's border that are looked at."""

PART_AREAS: Final = (8, 16, 32, 64, 128, 256, 512)
"""Pixels, of those looked at, below which parts are counted."""

SMALL: Final = (0.0005, 0.002, 0.008)
"""Areas below which a part is small, as shares of the image."""

FINEST: Final = 600
"""Diagonal in pixels that is looked at; of larger images every second, third, ... row and column."""


@dataclass(frozen=True, eq=False)
class ImageSigns:
    """What one image shows; all counts are in pixels of the image.

    Attributes:
        pairs: (K, K) pixels by given and predicted class
        small: (K, S, 2) pixels of the predicted class in small parts, and those of them that are given as it
        parts: (K, A) connected parts of the given class between one of `PART_AREAS` and the next smaller one, and the
            larger ones last
        rings: (K, 2 R, 3) pixels from R outside the border of the given class to R inside; those predicted as it; those
            predicted as they are given
        moves: (2 R + 1, 2 R + 1) the same, were the label moved down and right
        flips: (2,) the same, were it mirrored, or upside down
        step: every how many-th row and column was looked at
        area: pixels with a label and a prediction
    """

    pairs: FloatArray
    small: FloatArray
    parts: FloatArray
    rings: FloatArray
    moves: FloatArray
    flips: FloatArray
    step: int
    area: float


def image_signs(given: IntArray, predicted: IntArray, num_classes: int) -> ImageSigns:
    """Compare one label with a prediction that has not seen it.

    Args:
        given: (H, W) class indices, `UNKNOWN` where ignored
        predicted: (H, W) class indices, `UNKNOWN` where not known
        num_classes: K

    Returns:
        what it shows

    Example:
        >>> seen = np.zeros((40, 60), int)
        >>> seen[10:20, 20:40] = 1
        >>> signs = image_signs(np.roll(seen, 3, axis=1), seen, 2)
        >>> best = np.unravel_index(signs.moves.argmax(), signs.moves.shape)
        >>> [int(place) - REACH for place in best], signs.pairs.tolist()
        ([0, -3], [[2170.0, 30.0], [30.0, 170.0]])
    """
    step = max(1, round(math.hypot(*given.shape) / FINEST))
    given, predicted = given[::step, ::step].astype(np.int64), predicted[::step, ::step].astype(np.int64)
    both = (given != UNKNOWN) & (predicted != UNKNOWN)
    counts = np.bincount(given[both] * num_classes + predicted[both], minlength=num_classes**2)
    pairs = counts.reshape(num_classes, num_classes).astype(np.float64)
    scale = float(step**2)
    used = np.union1d(np.unique(given[both]), np.unique(predicted[both])).tolist()
    small = np.zeros((num_classes, len(SMALL), 2))
    parts = np.zeros((num_classes, len(PART_AREAS) + 1))
    rings = np.zeros((num_classes, 2 * RINGS, 3))
    for value in used:
        small[value] = _small(given, predicted, value, both)
        parts[value] = _parts(given == value)
        rings[value] = _rings(given, predicted, value, both)
    return ImageSigns(
        pairs=pairs * scale,
        small=small * scale,
        parts=parts,
        rings=rings * scale,
        moves=_moves(given, predicted, used) * scale,
        flips=np.array([_flipped(given, predicted, axis) for axis in (1, 0)]) * scale,
        step=step,
        area=float(both.sum()) * scale,
    )


def _small(given: IntArray, predicted: IntArray, value: int, both: npt.NDArray[np.bool_]) -> FloatArray:
    seen = predicted == value
    parts = [small_parts(seen, max(2, round(share * given.size))) & both for share in SMALL]
    return np.array([[part.sum(), (part & (given == value)).sum()] for part in parts], np.float64)


def _parts(inside: npt.NDArray[np.bool_]) -> FloatArray:
    labelled, _ = ndimage.label(inside)
    areas = np.bincount(labelled.ravel())[1:]
    return np.bincount(np.searchsorted(PART_AREAS, areas, side="right"), minlength=len(PART_AREAS) + 1).astype(float)


def _rings(given: IntArray, predicted: IntArray, value: int, both: npt.NDArray[np.bool_]) -> FloatArray:
    distances = border_distances(given == value)
    near = both & (np.abs(distances) <= RINGS) & (distances != 0)
    place = distances[near] + RINGS - (distances[near] > 0)
    seen = (None, predicted[near] == value, predicted[near] == given[near])
    return np.stack([np.bincount(place, one, 2 * RINGS) for one in seen], 1).astype(np.float64)


def _moves(given: IntArray, predicted: IntArray, used: list[int]) -> FloatArray:
    """Agreement at all places at once, by correlation; what moves out of sight counts as the mean of the rest."""
    height, width = given.shape
    size = 2 * REACH + 1
    if min(height, width) <= 2 * REACH:
        return np.zeros((size, size))
    shape = [fft.next_fast_len(side + REACH, real=True) for side in given.shape]
    agreeing = sum(_spectrum(given == value, predicted == value, shape) for value in used)
    known = _spectrum(given != UNKNOWN, predicted != UNKNOWN, shape)
    counts = [np.roll(fft.irfft2(each, shape), (REACH, REACH), (0, 1))[:size, :size] for each in (agreeing, known)]
    shares = counts[0] / np.maximum(counts[1], 1)
    return np.asarray((shares - shares[REACH, REACH]) * counts[1][REACH, REACH], np.float64)


def _spectrum(label: npt.NDArray[np.bool_], seen: npt.NDArray[np.bool_], shape: list[int]) -> Any:
    return np.conj(fft.rfft2(label.astype(np.float32), shape)) * fft.rfft2(seen.astype(np.float32), shape)


def _flipped(given: IntArray, predicted: IntArray, axis: int) -> float:
    other = np.flip(given, axis)
    valid = (given != UNKNOWN) & (predicted != UNKNOWN)
    there = (other != UNKNOWN) & (predicted != UNKNOWN)
    before, after = (given == predicted)[valid], (other == predicted)[there]
    return float((after.mean() - before.mean()) * valid.sum()) if after.size and before.size else 0.0
