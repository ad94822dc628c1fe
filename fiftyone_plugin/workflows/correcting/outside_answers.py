"""Answers that come from elsewhere than the questions: accepted proposals of a model, and edits by hand."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...correction.answers.replay import tight
from ...correction.superpixels.connected_parts import connected_parts
from ...dataset.door.classes import ClassMap
from ...dataset.door.instance_masks import box_mask, instance_mask
from ...dataset.door.masks import mask_digest, read_mask_file
from ...dataset.door.renamed_classes import names_now, values_of_names
from ...dataset.door.slices import samples_behind
from ...dataset.fields import regions
from ...dataset.fields.regions import draw_mask
from ...dataset.fields.schema import ScoreFields
from ...dataset.fields.values import text_or_none
from ...dataset.journals import answers as answer_log
from ...dataset.journals.answers import HAND_EDIT, PROPOSAL, UNREVIEWED, Answer
from ...dataset.runs import files, run_records
from ...errors import LabelQualityError
from ...progress import Progress, silent
from ...quality.records.arrays_file import read_arrays, write_arrays
from ...wording import count
from ...written_files import is_whole
from .corrected_labels import CorrectionReport, apply_corrections, derive
from .correction_run import CorrectionRun, open_correction
from .correction_start import begin_correction

MOST_OBJECTS = 500
"""Objects of one image that are offered for editing, largest first."""


@dataclass(frozen=True)
class OutsideReport:
    """What was taken over.

    Attributes:
        num_answers: parts of labels that got another class
        num_images: images they are in
        passed_over: proposals whose class the label field does not have, or whose mask is gone
        corrections: what all answers together have changed
        taken_back: parts that were taken over earlier and have the given class again
    """

    num_answers: int
    num_images: int
    passed_over: int
    corrections: CorrectionReport
    taken_back: int = 0

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [f"**{count(self.num_answers, 'part')} repaired in {count(self.num_images, 'image')}**"]
        if self.passed_over:
            lines.append(f"- {self.passed_over:,} were passed over: their class or their mask is not there")
        if self.taken_back:
            lines.append(f"- {self.taken_back:,} were taken back: their regions are not accepted any more")
        return "\n".join([*lines, "", self.corrections.markdown()])


def apply_proposals(
    samples: Any,
    key: str,
    *,
    status: str = "accepted",
    reviewer: str | None = None,
    on_edited: str = "refuse",
    progress: Progress = silent,
) -> OutsideReport:
    """Take the regions of a run that were accepted into the corrected labels: each becomes its suggested class.

    What was taken over earlier and is not accepted any more is taken back.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: a scoring run, or a noise-robust training
        status: "accepted", or "pending" to take all that nobody has rejected, too
        reviewer: who decides
        on_edited: what to do with answers about labels that were edited since, see `apply_corrections`
        progress: told how far the job is

    Returns:
        what was taken over

    Raises:
        LabelQualityError: if there is no such run with regions
    """
    reviewer = text_or_none("reviewer", reviewer)
    if status not in ("accepted", "pending"):
        raise LabelQualityError(f'Expected `status` to be "accepted" or "pending", but got {status!r}')
    dataset = samples._root_dataset
    record = run_records.find_run(dataset, key)
    name = ScoreFields(key).regions
    if record is None or record.method not in run_records.REVIEWABLE or not dataset.has_field(name):
        keys = [run.key for run in run_records.list_runs(dataset) if dataset.has_field(ScoreFields(run.key).regions)]
        raise LabelQualityError(f"Expected the key of a run with regions, but got {key!r}; there are {keys or 'none'}")
    run = _begun(samples, record.label_field, on_edited, progress)
    classes = run.classes()
    wanted = {"accepted"} if status == "accepted" else {"accepted", "pending"}
    chosen = samples_behind(samples)
    state_of = {
        label_id: state
        for label_ids, states in zip(
            *chosen.values([f"{name}.detections.id", f"{name}.detections.status"]), strict=True
        )
        for label_id, state in zip(label_ids or [], states or [], strict=True)
    }
    passed_over, rows = 0, []
    value_of, named = values_of_names(record.summary.get("class_rows", ())), names_now(dataset, record.label_field)
    counted = answer_log.answers_that_count(answer_log.read_answers(dataset, run.label_field, masks=False))
    taken = {answer.query_id for answer in counted}
    back = [answer for answer in counted if _no_longer_holds(answer, state_of.get(answer.query_id), wanted)]
    answer_log.add_answers(dataset, [replace(answer, status="pending", time=regions.utc_now()) for answer in back])
    chosen_ids = [label_id for label_id, state in state_of.items() if state in wanted and label_id not in taken]
    for region in regions.find_regions(dataset, name, chosen_ids):  # those taken would lie over what was said since
        source = PROPOSAL if state_of[region.label_id] == "accepted" else UNREVIEWED
        answer = _answer_of(run, classes, _as_named_now(region, value_of, named), source, reviewer)
        if answer is None:
            passed_over += 1
        else:
            rows.append(answer)
    answer_log.add_answers(dataset, rows)
    return _report(samples, run, rows, passed_over, progress, back)


def _no_longer_holds(answer: Answer, state: str | None, wanted: set[str]) -> bool:
    """Whether what was taken over is of a region of this run whose acceptance was taken back, or that was rejected."""
    if answer.source == PROPOSAL:
        return state is not None and state not in {"accepted", *wanted}
    return answer.source == UNREVIEWED and state == "rejected"


def _begun(samples: Any, label_field: str, on_edited: str, progress: Progress) -> CorrectionRun:
    try:
        run = open_correction(samples, label_field)
    except LabelQualityError:
        return begin_correction(samples._root_dataset, label_field, on_edited=on_edited, progress=progress)
    report = apply_corrections(samples._root_dataset, label_field, on_edited=on_edited, progress=progress)
    if report.edited:
        raise LabelQualityError(
            f"Expected the labels that the answers are about, but those of {len(report.edited)} images were edited "
            'since; choose `on_edited="replay"` or "discard"'
        )
    return run


def _as_named_now(
    region: regions.StoredRegion, value_of: Mapping[str, int], named: Mapping[int, str]
) -> regions.StoredRegion:
    """A region with the names that its classes have now, also where they got others since it was found."""
    given, suggested = (named.get(value_of.get(name, -1), name) for name in (region.given, region.suggested))
    return replace(region, given=given, suggested=suggested)


def _answer_of(
    run: CorrectionRun, classes: ClassMap, region: regions.StoredRegion, source: str, reviewer: str | None
) -> Answer | None:
    value = dict(zip(classes.names, classes.values, strict=True)).get(region.suggested)
    if value is None or not region.mask_path:
        return None
    try:
        mask = read_mask_file(region.mask_path) > 0
        raw = run.read_label(region.sample_id)
    except (OSError, LabelQualityError):
        return None
    height, width = int(raw.shape[0]), int(raw.shape[1])
    top, left = round(region.box[1] * height), round(region.box[0] * width)
    bbox = (top, left, top + mask.shape[0], left + mask.shape[1])
    now = classes.mask_values(raw)[top : bbox[2], left : bbox[3]]
    if now.shape != mask.shape:
        return None
    return Answer(
        label_field=run.label_field,
        sample_id=region.sample_id,
        query_id=region.label_id,
        status="corrected",
        given=region.given,
        answer=region.suggested,
        value=value,
        bbox=bbox,
        shape=(height, width),
        mask=mask,
        source=source,
        digest=mask_digest(raw),
        repaired=int((mask & (now != value)).sum()),
        reviewer=reviewer,
    )


def _report(
    samples: Any,
    run: CorrectionRun,
    rows: Sequence[Answer],
    passed_over: int,
    progress: Progress,
    back: Sequence[Answer] = (),
) -> OutsideReport:
    touched = list(dict.fromkeys(answer.sample_id for answer in (*rows, *back)))
    for done, sample_id in enumerate(touched, start=1):
        derive(run, sample_id)
        progress(done, len(touched), "writing corrected labels")
    report = apply_corrections(samples._root_dataset, run.label_field, progress=progress)
    return OutsideReport(len(rows), len(touched), passed_over, report, len(back))


# --- edits by hand --------------------------------------------------------------------------------------------


@files.disk_in_words()
def begin_hand_edits(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    ignore_index: Any = "auto",
    for_tool: bool = False,
    progress: Progress = silent,
) -> str:
    """Write the objects of the corrected labels as Detections with masks, which the App's Annotate tab can edit.

    Every connected part of one class becomes an object, except those of mask value 0, which is what is under all
    objects. Edit them with the brush, move, add or delete them, then call `finish_hand_edits`. Objects that were edited
    and not finished stay as they are, which a warning says.

    Args:
        samples: the `fiftyone` dataset or a view of it: the samples to edit
        label_field: the field that is corrected
        ignore_index: as in `score_label_quality`; used if the correction was not begun yet
        for_tool: keep the masks in the database and not in files; FiftyOne's `annotate` sends only such to CVAT
        progress: told how many images are done

    Returns:
        name of the field of objects

    Raises:
        LabelQualityError: if the correction cannot be begun
    """
    import fiftyone as fo

    dataset = samples._root_dataset
    try:
        run = open_correction(samples, label_field)
    except LabelQualityError:
        run = begin_correction(dataset, label_field, ignore_index=ignore_index, progress=progress)
    name, classes = f"{label_field}_objects", run.classes()
    if not dataset.has_field(name):
        text = f"Objects of `{run.fields.corrected}` to edit in the Annotate tab"
        dataset.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections, description=text)
    if name not in dataset.label_schemas:  # without one, the Annotate tab asks for it and shows nothing
        schema = {"type": "detections", "attributes": [], "classes": list(classes.names), "component": "dropdown"}
        dataset.update_label_schema(name, schema)
    dataset.activate_label_schemas(name, prepend=True)
    ids, offered = samples_behind(samples).values(["id", name])
    edited = 0
    before = dict(zip(ids, offered, strict=True))
    for done, sample_id in enumerate(ids, start=1):
        path = derive(run, sample_id)
        if path is not None and _is_edited(run, classes, sample_id, before.get(sample_id)):
            edited += 1
        elif path is not None:
            values = classes.mask_values(read_mask_file(path, run.reading))
            offer, objects = _objects(run, classes, sample_id, values, in_database=for_tool)
            # First the objects: after a crash between, what was answered since the old offer is taken for an edit,
            # which changes nothing; the other way round old objects would undo it.
            dataset.set_values(name, {sample_id: fo.Detections(detections=objects)}, key_field="id")
            offer.save(_objects_folder(run, sample_id))
        progress(done, len(ids), "cutting out objects")
    if edited:
        warnings.warn(
            f"{count(edited, 'image', 'have')} objects that were edited and not finished; they stay as they are. Run "
            "`finish_hand_edits` to take the edits over, or delete the objects to begin again",
            stacklevel=3,
        )
    return name


def _is_edited(run: CorrectionRun, classes: ClassMap, sample_id: str, objects: Any) -> bool:
    """Whether objects that were cut out earlier are others now, and nobody has taken that over."""
    offer = None if objects is None else _Offer.load(run, sample_id)
    if offer is None:
        return False
    try:
        return not np.array_equal(_drawn(offer, classes, objects.detections), offer.values)
    except LabelQualityError:  # an object of a class that there is not, which only a person can have made
        return True


def _objects(
    run: CorrectionRun, classes: ClassMap, sample_id: str, values: np.ndarray, *, in_database: bool
) -> tuple[_Offer, list[Any]]:
    """One Detection per connected part of a class, largest first, and what they are cut from."""
    import fiftyone as fo
    from scipy.ndimage import find_objects

    height, width = values.shape
    name_of = {value: name for value, name in classes.value_names.items() if value}
    ignored = ~np.isin(values, list(name_of))
    parts = connected_parts(np.ones(values.shape, np.int32), values.astype(np.int64))
    parts = np.where(ignored, 0, parts)
    areas = np.bincount(parts.ravel())
    boxes = find_objects(parts)
    order = [part for part in np.argsort(-areas, kind="stable").tolist() if part and areas[part]][:MOST_OBJECTS]
    folder = _objects_folder(run, sample_id)
    state = hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=6).hexdigest()
    made = []
    for part in order:
        rows, columns = boxes[part - 1]
        mask = parts[rows, columns] == part
        if in_database:
            where = {"mask": mask}
        else:
            file = folder / f"{state}-{part}.png"  # never over a file that an object of the dataset names
            files.write_png(file, draw_mask(mask))
            where = {"mask_path": str(file)}
        value = int(values[rows, columns][mask][0])
        box = [columns.start / width, rows.start / height, mask.shape[1] / width, mask.shape[0] / height]
        made.append(fo.Detection(label=name_of[value], bounding_box=box, **where))
    return _Offer(values, np.isin(parts, order), {name: value for value, name in name_of.items()}), made


def _objects_folder(run: CorrectionRun, sample_id: str) -> Path:
    return run.folder / "corrected" / "objects" / sample_id


@dataclass(frozen=True, eq=False)
class _Offer:
    """What objects were cut from: what differs from it was edited, and nothing else, whoever answered meanwhile.

    Attributes:
        values: (H, W) mask values
        offered: (H, W) bool, where there is an object
        named: class to mask value when they were cut; classes may have got other names since
    """

    values: np.ndarray
    offered: np.ndarray
    named: Mapping[str, int] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Keep it until the edits are finished."""
        folder.mkdir(parents=True, exist_ok=True)
        names, values = np.array(list(self.named), str), np.array(list(self.named.values()), np.int64)
        arrays = {"values": self.values, "offered": self.offered, "names": names, "named": values}
        write_arrays(folder / "offer.npz", arrays)

    @classmethod
    def of(cls, run: CorrectionRun, sample_id: str, now: np.ndarray, own: bool) -> _Offer:
        """What `save` kept; of objects from elsewhere all of the label."""
        kept = cls.load(run, sample_id) if own else None
        return kept or cls(now, np.isin(now, [value for value in run.classes().values if value]))

    @classmethod
    def load(cls, run: CorrectionRun, sample_id: str) -> _Offer | None:
        """What `save` kept, None if there is nothing or it is damaged."""
        path = _objects_folder(run, sample_id) / "offer.npz"
        if not is_whole(path):
            return None
        arrays = {"names": np.array([], str), "named": np.array([], np.int64), **read_arrays(path)}
        named = dict(zip(arrays["names"].tolist(), arrays["named"].tolist(), strict=True))
        return cls(arrays["values"], arrays["offered"], named)


