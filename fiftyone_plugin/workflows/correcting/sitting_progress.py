"""How far a sitting is, how much is still wrong, and whether it is time to stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any, Final

from ...correction.answers.remaining import AskedRound, AuditRound, advice, remaining_share
from ...correction.questions.query_costs import sitting_cost
from ...dataset.fields.queries import AskedQuestion, asked_questions
from ...dataset.journals.answers import HIDDEN, PERSON, Answer
from ...quality.certainty.reviewers import Reliability
from ...quality.regions.review_statistics import Interval
from .correction_run import CorrectionRun
from .hidden_questions import SOMEBODY, HiddenQuestions, people_by_hidden

_STEP: Final = 5
"""While questions are left, answers to hidden ones are counted in steps: or the count would say which one it was."""


@dataclass(frozen=True)
class PersonProgress:
    """How far one person is, and how reliable.

    Attributes:
        name: who
        answered: questions
        confirmed: of those, labels that were right
        corrected: of those, labels that were corrected
        skipped: of those, passed over
        seconds: median seconds a question; None if they are not known
        by_hidden: how reliable, by hidden known questions alone; None where none was answered
        by_all: how reliable, by all that the last plan knew; None before there was one
    """

    name: str
    answered: int
    confirmed: int
    corrected: int
    skipped: int
    seconds: float | None
    by_hidden: Reliability | None
    by_all: Reliability | None


def people_of(run: CorrectionRun, everyone: Sequence[Answer], pending: int) -> list[PersonProgress]:
    """How far each person is, and how reliable.

    Args:
        run: of the correction
        everyone: all answers that count
        pending: questions that nobody has answered yet

    Returns:
        who answered most first
    """
    asked = sorted((one for one in everyone if one.source in (PERSON, HIDDEN)), key=_name_and_age)
    known = [one for one in asked if one.source == HIDDEN and one.answer is not None]
    counted = [
        one
        for _, own in groupby(known, key=_name)
        for rows in (list(own),)
        for one in rows[: len(rows) - (len(rows) % _STEP if pending else 0)]
    ]
    by_hidden = people_by_hidden(counted, run.classes())
    by_all = {name: Reliability.from_row(row) for name, row in run.record.summary.get("people", [])}
    people = [
        _person(name, list(own), by_hidden.get(name), by_all.get(name)) for name, own in groupby(asked, key=_name)
    ]
    return sorted(people, key=lambda one: -one.answered)


def _name(answer: Answer) -> str:
    return answer.reviewer or SOMEBODY


def _name_and_age(answer: Answer) -> tuple[str, str]:
    return _name(answer), answer.key


def _person(
    name: str, own: Sequence[Answer], by_hidden: Reliability | None, by_all: Reliability | None
) -> PersonProgress:
    counts = Counter(answer.outcome for answer in own)
    seconds = [answer.seconds for answer in own if answer.seconds]
    return PersonProgress(
        name=name,
        answered=len(own),
        confirmed=counts["confirmed"],
        corrected=counts["corrected"],
        skipped=counts["skipped"],
        seconds=median(seconds) if seconds else None,
        by_hidden=by_hidden,
        by_all=by_all,
    )


@dataclass(frozen=True)
class SittingProgress:
    """Counts of a sitting, and an estimate of what is left.

    Attributes:
        answered: questions of this sitting
        confirmed: of those, labels that were right
        corrected: of those, labels that were corrected
        skipped: of those, passed over
        pending: questions that nobody has answered yet
        pixels_repaired: pixels that got another class in this sitting
        per_minute: questions a minute in this sitting
        seconds_per_answer: seconds a question in this sitting
        wrong_share: estimated share of the labelled pixels that are still wrong; None if too little is known
        wrong_low: lower end of the 95 % interval
        wrong_high: upper end
        advice: whether to go on
        bits_spent: information that the answers of this sitting gave, in bits
        bits_classification: what asking for the class at once would have taken
    """

    answered: int
    confirmed: int
    corrected: int
    skipped: int
    pending: int
    pixels_repaired: int
    per_minute: float
    seconds_per_answer: float
    wrong_share: float | None
    wrong_low: float | None
    wrong_high: float | None
    advice: str
    bits_spent: float
    bits_classification: float


def progress_of(run: CorrectionRun, own: Sequence[Answer], everyone: Sequence[Answer], pending: int) -> SittingProgress:
    """Count.

    Args:
        run: of the correction
        own: this sitting's answers that count
        everyone: all answers that count
        pending: questions that nobody has answered yet

    Returns:
        the counts
    """
    counts = Counter(answer.outcome for answer in own)
    seconds = sum(answer.seconds or 0.0 for answer in own)
    left = remaining(run, everyone)
    cost = sitting_cost(max(len(run.record.summary["classes"]), 2), counts["confirmed"], counts["corrected"])
    asked = sorted((a for a in own if not a.audit and a.status != "skipped"), key=lambda answer: answer.key)
    said = advice(left, pending, [a.repaired for a in asked], [a.seconds or 0.0 for a in asked])
    return SittingProgress(
        answered=len(own),
        confirmed=counts["confirmed"],
        corrected=counts["corrected"],
        skipped=counts["skipped"],
        pending=pending,
        pixels_repaired=sum(answer.repaired for answer in own),
        per_minute=60 * len(own) / seconds if seconds else 0.0,
        seconds_per_answer=seconds / len(own) if own else 0.0,
        wrong_share=left.estimate if left else None,
        wrong_low=left.low if left else None,
        wrong_high=left.high if left else None,
        advice=said.text,
        bits_spent=cost.bits_spent,
        bits_classification=cost.bits_classification,
    )


def remaining(run: CorrectionRun, everyone: Sequence[Answer]) -> Interval | None:
    """Estimate the share of the labelled pixels that are still wrong, from random questions and all other answers.

    Args:
        run: of the correction
        everyone: all answers that count

    Returns:
        the share with its 95 % interval; None if no such question was answered yet
    """
    if not any(answer.audit for answer in everyone):
        return None
    known = HiddenQuestions(run).known()
    asked = [one for one in asked_questions(run.dataset, run.fields.queries) if one.query_id not in known]
    rounds = [
        _rest([one for one in asked if one.round == plan["round"]], plan, everyone)
        for plan in run.record.summary.get("rounds", [])
    ]
    labelled = max([float(run.record.summary.get("labelled", 0)), *(one.population for one in rounds)])
    return remaining_share(rounds, labelled) if rounds else None


def _rest(asked: Sequence[AskedQuestion], plan: dict[str, Any], everyone: Sequence[Answer]) -> AuditRound:
    """What one round's audits say about what was not asked from end to end; skipped audits count as not drawn."""
    said = {answer.query_id: answer for answer in everyone if answer.round == plan["round"]}
    used = [one for one in asked if not (one.audit and one.query_id in said and said[one.query_id].status == "skipped")]
    answers = [said.get(one.query_id) for one in used]
    # Refining makes the part that was answered about larger or smaller than the one that was planned.
    areas = [max((answer.area if answer else 0) or one.area, 1) for one, answer in zip(used, answers, strict=True)]
    audits = [one.audit for one in used]
    drawn = sum(area for area, audit in zip(areas, audits, strict=True) if audit)
    return AskedRound(
        values=[one.value for one in used],
        areas=areas,
        repaired=[min(answer.repaired, area) if answer else 0 for answer, area in zip(answers, areas, strict=True)],
        audits=audits,
        answered=[answer is not None for answer in answers],
        population=max(float(plan["population"]), float(drawn)),
        planned=max(int(plan["audits"]), sum(audits)),
        repaired_since=float(sum(answer.repaired for answer in everyone if answer.round > plan["round"])),
    ).rest()
