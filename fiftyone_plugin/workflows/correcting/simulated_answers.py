"""Answers by a simulated annotator who knows the truth: to rehearse, to compare, and to measure."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...correction.answers.annotators import Annotator, HonestAnnotator
from ...dataset.door.classes import IGNORED
from ...dataset.door.scan import mask_reader
from ...errors import LabelQualityError
from ...progress import Progress, terminal_bar
from .correction_run import open_correction
from .question_views import cut
from .sitting import NO_CLASS, Sitting, open_sitting
from .sitting_progress import SittingProgress


def simulate_answers(
    samples: Any,
    label_field: str,
    truth_field: str,
    *,
    annotator: Annotator | None = None,
    most: int | None = None,
    sitting_id: str = "simulated",
    progress: Progress | None = None,
) -> SittingProgress:
    """Answer the pending questions as somebody would who knows the truth.

    Args:
        samples: the `fiftyone` dataset or a view of it
        label_field: the field that is corrected
        truth_field: a Segmentation field with the truth, in the same mask values
        annotator: how answers come about; `correction.HonestAnnotator` if None
        most: questions to answer; all that are pending if None
        sitting_id: of the simulated person
        progress: told how far it is; a bar in the terminal if None

    Returns:
        what was answered, and what is left

    Raises:
        LabelQualityError: if no questions were planned, or there is no such field

    Example:
        >>> simulate_answers(dataset, "pseudo_labels", "ground_truth", most=100)  # doctest: +SKIP
    """
    run = open_correction(samples, label_field)
    if not run.dataset.has_field(truth_field):
        raise LabelQualityError(f"Expected a field with the truth, but there is no {truth_field!r}")
    person = annotator or HonestAnnotator(len(run.classes()))
    sitting = open_sitting(samples, label_field, sitting_id=sitting_id, reviewer="simulated")
    if progress is not None:
        return _answer(run, sitting, truth_field, person, most, progress)
    with terminal_bar("answering") as bar:
        return _answer(run, sitting, truth_field, person, most, bar)


def _answer(
    run: Any, sitting: Sitting, truth_field: str, annotator: Annotator, most: int | None, progress: Progress
) -> SittingProgress:
    read, classes = mask_reader(run.dataset, truth_field), run.classes()
    total = sitting.progress().pending
    total = total if most is None else min(most, total)
    number = 0
    while number < total and (question := sitting.question) is not None:
        true = cut(classes.indices(read(question.sample_id)), question.window)
        labels = np.where(question.labels == NO_CLASS, IGNORED, question.labels.astype(np.int16))
        said = annotator.judge(true, labels, question.region, (question.point[1], question.point[0]))
        if said.clicks:
            sitting.replace_region(said.region)
        if said.answer is None or not 0 <= said.answer < len(classes):
            sitting.skip(seconds=said.seconds)
        elif said.confirmed:
            sitting.confirm(seconds=said.seconds)
        else:
            sitting.correct(classes.names[said.answer], seconds=said.seconds)
        number += 1
        progress(number, total, "answering")
    failures = sitting.flush()
    if failures:
        raise LabelQualityError(failures[0])
    return sitting.progress()
