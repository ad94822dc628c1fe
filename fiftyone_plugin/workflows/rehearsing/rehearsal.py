"""Put known errors into a copy of the labels, and see how many of them a scoring run finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from ...dataset.door.account import account_of, class_table, recorded_rows
from ...dataset.door.backgrounds import background_class
from ...dataset.door.classes import ClassMap
from ...dataset.door.mask_forms import encode_mask
from ...dataset.door.scan import LabelScan, mask_reader, mask_targets_of, require_label_field, scan_labels
from ...dataset.door.slices import every_slice
from ...dataset.fields import appearance
from ...dataset.fields import schema as sample_fields
from ...dataset.runs import files, run_records
from ...dataset.runs.run_writing import RunWriting, write_run
from ...errors import LabelQualityError
from ...progress import Progress, terminal_bar
from ...quality import known_errors
from ...wording import count
from ..checking.first_look import first_look

DEFAULT_KEY = "rehearsal"


@dataclass(frozen=True)
class InjectionReport:
    """What was put into the labels.

    Attributes:
        key: the run's key
        into: the field with the labels and their errors
        error_field: the kind of each image's error; empty where the label is as it was
        num_images: images in the new field
        kinds: error kind to number of images
        skipped: (sample id, file, reason) of samples that are not in the new field
        class_rows: the account of classes: mask value, name, what is left out and why
        warnings: what is wrong with the labels, as far as reading them has shown it
    """

    key: str
    into: str
    error_field: str
    num_images: int
    kinds: dict[str, int]
    skipped: list[tuple[str, str, str]]
    class_rows: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """The report as a person reads it."""
        listed = ", ".join(f"{kind} {number:,}" for kind, number in sorted(self.kinds.items()))
        total = sum(self.kinds.values())
        lines = [
            f"**{total:,} of {count(self.num_images, 'image')} with one known error now**, in `{self.into}` "
            f"({listed}); the kind is in `{self.error_field}`. The given labels are as they were.",
            *(f"- **{warning}**" for warning in self.warnings),
            f"- next: train and score on `{self.into}`, then see whether these images come out on top",
            *class_table(self.class_rows),
        ]
        return "\n".join(lines)


def inject_label_errors(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    into: str | None = None,
    fraction: float = 0.2,
    kinds: Sequence[str] = (),
    seed: int = 51,
    background: int | str | None = "auto",
    outline_steps: Sequence[int] = (2, 3, 4),
    outline_area: int = 1000,
    key: str = DEFAULT_KEY,
    ignore_index: int | str | Sequence[int | str] | None = "auto",
    output_dir: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> InjectionReport:
    """Write a copy of the labels in which some images have one known error each.

    A rehearsal: what a scoring run finds among these errors tells what it will find among real ones.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: its `Segmentation` field; read, never written
        into: the new field; `{label_field}_with_errors` if None, and `_{key}` behind it where the key is another
        fraction: share of the images that get an error
        kinds: of `known_errors.ERROR_KINDS` and `known_errors.OUTLINE_KINDS`; all of the former if empty. Both of the
            latter with a `fraction` of 1 are the noise of ADELE's SegTHOR experiment
        seed: decides which images, which errors and where
        background: class that objects stand on, for outline kinds, by name or mask value; None = the classes that fill
            a tenth of an image and more; "auto" = the class that is called background or the like
        outline_steps: numbers of erosions or dilations to choose from, for outline kinds
        outline_area: pixels that a class has at the scale at which it is eroded or dilated
        key: name of the run
        ignore_index: as in `score_label_quality`; ignored pixels are never touched
        output_dir: folder for the masks; beside FiftyOne's dataset files if None
        overwrite: whether to replace a run under the same key
        progress: told how far the job is; a bar in the terminal if None

    Returns:
        which errors were made; the field `{into}_error` says where

    Raises:
        LabelQualityError: if the arguments or the data cannot be used
    """
    samples = require_label_field(samples, label_field)
    dataset = samples._dataset
    into = into or f"{label_field}_with_errors" + ("" if key == DEFAULT_KEY else f"_{key}")
    error_field = f"{into}_error"
    wanted = _require_kinds(kinds)
    if not 0 < fraction <= 1:
        raise LabelQualityError(f"Expected `fraction` in (0, 1], but got {fraction}")
    run_records.require_free_key(dataset, key, [into, error_field], overwrite=overwrite, method=run_records.REHEARSAL)
    base = Path(output_dir).expanduser() if output_dir else files.default_output_dir(dataset, key)
    files.require_writable(base.parent if not base.exists() else base, 1_000_000)
    parameters: dict[str, Any] = {"fraction": fraction, "kinds": list(wanted), "seed": seed}
    if set(wanted) & set(known_errors.OUTLINE_KINDS):
        parameters |= {"background": background, "outline_steps": list(outline_steps), "outline_area": outline_area}

    def run(report: Progress) -> InjectionReport:
        scan = scan_labels(samples, label_field, progress=report)
        faults = first_look(samples, label_field, scan, ignore_index)
        classes = account_of(samples, label_field, scan.values, ignore_index)
        planned = run_records.RunRecord(key, run_records.REHEARSAL, label_field, parameters, [into, error_field])
        fingerprint = {"label_field": label_field, **parameters}
        with write_run(dataset, planned, base, fingerprint, overwrite=overwrite) as writing:
            return replace(inject(scan, classes, writing, writing.watched(report)), warnings=faults)

    def inject(scan: LabelScan, classes: ClassMap, writing: RunWriting, report: Progress) -> InjectionReport:
        read = mask_reader(samples, label_field)
        plan = _plan(len(scan.images), fraction, wanted, seed)
        index = background_class(classes, background)
        outlines = {
            "background": None if index is None else classes.values[index], "steps": outline_steps, "area": outline_area
        }  # fmt: skip
        errors: dict[str, str] = {}
        paths: dict[str, str] = {}
        for number, (image, kind) in enumerate(zip(scan.images, plan, strict=True), start=1):
            mask = classes.mask_values(read(image.sample_id))
            if (
                kind is not None
                and (made := _corrupt(mask, kind, wanted, classes, [seed, number], outlines)) is not None
            ):
                mask, errors[image.sample_id] = made
            path = writing.path / "masks" / f"{image.sample_id}.png"
            write_mask(path, mask, classes, image.mask_path)
            paths[image.sample_id] = str(path)
            report(number, len(scan.images), "injecting errors")
        writing.replace_results([])
        text = f"`{label_field}` with known errors, for a rehearsal"
        sample_fields.write_segmentations(dataset, into, paths, text, mask_targets_of(samples, label_field))
        sample_fields.write_strings(dataset, error_field, errors, "Kind of the injected error; empty = label as it was")
        if not classes.rgb:
            appearance.color_classes(dataset, [label_field, into], classes.value_names)
        skipped = [(skip.sample_id, skip.filepath, skip.reason) for skip in scan.skipped]
        rows = recorded_rows(classes)
        result = InjectionReport(key, into, error_field, len(paths), dict(Counter(errors.values())), skipped, rows)
        writing.finish(
            run_records.RunRecord(
                key=key,
                method=run_records.REHEARSAL,
                label_field=label_field,
                parameters=parameters,
                fields=[into, error_field],
                output_dir=str(writing.path),
                summary={"kinds": result.kinds, "num_images": result.num_images, "class_rows": rows},
            ),
        )
        return result

    if progress is not None:
        return run(progress)
    with terminal_bar("checking labels") as bar:
        return run(bar)


def _require_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    wanted = tuple([kinds] if isinstance(kinds, str) else kinds) or tuple(known_errors.ERROR_KINDS)
    choices = [*known_errors.ERROR_KINDS, *known_errors.OUTLINE_KINDS]
    unknown = [kind for kind in wanted if kind not in choices]
    if unknown:
        raise LabelQualityError(f"Expected `kinds` among {choices}, but got {unknown}")
    return wanted


def _plan(num_images: int, fraction: float, kinds: Sequence[str], seed: int) -> list[str | None]:
    """The kind of each image's error, or None."""
    if all(kind in known_errors.ERROR_KINDS for kind in kinds):
        return known_errors.plan_errors(num_images, fraction, kinds, seed)
    chosen = known_errors.plan_errors(num_images, fraction, seed=seed)
    turns = cycle(np.random.default_rng(seed).permutation(list(kinds)).tolist())
    return [None if kind is None else next(turns) for kind in chosen]


