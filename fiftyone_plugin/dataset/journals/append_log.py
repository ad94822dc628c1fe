"""Records that are added and never changed, kept with the dataset in FiftyOne's execution store.

One key per record, in the order in which they were added: the keys count, and the database counts for all who write, so
no clock matters. Records are on the database's disk before they are acknowledged. They go when the dataset is deleted,
and a clone of it gets a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final
from uuid import uuid4

from ...errors import LabelQualityError

_CHUNK = 200
_COUNTER: Final = "__order__"
"""Key of the document with the number of the newest record."""

_made: set[tuple[Any, str]] = set()
_counted: set[tuple[Any, str]] = set()


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
    from pymongo.errors import PyMongoError

    _follow_clones(store)
    if not number:
        return []
    try:
        return _append(dataset, store, records, number)
    except PyMongoError as error:
        raise LabelQualityError(
            f"The database did not keep what was said ({error}); see that it runs and has free disk space, then say it "
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
    _follow_clones(store)
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
    wanted = {"store_name": store, "dataset_id": dataset._doc.id, "key": {"$regex": "^[0-9]"}, **(query or {})}
    return store_documents().find_one(wanted, {"_id": 1}) is not None


def adopt(dataset: Any, store: str, original: str) -> int:
    """Copy the records of the dataset that this one is a clone of, where FiftyOne has not done so.

    It does only where the clone was made by a process in which this library was used.

    Args:
        dataset: the `fiftyone.Dataset`
        store: name of the store
        original: id of the other dataset

    Returns:
        how many were copied: what was said before the clone was made, about samples that it has
    """
    from bson import ObjectId

    own = {"store_name": store, "dataset_id": dataset._doc.id}
    if not ObjectId.is_valid(original) or store_documents().find_one({**own, "key": {"$regex": "^[0-9]"}}, {"_id": 1}):
        return 0
    wanted = {"store_name": store, "dataset_id": ObjectId(original), "key": {"$regex": "^[0-9]"}}
    wanted |= {"value.time": {"$lte": dataset._doc.created_at}}
    there = {str(row["_id"]) for row in dataset._sample_collection.find({}, {"_id": 1})}
    rows = [row for row in store_documents().find(wanted) if row["value"].get("sample_id") in there]
    if rows:
        make_store(dataset, store)
        store_documents().insert_many(
            [{name: value for name, value in row.items() if name != "_id"} | own for row in rows]
        )
    return len(rows)


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


def _follow_clones(store: str) -> None:
    """Let a clone of the dataset have a copy of the records, with the ids of its own samples."""
    try:
        from fiftyone.operators.store.clone import register_cloneable_store
    except ImportError:  # before FiftyOne could
        return
    register_cloneable_store(store)
