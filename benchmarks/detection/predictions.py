"""Out-of-sample predictions for CamVid and for VOC's machine-made labels, computed once and kept in a folder.

Every image is predicted by a model that was trained on other images, whose labels carry errors themselves: one error
of a random kind in a fifth of CamVid's masks; all the errors of the Grounded-SAM labels for VOC.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.progress import track

from fiftyone_plugin.models import (
    Example,
    ImageItem,
    cross_validate,
    cross_validate_frozen_features,
    load_segmenter,
)
from fiftyone_plugin.quality import known_errors

FROZEN = "frozen_features"
ARCHITECTURES = ("deeplabv3plus", "fpn", FROZEN, f"deeplabv3plus+{FROZEN}")  # the last: the mean of both
BLOCK = 8  # consecutive frames of a video that stay together
TRAINING: Mapping[str, object] = {
    "encoder": "mobilenet_v2",
    "folds": 2,
    "epochs": 6,
    "crop_size": 256,
    "batch_size": 8,
    "freeze_batchnorm": True,
}
VOID = 255

Mask = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Picture:
    """One image of a benchmark.

    Attributes:
        name: unique
        image: its file
        true: (H, W) uint8 classes, `VOID` where the ground truth is silent
        group: video block, by which images are shared out
        machine_label: (H, W) uint8, what Grounded-SAM made of it
    """

    name: str
    image: Path
    true: Mask
    group: str
    machine_label: Mask | None = None


@dataclass(frozen=True)
class Collection:
    """Images with clean labels."""

    name: str
    class_names: tuple[str, ...]
    pictures: tuple[Picture, ...]

    def tuning(self) -> set[str]:
        """Names of the images that may be tuned on: every fourth block. Results are of the others."""
        groups = sorted({picture.group for picture in self.pictures})
        chosen = set(groups[::4])
        return {picture.name for picture in self.pictures if picture.group in chosen}


def camvid(data: Path, every: int = 1) -> Collection:
    """CamVid's training and validation images, in one pool, by blocks of consecutive frames.

    The published validation images lie between the training images of the same video, so that split would not be
    out of sample.
    """
    lines = (data / "camvid" / "classes.txt").read_text().splitlines()
    names = [line.split()[1] for line in lines][:11]
    files = sorted(data.glob("camvid/*/images/*"), key=lambda path: path.stem)
    pictures = []
    for place, path in enumerate(files):
        if place % every:
            continue
        mask = np.array(Image.open(path.parents[1] / "masks" / f"{path.stem}.png"))
        video = path.stem.split("_")[0]
        true = np.where(mask < len(names), mask, VOID).astype(np.uint8)
        pictures.append(Picture(path.stem, path, true, f"{video}-{place // BLOCK:03d}"))
    return Collection("camvid", tuple(names), tuple(pictures))


def voc(data: Path) -> Collection:
    """The 300 VOC images that the authors of Active Label Correction labelled with Grounded-SAM."""
    folder = data / "voc_grounded_sam"
    lines = (folder / "classes.txt").read_text().splitlines()
    pictures = []
    for path in sorted((folder / "images").iterdir()):
        true, machine = (
            np.array(Image.open(folder / kind / f"{path.stem}.png")) for kind in ("masks", "masks_grounded_sam")
        )
        pictures.append(Picture(path.stem, path, true, path.stem, machine))
    return Collection("voc", tuple(line.split()[1] for line in lines[:21]), tuple(pictures))


def corrupted(collection: Collection, kinds: str | list[str], seed: int, share: float = 0.2) -> list[tuple]:
    """Put one error into a share of the masks; (mask, changed pixels or None, kind or None) by picture."""
    plan = known_errors.plan_errors(len(collection.pictures), share, kinds, seed)
    found = []
    for place, (picture, kind) in enumerate(zip(collection.pictures, plan, strict=True)):
        error = None
        if kind is not None:
            rng = np.random.default_rng([seed, place])
            classes = list(range(len(collection.class_names)))
            error = known_errors.inject_error(picture.true, kind, rng, class_ids=classes, ignore_index=VOID)
        found.append((picture.true, None, None) if error is None else (error.mask, error.changed, error.kind))
    return found


@dataclass(frozen=True)
class Predictions:
    """Half-precision probabilities on disk, one file per image."""

    folder: Path
    mean_iou: float

    def __getitem__(self, name: str) -> npt.NDArray[np.float32]:
        probs = np.load(self.folder / f"{name}.npy").astype(np.float32)
        return probs / probs.sum(axis=0, keepdims=True)


@dataclass(frozen=True)
class MeanPredictions:
    """The mean of several models' probabilities."""

    parts: tuple[Predictions, ...]
    mean_iou: float = float("nan")

    def __getitem__(self, name: str) -> npt.NDArray[np.float32]:
        return np.mean([part[name] for part in self.parts], axis=0, dtype=np.float32)


