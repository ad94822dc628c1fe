"""What is being corrected: the run that planned the queries, its classes, its folder and the labels that it saw."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...dataset.door.account import account_of
from ...dataset.door.classes import ClassMap
from ...dataset.door.image_scale import scaled_path
from ...dataset.door.masks import MaskReading, mask_digest, read_mask, read_mask_file, reading_of
from ...dataset.door.scan import file_stamp, mask_targets_of
from ...dataset.door.slices import every_slice
from ...dataset.fields.queries import CorrectionFields, StoredQuery
from ...dataset.fields.values import require_text
from ...dataset.journals import answers as answer_log
from ...dataset.journals.answers import Answer
from ...dataset.runs import files, run_records
from ...dataset.runs.claims import claim
from ...dataset.runs.seen_labels import LABELS_PLANNED, follow_renames, labels_seen
from ...errors import LabelQualityError

HIDDEN_QUESTIONS: Final = "hidden_questions.json"
"""In the folder of a correction: which questions have a known answer, and what they show."""

_LABELS_KEPT = 3


@dataclass(frozen=True)
class CorrectionRun:
    """The correction of one label field.

    Attributes:
        dataset: the `fiftyone.Dataset`
        record: of the run
        fields: names of what it leaves on the dataset
        folder: of its files
    """

    dataset: Any
    record: run_records.RunRecord
    fields: CorrectionFields
    folder: Path

    @property
    def label_field(self) -> str:
        """The field that is corrected."""
        return self.record.label_field

    def classes(self) -> ClassMap:
        """The classes as they are now: those that were planned with, and those added to `mask_targets` since."""
        summary = self.record.summary
        planned = {int(value): name for value, name in zip(summary["values"], summary["classes"], strict=True)}
        ignored = [int(value) for value in summary["ignored"]]
        seen: dict[int, int] = dict.fromkeys(planned, 1)
        otherwise: dict[int | str, str] = dict(planned.items())
        return account_of(self.dataset, self.label_field, seen, ignored or None, otherwise=otherwise)

    def as_named_now(self, query: StoredQuery) -> StoredQuery:
        """A query with the names that its classes have now, also where they got others since it was planned."""
        classes, summary = self.classes(), self.record.summary
        if not query.values:
            planned = dict(zip(summary["classes"], summary["values"], strict=True))
            names = (query.given, query.suggested, *query.alternatives)
            query = replace(query, values=tuple(planned.get(name) for name in names))
        return query.named(classes.value_names)

    @property
    def reading(self) -> MaskReading:
        """How the masks of the field are understood."""
        return reading_of(mask_targets_of(self.dataset, self.label_field))

    def filepath(self, sample_id: str) -> str:
        """The image of a sample, as it is in the database now.

        Raises:
            LabelQualityError: if the sample was deleted
        """
        return scaled_path(self.dataset, str(self._row(sample_id, "filepath")["filepath"]))

    def read_label(self, sample_id: str) -> np.ndarray:
        """The original label of a sample, as it is now.

        Args:
            sample_id: of the sample

        Returns:
            (H, W) or (H, W, 3) mask values

        Raises:
            LabelQualityError: if the sample or its label was deleted
            OSError: if the file cannot be read
        """
        if (path := self.label_path(sample_id)) is not None:
            return read_mask_file(path, self.reading)
        label = self.dataset[sample_id][self.label_field]
        if not label:
            raise LabelQualityError(f"sample {sample_id} has no label in `{self.label_field}` any more")
        return read_mask(label, self.reading)

    def label_path(self, sample_id: str) -> str | None:
        """The file of a sample's original label; None where it is in the database or gone.

        Raises:
            LabelQualityError: if the sample was deleted
        """
        label = self._row(sample_id, self.label_field).get(self.label_field) or {}
        return label.get("mask_path") if label.get("mask") is None else None

    def label_state(self, sample_id: str) -> tuple[Any, ...] | None:
        """What tells whether a label's file has changed; None where the label is in the database.

        Raises:
            LabelQualityError: if the sample was deleted
        """
        path = self.label_path(sample_id)
        stamp = file_stamp(path) if path else None
        return None if stamp is None else (path, *stamp)

    def _row(self, sample_id: str, name: str) -> dict[str, Any]:
        from bson import ObjectId

        row = self.dataset._sample_collection.find_one({"_id": ObjectId(sample_id)}, {name: 1})
        if row is None:
            raise LabelQualityError(f"sample {sample_id} was deleted")
        return dict(row)

    def digests(self) -> dict[str, str]:
        """Sample id to digest of the label that was planned with."""
        kept = (files.read_json(self.folder / LABELS_PLANNED) or {}).get("digests")
        if kept:
            return dict(kept)
        # The file is gone, emptied or damaged: each answer says which label it is about.
        found = answer_log.read_answers(self.dataset, self.label_field, masks=False)
        return {answer.sample_id: answer.digest for answer in found if answer.digest}

    def accept_labels(self, digests: Mapping[str, str]) -> None:
        """Note that these are the labels that the answers are about from now on."""
        files.write_json(self.folder / LABELS_PLANNED, {"digests": {**self.digests(), **digests}})

    def corrected_path(self, sample_id: str, digest: str, answers: list[Answer]) -> Path:
        """PNG of the corrected label of a sample: of a label with this digest after these answers, and no others."""
        state = files.digest_of([digest, *(answer.key for answer in answers)])[:12]
        return self.folder / "corrected" / f"{sample_id}-{state}.png"


class LabelShelf:
    """The original labels of the last samples, read again only when their files have changed."""

    def __init__(self) -> None:
        self._labels: OrderedDict[str, tuple[Any, np.ndarray, str]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, run: CorrectionRun, sample_id: str) -> tuple[np.ndarray, str]:
        """Read a label.

        Args:
            run: of the correction
            sample_id: of the sample

        Returns:
            (H, W) or (H, W, 3) mask values, and their digest

        Raises:
            LabelQualityError: if the sample or its label was deleted
            OSError: if the file cannot be read
        """
        state = run.label_state(sample_id)
        with self._lock:
            known = self._labels.get(sample_id)
        if known is not None and state is not None and known[0] == state:
            return known[1], known[2]
        raw = run.read_label(sample_id)
        digest = mask_digest(raw)
        with self._lock:
            self._labels[sample_id] = (state, raw, digest)
            self._labels.move_to_end(sample_id)
            while len(self._labels) > _LABELS_KEPT:
                self._labels.popitem(last=False)
        return raw, digest


def num_waiting(dataset: Any, label_field: str) -> int:
    """How many questions about a label field nobody has answered.

    Args:
        dataset: the `fiftyone.Dataset`
        label_field: the field with the labels

    Returns:
        none where no questions were planned: proposals that were applied are no questions
    """
    name = CorrectionFields(label_field).queries
    if not dataset.has_field(name):
        return 0
    return int(every_slice(dataset).count_values(f"{name}.detections.status").get("pending", 0))


def planned_fields(dataset: Any) -> list[str]:
    """Label fields that are being corrected.

    Args:
        dataset: the `fiftyone.Dataset`

    Returns:
        their names
    """
    listed = [run.label_field for run in run_records.list_runs(dataset, run_records.CORRECTION)]
    return [name for name in listed if dataset.has_field(CorrectionFields(name).corrected)]


def owns(dataset: Any, record: run_records.RunRecord) -> bool:
    """Whether a run's files were written for this dataset; a copy must not change those of the dataset it is of."""
    return record.dataset_id in ("", run_records.dataset_id(dataset))


