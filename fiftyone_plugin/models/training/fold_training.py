"""Training one fold: Lightning's loop around a segmentation model, resumable to the epoch."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
import torch.distributed
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from ...errors import LabelQualityError
from ..errors import one_line
from ..files.checkpoints import require_match
from ..hardware.devices import free_memory, is_out_of_memory
from ..segmenters.network import pad_to_multiple
from .augmentation import Augmentation
from .folds import derived_seed
from .training_data import TrainingData

CHECKPOINT_NAME = "last.ckpt"
REPORT_SECONDS = 0.3  # least time between two progress reports
_STRIDE = 32
_CHANNELS_WITHOUT_HARM = 16
_RISE_SHARE = 10  # the learning rate rises during a tenth of the steps
Batch = dict[str, torch.Tensor]
FoldReport = Callable[[int, int, float], None]  # images trained on, epoch, loss
Say = Callable[[str], None]


@dataclass(frozen=True)
class FoldPlan:
    """How one fold is trained.

    Args:
        fold: index of the fold
        epochs: passes over the training images
        batch_size: views per step, over all devices
        crop_size: (height, width) of a view
        lr: highest learning rate of the schedule
        encoder_lr: the same for the encoder
        seed: of the whole cross-validation
        freeze_batchnorm: keep the statistics of the encoder's batch normalisation
        mean: subtracted from images in [0, 1]
        std: divided by
        device: where to train
        devices: how many devices of that type
        bend_labels: bend masks without their images, see `LabelDeformation`
    """

    fold: int
    epochs: int
    batch_size: int
    crop_size: tuple[int, int]
    lr: float
    encoder_lr: float
    seed: int
    freeze_batchnorm: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device
    devices: int | Sequence[int] = 1
    bend_labels: bool = False

    @property
    def num_devices(self) -> int:
        """Number of devices."""
        return self.devices if isinstance(self.devices, int) else len(self.devices)

    def steps(self, images: int) -> int:
        """Number of steps of an epoch over some images.

        Args:
            images: training images
        """
        return -(-images // self.batch_size)


class SegmentationTraining(pl.LightningModule):
    """Cross entropy against given labels; another method overrides `views`, `targets`, `objective` or `observe`.

    Args:
        model: (N, 3, H, W) normalised images -> (N, K, H, W) logits, with an `encoder`
        plan: how to train
        ignored: value of ignored mask pixels
        total_steps: of the whole run, for the learning-rate schedule
    """

    def __init__(self, model: torch.nn.Module, plan: FoldPlan, ignored: int, total_steps: int) -> None:
        super().__init__()
        self.model = model
        self.plan = plan
        self.ignored = ignored
        self.total_steps = total_steps
        self.memory_format = fast_format(model)
        self.register_buffer("mean", torch.tensor(plan.mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(plan.std).reshape(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> SegmentationTraining:
        """Switch to training mode, but keep frozen statistics frozen.

        Args:
            mode: False for evaluation
        """
        super().train(mode)
        if mode and self.plan.freeze_batchnorm:
            for module in self.model.encoder.modules():  # type: ignore[union-attr]
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, K, H, W) logits of (N, 3, H, W) uint8 images.

        Args:
            images: RGB
        """
        height, width = images.shape[-2:]
        normalised = (images.float() / 255 - self.mean) / self.std  # type: ignore[operator]
        padded = pad_to_multiple(normalised, _STRIDE).contiguous(memory_format=self.memory_format)
        logits = self.model(padded)
        if logits.shape[-2:] != padded.shape[-2:]:  # some architectures answer at another resolution
            logits = functional.interpolate(logits, padded.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]

    def views(self, data: TrainingData, indices: Sequence[int]) -> Dataset[Batch]:
        """Return the views that make up the batches; a method that needs more than image and mask adds it here.

        Args:
            data: all examples
            indices: positions of the training images among them
        """
        return FoldViews(data, indices, self.plan)

    def targets(self, batch: Batch) -> torch.Tensor:
        """Return the (N, H, W) labels to train on; a method that corrects labels replaces them here.

        Args:
            batch: "image" (N, 3, H, W) uint8, "mask" (N, H, W), "index" (N,) position among the examples
        """
        return batch["mask"]

    def objective(self, batch: Batch, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and the logits; a method with a consistency term adds it here.

        Args:
            batch: as in `targets`
            targets: (N, H, W) labels
        """
        logits = self(batch["image"])
        return pixel_cross_entropy(logits, targets, self.ignored), logits

    def observe(self, batch: Batch, logits: torch.Tensor) -> None:
        """See each step's logits; a method that follows per-class learning curves gathers them here.

        Args:
            batch: as in `targets`
            logits: (N, K, H, W), detached
        """

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        """Compute one step's loss.

        Args:
            batch: as in `targets`
            batch_index: step of the epoch
        """
        loss, logits = self.objective(batch, self.targets(batch))
        self.observe(batch, logits.detach())
        return loss

    def on_train_epoch_start(self) -> None:
        """Seed what the network itself draws (dropout), so that a resumed epoch repeats the interrupted one."""
        torch.manual_seed(derived_seed(self.plan.seed, self.plan.fold, "epoch", self.current_epoch))

    def configure_optimizers(self) -> Any:
        """Return AdamW with one warm-up and cosine decay of the learning rate over the whole run."""
        encoder = {id(p) for p in self.model.encoder.parameters()}  # type: ignore[union-attr]
        groups = [
            {"params": [p for p in self.model.parameters() if id(p) in encoder], "lr": self.plan.encoder_lr},
            {"params": [p for p in self.model.parameters() if id(p) not in encoder], "lr": self.plan.lr},
        ]
        # one kernel for all parameters; small networks spend a seventh of a step in the plain loop on a CPU
        fused = self.plan.device.type in ("cpu", "cuda")
        optimizer = torch.optim.AdamW(groups, weight_decay=1e-2, fused=fused)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(learning_rate, total=self.total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


MakeTraining = Callable[[torch.nn.Module, FoldPlan, int, int], SegmentationTraining]  # its arguments


class TrainingMethod(Protocol):
    """Another way of training a fold than cross entropy against the given labels."""

    @property
    def config(self) -> dict[str, Any]:
        """All that decides its result, as JSON gives it back."""

    def for_fold(self, data: TrainingData, indices: Sequence[int], folder: Path, say: Say) -> MakeTraining:
        """Return what makes the training of one fold.

        Args:
            data: all examples
            indices: positions of the training images
            folder: of the fold, for what the method leaves behind
            say: told what is being done between epochs
        """


class FoldViews(Dataset[Batch]):
    """Random views of a fold's training images; a view is decided by (epoch, position), never by workers.

    Args:
        data: all examples
        indices: positions of the training images among them
        plan: crop size, seed and fold
    """

    def __init__(self, data: TrainingData, indices: Sequence[int], plan: FoldPlan) -> None:
        self.data = data
        self.indices = list(indices)
        self.seed = (plan.seed, plan.fold)
        self.augment = Augmentation(plan.crop_size, data.labels.ignored, plan.bend_labels)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, view: tuple[int, int, int]) -> Batch:
        """Return a view.

        Args:
            view: (epoch, position in the epoch, position among the training images)
        """
        epoch, position, chosen = view
        index = self.indices[chosen]
        image, mask = self.augment(self.data.pair(index), derived_seed(*self.seed, "view", epoch, position))
        return {"image": image, "mask": mask, "index": torch.tensor(index)}


class EpochOrder(Sampler[tuple[int, int, int]]):
    """Every training image once per epoch in a shuffled order, some twice so that every batch is full.

    Full batches keep batch normalisation from seeing a single image.

    Args:
        images: number of training images
        plan: batch size, seed and fold

    Example:
        >>> plan = FoldPlan(0, 1, 4, (8, 8), 1e-3, 1e-3, 0, False, (0,) * 3, (1,) * 3, torch.device("cpu"))
        >>> sorted(index for _, _, index in EpochOrder(4, plan))
        [0, 1, 2, 3]
    """

    def __init__(self, images: int, plan: FoldPlan) -> None:
        self.images = images
        self.views = plan.steps(images) * plan.batch_size
        self.seed = (plan.seed, plan.fold)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this.

        Args:
            epoch: from 0
        """
        self.epoch = epoch

    def __len__(self) -> int:
        return self.views // _world()[1]

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        generator = torch.Generator().manual_seed(derived_seed(*self.seed, "order", self.epoch))
        rounds = -(-self.views // self.images)
        order = torch.cat([torch.randperm(self.images, generator=generator) for _ in range(rounds)])
        rank, world = _world()
        for position in range(rank, self.views, world):
            yield self.epoch, position, int(order[position])


class StepReports(Callback):
    """Tells how far a fold is, a few times per second.

    Args:
        report: called with (images trained on, epoch, loss)
        batch_size: images per step
        steps: per epoch
    """

    def __init__(self, report: FoldReport, batch_size: int, steps: int) -> None:
        self.report: FoldReport | None = report
        self.batch_size = batch_size
        self.steps = steps
        self._last = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Leave the callable behind when training goes to processes of its own."""
        return {**self.__dict__, "report": None}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report unless the last report was just now."""
        now = time.monotonic()
        last_step = batch_idx + 1 == self.steps
        if self.report is None or (now - self._last < REPORT_SECONDS and not last_step):
            return
        self._last = now
        images = (trainer.current_epoch * self.steps + batch_idx + 1) * self.batch_size
        self.report(images, trainer.current_epoch, float(outputs["loss"]))


def fast_format(model: torch.nn.Module) -> torch.memory_format:
    """Return the order of tensor axes in which a model trains fastest without harm.

    Channels last is a fifth faster on a CPU and faster on a GPU. But oneDNN, PyTorch's CPU library, writes
    beyond its memory in the weight gradient of a strided 1 x 1 convolution of few channels (seen with
    torch 2.15 and 3 channels, the first layer of MobileOne), so such models keep the usual order.

    Args:
        model: any module

    Returns:
        channels last, or contiguous

    Example:
        >>> fast_format(torch.nn.Conv2d(3, 8, 3, stride=2))
        torch.channels_last
        >>> fast_format(torch.nn.Conv2d(3, 8, 1, stride=2))
        torch.contiguous_format
    """
    strided = [
        layer
        for layer in model.modules()
        if isinstance(layer, torch.nn.Conv2d) and max(layer.kernel_size) == 1 < max(layer.stride)
    ]
    harmed = any(layer.in_channels < _CHANNELS_WITHOUT_HARM for layer in strided)
    return torch.contiguous_format if harmed else torch.channels_last


def learning_rate(step: int, total: int) -> float:
    """Return the learning rate's share of its highest value: a linear rise, then half a cosine to zero.

    The rise keeps the first steps of random weights small (Goyal et al. 2017), the cosine is that of
    Loshchilov & Hutter 2017 without restarts.

    Args:
        step: from 0
        total: steps of the run

    Returns:
        above 0 before the last step, at most 1

    Example:
        >>> [round(learning_rate(step, 10), 2) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 0.97, 0.41, 0.03]
    """
    rise = total // _RISE_SHARE
    if step < rise:
        return (step + 1) / (rise + 1)
    return (1 + math.cos(math.pi * (step - rise) / max(1, total - rise))) / 2


def pixel_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, ignored: int) -> torch.Tensor:
    """Return the mean cross entropy over the labelled pixels, zero where there are none.

    Args:
        logits: (N, K, H, W)
        targets: (N, H, W) class indices
        ignored: value of pixels to leave out

    Returns:
        scalar

    Example:
        >>> float(pixel_cross_entropy(torch.zeros(1, 2, 1, 1), torch.full((1, 1, 1), 255), 255))
        0.0
    """
    total = functional.cross_entropy(logits, targets, ignore_index=ignored, reduction="sum")
    return total / (targets != ignored).sum().clamp(min=1)


def train_fold(
    model: torch.nn.Module,
    data: TrainingData,
    indices: Sequence[int],
    plan: FoldPlan,
    folder: Path,
    report: FoldReport,
    method: MakeTraining = SegmentationTraining,
) -> torch.nn.Module:
    """Train a model on some examples, from the last finished epoch in a folder if there is one.

    Args:
        model: randomly initialised or pretrained
        data: all examples
        indices: positions of the training images
        plan: how to train
        folder: receives a checkpoint after every epoch
        report: told of the progress
        method: loss and labels

    Returns:
        the model, on the CPU in evaluation mode; torch's global generators are left seeded anew

    Raises:
        LabelQualityError: a checkpoint cannot be read or written or is of another architecture, or memory is
            too small

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from ..files.items import Example
        >>> from ..segmenters.sources import build_smp
        >>> from .training_data import LabelSpace, check_examples
        >>> examples = [Example(key, np.zeros((32, 32, 3), np.uint8), np.eye(32, dtype=int)) for key in "ab"]
        >>> data = check_examples(examples, LabelSpace(2, 255), memory_budget=1 << 20)
        >>> plan = FoldPlan(0, 1, 2, (32, 32), 1e-3, 1e-3, 0, False, (0.5,) * 3, (0.2,) * 3, torch.device("cpu"))
        >>> model = build_smp("fpn", "tu-mobilenetv3_small_050", 2)
        >>> model = train_fold(model, data, [0, 1], plan, Path(tempfile.mkdtemp()), lambda images, epoch, loss: None)
        >>> model.training
        False
    """
    steps = plan.steps(len(indices))
    module = method(model.to(memory_format=fast_format(model)), plan, data.labels.ignored, steps * plan.epochs)
    last = folder / CHECKPOINT_NAME
    checkpoint = _read_checkpoint(last)
    if checkpoint is not None:
        require_match(checkpoint["state_dict"], module.state_dict(), f"the training that {last} should go on with")
    if checkpoint is not None and checkpoint["epoch"] + 1 >= plan.epochs:
        module.load_state_dict(checkpoint["state_dict"])
        return module.model.cpu().eval()
    epochs_done = 0 if checkpoint is None else checkpoint["epoch"] + 1
    loader = _loader(module.views(data, indices), data.store.images is not None, plan)
    module.train()
    with _quiet_lightning(), _ctrl_c(), _explained(module, folder):
        trainer = _trainer(plan, folder, StepReports(report, plan.batch_size, steps))
        report(epochs_done * steps * plan.batch_size, epochs_done, float("nan"))
        trainer.fit(module, loader, ckpt_path=last if checkpoint is not None else None)
    return module.model.cpu().eval()


def _trainer(plan: FoldPlan, folder: Path, reports: StepReports) -> pl.Trainer:
    on_gpu = plan.device.type == "cuda"
    half = "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "16-mixed"
    devices: Any = plan.devices
    if on_gpu and devices == 1:
        devices = [plan.device.index or 0]
    checkpoints = ModelCheckpoint(
        folder, filename=Path(CHECKPOINT_NAME).stem, every_n_epochs=1, save_top_k=1,
        save_on_train_epoch_end=True, enable_version_counter=False,
    )  # fmt: skip
    return pl.Trainer(
        accelerator={"cuda": "gpu"}.get(plan.device.type, plan.device.type),
        devices=devices,
        strategy=_strategy(plan.num_devices),
        precision=half if on_gpu else "32-true",  # type: ignore[arg-type]
        max_epochs=plan.epochs,
        callbacks=[checkpoints, reports],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # EpochOrder shares the views out itself
        default_root_dir=folder,
    )


def _strategy(devices: int) -> Any:
    if devices == 1:
        return "auto"
    from pytorch_lightning.strategies import DDPStrategy

    # Spawned processes import this module; Lightning's default would run the caller's own script once more.
    # Parts of an encoder that a shallow decoder leaves unused have no gradient.
    return DDPStrategy(start_method="spawn", find_unused_parameters=True)


@contextlib.contextmanager
def _ctrl_c() -> Iterator[None]:
    """Let Ctrl-C stay what it is: Lightning would end the process and leave the signal ignored."""
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main else None
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _explained(module: SegmentationTraining, folder: Path) -> Iterator[None]:
    """Say what to do about the failures that a user can do something about."""
    plan = module.plan
    views = plan.batch_size // plan.num_devices
    exhausted = False
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise LabelQualityError(
            f"Batch normalisation cannot train on {views} views of {plan.crop_size} pixels at a time; "
            "pass a larger `batch_size` or `crop_size`."
        ) from error
    except OSError as error:
        raise LabelQualityError(
            f"Cannot go on with training in {folder} ({one_line(error)}); free space or permit writing there, then "
            "call again: finished epochs are kept."
        ) from error
    except (RuntimeError, ProcessRaisedException) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
        exhausted = True
    if exhausted:
        fits = fitting_batch_size(module)
        advice = (
            "not even one view fits: pass a smaller `crop_size` or a smaller encoder"
            if fits is None
            else f"pass `batch_size={fits}`, which fits, or a smaller `crop_size`"
        )
        raise LabelQualityError(
            f"The memory of {plan.device} is too small for {views} views of {plan.crop_size} pixels; {advice}."
        )


def fitting_batch_size(module: SegmentationTraining) -> int | None:
    """Return the largest half, quarter, ... of the batch size of which a training step fits in memory.

    Args:
        module: whose batch was too large; it is left on the CPU

    Returns:
        views per step over all devices; None = not even one per device fits

    Example:
        >>> plan = FoldPlan(0, 1, 8, (32, 32), 1e-3, 1e-3, 0, False, (0.5,) * 3, (0.2,) * 3, torch.device("cpu"))
        >>> fitting_batch_size(SegmentationTraining(torch.nn.Conv2d(3, 2, 1), plan, 255, 1))
        4
    """
    plan = module.plan
    views = plan.batch_size // plan.num_devices // 2
    while views and not _fits(module, views):
        views //= 2
    module.cpu()
    return views * plan.num_devices or None


def _fits(module: SegmentationTraining, views: int) -> bool:
    """Try a step, with room for the optimizer's two moments of every parameter."""
    plan = module.plan
    half = torch.autocast(plan.device.type, enabled=plan.device.type == "cuda")
    gc.collect()
    free_memory()
    try:
        module.to(plan.device).train()
        moments = [torch.empty_like(parameter) for parameter in module.parameters() for _ in range(2)]
        images = torch.zeros(views, 3, *plan.crop_size, dtype=torch.uint8, device=plan.device)
        targets = torch.zeros(views, *plan.crop_size, dtype=torch.long, device=plan.device)
        with half:
            loss, _ = module.objective({"image": images, "mask": targets}, targets)
        loss.backward()
        del moments
    except (RuntimeError, ValueError) as error:
        if isinstance(error, RuntimeError) and not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        return False  # a ValueError: too few values for batch normalisation
    finally:
        module.zero_grad(set_to_none=True)
    return True


def _loader(views: Dataset[Batch], in_memory: bool, plan: FoldPlan) -> DataLoader[Batch]:
    workers = _workers(in_memory, plan.device)
    return DataLoader(
        views,
        batch_size=plan.batch_size // plan.num_devices,
        sampler=EpochOrder(len(views), plan),  # type: ignore[arg-type]
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=plan.device.type == "cuda",
        multiprocessing_context="fork" if workers else None,
    )


def _workers(in_memory: bool, device: torch.device) -> int:
    """Workers help where a GPU waits for the CPU, or where files are read and decoded in every epoch."""
    import multiprocessing
    import os

    if "fork" not in multiprocessing.get_all_start_methods() or (in_memory and device.type == "cpu"):
        return 0
    cores = os.cpu_count() or 1
    return min(8, cores - 1) if device.type == "cuda" else min(2, cores // 2)


def _read_checkpoint(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return {**checkpoint, "state_dict": checkpoint["state_dict"], "epoch": checkpoint["epoch"]}
    except Exception as error:
        raise LabelQualityError(
            f"The checkpoint {path} cannot be read ({one_line(error)}); delete it to train that fold from its "
            "beginning."
        ) from error


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's remarks and advice from the user's terminal; errors still show."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _world() -> tuple[int, int]:
    """Return this process' rank and the number of training processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
