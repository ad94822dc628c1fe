"""Score a dataset's segmentation labels: the main job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...dataset.door.classes import ClassMap
from ...dataset.door.scan import LabelScan, mask_reader, require_label_field, scan_labels
from ...dataset.runs import files, run_records
from ...dataset.runs.run_writing import RunWriting, write_run
from ...errors import LabelQualityError
from ...options import split, takes
from ...progress import Progress, terminal_bar
from ..checking.first_look import first_look
from ..objects.object_marks import attributes_of, mark_objects, object_field_of
from ..objects.object_masks import masks_of
from .findings import Looked, report_findings
from .plan import ScoringOptions, ScoringPlan, plan_scoring
from .record_stage import RecordStage, source_states
from .report import ScoringReport
from .results import write_results
from .scoring_warnings import finding_warnings, region_warnings, restart_warnings
from .sources import ProbabilitySource, open_source, settle_classes


@takes(ScoringOptions)
def score_label_quality(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    model: Any = None,
    probabilities: str | Sequence[str] | None = None,
    predictions: str | None = None,
    progress: Progress | None = None,
    **keywords: Any,
) -> ScoringReport:
    """Score the labels of a segmentation dataset and write what was found as fields.

    The dataset is changed only at the very end, in one go. A run that was interrupted goes on where it
    stopped when it is started again with the same arguments.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: its `Segmentation` field whose masks are in question; or a field of Detections or Polylines, which
            become masks in `{label_field}_masks`, and whose objects get a score, an issue and a tag, see `mark_objects`
        model: where probabilities come from: the key of a training run on the dataset, a
            segmentation-models-pytorch folder, a TorchScript or torch.export file, `"torchvision:<name>"`,
            `"transformers:<name>"`, `"zoo:<name>"`, a module or a callable; or a list of them, whose
            probabilities are averaged. No model may have been trained on these images with these labels
        probabilities: instead of a model, a string field with npy, npz or zarr files of (K, H, W) per
            sample, or a folder of them named like the images; or a list, to be averaged
        predictions: instead of either, a second Segmentation field with the same mask values: the labels of another
            annotator, or the masks of a model whose probabilities are gone
        progress: told how far the job is; a bar in the terminal if None
        options: those of `ScoringOptions`
        keywords: further options of `models.load_segmenter`: device, flips, scales, tile, ...

    Returns:
        what was found; also kept with the run, see `load_report`

    Raises:
        LabelQualityError: if the arguments or the data cannot be used; the dataset is then unchanged

    Example:
        >>> report = score_label_quality(dataset, "ground_truth", model="cross_validation")  # doctest: +SKIP
        >>> dataset.exists("label_quality").sort_by("label_quality").first()                # doctest: +SKIP
    """
    options, model_options = split(ScoringOptions, keywords)
    label_field = masks_of(samples, label_field, progress)
    plan = plan_scoring(options, label_field, predicted_mask=predictions is not None)
    samples = require_label_field(samples, label_field)
    dataset = samples._dataset
    objects = object_field_of(dataset, label_field)
    if objects is not None:
        attributes_of(dataset, plan.key, objects)  # taken ones are noticed before anything is computed
    run_records.require_free_key(
        dataset, plan.key, plan.field_names(), overwrite=plan.overwrite, method=run_records.SCORING
    )
    base = Path(plan.output_dir).expanduser() if plan.output_dir else files.default_output_dir(dataset, plan.key)
    files.require_writable(base.parent if not base.exists() else base, 1)
    if options.from_logits is not None:
        model_options["from_logits"] = options.from_logits
    source = open_source(
        samples,
        label_field=label_field,
        model=model,
        probabilities=probabilities,
        predictions=predictions,
        batch_size=plan.batch_size,
        **model_options,
    )
    if progress is not None:
        return _with_objects(dataset, objects, _run(samples, plan, source, base, progress), progress)
    with terminal_bar("checking labels") as bar:
        return _with_objects(dataset, objects, _run(samples, plan, source, base, bar), bar)


def _with_objects(dataset: Any, objects: str | None, report: ScoringReport, progress: Progress) -> ScoringReport:
    """Bring what was found back to the objects that the masks were made of."""
    if objects is None:
        return report
    return replace(report, objects=mark_objects(dataset, report.key, progress=progress).lines())


def _run(samples: Any, plan: ScoringPlan, source: ProbabilitySource, base: Path, progress: Progress) -> ScoringReport:
    started = time.monotonic()
    dataset = samples._dataset
    scan = scan_labels(samples, plan.label_field, progress=progress)
    faults = first_look(samples, plan.label_field, scan, plan.ignore_index)
    files.require_writable(base.parent if not base.exists() else base, _bytes_needed(plan, scan))
    classes, source = settle_classes(
        samples, plan.label_field, scan, source, ignore_index=plan.ignore_index, class_mapping=plan.class_mapping,
        unmatched=plan.unmatched,
    )  # fmt: skip
    planned = run_records.RunRecord(plan.key, run_records.SCORING, plan.label_field, {}, plan.field_names())
    fingerprint = _fingerprint(plan, source, classes)
    with write_run(dataset, planned, base, fingerprint, overwrite=plan.overwrite, resume=plan.resume) as run:
        return _score(samples, plan, source, scan, classes, run, faults, started, run.watched(progress))


def _score(
    samples: Any,
    plan: ScoringPlan,
    source: ProbabilitySource,
    scan: LabelScan,
    classes: ClassMap,
    run: RunWriting,
    faults: list[str],
    started: float,
    progress: Progress,
) -> ScoringReport:
    """Measure, judge and write, in the folder of a run."""
    dataset = samples._dataset
    read_label = mask_reader(samples, plan.label_field)
    stage = RecordStage(plan, classes, run.path, read_label, scan.places(), source_states(source))
    pending = stage.pending(scan.images)
    failed = stage.predict(source, pending, progress)
    scored = [image for image in scan.images if image.sample_id not in failed]
    if not scored:
        raise LabelQualityError(f"No image could be scored: {next(iter(failed.values())).reason}")
    findings = stage.judge(scored, progress)
    regions = stage.settle_regions(dataset, scored, findings.judge, progress)
    looked = Looked(scan.images, scored, [*scan.skipped, *failed.values()], len(pending))
    report = report_findings(dataset.name, plan, classes, looked, findings, regions)
    warnings = finding_warnings(findings, classes, source, looked) + region_warnings(plan, regions) + faults
    warnings += restart_warnings(run.folder, source)
    report = replace(report, warnings=warnings, output_dir=str(run.path), seconds=round(time.monotonic() - started, 2))
    run.replace_results(report.views)
    run.finish(write_results(dataset, plan, stage, scored, findings, regions, classes, source, report))
    return report


def _bytes_needed(plan: ScoringPlan, scan: LabelScan) -> int:
    """Half a byte per pixel for the heatmap, a tenth for the flags, one and a half for the record."""
    pixels = sum(image.size[0] * image.size[1] for image in scan.images)
    share = 1.5 + 0.5 * plan.write_map + 0.1 * plan.write_issues + 0.1 * plan.write_regions
    return int(pixels * share) + 1_000_000


def _fingerprint(plan: ScoringPlan, source: ProbabilitySource, classes: ClassMap) -> dict[str, Any]:
    """Everything that decides what is measured of an image."""
    return {
        "label_field": plan.label_field,
        "source": source.description,
        "classes": [[value, name] for value, name in zip(classes.values, classes.names, strict=True)],
        "channels": [list(channels) for channels in classes.channels],
        "ignored": sorted(classes.ignored),
        "methods": sorted(plan.methods),
        "temperature": plan.temperature,
        "write_map": plan.write_map,
        "regions": [plan.write_regions, plan.min_region_area, plan.max_regions_per_image],
    }
