"""Runs: what was computed with what, and which fields, files and views belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from ...errors import LabelQualityError
from ..door.slices import changed_elsewhere
from ..fields.object_findings import forget_findings
from ..fields.values import require_text
from .claims import claim
from .files import remove_run_files, require_removable, why_it_stays
from .run_copies import copied_keys, copied_record, forget_copy, keep_copy
from .shared_files import leave_files, named_elsewhere, remove_left_files

SCORING = "segmentation_label_quality"
TRAINING = "segmentation_cross_validation"
REHEARSAL = "segmentation_label_errors"
NOISE_ROBUST = "segmentation_noise_robust_training"
CORRECTION = "segmentation_label_correction"
SUPERPIXELS = "segmentation_superpixels"
PSEUDO_LABELS = "segmentation_pseudo_labels"
SAM_EMBEDDINGS = "segmentation_sam_embeddings"
CHECK_UP = "segmentation_label_check"
OBJECT_MASKS = "segmentation_object_masks"
REVIEWABLE = (SCORING, NOISE_ROBUST)
"""Methods whose runs may have regions to accept or reject."""

DERIVED = (*REVIEWABLE, CORRECTION, SUPERPIXELS, OBJECT_MASKS)
"""Methods whose fields follow from labels and are none themselves."""

_METHODS = (
    SCORING,
    TRAINING,
    REHEARSAL,
    NOISE_ROBUST,
    CORRECTION,
    SUPERPIXELS,
    PSEUDO_LABELS,
    SAM_EMBEDDINGS,
    CHECK_UP,
    OBJECT_MASKS,
)


@dataclass(frozen=True)
class RunRecord:
    """What a run left behind, kept on the dataset under the run's key.

    Attributes:
        key: the run's key
        method: one of `SCORING`, `TRAINING`, `REHEARSAL`, `NOISE_ROBUST`, `CORRECTION`, `SUPERPIXELS`,
            `PSEUDO_LABELS`, `SAM_EMBEDDINGS`, `CHECK_UP`, `OBJECT_MASKS`
        label_field: the field that was looked at
        parameters: everything needed to run it again, and the versions that ran
        fields: sample fields that the run wrote; of a finished run those that nobody has deleted since
        views: saved views that the run made
        output_dir: the folder of its files
        summary: what it found, in plain values
        dataset_id: the dataset that the files were written for; a clone shares them but does not own them
        finished: whether all of it was written; an unfinished run is resumed, replaced or deleted, and not looked at
        folders: other folders with files of the run: what it is about to replace, or what it will be replaced with
    """

    key: str
    method: str
    label_field: str
    parameters: dict[str, Any]
    fields: list[str]
    views: list[str] = field(default_factory=list)
    output_dir: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    dataset_id: str = ""
    finished: bool = True
    folders: list[str] = field(default_factory=list)


def require_free_key(dataset: Any, key: str, fields: list[str], *, overwrite: bool, method: str) -> None:
    """Check that a key can be used, before anything is computed.

    Args:
        dataset: the `fiftyone.Dataset`
        key: the key
        fields: names of the fields that the run will write
        overwrite: whether a run of the same method under this key may be replaced
        method: the run's method

    Raises:
        LabelQualityError: if the key is no identifier, is taken, or a field of that name is somebody else's
    """
    if not isinstance(key, str) or not key.isidentifier() or key.startswith("_"):
        raise LabelQualityError(
            f"Expected `key` to be letters, digits and underscores, not starting with a digit or an underscore, "
            f"but got {key!r}; for instance 'label_quality'"
        )
    existing = find_run(dataset, key, unfinished=True)
    if existing is None and key in dataset.list_runs() and _run_document(dataset, key) is not None:
        _refuse_kind(dataset, key)
    if existing is not None:
        if existing.key != key:
            raise LabelQualityError(
                f"Expected a free `key`, but {key!r} is what the run {existing.key!r} is called now; choose another key"
            )
        if existing.method != method:
            _refuse_kind(dataset, key)
        if existing.finished and not overwrite:
            raise LabelQualityError(
                f"Expected a free `key`, but dataset {dataset.name!r} already has the run {key!r}; choose another "
                "key, pass `overwrite=True`, or delete the run first"
            )
    own = set(existing.fields) if existing else set()
    taken = [name for name in fields if dataset.has_field(name) and name not in own]
    if taken:
        raise LabelQualityError(
            f"Expected the fields {taken} to be free, but dataset {dataset.name!r} has them and no run "
            f"{key!r} wrote them; choose another `key`, or delete the fields with `delete_sample_fields`"
        )


def _refuse_kind(dataset: Any, key: str) -> NoReturn:
    raise LabelQualityError(
        f"Expected a free `key`, but {key!r} is a run of another kind on dataset {dataset.name!r}; choose another key"
    )


def register_run(dataset: Any, record: RunRecord, *, touch: bool = True) -> None:
    """Keep a run's record on the dataset; one under the same key is changed where it is, in one step.

    Args:
        dataset: the `fiftyone.Dataset`
        record: of the run
        touch: whether what it holds is new; otherwise it keeps its time and the dataset that it is of
    """
    owner = dataset_id(dataset) if touch else record.dataset_id
    config = dataset.init_run(**{**asdict(record), "dataset_id": owner})
    keep_copy(dataset, record.key, config.serialize())
    document = _run_document(dataset, record.key)
    if document is None:
        forget_run(dataset, record.key)  # a reference to nothing, which a killed deletion has left
        dataset.register_run(record.key, config)
        return
    document.config = config.serialize()
    if touch:
        document.timestamp = datetime.now(timezone.utc).replace(tzinfo=None)
    document.save()


def _run_document(dataset: Any, key: str) -> Any:
    """FiftyOne's document of a run; None if there is none, or only a reference to one that is gone."""
    from bson import DBRef

    document = dataset._doc.runs.get(name_of_run(dataset, key))
    return None if isinstance(document, DBRef) else document