@files.disk_in_words()
def finish_hand_edits(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    objects: str | None = None,
    reviewer: str | None = None,
    progress: Progress = silent,
) -> OutsideReport:
    """Bring edited objects back as answers: what differs from the corrected label is painted onto it.

    Objects lie over each other by size, small ones on top. Where an object was and none is now, mask value 0 comes
    back, if it is a class; otherwise the label stays.

    Args:
        samples: the `fiftyone` dataset or a view of it: the samples that were edited
        label_field: the field that is corrected
        objects: the field of objects; that of `begin_hand_edits` if None
        reviewer: who edited
        progress: told how many images are done

    Returns:
        what was taken over

    Raises:
        LabelQualityError: if there is no such field, or an object has a class that the label field does not have
    """
    reviewer = text_or_none("reviewer", reviewer)
    run = open_correction(samples, label_field)
    dataset, name = run.dataset, objects or f"{label_field}_objects"
    if not dataset.has_field(name):
        raise LabelQualityError(f"Expected a field of objects, but there is no {name!r}; run `begin_hand_edits` first")
    classes, rows = run.classes(), []
    ids, drawn_on = samples_behind(samples).values(["id", name])
    edited = dict(zip(ids, drawn_on, strict=True))
    for done, sample_id in enumerate(ids, start=1):
        if edited.get(sample_id) is not None and (path := derive(run, sample_id)) is not None:
            now = classes.mask_values(read_mask_file(path, run.reading))
            offer = _Offer.of(run, sample_id, now, objects is None)
            drawn = _drawn(offer, classes, edited[sample_id].detections)
            changes = _edits(run, classes, sample_id, offer.values, drawn, now, reviewer)
            # A call that was killed before the offer was renewed has taken these over: again, they would lie over
            # what was said since.
            names = [change.query_id for change in changes]
            known = answer_log.read_answers(dataset, label_field, query_ids=names, masks=False) if names else []
            taken = {answer.query_id for answer in known}
            changes = [change for change in changes if change.query_id not in taken]
            answer_log.add_answers(dataset, changes)
            renewed = _Offer(drawn, offer.offered | (drawn != offer.values), offer.named)
            renewed.save(_objects_folder(run, sample_id))
            rows += changes
        progress(done, len(ids), "comparing")
    return _report(samples, run, rows, 0, progress)


