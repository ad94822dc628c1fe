"""Heads on frozen features by cross-validation: the encoder sees every image once, for all folds."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from ...errors import LabelQualityError
from ..files.items import Example
from ..hardware.devices import choose_device, few_threads
from ..training.cross_validation import (
    CrossValidation,
    cross_validation_of,
    finished_fold,
    fold_folder,
    fresh_record,
    kept_record,
    measure_fold,
    writable_folder,
)
from ..training.folds import FoldRecord, assign_folds, derived_seed, write_record
from ..training.training_data import LabelSpace, TrainingData, check_examples
from ..training.training_options import MEMORY_BUDGET
from .encoders import FrozenEncoder
from .encoding import EncodingJob, RunStage, encode_images, seeded_encoder
from .head_training import Scenes, calibration_pixels, fit_temperature, train_head
from .options import FrozenFeatureOptions
from .segmenter import METHOD, FrozenFeatureSegmenter, keep_encoder, save_heads
from .store import FOLDER, FeatureStore

if TYPE_CHECKING:
    from ...progress import Progress

_PART = 8  # images that the encoder is given at once
_CALIBRATION_IMAGES = 40
_SURELY = 0.8  # of the disk's limit: what is surely not reached where images differ in size
_REPORT_SECONDS = 0.3


def cross_validate_frozen_features(
    examples: Sequence[Example],
    folder: str | Path,
    *,
    num_classes: int,
    folds: int = 4,
    options: FrozenFeatureOptions | None = None,
    ignore_index: int | None = 255,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    memory_budget: int = MEMORY_BUDGET,
    resume: bool = True,
    progress: Progress | None = None,
    run_stage: RunStage | None = None,
) -> CrossValidation:
    """Train small heads on the features of a frozen encoder, per fold, so that each image has heads blind to it.

    The encoder sees every image once; its features are kept in half precision in `folder/features`. `load_segmenter`
    reads the folder like that of `cross_validate`. After an interruption the same call goes on with the images and
    folds that are missing.

    Args:
        examples: images with their labels
        folder: receives folds.json, the encoder, its features, and one folder of heads per fold
        num_classes: label classes K, at least 2
        folds: number of folds, at least 2
        options: encoder, grid, heads; None = the default ones
        ignore_index: value of pixels without a label; None = every pixel has one
        class_names: names of the K classes, remembered in the folder
        seed: decides folds, first weights and crops
        device: None = CUDA, then MPS, then CPU
        memory_budget: bytes of decoded images and masks to keep in memory; beyond, files are read again
        resume: go on with what `folder` holds; False discards it
        progress: called with (done, total, label)
        run_stage: lets others, such as a cluster, do the encoder's pass; None = it is done here

    Returns:
        folds, metrics on held-out images, and what was skipped

    Raises:
        LabelQualityError: no examples, fewer images than folds, labels outside the classes, an image and mask of
            different size, a folder of another configuration, an encoder or weights that cannot be had

    Example:
        >>> import tempfile
        >>> rng = np.random.default_rng(0)
        >>> examples = [
        ...     Example(f"image{i}", rng.integers(0, 255, (32, 32, 3), dtype=np.uint8), np.eye(32, dtype=int))
        ...     for i in range(4)
        ... ]
        >>> small = FrozenFeatureOptions("test_efficientnet", weights=None, width=8, steps=2, crop_size=32)
        >>> done = cross_validate_frozen_features(
        ...     examples, tempfile.mkdtemp(), num_classes=2, folds=2, options=small, device="cpu"
        ... )
        >>> sorted(done.fold_of), len(done.metrics)
        (['image0', 'image1', 'image2', 'image3'], 2)
    """
    options = options or FrozenFeatureOptions()
    names = None if class_names is None else tuple(class_names)
    _require_classes(num_classes, names)
    where = writable_folder(Path(folder))
    assign_folds([e.key for e in examples] or [""], folds, seed, [e.group for e in examples] or None)
    encoder = seeded_encoder(options, seed, choose_device(device))  # names that are wrong show here
    reports = _Reports(progress, len(examples), folds, options.heads * options.steps)
    data = check_examples(examples, LabelSpace(num_classes, ignore_index), memory_budget, reports.read)
    options = options.for_sizes(data.sizes)
    encoder.stride = options.stride or encoder.stride
    record = _new_record(data, options, encoder, folds, seed, names)
    if resume:
        record = kept_record(where, record)
    else:
        shutil.rmtree(where / FOLDER, ignore_errors=True)
        record = fresh_record(where, record)
    keep_encoder(where, encoder)
    store = FeatureStore(where / FOLDER, encoder, options.disk_limit)
    run = _Run(where, data, options, store, seed, reports, run_stage)
    if any(metrics is None for metrics in record.metrics):
        kept = run.compute_features()
        record = replace(record, notes=_notes(data, record, kept))
        write_record(where, record)
        for fold in range(folds):
            if record.metrics[fold] is None:
                record = run.finish_fold(fold, record, kept)
    return cross_validation_of(where, record)


def _require_classes(num_classes: int, names: tuple[str, ...] | None) -> None:
    if num_classes < 2:
        raise LabelQualityError(
            f"Expected at least 2 classes to train on, but got num_classes={num_classes}; "
            "count the background as a class."
        )
    if names is not None and len(names) != num_classes:
        raise LabelQualityError(f"Expected {num_classes} class names, but got {len(names)}.")


def _new_record(
    data: TrainingData,
    options: FrozenFeatureOptions,
    encoder: FrozenEncoder,
    folds: int,
    seed: int,
    names: tuple[str, ...] | None,
) -> FoldRecord:
    fold_of = assign_folds(data.keys, folds, seed, data.groups)
    config = {
        **options.config(), "folds": folds, "arch": METHOD, "encoder": encoder.about.name, "seed": seed,
        "encoder_digest": encoder.about.digest, "num_classes": data.labels.num_classes,
        "ignore_index": data.labels.ignore_index,
    }  # fmt: skip
    return FoldRecord(
        config=config,
        num_classes=data.labels.num_classes,
        class_names=names,
        mean=encoder.about.mean,
        std=encoder.about.std,
        fold_of=fold_of,
        fold_of_group={g: fold_of[key] for key, g in zip(data.keys, data.groups, strict=True) if g is not None},
        fingerprints=dict(zip(data.keys, data.fingerprints, strict=True)),
        skipped=dict(data.skipped),
        metrics=(None,) * folds,
        weights=encoder.about.said,
    )


@dataclass(frozen=True)
class _Run:
    """What the steps of a cross-validation share."""

    folder: Path
    data: TrainingData
    options: FrozenFeatureOptions
    store: FeatureStore
    seed: int
    reports: _Reports
    run_stage: RunStage | None = None

    def compute_features(self) -> list[int]:
        """Let the encoder see every image, in an order by chance, so that a full disk leaves a fair share.

        Returns:
            the images whose features are kept, on which heads can be trained
        """
        order = np.random.default_rng(derived_seed(self.seed, "order")).permutation(len(self.data))
        parts = [[int(index) for index in order[start : start + _PART]] for start in range(0, len(order), _PART)]
        kept: list[int] = []
        for number, part in enumerate(parts):
            self.reports.encode(number * _PART)
            if number == 1 and self.run_stage is not None and self._has_room_for_all(kept):
                return sorted(kept + self._spread(self.run_stage, parts[1:]))
            images = [self.data.pair(index)[0] for index in part]
            if self.store.room:
                self.store.get(images)
            kept += [index for index, image in zip(part, images, strict=True) if self.store.holds(image)]
        return sorted(kept)

    def _has_room_for_all(self, some: Sequence[int]) -> bool:
        """Whether the features of all images fit, by those of some: others cannot see how full the disk is together."""
        pixels = [height * width for height, width in self.data.sizes]
        known = sum(pixels[index] for index in some)
        used = sum(self.store.size_of(self.data.pair(index)[0]) for index in some)
        return known > 0 and used / known * sum(pixels) < self.options.disk_limit * _SURELY

    def _spread(self, run_stage: RunStage, parts: Sequence[Sequence[int]]) -> list[int]:
        job = EncodingJob(self.folder / FOLDER, self.options, self.seed, str(self.store.encoder.device))
        rows = ([(index, self.data.images[index]) for index in part] for part in parts)
        kept = []
        with closing(cast(Any, run_stage(encode_images, job, rows))) as results:
            for done, (index, held) in enumerate(results, start=_PART + 1):
                kept += [index] if held else []
                self.reports.encode(done)
        return kept

    def finish_fold(self, fold: int, record: FoldRecord, kept: Sequence[int]) -> FoldRecord:
        """Train, calibrate, save and measure the heads of a fold."""
        started = time.monotonic()
        chosen = [index for index in kept if record.fold_of[self.data.keys[index]] != fold]
        if not chosen:
            raise LabelQualityError(
                f"Expected room for features to train fold {fold} on, but `disk_limit` is "
                f"{self.options.disk_limit} bytes; pass more, or a larger `stride`."
            )
        scenes = Scenes(self.data, self.store)
        heads = []
        crops = self.options.batch_size * (self.options.crop_size or 0) ** 2
        pixels = crops if self.options.blocks else self.options.cells
        with torch.random.fork_rng(devices=[]), few_threads(self.store.encoder.device, pixels):
            for number in range(self.options.heads):
                seed = derived_seed(self.seed, fold, number)
                report = self.reports.of_head(fold, number * self.options.steps)
                heads.append(train_head(scenes, chosen, self.options, seed, self.store.encoder.device, report))
        segmenter = FrozenFeatureSegmenter(self.store, heads, 1.0, num_classes=record.num_classes)
        some: list[tuple[torch.Tensor, torch.Tensor]] = []
        compared = self._compared(segmenter, fold, record, some)
        metrics = measure_fold(compared, fold, self.data.labels.ignored, record, started)
        # One number, and of images that the heads have not seen, so that they stay out of sample.
        temperature = fit_temperature(*(torch.cat(parts) for parts in zip(*some, strict=True))) if some else 1.0
        save_heads(fold_folder(self.folder, fold), heads, temperature)
        return finished_fold(self.folder, record, metrics)

    def _compared(
        self,
        segmenter: FrozenFeatureSegmenter,
        fold: int,
        record: FoldRecord,
        some: list[tuple[torch.Tensor, torch.Tensor]],
    ) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Yield given and predicted classes of the held-out images; scores of some pixels go into `some`."""
        rng = np.random.default_rng(derived_seed(self.seed, fold, "calibration"))
        held_out = rng.permutation([i for i, key in enumerate(self.data.keys) if record.fold_of[key] == fold])
        for done, index in enumerate(held_out):
            self.reports.test(fold, done, len(held_out))
            image, mask = self.data.pair(int(index))
            scores = segmenter.logits(self.store.get([image])[0], image).cpu()
            if len(some) < _CALIBRATION_IMAGES:
                some.append(calibration_pixels(scores, mask, self.data.labels.ignored, rng))
            yield mask, scores.argmax(0)


