"""How far a sitting is, how much is still wrong, and whether it is time to stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ...correction.answers.remaining import AuditRound, advice, remaining_share
from ...correction.questions.query_costs import sitting_cost
from ...dataset.journals.answers import Answer
from ...quality.regions.review_statistics import Interval
from .correction_run import CorrectionRun


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
    counts = Counter(answer.status for answer in own)
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
    """Estimate the share of the labelled pixels that are still wrong, from the questions that were drawn at random.

    Args:
        run: of the correction
        everyone: all answers that count

    Returns:
        the share with its 95 % interval; None if no such question was answered yet
    """
    rounds = []
    for plan in run.record.summary.get("rounds", []):
        audits = [
            answer
            for answer in everyone
            if answer.audit and answer.round == plan["round"] and answer.status in ("confirmed", "corrected")
        ]
        if not audits:
            continue
        # Refining makes the part that was answered about larger or smaller than the one that was drawn.
        areas = [max(answer.area or 1, 1) for answer in audits]
        wrong = [min(answer.repaired, area) for answer, area in zip(audits, areas, strict=True)]
        since = sum(answer.repaired for answer in everyone if answer.round >= plan["round"])
        population = max(float(plan["population"]), float(sum(areas)))
        rounds.append(AuditRound(areas, wrong, population, since, max(int(plan["audits"]), len(audits))))
    labelled = max([float(run.record.summary.get("labelled", 0)), *(one.population for one in rounds)])
    return remaining_share(rounds, labelled) if rounds else None
