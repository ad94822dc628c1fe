"""Training on noisy labels: ADELE in full and in parts against plain training, measured on clean validation labels.

    python benchmarks/noise_robust.py --folder /tmp/noise --json noise.json              # CamVid, two CPU cores
    python benchmarks/noise_robust.py --folder /tmp/noise --json noise.json --classes 11 # a task too hard to correct
    python benchmarks/noise_robust.py --folder /tmp/noise --json voc.json --gpu voc      # DeepLab, 20,000 iterations
    python benchmarks/noise_robust.py --folder /tmp/noise --json segthor.json --gpu segthor --data folder

Each seed is one realisation of the noise and one of the training. CamVid: sky, road, tree and car before one background
that holds all other classes, 48 whole images of 96 x 128 pixels, with the noise of ADELE's SegTHOR experiment (all
classes of an image are drawn too small, or all too large: `quality/known_errors/boundary_noise.py`). With
`--classes 11`: all classes of CamVid, 100 images of 144 x 192 pixels, the same kind of noise without a background
(`quality/known_errors/outlines.py`), and objects are dropped from half of the images. VOC: the labels that
Grounded-SAM made. SegTHOR: the published noise; the folder must hold segthor/{train,val}/{images,masks} with PNGs of
256 x 256 pixels and mask values 0 to 4.

Methods: the baseline (cross entropy), correction only, correction only with one trigger for all classes, consistency
only, and ADELE in full (correction with a trigger per class, and consistency). Figures: mean IoU with the clean
validation labels at the best and at the last epoch; mean IoU of given and corrected training labels with the clean
ones; shares of wrong pixels put right and of right pixels made wrong. A second call goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or training crawls where another program uses a core
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from fiftyone_plugin.models import (
    SEGTHOR_CORRECTION,
    VOC_CORRECTION,
    Example,
    NoiseRobust,
    NoiseRobustResult,
    published_method,
    train_noise_robust,
)
from fiftyone_plugin.progress import terminal_bar
from fiftyone_plugin.quality import known_errors

VOID = 255
VALIDATION_NAME = "validation.json"
BENT = "bent labels"
"""Methods so named train with NSegment+."""
DROPS = 2  # objects dropped from every second image, where all classes are kept
FOREGROUND = ("sky", "road", "tree", "car")
RULES = {
    "ours": NoiseRobust(),
    "voc": NoiseRobust(correction=VOC_CORRECTION),
    "segthor": NoiseRobust(correction=SEGTHOR_CORRECTION, correct_every=10),
}  # with our trigger, consistency and predictions
BATCH = 8  # images predicted at once

Mask = npt.NDArray[np.integer[Any]]
Noise = Callable[["Picture", np.random.Generator], Mask]


@dataclass(frozen=True)
class Picture:
    """One image with its clean label, and the machine's where there is one."""

    name: str
    image: npt.NDArray[np.uint8]
    true: Mask
    machine: Mask | None = None


@dataclass(frozen=True)
class Setting:
    """What is trained on what.

    Attributes:
        title: what it is called in keys and tables
        names: of the classes
        train: images to train on
        validation: images to measure on
        method: ADELE in full
        noise: makes a label wrong
        training: further arguments of `train_noise_robust`
    """

    title: str
    names: tuple[str, ...]
    train: list[Picture]
    validation: list[Picture]
    method: NoiseRobust
    noise: Noise
    training: Mapping[str, Any]


