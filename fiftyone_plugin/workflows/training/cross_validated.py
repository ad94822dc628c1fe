"""Train a segmenter on a dataset so that each image is predicted by a model that has not seen it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ... import models
from ...dataset.door.account import account_of, class_table, own_channels, recorded_rows
from ...dataset.door.classes import IGNORED, ClassMap
from ...dataset.door.scan import (
    LabelledImage,
    LabelScan,
    mask_reader,
    require_label_field,
    scan_labels,
)
from ...dataset.fields import schema as sample_fields
from ...dataset.runs import files, run_records
from ...dataset.runs.run_writing import RunWriting, write_run
from ...errors import LabelQualityError
from ...progress import Progress, terminal_bar
from ...wording import count, of_file
from ...written_files import MARKER
from ..checking.first_look import first_look
from ..engines.engine import LocalEngine
from ..engines.opening import open_engine
from .methods import FINE_TUNED, FROZEN_FEATURES, TrainingMethod, training_method

LEARNT_TOO = (
    "an error that is made all over the labels is learnt by such models, too, and is in none of the numbers: to know, "
    "look at 30 images drawn at random, or score with a model from elsewhere"
)
"""What nobody can tell from models that have learnt from the labels in question."""


@dataclass(frozen=True)
class TrainingReport:
    """What a cross-validated training left.

    Attributes:
        key: the run's key; pass it as `model` to `score_label_quality`
        fold_field: field with the fold of each image: the model of that fold has not seen it
        model_folder: the folder of all folds, usable as a model anywhere
        num_trained: images that took part
        skipped: (sample id, file, reason) of the others
        metrics: per fold, on the images it has not seen, against the given labels
        classes: class names
        notes: what a person should know of the result, one sentence each
        class_rows: the account of classes: mask value, name, channel of the models, what is left out and why
    """

    key: str
    fold_field: str
    model_folder: str
    num_trained: int
    skipped: list[tuple[str, str, str]]
    metrics: list[dict[str, float]]
    classes: list[str]
    notes: list[str] = field(default_factory=list)
    class_rows: list[dict[str, str]] = field(default_factory=list)

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [
            f"**{count(len(self.metrics), 'model')} trained** on {count(self.num_trained, 'image')} and "
            f"{count(len(self.classes), 'class')}. "
            f"Each image is judged by one that has not seen it: its number is in `{self.fold_field}`.",
            "- how far they agree with the given labels, on images that they have not seen (1 = fully):",
        ]
        lines += metric_lines(self.metrics)
        if self.skipped:
            lines.append(f"- {count(len(self.skipped), 'sample', 'were')} left out: {of_file(*self.skipped[0][1:])}")
        lines += [f"- {note}" for note in self.notes]
        lines.append(f"- next: score the labels with `{self.key}` as the model")
        lines += class_table(self.class_rows)
        return "\n".join(lines)


def metric_lines(metrics: Sequence[Mapping[str, float]]) -> list[str]:
    """What each model of a cross-validation reached, in lines of markdown, and what all of them cannot show.

    Args:
        metrics: name to value, of each model

    Example:
        >>> metric_lines([{"mean IoU": 0.5, "pixel accuracy": 0.75}])[0]
        '  - model 0: mean IoU 0.500, pixel accuracy 0.750'
    """
    reached = (", ".join(f"{name} {value:.3f}" for name, value in row.items()) for row in metrics)
    return [*(f"  - model {number}: {text}" for number, text in enumerate(reached)), f"- {LEARNT_TOO}"]


def train_cross_validated(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    method: str = FINE_TUNED,
    key: str = "cross_validation",
    folds: int = 4,
    architecture: str | None = None,
    encoder: str | None = None,
    weights: str | None = "imagenet",
    epochs: int | None = None,
    group_field: str | None = None,
    ignore_index: int | str | Sequence[int | str] | None = "auto",
    output_dir: str | None = None,
    overwrite: bool = False,
    resume: bool = True,
    engine: str = "local",
    workers: int | None = None,
    progress: Progress | None = None,
    **training_options: Any,
) -> TrainingReport:
    """Train one model per fold and record the fold of each image on the dataset.

    Without a GPU, `method="frozen_features"` is far quicker, and usually better than networks that are fine-tuned on
    wrong labels: an encoder that knows ImageNet sees each image once, and small heads are trained on its features.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: its `Segmentation` field
        method: "fine_tuned" = a whole network per fold; "frozen_features" = a head per fold on the features of a
            frozen encoder
        key: name of the run; its fold field is `{key}_fold`
        folds: number of models; each image is left out of one
        architecture: of segmentation-models-pytorch, for fine-tuning: unet (the default), fpn, deeplabv3plus, ...
        encoder: for fine-tuning of segmentation-models-pytorch: resnet18 (the default), mobilenet_v2, ...; for frozen
            features any of timm, EfficientNet-Lite by default
        weights: of the encoder: "imagenet", a file with a state dict, or None for random ones
        epochs: passes over the training images of a fold, for fine-tuning; 20 by default
        group_field: images with equal values of this field (a video, a patient) stay in one fold
        ignore_index: as in `score_label_quality`
        output_dir: folder for the models; beside FiftyOne's dataset files if None
        overwrite: whether to replace a run under the same key
        resume: whether to go on with an interrupted training, and to keep a finished one of equal images, labels and
            options
        engine: where the frozen encoder sees the images, one of `ENGINES`
        workers: on a cluster; as many as it has room for if None
        progress: told how far the job is; a bar in the terminal if None
        training_options: further options of `models.cross_validate` (batch_size, crop_size, lr, seed, device, ...),
            or of `models.FrozenFeatureOptions` (stride, steps, heads, ...) and seed, device

    Returns:
        what was trained and how well it does on unseen images

    Raises:
        LabelQualityError: if the arguments or the data cannot be used

    Example:
        >>> train_cross_validated(dataset, "ground_truth", method="frozen_features")  # doctest: +SKIP
        >>> score_label_quality(dataset, "ground_truth", model="cross_validation")  # doctest: +SKIP
    """
    samples = require_label_field(samples, label_field)
    dataset = samples._dataset
    fold_field = f"{key}_fold"
    run_records.require_free_key(dataset, key, [fold_field], overwrite=overwrite, method=run_records.TRAINING)
    given = {"architecture": architecture, "encoder": encoder, "weights": weights, "epochs": epochs}
    chosen = training_method(method, folds, {**given, **training_options})
    spread = _spread(engine, workers, method)
    base = Path(output_dir).expanduser() if output_dir else files.default_output_dir(dataset, key)
    files.require_writable(base.parent if not base.exists() else base, chosen.bytes_needed(samples.count("id")))

    def run(report: Progress) -> TrainingReport:
        scan = scan_labels(samples, label_field, progress=report)
        faults = first_look(samples, label_field, scan, ignore_index)
        classes = own_channels(account_of(samples, label_field, scan.values, ignore_index))
        planned = run_records.RunRecord(key, run_records.TRAINING, label_field, {}, [fold_field])
        fingerprint = training_fingerprint(label_field, classes, scan.images, chosen.said)
        known = _equal_training(dataset, key, fingerprint) if resume else None
        if known is not None:
            return _report_again(known, scan, faults)
        with write_run(dataset, planned, base, fingerprint, overwrite=overwrite, resume=resume) as writing:
            return train(scan, faults, classes, writing, writing.watched(report))

    def train(
        scan: LabelScan, faults: list[str], classes: ClassMap, writing: RunWriting, report: Progress
    ) -> TrainingReport:
        examples = training_examples(samples, label_field, classes, scan.images, group_field)
        model_folder = writing.folder.subfolder("model")
        trained = chosen.train(
            examples,
            model_folder,
            num_classes=len(classes),
            class_names=list(classes.names),
            ignore_index=IGNORED,
            resume=resume,
            progress=report,
            **spread,
            **chosen.arguments,
        )
        report(0, 1, "writing folds")
        fold_of = {image.sample_id: trained.fold_of.get(image.filepath) for image in scan.images}
        writing.replace_results([])
        text = "Fold of the image: the model of this fold has not seen it"
        sample_fields.write_numbers(dataset, fold_field, fold_of, text, integer=True)
        result = TrainingReport(
            key=key,
            fold_field=fold_field,
            model_folder=str(model_folder),
            num_trained=sum(fold is not None for fold in fold_of.values()),
            skipped=left_out(scan, trained.skipped),
            metrics=[fold_numbers(row) for row in trained.metrics],
            classes=list(classes.names),
            notes=[*trained.notes, *faults],
            class_rows=recorded_rows(classes),
        )
        writing.finish(_record(result, label_field, writing.path, chosen))
        return result

    if progress is not None:
        return run(progress)
    with terminal_bar("checking labels") as bar:
        return run(bar)


def _equal_training(dataset: Any, key: str, fingerprint: Mapping[str, Any]) -> run_records.RunRecord | None:
    """The finished run under the key if it has these images, labels and options, so that training gives the same."""
    known = run_records.find_run(dataset, key)
    if known is None or known.method != run_records.TRAINING or not known.output_dir:
        return None
    if known.dataset_id != run_records.dataset_id(dataset):  # a clone does not own the files of its original
        return None
    marker = files.read_json(Path(known.output_dir) / MARKER) or {}
    folds = dataset.count(known.fields[0]) if dataset.has_field(known.fields[0]) else 0
    return known if marker.get("finished") and marker.get("fingerprint") == fingerprint and folds else None


def _report_again(known: run_records.RunRecord, scan: LabelScan, faults: list[str]) -> TrainingReport:
    """What a finished run says, as far as it is kept."""
    kept = {name: known.summary[name] for name in ("num_trained", "metrics", "classes", "class_rows")}
    note = "These models were trained before on the same images and labels, and are used again"
    folder = known.parameters["model_folder"]
    return TrainingReport(known.key, known.fields[0], folder, skipped=left_out(scan, []), notes=[note, *faults], **kept)


def _spread(engine: str, workers: int | None, method: str) -> dict[str, Any]:
    """What a training is told of a cluster; nothing where it stays in this process."""
    opened = open_engine(engine, workers)
    if isinstance(opened, LocalEngine):
        return {}
    if method != FROZEN_FEATURES:
        raise LabelQualityError(
            f"Expected `method='frozen_features'` for `engine={engine!r}`, but got {method!r}: whole networks train on "
            "one machine, on all of its GPUs"
        )
    return {"run_stage": opened.run}


def training_fingerprint(
    label_field: str, classes: ClassMap, images: Sequence[LabelledImage], options: Mapping[str, Any]
) -> dict[str, Any]:
    """What tells an interrupted training of the same data and options from another one.

    Args:
        label_field: trained on
        classes: its classes
        images: trained on
        options: all that decides the result beside them

    Returns:
        plain values
    """
    return {
        "label_field": label_field,
        "classes": [[value, name] for value, name in zip(classes.values, classes.names, strict=True)],
        "images": files.digest_of(f"{image.filepath}:{image.digest}" for image in images),
        "options": {name: str(value) for name, value in options.items()},
    }


def training_examples(
    samples: Any, label_field: str, classes: ClassMap, images: Sequence[LabelledImage], group_field: str | None
) -> list[Any]:
    """Images with their labels as `models` trains on them, `IGNORED` where a label counts for nothing.

    Args:
        samples: the dataset or view
        label_field: its `Segmentation` field
        classes: of the field
        images: to train on
        group_field: images with equal values of this field stay together; None = each by itself

    Returns:
        a `models.Example` per image, its key the image's path
    """
    read = mask_reader(samples, label_field)
    groups = dict(zip(*samples.values(["id", group_field]), strict=True)) if group_field else {}

    def mask_of(sample_id: str) -> Callable[[], np.ndarray]:
        return lambda: classes.indices(read(sample_id))

    return [
        models.Example(
            key=image.filepath,
            image=image.filepath,
            mask=mask_of(image.sample_id),
            group=None if groups.get(image.sample_id) is None else str(groups[image.sample_id]),
        )
        for image in images
    ]


def left_out(scan: LabelScan, in_training: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """The samples that were not trained on.

    Args:
        scan: of the labels
        in_training: (path, reason) of the images that the training left out

    Returns:
        (sample id, file, reason)
    """
    id_of = {image.filepath: image.sample_id for image in scan.images}
    early = [(skip.sample_id, skip.filepath, skip.reason) for skip in scan.skipped]
    return early + [(id_of.get(path, ""), path, reason) for path, reason in in_training]


def fold_numbers(metrics: models.FoldMetrics) -> dict[str, float]:
    """What reports say of a fold."""
    return {"mean IoU": round(metrics.mean_iou, 4), "pixel accuracy": round(metrics.pixel_accuracy, 4)}


def _record(report: TrainingReport, label_field: str, folder: Path, method: TrainingMethod) -> run_records.RunRecord:
    said = method.said.items()
    plain = {name: value if isinstance(value, int | float | bool | None) else str(value) for name, value in said}
    return run_records.RunRecord(
        key=report.key,
        method=run_records.TRAINING,
        label_field=label_field,
        parameters={**plain, "model_folder": report.model_folder},
        fields=[report.fold_field],
        output_dir=str(folder),
        summary={
            "metrics": report.metrics,
            "classes": report.classes,
            "class_rows": report.class_rows,
            "num_trained": report.num_trained,
        },
    )
