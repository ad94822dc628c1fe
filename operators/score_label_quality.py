"""Operator: score the labels of a segmentation dataset."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin import quality
from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.scoring import report as reports
from ..fiftyone_plugin.workflows.scoring import scoring
from ..fiftyone_plugin.workflows.scoring.plan import ScoringOptions
from . import forms
from .job import Job
from .probability_source import classes_input, source_input, source_of_call, source_params
from .progress import execute


class ScoreLabelQuality(Job):
    """Writes score, map, issue and region fields; the form only asks."""

    name = "score_label_quality"
    label = "Score labels"
    description = (
        "1. Score label quality with your own model, probabilities on disk or a second annotator: which images, "
        "regions and pixels are probably wrong? Labels are not changed."
    )
    icon = "fact_check"
    done = "Label quality"
    default_key = "label_quality"

    def __call__(  # type: ignore[override]
        self,
        sample_collection: Any,
        label_field: str = "ground_truth",
        *,
        model: Any = None,
        probabilities: str | None = None,
        predictions: str | None = None,
        delegate: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Score labels from Python.

        Args:
            sample_collection: the dataset or view
            label_field: its Segmentation field
            model: key of a training run, or anything that names a model
            probabilities: instead of a model, a string field or folder of probability files
            predictions: instead of either, a second Segmentation field with the same mask values
            delegate: whether to queue the job for `fiftyone delegated launch`
            kwargs: the other arguments of `fiftyone_plugin.score_label_quality`

        Returns:
            the `ScoringReport`, or what FiftyOne says of the queued job
        """
        if any(not isinstance(one, str | None) for one in (model, probabilities)):
            # An object cannot travel to another process.
            return scoring.score_label_quality(
                sample_collection, label_field, model=model, probabilities=probabilities, **kwargs
            )
        ctx = forms.context_of(
            sample_collection,
            label_field=label_field,
            **source_of_call(model, probabilities, predictions),
            **kwargs,
        )
        result = execute(self.uri, ctx, delegate=delegate, description="checking labels")
        return result if delegate else reports.load_report(sample_collection, kwargs.get("key", "label_quality"))

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if forms.label_field_input(ctx, inputs, objects=True) is None:
            return
        source_input(ctx, inputs)
        forms.option_inputs(inputs, ScoringOptions, _SCORES, score=quality.COMBINED)
        forms.key_input(
            ctx, inputs, "label_quality", "the score, `_softmin`, `_regions`, `_issues`, `_map`", run_records.SCORING
        )
        inputs.view_target(ctx, action_description="Score")
        inputs.bool("more", default=False, label="More options", view=types.SwitchView())
        if ctx.params.get("more"):
            _more_input(inputs)
        classes_input(ctx, inputs)

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> reports.ScoringReport:
        """Call the workflow."""
        return scoring.score_label_quality(samples, progress=progress, **_arguments(params))

    def view_after(self, report: reports.ScoringReport) -> str:
        """The worst images."""
        return report.views[0]


_SCORES = ("score", "methods")
_MORE = (
    "unmatched", "write_issues", "write_map", "write_regions", "min_region_area", "max_regions_per_image",
    "temperature", "batch_size",
)  # fmt: skip
_UNASKED = ("key", "class_mapping", "overwrite", "resume", "from_logits", "output_dir", "engine", "workers")
_OF_THE_MODEL = ("flips", "scales", "tile", "input_size", "device")


def _more_input(inputs: types.Object) -> None:
    forms.ignore_index_input(inputs)
    forms.option_inputs(inputs, ScoringOptions, _MORE)
    inputs.bool(
        "flips", default=False, label="Average over a flip", description="Better probabilities, twice the time."
    )
    inputs.str(
        "device", required=False, label="Device", description="cuda, cuda:1, mps, cpu. Empty: the best there is."
    )
    forms.output_dir_input(inputs, "masks and maps")


def _arguments(params: dict[str, Any]) -> dict[str, Any]:
    """The workflow's arguments from the form's or the caller's parameters."""
    chosen = forms.option_params(params, ScoringOptions, (*_SCORES, *_MORE, *_UNASKED, "ignore_index"))
    further = {name: params[name] for name in ("label_field", *_OF_THE_MODEL) if params.get(name) not in (None, "")}
    return chosen | further | source_params(params)
