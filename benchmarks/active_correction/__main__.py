"""How far labels get with few questions: data mIoU per round on real machine-made labels, with a simulated annotator.

    python benchmarks/active_correction --folder /tmp/correction --json results.json --data ../shared/data
    python benchmarks/active_correction --folder ... --json ... --images all --annotators honest
    python benchmarks/active_correction --folder ... --json ... --gpu                     # trains a whole network

300 PASCAL VOC images with the labels that Grounded-SAM made, published by the authors of Active Label Correction. Each
round trains on the labels as corrected so far, predicts every image by a network that has not seen it, chooses
questions, and applies the answers; the budget is 1,000 questions a round for 1,464 images. Data mIoU is that of the
label maps with the ground truth, which only the annotator sees. On two CPU cores the network is a small head on frozen
features of an ImageNet MobileNetV2; `--gpu` trains DeepLabV3+ with ResNet-101 for 30,000 iterations.

Methods were decided on with 100 images (`--images tuning`); the results are those of the other 200 (`held_out`).
A second call goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or training crawls where another program uses a core
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from active_correction import collection as pictures
from active_correction import segmenter
from active_correction.features import read_features
from active_correction.head import HeadTraining, predict
from active_correction.rounds import EVERY, Map, Method, Predict, run_rounds
from rich.console import Console
from rich.table import Table

from fiftyone_plugin.correction.answers.annotators import Annotator, HonestAnnotator, MajorityOracle, PublishedOracle
from fiftyone_plugin.correction.questions.candidates import Candidates
from fiftyone_plugin.correction.superpixels.methods import fill_gaps, image_superpixels

METHODS = {
    "random": Method("sam", "random", memory=False),
    "cil": Method("sam", "cil", memory=False),
    "sim": Method("sam", "sim", memory=False),
    "sim, memory": Method("sam", "sim"),
    "balanced": Method("sam", "balanced"),
    "a2lc": Method("sam", "balanced", relabel="a2lc"),
    "repair": Method("sam", "expected_repair", by_second=False),
    "beliefs": Method("sam", "expected_repair", beliefs=True, by_second=False),
    "filled": Method("filled", "expected_repair", beliefs=True, by_second=False),
    "slic": Method("slic", "expected_repair", beliefs=True, by_second=False),
    "ours": Method("filled", "expected_repair", beliefs=True, replans=4, by_second=False),
    "ours, doubting": Method("filled", "expected_repair", beliefs=True, replans=4, by_second=False, doubt_answers=0.05),
    "ours, weighing": Method(
        "filled", "expected_repair", beliefs=True, replans=4, by_second=False, weigh_answers=True, closing=3
    ),
    "ours, by second": Method("filled", "expected_repair", beliefs=True, replans=4),
}
PUBLISHED = {"random": "published", "cil": "published", "sim": "published", "sim, memory": "published"}
MAIN = ("random", "cil", "sim", "a2lc", "ours")
QUESTIONS_PER_IMAGE = 1000 / 1464


def make_annotator(name: str, num_classes: int, seed: int, sitting: int) -> Annotator:
    """An annotator by name.

    Args:
        name: "published", "majority", "honest", "refining", "erring" (5 % slips), "erring10", "tiring" (5 % on average,
            from none to 10 % in each round) or "tiring10"
        num_classes: K
        seed: of errors
        sitting: answers of a round
    """
    makers = {
        "published": PublishedOracle,
        "majority": MajorityOracle,
        "honest": lambda: HonestAnnotator(num_classes, seed=seed),
        "refining": lambda: HonestAnnotator(num_classes, refine=True, seed=seed),
        "erring": lambda: HonestAnnotator(num_classes, error_rate=0.05, seed=seed),
        "erring10": lambda: HonestAnnotator(num_classes, error_rate=0.1, seed=seed),
        "tiring": lambda: HonestAnnotator(num_classes, error_rate=0.05, tires_over=sitting, seed=seed),
        "tiring10": lambda: HonestAnnotator(num_classes, error_rate=0.1, tires_over=sitting, seed=seed),
    }
    return makers[name]()


@dataclass(frozen=True, eq=False)
class Bench:
    """What all runs share.

    Attributes:
        collection: the images
        segments: superpixels of each image by kind
        predictor: seed to what trains and predicts
        rounds: of correction
        first: candidates before any answer by (kind, seed)
    """

    collection: pictures.Collection
    segments: dict[str, list[Map]]
    predictor: Any
    rounds: int
    first: dict[tuple[str, int], list[Candidates]] = field(default_factory=dict)

    def run(self, name: str, who: str, share: float, seed: int) -> dict[str, Any]:
        """Correct with one method and return the figures of each round.

        Args:
            name: of the method
            who: the annotator
            share: of the published budget
            seed: of everything drawn
        """
        method, images = METHODS[name], self.collection.pictures
        classes = len(self.collection.class_names)
        train: Predict = self.predictor(seed)
        budget = round(QUESTIONS_PER_IMAGE * len(images) * share)
        began = time.monotonic()
        found = run_rounds(
            [picture.start for picture in images],
            self.segments[method.superpixels],
            [picture.true for picture in images],
            classes,
            method,
            make_annotator(who, classes, seed, budget),
            train,
            budget=budget,
            rounds=self.rounds,
            seed=seed,
            first_candidates=self.first.setdefault((method.superpixels, seed), []),
        )
        return {
            "miou": [pictures.mean_iou(self.collection, each.labels) for each in found],
            "accuracy": [pictures.accuracy(self.collection, each.labels) for each in found],
            "cost": [asdict(each.cost) for each in found],
            "relabelled": [each.relabelled for each in found],
            "seconds": time.monotonic() - began,
        }


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--folder", type=Path, required=True, help="for features, superpixels and networks, 1 GB")
    parser.add_argument("--json", type=Path, help="write the figures here, and go on from those that are there")
    parser.add_argument("--images", default="held_out", choices=["held_out", "tuning", "all"])
    parser.add_argument("--methods", nargs="+", default=list(MAIN), choices=list(METHODS))
    parser.add_argument(
        "--annotators",
        nargs="+",
        default=["own"],
        help="own, published, majority, honest, refining, erring, erring10, tiring, tiring10",
    )
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0], help="of the published budget")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, help="use only so many images, to try it out")
    parser.add_argument("--in-sample", action="store_true", help="predict what was trained on, as published")
    parser.add_argument("--gpu", action="store_true", help="train a whole network instead of a head")
    parser.add_argument("--encoder", default="resnet101", help="of the whole network")
    parser.add_argument("--weights", help="of its encoder, ImageNet's by default; 'none' for random ones")
    parser.add_argument("--iterations", type=int, default=30_000, help="of the whole network")
    parser.add_argument("--crop", type=int, default=513, help="of the whole network")
    options = parser.parse_args()
    if not (options.data / "voc_grounded_sam").is_dir():
        parser.error(f"no voc_grounded_sam/ in {options.data}; pass --data")
    rows = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    bench = prepare(options)
    print_ceilings(bench)
    model = ("network" if options.gpu else "head") + (", in sample" if options.in_sample else "")
    for seed in options.seeds:
        for name in options.methods:
            for who in options.annotators:
                for share in options.shares:
                    actual = PUBLISHED.get(name, "majority" if METHODS[name].relabel == "a2lc" else "honest")
                    actual = actual if who == "own" else who
                    key = f"{options.images}/{model}/{actual}/{name}/{share:g}/{seed}"
                    if key not in rows:
                        rows[key] = bench.run(name, actual, share, seed)
                        print(key, " ".join(f"{100 * value:.1f}" for value in rows[key]["miou"]), flush=True)
                    if options.json:
                        options.json.write_text(json.dumps(rows))
    print_table(rows)


def prepare(options: argparse.Namespace) -> Bench:
    """Read images, superpixels and features.

    Args:
        options: of the command
    """
    whole = pictures.read_collection(options.data)
    part = whole.part(options.images)
    if options.limit:
        part = pictures.Collection(part.class_names, part.pictures[: options.limit])
    classes = len(part.class_names)
    segments = read_superpixels(part.pictures, options.folder / "superpixels")
    folds = 1 if options.in_sample else 2
    if options.gpu:
        weights = {None: "imagenet", "none": None}.get(options.weights, options.weights)
        training = segmenter.NetworkTraining(
            encoder=options.encoder, weights=weights, iterations=options.iterations, crop=options.crop
        )
        return Bench(part, segments, lambda seed: lambda labels, number: segmenter.predict(
            part.pictures, labels, classes, training, options.folder / "network", seed=seed * 100 + number, every=EVERY
        ), options.rounds)  # fmt: skip
    torch.set_num_threads(1)
    weights = options.data / "weights" / "mobilenet_v2_imagenet.pth"
    known = {picture.name for picture in part.pictures}
    features = [
        each
        for picture, each in zip(
            whole.pictures, read_features(whole.pictures, weights, options.folder / "features"), strict=True
        )
        if picture.name in known
    ]
    return Bench(part, segments, lambda seed: lambda labels, number: predict(
        features, labels, classes, HeadTraining(folds=folds), seed=seed * 100 + number, every=EVERY
    ), options.rounds)  # fmt: skip


def read_superpixels(images: Sequence[pictures.Picture], folder: Path) -> dict[str, list[Map]]:
    """SAM's segments, the same with their gaps filled, and SLIC, made once.

    Args:
        images: the images
        folder: where to keep what was made
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Map]] = {"sam": [], "filled": [], "slic": []}
    for picture in images:
        path = folder / f"{picture.name}.npz"
        if not path.exists():
            image = picture.image
            np.savez_compressed(path, filled=fill_gaps(picture.segments, image), slic=image_superpixels(image))
        with np.load(path) as kept:
            found["sam"].append(picture.segments)
            found["filled"].append(kept["filled"])
            found["slic"].append(kept["slic"])
    return found


