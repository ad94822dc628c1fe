"""Files of a run that others name, too: a clone keeps the paths of the original's files, and so does a copied field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ...written_files import remove_written, written_files
from ..journals.append_log import store_documents
from .files import MARKER, write_json

_IDS = 1_000
_STORE: Final = "label_quality_left_files"
"""FiftyOne's store, of no dataset, of folders whose run is gone while other datasets name files in them."""

_PATHS: Final = ("", ".mask_path", ".map_path", ".detections.mask_path")


def named_elsewhere(dataset: Any, fields: Sequence[str], folder: Path) -> set[Path]:
    """Files below a folder that samples of other datasets name, or other fields of this one: what must stay.

    Looked at are datasets that have a field of the same name, or samples of the same ids, as a clone has; of all others
    the paths of their images.

    Args:
        dataset: the `fiftyone.Dataset` whose files they are
        fields: that name the files in it
        folder: of the run

    Returns:
        the files
    """
    rows = dataset._sample_collection.find({}, {"_id": 1}).limit(_IDS)
    ids, prefix, found = [row["_id"] for row in rows], f"{folder}/", set[Path]()
    for samples, names in _datasets():
        own = samples.name == dataset._sample_collection_name
        if own or set(names) & set(fields) or samples.find_one({"_id": {"$in": ids}}, {"_id": 1}):
            named = samples.find({}, dict.fromkeys((name for name in names if not own or name not in fields), 1))
        else:
            named = samples.find({"filepath": {"$regex": f"^{re.escape(prefix)}"}}, {"filepath": 1})
        for row in named:
            found |= {Path(text) for text in _texts(row) if text.startswith(prefix)}
    return found


def is_named_elsewhere(dataset: Any, field: str, sample_id: str, path: Path) -> bool:
    """Whether a sample of another dataset, or another field of this one, names a file; quick enough for each answer.

    Args:
        dataset: the `fiftyone.Dataset` whose file it is
        field: that names the file in it
        sample_id: of the sample that names it
        path: of the file

    Returns:
        whether the file must stay
    """
    from bson import ObjectId

    for samples, names in _datasets():
        own = samples.name == dataset._sample_collection_name
        wanted = dict.fromkeys((name for name in names if not own or name != field), 1)
        row = samples.find_one({"_id": ObjectId(sample_id)}, wanted)
        if row is not None and str(path) in _texts(row):
            return True
        if not own and field in names and samples.find_one({f"{field}.mask_path": str(path)}, {"_id": 1}):
            return True
    return False


def leave_files(folder: Path) -> None:
    """Remember a folder whose run was deleted while other datasets name files in it.

    Args:
        folder: of the run; nothing is remembered if nothing is left in it
    """
    if any(True for _ in written_files(folder)):
        write_json(folder / MARKER, {"owner": _STORE})  # no run goes on there, or takes them for its own
        place = {"store_name": _STORE, "dataset_id": None, "key": str(folder)}
        store_documents().update_one(place, {"$set": {"value": {}}}, upsert=True)


def remove_left_files() -> int:
    """Delete the files that runs have left for others and that no dataset names any more.

    Returns:
        how many files were deleted
    """
    removed = 0
    for row in list(store_documents().find({"store_name": _STORE, "dataset_id": None})):
        folder = Path(row["key"])
        if not folder.parent.is_dir():  # a disk that is not there just now
            continue
        if not any(_names_below(samples, names, folder) for samples, names in _datasets()):
            removed += remove_written(folder)
            store_documents().delete_one({"_id": row["_id"]})
    return removed


def _names_below(samples: Any, names: Sequence[str], folder: Path) -> bool:
    """Whether any sample names a file below a folder."""
    below = {"$regex": f"^{re.escape(f'{folder}/')}"}
    wanted = [{f"{name}{path}": below} for name in names for path in _PATHS]
    return samples.find_one({"$or": wanted}, {"_id": 1}) is not None


def _datasets() -> Iterator[tuple[Any, list[str]]]:
    """Samples of all datasets but for copies that FiftyOne makes of views, and their fields that may name files."""
    from fiftyone.core.odm import get_db_conn

    connection = get_db_conn()
    wanted = {"sample_collection_name": {"$regex": "^samples\\."}}
    for row in connection.datasets.find(wanted, {"sample_collection_name": 1, "sample_fields": 1}):
        names = [
            field.get("db_field") or field["name"] for field in row.get("sample_fields", ()) if _names_files(field)
        ]
        yield connection[row["sample_collection_name"]], list(dict.fromkeys(["filepath", *names]))


def _names_files(field: Mapping[str, Any]) -> bool:
    kind = str(field.get("embedded_doc_type") or field.get("ftype") or "")
    return kind.startswith("fiftyone.core.labels") or kind.endswith(".StringField")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
