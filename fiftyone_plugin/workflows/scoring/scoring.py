"""Score a dataset's segmentation labels: the main job."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ... import quality
from ...dataset.door.classes import IGNORED, ClassMap, classes_of_field
from ...dataset.door.scan import (
    LabelledImage,
    LabelScan,
    SkippedSample,
    mask_reader,
    mask_targets_of,
    require_label_field,
    scan_labels,
)
from ...dataset.fields import appearance
from ...dataset.fields import schema as sample_fields
from ...dataset.fields.regions import declare_regions, make_patches
from ...dataset.fields.regions import write_regions as write_region_batch
from ...dataset.journals.reviews import Memory
from ...dataset.runs import files, run_records
from ...errors import LabelQualityError
from ...progress import Progress, terminal_bar
from .issue_regions import RegionFindings, RegionStage, check_region_options, image_key
from .report import ScoredImage, ScoringReport
from .sources import MaskSource, ProbabilitySource, fit_classes, open_source

_NUM_WORST = 100
LABELS_SEEN = Path("records") / "labels.json"
"""In a run's folder: digest and file stamp of the label of each sample."""

_HARDLY = 0.2
"""Mean self-confidence of a class below which a model does not know the class, a rule of thumb."""


@dataclass(frozen=True)
class ScoringPlan:
    """What a scoring run is asked to do.

    Attributes:
        label_field: the Segmentation field
        methods: image scores to compute; softmin is always among them
        score: the one that the field `{key}` holds
        key: name of the run and prefix of its fields
        predicted_mask: whether a second mask stands for the predictions
        ignore_index: mask value(s) or class name(s) that count for nothing, None, or "auto"
        class_mapping: model channel to mask value, where neither names nor order tell
        unmatched: what to do about classes without a channel
        temperature: of softmin
        from_logits: whether probability files hold logits; a segmenter always gives probabilities
        write_map: whether to write `{key}_map`
        write_issues: whether to write `{key}_issues`
        write_regions: whether to write `{key}_regions`
        min_region_area: pixels of the smallest region, None for a share of the image
        max_regions_per_image: regions to keep of each image
        overwrite: whether to replace a run under the same key
        resume: whether to go on with an interrupted run
    """

    label_field: str
    methods: tuple[str, ...]
    score: str
    key: str
    predicted_mask: bool
    ignore_index: Any
    class_mapping: Mapping[int | str, int | str] | None
    unmatched: str
    temperature: float
    from_logits: bool
    write_map: bool
    write_issues: bool
    write_regions: bool
    min_region_area: int | None
    max_regions_per_image: int
    overwrite: bool
    resume: bool

    @property
    def fields(self) -> sample_fields.ScoreFields:
        """Names of the fields that the run writes."""
        return sample_fields.ScoreFields(self.key)

    def field_names(self) -> list[str]:
        """All fields that the run writes."""
        names = [self.key, self.fields.softmin, *(self.fields.method(method) for method in self.methods)]
        names += [self.fields.method(quality.COMBINED)] if self.write_regions else []
        names += [self.fields.issue_share]
        names += [self.fields.issues] if self.write_issues else []
        names += [self.fields.map] if self.write_map else []
        names += [self.fields.regions, self.fields.num_regions] if self.write_regions else []
        return list(dict.fromkeys(names))


