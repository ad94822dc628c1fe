"""Operator: train a segmenter with cross-validation."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.models.training.network_names import ARCHITECTURES, require_network
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.training import cross_validated
from ..fiftyone_plugin.workflows.training.methods import FINE_TUNED, FROZEN_FEATURES, METHODS, quick_method
from . import forms
from .job import Job

ENCODERS = ("resnet18", "resnet34", "resnet50", "mobilenet_v2", "efficientnet-b0", "tu-mobilenetv3_small_100", "mit_b0")
FROZEN_ENCODERS = (
    "tf_efficientnet_lite2", "tf_efficientnet_lite0", "convnext_tiny", "vit_small_patch14_dinov2",
    "vit_small_patch16_dinov3",
)  # fmt: skip
_OFFERED = {"architecture": "unet", "encoder": "resnet18"}
_PASSED_ON = (
    "label_field", "key", "folds", "encoder", "group_field", "overwrite", "resume", "batch_size", "crop_size", "lr",
    "seed", "device",
)  # fmt: skip
_OF_METHOD = {
    FINE_TUNED: ("architecture", "epochs", "freeze_batchnorm", "bend_labels"),
    FROZEN_FEATURES: ("stride", "width", "steps", "heads"),
}


class TrainCrossValidated(Job):
    """Trains one model per fold; the form only asks."""

    name = "train_cross_validated"
    label = "Train with cross-validation"
    description = (
        "5. Train models by cross-validation, so that each image can be scored by one that has not seen it. Labels "
        "are not changed."
    )
    icon = "model_training"
    done = "Trained"
    takes_hours = True
    default_key = "cross_validation"

    def call_params(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Parameters of the form from the arguments of a call in Python."""
        return none_as_word(arguments, "weights")

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if (label_field := forms.label_field_input(ctx, inputs)) is not None:
            method = method_input(ctx, inputs)
            inputs.int(
                "folds", default=4, min=2, label="Folds", description="How many models; each image is left out of one."
            )
            forms.key_input(ctx, inputs, "cross_validation", "`_fold`", run_records.TRAINING)
            inputs.view_target(ctx, action_description="Train on")
            inputs.bool("more", default=False, label="More options", view=types.SwitchView())
            if ctx.params.get("more"):
                if method == FROZEN_FEATURES:
                    frozen_input(inputs)
                training_input(ctx, inputs)
            forms.classes_view(ctx, inputs, label_field)

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        return cross_validated.train_cross_validated(samples, progress=progress, **_arguments(params))


def none_as_word(arguments: dict[str, Any], *names: str) -> dict[str, Any]:
    """Say None in words where it has a meaning: parameters that are None count as not given."""
    return {name: "none" if name in names and value is None else value for name, value in arguments.items()}


def method_input(ctx: Any, inputs: types.Object) -> str:
    """Ask how to train, and for the network where a whole one is trained.

    Returns:
        the chosen method
    """
    default = quick_method()
    view = types.RadioGroup()
    for name in sorted(METHODS, key=lambda name: name != default):
        view.add_choice(name, label=METHODS[name][0].upper() + METHODS[name][1:])
    inputs.enum("method", list(METHODS), required=False, default=default, label="Method", view=view)
    method = str(ctx.params.get("method") or default)
    if method == FINE_TUNED:
        model_input(ctx, inputs)
    return method


def frozen_input(inputs: types.Object) -> None:
    """Ask for the encoder whose features are used, and for the grid."""
    view = types.AutocompleteView(allow_user_input=True)
    for choice in FROZEN_ENCODERS:
        view.add_choice(choice, label=choice)
    inputs.str(
        "frozen_encoder",
        required=False,
        label="Encoder",
        description="Of timm; any of its names may be typed. Empty: EfficientNet-Lite2, which needs no download where "
        "the extra `offline` is installed.",
        view=view,
    )
    inputs.int(
        "stride",
        required=False,
        label="Grid",
        description="Pixels per cell: 1, 2, 4, 8 or 16. Small: small objects, slower. Empty: by the images' size.",
    )


def model_input(ctx: Any, inputs: types.Object) -> None:
    """Ask which network to train, and for how long."""
    named = {name: str(ctx.params.get(name) or default) for name, default in _OFFERED.items()}
    for name, choices, description in (
        ("architecture", ARCHITECTURES, "Of segmentation-models-pytorch."),
        ("encoder", ENCODERS, "Of segmentation-models-pytorch; any of its names may be typed."),
    ):
        view = types.AutocompleteView(allow_user_input=True)
        for choice in choices:
            view.add_choice(choice, label=choice)
        asked = inputs.str(name, default=_OFFERED[name], label=name.capitalize(), description=description, view=view)
        if named[name] not in choices:  # what is offered is known without a look at the library
            forms.refuse_where(asked, require_network, **{**_OFFERED, name: named[name]})
    inputs.str(
        "weights",
        default="imagenet",
        label="Encoder weights",
        description="'imagenet' (downloaded on first use), a file with a state dict, or 'none' for random ones.",
    )
    inputs.int("epochs", default=20, min=1, label="Epochs", description="Passes over the training images, per model.")
    text = "Labels are bent a little at random in training, so that it matters less where exactly borders were drawn."
    inputs.bool("bend_labels", default=False, label="Bend labels", description=text, view=types.SwitchView())


def training_input(ctx: Any, inputs: types.Object) -> None:
    """Ask what is seldom changed."""
    forms.group_field_input(ctx, inputs)
    forms.ignore_index_input(inputs)
    inputs.int("batch_size", required=False, min=1, label="Batch size", description="Empty: chosen by itself.")
    inputs.int("crop_size", required=False, min=32, label="Crop", description="Side of the training crops in pixels.")
    inputs.float("lr", required=False, label="Learning rate", description="Empty: the default of the training.")
    inputs.int("seed", default=0, label="Seed")
    inputs.str("device", required=False, label="Device", description="cuda, cpu, ... Empty: the best there is.")
    forms.output_dir_input(inputs, "the models")


def weights_param(params: dict[str, Any]) -> str | None:
    """The encoder's weights from the form's or the caller's parameters."""
    weights = str(params.get("weights", "imagenet")).strip()
    return None if weights.lower() in ("", "none") else weights


def _arguments(params: dict[str, Any]) -> dict[str, Any]:
    """The workflow's arguments from the form's or the caller's parameters."""
    method = str(params.get("method") or FINE_TUNED)
    names = (*_PASSED_ON, *_OF_METHOD.get(method, ()))  # a form may hold answers of before the method was chosen
    arguments = {"method": method, **{name: params[name] for name in names if params.get(name) not in (None, "")}}
    if method == FROZEN_FEATURES and params.get("frozen_encoder"):
        arguments["encoder"] = params["frozen_encoder"]
    arguments["weights"] = weights_param(params)
    arguments["ignore_index"] = forms.ignore_index_param(params)
    arguments["output_dir"] = params.get("output_dir") or None
    if int(arguments.get("folds", 4)) < 2:
        raise LabelQualityError(f"Expected at least 2 folds, but got {arguments['folds']}")
    return arguments
