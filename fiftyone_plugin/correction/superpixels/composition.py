"""One label map from masks that overlap: large masks are painted first, so that smaller ones stay visible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError

_LARGEST_LABEL = int(np.iinfo(np.uint16).max)


@dataclass(frozen=True)
class Composition:
    """A label map, and which mask every pixel of it comes from.

    Attributes:
        labels: (H, W) uint8 class ids, uint16 if a class id or `unpainted` is above 255
        segments: (H, W) int32; `i + 1` where mask `kept[i]` is visible, 0 = no mask
        confidence: (H, W) float32, score of the visible mask in [0, 1], 0 where there is none
        kept: (n,) indices of the masks that were painted, ascending; smaller ones may hide all of a mask

    Example:
        >>> composed = compose_masks([np.ones((1, 3)), [[0, 1, 0]]], class_ids=[4, 7], scores=[0.5, 1], shape=(1, 3))
        >>> composed.segments
        array([[1, 2, 1]], dtype=int32)
    """

    labels: npt.NDArray[np.integer[Any]]
    segments: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    kept: npt.NDArray[np.intp]


@dataclass(frozen=True)
class _Cutout:
    """A mask's bounding box (top, left, bottom, right; half open) and the mask inside it."""

    box: tuple[int, int, int, int]
    mask: npt.NDArray[np.bool_]
    area: int

    @property
    def window(self) -> tuple[slice, slice]:
        top, left, bottom, right = self.box
        return slice(top, bottom), slice(left, right)


def compose_masks(
    masks: Iterable[npt.ArrayLike],
    class_ids: Sequence[int] | npt.NDArray[Any],
    scores: Sequence[float] | npt.NDArray[Any],
    shape: tuple[int, int],
    *,
    unpainted: int = 0,
    min_area: int = 1,
    nms_iou: float | None = None,
    boxes: npt.ArrayLike | None = None,
) -> Composition:
    """Paint masks by area, largest first, into one label map.

    Args:
        masks: n masks of (H, W), true inside; read once, and only their bounding boxes are kept, so a generator
            saves memory
        class_ids: (n,) class of each mask
        scores: (n,) confidence of each mask in [0, 1]
        shape: (H, W) of the image
        unpainted: class of pixels that no mask covers: the background's, or the ignore index
        min_area: masks of fewer pixels are left out
        nms_iou: None paints every mask; a number leaves out each mask whose intersection over union with a
            better-scored one, of whatever class, is above it
        boxes: (n, 4) x1, y1, x2, y2 on which the intersection over union is measured; None = on the masks

    Returns:
        the label map with its segments and confidence; masks of equal area are painted in the order given

    Raises:
        LabelQualityError: lengths or shapes differ, or a value is out of its range

    Example:
        >>> car, wheel = np.ones((2, 4)), [[0, 0, 0, 0], [0, 1, 0, 0]]
        >>> composed = compose_masks([wheel, car], class_ids=[7, 4], scores=[0.5, 0.75], shape=(2, 4))
        >>> composed.labels
        array([[4, 4, 4, 4],
               [4, 7, 4, 4]], dtype=uint8)

    References:
        Composition of Grounded-SAM's pseudo labels in Kim et al., Active Label Correction for Semantic
        Segmentation with Foundation Models, ICML 2024 (released code, `save_mask_data`).
    """
    height, width = _require_shape(shape)
    cutouts = [_cut_out(mask, (height, width), index) for index, mask in enumerate(masks)]
    classes, confidences = _require_lists(len(cutouts), class_ids, scores, unpainted)
    kept = np.array([index for index, cutout in enumerate(cutouts) if cutout.area >= max(min_area, 1)], dtype=np.intp)
    if nms_iou is not None:
        overlaps = _Overlaps(cutouts, _require_boxes(boxes, len(cutouts)))
        kept = _without_duplicates(overlaps, kept, confidences, _require_fraction(nms_iou))
    areas = np.array([cutouts[index].area for index in kept], dtype=np.int64)
    segments = np.zeros((height, width), np.int32)
    for position in np.argsort(-areas, kind="stable"):
        cutout = cutouts[kept[position]]
        segments[cutout.window][cutout.mask] = position + 1
    class_of: npt.NDArray[np.integer[Any]] = np.array([unpainted, *classes[kept]], _label_type(classes, unpainted))
    confidence_of = np.concatenate([[0], confidences[kept]]).astype(np.float32)
    return Composition(class_of[segments], segments, confidence_of[segments], kept)


