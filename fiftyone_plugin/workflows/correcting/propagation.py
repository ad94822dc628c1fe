"""What answers tell about superpixels that nobody was asked about.

It is kept as answers of their own kind, which never lie over what a person said.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import numpy as np

from ...correction.answers.propagation import Answer as SuperpixelAnswer
from ...correction.answers.propagation import AnswerModel, Proposal, certain_proposals, doubtful_answers
from ...correction.questions.candidates import Candidates
from ...correction.questions.made_anew import MadeAnew
from ...dataset.door.classes import ClassMap
from ...dataset.fields.regions import utc_now
from ...dataset.journals import answers as answer_log
from ...dataset.journals.answers import NOBODY, PROPAGATED, Answer
from .correction_run import CorrectionRun
from .found_candidates import Found

if TYPE_CHECKING:
    from ...dataset.door.scan import LabelledImage

CONFIDENCE = 0.95
"""Probability of a class from which a superpixel like the answered ones is relabelled."""


class ImageFiles(Protocol):
    """What is read of an image when it is needed."""

    def segments(self, image: LabelledImage) -> np.ndarray:
        """Its superpixels."""

    def answers(self, image: LabelledImage) -> list[Answer]:
        """The answers about it, with masks."""


@dataclass(frozen=True)
class Beliefs:
    """What is believed after the answers.

    Attributes:
        posterior: for each image the (n, K) probabilities of the true classes; None if nothing was answered yet
        num_propagated: superpixels that were relabelled
        candidates: of each image, with the new given classes
        doubtful: (image, row) of superpixels whose only answer everything else speaks against
    """

    posterior: Sequence[np.ndarray] | None
    num_propagated: int
    candidates: Sequence[Candidates]
    doubtful: list[tuple[int, int]] = field(default_factory=list)


def withdraw_propagated(run: CorrectionRun, sample_ids: Sequence[str]) -> int:
    """Take back what earlier answers were thought to tell about other superpixels.

    Args:
        run: of the correction
        sample_ids: of the samples that are planned anew; what was told about others stays

    Returns:
        how many
    """
    about = answer_log.read_answers(run.dataset, run.label_field, sample_ids=sample_ids)
    found = answer_log.answers_that_count(about)
    old = [answer for answer in found if answer.source == PROPAGATED]
    taken = [replace(answer, status="pending", time=utc_now()) for answer in old]
    return len(answer_log.add_answers(run.dataset, taken))


def propagate_answers(
    run: CorrectionRun,
    classes: ClassMap,
    found: Found,
    relabel: bool,
    images: ImageFiles,
) -> Beliefs:
    """Learn from all answers what superpixels are.

    Args:
        run: of the correction
        classes: of the label field
        found: candidates of all images and answers about them
        relabel: whether to relabel superpixels that are certain enough
        images: what is read of each image

    Returns:
        what is believed
    """
    said, times = said_of_superpixels(found, classes, images)
    if not said:
        return Beliefs(None, 0, found.candidates)
    model = AnswerModel.fit(found.candidates, said)
    posterior = model.posterior(found.candidates, said)
    doubtful = [(one.image, one.row) for one in doubtful_answers(said, posterior) if times[one.image, one.row] == 1]
    if not relabel:
        return Beliefs(posterior, 0, found.candidates, doubtful)
    proposals = certain_proposals(found.candidates, said, posterior, CONFIDENCE)
    open_ones = [
        one for one in proposals
        if not found.asked[one.image][one.row] and classes.values[one.answer] is not None
    ]  # fmt: skip
    _keep(run, classes, found, open_ones, images)
    return Beliefs(posterior, len(open_ones), _relabelled(found.candidates, open_ones), doubtful)


def _relabelled(candidates: Sequence[Candidates], proposals: Sequence[Proposal]) -> Sequence[Candidates]:
    """Candidates whose given class is what answers made of it; questions are about the label as it is now."""
    changes: dict[int, list[Proposal]] = defaultdict(list)
    for proposal in proposals:
        changes[proposal.image].append(proposal)

    def relabelled(place: int) -> Candidates:
        one = candidates[place]
        if place not in changes:
            return one
        given = one.given.copy()
        for proposal in changes[place]:
            given[proposal.row] = proposal.answer
        return replace(one, given=given)

    return MadeAnew(len(candidates), relabelled)


def said_of_superpixels(
    found: Found, classes: ClassMap, images: ImageFiles
) -> tuple[list[SuperpixelAnswer], Counter[tuple[int, int]]]:
    """People's answers as classes of the superpixels of this round, and how often each superpixel was answered about.

    Args:
        found: candidates of all images and answers about them
        classes: of the label field
        images: what is read of each image

    Returns:
        the newest answer about each superpixel; (image, row) to number of answers
    """
    index_of: dict[Any, int] = {name: index for index, name in enumerate(classes.names)}
    index_of |= {value: index for index, value in enumerate(classes.values) if value is not None}
    said: dict[tuple[int, int], SuperpixelAnswer] = {}
    times: Counter[tuple[int, int]] = Counter()
    for place, image in enumerate(found.images):
        if not any(a.status in ("confirmed", "corrected") for a in found.answers[image.sample_id]):
            continue
        given = [a for a in images.answers(image) if a.status in ("confirmed", "corrected") and a.source not in NOBODY]
        segments, candidates = images.segments(image), found.candidates[place]
        row_of = {int(segment): row for row, segment in enumerate(candidates.segment)}
        for answer in given:
            name = answer.answer if answer.status == "corrected" else answer.given
            truth = index_of.get(name if answer.value is None else answer.value)  # a class may have another name now
            row = _row_of(answer, segments, row_of)
            if truth is None or row is None:
                continue
            before = index_of.get(answer.given, -1)
            times[place, row] += 1
            said[place, row] = SuperpixelAnswer(place, row, before, truth)
    return list(said.values()), times


def _row_of(answer: Answer, segments: np.ndarray, row_of: dict[int, int]) -> int | None:
    """The superpixel in which most of what was answered about lies."""
    top, left, bottom, right = answer.bbox
    part = segments[top:bottom, left:right]
    if part.shape != answer.mask.shape or not answer.mask.any():
        return None
    counts = np.bincount(part[answer.mask])
    counts[0] = 0
    return row_of.get(int(counts.argmax()))


def _keep(
    run: CorrectionRun,
    classes: ClassMap,
    found: Found,
    proposals: Sequence[Proposal],
    images: ImageFiles,
) -> None:
    rows: list[Answer] = []
    last, segments = -1, np.zeros((0, 0), np.int32)
    for one in sorted(proposals, key=lambda proposal: proposal.image):
        image, candidates = found.images[one.image], found.candidates[one.image]
        if one.image != last:
            last, segments = one.image, images.segments(image)
        top, left, bottom, right = (int(edge) for edge in candidates.bbox[one.row])
        mask = segments[top:bottom, left:right] == int(candidates.segment[one.row])
        given = int(candidates.given[one.row])
        rows.append(
            Answer(
                label_field=run.label_field,
                sample_id=image.sample_id,
                query_id=f"propagated-{uuid4().hex}",
                status="corrected",
                given=classes.names[given] if given >= 0 else "no class",
                answer=classes.names[one.answer],
                value=classes.values[one.answer],
                bbox=(top, left, bottom, right),
                mask=mask,
                source=PROPAGATED,
                repaired=int(mask.sum()),
                shape=image.size,
                digest=image.digest,
            )
        )
    answer_log.add_answers(run.dataset, rows)
