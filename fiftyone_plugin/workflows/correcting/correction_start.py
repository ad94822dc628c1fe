"""Beginning to correct a label field: the run, the labels that answers will be about, and a copy of each to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...dataset.door.account import account_of, recorded_rows
from ...dataset.door.classes import ClassMap
from ...dataset.door.mask_forms import require_png_values
from ...dataset.door.scan import LabelledImage, LabelScan, mask_targets_of, require_label_field, scan_labels
from ...dataset.fields import appearance, queries, schema
from ...dataset.fields.queries import CorrectionFields
from ...dataset.journals import answers as answer_log
from ...dataset.journals.answers import Answer
from ...dataset.runs import files, run_records
from ...dataset.runs.claims import claim
from ...errors import LabelQualityError
from ...progress import Progress, silent
from .corrected_labels import ON_EDITED, derive, reconcile, take_back
from .correction_run import CorrectionRun, find_correction

_VOID = 255
"""What negative values become in a PNG."""


@files.disk_in_words()
def begin_correction(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    ignore_index: Any = "auto",
    on_edited: str = "refuse",
    output_dir: str | Path | None = None,
    progress: Progress = silent,
) -> CorrectionRun:
    """Begin to correct a label field without questions, or go on: for accepted proposals and edits by hand.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: its `Segmentation` field, which is never written
        ignore_index: as in `score_label_quality`
        on_edited: what to do with earlier answers about labels that were edited since, see `apply_corrections`
        output_dir: folder of the files; beside FiftyOne's dataset files if None
        progress: told how far the job is

    Returns:
        the run

    Raises:
        LabelQualityError: if the arguments or the data cannot be used
    """
    samples = require_label_field(samples, label_field)
    names = CorrectionFields(label_field)
    dataset = samples._root_dataset
    require_correctable(dataset, label_field)
    with claim(dataset, names.run) as held:
        watched = held.watched(progress)
        scan = scan_labels(samples, label_field, progress=watched)
        classes = account_of(samples, label_field, scan.values, ignore_index)
        run = begin(dataset, label_field, scan, classes, output_dir=output_dir, on_edited=on_edited)
        keep(run)
        write_all(run, scan.images, watched)
        run = replace(run, record=replace(run.record, finished=True))
        run_records.register_run(dataset, run.record)
    return run


def require_correctable(dataset: Any, label_field: str) -> None:
    """Check that the names of a correction are free, or those of a correction of this field.

    One of a field that was renamed since, or of the dataset that this one is a copy of, becomes its own. One whose
    record was lost is known by its answers or by what its questions are like.

    Args:
        dataset: the `fiftyone.Dataset`
        label_field: the field

    Raises:
        LabelQualityError: if they are somebody else's
    """
    names = CorrectionFields(label_field)
    find_correction(dataset, label_field)
    lost = names.run not in dataset.list_runs() and (
        dataset.has_field(f"{names.queries}.detections.audit")
        or bool(answer_log.read_answers(dataset, label_field, masks=False))
    )
    fields = [] if lost else [names.queries, names.corrected]
    run_records.require_free_key(dataset, names.run, fields, overwrite=True, method=run_records.CORRECTION)


def begin(
    dataset: Any,
    label_field: str,
    scan: LabelScan,
    classes: ClassMap,
    *,
    output_dir: str | Path | None = None,
    on_edited: str = "refuse",
) -> CorrectionRun:
    """The run of a correction that was begun earlier, or a fresh one; its record is not kept yet.

    Args:
        dataset: the `fiftyone.Dataset`
        label_field: the field
        scan: of its labels
        classes: of the field
        output_dir: folder of the files; beside FiftyOne's dataset files if None
        on_edited: what to do with earlier answers about labels that were edited since

    Returns:
        the run

    Raises:
        LabelQualityError: if labels were edited since they were answered about and `on_edited` is "refuse"
    """
    if on_edited not in ON_EDITED:
        raise LabelQualityError(f"Expected `on_edited` to be one of {list(ON_EDITED)}, but got {on_edited!r}")
    written = set(scan.values) if 255 in classes.values else set(scan.values) - {-1}  # -1 is written as 255
    require_png_values(() if classes.rgb else written)
    names = CorrectionFields(label_field)
    dataset._doc.reload("runs")  # what others have written since it was loaded
    earlier = run_records.find_run(dataset, names.run, unfinished=True)
    begun = earlier is not None and earlier.finished and all(map(dataset.has_field, earlier.fields))
    found = answer_log.read_answers(dataset, label_field, masks=False)
    # Audits are told apart by their round, also from those of a run that was deleted or lost.
    kept: dict[str, Any] = {"round": max((answer.round for answer in found), default=0)}
    owned = dict.fromkeys([names.queries, names.corrected, *(earlier.fields if earlier else [])])
    record = run_records.RunRecord(
        names.run,
        run_records.CORRECTION,
        label_field,
        {},
        list(owned),
        earlier.views if earlier else [],
        finished=begun,
    )
    if earlier is not None and earlier.output_dir and Path(earlier.output_dir).is_dir():
        files.require_writable(earlier.output_dir, sum(2 * image.size[0] * image.size[1] for image in scan.images))
        kept, record = dict(earlier.summary), replace(record, parameters=earlier.parameters)
        folder: Path | None = Path(earlier.output_dir)
    else:
        folder = _lost_folder(dataset, names) if earlier is None else None
    record = replace(record, summary=kept | _class_summary(kept, classes))
    folder = folder or _fresh_folder(dataset, record, output_dir)
    run = CorrectionRun(dataset, replace(record, output_dir=str(folder)), names, folder)
    _settle_edited(run, scan, found, on_edited)
    return run


def _class_summary(kept: Mapping[str, Any], classes: ClassMap) -> dict[str, Any]:
    """The classes of a plan, with those of earlier plans."""
    ignored = {int(value) for value in classes.ignored}
    before = {value: name for value, name in _named(kept).items() if value not in ignored}
    named = before | {int(value): name for value, name in classes.value_names.items()}
    ignored |= _written(named, ignored, classes.rgb)
    return {
        "classes": list(named.values()), "values": list(named), "ignored": sorted(ignored),
        "class_rows": recorded_rows(classes),
    }  # fmt: skip


def _fresh_folder(dataset: Any, record: run_records.RunRecord, output_dir: str | Path | None) -> Path:
    """A folder for a correction, which the run's record names before anything is in it."""
    base = Path(output_dir).expanduser() if output_dir else files.default_output_dir(dataset, record.key)
    files.require_writable(base.parent if not base.exists() else base, 1)
    owner = f"{run_records.dataset_id(dataset)}/{record.key}"

    def announce(path: Path) -> None:
        run_records.register_run(dataset, replace(record, output_dir=str(path), finished=False))

    return files.claim_folder(base, owner, {"label_field": record.label_field}, announce=announce).path


