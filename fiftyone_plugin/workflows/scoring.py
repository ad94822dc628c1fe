"""Score a dataset's segmentation labels: the main job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import quality
from ..dataset import appearance, files, runs
from ..dataset import fields as sample_fields
from ..dataset.classes import IGNORED, ClassMap, classes_of_field, match_channels
from ..dataset.scan import (
    LabelledImage,
    LabelScan,
    SkippedSample,
    mask_reader,
    mask_targets_of,
    require_label_field,
    scan_labels,
)
from ..errors import LabelQualityError
from ..progress import Progress, terminal_bar
from .report import ScoredImage, ScoringReport
from .sources import ProbabilitySource, open_source

_NUM_WORST = 100
_PROBES = 5
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
        ignore_index: mask value(s) or class name(s) that count for nothing, None, or "auto"
        class_mapping: model channel to mask value, where neither names nor order tell
        temperature: of softmin
        from_logits: whether probability files hold logits; a segmenter always gives probabilities
        write_map: whether to write `{key}_map`
        write_issues: whether to write `{key}_issues`
        overwrite: whether to replace a run under the same key
        resume: whether to go on with an interrupted run
    """

    label_field: str
    methods: tuple[str, ...]
    score: str
    key: str
    ignore_index: Any
    class_mapping: Mapping[int | str, int | str] | None
    temperature: float
    from_logits: bool
    write_map: bool
    write_issues: bool
    overwrite: bool
    resume: bool

    @property
    def fields(self) -> sample_fields.ScoreFields:
        """Names of the fields that the run writes."""
        return sample_fields.ScoreFields(self.key)

    def field_names(self) -> list[str]:
        """All fields that the run writes."""
        names = [self.key, self.fields.softmin, *(self.fields.method(method) for method in self.methods)]
        names += [self.fields.issue_share]
        names += [self.fields.issues] if self.write_issues else []
        names += [self.fields.map] if self.write_map else []
        return list(dict.fromkeys(names))


def score_label_quality(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    model: Any = None,
    probabilities: str | None = None,
    methods: Sequence[str] = ("softmin",),
    score: str | None = None,
    key: str = "label_quality",
    ignore_index: int | str | Sequence[int | str] | None = "auto",
    class_mapping: Mapping[int | str, int | str] | None = None,
    temperature: float = 0.1,
    from_logits: bool | None = None,
    write_map: bool = True,
    write_issues: bool = True,
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
            `"transformers:<name>"`, `"zoo:<name>"`, a module or a callable. The model must not have been
            trained on these images with these labels
        probabilities: instead of a model, a string field with npy, npz or zarr files of (K, H, W) per
            sample, or a folder of them named like the images
        methods: image scores to write, of `quality.METHODS`; softmin is always written
        score: the method that the field `{key}` holds; the first of `methods` if None
        key: name of the run and prefix of its fields
        ignore_index: mask value(s) or class name(s) that count for nothing; None for none; "auto" for 255 and
            classes called void or ignore
        class_mapping: model channel (number or name) to mask value or class name; needed only where neither
            names nor order tell
        temperature: of softmin; small looks at the worst pixels, large at the average
        from_logits: whether the model or the files give logits; a model's are noticed by themselves, files are taken
            for probabilities if None
        write_map: whether to write `{key}_map`, a heatmap of suspicion
        write_issues: whether to write `{key}_issues`, the flagged pixels
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
    chosen = _require_methods(methods, score)
    plan = ScoringPlan(
        label_field=label_field,
        methods=chosen,
        score=score or chosen[0],
        key=key,
        ignore_index=ignore_index,
        class_mapping=class_mapping,
        temperature=temperature,
        from_logits=bool(from_logits) and model is None,
        write_map=write_map,
        write_issues=write_issues,
        overwrite=overwrite,
        resume=resume,
    )
    require_label_field(samples, label_field)
    dataset = samples._dataset
    runs.require_free_key(dataset, key, plan.field_names(), overwrite=overwrite, method=runs.SCORING)
    base = Path(output_dir).expanduser() if output_dir else files.default_output_dir(dataset.name, key)
    files.require_writable(base.parent if not base.exists() else base, 1)
    if model is not None and from_logits is not None:
        model_options["from_logits"] = from_logits
    source = open_source(samples, model=model, probabilities=probabilities, batch_size=batch_size, **model_options)
    if progress is not None:
        return _run(samples, plan, source, base, progress)
    with terminal_bar("checking labels") as bar:
        return _run(samples, plan, source, base, bar)


def _require_methods(methods: Sequence[str], score: str | None) -> tuple[str, ...]:
    wanted = [methods] if isinstance(methods, str) else list(methods)
    wanted = list(dict.fromkeys([*wanted, *([score] if score else []), "softmin"]))
    unknown = [name for name in wanted if name not in quality.METHODS]
    if unknown:
        raise LabelQualityError(f"Expected `methods` among {list(quality.METHODS)}, but got {unknown}")
    return tuple(wanted)


def _run(samples: Any, plan: ScoringPlan, source: ProbabilitySource, base: Path, progress: Progress) -> ScoringReport:
    started = time.monotonic()
    dataset = samples._dataset
    scan = scan_labels(samples, plan.label_field, progress=progress)
    classes = classes_of_field(
        mask_targets_of(samples, plan.label_field), scan.values, plan.ignore_index, plan.label_field
    )
    files.require_writable(base.parent if not base.exists() else base, _bytes_needed(plan, scan))
    classes = _fit_classes(classes, plan, source, scan)
    folder = _claim(dataset, plan, source, classes, base)
    stage = _Stage(plan, classes, folder.path, mask_reader(samples, plan.label_field))
    pending = [image for image in scan.images if not stage.record_path(image).exists()]
    failed = stage.predict(source, pending, progress)
    scored = [image for image in scan.images if image.sample_id not in failed]
    if not scored:
        raise LabelQualityError(f"No image could be scored: {next(iter(failed.values())).reason}")
    findings = stage.judge(scored, progress)
    skipped = [*scan.skipped, *failed.values()]
    warnings = _warnings(findings, classes, source, scan.images, skipped)
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
    )
    _write(dataset, samples, plan, stage, scored, findings, classes, source, report)
    folder.finish()
    return report