class _Overlaps:
    """Intersection over union of pairs of masks, or of boxes where these are given."""

    def __init__(self, cutouts: Sequence[_Cutout], boxes: npt.NDArray[np.float64] | None) -> None:
        self._cutouts = cutouts
        self._boxes = boxes

    def __call__(self, one: int, other: int) -> float:
        """Return the intersection over union of two masks."""
        if self._boxes is not None:
            return _box_iou(self._boxes[one], self._boxes[other])
        first, second = self._cutouts[one], self._cutouts[other]
        top, left = (max(first.box[side], second.box[side]) for side in (0, 1))
        bottom, right = (min(first.box[side], second.box[side]) for side in (2, 3))
        if top >= bottom or left >= right:
            return 0.0
        parts = (
            cutout.mask[top - cutout.box[0] : bottom - cutout.box[0], left - cutout.box[1] : right - cutout.box[1]]
            for cutout in (first, second)
        )
        shared = int(np.count_nonzero(np.logical_and(*parts)))
        return shared / (first.area + second.area - shared)


def _without_duplicates(
    overlaps: _Overlaps, candidates: npt.NDArray[np.intp], scores: npt.NDArray[np.float64], limit: float
) -> npt.NDArray[np.intp]:
    """Non-maximum suppression without regard to classes: best score first, the earlier mask where equal."""
    chosen: list[int] = []
    for index in candidates[np.argsort(-scores[candidates], kind="stable")]:
        if all(overlaps(int(index), better) <= limit for better in chosen):
            chosen.append(int(index))
    return np.array(sorted(chosen), dtype=np.intp)


def _box_iou(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    union = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - np.prod(sides)
    return float(np.prod(sides) / union) if union > 0 else 0.0


def _cut_out(mask: npt.ArrayLike, shape: tuple[int, int], index: int) -> _Cutout:
    array = np.asarray(mask)
    if array.shape != shape:
        raise LabelQualityError(
            f"Expected masks of the image's shape {shape}, but mask {index} has shape {array.shape}; "
            "resize the masks to the image first."
        )
    inside = array if array.dtype == bool else array != 0
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return _Cutout((0, 0, 0, 0), np.zeros((0, 0), bool), 0)
    box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    part = inside[box[0] : box[2], box[1] : box[3]].copy()
    return _Cutout(box, part, int(np.count_nonzero(part)))


def _label_type(classes: npt.NDArray[np.int64], unpainted: int) -> type[np.uint8] | type[np.uint16]:
    return np.uint8 if max([unpainted, *classes.tolist()]) <= np.iinfo(np.uint8).max else np.uint16


def _require_shape(shape: tuple[int, int]) -> tuple[int, int]:
    if len(shape) != 2 or min(shape) < 1:
        raise LabelQualityError(f"Expected `shape` to be (height, width) of an image with pixels, but got {shape}.")
    return int(shape[0]), int(shape[1])


def _require_lists(
    count: int, class_ids: npt.ArrayLike, scores: npt.ArrayLike, unpainted: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    classes = np.asarray(class_ids, dtype=np.int64).reshape(-1)
    confidences = np.asarray(scores, dtype=np.float64).reshape(-1)
    if not len(classes) == len(confidences) == count:
        raise LabelQualityError(
            f"Expected one class id and one score per mask, but got {count} masks, {len(classes)} class ids and "
            f"{len(confidences)} scores."
        )
    every = np.append(classes, unpainted)
    if every.min() < 0 or every.max() > _LARGEST_LABEL:
        raise LabelQualityError(
            f"Expected class ids and `unpainted` between 0 and {_LARGEST_LABEL}, but they go from {every.min()} to "
            f"{every.max()}; number the classes from 0."
        )
    if not np.all((confidences >= 0) & (confidences <= 1)):
        raise LabelQualityError(
            f"Expected scores between 0 and 1, but got {confidences.min()} to {confidences.max()}; "
            "clip them (SAM's predicted IoU can exceed 1) or pass probabilities."
        )
    return classes, confidences


def _require_boxes(boxes: npt.ArrayLike | None, count: int) -> npt.NDArray[np.float64] | None:
    if boxes is None:
        return None
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0 and count == 0:
        return array.reshape(0, 4)
    if array.shape != (count, 4):
        raise LabelQualityError(f"Expected `boxes` of shape ({count}, 4), one per mask, but got {array.shape}.")
    return array


def _require_fraction(nms_iou: float) -> float:
    if not 0 <= nms_iou <= 1:
        raise LabelQualityError(f"Expected `nms_iou` between 0 and 1, but got {nms_iou}; 0.7 is usual.")
    return float(nms_iou)
