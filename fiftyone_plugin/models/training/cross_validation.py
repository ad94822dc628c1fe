"""Cross-validated training, and prediction of each image by a model that has not seen it."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
import time
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import LabelQualityError
from ...options import exactly, takes
from ...written_files import bring_to_disk, sweep
from ..errors import ModelMismatchError, one_line
from ..files.items import Example, ImageItem
from ..hardware.devices import choose_device, few_threads
from ..segmenters.channels import ChannelMapping
from ..segmenters.network import NetworkSegmenter, PredictionOptions
from ..segmenters.segmenter import Prediction, ReadItem, Segmenter
from ..segmenters.sources import smp_folder
from .encoder_weights import encoder_format, is_weights_file, new_model
from .folds import (
    RECORD_NAME,
    FoldMetrics,
    FoldRecord,
    assign_folds,
    derived_seed,
    read_record,
    require_same,
    write_record,
)
from .training_data import LabelSpace, TrainingData, check_examples
from .training_options import MEMORY_BUDGET, TrainingOptions

if TYPE_CHECKING:
    from ...progress import Progress
    from .fold_training import TrainingMethod

QUICK_TRAINING: Mapping[str, Any] = {
    "arch": "fpn",
    "encoder": "tu-mobilenetv3_small_100",
    "model_options": {"decoder_pyramid_channels": 48, "decoder_segmentation_channels": 32, "decoder_dropout": 0.0},
    "epochs": 30,
    "batch_size": 4,
    "crop_size": (128, 160),
    "lr": 1.6e-2,
}
"""Options of `cross_validate` that train from nothing on some dozens of small images in a minute, on a CPU.

Three folds of 60 rendered street scenes of 192 x 256 pixels and 8 classes took a minute on one core (four: 85 s)
and found the right class of 0.88 of the pixels of held-out images, a mean IoU of 0.58.
"""

_CROP_LIMIT = 512
_STRIDE = 32
_REPORT_SECONDS = 0.3
_WEIGHTS_NAME = "model.safetensors"


@dataclass(frozen=True)
class CrossValidation:
    """A finished cross-validation.

    Args:
        folder: where the models are; `load_segmenter(folder)` predicts with them
        fold_of: fold of each image by key: the fold that was held out, whose model predicts it
        metrics: per fold, on the held-out images against the given labels
        num_classes: label classes K
        class_names: names of the classes, or None
        skipped: (key, reason) of the images that could not be read
        weights: where the encoders' first weights came from, and what was left out of them
        notes: what a person should know of the result, one sentence each
    """

    folder: Path
    fold_of: Mapping[str, int]
    metrics: tuple[FoldMetrics, ...]
    num_classes: int
    class_names: tuple[str, ...] | None
    skipped: tuple[tuple[str, str], ...]
    weights: str
    notes: tuple[str, ...] = ()

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the folds."""
        return float(np.mean([fold.mean_iou for fold in self.metrics]))

    @property
    def pixel_accuracy(self) -> float:
        """Mean pixel accuracy over the folds."""
        return float(np.mean([fold.pixel_accuracy for fold in self.metrics]))


