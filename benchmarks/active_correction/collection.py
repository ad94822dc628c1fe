"""VOC images with the labels that Grounded-SAM made, their SAM segments, and the mean IoU of label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

VOID = 255

Map = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Picture:
    """One image of the benchmark.

    Attributes:
        name: unique
        path: the image's file
        true: (H, W) uint8 classes, `VOID` where the ground truth is silent
        start: (H, W) uint8, the label that is to be corrected
        segments: (H, W) int32 ids of SAM segments, 0 = none
    """

    name: str
    path: Path
    true: Map
    start: Map
    segments: Map

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8, read from the file."""
        return np.array(Image.open(self.path).convert("RGB"))


@dataclass(frozen=True)
class Collection:
    """Images with labels that need correction."""

    class_names: tuple[str, ...]
    pictures: tuple[Picture, ...]

    @cached_property
    def start_iou(self) -> float:
        """Mean IoU of the labels before any answer."""
        return mean_iou(self, [picture.start for picture in self.pictures])

    def part(self, share: str, tuning: int = 100) -> Collection:
        """A part of the images: `tuning` of them, drawn with seed 0, were used to decide on methods.

        Args:
            share: "tuning", "held_out" (the others) or "all"
            tuning: number of tuning images
        """
        chosen = set(np.random.default_rng(0).permutation(len(self.pictures))[:tuning].tolist())
        wanted = {"tuning": (True,), "held_out": (False,), "all": (True, False)}[share]
        kept = [picture for place, picture in enumerate(self.pictures) if (place in chosen) in wanted]
        return Collection(self.class_names, tuple(kept))


def read_collection(data: Path) -> Collection:
    """Read the 300 images.

    Args:
        data: folder that holds voc_grounded_sam
    """
    folder = data / "voc_grounded_sam"
    lines = (folder / "classes.txt").read_text().splitlines()
    pictures = []
    for path in sorted((folder / "images").iterdir()):
        maps = [
            np.array(Image.open(folder / kind / f"{path.stem}.png"))
            for kind in ("masks", "masks_grounded_sam", "superpixels_sam")
        ]
        pictures.append(Picture(path.stem, path, maps[0], maps[1], maps[2].astype(np.int32)))
    return Collection(tuple(line.split()[1] for line in lines[:21]), tuple(pictures))


def confusion(true: Map, labels: Map, num_classes: int) -> npt.NDArray[np.int64]:
    """Count pixels by true class (rows) and label (columns; the last one holds all that is no class).

    Args:
        true: (H, W) ground truth; what is no class does not count
        labels: (H, W) classes
        num_classes: K

    Returns:
        (K, K + 1) counts

    Example:
        >>> confusion(np.array([[0, 1, 255]]), np.array([[0, 255, 1]]), 2).tolist()
        [[1, 0, 0], [0, 0, 1]]
    """
    known = true < num_classes
    given = np.minimum(labels[known].astype(np.int64), num_classes)
    pairs = true[known].astype(np.int64) * (num_classes + 1) + given
    return np.bincount(pairs, minlength=num_classes * (num_classes + 1)).reshape(num_classes, -1)


def mean_iou(collection: Collection, labels: Sequence[Map]) -> float:
    """Mean IoU of label maps with the ground truth, over all images at once ("data mIoU").

    Classes count that occur in the ground truth. A pixel whose label was given up (no class) is a miss of its class.

    Args:
        collection: with the ground truth
        labels: (H, W) per image
    """
    return float(np.mean(class_iou(collection, labels)))


def class_iou(collection: Collection, labels: Sequence[Map]) -> npt.NDArray[np.float64]:
    """IoU of each class that occurs in the ground truth.

    Args:
        collection: with the ground truth
        labels: (H, W) per image
    """
    classes = len(collection.class_names)
    counts = np.zeros((classes, classes + 1), np.int64)
    for picture, label in zip(collection.pictures, labels, strict=True):
        counts += confusion(picture.true, label, classes)
    agree = counts[:, :classes].diagonal()
    union = counts.sum(axis=1) + counts[:, :classes].sum(axis=0) - agree
    return (agree / np.maximum(union, 1))[counts.sum(axis=1) > 0]


def accuracy(collection: Collection, labels: Sequence[Map]) -> float:
    """Share of known pixels whose label is right.

    Args:
        collection: with the ground truth
        labels: (H, W) per image
    """
    right = known = 0
    for picture, label in zip(collection.pictures, labels, strict=True):
        counts = picture.true != VOID
        right += int(((label == picture.true) & counts).sum())
        known += int(counts.sum())
    return right / known


def ceiling(picture: Picture, segments: Map, num_classes: int) -> Map:
    """The best label that one class for each superpixel can give; what has no superpixel keeps its label.

    Args:
        picture: with the ground truth
        segments: (H, W) superpixels, 0 = none
        num_classes: K
    """
    known = picture.true < num_classes
    pairs = segments[known].astype(np.int64) * num_classes + picture.true[known]
    counts = np.bincount(pairs, minlength=(int(segments.max()) + 1) * num_classes).reshape(-1, num_classes)
    best = counts.argmax(axis=1).astype(picture.start.dtype)
    return np.where((segments > 0) & (counts.sum(axis=1) > 0)[segments], best[segments], picture.start)
