"""What all records of a run together say: scores, flags, class pairs and a judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from pathlib import Path
from typing import Any

import numpy as np

from ... import quality
from ...dataset.door.account import recorded_rows
from ...dataset.door.classes import ClassMap
from ...dataset.door.scan import LabelledImage, SkippedSample
from .issue_regions import RegionFindings
from .plan import ScoringPlan
from .report import NUM_WORST, ScoredImage, ScoringReport


@dataclass(frozen=True)
class Findings:
    """What all records together say.

    Attributes:
        scores: method to {sample id: score}
        issue_shares: sample id to share of the labelled pixels that are flagged
        issue_paths: sample id to the PNG of its flagged pixels
        pairs: (K, K) flagged pixels, given x predicted
        confusion: (K, K) labelled pixels, given x predicted
        totals: the merged sums of the dataset
        suspicion: why the predictions look in-sample, or None
        judge: what was learnt of the dataset, if regions were wanted
    """

    scores: dict[str, dict[str, float]]
    issue_shares: dict[str, float]
    issue_paths: dict[str, str]
    pairs: np.ndarray
    confusion: np.ndarray
    totals: quality.Totals
    suspicion: str | None
    judge: quality.Judge | None

    @property
    def flagged_share(self) -> float:
        """Share of all labelled pixels that are flagged."""
        return float(self.pairs.sum() / max(self.totals.num_valid, 1))

    def pair_rows(self, classes: ClassMap, most: int = 400) -> list[tuple[str, str, int]]:
        """The commonest (given, predicted, pixels)."""
        flat = np.argsort(-self.pairs, axis=None, kind="stable")[:most]
        rows = ((int(i) // len(classes), int(i) % len(classes)) for i in flat)
        return [(classes.names[g], classes.names[p], int(self.pairs[g, p])) for g, p in rows if self.pairs[g, p] > 0]

    def class_scores(self, classes: ClassMap) -> dict[str, float]:
        """Mean self-confidence of the pixels labelled as each class."""
        means = self.totals.class_thresholds
        counts = self.totals.class_pixels
        return {name: round(float(means[i]), 4) for i, name in enumerate(classes.names) if counts[i] > 0}

    def class_pixels(self, classes: ClassMap) -> dict[str, int]:
        """Labelled pixels of each class."""
        counts = self.totals.class_pixels
        return {name: int(counts[i]) for i, name in enumerate(classes.names) if counts[i] > 0}


@dataclass(frozen=True)
class Records:
    """Records on disk, read one at a time, as often as needed.

    Attributes:
        images: that have one
        path_of: its file
    """

    images: Sequence[LabelledImage]
    path_of: Callable[[LabelledImage], Path]

    def __iter__(self) -> Iterator[Any]:
        return (quality.load_record(self.path_of(image)) for image in self.images)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Looked:
    """Which samples a run looked at.

    Attributes:
        images: whose labels can be used
        scored: of those, the images that have probabilities
        skipped: samples that could not be scored
        num_pending: images that had no record when the run began
    """

    images: Sequence[LabelledImage]
    scored: Sequence[LabelledImage]
    skipped: Sequence[SkippedSample]
    num_pending: int


def report_findings(
    dataset_name: str,
    plan: ScoringPlan,
    classes: ClassMap,
    looked: Looked,
    findings: Findings,
    regions: RegionFindings | None,
) -> ScoringReport:
    """Tell findings in words and numbers.

    Args:
        dataset_name: of the dataset
        plan: of the run
        classes: of the label field
        looked: which samples were looked at
        findings: of all records
        regions: what was found in all images together, None if no regions were wanted

    Returns:
        the report, still without warnings, folder and time
    """
    report = ScoringReport(
        dataset=dataset_name,
        key=plan.key,
        label_field=plan.label_field,
        method=plan.score,
        classes=list(classes.names),
        num_scored=len(looked.scored),
        num_resumed=len(looked.images) - looked.num_pending,
        skipped=[(skip.sample_id, skip.filepath, skip.reason) for skip in looked.skipped],
        flagged_share=findings.flagged_share,
        worst=_worst(looked.scored, findings.scores[plan.score]),
        pairs=findings.pair_rows(classes),
        class_scores=findings.class_scores(classes),
        warnings=[],
        fields=plan.field_names(),
        views=[f"{plan.key} worst", f"{plan.key} flagged"],
        output_dir="",
        seconds=0.0,
        class_pixels=findings.class_pixels(classes),
        num_pixels=int(findings.totals.num_valid),
        class_rows=recorded_rows(classes),
    )
    return report if regions is None else _with_judgement(_with_regions(report, regions), findings.judge)


def _worst(images: Sequence[LabelledImage], scores: Mapping[str, float]) -> list[ScoredImage]:
    rows = (ScoredImage(image.sample_id, image.filepath, scores[image.sample_id]) for image in images)
    return nsmallest(NUM_WORST, (row for row in rows if not np.isnan(row.score)), key=lambda row: row.score)


def _with_regions(report: ScoringReport, regions: RegionFindings) -> ScoringReport:
    return replace(
        report,
        num_regions=regions.total,
        regions_by_kind=regions.by_kind,
        dropped=regions.dropped,
        left_out=regions.left_out,
        accepted_before=regions.accepted,
        num_reviewed=regions.num_reviewed,
        num_likely=regions.num_likely,
        views=[*report.views, *([f"{report.key} regions"] if regions.total else [])],
    )


def _with_judgement(report: ScoringReport, judge: quality.Judge | None) -> ScoringReport:
    if judge is None:
        return report
    found = judge.rehearsed
    return replace(
        report,
        wrong_share=judge.wrong_share,
        wrong_share_range=judge.wrong_share_range,
        num_rehearsed=found.num_labels if found else 0,
        rehearsed_found=found.found_in_worst_fifth if found else None,
    )
