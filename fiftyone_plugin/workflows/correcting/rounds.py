"""The next round of correction: train on the corrected labels, score them again, and plan what to ask now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import LabelQualityError
from ...progress import Progress, terminal_bar
from ..scoring.report import ScoringReport
from ..scoring.scoring import score_label_quality
from ..training.cross_validated import TrainingReport, train_cross_validated
from .corrected_labels import apply_corrections
from .correction_run import open_correction
from .plan_options import REMEMBERED, PlanOptions
from .query_planning import PlanReport, plan_correction_queries


@dataclass(frozen=True)
class RoundReport:
    """What a round did.

    Attributes:
        model: key of the cross-validated training
        mean_iou: of its predictions with the corrected labels
        scoring: of the corrected labels; None if it was not wanted
        plan: what will be asked now
    """

    model: str
    mean_iou: float
    scoring: ScoringReport | None
    plan: PlanReport

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [
            f"**Trained `{self.model}` on the corrected labels**; mean IoU with them, on images that it has not seen: "
            f"{self.mean_iou:.3f}"
        ]
        if self.scoring is not None:
            lines.append(f"- The corrected labels were scored in `{self.scoring.key}`")
        return "\n".join([*lines, "", self.plan.markdown()])  # a paragraph of its own, not more of the list


def start_correction_round(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    budget: int = PlanOptions.budget,
    score: bool = True,
    on_edited: str = "refuse",
    training: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **planning: Any,
) -> RoundReport:
    """Start the next round: train out-of-sample models on the corrected labels, score them, and plan new questions.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: the field that is corrected, which is never written
        budget: number of questions
        score: whether to score the corrected labels under the key `{label_field}_corrected_quality`
        on_edited: what to do with answers about labels that were edited since, see `apply_corrections`
        training: options of `train_cross_validated`: folds, architecture, encoder, epochs, ...
        progress: told how far the job is; a bar in the terminal if None
        planning: options of `plan_correction_queries`: acquisition, audits, superpixels, expansion, ...; those of the
            round before where they are not given

    Returns:
        what was done

    Raises:
        LabelQualityError: if no questions were planned for the field yet, or the data cannot be used

    Example:
        >>> start_correction_round(dataset, "ground_truth", budget=200, training={"epochs": 10})  # doctest: +SKIP
    """
    run = open_correction(samples, label_field)
    before = {name: run.record.parameters[name] for name in REMEMBERED if name in run.record.parameters}
    if before.get("superpixels") and not run.dataset.has_field(before["superpixels"]):
        del before["superpixels"]
    plan = {**before, **planning, "budget": budget, "on_edited": on_edited}
    if progress is not None:
        return _run(samples, label_field, plan, score, dict(training or {}), progress)
    with terminal_bar("correcting labels") as bar:
        return _run(samples, label_field, plan, score, dict(training or {}), bar)


def _run(
    samples: Any, label_field: str, plan: dict[str, Any], score: bool, training: dict[str, Any], progress: Progress
) -> RoundReport:
    applied = apply_corrections(samples, label_field, on_edited=plan["on_edited"], progress=progress)
    if applied.edited:
        raise LabelQualityError(
            f"Expected the labels that the answers are about, but those of {len(applied.edited)} images were edited "
            'since; choose `on_edited="replay"` or "discard"'
        )
    run = open_correction(samples, label_field)
    corrected = run.fields.corrected
    ignored = run.record.summary["ignored"] or None
    model = f"{label_field}_round_{int(run.record.summary['round']) + 1}"
    trained = train_cross_validated(
        samples, corrected, progress=progress, **{"key": model, "overwrite": True, "ignore_index": ignored, **training}
    )
    model = str(training.get("key", model))
    scoring = None
    if score:
        scoring = score_label_quality(
            samples, corrected, model=model, key=f"{corrected}_quality", ignore_index=ignored, overwrite=True,
            progress=progress,
        )  # fmt: skip
    planned = plan_correction_queries(
        samples, label_field, model=model, ignore_index=ignored, progress=progress, **plan
    )
    return RoundReport(model, _mean_iou(trained), scoring, planned)


def _mean_iou(trained: TrainingReport) -> float:
    return sum(row["mean IoU"] for row in trained.metrics) / max(len(trained.metrics), 1)
