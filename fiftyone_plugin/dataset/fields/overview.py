"""Numbers about a scoring run, counted by MongoDB; what travels is as small as what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from ..door.slices import every_slice

ACCEPTED, REJECTED, PENDING = "accepted", "rejected", "pending"
_STATUSES = (PENDING, ACCEPTED, REJECTED)

_KNOWN = {"$gte": float("-inf")}
"""Any number. MongoDB answers this from an index alone, where `$ne: None` makes it read every document. Not for views,
which are kept as JSON, that has no infinity."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Histogram:
    """How a score is spread over the images.

    Attributes:
        edges: ascending, one more than counts
        counts: images from one edge to the next; the last bin holds its upper edge too
        median: of the score, None where no image has one
        mean: likewise
    """

    edges: list[float]
    counts: list[int]
    median: float | None
    mean: float | None

    @property
    def total(self) -> int:
        """Images with a score."""
        return sum(self.counts)


@dataclass(frozen=True)
class RegionCount:
    """Regions that have kind, classes and status in common."""

    kind: str
    given: str
    suggested: str
    status: str
    count: int
    area: int


@dataclass(frozen=True, eq=False)
class RegionArrays:
    """Regions as columns.

    Attributes:
        scores: (R,) in [0, 1], before any review
        shown: (R,) in [0, 1], as they are now
        areas: (R,) pixels
        kinds: (R,) position of the kind in the list that was asked for
        images: (R,) number of the image, from 0, in the order of `image_ids`
        image_ids: sample ids
    """

    scores: FloatArray
    shown: FloatArray
    areas: FloatArray
    kinds: IntArray
    images: IntArray
    image_ids: list[Any]


@dataclass(frozen=True)
class Review:
    """One decision about a region; `score` is that before any review; `unseen` regions were accepted in bulk."""

    image_id: Any
    score: float
    area: int
    kind: str
    accepted: bool
    reviewed_at: datetime | None
    unseen: bool = False


@dataclass(frozen=True)
class WorstImage:
    """One of the images with the lowest score."""

    sample_id: str
    path: str
    score: float


@dataclass(frozen=True)
class Change:
    """How a score differs between two fields, over the images that have both."""

    count: int
    mean: float
    better: int
    worse: int


def version_of(dataset: Any) -> str:
    """A string that changes whenever a sample is written, for caches; costs one index look-up."""
    newest: dict[str, Any] = next(
        _samples(dataset).find({}, {"last_modified_at": 1}).sort("last_modified_at", -1).limit(1), {}
    )
    # FiftyOne writes labels with their sample's time; its counter also tells of deletions.
    return f"{newest.get('last_modified_at')}/{_samples(dataset).estimated_document_count()}"


def score_histogram(
    dataset: Any, field: str, num_bins: int | None = None, span: tuple[float, float] | None = None
) -> Histogram:
    """Count the images by score.

    Args:
        dataset: the `fiftyone.Dataset`
        field: its number field, indexed for speed
        num_bins: how many bins; more for more images, if None
        span: lowest and highest edge; those of the data, widened to round numbers, if None

    Returns:
        the histogram; all counts are 0 where no image has a score
    """
    low, high = span or round_span(*score_range(dataset, field))
    num_bins = num_bins or int(np.clip(2 * _samples(dataset).estimated_document_count() ** 0.5, 10, 40))
    width = (high - low) / num_bins
    edges = [low + width * index for index in range(num_bins)] + [high]
    groups = {"count": {"$sum": 1}, "sum": {"$sum": f"${field}"}}
    pipeline = [
        {"$match": {field: _KNOWN}},
        {"$project": {"_id": 0, field: 1}},  # with the index, no document is read
        # Compared with the very edges that `between` compares with; the upper end has no bin of its own.
        {"$bucket": {"groupBy": f"${field}", "boundaries": edges, "default": "end", "output": groups}},
    ]
    counts, total = [0] * num_bins, 0.0
    place = {edge: number for number, edge in enumerate(edges)} | {"end": num_bins - 1}
    for row in _samples(dataset).aggregate(pipeline, hint=_index_of(dataset, field)):
        counts[place[row["_id"]]] += row["count"]
        total += row["sum"]
    number = sum(counts)
    return Histogram(edges, counts, _median(dataset, field, number), total / number if number else None)