def _notes(data: TrainingData, record: FoldRecord, kept: Sequence[int]) -> tuple[str, ...]:
    """What a person should know: classes that a fold's heads never saw, images that were not trained on."""
    notes = []
    if len(kept) < len(data):
        notes.append(
            f"The models have learnt from {len(kept)} of {len(data)} images only: what is computed of the others did "
            "not fit into the room on disk that is kept for it."
        )
    fold_of_class: dict[int, set[int]] = {}
    for index, key in enumerate(data.keys):
        for value in np.unique(data.store.mask(index, data.sizes[index])):
            if value != data.labels.ignored:
                fold_of_class.setdefault(int(value), set()).add(record.fold_of[key])
    alone = {value: next(iter(found)) for value, found in sorted(fold_of_class.items()) if len(found) == 1}
    if alone:
        names = record.class_names or [f"class {value}" for value in range(record.num_classes)]
        listed = ", ".join(names[value] for value in list(alone)[:5])
        more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
        notes.append(
            f"Too rare: {listed}{more}. The model that judges these images has learnt from no other images with this "
            "class and will doubt its labels. More folds, smaller groups, or more labelled images of it help."
        )
    return tuple(notes)


class _Reports:
    """Progress, phase by phase: images read, features computed, and one phase for the heads of all folds.

    Args:
        progress: told how far it is
        images: in all
        folds: how many
        steps: of the heads of a fold
    """

    def __init__(self, progress: Progress | None, images: int, folds: int, steps: int) -> None:
        self._progress = progress
        self._images = images
        self._folds, self._steps = folds, steps
        self._tests = -(-images // folds)
        self._phase, self._last = "", -math.inf

    def read(self, done: int) -> None:
        """Tell how many images are read."""
        self._tell(done, self._images, "reading images")

    def encode(self, done: int) -> None:
        """Tell how many images the encoder has seen."""
        self._tell(done, self._images, "computing features")

    def of_head(self, fold: int, before: int) -> Callable[[int, float], None]:
        """What the training of one head of a fold is given, to tell its loss, and its steps after those before."""
        return lambda step, loss: self._heads(fold, before + step, f"loss {loss:.2f}")

    def test(self, fold: int, done: int, images: int) -> None:
        """Tell on how many images the heads of a fold are tested."""
        self._heads(fold, self._steps + done * self._tests // max(images, 1), "testing")

    def _heads(self, fold: int, done: int, what: str) -> None:
        work = self._steps + self._tests
        self._tell(fold * work + done, self._folds * work, f"training model {fold + 1} of {self._folds}, {what}")

    def _tell(self, done: float, total: float, label: str) -> None:
        now, phase = time.monotonic(), label.partition(",")[0]
        if self._progress is not None and (phase != self._phase or now - self._last > _REPORT_SECONDS):
            self._phase, self._last = phase, now
            self._progress(done, total, label)
