"""Records that are added and never changed, kept with the dataset in FiftyOne's execution store.

One key per record, in the order in which they were added: the keys count, and the database counts for all who write, so
no clock matters. Records are on the database's disk before they are acknowledged. They go when the dataset is deleted;
a clone of it gets a copy, and an import what `pack_history` has put into the export.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, Final
from uuid import uuid4

from ...errors import LabelQualityError

_CHUNK = 200
_COUNTER: Final = "__order__"
"""Key of the document with the number of the newest record."""

HISTORY: Final = "label_quality_history"
"""Key of the run in whose results `pack_history` has put all records, so that FiftyOne's exports carry them."""

_made: set[tuple[Any, str]] = set()
_counted: set[tuple[Any, str]] = set()
_followed: set[tuple[Any, str]] = set()


def append(dataset: Any, store: str, records: Iterable[Mapping[str, Any]], number: int) -> list[str]:
    """Add records.

    Args:
        dataset: the `fiftyone.Dataset`
        store: name of the store
        records: plain values of each
        number: how many there are; their keys follow on each other, without those of others between

    Returns:
        their keys, which sort in the order of adding; those of older versions, which were times, sort before them

    Raises:
        LabelQualityError: if the database cannot keep them
    """
    with database_in_words():
        _follow(dataset, store)
        return _append(dataset, store, records, number) if number else []


@contextmanager
def database_in_words() -> Iterator[None]:
    """Say in words that the database does not answer, as to a person who has just said something.

    Raises:
        LabelQualityError: instead of what the database's driver raises

    Example:
        >>> from pymongo.errors import AutoReconnect
        >>> with database_in_words():
        ...     raise AutoReconnect("connection closed")
        Traceback (most recent call last):
        fiftyone_plugin.errors.LabelQualityError: The database did not do what was asked (connection closed); see that
        it runs and has free disk space, then do it again
    """
    from pymongo.errors import PyMongoError

    try:
        yield
    except PyMongoError as error:
        raise LabelQualityError(
            f"The database did not do what was asked ({error}); see that it runs and has free disk space, then do it "
            "again"
        ) from error


def _append(dataset: Any, store: str, records: Iterable[Mapping[str, Any]], number: int) -> list[str]:
    from fiftyone.operators.store.models import KeyDocument

    make_store(dataset, store)
    last = _count(dataset, store, number)
    keys = [f"{place:020d}-{uuid4().hex[:12]}" for place in range(last - number + 1, last + 1)]
    rows = zip(keys, records, strict=True)
    while chunk := list(islice(rows, _CHUNK)):
        documents = [
            KeyDocument(store, key, dict(values), dataset_id=dataset._doc.id).to_mongo_dict() for key, values in chunk
        ]
        store_documents().insert_many(documents)
    return keys


def order_of(key: str) -> int:
    """The number of a record among all of its store.

    Args:
        key: of the record

    Returns:
        larger for later ones

    Example:
        >>> order_of("00000000000000000012-0123456789ab")
        12
    """
    return int(key.partition("-")[0])


