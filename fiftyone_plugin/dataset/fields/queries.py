"""Correction queries as Detections: written in bulk, taken and answered one by one where they are, in the database.

A query is taken before it is shown, by one operation of MongoDB that only one of several reviewers can win, so that no
query is answered twice. Who goes away without an answer gives it back after `CLAIM_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from ..door.masks import read_mask_file
from .regions import utc_now
from .schema import declare_detections

QUERY_STATUSES: Final = ("pending", "confirmed", "corrected", "skipped", "known")
"""Not answered yet, the label is right, it was corrected, the reviewer could not say, or it was an answered hidden
question, which tells about the reviewer and not about the label."""

CLAIM_SECONDS: Final = 60
"""How long a query that was shown is kept for whom it was shown to; a page that is open says so more often."""

_CHUNK = 2_000

_ATTRIBUTES: Final = {
    "given": ("StringField", "Class that the label says"),
    "suggested": ("StringField", "Class that the model thinks most likely"),
    "value": ("FloatField", "How much the answer is expected to repair (acquisition value)"),
    "rank": ("IntField", "Place in the order of questions"),
    "status": (
        "StringField",
        "pending, confirmed (the label is right), corrected, skipped or known (a hidden question)",
    ),
    "answer": ("StringField", "Class that it is, according to the reviewer"),
    "area": ("IntField", "Pixels that the question is about"),
    "audit": ("BooleanField", "Drawn at random, to estimate how much is still wrong"),
    "trial": ("BooleanField", "Drawn at random among what would be relabelled unasked, to see whether that is right"),
    "round": ("IntField", "Round of planning"),
    "row": ("IntField", "Row of the representative pixel"),
    "column": ("IntField", "Column of the representative pixel"),
    "reviewer": ("StringField", "Who answered"),
    "answered_at": ("DateTimeField", "When it was answered"),
    "seconds": ("FloatField", "How long the answer took"),
}


@dataclass(frozen=True)
class CorrectionFields:
    """Names of what correcting a label field leaves on the dataset.

    Example:
        >>> CorrectionFields("ground_truth").queries
        'ground_truth_queries'
    """

    label_field: str

    @property
    def queries(self) -> str:
        """Detections: one per question."""
        return f"{self.label_field}_queries"

    @property
    def corrected(self) -> str:
        """Segmentation: the label with the answers painted onto it."""
        return f"{self.label_field}_corrected"

    @property
    def changes(self) -> str:
        """Segmentation: 1 where the corrected label differs from the given one."""
        return f"{self.label_field}_changes"

    @property
    def run(self) -> str:
        """Key of the run."""
        return f"{self.label_field}_correction"


@dataclass(frozen=True)
class StoredQuery:
    """A query as it is in the database.

    Attributes:
        sample_id: FiftyOne's id of the sample
        query_id: FiftyOne's id of the Detection
        box: [x, y, width, height], relative
        mask_path: PNG of the part of the label that it is about
        given: class that the label says
        suggested: the likeliest class, which may be the given one
        alternatives: the likeliest classes other than the given one, best first
        value: acquisition value
        rank: place in the order of questions
        status: one of `QUERY_STATUSES`
        answer: class, if it was corrected
        row: of the representative pixel
        column: likewise
        area: pixels
        audit: whether it was drawn at random
        round: of planning
        values: mask values of the given class, the suggested one and the alternatives, None where there is none; empty
            in queries of older versions, which keep names only
        claimed_by: sitting that it was shown to
        claimed_at: when
        trial: whether it was drawn at random among what would be relabelled unasked
    """

    sample_id: str
    query_id: str
    box: tuple[float, float, float, float]
    mask_path: str
    given: str
    suggested: str
    alternatives: tuple[str, ...]
    value: float
    rank: int
    status: str
    answer: str | None
    row: int
    column: int
    area: int
    audit: bool
    round: int
    claimed_by: str | None
    claimed_at: datetime | None
    values: tuple[int | None, ...] = ()
    trial: bool = False

    def named(self, name_of: Mapping[int, str]) -> StoredQuery:
        """The query with the names that its classes have now.

        Args:
            name_of: mask value to name

        Returns:
            the query; classes whose value has no name keep theirs
        """
        if not self.values:
            return self
        before = (self.given, self.suggested, *self.alternatives)
        given, suggested, *others = (
            old if value is None else name_of.get(value, old) for old, value in zip(before, self.values, strict=False)
        )
        return replace(self, given=given, suggested=suggested, alternatives=tuple(others))

    def region(self, shape: tuple[int, int]) -> tuple[tuple[int, int, int, int], np.ndarray]:
        """Where it is.

        Args:
            shape: (H, W) of the label

        Returns:
            (top, left, bottom, right), half open, and the (bottom - top, right - left) bool mask

        Raises:
            OSError: if the file of the mask is gone
        """
        mask = read_mask_file(self.mask_path) > 0
        top, left = round(self.box[1] * shape[0]), round(self.box[0] * shape[1])
        return (top, left, top + mask.shape[0], left + mask.shape[1]), mask


def declare_queries(dataset: Any, name: str) -> None:
    """Declare the field of the queries and their attributes, so that the App filters by them.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
    """
    declare_detections(dataset, name, "Questions about the label, by class that it gives", _ATTRIBUTES)


def query_document(
    *,
    bbox: tuple[int, int, int, int],
    shape: tuple[int, int],
    mask_path: str,
    given: str,
    alternatives: Sequence[str],
    suggested: str,
    value: float,
    rank: int,
    point: tuple[int, int],
    area: int,
    audit: bool,
    round_number: int,
    value_of: Mapping[str, int | None] | None = None,
) -> dict[str, Any]:
    """A query as FiftyOne keeps a Detection in MongoDB.

    Args:
        bbox: (top, left, bottom, right) in pixels, half open
        shape: (H, W) of the label
        mask_path: PNG of its mask
        given: class that the label says
        alternatives: the likeliest other classes, best first
        suggested: the likeliest class
        value: acquisition value
        rank: place in the order of questions
        point: row and column of the representative pixel
        area: pixels
        audit: whether it was drawn at random
        round_number: of planning
        value_of: class to mask value, by which classes that get another name are known again

    Returns:
        the document, pending
    """
    from bson import ObjectId

    top, left, bottom, right = bbox
    height, width = shape
    return {
        "_id": ObjectId(),
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": given,
        "bounding_box": [left / width, top / height, (right - left) / width, (bottom - top) / height],
        "mask_path": mask_path,
        "given": given,
        "suggested": suggested,
        "alternatives": list(alternatives),
        "value": float(value),
        "rank": int(rank),
        "status": "pending",
        "answer": None,
        "area": int(area),
        "audit": bool(audit),
        "trial": False,
        "round": int(round_number),
        "row": int(point[0]),
        "column": int(point[1]),
        "reviewer": None,
        "answered_at": None,
        "seconds": None,
        "claimed_by": None,
        "claimed_at": None,
        "values": [value_of.get(name) for name in (given, suggested, *alternatives)] if value_of else [],
    }


def replace_pending(dataset: Any, name: str, documents: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    """Give samples new pending queries in place of the pending ones that they had; answered ones stay.

    Args:
        dataset: the `fiftyone.Dataset`, in which `declare_queries` has declared the field
        name: the field
        documents: sample id to documents of `query_document`
    """
    from bson import ObjectId
    from pymongo import UpdateOne

    listed = {"$ifNull": [f"${name}.detections", []]}
    answered = {"$filter": {"input": listed, "as": "query", "cond": {"$ne": ["$$query.status", "pending"]}}}
    operations = [
        UpdateOne(
            {"_id": ObjectId(sample_id)},
            [
                {
                    "$set": {
                        name: {
                            "_cls": "Detections",
                            "detections": {"$concatArrays": [answered, {"$literal": list(rows)}]},
                        },
                        "last_modified_at": utc_now(),
                    }
                }
            ],
        )
        for sample_id, rows in documents.items()
    ]
    for start in range(0, len(operations), _CHUNK):
        chunk = list(documents)[start : start + _CHUNK]
        dataset._bulk_write(operations[start : start + _CHUNK], ids=chunk)


def pending_queries(dataset: Any, name: str, sample_id: str | None = None) -> list[tuple[str, str]]:
    """Sample and query ids of what is still to be asked, in the planned order.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        sample_id: only of this sample

    Returns:
        pairs of ids
    """
    from bson import ObjectId

    path = f"{name}.detections"
    match: dict[str, Any] = {f"{path}.status": "pending"}
    if sample_id is not None:
        match["_id"] = ObjectId(sample_id)
    pipeline = [
        {"$match": match},
        {"$project": {f"{path}._id": 1, f"{path}.status": 1, f"{path}.rank": 1}},
        {"$unwind": f"${path}"},
        {"$match": {f"{path}.status": "pending"}},
        {"$sort": {f"{path}.rank": 1, "_id": 1}},
    ]
    rows = dataset._sample_collection.aggregate(pipeline)
    return [(str(row["_id"]), str(row[name]["detections"]["_id"])) for row in rows]


@dataclass(frozen=True)
class AskedQuestion:
    """What a query was when it was planned.

    Attributes:
        query_id: FiftyOne's id of the query
        round: of planning
        value: what it was worth
        area: pixels
        audit: whether it was drawn at random
    """

    query_id: str
    round: int
    value: float
    area: int
    audit: bool


def asked_questions(dataset: Any, name: str) -> list[AskedQuestion]:
    """All queries that there are, answered or not.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field

    Returns:
        in any order
    """
    path = f"{name}.detections"
    columns = ("_id", "round", "value", "area", "audit")
    pipeline = [
        {"$match": {f"{path}.0": {"$exists": True}}},
        {"$project": {"_id": 0, **{f"{path}.{column}": 1 for column in columns}}},
        {"$unwind": f"${path}"},
    ]
    rows = (row[name]["detections"] for row in dataset._sample_collection.aggregate(pipeline))
    return [
        AskedQuestion(
            str(row["_id"]),
            int(row.get("round") or 0),
            float(row.get("value") or 0.0),
            int(row.get("area") or 0),
            bool(row.get("audit")),
        )
        for row in rows
    ]


def count_queries(dataset: Any, name: str, sample_id: str | None = None, status: str = "pending") -> int:
    """How many queries have a status.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        sample_id: only of this sample
        status: one of `QUERY_STATUSES`

    Returns:
        their number
    """
    from bson import ObjectId

    path = f"{name}.detections"
    match: dict[str, Any] = {f"{path}.status": status}
    if sample_id is not None:
        match["_id"] = ObjectId(sample_id)
    listed = {"$filter": {"input": f"${path}", "as": "query", "cond": {"$eq": ["$$query.status", status]}}}
    pipeline = [{"$match": match}, {"$group": {"_id": None, "number": {"$sum": {"$size": listed}}}}]
    row = next(iter(dataset._sample_collection.aggregate(pipeline)), None)
    return int(row["number"]) if row else 0


def claim(dataset: Any, name: str, sample_id: str, query_id: str, sitting: str) -> StoredQuery | None:
    """Take a pending query, unless somebody else has it or it is gone.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        sample_id: of the sample
        query_id: of the Detection
        sitting: who takes it

    Returns:
        the query, or None
    """
    now = utc_now()
    free = [
        {"claimed_by": None},
        {"claimed_by": sitting},
        {"claimed_at": {"$lt": now - timedelta(seconds=CLAIM_SECONDS)}},
    ]
    wanted = {"status": "pending", "$or": free}
    values = {"claimed_by": sitting, "claimed_at": now}
    return _change(dataset, name, sample_id, query_id, values, wanted)


def release(dataset: Any, name: str, sample_id: str, query_id: str, sitting: str) -> None:
    """Give a query back without an answer.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        sample_id: of the sample
        query_id: of the Detection
        sitting: who has it
    """
    _change(dataset, name, sample_id, query_id, {"claimed_by": None, "claimed_at": None}, {"claimed_by": sitting})


def set_query_status(
    dataset: Any,
    name: str,
    sample_id: str,
    query_id: str,
    status: str,
    *,
    answer: str | None = None,
    reviewer: str | None = None,
    seconds: float | None = None,
    at: datetime | None = None,
    claimed_by: str | None = None,
) -> None:
    """Note what was answered, after the answer itself was kept.

    Samples that are held in Python do not show it before `refresh`, or before they are reloaded.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        sample_id: of the sample
        query_id: of the Detection
        status: one of `QUERY_STATUSES`
        answer: class, if it was corrected
        reviewer: who answered
        seconds: how long it took
        at: when
        claimed_by: who keeps it, if it is pending again
    """
    from bson import ObjectId

    pending = status == "pending"
    values = {
        "status": status,
        "answer": answer,
        "reviewer": None if pending else reviewer,
        "answered_at": None if pending else at or utc_now(),
        "seconds": None if pending else seconds,
        "claimed_by": claimed_by,
        "claimed_at": utc_now() if claimed_by else None,
    }
    path = f"{name}.detections"
    changes = {**{f"{path}.$.{key}": value for key, value in values.items()}, "last_modified_at": utc_now()}
    wanted = {"_id": ObjectId(sample_id), f"{path}._id": ObjectId(query_id)}
    dataset._sample_collection.update_one(wanted, {"$set": changes})


def refresh(dataset: Any, sample_ids: Sequence[str]) -> None:
    """Bring samples that are held in Python up to date; it takes long where there are many queries.

    Args:
        dataset: the `fiftyone.Dataset`
        sample_ids: which
    """
    import fiftyone as fo

    fo.Sample._reload_docs(dataset._sample_collection_name, sample_ids=list(sample_ids))


def _change(
    dataset: Any, name: str, sample_id: str, query_id: str, values: Mapping[str, Any], wanted: Mapping[str, Any]
) -> StoredQuery | None:
    from bson import ObjectId
    from pymongo import ReturnDocument

    path = f"{name}.detections"
    found = dataset._sample_collection.find_one_and_update(
        {"_id": ObjectId(sample_id), path: {"$elemMatch": {"_id": ObjectId(query_id), **wanted}}},
        {
            "$set": {
                **{f"{path}.$.{key}": value for key, value in values.items()},
                "last_modified_at": utc_now(),
            }
        },
        projection={path: 1},
        return_document=ReturnDocument.AFTER,
    )
    rows = ((found or {}).get(name) or {}).get("detections") or []
    return next((_stored(sample_id, row) for row in rows if str(row["_id"]) == query_id), None)


def find_queries(dataset: Any, name: str, query_ids: Iterable[str]) -> list[StoredQuery]:
    """Read queries by their ids.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        query_ids: ids of Detections; others are passed over

    Returns:
        those that exist, as they are now, in the order of the ids
    """
    from bson import ObjectId

    path = f"{name}.detections"
    ids = list(dict.fromkeys(query_id for query_id in query_ids if ObjectId.is_valid(query_id)))
    found: dict[str, StoredQuery] = {}
    for start in range(0, len(ids), _CHUNK):
        keys = [ObjectId(query_id) for query_id in ids[start : start + _CHUNK]]
        pipeline = [
            {"$match": {f"{path}._id": {"$in": keys}}},
            {"$project": {path: 1}},
            {"$unwind": f"${path}"},
            {"$match": {f"{path}._id": {"$in": keys}}},
        ]
        for row in dataset._sample_collection.aggregate(pipeline):
            query = _stored(str(row["_id"]), row[name]["detections"])
            found[query.query_id] = query
    return [found[query_id] for query_id in ids if query_id in found]


def _stored(sample_id: str, content: Mapping[str, Any]) -> StoredQuery:
    x, y, width, height = content["bounding_box"]
    return StoredQuery(
        sample_id=sample_id,
        query_id=str(content["_id"]),
        box=(x, y, width, height),
        mask_path=str(content.get("mask_path") or ""),
        given=str(content.get("given")),
        suggested=str(content.get("suggested")),
        alternatives=tuple(content.get("alternatives") or ()),
        value=float(content.get("value") or 0.0),
        rank=int(content.get("rank") or 0),
        status=str(content.get("status")),
        answer=content.get("answer"),
        row=int(content.get("row") or 0),
        column=int(content.get("column") or 0),
        area=int(content.get("area") or 0),
        audit=bool(content.get("audit")),
        round=int(content.get("round") or 1),
        claimed_by=content.get("claimed_by"),
        claimed_at=content.get("claimed_at"),
        values=tuple(content.get("values") or ()),
        trial=bool(content.get("trial")),
    )
