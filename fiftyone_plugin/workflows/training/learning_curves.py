"""How a noise-robust training went, class by class: what the learning curves panel shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import models
from ...dataset.runs import run_records
from ...errors import LabelQualityError

if TYPE_CHECKING:
    from ...models.noise_robust.learning_curves import ClassCurve

_POINTS = 80


@dataclass(frozen=True)
class ClassProgress:
    """How a class was learned, and what became of its labels.

    Attributes:
        name: of the class; "all classes" for the common curve where they share a trigger
        pixels: given pixels in the training images
        ious: training IoU by sample of the curve; None where the class did not occur
        fit: (epoch, IoU) along the fitted curve; empty where there is nothing to fit
        fired: epoch after which its labels were corrected, None if it never fired
        interval: epochs between which the trigger lies with a probability of 80 %, None if that is not known
        lost: its given pixels that the training would give to other classes
        won: pixels of other classes that it would get
    """

    name: str
    pixels: int
    ious: list[float | None]
    fit: list[tuple[float, float]]
    fired: int | None
    interval: tuple[float, float] | None
    lost: int
    won: int


@dataclass(frozen=True)
class TrainingProgress:
    """The learning curves of a run.

    Attributes:
        key: of the run
        label_field: trained on
        epochs: of the training
        times: of each sample of the curves, in epochs
        classes: those that occur, most pixels first; the common curve comes first where there is one
        absent: classes without a labelled pixel in the training images
        corrects: whether labels were corrected at all
        num_regions: proposals
    """

    key: str
    label_field: str
    epochs: int
    times: list[float]
    classes: list[ClassProgress]
    absent: list[str]
    corrects: bool
    num_regions: int


def noise_robust_runs(samples: Any) -> list[run_records.RunRecord]:
    """The noise-robust trainings on a dataset.

    Args:
        samples: the `fiftyone` dataset or a view of it

    Returns:
        their records, in the order in which they were made
    """
    dataset = samples._dataset
    return sorted(
        run_records.list_runs(dataset, run_records.NOISE_ROBUST),
        key=lambda run: run_records.time_of_run(dataset, run.key),
    )


def training_progress(samples: Any, key: str = "noise_robust") -> TrainingProgress:
    """The learning curves of a noise-robust training, with class names and what was corrected.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: of the run

    Returns:
        the curves, most frequent class first

    Raises:
        LabelQualityError: if there is no such run, or its files are gone
    """
    record = run_records.find_run(samples._dataset, key)
    if record is None or record.method != run_records.NOISE_ROBUST:
        keys = [run.key for run in noise_robust_runs(samples)]
        raise LabelQualityError(f"Expected the key of a noise-robust training, but got {key!r}; there are {keys}")
    curves = models.read_learning_curves(record.parameters["network_folder"])
    names, pairs = list(record.summary["classes"]), list(record.summary["pairs"])
    lost, won = Counter[str](), Counter[str]()
    for old, new, pixels in pairs:
        lost[old] += pixels
        won[new] += pixels
    shown = sorted((c for c in curves.classes if c.pixels), key=lambda curve: -curve.pixels)
    classes = [_class_progress(curve, names[curve.index], curves.epochs, lost, won) for curve in shown]
    if curves.common is not None:
        everything = {"all classes": sum(lost.values())}
        classes.insert(0, _class_progress(curves.common, "all classes", curves.epochs, everything, everything))
    return TrainingProgress(
        key=key,
        label_field=record.label_field,
        epochs=curves.epochs,
        times=list(curves.times),
        classes=classes,
        absent=[names[curve.index] for curve in curves.classes if not curve.pixels],
        corrects=curves.method["correction"] is not None,
        num_regions=int(record.summary["num_regions"]),
    )


def _class_progress(
    curve: ClassCurve, name: str, epochs: int, lost: Mapping[str, int], won: Mapping[str, int]
) -> ClassProgress:
    detection = curve.detection
    fitted = None if detection is None else detection.curve
    times = [] if fitted is None else np.linspace(fitted.start, epochs, _POINTS).tolist()
    return ClassProgress(
        name=name,
        pixels=curve.pixels,
        ious=list(curve.ious),
        fit=[(time, fitted.value(time)) for time in times] if fitted is not None else [],
        fired=curve.fired,
        interval=None if detection is None else detection.interval,
        lost=lost.get(name, 0),
        won=won.get(name, 0),
    )
