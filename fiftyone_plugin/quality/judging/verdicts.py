"""Regions and the combined ranking of a whole dataset of arrays; see `judging` for how they are learnt."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...progress import Progress, silent
from ..pixels.image_pairs import image_pairs, named
from ..pixels.inputs import check_temperature
from ..pixels.measurement import measure_image
from ..records.image_records import record_of_measured
from ..regions.cutting import Scene
from ..regions.issue_regions import ImageRegions, IssueRegion, regions_of_scene
from ..regions.region_terms import LIKELY, MAX_PER_IMAGE
from .judge import FEWEST_IMAGES, Evidence, Judge
from .rehearsed_labels import NUM_REHEARSALS, rehearsals_of, rehearse_in_scene

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What is wrong in a dataset, and how far to trust it.

    Attributes:
        scores: (N,) combined score of each image in [0, 1], higher is better; NaN where every pixel is ignored
        regions: issue regions, worst first over all images
        wrong_share: share of the labelled pixels that seem to be labelled wrongly: what labels and predictions disagree
            on beyond what the model expects
        judge: what was learnt; `judge.rehearsed` says how well errors that were put in on purpose are found
        warning: what to know before trusting any of this, or None
    """

    scores: FloatArray
    regions: list[IssueRegion]
    wrong_share: float
    judge: Judge
    warning: str | None

    @property
    def wrong_share_range(self) -> tuple[float, float]:
        """Lowest and highest share of wrong pixels that the dataset speaks for; see `Judge.wrong_share_range`."""
        return self.judge.wrong_share_range

    @property
    def num_likely(self) -> int:
        """How many regions, from the first on, are more likely wrong than right; those after them stay in the list."""
        return sum(region.score >= LIKELY for region in self.regions)


