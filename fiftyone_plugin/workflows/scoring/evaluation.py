"""Label quality as a metric of FiftyOne's own evaluation of segmentations."""

from __future__ import annotations

import inspect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import quality
from ...dataset.door.account import account_of
from ...dataset.door.classes import IGNORED, ClassMap
from ...dataset.door.masks import is_rgb, read_mask, reading_of
from ...dataset.door.scan import mask_reader, mask_targets_of, mask_values_in, require_label_field, scan_labels
from ...dataset.fields import schema
from .scoring_warnings import swapped_table
from .sources import MaskSource, ProbabilitySource, mask_probabilities, mask_source, settle_classes

_FRAMES = "frames."


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

    def names_for(self, label_field: str) -> list[str]:
        """All fields that are written, those of frames too."""
        return [*self.names, *(_FRAMES + name for name in self.names if label_field.startswith(_FRAMES))]

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
        warning: why the numbers may mean little: a table of classes that is shifted or swapped; None if nothing does
    """

    error_share: float
    num_regions: float
    softmin: float
    num_images: int
    warning: str | None = None


def label_agreement(
    samples: Any,
    label_field: str,
    predictions: str,
    *,
    eval_key: str | None = None,
    mask_targets: Mapping[int | str, str] | None = None,
    ignore_index: Any = "auto",
    min_region_area: int | None = None,
) -> LabelAgreement:
    """Compare labels with predicted masks, as a scoring run on hard masks does, and keep numbers only.

    Args:
        samples: a `fiftyone` dataset or view of images, or of videos for labels of their frames
        label_field: the Segmentation field in question, for frames such as "frames.ground_truth"
        predictions: the Segmentation field to compare with; its masks may have another size
        eval_key: prefix of the fields to write; none are written if None
        mask_targets: instead of those of the fields; pixels of other values count for nothing
        ignore_index: mask value(s) or class name(s) of the label that count for nothing
        min_region_area: pixels of the smallest region; a 20,000th of the image if None

    Returns:
        the means; NaN where no image could be compared

    Raises:
        LabelQualityError: if a field or a mask cannot be used
    """
    if label_field.startswith(_FRAMES):
        return _agreement_of_frames(
            samples, label_field, predictions, eval_key, mask_targets, ignore_index, min_region_area
        )
    samples = require_label_field(samples, label_field)
    source: ProbabilitySource = mask_source(samples, label_field, predictions, mask_targets)
    scan = scan_labels(samples, label_field, targets=mask_targets)
    classes, source = settle_classes(
        samples, label_field, scan, source, targets=mask_targets, ignore_index=ignore_index
    )
    read = mask_reader(samples, label_field, mask_targets)
    columns: list[dict[str, float | int | None]] = [{}, {}, {}]
    confusion = np.zeros((len(classes),) * 2, np.int64)
    for image, result in source.stream(scan.images):
        if isinstance(result, Exception):
            continue
        label = np.where(np.isnan(result[0]), IGNORED, classes.indices(read(image.sample_id)))
        row = _agreement_of(label, result, min_region_area, confusion)
        for column, value in zip(columns, row, strict=True):
            column[image.sample_id] = value
    if eval_key is not None:
        _write(samples._dataset, eval_key, columns)
    means = [_mean(column.values()) for column in columns]
    return LabelAgreement(means[0], means[1], means[2], len(columns[0]), _swapped(confusion, classes))


def _swapped(confusion: np.ndarray, classes: ClassMap) -> str | None:
    return swapped_table(confusion, classes, "correct the `mask_targets` of the predictions, or score")


def targets_of_evaluation(samples: Any, results: Any) -> Mapping[int | str, str] | None:
    """The `mask_targets` that FiftyOne evaluates with.

    FiftyOne hands them to no metric and keeps them nowhere, so they are taken from the call that is under way.

    Args:
        samples: the evaluated collection
        results: FiftyOne's results

    Returns:
        the argument of `evaluate_segmentations`; without one the colours that occur, if these are masks of colours
        without a name; otherwise None: those of the fields
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "evaluate_segmentations" and frame.f_locals.get("mask_targets"):
            return dict(frame.f_locals["mask_targets"])
        frame = frame.f_back
    names = dict(zip(results.classes, results.classes, strict=True)) if results.classes is not None else {}
    return names if is_rgb(names) and not mask_targets_of(samples, results.config.gt_field) else None


def _mean(values: Iterable[float | int | None]) -> float:
    return float(np.mean([value for value in values if value is not None] or [np.nan]))