def score_label_quality(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    model: Any = None,
    probabilities: str | Sequence[str] | None = None,
    predictions: str | None = None,
    methods: Sequence[str] = (),
    score: str | None = None,
    key: str = "label_quality",
    ignore_index: int | str | Sequence[int | str] | None = "auto",
    class_mapping: Mapping[int | str, int | str] | None = None,
    unmatched: str = "error",
    temperature: float = 0.1,
    from_logits: bool | None = None,
    write_map: bool = True,
    write_issues: bool = True,
    write_regions: bool = True,
    min_region_area: int | None = None,
    max_regions_per_image: int = quality.MAX_PER_IMAGE,
    output_dir: str | None = None,
    batch_size: int | None = None,
    overwrite: bool = False,
    resume: bool = True,
    progress: Progress | None = None,
    **model_options: Any,
) -> ScoringReport:
    """Score the labels of a segmentation dataset and write what was found as fields.

    The dataset is changed only at the very end, in one go. A run that was interrupted goes on where it
    stopped when it is started again with the same arguments.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: its `Segmentation` field whose masks are in question
        model: where probabilities come from: the key of a training run on the dataset, a
            segmentation-models-pytorch folder, a TorchScript or torch.export file, `"torchvision:<name>"`,
            `"transformers:<name>"`, `"zoo:<name>"`, a module or a callable; or a list of them, whose
            probabilities are averaged. No model may have been trained on these images with these labels
        probabilities: instead of a model, a string field with npy, npz or zarr files of (K, H, W) per
            sample, or a folder of them named like the images; or a list, to be averaged
        predictions: instead of either, a second Segmentation field with the same mask values: the labels of another
            annotator, or the masks of a model whose probabilities are gone
        methods: image scores to write, of `quality.METHODS`; softmin is always written, and with regions "combined"
        score: the method that the field `{key}` holds; if None the first of `methods`, or "combined" if there are none
        key: name of the run and prefix of its fields
        ignore_index: mask value(s) or class name(s) that count for nothing; None for none; "auto" for 255 and
            classes called void or ignore
        class_mapping: model channel (number or name) to mask value or class name, for the classes that names do not
            tell; several channels of one class are summed
        unmatched: what to do about classes of the labels that the model does not have: "error", or "ignore" their
            pixels
        temperature: of softmin; small looks at the worst pixels, large at the average
        from_logits: whether the model or the files give logits; a model's are noticed by themselves, files are taken
            for probabilities if None
        write_map: whether to write `{key}_map`, a heatmap of suspicion
        write_issues: whether to write `{key}_issues`, the flagged pixels
        write_regions: whether to write `{key}_regions`, where the label is probably wrong and what it should be, and
            `{key}_num_regions`. What was reviewed earlier is remembered: rejected regions stay away, and the scores
            learn from all decisions
        min_region_area: pixels of the smallest region; a 20,000th of the image if None
        max_regions_per_image: regions to keep of each image, those with the highest scores; the report says how many
            there were beyond
        output_dir: folder for masks and maps; beside FiftyOne's dataset files if None
        batch_size: images per forward pass; chosen by itself if None
        overwrite: whether to replace a run under the same key
        resume: whether to go on with an interrupted run
        progress: told how far the job is; a bar in the terminal if None
        model_options: further options of `models.load_segmenter`: device, flips, scales, tile, ...

    Returns:
        what was found; also kept with the run, see `load_report`

    Raises:
        LabelQualityError: if the arguments or the data cannot be used; the dataset is then unchanged

    Example:
        >>> report = score_label_quality(dataset, "ground_truth", model="cross_validation")  # doctest: +SKIP
        >>> dataset.sort_by("label_quality").first()                                         # doctest: +SKIP
    """
    chosen, main_score = _require_methods(methods, score, write_regions)
    check_region_options(min_region_area, max_regions_per_image)
    plan = ScoringPlan(
        label_field=label_field,
        methods=chosen,
        score=main_score,
        key=key,
        predicted_mask=predictions is not None,
        ignore_index=ignore_index,
        class_mapping=class_mapping,
        unmatched=unmatched,
        temperature=temperature,
        from_logits=bool(from_logits) and model is None,
        write_map=write_map,
        write_issues=write_issues,
        write_regions=write_regions,
        min_region_area=min_region_area,
        max_regions_per_image=max_regions_per_image,
        overwrite=overwrite,
        resume=resume,
    )
    require_label_field(samples, label_field)
    dataset = samples._dataset
    run_records.require_free_key(dataset, key, plan.field_names(), overwrite=overwrite, method=run_records.SCORING)
    base = Path(output_dir).expanduser() if output_dir else files.default_output_dir(dataset.name, key)
    files.require_writable(base.parent if not base.exists() else base, 1)
    if model is not None and from_logits is not None:
        model_options["from_logits"] = from_logits
    source = open_source(
        samples,
        label_field=label_field,
        model=model,
        probabilities=probabilities,
        predictions=predictions,
        batch_size=batch_size,
        **model_options,
    )
    if progress is not None:
        return _run(samples, plan, source, base, progress)
    with terminal_bar("checking labels") as bar:
        return _run(samples, plan, source, base, bar)


