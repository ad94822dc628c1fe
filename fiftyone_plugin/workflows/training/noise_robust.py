"""Train well on labels that are partly wrong, and propose corrected ones; the given labels are never written.

The training is `models.train_noise_robust` (ADELE, Liu et al., CVPR 2022, arXiv 2110.03740). What it proposes is a
second label field, and regions with old and new class that a person accepts or rejects like those of a scoring run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ... import models
from ...dataset.door.account import account_of, class_table, own_channels, recorded_rows
from ...dataset.door.backgrounds import background_class
from ...dataset.door.classes import IGNORED, ClassMap
from ...dataset.door.scan import LabelScan, mask_targets_of, require_label_field, scan_labels
from ...dataset.door.slices import every_slice
from ...dataset.fields import appearance
from ...dataset.fields import schema as sample_fields
from ...dataset.fields.regions import declare_regions, make_patches, write_regions
from ...dataset.fields.schema import ScoreFields
from ...dataset.runs import files, run_records
from ...dataset.runs.run_writing import RunWriting, write_run
from ...errors import LabelQualityError
from ...options import split, takes
from ...progress import Progress, terminal_bar
from ...wording import count, of_file
from ..checking.first_look import first_look
from ..scoring.issue_regions import check_region_options
from .cross_validated import fold_numbers, left_out, metric_lines, training_examples, training_fingerprint
from .label_proposals import Proposals, ProposalStage, propose
from .noise_robust_options import NoiseRobustOptions

if TYPE_CHECKING:
    from ...models import LearningCurves, NoiseRobust

Variant = Literal["voc", "segthor"]

_WHOLE, _FOLDS = Path("model") / "all", Path("model") / "folds"
_BYTES_PER_MODEL = 250_000_000
_IMAGES_AT_ONCE = 200
_THRESHOLD = 0.8
_METHOD_OPTIONS = (
    "variant", "correction", "consistency", "per_class", "threshold", "relative_change", "latest_epoch", "gate",
    "background",
)  # fmt: skip


@dataclass(frozen=True)
class NoiseRobustFields:
    """Names of the fields of a noise-robust training.

    Example:
        >>> NoiseRobustFields("noise_robust").regions
        'noise_robust_regions'
    """

    key: str

    @property
    def labels(self) -> str:
        """The labels as the training would correct them, a mask for every image that it saw."""
        return f"{self.key}_labels"

    @property
    def changed(self) -> str:
        """Share of the image's labelled pixels that differ from the given ones."""
        return f"{self.key}_changed_share"

    @property
    def fold(self) -> str:
        """Fold of each image, where out-of-fold models were asked for."""
        return f"{self.key}_fold"

    @property
    def regions(self) -> str:
        """Detections: the changes one by one."""
        return ScoreFields(self.key).regions

    @property
    def num_regions(self) -> str:
        """How many of them the image has."""
        return ScoreFields(self.key).num_regions


@dataclass(frozen=True)
class NoiseRobustReport:
    """What a noise-robust training left.

    Attributes:
        key: the run's key
        network_folder: folder of the model, usable as a model anywhere; it has seen all these images
        fold_models: folder of out-of-fold models, None if they were not asked for; pass it as `model` to
            `score_label_quality`
        num_trained: images that took part
        skipped: (sample id, file, reason) of the others
        classes: class names
        epochs: of the training
        fired: class to the epoch after which its labels were corrected; classes that never were are left out
        num_changed: images whose label would change
        changed_share: share of all labelled pixels that would
        pairs: (given class, proposed class, pixels), most frequent first
        num_regions: proposals in `{key}_regions`
        passed_over: changed spots that were too small for a region, or beyond the limit per image
        left_out: proposals that a reviewer has rejected earlier; the proposed label is the given one there
        metrics: per fold, of out-of-fold models on unseen images, against the given labels
        notes: what a person should know of the labels, one sentence each
        class_rows: the account of classes: mask value, name, channel of the model, what is left out and why
    """

    key: str
    network_folder: str
    fold_models: str | None
    num_trained: int
    skipped: list[tuple[str, str, str]]
    classes: list[str]
    epochs: int
    fired: dict[str, int]
    num_changed: int
    changed_share: float
    pairs: list[tuple[str, str, int]]
    num_regions: int
    passed_over: int
    left_out: int
    metrics: list[dict[str, float]]
    notes: list[str] = field(default_factory=list)
    class_rows: list[dict[str, str]] = field(default_factory=list)

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [
            f"**Trained for {count(self.epochs, 'epoch')}** on {count(self.num_trained, 'image')}, "
            f"{count(len(self.classes), 'class')}."
        ]
        fired = ", ".join(f"{name} {epoch}" for name, epoch in sorted(self.fired.items(), key=lambda item: item[1]))
        lines.append(
            f"- labels of a class were corrected after the epoch in which the network began to memorise them: {fired}"
            if fired
            else "- no label was corrected: no class has begun to be memorised; train longer"
        )
        if self.fired:
            lines.append(
                f"- **{count(self.num_changed, 'image')}** with a corrected label in `{self.key}_labels`, "
                f"{100 * self.changed_share:.1f} % of all labelled pixels; the given labels are as they were"
            )
            lines += [f"  - {given} → {new}: {count(pixels, 'pixel')}" for given, new, pixels in self.pairs[:5]]
            lines.append(f"- {count(self.num_regions, 'region')} to accept or reject in `{self.key}_regions`")
        if self.passed_over:
            lines.append(
                f"- {count(self.passed_over, 'changed spot')} in the labels only: too small, or beyond the limit"
            )
        if self.left_out:
            lines.append(f"- left out: {count(self.left_out, 'proposal')} that a review rejected earlier")
        if self.metrics:
            lines.append("- how far models agree with the given labels, on images that they have not seen (1 = fully):")
            lines += metric_lines(self.metrics)
        lines += [f"- {note}" for note in self.notes]
        if self.skipped:
            lines.append(f"- {count(len(self.skipped), 'sample', 'were')} left out: {of_file(*self.skipped[0][1:])}")
        lines += class_table(self.class_rows)
        return "\n".join(lines)


