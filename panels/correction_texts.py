"""Words of the label correction panel: pure functions from numbers to Markdown."""

from __future__ import annotations

from ..fiftyone_plugin.workflows.correcting.sitting import Question, SittingProgress
from .charts import percent

HELP = """
### Label correction

One question at a time: **is the label of the marked region right, and if not, what is it?** Questions come in the
order that repairs most; each answer is saved before the next question is shown.

| key | |
|---|---|
| **Enter** or **y** | the label is right |
| **1** to **9** | it is this class; the likely ones come first |
| **c** or **/** | find another class by typing |
| **s** | skip: cannot say |
| **z** | undo the newest answer, as often as you like |
| **←** **→** | look at earlier questions; answering one again replaces its answer |
| **click**, **Shift + click** | the region should reach to here, should not; then answer |
| **Backspace** | take the last click back |
| **m** | the label as outlines, as colours, or hidden |
| **wheel**, **drag**, **0** | zoom, move, back to the region (and again: the whole image) |

If no image appears, press **Plain viewer**: the same with another viewer, without keys.
"""

NO_PLAN = """
**No questions yet**

Planning finds the places where the label is probably wrong and puts them in the order that repairs most. Run
**Plan correction queries** on a dataset with a `Segmentation` field and predicted probabilities.
"""

WAITING = "Opening the viewer. If no image appears within a few seconds, press **Plain viewer**."

UNKNOWN = "The page sent something that this panel does not know, so nothing was done. Reload the page."
STALE = "That answer was not taken: another question had come up in the meantime. Please look at this one."

NO_CHOICE = "Choose a class first."


def nothing_left(progress: SittingProgress, *, sample: bool) -> str:
    """What to do when there is no question.

    Args:
        progress: of the sitting
        sample: whether only questions about one sample are asked
    """
    if sample:
        return "**No question about this image is open.** Go on to another image, or answer in the panel of the grid."
    if not progress.answered:
        return "**No question is open.** Plan the next round, which asks about what is doubtful now."
    return (
        f"**Every question is answered.** You answered {_count(progress.answered, 'question')}. Plan the next round, "
        "which asks about what is doubtful now, or train on the corrected labels first; with **undo** and **back** "
        "you can still change an answer."
    )


def question_text(question: Question) -> str:
    """The question in one line, with the answer that it was given before."""
    text = f"### Is this {question.given}?"
    if question.answered:
        said = {"confirmed": "right", "skipped": "skipped"}.get(question.answered, question.answered)
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
        f"**{progress.pixels_repaired:,}** pixels repaired",
    ]
    if progress.answered:
        parts.append(f"**{progress.per_minute:.1f}** a minute")
    if progress.wrong_share is not None:
        parts.append(f"still wrong: **{percent(progress.wrong_share)} %**{_interval(progress)}")
    if progress.bits_spent:
        parts.append(
            f"**{progress.bits_spent:,.0f}** bits spent, asking for classes would take "
            f"{progress.bits_classification:,.0f}"
        )
    return " · ".join(parts)


def _interval(progress: SittingProgress) -> str:
    if progress.wrong_low is None or progress.wrong_high is None:
        return ""
    return f" [{percent(progress.wrong_low)}, {percent(progress.wrong_high)}]"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
