"""Operator: score the labels of a segmentation dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin import quality
from ..fiftyone_plugin.workflows.scoring import report as reports
from ..fiftyone_plugin.workflows.scoring import scoring
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
        if forms.label_field_input(ctx, inputs) is not None:
            source_input(ctx, inputs)
            _score_input(ctx, inputs)
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


def _score_input(ctx: Any, inputs: types.Object) -> None:
    score = types.DropdownView()
    further = types.DropdownView(multiple=True)
    for name in quality.RANKING_TITLES:
        score.add_choice(name, label=name, description=quality.RANKING_TITLES[name])
    for name in quality.METHODS:
        further.add_choice(name, label=name, description=quality.METHOD_TITLES[name])
    inputs.enum(
        "score",
        list(quality.RANKING_TITLES),
        default=quality.COMBINED,
        label="Score",
        description=quality.RANKING_TITLES[ctx.params.get("score") or quality.COMBINED],
        view=score,
    )
    inputs.list(
        "methods",
        types.String(),
        default=[],
        label="Further scores",
        description="Each becomes a field of its own. Softmin is always written.",
        view=further,
    )


def _more_input(inputs: types.Object) -> None:
    forms.ignore_index_input(inputs)
    inputs.bool("write_issues", default=True, label="Write issue masks", description="Which pixels are flagged.")
    inputs.bool("write_map", default=True, label="Write heatmaps", description="How suspicious each pixel is.")
    inputs.bool(
        "write_regions", default=True, label="Write regions", description="Where the label is wrong, one by one."
    )
    inputs.int(
        "min_region_area",
        required=False,
        min=1,
        label="Smallest region",
        description="In pixels. Empty: a 20,000th of the image.",
    )
    inputs.int(
        "max_regions_per_image",
        default=quality.MAX_PER_IMAGE,
        min=1,
        label="Regions per image",
        description="At most; the report says how many there were beyond.",
    )
    inputs.float(
        "temperature",
        default=0.1,
        min=1e-3,
        label="Softmin temperature",
        description="Small looks at the worst pixels, large at the average.",
    )
    inputs.bool(
        "flips", default=False, label="Average over a flip", description="Better probabilities, twice the time."
    )
    inputs.int("batch_size", required=False, min=1, label="Batch size", description="Empty: chosen by itself.")
    inputs.str(
        "device", required=False, label="Device", description="cuda, cuda:1, mps, cpu. Empty: the best there is."
    )
    forms.output_dir_input(inputs, "masks and maps")


_PASSED_ON = (
    "label_field", "key", "class_mapping", "unmatched", "write_map", "write_issues", "write_regions", "overwrite",
    "resume", "from_logits", "flips", "scales", "tile", "input_size",
)  # fmt: skip


def _arguments(params: dict[str, Any]) -> dict[str, Any]:
    """The workflow's arguments from the form's or the caller's parameters."""
    arguments = {name: params[name] for name in _PASSED_ON if params.get(name) is not None}
    arguments["methods"] = tuple(params.get("methods") or ())
    arguments["score"] = params.get("score")
    arguments["ignore_index"] = forms.ignore_index_param(params)
    arguments["temperature"] = forms.number(params, "temperature", float, 0.1)
    arguments["min_region_area"] = forms.number(params, "min_region_area", int)
    arguments["max_regions_per_image"] = forms.number(params, "max_regions_per_image", int, quality.MAX_PER_IMAGE)
    arguments["batch_size"] = forms.number(params, "batch_size", int)
    arguments["output_dir"] = params.get("output_dir") or None
    if params.get("device"):
        arguments["device"] = params["device"]
    return arguments | source_params(params)