@takes(NoiseRobustOptions)
def train_noise_robust(
    samples: Any, label_field: str = "ground_truth", *, progress: Progress | None = None, **keywords: Any
) -> NoiseRobustReport:
    """Train a segmenter that does not memorise wrong labels, and propose corrected labels.

    Every image that was trained on gets a mask in `{key}_labels`, also where nothing changed, so that the field can be
    trained on or compared as it is. What changed is in `{key}_regions`, region by region, to be accepted or rejected.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: its `Segmentation` field; read, never written
        progress: told how far the job is; a bar in the terminal if None
        options: those of `NoiseRobustOptions`
        keywords: further options of `models.train_noise_robust`: batch_size, crop_size, lr, seed, device, ...

    Returns:
        when each class fired, and what would change

    Raises:
        LabelQualityError: if the arguments or the data cannot be used, or memory is too small (the message names a
            batch size that fits)

    Example:
        >>> train_noise_robust(dataset, "ground_truth")                            # doctest: +SKIP
        >>> dataset.load_saved_view("noise_robust regions")                        # doctest: +SKIP
    """
    chosen, training_options = split(NoiseRobustOptions, keywords)
    samples = require_label_field(samples, label_field)
    check_region_options(chosen.min_region_area, chosen.max_regions_per_image)
    dataset, names = samples._dataset, NoiseRobustFields(chosen.key)
    written = [names.labels, names.regions, names.num_regions, names.changed] if chosen.correction else []
    written += [names.fold] if chosen.out_of_fold else []
    kind = run_records.NOISE_ROBUST
    run_records.require_free_key(dataset, chosen.key, written, overwrite=chosen.overwrite, method=kind)
    base = Path(chosen.output_dir).expanduser() if chosen.output_dir else files.default_output_dir(dataset, chosen.key)
    num_models = 1 + chosen.folds * chosen.out_of_fold
    files.require_writable(base.parent if not base.exists() else base, num_models * _BYTES_PER_MODEL)
    options = {
        "arch": chosen.architecture,
        "encoder": chosen.encoder,
        "weights": chosen.weights,
        "epochs": chosen.epochs,
        **training_options,
    }

    def run(report: Progress) -> NoiseRobustReport:
        scan = scan_labels(samples, label_field, progress=report)
        faults = first_look(samples, label_field, scan, chosen.ignore_index)
        classes = own_channels(account_of(samples, label_field, scan.values, chosen.ignore_index))
        method = training_method(classes, **{name: getattr(chosen, name) for name in _METHOD_OPTIONS})
        examples = training_examples(samples, label_field, classes, scan.images, chosen.group_field)
        if chosen.out_of_fold:  # fewer images than folds are noticed before anything is trained
            seed = options.get("seed", 0)
            models.assign_folds([e.key for e in examples], chosen.folds, seed, [e.group for e in examples])
        parameters = {
            **options, "method": method.config, "out_of_fold": chosen.folds if chosen.out_of_fold else None,
            "regions": [chosen.min_region_area, chosen.max_regions_per_image],
        }  # fmt: skip
        planned = run_records.RunRecord(chosen.key, kind, label_field, {}, written)
        fingerprint = training_fingerprint(label_field, classes, scan.images, parameters)
        given = _TrainingInput(samples, label_field, classes, scan, examples, options, chosen.resume, faults)
        with write_run(
            dataset, planned, base, fingerprint, overwrite=chosen.overwrite, resume=chosen.resume
        ) as writing:
            return train(given, method, parameters, writing, writing.watched(report))

    def train(
        given: _TrainingInput, method: NoiseRobust, parameters: dict[str, Any], folder: RunWriting, report: Progress
    ) -> NoiseRobustReport:
        found = _train(given, folder.folder, method, chosen.folds if chosen.out_of_fold else None, report)
        scan, classes = given.scan, given.classes
        stage = ProposalStage(folder.path, classes, chosen.min_region_area, chosen.max_regions_per_image)
        proposals = (
            propose(samples, label_field, scan, found.whole, stage, report) if chosen.correction else Proposals()
        )
        result = _report(chosen.key, given, found, proposals, folder.path)
        folder.replace_results(_view_names(names, proposals))
        views = _write_fields(given, names, found, proposals, stage) if written else []
        folder.finish(_record(result, label_field, written, views, folder.path, parameters))
        return result

    if progress is not None:
        return run(progress)
    with terminal_bar("checking labels") as bar:
        return run(bar)


