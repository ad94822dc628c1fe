"""What answers tell about superpixels that nobody was asked about.

It is kept as answers of their own kind, which never lie over what a person said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import numpy as np

from ...correction.answers.propagation import CERTAIN, AnswerModel, Proposal, Trials, certain_proposals, trials_of
from ...correction.answers.propagation import Answer as SuperpixelAnswer
from ...correction.answers.reliability import AnswerPanel, judge_answers
from ...correction.questions.candidates import Candidates
from ...dataset.door.classes import ClassMap
from ...dataset.fields.regions import utc_now
from ...dataset.journals import answers as answer_log
from ...dataset.journals.answers import AGREED, NOBODY, PROPAGATED, PROPOSAL, Answer
from ...dataset.runs import run_records
from ...progress import Progress
from ...quality.certainty.reviewers import Reliability
from ...quality.records.made_anew import MadeAnew
from ...wording import count
from ..engines.dataset_job import in_parts
from .corrected_labels import CorrectionReport, apply_corrections, derive
from .correction_run import CorrectionRun, open_correction
from .found_candidates import Found
from .hidden_questions import CONFIDENCE, SOMEBODY, answers_of, hidden_answers, people_by_hidden

if TYPE_CHECKING:
    from ...dataset.door.scan import LabelledImage

ACCEPTED = "accepted label issues"
"""Who stands for decisions about regions: agreeing with a proposal tells nothing about answers to questions."""

RELABELLED = "relabelled"
"""Of a run: superpixels relabelled unasked, those that wait, trials, right ones, and the share that may be wrong."""

_IMAGES_AT_ONCE = 200
MOST_TIMES = 3
"""How often a superpixel is asked about at most."""


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
        trials: what random questions say about what would be relabelled
        candidates: of each image, with the new given classes
        again: by (image, row) of a superpixel that was answered about and may be asked about again, how likely what was
            said is true
        sure: by (image, row) of a superpixel, its class where that is known well enough to tell who errs
        people: how reliable each reviewer is, by name
        untried: (image, row) of superpixels that would be relabelled, did answers bear that out
    """

    posterior: Sequence[np.ndarray] | None
    num_propagated: int
    candidates: Sequence[Candidates]
    again: dict[tuple[int, int], float] = field(default_factory=dict)
    sure: dict[tuple[int, int], int] = field(default_factory=dict)
    people: dict[str, Reliability] = field(default_factory=dict)
    trials: Trials = field(default_factory=Trials)
    untried: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Said:
    """What people answered, superpixel by superpixel.

    Attributes:
        places: (image, row) of each superpixel that was answered about
        given: class that was asked about first, -1 for none
        people: who answered, of each superpixel, oldest first
        classes: what they said
        keys: of these answers
        standing: class that the label has by the answers, the newest one or what people agreed on since
        audits: whether the first question about it was drawn at random, from all or from what would be relabelled
    """

    places: list[tuple[int, int]] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    people: list[list[str]] = field(default_factory=list)
    classes: list[list[int]] = field(default_factory=list)
    keys: list[list[str]] = field(default_factory=list)
    standing: list[int] = field(default_factory=list)
    audits: list[bool] = field(default_factory=list)

    def answers(self, classes: Sequence[int]) -> list[SuperpixelAnswer]:
        """One answer a superpixel.

        Args:
            classes: of each superpixel
        """
        rows = zip(self.places, self.given, classes, self.audits, strict=True)
        return [SuperpixelAnswer(image, row, given, said, audit) for (image, row), given, said, audit in rows]


def relabelled(run: CorrectionRun, sample_ids: Sequence[str] | None = None, *, masks: bool = True) -> list[Answer]:
    """What answers were thought to tell about superpixels that nobody was asked about.

    Args:
        run: of the correction
        sample_ids: of the samples that it is about; all if None
        masks: whether to read which pixels

    Returns:
        an answer for each
    """
    about = answer_log.read_answers(run.dataset, run.label_field, sample_ids=sample_ids, masks=masks)
    return [answer for answer in answer_log.answers_that_count(about) if answer.source == PROPAGATED]


