"""The corrected labels: derived from the original ones and the answers, checked, and given away."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...correction.answers.replay import replay
from ...dataset.door.account import recorded_rows
from ...dataset.door.classes import ClassMap
from ...dataset.door.mask_forms import encode_mask
from ...dataset.door.masks import mask_digest, read_mask_file
from ...dataset.door.slices import every_slice, samples_behind, slices_with
from ...dataset.fields import queries
from ...dataset.fields.regions import utc_now
from ...dataset.journals import answers
from ...dataset.journals.answers import Answer
from ...dataset.runs import files
from ...dataset.runs.shared_files import is_named_elsewhere, named_elsewhere
from ...errors import LabelQualityError
from ...progress import Progress, silent, terminal_bar
from ...quality.certainty.reviewers import Reliability
from ...wording import count
from ...written_files import is_whole, sweep
from ..rehearsing.rehearsal import write_mask
from .correction_run import CorrectionRun, open_correction
from .hidden_questions import answers_of, people_by_hidden, person_in_words

ON_EDITED: Final = ("refuse", "replay", "discard")
"""What to do with the answers about labels that were edited since: say so, paint them onto the edited label, or take
them back."""

CLASSES_FILE: Final = "classes.json"
"""Beside exported PNGs: the account of classes, and `mask_targets` as FiftyOne takes them, keys as text."""

_ATTEMPTS = 20
_SAMPLES_AT_ONCE = 500


class LabelEditedError(LabelQualityError):
    """A label is not the one that the answers are about."""


@dataclass(frozen=True)
class CorrectionReport:
    """What the answers have changed.

    Attributes:
        label_field: the field that is corrected
        num_images: images with a corrected label
        num_changed: of those, images in which something differs from the original
        by_status: status to number of queries
        num_repaired: pixels that have another class than before
        edited: samples whose label was edited since the questions were planned
        discarded: answers that were taken back for that reason
        added: images that came since the questions were planned; their labels were taken as they are
        gone: answers about samples that were deleted
        unreadable: sample to reason, of labels that were deleted or cannot be read; their corrected labels were left
        changes: (given class, class it became) to pixels
        people: how reliable each person is by hidden known questions, by name
    """

    label_field: str
    num_images: int
    num_changed: int
    by_status: dict[str, int]
    num_repaired: int
    edited: list[str] = field(default_factory=list)
    discarded: int = 0
    added: int = 0
    gone: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    changes: dict[tuple[str, str], int] = field(default_factory=dict)
    people: dict[str, Reliability] = field(default_factory=dict)

    def markdown(self) -> str:
        """The report as a person reads it."""
        words = {"known": "hidden known ones"}
        counted = [name for name in queries.QUERY_STATUSES if self.by_status.get(name) or name not in words]
        counts = ", ".join(f"{self.by_status.get(name, 0):,} {words.get(name, name)}" for name in counted)
        lines = [
            f"**{count(self.num_repaired, 'pixel', 'have')} another class now**, in {self.num_changed:,} of "
            f"{count(self.num_images, 'image')}, in `{queries.CorrectionFields(self.label_field).corrected}`",
            *([f"- questions: {counts}"] if any(self.by_status.values()) else []),
        ]
        for (given, became), pixels in sorted(self.changes.items(), key=lambda row: -row[1])[:10]:
            lines.append(f"- {given} → {became}: {count(pixels, 'pixel')}")
        lines += [f"- {person_in_words(name, person)}" for name, person in self.people.items()]
        if self.edited:
            lines.append(
                f"- **{count(len(self.edited), 'label', 'were')} edited since the questions were planned, and "
                "the corrected labels of these images were left as before.** Choose what to do: paint the answers onto "
                'the edited labels (`on_edited="replay"`), or take them back (`on_edited="discard"`)'
            )
        if self.discarded:
            lines.append(f"- taken back: {count(self.discarded, 'answer')} about edited labels")
        if self.added:
            lines.append(
                f"- {count(self.added, 'image', 'were')} added since the questions were planned, and keep the given "
                "label. Plan again to ask about new images"
            )
        if self.gone:
            lines.append(f"- {count(self.gone, 'answer', 'are')} about images that were deleted")
        if self.unreadable:
            reason = next(iter(self.unreadable.values()))
            lines.append(f"- **{count(len(self.unreadable), 'label', 'were')} left as before**, for instance: {reason}")
        return "\n".join(lines)


def corrected_mask(run: CorrectionRun, sample_id: str, raw: np.ndarray, about: Iterable[Answer]) -> np.ndarray:
    """Paint answers onto a label.

    Args:
        run: of the correction
        sample_id: of the sample
        raw: its label, as it is kept
        about: the sample's answers

    Returns:
        (H, W) mask values; packed colours of an RGB field

    Raises:
        LabelQualityError: if the label has another size than the one that was asked about
    """
    try:
        return replay(run.classes().mask_values(raw), answers.repaints(about))
    except ValueError as error:
        raise LabelQualityError(f"The answers about sample {sample_id} do not fit its label: {error}") from error


def derive(
    run: CorrectionRun, sample_id: str, digest: str | None = None, label: np.ndarray | None = None
) -> Path | None:
    """Bring the corrected label of a sample up to date with its answers.

    The new file is complete before the sample names it, and the old one goes only then. Of several processes that do
    this at once, the last to finish has seen all answers.

    Args:
        run: of the correction
        sample_id: of the sample
        digest: of the label that was planned with; looked up if None
        label: as it is kept, if it was read: then the file is made again also where its content is wrong

    Returns:
        the PNG; None if the sample or the run was deleted

    Raises:
        LabelEditedError: if the label is another one now
    """
    planned = digest if digest is not None else run.digests().get(sample_id, "")
    for _ in range(_ATTEMPTS):
        if not (run.folder / files.MARKER).is_file():
            return None  # the run was deleted
        found = answers.read_answers(run.dataset, run.label_field, sample_ids=[sample_id])
        valid = answers.answers_that_count(found)
        path, before = run.corrected_path(sample_id, planned, valid), _current(run, sample_id)
        if before is None:
            return None
        wrong = label is not None and not _holds(path, corrected_mask(run, sample_id, label, valid), run.classes())
        if before != str(path) or not is_whole(path) or wrong:
            raw = run.read_label(sample_id) if label is None else label
            if planned and mask_digest(raw) != planned:
                raise LabelEditedError(
                    f"The label of sample {sample_id} was edited since the questions were planned; choose what to do "
                    'with the answers: `apply_corrections(dataset, label_field, on_edited="replay")` or "discard"'
                )
            write_mask(path, corrected_mask(run, sample_id, raw, valid), run.classes(), run.label_path(sample_id))
            _point_to(run, sample_id, path)
            if before and before != str(path):
                _remove(run, sample_id, Path(before))
        again = answers.read_answers(run.dataset, run.label_field, sample_ids=[sample_id], masks=False)
        if [one.key for one in answers.answers_that_count(again)] == [one.key for one in valid]:
            return path
    raise LabelQualityError(f"The answers about sample {sample_id} keep changing; try again")


def _current(run: CorrectionRun, sample_id: str) -> str | None:
    """Path of the corrected label: empty if there is none yet, None if there is no sample."""
    from bson import ObjectId

    row = run.dataset._sample_collection.find_one({"_id": ObjectId(sample_id)}, {run.fields.corrected: 1})
    return None if row is None else (row.get(run.fields.corrected) or {}).get("mask_path") or ""


def _point_to(run: CorrectionRun, sample_id: str, path: Path) -> None:
    from bson import ObjectId
    from pymongo import UpdateOne

    name = run.fields.corrected
    fresh = {"_id": ObjectId(), "_cls": "Segmentation", "tags": [], "mask_path": str(path)}
    kept = {"$cond": [{"$eq": [{"$type": f"${name}"}, "object"]}, f"${name}", {"$literal": fresh}]}
    value = {"$mergeObjects": [kept, {"mask_path": str(path), "mask": None}]}
    operation = UpdateOne({"_id": ObjectId(sample_id)}, [{"$set": {name: value, "last_modified_at": utc_now()}}])
    run.dataset._bulk_write([operation], ids=[sample_id])


def _holds(path: Path, values: np.ndarray, classes: ClassMap) -> bool:
    """Whether a file of a corrected label can be read and says what it should."""
    try:
        return np.array_equal(classes.mask_values(read_mask_file(path)), values)
    except (OSError, ValueError, LabelQualityError):
        return False


def _remove(run: CorrectionRun, sample_id: str, path: Path) -> None:
    own = path.parent == run.folder / "corrected"
    if own and not is_named_elsewhere(run.dataset, run.fields.corrected, sample_id, path):
        path.unlink(missing_ok=True)


class Scribe:
    """Derives corrected labels in a thread of its own, so that the next question does not wait for them.

    Args:
        run: of the correction
    """

    def __init__(self, run: CorrectionRun) -> None:
        self._run = run
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="corrected-labels")
        self._jobs: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()

    def write(self, sample_id: str) -> None:
        """Ask for a sample's corrected label to be brought up to date, soon."""
        with self._lock:
            if (job := self._jobs.get(sample_id)) is not None:
                job.cancel()  # one that has not begun would do the same
            self._jobs[sample_id] = self._pool.submit(derive, self._run, sample_id)

    def trouble(self) -> str | None:
        """What went wrong with labels that are written by now, in words; None if nothing."""
        with self._lock:
            done = [job for job in self._jobs.values() if job.done() and not job.cancelled()]
        errors = (job.exception() for job in done)
        return next((str(error) for error in errors if error is not None), None)

    def flush(self) -> list[str]:
        """Wait until all is written.

        Returns:
            what went wrong, in words
        """
        with self._lock:
            jobs, self._jobs = list(self._jobs.values()), {}
        failures = []
        for job in jobs:
            if job.cancelled():
                continue
            error = job.exception()
            if error is not None:
                failures.append(str(error))
        return failures

    def close(self) -> None:
        """Finish writing and end the thread."""
        self.flush()
        self._pool.shutdown(wait=False)


