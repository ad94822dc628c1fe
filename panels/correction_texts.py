"""Words of the label correction panel: pure functions from numbers to Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from ..fiftyone_plugin.wording import count, percent, percent_range
from ..fiftyone_plugin.workflows.correcting.sitting import PersonProgress, Question, SittingProgress

KEYS = (
    ("Enter, y", "yes, the label is right"),
    ("1 to 9", "it is this class; the likely ones come first"),
    ("c, /", "find another class by typing"),
    ("s", "skip: cannot say"),
    ("z", "undo the newest answer, as often as you like"),
    ("← →", "earlier questions; a new answer replaces the old one"),
    ("click", "add this place to the region"),
    ("Shift + click", "take this place out of the region"),
    ("Backspace", "take the last click back"),
    ("m", "show the label as outlines, as colours, or not at all"),
    ("wheel, pinch, + −", "zoom"),
    ("drag, Space + drag, Shift + arrows", "move the picture"),
    ("0", "back to the region; again: the whole image"),
    ("?", "show or hide these keys"),
)
"""Keys as a person reads them, and what they do."""

HELP = f"""
### Label correction

One question at a time: **is the label of the marked region right, and if not, what is it?** Questions come in the
order that repairs most; each answer is saved before the next question is shown.

| key | |
|---|---|
{chr(10).join(f"| **{keys}** | {meaning} |" for keys, meaning in KEYS)}

If no image appears, press **Plain viewer**: the same with another viewer, without keys.
"""

NO_PLAN = """
**No questions yet**

Planning finds the places where the label is probably wrong, and asks first what repairs most. It needs masks as labels,
and a model or its predictions.
"""

WAITING = "Opening the viewer. If no image appears within a few seconds, press **Plain viewer**."

UNKNOWN = "The page sent something that this panel does not know, so nothing was done. Reload the page."
STALE = "That answer was not taken: another question had come up in the meantime. Please look at this one."

NO_CHOICE = "Choose a class first."


def nothing_left(progress: SittingProgress, *, sample: bool) -> str:
    """What was done and what to do, when there is no question.

    Args:
        progress: of the sitting
        sample: whether only questions about one sample are asked
    """
    about = " about this image" if sample else ""
    if progress.pending:
        head = (
            f"### No question{about} is free just now\n\nIn another tab or with somebody else: "
            f"**{count(progress.pending, 'question')}**. A tab that was closed gives its question back after a minute; "
            "then press **Look again**."
        )
    elif progress.answered:
        head = f"### Done: all questions{about} are answered"
    else:
        head = f"### No question{about} is open"
    return "\n\n".join(filter(None, (head, _done(progress), _next_step(progress, sample=sample))))


def _done(progress: SittingProgress) -> str:
    if not progress.answered:
        return ""
    lines = [
        f"You answered {count(progress.answered, 'question')}: {progress.confirmed:,} right, "
        f"{progress.corrected:,} corrected, {progress.skipped:,} skipped.",
        f"**{count(progress.pixels_repaired, 'pixel')}** got another class.",
        _wrong(progress),
    ]
    return " ".join(filter(None, lines))


def _next_step(progress: SittingProgress, *, sample: bool) -> str:
    if sample:
        return "Go on to another image, or answer in the panel of the grid."
    if progress.pending:
        return ""
    if not progress.answered:
        return "**Ask more** plans the next questions. **What changed** shows what was answered before."
    return (
        "Look at **What changed** first. Then **Export** the corrected labels, **Train** on them, or **Ask more**: "
        "that plans the next questions. **Apply** brings the corrected labels up to date and lists "
        "all repairs. **Undo** and **Back** still change answers."
    )


def people_text(people: Sequence[PersonProgress]) -> str:
    """How far each person is, and how reliable, one paragraph each.

    Args:
        people: the one who reads has no name

    Returns:
        Markdown
    """
    return "\n\n".join(map(_person, people)) or "Nobody has answered so far."


def _person(one: PersonProgress) -> str:
    parts = [f"**{one.name or 'You'}**: {count(one.answered, 'answer')}"]
    if one.seconds is not None:
        parts.append(f"{one.seconds:.1f} s each")
    for said, what in ((one.by_hidden, "known question"), (one.by_all, "answer")):
        if said is None or not said.answers:
            continue
        about = "" if said is one.by_hidden else "about "
        right = round(said.right.estimate * said.answers)
        ends = f"{percent(said.right.low)} to {percent(said.right.high)} %"
        parts.append(f"{about}{right:,} of {count(said.answers, what)} right ({ends})")
        if said is one.by_all:
            parts[-1] += " by all that was known at the last plan"
    if any(said is not None and said.careless for said in (one.by_hidden, one.by_all)):
        parts.append("**more slips than a careful person makes**")
    return " · ".join(parts)


def question_text(question: Question) -> str:
    """The question in one line, with the answer that it was given before."""
    text = f"### Is this {question.given}?"
    if question.answered:
        said = {"confirmed": "yes", "skipped": "skipped"}.get(question.answered, question.answered)
        text += f" · you said: {said}"
    return text


def number_text(question: Question) -> str:
    """Which question it is."""
    parts = [f"question {question.number:,}", f"round {question.round:,}"]
    if question.refined:
        parts.append("region changed by you")
    if question.audit:
        parts.append("drawn at random")
    return " · ".join(parts)


def progress_text(progress: SittingProgress) -> str:
    """What has been done and what is left, in one line."""
    parts = [
        f"**{progress.answered:,}** answered, **{progress.pending:,}** to go",
        f"**{count(progress.pixels_repaired, 'pixel')}** repaired",
        _wrong(progress),
    ]
    if progress.answered:
        parts.append(f"{progress.per_minute:.0f} a minute")
    return " · ".join(filter(None, parts))


def done_share(progress: SittingProgress) -> float:
    """How much of the questions is answered, from 0 to 1."""
    return progress.answered / max(progress.answered + progress.pending, 1)


def _wrong(progress: SittingProgress) -> str:
    """How much is still wrong, where that is known well enough to be said."""
    if progress.wrong_share is None:
        return ""
    if progress.wrong_low is None or progress.wrong_high is None:
        return ""
    ends = percent_range(progress.wrong_low, progress.wrong_high)
    return f"about **{percent(progress.wrong_share)} %** of the pixels still wrong ({ends})" if ends else ""