def _require_methods(methods: Sequence[str], score: str | None, write_regions: bool) -> tuple[tuple[str, ...], str]:
    """Methods to compute for each image, and the one that the field `{key}` holds."""
    asked = [methods] if isinstance(methods, str) else list(methods)
    wanted = list(dict.fromkeys([*asked, *([score] if score else []), "softmin"]))
    unknown = [name for name in wanted if name not in quality.RANKING_TITLES]
    if unknown:
        raise LabelQualityError(f"Expected `methods` among {list(quality.RANKING_TITLES)}, but got {unknown}")
    if quality.COMBINED in wanted and not write_regions:
        raise LabelQualityError(
            f"Expected `write_regions=True` for the score {quality.COMBINED!r}, which is made of regions, but got "
            "False; choose another score"
        )
    default = asked[0] if asked else quality.COMBINED if write_regions else "softmin"
    return tuple(name for name in wanted if name != quality.COMBINED), score or default


def _run(samples: Any, plan: ScoringPlan, source: ProbabilitySource, base: Path, progress: Progress) -> ScoringReport:
    started = time.monotonic()
    dataset = samples._dataset
    scan = scan_labels(samples, plan.label_field, progress=progress)
    targets = mask_targets_of(samples, plan.label_field)
    seen = {**(source.values if isinstance(source, MaskSource) else {}), **scan.values}
    classes = classes_of_field(targets, seen, plan.ignore_index, plan.label_field)
    files.require_writable(base.parent if not base.exists() else base, _bytes_needed(plan, scan))
    classes, source = fit_classes(
        classes, source, scan.images, plan.class_mapping, unmatched=plan.unmatched, from_logits=plan.from_logits
    )
    folder = _claim(dataset, plan, source, classes, base)
    places = {image.sample_id: place for place, image in enumerate(scan.images)}
    stage = _Stage(plan, classes, folder.path, mask_reader(samples, plan.label_field), places)
    stage.forget_edited(scan.images)
    pending = [image for image in scan.images if not stage.is_done(image)]
    failed = stage.predict(source, pending, progress)
    scored = [image for image in scan.images if image.sample_id not in failed]
    if not scored:
        raise LabelQualityError(f"No image could be scored: {next(iter(failed.values())).reason}")
    findings = stage.judge(scored, progress)
    regions = stage.settle_regions(dataset, scored, findings.judge, progress)
    skipped = [*scan.skipped, *failed.values()]
    warnings = _warnings(findings, classes, source, scan.images, skipped) + _region_warnings(plan, regions)
    report = ScoringReport(
        dataset=dataset.name,
        key=plan.key,
        label_field=plan.label_field,
        method=plan.score,
        classes=list(classes.names),
        num_scored=len(scored),
        num_resumed=len(scan.images) - len(pending),
        skipped=[(skip.sample_id, skip.filepath, skip.reason) for skip in skipped],
        flagged_share=findings.flagged_share,
        worst=_worst(scored, findings.scores[plan.score]),
        pairs=findings.pair_rows(classes),
        class_scores=findings.class_scores(classes),
        warnings=warnings,
        fields=plan.field_names(),
        views=[f"{plan.key} worst", f"{plan.key} flagged"],
        output_dir=str(folder.path),
        seconds=round(time.monotonic() - started, 2),
        class_pixels=findings.class_pixels(classes),
        num_pixels=int(findings.totals.num_valid),
    )
    if regions is not None:
        report = _with_judgement(_with_regions(report, regions), findings.judge)
    _write(dataset, samples, plan, stage, scored, findings, regions, classes, source, report)
    folder.finish()
    return report


