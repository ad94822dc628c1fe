"""Words of the label quality panel: pure functions from numbers to Markdown."""

from __future__ import annotations

from ..fiftyone_plugin.quality.regions.review_statistics import Interval
from ..fiftyone_plugin.workflows.reviewing.overview import (
    Comparison,
    PairMatrix,
    RegionOverview,
    ReviewOverview,
    RunOverview,
)
from .charts import MOST_CLASSES, percent, share

HELP = """
### Label quality

What a run of **Score label quality** found, and what reviewing it says.

- **Click** a bar of the score histogram to see those images, a cell of the class-pair matrix or a bar of the kinds to
  see those regions, a class to see its regions, a picture to open it.
- A **region** is a part of an image whose label is probably wrong: something is *missing*, labelled but not there
  (*spurious*), has the *wrong class*, or its *boundary* is off. Accept a region that is an error, reject one that is
  not.
- **Precision** is the share of reviewed regions that were errors. The estimate for the rest allows for the worst
  regions being reviewed first; errors that no region marks are not counted.
"""

NO_RUN = """
**No label quality run yet**

Scoring compares each label with what a model predicts that has not seen it. You need a `Segmentation` field, and a
model or its predicted probabilities; if you have none, **Train with cross-validation** makes one.
"""

NO_REGIONS_FIELD = """
This run has no issue regions. Run **Score label quality** again with regions switched on to see where the errors are
and of what kind.
"""

NO_DISAGREEMENT = """
**No disagreement:** the model predicts what the labels say everywhere, so there is no region to review. Either the
labels are as good as the model can tell, or the model was trained on these very labels.
"""

_ADVICE = {
    "done": "Every region has been reviewed.",
    "start": "**Review {missing} more regions, the worst first,** for a first judgement.",
    "go on": "**Going on is worth it:** of the next {next} regions about {hits} are errors.",
    "choose": "**It is up to you:** of the next {next} regions about {hits} are errors.",
    "stop": "**Stopping is reasonable:** of the next {next} regions about {hits} are errors.",
}


def summary(overview: RunOverview) -> str:
    """One line about a run."""
    parts = [f"**{overview.num_images:,} images** scored by {overview.method.replace('_', ' ')}"]
    if overview.regions is not None:
        status = overview.regions.status
        parts.append(
            f"**{overview.regions.total:,} regions**: {status['pending']:,} pending, {status['accepted']:,} accepted, "
            f"{status['rejected']:,} rejected"
        )
    parts.append(f"**{percent(overview.flagged_share)} %** of the labelled pixels of `{overview.label_field}` flagged")
    if overview.wrong_share is not None and overview.wrong_share >= 5e-4:
        parts.append(f"about **{percent(overview.wrong_share)} %** seem wrong")
    return " · ".join(parts)


def changed(count: int) -> str:
    """What labels that changed since the run mean."""
    return (
        f"The labels of {count:,} images are not those that were scored: their scores and regions may be out of date. "
        "Score again to look at the labels as they are."
    )


def pairs_heading(pairs: PairMatrix) -> str:
    """Heading of the class-pair matrix, with what it leaves out."""
    text = "**Pending regions by given and suggested class**"
    if pairs.left_out:
        text += (
            f"\n\nThe most frequent classes; {pairs.left_out:,} regions of {pairs.num_rare} rarer classes are not "
            "shown."
        )
    return text


def classes_heading(count: int) -> str:
    """Heading of the class chart, with what it leaves out."""
    text = "**Classes, least trusted first**"
    return text + (f"\n\nThe first {MOST_CLASSES} of {count}." if count > MOST_CLASSES else "")


def review_text(regions: RegionOverview) -> str:
    """What has been reviewed, what that says about the rest, and whether to go on."""
    review, pending = regions.review, regions.status["pending"]
    lines = [advice(review, pending), "", f"- {_remaining(review, pending)}"]
    if review.pixels_known:
        lines.append(f"- wrong **pixels**: {share(review.estimate.pixel_share)} of the labelled pixels")
    lines.append(f"- **images** with an error: {share(review.estimate.image_share)}")
    if _is_wide(review):
        lines.append(
            "- what is left is known this badly because only regions of high score were reviewed: deciding on some of "
            "low score as well (sort the regions the other way round) narrows it"
        )
    lines += ["", _caveat(review)]
    return "\n".join(lines)


def advice(review: ReviewOverview, pending: int) -> str:
    """A sentence about going on or stopping, with its numbers."""
    upcoming, number = review.estimate.next_precision, review.estimate.num_next
    hits = _whole(Interval(*(end * number for end in (upcoming.estimate, upcoming.low, upcoming.high))))
    missing = 20 - review.accepted - review.rejected
    text = _ADVICE[review.advice].format(next=number, hits=hits, missing=max(min(missing, pending), 1))
    if review.latest and review.advice not in ("done", "start"):
        count, latest = review.latest[-1]
        text += f" The last {count} had {percent(latest.estimate)} % precision."
    return text


def _remaining(review: ReviewOverview, pending: int) -> str:
    return f"about **{_whole(review.estimate.remaining)} errors** remain among {pending:,} pending regions"


def _caveat(review: ReviewOverview) -> str:
    reviewed = review.accepted + review.rejected
    basis = "From scores and decisions, allowing for the worst being reviewed first"
    if reviewed < 20:
        count = "Nothing has been reviewed" if reviewed == 0 else f"Only {reviewed} regions have been reviewed"
        basis = f"{count}, so this is little more than the scores themselves"
    return f"*{basis}. Intervals hold the truth in 95 of 100 cases. Errors that no region marks are not counted.*"


def _is_wide(review: ReviewOverview) -> bool:
    """Whether enough was reviewed for a judgement, and yet the number of errors left is hardly known."""
    left = review.estimate.remaining
    return review.advice not in ("done", "start") and left.high > 3 * max(left.low, 10)


def _whole(found: Interval) -> str:
    return f"{_rounded(found.estimate)} [{_rounded(found.low)}, {_rounded(found.high)}]"


def _rounded(value: float) -> str:
    """A count with two digits that matter.

    Example:
        >>> _rounded(8.6), _rounded(14_234)
        ('9', '14,000')
    """
    unit = 10 ** max(len(str(round(value))) - 2, 0)
    return f"{round(value / unit) * unit:,}"


def comparison_text(comparison: Comparison) -> str:
    """Two runs in one line."""
    before, after = comparison.keys
    change = comparison.change
    medians = [found.median for found in comparison.histograms]
    parts = []
    if change.count:
        parts.append(f"mean score {change.mean:+.3f} over {change.count:,} images")
    if medians[0] is not None and medians[1] is not None:
        parts.append(f"median {medians[0]:.3f} → {medians[1]:.3f}")
    flagged = " → ".join(f"{percent(value)} %" for value in comparison.flagged_shares)
    regions = [sum(first for _, first, _ in comparison.kinds), sum(second for _, _, second in comparison.kinds)]
    parts += [f"flagged pixels {flagged}", f"regions {regions[0]:,} → {regions[1]:,}"]
    return f"**`{before}` → `{after}`** · " + " · ".join(parts)
