"""Operator: train on labels that are partly wrong, and propose corrected ones."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.training import noise_robust
from ..fiftyone_plugin.workflows.training.noise_robust_options import NoiseRobustOptions
from . import forms
from .job import Job
from .train_cross_validated import model_input, none_as_word, training_input, weights_param

OURS = "ours"
VARIANTS = {
    OURS: "Ours: waits until it is probable that a class has begun to be memorised",
    "voc": "As published for PASCAL VOC: labels made from image-level classes",
    "segthor": "As published for SegTHOR: outlines that are too small or too large",
}
_PASSED_ON = (
    "label_field", "key", "architecture", "encoder", "epochs", "correction", "consistency", "per_class", "threshold",
    "relative_change", "latest_epoch", "gate", "out_of_fold", "folds", "group_field", "min_region_area",
    "max_regions_per_image", "output_dir", "overwrite", "resume", "batch_size", "crop_size", "lr", "seed", "device",
    "freeze_batchnorm", "bend_labels", "model_options",
)  # fmt: skip


class TrainNoiseRobust(Job):
    """Trains one model and proposes corrected labels; the form only asks."""

    name = "train_noise_robust"
    label = "Train on noisy labels"
    description = (
        "5. Train a segmentation model that does not memorise wrong labels, and propose better ones. Labels are "
        "not changed."
    )
    icon = "auto_fix_high"
    done = "Trained"
    takes_hours = True
    default_key = "noise_robust"

    def call_params(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Parameters of the form from the arguments of a call in Python."""
        return none_as_word(arguments, "weights", "background")

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if (label_field := forms.label_field_input(ctx, inputs)) is not None:
            model_input(ctx, inputs)
            _method_input(inputs)
            inputs.bool(
                "out_of_fold",
                default=False,
                label="Out-of-fold models, too",
                description="Models that each leave out a part of the images, to score the labels with. Takes as long "
                "again for each of them.",
                view=types.SwitchView(),
            )
            if ctx.params.get("out_of_fold"):
                inputs.int("folds", default=4, min=2, label="Folds", description="How many of these models.")
            suffixes = "`_labels`, `_regions`, `_num_regions`, `_changed_share`"
            forms.key_input(ctx, inputs, "noise_robust", suffixes, run_records.NOISE_ROBUST)
            inputs.view_target(ctx, action_description="Train on")
            inputs.bool("more", default=False, label="More options", view=types.SwitchView())
            if ctx.params.get("more"):
                _rule_input(inputs)
                training_input(ctx, inputs)
            forms.classes_view(ctx, inputs, label_field)

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        return noise_robust.train_noise_robust(samples, progress=progress, **_arguments(params))


def _method_input(inputs: types.Object) -> None:
    forms.option_inputs(inputs, NoiseRobustOptions, ("correction", "consistency"))


def _rule_input(inputs: types.Object) -> None:
    view = types.DropdownView()
    for name, title in VARIANTS.items():
        view.add_choice(name, label=title)
    inputs.enum("variant", list(VARIANTS), default=OURS, required=False, label="Variant", view=view)
    rule = ("per_class", "threshold", "relative_change", "gate", "latest_epoch")
    forms.option_inputs(inputs, NoiseRobustOptions, rule)
    inputs.str(
        "background",
        default="auto",
        label="Background",
        description="Class that stands for none of the others, by name or mask value. 'auto': the one that is "
        "called background or the like. 'none': there is none.",
    )


def _arguments(params: dict[str, Any]) -> dict[str, Any]:
    """The workflow's arguments from the form's or the caller's parameters."""
    arguments = {name: params[name] for name in _PASSED_ON if params.get(name) not in (None, "")}
    variant = params.get("variant") or OURS
    background = params.get("background", "auto")
    none = isinstance(background, str) and background.strip().lower() in ("", "none")
    return {
        **arguments,
        "variant": None if variant == OURS else variant,
        "background": None if none else background,
        "weights": weights_param(params),
        "ignore_index": forms.ignore_index_param(params),
    }