def _bytes_needed(plan: ScoringPlan, scan: LabelScan) -> int:
    """Half a byte per pixel for the heatmap, a tenth for the flags, one and a half for the record."""
    pixels = sum(image.size[0] * image.size[1] for image in scan.images)
    share = 1.5 + 0.5 * plan.write_map + 0.1 * plan.write_issues + 0.1 * plan.write_regions
    return int(pixels * share) + 1_000_000


def _claim(
    dataset: Any, plan: ScoringPlan, source: ProbabilitySource, classes: ClassMap, base: Path
) -> files.RunFolder:
    existing = run_records.find_run(dataset, plan.key)
    fingerprint = {
        "label_field": plan.label_field,
        "source": source.description,
        "classes": [[value, name] for value, name in zip(classes.values, classes.names, strict=True)],
        "channels": [list(channels) for channels in classes.channels],
        "ignored": sorted(classes.ignored),
        "methods": sorted(plan.methods),
        "temperature": plan.temperature,
        "from_logits": plan.from_logits,
        "write_map": plan.write_map,
        "regions": [plan.write_regions, plan.min_region_area, plan.max_regions_per_image],
    }
    return files.claim_folder(
        base,
        f"{run_records.dataset_id(dataset)}/{plan.key}",
        fingerprint,
        in_use=existing.output_dir if existing else None,
        resume=plan.resume,
    )


