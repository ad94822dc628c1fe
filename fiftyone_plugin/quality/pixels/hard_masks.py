"""Predictions without probabilities: a second hard mask stands for a model that is sure except at its borders."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ...errors import LabelQualityError
from .boundaries import boundary_tolerance
from .inputs import check_label

OWN_SHARE: Final = 0.5
"""What the predicted class has before its surroundings count, so that it stays the most probable one."""


def hard_mask_probabilities(
    predicted: object,
    num_classes: int,
    *,
    ignore_index: int | None = 255,
    tolerance: float | None = None,
) -> npt.NDArray[np.float32]:
    """Return probabilities for a hard mask, of another annotator or of a model that gives classes only.

    Half of each pixel's probability goes to its class, the other half to the classes of its surroundings by their
    share. So a pixel in the interior is sure, one beside a border is not, and the most probable class is the given
    one everywhere. Scores, flags and regions follow as from a model's probabilities, but they know nothing of doubt
    within objects: where the two masks differ beyond their borders, they always differ surely.

    Args:
        predicted: (H, W) class indices 0..K-1
        num_classes: number of classes K
        ignore_index: value of pixels without a prediction, or None; all classes are equally probable there
        tolerance: pixels around that count; None means 1 % of the diagonal, at least 1

    Returns:
        (K, H, W) float32, summing to 1.

    Raises:
        TypeError: if `predicted` is not integer.
        LabelQualityError: if it is not (H, W), a value is no class, or `num_classes` is below 1.

    Example:
        >>> hard_mask_probabilities([[0, 0, 1, 1]], 2, tolerance=1)[0].astype(float).round(2).tolist()
        [[1.0, 0.83, 0.17, 0.0]]
    """
    if isinstance(num_classes, bool) or num_classes < 1:
        raise LabelQualityError(f"Expected `num_classes` of at least 1, but got {num_classes!r}.")
    classes: npt.NDArray[Any] = np.asarray(check_label(predicted))
    known = np.ones(classes.shape, np.bool_) if ignore_index is None else classes != ignore_index
    outside = classes[known & ((classes < 0) | (classes >= num_classes))]
    if outside.size:
        raise LabelQualityError(
            f"Expected predicted classes 0 to {num_classes - 1}, but got {int(outside[0])}; raise `num_classes` or "
            "pass the value as `ignore_index`."
        )
    own = (classes == np.arange(num_classes).reshape(-1, 1, 1)) & known
    width = 2 * int(boundary_tolerance((classes.shape[0], classes.shape[1]), tolerance)) + 1
    around = np.stack([ndimage.uniform_filter(plane.astype(np.float32), width, mode="nearest") for plane in own])
    total = around.sum(axis=0, keepdims=True)
    shares = np.divide(around, total, out=np.full_like(around, 1 / num_classes), where=total > 1e-6)
    probabilities = OWN_SHARE * own + (1 - OWN_SHARE) * np.clip(shares, 0, 1)
    probabilities[:, ~known] = 1 / num_classes
    result: npt.NDArray[np.float32] = (probabilities / probabilities.sum(axis=0, keepdims=True)).astype(np.float32)
    return result
