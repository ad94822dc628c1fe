"""A small network on frozen features, trained anew in each round on the labels as corrected so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from active_correction.features import STRIDE
from torch.nn import functional

Map = npt.NDArray[np.integer]


@dataclass(frozen=True)
class HeadTraining:
    """How the network is trained.

    Attributes:
        folds: parts of the images; each is predicted by a network that has not seen it; 1 trains on what it predicts
        hidden: hidden units
        steps: optimisation steps
        batch: features per step
        lr: highest learning rate of Adam
        dropout: share of hidden units left out
    """

    folds: int = 2
    hidden: int = 128
    steps: int = 200
    batch: int = 512
    lr: float = 2e-3
    dropout: float = 0.2


class Predictions(Sequence[npt.NDArray[np.float32]]):
    """Probabilities of each image, made from its logits when asked for: (K, H, W), or of every n-th row and column.

    Args:
        logits: (K, h, w) half-precision, on the features' grid
        sizes: (H, W) of each image
        every: n
    """

    def __init__(self, logits: Sequence[torch.Tensor], sizes: Sequence[tuple[int, int]], every: int) -> None:
        self._logits, self._sizes, self._every = logits, sizes, every

    def __len__(self) -> int:
        return len(self._logits)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        height, width = (-(-length // self._every) for length in self._sizes[index])
        grid = self._logits[index].float()[None]
        scale = STRIDE // self._every
        full = functional.interpolate(grid, scale_factor=scale, mode="bilinear", align_corners=False)
        return full[0, :, :height, :width].softmax(dim=0).numpy()


def predict(
    features: Sequence[npt.NDArray[np.float16]],
    labels: Sequence[Map],
    num_classes: int,
    training: HeadTraining,
    *,
    seed: int,
    every: int = 1,
) -> Predictions:
    """Train on labels and predict every image, out of fold.

    Args:
        features: (D, h, w) of each image
        labels: (H, W) classes; what is no class is left out
        num_classes: K
        training: how
        seed: of the folds, the weights and the batches
        every: probabilities of every n-th row and column
    """
    cells = [label[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE] for label in labels]
    targets = [_fitted(cell, grid.shape[1:]) for cell, grid in zip(cells, features, strict=True)]
    fold = np.random.default_rng(seed).permutation(len(labels)) % max(training.folds, 1)
    logits: list[torch.Tensor] = [torch.empty(0)] * len(labels)
    for part in range(training.folds):
        inside = np.flatnonzero(fold == part)
        outside = inside if training.folds == 1 else np.flatnonzero(fold != part)
        network = _trained([features[i] for i in outside], [targets[i] for i in outside], num_classes, training, seed)
        for index in inside:
            logits[index] = _logits(network, features[index])
    return Predictions(logits, [(label.shape[0], label.shape[1]) for label in labels], every)


def _fitted(cells: Map, size: Sequence[int]) -> Map:
    """Repeat the last row or column where the image ends before the middle of its last cell."""
    missing = [(0, want - have) for want, have in zip(size, cells.shape, strict=True)]
    return np.pad(cells, missing, mode="edge")


def _trained(
    features: Sequence[npt.NDArray[np.float16]],
    targets: Sequence[Map],
    num_classes: int,
    training: HeadTraining,
    seed: int,
) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    inputs = torch.from_numpy(np.concatenate([grid.reshape(len(grid), -1).T for grid in features]))
    wanted = torch.from_numpy(np.concatenate([target.ravel() for target in targets]).astype(np.int64))
    inputs, wanted = inputs[wanted < num_classes], wanted[wanted < num_classes]
    network = torch.nn.Sequential(
        torch.nn.Linear(inputs.shape[1], training.hidden),
        torch.nn.ReLU(),
        torch.nn.Dropout(training.dropout),
        torch.nn.Linear(training.hidden, num_classes),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=training.lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.lr, total_steps=training.steps)
    for chosen in _batches(len(wanted), training):
        loss = functional.cross_entropy(network(inputs[chosen].float()), wanted[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _batches(count: int, training: HeadTraining) -> Iterator[torch.Tensor]:
    for _ in range(training.steps):
        yield torch.randint(count, (training.batch,))


@torch.inference_mode()
def _logits(network: Callable[[torch.Tensor], torch.Tensor], grid: npt.NDArray[np.float16]) -> torch.Tensor:
    cells = torch.from_numpy(grid.reshape(len(grid), -1).T).float()
    return network(cells).T.reshape(-1, *grid.shape[1:]).half()