def _corrupt(
    mask: np.ndarray,
    kind: str,
    kinds: Sequence[str],
    classes: ClassMap,
    seed: Sequence[int],
    outlines: Mapping[str, Any],
) -> tuple[np.ndarray, str] | None:
    """Make the planned error, or another of the wanted kinds where the mask offers nothing for it."""
    values = [value for value in classes.values if value is not None]
    ignored = sorted(classes.ignored)
    for choice in [kind, *(other for other in kinds if other != kind)]:
        rng = np.random.default_rng(seed)
        common: dict[str, Any] = {"class_ids": values, "ignore_index": ignored}
        make: Any = known_errors.inject_error
        if choice in known_errors.OUTLINE_KINDS:
            make, common = known_errors.redraw_outlines, {**common, **outlines}
        made = make(mask, choice, rng, **common)
        if made is not None:
            return made.mask, made.kind
    return None


def write_mask(path: Path, mask: np.ndarray, classes: ClassMap, like: str | None = None) -> None:
    """Write a mask as FiftyOne reads it: in the form of the label that it is made of.

    Args:
        path: PNG
        mask: (H, W) mask values, packed colours of an RGB field
        classes: of the field
        like: file of that label; None if it is in the database
    """
    files.write_bytes(path, encode_mask(mask, rgb=classes.rgb, like=like))


