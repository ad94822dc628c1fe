"""Label quality as a metric of FiftyOne's own evaluation of segmentations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import quality
from ...dataset.door.classes import IGNORED, classes_of_field
from ...dataset.door.scan import mask_reader, mask_targets_of, require_label_field, scan_labels
from ...dataset.fields import schema
from .sources import mask_source


@dataclass(frozen=True)
class MetricFields:
    """Names of the fields that the metric writes.

    Attributes:
        eval_key: of the evaluation

    Example:
        >>> MetricFields("eval").names[0]
        'eval_label_error_share'
    """

    eval_key: str

    @property
    def names(self) -> list[str]:
        """Share of wrong pixels, number of regions, softmin."""
        return [f"{self.eval_key}_{name}" for name in ("label_error_share", "label_regions", "label_softmin")]


@dataclass(frozen=True)
class LabelAgreement:
    """How well labels agree with predicted masks; means over the images that have both.

    Attributes:
        error_share: share of the labelled pixels in issue regions that are more than displaced borders
        num_regions: such regions per image
        softmin: image score of the labels, 0 (wrong) to 1 (fine)
        num_images: images that were compared
    """

    error_share: float
    num_regions: float
    softmin: float
    num_images: int


def label_agreement(
    samples: Any,
    label_field: str,
    predictions: str,
    *,
    eval_key: str | None = None,
    ignore_index: Any = "auto",
    min_region_area: int | None = None,
) -> LabelAgreement:
    """Compare labels with predicted masks, as a scoring run on hard masks does, and keep numbers only.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: the Segmentation field in question
        predictions: the Segmentation field to compare with; its masks may have another size
        eval_key: prefix of the fields to write; none are written if None
        ignore_index: mask value(s) or class name(s) of the label that count for nothing
        min_region_area: pixels of the smallest region; a 20,000th of the image if None

    Returns:
        the means; NaN where no image could be compared

    Raises:
        LabelQualityError: if a field or a mask cannot be used
    """
    require_label_field(samples, label_field)
    source = mask_source(samples, label_field, predictions)
    scan = scan_labels(samples, label_field)
    seen = {**source.values, **scan.values}
    classes = classes_of_field(mask_targets_of(samples, label_field), seen, ignore_index, label_field)
    source.classes = classes
    read = mask_reader(samples, label_field)
    columns: list[dict[str, float | int | None]] = [{}, {}, {}]
    for image, result in source.stream(scan.images):
        if isinstance(result, Exception):
            continue
        label = np.where(np.isnan(result[0]), IGNORED, classes.indices(read(image.sample_id)))
        row = _agreement_of(label, result, min_region_area)
        for column, value in zip(columns, row, strict=True):
            column[image.sample_id] = value
    if eval_key is not None:
        _write(samples._dataset, eval_key, columns)
    means = [float(np.mean([v for v in column.values() if v is not None] or [np.nan])) for column in columns]
    return LabelAgreement(means[0], means[1], means[2], len(columns[0]))


def _agreement_of(
    label: np.ndarray, probabilities: np.ndarray, min_area: int | None
) -> tuple[float | None, int, float | None]:
    record = quality.image_record(label, probabilities, ignore_index=IGNORED)
    if not record.num_valid:
        return None, 0, None
    most = label.size  # the metric is about all regions
    found = quality.image_regions(label, record, min_area=min_area, max_per_image=most)
    wrong = [region for region in found if region.kind != "boundary"]
    return sum(region.area for region in wrong) / record.num_valid, len(wrong), record.scores["softmin"]


def _write(dataset: Any, eval_key: str, columns: list[dict[str, float | int | None]]) -> None:
    share, count, softmin = MetricFields(eval_key).names
    schema.write_numbers(dataset, share, columns[0], "Share of the labelled pixels in regions of probable label errors")
    schema.write_numbers(dataset, count, columns[1], "Regions of probable label errors", integer=True)
    schema.write_numbers(dataset, softmin, columns[2], quality.METHOD_TITLES["softmin"])