def _edits(
    run: CorrectionRun,
    classes: ClassMap,
    sample_id: str,
    values: np.ndarray,
    drawn: np.ndarray,
    now: np.ndarray,
    reviewer: str | None,
) -> list[Answer]:
    if now.shape != values.shape:
        raise LabelQualityError(
            f"Expected a label of {values.shape}, from which the objects of sample {sample_id} were cut, but it has "
            f"{now.shape} now; run `begin_hand_edits` again"
        )
    raw = run.read_label(sample_id)
    name_of = classes.value_names
    rows = []
    for value in np.unique(drawn[drawn != values]).tolist():
        changed = (drawn == value) & (drawn != values)
        bbox, mask = tight(changed)
        before = int(np.bincount(np.maximum(values[changed], 0)).argmax())
        rows.append(
            Answer(
                label_field=run.label_field,
                sample_id=sample_id,
                query_id=f"edit-{_edit_name(sample_id, values, changed, value)}",
                status="corrected",
                given=name_of.get(before, "no class"),
                answer=name_of[value],
                value=value,
                bbox=bbox,
                shape=(int(values.shape[0]), int(values.shape[1])),
                mask=mask,
                source=HAND_EDIT,
                digest=mask_digest(raw),
                repaired=int((changed & (now != value)).sum()),
                reviewer=reviewer,
            )
        )
    return rows


