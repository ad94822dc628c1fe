"""Records that are added and never changed, kept with the dataset in FiftyOne's execution store.

One key per record, in the order of time. They go when the dataset is deleted, and a clone of it gets a copy.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any
from uuid import uuid4

_CHUNK = 200
_made: set[tuple[Any, str]] = set()


def new_key() -> str:
    """A key for a record: later ones sort after earlier ones."""
    return f"{time.time_ns():020d}-{uuid4().hex[:12]}"


def append(dataset: Any, store: str, records: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    """Add records.

    Args:
        dataset: the `fiftyone.Dataset`
        store: name of the store
        records: key and plain values of each

    Returns:
        how many were added
    """
    from fiftyone.operators.store.models import KeyDocument

    _follow_clones(store)
    rows, added = iter(records), 0
    while chunk := list(islice(rows, _CHUNK)):
        _make(dataset, store)
        documents = [
            KeyDocument(store, key, dict(values), dataset_id=dataset._doc.id).to_mongo_dict() for key, values in chunk
        ]
        _documents().insert_many(documents)
        added += len(chunk)
    return added


def read(
    dataset: Any, store: str, query: Mapping[str, Any] | None = None, *, without: str | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Read records, oldest first.

    Args:
        dataset: the `fiftyone.Dataset`
        store: name of the store
        query: further conditions of MongoDB, on `key` or `value.<name>`
        without: a value to leave out, where it is most of a record

    Returns:
        key and values of each
    """
    _follow_clones(store)
    wanted: dict[str, Any] = {"store_name": store, "dataset_id": dataset._doc.id, "key": {"$ne": "__store__"}}
    wanted |= dict(query or {})
    rows = _documents().find(wanted, None if without is None else {f"value.{without}": 0})
    return sorted(((row["key"], row["value"]) for row in rows), key=lambda row: row[0])


def _make(dataset: Any, store: str) -> None:
    """Make the store and its indexes, once: it takes as long as twenty records."""
    import fiftyone.operators as foo

    if (dataset._doc.id, store) not in _made:
        foo.ExecutionStore.create(store, dataset_id=dataset._doc.id)
        _made.add((dataset._doc.id, store))


def _documents() -> Any:
    from fiftyone.core.odm import get_db_conn
    from fiftyone.factory.repos.execution_store import MongoExecutionStoreRepo

    return get_db_conn()[MongoExecutionStoreRepo.COLLECTION_NAME]


def _follow_clones(store: str) -> None:
    """Let a clone of the dataset have a copy of the records, with the ids of its own samples."""
    try:
        from fiftyone.operators.store.clone import register_cloneable_store
    except ImportError:  # before FiftyOne could
        return
    register_cloneable_store(store)