@dataclass(frozen=True)
class Findings:
    """What all records together say.

    Attributes:
        scores: method to {sample id: score}
        issue_shares: sample id to share of the labelled pixels that are flagged
        issue_paths: sample id to the PNG of its flagged pixels
        pairs: (K, K) flagged pixels, given x predicted
        totals: the merged sums of the dataset
        suspicion: why the predictions look in-sample, or None
        judge: what was learnt of the dataset, if regions were wanted
    """

    scores: dict[str, dict[str, float]]
    issue_shares: dict[str, float]
    issue_paths: dict[str, str]
    pairs: np.ndarray
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
class _Stage:
    """The part of a run that works image by image, in one folder."""

    plan: ScoringPlan
    classes: ClassMap
    folder: Path
    read_mask: Callable[[str], np.ndarray]
    places: Mapping[str, int]

    def record_path(self, image: LabelledImage) -> Path:
        # The mask's hash is in the name: an edited label is scored again, an unchanged one is not.
        return self.folder / "records" / f"{image.sample_id}-{image.digest}.npz"

    @property
    def regions(self) -> RegionStage:
        """The part that is about regions."""
        return RegionStage(self.folder, self.classes.names, self.plan.min_region_area, self.plan.max_regions_per_image)

    def is_done(self, image: LabelledImage) -> bool:
        """Whether an interrupted run has left everything of an image."""
        wanted = [self.record_path(image)]
        if self.plan.write_regions:
            wanted += [self.regions.path(image.sample_id), self.regions.rehearsal_path(image.sample_id)]
        return all(path.exists() for path in wanted)

    def forget_edited(self, images: Sequence[LabelledImage]) -> None:
        """Delete records of labels that were edited while the run was interrupted."""
        wanted = {image.sample_id: self.record_path(image).name for image in images}
        for path in (self.folder / "records").glob("*.npz"):
            if wanted.get(path.name.split("-")[0], path.name) != path.name:
                path.unlink(missing_ok=True)

    def remember_labels(self, images: Sequence[LabelledImage]) -> None:
        """Note the state of every label, by which later changes are noticed."""
        seen = {image.sample_id: [image.digest, image.stamp] for image in images}
        files.write_json(self.folder / LABELS_SEEN, seen)

    def settle_regions(
        self, dataset: Any, images: Sequence[LabelledImage], judge: quality.Judge | None, progress: Progress
    ) -> RegionFindings | None:
        """Bring in earlier reviews and draw the masks of regions; None if none are wanted."""
        if judge is None:
            return None
        memory = Memory(dataset, self.plan.label_field)
        return self.regions.settle([image.sample_id for image in images], judge.scorer, memory, progress)

    def map_path(self, image: LabelledImage) -> Path:
        return self.folder / "map" / f"{image.sample_id}.png"

    def issues_path(self, sample_id: str) -> Path:
        return self.folder / "issues" / f"{sample_id}.png"

    def predict(
        self, source: ProbabilitySource, images: Sequence[LabelledImage], progress: Progress
    ) -> dict[str, SkippedSample]:
        """Turn probabilities into records on disk; give the images that failed, with the reason."""
        failed: dict[str, SkippedSample] = {}
        for done, (image, result) in enumerate(source.stream(images), start=1):
            try:
                if isinstance(result, Exception):
                    raise result
                self._record(image, result)
            except (OSError, ValueError, TypeError, RuntimeError) as error:
                if (done == 1 and error is not result) or _is_about_the_folder(error):
                    raise _named(error, image) from error
                failed[image.sample_id] = SkippedSample(image.sample_id, image.filepath, str(error))
            progress(done, len(images), "scoring labels")
        return failed

    def _record(self, image: LabelledImage, probabilities: Any) -> None:
        label = self.classes.indices(self.read_mask(image.sample_id))
        if self.plan.predicted_mask:  # where there is no second opinion, the label counts for nothing
            label = np.where(np.isnan(probabilities[0]), IGNORED, label)
        record = quality.image_record(
            label,
            probabilities,
            ignore_index=IGNORED,
            methods=self.plan.methods,
            temperature=self.plan.temperature,
            from_logits=self.plan.from_logits,
        )
        if self.plan.write_map and record.maps is not None:
            files.write_png(self.map_path(image), files.suspicion_image(record.maps.self_confidence))
        if self.plan.write_regions:
            self._find_regions(image, label, probabilities, record)
        path = self.record_path(image)
        path.parent.mkdir(exist_ok=True)
        record.without_maps().save(path)  # last: a record says that everything of its image is written

    def _find_regions(
        self, image: LabelledImage, label: np.ndarray, probabilities: Any, record: quality.ImageRecord
    ) -> None:
        place = self.places[image.sample_id]
        self.regions.find(image.sample_id, place, label, record)
        self.regions.rehearse(
            image.sample_id,
            label,
            probabilities,
            count=quality.rehearsals_of(place, len(self.places)),
            seed=(zlib.crc32(image.digest.encode()), place),
            ignore_index=IGNORED,
            temperature=self.plan.temperature,
            from_logits=self.plan.from_logits,
        )

    def judge(self, images: Sequence[LabelledImage], progress: Progress) -> Findings:
        """Merge the records: dataset-wide thresholds, flags, final scores."""
        records = _Records([self.record_path(image) for image in images])
        totals = quality.Totals(len(self.classes), self.plan.methods)
        for done, record in enumerate(records, start=1):
            totals.add(record)
            progress(done, len(images), "class thresholds")
        cut = quality.confident_learning_cut(records, totals)
        scores: dict[str, dict[str, float]] = {method: {} for method in self.plan.methods}
        shares: dict[str, float] = {}
        paths: dict[str, str] = {}
        pairs = np.zeros((len(self.classes), len(self.classes)), np.int64)
        evidence = quality.Evidence(len(self.classes)) if self.plan.write_regions else None
        for done, (image, record) in enumerate(zip(images, records, strict=True), start=1):
            for method, value in quality.record_scores(record, totals, cut).items():
                if method in scores:
                    scores[method][image.sample_id] = value
            counts = quality.class_pairs(record, cut)
            pairs += counts
            shares[image.sample_id] = float(counts.sum() / record.num_valid) if record.num_valid else float("nan")
            if self.plan.write_issues:
                flags = quality.record_flags(record, cut)
                files.write_png(self.issues_path(image.sample_id), flags.astype(np.uint8))
                paths[image.sample_id] = str(self.issues_path(image.sample_id))
            if evidence is not None:
                self.regions.add_evidence(evidence, image.sample_id, self.places[image.sample_id], record)
            progress(done, len(images), "flagging pixels")
        self.remember_labels(images)
        judge = evidence.judge() if evidence is not None else None
        if judge is not None:
            combined = judge.image_scores()
            places = {image.sample_id: image_key(self.places[image.sample_id]) for image in images}
            scores[quality.COMBINED] = {sample_id: combined[key] for sample_id, key in places.items()}
        return Findings(scores, shares, paths, pairs, totals, quality.in_sample_suspicion(totals), judge)


