"""Training on labels that are partly wrong: early-learning correction and multi-scale consistency.

The method is ADELE (Liu et al., "Adaptive Early-Learning Correction for Segmentation from Noisy Annotations",
CVPR 2022, arXiv 2110.03740): when the training IoU of a class bends (`early_learning`), the labels are corrected
from confident predictions (`label_correction`), and predictions at several scales are kept consistent
(`consistency`). Its parts can be switched off one by one. Given labels are never overwritten: corrections are files
in the training's folder, with the old and new class, confidence and epoch of each changed pixel.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from ...errors import LabelQualityError
from ...options import exactly, takes
from ..files.items import Example
from ..hardware.devices import BatchLimit, few_threads, is_out_of_memory
from ..segmenters.network import InputFormat, NetworkOutput, NetworkSegmenter, resize
from ..training.augmentation import Augmentation
from ..training.cross_validation import (
    TrainingReports,
    kept_record,
    seeded_model,
    train_model,
    training_record,
    training_settings,
    writable_folder,
)
from ..training.fold_training import (
    CHECKPOINT_NAME,
    Batch,
    FoldPlan,
    FoldViews,
    MakeTraining,
    Say,
    SegmentationTraining,
)
from ..training.folds import HELD_OUT_BY_NONE, WHOLE_RECORD_NAME, FoldRecord, derived_seed, read_record
from ..training.training_data import LabelSpace, TrainingData, check_examples
from ..training.training_options import TrainingOptions
from .consistency import Consistency, consistency_loss, scaled_cross_entropy
from .corrected_labels import FOLDER_NAME, CorrectedLabels, read_changes
from .early_learning import PUBLISHED_SEGTHOR, PUBLISHED_VOC, TriggerRule
from .label_correction import (
    DEFAULT_CORRECTION,
    SEGTHOR_CORRECTION,
    VOC_CORRECTION,
    CorrectionRule,
    LabelChange,
    correct_from_prediction,
    next_change,
    prediction_probabilities,
    start_label,
)
from .learning_curves import CURVES_NAME, History, LearningCurves, read_learning_curves

if TYPE_CHECKING:
    from ...progress import Progress

_STATE = "noise_robust"
_REPORT_SECONDS = 0.3
_STRIDE = 32
_WEIGHTS_LR = 1e-3
AfterEpoch = Callable[[int, NetworkSegmenter], None]


@dataclass(frozen=True)
class NoiseRobust:
    """A way of training that does not memorise wrong labels, for `train_noise_robust` and `cross_validate`.

    Args:
        trigger: when a class is about to be memorised
        correction: how labels are corrected from then on; None = never
        consistency: how predictions at several scales are held together; None = plain cross entropy
        per_class: each class has its own trigger; otherwise all share that of their mean IoU
        correct_every: the labels are corrected when a class fires, and then after every epoch whose number is a
            multiple of this (published: 1 for VOC, 10 for SegTHOR)
        scales: of the predictions that correct, which are averaged
        flips: average over the mirror images, too
        after_epoch: called with (finished epochs, a segmenter of the model as it is), for instance to measure it
            on validation images; decides nothing, and is left out where several devices train

    Example:
        >>> NoiseRobust(correction=None, consistency=None).config["per_class"]  # what is left is the baseline
        True
    """

    trigger: TriggerRule = field(default_factory=TriggerRule)
    correction: CorrectionRule | None = DEFAULT_CORRECTION
    consistency: Consistency | None = field(default_factory=Consistency)
    per_class: bool = True
    correct_every: int = 5
    scales: tuple[float, ...] = (0.7, 1.0, 1.5)
    flips: bool = True
    after_epoch: AfterEpoch | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        if self.correct_every < 1 or not self.scales or min(self.scales) <= 0:
            raise LabelQualityError(
                "Expected `correct_every` of at least 1 and one or more positive `scales`, but got "
                f"{self.correct_every} and {self.scales}."
            )

    @property
    def config(self) -> dict[str, Any]:
        """All that decides the result, as JSON gives it back."""
        parts = {"trigger": self.trigger, "correction": self.correction, "consistency": self.consistency}
        return json.loads(
            json.dumps(
                {
                    "name": _STATE,
                    **{name: None if part is None else asdict(part) for name, part in parts.items()},
                    "per_class": self.per_class,
                    "correct_every": self.correct_every,
                    "scales": self.scales,
                    "flips": self.flips,
                },
                default=list,
            )
        )

    def for_fold(self, data: TrainingData, indices: Sequence[int], folder: Path, say: Say) -> MakeTraining:
        """Return what makes the training of one fold.

        Args:
            data: all examples
            indices: positions of the training images
            folder: receives the curves and the corrected labels
            say: told of the correction

        Raises:
            LabelQualityError: all training images are ignored, or the rules do not fit the classes
        """
        classes = data.labels.num_classes
        pixels = class_pixels(data, indices)
        if not pixels.any():
            raise LabelQualityError(
                f"Every pixel of the {len(indices)} training images is ignored, though others have labels; "
                "use other folds (`seed`, `folds`), or leave images without labels out."
            )
        if self.correction is not None:
            self.correction.threshold_of(classes)
            background = self.correction.background
            if background is not None and not 0 <= background < classes:
                raise LabelQualityError(
                    f"Expected `background` to be None or one of the classes 0..{classes - 1}, but got {background}."
                )
        folder.mkdir(parents=True, exist_ok=True)
        return partial(NoiseRobustTraining, method=self, data=data, indices=tuple(indices), folder=folder, say=say)


def published_method(experiment: Literal["voc", "segthor"]) -> NoiseRobust:
    """Return the options of one of the two published experiments.

    Not among them: the dense CRF after VOC's predictions, its hidden firing of all classes at epoch 16
    (`latest_epoch=17`), and SegTHOR's correction from predictions in training mode.

    Args:
        experiment: "voc" (labels from image-level classes) or "segthor" (outlines too small or too large)

    Returns:
        the method

    Raises:
        LabelQualityError: another name

    Example:
        >>> published_method("segthor").correct_every
        10
    """
    if experiment == "voc":
        consistency = Consistency(learn_weights=True)
        return NoiseRobust(PUBLISHED_VOC, VOC_CORRECTION, consistency, correct_every=1, scales=(0.75, 1.0, 1.5))
    if experiment == "segthor":
        return NoiseRobust(PUBLISHED_SEGTHOR, SEGTHOR_CORRECTION, correct_every=10, scales=(1.0,), flips=False)
    raise LabelQualityError(f"Expected the experiment 'voc' or 'segthor', but got {experiment!r}.")


class NoiseRobustTraining(SegmentationTraining):
    """Cross entropy against labels that are corrected on the way, at several scales that have to agree.

    Args:
        model: as in `SegmentationTraining`
        plan: how to train
        ignored: value of ignored mask pixels
        total_steps: of the whole run
        method: what to do beyond cross entropy
        data: all examples
        indices: positions of the training images
        folder: receives the curves and the corrected labels
        say: told of the correction
    """

    counts: torch.Tensor

    def __init__(
        self,
        model: torch.nn.Module,
        plan: FoldPlan,
        ignored: int,
        total_steps: int,
        *,
        method: NoiseRobust,
        data: TrainingData,
        indices: Sequence[int],
        folder: Path,
        say: Say,
    ) -> None:
        super().__init__(model, plan, ignored, total_steps)
        self.method = method
        self.data = data
        self.indices = tuple(indices)
        self.folder = folder
        self.labels = CorrectedLabels(folder, data)
        self.history = History(class_pixels(data, indices).tolist())
        self._say: Say | None = say
        self._limit = BatchLimit(plan.batch_size)
        classes = data.labels.num_classes
        self.register_buffer("counts", torch.zeros(classes, classes, dtype=torch.long), persistent=False)
        self.scale_weights: torch.nn.Parameter | None = None
        if method.consistency is not None and method.consistency.learn_weights:
            self.scale_weights = torch.nn.Parameter(torch.ones(len(method.consistency.scales)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the callables behind when training goes to processes of its own."""
        return {**self.__dict__, "_say": None, "method": replace(self.method, after_epoch=None)}

    def views(self, data: TrainingData, indices: Sequence[int]) -> Dataset[Batch]:
        """Return views with the corrected label beside the given one.

        Args:
            data: all examples
            indices: positions of the training images
        """
        return CorrectedViews(self.labels, indices, self.plan)

    def targets(self, batch: Batch) -> torch.Tensor:
        """Return the labels as corrected up to now.

        Args:
            batch: as in `SegmentationTraining`, and "corrected" (N, H, W)
        """
        return batch["corrected"]

    def objective(self, batch: Batch, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and the logits at scale 1.

        Args:
            batch: as in `targets`
            targets: (N, H, W) labels
        """
        rule = self.method.consistency
        if rule is None:
            return super().objective(batch, targets)
        views = [self._at_scale(batch["image"], scale) for scale in rule.scales]
        shares = self.scale_shares()
        factors = shares if rule.scaled_logits else None
        fit = scaled_cross_entropy(views, targets, self.ignored, factors)
        agreement = consistency_loss(
            views, targets, self.ignored, shares, gate=rule.gate, confidence=rule.confidence, floor=rule.floor
        )
        return (fit + rule.weight * agreement) / len(views), views[rule.scales.index(1.0)]

    def scale_shares(self) -> torch.Tensor:
        """Return the (S,) weights of the scales, which sum to one."""
        scales = () if self.method.consistency is None else self.method.consistency.scales
        if self.scale_weights is not None:
            return self.scale_weights.softmax(0)
        return torch.full((max(1, len(scales)),), 1 / max(1, len(scales)), device=self.device)

    def _at_scale(self, images: torch.Tensor, scale: float) -> torch.Tensor:
        """(N, 3, H, W) images -> (N, K, H, W) logits, seen at another scale."""
        size = images.shape[-2:]
        if scale == 1:
            return self(images).float()
        scaled = [max(1, round(length * scale)) for length in size]
        return resize(self(resize(images.float(), scaled)).float(), size)

    def observe(self, batch: Batch, logits: torch.Tensor) -> None:
        """Count how predictions and labels meet.

        Args:
            batch: as in `targets`
            logits: (N, K, H, W)
        """
        rule, classes = self.method.trigger, self.counts.shape[0]
        labels = batch["mask"] if rule.compare == "given" else self.targets(batch)
        labelled = labels != self.ignored
        pairs = labels[labelled] * classes + logits.argmax(1)[labelled]
        self.counts += torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        self.history.steps += 1
        if rule.sample_steps is not None and self.history.steps % rule.sample_steps == 0:
            self._sample()

    def _sample(self) -> None:
        """Add a point to the curves, over what all processes have seen since the last one."""
        counts = self.trainer.strategy.reduce(self.counts.clone(), reduce_op="sum")
        self.history.add(torch.as_tensor(counts).cpu().numpy())
        self.counts.zero_()

    def on_train_epoch_end(self) -> None:
        """Follow the curves, correct labels where it is time, and write down what is known."""
        finished, method = self.current_epoch + 1, self.method
        if method.trigger.sample_steps is None:
            self._sample()
        samples = 1.0
        if method.trigger.sample_steps is not None:
            samples = self.total_steps / self.plan.epochs / method.trigger.sample_steps
        background = None if method.correction is None else method.correction.background
        fired = self.history.follow(finished, method.trigger, method.per_class, background, samples)
        again = bool(self.history.fired) and finished % method.correct_every == 0
        if method.correction is not None and (fired or again):
            self._correct(finished, method.correction)
        if self.global_rank == 0:
            self.history.write(self.folder, finished, method.config, self.labels.epoch)
        if method.after_epoch is not None:
            method.after_epoch(finished, self._segmenter())
            self.train()

    def on_train_end(self) -> None:
        """Remove corrections that were replaced."""
        if self.global_rank == 0:
            self.labels.tidy()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the curves, what fired, and which corrected labels are in use.

        Args:
            checkpoint: to be written
        """
        counts = torch.as_tensor(self.trainer.strategy.reduce(self.counts.clone(), reduce_op="sum")).cpu()
        checkpoint[_STATE] = {
            "history": json.dumps(asdict(self.history)), "counts": counts, "corrected": self.labels.epoch
        }  # fmt: skip

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on where the checkpoint was written.

        Args:
            checkpoint: as read

        Raises:
            LabelQualityError: another method wrote it, or the corrected labels are gone
        """
        state = checkpoint.get(_STATE)
        if state is None:
            raise LabelQualityError(
                f"The checkpoint in {self.folder} was written by training of another kind; train into another folder, "
                "or delete it."
            )
        self.history = History.read(state["history"])
        self.labels.use(int(state["corrected"]))
        self.counts.zero_()
        if self.global_rank == 0:  # the sum over all processes goes on in the first
            self.counts.copy_(state["counts"])

    def configure_optimizers(self) -> Any:
        """Return the usual optimizer; learned weights of scales keep their own rate, which does not decay."""
        configured = super().configure_optimizers()
        if self.scale_weights is None:
            return configured
        optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]
        rates = [*schedule["scheduler"].lr_lambdas, _constant]
        optimizer.add_param_group({"params": [self.scale_weights], "lr": _WEIGHTS_LR, "weight_decay": 0.0})
        for group in optimizer.param_groups[:-1]:
            group["lr"] = group["initial_lr"]
        schedule["scheduler"] = torch.optim.lr_scheduler.LambdaLR(optimizer, rates)
        return configured

    def _segmenter(self) -> NetworkSegmenter:
        return NetworkSegmenter(
            self.model,
            num_classes=self.data.labels.num_classes,
            device=self.device,
            inputs=InputFormat(tuple(self.plan.mean), tuple(self.plan.std), stride=_STRIDE),
            outputs=NetworkOutput(from_logits=True),
        )

    def _correct(self, finished: int, rule: CorrectionRule) -> None:
        """Correct all training labels with the model as it is now."""
        if self.global_rank == 0:
            self.eval()
            fired = self.history.fired_classes()
            changes = self._changes(finished, fired, rule)
            before = self.history.corrections
            self.labels.write(finished, _counted(changes, before, finished, fired))
            self.train()
        self.trainer.strategy.barrier()
        self.labels.use(finished)

    def _changes(self, finished: int, fired: Sequence[int], rule: CorrectionRule) -> Iterator[tuple[int, LabelChange]]:
        told = 0.0
        for done, (index, predicted, confidence) in enumerate(self._predictions(), 1):
            if self._say is not None and (time.monotonic() - told > _REPORT_SECONDS or done == len(self.indices)):
                told = time.monotonic()
                self._say(f"correcting labels after epoch {finished}, {done}/{len(self.indices)}")
            before = self.labels.change(index)
            classes, ignored = self.data.labels.num_classes, self.ignored
            new = correct_from_prediction(
                start_label(before, rule), predicted, confidence, fired, classes, rule, ignored
            )
            yield index, next_change(before, new, finished)

    def _predictions(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (position, most probable class, its probability) of every training image."""
        by_size = itertools.groupby(self.indices, key=lambda index: self.data.sizes[index])
        for _, group in by_size:
            members = list(group)
            for start in range(0, len(members), self.plan.batch_size):
                part = members[start : start + self.plan.batch_size]
                try:
                    for results in self._limit.passes(self._predict, part):
                        yield from results
                except RuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    key, size = self.data.keys[part[0]], self.data.sizes[part[0]]
                    raise LabelQualityError(
                        f"The memory of {self.device} is too small to predict image {key} of {size} pixels at the "
                        f"scales {self.method.scales}; pass smaller `scales`."
                    ) from None

    @torch.no_grad()
    def _predict(self, indices: Sequence[int]) -> list[tuple[int, np.ndarray, np.ndarray]]:
        pixels = np.stack([self.data.pair(index)[0] for index in indices])
        images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        total: torch.Tensor | float = 0.0
        count = 0
        with self.trainer.precision_plugin.forward_context():
            for scale in self.method.scales:
                temperature = self._temperature(scale)
                for flip in (False, True) if self.method.flips else (False,):
                    logits = self._at_scale(images.flip(3) if flip else images, scale)
                    total = total + (logits.flip(3) if flip else logits) / temperature
                    count += 1
        assert isinstance(total, torch.Tensor)
        confidence, predicted = prediction_probabilities([total / count]).max(1)
        return list(zip(indices, predicted.cpu().numpy(), confidence.cpu().numpy(), strict=True))

    def _temperature(self, scale: float) -> float:
        rule = self.method.consistency
        return 1.0 if rule is None else rule.temperature(scale, self.scale_shares())


class CorrectedViews(Dataset[Batch]):
    """The same random views as `FoldViews`, with the corrected label under "corrected".

    Args:
        labels: given and corrected labels
        indices: positions of the training images among the examples
        plan: crop size, seed and fold
    """

    def __init__(self, labels: CorrectedLabels, indices: Sequence[int], plan: FoldPlan) -> None:
        self._plain = FoldViews(labels.data, indices, plan)
        self._labels = labels

    def __len__(self) -> int:
        return len(self._plain)

    def __getitem__(self, view: tuple[int, int, int]) -> Batch:
        """Return a view.

        Args:
            view: as in `FoldViews`
        """
        epoch, position, chosen = view
        index = self._plain.indices[chosen]
        image, given = self._labels.data.pair(index)
        masks = np.stack([given, self._labels.mask(index)])
        augment: Augmentation = self._plain.augment
        shown, both = augment((image, masks), derived_seed(*self._plain.seed, "view", epoch, position))
        return {"image": shown, "mask": both[0], "corrected": both[1], "index": torch.tensor(index)}


@dataclass(frozen=True)
class NoiseRobustResult:
    """A finished noise-robust training.

    Args:
        folder: where the model is; `load_segmenter(folder)` predicts with it
        keys: images that it was trained on
        num_classes: label classes K
        class_names: names of the classes, or None
        curves: training IoU of each class, and when it fired
        skipped: (key, reason) of the images that could not be read
        weights: where the encoder's first weights came from, and what was left out of them
    """

    folder: Path
    keys: tuple[str, ...]
    num_classes: int
    class_names: tuple[str, ...] | None
    curves: LearningCurves
    skipped: tuple[tuple[str, str], ...]
    weights: str

    def changes(self) -> Iterator[LabelChange]:
        """Yield the images whose labels were corrected, with old and new class, confidence and epoch per pixel."""
        return read_changes(self.folder, self.curves.corrected)


@takes(TrainingOptions)
def train_noise_robust(
    examples: Sequence[Example],
    folder: str | Path,
    *,
    num_classes: int,
    method: NoiseRobust | None = None,
    progress: Progress | None = None,
    **keywords: Any,
) -> NoiseRobustResult:
    """Train one model on all examples, whose labels may be partly wrong, and propose corrected labels.

    After an interruption at any point the same call goes on from the last finished epoch, and on a CPU ends with
    the same model and corrections as an uninterrupted run. For predictions of images that the model has not seen,
    call `cross_validate(..., method=NoiseRobust())` instead: each fold corrects its own training labels.

    Args:
        examples: images with their labels
        folder: receives training.json, the model (segmentation-models-pytorch's `save_pretrained`), Lightning's
            checkpoint, curves.json and the corrected labels
        num_classes: label classes K, at least 2
        method: trigger, correction and consistency; None = `NoiseRobust()`
        progress: called with (done, total, label), in images; what it raises interrupts the training
        keywords: those of `TrainingOptions`

    Returns:
        the curves with their triggers, and access to the corrected labels

    Raises:
        LabelQualityError: no examples, labels outside the classes, an image and mask of different size, a folder of
            another configuration or architecture or without permission to write, unknown architecture or
            encoder, or memory too small (the message names a batch size that fits)

    Example:
        >>> import tempfile
        >>> rng = np.random.default_rng(0)
        >>> examples = [
        ...     Example(f"image{i}", rng.integers(0, 255, (32, 32, 3), dtype=np.uint8), np.eye(32, dtype=int))
        ...     for i in range(2)
        ... ]
        >>> small = {"encoder": "tu-mobilenetv3_small_050", "epochs": 1, "batch_size": 2, "device": "cpu"}
        >>> done = train_noise_robust(examples, tempfile.mkdtemp(), num_classes=2, **small)
        >>> done.curves.epochs, [curve.fired for curve in done.curves.classes], len(list(done.changes()))
        (1, [None, None], 0)
    """
    chosen = method or NoiseRobust()
    options = exactly(TrainingOptions, keywords, "train_noise_robust")
    settings = training_settings(options, num_classes, 1)
    where = writable_folder(Path(folder), WHOLE_RECORD_NAME, "noise-robust training")
    _, said = seeded_model(settings, fold=0)  # wrong names show here, before anything is read
    reports = TrainingReports(progress, settings, {example.key: HELD_OUT_BY_NONE for example in examples})
    data = check_examples(examples, LabelSpace(num_classes, options.ignore_index), options.memory_budget, reports.read)
    fold_of = dict.fromkeys(data.keys, HELD_OUT_BY_NONE)
    record = training_record(data, settings, fold_of, options.crop_size, said, chosen)
    reports.plan(fold_of)
    if not options.resume:
        _discard(where)
    record = kept_record(where, record, WHOLE_RECORD_NAME, "noise-robust training")
    pixels = options.batch_size * math.prod(record.config["crop_size"])
    seeds = torch.random.fork_rng(devices=range(torch.cuda.device_count()))
    with seeds, few_threads(settings.device, pixels):
        train_model(0, where, data, settings, record, reports, chosen)
    reports.finish(0)
    return _result(where, record)


def read_noise_robust(folder: str | Path) -> NoiseRobustResult:
    """Read what a finished noise-robust training left in its folder.

    Args:
        folder: given to `train_noise_robust`

    Returns:
        the same as `train_noise_robust` returned

    Raises:
        LabelQualityError: none there, or an unfinished one

    Example:
        >>> read_noise_robust("nowhere")
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: nowhere holds no noise-robust training (no training.json in it).
    """
    where = Path(folder)
    record = read_record(where, WHOLE_RECORD_NAME, "noise-robust training")
    done = read_learning_curves(where).epochs if (where / CURVES_NAME).is_file() else 0
    if done < record.config["epochs"] or not (where / "config.json").is_file():
        raise LabelQualityError(
            f"The training in {folder} was interrupted: {done} of {record.config['epochs']} epochs are finished; "
            "start the same training again to go on with it."
        )
    return _result(where, record)


def class_pixels(data: TrainingData, indices: Sequence[int]) -> np.ndarray:
    """Count the given pixels of each class.

    Args:
        data: all examples
        indices: positions of those that count

    Returns:
        (K,) counts

    Example:
        >>> example = Example("a", np.zeros((2, 2, 3), np.uint8), np.array([[0, 1], [1, 255]]))
        >>> class_pixels(check_examples([example], LabelSpace(3, 255), 1 << 20), [0]).tolist()
        [1, 2, 0]
    """
    classes = data.labels.num_classes
    total = np.zeros(classes, np.int64)
    for index in indices:
        mask = data.store.mask(index, data.sizes[index])
        total += np.bincount(mask[mask != data.labels.ignored], minlength=classes)
    return total


def _counted(
    changes: Iterable[tuple[int, LabelChange]], told: list[dict[str, Any]], finished: int, fired: Sequence[int]
) -> Iterator[tuple[int, LabelChange]]:
    """Pass changes on and, at the end, enter how many there were."""
    images = pixels = 0
    for index, change in changes:
        count = int(change.changed.sum())
        images, pixels = images + (count > 0), pixels + count
        yield index, change
    told.append({"epoch": finished, "classes": list(fired), "images": images, "pixels": pixels})


def _discard(folder: Path) -> None:
    """Remove an earlier training's files, and nothing else."""
    shutil.rmtree(folder / FOLDER_NAME, ignore_errors=True)
    for name in (WHOLE_RECORD_NAME, CURVES_NAME, CHECKPOINT_NAME, "config.json", "model.safetensors", "README.md"):
        (folder / name).unlink(missing_ok=True)


def _result(folder: Path, record: FoldRecord) -> NoiseRobustResult:
    return NoiseRobustResult(
        folder=folder,
        keys=tuple(record.fold_of),
        num_classes=record.num_classes,
        class_names=record.class_names,
        curves=read_learning_curves(folder),
        skipped=tuple(record.skipped.items()),
        weights=record.weights,
    )


def _constant(step: int) -> float:
    return 1.0