def score_range(dataset: Any, field: str) -> tuple[float, float]:
    """Lowest and highest value of a number field, (0, 1) where there is none."""
    samples, known = _samples(dataset), {field: _KNOWN}
    ends: list[dict[str, Any]] = [
        next(samples.find(known, {"_id": 0, field: 1}).sort(field, way).limit(1), {}) for way in (1, -1)
    ]
    return (float(ends[0][field]), float(ends[1][field])) if all(ends) else (0.0, 1.0)


def round_span(low: float, high: float) -> tuple[float, float]:
    """A span of tenths, hundredths or thousandths that holds both ends.

    Example:
        >>> round_span(0.13, 0.98)
        (0.1, 1.0)
    """
    width = max(high - low, 1e-3)
    unit = 10.0 ** np.floor(np.log10(width))
    start, end = np.floor(low / unit) * unit, np.ceil(high / unit) * unit
    return round(float(start), 6), round(float(end if end > start else start + unit), 6)


def _median(dataset: Any, field: str, number: int) -> float | None:
    if not number:
        return None
    middle = _samples(dataset).find({field: _KNOWN}, {"_id": 0, field: 1}).sort(field, 1)
    values = [row[field] for row in middle.skip((number - 1) // 2).limit(2 - number % 2)]
    return float(np.mean(values))


def _index_of(dataset: Any, field: str) -> str | None:
    found = _samples(dataset).index_information()
    return next((name for name, entry in found.items() if entry["key"] == [(field, 1)]), None)


def worst_images(dataset: Any, field: str, count: int, media_field: str = "filepath") -> list[WorstImage]:
    """The images of the lowest score.

    Args:
        dataset: the `fiftyone.Dataset`
        field: its number field
        count: how many
        media_field: string field with the file to show

    Returns:
        worst first
    """
    wanted = {field: 1, "filepath": 1, media_field: 1}
    rows = _samples(dataset).find({field: _KNOWN}, wanted).sort(field, 1).limit(count)
    return [WorstImage(str(row["_id"]), row.get(media_field) or row["filepath"], row[field]) for row in rows]


def region_table(dataset: Any, regions: str) -> list[RegionCount]:
    """Count regions and their pixels by kind, classes and status, in one pass.

    Args:
        dataset: the `fiftyone.Dataset`
        regions: its Detections field

    Returns:
        one row for each combination that occurs, most regions first
    """
    columns = ("label", "given", "suggested", "status")
    key = {name: f"${regions}.detections.{name}" for name in columns}
    path = f"{regions}.detections"
    pipeline = [
        {"$match": {f"{path}.0": {"$exists": True}}},
        {"$project": {"_id": 0, **{f"{path}.{name}": 1 for name in (*columns, "area")}}},
        {"$unwind": f"${path}"},
        {"$group": {"_id": key, "count": {"$sum": 1}, "area": {"$sum": f"${path}.area"}}},
        {"$sort": {"count": -1, "_id": 1}},
    ]
    return [
        RegionCount(
            str(row["_id"].get("label") or ""),
            str(row["_id"].get("given") or ""),
            str(row["_id"].get("suggested") or ""),
            str(row["_id"].get("status") or PENDING),
            row["count"],
            int(row["area"] or 0),
        )
        for row in _samples(dataset).aggregate(pipeline)
    ]


def reviews(dataset: Any, regions: str) -> list[Review]:
    """The decisions about regions, oldest first.

    Args:
        dataset: the `fiftyone.Dataset`
        regions: its Detections field

    Returns:
        one entry per region that was accepted or rejected
    """
    path = f"{regions}.detections"
    decided = {f"{path}.status": {"$in": [ACCEPTED, REJECTED]}}
    columns = ("score", "first_score", "area", "label", "status", "reviewed_at", "unseen")
    pipeline = [
        {"$match": decided},
        {"$project": {f"{path}.{name}": 1 for name in columns}},
        {"$unwind": f"${path}"},
        {"$match": decided},
        {"$project": {name: f"${path}.{name}" for name in columns}},
        {"$sort": {"reviewed_at": 1}},
    ]
    rows = _samples(dataset).aggregate(pipeline, allowDiskUse=True)
    return [
        Review(
            row["_id"],
            float(row.get("first_score", row.get("score")) or 0.0),
            int(row.get("area") or 0),
            str(row.get("label") or ""),
            row["status"] == ACCEPTED,
            row.get("reviewed_at"),
            bool(row.get("unseen")),
        )
        for row in rows
    ]


def pending_arrays(dataset: Any, regions: str, kinds: Sequence[str]) -> RegionArrays:
    """Score, size and kind of every region that nobody has decided on.

    MongoDB picks them and sends three short lists per image; nothing is done region by region here.

    Args:
        dataset: the `fiftyone.Dataset`
        regions: its Detections field
        kinds: known kinds; a region of another kind counts as the last

    Returns:
        the columns
    """
    path = f"${regions}.detections"
    pending = {"$filter": {"input": path, "as": "r", "cond": {"$not": [{"$in": ["$$r.status", [ACCEPTED, REJECTED]]}]}}}
    columns = ("score", "first_score", "area", "label", "status")
    before = {"$map": {"input": "$r", "as": "r", "in": {"$ifNull": ["$$r.first_score", "$$r.score"]}}}
    pipeline = [
        {"$match": {f"{regions}.detections.0": {"$exists": True}}},
        {"$project": {f"{regions}.detections.{name}": 1 for name in columns}},
        {"$project": {"r": pending}},
        {"$project": {"score": "$r.score", "before": before, "area": "$r.area", "kind": "$r.label"}},
    ]
    rows = list(_samples(dataset).aggregate(pipeline))
    sizes = np.fromiter((len(row["score"]) for row in rows), np.int64, len(rows))
    total = int(sizes.sum())
    code = {kind: number for number, kind in enumerate(kinds)}
    labels = chain.from_iterable(row["kind"] for row in rows)
    last = len(kinds) - 1
    return RegionArrays(
        scores=np.fromiter(chain.from_iterable(row["before"] for row in rows), np.float64, total),
        shown=np.fromiter(chain.from_iterable(row["score"] for row in rows), np.float64, total),
        areas=np.fromiter(chain.from_iterable(row["area"] for row in rows), np.float64, total),
        kinds=np.fromiter((code.get(label, last) for label in labels), np.int64, total),
        images=np.repeat(np.arange(len(rows)), sizes),
        image_ids=[row["_id"] for row in rows],
    )


def score_change(dataset: Any, before: str, after: str) -> Change:
    """How scores changed from one field to another, over the images that have both."""
    gain = {"$subtract": [f"${after}", f"${before}"]}
    pipeline = [
        {"$match": {before: _KNOWN, after: _KNOWN}},
        {"$project": {"_id": 0, "gain": gain}},
        {
            "$group": {
                "_id": None,
                "count": {"$sum": 1},
                "mean": {"$avg": "$gain"},
                "better": {"$sum": {"$cond": [{"$gt": ["$gain", 0]}, 1, 0]}},
                "worse": {"$sum": {"$cond": [{"$lt": ["$gain", 0]}, 1, 0]}},
            }
        },
    ]
    row = next(iter(_samples(dataset).aggregate(pipeline)), None)
    return Change(row["count"], float(row["mean"]), row["better"], row["worse"]) if row else Change(0, 0.0, 0, 0)


def number_fields(dataset: Any, names: Sequence[str]) -> list[str]:
    """Those of some fields that exist and hold floats."""
    import fiftyone as fo

    schema = dataset.get_field_schema(ftype=fo.FloatField)
    return [name for name in names if name in schema]


def between(dataset: Any, field: str, low: float, high: float, *, last: bool) -> Any:
    """A view of the images with a score from `low` up to `high`, worst first.

    Args:
        dataset: the `fiftyone.Dataset`
        field: its number field
        low: lowest score
        high: highest score, itself not included unless `last`
        last: whether this is the highest bin
    """
    return every_slice(dataset).match({field: {"$gte": low, "$lte" if last else "$lt": high}}).sort_by(field)


def lowest(dataset: Any, field: str, count: int) -> Any:
    """A view of the images of the lowest score, worst first."""
    return every_slice(dataset).exists(field).sort_by(field).limit(count)


def changed(dataset: Any, before: str, after: str, *, better: bool) -> Any:
    """A view of the images whose score rose or fell, by how much."""
    from fiftyone import ViewField

    gain = ViewField(after) - ViewField(before)
    kept = (
        every_slice(dataset)
        .match({before: {"$ne": None}, after: {"$ne": None}})
        .match(gain > 0 if better else gain < 0)
    )
    return kept.sort_by(gain, reverse=better)


def _samples(dataset: Any) -> Any:
    """The MongoDB collection of the samples."""
    return dataset._sample_collection
