"""A table of classes that is shifted or swapped: labels and predictions agree, but under other numbers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from ..records.image_records import ImageRecord

LEAST_SHARE: Final = 0.5
"""Share of a class's pixels that must be predicted as the other class, and of the other class that must come from it.
At half, no third class explains the pixels better; set by hand."""
OWN_SHARE: Final = 0.2
"""Share of its pixels that may at most be predicted as itself; set by hand."""
LEAST_PIXELS: Final = 256


def class_confusion(record: ImageRecord) -> npt.NDArray[np.int64]:
    """Count the labelled pixels of an image by given and predicted class; counts of several images add up.

    Args:
        record: of one image

    Returns:
        (K, K) int64, given class first.

    Example:
        >>> from ..records.image_records import image_record
        >>> class_confusion(image_record([[0, 0, 1]], np.array([[[0.9, 0.1, 0.4]], [[0.1, 0.9, 0.6]]])))
        array([[1, 1],
               [0, 1]])
    """
    size, suspects = record.num_classes, record.suspects
    pairs = suspects.given.astype(np.int64) * size + suspects.predicted
    found = np.bincount(pairs, minlength=size**2).reshape(size, size).astype(np.int64)
    np.fill_diagonal(found, record.sums.agreeing)
    return found


def swapped_classes(confusion: npt.NDArray[Any], unused: Collection[int] = ()) -> dict[int, int]:
    """Find classes that would fit far better under the numbers of others.

    Each labelled class is assigned one predicted class so that the mean share of explained pixels is largest (the
    assignment problem). A class counts as moved if most of its pixels are predicted as the other, hardly any as itself,
    and the other class is predicted mostly there. What a class moves to must be free: moved itself, or without labels.
    One class alone is no permutation: two must be moved, unless it moves to one of `unused`. A weak model that predicts
    everything as a few classes moves none, as those are predicted everywhere.

    Args:
        confusion: (K, K) pixels by given and predicted class
        unused: predicted classes that count even if a single class moves to one of them

    Returns:
        given class to the class that it is predicted as; empty if the table seems right

    Example:
        >>> swapped_classes(np.array([[900, 10, 20], [10, 30, 700], [20, 800, 10]]))
        {1: 2, 2: 1}
        >>> swapped_classes(np.array([[900, 10, 0], [500, 30, 0], [700, 0, 10]]))
        {}
    """
    counts = np.asarray(confusion, np.float64)
    rows = np.flatnonzero(counts.sum(axis=1) >= LEAST_PIXELS)
    shares = counts[rows] / counts[rows].sum(axis=1, keepdims=True)
    came_from = shares / np.maximum(shares.sum(axis=0, keepdims=True), 1e-12)
    moved = {
        int(rows[place]): int(target)
        for place, target in zip(*linear_sum_assignment(-shares), strict=True)
        if target != rows[place]
        and shares[place, target] >= LEAST_SHARE
        and came_from[place, target] >= LEAST_SHARE
        and shares[place, rows[place]] <= OWN_SHARE
    }
    while open_ended := [given for given, target in moved.items() if target in rows and target not in moved]:
        moved = {given: target for given, target in moved.items() if given not in open_ended}
    return moved if len(moved) > 1 or set(moved.values()) & set(unused) else {}