def print_ceilings(bench: Bench) -> None:
    """The best data mIoU that one class for each superpixel can reach.

    Args:
        bench: with superpixels
    """
    classes = len(bench.collection.class_names)
    for kind, segments in bench.segments.items():
        best = [
            pictures.ceiling(picture, ids, classes)
            for picture, ids in zip(bench.collection.pictures, segments, strict=True)
        ]
        count = sum(len(np.unique(ids[ids > 0])) for ids in segments)
        iou, right = pictures.mean_iou(bench.collection, best), pictures.accuracy(bench.collection, best)
        print(f"{kind}: {count} superpixels, ceiling {100 * iou:.1f}, accuracy {100 * right:.1f}", flush=True)


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """Means over seeds.

    Args:
        rows: figures by key
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for key, row in rows.items():
        groups.setdefault(key.rsplit("/", 1)[0], []).append(row)
    rounds = max(len(row["miou"]) for row in rows.values())
    table = Table(title="data mIoU by round, mean over seeds (deviation), and cost of all answers")
    for title in (
        "run",
        "seeds",
        *(str(number) for number in range(rounds)),
        "right",
        "queries",
        "confirmed",
        "bits",
        "s",
    ):
        table.add_column(title)
    for name, group in groups.items():
        ious = [
            mean_and_spread([100 * row["miou"][number] for row in group]) for number in range(len(group[0]["miou"]))
        ]
        costs = [row["cost"][-1] for row in group]
        mean = {what: statistics.mean(cost[what] for cost in costs) for what in costs[0]}
        right = statistics.mean(100 * row["accuracy"][-1] for row in group)
        last = (f"{right:.1f}", *(f"{mean[what]:.0f}" for what in ("queries", "confirmed", "bits", "seconds")))
        table.add_row(name, str(len(group)), *ious, *[""] * (rounds - len(ious)), *last)
    Console(width=200).print(table)


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean, and the deviation where there are several.

    Args:
        values: one per seed

    Example:
        >>> mean_and_spread([80.0, 82.0])
        '81.0 (1.4)'
    """
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({statistics.stdev(values):.1f})"


if __name__ == "__main__":
    main()
