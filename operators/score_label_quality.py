"""Operator: score the labels of a segmentation dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin import quality
from ..fiftyone_plugin.workflows.scoring import report as reports
from ..fiftyone_plugin.workflows.scoring import scoring
from ..fiftyone_plugin.workflows.scoring.plan import ScoringOptions
from . import forms
from .probability_source import source_input, source_of_call, source_params
from .progress import execute, run_with_progress, show_report


class ScoreLabelQuality(foo.Operator):
    """Writes score, map, issue and region fields; the form only asks."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How the operator appears in the App."""
        return foo.OperatorConfig(
            name="score_label_quality",
            label="Score label quality",
            description="Which images and pixels of a segmentation dataset are wrongly labelled?",
            icon="fact_check",
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def __call__(
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

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form."""
        inputs = types.Object()
        if forms.label_field_input(ctx, inputs, objects=True) is not None:
            source_input(ctx, inputs)
            forms.option_inputs(inputs, ScoringOptions, _SCORES, score=quality.COMBINED)
            forms.key_input(ctx, inputs, "label_quality", "the score, `_softmin`, `_regions`, `_issues`, `_map`")
            inputs.view_target(ctx, action_description="Score")
            inputs.bool("more", default=False, label="More options", view=types.SwitchView())
            if ctx.params.get("more"):
                _more_input(inputs)
        return types.Property(inputs, view=types.View(label="Score label quality"))

    def resolve_run_name(self, ctx: Any) -> str:
        """Name of a delegated run."""
        return f"Score label quality of {ctx.params.get('label_field', 'labels')}"

    def execute(self, ctx: Any) -> Iterator[Any]:
        """Score, then show the worst images."""
        arguments = _arguments(ctx.params)
        samples = ctx.target_view()
        report = yield from run_with_progress(
            ctx, lambda progress: scoring.score_label_quality(samples, progress=progress, **arguments)
        )
        if ctx.delegated:
            return
        yield ctx.ops.open_dataset(ctx.dataset.name)  # unlike a reload, takes up new colours
        yield ctx.ops.set_view(ctx.dataset.load_saved_view(report.views[0]))
        yield show_report(ctx, "Label quality", report.markdown())


_SCORES = ("score", "methods")
_MORE = (
    "unmatched", "write_issues", "write_map", "write_regions", "min_region_area", "max_regions_per_image",
    "temperature", "batch_size",
)  # fmt: skip
_UNASKED = ("key", "class_mapping", "overwrite", "resume", "from_logits", "output_dir")
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