@takes(TrainingOptions)
def cross_validate(
    examples: Sequence[Example],
    folder: str | Path,
    *,
    num_classes: int,
    folds: int = 4,
    progress: Progress | None = None,
    method: TrainingMethod | None = None,
    **keywords: Any,
) -> CrossValidation:
    """Train one model per fold on the images of the other folds, so that each image has a model blind to it.

    Every image is checked before training begins. After an interruption at any point the same call goes on
    from the last finished epoch, and on a CPU ends with the same models as an uninterrupted run. Folds depend
    on keys, groups and seed only, not on the order of `examples`.

    Args:
        examples: images with their labels
        folder: receives folds.json and one folder per fold (segmentation-models-pytorch's
            `save_pretrained` and Lightning's checkpoint)
        num_classes: label classes K, at least 2
        folds: number of folds, at least 2
        progress: called with (done, total, label), in images; what it raises interrupts the training
        method: another way of training each fold, such as `NoiseRobust()`; None = cross entropy against the
            given labels
        keywords: those of `TrainingOptions`

    Returns:
        folds, metrics on held-out images, and what was skipped

    Raises:
        LabelQualityError: no examples, fewer images than folds, labels outside the classes, an image and mask
            of different size, a folder of another configuration or without permission to write, unknown
            architecture or encoder, weights that cannot be had

    Example:
        >>> import tempfile
        >>> rng = np.random.default_rng(0)
        >>> examples = [
        ...     Example(f"image{i}", rng.integers(0, 255, (32, 32, 3), dtype=np.uint8), np.eye(32, dtype=int))
        ...     for i in range(4)
        ... ]
        >>> small = {"encoder": "tu-mobilenetv3_small_050", "epochs": 1, "batch_size": 2, "device": "cpu"}
        >>> done = cross_validate(examples, tempfile.mkdtemp(), num_classes=2, folds=2, **small)
        >>> sorted(done.fold_of), len(done.metrics)
        (['image0', 'image1', 'image2', 'image3'], 2)
    """
    options = exactly(TrainingOptions, keywords, "cross_validate")
    settings = training_settings(options, num_classes, folds)
    where = writable_folder(Path(folder))
    provisional = _provisional(examples, settings)
    # wrong names and weights that cannot be had show here, before anything is read
    _, said = seeded_model(settings, fold=0)
    reports = TrainingReports(progress, settings, provisional)
    data = check_examples(examples, LabelSpace(num_classes, options.ignore_index), options.memory_budget, reports.read)
    fold_of = assign_folds(data.keys, folds, options.seed, data.groups)
    record = training_record(data, settings, fold_of, options.crop_size, said, method)
    reports.plan(record.fold_of)
    record = kept_record(where, record) if options.resume else fresh_record(where, record)
    for fold in range(folds):
        if record.metrics[fold] is None:
            pixels = options.batch_size * math.prod(record.config["crop_size"])
            seeds = torch.random.fork_rng(devices=range(torch.cuda.device_count()))
            with seeds, few_threads(settings.device, pixels):
                record = _finish_fold(fold, where, data, settings, record, reports, method)
        reports.finish(fold)
    return cross_validation_of(where, record)


def read_cross_validation(folder: str | Path) -> CrossValidation:
    """Read what a finished cross-validation left in its folder.

    Args:
        folder: given to `cross_validate`

    Returns:
        the same as `cross_validate` returned

    Raises:
        LabelQualityError: no cross-validation there, or an unfinished one

    Example:
        >>> read_cross_validation("nowhere")
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: nowhere holds no cross-validation (no folds.json in it).
    """
    record = read_record(Path(folder))
    finished = sum(metrics is not None for metrics in record.metrics)
    if finished < record.num_folds:
        raise LabelQualityError(
            f"The cross-validation in {folder} was interrupted: {finished} of {record.num_folds} folds are finished; "
            "start the same training again to go on with it."
        )
    return cross_validation_of(Path(folder), record)


