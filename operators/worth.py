"""Operators: what the repairs are worth, for a model trained on them and for models compared on them."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.door.scan import segmentation_fields
from ..fiftyone_plugin.dataset.fields.queries import CorrectionFields
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.certifying import worth
from ..fiftyone_plugin.workflows.correcting.correction_run import planned_fields
from . import forms
from .job import Job, corrected_field_input, given
from .train_cross_validated import none_as_word, weights_param


class RepairsWorth(Job):
    """Trains quick models on given and on corrected labels; the form only asks."""

    name = "repairs_worth"
    label = "What the repairs are worth"
    description = (
        "4. Hand on: how much better a model gets by the corrected labels. Quick models are trained on both kinds of "
        "labels and judged on images that they have not seen. Nothing is changed."
    )
    icon = "trending_up"
    done = "What the repairs are worth"
    risk = "low"
    takes_hours = True

    def call_params(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Parameters of the form from the arguments of a call in Python."""
        return none_as_word(arguments, "weights")

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if not corrected_field_input(ctx, inputs, planned_fields(ctx.dataset)):
            return
        text = "Models for each kind of labels; each image is judged by one that has not seen it."
        inputs.int("folds", default=3, min=2, label="Folds", description=text)
        forms.group_field_input(ctx, inputs)
        inputs.view_target(ctx, action_description="Train on")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        chosen = given(params, "label_field", "folds", "group_field", "seed", "device", "encoder", "steps")
        return worth.repairs_worth(samples, progress=progress, weights=weights_param(params), **chosen)


class CompareModels(Job):
    """Compares two models by given and by corrected labels; the form only asks."""

    name = "compare_models"
    label = "Compare models on corrected labels"
    description = (
        "4. Hand on: whether one model still beats another one once the labels are corrected. Takes two fields with "
        "predictions. Nothing is changed."
    )
    icon = "balance"
    done = "Models compared"
    positional = ("first", "second", "label_field")
    risk = "low"

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        corrected = planned_fields(ctx.dataset)
        if not corrected_field_input(ctx, inputs, corrected):
            return
        known = {name for field in corrected for name in (field, CorrectionFields(field).corrected)}
        others = [name for name in segmentation_fields(ctx.dataset) if name not in known]
        if len(others) < 2:
            text = "Write the predictions of two models into Segmentation fields, for instance with `apply_model`."
            forms.blocked(inputs, "no_models", "This dataset has no two fields with predictions", text)
            return
        forms.choice_input(inputs, "first", others, others[0], label="Predictions of one model")
        forms.choice_input(inputs, "second", others, others[1], label="Predictions of the other model")
        inputs.view_target(ctx, action_description="Compare on")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        names = [str(params.get(name) or "") for name in ("first", "second")]
        chosen = given(params, "label_field", "group_field", "seed")
        return worth.compare_models(samples, *names, progress=progress, **chosen)