def _agreement_of_frames(
    samples: Any,
    label_field: str,
    predictions: str,
    eval_key: str | None,
    mask_targets: Mapping[int | str, str] | None,
    ignore_index: Any,
    min_area: int | None,
) -> LabelAgreement:
    """Compare the masks of frames; numbers go to the frames, and their means to the videos."""
    of_labels, own = (mask_targets or mask_targets_of(samples, name) for name in (label_field, predictions))
    targets = (of_labels, own or of_labels)
    labels, others = Counter[int](), Counter[int]()
    for _, _, masks in _frame_masks(samples, label_field, predictions, targets):
        if masks is not None:
            labels.update(mask_values_in(masks[0], targets[0]))
            others.update(mask_values_in(masks[1], targets[1]))
    source = MaskSource(lambda sample_id: np.empty((0, 0), np.uint8), f"masks:{predictions}", own, dict(others))
    seen = dict(labels) if of_labels else source.values_beside(labels)
    classes = account_of(samples, label_field, seen, ignore_index, targets=mask_targets)
    classes = source.settle(classes, None, "error")
    second = source.classes or classes
    confusion = np.zeros((len(classes),) * 2, np.int64)
    rows: dict[str, list[tuple[float | None, int | None, float | None]]] = defaultdict(list)
    for sample_id, _, masks in _frame_masks(samples, label_field, predictions, targets):
        if masks is None:
            rows[sample_id].append((None, None, None))
            continue
        label = classes.indices(masks[0])
        probabilities = mask_probabilities(second, masks[1], (label.shape[0], label.shape[1]))
        label = np.where(np.isnan(probabilities[0]), IGNORED, label)
        rows[sample_id].append(_agreement_of(label, probabilities, min_area, confusion))
    if eval_key is not None:
        _write_frames(samples, eval_key, rows)
    columns = list(zip(*(row for video in rows.values() for row in video if row != (None, None, None)), strict=True))
    means = [_mean(column) for column in columns] or [np.nan] * 3
    return LabelAgreement(means[0], means[1], means[2], len(columns[0]) if columns else 0, _swapped(confusion, classes))


def _frame_masks(
    samples: Any, label_field: str, predictions: str, targets: Sequence[Mapping[int | str, str]]
) -> Iterator[tuple[str, int, tuple[np.ndarray, np.ndarray] | None]]:
    """Yield (sample id, frame number, label and prediction) of every frame; None where one is missing."""
    names = [name.removeprefix(_FRAMES) for name in (label_field, predictions)]
    for sample in samples.select_fields([label_field, predictions]).iter_samples():
        for number, frame in sample.frames.items():
            labels = [frame[name] for name in names]
            complete = all(label is not None and label.has_mask for label in labels)
            masks = (
                [read_mask(one, reading_of(of)) for one, of in zip(labels, targets, strict=True)] if complete else []
            )
            yield sample.id, number, (masks[0], masks[1]) if complete else None


def _write_frames(samples: Any, eval_key: str, rows: Mapping[str, list[tuple[Any, Any, Any]]]) -> None:
    import fiftyone as fo

    ids = samples.values("id")
    for place, name in enumerate(MetricFields(eval_key).names):
        samples._dataset.add_frame_field(name, fo.FloatField)
        samples.set_values(_FRAMES + name, [[row[place] for row in rows.get(sample_id, [])] for sample_id in ids])
        means = {sample_id: _mean(row[place] for row in video) for sample_id, video in rows.items()}
        known = {sample_id: None if np.isnan(mean) else mean for sample_id, mean in means.items()}
        schema.write_numbers(samples._dataset, name, known, f"Mean of `{_FRAMES}{name}`")


def _agreement_of(
    label: np.ndarray, probabilities: np.ndarray, min_area: int | None, confusion: np.ndarray
) -> tuple[float | None, int, float | None]:
    record = quality.image_record(label, probabilities, ignore_index=IGNORED)
    if not record.num_valid:
        return None, 0, None
    confusion += quality.class_confusion(record)
    most = label.size  # the metric is about all regions
    found = quality.image_regions(label, record, min_area=min_area, max_per_image=most)
    wrong = [region for region in found if region.kind != "boundary"]
    return sum(region.area for region in wrong) / record.num_valid, len(wrong), record.scores["softmin"]


def _write(dataset: Any, eval_key: str, columns: list[dict[str, float | int | None]]) -> None:
    share, count, softmin = MetricFields(eval_key).names
    schema.write_numbers(dataset, share, columns[0], "Share of the labelled pixels in regions of probable label errors")
    schema.write_numbers(dataset, count, columns[1], "Regions of probable label errors", integer=True)
    schema.write_numbers(dataset, softmin, columns[2], quality.METHOD_TITLES["softmin"])
