"""What repairs are worth: for a model that is trained on them, and for the order of models compared on them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ... import models
from ...dataset.door.account import own_channels
from ...dataset.door.classes import IGNORED, ClassMap
from ...dataset.door.masks import read_mask_file
from ...dataset.door.scan import LabelledImage, mask_reader, scan_labels
from ...dataset.door.slices import samples_behind
from ...errors import LabelQualityError
from ...progress import Progress, terminal_bar
from ...quality.certainty.paired_scores import PairedGain, overlaps, paired_gain
from ...wording import count
from ..correcting.correction_run import CorrectionRun, open_correction
from ..scoring.sources import mask_source, settle_classes
from ..training.methods import FROZEN_FEATURES, training_method

_FOLDS: Final = 3
Read = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class WorthReport:
    """What the repairs change for a quick model.

    Attributes:
        gain: trained on the corrected labels against trained on the given ones; both judged by the corrected labels of
            images that they have not seen
        num_changed: of the images, those whose label was corrected
    """

    gain: PairedGain
    num_changed: int

    def markdown(self) -> str:
        """The report as a person reads it."""
        found, between = self.gain, self.gain.gain
        verdict = "more than chance" if found.is_certain else "it may be chance"
        return "\n".join(
            [
                f"**A quick model gains {100 * between.estimate:+.1f} points of mean IoU from the repairs** "
                f"({100 * between.low:+.1f} to {100 * between.high:+.1f}; {verdict})",
                f"- {100 * found.first:.1f} trained on the given labels, {100 * found.second:.1f} on the corrected "
                f"ones; both judged by the corrected labels of {count(found.num_images, 'image')} not seen in training",
                f"- of these images with a corrected label: {self.num_changed:,}",
            ]
        )


@dataclass(frozen=True)
class ModelComparison:
    """Which of two models is better, by the given and by the corrected labels.

    Attributes:
        names: fields of the two models' predictions
        given: the second against the first, by the given labels
        corrected: the same by the corrected labels
    """

    names: tuple[str, str]
    given: PairedGain
    corrected: PairedGain

    @property
    def turned(self) -> bool:
        """Whether the order of the models is another one by the corrected labels."""
        return self.given.gain.estimate * self.corrected.gain.estimate < 0

    def markdown(self) -> str:
        """The report as a person reads it."""
        first, second = self.names
        better = second if self.corrected.gain.estimate > 0 else first
        head = f"**By the corrected labels `{better}` is better" + (
            "; by the given ones it seemed worse**" if self.turned else ", as by the given ones**"
        )
        lines = [head, "", f"| labels | {first} | {second} | difference |", "|---|---|---|---|"]
        for name, one in (("given", self.given), ("corrected", self.corrected)):
            low, high = 100 * one.gain.low, 100 * one.gain.high
            lines.append(
                f"| {name} | {100 * one.first:.1f} | {100 * one.second:.1f} | {100 * one.gain.estimate:+.1f} "
                f"({low:+.1f} to {high:+.1f}) |"
            )
        if not self.corrected.is_certain:
            lines += ["", f"- On {count(self.corrected.num_images, 'image')} the difference may be chance"]
        return "\n".join(lines)


def repairs_worth(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    folds: int = _FOLDS,
    group_field: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **training: Any,
) -> WorthReport:
    """What the repairs change for a model: quick ones are cross-validated on given and on corrected labels.

    Both are judged by the corrected labels, the best that is known, of images that they have not seen; folds, first
    weights and crops are the same. Nothing is kept.

    Args:
        samples: the `fiftyone` dataset or a view of it
        label_field: the field that was corrected
        folds: number of models for each kind of label
        group_field: images with equal values of this field (a video, a patient) stay together
        seed: of folds, weights and draws
        progress: told how far the job is; a bar in the terminal if None
        training: further options of `models.FrozenFeatureOptions`, and device

    Returns:
        the gain, with an interval over images

    Raises:
        LabelQualityError: if the field was never corrected, no label was changed, or there are too few images

    Example:
        >>> print(repairs_worth(dataset, "ground_truth").markdown())  # doctest: +SKIP
    """
    if progress is None:
        with terminal_bar("training on given and corrected labels") as bar:
            return repairs_worth(
                samples, label_field, folds=folds, group_field=group_field, seed=seed, progress=bar, **training
            )
    run, images, corrected = _corrected(samples, label_field, progress)
    classes = own_channels(run.classes())
    groups = _groups(samples, images, group_field)
    read = mask_reader(samples, label_field)
    method = training_method(FROZEN_FEATURES, folds, {"seed": seed, **training})

    def label_of(reader: Read) -> Read:
        return lambda sample_id: classes.indices(reader(sample_id))

    given, mended = label_of(read), label_of(corrected)
    changed = sum(bool((given(one.sample_id) != mended(one.sample_id)).any()) for one in images)
    if not changed:
        raise LabelQualityError(
            f"Expected corrected labels in `{run.fields.corrected}`, but all are as they were given; answer questions "
            "that change a label first"
        )
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, label in (("given", given), ("corrected", mended)):
            models_folder = Path(folder) / name
            examples = [
                models.Example(one.filepath, one.filepath, _later(label, one.sample_id), group)
                for one, group in zip(images, groups or [None] * len(images), strict=True)
            ]
            method.train(
                examples, models_folder, num_classes=len(classes), class_names=list(classes.names),
                ignore_index=IGNORED, progress=progress, **method.arguments,
            )  # fmt: skip
            found.append(_judged(models_folder, images, mended, len(classes), progress))
    return WorthReport(paired_gain(*found, groups=groups, seed=seed), changed)


def _later(label: Read, sample_id: str) -> Callable[[], np.ndarray]:
    return lambda: label(sample_id)


def _judged(
    folder: Path, images: Sequence[LabelledImage], label: Read, num_classes: int, progress: Progress
) -> np.ndarray:
    """(N, 2, K) overlaps of predictions by models that have not seen the image."""
    items = [models.ImageItem(one.filepath, one.filepath, size=one.size) for one in images]
    id_of = {one.filepath: one.sample_id for one in images}
    found = {}
    for done, (item, result) in enumerate(models.load_segmenter(folder).stream(items), start=1):
        if isinstance(result, Exception):
            raise LabelQualityError(f"Expected a prediction of {item.name}, but got {result}") from result
        predicted = np.asarray(result.argmax(0))
        found[item.name] = overlaps(label(id_of[item.name]), predicted, num_classes)
        progress(done, len(items), "predicting")
    return np.stack([found[item.name] for item in items])


def compare_models(
    samples: Any,
    first: str,
    second: str,
    label_field: str = "ground_truth",
    *,
    group_field: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ModelComparison:
    """Does one model still beat the other once the labels are corrected?

    Args:
        samples: the `fiftyone` dataset or a view of it: the images to compare on
        first: Segmentation field with the predictions of one model
        second: with those of the other
        label_field: the field that was corrected
        group_field: images with equal values of this field (a video, a patient) are drawn together
        seed: of the draws
        progress: told how far the job is; a bar in the terminal if None

    Returns:
        the difference by given and by corrected labels, with intervals over images

    Raises:
        LabelQualityError: if the field was never corrected, or a field of predictions does not fit

    Example:
        >>> print(compare_models(dataset, "unet", "segformer").markdown())  # doctest: +SKIP
    """
    if progress is None:
        with terminal_bar("comparing models") as bar:
            return compare_models(samples, first, second, label_field, group_field=group_field, seed=seed, progress=bar)
    _, images, corrected = _corrected(samples, label_field, progress)
    readers = (mask_reader(samples, label_field), corrected)
    by_model = [_overlaps_of(samples, label_field, field, images, readers, progress) for field in (first, second)]
    both = [one for one in images if all(one.sample_id in found for found in by_model)]
    groups = _groups(samples, both, group_field)
    rows = [np.array([found[one.sample_id] for one in both]) for found in by_model]
    given, mended = (paired_gain(rows[0][:, at], rows[1][:, at], groups=groups, seed=seed) for at in (0, 1))
    return ModelComparison((first, second), given, mended)


def _overlaps_of(
    samples: Any,
    label_field: str,
    predictions: str,
    images: Sequence[LabelledImage],
    readers: Sequence[Read],
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Sample id to (2, 2, K): by the given and by the corrected label."""
    scan = scan_labels(samples, label_field, progress=progress)
    classes, source = settle_classes(samples, label_field, scan, mask_source(samples, label_field, predictions))
    found = {}
    for image, result in source.stream(list(images)):
        if isinstance(result, Exception):
            continue
        predicted = np.where(np.isnan(result[0]), -1, result.argmax(0))
        labels = [_known(classes, reader(image.sample_id)) for reader in readers]
        found[image.sample_id] = np.stack([overlaps(label, predicted, len(classes)) for label in labels])
    return found


def _known(classes: ClassMap, mask: np.ndarray) -> np.ndarray:
    """Class indices; a value that only the corrected labels have counts for nothing."""
    return replace(classes, only_listed=True).indices(mask)


def _corrected(samples: Any, label_field: str, progress: Progress) -> tuple[CorrectionRun, list[LabelledImage], Read]:
    """The correction, its images with a corrected label, and what reads that."""
    run = open_correction(samples, label_field)
    scan = scan_labels(samples, label_field, progress=progress)
    name = f"{run.fields.corrected}.mask_path"
    paths = dict(zip(*samples_behind(samples).values(["id", name]), strict=True))
    images = [image for image in scan.images if paths.get(image.sample_id)]
    if not images:
        raise LabelQualityError(f"Expected images with a corrected label in `{run.fields.corrected}`, but got none")
    return run, images, lambda sample_id: read_mask_file(str(paths[sample_id]), run.reading)


def _groups(samples: Any, images: Sequence[LabelledImage], group_field: str | None) -> list[str | None] | None:
    if group_field is None:
        return None
    value_of = dict(zip(*samples_behind(samples).values(["id", group_field]), strict=True))
    return [str(value_of.get(one.sample_id)) for one in images]
