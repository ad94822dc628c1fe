"""Accept many issue regions after a few decisions, with a promise that holds, and take it back.

A draw settles the order in which regions are decided on; decisions are ordinary reviews. What was decided before the
draw, or out of its order, is no evidence for the promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...dataset.door.slices import every_slice
from ...dataset.fields import regions
from ...dataset.fields.schema import ScoreFields
from ...dataset.fields.values import text_or_none
from ...dataset.journals import reviews
from ...dataset.journals.bulk_draws import BulkDraw, add_draw, name_of_newest, newest_draw
from ...errors import LabelQualityError
from ...quality import KINDS
from ...quality.certainty.bulk_acceptance import (
    ALLOWED,
    CONFIDENCE,
    BulkBands,
    NextStep,
    Promise,
    bulk_promise,
    cut_bands,
    next_step,
)
from ...wording import count
from ..reviewing.review import keep_decisions, scoring_run


@dataclass(frozen=True)
class BulkReport:
    """What may be accepted, and what to decide on next.

    Attributes:
        key: the run
        kinds: kinds that the draw is about; empty for all
        promise: what the decisions allow
        step: what further decisions would allow; None where none would help
        waiting: ids of the regions that are pending and may be accepted now
        to_review: ids of the regions to decide on next, in any order
        num_accepted: regions that are accepted in bulk, by any promise about this run
    """

    key: str
    kinds: tuple[str, ...]
    promise: Promise
    step: NextStep | None
    waiting: tuple[str, ...]
    to_review: tuple[str, ...]
    num_accepted: int

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [f"**{self.promise.text()}**"]
        if self.waiting:
            lines.append(f"- still pending of them: {len(self.waiting):,}; those that you rejected stay rejected")
        if self.step is not None:
            lines.append(f"- {self.step.text()}")
        elif self.promise.num_regions == 0:
            lines.append("- More decisions would probably not help: the labels of too many of these regions are right")
        if self.num_accepted:
            lines.append(f"- {count(self.num_accepted, 'region', 'are')} accepted in bulk; that can be taken back")
        return "\n".join(lines)


def begin_bulk_review(
    samples: Any,
    *,
    key: str = "label_quality",
    kinds: str | Sequence[str] | None = None,
    allowed: float = ALLOWED,
    confidence: float = CONFIDENCE,
    restart: bool = False,
    seed: int = 0,
) -> BulkReport:
    """Draw the order in which pending regions are decided on, for a promise about the rest.

    Args:
        samples: the `fiftyone` dataset
        key: the run whose regions they are
        kinds: only regions of these kinds, with a promise of their own; all kinds together if None
        allowed: share of the accepted regions that may be mistakes: their label is right
        confidence: probability with which that must hold
        restart: draw anew where there is a draw already; each draw may fail with probability 1 - confidence
        seed: of the order

    Returns:
        what to decide on first

    Raises:
        LabelQualityError: if there is no such run, no pending region, or a draw already

    Example:
        >>> begin_bulk_review(dataset, kinds="missing")  # doctest: +SKIP
    """
    wanted = _kinds(kinds)
    scoring_run(samples, key)
    dataset, name = samples._root_dataset, ScoreFields(key).regions
    stored = _stored(dataset, name)
    known = newest_draw(dataset, key, wanted)
    if known is not None and not restart and _is_about(known, stored):
        raise LabelQualityError(
            f"Expected no draw for the run {key!r} yet, but there is one of {known.time:%Y-%m-%d %H:%M}; go on with "
            "it, or pass `restart=True`: then decisions in its order no longer count, and each draw has its own risk"
        )
    chosen = {
        label_id: region
        for label_id, region in stored.items()
        if region.status == "pending" and (not wanted or region.kind in wanted)
    }
    if not chosen:
        raise LabelQualityError(f"Expected pending regions of the run {key!r} to draw from, but there are none")
    bands = cut_bands(np.clip([region.score for region in chosen.values()], 0, 1), allowed=allowed)
    rng, ids = np.random.default_rng(seed), np.array(list(chosen))
    order = tuple(tuple(rng.permutation(ids[bands.bands == band]).tolist()) for band in range(bands.sizes.size))
    draw = BulkDraw(
        key, wanted, allowed, confidence, bands.start, tuple(bands.expected.tolist()), order, regions.utc_now()
    )
    add_draw(dataset, draw)
    return bulk_review_report(samples, key=key, kinds=wanted)


def bulk_review_report(
    samples: Any, *, key: str = "label_quality", kinds: str | Sequence[str] | None = None
) -> BulkReport:
    """What the decisions so far allow, and what to decide on next.

    Args:
        samples: the `fiftyone` dataset
        key: the run
        kinds: as in `begin_bulk_review`

    Returns:
        the report; asking for it often costs nothing of the promise

    Raises:
        LabelQualityError: if there is no such run, or no draw for it
    """
    wanted = _kinds(kinds)
    record = scoring_run(samples, key)
    dataset = samples._root_dataset
    stored = _stored(dataset, ScoreFields(key).regions)
    draw = newest_draw(dataset, key, wanted)
    if draw is None or not _is_about(draw, stored):
        raise LabelQualityError(
            f"Expected a draw of the run {key!r} for {list(wanted) or 'all kinds'}, but there is none; call "
            "`begin_bulk_review` first"
        )
    said = _said_by_people(dataset, record.label_field)
    counts = [_counted(ids, said, stored) for ids in draw.order]
    reviewed, wrong = np.array(counts, np.int64).T
    bands = _bands_of(draw)
    risk = {"allowed": draw.allowed, "confidence": draw.confidence}
    promise, step = bulk_promise(bands, reviewed, wrong, **risk), next_step(bands, reviewed, wrong, **risk)
    in_reach = [label_id for ids in draw.order[: promise.num_bands] for label_id in ids if label_id in stored]
    more = np.zeros_like(reviewed) if step is None else step.reviews
    nearest = [
        label_id
        for ids, done, further in zip(draw.order, reviewed.tolist(), more.tolist(), strict=True)
        for label_id in ids[done : done + further]
        if label_id in stored and label_id not in said
    ]
    return BulkReport(
        key=key,
        kinds=wanted,
        promise=promise,
        step=step,
        waiting=tuple(label_id for label_id in in_reach if stored[label_id].status == "pending"),
        to_review=tuple(nearest),
        num_accepted=sum(region.unseen for region in stored.values()),
    )


def show_bulk_review(samples: Any, *, key: str = "label_quality", kinds: str | Sequence[str] | None = None) -> Any:
    """The regions to decide on next, as patches; decide on all of them, because one left out stops the count.

    Args:
        samples: the `fiftyone` dataset
        key: the run
        kinds: as in `begin_bulk_review`

    Returns:
        a `fiftyone.core.patches.PatchesView`; accept or reject in it as usual

    Raises:
        LabelQualityError: if there is no draw, or nothing more to decide on
    """
    report = bulk_review_report(samples, key=key, kinds=kinds)
    if not report.to_review:
        raise LabelQualityError(f"Expected regions to decide on next, but there are none: {report.promise.text()}")
    name = ScoreFields(key).regions
    view = regions.patches_view(samples._root_dataset, name, f"{key} regions")
    return regions.captioned(view.select(list(report.to_review)), name)


def accept_in_bulk(
    samples: Any,
    *,
    key: str = "label_quality",
    kinds: str | Sequence[str] | None = None,
    reviewer: str | None = None,
) -> BulkReport:
    """Accept the pending regions that the promise is about.

    They are marked as unseen: scores do not learn from them, and they are no evidence for other promises.

    Args:
        samples: the `fiftyone` dataset
        key: the run
        kinds: as in `begin_bulk_review`
        reviewer: who relies on the promise

    Returns:
        the report afterwards

    Raises:
        LabelQualityError: if there is no draw, or the decisions allow nothing yet
    """
    reviewer = text_or_none("reviewer", reviewer)
    report = bulk_review_report(samples, key=key, kinds=kinds)
    if not report.waiting:
        way_out = report.step.text() if report.step else "Decide on the regions one by one."
        raise LabelQualityError(
            f"Expected regions that may be accepted, but got none: {report.promise.text()} {way_out}"
        )
    _decide(samples, key, report.waiting, "accepted", reviewer)
    return bulk_review_report(samples, key=key, kinds=kinds)


def undo_accept_in_bulk(samples: Any, *, key: str = "label_quality", reviewer: str | None = None) -> int:
    """Put all regions of a run that were accepted in bulk back to pending; what people decided one by one stays.

    Args:
        samples: the `fiftyone` dataset
        key: the run
        reviewer: who takes it back

    Returns:
        how many regions are pending again

    Raises:
        LabelQualityError: if there is no such run
    """
    reviewer = text_or_none("reviewer", reviewer)
    scoring_run(samples, key)
    stored = _stored(samples._root_dataset, ScoreFields(key).regions)
    unseen = [label_id for label_id, region in stored.items() if region.unseen]
    if unseen:
        _decide(samples, key, unseen, "pending", reviewer)
    return len(unseen)


def bulk_draws_exist(samples: Any, *, key: str, kinds: str | Sequence[str] | None = None) -> bool:
    """Whether there is a draw to go on with.

    Args:
        samples: the `fiftyone` dataset
        key: the run
        kinds: as in `begin_bulk_review`
    """
    draw = newest_draw(samples._root_dataset, key, _kinds(kinds))
    return draw is not None and _is_about(draw, _stored(samples._root_dataset, ScoreFields(key).regions))


def draw_name(samples: Any, *, key: str, kinds: str | Sequence[str] | None = None) -> str:
    """What is another one whenever regions were drawn anew, for caches; empty where nothing was drawn.

    Args:
        samples: the `fiftyone` dataset
        key: the run
        kinds: as in `begin_bulk_review`
    """
    return name_of_newest(samples._root_dataset, key, _kinds(kinds))


@dataclass(frozen=True)
class _Region:
    kind: str
    score: float
    status: str
    unseen: bool


def _stored(dataset: Any, name: str) -> dict[str, _Region]:
    """All regions of a run by their ids."""
    names = ("id", "label", "score", "status")
    columns = [every_slice(dataset).values(f"{name}.detections.{part}", unwind=True) for part in names]
    unseen = [False] * len(columns[0])
    if dataset.has_field(f"{name}.detections.unseen"):  # runs of older versions have none
        unseen = every_slice(dataset).values(f"{name}.detections.unseen", unwind=True)
    return {
        str(label_id): _Region(str(kind), float(score or 0), status or "pending", bool(bulk))
        for label_id, kind, score, status, bulk in zip(*columns, unseen, strict=True)
    }


def _said_by_people(dataset: Any, label_field: str) -> dict[str, str]:
    """The newest decision about each region that a person made about it alone; none where it was taken back."""
    newest = {
        review.label_id: review.decision
        for review in reviews.read_reviews(dataset, label_field, masks=False)
        if review.source == reviews.PERSON
    }
    return {label_id: decision for label_id, decision in newest.items() if decision != "pending"}


def _counted(order: Sequence[str], said: dict[str, str], stored: dict[str, _Region]) -> tuple[int, int]:
    """Regions that were decided on without a gap, and those among them that were rejected; ones that are gone, too."""
    done = wrong = 0
    for label_id in order:
        decision = said.get(label_id) or (None if label_id in stored else "rejected")
        if decision is None:
            break
        done, wrong = done + 1, wrong + (decision == "rejected")
    return done, wrong


def _bands_of(draw: BulkDraw) -> BulkBands:
    sizes = np.array([len(ids) for ids in draw.order], np.int64)
    return BulkBands(np.repeat(np.arange(sizes.size), sizes), sizes, np.array(draw.expected), draw.start)


def _is_about(draw: BulkDraw, stored: dict[str, _Region]) -> bool:
    """Whether the regions of a draw are there; a run that replaced another has new ones."""
    return any(label_id in stored for ids in draw.order for label_id in ids)


def _decide(samples: Any, key: str, label_ids: Sequence[str], decision: str, reviewer: str | None) -> None:
    record, dataset = scoring_run(samples, key), samples._root_dataset
    name = ScoreFields(key).regions
    if not dataset.has_field(f"{name}.detections.unseen"):  # a run of an older version
        regions.declare_regions(dataset, name)
    found = regions.find_regions(dataset, name, label_ids)
    keep_decisions(dataset, record, found, decision, reviewer, reviews.BULK)


def _kinds(kinds: str | Sequence[str] | None) -> tuple[str, ...]:
    given = () if kinds is None else (kinds,) if isinstance(kinds, str) or not isinstance(kinds, Iterable) else kinds
    unknown = [kind for kind in given if not isinstance(kind, str) or kind not in KINDS]
    if unknown:
        raise LabelQualityError(f"Expected `kinds` among {list(KINDS)}, but got {unknown}")
    return tuple(sorted(set(given)))