def name_of_run(dataset: Any, key: str) -> str:
    """What a run is called on the dataset: its key, or what FiftyOne's `rename_run` has made of it.

    Its fields and files carry the key all the same. Both names find it.

    Args:
        dataset: the `fiftyone.Dataset`
        key: of the run

    Returns:
        the name; the key itself if there is no such run
    """
    runs = dataset._doc.runs
    called = {name: _plain_config(document).get("key") for name, document in runs.items()}
    if called.get(key) == key:
        return key
    return next((name for name, own in called.items() if own == key), key)


def _plain_config(document: Any) -> dict[str, Any]:
    """What FiftyOne keeps of a run of ours; nothing of others, and of references to what is gone."""
    from bson import DBRef

    config = {} if document is None or isinstance(document, DBRef) else dict(document.config or {})
    return config if config.get("method") in _METHODS else {}


def time_of_run(dataset: Any, key: str) -> datetime:
    """When a run was registered, in UTC without a time zone.

    Args:
        dataset: the `fiftyone.Dataset`
        key: of a run that there is
    """
    return _run_document(dataset, key).timestamp


def forget_run(dataset: Any, key: str) -> None:
    """Take a run off the dataset: first what names it, so that no name of nothing stays."""
    name = name_of_run(dataset, key)
    if name in dataset._doc.runs:
        document = _run_document(dataset, key)
        del dataset._doc.runs[name]
        dataset._doc.save()
        if document is not None:
            document.delete()
    forget_copy(dataset, key)


def dataset_id(dataset: Any) -> str:
    """FiftyOne's id of a dataset, which a renamed dataset keeps and a clone does not share."""
    return str(dataset._doc.id)


def find_run(dataset: Any, key: str, *, unfinished: bool = False) -> RunRecord | None:
    """The record of a run of ours, or None if there is none under this key.

    Args:
        dataset: the `fiftyone.Dataset`
        key: of the run
        unfinished: whether one that is not finished counts, too

    Returns:
        the record
    """
    document = _run_document(dataset, require_text("key", key))
    if document is None and changed_elsewhere(dataset):
        document = _run_document(dataset, key)
    if document is None and unfinished:
        return _left_run(dataset, key)
    record = _record(_plain_config(document))
    if record is None or unfinished:
        return record
    there = [name for name in record.fields if dataset.has_field(name)]  # others were deleted by hand
    return replace(record, fields=there) if record.finished else None


def _record(config: Mapping[str, Any]) -> RunRecord | None:
    names = RunRecord.__dataclass_fields__
    return RunRecord(**{name: _plain(config[name]) for name in names if name in config}) if config else None


def _left_run(dataset: Any, key: str) -> RunRecord | None:
    """What a run has left whose record was deleted by other means, as one that is not finished."""
    record = _record(copied_record(dataset, key) or {})
    if record is None:
        return None
    there = any(map(dataset.has_field, record.fields)) or any(map(dataset.has_saved_view, record.views))
    there = there or any(folder.is_dir() for folder in own_folders(dataset, record))
    return replace(record, finished=False) if there else None