@files.disk_in_words()
def apply_corrections(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    on_edited: str = "refuse",
    progress: Progress | None = None,
) -> CorrectionReport:
    """Bring the corrected labels and the status of all queries in line with the answers.

    Answering does this by itself; this repairs what a crash or an edited label has left, and counts.

    Args:
        samples: the `fiftyone` dataset or a view of it
        label_field: the field that is corrected, which is never written
        on_edited: what to do with the answers about labels that were edited since the questions were planned:
            "refuse" leaves their corrected labels alone and names them, "replay" paints the answers onto the edited
            labels, "discard" takes the answers back
        progress: told how far the job is; a bar in the terminal if None

    Returns:
        what was changed by the answers

    Raises:
        LabelQualityError: if no queries were planned for the field
    """
    if on_edited not in ON_EDITED:
        raise LabelQualityError(f"Expected `on_edited` to be one of {list(ON_EDITED)}, but got {on_edited!r}")
    run = open_correction(samples, label_field)
    chosen = samples_behind(samples)
    planned = run.digests()
    labelled = set(slices_with(run.dataset, planned).exists(label_field).values("id"))
    ids = [sample_id for sample_id in chosen.values("id") if sample_id in planned or sample_id in labelled]
    if progress is not None:
        return _apply(run, ids, planned, on_edited, progress)
    with terminal_bar("correcting labels") as bar:
        return _apply(run, ids, planned, on_edited, bar)


