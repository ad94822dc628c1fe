"""How well label errors are found: images and regions, on real images and real out-of-sample predictions.

    python benchmarks/detection --data ../shared/data --folder /tmp/detection --json results.json

CamVid: for each seed and architecture a model is trained by two-fold cross-validation on masks with errors in a fifth
of the images (kept in `--folder`, so a second call begins where the first stopped). Then, for each scenario, errors are
put into a fifth of the clean masks of the images that nothing was tuned on, and every score ranks the images, and every
method its regions, by the predictions of the models that have not seen them. VOC: the labels that Grounded-SAM made,
against the ground truth, with a strong outside model and with models trained on those labels by cross-validation; an
image is wrong if more than a tenth of its pixels are. cleanlab runs on the same arrays where its demands are met (equal
sizes, no void: void pixels get the predicted class).

Scenarios: drop, swap and shift as in the paper; local: one object dropped, added, given a wrong class, or its boundary
eroded or dilated by 3 to 6 pixels; mixture: all eight kinds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or training crawls where another program uses a core
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from detection import measures, predictions
from rich.console import Console
from rich.table import Table

from fiftyone_plugin import quality

SCENARIOS = {
    "drop": ["drop"],
    "swap": ["swap"],
    "shift": ["shift"],
    "local": ["drop_object", "add_object", "wrong_class", "erode", "dilate"],
    "mixture": "mixture",
}
WRONG_SHARE = 0.1  # of a machine's label from which on it counts as wrong
COMBINED = "combined (ours)"


def main() -> None:
    """Train what is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--folder", type=Path, required=True, help="for models and predictions, 2 GB a model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--architectures", nargs="+", default=list(predictions.ARCHITECTURES))
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--images", type=int, default=150, help="CamVid images to rank")
    parser.add_argument("--datasets", nargs="+", default=["camvid", "voc"])
    parser.add_argument("--cleanlab", action=argparse.BooleanOptionalAction, default=True, help="compare with it")
    parser.add_argument("--json", type=Path, help="write the figures here, and go on from those that are there")
    options = parser.parse_args()
    if not (options.data / "camvid").is_dir():
        parser.error(f"no camvid/ in {options.data}; pass --data")
    rows = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    if "camvid" in options.datasets:
        measure_camvid(options, rows)
    if "voc" in options.datasets:
        measure_voc(options, rows)
    print_tables(rows)


