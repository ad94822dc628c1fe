"""Operator: score the labels of a segmentation dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin import quality
from ..fiftyone_plugin.dataset import runs
from ..fiftyone_plugin.dataset.scan import segmentation_fields, string_fields
from ..fiftyone_plugin.dataset.zoo import zoo_segmenter_names
from ..fiftyone_plugin.workflows import scoring
from . import forms
from .progress import execute, run_with_progress, show_report

SOURCES = {
    "trained": ("Trained here", "A cross-validated run on this dataset: each image by a model that has not seen it."),
    "model": ("Model file or name", "A save_pretrained folder, TorchScript or torch.export file, or a library's name."),
    "zoo": ("FiftyOne model zoo", "A semantic segmenter of the zoo; weights are downloaded on first use."),
    "probabilities": ("Probabilities on disk", "npy, npz or zarr files of (classes, height, width), one per image."),
    "masks": ("Another mask field", "Masks of a second annotator, or of a model that gives classes only."),
}  # fmt: skip


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
            source="masks" if predictions else "probabilities" if probabilities else "model",
            model=model,
            probabilities=probabilities,
            predictions=predictions,
            **kwargs,
        )
        result = execute(self.uri, ctx, delegate=delegate, description="checking labels")
        return result if delegate else scoring.load_report(sample_collection, kwargs.get("key", "label_quality"))

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form."""
        inputs = types.Object()
        if forms.label_field_input(ctx, inputs) is not None:
            _source_input(ctx, inputs)
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


def _source_input(ctx: Any, inputs: types.Object) -> None:
    trained = [run.key for run in runs.list_runs(ctx.dataset) if "model_folder" in run.parameters]
    masks = _other_masks(ctx)
    missing = {"trained": not trained, "masks": not masks}
    available = [name for name in SOURCES if not missing.get(name)]
    default = available[0]
    view = types.RadioGroup()
    for name in available:
        label, description = SOURCES[name]
        view.add_choice(name, label=label, description=description)
    inputs.enum(
        "source",
        available,
        required=True,
        default=default,
        label="Where probabilities come from",
        description="Scores mean something only if the model has not been trained on these labels."
        + ("" if trained else " To train one that has not, run 'Train with cross-validation' first."),
        view=view,
    )
    _source_details(ctx, ctx.params.get("source") or default, trained, inputs)


def _other_masks(ctx: Any) -> list[str]:
    """Mask fields that could stand for predictions: all but the labels, and those that runs of ours wrote."""
    own = {name for run in runs.list_runs(ctx.dataset, runs.SCORING) for name in run.fields}
    label_field = ctx.params.get("label_field") or forms.first_label_field(ctx)
    return [name for name in segmentation_fields(ctx.dataset) if name != label_field and name not in own]


def _source_details(ctx: Any, source: str, trained: list[str], inputs: types.Object) -> None:
    if source == "trained" and trained:
        view = types.DropdownView()
        for key in trained:
            view.add_choice(key, label=key)
        inputs.enum("training_run", trained, required=True, default=trained[-1], label="Training run", view=view)
    elif source == "zoo":
        names = zoo_segmenter_names()
        view = types.DropdownView()
        for name in names:
            view.add_choice(name, label=name)
        inputs.enum("zoo_model", names, required=True, label="Zoo model", view=view)
    elif source == "masks":
        names = _other_masks(ctx)
        view = types.DropdownView()
        for name in names:
            view.add_choice(name, label=name)
        inputs.enum("predictions", names, required=True, label="Mask field", view=view)
    elif source == "probabilities":
        fields = types.AutocompleteView(allow_user_input=True)
        for name in string_fields(ctx.dataset):
            fields.add_choice(name, label=name)
        inputs.str(
            "probabilities",
            required=True,
            label="Field or folder",
            description="A string field with each sample's file, or a folder of files named like the images.",
            view=fields,
        )
    else:
        inputs.str(
            "model",
            required=True,
            label="Model",
            description="For instance /models/unet (save_pretrained folder), /models/net.pt, "
            "torchvision:deeplabv3_resnet50, transformers:nvidia/segformer-b0-finetuned-ade-512-512",
        )


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
        default=quality.regions.MAX_PER_IMAGE,
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
    "label_field", "key", "class_mapping", "write_map", "write_issues", "write_regions", "overwrite", "resume",
    "from_logits", "flips", "scales", "tile", "input_size",
)  # fmt: skip


def _arguments(params: dict[str, Any]) -> dict[str, Any]:
    """The workflow's arguments from the form's or the caller's parameters."""
    arguments = {name: params[name] for name in _PASSED_ON if params.get(name) is not None}
    arguments["methods"] = tuple(params.get("methods") or ())
    arguments["score"] = params.get("score")
    arguments["ignore_index"] = forms.ignore_index_param(params)
    arguments["temperature"] = forms.number(params, "temperature", float, 0.1)
    arguments["min_region_area"] = forms.number(params, "min_region_area", int)
    arguments["max_regions_per_image"] = forms.number(
        params, "max_regions_per_image", int, quality.regions.MAX_PER_IMAGE
    )
    arguments["batch_size"] = forms.number(params, "batch_size", int)
    arguments["output_dir"] = params.get("output_dir") or None
    if params.get("device"):
        arguments["device"] = params["device"]
    source = params.get("source")
    if source == "probabilities":
        arguments["probabilities"] = params.get("probabilities")
    elif source == "masks":
        arguments["predictions"] = params.get("predictions")
    elif source == "zoo":
        arguments["model"] = f"zoo:{params.get('zoo_model')}"
    else:
        arguments["model"] = params.get("training_run" if source == "trained" else "model")
    return arguments
