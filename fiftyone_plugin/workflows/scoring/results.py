"""What a scoring run puts on the dataset, in one go: fields, views, how they are shown, and its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ... import quality
from ...dataset.door.classes import ClassMap
from ...dataset.door.scan import LabelledImage
from ...dataset.door.slices import slices_with
from ...dataset.fields import appearance
from ...dataset.fields import schema as sample_fields
from ...dataset.fields.region_columns import FILE, keep_regions
from ...dataset.fields.regions import captioned, declare_regions, make_patches, only_likely
from ...dataset.fields.regions import write_regions as write_region_batch
from ...dataset.runs import run_records
from .findings import Findings
from .issue_regions import RegionFindings
from .plan import ScoringPlan
from .record_stage import RecordStage
from .report import NUM_WORST, ScoringReport
from .stages import ScoringJob


def write_results(
    job: ScoringJob,
    images: Sequence[LabelledImage],
    findings: Findings,
    regions: RegionFindings | None,
    report: ScoringReport,
) -> run_records.RunRecord:
    """Put everything on the dataset, from which an earlier run under the same key was taken away.

    Args:
        job: of the run
        images: that were scored
        findings: of all records
        regions: what was found in all images together, None if no regions were wanted
        report: kept with the run

    Returns:
        the record of the run
    """
    dataset, plan, stage, classes = job.dataset, job.plan, job.stage, job.classes
    names, columns = plan.fields, sample_fields.Columns(dataset)
    text = f"Label quality, 0 (wrong) to 1 (fine): {quality.RANKING_TITLES[plan.score]}"
    columns.add_numbers(plan.key, _finite(findings.scores[plan.score]), text)
    for method, values in findings.scores.items():
        columns.add_numbers(names.method(method), _finite(values), quality.RANKING_TITLES[method])
    shares = _finite(findings.issue_shares)
    columns.add_numbers(names.issue_share, shares, "Share of the labelled pixels that are flagged")
    if plan.write_issues:
        text = "Pixels whose label confident learning takes for wrong"
        columns.add_segmentations(names.issues, findings.issue_paths, text, {1: "issue"})
    if plan.write_map:
        paths = {image.sample_id: str(stage.map_path(image.sample_id)) for image in images}
        columns.add_heatmaps(names.map, paths, "How suspicious each pixel is: 1 - self-confidence")
    if regions is not None:
        text = "How many regions of the label are probably wrong"
        columns.add_numbers(names.num_regions, regions.per_image, text, integer=True)
        _write_regions(dataset, plan, stage, images, regions)
    columns.write()
    if regions is not None:
        keep_regions(dataset, names.regions, stage.folder / FILE)
    _show(dataset, plan, classes, report, [image.sample_id for image in images])
    return run_records.RunRecord(
        key=plan.key,
        method=run_records.SCORING,
        label_field=plan.label_field,
        parameters={**_plain(asdict(plan)), "source": job.source.description, "versions": _versions(),
                    "image_window": next((getattr(image.filepath, "window", None) for image in images), None),
                    "class_thresholds": [float(t) for t in findings.totals.class_thresholds]},
        fields=report.fields,
        views=report.views,
        output_dir=report.output_dir,
        summary=report.as_dict(),
    )  # fmt: skip


def _write_regions(
    dataset: Any, plan: ScoringPlan, stage: RecordStage, images: Sequence[LabelledImage], regions: RegionFindings
) -> None:
    declare_regions(dataset, plan.fields.regions)
    for batch in stage.regions.documents((image.sample_id for image in images), regions):
        write_region_batch(dataset, plan.fields.regions, batch)


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: None if np.isnan(value) else float(value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    """Values that JSON and MongoDB take: string keys, lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("fiftyone-label-quality", "fiftyone", "torch", "segmentation-models-pytorch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _show(dataset: Any, plan: ScoringPlan, classes: ClassMap, report: ScoringReport, sample_ids: Sequence[str]) -> None:
    names = plan.fields
    with appearance.saved_once(dataset):
        _color(dataset, plan, classes)
    home = slices_with(dataset, sample_ids)
    scored = home.exists(plan.key)
    worst = scored.sort_by(plan.key).limit(NUM_WORST)
    if plan.write_regions:
        worst = captioned(only_likely(worst, names.regions, quality.LIKELY), names.regions)
    appearance.save_view(dataset, report.views[0], worst, f"The {NUM_WORST} lowest `{plan.key}`")
    flagged = home.match({names.issue_share: {"$gt": 0}}).sort_by(names.issue_share, reverse=True)
    appearance.save_view(dataset, report.views[1], flagged, "Images with flagged pixels, most first")
    if report.num_regions:
        patches = captioned(make_patches(home, names.regions), names.regions)
        appearance.save_view(dataset, report.views[2], patches, "Regions whose label is probably wrong, worst first")


def _color(dataset: Any, plan: ScoringPlan, classes: ClassMap) -> None:
    names = plan.fields
    if not classes.rgb:
        appearance.color_classes(dataset, [plan.label_field], classes.value_names)
    appearance.color_issues(dataset, names.issues, names.map)
    appearance.color_regions(dataset, names.regions)
    marks = [
        name for written, name in ((plan.write_regions, names.regions), (plan.write_issues, names.issues)) if written
    ]
    appearance.show_fields(dataset, [plan.label_field, *marks[:1], plan.key])