class CrossValidatedSegmenter(Segmenter):
    """Predicts each image with the fold's model that has not seen it.

    An image that no fold knows by name or path belongs to its group's fold; without one, the mean of all
    models' probabilities is returned, since none has seen it. That is said by one warning, because a name
    that differs from the key in training would make predictions in-sample.

    Args:
        folder: of a finished `cross_validate`
        num_classes: label classes K; None = those of training
        class_names: names of the K classes; None = those of training
        device: None = CUDA, then MPS, then CPU
        options: flips, scales, tiles, precision
        channel_map: class of each training class (see `ChannelMap`)
        memory_budget: bytes of models to hold at once; beyond, models are loaded one at a time

    Raises:
        LabelQualityError: no finished cross-validation there
        ModelMismatchError: trained on another number of classes than `num_classes`
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        device: str | torch.device | None = None,
        options: PredictionOptions | None = None,
        channel_map: ChannelMapping | None = None,
        memory_budget: int = MEMORY_BUDGET,
    ) -> None:
        read_cross_validation(folder)  # refuses an unfinished one
        self.folder = Path(folder)
        self.record = read_record(self.folder)
        if channel_map is None and num_classes not in (None, self.record.num_classes):
            raise ModelMismatchError(
                f"Expected models of {num_classes} classes, but {folder} was trained on {self.record.num_classes}; "
                "pass `channel_map={channel: class, ...}`, or train again."
            )
        if channel_map is None:
            num_classes, class_names = self.record.num_classes, class_names or self.record.class_names
        config = self.record.config
        super().__init__(
            num_classes=num_classes,
            class_names=class_names,
            description=f"cross-validation:{folder} ({config['arch']}/{config['encoder']}, {config['folds']} folds)",
            device=choose_device(device),
        )
        self._options = options
        self._channel_map = channel_map
        folders = [fold_folder(self.folder, fold) for fold in range(self.num_folds)]
        sizes = [file.stat().st_size for own in folders for file in own.glob("*.safetensors")]
        self._capacity = self.num_folds if sum(sizes) <= memory_budget else 1
        self._models: OrderedDict[int, Segmenter] = OrderedDict()
        self._warned = False

    @property
    def num_folds(self) -> int:
        """Number of folds."""
        return self.record.num_folds

    def fold_of(self, name: str, group: str | None = None) -> int | None:
        """Return the fold that held an image out, whose model predicts it.

        Args:
            name: key of the image in training
            group: its group, for an image that was not there

        Returns:
            index of the fold; None = unknown, so that all models predict it
        """
        fold = self.record.fold_of.get(name)
        return self.record.fold_of_group.get(group) if fold is None and group is not None else fold

    def _fold(self, item: ImageItem) -> int | None:
        by_path = None if item.path is None else self.record.fold_of.get(item.path)
        fold = self.fold_of(item.name)
        fold = by_path if fold is None else fold
        fold = self.fold_of(item.name, item.group) if fold is None else fold
        if fold is None and not self._warned:
            self._warned = True
            warnings.warn(
                f"Image {item.name} is none of the {len(self.record.fold_of)} that {self.folder} was trained on; "
                "such images are predicted by the mean of all folds' models. If it was in the training under "
                "another name, that is an in-sample prediction.",
                stacklevel=2,
            )
        return fold

    def _group_of(self, item: ImageItem) -> int | None:
        return self._fold(item)

    def _batches(self, items: Iterable[ImageItem], size: int) -> Iterator[list[ReadItem]]:
        """Yield batches of one fold each; all items are listed first where only one model fits in memory."""
        if self._capacity < self.num_folds:
            items = sorted(items, key=lambda item: -1 if (fold := self._fold(item)) is None else fold)
        waiting: dict[int | None, list[ReadItem]] = defaultdict(list)
        for read in self._read(items, size):
            fold = self._fold(read[0])
            waiting[fold].append(read)
            if len(waiting[fold]) == size:
                yield waiting.pop(fold)
        yield from waiting.values()

    def _results(self, batch: Sequence[ImageItem]) -> Iterator[tuple[int, Prediction]]:
        members: dict[int | None, list[int]] = defaultdict(list)
        for index, item in enumerate(batch):
            members[self._fold(item)].append(index)
        for fold, indices in members.items():
            part = [batch[index] for index in indices]
            results = self._mean_results(part) if fold is None else self._model(fold)._results(part)
            for index, result in results:
                yield indices[index], result

    def _mean_results(self, batch: Sequence[ImageItem]) -> Iterator[tuple[int, Prediction]]:
        """Average the probabilities of all folds' models; one model's error is the image's error."""
        totals: dict[int, Prediction] = {}
        for fold in range(self.num_folds):
            for index, result in self._model(fold)._results(batch):
                before = totals.get(index)
                if before is None or isinstance(result, Exception):
                    totals[index] = result
                elif not isinstance(before, Exception):
                    totals[index] = before + result
        for index, total in totals.items():
            yield index, total if isinstance(total, Exception) else total / self.num_folds

    def _model(self, fold: int) -> Segmenter:
        if fold in self._models:
            self._models.move_to_end(fold)
            return self._models[fold]
        while len(self._models) >= self._capacity:
            self._models.popitem(last=False)
        model = self._load(fold)
        self._models[fold] = model
        return model

    def _load(self, fold: int) -> Segmenter:
        own = fold_folder(self.folder, fold)
        return _fold_segmenter(own, self.record, self.device, self._options, self._channel_map, self.num_classes)


