"""The account of classes before a job starts, from the first masks and without loading a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ... import models
from ...dataset.door.account import account_of, class_rows, class_table, own_channels
from ...dataset.door.classes import ClassMap, list_classes, match_channels, parse_mapping
from ...dataset.door.masks import MaskReading, read_mask, read_mask_file, reading_of
from ...dataset.door.objects import object_classes, object_list
from ...dataset.door.scan import file_stamp, mask_targets_of, mask_values_in
from ...dataset.door.zoo import zoo_class_names
from ...dataset.runs.run_records import find_run
from ...errors import LabelQualityError
from .sources import MaskSource

_FIRST = 8
"""Masks that a form reads."""


def preview_labels(samples: Any, label_field: str, ignore_index: Any = "auto") -> tuple[list[str], str | None]:
    """Say how the classes of a label field will be understood, for a job that trains on it or copies it.

    Args:
        samples: the dataset or view
        label_field: its Segmentation field
        ignore_index: as in `score_label_quality`

    Returns:
        lines of markdown, and why the job would be refused, or None
    """
    try:
        lines = _lines(own_channels(_account(samples, label_field, ignore_index)))
        return lines + _unnamed(samples, label_field), None
    except LabelQualityError as error:
        return _lines(list_classes(mask_targets_of(samples, label_field), {}, None)), str(error)


def preview_classes(
    samples: Any,
    label_field: str,
    *,
    model: Any = None,
    predictions: str | None = None,
    class_mapping: Any = None,
    unmatched: str = "error",
    ignore_index: Any = "auto",
) -> tuple[list[str], str | None]:
    """Say how classes will be understood where predictions meet labels.

    Args:
        samples: the dataset or view
        label_field: its Segmentation field
        model: key of a training run, or a model; of some the names are known only when they are loaded
        predictions: the second Segmentation field, if that is the source
        class_mapping: as in `score_label_quality`
        unmatched: likewise
        ignore_index: likewise

    Returns:
        lines of markdown, and why the job would be refused, or None
    """
    try:
        classes = _account(samples, label_field, ignore_index)
        if predictions is not None:
            seen = _first_values(samples, predictions)
            source = MaskSource(_nothing, predictions, mask_targets_of(samples, predictions), seen)
            classes = source.settle(classes, parse_mapping(class_mapping), unmatched)
        elif names := _known_names(samples, model):
            classes = match_channels(classes, len(names), names, parse_mapping(class_mapping), unmatched)
    except LabelQualityError as error:
        return _lines(list_classes(mask_targets_of(samples, label_field), {}, None)), str(error)
    hint = [] if classes.channels else ["", "Channels are found by these names when the job starts."]
    return [*_lines(classes), *_unnamed(samples, label_field), *hint], None


def _account(samples: Any, label_field: str, ignore_index: Any) -> ClassMap:
    """As the first masks tell; where they do not, as `mask_targets` do; those of objects as they will be numbered."""
    if object_list(samples, label_field) is not None:
        return list_classes(dict(object_classes(samples, label_field).items()), {}, ignore_index)
    targets, seen = mask_targets_of(samples, label_field), _first_values(samples, label_field)
    if targets and len(seen) < 2:
        return list_classes(targets, seen, ignore_index)
    return account_of(samples, label_field, seen, ignore_index)


def _unnamed(samples: Any, label_field: str) -> list[str]:
    if mask_targets_of(samples, label_field) or object_list(samples, label_field) is not None:
        return []
    names = f'`dataset.mask_targets["{label_field}"] = {{0: "road", 1: "car"}}`'
    said = f"`{label_field}` names no classes: every value is one. These are the values of the first masks."
    return ["", f"{said} To name them, in Python: {names}, then `dataset.save()`."]


def _lines(classes: ClassMap) -> list[str]:
    return class_table(class_rows(classes)) if len(classes) else ["The first masks cannot be read."]


def _first_values(samples: Any, label_field: str) -> dict[int, int]:
    """Values of the first masks that can be read; all else is told by the job."""
    targets = mask_targets_of(samples, label_field)
    found: dict[int, int] = {}
    for label in samples.exists(label_field).limit(_FIRST).values(label_field):
        try:
            values = _values(label, targets)
        except (OSError, LabelQualityError):
            continue
        for value in values:
            found[value] = found.get(value, 0) + 1
    return found


def _values(label: Any, targets: Mapping[int | str, str]) -> Sequence[int]:
    reading = reading_of(targets)
    if label.mask is None and label.mask_path:
        return _values_of_file(label.mask_path, file_stamp(label.mask_path), reading, tuple(targets))
    return _flat(read_mask(label, reading), targets)


@lru_cache(maxsize=64)
def _values_of_file(
    path: str, stamp: object, reading: MaskReading, keys: tuple[int | str, ...]
) -> Sequence[int]:  # a form asks again at every key that is pressed
    return _flat(read_mask_file(path, reading), dict.fromkeys(keys, ""))


def _flat(mask: np.ndarray, targets: Mapping[int | str, str]) -> Sequence[int]:
    if mask.ndim == 3 and not reading_of(targets).colours:
        raise LabelQualityError("Expected a mask of integers, but got RGB colours; name them in `mask_targets`")
    return mask_values_in(mask, targets)


def _nothing(sample_id: str) -> np.ndarray:
    raise LabelQualityError(f"Nothing is read before the job starts, also not sample {sample_id}")


def _known_names(samples: Any, model: Any) -> Sequence[str]:
    if not isinstance(model, str):
        return []
    if model.startswith("zoo:"):
        return zoo_class_names(model.removeprefix("zoo:"))
    run = find_run(samples._dataset, model)
    return models.known_class_names(model) if run is None else list(run.summary.get("classes") or [])