def find_correction(dataset: Any, label_field: str) -> run_records.RunRecord | None:
    """The record of a field's correction, also where the field was renamed or the dataset is a clone or an import.

    Args:
        dataset: the `fiftyone.Dataset`
        label_field: the field that is corrected

    Returns:
        the record, finished or not; None if there is none

    Raises:
        LabelQualityError: if this is a copy of another dataset whose answers did not come along
    """
    follow_renames(dataset)
    fields = CorrectionFields(label_field)
    record = run_records.find_run(dataset, fields.run, unfinished=True)
    if record is None or record.method != run_records.CORRECTION or owns(dataset, record):
        return record
    with claim(dataset, fields.run):
        return _take_over(dataset, record, fields)


def _take_over(dataset: Any, record: run_records.RunRecord, fields: CorrectionFields) -> run_records.RunRecord:
    """Go on in a copy of a dataset with copies of the answers, and with a folder of its own."""
    found = answer_log.read_answers(dataset, fields.label_field, masks=False)
    asked = every_slice(dataset).count_values(f"{fields.queries}.detections.status")
    answered = sum(number for status, number in asked.items() if status not in (None, "pending"))
    if answered and not found:
        raise LabelQualityError(
            f"Expected the answers to the {answered:,} answered questions about {fields.label_field!r}, but this "
            "dataset is a copy of another one, which has kept them. Call `pack_history(dataset)` on that one before it "
            f"is exported, or go on without them: `{fields.corrected}` is a field like any other, delete "
            f"`{fields.queries}` and the run {fields.run!r}"
        )
    seen = labels_seen(Path(record.output_dir)) if record.output_dir else {}
    digests = {answer.sample_id: answer.digest for answer in found if answer.digest}
    digests |= {sample_id: digest for sample_id, (digest, _) in seen.items()}
    owner = f"{run_records.dataset_id(dataset)}/{fields.run}"
    base = files.default_output_dir(dataset, fields.run)
    files.require_writable(base, 1)
    folder = files.claim_folder(base, owner, {"label_field": fields.label_field})
    files.write_json(folder.path / LABELS_PLANNED, {"digests": digests})
    hidden = files.read_json(Path(record.output_dir) / HIDDEN_QUESTIONS) if record.output_dir else None
    if hidden is not None:
        files.write_json(folder.path / HIDDEN_QUESTIONS, hidden)
    folder.finish()
    run_records.register_run(dataset, replace(record, output_dir=str(folder.path), folders=[]))
    return replace(record, output_dir=str(folder.path), folders=[], dataset_id=run_records.dataset_id(dataset))