def withdraw_propagated(run: CorrectionRun, sample_ids: Sequence[str] | None = None) -> list[str]:
    """Take back what earlier answers were thought to tell about other superpixels.

    Args:
        run: of the correction
        sample_ids: of the samples that are planned anew; what was told about others stays. All if None

    Returns:
        id of the sample of each
    """
    about = dict.fromkeys(answer.sample_id for answer in relabelled(run, sample_ids, masks=False))
    taken: list[str] = []
    for some in in_parts(list(about), _IMAGES_AT_ONCE):  # their masks are most of what is read
        old = relabelled(run, some)
        answer_log.add_answers(run.dataset, [replace(answer, status="pending", time=utc_now()) for answer in old])
        taken += [answer.sample_id for answer in old]
    return taken


def relabelled_in_words(number: int, waiting: int, trials: Trials, wrong: float) -> str:
    """What was relabelled unasked and with which promise; or what that would take.

    Args:
        number: superpixels that were relabelled
        waiting: superpixels that would be, did answers bear that out
        trials: what random questions say about them
        wrong: share of them that may be wrong

    Returns:
        a sentence; empty where there is neither

    Example:
        >>> relabelled_in_words(1240, 0, Trials(46, 45), 0.1)
        '1,240 superpixels like the answered ones were relabelled. At most 10 % of them are wrong, with 95 % confidence: of 46 such ones that were drawn at random, 45 were answered so'
        >>> relabelled_in_words(0, 300, Trials(12, 12), 0.1)
        '300 superpixels like the answered ones wait to be relabelled. So that at most 10 % of them are wrong, 17 more answers to random questions about such ones must agree; so far 12 of 12 do'
    """  # noqa: E501
    if number and trials.wrong_at_most <= wrong:
        return (
            f"{count(number, 'superpixel')} like the answered ones {'were' if number > 1 else 'was'} relabelled. At "
            f"most {100 * wrong:g} % of them are wrong, with 95 % confidence: of {trials.asked:,} such ones that were "
            f"drawn at random, {trials.right:,} were answered so"
        )
    if not waiting:
        return ""
    return (
        f"{count(waiting, 'superpixel')} like the answered ones {'wait' if waiting > 1 else 'waits'} to be relabelled. "
        f"So that at most {100 * wrong:g} % of them are wrong, {count(trials.needed(wrong), 'more answer')} to random "
        f"questions about such ones must agree; so far {trials.right:,} of {trials.asked:,} do"
    )


def relabelled_fields(dataset: Any) -> list[str]:
    """Label fields in which the last plan relabelled something unasked.

    Args:
        dataset: a `fiftyone` dataset
    """
    runs = run_records.list_runs(dataset, run_records.CORRECTION)
    return [run.label_field for run in runs if run.summary.get(RELABELLED, [0])[0]]


def undo_relabelled(
    samples: Any, label_field: str = "ground_truth", *, progress: Progress | None = None
) -> CorrectionReport:
    """Take back what was relabelled because it is like what was answered; all that people answered stays.

    The next round (`start_correction_round`) relabels nothing; a new plan does, unless it is told not to
    (`propagate=False`).

    Args:
        samples: the `fiftyone` dataset or a view of it; what was relabelled is taken back everywhere
        label_field: the field that is corrected
        progress: told how far the job is; a bar in the terminal if None

    Returns:
        what is changed by the answers that are left

    Raises:
        LabelQualityError: if no queries were planned for the field

    Example:
        >>> undo_relabelled(dataset, "ground_truth")  # doctest: +SKIP
    """
    run = open_correction(samples, label_field)
    for sample_id in dict.fromkeys(withdraw_propagated(run)):
        derive(run, sample_id)
    summary = {name: value for name, value in run.record.summary.items() if name != RELABELLED}
    parameters = {**run.record.parameters, "propagate": False}
    run_records.register_run(run.dataset, replace(run.record, parameters=parameters, summary=summary))
    return apply_corrections(run.dataset, label_field, progress=progress)


