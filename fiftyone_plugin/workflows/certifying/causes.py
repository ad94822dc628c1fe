"""Why labels are wrong: systematic errors of groups of images, each with a repair that can be undone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...correction.answers.replay import tight
from ...dataset.door.classes import ClassMap
from ...dataset.door.masks import mask_digest
from ...dataset.door.renamed_classes import names_now
from ...dataset.door.scan import mask_reader
from ...dataset.door.slices import samples_behind
from ...dataset.fields.regions import utc_now
from ...dataset.fields.values import text_or_none
from ...dataset.journals import answers as answer_log
from ...dataset.journals.answers import CAUSE, Answer
from ...dataset.runs import files, run_records
from ...errors import LabelQualityError
from ...progress import Progress, terminal_bar
from ...quality import load_record
from ...quality.causes import causes as systematic
from ...quality.causes.repairs import UNKNOWN, Repair, repaired
from ...wording import count
from ..correcting.corrected_labels import CorrectionReport, apply_corrections, derive
from ..correcting.correction_run import CorrectionRun, open_correction
from ..correcting.correction_start import begin_correction
from ..reviewing.review import scoring_run

FOUND: Final = "causes.json"
"""In a run's folder: the causes that were found."""

_GROUPING: Final = ("StringField", "BooleanField", "IntField", "FloatField", "DateField", "DateTimeField")
_NO_GROUPS: Final = ("id", "filepath", "created_at", "last_modified_at", "mask", "mask_path", "size_bytes")


@dataclass(frozen=True)
class FoundCause:
    """One systematic error.

    Attributes:
        name: by which it is repaired
        text: what is wrong, why one may think so, what a repair would do
        repair: the rule, see `quality.causes.repairs.Repair`
        classes: names of the classes that it is about
        attribute: what its images have in common, for instance "folder"; empty for all images
        value: of it
        num_images: images of the group that can show it
        num_shown: of these, those that do
        num_elsewhere: other images that can show it
        shown_elsewhere: of these, those that do
        pixels: that would agree with the predictions in addition after the repair
        chance: that this were seen by chance
        sample_ids: all images of the group
    """

    name: str
    text: str
    repair: Repair
    classes: tuple[str, ...]
    attribute: str
    value: str
    num_images: int
    num_shown: int
    num_elsewhere: int
    shown_elsewhere: int
    pixels: int
    chance: float
    sample_ids: tuple[str, ...]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FoundCause:
        """The cause that `dataclasses.asdict` gave."""
        rule = content["repair"]
        repair = Repair(rule["kind"], tuple(rule["classes"]), tuple(rule["amount"]))
        lists = {name: tuple(content[name]) for name in ("classes", "sample_ids")}
        return cls(**{**content, **lists, "repair": repair})


@dataclass(frozen=True)
class CausesReport:
    """What was found.

    Attributes:
        key: the scoring run
        causes: those that explain most first
        num_images: images that were looked at
        left_out: images whose label was edited since they were scored, or cannot be read
    """

    key: str
    causes: tuple[FoundCause, ...]
    num_images: int
    left_out: int

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [f"**Systematic errors in {count(self.num_images, 'image')}: {len(self.causes):,}**"]
        if not self.causes:
            lines.append("- nothing that many errors have in common; review the regions one by one, or accept in bulk")
        lines += [f"- {one.text} (`{one.name}`)" for one in self.causes]
        if self.left_out:
            lines.append(f"- {count(self.left_out, 'image', 'were')} left out: edited since scoring, or not readable")
        return "\n".join(lines)


@dataclass(frozen=True)
class CauseRepairReport:
    """What a repair changed.

    Attributes:
        cause: what was repaired, or taken back
        num_images: images whose label has changed
        pixels: that have another class now
        corrections: what all answers together have changed
    """

    cause: FoundCause
    num_images: int
    pixels: int
    corrections: CorrectionReport

    def markdown(self) -> str:
        """The report as a person reads it."""
        head = f"**Repaired: {count(self.pixels, 'pixel')} in {count(self.num_images, 'image')}.** {self.cause.text}"
        return "\n\n".join([head, self.corrections.markdown()])