def open_correction(samples: Any, label_field: str) -> CorrectionRun:
    """Find the correction of a label field.

    Args:
        samples: the `fiftyone` dataset or a view of it
        label_field: the field that is corrected

    Returns:
        the run

    Raises:
        LabelQualityError: if no queries were planned for it, or its answers did not come along with a copy
    """
    dataset, fields = samples._root_dataset, CorrectionFields(require_text("label_field", label_field))
    record = find_correction(dataset, label_field)
    begun = record is not None and record.method == run_records.CORRECTION and record.finished
    declared = dataset.has_field(fields.queries) and dataset.has_field(fields.corrected)
    if record is None or not begun or not declared:
        raise LabelQualityError(
            f"Expected a label field that is being corrected, but {label_field!r} is not; there are "
            f"{planned_fields(dataset) or 'none'}. Run `plan_correction_queries` first{_renamed(dataset, label_field)}"
        )
    return CorrectionRun(dataset, record, fields, Path(record.output_dir or os.devnull))


def _renamed(dataset: Any, label_field: str) -> str:
    """What to do where the label field of a correction was renamed and cannot be told by its masks."""
    listed = [run.label_field for run in run_records.list_runs(dataset, run_records.CORRECTION)]
    gone = [name for name in listed if not dataset.has_field(name)]
    if not gone:
        return ""
    return (
        f"; if {label_field!r} is the renamed {gone[0]!r}, give it its name back: "
        f"`dataset.rename_sample_field({label_field!r}, {gone[0]!r})`"
    )
