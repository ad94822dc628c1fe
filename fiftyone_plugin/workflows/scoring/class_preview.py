"""The account of classes before a job starts, as far as it can be told without reading masks or loading a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...dataset.door.account import class_rows, class_table
from ...dataset.door.classes import ClassMap, list_classes, match_channels, parse_mapping
from ...dataset.door.scan import mask_targets_of
from ...dataset.runs.run_records import find_run
from ...errors import LabelQualityError
from .sources import MaskSource


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
    """Say how classes will be understood.

    Args:
        samples: the dataset or view
        label_field: its Segmentation field
        model: key of a training run, whose class names are known; of other models they are known when they are loaded
        predictions: the second Segmentation field, if that is the source
        class_mapping: as in `score_label_quality`
        unmatched: likewise
        ignore_index: likewise

    Returns:
        lines of markdown, and why the job would be refused, or None
    """
    targets = mask_targets_of(samples, label_field)
    if not targets:
        return [f"`{label_field}` names no classes: every mask value that occurs will be one."], None
    try:
        classes = list_classes(targets, {}, ignore_index)
        if predictions is not None:
            source = MaskSource(_nothing, predictions, mask_targets_of(samples, predictions))
            classes = source.settle(classes, parse_mapping(class_mapping), unmatched)
        elif names := _known_names(samples, model):
            classes = match_channels(classes, len(names), names, parse_mapping(class_mapping), unmatched)
    except LabelQualityError as error:
        return _lines(list_classes(targets, {}, None)), str(error)
    return _lines(classes), None


def _lines(classes: ClassMap) -> list[str]:
    hint = [] if classes.channels else ["", "Channels are found by these names when the job starts."]
    return [*class_table(class_rows(classes)), *hint]


def _nothing(sample_id: str) -> np.ndarray:
    raise LabelQualityError(f"Nothing is read before the job starts, also not sample {sample_id}")


def _known_names(samples: Any, model: Any) -> Sequence[str]:
    run = find_run(samples._dataset, model) if isinstance(model, str) else None
    return [] if run is None else list(run.summary.get("classes") or [])