def find_causes(
    samples: Any,
    *,
    key: str = "label_quality",
    attributes: str | Sequence[str] | None = None,
    progress: Progress | None = None,
) -> CausesReport:
    """Find systematic errors: two classes swapped in a folder, masks of a batch moved, a class one person never draws.

    Images are grouped by folder, tags, size, place in the dataset, and by all fields with text, truth values, numbers
    or times, those of the label among them (`ground_truth.annotator`). Nothing is changed.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: a scoring run, whose predictions were made out of sample
        attributes: only these fields group images, besides folder, tags, size and place; all if None
        progress: told how far the job is; a bar in the terminal if None

    Returns:
        the causes; `repair_cause` takes the name of one

    Raises:
        LabelQualityError: if there is no such run, it has no files, or a field does not exist

    Example:
        >>> print(find_causes(dataset).markdown())  # doctest: +SKIP
        >>> repair_cause(dataset, "swapped-3f2a")  # doctest: +SKIP
    """
    if progress is None:
        with terminal_bar("looking for causes") as bar:
            return find_causes(samples, key=key, attributes=attributes, progress=bar)
    record = scoring_run(samples, key, with_regions=False)
    scored = _ScoredLabels.of(samples, record)
    ids, paths = samples_behind(samples).values(["id", "filepath"])
    in_order = [sample_id for _, sample_id in sorted(zip(paths, ids, strict=True))]  # neighbours are alike
    places, left_out = scored.readable(in_order)
    names = list(record.summary["classes"])
    values = _attributes_of(samples, record, places, attributes)

    def done(number: int, total: int) -> None:
        progress(number, total, "looking for causes")

    found = systematic.find_causes(
        lambda place: scored.pair(places[place]),
        len(places),
        len(names),
        values,
        background=next((place for place, value in enumerate(scored.classes.values) if value == 0), None),
        progress=done,
    )
    causes = tuple(_found(cause, names, places) for cause in found)
    files.write_json(Path(str(record.output_dir)) / FOUND, {"causes": [asdict(one) for one in causes]})
    return CausesReport(key, causes, len(places), left_out)


def _found(cause: systematic.Cause, names: Sequence[str], places: Sequence[str]) -> FoundCause:
    digest = hashlib.sha256(cause.name.encode()).hexdigest()[:4]
    return FoundCause(
        name=f"{cause.repair.kind}-{digest}",
        text=cause.text(names),
        repair=cause.repair,
        classes=tuple(names[value] for value in cause.repair.classes),
        attribute=cause.group.attribute,
        value=cause.group.value,
        num_images=cause.num_images,
        num_shown=cause.num_shown,
        num_elsewhere=cause.num_elsewhere,
        shown_elsewhere=cause.shown_elsewhere,
        pixels=round(cause.pixels),
        chance=float(cause.chance),
        sample_ids=tuple(places[place] for place in np.flatnonzero(cause.group.members).tolist()),
    )


def known_causes(samples: Any, *, key: str = "label_quality") -> tuple[FoundCause, ...]:
    """The causes that `find_causes` has found last.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: the scoring run

    Returns:
        none if nobody has looked

    Raises:
        LabelQualityError: if there is no such run
    """
    record = scoring_run(samples, key, with_regions=False)
    content = files.read_json(Path(record.output_dir or "") / FOUND) if record.output_dir else None
    return tuple(FoundCause.from_dict(one) for one in (content or {}).get("causes", ()))


def repair_cause(
    samples: Any,
    name: str,
    *,
    key: str = "label_quality",
    reviewer: str | None = None,
    on_edited: str = "refuse",
    progress: Progress | None = None,
) -> CauseRepairReport:
    """Repair a systematic error in the corrected labels of all its images; the given labels are never written.

    What a person answered about a place stays. Repairing again changes nothing, and `undo_cause_repair` takes it back.

    Args:
        samples: the `fiftyone` dataset or a view of it; all images of the cause are repaired
        name: of the cause
        key: the scoring run
        reviewer: who decides
        on_edited: what to do with answers about labels that were edited since, see `apply_corrections`
        progress: told how many images are done; a bar in the terminal if None

    Returns:
        what was changed

    Raises:
        LabelQualityError: if there is no such cause, or the correction cannot be begun
    """
    if progress is None:
        with terminal_bar("repairing") as bar:
            return repair_cause(samples, name, key=key, reviewer=reviewer, on_edited=on_edited, progress=bar)
    reviewer = text_or_none("reviewer", reviewer)
    cause, dataset = _cause(samples, name, key), samples._root_dataset
    record = scoring_run(samples, key, with_regions=False)
    try:
        run = open_correction(samples, record.label_field)
    except LabelQualityError:
        ignored = record.parameters.get("ignore_index", "auto")
        run = begin_correction(dataset, record.label_field, ignore_index=ignored, progress=progress)
    scored = _ScoredLabels.of(dataset, record)
    found = answer_log.read_answers(dataset, run.label_field, sample_ids=cause.sample_ids, masks=False)
    known = {answer.query_id for answer in answer_log.answers_that_count(found)}
    readable, _ = scored.readable(cause.sample_ids)
    pixels = images = 0
    for done, sample_id in enumerate(readable, start=1):
        rows = [answer for answer in _answers(run, scored, cause, sample_id, reviewer) if answer.query_id not in known]
        if rows:
            answer_log.add_answers(dataset, rows)
            derive(run, sample_id)
            pixels, images = pixels + sum(answer.repaired for answer in rows), images + 1
        progress(done, len(readable), "repairing")
    report = apply_corrections(dataset, run.label_field, on_edited=on_edited, progress=progress)
    return CauseRepairReport(cause, images, pixels, report)