def _edit_name(sample_id: str, values: np.ndarray, changed: np.ndarray, value: int) -> str:
    """The same for the same edit of the same offer, and for no other."""
    digest = hashlib.blake2b(f"{sample_id}/{value}/{values.shape}".encode(), digest_size=12)
    digest.update(np.ascontiguousarray(values).tobytes())
    digest.update(np.packbits(changed).tobytes())
    return digest.hexdigest()


def _drawn(offer: _Offer, classes: ClassMap, detections: Sequence[Any]) -> np.ndarray:
    """The label that objects make: small ones over large ones, 0 where there was an object and is none."""
    value_of: dict[str, int | None] = dict(zip(classes.names, classes.values, strict=True)) | dict(offer.named)
    values = offer.values
    drawn = values.copy()
    if 0 in classes.values:
        drawn[offer.offered] = 0
    parts: list[tuple[np.ndarray, int]] = []
    for detection in detections:
        value = value_of.get(str(detection.label))
        if not value:
            raise LabelQualityError(
                f"Expected objects of the classes {[n for n, v in value_of.items() if v]}, but got {detection.label!r}"
            )
        mask = instance_mask(detection, (int(values.shape[0]), int(values.shape[1])))
        if mask is None:
            mask = box_mask(detection.bounding_box, (int(values.shape[0]), int(values.shape[1])))
        parts.append((mask, value))
    for mask, value in sorted(parts, key=lambda part: -int(part[0].sum())):
        drawn[mask] = value
    return drawn