def main() -> None:
    """Train what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--folder", type=Path, required=True, help="for models and corrected labels")
    parser.add_argument("--json", type=Path, help="write the figures here, and go on from those that are there")
    parser.add_argument("--gpu", choices=["voc", "segthor"], help="the published scale instead of two CPU cores")
    parser.add_argument("--classes", type=int, choices=[4, 11], default=4, help="of CamVid")
    parser.add_argument("--correction", choices=list(RULES), default="ours", help="rule, for 4 classes of CamVid")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=list(parts(NoiseRobust())), help="only these")
    parser.add_argument("--images", type=int, help="to train on")
    parser.add_argument("--validation-images", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--weights", help="of the encoder: a file, imagenet or none")
    options = parser.parse_args()
    try:
        setting = SETTINGS[options.gpu or f"camvid{options.classes}"](options)
    except FileNotFoundError as error:
        parser.error(f"{error.filename} is not there; pass --data")
    rows = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    keys = []
    for seed in options.seeds:
        labels = noisy_labels(setting, seed)
        for name, method in parts(setting.method).items():
            if options.methods and name not in options.methods:
                continue
            key = f"{setting.title}/{len(setting.train)}/{setting.training['epochs']}/{name}/{seed}"
            keys.append(key)
            if key not in rows:
                rows[key] = train(setting, labels, method, options.folder / key.replace(" ", "_"), name, seed)
                if options.json:
                    options.json.write_text(json.dumps(rows, indent=1))
    print_table({key: rows[key] for key in keys}, setting, options)


def parts(full: NoiseRobust) -> dict[str, NoiseRobust]:
    """ADELE and what is left of it without some of its parts; and both with bent labels."""
    return {
        "baseline": replace(full, correction=None, consistency=None),
        "correction": replace(full, consistency=None),
        "one trigger": replace(full, consistency=None, per_class=False),
        "consistency": replace(full, correction=None),
        "ADELE": full,
        BENT: replace(full, correction=None, consistency=None),
        f"ADELE, {BENT}": full,
    }


# --- data ----------------------------------------------------------------------------------------------------


def camvid_foreground(options: argparse.Namespace) -> Setting:
    """Four frequent classes of CamVid before a background, whole images at a quarter of their size."""
    folder, size = options.data / "camvid", (96, 128)
    names = camvid_names(folder)

    def read(split: str, count: int) -> list[Picture]:
        return [
            replace(picture, true=before_background(picture.true, [names.index(name) for name in FOREGROUND]))
            for picture in read_pictures(folder / split, len(names), count, size)
        ]

    return Setting(
        "camvid4" if options.correction == "ours" else f"camvid4 {options.correction} rule",
        ("background", *FOREGROUND),
        read("train", options.images or 48),
        read("val", options.validation_images or 50),
        RULES[options.correction],
        lambda picture, rng: known_errors.add_boundary_noise(picture.true, rng).mask,
        small_network(options) | {
            "epochs": options.epochs or 30, "batch_size": 4, "crop_size": size, "lr": 3e-3, "encoder_lr": 3e-3,
        },
    )  # fmt: skip


def camvid(options: argparse.Namespace) -> Setting:
    """Every so many images of CamVid's splits with all classes, at four tenths of their size."""
    folder, size = options.data / "camvid", (144, 192)
    names = camvid_names(folder)
    method = NoiseRobust()
    assert method.correction is not None
    return Setting(
        "camvid11",
        names,
        read_pictures(folder / "train", len(names), options.images or 100, size),
        read_pictures(folder / "val", len(names), options.validation_images or 34, size),
        replace(method, correction=replace(method.correction, background=None)),
        lambda picture, rng: street_noise(picture.true, len(names), rng),
        small_network(options) | {"epochs": options.epochs or 30, "batch_size": 8, "crop_size": (96, 128)},
    )


def camvid_names(folder: Path) -> tuple[str, ...]:
    """CamVid's classes without void."""
    return tuple(line.split()[1] for line in (folder / "classes.txt").read_text().splitlines())[:11]


def before_background(mask: Mask, classes: Sequence[int]) -> Mask:
    """The classes as 1, 2..., void as it is, and all else as 0."""
    table = np.zeros(VOID + 1, np.uint8)
    table[list(classes)], table[VOID] = np.arange(1, len(classes) + 1), VOID
    return table[mask]


def small_network(options: argparse.Namespace) -> dict[str, Any]:
    """A network that a CPU core trains in a minute."""
    return {
        "arch": "fpn", "encoder": "mobilenet_v2",
        "weights": weights_of(options, options.data / "weights/mobilenet_v2_imagenet.pth"),
        "model_options": {
            "decoder_pyramid_channels": 48, "decoder_segmentation_channels": 32, "decoder_dropout": 0.0
        },
    }  # fmt: skip