def undo_cause_repair(samples: Any, name: str, *, key: str = "label_quality") -> int:
    """Take the repair of a systematic error back; all other answers stay.

    Args:
        samples: the `fiftyone` dataset or a view of it
        name: of the cause
        key: the scoring run

    Returns:
        how many images have their former label again

    Raises:
        LabelQualityError: if there is no such cause, or nothing was corrected yet
    """
    cause, dataset = _cause(samples, name, key), samples._root_dataset
    record = scoring_run(samples, key, with_regions=False)
    run = open_correction(samples, record.label_field)
    found = answer_log.read_answers(dataset, run.label_field, sample_ids=cause.sample_ids)
    own = [one for one in answer_log.answers_that_count(found) if one.query_id.startswith(f"cause-{name}-")]
    answer_log.add_answers(dataset, [replace(one, status="pending", time=utc_now()) for one in own])
    touched = dict.fromkeys(one.sample_id for one in own)
    for sample_id in touched:
        derive(run, sample_id)
    apply_corrections(dataset, run.label_field)
    return len(touched)


def _cause(samples: Any, name: str, key: str) -> FoundCause:
    known = {one.name: one for one in known_causes(samples, key=key)}
    if name not in known:
        raise LabelQualityError(
            f"Expected the name of a cause of the run {key!r}, but got {name!r}; there are {list(known) or 'none'}. "
            "Call `find_causes` first"
        )
    return known[name]


def _answers(
    run: CorrectionRun, scored: _ScoredLabels, cause: FoundCause, sample_id: str, reviewer: str | None
) -> list[Answer]:
    """What a repair changes in one label, one answer for each class that pixels get."""
    given, predicted = scored.pair(sample_id)
    fixed = repaired(given, predicted, cause.repair)
    changed = (fixed != given) & (fixed != UNKNOWN)
    digest = mask_digest(run.read_label(sample_id))
    names = names_now(run.dataset, run.label_field)
    rows = []
    for place in np.unique(fixed[changed]).tolist():
        value = scored.classes.values[place]
        if value is None:  # a class of the model that labels cannot have
            continue
        whole = changed & (fixed == place)
        bbox, mask = tight(whole)
        before = int(np.bincount(given[whole] + 1).argmax()) - 1
        rows.append(
            Answer(
                label_field=run.label_field,
                sample_id=sample_id,
                query_id=f"cause-{cause.name}-{value}-{sample_id}",
                status="corrected",
                given=scored.name(before, names),
                answer=scored.name(place, names),
                value=value,
                bbox=bbox,
                shape=(int(given.shape[0]), int(given.shape[1])),
                mask=mask,
                source=CAUSE,
                digest=digest,
                repaired=int(mask.sum()),
                reviewer=reviewer,
            )
        )
    return rows