def _bytes_needed(plan: ScoringPlan, scan: LabelScan) -> int:
    """Half a byte per pixel for the heatmap, a tenth for the flags, one and a half for the record."""
    pixels = sum(image.size[0] * image.size[1] for image in scan.images)
    return int(pixels * (1.5 + 0.5 * plan.write_map + 0.1 * plan.write_issues)) + 1_000_000


def _fit_classes(classes: ClassMap, plan: ScoringPlan, source: ProbabilitySource, scan: LabelScan) -> ClassMap:
    """Predict one image to learn how many channels there are, and try everything on it once."""
    failure: Exception | None = None
    for image, result in source.stream(scan.images[:_PROBES]):
        if isinstance(result, Exception):
            failure = failure or result
            continue
        if result.ndim != 3:
            raise LabelQualityError(
                f"Expected probabilities of shape (K, H, W), but got {tuple(result.shape)} for {image.filepath}"
            )
        return match_channels(classes, int(result.shape[0]), source.class_names, plan.class_mapping)
    if isinstance(failure, LabelQualityError):
        raise failure
    raise LabelQualityError(f"The first {min(_PROBES, len(scan.images))} images gave no probabilities: {failure}")


def _claim(
    dataset: Any, plan: ScoringPlan, source: ProbabilitySource, classes: ClassMap, base: Path
) -> files.RunFolder:
    existing = runs.find_run(dataset, plan.key)
    fingerprint = {
        "label_field": plan.label_field,
        "source": source.description,
        "classes": [[value, name] for value, name in zip(classes.values, classes.names, strict=True)],
        "ignored": sorted(classes.ignored),
        "methods": sorted(plan.methods),
        "temperature": plan.temperature,
        "from_logits": plan.from_logits,
        "write_map": plan.write_map,
    }
    return files.claim_folder(
        base,
        f"{runs.dataset_id(dataset)}/{plan.key}",
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
    """

    scores: dict[str, dict[str, float]]
    issue_shares: dict[str, float]
    issue_paths: dict[str, str]
    pairs: np.ndarray
    totals: quality.Totals
    suspicion: str | None

    @property
    def flagged_share(self) -> float:
        """Share of all labelled pixels that are flagged."""
        return float(self.pairs.sum() / max(self.totals.num_valid, 1))

    def pair_rows(self, classes: ClassMap, most: int = 20) -> list[tuple[str, str, int]]:
        """The commonest (given, predicted, pixels)."""
        flat = np.argsort(-self.pairs, axis=None, kind="stable")[:most]
        rows = ((int(i) // len(classes), int(i) % len(classes)) for i in flat)
        return [(classes.names[g], classes.names[p], int(self.pairs[g, p])) for g, p in rows if self.pairs[g, p] > 0]

    def class_scores(self, classes: ClassMap) -> dict[str, float]:
        """Mean self-confidence of the pixels labelled as each class."""
        means = self.totals.class_thresholds
        counts = self.totals.class_pixels
        return {name: round(float(means[i]), 4) for i, name in enumerate(classes.names) if counts[i] > 0}


@dataclass(frozen=True)
class _Stage:
    """The part of a run that works image by image, in one folder."""

    plan: ScoringPlan
    classes: ClassMap
    folder: Path
    read_mask: Callable[[str], np.ndarray]

    def record_path(self, image: LabelledImage) -> Path:
        # The mask's hash is in the name: an edited label is scored again, an unchanged one is not.
        return self.folder / "records" / f"{image.sample_id}-{image.digest}.npz"

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
                if done == 1 or _is_about_the_folder(error):
                    raise _named(error, image) from error
                failed[image.sample_id] = SkippedSample(image.sample_id, image.filepath, str(error))
            progress(done, len(images), "scoring labels")
        return failed

    def _record(self, image: LabelledImage, probabilities: Any) -> None:
        label = self.classes.indices(self.read_mask(image.sample_id))
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
        path = self.record_path(image)
        path.parent.mkdir(exist_ok=True)
        record.without_maps().save(path)  # last: a record says that everything of its image is written

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
            progress(done, len(images), "flagging pixels")
        return Findings(scores, shares, paths, pairs, totals, quality.in_sample_suspicion(totals))


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
    empty = sum(np.isnan(score) for score in findings.scores["softmin"].values())
    if empty:
        warnings.append(f"{empty} images hold ignored pixels only and have no score")
    if len(skipped) > len(images) // 2:
        warnings.append(f"{len(skipped)} samples were left out; see `report.skipped`")
    return warnings


def _write(
    dataset: Any,
    samples: Any,
    plan: ScoringPlan,
    stage: _Stage,
    images: Sequence[LabelledImage],
    findings: Findings,
    classes: ClassMap,
    source: ProbabilitySource,
    report: ScoringReport,
) -> None:
    """Put everything on the dataset, replacing an earlier run under the same key."""
    existing = runs.find_run(dataset, plan.key)
    if existing is not None:
        runs.remove_results(dataset, existing)
    names = plan.fields
    score_title = quality.METHOD_TITLES[plan.score]
    sample_fields.write_numbers(
        dataset, plan.key, _finite(findings.scores[plan.score]), f"Label quality, 0 (wrong) to 1 (fine): {score_title}"
    )
    for method in plan.methods:
        values = _finite(findings.scores[method])
        sample_fields.write_numbers(dataset, names.method(method), values, quality.METHOD_TITLES[method])
    shares = _finite(findings.issue_shares)
    sample_fields.write_numbers(dataset, names.issue_share, shares, "Share of the labelled pixels that are flagged")
    if plan.write_issues:
        text = "Pixels whose label confident learning takes for wrong"
        sample_fields.write_segmentations(dataset, names.issues, findings.issue_paths, text, {1: "issue"})
    if plan.write_map:
        paths = {image.sample_id: str(stage.map_path(image)) for image in images}
        sample_fields.write_heatmaps(dataset, names.map, paths, "How suspicious each pixel is: 1 - self-confidence")
    _show(dataset, samples, plan, classes, report)
    record = runs.RunRecord(
        key=plan.key,
        method=runs.SCORING,
        label_field=plan.label_field,
        parameters={**_plain(asdict(plan)), "source": source.description, "versions": _versions(),
                    "class_thresholds": [float(t) for t in findings.totals.class_thresholds]},
        fields=report.fields,
        views=report.views,
        output_dir=report.output_dir,
        summary=report.as_dict(),
    )  # fmt: skip
    runs.register_run(dataset, record)


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
    # The photo under the flagged pixels says more than the label, which would cover both.
    shown = [names.issues if plan.write_issues else plan.label_field, plan.key]
    appearance.show_fields(dataset, shown)
    scored = dataset.exists(plan.key)
    appearance.save_view(
        dataset, report.views[0], scored.sort_by(plan.key).limit(_NUM_WORST), f"The {_NUM_WORST} lowest `{plan.key}`"
    )
    flagged = dataset.match({names.issue_share: {"$gt": 0}}).sort_by(names.issue_share, reverse=True)
    appearance.save_view(dataset, report.views[1], flagged, "Images with flagged pixels, most first")


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
    record = runs.find_run(samples._dataset, key)
    if record is None or record.method != runs.SCORING:
        keys = [run.key for run in runs.list_runs(samples._dataset, runs.SCORING)]
        raise LabelQualityError(f"Expected the key of a scoring run, but got {key!r}; there are {keys or 'none'}")
    return ScoringReport.from_dict(record.summary)
