"""Eight systematic errors put into CamVid: how many are named, and how many pixels one click mends.

    python benchmarks/causes.py --data ../shared/data --folder /tmp/causes --part held_out --seeds 0 1 2

Labels and images of half size. Images have a folder (twelve runs of neighbouring frames), an annotator and a batch
(both drawn), and a time. By the seed it is drawn which classes are concerned: two classes are swapped in a folder; the
masks of a batch are moved by 3 px (6 of full size); a class is never drawn by an annotator, another is drawn as a third
by another annotator; the masks of a folder are mirrored; an annotator draws a class 2 px too wide, another one a class
2 px too narrow; in a stretch of time small parts of a class are not drawn. Predictions are those of heads on frozen
features, trained on these wrong labels by cross-validation over the folders.

A cause is named if rule and classes are right, its amount within a pixel (an area: within a factor of 4), and its
group shares at least half of the images of both together. One click repairs one named cause, right or wrong. Beside it:
clicks on connected wrong regions, the largest first and each wholly mended, which nobody can do better region by
region. Rules were decided on with the first half of each sequence (`--part tuning`), and figures are those of the
second.
`--clean` puts nothing in: what is named then is named wrongly, or is wrong in CamVid.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from fiftyone_plugin.models import Example, ImageItem, load_segmenter
from fiftyone_plugin.models.frozen_features.cross_validated_heads import cross_validate_frozen_features
from fiftyone_plugin.models.frozen_features.options import FrozenFeatureOptions
from fiftyone_plugin.quality.causes.causes import Cause, find_causes
from fiftyone_plugin.quality.causes.repairs import UNKNOWN, Repair, repaired

CLASSES, FOLDERS, ANNOTATORS, BATCHES = 11, 12, 6, 6
SMALL = 120  # pixels of half size
QUICK = FrozenFeatureOptions(steps=100, mirrored=False)  # a third of the default steps


@dataclass(frozen=True, eq=False)
class Scenes:
    """CamVid of half size, with what its images have in common."""

    names: list[str]
    paths: list[Path]
    true: list[np.ndarray]
    attributes: dict[str, list]


@dataclass(frozen=True, eq=False)
class Planted:
    """One error that was put in."""

    repair: Repair
    attribute: str
    members: np.ndarray


def main() -> None:
    """Put in, find, repair, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--part", choices=["tuning", "held_out"], default="held_out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--clean", action="store_true")
    options = parser.parse_args()
    names = [line.split()[1] for line in (options.data / "camvid" / "classes.txt").read_text().splitlines()]
    table = Table(
        "seed", "named", "named wrongly", "wrong px before", "mended by", "clicks", "px a click", "region: px"
    )
    for seed in options.seeds:
        scenes = read_scenes(options.data / "camvid", options.folder / options.part, options.part, seed)
        rng = np.random.default_rng([seed, 7])
        planted = [] if options.clean else plant(scenes, rng)
        given = with_errors(scenes, planted)
        where = options.folder / options.part / f"seed{seed}{'-clean' if options.clean else ''}"
        predicted = predictions(scenes, given, where, seed)

        def load(place: int, given=given, predicted=predicted) -> tuple[np.ndarray, np.ndarray]:
            return given[place], predicted[place]

        causes = find_causes(load, len(given), CLASSES, scenes.attributes)
        table.add_row(str(seed), *row(scenes, planted, given, predicted, causes))
        hits = [next((number for number, one in enumerate(planted) if is_named(one, cause)), None) for cause in causes]
        for number, one in enumerate(planted):
            mark = "found " if number in hits else "MISSED"
            words = [names[value] for value in one.repair.classes]
            print(mark, one.repair.kind, words, one.repair.amount, one.attribute, int(one.members.sum()))
        for hit, cause in zip(hits, causes, strict=True):
            print("right" if hit is not None else "WRONG", cause.text(names), f"p = {cause.chance:.1e}", flush=True)
    Console(width=160).print(table)


