"""What a user must know before believing a scoring run."""

from __future__ import annotations

import numpy as np

from ...dataset.door.classes import ClassMap
from .findings import Findings, Looked
from .issue_regions import RegionFindings
from .plan import ScoringPlan
from .sources import ProbabilitySource

_HARDLY = 0.2
"""Mean self-confidence of a class below which a model does not know the class, a rule of thumb."""


def finding_warnings(
    findings: Findings,
    classes: ClassMap,
    source: ProbabilitySource,
    looked: Looked,
) -> list[str]:
    """Say what speaks against the scores.

    Args:
        findings: of the run
        classes: of the label field
        source: of the probabilities
        looked: which samples were looked at

    Returns:
        sentences, the most important first
    """
    warnings, images, skipped = [], looked.images, looked.skipped
    seen = source.seen_in_training(images)
    if seen:
        warnings.append(
            f"The model was trained on {seen} of these {len(images)} images, so their scores are too good; "
            "pass the folder of the whole cross-validation instead of one fold's"
        )
    if findings.suspicion:
        warnings.append(findings.suspicion)
    unknown = [f"{name} ({score:.2f})" for name, score in findings.class_scores(classes).items() if score < _HARDLY]
    if unknown:
        warnings.append(
            f"The model hardly recognises {', '.join(unknown[:5])} (mean probability of the class where it is the "
            "label): what it says there is no evidence of wrong labels; train longer or take a larger model"
        )
    if findings.judge is not None and findings.judge.warning:
        warnings.append(findings.judge.warning)
    empty = sum(np.isnan(score) for score in findings.scores["softmin"].values())
    if empty:
        warnings.append(f"{empty} images hold ignored pixels only and have no score")
    if len(skipped) > len(images) // 2:
        warnings.append(f"{len(skipped)} samples were left out; see `report.skipped`")
    return warnings


def region_warnings(plan: ScoringPlan, regions: RegionFindings | None) -> list[str]:
    """Say how many regions were left out, and how to keep them."""
    if regions is None or not regions.dropped:
        return []
    return [
        f"{regions.capped:,} images have more than {plan.max_regions_per_image} regions; {regions.dropped:,} regions "
        "with lower scores are left out: raise `min_region_area` or `max_regions_per_image`"
    ]
