"""Two models, or two trainings, compared on the same images: how much better one is, with an interval.

The mean IoU is that of all images together, so that its spread is not that of a mean over images; images are drawn
again with replacement, both models on the same draws (Efron 1979, Bootstrap methods, Annals of Statistics 7). Images
that belong together, frames of a video for instance, are drawn together.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ..regions.review_statistics import LEVEL, Interval

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

DRAWS: Final = 1000
_FEWEST: Final = 2


@dataclass(frozen=True)
class PairedGain:
    """The second against the first.

    Attributes:
        first: mean IoU, 0 to 1
        second: mean IoU, 0 to 1
        gain: second - first, with its interval
        num_images: that both were compared on
    """

    first: float
    second: float
    gain: Interval
    num_images: int

    @property
    def is_certain(self) -> bool:
        """Whether the interval of the gain leaves out zero."""
        return self.gain.low > 0 or self.gain.high < 0


def overlaps(label: IntArray, predicted: IntArray, num_classes: int) -> FloatArray:
    """What the mean IoU needs of one image.

    Args:
        label: (H, W) class indices, below 0 where ignored
        predicted: (H, W) class indices, below 0 where nothing is predicted
        num_classes: K

    Returns:
        (2, K) pixels in common, and in either

    Raises:
        LabelQualityError: if shapes differ

    Example:
        >>> overlaps(np.array([[0, 0, 1, -1]]), np.array([[0, 1, 1, 1]]), 2).tolist()
        [[1.0, 1.0], [2.0, 2.0]]
    """
    if label.shape != predicted.shape:
        raise LabelQualityError(f"Expected masks of one size, but got {label.shape} and {predicted.shape}")
    known = label >= 0
    given, seen = label[known].astype(np.int64), predicted[known].astype(np.int64)
    common = np.bincount(given[given == seen], minlength=num_classes)
    either = np.bincount(given, minlength=num_classes) + np.bincount(seen[seen >= 0], minlength=num_classes) - common
    return np.stack([common, either]).astype(np.float64)


def paired_gain(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    groups: Sequence[Hashable] | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> PairedGain:
    """How much better the second is, over the classes that occur.

    Args:
        first: (N, 2, K) of `overlaps`, one per image
        second: (N, 2, K), of the same images
        groups: of each image; equal ones are drawn together; each by itself if None
        level: share of intervals that hold the truth
        draws: of images
        seed: of the draws

    Returns:
        the gain; its interval is that of draws of images, not of trainings

    Raises:
        LabelQualityError: if there are fewer than two images or groups, or shapes differ

    Example:
        >>> better = np.tile([[[90.0, 8.0], [100.0, 10.0]]], (20, 1, 1))
        >>> worse = np.tile([[[80.0, 6.0], [100.0, 12.0]]], (20, 1, 1))
        >>> found = paired_gain(worse, better)
        >>> round(found.first, 2), round(found.second, 2), found.is_certain
        (0.65, 0.85, True)
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    places = np.arange(len(one))
    if groups is not None and len(groups) == len(one):
        numbers = {name: number for number, name in enumerate(dict.fromkeys(groups))}
        places = np.array([numbers[name] for name in groups], int)
    elif groups is not None:
        raise LabelQualityError(f"Expected a group for each of {len(one)} images, but got {len(groups)}")
    count = len(np.unique(places))
    if one.shape != other.shape or one.ndim != 3 or count < _FEWEST:
        raise LabelQualityError(
            f"Expected the overlaps of the same images, of at least {_FEWEST} groups, but got shapes {one.shape} and "
            f"{other.shape} in {count} groups; pass more images"
        )
    sums = np.zeros((2, count, *one.shape[1:]))
    np.add.at(sums[0], places, one)
    np.add.at(sums[1], places, other)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    ious = [_mean_iou(np.tensordot(drawn, part, 1)) for part in sums]
    low, high = np.quantile(ious[1] - ious[0], [(1 - level) / 2, (1 + level) / 2])
    whole = [float(_mean_iou(part.sum(0)[None])[0]) for part in sums]
    return PairedGain(whole[0], whole[1], Interval(whole[1] - whole[0], float(low), float(high)), len(one))


def _mean_iou(sums: FloatArray) -> FloatArray:
    """(D,) of (D, 2, K); classes that occur nowhere in a draw are left out."""
    common, either = sums[:, 0], sums[:, 1]
    there = either > 0
    return np.asarray((common / np.maximum(either, 1)).sum(1) / np.maximum(there.sum(1), 1))
