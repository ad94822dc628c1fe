"""A whole segmentation network, trained anew in each round: for a GPU."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from active_correction.collection import VOID, Picture

from fiftyone_plugin.models import Example, ImageItem, cross_validate, load_segmenter

Map = npt.NDArray[np.integer]


@dataclass(frozen=True)
class NetworkTraining:
    """How the network is trained: the published architecture and length, with the product's optimiser.

    Attributes:
        architecture: of segmentation-models-pytorch
        encoder: its encoder
        weights: "imagenet" (downloaded) or a file
        iterations: steps of each fold
        crop: of training views
        batch: views per step
        folds: parts of the images; each is predicted by a network that has not seen it
    """

    architecture: str = "deeplabv3plus"
    encoder: str = "resnet101"
    weights: str | Path | None = "imagenet"
    iterations: int = 30_000
    crop: int = 513
    batch: int = 16
    folds: int = 2

    def epochs(self, images: int) -> int:
        """Passes over the training images of a fold.

        Args:
            images: of all folds together
        """
        steps = max(1, round(images * (self.folds - 1) / self.folds / self.batch))
        return max(1, round(self.iterations / steps))


def predict(
    pictures: Sequence[Picture],
    labels: Sequence[Map],
    num_classes: int,
    training: NetworkTraining,
    folder: Path,
    *,
    seed: int,
    every: int = 1,
) -> Sequence[npt.NDArray[np.float32]]:
    """Cross-validate on labels and predict every image out of fold.

    Args:
        pictures: whose images
        labels: (H, W) classes; what is no class is left out
        num_classes: K
        training: how
        folder: for models and predictions, emptied first
        seed: of folds, weights and batches
        every: probabilities of every n-th row and column
    """
    shutil.rmtree(folder, ignore_errors=True)
    cleaned = [np.where(label < num_classes, label, VOID).astype(np.uint8) for label in labels]
    examples = [Example(each.name, each.path, label) for each, label in zip(pictures, cleaned, strict=True)]
    cross_validate(
        examples, folder / "models", num_classes=num_classes, folds=training.folds, arch=training.architecture,
        encoder=training.encoder, weights=training.weights, epochs=training.epochs(len(pictures)),
        batch_size=training.batch, crop_size=training.crop, ignore_index=VOID, seed=seed,
    )  # fmt: skip
    (folder / "maps").mkdir(parents=True, exist_ok=True)
    items = [ImageItem(each.name, str(each.path)) for each in pictures]
    for item, probs in load_segmenter(folder / "models").stream(items):
        if isinstance(probs, Exception):
            raise probs
        np.save(folder / "maps" / f"{item.name}.npy", np.asarray(probs)[:, ::every, ::every].astype(np.float16))
    return _Files([folder / "maps" / f"{each.name}.npy" for each in pictures])


class _Files(Sequence[npt.NDArray[np.float32]]):
    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        probs = np.load(self._paths[index]).astype(np.float32)
        return probs / probs.sum(axis=0, keepdims=True)