def propagate_answers(
    run: CorrectionRun,
    classes: ClassMap,
    found: Found,
    wrong: float | None,
    images: ImageFiles,
) -> Beliefs:
    """Learn from all answers what superpixels are.

    Args:
        run: of the correction
        classes: of the label field
        found: candidates of all images and answers about them
        wrong: share of the superpixels that are relabelled unasked that may be wrong; None to relabel none
        images: what is read of each image

    Returns:
        what is believed
    """
    said = said_of_superpixels(found, classes, images)
    if not said.places:
        return Beliefs(None, 0, found.candidates, people=people_by_hidden(answers_of(run), classes))
    answers = said.answers(said.standing)
    others = AnswerModel.fit(found.candidates, answers).posterior(found.candidates, answers)
    prior = np.stack([others[image][row] for image, row in said.places])
    panel, people = _judged(said, prior, hidden_answers(answers_of(run), classes))
    agreed = _agree(run, classes, found, said, panel, images)
    answers = said.answers(agreed)
    posterior = _with_chances(others, said, panel)
    turned = [Proposal(one.image, one.row, one.answer, 1.0) for one, before in zip(answers, said.standing, strict=True)
              if one.answer != before]  # fmt: skip
    trials = trials_of(answers, others, CERTAIN)
    beliefs = Beliefs(posterior, 0, _relabelled(found.candidates, turned), *_open(said, panel), people, trials)
    open_ones = [
        one for one in (() if wrong is None else certain_proposals(found.candidates, answers, others, CERTAIN))
        if not found.asked[one.image][one.row] and classes.values[one.answer] is not None
    ]  # fmt: skip
    if wrong is None or trials.wrong_at_most > wrong:
        return replace(beliefs, untried=[(one.image, one.row) for one in open_ones])
    _keep(run, classes, found, open_ones, images)
    shown = _relabelled(found.candidates, [*turned, *open_ones])
    return replace(beliefs, num_propagated=len(open_ones), candidates=shown)


def _judged(
    said: Said, prior: np.ndarray, known: Sequence[tuple[str, int, int]]
) -> tuple[AnswerPanel, dict[str, Reliability]]:
    """What is true of each superpixel, and how reliable people are, with what everything else says as the prior.

    Hidden questions tell about people only: each is a question of its own.
    """
    hidden = [name for name, _, _ in known]
    names = sorted({name for row in [*said.people, hidden] for name in row})
    number = {name: place for place, name in enumerate(names)}
    asked = len(said.places)
    panel = judge_answers(
        np.concatenate([prior, np.full((len(known), prior.shape[1]), 1 / prior.shape[1])]),
        np.repeat(np.arange(asked + len(known)), [*(len(row) for row in said.people), *(1 for _ in known)]),
        [number[name] for row in [*said.people, hidden] for name in row],
        [*(value for row in said.classes for value in row), *(answer for _, answer, _ in known)],
        num_people=len(names),
        known=np.r_[np.full(asked, -1), [truth for _, _, truth in known]],
    )
    people = dict(zip(names, panel.people, strict=True))
    people.pop(ACCEPTED, None)
    return replace(panel, chances=panel.chances[:asked]), people


def _open(said: Said, panel: AnswerPanel) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], int]]:
    """What may be asked again, where that is worth more than another question, and what somebody said that is sure."""
    again, sure = {}, {}
    for place, people, said_here, chances in zip(said.places, said.people, said.classes, panel.chances, strict=True):
        best = int(chances.argmax())
        if len(people) < MOST_TIMES:
            again[place] = max(float(chances[value]) for value in said_here)
        if chances[best] >= CONFIDENCE and best in said_here:
            sure[place] = best
    return again, sure


