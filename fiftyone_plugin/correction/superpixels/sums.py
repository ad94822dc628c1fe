"""Compiled passes over the probabilities of one image: sums over superpixels, block of pixels by block.

The classes of a block are copied next to each other first: the planes of large images lie a power of two apart, where
reading one pixel of each evicts the previous ones from the cache.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...quality.pixels.compiled import compiled

Array = npt.NDArray[Any]

BLOCK: Final = 1024


@compiled
def _load(probs: Array, start: int, count: int, block: Array) -> None:
    for k in range(probs.shape[0]):
        for j in range(count):
            block[j, k] = probs[k, start + j]


@compiled
def sum_probabilities(
    probs: Array, labels: Array, rows: Array, lowest: float, tolerance: float,
    total: Array, squares: Array, predicted: Array, doubt: Array, doubted: Array, classes: Array,
) -> int:  # fmt: skip
    """Sum probabilities, their squares, predicted classes and doubt in the label; return how many pixels are invalid.

    Args:
        probs: (K, P)
        labels: (P,) int32 class, -1 = none
        rows: (P,) int32 superpixel of each pixel, -1 = none
        lowest: smallest valid probability
        tolerance: how far from 1 the sum of a pixel may be
        total: (n, K) float64 sums of probabilities
        squares: (n,) float64 sums of squared probabilities
        predicted: (n, K) int64 pixels by predicted class, the smaller one if equal
        doubt: (n,) float64 sums of 1 - probability of the label, or of the predicted class where there is none
        doubted: (n,) int64 pixels whose label is not the predicted class
        classes: (P,) int32 predicted class, an output too
    """
    num_classes, size = probs.shape
    block = np.empty((BLOCK, num_classes), probs.dtype)
    invalid = 0
    for start in range(0, size, BLOCK):
        count = min(BLOCK, size - start)
        _load(probs, start, count, block)
        for j in range(count):
            row = rows[start + j]
            if row < 0:
                continue
            best, whole, square, low = 0, 0.0, 0.0, 0.0
            for k in range(num_classes):
                p = np.float64(block[j, k])
                whole += p
                square += p * p
                low = min(low, p)
                total[row, k] += p
                if block[j, k] > block[j, best]:
                    best = k
            if not (abs(whole - 1) <= tolerance and low >= lowest):
                invalid += 1
            label = labels[start + j]
            classes[start + j] = best
            squares[row] += square
            predicted[row, best] += 1
            doubt[row] += 1 - np.float64(block[j, best if label < 0 else label])
            doubted[row] += (label >= 0) & (label != best)
    return invalid


@compiled
def sum_dominant(probs: Array, classes: Array, rows: Array, dominant: Array, out: Array) -> None:
    """Add the probabilities of pixels that are predicted as their superpixel's dominant class to (n, K) `out`."""
    num_classes, size = probs.shape
    block = np.empty((BLOCK, num_classes), probs.dtype)
    for start in range(0, size, BLOCK):
        count = min(BLOCK, size - start)
        _load(probs, start, count, block)
        for j in range(count):
            row = rows[start + j]
            if row >= 0 and classes[start + j] == dominant[row]:
                for k in range(num_classes):
                    out[row, k] += np.float64(block[j, k])


@compiled
def _cosine(vector: Array, direction: Array) -> float:
    """Cosine of the angle between a vector and a vector of length 1."""
    product, square = 0.0, 0.0
    for k in range(direction.size):
        p = np.float64(vector[k])
        product += p * direction[k]
        square += p * p
    return product / np.sqrt(square)


@compiled
def find_representatives(
    probs: Array, labels: Array, classes: Array, rows: Array, dominant: Array, directions: Array,
    best: Array, places: Array, weighted: Array,
) -> None:  # fmt: skip
    """Find the pixel of the dominant class that is most like the mean of such pixels, the first one of equals.

    Args:
        probs: (K, P)
        labels: (P,) int32 class, -1 = none
        classes: (P,) int32 predicted class
        rows: (P,) int32 superpixel of each pixel, -1 = none
        dominant: (n,) int32
        directions: (n, K) mean probabilities of pixels of the dominant class, scaled to length 1
        best: (n,) float64, filled with -1: cosine of the representative pixel, an output
        places: (n,) int64: the representative pixel's number, an output
        weighted: (n,) float64: sums of cosine times doubt over all pixels, an output
    """
    num_classes, size = probs.shape
    block = np.empty((BLOCK, num_classes), probs.dtype)
    for start in range(0, size, BLOCK):
        count = min(BLOCK, size - start)
        _load(probs, start, count, block)
        for j in range(count):
            row, predicted, label = rows[start + j], classes[start + j], labels[start + j]
            if row < 0:
                continue
            cosine = _cosine(block[j], directions[row])
            weighted[row] += cosine * (1 - np.float64(block[j, predicted if label < 0 else label]))
            if predicted == dominant[row] and cosine > best[row]:
                best[row] = cosine
                places[row] = start + j


@compiled
def sum_alike(
    probs: Array, labels: Array, classes: Array, rows: Array, directions: Array, threshold: float,
    weighted: Array, doubt: Array, alike: Array,
) -> None:  # fmt: skip
    """Sum doubt, plain and times cosine to the representative pixel, over pixels of at least that cosine, and count.

    Args:
        probs: (K, P)
        labels: (P,) int32 class, -1 = none
        classes: (P,) int32 predicted class
        rows: (P,) int32 superpixel of each pixel, -1 = none
        directions: (n, K) probabilities of the representative pixel, scaled to length 1
        threshold: smallest cosine
        weighted: (n,) float64, an output
        doubt: (n,) float64, an output
        alike: (n,) int64, an output
    """
    num_classes, size = probs.shape
    block = np.empty((BLOCK, num_classes), probs.dtype)
    for start in range(0, size, BLOCK):
        count = min(BLOCK, size - start)
        _load(probs, start, count, block)
        for j in range(count):
            row, label = rows[start + j], labels[start + j]
            if row < 0:
                continue
            cosine = _cosine(block[j], directions[row])
            if cosine >= threshold:
                lost = 1 - np.float64(block[j, classes[start + j] if label < 0 else label])
                weighted[row] += cosine * lost
                doubt[row] += lost
                alike[row] += 1