def training_method(
    classes: ClassMap,
    *,
    variant: Variant | None = None,
    correction: bool = True,
    consistency: bool = True,
    per_class: bool = True,
    threshold: float | Mapping[str, float] | None = None,
    relative_change: float | None = None,
    latest_epoch: int | None = None,
    gate: Literal["image", "pixel"] | None = None,
    background: int | str | None = "auto",
) -> NoiseRobust:
    """The way of training that some options stand for, for `models.train_noise_robust` and `cross_validate`.

    Args:
        classes: of the label field
        variant: as in `train_noise_robust`, like all that follow
        correction: whether labels are corrected
        consistency: whether scales have to agree
        per_class: each class has its own trigger
        threshold: of the predictions that correct
        relative_change: of the trigger
        latest_epoch: of the trigger
        gate: of consistency
        background: class that stands for none of the others

    Returns:
        the method

    Raises:
        LabelQualityError: an unknown variant or class, or a value out of its range

    Example:
        >>> classes = ClassMap((0, 1), ("background", "organ"), frozenset())
        >>> training_method(classes, threshold={"organ": 0.7}).correction.threshold
        (0.8, 0.7)
    """
    method = models.NoiseRobust() if variant is None else models.published_method(variant)
    trigger = replace(
        method.trigger,
        latest_epoch=method.trigger.latest_epoch if latest_epoch is None else latest_epoch,
        relative_change=method.trigger.relative_change if relative_change is None else relative_change,
    )
    rule, scales = method.correction, method.consistency
    if rule is not None:
        chosen = rule.threshold if threshold is None else _thresholds(threshold, classes)
        rule = replace(rule, background=background_class(classes, background), threshold=chosen)
    if scales is not None and gate is not None:
        scales = replace(scales, gate=gate)
    return replace(
        method,
        trigger=trigger,
        correction=rule if correction else None,
        consistency=scales if consistency else None,
        per_class=per_class,
    )


def _thresholds(threshold: float | Mapping[str, float], classes: ClassMap) -> float | tuple[float, ...]:
    if not isinstance(threshold, Mapping):
        return float(threshold)
    unknown = [name for name in threshold if name not in classes.names]
    if unknown:
        raise LabelQualityError(f"Expected `threshold` by class among {list(classes.names)}, but got {unknown}")
    return tuple(float(threshold.get(name, _THRESHOLD)) for name in classes.names)


@dataclass(frozen=True)
class _TrainingInput:
    """What is trained on and how."""

    samples: Any
    label_field: str
    classes: ClassMap
    scan: LabelScan
    examples: list[Any]
    options: dict[str, Any]
    resume: bool
    notes: list[str]


@dataclass(frozen=True)
class _Trained:
    """The model of all images, and those of the folds where they were asked for."""

    whole: models.NoiseRobustResult
    folds: models.CrossValidation | None


def _train(
    given: _TrainingInput, folder: files.RunFolder, method: NoiseRobust, folds: int | None, report: Progress
) -> _Trained:
    common: dict[str, Any] = {
        "num_classes": len(given.classes), "class_names": list(given.classes.names), "ignore_index": IGNORED,
        "method": method, "resume": given.resume, "progress": report, **given.options,
    }  # fmt: skip
    whole = models.train_noise_robust(given.examples, folder.subfolder(str(_WHOLE)), **common)
    if folds is None:
        return _Trained(whole, None)
    return _Trained(whole, models.cross_validate(given.examples, folder.subfolder(str(_FOLDS)), folds=folds, **common))


