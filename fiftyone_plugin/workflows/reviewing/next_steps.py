"""How far a dataset is, and what follows from that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ... import quality
from ...dataset.door.scan import segmentation_fields
from ...dataset.door.slices import every_slice
from ...dataset.fields.queries import CorrectionFields
from ...dataset.runs import run_records
from ...errors import LabelQualityError
from ...wording import count
from ..scoring.report import load_report
from .review import runs_with_regions, show_regions


@dataclass(frozen=True)
class Step:
    """Something to do now.

    Attributes:
        operator: name of the operator, or of the panel
        why: one sentence
    """

    operator: str
    why: str


@dataclass(frozen=True)
class DatasetStatus:
    """How far a dataset is.

    Attributes:
        dataset: its name
        label_fields: its Segmentation fields, without those that runs wrote
        runs: key, kind, label field and state of each run
        steps: what follows, the next one first
        report: the report of the newest scoring run, in markdown; "" without one
    """

    dataset: str
    label_fields: list[str]
    runs: list[dict[str, Any]]
    steps: list[Step]
    report: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def markdown(self) -> str:
        """The status as a person reads it."""
        lines = ["**Next**", *(f"- `{step.operator}`: {step.why}" for step in self.steps), "", "**Runs**"]
        lines += [
            f"- `{run['key']}`: {run['kind']} of `{run['label_field']}`{'' if run['finished'] else ', not finished'}"
            for run in self.runs
        ] or ["- none yet"]
        return "\n".join(lines) + (f"\n\n{self.report}" if self.report else "")


def dataset_status(samples: Any) -> DatasetStatus:
    """Say which runs a dataset has, what the newest scoring run found, and what to do next. Nothing is written.

    Args:
        samples: the `fiftyone` dataset or a view of it

    Returns:
        the status
    """
    dataset = samples._root_dataset
    runs = run_records.list_runs(dataset, unfinished=True)
    own = {name for run in runs if run.method in run_records.DERIVED for name in run.fields}
    labels = [name for name in segmentation_fields(dataset) if name not in own]
    scored = [run.key for run in runs if run.method == run_records.SCORING and run.finished]
    listed = [
        {
            "key": run.key, "kind": run.method.removeprefix("segmentation_").replace("_", " "),
            "label_field": run.label_field, "finished": run.finished,
        }
        for run in runs
    ]  # fmt: skip
    steps = _steps(dataset, labels, scored, runs)
    return DatasetStatus(dataset.name, labels, listed, steps, _report(dataset, scored))


def _report(dataset: Any, scored: list[str]) -> str:
    try:
        return load_report(dataset, scored[-1]).markdown() if scored else ""
    except (LabelQualityError, KeyError, TypeError):
        return ""  # of an older version, with another record


def _steps(dataset: Any, labels: list[str], scored: list[str], runs: list[run_records.RunRecord]) -> list[Step]:
    if not labels:
        return [Step("generate_pseudo_labels", "There is no Segmentation field; make labels from class names.")]
    if not scored:
        checked = any(run.method == run_records.CHECK_UP for run in runs)
        first = [] if checked else [Step("check_labels", "Look for faults of masks and files, in seconds.")]
        return [*first, Step("find_label_errors", "Nothing was scored yet; this needs no model.")]
    steps = [*_review_steps(dataset), *_correction_steps(dataset, runs)]
    return [*steps, Step("label_quality_report", "Write what was found into one HTML file.")]


def _review_steps(dataset: Any) -> list[Step]:
    keys = runs_with_regions(dataset)
    if not keys:
        return []
    likely = len(show_regions(dataset, key=keys[-1], min_score=quality.LIKELY))
    accepted = len(show_regions(dataset, key=keys[-1], status="accepted"))
    steps = []
    if likely:
        found = count(likely, "region")
        text = f"Probably wrong: {found}; look at them, then `accept_label_issues` or `reject_label_issues`."
        steps.append(Step("show_label_issues", text))
    if accepted:
        text = f"Accepted: {count(accepted, 'region')}; this takes them into the corrected labels."
        steps.append(Step("apply_label_proposals", text))
    return steps


def _correction_steps(dataset: Any, runs: list[run_records.RunRecord]) -> list[Step]:
    corrected = [run for run in runs if run.method == run_records.CORRECTION and run.finished]
    if not corrected:
        return [Step("plan_correction_queries", "Plan the questions whose answers repair most.")]
    fields = CorrectionFields(corrected[-1].label_field)
    name = f"{fields.queries}.detections.status"
    pending = every_slice(dataset).count_values(name).get("pending", 0) if dataset.has_field(fields.queries) else 0
    asked = (
        [Step("label_correction", f"A person answers {count(pending, 'question')} in this panel.")] if pending else []
    )
    return [
        *asked,
        Step("export_corrected_labels", f"`{fields.corrected}` has the labels as corrected so far."),
        Step("start_correction_round", "Train on the corrected labels, score them again, and plan anew."),
    ]