def predictions_of(
    collection: Collection,
    labels: list[Mask],
    folder: Path,
    prefix: str,
    architecture: str,
    seed: int,
    **given: object,
) -> Predictions | MeanPredictions:
    """Predictions of one architecture, or the mean of several that are joined by a plus; as `trained_predictions`."""
    parts = tuple(
        trained_predictions(
            collection, labels, folder / f"{prefix}-{name}-{seed}", architecture=name, seed=seed, **given
        )
        for name in architecture.split("+")
    )
    return parts[0] if len(parts) == 1 else MeanPredictions(parts)


def trained_predictions(
    collection: Collection,
    labels: list[Mask],
    folder: Path,
    *,
    wanted: Collection,
    architecture: str,
    weights: Path,
    seed: int,
    **training: object,
) -> Predictions:
    """Cross-validate a model on noisy labels and keep what it says of `wanted`, each seen by the model blind to it."""
    done = folder / "predictions.json"
    if not done.exists():
        started = time.monotonic()
        settings = {**TRAINING, **training}
        examples = [
            Example(picture.name, picture.image, label, picture.group)
            for picture, label in zip(collection.pictures, labels, strict=True)
        ]
        given = {"num_classes": len(collection.class_names), "ignore_index": VOID, "seed": seed}
        if architecture == FROZEN:
            settings = {"folds": settings["folds"]}
            result = cross_validate_frozen_features(examples, folder / "models", **given, **settings)
        else:
            result = cross_validate(
                examples, folder / "models", arch=architecture, weights=weights, **given, **settings
            )
        segmenter = load_segmenter(folder / "models")
        (folder / "maps").mkdir(exist_ok=True)
        for name, probs in track(_predict(segmenter, wanted), architecture, len(wanted.pictures)):
            np.save(folder / "maps" / f"{name}.npy", probs.astype(np.float16))
        about = {"mean_iou": result.mean_iou, "accuracy": result.pixel_accuracy, "seconds": time.monotonic() - started}
        done.write_text(json.dumps({**about, **settings}))
    return Predictions(folder / "maps", json.loads(done.read_text())["mean_iou"])


def outside_network(weights: Path) -> torch.nn.Module:
    """The trained VOC segmenter."""
    sys.path.insert(0, str(weights))
    network = importlib.import_module("deeplabv3_mobilenet_v2").DeepLabV3MNv2()
    network.load_state_dict(torch.load(weights / "deeplabv3_mobilenet_v2_voc.pth", map_location="cpu"))
    return network


def outside_predictions(collection: Collection, weights: Path, folder: Path) -> Predictions:
    """Keep the predictions of the trained VOC segmenter, a strong model that never saw the machine's labels.

    It was trained on VOC's ground truth, perhaps of these very images: it stands for a good model from elsewhere.
    """
    segmenter = load_segmenter(outside_network(weights), input_size=(513, 513), num_classes=len(collection.class_names))
    (folder / "maps").mkdir(parents=True, exist_ok=True)
    missing = [picture for picture in collection.pictures if not (folder / "maps" / f"{picture.name}.npy").exists()]
    left = replace(collection, pictures=tuple(missing))
    for name, probs in track(_predict(segmenter, left), "outside model", len(missing)):
        np.save(folder / "maps" / f"{name}.npy", probs.astype(np.float16))
    return Predictions(folder / "maps", float("nan"))


def _predict(segmenter, collection: Collection) -> Iterator[tuple[str, np.ndarray]]:
    items = [ImageItem(picture.name, str(picture.image), group=picture.group) for picture in collection.pictures]
    for item, probs in segmenter.stream(items):
        if isinstance(probs, Exception):
            raise probs
        yield item.name, np.asarray(probs)
