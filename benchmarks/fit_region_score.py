"""Fit the fixed coefficients of the region score on rendered scenes, and measure them on other scenes.

    python benchmarks/fit_region_score.py [--scenes 240] [--json results.json]

Scenes come from `demo.scenes`; half of their masks carry one error of a random kind. The model is
simulated, twice (a better and a worse one): it has mistakes of its own (objects missed, invented, confused, drawn too
small or large), wavy borders, blurred and noisy logits, and is less sure where it is wrong, though not always. A
region counts as an error if it has an IoU of at least 0.25 with a connected part, of at least 50 pixels, of what was
changed. Coefficients are fitted on the scenes of
`FIT_SEED` and everything that is printed is measured on those of `TEST_SEEDS`.

Also printed, over clean images and those with a local error (of one object): average precision of the regions against
the connected parts of the injected errors of at least 50 pixels (a hit has an IoU of at least 0.25; every error is hit
once), and the same for connected parts of confident learning's flags, ordered by their summed margin; and AUROC and
AUPRC of the image scores. These are simulations: they show which
way the mechanism goes, not how large an effect is on real predictions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import ndimage, optimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[1]))

from demo import scenes
from fiftyone_plugin import quality
from fiftyone_plugin.quality import known_errors

SIZE = (192, 256)
CLASSES = len(scenes.SCENE_CLASSES)
FIT_SEED, TEST_SEEDS = 1_000_000, (2_000_000, 3_000_000, 4_000_000)
MODEL_MISTAKES = ("drop_object", "add_object", "wrong_class", "erode", "dilate")
LOCAL_ERRORS = ("drop_object", "add_object", "wrong_class", "erode", "dilate")
SIGNS = {
    "margin": 1,
    "self_confidence": -1,
    "boundary_length": -1,
    "log_area": 1,
    "log_strength": 1,
    "tolerance_share": -1,
    "predicted_contact": -1,
    "given_contact": 0,
    "object_share": 1,
    "label_share": 1,
    "boundary": -1,
}
EVERYWHERE = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Model:
    """How good the simulated model is."""

    name: str
    mistakes: float
    waviness: float
    blur: float
    sharpness: float
    noise: float


MODELS = (
    Model("better", mistakes=1.5, waviness=0.7, blur=1.0, sharpness=8.0, noise=0.5),
    Model("worse", mistakes=4.0, waviness=1.3, blur=2.0, sharpness=7.0, noise=0.8),
)


@dataclass(frozen=True)
class Example:
    """One image: its given label, the model's probabilities, and the pixels that are wrong in the label."""

    label: np.ndarray
    probs: np.ndarray
    changed: np.ndarray
    kind: str | None
    accuracy: float


