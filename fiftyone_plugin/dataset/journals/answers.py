"""What people answered to correction queries, kept with the dataset: added, never changed.

The answers are the record. The status of a query and the corrected label follow from them: of several answers to one
query the newest counts, and one that is taken back is an answer, too.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Final

import numpy as np

from ...correction.answers.replay import Repaint
from ..fields.regions import utc_now
from ..fields.values import require_text
from . import append_log

STORE: Final = "label_quality_answers"

PERSON, PROPOSAL, HAND_EDIT, PROPAGATED = "person", "proposal", "hand_edit", "propagated"
UNREVIEWED, CLEANED, ERRATA, CAUSE, AGREED = "unreviewed_proposal", "cleaned", "errata", "cause", "agreed"
HIDDEN = "hidden"
SOURCES: Final = (PERSON, PROPOSAL, HAND_EDIT, PROPAGATED, UNREVIEWED, CLEANED, ERRATA, CAUSE, AGREED, HIDDEN)
"""Who said so: a person asked, a person about a model's proposal, a person with a brush, a model that learnt from
answers, a model whose proposals were taken unseen, the rule of a clean-up, somebody else's errata, the repair of a
systematic error, people who said different things, weighed by how reliable each of them is, or a person asked a hidden
question whose answer is known: that tells about the person and never changes a label, so its status is skipped."""

NOBODY: Final = (PROPAGATED, UNREVIEWED, CLEANED, CAUSE)
"""Sources that no person stands behind; they never lie over what a person said."""


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer to one query.

    Attributes:
        label_field: the field whose label is in question
        sample_id: FiftyOne's id of the sample
        query_id: FiftyOne's id of the Detection that asked; of other sources any name
        status: confirmed (the label is right), corrected, skipped, or pending (taken back)
        given: class that the label said
        answer: class that it is, if corrected; of a hidden question the class that the person said
        value: mask value of that class, or of the given one if it was confirmed; None if it has none
        bbox: (top, left, bottom, right) in pixels, half open: of what was answered about
        shape: (H, W) of the label
        mask: (bottom - top, right - left) bool
        source: one of `SOURCES`
        digest: of the label's pixels when it was answered, see `masks.mask_digest`
        repaired: pixels that got another class
        area: pixels of the query, which refining may have changed
        audit: whether the query was drawn at random
        trial: whether the query was drawn at random among what would have been relabelled unasked
        round: of planning that asked; 0 for other sources
        sitting: of whom at which screen
        reviewer: who answered
        seconds: how long it took
        time: when, UTC
        known: mask value of the right class of a hidden question
        key: in the store, in the order of adding; empty before `add_answers`
    """

    label_field: str
    sample_id: str
    query_id: str
    status: str
    given: str
    answer: str | None
    value: int | None
    bbox: tuple[int, int, int, int]
    shape: tuple[int, int]
    mask: np.ndarray
    source: str = PERSON
    digest: str = ""
    repaired: int = 0
    area: int = 0
    audit: bool = False
    round: int = 0
    sitting: str | None = None
    reviewer: str | None = None
    seconds: float | None = None
    time: datetime = field(default_factory=utc_now)
    known: int | None = None
    trial: bool = False
    key: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the store."""
        values = asdict(self)
        del values["key"]
        packed = zlib.compress(np.packbits(self.mask).tobytes())
        return values | {
            "bbox": list(self.bbox),
            "shape": list(self.shape),
            "mask": base64.b64encode(packed).decode(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], key: str) -> Answer:
        """The answer that `as_dict` wrote; without its mask, the whole box."""
        top, left, bottom, right = content["bbox"]
        size = (bottom - top, right - left)
        mask = np.broadcast_to(np.bool_(True), size)
        if content.get("mask") is not None:
            bits = np.frombuffer(zlib.decompress(base64.b64decode(content["mask"])), np.uint8)
            mask = np.unpackbits(bits, count=size[0] * size[1]).astype(bool).reshape(size)
        height, width = content["shape"]
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in content.items() if name in known}
        return cls(**{**values, "bbox": (top, left, bottom, right), "shape": (height, width), "mask": mask, "key": key})

    @property
    def outcome(self) -> str:
        """What the person did: the status, or of a hidden question what it would be were it none."""
        if self.source != HIDDEN or self.status != "skipped" or self.answer is None:
            return self.status
        return "confirmed" if self.answer == self.given else "corrected"

    @property
    def query_status(self) -> str:
        """Status of the query that was answered; of an answered hidden question, known."""
        return self.status if self.outcome == self.status else "known"

    def repaint(self) -> Repaint | None:
        """What it says about the label; None if nothing.

        A confirmed class is painted, too: it may have been there only because a model thought so.
        """
        if self.status not in ("confirmed", "corrected") or self.value is None:
            return None
        return Repaint(self.bbox, self.mask, self.value)


def add_answers(dataset: Any, answers: Iterable[Answer]) -> list[Answer]:
    """Remember answers; they are on the database's disk when this returns.

    Args:
        dataset: the `fiftyone.Dataset`
        answers: the answers

    Returns:
        the answers with their keys

    Raises:
        LabelQualityError: if the database cannot keep them
    """
    given = list(answers)
    keys = append_log.append(dataset, STORE, (answer.as_dict() for answer in given), len(given))
    return [replace(answer, key=key) for answer, key in zip(given, keys, strict=True)]


def stream_answers(dataset: Any, answers: Iterable[Answer], number: int) -> None:
    """Remember many answers, which never are in memory together.

    Args:
        dataset: the `fiftyone.Dataset`
        answers: the answers
        number: how many there are

    Raises:
        LabelQualityError: if the database cannot keep them
    """
    append_log.append(dataset, STORE, (answer.as_dict() for answer in answers), number)


def read_answers(
    dataset: Any,
    label_field: str,
    *,
    sample_ids: Sequence[str] | None = None,
    query_ids: Sequence[str] | None = None,
    sitting: str | None = None,
    but_of: Sequence[str] = (),
    masks: bool = True,
) -> list[Answer]:
    """All answers about a label field, oldest first; also those that later ones replaced.

    Args:
        dataset: the `fiftyone.Dataset`
        label_field: the field
        sample_ids: only those about these samples
        query_ids: only those to these queries
        sitting: only those of this sitting
        but_of: sources whose answers are left out
        masks: whether to read the masks, which are most of it

    Returns:
        the answers
    """
    query: dict[str, Any] = {"value.label_field": require_text("label_field", label_field)}
    if sample_ids is not None:
        query["value.sample_id"] = {"$in": list(sample_ids)}
    if query_ids is not None:
        query["value.query_id"] = {"$in": list(query_ids)}
    if sitting is not None:
        query["value.sitting"] = sitting
    if but_of:
        query["value.source"] = {"$nin": list(but_of)}
    rows = append_log.read(dataset, STORE, query, without=None if masks else "mask")
    return [Answer.from_dict(values, key) for key, values in rows]


def answers_that_count(answers: Iterable[Answer]) -> list[Answer]:
    """The newest answer to each query, in the order of replay: what models said first, then people, oldest first.

    Args:
        answers: of one label field

    Returns:
        without those that were taken back
    """
    newest: dict[str, Answer] = {}
    for answer in sorted(answers, key=lambda answer: answer.key):
        newest[answer.query_id] = answer
    valid = (answer for answer in newest.values() if answer.status != "pending")
    return sorted(valid, key=lambda answer: (answer.source not in NOBODY, answer.key))


def taken_over(dataset: Any, label_field: str, region_ids: Sequence[str]) -> int:
    """How many accepted regions are in the corrected labels.

    Args:
        dataset: the `fiftyone.Dataset`
        label_field: the field that is corrected
        region_ids: of the regions that it is about
    """
    found = read_answers(dataset, label_field, query_ids=region_ids, masks=False)
    return sum(answer.source == PROPOSAL for answer in answers_that_count(found))


def ever_taken_over(dataset: Any) -> bool:
    """Whether accepted regions of any run were taken into corrected labels, maybe to be taken back since.

    Args:
        dataset: the `fiftyone.Dataset`
    """
    return append_log.holds_any(dataset, STORE, {"value.source": PROPOSAL})


def repaints(answers: Iterable[Answer]) -> list[Repaint]:
    """What answers change in one sample's label, in the order of replay.

    Args:
        answers: about one sample

    Returns:
        parts of the label with new values
    """
    parts = (answer.repaint() for answer in answers_that_count(answers))
    return [part for part in parts if part is not None]
