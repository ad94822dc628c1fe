"""How well the judge finds errors of one kind at a time, how far its numbers can be trusted, and when it warns.

    python benchmarks/detection/regimes.py --data ../shared/data --folder /tmp/detection --json rows.json

Models: on VOC the outside one of `benchmarks/detection` and heads on frozen features, trained across folds on the
labels that Grounded-SAM made; on CamVid, every third frame, heads on frozen features, and on demand networks, trained
across folds with an error in a fifth of the labels. Predictions are kept in `--folder`. In each regime a fifth of the
labels get one error; "small" are single objects of 90 pixels to a hundredth of the image, "machine" is one connected
error of a Grounded-SAM label. Clean labels, and all of Grounded-SAM's (an image is wrong if more than a tenth of its
pixels are), are rows of their own. Labels without an error are measured once for all regimes, and what was
measured is kept in `--folder`/cases for other judges: remove it when the code of regions or of rehearsed errors has
changed. `--part tuning` takes two thirds of the images (of CamVid's blocks of consecutive frames) and was used to
decide; `report` the others.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from detection import cases, measures
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau
from sklearn.metrics import roc_auc_score

from fiftyone_plugin import quality

RIGHT_KIND = {"drop_object": "missing", "add_object": "spurious", "wrong_class": "wrong_class"}
SCORE_BINS = (0.0, 0.1, 0.5, 1.0)
SIZE_BINS = (50, 200, 1000, 1 << 31)
GUESSING = 0.6  # AUROC of the images up to which a model cannot judge these errors
ASKED = {
    "dropped": "forgotten",
    "added": "invented",
    "flipped": "objects of a wrong class",
    "border": "borders",
    "small": "up to",
}  # what a warning says of the errors of a regime
TABLES = {
    "images": ("AUPRC", "best single", "best AUPRC", "AUROC", "rehearsed AUROC", "tau", "tau of confidence"),
    "regions": ("AP", "AP, fixed score", "AP by object", "recall 50-", "recall 200-", "recall 1000-", "right kind"),
    "calibration": (
        "errors", "expected", "errors 0.1-", "expected 0.1-", "errors 0.5-", "expected 0.5-", "of missing",
        "expected of missing", "of spurious", "expected of spurious", "of wrong_class", "expected of wrong_class",
        "of boundary", "expected of boundary",
    ),
    "wrong share": ("true", "estimated", "lowest", "highest", "covered", "warned", "named", "guessing"),
}  # fmt: skip


def main() -> None:
    """Measure what is missing, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cases.add_options(parser)
    parser.add_argument("--models", nargs="+", default=list(cases.MODELS[:3]), choices=cases.MODELS)
    parser.add_argument("--regimes", nargs="+", default=list(cases.REGIMES), choices=list(cases.REGIMES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the figures here, and go on from those that are there")
    options = parser.parse_args()
    rows = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    for model in options.models:
        measure(model, options, rows)
    print_tables(rows, options.part)


def measure(model: str, options: argparse.Namespace, rows: dict) -> None:
    """All regimes of a model."""
    made = cases.source(model, options)
    folder = options.folder / "cases" / f"{model}-{options.part}-{options.images}-{options.first}"
    clean = cases.kept_cases(folder / "clean-0", lambda: cases.clean_cases(made))
    add(rows, f"{model}/clean/0", clean, options.json)
    if made.has_machine_labels:
        machine = cases.kept_cases(folder / "machine-0", lambda: cases.machine_cases(made))
        add(rows, f"{model}/Grounded-SAM/0", machine, options.json)
    for seed, regime in itertools.product(options.seeds, made.regimes()):
        key = f"{model}/{regime}/{seed}"
        if regime in options.regimes and key not in rows:
            drawn = functools.partial(cases.corrupted_cases, made, clean, regime, seed)
            add(rows, key, cases.kept_cases(folder / f"{regime}-errors-{seed}", drawn), options.json)


def add(rows: dict, key: str, found: Sequence[cases.Case], path: Path | None) -> None:
    """One row of figures, saved at once."""
    rows[key] = figures(found, key.split("/")[1])
    if path:
        path.write_text(json.dumps(rows, indent=1))


def judged(found: Sequence[cases.Case]) -> quality.Judge:
    """What the judge makes of the labels."""
    evidence = quality.Evidence(found[0].record.num_classes)
    for place, case in enumerate(found):
        evidence.add(f"{place:09d}", case.record, case.regions, case.rehearsals)
    return evidence.judge()


def figures(found: Sequence[cases.Case], regime: str) -> dict[str, float | str]:
    """One row."""
    judge = judged(found)
    return {
        **image_figures(found, judge),
        **region_figures(found, judge),
        **share_figures(found, judge, regime),
    }


def image_figures(found: Sequence[cases.Case], judge: quality.Judge) -> dict[str, float | str]:
    """How well images are ranked, beside every single score."""
    wrong = np.array([case.wrong for case in found])
    shares = np.array([case.wrong_pixels / max(case.record.num_valid, 1) for case in found])
    combined = np.array([score for _, score in sorted(judge.image_scores().items())])
    row: dict[str, float | str] = {"rehearsed AUROC": judge.rehearsed.auroc if judge.rehearsed else float("nan")}
    if not wrong.any() or wrong.all():
        return row
    scores = single_scores([case.record for case in found])
    single = {name: measures.image_measures(wrong, values)["AUPRC"] for name, values in scores.items()}
    best = max(quality.PAPER_METHODS, key=lambda name: single[name])
    row |= {f"AUPRC of {name}": value for name, value in single.items()}
    row |= {
        "AUPRC": measures.image_measures(wrong, combined)["AUPRC"],
        "AUROC": roc_auc_score(wrong, -combined),
        "best single": best,
        "best AUPRC": single[best],
        "tau": float(kendalltau(-combined, shares).statistic),
        "tau of confidence": float(kendalltau(-scores["confidence_in_label"], shares).statistic),
    }
    return row


def single_scores(records: Sequence[quality.ImageRecord]) -> dict[str, np.ndarray]:
    """Every score of every image."""
    totals = quality.Totals(records[0].num_classes, quality.METHODS)
    for record in records:
        totals.add(record)
    cut = quality.confident_learning_cut(records, totals)
    rows = [quality.record_scores(record, totals, cut) for record in records]
    return {name: np.array([row[name] for row in rows]) for name in quality.METHODS}


def region_figures(found: Sequence[cases.Case], judge: quality.Judge) -> dict[str, float | str]:
    """How well regions are ranked, and whether their scores are chances."""
    rankings = {name: measures.RegionRanking() for name in ("fixed", "judge", "objects")}
    right, kinds, sizes, reached = [], [], [], []
    for place, case in enumerate(found):
        typed = case.regions.retyped(judge.scorer.background)
        scores = judge.region_scores(f"{place:09d}", case.regions)
        rankings["fixed"].add_hits(place, case.sizes, case.hits, quality.region_scores(case.regions.features))
        rankings["judge"].add_hits(place, case.sizes, case.hits, scores)
        rankings["objects"].add_hits(place, case.object_sizes, case.objects, scores)
        kinds += [region.kind for region in typed]
        if case.kind in RIGHT_KIND:
            right += [
                region.kind == right_kind(case.kind, *pair, judge.scorer.background)
                for region, pair in zip(typed, case.pairs, strict=True)
                if pair
            ]
        sizes += case.object_sizes[1:].tolist()
        reached += np.isin(np.arange(1, case.object_sizes.size), [hit for hit in case.objects if hit]).tolist()
    values = np.array(rankings["judge"].scores)
    hits = np.array([hit is not None for hit in rankings["judge"].hits])
    row: dict[str, float | str] = {
        "AP": rankings["judge"].measures()["AP"],
        "AP, fixed score": rankings["fixed"].measures()["AP"],
        "AP by object": rankings["objects"].measures()["AP"],
        "right kind": float(np.mean(right)) if right else float("nan"),
        "regions": hits.size,
        "errors": int(hits.sum()),
        "expected": judge.expected_errors,
    }
    for low, high in itertools.pairwise(SIZE_BINS):
        inside = [got for got, size in zip(reached, sizes, strict=True) if low <= size < high]
        row[f"recall {low}-"] = float(np.mean(inside)) if inside else float("nan")
    for low, high in itertools.pairwise(SCORE_BINS):
        within = (values >= low) & ((values < high) | (high == 1))
        row |= {f"errors {low:g}-": int(hits[within].sum()), f"expected {low:g}-": float(values[within].sum())}
    for kind in quality.KINDS:
        of_kind = np.array([one == kind for one in kinds], bool)
        row |= {f"of {kind}": int(hits[of_kind].sum()), f"expected of {kind}": float(values[of_kind].sum())}
    return row


def right_kind(kind: str, given: int, true: int, background: int | None) -> str:
    """What an error is: by its classes where one stands for nothing, as an object of "nothing" may be put in, too."""
    if background is None:
        return RIGHT_KIND[kind]
    return "missing" if given == background else "spurious" if true == background else "wrong_class"


def share_figures(found: Sequence[cases.Case], judge: quality.Judge, regime: str) -> dict[str, float | str]:
    """Whether the estimate of wrong pixels holds, and whether a warning is due and names the errors that there are."""
    low, high = judge.wrong_share_range
    true = sum(case.wrong_pixels for case in found) / sum(case.record.num_valid for case in found)
    row: dict[str, float | str] = {
        "true": true, "estimated": judge.wrong_share, "lowest": low, "highest": high,
        "covered": float(low <= true <= high), "unsure": judge.unsure,
        "warned": float(judge.warning is not None), "warning": judge.warning or "",
    }  # fmt: skip
    wrong = np.array([case.wrong for case in found])
    if wrong.any() and not wrong.all():
        combined = np.array([score for _, score in sorted(judge.image_scores().items())])
        row["guessing"] = float(roc_auc_score(wrong, -combined) <= GUESSING)
        if regime in ASKED:
            row["named"] = float(ASKED[regime] in (judge.warning or ""))
    return row


def print_tables(rows: dict, part: str) -> None:
    """Means and ranges over seeds, and the truth table of the warning."""
    console = Console(width=200)
    by_model: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for key, row in rows.items():
        model, regime, _ = key.split("/")
        by_model[model][regime].append(row)
    for model, regimes in by_model.items():
        for title, columns in TABLES.items():
            table = Table("", *columns, title=f"{model}, {part} part: {title}, mean (lowest to highest) over seeds")
            for regime, found in regimes.items():
                table.add_row(regime, *(cell([row[name] for row in found if name in row]) for name in columns))
            console.print(table)
    for told in ("warned", "named"):
        for value in (1.0, 0.0):
            guessed = [row["guessing"] for row in rows.values() if "guessing" in row and row.get(told) == value]
            console.print(f"{'' if value else 'not '}{told}: {len(guessed)} runs, {sum(guessed):.0f} of them guessing")
    console.print(f"wrong share within its range: {sum(r['covered'] for r in rows.values()):.0f} of {len(rows)} runs")


def cell(values: list) -> str:
    """Mean and range of numbers, most frequent of words."""
    if not values:
        return "-"
    if isinstance(values[0], str):
        return statistics.mode(values)
    mean, low, high = np.nanmean(values), min(values), max(values)
    text = f"{mean:.4g}" if mean >= 100 else f"{mean:.3f}"
    return text if len(values) == 1 else f"{text} ({low:.3g}-{high:.3g})"


if __name__ == "__main__":
    main()