@dataclass(frozen=True)
class RehearsalResult:
    """How many of the known errors a score puts among the worst-ranked images.

    Attributes:
        num_images: images with a score
        num_errors: of those, images with an injected error
        found: of those, images among the `num_errors` worst-ranked
        auroc: probability that a random image with an error scores below a random one without
        found_by_kind: error kind to (found, all)
    """

    num_images: int
    num_errors: int
    found: int
    auroc: float
    found_by_kind: dict[str, tuple[int, int]]

    def text(self) -> str:
        """One paragraph for a terminal."""
        chance = self.num_errors / self.num_images
        kinds = ", ".join(f"{kind} {found}/{all_}" for kind, (found, all_) in sorted(self.found_by_kind.items()))
        return (
            f"{self.found} of {count(self.num_errors, 'injected error')} found among the {self.num_errors} "
            f"worst-ranked of {count(self.num_images, 'image')} (by chance: {chance * self.num_errors:.1f}); AUROC "
            f"{self.auroc:.3f}.\nBy kind: {kinds}"
        )


def rehearsal_result(samples: Any, score_field: str, error_field: str) -> RehearsalResult:
    """Compare a score with the known errors.

    Args:
        samples: the dataset or a view of it
        score_field: image scores, higher = better label
        error_field: the field that `inject_label_errors` wrote

    Returns:
        how many errors are among as many worst-ranked images

    Raises:
        LabelQualityError: if all scored images, or none, have an error
    """
    from sklearn.metrics import roc_auc_score

    scores, kinds = every_slice(samples).values([score_field, error_field])
    rows = [(score, kind) for score, kind in zip(scores, kinds, strict=True) if score is not None]
    num_errors = sum(kind is not None for _, kind in rows)
    if num_errors in (0, len(rows)):
        raise LabelQualityError(
            f"Expected scored images with and without an error, but {num_errors} of {len(rows)} have one; "
            f"check `score_field` ({score_field!r}) and `error_field` ({error_field!r})"
        )
    worst = sorted(rows, key=lambda row: row[0])[:num_errors]
    found = Counter(kind for _, kind in worst if kind is not None)
    known = Counter(kind for _, kind in rows if kind is not None)
    auroc = roc_auc_score([kind is not None for _, kind in rows], [-score for score, _ in rows])
    by_kind = {kind: (found[kind], number) for kind, number in known.items()}
    return RehearsalResult(len(rows), num_errors, sum(found.values()), float(auroc), by_kind)