def judge_labels(
    labels: Iterable[Any],
    pred_probs: Iterable[Any],
    *,
    ignore_index: int | None = 255,
    temperature: float = 0.1,
    from_logits: bool = False,
    tolerance: float | None = None,
    min_area: int | None = None,
    max_per_image: int = MAX_PER_IMAGE,
    background: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verdict:
    """Find what is wrong in a dataset: the ranking and the regions to begin with where nothing is known of its errors.

    Each image is read once. About 256 labels are copied with an error put in, to learn what errors look like; a dataset
    of fewer than 10 images is too small for that: its regions have the fixed score and its images softmin.

    Args:
        labels: (H, W) integer class indices per image
        pred_probs: (K, H, W) float probabilities per image, NumPy or torch, from a model that has not been trained on
            the image
        ignore_index: label value of pixels to leave out, or None
        temperature: of softmin
        from_logits: whether `pred_probs` are logits
        tolerance: pixels that a border may be off; None means 1 % of the diagonal of each image, at least 1
        min_area: pixels of the smallest region; None means a 20,000th of the image, at least 1
        max_per_image: regions to keep of each image; a warning says how many more there were
        background: class that stands for nothing: regions from it are missing, regions to it spurious, all others of a
            wrong class or displaced borders; None means that it is looked for, see `Evidence.backdrop`
        seed: of the errors that are put into copies
        progress: told how many images are done

    Returns:
        The verdict.

    Raises:
        TypeError: if a type does not fit; the message names the image's index.
        LabelQualityError: if a shape or value does not fit; the message names the image's index.

    Example:
        >>> label = np.zeros((5, 6), int)
        >>> verdict = judge_labels([label, label], [np.stack([1 - label * 1.0, label * 1.0])] * 2)
        >>> verdict.scores, verdict.regions, verdict.warning
        (array([1., 1.]), [], None)
    """
    heat, report = check_temperature(temperature), progress or silent
    total = len(labels) if isinstance(labels, Sized) else None
    cut: dict[str, Any] = {"min_area": min_area, "max_per_image": max_per_image}
    evidence: Evidence | None = None
    found: list[ImageRegions] = []
    for index, label, probs in image_pairs(labels, pred_probs):
        with named(index):
            image = measure_image(label, probs, ignore_index=ignore_index, from_logits=from_logits)
            record = record_of_measured(image, ("softmin",), heat)
            scene = Scene.of(image.label, image.maps, tolerance)
            regions = regions_of_scene(scene, image_index=index, **cut)
            altered = rehearse_in_scene(
                scene, image.label, probs, count=_rehearsals(index, total), seed=(seed, index),
                ignore_index=image.ignore, temperature=heat, from_logits=from_logits, **cut,
            )  # fmt: skip
            evidence = evidence or Evidence(record.num_classes, background)
            evidence.add(f"{index:09d}", record, regions, altered)
        found.append(regions)
        report(index + 1, max(total or 0, index + 1), "finding regions")
    _warn_of_dropped(found, max_per_image)
    judge = (evidence or Evidence(1)).judge()
    scored = [
        regions.retyped(judge.scorer.background).rescored(judge.region_scores(f"{i:09d}", regions))
        for i, regions in enumerate(found)
    ]
    everything = [region for regions in scored for region in regions]
    scores = judge.image_scores()
    return Verdict(
        np.array([scores[key] for key in sorted(scores)]),
        sorted(everything, key=lambda region: (-region.score, region.image_index, -region.area, region.bbox)),
        judge.wrong_share,
        judge,
        judge.warning,
    )


def issue_regions(
    labels: Iterable[Any],
    pred_probs: Iterable[Any],
    *,
    ignore_index: int | None = 255,
    tolerance: float | None = None,
    min_area: int | None = None,
    max_per_image: int = MAX_PER_IMAGE,
    background: int | None = None,
    from_logits: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[IssueRegion]:
    """Find the regions of a dataset that are probably labelled wrongly, worst first over all images.

    The regions of `judge_labels`, which see. The list holds the masks of all of them, so `min_area` and `max_per_image`
    bound the memory; for datasets that are larger than that use `image_regions` image by image.

    Args:
        labels: (H, W) integer class indices per image
        pred_probs: (K, H, W) float probabilities per image, NumPy or torch, from a model that has not been trained on
            the image
        ignore_index: label value of pixels to leave out, or None
        tolerance: pixels that a border may be off; None means 1 % of the diagonal of each image, at least 1
        min_area: pixels of the smallest region; None means a 20,000th of the image, at least 1
        max_per_image: regions to keep of each image; a warning says how many more there were
        background: class that stands for nothing: regions from it are missing, regions to it spurious, all others of a
            wrong class or displaced borders; None means that it is looked for, see `Evidence.backdrop`
        from_logits: whether `pred_probs` are logits
        seed: of the errors that are put into copies of some labels
        progress: told how many images are done

    Returns:
        The regions; empty if nothing disagrees.

    Raises:
        TypeError: if a type does not fit; the message names the image's index.
        LabelQualityError: if a shape or value does not fit; the message names the image's index.

    Example:
        >>> probs = np.full((2, 5, 6), 0.1)
        >>> probs[0] = 0.9
        >>> probs[:, 1:4, 2:5] = [[[0.1]], [[0.9]]]
        >>> region, = issue_regions([np.zeros((5, 6), int)], [probs])
        >>> region.kind, region.given, region.suggested, region.bbox
        ('missing', 0, 1, (1, 2, 4, 5))
    """
    return judge_labels(
        labels, pred_probs, ignore_index=ignore_index, tolerance=tolerance, min_area=min_area,
        max_per_image=max_per_image, background=background, from_logits=from_logits, seed=seed, progress=progress,
    ).regions  # fmt: skip


def _rehearsals(index: int, total: int | None) -> int:
    """As many per image as the dataset needs; where its length is not known, one of each of the first images."""
    if total is None:
        return int(index < NUM_REHEARSALS)
    return rehearsals_of(index, total) if total >= FEWEST_IMAGES else 0


def _warn_of_dropped(found: list[ImageRegions], limit: int) -> None:
    dropped = [regions.dropped for regions in found if regions.dropped]
    if dropped:
        warnings.warn(
            f"{len(dropped)} images have more than max_per_image={limit} regions; {sum(dropped)} regions with lower "
            "scores are left out. Raise `max_per_image` or `min_area`.",
            stacklevel=3,
        )
