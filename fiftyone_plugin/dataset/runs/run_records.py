"""Runs: what was computed with what, and which fields, files and views belong to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...errors import LabelQualityError
from .files import remove_run_files

SCORING = "segmentation_label_quality"
TRAINING = "segmentation_cross_validation"
REHEARSAL = "segmentation_label_errors"
NOISE_ROBUST = "segmentation_noise_robust_training"
CORRECTION = "segmentation_label_correction"
SUPERPIXELS = "segmentation_superpixels"
PSEUDO_LABELS = "segmentation_pseudo_labels"
SAM_EMBEDDINGS = "segmentation_sam_embeddings"
CHECK_UP = "segmentation_label_check"
REVIEWABLE = (SCORING, NOISE_ROBUST)
"""Methods whose runs may have regions to accept or reject."""

DERIVED = (*REVIEWABLE, CORRECTION, SUPERPIXELS)
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
)


@dataclass(frozen=True)
class RunRecord:
    """What a run left behind, kept on the dataset under the run's key.

    Attributes:
        key: the run's key
        method: one of `SCORING`, `TRAINING`, `REHEARSAL`, `NOISE_ROBUST`, `CORRECTION`, `SUPERPIXELS`,
            `PSEUDO_LABELS`, `SAM_EMBEDDINGS`, `CHECK_UP`
        label_field: the field that was looked at
        parameters: everything needed to run it again, and the versions that ran
        fields: sample fields that the run wrote
        views: saved views that the run made
        output_dir: the folder of its files
        summary: what it found, in plain values
        dataset_id: the dataset that the files were written for; a clone shares them but does not own them
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
    if not key.isidentifier() or key.startswith("_"):
        raise LabelQualityError(
            f"Expected `key` to be letters, digits and underscores, not starting with a digit or an underscore, "
            f"but got {key!r}; for instance 'label_quality'"
        )
    existing = find_run(dataset, key)
    if key in dataset.list_runs():
        if existing is None or existing.method != method:
            raise LabelQualityError(
                f"Expected a free `key`, but {key!r} is a run of another kind on dataset {dataset.name!r}; "
                "choose another key"
            )
        if not overwrite:
            raise LabelQualityError(
                f"Expected a free `key`, but dataset {dataset.name!r} already has the run {key!r}; choose another "
                "key, pass `overwrite=True`, or delete the run first"
            )
    own = set(existing.fields) if existing else set()
    taken = [name for name in fields if dataset.has_field(name) and name not in own]
    if taken:
        raise LabelQualityError(
            f"Expected the fields {taken} to be free, but dataset {dataset.name!r} has them and no run "
            f"{key!r} wrote them; choose another `key`"
        )


def register_run(dataset: Any, record: RunRecord) -> None:
    """Keep a run's record on the dataset; one under the same key is replaced."""
    config = dataset.init_run(**{**asdict(record), "dataset_id": dataset_id(dataset)})
    dataset.register_run(record.key, config, overwrite=True, cleanup=False)


def dataset_id(dataset: Any) -> str:
    """FiftyOne's id of a dataset, which a renamed dataset keeps and a clone does not share."""
    return str(dataset._doc.id)


def find_run(dataset: Any, key: str) -> RunRecord | None:
    """The record of a run of ours, or None if there is none under this key."""
    if key not in dataset.list_runs():
        return None
    config = dataset.get_run_info(key).config
    if getattr(config, "method", None) not in _METHODS:
        return None
    names = RunRecord.__dataclass_fields__
    return RunRecord(**{name: _plain(getattr(config, name)) for name in names if hasattr(config, name)})


def _plain(value: Any) -> Any:
    """Lists and dicts of the database driver's own kind, which cannot be copied, as ordinary ones."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def list_runs(dataset: Any, method: str | None = None) -> list[RunRecord]:
    """The runs of ours on a dataset, those of one method if it is given."""
    records = (find_run(dataset, key) for key in dataset.list_runs())
    return [r for r in records if r is not None and method in (None, r.method)]


def remove_run(dataset: Any, key: str) -> RunRecord:
    """Delete a run with every field, view and file that it wrote, and nothing else.

    Args:
        dataset: the `fiftyone.Dataset`
        key: the run's key

    Returns:
        the record of what was deleted

    Raises:
        LabelQualityError: if there is no such run
    """
    record = find_run(dataset, key)
    if record is None:
        keys = [run.key for run in list_runs(dataset)]
        raise LabelQualityError(
            f"Expected `key` to be a run on dataset {dataset.name!r}, but got {key!r}; there are {keys or 'none'}"
        )
    remove_results(dataset, record)
    dataset.delete_run(key)
    return record


def remove_results(dataset: Any, record: RunRecord) -> None:
    """Delete a run's views, fields and files, keeping its entry."""
    for view in record.views:
        if dataset.has_saved_view(view):
            dataset.delete_saved_view(view)
    present = [name for name in record.fields if dataset.has_field(name)]
    _drop_appearance(dataset, record.fields)
    if present:
        dataset.delete_sample_fields(present)  # their indexes go with them
    if record.output_dir and record.dataset_id == dataset_id(dataset):
        remove_run_files(Path(record.output_dir))


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
