"""Find the label errors of a dataset in one call, with a model or without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...dataset.door.scan import require_label_field
from ...dataset.runs import run_records
from ...progress import Progress, terminal_bar
from ...wording import percent
from ..checking.check_labels import check_labels
from ..checking.report import CheckReport
from ..objects.object_masks import masks_of
from ..scoring.report import ScoringReport
from ..scoring.scoring import score_label_quality
from ..training.cross_validated import LEARNT_TOO, TrainingReport, train_cross_validated
from ..training.methods import FROZEN_FEATURES

DEFAULT_KEY = "label_quality"
_FEW, _FOLDS_OF_FEW, _FOLDS_OF_MANY = 200, 3, 2
"""Half of many images teach as much as two thirds (300 of VOC: the same AUPRC) in two thirds of the time."""

_NEXT = "**Next:** in the App, press + beside Samples and open the panel 'Label quality': the worst come first."


@dataclass(frozen=True)
class FindingReport:
    """What was found.

    Attributes:
        scoring: scores, regions and the worst images
        training: of the quick model; None where a model was given
        check: what is wrong with files and masks, told without a model; None where it was left out
    """

    scoring: ScoringReport
    training: TrainingReport | None = None
    check: CheckReport | None = None

    def markdown(self) -> str:
        """The report as a person reads it; what is wrong with the masks is said once."""
        told = tuple(f"({found.code})" for found in self.check.findings) if self.check else ()
        warnings = [text for text in self.scoring.warnings if not text.endswith(told)]
        parts = [replace(self.scoring, warnings=warnings).markdown()]
        if self.training is not None:
            notes = [text for text in self.training.notes if text not in self.scoring.warnings]
            parts.insert(0, self._quick_model(self.training, [text for text in notes if not text.endswith(told)]))
        if self.check is not None:
            parts.append(self.check.markdown())
        parts.insert(0, _NEXT)
        return "\n\n".join(parts)

    @staticmethod
    def _quick_model(training: TrainingReport, notes: list[str]) -> str:
        accuracy = sum(row["pixel accuracy"] for row in training.metrics) / len(training.metrics)
        lines = [
            f"**No model was given, so {len(training.metrics)} quick ones were trained**, and each image is "
            f"judged by one that has not seen it. How good they are: they predict the given class at "
            f"{percent(accuracy)} % of the labelled pixels.",
            *(f"- {note}" for note in (*notes, LEARNT_TOO)),
        ]
        return "\n".join(lines)


def find_label_errors(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    model: Any = None,
    key: str = DEFAULT_KEY,
    group_field: str | None = None,
    check: bool = True,
    output_dir: str | None = None,
    overwrite: bool = False,
    training: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **scoring: Any,
) -> FindingReport:
    """Find what is wrong in the labels: a quick model where none is given, scores, regions, the worst images first.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: its `Segmentation` field whose masks are in question; it is never written. Or a field of Detections
            or Polylines: see `score_label_quality`
        model: anything that `score_label_quality` takes, not trained on these labels. None = heads on the features of
            a frozen encoder, trained by cross-validation under the key `{key}_model`
        key: name of the scoring run and prefix of its fields
        group_field: for the quick model: images with equal values of this field (a video, a patient) stay together
        check: whether to look at files and masks first, see `check_labels`
        output_dir: folder for models, masks and maps; beside FiftyOne's dataset files if None
        overwrite: whether to replace a run under the same key
        training: further options of `train_cross_validated` for the quick model
        progress: told how far the job is; a bar in the terminal if None
        scoring: further options of `score_label_quality`

    Returns:
        what was found; `dataset.load_saved_view(f"{key} worst")` has the worst images

    Raises:
        LabelQualityError: if the arguments or the data cannot be used

    Example:
        >>> report = find_label_errors(dataset, "ground_truth")                 # doctest: +SKIP
        >>> session = fo.launch_app(dataset.load_saved_view(report.scoring.views[0]))  # doctest: +SKIP
    """
    label_field = masks_of(samples, label_field, progress)
    require_label_field(samples, label_field)
    run_records.require_free_key(samples._dataset, key, [key], overwrite=overwrite, method=run_records.SCORING)
    if progress is None:
        with terminal_bar("checking labels") as bar:
            return find_label_errors(
                samples, label_field, model=model, key=key, group_field=group_field, check=check,
                output_dir=output_dir, overwrite=overwrite, training=training, progress=bar, **scoring,
            )  # fmt: skip
    ignore_index = scoring.get("ignore_index", "auto")
    checked = check_labels(samples, label_field, ignore_index=ignore_index, progress=progress) if check else None
    base = Path(output_dir).expanduser() if output_dir else None
    trained = None
    if model is None:
        folds = _FOLDS_OF_FEW if len(samples) < _FEW else _FOLDS_OF_MANY
        options = {
            "method": FROZEN_FEATURES, "key": f"{key}_model", "folds": folds, "group_field": group_field,
            "overwrite": True, "output_dir": str(base / "model") if base else None,
            "ignore_index": ignore_index, **(training or {}),
        }  # fmt: skip
        trained = train_cross_validated(samples, label_field, progress=progress, **options)
        model = trained.key
    report = score_label_quality(
        samples, label_field, model=model, key=key, overwrite=overwrite, progress=progress,
        output_dir=str(base / "scores") if base else None, **scoring,
    )  # fmt: skip
    return FindingReport(report, trained, checked)