def _with_chances(others: Sequence[np.ndarray], said: Said, panel: AnswerPanel) -> Sequence[np.ndarray]:
    """What is believed of each superpixel, its own answers included."""
    own: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for place, (image, row) in enumerate(said.places):
        own[image].append((row, place))

    def believed(image: int) -> np.ndarray:
        if image not in own:
            return others[image]
        rows = np.array(others[image])
        for row, place in own[image]:
            rows[row] = panel.chances[place]
        return rows

    return MadeAnew(len(others), believed)


def _agree(
    run: CorrectionRun, classes: ClassMap, found: Found, said: Said, panel: AnswerPanel, images: ImageFiles
) -> list[int]:
    """Where people said different things, let the likeliest count; the class of each superpixel afterwards."""
    best = [max(set(row), key=lambda value: panel.chances[place, value]) for place, row in enumerate(said.classes)]
    turned = [place for place, value in enumerate(best) if value != said.standing[place]]
    rows = []
    for place in turned:
        key = said.keys[place][said.classes[place].index(best[place])]
        image = found.images[said.places[place][0]]
        [right] = [answer for answer in images.answers(image) if answer.key == key]
        query_id = f"{AGREED}-{uuid4().hex}"
        rows.append(
            replace(
                right, source=AGREED, query_id=query_id, status="corrected", answer=classes.names[best[place]],
                repaired=0, audit=False, round=0, sitting=None, reviewer=None, seconds=None, time=utc_now(),
            )
        )  # fmt: skip
    answer_log.add_answers(run.dataset, rows)
    return best


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


def said_of_superpixels(found: Found, classes: ClassMap, images: ImageFiles) -> Said:
    """People's answers as classes of the superpixels of this round.

    Args:
        found: candidates of all images and answers about them
        classes: of the label field
        images: what is read of each image

    Returns:
        what was said of each superpixel
    """
    index_of: dict[Any, int] = {name: index for index, name in enumerate(classes.names)}
    index_of |= {value: index for index, value in enumerate(classes.values) if value is not None}
    said = Said()
    for place, image in enumerate(found.images):
        if not any(a.status in ("confirmed", "corrected") for a in found.answers[image.sample_id]):
            continue
        given = [a for a in images.answers(image) if a.status in ("confirmed", "corrected") and a.source not in NOBODY]
        segments, candidates = images.segments(image), found.candidates[place]
        row_of = {int(segment): row for row, segment in enumerate(candidates.segment)}
        own: dict[int, int] = {}
        for answer in given:
            name = answer.answer if answer.status == "corrected" else answer.given
            truth = index_of.get(name if answer.value is None else answer.value)  # a class may have another name now
            row = _row_of(answer, segments, row_of)
            if truth is None or row is None or (answer.source == AGREED and row not in own):
                continue
            if row not in own:
                own[row] = len(said.places)
                said.places.append((place, row))
                said.given.append(index_of.get(answer.given, -1))
                said.standing.append(truth)
                said.audits.append(answer.audit or answer.trial)
                for column in (said.people, said.classes, said.keys):
                    column.append([])
            at = own[row]
            said.standing[at] = truth
            if answer.source != AGREED:
                said.people[at].append(ACCEPTED if answer.source == PROPOSAL else answer.reviewer or SOMEBODY)
                said.classes[at].append(truth)
                said.keys[at].append(answer.key)
    return said


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
    """Keep what superpixels are as answers, one after the other."""
    answer_log.stream_answers(run.dataset, _answers(run, classes, found, proposals, images), len(proposals))


def _answers(
    run: CorrectionRun,
    classes: ClassMap,
    found: Found,
    proposals: Sequence[Proposal],
    images: ImageFiles,
) -> Iterator[Answer]:
    last, segments = -1, np.zeros((0, 0), np.int32)
    for one in sorted(proposals, key=lambda proposal: proposal.image):
        image, candidates = found.images[one.image], found.candidates[one.image]
        if one.image != last:
            last, segments = one.image, images.segments(image)
        top, left, bottom, right = (int(edge) for edge in candidates.bbox[one.row])
        mask = segments[top:bottom, left:right] == int(candidates.segment[one.row])
        given = int(candidates.given[one.row])
        yield Answer(
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