def _write_fields(
    given: _TrainingInput, names: NoiseRobustFields, found: _Trained, proposals: Proposals, stage: ProposalStage
) -> list[str]:
    """Write everything to the dataset; names of the saved views."""
    dataset, classes = given.samples._dataset, given.classes
    if found.folds is not None:
        fold_of = {image.sample_id: found.folds.fold_of.get(image.filepath) for image in given.scan.images}
        text = "Fold of the image: the model of this fold has not seen it"
        sample_fields.write_numbers(dataset, names.fold, fold_of, text, integer=True)
    if not proposals.masks:
        return []
    targets = mask_targets_of(given.samples, given.label_field)
    text = f"`{given.label_field}` as noise-robust training would correct it"
    sample_fields.write_segmentations(dataset, names.labels, proposals.masks, text, targets)
    text = "Share of the labelled pixels that would change"
    sample_fields.write_numbers(dataset, names.changed, proposals.shares, text)
    _write_regions(dataset, names, proposals, stage)
    if not classes.rgb:
        appearance.color_classes(dataset, [given.label_field, names.labels], classes.value_names)
    appearance.color_regions(dataset, names.regions)
    appearance.show_fields(dataset, [names.regions, names.changed])
    views = _view_names(names, proposals)
    changed = every_slice(dataset).match({names.changed: {"$gt": 0}}).sort_by(names.changed, reverse=True)
    appearance.save_view(dataset, views[0], changed, "Images whose label would change, most first")
    if any(proposals.per_image.values()):
        patches = make_patches(dataset, names.regions)
        appearance.save_view(dataset, views[1], patches, "Proposed changes, most confident first")
    return views


def _view_names(names: NoiseRobustFields, proposals: Proposals) -> list[str]:
    if not proposals.masks:
        return []
    return [f"{names.key} changed", *([f"{names.key} regions"] if any(proposals.per_image.values()) else [])]


def _write_regions(dataset: Any, names: NoiseRobustFields, proposals: Proposals, stage: ProposalStage) -> None:
    import fiftyone as fo

    declare_regions(dataset, names.regions)
    text = "Finished epochs when the labels of most of these pixels were corrected"
    dataset.add_sample_field(f"{names.regions}.detections.epoch", fo.IntField, description=text)
    for sample_ids in _chunks(list(proposals.per_image), _IMAGES_AT_ONCE):
        write_regions(dataset, names.regions, {i: stage.documents(i, proposals) for i in sample_ids})
    text = "How many regions of the label would change"
    sample_fields.write_numbers(dataset, names.num_regions, proposals.per_image, text, integer=True)


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _report(key: str, given: _TrainingInput, found: _Trained, proposals: Proposals, folder: Path) -> NoiseRobustReport:
    names = [*given.classes.names, "ignored"]  # `IGNORED` = -1 is the last entry
    curves = found.whole.curves
    pairs = [(names[old], names[new], pixels) for (old, new), pixels in proposals.pairs.most_common()]
    metrics = () if found.folds is None else found.folds.metrics
    return NoiseRobustReport(
        key=key,
        network_folder=str(folder / _WHOLE),
        fold_models=None if found.folds is None else str(folder / _FOLDS),
        num_trained=len(found.whole.keys),
        skipped=left_out(given.scan, found.whole.skipped),
        classes=list(given.classes.names),
        epochs=curves.epochs,
        fired=_fired(curves, given.classes.names),
        num_changed=sum(share > 0 for share in proposals.shares.values()),
        changed_share=proposals.changed / max(proposals.labelled, 1),
        pairs=pairs,
        num_regions=sum(proposals.per_image.values()),
        passed_over=proposals.passed_over,
        left_out=proposals.left_out,
        metrics=[fold_numbers(row) for row in metrics],
        notes=given.notes,
        class_rows=recorded_rows(given.classes),
    )


def _fired(curves: LearningCurves, names: Sequence[str]) -> dict[str, int]:
    if curves.common is not None:
        return {} if curves.common.fired is None else {"all classes": curves.common.fired}
    return {names[curve.index]: curve.fired for curve in curves.classes if curve.fired is not None}


def _record(
    report: NoiseRobustReport,
    label_field: str,
    written: list[str],
    views: list[str],
    folder: Path,
    parameters: Mapping[str, Any],
) -> run_records.RunRecord:
    plain = {name: _plain(value) for name, value in parameters.items()}
    plain |= {"network_folder": report.network_folder}
    plain |= {"model_folder": report.fold_models} if report.fold_models else {}
    return run_records.RunRecord(
        key=report.key,
        method=run_records.NOISE_ROBUST,
        label_field=label_field,
        parameters=plain,
        fields=written,
        views=views,
        output_dir=str(folder),
        summary={
            "classes": report.classes,
            "class_rows": report.class_rows,
            "epochs": report.epochs,
            "fired": _plain(report.fired),
            "num_trained": report.num_trained,
            "num_changed": report.num_changed,
            "changed_share": report.changed_share,
            "pairs": _plain(report.pairs),
            "num_regions": report.num_regions,
            "metrics": report.metrics,
        },
    )


def _plain(value: Any) -> Any:
    """Values that JSON and MongoDB take."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | bool | None) else str(value)