def _count(dataset: Any, store: str, number: int) -> int:
    """Count on by a number of records, for all processes together; gives the number of the last of them."""
    from pymongo import ReturnDocument
    from pymongo.errors import DuplicateKeyError

    place = {"store_name": store, "dataset_id": dataset._doc.id, "key": _COUNTER}
    newest = 0
    if (dataset._doc.id, store) not in _counted:  # where there was no counter before, it goes on from the newest key
        rows = store_documents().find({**place, "key": {"$regex": "^[0-9]"}}, {"key": 1}).sort("key", -1).limit(1)
        newest = max((order_of(row["key"]) for row in rows), default=0)
    before = {"$max": [{"$ifNull": ["$value.number", 0]}, newest]}
    change = [{"$set": {"value": {"number": {"$add": [before, number]}}}}]
    while True:
        try:
            found = store_documents().find_one_and_update(
                place, change, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:  # somebody else has just made it
            continue
        _counted.add((dataset._doc.id, store))
        return int(found["value"]["number"])


def read(
    dataset: Any, store: str, query: Mapping[str, Any] | None = None, *, without: str | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Read records, in the order of adding.

    Args:
        dataset: the `fiftyone.Dataset`
        store: name of the store
        query: further conditions of MongoDB, on `key` or `value.<name>`
        without: a value to leave out, where it is most of a record

    Returns:
        key and values of each
    """
    _follow(dataset, store)
    records = {"$nin": ["__store__", _COUNTER]}
    wanted: dict[str, Any] = {"store_name": store, "dataset_id": dataset._doc.id, "key": records, **(query or {})}
    rows = store_documents().find(wanted, None if without is None else {f"value.{without}": 0})
    return sorted(((row["key"], row["value"]) for row in rows), key=lambda row: row[0])


def holds_any(dataset: Any, store: str, query: Mapping[str, Any] | None = None) -> bool:
    """Whether there is any record, without reading them all.

    Args:
        dataset: the `fiftyone.Dataset`
        store: name of the store
        query: further conditions of MongoDB, as in `read`
    """
    _follow(dataset, store)
    wanted = {"store_name": store, "dataset_id": dataset._doc.id, "key": {"$regex": "^[0-9]"}, **(query or {})}
    return store_documents().find_one(wanted, {"_id": 1}) is not None


def make_store(dataset: Any, store: str) -> None:
    """Make a store and its indexes, once: it takes as long as twenty records.

    Args:
        dataset: the `fiftyone.Dataset`
        store: name of the store
    """
    import fiftyone.operators as foo

    if (dataset._doc.id, store) not in _made:
        foo.ExecutionStore.create(store, dataset_id=dataset._doc.id)
        _made.add((dataset._doc.id, store))


def store_documents() -> Any:
    """The collection of MongoDB in which FiftyOne keeps the documents of all stores; writing waits for the disk."""
    from fiftyone.core.odm import get_db_conn
    from fiftyone.factory.repos.execution_store import MongoExecutionStoreRepo
    from pymongo import WriteConcern

    name = MongoExecutionStoreRepo.COLLECTION_NAME
    return get_db_conn().get_collection(name, write_concern=WriteConcern(w=1, j=True))


def _follow(dataset: Any, store: str) -> None:
    """Let clones of the dataset have copies of the records, and take over those of what it is a copy of itself."""
    with suppress(ImportError):  # before FiftyOne could
        from fiftyone.operators.store.clone import register_cloneable_store

        register_cloneable_store(store)
    if (dataset._doc.id, store) not in _followed:
        _take_over(dataset, store)
        _followed.add((dataset._doc.id, store))


def _take_over(dataset: Any, store: str) -> None:
    """Copy the records of the dataset that this one is a clone or an import of, where FiftyOne has not done so.

    It has only where a clone was made by a process in which this library was used. What was said before the copy was
    made counts, about samples that it has.
    """
    from pymongo.errors import BulkWriteError

    own = {"store_name": store, "dataset_id": dataset._doc.id}
    originals = _originals(dataset)
    if not originals or store_documents().find_one({**own, "key": {"$regex": "^[0-9]"}}, {"_id": 1}):
        return
    wanted = {"store_name": store, "dataset_id": {"$in": originals}, "key": {"$regex": "^[0-9]"}}
    wanted |= {"value.time": {"$lte": dataset._doc.created_at}}
    rows = list(store_documents().find(wanted)) or unpacked(dataset, store)
    there = {str(row["_id"]) for row in dataset._sample_collection.find({}, {"_id": 1})}
    mine = [row for row in rows if row["value"].get("sample_id") in there]
    if mine:
        make_store(dataset, store)
        with suppress(BulkWriteError):  # another process does the same just now
            documents = [{name: value for name, value in row.items() if name != "_id"} | own for row in mine]
            store_documents().insert_many(documents, ordered=False)


def _originals(dataset: Any) -> list[Any]:
    """Ids of the datasets that this one's runs were made on, other than itself."""
    from bson import DBRef, ObjectId

    configs = [run.config for run in dataset._doc.runs.values() if not isinstance(run, DBRef)]
    ids = {str((config or {}).get("dataset_id") or "") for config in configs} - {str(dataset._doc.id)}
    return [ObjectId(text) for text in sorted(ids) if ObjectId.is_valid(text)]


def packed(dataset: Any, store: str) -> tuple[str, int]:
    """All records of a store as text.

    Args:
        dataset: the `fiftyone.Dataset`
        store: name of the store

    Returns:
        the text, and how many they are
    """
    from bson import json_util

    rows = [{"key": key, "value": values} for key, values in read(dataset, store)]
    return base64.b64encode(zlib.compress(json_util.dumps(rows).encode())).decode(), len(rows)


def unpacked(dataset: Any, store: str) -> list[dict[str, Any]]:
    """The records that `pack_history` has put into a run on the dataset.

    Args:
        dataset: the `fiftyone.Dataset`
        store: name of the store

    Returns:
        documents without ids; none if nothing was packed
    """
    from bson import json_util
    from fiftyone.operators.store.models import KeyDocument

    if HISTORY not in dataset.list_runs():
        return []
    results = dataset.load_run_results(HISTORY, cache=False, load_view=False)
    text = (getattr(results, "stores", None) or {}).get(store)
    if not text:
        return []
    options = json_util.JSONOptions(tz_aware=False)
    rows = json_util.loads(zlib.decompress(base64.b64decode(text)).decode(), json_options=options)
    return [KeyDocument(store, row["key"], row["value"], dataset_id=dataset._doc.id).to_mongo_dict() for row in rows]


def rename(dataset: Any, store: str, name: str, old: str, new: str) -> None:
    """Change a value in all records that have it.

    Args:
        dataset: the `fiftyone.Dataset`
        store: name of the store
        name: of the value
        old: what it is
        new: what it becomes
    """
    wanted = {"store_name": store, "dataset_id": dataset._doc.id, f"value.{name}": old}
    store_documents().update_many(wanted, {"$set": {f"value.{name}": new}})
