"""What is known of each class' training IoU: gathered during training, kept as curves.json, and read again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import LabelQualityError
from ...written_files import write_file
from .early_learning import Detection, LearningCurve, TriggerRule, detect

CURVES_NAME = "curves.json"
COMMON = -1  # stands for all classes together where they share one trigger
_FORMAT = 1


@dataclass
class History:
    """What a training has seen of each class up to now; plain values, for checkpoints and files.

    Args:
        pixels: given pixels of each class in the training images
        ious: one row of IoUs per sample of the curves, NaN for a class that did not occur
        steps: training steps
        fired: epochs that were finished when a class fired, and the detection, by class as text; `COMMON` for all
        latest: the newest detection of each class that has not fired
        corrections: what each correction did
    """

    pixels: list[int]
    ious: list[list[float]] = field(default_factory=list)
    steps: int = 0
    fired: dict[str, dict[str, Any]] = field(default_factory=dict)
    latest: dict[str, dict[str, Any]] = field(default_factory=dict)
    corrections: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, text: str) -> History:
        """Return a history from a checkpoint's text.

        Args:
            text: JSON
        """
        return cls(**json.loads(text))

    def add(self, counts: np.ndarray) -> None:
        """Add a sample to the curves.

        Args:
            counts: (K, K) pixels by label and prediction
        """
        hits = counts.diagonal().astype(float)
        union = counts.sum(0) + counts.sum(1) - hits
        with np.errstate(invalid="ignore"):
            self.ious.append(np.where(union > 0, hits / np.where(union > 0, union, 1), np.nan).tolist())

    def follow(
        self, finished: int, rule: TriggerRule, per_class: bool, background: int | None, samples_per_epoch: float
    ) -> list[int]:
        """Ask of every class that has not fired whether it does.

        Args:
            finished: epochs
            rule: when a class fires
            per_class: each class has its own trigger; otherwise all share that of their mean IoU
            background: class that needs no trigger
            samples_per_epoch: samples of the curves per epoch

        Returns:
            what has fired now
        """
        present = [index for index, count in enumerate(self.pixels) if count and index != background]
        new = []
        for index in present if per_class else [COMMON]:
            if str(index) in self.fired:
                continue
            found = detect(self.curve(index, present), finished, rule, samples_per_epoch)
            self.latest[str(index)] = asdict(found)
            if found.fires:
                self.fired[str(index)] = {"epoch": finished, "detection": self.latest.pop(str(index))}
                new.append(index)
        return new

    def curve(self, index: int, present: Sequence[int]) -> list[float]:
        """Return the IoUs of a class, or the mean over classes that occur.

        Args:
            index: class, or `COMMON`
            present: classes that `COMMON` stands for
        """
        if index != COMMON:
            return [row[index] for row in self.ious]
        if not self.ious:
            return []
        table = np.array(self.ious)[:, list(present)]
        known = np.isfinite(table)
        counts = known.sum(1)
        return (np.where(known, table, 0).sum(1) / np.where(counts, counts, np.nan)).tolist()

    def fired_classes(self) -> list[int]:
        """Return the classes that have fired; all that occur, where they fire together."""
        if str(COMMON) in self.fired:
            return [index for index, count in enumerate(self.pixels) if count]
        return sorted(int(index) for index in self.fired)

    def write(self, folder: Path, finished: int, config: Mapping[str, Any], corrected: int) -> None:
        """Write curves.json so that a crash leaves the old file or the new one.

        Args:
            folder: of the training
            finished: epochs
            config: of the method
            corrected: number of the corrected labels in use
        """
        content = {
            "format": _FORMAT,
            "epochs": finished,
            "steps": self.steps,
            "method": dict(config),
            "pixels": self.pixels,
            "ious": [[None if math.isnan(value) else round(value, 6) for value in row] for row in self.ious],
            "fired": self.fired,
            "latest": self.latest,
            "corrections": self.corrections,
            "corrected": corrected,
        }
        write_file(folder / CURVES_NAME, lambda file: file.write(json.dumps(content, indent=1).encode()))


@dataclass(frozen=True)
class ClassCurve:
    """How the training IoU of a class went, and when it fired.

    Args:
        index: class, or `COMMON` for the mean of all where they share a trigger
        pixels: given pixels of the class in the training images; a class with none never fires
        ious: one per sample, None where the class did not occur
        fired: epochs that were finished when it fired; None = it did not
        detection: at that time, or the newest one; None for background and absent classes
    """

    index: int
    pixels: int
    ious: tuple[float | None, ...]
    fired: int | None
    detection: Detection | None


@dataclass(frozen=True)
class LearningCurves:
    """What curves.json holds.

    Args:
        epochs: finished epochs
        times: of each sample, in epochs
        classes: one curve per class
        common: the curve of all classes together, where they share a trigger
        corrections: of each correction its "epoch", fired "classes", changed "images" and changed "pixels"
        corrected: epochs that were finished at the newest correction; 0 = there was none
        method: configuration
    """

    epochs: int
    times: tuple[float, ...]
    classes: tuple[ClassCurve, ...]
    common: ClassCurve | None
    corrections: tuple[Mapping[str, Any], ...]
    corrected: int
    method: Mapping[str, Any]


def read_learning_curves(folder: str | Path) -> LearningCurves:
    """Read the learning curves of a training that is finished or under way.

    Args:
        folder: of `train_noise_robust`, or a fold's folder of `cross_validate(..., method=NoiseRobust())`

    Returns:
        curves, triggers and corrections up to now

    Raises:
        LabelQualityError: there are none, or they cannot be understood

    Example:
        >>> read_learning_curves("nowhere")
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: nowhere holds no learning curves (no curves.json in it).
    """
    path = Path(folder) / CURVES_NAME
    if not path.is_file():
        raise LabelQualityError(f"{folder} holds no learning curves (no {CURVES_NAME} in it).")
    try:
        content = json.loads(path.read_text())
        if content["format"] != _FORMAT:
            raise ValueError("another format")
        return _curves(content)
    except (ValueError, KeyError, TypeError) as error:
        raise LabelQualityError(
            f"{path} cannot be understood ({error}); it is damaged or of another version."
        ) from error


def _curves(content: Mapping[str, Any]) -> LearningCurves:
    ious, rule = content["ious"], content["method"]["trigger"]
    samples = len(ious)
    if rule["sample_steps"] is None:
        times = [float(sample) for sample in range(1, samples + 1)]
    else:
        per_epoch = content["steps"] / content["epochs"]
        times = [sample * rule["sample_steps"] / per_epoch for sample in range(1, samples + 1)]
    known = {**content["latest"], **{index: entry["detection"] for index, entry in content["fired"].items()}}

    def curve(index: int, pixels: int, values: Sequence[float | None]) -> ClassCurve:
        entry, found = content["fired"].get(str(index)), known.get(str(index))
        fired = None if entry is None else int(entry["epoch"])
        return ClassCurve(index, pixels, tuple(values), fired, None if found is None else _detection(found))

    classes = [curve(k, pixels, [row[k] for row in ious]) for k, pixels in enumerate(content["pixels"])]
    common = None
    if not content["method"]["per_class"]:
        history = History(content["pixels"], [[math.nan if v is None else v for v in row] for row in ious])
        correction = content["method"]["correction"]
        background = None if correction is None else correction["background"]
        present = [k for k, pixels in enumerate(content["pixels"]) if pixels and k != background]
        common = curve(COMMON, sum(content["pixels"]), history.curve(COMMON, present))
    return LearningCurves(
        content["epochs"], tuple(times), tuple(classes), common, tuple(content["corrections"]),
        content["corrected"], content["method"],
    )  # fmt: skip


def _detection(entry: Mapping[str, Any]) -> Detection:
    curve, interval = entry["curve"], entry["interval"]
    return Detection(
        entry["fires"],
        None if curve is None else LearningCurve(**curve),
        entry["trigger"],
        None if interval is None else (interval[0], interval[1]),
        entry["confidence"],
    )