@dataclass(frozen=True)
class TrainingSettings:
    """Checked arguments of `cross_validate`."""

    num_classes: int
    folds: int
    arch: str
    encoder: str
    weights: str | None
    model_options: Mapping[str, Any]
    epochs: int
    batch_size: int
    lr: float
    encoder_lr: float
    freeze_batchnorm: bool
    bend_labels: bool
    ignore_index: int | None
    class_names: tuple[str, ...] | None
    seed: int
    device: torch.device
    devices: int | tuple[int, ...]


class TrainingReports:
    """Progress in images: each is read once, seen in every epoch of the other folds, and held out once."""

    def __init__(self, progress: Progress | None, settings: TrainingSettings, fold_of: Mapping[str, int]) -> None:
        self._progress = progress
        self._settings = settings
        self._last, self._done = -math.inf, 0.0
        self._reading = len(fold_of)
        self.plan(fold_of)

    def plan(self, fold_of: Mapping[str, int]) -> None:
        """Count the work of every fold."""
        held_out = [sum(fold == other for other in fold_of.values()) for fold in range(self._settings.folds)]
        batch = self._settings.batch_size
        epochs = [math.ceil((len(fold_of) - count) / batch) * batch for count in held_out]
        self._work = [e * self._settings.epochs + count for e, count in zip(epochs, held_out, strict=True)]

    def read(self, done: int) -> None:
        """Tell how many images are read."""
        if done == self._reading or time.monotonic() - self._last > _REPORT_SECONDS:
            self._tell(done, f"reading images, {done}/{self._reading}")

    def train(self, fold: int, images: int, epoch: int, loss: float) -> None:
        """Tell how far a fold's training is."""
        said = "" if math.isnan(loss) else f", loss {loss:.2f}"
        epochs = self._settings.epochs
        label = f"{self._name(fold)}, epoch {min(epoch + 1, epochs)}/{epochs}{said}"
        self._tell(self._reading + sum(self._work[:fold]) + images, label)

    def say(self, fold: int, text: str) -> None:
        """Tell what is being done between two epochs."""
        self._tell(self._done, f"{self._name(fold)}, {text}")

    def finish(self, fold: int) -> None:
        """Tell that a fold is finished."""
        self._tell(self._reading + sum(self._work[: fold + 1]), f"{self._name(fold)} finished")

    def _name(self, fold: int) -> str:
        return "training" if self._settings.folds == 1 else f"model {fold + 1} of {self._settings.folds}"

    def _tell(self, done: float, label: str) -> None:
        self._last, self._done = time.monotonic(), done
        if self._progress is not None:
            self._progress(done, self._reading + sum(self._work), label)


