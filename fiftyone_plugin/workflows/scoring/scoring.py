"""Score a dataset's segmentation labels: the main job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...dataset.door.classes import ClassMap
from ...dataset.door.scan import LabelScan, require_label_field, scan_labels
from ...dataset.runs import files, run_records
from ...dataset.runs.run_writing import RunWriting, write_run
from ...errors import LabelQualityError
from ...options import split, takes
from ...progress import Progress, silent, terminal_bar
from ...quality.records.made_anew import MadeAnew
from ..checking.first_look import first_look
from ..engines.engine import Engine
from ..engines.opening import open_engine
from ..objects.object_marks import attributes_of, mark_objects, object_field_of
from ..objects.object_masks import masks_of
from .findings import Looked, report_findings
from .plan import ScoringOptions, ScoringPlan, plan_scoring
from .report import ScoringReport
from .results import write_results
from .running import Run
from .scoring_warnings import finding_warnings, region_warnings, restart_warnings
from .sources import ProbabilitySource, SourceInputs, settle_classes
from .stages import ScoringJob, Task, images_of


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
    engine = open_engine(plan.engine, plan.workers)
    inputs = SourceInputs(label_field, model, probabilities, predictions, plan.batch_size, model_options)
    (progress or silent)(0, 1, "opening the model")
    request = _Request(samples, plan, inputs, inputs.open(samples), base, engine)
    if progress is not None:
        return _with_objects(dataset, objects, _run(request, progress), progress)
    with terminal_bar("checking labels") as bar:
        return _with_objects(dataset, objects, _run(request, bar), bar)


def _with_objects(dataset: Any, objects: str | None, report: ScoringReport, progress: Progress) -> ScoringReport:
    """Bring what was found back to the objects that the masks were made of."""
    if objects is None:
        return report
    return replace(report, objects=mark_objects(dataset, report.key, progress=progress).lines())


@dataclass(frozen=True)
class _Request:
    """What is asked, checked and opened.

    Attributes:
        samples: the dataset or view
        plan: of the run
        inputs: where probabilities come from
        source: opened, its classes not yet settled
        base: wanted folder
        engine: where the stages run
    """

    samples: Any
    plan: ScoringPlan
    inputs: SourceInputs
    source: ProbabilitySource
    base: Path
    engine: Engine


def _run(request: _Request, progress: Progress) -> ScoringReport:
    started = time.monotonic()
    samples, plan, base = request.samples, request.plan, request.base
    scan = scan_labels(samples, plan.label_field, progress=progress)
    progress(0, 1, "matching the classes of labels and model")
    faults = first_look(samples, plan.label_field, scan, plan.ignore_index)
    files.require_writable(base.parent if not base.exists() else base, _bytes_needed(plan, scan))
    classes, source = settle_classes(
        samples, plan.label_field, scan, request.source, ignore_index=plan.ignore_index,
        class_mapping=plan.class_mapping, unmatched=plan.unmatched,
    )  # fmt: skip
    planned = run_records.RunRecord(plan.key, run_records.SCORING, plan.label_field, {}, plan.field_names())
    fingerprint = _fingerprint(plan, source, classes)
    with write_run(samples._dataset, planned, base, fingerprint, overwrite=plan.overwrite, resume=plan.resume) as run:
        job = ScoringJob(samples._dataset, request.inputs, source, plan, classes, run.path, len(scan.images))
        return _score(Run(job, request.engine, run.watched(progress)), scan, run, faults, started)


def _score(job_run: Run, scan: LabelScan, run: RunWriting, faults: list[str], started: float) -> ScoringReport:
    """Measure, judge and write, in the folder of a run."""
    job = job_run.job
    plan, dataset = job.plan, job.dataset
    tasks = MadeAnew(len(scan.images), lambda place: Task(place, scan.images[place]))
    num_pending, failed = job_run.record(tasks)
    places = np.array([task.place for task in tasks if task.image.sample_id not in failed], np.int64)
    if not len(places):
        raise LabelQualityError(f"No image could be scored: {next(iter(failed.values())).reason}")
    kept = MadeAnew(len(places), lambda number: tasks[int(places[number])])
    scored = images_of(kept)
    findings = job_run.judge(kept)
    regions = job_run.settle(scored, findings.judge)
    looked = Looked(scan.images, scored, [*scan.skipped, *failed.values()], num_pending)
    report = report_findings(dataset.name, plan, job.classes, looked, findings, regions)
    warnings = finding_warnings(findings, job.classes, job.source, looked) + region_warnings(plan, regions) + faults
    warnings += restart_warnings(run.folder, job.source)
    report = replace(report, warnings=warnings, output_dir=str(run.path), seconds=round(time.monotonic() - started, 2))
    job_run.progress(0, 1, "writing fields and regions")
    run.replace_results(report.views)
    run.finish(write_results(job, scored, findings, regions, report))
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
