"""Labels with known errors beside real predictions, measured once, so that many judges can be tried on them."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from detection import measures, predictions

from fiftyone_plugin import quality
from fiftyone_plugin.quality.known_errors.errors import inject_error, plan_errors

LOCAL = ["drop_object", "add_object", "wrong_class", "erode", "dilate"]
MACHINE = "machine"  # one connected error of the machine's label, before the true label
SMALL = 90  # pixels of the smallest error of the regime "small"
REGIMES = {
    "dropped": ["drop_object"],
    "added": ["add_object"],
    "flipped": ["wrong_class"],
    "border": ["erode", "dilate"],
    "local": LOCAL,
    "small": LOCAL,
    MACHINE: [MACHINE],
    "mixture": "mixture",
    "drop": ["drop"],
    "swap": ["swap"],
    "shift": ["shift"],
}
MODELS = ("voc-outside", "voc-frozen_features", "camvid-frozen_features", "camvid-deeplabv3plus", "camvid-fpn")
CAMVID_STEP = 3  # every so many frames: neighbours are almost alike
WRONG_SHARE = 0.1  # of a machine's label from which on its image counts as wrong


@dataclass(frozen=True)
class Source:
    """Images with a model's predictions.

    Attributes:
        name: of `MODELS`
        pictures: those to look at
        probs: predictions by name of a picture
        num_classes: of the dataset
    """

    name: str
    pictures: tuple[predictions.Picture, ...]
    probs: predictions.Predictions | predictions.MeanPredictions
    num_classes: int

    @property
    def has_machine_labels(self) -> bool:
        """Whether there are labels that a machine has made."""
        return self.pictures[0].machine_label is not None

    def regimes(self) -> list[str]:
        """The regimes that can be tried."""
        return [name for name in REGIMES if name != MACHINE or self.has_machine_labels]


@dataclass(frozen=True)
class Case:
    """One label against one prediction.

    Attributes:
        record: of the image
        regions: of the image
        rehearsals: of the image
        hits: for each region the error that it has found, or None
        pairs: its given and its true class, or None
        objects: as `hits`, where connected wrong pixels are one error, whatever their classes
        sizes: pixels of the errors by number; the first is not an error
        object_sizes: the same of connected wrong pixels
        wrong: whether the label counts as wrong
        wrong_pixels: how many are
        kind: of the error that was put in, or None
    """

    record: quality.ImageRecord
    regions: quality.ImageRegions
    rehearsals: Sequence[quality.Rehearsal]
    hits: list[int | None]
    pairs: list[tuple[int, int] | None]
    objects: list[int | None]
    sizes: np.ndarray
    object_sizes: np.ndarray
    wrong: bool
    wrong_pixels: int
    kind: str | None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what chooses images."""
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--folder", type=Path, required=True, help="for models and predictions")
    parser.add_argument("--part", choices=["tuning", "report"], default="report")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="skip so many images, for others than a call before")