def _plain(value: Any) -> Any:
    """Lists and dicts of the database driver's own kind, which cannot be copied, as ordinary ones."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def list_runs(dataset: Any, method: str | None = None, *, unfinished: bool = False) -> list[RunRecord]:
    """The runs of ours on a dataset.

    Args:
        dataset: the `fiftyone.Dataset`
        method: only those of this method
        unfinished: whether those that are not finished count, too

    Returns:
        their records
    """
    changed_elsewhere(dataset)
    keys = dict.fromkeys([*dataset.list_runs(), *(copied_keys(dataset) if unfinished else ())])
    records = (find_run(dataset, key, unfinished=unfinished) for key in keys)
    found = {r.key: r for r in records if r is not None and method in (None, r.method)}
    return list(found.values())


@dataclass(frozen=True)
class DeletedRun(RunRecord):
    """What was deleted with a run.

    Attributes:
        left: what could not be deleted: each a sentence that names a folder, why it stays, and what to do
    """

    left: list[str] = field(default_factory=list)


def remove_run(dataset: Any, key: str) -> DeletedRun:
    """Delete a run with every field, view and file that it wrote, and nothing else.

    A deletion that was interrupted is made again by the same call: what names the run goes last.

    Args:
        dataset: the `fiftyone.Dataset`
        key: the run's key

    Returns:
        what was deleted, and what could not be

    Raises:
        LabelQualityError: if there is no such run, it is being written just now, or its folder is read-only
    """
    record = find_run(dataset, key, unfinished=True)
    if record is None:
        keys = [run.key for run in list_runs(dataset, unfinished=True)]
        raise LabelQualityError(
            f"Expected `key` to be a run on dataset {dataset.name!r}, but got {key!r}; there are {keys or 'none'}"
        )
    with claim(dataset, record.key):
        for folder in own_folders(dataset, record):
            require_removable(folder)
        register_run(dataset, replace(record, finished=False), touch=False)
        left = remove_results(dataset, record)
        forget_run(dataset, record.key)
    remove_left_files()
    return DeletedRun(**vars(record), left=list(left.values()))


def own_folders(dataset: Any, record: RunRecord) -> list[Path]:
    """The folders in which a run's files are, none if they are those of the dataset that this one is a clone of."""
    if record.dataset_id != dataset_id(dataset):
        return []
    return [Path(folder) for folder in dict.fromkeys([record.output_dir, *record.folders]) if folder]


def remove_results(dataset: Any, record: RunRecord, *, keep: Path | None = None) -> dict[Path, str]:
    """Delete a run's views, fields and files, keeping its entry, and files that another dataset names.

    Args:
        dataset: the `fiftyone.Dataset`
        record: of the run
        keep: a folder whose files stay

    Returns:
        folders in which something is left that nobody else is known to need, and why, in words
    """
    folders = [folder for folder in own_folders(dataset, record) if folder != keep]
    shared = {folder: named_elsewhere(dataset, record.fields, folder) for folder in folders if folder.is_dir()}
    _remove_views(dataset, record.views)
    present = [name for name in record.fields if dataset.has_field(name)]
    _drop_appearance(dataset, record.fields)
    samples, paths = dataset._sample_collection, set(record.fields)
    for index, found in samples.index_information().items():
        if any(path.partition(".")[0] in paths for path, _ in found["key"]):
            samples.drop_index(index)
    forget_findings(dataset, record.key, record.fields)
    if present:
        dataset.delete_sample_fields(present)
    if paths:  # what a killed call has left of fields that are declared no more
        paths = {name for name in paths if "." not in name}  # those inside of objects are gone
        there = {"$or": [{name: {"$exists": True}} for name in paths]}
        samples.update_many(there, {"$unset": dict.fromkeys(paths, "")})
    left, owner = {}, f"{dataset_id(dataset)}/{record.key}"
    for folder, files in shared.items():
        if remove_run_files(folder, owner, files) and files:
            leave_files(folder)
        elif reason := why_it_stays(folder, owner):
            left[folder] = reason
    return left


def _remove_views(dataset: Any, names: list[str]) -> None:
    """Delete saved views so that it can be done again: first what names them.

    FiftyOne deletes the view first; killed after that, the dataset names a view that is gone, which is mended, too.
    """
    from bson import DBRef
    from fiftyone.core import dataset as fiftyone_datasets

    dataset._doc.reload("saved_views")
    listed = dataset._doc.saved_views
    going = [view for view in listed if isinstance(view, DBRef) or view.name in names]
    if not going:
        return
    dataset._doc.saved_views = [view for view in listed if view not in going]
    dataset._doc.save()
    for view in going:
        if not isinstance(view, DBRef):
            fiftyone_datasets._handle_delete_generated_saved_view(dataset, view)  # copies of regions may go now
            view.delete()


def _drop_appearance(dataset: Any, fields: list[str]) -> None:
    """Forget targets, colours and sidebar entries of fields that are about to go."""
    targets = dict(dataset.mask_targets)
    if any(targets.pop(name, None) is not None for name in fields):
        dataset.mask_targets = targets
    scheme = dataset.app_config.color_scheme
    if scheme is not None:
        scheme.fields = [entry for entry in scheme.fields or [] if entry.get("path") not in fields]
        scheme.colorscales = [entry for entry in scheme.colorscales or [] if entry.get("path") not in fields]
    groups = dataset.app_config.sidebar_groups
    if groups is not None:
        for group in groups:
            group.paths = [path for path in group.paths if path not in fields]
    dataset.save()