@dataclass(frozen=True)
class _Records:
    """Records on disk, read one at a time, as often as needed."""

    paths: Sequence[Path]

    def __iter__(self) -> Iterator[Any]:
        return (quality.load_record(path) for path in self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def _is_about_the_folder(error: Exception) -> bool:
    return "output_dir" in str(error) or (isinstance(error, OSError) and error.errno == 28)


def _named(error: Exception, image: LabelledImage) -> LabelQualityError:
    text = str(error)
    return LabelQualityError(text if image.filepath in text else f"{image.filepath}: {text}")


def _worst(images: Sequence[LabelledImage], scores: Mapping[str, float]) -> list[ScoredImage]:
    rows = [ScoredImage(image.sample_id, image.filepath, scores[image.sample_id]) for image in images]
    return sorted((row for row in rows if not np.isnan(row.score)), key=lambda row: row.score)[:_NUM_WORST]


def _warnings(
    findings: Findings,
    classes: ClassMap,
    source: ProbabilitySource,
    images: Sequence[LabelledImage],
    skipped: Sequence[SkippedSample],
) -> list[str]:
    warnings = []
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


def _region_warnings(plan: ScoringPlan, regions: RegionFindings | None) -> list[str]:
    if regions is None or not regions.dropped:
        return []
    return [
        f"{regions.capped:,} images have more than {plan.max_regions_per_image} regions; {regions.dropped:,} regions "
        "with lower scores are left out: raise `min_region_area` or `max_regions_per_image`"
    ]


def _with_regions(report: ScoringReport, regions: RegionFindings) -> ScoringReport:
    return replace(
        report,
        num_regions=regions.total,
        regions_by_kind=regions.by_kind,
        dropped=regions.dropped,
        left_out=regions.left_out,
        accepted_before=regions.accepted,
        num_reviewed=regions.num_reviewed,
        views=[*report.views, *([f"{report.key} regions"] if regions.total else [])],
    )


def _with_judgement(report: ScoringReport, judge: quality.Judge | None) -> ScoringReport:
    if judge is None:
        return report
    found = judge.rehearsed
    return replace(
        report,
        wrong_share=judge.wrong_share,
        num_rehearsed=found.num_labels if found else 0,
        rehearsed_found=found.found_in_worst_fifth if found else None,
    )


def _write(
    dataset: Any,
    samples: Any,
    plan: ScoringPlan,
    stage: _Stage,
    images: Sequence[LabelledImage],
    findings: Findings,
    regions: RegionFindings | None,
    classes: ClassMap,
    source: ProbabilitySource,
    report: ScoringReport,
) -> None:
    """Put everything on the dataset, replacing an earlier run under the same key."""
    existing = run_records.find_run(dataset, plan.key)
    if existing is not None:
        run_records.remove_results(dataset, existing)
    names = plan.fields
    score_title = quality.RANKING_TITLES[plan.score]
    sample_fields.write_numbers(
        dataset, plan.key, _finite(findings.scores[plan.score]), f"Label quality, 0 (wrong) to 1 (fine): {score_title}"
    )
    for method, values in findings.scores.items():
        sample_fields.write_numbers(dataset, names.method(method), _finite(values), quality.RANKING_TITLES[method])
    shares = _finite(findings.issue_shares)
    sample_fields.write_numbers(dataset, names.issue_share, shares, "Share of the labelled pixels that are flagged")
    if plan.write_issues:
        text = "Pixels whose label confident learning takes for wrong"
        sample_fields.write_segmentations(dataset, names.issues, findings.issue_paths, text, {1: "issue"})
    if plan.write_map:
        paths = {image.sample_id: str(stage.map_path(image)) for image in images}
        sample_fields.write_heatmaps(dataset, names.map, paths, "How suspicious each pixel is: 1 - self-confidence")
    if regions is not None:
        _write_regions(dataset, plan, stage, images, regions)
    _show(dataset, samples, plan, classes, report)
    record = run_records.RunRecord(
        key=plan.key,
        method=run_records.SCORING,
        label_field=plan.label_field,
        parameters={**_plain(asdict(plan)), "source": source.description, "versions": _versions(),
                    "class_thresholds": [float(t) for t in findings.totals.class_thresholds]},
        fields=report.fields,
        views=report.views,
        output_dir=report.output_dir,
        summary=report.as_dict(),
    )  # fmt: skip
    run_records.register_run(dataset, record)


def _write_regions(
    dataset: Any, plan: ScoringPlan, stage: _Stage, images: Sequence[LabelledImage], regions: RegionFindings
) -> None:
    declare_regions(dataset, plan.fields.regions)
    for batch in stage.regions.documents((image.sample_id for image in images), regions):
        write_region_batch(dataset, plan.fields.regions, batch)
    text = "How many regions of the label are probably wrong"
    sample_fields.write_numbers(dataset, plan.fields.num_regions, regions.per_image, text, integer=True)


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


def _show(dataset: Any, samples: Any, plan: ScoringPlan, classes: ClassMap, report: ScoringReport) -> None:
    names = plan.fields
    if not classes.rgb:
        values = {value: name for value, name in zip(classes.values, classes.names, strict=True) if value is not None}
        appearance.color_classes(dataset, [plan.label_field], values)
    appearance.color_issues(dataset, names.issues, names.map)
    appearance.color_regions(dataset, names.regions)
    # The photo under the flagged pixels says more than the label, which would cover both.
    covers = [(plan.write_regions, names.regions), (plan.write_issues, names.issues), (True, plan.label_field)]
    appearance.show_fields(dataset, [next(name for written, name in covers if written), plan.key])
    scored = dataset.exists(plan.key)
    appearance.save_view(
        dataset, report.views[0], scored.sort_by(plan.key).limit(_NUM_WORST), f"The {_NUM_WORST} lowest `{plan.key}`"
    )
    flagged = dataset.match({names.issue_share: {"$gt": 0}}).sort_by(names.issue_share, reverse=True)
    appearance.save_view(dataset, report.views[1], flagged, "Images with flagged pixels, most first")
    if report.num_regions:
        patches = make_patches(dataset, names.regions)
        appearance.save_view(dataset, report.views[2], patches, "Regions whose label is probably wrong, worst first")


def load_report(samples: Any, key: str = "label_quality") -> ScoringReport:
    """The report of a finished scoring run.

    Args:
        samples: the dataset or a view of it
        key: the run's key

    Returns:
        the report as it was returned by the run

    Raises:
        LabelQualityError: if there is no such run
    """
    record = run_records.find_run(samples._dataset, key)
    if record is None or record.method != run_records.SCORING:
        keys = [run.key for run in run_records.list_runs(samples._dataset, run_records.SCORING)]
        raise LabelQualityError(f"Expected the key of a scoring run, but got {key!r}; there are {keys or 'none'}")
    return ScoringReport.from_dict(record.summary)
