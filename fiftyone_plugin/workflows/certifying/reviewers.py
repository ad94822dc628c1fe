"""How reliable the people are who decide on issue regions, how far each has come, and what to ask again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from ...dataset.door.scan import mask_reader
from ...dataset.fields import regions
from ...dataset.fields.schema import ScoreFields
from ...dataset.fields.values import text_or_none
from ...dataset.journals import reviews
from ...dataset.journals.reviews import Review
from ...errors import LabelQualityError
from ...quality.certainty.reviewers import TOLERATED, Reliability, judge_reviewers
from ...wording import count, percent
from ..reviewing.review import scoring_run

NOBODY = "somebody"
"""Stands for all who gave no name."""

_PAUSE = 300.0
"""Seconds between two decisions beyond which somebody did something else in between."""


@dataclass(frozen=True)
class ReviewerProgress:
    """One person.

    Attributes:
        name: who
        decided: regions that the person decided on
        accepted: of those, accepted as errors
        first: time of the first decision, UTC
        last: time of the last one
        seconds: median seconds between two decisions, pauses left out; None for fewer than three
        reliability: how often the person is right; its `answers` are 0 where nothing can be compared
    """

    name: str
    decided: int
    accepted: int
    first: datetime
    last: datetime
    seconds: float | None
    reliability: Reliability


@dataclass(frozen=True)
class ReviewersReport:
    """Everybody who decided on regions of a run.

    Attributes:
        people: most decisions first
        doubtful: ids of regions worth asking again: people differ, or unreliable ones have decided
        pending: regions that nobody has decided on
    """

    people: list[ReviewerProgress]
    doubtful: list[str]
    pending: int

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [f"**{count(len(self.people), 'reviewer')}; {count(self.pending, 'region', 'are')} pending**", ""]
        lines += ["| who | decided | accepted | seconds | right | of | slips |", "|---|---|---|---|---|---|---|"]
        for one in self.people:
            known = one.reliability
            right = f"{percent(known.right.estimate)} % ({percent(known.right.low)} to {percent(known.right.high)} %)"
            pace = "-" if one.seconds is None else f"{one.seconds:.1f}"
            shown = right if known.answers else "unknown"
            lines.append(
                f"| {one.name} | {one.decided:,} | {one.accepted:,} | {pace} | {shown} | {known.answers:,} | "
                f"{known.slips} of {known.known} |"
            )
        careless = [one.name for one in self.people if one.reliability.careless]
        if careless:
            lines += ["", f"- **More slips than a careful person makes: {', '.join(careless)}**"]
        if self.doubtful:
            lines += ["", f"- {count(len(self.doubtful), 'region', 'are')} worth asking again"]
        return "\n".join(lines)


def reviewers_report(
    samples: Any, *, key: str = "label_quality", truth_field: str | None = None, tolerated: float = TOLERATED
) -> ReviewersReport:
    """How reliable each reviewer is, from regions that several people decided on and from those whose truth is known.

    Args:
        samples: the `fiftyone` dataset
        key: the run whose regions they decided on
        truth_field: a Segmentation field with the truth, for instance the original of a rehearsal: a region is an error
            if most of its pixels differ there from the label; people must not see it
        tolerated: share of slips that a careful person may make

    Returns:
        the people, and what to ask again

    Raises:
        LabelQualityError: if there is no such run or field, or nobody has decided on anything
    """
    record = scoring_run(samples, key)
    dataset, name = samples._root_dataset, ScoreFields(key).regions
    said = _newest(reviews.read_reviews(dataset, record.label_field, masks=truth_field is not None), key)
    if not said:
        raise LabelQualityError(f"Expected decisions about the regions of the run {key!r}, but there are none")
    questions = list(dict.fromkeys(review.label_id for review in said))
    names = sorted({review.reviewer or NOBODY for review in said})
    known = np.full(len(questions), np.nan)
    if truth_field is not None:
        known = _truths(dataset, record.label_field, truth_field, questions, said)
    place, number = ({value: at for at, value in enumerate(values)} for values in (questions, names))
    panel = judge_reviewers(
        [place[review.label_id] for review in said],
        [number[review.reviewer or NOBODY] for review in said],
        [review.decision == "accepted" for review in said],
        num_people=len(names),
        known=known,
        tolerated=tolerated,
    )
    people = [_progress(who, said, panel.people[number[who]]) for who in names]
    several = np.bincount([place[review.label_id] for review in said], minlength=len(questions)) > 1
    careless = {one.name for one in people if one.reliability.careless}
    alone = {review.label_id for review in said if (review.reviewer or NOBODY) in careless}
    doubtful = [
        label_id
        for label_id, doubt, shared in zip(questions, panel.doubtful, several, strict=True)
        if (doubt and shared) or (not shared and label_id in alone)
    ]
    pending = regions.count_regions(dataset, name, "status").get("pending", 0)
    return ReviewersReport(sorted(people, key=lambda one: -one.decided), doubtful, pending)


def show_second_look(
    samples: Any,
    reviewer: str,
    *,
    key: str = "label_quality",
    number: int = 30,
    hidden: float = 1 / 3,
    seed: int = 0,
) -> Any:
    """Regions for one person to decide on: pending ones, with some that others have decided on already among them.

    Which is which is not shown: what others said is left out of the view. Doubtful regions come first among those.

    Args:
        samples: the `fiftyone` dataset
        reviewer: who will decide; regions that this person decided on are left out
        key: the run
        number: of regions
        hidden: share of them that others have decided on
        seed: of the order

    Returns:
        a `fiftyone.core.patches.PatchesView` in random order

    Raises:
        LabelQualityError: if there is no such run, the share is none, or no region is left for this person
    """
    if text_or_none("reviewer", reviewer) is None:
        raise LabelQualityError("Expected the name of a reviewer, but got none")
    if not 0 <= hidden <= 1 or number < 1:
        raise LabelQualityError(f"Expected `hidden` in [0, 1] and `number` from 1, but got {hidden} and {number}")
    record = scoring_run(samples, key)
    dataset, name = samples._root_dataset, ScoreFields(key).regions
    said = _newest(reviews.read_reviews(dataset, record.label_field, masks=False), key)
    own = {review.label_id for review in said if (review.reviewer or NOBODY) == reviewer}
    others = list(dict.fromkeys(review.label_id for review in said if review.label_id not in own))
    view = regions.patches_view(dataset, name, f"{key} regions")
    shown = dict(zip(*view.values(["id", f"{name}.status"]), strict=True))
    rng = np.random.default_rng(seed)
    doubtful = set(reviewers_report(samples, key=key).doubtful) if said else set()
    again = [label_id for label_id in rng.permutation(others).tolist() if label_id in shown]
    again = sorted(again, key=lambda label_id: label_id not in doubtful)[: round(hidden * number)]
    fresh = [label_id for label_id, status in shown.items() if status == "pending" and label_id not in own]
    chosen = [*again, *fresh[: number - len(again)]]
    if not chosen:
        raise LabelQualityError(f"Expected regions for {reviewer!r} to decide on, but there are none left")
    hide = [f"{name}.{part}" for part in ("status", "reviewer", "reviewed_at", "unseen")]
    there = [path for path in hide if view.has_field(path)]
    view = view.select(rng.permutation(chosen).tolist(), ordered=True)
    return regions.captioned(view, name).exclude_fields(there)


def _newest(found: Sequence[Review], key: str) -> list[Review]:
    """The newest decision of each person about each region of a run; none where it was taken back or made in bulk."""
    newest = {
        (review.reviewer or NOBODY, review.label_id): review
        for review in found
        if review.run == key and review.source == reviews.PERSON
    }
    return [review for review in newest.values() if review.decision != "pending"]


def _truths(
    dataset: Any, label_field: str, truth_field: str, questions: Sequence[str], said: Sequence[Review]
) -> np.ndarray:
    if not dataset.has_field(truth_field):
        raise LabelQualityError(f"Expected a field with the truth, but there is no {truth_field!r}")
    by_sample: dict[str, dict[str, Review]] = defaultdict(dict)
    for review in said:
        if review.mask is not None:
            by_sample[review.sample_id][review.label_id] = review
    read, read_truth = mask_reader(dataset, label_field), mask_reader(dataset, truth_field)
    known: dict[str, float] = {}
    for sample_id, about in by_sample.items():
        differs = read(sample_id) != read_truth(sample_id)
        differs = differs.any(axis=2) if differs.ndim == 3 else differs
        for label_id, review in about.items():
            top, left, bottom, right = review.bbox
            known[label_id] = float(differs[top:bottom, left:right][review.mask].mean() > 0.5)
    return np.array([known.get(label_id, np.nan) for label_id in questions])


def _progress(name: str, said: Sequence[Review], reliability: Reliability) -> ReviewerProgress:
    own = sorted((review for review in said if (review.reviewer or NOBODY) == name), key=lambda review: review.time)
    gaps = np.diff([review.time.timestamp() for review in own])
    gaps = gaps[(gaps > 0) & (gaps <= _PAUSE)]  # many at once are one decision
    return ReviewerProgress(
        name=name,
        decided=len(own),
        accepted=sum(review.decision == "accepted" for review in own),
        first=own[0].time,
        last=own[-1].time,
        seconds=float(np.median(gaps)) if gaps.size >= 2 else None,
        reliability=reliability,
    )
