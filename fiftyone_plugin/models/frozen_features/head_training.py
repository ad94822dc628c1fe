"""Training of one head on crops or single cells of kept features, and its temperature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ...errors import LabelQualityError
from ..training.folds import derived_seed
from ..training.training_data import TrainingData
from .encoders import Features
from .head import FeatureHead, place_map
from .options import FrozenFeatureOptions
from .store import FeatureStore

_STATISTICS_IMAGES = 64
_TEMPERATURES = np.geomspace(0.4, 4.0, 25)
_CALIBRATION_PIXELS = 2000  # of an image
_POOL = 100_000  # cells to draw from, of all images


@dataclass(frozen=True)
class Scene:
    """One image as a head sees it.

    Args:
        levels: (C, h, w) float16 per level
        place: (4, H, W) of the grid
        label: (H * stride, W * stride) classes at the size that the encoder saw, ignored where it was padded
    """

    levels: Features
    place: torch.Tensor
    label: torch.Tensor


class Scenes:
    """Images with labels as a head sees them, read from disk one at a time.

    Args:
        data: checked examples
        store: of their features
    """

    def __init__(self, data: TrainingData, store: FeatureStore) -> None:
        self.data = data
        self.store = store

    def __getitem__(self, index: int) -> Scene:
        image, mask = self.data.pair(index)
        encoder, ignored = self.store.encoder, self.data.labels.ignored
        rows, columns = encoder.grid((int(image.shape[0]), int(image.shape[1])))
        seen = encoder.seen_size((int(image.shape[0]), int(image.shape[1])))
        label = torch.full((rows * encoder.stride, columns * encoder.stride), ignored, dtype=torch.long)
        label[: seen[0], : seen[1]] = _nearest(torch.from_numpy(mask.astype(np.int64)), seen)
        return Scene(self.store.get([image])[0], place_map(rows, columns), label)


def _nearest(label: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(label.shape) == size:
        return label
    rows, columns = (((torch.arange(new) + 0.5) * old / new).long() for new, old in zip(size, label.shape, strict=True))
    return label[rows][:, columns]


def feature_statistics(scenes: Scenes, indices: Sequence[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of every channel, over some of the images.

    Args:
        scenes: all images
        indices: those that may be looked at
        seed: which of them are

    Returns:
        mean and deviation of the channels of all levels, one after the other
    """
    chosen = np.random.default_rng(seed).permutation(list(indices))[:_STATISTICS_IMAGES]
    sums: list[torch.Tensor] = []
    for index in chosen:
        levels = [level.float().flatten(1) for level in scenes[int(index)].levels]
        moments = torch.stack([torch.cat([f(level) for level in levels]) for f in (_mean, _square)])
        sums.append(moments)
    mean, square = torch.stack(sums).mean(0)
    return mean, (square - mean.square()).clamp_min(0).sqrt() + 1e-3


def _mean(values: torch.Tensor) -> torch.Tensor:
    return values.mean(1)


def _square(values: torch.Tensor) -> torch.Tensor:
    return values.square().mean(1)


