"""Decide on many similar issue regions with one answer, and name the exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...correction.questions.mosaics import MOST_TILES, make_mosaics, mosaic_seconds
from ...dataset.door.slices import every_slice
from ...dataset.fields import regions
from ...dataset.fields.schema import ScoreFields
from ...dataset.fields.values import object_ids
from ...errors import LabelQualityError
from ...wording import count
from ..reviewing.review import ReviewReport, review_regions, scoring_run

_OTHER: Final = {"accepted": "rejected", "rejected": "accepted"}


@dataclass(frozen=True)
class RegionMosaic:
    """One question about similar regions.

    Attributes:
        key: the run
        kind: missing, spurious, wrong_class or boundary
        given: class that the labels say
        suggested: class that the predictions say
        label_ids: of the regions, likeliest errors first
        expected: "accepted" or "rejected": what most of them probably are
        seconds: that it is expected to take, by the keystroke-level model; nobody was timed
        saved: seconds that it is expected to save against single questions
    """

    key: str
    kind: str
    given: str
    suggested: str
    label_ids: tuple[str, ...]
    expected: str
    seconds: float
    saved: float

    def text(self) -> str:
        """The question in words."""
        what = self.kind.replace("_", " ")
        return (
            f"Are these {count(len(self.label_ids), 'region')} errors ({what}: labelled {self.given}, should be "
            f"{self.suggested})? About {self.seconds:.0f} s instead of {self.seconds + self.saved:.0f} s."
        )


def mosaic_questions(samples: Any, *, key: str = "label_quality", most: int = MOST_TILES) -> list[RegionMosaic]:
    """Pending regions as questions about groups: same kind, same given and suggested class, similar score.

    Args:
        samples: the `fiftyone` dataset
        key: the run
        most: regions of one question

    Returns:
        those that save most time first; groups that are too small are left out

    Raises:
        LabelQualityError: if there is no such run

    Example:
        >>> first, *others = mosaic_questions(dataset)  # doctest: +SKIP
        >>> session.view = show_mosaic(dataset, first)  # doctest: +SKIP
        >>> answer_mosaic(dataset, first, "accepted", exceptions=session.selected)  # doctest: +SKIP
    """
    scoring_run(samples, key)
    name = ScoreFields(key).regions
    parts = ("id", "label", "given", "suggested", "score", "status")
    dataset = every_slice(samples._root_dataset)
    rows = zip(*(dataset.values(f"{name}.detections.{part}", unwind=True) for part in parts), strict=True)
    pending = [row for row in rows if (row[5] or "pending") == "pending"]
    kinds = [(str(kind), str(given), str(suggested)) for _, kind, given, suggested, _, _ in pending]
    chances = [min(max(float(row[4] or 0), 0.0), 1.0) for row in pending]
    found = make_mosaics(kinds, chances, most=most, fewest=min(4, most))
    return [
        RegionMosaic(
            key,
            *kinds[one.members[0]],
            label_ids=tuple(str(pending[place][0]) for place in one.members),
            expected="accepted" if one.expected else "rejected",
            seconds=one.seconds,
            saved=one.saved,
        )
        for one in found
    ]


def show_mosaic(samples: Any, mosaic: RegionMosaic) -> Any:
    """The regions of a question side by side.

    Args:
        samples: the `fiftyone` dataset
        mosaic: the question

    Returns:
        a `fiftyone.core.patches.PatchesView`; select the exceptions in the App

    Raises:
        LabelQualityError: if the run was deleted
    """
    scoring_run(samples, mosaic.key)
    name = ScoreFields(mosaic.key).regions
    view = regions.patches_view(samples._root_dataset, name, f"{mosaic.key} regions")
    return regions.captioned(view.select(list(mosaic.label_ids), ordered=True), name)


def answer_mosaic(
    samples: Any,
    mosaic: RegionMosaic,
    decision: str,
    *,
    exceptions: Sequence[str] = (),
    reviewer: str | None = None,
) -> tuple[ReviewReport, float]:
    """Decide on all regions of a question; the exceptions get the other decision.

    Args:
        samples: the `fiftyone` dataset
        mosaic: the question
        decision: "accepted" (the labels are wrong) or "rejected" (they are right)
        exceptions: ids of the regions for which the other is true
        reviewer: who decides

    Returns:
        the report of the review, and the seconds that such an answer takes by the keystroke-level model

    Raises:
        LabelQualityError: if the decision is none of both, or an exception is not one of the regions
    """
    if decision not in _OTHER:
        raise LabelQualityError(f"Expected `decision` to be one of {list(_OTHER)}, but got {decision!r}")
    away = set(object_ids("exceptions", list(exceptions))) if exceptions else set()
    if foreign := away - set(mosaic.label_ids):
        raise LabelQualityError(f"Expected `exceptions` among the regions of the question, but got {sorted(foreign)}")
    kept = [label_id for label_id in mosaic.label_ids if label_id not in away]
    reports = [
        review_regions(samples, said, key=mosaic.key, label_ids=ids, reviewer=reviewer)
        for ids, said in ((sorted(away), _OTHER[decision]), (kept, decision))
        if ids
    ]
    return reports[-1], mosaic_seconds(len(mosaic.label_ids), len(away))
