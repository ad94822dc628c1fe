"""How well images and regions are ranked: against the errors that are known to be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

MIN_AREA = 50  # pixels of an error that regions are asked to find
MIN_IOU = 0.25  # of a region that finds one
EVERYWHERE = np.ones((3, 3), bool)

Pixels = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]


def image_measures(wrong: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """AUROC, AUPRC and Lift@T of image scores; higher scores are better labels, T is the number of wrong images."""
    count = int(wrong.sum())
    worst = np.argsort(scores, kind="stable")[:count]
    return {
        "AUROC": roc_auc_score(wrong, -scores),
        "AUPRC": average_precision_score(wrong, -scores),
        "Lift@T": wrong[worst].mean() / wrong.mean(),
    }


def error_parts(given: np.ndarray, true: np.ndarray, changed: Pixels) -> np.ndarray:
    """Number the errors: connected wrong pixels of one given and one true class, from 1; 0 where nothing is wrong."""
    pairs = np.where(changed, given.astype(np.int64) * 65536 + true + 1, 0)
    parts = np.zeros(given.shape, np.int64)
    count = 0
    for pair in np.unique(pairs[changed]):
        found, more = ndimage.label(pairs == pair, EVERYWHERE)
        parts[found > 0] = found[found > 0] + count
        count += more
    return parts


def connected(changed: Pixels) -> np.ndarray:
    """Number the connected wrong pixels, whatever their classes, from 1; 0 where nothing is wrong."""
    return ndimage.label(changed, EVERYWHERE)[0]


def region_hits(parts: np.ndarray, regions: list[tuple[Box, Pixels]]) -> list[int | None]:
    """Tell which error each region has found: that of the best intersection over union, if it is `MIN_IOU`."""
    sizes = np.bincount(parts.reshape(-1))
    large = sizes >= MIN_AREA
    large[0] = False
    hits: list[int | None] = []
    for (top, left, bottom, right), mask in regions:
        shared = np.bincount(parts[top:bottom, left:right][mask], minlength=sizes.size)
        ious = np.where(large, shared / (mask.sum() + sizes - shared), 0)
        best = int(ious.argmax())
        hits.append(best if ious[best] >= MIN_IOU else None)
    return hits


@dataclass
class RegionRanking:
    """Collects regions with scores, and the errors, over a dataset."""

    scores: list[float] = field(default_factory=list)
    hits: list[tuple[int, int] | None] = field(default_factory=list)
    num_errors: int = 0

    def add(
        self, image: int, parts: np.ndarray, regions: list[tuple[tuple[int, int, int, int], Pixels, float]]
    ) -> None:
        """Add an image's errors and its regions as (box, mask within the box, score)."""
        hits = region_hits(parts, [(box, mask) for box, mask, _ in regions])
        self.add_hits(image, np.bincount(parts.reshape(-1)), hits, [score for _, _, score in regions])

    def add_hits(self, image: int, sizes: np.ndarray, hits: Sequence[int | None], scores: Sequence[float]) -> None:
        """Add an image's errors by size, the first of which is none, and which of them its regions have found."""
        self.num_errors += int((sizes[1:] >= MIN_AREA).sum())
        self.scores += [float(score) for score in scores]
        self.hits += [None if hit is None else (image, hit) for hit in hits]

    def measures(self) -> dict[str, float]:
        """Average precision, precision among the first 50 and 100, recall; an error is found once."""
        order = np.argsort(-np.asarray(self.scores), kind="stable")
        seen: set[tuple[int, int]] = set()
        found = np.zeros(order.size, bool)
        for place, row in enumerate(order):
            hit = self.hits[row]
            if hit is not None and hit not in seen:
                seen.add(hit)
                found[place] = True
        precision = np.cumsum(found) / np.arange(1, order.size + 1)
        errors = max(self.num_errors, 1)
        return {
            "AP": float((precision * found).sum() / errors),
            "precision@50": float(found[:50].mean()) if order.size else 0.0,
            "precision@100": float(found[:100].mean()) if order.size else 0.0,
            "recall": len(seen) / errors,
            "regions": float(order.size),
            "errors": float(self.num_errors),
        }


def flagged_regions(flags: Pixels, strength: np.ndarray, smallest: int) -> list[tuple[Box, Pixels, float]]:
    """Connected flagged pixels as regions, scored by the summed strength of their pixels."""
    parts, _ = ndimage.label(flags, EVERYWHERE)
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
        mask = parts[rows, columns] == number
        if mask.sum() >= smallest:
            score = float(strength[rows, columns][mask].sum())
            found.append(((rows.start, columns.start, rows.stop, columns.stop), mask, score))
    return found
