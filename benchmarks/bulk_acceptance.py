"""Does the promise of bulk acceptance hold, and how many regions may be accepted?

    python benchmarks/bulk_acceptance.py --data ../shared/data --folder /tmp/bulk --draws 200 --seed 0
    python benchmarks/bulk_acceptance.py --data ../shared/data --folder F --datasets camvid --draws 200 --seed 0

CamVid: a fifth of 150 masks with one error put in, against what `benchmarks/detection --folder F --datasets camvid
--architectures frozen_features --seeds 0` has left there. "relabelled" are superpixels of the same images that nobody
was asked about, with another class by 95 % of what an `AnswerModel` believes after `--answers` true answers to the most
valuable questions; a mistake is a class that less than half of the superpixel has. The same of VOC.

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
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fiftyone_plugin import quality
from fiftyone_plugin.correction.answers.propagation import CERTAIN, Answer, AnswerModel, certain_proposals
from fiftyone_plugin.correction.questions.acquisition import acquisition_values, choose_queries
from fiftyone_plugin.correction.questions.candidates import find_candidates
from fiftyone_plugin.correction.superpixels.methods import image_superpixels, split_by_label
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
    parser.add_argument("--datasets", nargs="+", default=["voc", "made up"], choices=["voc", "camvid", "made up"])
    parser.add_argument("--answers", type=int, default=300, help="before superpixels are relabelled")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--decisions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = Table(*COLUMNS, title=f"{options.draws} draws, at most {options.decisions} decisions, seed {options.seed}")
    cases = {}
    for name, read in (("voc", voc_regions), ("camvid", camvid_regions)):
        if options.data is not None and name in options.datasets:
            for what, (scores, errors) in read(options).items():
                cases[f"{name}, {what}"] = scores, lambda rng, errors=errors: errors
    if "made up" in options.datasets:
        cases |= made_up(options)
    for name, (scores, truth) in cases.items():
        for allowed in ALLOWED:
            table.add_row(name, *row(scores, truth, allowed, options))
    Console(width=190).print(table)


def made_up(options: argparse.Namespace) -> dict:
    """Regions whose scores are right, too sure, or say nothing."""
    cases = {}
    rng = np.random.default_rng([options.seed, 1])
    made = 1 / (1 + np.exp(-rng.normal(2, 2, 3000)))
    cases["made up, right scores"] = made, lambda rng: rng.random(made.size) < made
    cases["made up, too sure"] = made, lambda rng: rng.random(made.size) < 1 - np.minimum(2.5 * (1 - made), 1)
    cases["made up, 6 % everywhere"] = made, lambda rng: rng.random(made.size) < 0.94
    return cases


def voc_regions(options: argparse.Namespace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Score of each region of the machine-made labels, and whether it is an error; the same of relabelled ones."""
    from detection import predictions

    collection = predictions.voc(options.data)
    collection = replace(collection, pictures=collection.pictures[: options.images])
    probs = predictions.outside_predictions(collection, options.data / "weights", options.folder / "voc-outside")
    labels = [picture.machine_label for picture in collection.pictures]
    return kept_or_found(options, "voc", collection, labels, probs)


def camvid_regions(options: argparse.Namespace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The same of CamVid with errors put in."""
    from detection import predictions
    from detection.__main__ import SCENARIOS

    folder, collection = options.folder / f"camvid-frozen_features-{options.seed}", predictions.camvid(options.data)
    there = [each for each in collection.pictures if (folder / "maps" / f"{each.name}.npy").exists()]
    collection = replace(collection, pictures=tuple(there))
    labels = [case[0] for case in predictions.corrupted(collection, SCENARIOS["mixture"], 1000 + options.seed)]
    return kept_or_found(options, "camvid", collection, labels, predictions.Predictions(folder / "maps", 0.0))


def kept_or_found(options: argparse.Namespace, name: str, collection, labels, probs) -> dict:
    """What an earlier call has left, or what is found now."""
    found = {}
    for what, find in (("issue regions", issue_regions), ("relabelled", relabelled_superpixels)):
        path = options.folder / f"{name}-{what}-{len(labels)}-{options.seed}-{options.answers}.npz"
        if not path.exists():
            scores, errors = find(options, collection, labels, probs)
            np.savez(path, scores=np.clip(scores, 0, 1), errors=errors)
        arrays = np.load(path)
        print(f"{name}, {what}: {arrays['scores'].size}, {100 * arrays['errors'].mean():.1f} % right", flush=True)
        found[what] = arrays["scores"], arrays["errors"]
    return found


def relabelled_superpixels(options: argparse.Namespace, collection, labels, probs) -> tuple[np.ndarray, np.ndarray]:
    """Confidence of each superpixel that is relabelled unasked, and whether its new class is right."""
    classes, found, truths = len(collection.class_names), [], []
    for picture, label in zip(track(collection.pictures, description="superpixels"), labels, strict=True):
        with Image.open(picture.image) as image:
            pixels = np.asarray(image.convert("RGB").resize(label.shape[::-1]))
        segments = split_by_label(image_superpixels(pixels), label)
        given = np.where(label < classes, label, -1).astype(np.int32)
        found.append(find_candidates(given, probs[picture.name], segments))
        known = picture.true < classes
        pairs = segments[known].astype(np.int64) * classes + picture.true[known]
        counts = np.bincount(pairs, minlength=(int(segments.max()) + 1) * classes).reshape(-1, classes)
        truths.append(counts[found[-1].segment] / np.maximum(counts[found[-1].segment].sum(1, keepdims=True), 1))
    chosen = choose_queries(found, acquisition_values(found, seed=options.seed), options.answers, seed=options.seed)
    answers = [
        Answer(one.image, one.row, int(found[one.image].given[one.row]), int(truths[one.image][one.row].argmax()))
        for one in chosen
        if truths[one.image][one.row].any()
    ]
    posterior = AnswerModel.fit(found, answers).posterior(found, answers)
    proposals = certain_proposals(found, answers, posterior, CERTAIN)
    right = [truths[each.image][each.row, each.answer] > 0.5 for each in proposals]
    return np.array([each.confidence for each in proposals]), np.array(right)


def issue_regions(options: argparse.Namespace, collection, labels, probs) -> tuple[np.ndarray, np.ndarray]:
    """Score of each region, and whether most of its pixels are wrong."""
    truths = [picture.true for picture in collection.pictures]
    stream = (probs[picture.name] for picture in track(collection.pictures, description="regions"))
    regions = quality.judge_labels(labels, stream).regions
    errors = []
    for region in regions:
        top, left, bottom, right = region.bbox
        given, true = (one[region.image_index][top:bottom, left:right][region.mask] for one in (labels, truths))
        errors.append((given != true)[true < len(collection.class_names)].sum() > 0.5 * region.mask.sum())
    return np.array([region.score for region in regions]), np.array(errors)


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
