"""A copy of each run's record beside the dataset, for runs whose record somebody takes off it by other means.

FiftyOne's own `dataset.delete_run(key)` deletes a record and leaves fields, saved views and files. Their key stays
known by the copy, so that starting again replaces them and deleting takes them away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..journals.append_log import make_store, store_documents

STORE: Final = "label_quality_runs"


def keep_copy(dataset: Any, key: str, config: Mapping[str, Any]) -> None:
    """Keep what a run's record says; the time of the first copy stays.

    Args:
        dataset: the `fiftyone.Dataset`
        key: of the run
        config: its record, as FiftyOne keeps it
    """
    from datetime import datetime, timezone

    make_store(dataset, STORE)
    first = {"$ifNull": ["$value.since", datetime.now(timezone.utc).replace(tzinfo=None)]}
    change = [{"$set": {"value": {"config": {"$literal": dict(config)}, "since": first}}}]
    store_documents().update_one(_place(dataset, key), change, upsert=True)


def forget_copy(dataset: Any, key: str) -> None:
    """Forget a run of which nothing is left, also what the dataset that this one is a clone of knows of it.

    Args:
        dataset: the `fiftyone.Dataset`
        key: of the run
    """
    make_store(dataset, STORE)
    store_documents().update_one(_place(dataset, key), {"$set": {"value": {}}}, upsert=True)


def copied_keys(dataset: Any) -> list[str]:
    """Keys of the runs that there are copies of.

    Args:
        dataset: the `fiftyone.Dataset`

    Returns:
        those of this dataset; a clone has none before it has runs of its own
    """
    wanted = {"store_name": STORE, "dataset_id": dataset._doc.id, "value.config": {"$exists": True}}
    return [row["key"] for row in store_documents().find(wanted, {"key": 1})]


def copied_record(dataset: Any, key: str) -> dict[str, Any] | None:
    """What the record of a run said that is on the dataset no more, or on that which the dataset is a clone of.

    Args:
        dataset: the `fiftyone.Dataset`
        key: of the run

    Returns:
        the record as FiftyOne kept it; None if no such run is known
    """
    row = store_documents().find_one(_place(dataset, key))
    if row is None:
        rows = store_documents().find({"store_name": STORE, "key": key})
        row = next((one for one in rows if _is_clone(dataset, one)), None)
    return None if row is None else row["value"].get("config")


def _is_clone(dataset: Any, row: Mapping[str, Any]) -> bool:
    """Whether a dataset has samples of another one, of which a run was there before it."""
    from fiftyone.core.odm import get_db_conn

    connection, value = get_db_conn(), row["value"]
    if "since" not in value or value["since"] > dataset._doc.created_at:
        return False
    original = connection.datasets.find_one({"_id": row["dataset_id"]}, {"sample_collection_name": 1})
    sample = dataset._sample_collection.find_one({}, {"_id": 1})
    if original is None or sample is None:
        return False
    return connection[original["sample_collection_name"]].find_one(sample, {"_id": 1}) is not None


def _place(dataset: Any, key: str) -> dict[str, Any]:
    return {"store_name": STORE, "dataset_id": dataset._doc.id, "key": key}