def smooth(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Return noise of unit spread that varies over `scale` pixels."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), (0,) * (len(shape) - 2) + (scale, scale))
    return field / field.std()


def simulated_probabilities(true: np.ndarray, model: Model, rng: np.random.Generator) -> np.ndarray:
    """Return (K, H, W) float32 probabilities of an imperfect model for a true mask of classes 0..K-1."""
    seen = true
    for _ in range(rng.poisson(model.mistakes)):
        error = known_errors.inject_error(
            seen, str(rng.choice(MODEL_MISTAKES)), rng, class_ids=range(CLASSES), min_area=30, boundary_pixels=(2, 5)
        )
        seen = seen if error is None else error.mask
    rows, columns = np.indices(true.shape) + model.waviness * smooth(rng, (2, *true.shape), 12.0)
    rows = np.clip(np.rint(rows), 0, true.shape[0] - 1).astype(int)
    columns = np.clip(np.rint(columns), 0, true.shape[1] - 1).astype(int)
    seen = seen[rows, columns]
    logits = np.stack([ndimage.gaussian_filter((seen == k).astype(np.float32), model.blur) for k in range(CLASSES)])
    wrong, count = ndimage.label(seen != true, EVERYWHERE)
    sureness = np.append(1.0, rng.uniform(0.35, 1.0, count))[wrong]
    logits *= model.sharpness * ndimage.gaussian_filter(sureness, 1.0) * np.exp(0.2 * smooth(rng, true.shape, 12.0))
    logits += model.noise * smooth(rng, logits.shape, 6.0)
    probs = np.exp(logits - logits.max(axis=0))
    return (probs / probs.sum(axis=0)).astype(np.float32)


def examples(start: int, count: int, model: Model) -> Iterator[Example]:
    """Yield scenes; every other one has an error in its label."""
    kinds = known_errors.plan_errors(count, 0.5, seed=start)
    for offset, kind in enumerate(kinds):
        rng = np.random.default_rng([start, offset])
        true = scenes.render_scene(start + offset, SIZE).mask - 1
        probs = simulated_probabilities(true, model, rng)
        accuracy = float((probs.argmax(axis=0) == true).mean())
        error = None if kind is None else known_errors.inject_error(true, kind, rng, class_ids=range(CLASSES))
        if error is None:
            yield Example(true, probs, np.zeros(true.shape, bool), None, accuracy)
        else:
            yield Example(error.mask, probs, error.changed, kind, accuracy)


def is_error(region: quality.IssueRegion, parts: list[np.ndarray]) -> bool:
    """Tell whether a region has an IoU of at least 0.25 with one of the errors of its image."""
    top, left, bottom, right = region.bbox
    overlaps = [(int(part[top:bottom, left:right][region.mask].sum()), int(part.sum())) for part in parts]
    return any(shared >= 0.25 * (region.area + area - shared) for shared, area in overlaps)


def judged_regions(found: list[Example]) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of all regions, and which of them are errors.

    Shifted masks are left out: each makes a hundred boundary regions, which would outweigh all other errors together.
    """
    features, errors = [], []
    for example in found:
        if example.kind == "shift":
            continue
        regions = quality.image_regions(example.label, quality.image_record(example.label, example.probs))
        features.append(regions.features)
        parts = parts_of(example.changed, 50)
        errors.extend(is_error(region, parts) for region in regions)
    return np.concatenate(features)[:, : len(SIGNS)], np.array(errors)


def average_precision(
    candidates: list[tuple[float, int, np.ndarray]], errors: dict[int, list[np.ndarray]]
) -> tuple[float, float]:
    """Return average precision and recall of (score, image, pixels) against the errors of each image."""
    left = {image: list(parts) for image, parts in errors.items()}
    total = sum(map(len, errors.values()))
    hits = []
    for _, image, pixels in sorted(candidates, key=lambda candidate: -candidate[0]):
        overlaps = [(pixels & part).sum() / (pixels | part).sum() for part in left.get(image, [])]
        best = int(np.argmax(overlaps)) if overlaps else -1
        hits.append(bool(overlaps) and overlaps[best] >= 0.25)
        if hits[-1]:
            left[image].pop(best)
    hit = np.array(hits, float)
    precision = np.cumsum(hit) / np.arange(1, hit.size + 1)
    return float((precision * hit).sum() / total), float(hit.sum() / total)


def parts_of(pixels: np.ndarray, smallest: int = 1) -> list[np.ndarray]:
    """Return the 8-connected parts of at least so many pixels."""
    labelled, count = ndimage.label(pixels, EVERYWHERE)
    areas = np.bincount(labelled.ravel(), minlength=count + 1)
    return [labelled == part for part in range(1, count + 1) if areas[part] >= smallest]


def localisation(found: list[Example]) -> dict[str, float]:
    """Compare regions with connected parts of confident learning's flags."""
    labels, probs = [example.label for example in found], [example.probs for example in found]
    errors = {i: parts_of(example.changed, 50) for i, example in enumerate(found)}
    ours, by_area, theirs = [], [], []
    for region in quality.issue_regions(labels, probs):
        pixels = np.zeros(SIZE, bool)
        top, left, bottom, right = region.bbox
        pixels[top:bottom, left:right] = region.mask
        ours.append((region.score, region.image_index, pixels))
        by_area.append((region.area, region.image_index, pixels))
    for image, flags in enumerate(quality.label_issues(labels, probs)):
        maps = quality.image_record(labels[image], probs[image]).maps
        margins = maps.best_probability - maps.self_confidence
        theirs.extend((float(margins[part].sum()), image, part) for part in parts_of(flags))
    (ap, recall), (area_ap, _), (flag_ap, flag_recall) = (
        average_precision(candidates, errors) for candidates in (ours, by_area, theirs)
    )
    return {
        "AP regions": ap,
        "AP regions by area": area_ap,
        "AP flags": flag_ap,
        "recall regions": recall,
        "recall flags": flag_recall,
    }


def image_aurocs(found: list[Example]) -> dict[str, dict[str, float]]:
    """Return by image score the AUROC over all errors and over local ones, clean images being the negatives."""
    scores = quality.image_scores([e.label for e in found], [e.probs for e in found], quality.METHODS)
    wrong = np.array([example.kind is not None for example in found])
    local = np.array([example.kind in LOCAL_ERRORS for example in found])
    return {
        name: {
            "all": float(roc_auc_score(wrong, -values)),
            "local": float(roc_auc_score(local[local | ~wrong], -values[local | ~wrong])),
            "local AUPRC": float(average_precision_score(local[local | ~wrong], -values[local | ~wrong])),
        }
        for name, values in scores.items()
    }


def fit(count: int) -> tuple[np.ndarray, float, LogisticRegression]:
    """Return coefficients and intercept, from both models together; and a regression without limits on the signs.

    Signs are limited to what holds whatever the model and the dataset: a larger margin never speaks against an error,
    lying along a border never for one. Without limits the coefficients of features that go together take signs that
    suit the simulation alone.
    """
    parts = [judged_regions(list(examples(FIT_SEED, count, model))) for model in MODELS]
    features, errors = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    spread = features.std(axis=0)
    rows = np.column_stack([features / spread, np.ones(len(features))])
    bounds = [{1: (0, None), -1: (None, 0), 0: (None, None)}[SIGNS[name]] for name in SIGNS]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        values = rows @ weights
        slope = rows.T @ (1 / (1 + np.exp(-values)) - errors)
        slope[:-1] += weights[:-1]
        return float((np.logaddexp(0, values) - errors * values).sum() + weights[:-1] @ weights[:-1] / 2), slope

    fitted = optimize.minimize(loss, np.zeros(rows.shape[1]), jac=True, bounds=[*bounds, (None, None)]).x
    free = LogisticRegression(C=1.0, max_iter=2000).fit(features, errors)
    return fitted[:-1] / spread, float(fitted[-1]), free


def measure(weights: np.ndarray, bias: float, free: LogisticRegression, model: Model, seed: int, count: int) -> dict:
    """Return all numbers of one model and one test seed; scores of regions are those in the library."""
    found = list(examples(seed, count, model))
    features, errors = judged_regions(found)
    fitted = 1 / (1 + np.exp(-(features @ weights + bias)))
    further = len(quality.FEATURE_NAMES) - len(SIGNS)  # which the fixed score does not use
    fixed = quality.region_scores(np.pad(features, ((0, 0), (0, further))))
    return {
        "model": model.name,
        "seed": seed,
        "pixel accuracy of the model": float(np.mean([example.accuracy for example in found])),
        "regions per image": len(errors) / sum(example.kind != "shift" for example in found),
        "share of errors": float(errors.mean()),
        "AUROC fitted": float(roc_auc_score(errors, fitted)),
        "AUROC in library": float(roc_auc_score(errors, fixed)),
        "AUROC without sign limits": float(roc_auc_score(errors, free.decision_function(features))),
        "AUROC margin only": float(roc_auc_score(errors, features[:, 0])),
        "AUPRC in library": float(average_precision_score(errors, fixed)),
        "AUPRC margin only": float(average_precision_score(errors, features[:, 0])),
        "mean score in library": float(fixed.mean()),
        "Brier in library": float(brier_score_loss(errors, fixed)),
        **localisation([example for example in found if example.kind is None or example.kind in LOCAL_ERRORS]),
        "image AUROC": image_aurocs(found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=240, help="scenes to fit on and of each test seed")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    arguments = parser.parse_args()
    console = Console(width=130)
    weights, bias, free = fit(arguments.scenes)
    console.print(
        "SCORE_WEIGHTS =", tuple(round(float(weight), 3) for weight in weights), "SCORE_BIAS =", round(bias, 3)
    )
    results = [measure(weights, bias, free, model, seed, arguments.scenes) for model in MODELS for seed in TEST_SEEDS]
    for model in MODELS:
        rows = [row for row in results if row["model"] == model.name]
        table = Table("mean of the test seeds", model.name)
        for name in (key for key, value in rows[0].items() if isinstance(value, (int, float)) and key != "seed"):
            table.add_row(name, f"{np.mean([row[name] for row in rows]):.3f}")
        console.print(table)
        scores = Table("image score", "AUROC all", "AUROC local", "AUPRC local")
        for name in quality.METHODS:
            values = [list(row["image AUROC"][name].values()) for row in rows]
            scores.add_row(name, *(f"{value:.3f}" for value in np.mean(values, axis=0)))
        console.print(scores)
    if arguments.json:
        content = {"scenes": arguments.scenes, "weights": weights.tolist(), "bias": bias, "results": results}
        arguments.json.write_text(json.dumps(content, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
