"""Words of the label quality panel: pure functions from numbers to short paragraphs, in which ** means bold."""

from __future__ import annotations

from ..fiftyone_plugin.dataset.runs.running_jobs import RunningJob
from ..fiftyone_plugin.quality.regions.review_statistics import Interval
from ..fiftyone_plugin.wording import count, percent, percent_range
from ..fiftyone_plugin.workflows.reviewing.overview import (
    ENOUGH_REVIEWS,
    Comparison,
    PairMatrix,
    RegionOverview,
    ReviewOverview,
    RunOverview,
    how_much_is_wrong,
    is_reviewed,
)
from ..fiftyone_plugin.workflows.scoring.report import NONE_LIKELY, likely_wrong
from .cards import MOST_CLASSES
from .numbers import share

HELP = """
### Label quality

What a run of **Score labels** found, and what reviewing it says.

- **Click** a picture to open it, a bar or a number to see those images or regions.
- An image's score is **low** where its label is probably wrong. A region's score is **high** where it is surely wrong.
- A **region** is a part of an image whose label is probably wrong: something is *missing*, labelled but not there
  (*spurious*), has the *wrong class*, or its *boundary* is off. **Accept** a region that is an error, **reject** one
  that is not.
- The share of errors among what you reviewed tells about the rest. Errors that no region marks are not counted.
"""

NO_RUN = [
    "**No label has been scored here yet.** A score compares each label with the prediction of a model that has not "
    "seen this label.",
    "You only need a field with segmentation masks: **Find label errors** trains a model of its own.",
]

WORST = ["Below each image is its score: 0 = probably wrong, 1 = probably right."]

NO_REGIONS_FIELD = (
    "This run has no regions. Score the labels again with regions switched on, to see where the errors are."
)

NO_DISAGREEMENT = (
    "**No disagreement:** the model predicts what the labels say everywhere, so there is nothing to review. Either the "
    "labels are as good as the model can tell, or the model was trained on these very labels."
)

_ADVICE = {
    "done": "**Every region has been reviewed.** Correct what you accepted, then score again.",
    "start": "**Next: review {missing}, the worst first.** Then the panel can say how many errors are left.",
    "go on": "**Next: go on reviewing.** Of the next {next} about {hits} are errors.",
    "choose": "**Go on or stop, as you like.** Of the next {next} about {hits} are errors.",
    "stop": "**You can stop.** Of the next {next} only about {hits} are errors.",
}


def how_much(found: RunOverview) -> list[str]:
    """How much is wrong, and what to do next."""
    wrong = how_much_is_wrong(found)
    checked = f"{count(found.num_images, 'image')} checked, label field **{found.label_field}**."
    lines = [f"{checked} {wrong.markdown() if wrong else ''}"]
    regions = found.regions
    if regions is None:
        return [*lines, NO_REGIONS_FIELD]
    if not regions.total:
        return [*lines, NO_DISAGREEMENT]
    status, review = regions.status, regions.review
    lines += _waiting(regions)
    if left := _left(review):
        lines.append(left)
    return [*lines, advice(review, status["pending"])]


def _waiting(regions: RegionOverview) -> list[str]:
    """What there is to review; and what it means if no region is likely wrong."""
    pending, review = regions.status["pending"], regions.review
    line = f"**{count(pending, 'region')} to review**" + (
        f", {likely_wrong(regions.likely, pending)}" if pending else ""
    )
    if _num_reviewed(review):
        return [f"{line}; {regions.status['accepted']:,} accepted, {regions.status['rejected']:,} rejected."]
    return [f"{line}."] if regions.likely else [f"{line}.", f"{NONE_LIKELY}."]


def _num_reviewed(review: ReviewOverview) -> int:
    return review.accepted + review.rejected


def _left(review: ReviewOverview) -> str:
    """Errors that are left, once enough was reviewed to know."""
    left = review.estimate.remaining
    if not is_reviewed(review) or left.high > 5 * max(left.low, 1):
        return ""
    images = review.estimate.image_share
    text = f"About **{_whole(left)} errors** are left"
    return text + (f"; {share(images)} of the images have one." if percent_range(images.low, images.high) else ".")


def advice(review: ReviewOverview, pending: int) -> str:
    """A sentence about going on or stopping, with its numbers."""
    upcoming, number = review.estimate.next_precision, review.estimate.num_next
    hits = _rounded(upcoming.estimate * number)
    missing = min(ENOUGH_REVIEWS - _num_reviewed(review), pending)
    text = _ADVICE[review.advice].format(next=number, hits=hits, missing=count(max(missing, 1), "region"))
    if review.latest and review.advice not in ("done", "start"):
        last, latest = review.latest[-1]
        text += f" Of the last {last}, {percent(latest.estimate)} % were."
    return text


def running(job: RunningJob) -> str:
    """A job that is being done, and how far it is."""
    told = "it stops as soon as it can" if job.stopping else job.phase or "it begins"
    return f"**{job.title}**, since {job.since:%H:%M} UTC: {told}."


def changed(number: int) -> str:
    """What labels that changed since the run mean."""
    return (
        f"{count(number, 'label', 'have')} changed since the run. Score again, to look at the labels as they are now."
    )


def pairs_note(pairs: PairMatrix) -> list[str]:
    """What the matrix leaves out."""
    if not pairs.left_out:
        return []
    return [
        f"Only the most frequent classes. Not shown: {count(pairs.left_out, 'region')} of "
        f"{count(pairs.num_rare, 'rarer class')}."
    ]


def classes_note(number: int) -> list[str]:
    """What the list of classes leaves out."""
    return [f"The first {MOST_CLASSES} of {number}."] if number > MOST_CLASSES else []


def selected(number: int, last: tuple[str, int] | None) -> list[str]:
    """What Accept and Reject would be about, and what was done last."""
    lines = [
        f"**{count(number, 'region')} selected.** Is the label wrong there?"
        if number
        else "Tick regions under Samples. Then: is the label wrong there?"
    ]
    if last:
        lines.append(f"{last[0].capitalize()}: {count(last[1], 'region')}. Undo takes that back.")
    return lines


def comparison_text(comparison: Comparison) -> list[str]:
    """Two runs in words."""
    before, after = comparison.keys
    change = comparison.change
    regions = [sum(first for _, first, _ in comparison.kinds), sum(second for _, _, second in comparison.kinds)]
    lines = [f"From **{before}** to **{after}**: {regions[0]:,} → {count(regions[1], 'region')} that nobody rejected"]
    medians = [found.median for found in comparison.histograms]
    if medians[0] is not None and medians[1] is not None:
        lines[0] += f", median score {medians[0]:.3f} → {medians[1]:.3f}"
    if change.count:
        lines[0] += f"; mean change {change.mean:+.3f} over {count(change.count, 'image')}"
    return [f"{lines[0]}. A lower curve is better."]


def _whole(found: Interval) -> str:
    return f"{_rounded(found.estimate)} ({_rounded(found.low)} to {_rounded(found.high)})"


def _rounded(value: float) -> str:
    """A count with two digits that matter.

    Example:
        >>> _rounded(8.6), _rounded(14_234)
        ('9', '14,000')
    """
    unit = 10 ** max(len(str(round(value))) - 2, 0)
    return f"{round(value / unit) * unit:,}"