def source(name: str, options: argparse.Namespace) -> Source:
    """The images of one part, and what a model says of them; trained and kept in the folder if need be."""
    dataset, architecture = name.split("-")
    weights = options.data / "weights"
    collection = predictions.voc(options.data) if dataset == "voc" else predictions.camvid(options.data, CAMVID_STEP)
    if architecture == "outside":
        probs = predictions.outside_predictions(collection, weights, options.folder / name)
    else:
        labels = [picture.machine_label for picture in collection.pictures]
        if dataset == "camvid":
            labels = [row[0] for row in predictions.corrupted(collection, "mixture", 0)]
        probs = predictions.predictions_of(
            collection, labels, options.folder, dataset, architecture, 0,
            weights=weights / "mobilenet_v2_imagenet.pth", wanted=collection,
        )  # fmt: skip
    pictures = _part(collection, options.part)
    step = max(1, len(pictures) // options.images)
    kept = tuple(pictures[options.first :: step][: options.images])
    return Source(name, kept, probs, len(collection.class_names))


def _part(collection: predictions.Collection, part: str) -> list[predictions.Picture]:
    """Two thirds of the groups for tuning; of the others those that no earlier benchmark was tuned on."""
    groups = sorted({picture.group for picture in collection.pictures})
    reported = set(groups[2::3])
    if part == "tuning":
        return [picture for picture in collection.pictures if picture.group not in reported]
    earlier = collection.tuning() if collection.name == "camvid" else set()
    return [p for p in collection.pictures if p.group in reported and p.name not in earlier]


def labels_in_question(
    collection: predictions.Collection, kinds: str | list[str], seed: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """The machine's labels where there are some, otherwise true ones with errors, and which labels are wrong."""
    pictures = collection.pictures
    if pictures[0].machine_label is None:
        drawn = predictions.corrupted(collection, kinds, seed)
        return [label.astype(np.uint8) for label, _, _ in drawn], np.array([kind is not None for *_, kind in drawn])
    labels = [picture.machine_label for picture in pictures]
    known = [picture.true != predictions.VOID for picture in pictures]
    shares = [
        ((label != picture.true) & where).sum() / where.sum()
        for label, picture, where in zip(labels, pictures, known, strict=True)
    ]
    return labels, np.array(shares) > WRONG_SHARE


def kept_cases(path: Path, made: Callable[[], Iterable[Case]]) -> list[Case]:
    """What was measured before, or is measured now and kept: the code of regions and rehearsals must be the same."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(list(made())))
    found: list[Case] = pickle.loads(path.read_bytes())
    return found


def clean_cases(made: Source) -> list[Case]:
    """The true labels."""
    return [measured(made, picture.true, place, None) for place, picture in enumerate(made.pictures)]


def machine_cases(made: Source) -> list[Case]:
    """The labels that a machine has made."""
    return [measured(made, picture.machine_label, place, None) for place, picture in enumerate(made.pictures)]


def corrupted_cases(made: Source, clean: Sequence[Case], regime: str, seed: int) -> Iterator[Case]:
    """Put one error into a fifth of the labels; the others are as they were measured."""
    plan = plan_errors(len(clean), 0.2, "drop" if regime == MACHINE else REGIMES[regime], 1000 + seed)
    for place, (picture, kind) in enumerate(zip(made.pictures, plan, strict=True)):
        found = None
        if kind is not None:
            rng = np.random.default_rng([1000 + seed, place])
            found = _corrupted(made, picture, regime, kind, rng)
        yield clean[place] if found is None else measured(made, found[0], place, found[1])


def _corrupted(made: Source, picture, regime: str, kind: str, rng) -> tuple[np.ndarray, str] | None:
    if regime == MACHINE:
        return _machine_error(picture, rng)
    smallest = {"min_area": SMALL, "max_object_share": 0.01} if regime == "small" else {}
    error = inject_error(
        picture.true, kind, rng, class_ids=range(made.num_classes), ignore_index=predictions.VOID, **smallest
    )
    return None if error is None else (error.mask, error.kind)


def _machine_error(picture, rng) -> tuple[np.ndarray, str] | None:
    """One connected error of the machine's label, of at least `MIN_AREA` pixels and at most a tenth of the image."""
    parts = measures.error_parts(picture.machine_label, picture.true, _wrong(picture.machine_label, picture.true))
    sizes = np.bincount(parts.reshape(-1))
    sizes[0] = 0
    fitting = np.flatnonzero((sizes >= measures.MIN_AREA) & (sizes <= parts.size // 10))
    if not fitting.size:
        return None
    at = parts == rng.choice(fitting)
    return np.where(at, picture.machine_label, picture.true), MACHINE


def _wrong(label: np.ndarray, true: np.ndarray) -> np.ndarray:
    return (label != true) & (label != predictions.VOID) & (true != predictions.VOID)


def measured(made: Source, label: np.ndarray, place: int, kind: str | None) -> Case:
    """Everything that is known of one label."""
    picture = made.pictures[place]
    probs = made.probs[picture.name]
    record = quality.image_record(label, probs, methods=quality.METHODS)
    scene = quality.Scene.of(label, record.maps)
    regions = quality.regions_of_scene(scene, image_index=place)
    count = quality.rehearsals_of(place, len(made.pictures))
    rehearsals = quality.rehearse_in_scene(scene, label, probs, count=count, seed=(0, place))
    changed = _wrong(label, picture.true)
    parts = measures.error_parts(label, picture.true, changed)
    objects = measures.connected(changed)
    boxes = [(region.bbox, region.mask) for region in regions]
    hits = measures.region_hits(parts, boxes)
    firsts = dict(zip(*np.unique(parts, return_index=True), strict=True))
    pairs = [
        None if hit is None else (int(label.flat[firsts[hit]]), int(picture.true.flat[firsts[hit]])) for hit in hits
    ]
    return Case(
        record.without_maps(),
        replace(regions, regions=tuple(replace(region, mask=region.mask[:0]) for region in regions)),
        rehearsals,
        hits,
        pairs,
        measures.region_hits(objects, boxes),
        np.bincount(parts.reshape(-1)),
        np.bincount(objects.reshape(-1)),
        kind is not None or changed.mean() > WRONG_SHARE,
        int(changed.sum()),
        kind,
    )