def _apply(
    run: CorrectionRun, wanted: Sequence[str], digests: dict[str, str], on_edited: str, progress: Progress
) -> CorrectionReport:
    classes, added = run.classes(), dict[str, str]()
    edited: list[str] = []
    unreadable: dict[str, str] = {}
    discarded, changed, gone = 0, 0, _gone(run, digests)
    pairs: Counter[tuple[int, int]] = Counter()
    for done, sample_id in enumerate(wanted, start=1):
        try:
            raw = run.read_label(sample_id)
        except (OSError, LabelQualityError) as error:
            unreadable[sample_id] = str(error)
            progress(done, len(wanted), "correcting labels")
            continue
        if sample_id not in digests:
            digests[sample_id] = added[sample_id] = mask_digest(raw)
        if mask_digest(raw) != digests[sample_id]:
            if on_edited == "refuse":
                edited.append(sample_id)
                progress(done, len(wanted), "correcting labels")
                continue
            if on_edited == "discard":
                discarded += take_back(run, sample_id)
            digests[sample_id] = mask_digest(raw)
            run.accept_labels({sample_id: digests[sample_id]})
        path = derive(run, sample_id, digests[sample_id], raw)
        reconcile(run, sample_id)
        if path is not None:
            before, after = classes.indices(raw), classes.indices(read_mask_file(path, run.reading))
            found = _pairs(before, after)
            pairs.update(found)
            changed += bool(found)
        progress(done, len(wanted), "correcting labels")
    if added:
        run.accept_labels(added)
    _remove_orphans(run)
    names = (*classes.names, "no class")
    statuses = every_slice(run.dataset).count_values(f"{run.fields.queries}.detections.status")
    return CorrectionReport(
        label_field=run.label_field,
        num_images=len(wanted) - len(edited) - len(unreadable),
        num_changed=changed,
        by_status={str(status): number for status, number in statuses.items() if status},
        num_repaired=sum(pairs.values()),
        edited=edited,
        discarded=discarded,
        added=len(added),
        gone=gone,
        unreadable=unreadable,
        changes={(names[old], names[new]): number for (old, new), number in pairs.items()},
        people=people_by_hidden(answers_of(run), classes),
    )


