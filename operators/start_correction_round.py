"""Operator: the next round of correction."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.journals import answers, append_log
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.correcting import rounds
from ..fiftyone_plugin.workflows.correcting.correction_run import planned_fields
from ..fiftyone_plugin.workflows.correcting.plan_options import REMEMBERED, PlanOptions
from . import forms
from .job import Job, corrected_field_input, edited_input, given
from .train_cross_validated import method_input, weights_param


class StartCorrectionRound(Job):
    """Trains, scores and plans; the form only asks."""

    name = "start_correction_round"
    label = "Start the next correction round"
    description = (
        "5. Train on the corrected labels, score them again, and plan the next questions. Replaces the models and "
        "scores of an earlier try of this round."
    )
    unlisted = True
    icon = "redo"
    done = "Next round"

    def is_due(self, dataset: Any) -> bool:
        """Whether questions were answered."""
        return bool(planned_fields(dataset)) and append_log.holds_any(dataset, answers.STORE)

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        fields = planned_fields(ctx.dataset)
        if not corrected_field_input(ctx, inputs, fields):
            return
        forms.option_inputs(inputs, PlanOptions, ["budget"])
        inputs.bool("score", default=True, label="Score the corrected labels, too")
        method_input(ctx, inputs)
        inputs.int("folds", default=4, min=2, label="Folds", description="How many models.")
        edited_input(ctx, inputs)
        inputs.view_target(ctx, action_description="Correct")
        chosen = ctx.params.get("label_field")
        forms.classes_view(ctx, inputs, chosen if chosen in fields else fields[0])

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        training = given(
            params, "method", "folds", "architecture", "encoder", "epochs", "batch_size", "crop_size", "lr", "seed",
            "device", "output_dir",
        )  # fmt: skip
        training |= params.get("training") or {}
        if "weights" in params:
            training.setdefault("weights", weights_param(params))
        arguments = given(
            params, "label_field", "budget", "score", "on_edited", *REMEMBERED,
        )  # fmt: skip
        return rounds.start_correction_round(samples, progress=progress, training=training, **arguments)