def read_scenes(camvid: Path, folder: Path, part: str, seed: int) -> Scenes:
    """One half of each sequence."""
    images = sorted([*(camvid / "train" / "images").iterdir(), *(camvid / "val" / "images").iterdir()], key=_name)
    chosen = []
    for _, frames in groupby(images, key=lambda path: path.name.split("_")[0]):
        run = list(frames)
        chosen += run[: len(run) // 2] if part == "tuning" else run[len(run) // 2 :]
    folder.mkdir(parents=True, exist_ok=True)
    names, paths, true = [], [], []
    for path in chosen:
        small = folder / f"{path.stem}.png"
        if not small.exists():
            Image.open(path).convert("RGB").reduce(2).save(small)
        label = np.array(Image.open(path.parents[1] / "masks" / f"{path.stem}.png"))[::2, ::2].astype(np.int64)
        names.append(path.stem)
        paths.append(small)
        true.append(np.where(label < CLASSES, label, UNKNOWN))
    rng, count = np.random.default_rng([seed, 5]), len(names)
    attributes = {
        "folder": [place * FOLDERS // count for place in range(count)],
        "annotator": [f"annotator {value}" for value in rng.integers(0, ANNOTATORS, count)],
        "batch": [f"batch {value}" for value in rng.integers(0, BATCHES, count)],
        "time": [float(place) for place in range(count)],
    }
    attributes["folder"] = [f"folder {value}" for value in attributes["folder"]]
    return Scenes(names, paths, true, attributes)


def _name(path: Path) -> str:
    return path.name


def plant(scenes: Scenes, rng: np.random.Generator) -> list[Planted]:
    """Draw eight errors; those that move a whole label are put in last. Classes are those of enough of its images."""
    folders, people = rng.permutation(FOLDERS)[:2], rng.permutation(ANNOTATORS)[:4]
    start = int(rng.integers(0, 5))
    time = np.array(scenes.attributes["time"]) / len(scenes.names) * 8
    groups = [
        ("folder", _members(scenes, "folder", folders[0])),
        *(("annotator", _members(scenes, "annotator", who)) for who in people),
        ("time", (time >= start) & (time < start + 2)),
        ("batch", _members(scenes, "batch", rng.integers(0, BATCHES))),
        ("folder", _members(scenes, "folder", folders[1])),
    ]
    angle = rng.uniform(0, 2 * np.pi)
    repairs = [
        Repair("swapped", tuple(sorted(_common(scenes, groups[0][1], rng, 2, 0.03)))),
        Repair("left_out", _common(scenes, groups[1][1], rng, 1, 0.002)),
        Repair("called", _common(scenes, groups[2][1], rng, 2, 0.005)),
        Repair("too_wide", _common(scenes, groups[3][1], rng, 1, 0.005), (2,)),
        Repair("too_narrow", _common(scenes, groups[4][1], rng, 1, 0.005), (2,)),
        Repair("small_left_out", _common(scenes, groups[5][1], rng, 1, 0.002), (SMALL,)),
        Repair("moved", amount=(round(3 * np.sin(angle)), round(3 * np.cos(angle)))),
        Repair("mirrored"),
    ]
    return [Planted(repair, *group) for repair, group in zip(repairs, groups, strict=True)]


def _members(scenes: Scenes, attribute: str, number: int) -> np.ndarray:
    return np.array([value == f"{attribute} {number}" for value in scenes.attributes[attribute]])


def _common(scenes: Scenes, members: np.ndarray, rng: np.random.Generator, number: int, share: float) -> tuple:
    """Classes that take up such a share of at least half of the images of a group."""
    shares = [
        np.bincount(scenes.true[place].ravel() + 1, minlength=CLASSES + 1)[1:] / scenes.true[place].size
        for place in np.flatnonzero(members)
    ]
    often = np.flatnonzero((np.array(shares) >= share).mean(0) >= 0.5)
    return tuple(rng.permutation(often)[:number].tolist())


def with_errors(scenes: Scenes, planted: list[Planted]) -> list[np.ndarray]:
    """The labels with all errors."""
    labels = [label.copy() for label in scenes.true]
    for one in planted:
        for place in np.flatnonzero(one.members):
            labels[place] = wrong(labels[place], one.repair)
    return labels


def wrong(label: np.ndarray, repair: Repair) -> np.ndarray:
    """The label that a repair would mend."""
    opposite = {"too_wide": "too_narrow", "too_narrow": "too_wide"}.get(repair.kind, repair.kind)
    if repair.kind in ("left_out", "small_left_out"):
        inside = label == repair.classes[0]
        parts, _ = ndimage.label(inside)
        gone = inside & (np.bincount(parts.ravel()) < SMALL)[parts] if repair.amount else inside
        nothing = inside | (label == UNKNOWN)
        rows, columns = ndimage.distance_transform_edt(nothing, return_distances=False, return_indices=True)
        return np.where(gone, label[rows, columns], label)
    if repair.kind == "called":
        return np.where(label == repair.classes[0], repair.classes[1], label)
    amount = tuple(-value for value in repair.amount) if repair.kind == "moved" else repair.amount
    return repaired(label, label, Repair(opposite, repair.classes, amount))


def predictions(scenes: Scenes, given: list[np.ndarray], folder: Path, seed: int) -> list[np.ndarray]:
    """Classes by heads that have not seen the folder of an image; kept on disk."""
    kept = folder / "predicted.npy"
    if not kept.exists():
        examples = [
            Example(name, path, np.where(label == UNKNOWN, 255, label).astype(np.uint8), group=group)
            for name, path, label, group in zip(
                scenes.names, scenes.paths, given, scenes.attributes["folder"], strict=True
            )
        ]
        cross_validate_frozen_features(
            examples, folder / "model", num_classes=CLASSES, folds=3, options=QUICK, seed=seed
        )
        items = [ImageItem(name, str(path)) for name, path in zip(scenes.names, scenes.paths, strict=True)]
        found = {
            item.name: np.asarray(probs).argmax(0) for item, probs in load_segmenter(folder / "model").stream(items)
        }
        np.save(kept, np.stack([found[name] for name in scenes.names]).astype(np.uint8))
    return list(np.load(kept).astype(np.int64))


def is_named(planted: Planted, cause: Cause) -> bool:
    """Whether a found cause is the one that was put in."""
    one, other = planted.repair, cause.repair
    if one.kind != other.kind or one.classes != other.classes:
        return False
    if one.kind == "small_left_out":
        near = max(one.amount[0], other.amount[0]) <= 4 * min(one.amount[0], other.amount[0])
    else:
        near = all(abs(first - second) <= 1 for first, second in zip(one.amount, other.amount, strict=True))
    both, either = planted.members & cause.group.members, planted.members | cause.group.members
    return near and both.sum() >= either.sum() / 2


def row(scenes: Scenes, planted: list[Planted], given: list, predicted: list, causes: list[Cause]) -> list[str]:
    """The figures of one seed."""
    named = sum(any(is_named(one, cause) for cause in causes) for one in planted)
    spare = sum(not any(is_named(one, cause) for one in planted) for cause in causes)
    before = wrong_pixels(scenes, given)
    labels = list(given)
    clicks = [cause for cause in causes if cause.pixels >= 1]  # the others are named, and not to be repaired by rule
    for cause in clicks:
        for place in np.flatnonzero(cause.group.members):
            labels[place] = repaired(labels[place], predicted[place], cause.repair)
    mended = before - wrong_pixels(scenes, labels)
    sizes = np.concatenate(
        [
            np.bincount(ndimage.label((label != true) & (true != UNKNOWN))[0].ravel())[1:]
            for label, true in zip(given, scenes.true, strict=True)
        ]
    )
    largest = np.sort(sizes)[::-1][: len(clicks)]
    expected = sum(cause.pixels for cause in causes)
    return [
        f"{named} of {len(planted)}",
        str(spare),
        f"{before:,}",
        f"{mended:,} ({mended / max(before, 1):.0%}; said {expected:,.0f})",
        str(len(clicks)),
        f"{mended / max(len(clicks), 1):,.0f}",
        f"{largest.mean() if largest.size else 0:,.0f}",
    ]


def wrong_pixels(scenes: Scenes, labels: list[np.ndarray]) -> int:
    """Pixels that differ from the truth, where that is known."""
    return sum(
        int(((label != true) & (true != UNKNOWN)).sum()) for label, true in zip(labels, scenes.true, strict=True)
    )


if __name__ == "__main__":
    main()
