"""Masks of single objects, as FiftyOne keeps them in Detections: cut to a box that is relative to the image."""

from __future__ import annotations

from typing import Any

import numpy as np

from .masks import read_mask_file, resize_nearest


def instance_mask(detection: Any, shape: tuple[int, int]) -> np.ndarray | None:
    """The mask of a `fiftyone.Detection` in its image; what lies beyond the image's edge is cut off.

    Args:
        detection: with `mask`, or `mask_path` on disk
        shape: (H, W) of the image

    Returns:
        (H, W) bool, nothing of a mask without pixels; None if the detection has no mask

    Raises:
        OSError: if the file cannot be read

    Example:
        >>> from types import SimpleNamespace
        >>> half = SimpleNamespace(mask=np.ones((1, 1)), mask_path=None, bounding_box=[0.5, 0, 0.5, 1])
        >>> instance_mask(half, (1, 4)).astype(int)
        array([[0, 0, 1, 1]])
    """
    mask = detection.mask
    if mask is None and detection.mask_path:
        mask = read_mask_file(detection.mask_path)
    if mask is None:
        return None
    whole = np.zeros(shape, bool)
    if np.asarray(mask).size == 0:
        return whole
    x, y, width, height = detection.bounding_box
    top, left = round(y * shape[0]), round(x * shape[1])
    bottom, right = max(round((y + height) * shape[0]), top + 1), max(round((x + width) * shape[1]), left + 1)
    part = np.asarray(mask) > 0
    longer = part.shape[0] - (bottom - top), part.shape[1] - (right - left)
    if not set(longer) <= {0, 1}:  # boxes that FiftyOne reads from CVAT are a pixel shorter than their masks
        part = resize_nearest(part, (bottom - top, right - left))
    bottom, right = top + part.shape[0], left + part.shape[1]
    above, beside = max(-top, 0), max(-left, 0)
    inside = whole[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    inside |= part[above : above + inside.shape[0], beside : beside + inside.shape[1]]
    return whole


def box_mask(box: tuple[float, float, float, float], shape: tuple[int, int]) -> np.ndarray:
    """A box as a mask, for a detection that has none.

    Args:
        box: [x, y, width, height], relative
        shape: (H, W) of the image

    Returns:
        (H, W) bool

    Example:
        >>> box_mask((0.5, 0, 0.5, 1), (1, 4)).astype(int)
        array([[0, 0, 1, 1]])
    """
    x, y, width, height = box
    mask = np.zeros(shape, bool)
    rows = slice(max(round(y * shape[0]), 0), max(round((y + height) * shape[0]), 0))
    mask[rows, max(round(x * shape[1]), 0) : max(round((x + width) * shape[1]), 0)] = True
    return mask
