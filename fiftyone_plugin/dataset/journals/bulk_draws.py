"""Draws for bulk acceptance: in which random order regions are decided on, settled before the first decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from . import append_log

STORE: Final = "label_quality_bulk_draws"
_IDS_AT_ONCE = 50_000


@dataclass(frozen=True)
class BulkDraw:
    """One draw.

    Attributes:
        run: key of the run whose regions they are
        kinds: kinds that it is about, sorted; empty for all
        allowed: share of accepted regions that may be mistakes
        confidence: probability with which that must hold
        start: band with which the first sequence of tests begins
        expected: of each band, the share of mistakes that the scores expect
        order: label ids of each band, in the order in which they are decided on
        time: when it was drawn, UTC
    """

    run: str
    kinds: tuple[str, ...]
    allowed: float
    confidence: float
    start: int
    expected: tuple[float, ...]
    order: tuple[tuple[str, ...], ...]
    time: datetime


def add_draw(dataset: Any, draw: BulkDraw) -> None:
    """Remember a draw.

    Args:
        dataset: the `fiftyone.Dataset`
        draw: the draw
    """
    name = uuid4().hex
    parts = [
        {"draw": name, "band": band, "label_ids": list(ids[first : first + _IDS_AT_ONCE])}
        for band, ids in enumerate(draw.order)
        for first in range(0, len(ids), _IDS_AT_ONCE)
    ]
    head = {
        "draw": name,
        "run": draw.run,
        "kinds": list(draw.kinds),
        "allowed": draw.allowed,
        "confidence": draw.confidence,
        "start": draw.start,
        "expected": list(draw.expected),
        "time": draw.time,
    }
    append_log.append(dataset, STORE, [*parts, head], len(parts) + 1)  # the head last: without it there is no draw


def name_of_newest(dataset: Any, run: str, kinds: Sequence[str]) -> str:
    """The name of the draw that counts, without reading its regions.

    Args:
        dataset: the `fiftyone.Dataset`
        run: key of the run
        kinds: kinds that it is about, sorted

    Returns:
        empty if there is none
    """
    found = append_log.read(dataset, STORE, {"value.run": run, "value.kinds": list(kinds)})
    return str(found[-1][1]["draw"]) if found else ""


def newest_draw(dataset: Any, run: str, kinds: Sequence[str]) -> BulkDraw | None:
    """The draw that counts.

    Args:
        dataset: the `fiftyone.Dataset`
        run: key of the run
        kinds: kinds that it is about, sorted

    Returns:
        the newest one, None if there is none
    """
    found = append_log.read(dataset, STORE, {"value.run": run, "value.kinds": list(kinds)})
    if not found:
        return None
    head = found[-1][1]
    order: list[list[str]] = [[] for _ in head["expected"]]
    for _, part in append_log.read(dataset, STORE, {"value.draw": head["draw"], "value.band": {"$exists": True}}):
        order[part["band"]] += part["label_ids"]
    return BulkDraw(
        run=run,
        kinds=tuple(kinds),
        allowed=head["allowed"],
        confidence=head["confidence"],
        start=head["start"],
        expected=tuple(head["expected"]),
        order=tuple(map(tuple, order)),
        time=head["time"],
    )
