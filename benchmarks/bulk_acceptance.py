"""Does the promise of bulk acceptance hold, and how many regions may be accepted?

    python benchmarks/bulk_acceptance.py --data ../shared/data --folder /tmp/bulk --draws 200 --seed 0

VOC: the labels of Grounded-SAM on the first `--images` images against the predictions of the outside model of
`benchmarks/detection`; regions are scored by the judge, and one is an error if most of its pixels are wrong by the
ground truth. Regions are kept in `--folder`. Besides, regions are made up whose scores are right, too sure, or say
nothing; of each draw a new truth. Without `--data`, only these.

In each draw a person decides on what `next_step` asks for, without mistakes, until `--decisions` are made or no step
helps, and the promise is looked at after each step. Printed are: how many of the draws kept every promise that was made
on the way; the mean decisions; regions accepted at the end, mean and the tenth and ninetieth percentile; the mean share
of mistakes in them; the same share among those that nobody looked at; and what a fixed threshold does instead, which
accepts every region of a score of at least 1 - allowed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fiftyone_plugin import quality
from fiftyone_plugin.quality.certainty.bulk_acceptance import bulk_promise, cut_bands, next_step

ALLOWED = (0.05, 0.1, 0.2)
COLUMNS = (
    "regions", "allowed", "promises kept", "decisions", "accepted", "mistakes", "unseen mistakes",
    "threshold: accepted", "mistakes",
)  # fmt: skip


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--decisions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = Table(*COLUMNS, title=f"{options.draws} draws, at most {options.decisions} decisions, seed {options.seed}")
    cases = {}
    if options.data is not None:
        scores, errors = voc_regions(options.data, options.folder, options.images)
        cases["VOC, Grounded-SAM"] = scores, lambda rng: errors
    rng = np.random.default_rng([options.seed, 1])
    made = 1 / (1 + np.exp(-rng.normal(2, 2, 3000)))
    cases["made up, right scores"] = made, lambda rng: rng.random(made.size) < made
    cases["made up, too sure"] = made, lambda rng: rng.random(made.size) < 1 - np.minimum(2.5 * (1 - made), 1)
    cases["made up, 6 % everywhere"] = made, lambda rng: rng.random(made.size) < 0.94
    for name, (scores, truth) in cases.items():
        for allowed in ALLOWED:
            table.add_row(name, *row(scores, truth, allowed, options))
    Console(width=190).print(table)


def voc_regions(data: Path, folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Score of each region of the machine-made labels, and whether it is an error."""
    from detection import predictions
    from detection.regimes import measured

    kept = folder / f"voc-{count}.npz"
    if kept.exists():
        arrays = np.load(kept)
        return arrays["scores"], arrays["errors"]
    collection = predictions.voc(data)
    collection = replace(collection, pictures=collection.pictures[:count])
    probs = predictions.outside_predictions(collection, data / "weights", folder / "voc-outside")
    evidence, found = quality.Evidence(21), []
    for place, picture in enumerate(track(collection.pictures, description="measuring")):
        case = measured(picture.machine_label, probs[picture.name], picture, place, len(collection.pictures), None)
        evidence.add(f"{place:09d}", case.record, case.regions, case.rehearsals)
        found.append((case.regions, case.parts > 0))
    judge = evidence.judge()
    scores = [judge.region_scores(f"{place:09d}", regions) for place, (regions, _) in enumerate(found)]
    errors = [
        wrong[region.bbox[0] : region.bbox[2], region.bbox[1] : region.bbox[3]][region.mask].mean() > 0.5
        for regions, wrong in found
        for region in regions.regions
    ]
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez(kept, scores=np.clip(np.concatenate(scores), 0, 1), errors=np.array(errors))
    return voc_regions(data, folder, count)


def row(scores: np.ndarray, truth, allowed: float, options) -> list[str]:
    """One row of the table."""
    found = []
    for draw in range(options.draws):
        rng = np.random.default_rng([options.seed, draw])
        wrong = ~truth(rng)
        fixed = scores >= 1 - allowed
        found.append((*campaign(scores, wrong, allowed, options.decisions, rng), fixed.sum(), share(wrong, fixed)))
    kept, decisions, accepted, faults, unseen, by_score, faults_by_score = np.array(found, float).T
    low, high = np.percentile(accepted, [10, 90])
    return [
        str(scores.size),
        f"{allowed:g}",
        f"{kept.sum():.0f} of {options.draws}",
        f"{decisions.mean():.0f}",
        f"{accepted.mean():.0f} ({low:.0f}-{high:.0f})",
        f"{faults.mean():.3f}",
        f"{unseen.mean():.3f}",
        f"{by_score.mean():.0f}",
        f"{faults_by_score.mean():.3f}",
    ]


def campaign(scores, wrong, allowed: float, decisions: int, rng) -> tuple[bool, int, int, float, float]:
    """Whether every promise held, decisions, regions accepted, share of mistakes in them and in the unseen ones."""
    bands = cut_bands(scores, allowed=allowed)
    orders = [rng.permutation(np.flatnonzero(bands.bands == band)) for band in range(bands.sizes.size)]
    reviewed, faults = np.zeros((2, bands.sizes.size), int)
    held, most = True, 0
    while (room := decisions - int(reviewed.sum())) > 0:
        step = next_step(bands, reviewed, faults, allowed=allowed)
        if step is None or not step.reviews.any():
            break
        more = np.diff(np.minimum(np.cumsum(step.reviews), room), prepend=0)
        reviewed = reviewed + more
        faults = np.array([wrong[order[:done]].sum() for order, done in zip(orders, reviewed, strict=True)])
        promise = bulk_promise(bands, reviewed, faults, allowed=allowed)
        held &= share(wrong, bands.bands < promise.num_bands) <= allowed
        most = max(most, promise.num_bands)
    accepted = bands.bands < most
    seen = np.concatenate([order[:done] for order, done in zip(orders, reviewed, strict=True)])
    unseen = accepted.copy()
    unseen[seen] = False
    return held, int(reviewed.sum()), int(accepted.sum()), share(wrong, accepted), share(wrong, unseen)


def share(wrong: np.ndarray, chosen: np.ndarray) -> float:
    """Share of mistakes among some regions; 0 of none."""
    return float(wrong[chosen].mean()) if chosen.any() else 0.0


if __name__ == "__main__":
    main()
