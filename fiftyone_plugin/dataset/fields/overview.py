"""Numbers about a scoring run, from indexes and short lists; no document is read that need not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from ..door.slices import every_slice
from .region_columns import ACCEPTED, REJECTED

_KNOWN = {"$gte": float("-inf")}
"""Any number. MongoDB answers this from an index alone, where `$ne: None` makes it read every document. Not for views,
which are kept as JSON, that has no infinity."""


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
    samples, index = _samples(dataset), _index_of(dataset, field)
    found = samples.find({field: _KNOWN}, {"_id": 0, field: 1})  # with the index, no document is read
    values = np.array([row[field] for row in (found.hint(index) if index else found)], np.float64)
    # Compared with the very edges that `between` compares with; the upper end has no bin of its own.
    places = np.minimum(np.searchsorted(edges, values, "right") - 1, num_bins - 1)
    counts = np.bincount(places, minlength=num_bins).tolist()
    known = len(values) > 0
    return Histogram(
        edges, counts, float(np.median(values)) if known else None, float(values.mean()) if known else None
    )


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


def reviews(dataset: Any, regions: str, image_ids: Sequence[Any]) -> list[Review]:
    """The decisions about regions, oldest first.

    Args:
        dataset: the `fiftyone.Dataset`
        regions: its Detections field
        image_ids: of the samples that have any

    Returns:
        one entry per region that was accepted or rejected
    """
    path = f"{regions}.detections"
    decided = {f"{path}.status": {"$in": [ACCEPTED, REJECTED]}}
    columns = ("score", "first_score", "area", "label", "status", "reviewed_at", "unseen")
    pipeline = [
        {"$match": {"_id": {"$in": list(image_ids)}}},
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