def train_head(
    scenes: Scenes,
    indices: Sequence[int],
    options: FrozenFeatureOptions,
    seed: int,
    device: torch.device,
    report: Callable[[int, float], None],
) -> FeatureHead:
    """Train a head by cross entropy: on crops, mirrored at random, or on single cells where it has no blocks.

    Args:
        scenes: all images
        indices: those to train on
        options: width, steps, crop, learning rate
        seed: of first weights and crops
        device: where it is trained
        report: told the steps done and the loss

    Returns:
        the head, ready to predict, on the CPU

    Raises:
        LabelQualityError: training diverged
    """
    mean, std = feature_statistics(scenes, indices, seed)
    torch.default_generator.manual_seed(derived_seed(seed, "head"))
    about = scenes.store.encoder.about
    classes = scenes.data.labels.num_classes
    head = FeatureHead(about.channels, classes, options.width, options.blocks, mean, std).to(device)
    fused = device.type in ("cpu", "cuda")
    optimiser = torch.optim.AdamW(head.parameters(), lr=options.lr, weight_decay=0.01, fused=fused)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.lr, total_steps=options.steps, pct_start=0.1)
    rng = np.random.default_rng(seed)
    batches = _batches(scenes, indices, options, rng) if options.blocks else _cells(scenes, indices, options, rng)
    for step in range(options.steps):
        batch = next(batches)
        levels = [level.to(device) for level in batch.levels]
        place, label = batch.place.to(device), batch.label.to(device)
        scores = functional.interpolate(
            head(levels, place), (label.shape[1], label.shape[2]), mode="bilinear", align_corners=False
        )
        loss = functional.cross_entropy(scores, label, ignore_index=scenes.data.labels.ignored)
        if not torch.isfinite(loss):
            if (label == scenes.data.labels.ignored).all():
                continue  # nothing but unlabelled pixels
            raise LabelQualityError(
                f"Training diverged at step {step} (loss {float(loss):.3g}); pass a smaller `lr` than {options.lr:g}."
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        report(step + 1, float(loss.detach()))
    return head.cpu().eval().requires_grad_(requires_grad=False)


def _batches(
    scenes: Scenes, indices: Sequence[int], options: FrozenFeatureOptions, rng: np.random.Generator
) -> Iterator[Scene]:
    """Yield crops one upon the other: (N, ...) of all maps."""
    crops = _crops(scenes, indices, options, rng)
    while True:
        parts = [next(crops) for _ in range(options.batch_size)]
        levels = [torch.stack(maps) for maps in zip(*(part.levels for part in parts), strict=True)]
        yield Scene(levels, torch.stack([p.place for p in parts]), torch.stack([p.label for p in parts]))


def _cells(
    scenes: Scenes, indices: Sequence[int], options: FrozenFeatureOptions, rng: np.random.Generator
) -> Iterator[Scene]:
    """Yield single cells as images of one cell, drawn from a sample of all images."""
    chosen = rng.permutation(list(indices))[:_POOL]
    parts = [_sampled(scenes[int(index)], scenes, max(1, _POOL // len(chosen)), rng) for index in chosen]
    levels = [torch.cat(maps).float() for maps in zip(*(part.levels for part in parts), strict=True)]
    place, label = torch.cat([part.place for part in parts]), torch.cat([part.label for part in parts])
    while True:
        drawn = torch.from_numpy(rng.integers(0, len(label), options.cells))
        yield Scene([level[drawn] for level in levels], place[drawn], label[drawn])


def _sampled(scene: Scene, scenes: Scenes, count: int, rng: np.random.Generator) -> Scene:
    """Take labelled cells of an image, at most `count`; a single ignored one where there are none."""
    stride = scenes.store.encoder.stride
    label = scene.label[stride // 2 :: stride, stride // 2 :: stride].flatten()
    labelled = np.flatnonzero(label.numpy() != scenes.data.labels.ignored)
    some = torch.from_numpy(rng.permutation(labelled)[:count]) if len(labelled) else torch.zeros(1, dtype=torch.long)
    rows, columns = scene.place.shape[1:]
    right, down = (some % columns + 0.5) / columns * 2 - 1, (some // columns + 0.5) / rows * 2 - 1
    where = torch.stack([right, down], -1).float()[None, None]
    levels = [
        functional.grid_sample(level.float()[None], where, padding_mode="border", align_corners=False)[0, :, 0].T.half()
        for level in scene.levels
    ]
    return Scene(
        [level[:, :, None, None] for level in levels],
        scene.place.flatten(1)[:, some].T[:, :, None, None],
        label[some][:, None, None],
    )


def _crops(
    scenes: Scenes, indices: Sequence[int], options: FrozenFeatureOptions, rng: np.random.Generator
) -> Iterator[Scene]:
    """Yield crops without end, every image once in each round."""
    encoder = scenes.store.encoder
    unit = encoder.multiple
    side = max(1, round((options.crop_size or unit) / unit))
    while True:
        for index in rng.permutation(list(indices)):
            scene = scenes[int(index)]
            units = [length // unit for length in scene.label.shape]
            top, left = (int(rng.integers(0, max(0, count - side) + 1)) for count in units)
            yield _crop(scene, (top * unit, left * unit), side * unit, bool(rng.random() < 0.5), scenes)


def _crop(scene: Scene, corner: tuple[int, int], side: int, mirrored: bool, scenes: Scenes) -> Scene:
    """Cut a square out of all maps; what lies beyond the image repeats its edge and is ignored."""
    encoder = scenes.store.encoder
    levels = [_cut(level, corner, side, cell) for level, cell in zip(scene.levels, encoder.cells, strict=True)]
    place = _cut(scene.place, corner, side, encoder.stride)
    label = scene.label[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
    missing = (0, side - label.shape[1], 0, side - label.shape[0])
    label = functional.pad(label, missing, value=scenes.data.labels.ignored)
    if mirrored:
        return Scene([level.flip(2) for level in levels], place.flip(2), label.flip(1))
    return Scene(levels, place, label)


def _cut(values: torch.Tensor, corner: tuple[int, int], side: int, cell: int) -> torch.Tensor:
    top, left, count = corner[0] // cell, corner[1] // cell, side // cell
    part = values[:, top : top + count, left : left + count]
    down, right = count - part.shape[1], count - part.shape[2]
    if not down and not right:
        return part
    return functional.pad(part[None].float(), (0, right, 0, down), mode="replicate")[0].to(values.dtype)


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Find the temperature that makes probabilities as sure as they are right (Guo et al. 2017).

    Args:
        logits: (M, K) of pixels that were not trained on
        labels: (M,) their given classes

    Returns:
        what logits are divided by; 1 where there are no pixels

    Example:
        >>> logits = torch.tensor([[4.0, 0.0], [4.0, 0.0]])
        >>> fit_temperature(logits, torch.tensor([0, 1])) > 2  # sure, and wrong half of the time
        True
    """
    if not len(labels):
        return 1.0
    losses = [float(functional.cross_entropy(logits / value, labels)) for value in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def calibration_pixels(
    logits: torch.Tensor, mask: np.ndarray, ignored: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take some labelled pixels of an image.

    Args:
        logits: (K, H, W)
        mask: (H, W) kept labels
        ignored: their ignored value
        rng: which pixels

    Returns:
        (M, K) logits and (M,) labels
    """
    labelled = np.flatnonzero(mask.reshape(-1) != ignored)
    chosen = torch.from_numpy(rng.permutation(labelled)[:_CALIBRATION_PIXELS])
    return logits.flatten(1)[:, chosen].T, torch.from_numpy(mask.reshape(-1).astype(np.int64))[chosen]