def training_settings(options: TrainingOptions, num_classes: int, folds: int) -> TrainingSettings:
    """Check the options of a training that need no data, and complete them.

    Args:
        options: as they were chosen
        num_classes: label classes K
        folds: number of folds

    Raises:
        LabelQualityError: names the value and what was expected
    """
    weights, names = options.weights, options.class_names
    for name in ("epochs", "batch_size"):
        if getattr(options, name) < 1:
            raise LabelQualityError(f"Expected `{name}` of at least 1, but got {getattr(options, name)}.")
    if num_classes < 2:
        raise LabelQualityError(
            f"Expected at least 2 classes to train on, but got num_classes={num_classes}; "
            "count the background as a class."
        )
    if names is not None and len(names) != num_classes:
        raise LabelQualityError(f"Expected {num_classes} class names, but got {len(names)}.")
    devices = options.devices if isinstance(options.devices, int) else tuple(options.devices)
    count = devices if isinstance(devices, int) else len(devices)
    if count < 1 or options.batch_size % count:
        raise LabelQualityError(f"Expected a batch size that {count} devices can share, but got {options.batch_size}.")
    rate = options.lr or (4e-3 if weights is None else 2e-3)
    settled = {name: getattr(options, name) for name in TrainingSettings.__dataclass_fields__ if hasattr(options, name)}
    changed = {
        "num_classes": num_classes,
        "folds": folds,
        "weights": str(Path(weights).resolve()) if weights and is_weights_file(weights) else weights,
        "model_options": json.loads(json.dumps(options.model_options or {})),  # as folds.json gives it back
        "class_names": None if names is None else tuple(names),
        "device": choose_device(options.device),
        "devices": devices,
        "lr": rate,
        "encoder_lr": options.encoder_lr or (rate if weights is None else rate / 4),
    }
    return TrainingSettings(**{**settled, **changed})


def writable_folder(folder: Path, record_name: str = RECORD_NAME, what: str = "cross-validation") -> Path:
    """Make sure, before any work, that the folder is ours and can be written.

    Args:
        folder: new, empty, or of an earlier training
        record_name: file that tells that the folder is ours
        what: what messages call the training

    Returns:
        the folder

    Raises:
        LabelQualityError: it cannot be written, or holds something else
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise LabelQualityError(
            f"Cannot write to the folder {folder} ({one_line(error)}); choose another one or permit writing there."
        ) from error
    sweep(folder)
    foreign = [path.name for path in folder.iterdir() if path.suffix != ".part"]  # half files of the dead
    if foreign and not (folder / record_name).is_file():
        raise LabelQualityError(
            f"The folder {folder} holds {len(foreign)} other files ({foreign[0]}) and no {what}; "
            "choose an empty or new folder."
        )
    return folder


def _provisional(examples: Sequence[Example], settings: TrainingSettings) -> dict[str, int]:
    """Assign folds as if every example could be read."""
    if not examples:
        raise LabelQualityError("Expected examples to train on, but got none; check the view and its label field.")
    groups = [example.group for example in examples]
    return assign_folds([example.key for example in examples], settings.folds, settings.seed, groups)


def training_record(
    data: TrainingData,
    settings: TrainingSettings,
    fold_of: Mapping[str, int],
    crop_size: int | tuple[int, int] | None,
    said: str,
    method: TrainingMethod | None = None,
) -> FoldRecord:
    """Return what a folder has to remember of a training that has not begun.

    Args:
        data: checked examples
        settings: checked arguments
        fold_of: fold of each image by key
        crop_size: as given
        said: where the encoder's first weights come from
        method: way of training; None = cross entropy
    """
    names = (
        "folds", "arch", "encoder", "weights", "model_options", "num_classes", "ignore_index", "epochs",
        "batch_size", "lr", "encoder_lr", "freeze_batchnorm", "seed",
    )  # fmt: skip
    config = {name: getattr(settings, name) for name in names}
    config |= {"bend_labels": True} if settings.bend_labels else {}  # else as before there was the option
    config |= {} if method is None else {"method": method.config}
    mean, std = encoder_format(settings.encoder, settings.weights)
    return FoldRecord(
        config={**config, "crop_size": _crop_size(crop_size, data.sizes)},
        num_classes=settings.num_classes,
        class_names=settings.class_names,
        mean=mean,
        std=std,
        fold_of=dict(fold_of),
        fold_of_group={g: fold_of[key] for key, g in zip(data.keys, data.groups, strict=True) if g is not None},
        fingerprints=dict(zip(data.keys, data.fingerprints, strict=True)),
        skipped=dict(data.skipped),
        metrics=(None,) * settings.folds,
        weights=said,
    )


def _crop_size(given: int | tuple[int, int] | None, sizes: Sequence[tuple[int, int]]) -> list[int]:
    if given is not None:
        pair = [given, given] if isinstance(given, int) else [int(length) for length in given]
        if len(pair) != 2 or min(pair) < _STRIDE:
            raise LabelQualityError(f"Expected a `crop_size` of at least {_STRIDE} pixels, but got {given}.")
        return pair
    medians = np.median(np.array(sizes), axis=0)
    return [int(min(_CROP_LIMIT, max(_STRIDE, round(length / _STRIDE) * _STRIDE))) for length in medians]


def kept_record(
    folder: Path, record: FoldRecord, name: str = RECORD_NAME, what: str = "cross-validation"
) -> FoldRecord:
    """Return what the folder knows of the same training, or start there.

    Args:
        folder: of the training
        record: what is asked for
        name: of the record's file
        what: what messages call the training

    Returns:
        the record with what is finished already

    Raises:
        LabelQualityError: the folder holds another training; the message names what differs
    """
    if not (folder / name).is_file():
        write_record(folder, record, name)
        return record
    old = read_record(folder, name, what)
    require_same(folder, old, record)
    kept = replace(record, metrics=old.metrics, weights=old.weights)
    write_record(folder, kept, name)
    return kept


def fresh_record(folder: Path, record: FoldRecord) -> FoldRecord:
    """Remove an earlier training's models, and nothing else, and start anew.

    Args:
        folder: of the training
        record: what is asked for

    Returns:
        the record, as written
    """
    for path in folder.glob("fold_*"):
        if path.is_dir() and path.name.removeprefix("fold_").isdigit():
            shutil.rmtree(path)
    write_record(folder, record)
    return record


def _finish_fold(
    fold: int,
    folder: Path,
    data: TrainingData,
    settings: TrainingSettings,
    record: FoldRecord,
    reports: TrainingReports,
    method: TrainingMethod | None,
) -> FoldRecord:
    """Train, save and measure one fold's model, and remember that it is finished."""
    started = time.monotonic()
    own = fold_folder(folder, fold)
    train_model(fold, own, data, settings, record, reports, method)
    segmenter = _fold_segmenter(own, record, settings.device, None, None, record.num_classes)
    compared = _compared(segmenter, fold, data, record)
    return finished_fold(folder, record, measure_fold(compared, fold, data.labels.ignored, record, started))


