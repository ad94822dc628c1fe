"""What a scoring run found, in words and numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as kept with the run."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ScoringReport:
        """The report that `as_dict` wrote."""
        worst = [ScoredImage(**row) for row in content["worst"]]
        pairs = [(given, predicted, pixels) for given, predicted, pixels in content["pairs"]]
        skipped = [(sample_id, path, reason) for sample_id, path, reason in content["skipped"]]
        return cls(**{**content, "worst": worst, "pairs": pairs, "skipped": skipped})

    def markdown(self) -> str:
        """The report as a person reads it, in the App and in a terminal."""
        lines = [
            f"**{self.num_scored:,} images scored** by {self.method}; {self.flagged_share:.2%} of the labelled "
            f"pixels of `{self.label_field}` look wrong.",
        ]
        lines += [f"- **{warning}**" for warning in self.warnings]
        if self.pairs:
            listed = ", ".join(f"{given} → {predicted} ({pixels:,} px)" for given, predicted, pixels in self.pairs[:5])
            lines.append(f"- most common: {listed}")
        if self.class_scores:
            low = sorted(self.class_scores.items(), key=lambda item: item[1])[:3]
            lines.append("- least trusted classes: " + ", ".join(f"{name} ({score:.2f})" for name, score in low))
        if self.num_resumed:
            lines.append(f"- {self.num_resumed:,} images were finished by an interrupted run and not computed again")
        if self.skipped:
            first = "; ".join(f"{path}: {reason}" for _, path, reason in self.skipped[:3])
            lines.append(f"- {len(self.skipped):,} samples were left out: {first}")
        lines.append(
            f"- sort or filter by `{self.key}` (0 = surely wrong, 1 = fine); worst images: view `{self.views[0]}`"
        )
        return "\n".join(lines)
