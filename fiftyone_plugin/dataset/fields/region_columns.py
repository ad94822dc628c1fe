"""All regions of a run as columns that follow the database: what was written since the last look is read, no more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from ...quality import KINDS

PENDING, ACCEPTED, REJECTED = "pending", "accepted", "rejected"
_STATUSES = (PENDING, ACCEPTED, REJECTED)
_NAMED = ("label", "given", "suggested")
_NEVER = datetime(1970, 1, 1)
_SKEW = timedelta(minutes=1)
"""How far the clock of another machine that writes may be behind: so much is read again."""

_KEPT = 4
_columns: OrderedDict[tuple[Any, ...], RegionColumns] = OrderedDict()
_busy = RLock()

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


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


@dataclass(frozen=True, eq=False)
class RegionColumns:
    """All regions of a field.

    Attributes:
        words: the kinds, given and suggested classes that occur; a region has the number of its word in each
        named: (3, R) those numbers
        status: (R,) number of its status in pending, accepted, rejected
        values: (3, R) score before any review, score now, pixels
        images: (R,) number of the image in the order of `image_ids`
        image_ids: sample ids; some may have no region any more
        newest: when the latest of the samples was written
        count: samples of the dataset
    """

    words: tuple[tuple[str, ...], ...]
    named: IntArray
    status: IntArray
    values: FloatArray
    images: IntArray
    image_ids: list[Any]
    newest: datetime
    count: int

    @cached_property
    def table(self) -> list[RegionCount]:
        """Regions and their pixels by kind, classes and status: one row for each combination, most regions first."""
        sizes = (*(len(words) for words in self.words), len(_STATUSES))
        codes = np.ravel_multi_index((*self.named, self.status), sizes)
        found, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
        areas = np.bincount(place, self.values[2], len(found))
        kinds, given, suggested = self.words
        rows = [
            RegionCount(kinds[kind], given[one], suggested[other], _STATUSES[status], number, int(area))
            for kind, one, other, status, number, area in zip(
                *np.unravel_index(found, sizes), counts.tolist(), areas, strict=True
            )
        ]
        return sorted(rows, key=lambda row: (-row.count, row.kind, row.given, row.suggested, row.status))

    def pending(self, kinds: Sequence[str]) -> RegionArrays:
        """Score, size and kind of every region that nobody has decided on; a kind that is not listed is the last."""
        waiting = self.status == 0
        code = {kind: number for number, kind in enumerate(kinds)}
        places = np.array([code.get(word, len(kinds) - 1) for word in self.words[0]], np.int64)
        before, shown, areas = self.values[:, waiting]
        return RegionArrays(before, shown, areas, places[self.named[0, waiting]], self.images[waiting], self.image_ids)

    def decided_images(self) -> list[Any]:
        """Ids of the samples that have a region somebody decided on."""
        return [self.image_ids[number] for number in np.unique(self.images[self.status > 0]).tolist()]

    def without(self, gone: Iterable[int]) -> RegionColumns:
        """The same without the regions of some images, by number."""
        kept = ~np.isin(self.images, list(gone))
        return replace(
            self,
            named=self.named[:, kept],
            status=self.status[kept],
            values=self.values[:, kept],
            images=self.images[kept],
        )


def region_columns(dataset: Any, regions: str, state: tuple[str, ...], classes: Sequence[str] = ()) -> RegionColumns:
    """The regions of a field as they are now; remembered, so that after a change only what was written is read.

    Args:
        dataset: the `fiftyone.Dataset`
        regions: its Detections field
        state: is another one where the field was made anew
        classes: names that given and suggested classes are likely to have; others are found, which takes longer

    Returns:
        the columns
    """
    with _busy:
        key = (*state, regions)
        kept = _columns.get(key)
        words = kept.words if kept else (("", *KINDS), ("", *classes), ("", *classes))
        columns = _read(dataset, regions, kept, words)
        _columns[key] = columns
        _columns.move_to_end(key)
        while len(_columns) > _KEPT:
            _columns.popitem(last=False)
        return columns


def _read(dataset: Any, regions: str, kept: RegionColumns | None, words: tuple[tuple[str, ...], ...]) -> RegionColumns:
    samples = dataset._sample_collection
    match = {"last_modified_at": {"$gte": kept.newest - _SKEW}} if kept else {}
    rows = list(samples.aggregate(_pipeline(regions, match, words)))
    codes = np.fromiter(chain.from_iterable(row["code"] for row in rows), np.int64)
    found = words if (codes >= 0).all() else _all_words(samples, regions, words)
    if found != words:
        return _read(dataset, regions, None, found)
    columns = _joined(kept, rows, np.maximum(codes, 0), words)
    there = samples.estimated_document_count()
    if there != columns.count:
        ids = {row["_id"] for row in samples.find({}, {"_id": 1})}
        gone = [number for number, image in enumerate(columns.image_ids) if image not in ids]
        columns = replace(columns.without(gone), count=there)
    return columns


def _all_words(samples: Any, regions: str, words: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """The known words and all others that occur."""
    there = (samples.distinct(f"{regions}.detections.{name}") for name in _NAMED)
    return tuple(
        tuple(dict.fromkeys([*known, *(word for word in some if isinstance(word, str))]))
        for known, some in zip(words, there, strict=True)
    )


def _pipeline(regions: str, match: dict[str, Any], words: tuple[tuple[str, ...], ...]) -> list[dict[str, Any]]:
    """Four short lists of numbers a sample; the words and the status of a region make one number, -1 if unknown."""
    path = f"{regions}.detections"

    def each(value: Any) -> dict[str, Any]:
        return {"$map": {"input": {"$ifNull": [f"${path}", []]}, "as": "r", "in": value}}

    places: list[Any] = [
        {"$indexOfArray": [{"$literal": list(known)}, {"$ifNull": [f"$$r.{name}", ""]}]}
        for known, name in zip(words, _NAMED, strict=True)
    ]
    status = {"$add": [1, {"$indexOfArray": [list(_STATUSES[1:]), {"$ifNull": ["$$r.status", ""]}]}]}
    packed: Any = "$$kind"
    for more, base in (("$$given", len(words[1])), ("$$suggested", len(words[2])), (status, len(_STATUSES))):
        packed = {"$add": [{"$multiply": [packed, base]}, more]}
    names = ("kind", "given", "suggested")
    known = {"$cond": [{"$lt": [{"$min": [f"$${name}" for name in names]}, 0]}, -1, packed]}
    score = {"$ifNull": ["$$r.score", 0.0]}
    wanted = (*_NAMED, "status", "score", "first_score", "area")
    columns = {
        "code": each({"$let": {"vars": dict(zip(names, places, strict=True)), "in": known}}),
        "before": each({"$ifNull": ["$$r.first_score", score]}),
        "shown": each(score),
        "area": each({"$ifNull": ["$$r.area", 0]}),
    }
    return [
        {"$match": match},
        {"$project": {"last_modified_at": 1, **{f"{path}.{name}": 1 for name in wanted}}},
        {"$project": {"last_modified_at": 1, **columns}},
    ]


def _joined(
    kept: RegionColumns | None, rows: list[dict[str, Any]], codes: IntArray, words: tuple[tuple[str, ...], ...]
) -> RegionColumns:
    """What was kept, with the samples that were read in place of what they were."""
    image_ids = list(kept.image_ids) if kept else []
    number = {image: place for place, image in enumerate(image_ids)} if kept else {}
    places = []
    for row in rows:
        if row["_id"] not in number:
            number[row["_id"]] = len(image_ids)
            image_ids.append(row["_id"])
        places.append(number[row["_id"]])
    sizes = np.fromiter((len(row["code"]) for row in rows), np.int64, len(rows))
    images = np.repeat(np.array(places, np.int64), sizes)
    values = np.array(
        [
            np.fromiter(chain.from_iterable(row[name] for row in rows), np.float64, len(codes))
            for name in ("before", "shown", "area")
        ]
    ).reshape(3, -1)
    *named, status = np.unravel_index(codes, (*(len(known) for known in words), len(_STATUSES)))
    read = RegionColumns(
        words, np.array(named, np.int64).reshape(3, -1), np.asarray(status, np.int64), values, images, image_ids,
        max((row.get("last_modified_at") or _NEVER for row in rows), default=_NEVER), len(image_ids),
    )  # fmt: skip
    if kept is None:
        return read
    old = kept.without(places)
    return replace(
        read,
        named=np.concatenate([old.named, read.named], axis=1),
        status=np.concatenate([old.status, read.status]),
        values=np.concatenate([old.values, read.values], axis=1),
        images=np.concatenate([old.images, read.images]),
        newest=max(old.newest, read.newest),
        count=kept.count + len(image_ids) - len(kept.image_ids),
    )