def measure_camvid(options: argparse.Namespace, rows: dict) -> None:
    """All seeds, architectures and scenarios."""
    collection = predictions.camvid(options.data)
    tuning = collection.tuning()
    report = [picture for picture in collection.pictures if picture.name not in tuning]
    report = report[:: max(1, len(report) // options.images)][: options.images]
    ranked = replace(collection, pictures=tuple(report))
    for seed in options.seeds:
        for architecture in options.architectures:
            noisy = [row[0] for row in predictions.corrupted(collection, "mixture", seed)]
            weights = options.data / "weights" / "mobilenet_v2_imagenet.pth"
            probs = predictions.predictions_of(
                collection, noisy, options.folder, "camvid", architecture, seed, weights=weights, wanted=ranked
            )
            for scenario in options.scenarios:
                cases = predictions.corrupted(ranked, SCENARIOS[scenario], 1000 + seed)
                labels = [case[0] for case in cases]
                changed = [np.zeros(case[0].shape, bool) if case[1] is None else case[1] for case in cases]
                wrong = np.array([case[2] is not None for case in cases])
                key = f"camvid/{scenario}/{architecture}/{seed}"
                measure(options, rows, key, ranked, labels, changed, wrong, probs, with_cleanlab=options.cleanlab)


def measure_voc(options: argparse.Namespace, rows: dict) -> None:
    """The machine's labels, with each model."""
    collection = predictions.voc(options.data)
    labels = [picture.machine_label for picture in collection.pictures]
    weights = options.data / "weights"
    changed, shares = [], []
    for picture in collection.pictures:
        known = (picture.true != predictions.VOID) & (picture.machine_label != predictions.VOID)
        changed.append(known & (picture.machine_label != picture.true))
        shares.append(changed[-1].sum() / max(known.sum(), 1))
    models = {"outside": predictions.outside_predictions(collection, weights, options.folder / "voc-outside")}
    for architecture in options.architectures:
        models[architecture] = predictions.predictions_of(
            collection, labels, options.folder, "voc", architecture, 0,
            weights=weights / "mobilenet_v2_imagenet.pth", epochs=8, wanted=collection,
        )  # fmt: skip
    for name, probs in models.items():
        wrong = np.array(shares) > WRONG_SHARE
        measure(options, rows, f"voc/real/{name}/0", collection, labels, changed, wrong, probs, with_cleanlab=False)


def measure(options, rows, key, collection, labels, changed, wrong, probs, *, with_cleanlab: bool) -> None:
    """Rank images and regions by every method; one row of figures, saved at once."""
    if key in rows:
        return
    names = [picture.name for picture in collection.pictures]
    stream = [probs[name] for name in names] if with_cleanlab else _Lazy(probs, names)
    scores = quality.image_scores(labels, stream, quality.METHODS)
    verdict = quality.judge_labels(labels, stream)
    scores[COMBINED] = verdict.scores
    flags = quality.label_issues(labels, stream)
    if with_cleanlab:
        scores |= cleanlab_scores(labels, stream, flags)
    parts = [
        measures.error_parts(label, picture.true, pixels)
        for label, picture, pixels in zip(labels, collection.pictures, changed, strict=True)
    ]
    rankings = {name: measures.RegionRanking() for name in ("ours", "ours, fixed score", "flags", "flags by mean")}
    by_image = defaultdict(list)
    for region in verdict.regions:
        by_image[region.image_index].append((region.bbox, region.mask, region.score))
    for index, label in enumerate(labels):
        maps = quality.image_record(label, stream[index])
        fixed = quality.image_regions(label, maps)
        strength = np.nan_to_num(maps.maps.best_probability - maps.maps.self_confidence)
        smallest = max(1, label.size // quality.SMALLEST_SHARE)
        flagged = measures.flagged_regions(flags[index], strength, smallest)
        rankings["ours"].add(index, parts[index], by_image[index])
        rankings["ours, fixed score"].add(index, parts[index], [(r.bbox, r.mask, r.score) for r in fixed])
        rankings["flags"].add(index, parts[index], flagged)
        rankings["flags by mean"].add(index, parts[index], [(b, m, s / m.sum()) for b, m, s in flagged])
    rehearsed = verdict.judge.rehearsed
    rows[key] = {
        "images": {name: measures.image_measures(wrong, values) for name, values in scores.items()},
        "regions": {name: ranking.measures() for name, ranking in rankings.items()},
        "model": {
            "mean IoU": probs.mean_iou,
            "wrong share, estimated": verdict.wrong_share,
            "wrong share, true": float(sum(p.sum() for p in changed) / sum((lab != 255).sum() for lab in labels)),
            "rehearsed AUROC": rehearsed.auroc if rehearsed else float("nan"),
            "warned": verdict.warning is not None,
        },
    }
    best = max(rows[key]["images"][m]["AUPRC"] for m in quality.PAPER_METHODS)
    ours, flagged_ap = rows[key]["images"][COMBINED]["AUPRC"], rows[key]["regions"]["flags"]["AP"]
    print(f"{key}: AUPRC {ours:.3f}, best of the seven {best:.3f}; region AP {rows[key]['regions']['ours']['AP']:.3f}, "
          f"flags {flagged_ap:.3f}", flush=True)  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


class _Lazy(Sequence):
    """Predictions read from disk one at a time, as often as asked."""

    def __init__(self, probs, names):
        self._probs, self._names = probs, names

    def __len__(self):
        return len(self._names)

    def __getitem__(self, index):
        return self._probs[self._names[index]]


def cleanlab_scores(labels, probs, our_flags) -> dict[str, np.ndarray]:
    """Both image scores of cleanlab; its flags must be ours, so that "flags" stands for both."""
    from cleanlab.segmentation.filter import find_label_issues
    from cleanlab.segmentation.rank import get_label_quality_scores

    stack = np.stack(probs)
    filled = np.stack([np.where(label == 255, p.argmax(axis=0), label) for label, p in zip(labels, probs, strict=True)])
    softmin, _ = get_label_quality_scores(filled, stack, method="softmin", verbose=False)
    flags = find_label_issues(filled, stack, n_jobs=1, verbose=False)
    differing = float((flags != np.stack(our_flags)).mean())
    if differing > 0.01:
        raise RuntimeError(f"cleanlab flags other pixels: {differing:.2%}")
    return {"cleanlab softmin": softmin, "cleanlab num_pixel_issues": 1 - flags.mean(axis=(1, 2))}


def print_tables(rows: dict) -> None:
    """Means and ranges over seeds and architectures."""
    console = Console(width=150)
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {len(rows)} runs")
    models = defaultdict(dict)
    for key, row in rows.items():
        dataset, _, model, _ = key.split("/")
        models[model if dataset == "camvid" else "VOC"][key] = row
    for model, found in models.items():
        print_model(console, model, found)


def print_model(console: Console, title: str, rows: dict) -> None:
    """The tables of one model, by scenario; those of VOC by model."""
    groups: dict[str, list[dict]] = defaultdict(list)
    for key, row in rows.items():
        dataset, scenario, model, _ = key.split("/")
        groups[scenario if dataset == "camvid" else model].append(row)
    for kind, measure_names in (
        ("images", ("AUPRC", "AUROC", "Lift@T")),
        ("regions", ("AP", "precision@50", "precision@100", "recall")),
        ("model", ("mean IoU", "wrong share, estimated", "wrong share, true", "rehearsed AUROC")),
    ):
        for name in measure_names:
            table = Table(title=f"{title}: {kind}, {name}, mean (lowest to highest) over seeds")
            table.add_column("")
            for group in groups:
                table.add_column(group, justify="right")
            entries = list(dict.fromkeys(e for found in groups.values() for row in found for e in row[kind]))
            for entry in entries if kind != "model" else [name]:
                cells = []
                for found in groups.values():
                    values = [row[kind][entry] if kind == "model" else row[kind][entry][name] for row in found
                              if entry in row[kind]]  # fmt: skip
                    cells.append(spread(values))
                table.add_row(entry, *cells)
            console.print(table)


def spread(values: list[float]) -> str:
    """Mean and range."""
    if not values:
        return "-"
    return f"{statistics.mean(values):.3f}" + (f" ({min(values):.3f}-{max(values):.3f})" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
