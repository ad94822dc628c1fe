"""The worst images of a run in small, with their labels and what they should be instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from ...dataset.door.masks import pack_rgb, read_mask_file, resize_nearest
from ...dataset.door.scan import mask_reader
from ...dataset.door.slices import every_slice
from ...dataset.fields.overview import WorstImage
from ...dataset.fields.region_columns import REJECTED
from ...dataset.fields.schema import ScoreFields
from ...errors import LabelQualityError
from ...models.files.images import read_image
from ...quality import LIKELY

LONGEST: Final = 440
"""Pixels of a picture's longer side."""

MOST_REGIONS: Final = 6


@dataclass(frozen=True, eq=False)
class SuggestedRegion:
    """A region that is probably wrong, on a small picture.

    Attributes:
        mask: (h, w) bool, of the size of the picture
        given: class that the label says
        suggested: class that the prediction says
    """

    mask: np.ndarray
    given: str
    suggested: str


@dataclass(frozen=True, eq=False)
class WorstPicture:
    """One of the worst images in small.

    Attributes:
        sample_id: FiftyOne's id of the sample
        path: of the image
        score: of the image, low = probably wrong
        image: (h, w, 3) uint8; None where the file cannot be read
        labels: (h, w) mask values; None where they cannot be read
        regions: those that are more likely wrong than right, worst first
        others: how many more there are
    """

    sample_id: str
    path: str
    score: float
    image: np.ndarray | None
    labels: np.ndarray | None
    regions: list[SuggestedRegion]
    others: int


def worst_pictures(dataset: Any, key: str, label_field: str, worst: Sequence[WorstImage]) -> list[WorstPicture]:
    """Read the worst images of a run with their labels and likely regions.

    Args:
        dataset: the `fiftyone.Dataset`
        key: the run's key
        label_field: the field that was scored
        worst: which images

    Returns:
        one picture for each
    """
    from bson import ObjectId

    ids = [image.sample_id for image in worst]
    field = ScoreFields(key).regions
    wanted = {"_id": {"$in": [ObjectId(sample_id) for sample_id in ids]}}
    rows = {str(row["_id"]): row for row in dataset._sample_collection.find(wanted, {field: 1})}
    there = dataset.has_field(label_field)
    read = mask_reader(every_slice(dataset).select(ids), label_field) if there else None
    return [_picture(image, (rows.get(image.sample_id) or {}).get(field) or {}, read) for image in worst]


def _picture(worst: WorstImage, regions: Mapping[str, Any], read: Any) -> WorstPicture:
    image = labels = None
    size = (0, 0)
    try:
        full = read_image(worst.path)
        scale = min(LONGEST / max(full.shape[:2]), 2.0)
        size = max(round(full.shape[0] * scale), 1), max(round(full.shape[1] * scale), 1)
        image = np.asarray(Image.fromarray(full).resize(size[::-1], Image.Resampling.BICUBIC))
        mask = read(worst.sample_id) if read is not None else None
        if mask is not None:
            labels = resize_nearest(pack_rgb(mask) if mask.ndim == 3 else mask, size)
    except (OSError, LabelQualityError):
        pass  # an image or a label that is gone is shown without
    likely = [row for row in regions.get("detections") or [] if _is_likely(row)]
    likely.sort(key=lambda row: -row["score"])
    shown = [_region(row, size) for row in likely[:MOST_REGIONS]] if image is not None else []
    found = [region for region in shown if region is not None]
    return WorstPicture(worst.sample_id, worst.path, worst.score, image, labels, found, len(likely) - len(found))


def _is_likely(row: Mapping[str, Any]) -> bool:
    return (row.get("score") or 0.0) >= LIKELY and row.get("status") != REJECTED


def _region(row: Mapping[str, Any], size: tuple[int, int]) -> SuggestedRegion | None:
    left, top, width, height = row["bounding_box"]
    rows = int(top * size[0]), min(max(round((top + height) * size[0]), int(top * size[0]) + 1), size[0])
    columns = int(left * size[1]), min(max(round((left + width) * size[1]), int(left * size[1]) + 1), size[1])
    part = (rows[1] - rows[0], columns[1] - columns[0])
    mask = np.zeros(size, bool)
    try:
        drawn = read_mask_file(row["mask_path"]) > 0 if row.get("mask_path") else np.ones(part, bool)
    except (OSError, LabelQualityError):
        return None
    mask[rows[0] : rows[1], columns[0] : columns[1]] = resize_nearest(drawn, part)
    return SuggestedRegion(mask, str(row.get("given")), str(row.get("suggested")))