@dataclass(frozen=True, eq=False)
class _ScoredLabels:
    """Labels as a run has seen them, and what it predicted."""

    classes: ClassMap
    read: Any
    records: dict[str, Path]

    @classmethod
    def of(cls, samples: Any, record: run_records.RunRecord) -> _ScoredLabels:
        folder = Path(record.output_dir or "") / "records"
        found = {path.name.split("-")[0]: path for path in folder.glob("*-*.npz")} if record.output_dir else {}
        if not found:
            raise LabelQualityError(
                f"Expected the files of the run {record.key!r} in {folder}, but there are none; score the labels again"
            )
        field = record.label_field
        return cls(_classes_of(record), mask_reader(samples._root_dataset, field), found)

    def readable(self, sample_ids: Sequence[str]) -> tuple[list[str], int]:
        """Those whose label is the one that was scored, and how many others were scored."""
        scored = [sample_id for sample_id in sample_ids if sample_id in self.records]
        kept = [sample_id for sample_id in scored if self._is_as_scored(sample_id)]
        return kept, len(scored) - len(kept)

    def _is_as_scored(self, sample_id: str) -> bool:
        try:
            return mask_digest(self.read(sample_id)) == self.records[sample_id].name.split("-")[1]
        except (OSError, LabelQualityError):
            return False

    def pair(self, sample_id: str) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) given and predicted class indices; `UNKNOWN` where ignored."""
        given = self.classes.indices(self.read(sample_id)).astype(np.int64)
        suspects = load_record(self.records[sample_id]).suspects
        predicted = given.copy()
        predicted.flat[suspects.index.astype(np.int64)] = suspects.predicted
        return given, predicted

    def name(self, place: int, names: Mapping[int, str]) -> str:
        """The name that a class has now."""
        value = self.classes.values[place] if place >= 0 else None
        return names.get(value, self.classes.names[place]) if value is not None else "no class"


def _classes_of(record: run_records.RunRecord) -> ClassMap:
    """The classes of a run in the order of its channels; a mask value that it does not know counts for nothing."""
    names = list(record.summary["classes"])
    texts = {row["name"]: row["value"] for row in record.summary["class_rows"] if row["value"]}
    texts = {name: text for name, text in texts.items() if name in names}
    numbers = {name: [_number(part) for part in text.split(",")] for name, text in texts.items()}
    return ClassMap(
        values=tuple(numbers[name][0] if name in numbers else None for name in names),
        names=tuple(names),
        ignored=frozenset(),
        rgb=any("#" in text for text in texts.values()),
        further=tuple((value, names.index(name)) for name, found in numbers.items() for value in found[1:]),
        only_listed=True,
    )


def _number(text: str) -> int:
    text = text.strip()
    return int(text[1:], 16) if text.startswith("#") else int(text)


def _attributes_of(
    samples: Any, record: run_records.RunRecord, places: Sequence[str], wanted: str | Sequence[str] | None
) -> dict[str, list[Any]]:
    """What images have in common, by name, one value an image."""
    dataset = samples._root_dataset
    chosen = samples_behind(samples)
    fields = _grouping_fields(dataset, record)
    if wanted is not None:
        asked = [wanted] if isinstance(wanted, str) else list(wanted)
        unknown = [name for name in asked if name not in fields]
        if unknown:
            raise LabelQualityError(f"Expected `attributes` among {fields}, but got {unknown}")
        fields = asked
    ids, paths, tags, *columns = chosen.values(["id", "filepath", "tags", *fields])
    place_of = {sample_id: place for place, sample_id in enumerate(ids)}
    order = [place_of[sample_id] for sample_id in places]
    folders = _folder_names([str(paths[place]) for place in order])
    found: dict[str, list[Any]] = {"folder": folders, "tag": [tags[place] for place in order]}
    found |= {name: [column[place] for place in order] for name, column in zip(fields, columns, strict=True)}
    return found | {"place in the dataset": list(order)}


def _folder_names(paths: Sequence[str]) -> list[str]:
    """The folder of each file, as short as it is unique."""
    parents = [Path(path).parent for path in paths]
    short = {parent: parent.name for parent in parents}
    unique = len(set(short.values())) == len(short)
    return [short[parent] if unique else str(parent) for parent in parents]


def _grouping_fields(dataset: Any, record: run_records.RunRecord) -> list[str]:
    """Fields with one value an image that no run of this plugin wrote."""
    written = {name for run in run_records.list_runs(dataset, unfinished=True) for name in run.fields}
    schema = dataset.get_field_schema(flat=True)
    label = f"{record.label_field}."
    return [
        path
        for path, field in schema.items()
        if type(getattr(field, "field", None) or field).__name__ in _GROUPING
        and not path.split(".")[-1].startswith("_")
        and path.removeprefix(label).split(".")[-1] not in _NO_GROUPS
        and ("." not in path or path.startswith(label) or path.startswith("metadata."))
        and path.split(".")[0] not in written
        and path != "tags"
    ]
