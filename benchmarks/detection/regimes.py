"""How well the judge finds errors of one kind at a time: a strong model on VOC, with errors put into its ground truth.

    python benchmarks/detection/regimes.py --data ../shared/data --folder /tmp/detection --part report --images 50

The model is the outside one of `benchmarks/detection`; its predictions are kept in `--folder`. In each regime a fifth
of the labels get one error. Labels without one are measured once for all regimes, so this is quick: seconds an image,
not minutes. `--part tuning` takes two thirds of the images, by number, and was used to decide; `report` the others.
The last regime is the labels that Grounded-SAM made: an image is wrong if more than a tenth of its pixels are.
Printed are AUPRC of the images by softmin, by the confidence in the label and by the combined ranking; average
precision of the regions by the fixed score and by the judge; how many regions are errors, how many the scores expect,
and how many of those that are more likely wrong than right are errors; the share of the found dropped, added and
flipped objects that have the right kind; and the share of wrong pixels, estimated and true.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from detection import measures, predictions
from rich.console import Console
from rich.table import Table

from fiftyone_plugin import quality
from fiftyone_plugin.quality.known_errors.errors import inject_error, plan_errors

LOCAL = ["drop_object", "add_object", "wrong_class", "erode", "dilate"]
REGIMES = {
    "dropped": ["drop_object"],
    "added": ["add_object"],
    "flipped": ["wrong_class"],
    "border": ["erode", "dilate"],
    "local": LOCAL,
    "mixture": "mixture",
    "drop": ["drop"],
    "swap": ["swap"],
    "shift": ["shift"],
}
RIGHT_KIND = {"drop_object": "missing", "add_object": "spurious", "wrong_class": "wrong_class"}
COLUMNS = (
    "softmin", "confidence", "combined", "regions, fixed", "regions", "errors", "expected", "likely", "of them right",
    "right kind", "estimated share", "true share",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One label against one prediction."""

    record: quality.ImageRecord
    regions: quality.ImageRegions
    rehearsals: list[quality.Rehearsal]
    parts: np.ndarray
    wrong: bool
    kind: str | None


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--part", choices=["tuning", "report"], default="report")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    collection = predictions.voc(options.data)
    probs = predictions.outside_predictions(collection, options.data / "weights", options.folder / "voc-outside")
    pictures = [p for place, p in enumerate(collection.pictures) if (place % 3 == 2) == (options.part == "report")]
    pictures = pictures[:: max(1, len(pictures) // options.images)][: options.images]
    table = Table("", *COLUMNS, title=f"{len(pictures)} images of the {options.part} part, seed {options.seed}")
    clean = [measured(p.true, probs[p.name], p, place, len(pictures), None) for place, p in enumerate(pictures)]
    for name, kinds in REGIMES.items():
        cases = list(corrupted(pictures, clean, probs, kinds, options.seed))
        table.add_row(name, *figures(cases))
    machine = [
        measured(p.machine_label, probs[p.name], p, place, len(pictures), None) for place, p in enumerate(pictures)
    ]
    table.add_row("Grounded-SAM", *figures(machine))
    Console(width=190).print(table)


def corrupted(pictures, clean, probs, kinds, seed) -> Iterator[Measured]:
    """Put one error into a fifth of the labels; the others are as they were measured."""
    plan = plan_errors(len(pictures), 0.2, kinds, 1000 + seed)
    for place, (picture, kind) in enumerate(zip(pictures, plan, strict=True)):
        error = None
        if kind is not None:
            rng = np.random.default_rng([1000 + seed, place])
            error = inject_error(picture.true, kind, rng, class_ids=range(21), ignore_index=predictions.VOID)
        if error is None:
            yield clean[place]
        else:
            yield measured(error.mask, probs[picture.name], picture, place, len(pictures), error.kind)


def measured(label, probs, picture, place: int, total: int, kind: str | None) -> Measured:
    """Everything that is known of one label."""
    record = quality.image_record(label, probs)
    regions = quality.image_regions(label, record, image_index=place)
    rehearsals = quality.rehearse(label, probs, count=quality.rehearsals_of(place, total), seed=(0, place))
    changed = (label != picture.true) & (label != predictions.VOID) & (picture.true != predictions.VOID)
    parts = measures.error_parts(label, picture.true, changed)
    wrong = kind is not None or changed.mean() > 0.1
    return Measured(record.without_maps(), regions, rehearsals, parts, wrong, kind)


def figures(cases: list[Measured]) -> list[str]:
    """One row of the table."""
    evidence = quality.Evidence(cases[0].record.num_classes)
    for place, case in enumerate(cases):
        evidence.add(f"{place:09d}", case.record, case.regions, case.rehearsals)
    judge = evidence.judge()
    combined = judge.image_scores()
    wrong = np.array([case.wrong for case in cases])
    sums = [case.record.sums.self_confidence.sum() / max(case.record.num_valid, 1) for case in cases]
    scores = {
        "softmin": np.array([case.record.scores["softmin"] for case in cases]),
        "confidence": np.array(sums),
        "combined": np.array([combined[key] for key in sorted(combined)]),
    }
    rankings = {name: measures.RegionRanking() for name in ("fixed", "judge")}
    right: list[bool] = []
    for place, case in enumerate(cases):
        typed = case.regions.retyped(judge.scorer.background)
        found = judge.region_scores(f"{place:09d}", case.regions)
        fixed = quality.region_scores(case.regions.features)
        for ranking, values in zip(rankings.values(), (fixed, found), strict=True):
            before = len(ranking.hits)
            rows = [(r.bbox, r.mask, float(v)) for r, v in zip(typed, values, strict=True)]
            ranking.add(place, case.parts, rows)
        hits = rankings["judge"].hits[before:]
        if case.kind in RIGHT_KIND:
            right += [r.kind == RIGHT_KIND[case.kind] for r, hit in zip(typed, hits, strict=True) if hit]
    values = np.array(rankings["judge"].scores)
    hits = np.array([hit is not None for hit in rankings["judge"].hits])
    likely = values >= quality.LIKELY
    pixels = sum(case.record.num_valid for case in cases)
    return [
        *(f"{measures.image_measures(wrong, found)['AUPRC']:.3f}" for found in scores.values()),
        *(f"{ranking.measures()['AP']:.3f}" for ranking in rankings.values()),
        f"{hits.sum()} of {hits.size}",
        f"{values.sum():.1f}",
        f"{likely.sum()}",
        f"{hits[likely].sum()}",
        f"{np.mean(right):.2f} of {len(right)}" if right else "-",
        f"{judge.wrong_share:.4f}",
        f"{sum(int((case.parts > 0).sum()) for case in cases) / pixels:.4f}",
    ]


if __name__ == "__main__":
    main()
