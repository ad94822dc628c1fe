"""What a scoring run found, in words and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ...dataset.door.account import class_table
from ...dataset.runs import run_records
from ...errors import LabelQualityError
from ...wording import WIDEST, count, left_out, percent, percent_range

NUM_WORST = 100
"""Images that a report names, and that the view of the worst images shows."""

NONE_LIKELY = (
    "That means: the labels are right, or the model is too weak to tell. Look at the 20 worst. If those are right, the "
    "others need no review; for a better look use a better model, or train on more images"
)
"""What it means, and what to do, if all regions have low scores."""

SEEN = 5e-4
"""Share of wrong pixels below which an estimate is none."""


_HARDLY_ANY = 0.01
"""A share of wrong pixels so low that it is no matter of a weak model that no more were found, a rule of thumb."""


def likely_wrong(likely: int, number: int) -> str:
    """How many of some regions are errors rather than not, as the end of a sentence.

    Example:
        >>> likely_wrong(3, 9), likely_wrong(1, 1)
        ('3 of them more likely wrong than right', 'more likely wrong than right')
        >>> likely_wrong(0, 9)[:12], likely_wrong(9, 9)[:11]
        ('none of them', 'all of them')
    """
    some = {0: "none of them ", number: "all of them " if number > 1 else ""}.get(likely, f"{likely:,} of them ")
    return f"{some}more likely wrong than right"


@dataclass(frozen=True)
class WrongShare:
    """How much of the labels is wrong: the one number of report, panel, page and command.

    Attributes:
        text: in one clause
        how: what is known of it
    """

    text: str
    how: str

    def markdown(self) -> str:
        """Both as a sentence."""
        return f"**{self.text}**; {self.how}."


def estimated_wrong_share(share: float | None, between: Sequence[float] | None = None) -> WrongShare | None:
    """What a run says of how much is wrong, before anybody has reviewed.

    Args:
        share: of the labelled pixels; None if it was not estimated
        between: lowest and highest share that the dataset speaks for

    Example:
        >>> estimated_wrong_share(0.021, (0.01, 0.04)).markdown()
        '**About 2.1 % of the labelled pixels seem wrong**; 1.0 to 4.0 %; errors that the model makes too do not count.'
        >>> estimated_wrong_share(0.0, (0.0, 0.026)).markdown()
        '**Little seems wrong, or the model is too weak to tell**; at most 2.6 % of the labelled pixels; errors \
that the model makes too do not count.'
    """
    if share is None:
        return None
    low, high = between or (share, share)
    without = "errors that the model makes too do not count"
    if share >= SEEN:
        ends = percent_range(low, high) if between else ""
        how = f"{ends}; {without}" if ends else without
        return WrongShare(f"About {percent(share)} % of the labelled pixels seem wrong", how)
    if SEEN <= high <= _HARDLY_ANY:
        return WrongShare(f"At most {percent(high)} % of the labelled pixels seem wrong", without)
    most = f"at most {percent(high)} % of the labelled pixels; " if SEEN <= high <= WIDEST else ""
    return WrongShare("Little seems wrong, or the model is too weak to tell", f"{most}{without}")


@dataclass(frozen=True)
class ScoredImage:
    """One image and its score."""

    sample_id: str
    filepath: str
    score: float


@dataclass(frozen=True)
class ScoringReport:
    """What a scoring run found.

    Attributes:
        dataset: name of the dataset
        key: the run's key
        label_field: the field that was scored
        method: which score `{key}` holds
        classes: class names, in the model's channel order
        num_scored: images with a score
        num_resumed: of those, images that an interrupted run had already finished
        skipped: (sample id, file, reason) of the others
        flagged_share: share of the labelled pixels that confident learning flags
        worst: the worst images, worst first
        pairs: (given, predicted, pixels) of the commonest kinds of flagged pixels
        class_scores: class name to mean self-confidence of the pixels labelled so
        warnings: what the user should know before believing the scores
        fields: the fields that were written
        views: the saved views that were made
        output_dir: folder of the written files
        seconds: time taken
        class_pixels: class name to labelled pixels
        num_pixels: labelled pixels in all
        class_rows: the account of classes: mask value, name, channel and how it was found
        num_regions: regions that were written; None if none were looked for
        regions_by_kind: kind to number of regions
        dropped: regions beyond the limit per image
        left_out: regions that a reviewer rejected in an earlier run
        accepted_before: regions that a reviewer accepted in an earlier run
        num_reviewed: decisions that the scores of the regions have learnt from
        num_likely: regions that are more likely wrong than right; the others are there, too, but few of them are errors
        wrong_share: share of the labelled pixels that seem to be wrong: what labels and predictions disagree on beyond
            what the model expects; None if it was not estimated
        wrong_share_range: lowest and highest share that the dataset speaks for; None if it was not estimated
        num_rehearsed: labels that an error was put into, in memory only, to learn what errors look like here
        rehearsed_found: share of those that would be among the worst fifth of the images; chance is 0.2
        objects: what was found about the objects that the masks were made of, in lines of markdown
    """

    dataset: str
    key: str
    label_field: str
    method: str
    classes: list[str]
    num_scored: int
    num_resumed: int
    skipped: list[tuple[str, str, str]]
    flagged_share: float
    worst: list[ScoredImage]
    pairs: list[tuple[str, str, int]]
    class_scores: dict[str, float]
    warnings: list[str]
    fields: list[str]
    views: list[str]
    output_dir: str
    seconds: float
    class_pixels: dict[str, int] = field(default_factory=dict)
    num_pixels: int = 0
    class_rows: list[dict[str, str]] = field(default_factory=list)
    num_regions: int | None = None
    regions_by_kind: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    left_out: int = 0
    accepted_before: int = 0
    num_reviewed: int = 0
    num_likely: int = 0
    wrong_share: float | None = None
    wrong_share_range: tuple[float, float] | None = None
    num_rehearsed: int = 0
    rehearsed_found: float | None = None
    objects: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as kept with the run."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ScoringReport:
        """The report that `as_dict` wrote."""
        worst = [ScoredImage(**row) for row in content["worst"]]
        pairs = [(given, predicted, pixels) for given, predicted, pixels in content["pairs"]]
        skipped = [(sample_id, path, reason) for sample_id, path, reason in content["skipped"]]
        between = content.get("wrong_share_range")
        restored = {"worst": worst, "pairs": pairs, "skipped": skipped, "wrong_share_range": between and tuple(between)}
        return cls(**{**content, **restored})

    def markdown(self) -> str:
        """The report as a person reads it, in the App and in a terminal."""
        wrong = estimated_wrong_share(self.wrong_share, self.wrong_share_range)
        scored = f"**{count(self.num_scored, 'image')} scored** in `{self.label_field}`."
        lines = [f"{scored} {wrong.markdown()}" if wrong else scored]
        lines += [f"- **{warning}**" for warning in self.warnings]
        if self.skipped:
            _, path, reason = self.skipped[0]
            said = left_out(len(self.skipped), self.num_scored + len(self.skipped), path, reason)
            lines += [f"- {said}"] if said not in self.warnings else []
        if self.rehearsed_found is not None:
            lines.append(
                f"- a test: of {count(self.num_rehearsed, 'error')} of one object, put into copies of these labels on "
                f"purpose, {percent(self.rehearsed_found)} % are among the worst fifth of the images (20 % by chance)"
            )
        if self.pairs:
            listed = ", ".join(f"{given} → {predicted} ({pixels:,})" for given, predicted, pixels in self.pairs[:5])
            lines.append(f"- label → what the model sees instead, in pixels where it is surest: {listed}")
        lines += self._region_lines()
        lines += self.objects
        if self.class_scores:
            low = sorted(self.class_scores.items(), key=lambda item: item[1])[:3]
            listed = ", ".join(f"{name} ({percent(score)} %)" for name, score in low)
            lines.append(f"- least trusted classes, and how far the model agrees with their labels: {listed}")
        if self.num_resumed:
            lines.append(
                f"- {count(self.num_resumed, 'image', 'were')} finished by an interrupted run and not computed again"
            )
        lines.append(
            f"- sort or filter by `{self.key}` (low = probably wrong; score: {self.method}); worst images: "
            f"view `{self.views[0]}`"
        )
        lines += class_table(self.class_rows)
        return "\n".join(lines)

    _repr_markdown_ = markdown
    """How a notebook shows it."""

    def _region_lines(self) -> list[str]:
        if self.num_regions is None:
            return []
        lines = [self._region_summary()]
        if self.dropped:
            lines.append(f"- beyond the limit per image, and not among them: {count(self.dropped, 'region')}")
        if self.left_out or self.accepted_before:
            lines.append(
                f"- reviewed earlier: {count(self.left_out, 'rejected region')} left out, {self.accepted_before:,} "
                "accepted already"
            )
        if self.num_reviewed:
            lines.append(f"- the scores of regions have learnt from {count(self.num_reviewed, 'reviewed region')}")
        return lines

    def _region_summary(self) -> str:
        if not self.num_regions and not self.left_out:
            return "- no regions: label and prediction agree everywhere, but for specks below the smallest area"
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in self.regions_by_kind.items())
        view = f": {kinds}; view `{self.key} regions`, worst first" if kinds else ""
        head = f"- **{count(self.num_regions or 0, 'region')}** to review"
        text = f"{head}, {likely_wrong(self.num_likely, self.num_regions or 0)}{view}"
        return text if self.num_likely or not self.num_regions else f"{text}. {NONE_LIKELY}"


def load_report(samples: Any, key: str = "label_quality") -> ScoringReport:
    """The report of a finished scoring run.

    Args:
        samples: the dataset or a view of it
        key: the run's key

    Returns:
        the report as it was returned by the run

    Raises:
        LabelQualityError: if there is no such run
    """
    record = run_records.find_run(samples._dataset, key)
    if record is None or record.method != run_records.SCORING:
        keys = [run.key for run in run_records.list_runs(samples._dataset, run_records.SCORING)]
        raise LabelQualityError(f"Expected the key of a scoring run, but got {key!r}; there are {keys or 'none'}")
    return ScoringReport.from_dict(record.summary)
