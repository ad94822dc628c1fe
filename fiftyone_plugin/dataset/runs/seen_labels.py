"""Which labels a run has seen, and by them: the new name of a label field that was renamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...errors import LabelQualityError
from ..door.masks import mask_digest
from ..door.scan import mask_reader, segmentation_fields
from ..fields.queries import CorrectionFields
from ..journals import answers, append_log, reviews
from . import run_records
from .files import MARKER, read_json, write_json
from .run_copies import forget_copy

LABELS_SEEN: Final = Path("records") / "labels.json"
"""In the folder of a run that scores or trains: digest and file stamp of the label of each sample."""

LABELS_PLANNED: Final = Path("corrected") / "labels.json"
"""In the folder of a correction: the digest of each label that the answers are about."""

_COMPARED = 5
"""Masks by which a renamed field is found again: more than half of them must be the same."""


def labels_seen(folder: Path) -> dict[str, tuple[str, list[int] | None]]:
    """The labels that a run has seen.

    Args:
        folder: of the run

    Returns:
        sample id to digest and file stamp, which is None where it was not kept
    """
    planned = (read_json(folder / LABELS_PLANNED) or {}).get("digests")
    if planned:
        return {sample_id: (digest, None) for sample_id, digest in planned.items()}
    noted = read_json(folder / LABELS_SEEN)
    if noted is not None:
        return {sample_id: (digest, stamp) for sample_id, (digest, stamp) in noted.items()}
    names = (path.stem.split("-") for path in (folder / "records").glob("*-*.npz"))  # of older runs
    return {parts[0]: (parts[1], None) for parts in names}


def follow_renames(dataset: Any) -> dict[str, str]:
    """Give runs, answers and reviews the new name of a label field that was renamed; where nothing was, do nothing.

    A field is known again by its masks. Made again after an interruption, it goes on.

    Args:
        dataset: the `fiftyone.Dataset`

    Returns:
        old name to new name, of what was found just now
    """
    found: dict[str, str] = {}
    for record in run_records.list_runs(dataset, unfinished=True):
        old = record.label_field
        if not old or dataset.has_field(old):
            continue
        new = found.get(old) or _field_with(dataset, record)
        if new is None:
            continue
        if old not in found:
            _rename_in_journals(dataset, old, new)
        found[old] = new
        if record.method == run_records.CORRECTION:
            _rename_correction(dataset, record, new)
        else:
            run_records.register_run(dataset, replace(record, label_field=new), touch=False)
    return found


def _field_with(dataset: Any, record: run_records.RunRecord) -> str | None:
    """The field that holds the masks which a run has seen."""
    seen = labels_seen(Path(record.output_dir)) if record.output_dir else {}
    there = [sample_id for sample_id in seen if dataset._sample_collection.count_documents(_by_id(sample_id), limit=1)]
    some = there[:: max(len(there) // _COMPARED, 1)][:_COMPARED]
    taken = {CorrectionFields(record.label_field).corrected, *record.fields}
    for name in segmentation_fields(dataset):
        read = mask_reader(dataset, name)
        same = sum(_has_digest(read, sample_id, seen[sample_id][0]) for sample_id in some)
        if name not in taken and same > len(some) / 2:
            return name
    return None


def _by_id(sample_id: str) -> dict[str, Any]:
    from bson import ObjectId

    return {"_id": ObjectId(sample_id)}


def _has_digest(read: Callable[[str], np.ndarray], sample_id: str, digest: str) -> bool:
    try:
        return mask_digest(read(sample_id)) == digest
    except (OSError, LabelQualityError):
        return False


def _rename_in_journals(dataset: Any, old: str, new: str) -> None:
    for store in (answers.STORE, reviews.STORE):
        append_log.rename(dataset, store, "label_field", old, new)
    targets: dict[str, Mapping[Any, str]] = dict(dataset.mask_targets)
    if old in targets:
        targets.setdefault(new, targets[old])
        del targets[old]
        dataset.mask_targets = targets
        dataset.save()


def _rename_correction(dataset: Any, record: run_records.RunRecord, new: str) -> None:
    """Give a correction's fields, folder and key the names that belong to the new name of its label field."""
    before, after = CorrectionFields(record.label_field), CorrectionFields(new)
    pairs = ((before.queries, after.queries), (before.corrected, after.corrected))
    moved = {a: b for a, b in pairs if dataset.has_field(a) and not dataset.has_field(b)}
    if moved:
        dataset.rename_sample_fields(moved)
    targets = dict(dataset.mask_targets)
    if before.corrected in targets:
        targets[after.corrected] = targets.pop(before.corrected)
        dataset.mask_targets = targets
        dataset.save()
    folder = Path(record.output_dir or "")
    marker = read_json(folder / MARKER) if record.output_dir else None
    if marker is not None:
        write_json(folder / MARKER, {**marker, "owner": f"{record.dataset_id}/{after.run}"})
    if after.run not in dataset.list_runs():
        dataset.rename_run(run_records.name_of_run(dataset, before.run), after.run)
    forget_copy(dataset, before.run)
    fields = [dict(pairs).get(name, name) for name in record.fields]
    renamed = replace(record, key=after.run, label_field=new, fields=fields)
    run_records.register_run(dataset, renamed, touch=False)