def _lost_folder(dataset: Any, names: CorrectionFields) -> Path | None:
    """The folder of a correction whose record was lost, if its corrected labels name it."""
    row = dataset._sample_collection.find_one({f"{names.corrected}.mask_path": {"$type": "string"}})
    if row is None:
        return None
    folder = Path(row[names.corrected]["mask_path"]).parent.parent
    marker = files.read_json(folder / files.MARKER) or {}
    return folder if marker.get("owner") == f"{run_records.dataset_id(dataset)}/{names.run}" else None


def keep(run: CorrectionRun) -> None:
    """Keep a run's record before its fields are written, so that an interrupted call can be made again."""
    run_records.register_run(run.dataset, run.record)
    files.RunFolder(run.folder, resumed=False).finish()


def _named(summary: Mapping[str, Any]) -> dict[int, str]:
    """Mask value to class name: of what an earlier plan saw, which may have been of other samples."""
    return dict(zip(summary.get("values", []), summary.get("classes", []), strict=True))


def _written(named: Mapping[int, str], ignored: set[int], rgb: bool) -> set[int]:
    """What ignored values become in a 16-bit PNG, in which the values of all classes must fit."""
    wrong = [value for value in named if not 0 <= value <= 65_535]
    if wrong and not rgb:
        raise LabelQualityError(
            f"Expected mask values from 0 to 65,535, which a PNG can hold, but got {wrong[0]} ({named[wrong[0]]}); "
            "renumber the classes, or leave them out with `ignore_index`"
        )
    if min(ignored, default=0) >= 0 or rgb:
        return set()
    if _VOID in named:
        raise LabelQualityError(
            f"Expected a mask value {_VOID} without a class, which stands for {min(ignored)} in a PNG, but it is "
            f"{named[_VOID]!r}; renumber one of them"
        )
    return {_VOID}


def next_round(run: CorrectionRun) -> CorrectionRun:
    """The same run with the number of its plan raised by one."""
    number = int(run.record.summary.get("round", 0)) + 1
    return replace(run, record=replace(run.record, summary=run.record.summary | {"round": number}))


def _settle_edited(run: CorrectionRun, scan: LabelScan, found: Sequence[Answer], on_edited: str) -> None:
    """Labels that were edited since they were answered about are not asked about before somebody has chosen."""
    known = run.digests()
    about: dict[str, str] = {}
    for answer in answer_log.answers_that_count(found):
        about[answer.sample_id] = known.get(answer.sample_id) or answer.digest
    edited = [image for image in scan.images if about.get(image.sample_id, image.digest) != image.digest]
    if edited and on_edited == "refuse":
        raise LabelQualityError(
            f"Expected the labels that the answers are about, but those of {len(edited)} images were edited since, for "
            f"instance of {edited[0].filepath}; choose what to do with the answers about them: "
            '`on_edited="replay"` paints them onto the edited labels, `on_edited="discard"` takes them back'
        )
    if on_edited == "discard":
        for image in edited:
            take_back(run, image.sample_id)
            reconcile(run, image.sample_id)
    run.accept_labels({image.sample_id: image.digest for image in scan.images})


def write_all(run: CorrectionRun, images: Sequence[LabelledImage], progress: Progress) -> None:
    """Give every image a corrected label, so that the field can be trained on; where nothing was answered, a copy.

    Args:
        run: of the correction
        images: which
        progress: told how many are done
    """
    targets = mask_targets_of(run.dataset, run.label_field)
    text = f"`{run.label_field}` with the answers to correction queries painted onto it"
    queries.declare_queries(run.dataset, run.fields.queries)
    schema.declare_segmentation(run.dataset, run.fields.corrected, text, targets)
    for done, image in enumerate(images, start=1):
        derive(run, image.sample_id, image.digest)
        progress(done, len(images), "writing corrected labels")
    classes = run.classes()
    if not classes.rgb:
        appearance.color_classes(run.dataset, [run.label_field, run.fields.corrected], classes.value_names)