def _compared(
    segmenter: Segmenter, fold: int, data: TrainingData, record: FoldRecord
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yield the given and the predicted classes of each image that a fold holds out."""
    for index, key in enumerate(data.keys):
        if record.fold_of[key] == fold:
            image, mask = data.pair(index)
            yield mask, segmenter.predict([image], names=[key])[0].argmax(0)


def finished_fold(folder: Path, record: FoldRecord, metrics: FoldMetrics) -> FoldRecord:
    """Remember that a fold is finished.

    Args:
        folder: of the cross-validation
        record: what is known
        metrics: of the fold

    Returns:
        the record, as written
    """
    done = tuple(metrics if index == metrics.fold else before for index, before in enumerate(record.metrics))
    record = replace(record, metrics=done)
    write_record(folder, record)
    return record


def train_model(
    fold: int,
    own: Path,
    data: TrainingData,
    settings: TrainingSettings,
    record: FoldRecord,
    reports: TrainingReports,
    method: TrainingMethod | None,
) -> None:
    """Train on the images that a fold does not hold out, and save the model.

    Args:
        fold: the fold
        own: its folder
        data: all examples
        settings: checked arguments
        record: folds, crop size and normalisation
        reports: told of the progress
        method: way of training; None = cross entropy
    """
    from .fold_training import FoldPlan, SegmentationTraining, train_fold

    plan = FoldPlan(
        fold, settings.epochs, settings.batch_size, tuple(record.config["crop_size"]), settings.lr,
        settings.encoder_lr, settings.seed, settings.freeze_batchnorm, record.mean, record.std, settings.device,
        settings.devices, settings.bend_labels,
    )  # fmt: skip
    model, _ = seeded_model(settings, fold)
    chosen = [index for index, key in enumerate(data.keys) if record.fold_of[key] != fold]
    say = partial(reports.say, fold)
    make = SegmentationTraining if method is None else method.for_fold(data, chosen, own, say)
    model = train_fold(model, data, chosen, plan, own, partial(reports.train, fold), make)
    with contextlib.redirect_stdout(io.StringIO()):
        model.save_pretrained(str(own))  # type: ignore[operator]
    shutil.copymode(own / "config.json", own / _WEIGHTS_NAME)  # it is written for its owner alone
    bring_to_disk(own)  # before the record says that the fold is finished


def seeded_model(settings: TrainingSettings, fold: int) -> tuple[torch.nn.Module, str]:
    """Build a fold's model with its first weights, the same for a seed.

    Args:
        settings: checked arguments
        fold: the fold

    Returns:
        (model, where its encoder's weights come from)

    Raises:
        LabelQualityError: unknown names, or weights that cannot be had
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(settings.seed, fold, "weights"))
        return new_model(
            settings.arch, settings.encoder, settings.num_classes, settings.weights, settings.model_options
        )


def measure_fold(
    compared: Iterable[tuple[np.ndarray, torch.Tensor]], fold: int, ignored: int, record: FoldRecord, started: float
) -> FoldMetrics:
    """Compare the fold's model with the given labels of the images that it has not seen.

    Args:
        compared: (H, W) given and predicted classes of each of them
        fold: which fold
        ignored: value of pixels without a label
        record: number of classes
        started: when the fold's training began, of the monotonic clock

    Returns:
        how well it does
    """
    count = record.num_classes
    table = np.zeros((count, count), np.int64)
    images = 0
    for given, predicted in compared:
        labelled = given != ignored
        pairs = given[labelled].astype(np.int64) * count + predicted.cpu().numpy()[labelled]
        table += np.bincount(pairs, minlength=count * count).reshape(count, count)
        images += 1
    both, right = table.sum(0) + table.sum(1), table.diagonal()
    per_class = [float(hit / (total - hit)) if total else None for hit, total in zip(right, both, strict=True)]
    present = [value for value in per_class if value is not None]
    mean_iou = sum(present) / len(present) if present else 0.0
    accuracy = float(right.sum() / max(table.sum(), 1))
    return FoldMetrics(fold, images, mean_iou, accuracy, tuple(per_class), round(time.monotonic() - started, 1))


def _fold_segmenter(
    folder: Path,
    record: FoldRecord,
    device: torch.device,
    options: PredictionOptions | None,
    channel_map: ChannelMapping | None,
    num_classes: int | None,
) -> NetworkSegmenter:
    source = smp_folder(folder)
    return NetworkSegmenter(
        source.network,
        num_classes=num_classes,
        description=source.description,
        device=device,
        inputs=replace(source.inputs, mean=tuple(record.mean), std=tuple(record.std)),
        outputs=replace(source.outputs, from_logits=True),
        options=options,
        channel_map=channel_map,
    )


def fold_folder(folder: Path, fold: int) -> Path:
    """Where a fold's model is.

    Args:
        folder: of the cross-validation
        fold: index of the fold
    """
    return folder / f"fold_{fold}"


def cross_validation_of(folder: Path, record: FoldRecord) -> CrossValidation:
    """What callers get of a finished record.

    Args:
        folder: of the cross-validation
        record: all of its folds are finished
    """
    return CrossValidation(
        folder=folder,
        fold_of=dict(record.fold_of),
        metrics=tuple(metrics for metrics in record.metrics if metrics is not None),
        num_classes=record.num_classes,
        class_names=record.class_names,
        skipped=tuple(record.skipped.items()),
        weights=record.weights,
        notes=record.notes,
    )
