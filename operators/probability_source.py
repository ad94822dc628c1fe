"""Where probabilities come from, as several forms ask it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.door.scan import segmentation_fields, string_fields
from ..fiftyone_plugin.dataset.door.zoo import zoo_segmenter_names
from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.workflows.scoring.class_preview import preview_classes
from ..fiftyone_plugin.workflows.scoring.model_names import require_model, training_runs
from . import forms

SOURCES = {
    "trained": ("Trained here", "A cross-validated run on this dataset: each image by a model that has not seen it."),
    "model": (
        "Model file or name",
        "A save_pretrained folder, TorchScript, torch.export or ONNX file, or a library's name. TorchScript and "
        "torch.export files can run code: load only what you trust.",
    ),
    "zoo": ("FiftyOne model zoo", "A semantic segmenter of the zoo; weights are downloaded on first use."),
    "probabilities": ("Probabilities on disk", "npy, npz or zarr files of (classes, height, width), one per image."),
    "masks": ("Another mask field", "Masks of a second annotator, or of a model that gives classes only."),
}  # fmt: skip


MODELS = (
    "torchvision:deeplabv3_resnet50",
    "torchvision:fcn_resnet50",
    "torchvision:lraspp_mobilenet_v3_large",
    "transformers:nvidia/segformer-b0-finetuned-ade-512-512",
    "transformers:nvidia/segformer-b0-finetuned-cityscapes-1024-1024",
    "transformers:facebook/mask2former-swin-tiny-ade-semantic",
    "transformers:facebook/maskformer-swin-tiny-ade",
    "transformers:shi-labs/oneformer_ade20k_swin_tiny",
    "transformers:openmmlab/upernet-convnext-tiny",
    "transformers:microsoft/beit-base-finetuned-ade-640-640",
    "transformers:Intel/dpt-large-ade",
    "transformers:apple/deeplabv3-mobilevit-small",
    "transformers:facebook/detr-resnet-50-panoptic",
)
"""Names that are suggested: one of each kind that is tested."""


def source_input(ctx: Any, inputs: types.Object) -> None:
    """Ask where probabilities come from."""
    trained = training_runs(ctx.dataset)
    available = _available(trained, _other_masks(ctx))
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


def _available(trained: list[str], masks: list[str]) -> list[str]:
    missing = {"trained": not trained, "masks": not masks}
    return [name for name in SOURCES if not missing.get(name)]


def classes_input(ctx: Any, inputs: types.Object) -> None:
    """Show how labels and predictions meet; where they do not, ask which channel is which class.

    It comes last in a form, since the table may be long.
    """
    trained = training_runs(ctx.dataset)
    label_field = str(ctx.params.get("label_field") or forms.first_label_field(ctx))
    chosen = {"source": _available(trained, _other_masks(ctx))[0], "training_run": trained[-1] if trained else None}
    source = source_params(chosen | ctx.params)
    lines, refused = preview_classes(
        ctx.dataset,
        label_field,
        model=source.get("model"),
        predictions=source.get("predictions"),
        class_mapping=ctx.params.get("class_mapping"),
        unmatched=ctx.params.get("unmatched") or "error",
        ignore_index=forms.ignore_index_param(ctx.params),
    )
    given = ctx.params.get("class_mapping")
    if not isinstance(given, Mapping) and (refused or ctx.params.get("more") or given):  # from Python it is a mapping
        inputs.str(
            "class_mapping",
            required=False,
            label="Which channel is which class",
            description="Empty: by their names. Else `channel: class, ...`, for instance motorbike: motor, 7: car",
        )
    forms.account_view(inputs, lines, refused)


def _other_masks(ctx: Any) -> list[str]:
    """Mask fields that could stand for predictions: all but the labels, and those that runs of ours wrote."""
    own = {name for run in run_records.list_runs(ctx.dataset, run_records.SCORING) for name in run.fields}
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
        forms.suggestion_input(
            inputs,
            "probabilities",
            string_fields(ctx.dataset),
            required=True,
            label="Field or folder",
            description="A string field with each sample's file, or a folder of files named like the images.",
        )
    else:
        asked = forms.suggestion_input(
            inputs,
            "model",
            MODELS,
            required=True,
            label="Model",
            description="A save_pretrained folder (/models/unet), a file (/models/net.pt, .pt2, .onnx), or a name; "
            "transformers: takes any semantic or universal segmenter.",
        )
        if ctx.params.get("model"):
            forms.refuse_where(asked, require_model, ctx.dataset, str(ctx.params["model"]))


def source_params(params: dict[str, Any]) -> dict[str, Any]:
    """The workflow's `model`, `probabilities` or `predictions` from the form's or the caller's parameters."""
    source = params.get("source")
    if source == "probabilities":
        return {"probabilities": params.get("probabilities")}
    if source == "masks":
        return {"predictions": params.get("predictions")}
    if source == "zoo":
        return {"model": f"zoo:{params.get('zoo_model')}"}
    return {"model": params.get("training_run" if source == "trained" else "model")}


def source_of_call(model: Any, probabilities: Any, predictions: Any) -> dict[str, Any]:
    """The form's parameters from a call in Python."""
    source = "masks" if predictions else "probabilities" if probabilities else "model"
    return {"source": source, "model": model, "probabilities": probabilities, "predictions": predictions}