def voc(options: argparse.Namespace) -> Setting:
    """VOC images with the labels of Grounded-SAM; every fifth is for validation, with the ground truth."""
    folder = options.data / "voc_grounded_sam"
    names = tuple(line.split()[1] for line in (folder / "classes.txt").read_text().splitlines())[:21]
    pictures = read_pictures(folder, len(names), options.images or 10**6, None, machine="masks_grounded_sam")
    train = [picture for place, picture in enumerate(pictures) if place % 5]
    iterations, batch = 20_000, 10
    epochs = options.epochs or -(-iterations * batch // len(train))
    training = {
        "arch": "deeplabv3plus", "encoder": "resnet101", "weights": weights_of(options, "imagenet"), "epochs": epochs,
        "batch_size": batch, "crop_size": 448,
    }  # fmt: skip
    validation = pictures[::5][: options.validation_images]
    return Setting("voc", names, train, validation, published_method("voc"), machine_label, training)


def segthor(options: argparse.Namespace) -> Setting:
    """Slices of SegTHOR, as large as in the paper."""
    folder, names = options.data / "segthor", ("background", "esophagus", "heart", "trachea", "aorta")
    training = {
        "arch": "unet", "encoder": "resnet34", "weights": weights_of(options, None), "epochs": options.epochs or 100,
        "batch_size": 5, "crop_size": 256,
    }  # fmt: skip
    train, validation = (
        read_pictures(folder / split, len(names), count or 10**6, (256, 256))
        for split, count in (("train", options.images), ("val", options.validation_images))
    )

    def noise(picture: Picture, rng: np.random.Generator) -> Mask:
        return known_errors.add_boundary_noise(picture.true, rng, classes=known_errors.SEGTHOR_CLASSES).mask

    return Setting("segthor", names, train, validation, published_method("segthor"), noise, training)


SETTINGS = {"camvid4": camvid_foreground, "camvid11": camvid, "voc": voc, "segthor": segthor}


def weights_of(options: argparse.Namespace, default: Path | str | None) -> str | None:
    """The encoder's weights as asked for."""
    asked = default if options.weights is None else options.weights
    return None if asked in (None, "none") else str(asked)


def read_pictures(
    folder: Path, num_classes: int, count: int, size: tuple[int, int] | None, machine: str | None = None
) -> list[Picture]:
    """Read as many images as wanted, evenly spaced, with values that are no class as void."""
    paths = sorted((folder / "images").iterdir())
    chosen = paths[:: max(1, len(paths) // count)][:count]

    def mask_of(kind: str, path: Path) -> Mask:
        mask = np.array(resized(Image.open(folder / kind / f"{path.stem}.png"), size, Image.Resampling.NEAREST))
        return np.where(mask < num_classes, mask, VOID).astype(np.uint8)

    return [
        Picture(
            path.stem,
            np.array(resized(Image.open(path).convert("RGB"), size, Image.Resampling.BILINEAR)),
            mask_of("masks", path),
            None if machine is None else mask_of(machine, path),
        )
        for path in chosen
    ]


def resized(image: Image.Image, size: tuple[int, int] | None, how: Image.Resampling) -> Image.Image:
    """An image of another (height, width)."""
    return image if size is None else image.resize((size[1], size[0]), how)


def noisy_labels(setting: Setting, seed: int) -> list[Mask]:
    """One realisation of the noise."""
    return [setting.noise(picture, np.random.default_rng([seed, place])) for place, picture in enumerate(setting.train)]


def machine_label(picture: Picture, rng: np.random.Generator) -> Mask:
    """The label that a machine made."""
    assert picture.machine is not None
    return picture.machine


def street_noise(true: Mask, num_classes: int, rng: np.random.Generator) -> Mask:
    """Outlines of all objects too small or too large; in half of the images, some objects are not there."""
    classes = list(range(num_classes))
    mask = true
    for _ in range(DROPS if rng.random() < 0.5 else 0):
        dropped = known_errors.inject_error(mask, "drop_object", rng, class_ids=classes, ignore_index=VOID)
        mask = mask if dropped is None else dropped.mask
    kind = "erode_all" if rng.random() < 0.5 else "dilate_all"
    redrawn = known_errors.redraw_outlines(mask, kind, rng, class_ids=classes, ignore_index=VOID)
    return mask if redrawn is None else redrawn.mask


# --- measuring -----------------------------------------------------------------------------------------------


class Confusion:
    """Pixels by true and other class."""

    def __init__(self, num_classes: int) -> None:
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def add(self, true: Mask, other: Mask) -> None:
        """Count an image; void pixels do not count."""
        number = len(self.counts)
        known = (true < number) & (other < number)
        pairs = true[known].astype(np.int64) * number + other[known]
        self.counts += np.bincount(pairs, minlength=number**2).reshape(number, number)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that occur in the clean labels."""
        hits = self.counts.diagonal()
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        return float((hits / np.maximum(union, 1))[self.counts.sum(1) > 0].mean())


class Validation:
    """Measures a model after every epoch, and remembers that over interruptions.

    Args:
        setting: with the images to measure on
        folder: of the training
    """

    def __init__(self, setting: Setting, folder: Path) -> None:
        self.setting = setting
        self.path = folder.with_name(f"{folder.name}-{VALIDATION_NAME}")
        self.ious: dict[int, float] = {}
        if self.path.exists():
            self.ious = {int(epoch): iou for epoch, iou in json.loads(self.path.read_text()).items()}

    def __call__(self, epoch: int, segmenter: Any) -> None:
        """Measure."""
        confusion = Confusion(len(self.setting.names))
        pictures = self.setting.validation
        for start in range(0, len(pictures), BATCH):
            part = pictures[start : start + BATCH]
            for picture, probs in zip(part, segmenter.predict([p.image for p in part]), strict=True):
                confusion.add(picture.true, torch.as_tensor(probs).argmax(0).cpu().numpy())
        self.ious[epoch] = confusion.mean_iou
        self.path.write_text(json.dumps(self.ious))


def train(
    setting: Setting, labels: Sequence[Mask], method: NoiseRobust, folder: Path, name: str, seed: int
) -> dict[str, Any]:
    """Train one model; its figures."""
    started = time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    validation = Validation(setting, folder)
    examples = [
        Example(picture.name, picture.image, label) for picture, label in zip(setting.train, labels, strict=True)
    ]
    with terminal_bar(f"{name}, seed {seed}") as bar:
        done = train_noise_robust(
            examples, folder, num_classes=len(setting.names), method=replace(method, after_epoch=validation),
            class_names=list(setting.names), ignore_index=VOID, seed=seed, progress=bar, bend_labels=BENT in name,
            **setting.training,
        )  # fmt: skip
    ious = [validation.ious[epoch] for epoch in sorted(validation.ious)]
    row = {
        "best": max(ious), "best epoch": 1 + int(np.argmax(ious)), "last": ious[-1], "validation": ious,
        **label_quality(setting, labels, done), "fired": fired(setting, done), "seconds": time.monotonic() - started,
    }  # fmt: skip
    print(f"{name}, seed {seed}: {row['best']:.3f} at epoch {row['best epoch']}, {row['last']:.3f} at the last; labels "
          f"{row['given']:.3f} -> {row['corrected']:.3f}; {row['seconds']:.0f} s", flush=True)  # fmt: skip
    return row


def label_quality(setting: Setting, labels: Sequence[Mask], done: NoiseRobustResult) -> dict[str, float]:
    """Given and corrected labels against the clean ones."""
    corrected = {change.key: change.corrected for change in done.changes()}
    before, after = Confusion(len(setting.names)), Confusion(len(setting.names))
    wrong = right = mended = spoilt = 0
    for picture, given in zip(setting.train, labels, strict=True):
        new = corrected.get(picture.name, given)
        known = (picture.true != VOID) & (given != VOID)
        before.add(picture.true, given)
        after.add(picture.true, new)
        was_right, is_right = given == picture.true, new == picture.true
        wrong += int((known & ~was_right).sum())
        right += int((known & was_right).sum())
        mended += int((known & ~was_right & is_right).sum())
        spoilt += int((known & was_right & ~is_right).sum())
    return {
        "given": before.mean_iou, "corrected": after.mean_iou, "put right": mended / max(wrong, 1),
        "made wrong": spoilt / max(right, 1),
    }  # fmt: skip


def fired(setting: Setting, done: NoiseRobustResult) -> dict[str, int]:
    """Trigger epochs by class."""
    if done.curves.common is not None:
        return {} if done.curves.common.fired is None else {"all classes": done.curves.common.fired}
    return {setting.names[curve.index]: curve.fired for curve in done.curves.classes if curve.fired is not None}


FIGURES = ("best", "last", "given", "corrected", "put right", "made wrong", "seconds")


def print_table(rows: Mapping[str, Mapping[str, Any]], setting: Setting, options: argparse.Namespace) -> None:
    """Mean and standard deviation over the seeds, and whether the published order holds."""
    names = list(dict.fromkeys(key.split("/")[-2] for key in rows))
    title = f"{setting.title}: {len(setting.train)} images, {setting.training['epochs']} epochs, " \
            f"{setting.training['arch']} with {setting.training['encoder']}, seeds {options.seeds}; " \
            f"{platform.machine()}, {os.cpu_count()} cores"  # fmt: skip
    table = Table("method", *FIGURES, title=title)
    means: dict[str, dict[str, float]] = {}
    for name in names:
        own = [row for key, row in rows.items() if key.split("/")[-2] == name]
        means[name] = {figure: statistics.mean(row[figure] for row in own) for figure in FIGURES}
        spread = {figure: statistics.stdev([row[figure] for row in own]) if len(own) > 1 else 0.0 for figure in FIGURES}
        table.add_row(
            name,
            *(f"{means[name][f]:.3f} ± {spread[f]:.3f}" for f in FIGURES[:-1]),
            f"{means[name]['seconds']:.0f}",
        )
    Console(width=140).print(table)
    for figure in ("best", "last"):
        order = sorted(means, key=lambda name: -means[name][figure])
        print(f"{figure} epoch: " + " > ".join(f"{name} {means[name][figure]:.3f}" for name in order))


if __name__ == "__main__":
    main()