def _pairs(before: np.ndarray, after: np.ndarray) -> Counter[tuple[int, int]]:
    differs = before != after
    found, counts = np.unique(np.stack([before[differs], after[differs]], 1), axis=0, return_counts=True)
    return Counter({(int(old), int(new)): int(number) for (old, new), number in zip(found, counts, strict=True)})


def _gone(run: CorrectionRun, digests: dict[str, str]) -> int:
    """Answers about samples that were deleted; they wait in the record and do no harm."""
    there = {str(row["_id"]) for row in run.dataset._sample_collection.find({}, {"_id": 1})}  # of all slices
    lost = [sample_id for sample_id in digests if sample_id not in there]
    found = answers.read_answers(run.dataset, run.label_field, sample_ids=lost, masks=False) if lost else []
    return len(answers.answers_that_count(found))


def take_back(run: CorrectionRun, sample_id: str) -> int:
    """Take back all answers about a sample.

    Args:
        run: of the correction
        sample_id: of the sample

    Returns:
        how many
    """
    found = answers.answers_that_count(answers.read_answers(run.dataset, run.label_field, sample_ids=[sample_id]))
    answers.add_answers(run.dataset, [replace(answer, status="pending", time=utc_now()) for answer in found])
    return len(found)


def reconcile(run: CorrectionRun, sample_id: str) -> int:
    """Give a sample's queries the status that the answers say, which a crash may have kept from being written.

    Args:
        run: of the correction
        sample_id: of the sample

    Returns:
        how many queries had another one
    """
    found = answers.read_answers(run.dataset, run.label_field, sample_ids=[sample_id], masks=False)
    newest = {answer.query_id: answer for answer in found}
    changed = 0
    for query in queries.find_queries(run.dataset, run.fields.queries, newest):
        answer = newest[query.query_id]
        status = answer.query_status
        if (query.status, query.answer) == (status, answer.answer if status == "corrected" else None):
            continue
        queries.set_query_status(
            run.dataset, run.fields.queries, sample_id, query.query_id, status,
            answer=answer.answer if status == "corrected" else None, reviewer=answer.reviewer,
            seconds=answer.seconds, at=answer.time,
        )  # fmt: skip
        changed += 1
    if changed:
        queries.refresh(run.dataset, [sample_id])
    return changed


def _remove_orphans(run: CorrectionRun) -> None:
    """Delete corrected labels that no sample names: what a crash between writing and naming has left."""
    name = f"{run.fields.corrected}.mask_path"
    rows = run.dataset._sample_collection.find({}, {name: 1})  # of all slices of a grouped dataset
    named = {(row.get(run.fields.corrected) or {}).get("mask_path") for row in rows}
    folder = run.folder / "corrected"
    orphans = [path for path in folder.glob("*.png") if str(path) not in named]
    kept = named_elsewhere(run.dataset, [run.fields.corrected], folder) if orphans else set()
    for path in orphans:
        if path not in kept:
            path.unlink(missing_ok=True)
    sweep(folder)


def require_empty_folder(folder: str | Path) -> Path:
    """The folder to export to.

    Args:
        folder: an empty one, or one that does not exist yet

    Raises:
        LabelQualityError: if it holds files
    """
    folder = Path(folder).expanduser()
    if folder.is_dir() and any(folder.iterdir()):
        raise LabelQualityError(f"Expected an empty folder to export to, but {folder} holds files; choose another")
    return folder


