"""All regions of a run as columns that follow the database: what was written since the last look is read, no more.

Reading half a million regions takes seconds, so what was read is kept: in memory, and in a file for the next process.
Neither is believed: each sample's time of writing and the size of its regions are compared with the database first.
"""

from __future__ import annotations

import json
import time
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from threading import RLock
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...quality.records.arrays_file import read_arrays, write_arrays

PENDING, ACCEPTED, REJECTED = "pending", "accepted", "rejected"
_STATUSES = (PENDING, ACCEPTED, REJECTED)
_CODES: Final[dict[Any, int]] = {status: number for number, status in enumerate(_STATUSES)}
_NAMED = ("label", "given", "suggested")
_VALUES = ("first_score", "score", "area")
_EPOCH = datetime(1970, 1, 1)
_SKEW = timedelta(minutes=1)
"""How far the clock of another machine that writes may be behind: so much is looked at again."""

_SAME_MS: Final = 1_000
"""What was read so shortly after it was written may be written again within the same millisecond: it is read again."""

_UNSURE: Final = -2
"""Instead of the time of such a sample."""

FILE: Final = "columns.npz"
"""In the folder of a run: its regions as they were when they were last read."""

_WORTH_A_FILE: Final = 1_000
"""Regions that are read in a moment."""

_AT_ONCE: Final = 1_000
"""Samples whose regions are in memory as documents at once."""

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
        image_ids: sample ids; some may have no region any more, or may be gone
        stamps: (2, N) of each sample when it was written, in milliseconds, and how many bytes its regions had then
        count: samples of the dataset
    """

    words: tuple[tuple[str, ...], ...]
    named: IntArray
    status: IntArray
    values: FloatArray
    images: IntArray
    image_ids: list[Any]
    stamps: IntArray
    count: int

    @property
    def newest(self) -> datetime:
        """When the latest of the samples was written."""
        return _EPOCH + timedelta(milliseconds=int(self.stamps[0].max(initial=0)))

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

    def without(self, gone: IntArray) -> RegionColumns:
        """The same without the regions of some images, by number."""
        kept = ~np.isin(self.images, gone)
        return replace(
            self,
            named=self.named[:, kept],
            status=self.status[kept],
            values=self.values[:, kept],
            images=self.images[kept],
        )


_NONE: Final = RegionColumns(
    (("",),) * 3, np.zeros((3, 0), np.int64), np.zeros(0, np.int64), np.zeros((3, 0)), np.zeros(0, np.int64), [],
    np.zeros((2, 0), np.int64), 0,
)  # fmt: skip


def region_columns(dataset: Any, regions: str, state: tuple[str, ...], file: Path | None = None) -> RegionColumns:
    """The regions of a field as they are now; remembered, so that after a change only what was written is read.

    Args:
        dataset: the `fiftyone.Dataset`
        regions: its Detections field
        state: is another one where the field was made anew
        file: where they are kept for other processes, see `keep_regions`

    Returns:
        the columns
    """
    with _busy:
        key = (*state, regions)
        columns = _followed(dataset, regions, _columns.get(key), file)
        _columns[key] = columns
        _columns.move_to_end(key)
        while len(_columns) > _KEPT:
            _columns.popitem(last=False)
        return columns


def keep_regions(dataset: Any, regions: str, file: Path | None) -> None:
    """Leave the regions of a field in a file, so that whoever looks first need not read all of them.

    Args:
        dataset: the `fiftyone.Dataset`
        regions: its Detections field
        file: where to; few regions are not kept
    """
    _followed(dataset, regions, None, file)


def _followed(dataset: Any, regions: str, kept: RegionColumns | None, file: Path | None) -> RegionColumns:
    """What was kept, made true; kept again where that was much."""
    samples, known = dataset._sample_collection, kept or _from_file(file) or _NONE
    columns, changed = _read(samples, regions, known, whole=kept is None)
    if file is not None and np.isin(columns.images, changed).sum() >= _WORTH_A_FILE:
        with suppress(OSError):  # who may only read has them in memory
            _to_file(file, columns)
    return columns


def _read(samples: Any, regions: str, kept: RegionColumns, *, whole: bool) -> tuple[RegionColumns, IntArray]:
    """The regions now, and the numbers of the images that were written since.

    Compared are the samples of the last minute, all of them if `whole` or where some are missing. What a sample holds
    is read after its stamp: written in between, it is only read once more.
    """
    latest = round(time.time() * 1_000) - _SAME_MS
    seen = _stamps(samples, regions, {} if whole else {"last_modified_at": {"$gte": kept.newest - _SKEW}})
    number = {image: place for place, image in enumerate(kept.image_ids)}
    new = [image for image in seen if image not in number]
    there = samples.estimated_document_count()
    if not whole and kept.count + len(new) != there:
        return _read(samples, regions, kept, whole=True)
    image_ids = [*kept.image_ids, *new]
    number.update(zip(new, range(len(number), len(image_ids)), strict=True))
    places = np.array([number[image] for image in seen], np.int64)
    stamps = np.full((2, len(image_ids)), -1, np.int64)
    if not whole:
        stamps[:, : len(kept.image_ids)] = kept.stamps
    stamps[:, places] = np.array(list(seen.values()), np.int64).reshape(-1, 2).T
    before = np.full_like(stamps, -1)
    before[:, : len(kept.image_ids)] = kept.stamps
    changed = (stamps != before).any(0)
    wanted = [image_ids[place] for place in np.flatnonzero(changed).tolist()]
    old = kept.without(np.flatnonzero(changed))
    stamps[0, stamps[0] >= latest] = _UNSURE
    read = _columns_of(_documents(samples, regions, wanted), regions, number, kept.words)
    columns = replace(
        read,
        named=np.concatenate([old.named, read.named], axis=1),
        status=np.concatenate([old.status, read.status]),
        values=np.concatenate([old.values, read.values], axis=1),
        images=np.concatenate([old.images, read.images]),
        image_ids=image_ids,
        stamps=stamps,
        count=len(seen) if whole else there,
    )
    return columns, np.flatnonzero(changed)


def _stamps(samples: Any, regions: str, match: Mapping[str, Any]) -> dict[Any, tuple[int, int]]:
    """When samples were written, and how many bytes their regions have; takes no look into them."""
    written = {"$convert": {"input": "$last_modified_at", "to": "long", "onError": -1, "onNull": -1}}
    is_document = {"$eq": [{"$type": f"${regions}"}, "object"]}
    size = {"$cond": [is_document, {"$bsonSize": f"${regions}"}, -1]}
    rows = samples.aggregate([{"$match": match}, {"$project": {"time": written, "size": size}}])
    return {row["_id"]: (row["time"], row["size"]) for row in rows}


def _documents(samples: Any, regions: str, ids: Sequence[Any]) -> Iterable[dict[str, Any]]:
    wanted = {f"{regions}.detections.{name}": 1 for name in (*_NAMED, "status", *_VALUES)}
    if 2 * len(ids) > samples.estimated_document_count():
        every = set(ids)
        yield from (row for row in samples.find({}, wanted) if row["_id"] in every)
        return
    for start in range(0, len(ids), _AT_ONCE):
        yield from samples.find({"_id": {"$in": list(ids[start : start + _AT_ONCE])}}, wanted)


class _Codes(dict[Any, int]):
    """Numbers of words: one that is new gets the next, what is no word that of the empty one, which is the first."""

    def __missing__(self, word: Any) -> int:
        return self.setdefault(word, len(self)) if isinstance(word, str) else 0


def _columns_of(
    rows: Iterable[dict[str, Any]], regions: str, number: Mapping[Any, int], words: tuple[tuple[str, ...], ...]
) -> RegionColumns:
    """The regions of documents, a few documents at a time; words that are new get the next numbers."""
    codes = [_Codes(zip(known, range(len(known)), strict=True)) for known in words]
    parts = [(_NONE.named, _NONE.status, _NONE.values, _NONE.images)]
    rows = iter(rows)
    while batch := list(islice(rows, _AT_ONCE)):
        lists = [_regions_of(row, regions) for row in batch]
        found = list(chain.from_iterable(lists))
        numbers = [[known[region.get(name)] for region in found] for known, name in zip(codes, _NAMED, strict=True)]
        decided = [_CODES.get(region.get("status"), 0) for region in found]
        first, shown, areas = (np.array([region.get(name) for region in found], np.float64) for name in _VALUES)
        shown = np.nan_to_num(shown)
        values = np.array([np.where(np.isnan(first), shown, first), shown, np.nan_to_num(areas)])
        images = np.repeat([number[row["_id"]] for row in batch], [len(some) for some in lists])
        parts.append((np.array(numbers, np.int64), np.array(decided, np.int64), values, images.astype(np.int64)))
    named, status, values, images = (np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True))
    return replace(_NONE, words=tuple(map(tuple, codes)), named=named, status=status, values=values, images=images)


def _regions_of(row: Mapping[str, Any], regions: str) -> list[dict[str, Any]]:
    field = row.get(regions)
    return (field.get("detections") or []) if isinstance(field, dict) else []


def _to_file(file: Path, columns: RegionColumns) -> None:
    arrays: dict[str, npt.NDArray[Any]] = {
        "words": np.frombuffer(json.dumps(columns.words).encode(), np.uint8),
        "named": columns.named.astype(np.int32),
        "status": columns.status.astype(np.int8),
        "values": columns.values,
        "images": columns.images.astype(np.int32),
        "ids": np.frombuffer(b"".join(image.binary for image in columns.image_ids), np.uint8),
        "stamps": columns.stamps,
        "count": np.array(columns.count),
    }
    write_arrays(file, arrays, compressed=False)


def _from_file(file: Path | None) -> RegionColumns | None:
    """What a file holds; None where there is none that can be read."""
    from bson import ObjectId

    if file is None:
        return None
    try:
        arrays = read_arrays(file)
        ids = arrays["ids"].tobytes()
        return RegionColumns(
            words=tuple(map(tuple, json.loads(arrays["words"].tobytes()))),
            named=arrays["named"].astype(np.int64),
            status=arrays["status"].astype(np.int64),
            values=arrays["values"],
            images=arrays["images"].astype(np.int64),
            image_ids=[ObjectId(ids[start : start + 12]) for start in range(0, len(ids), 12)],
            stamps=arrays["stamps"],
            count=int(arrays["count"]),
        )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