@files.disk_in_words()
def export_corrected_labels(
    samples: Any,
    folder: str | Path,
    label_field: str = "ground_truth",
    *,
    dataset_type: Any = None,
    on_edited: str = "refuse",
    progress: Progress = silent,
    **options: Any,
) -> Path:
    """Give the corrected labels away: as PNGs named like the images and `classes.json`, or in a format of FiftyOne.

    Args:
        samples: the `fiftyone` dataset or a view of it
        folder: where to; made if it does not exist
        label_field: the field that was corrected
        dataset_type: a `fiftyone.types` dataset type for images with segmentations, for instance
            `fo.types.ImageSegmentationDirectory` or `fo.types.COCODetectionDataset`; None for PNGs alone
        on_edited: as in `apply_corrections`
        progress: told how many images are done
        options: further options of `fiftyone.Dataset.export`

    Returns:
        the folder

    Raises:
        LabelQualityError: if no queries were planned, the folder holds files, or labels were edited since and
            `on_edited` is "refuse"
    """
    run = open_correction(samples, label_field)
    folder = require_empty_folder(folder)
    report = apply_corrections(samples, label_field, on_edited=on_edited, progress=progress)
    if report.edited:
        raise LabelQualityError(
            f"Expected the labels that the answers are about, but those of {len(report.edited)} images were edited "
            f'since, for instance of sample {report.edited[0]}; pass `on_edited="replay"` or "discard"'
        )
    chosen = samples_behind(samples)
    labelled = chosen.exists(run.fields.corrected)
    if dataset_type is not None and issubclass(dataset_type, _types_of_objects()):
        return _export_objects(labelled, run, folder, dataset_type, options)
    if dataset_type is not None:
        labelled.export(
            export_dir=str(folder), dataset_type=dataset_type, label_field=run.fields.corrected, progress=False,
            **options,
        )  # fmt: skip
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    pairs = list(zip(*labelled.values(["filepath", f"{run.fields.corrected}.mask_path"]), strict=True))
    names = _file_names([filepath for filepath, _ in pairs])
    for (_, mask_path), name in zip(pairs, names, strict=True):
        shutil.copyfile(mask_path, folder / name)
    classes = run.classes()
    targets = {str(value): name for value, name in classes.targets.items()}
    files.write_json(folder / CLASSES_FILE, {"mask_targets": targets, "classes": recorded_rows(classes)})
    return folder


def _types_of_objects() -> tuple[type, ...]:
    import fiftyone as fo

    return (fo.types.ImageDetectionDataset,)


def _export_objects(
    labelled: Any, run: CorrectionRun, folder: Path, dataset_type: Any, options: dict[str, Any]
) -> Path:
    """Export the connected parts of each class as objects with masks, which formats of objects take."""
    from fiftyone.utils.labels import segmentations_to_detections

    name = f"{run.label_field}_objects"
    classes = run.classes()
    targets = {_key(value, classes): name for value, name in classes.value_names.items()}
    copy = labelled.select_fields(run.fields.corrected).clone()
    with tempfile.TemporaryDirectory() as plain:
        try:
            _read_alike(copy, run, classes, Path(plain))
            segmentations_to_detections(
                copy, run.fields.corrected, name, mask_targets=targets, mask_types="thing", progress=False
            )
            copy.export(export_dir=str(folder), dataset_type=dataset_type, label_field=name, progress=False, **options)
        finally:
            copy.delete()
    return folder


def _key(value: int, classes: ClassMap) -> int | str:
    return classes.format_values([value]) if classes.rgb else value


def _read_alike(copy: Any, run: CorrectionRun, classes: ClassMap, folder: Path) -> None:
    """Let FiftyOne read the values that the account knows: of palette and 1-bit files it may read others."""
    ids, paths = copy.values(["id", f"{run.fields.corrected}.mask_path"])
    plain = {}
    for sample_id, path in zip(ids, paths, strict=True):
        values = classes.mask_values(read_mask_file(path, run.reading))
        plain[sample_id] = str(folder / f"{sample_id}.png")
        Path(plain[sample_id]).write_bytes(encode_mask(values, rgb=classes.rgb))
    copy.set_values(f"{run.fields.corrected}.mask_path", plain, key_field="id")


def _file_names(filepaths: Sequence[str]) -> list[str]:
    """Names of PNGs like those of the images; images of equal names get the folders' names, too, and then numbers.

    Example:
        >>> _file_names(["/a/1.jpg", "/b/1.jpg", "/b/1.png", "/b/2.jpg"])
        ['a_1.png', 'b_1.png', 'b_1-2.png', '2.png']
    """
    stems = Counter(Path(filepath).stem for filepath in filepaths)
    names: dict[str, None] = {}
    for path in map(Path, filepaths):
        name = path.stem if stems[path.stem] == 1 else "_".join([*path.parent.parts[1:], path.stem])
        number, free = 1, name
        while f"{free}.png" in names:
            number += 1
            free = f"{name}-{number}"
        names[f"{free}.png"] = None
    return list(names)
