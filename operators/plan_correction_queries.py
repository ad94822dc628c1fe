"""Operator: plan the questions whose answers repair most."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.door.scan import mask_targets_of
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows.correcting import propagation, query_planning
from ..fiftyone_plugin.workflows.correcting.correction_run import num_waiting
from ..fiftyone_plugin.workflows.correcting.plan_options import PlanOptions
from . import forms
from .job import Job, corrected_field_input, edited_input, given
from .probability_source import classes_input, source_input, source_of_call, source_params


class PlanCorrectionQueries(Job):
    """Writes pending queries; the form only asks."""

    name = "plan_correction_queries"
    label = "Plan correction queries"
    description = (
        "3. Fix labels with the fewest answers: plan the questions that repair most. A person answers them in the "
        "panel Label correction. Earlier answers stay; labels are not changed."
    )
    icon = "quiz"
    done = "Questions"

    def call_params(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Parameters of the form from the arguments of a call in Python."""
        source = {name: arguments.pop(name, None) for name in ("model", "probabilities", "predictions")}
        return {**arguments, **source_of_call(**source)}

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if forms.label_field_input(ctx, inputs) is None:
            return
        source_input(ctx, inputs)
        forms.option_inputs(inputs, PlanOptions, ["budget"])
        _superpixels_input(ctx, inputs)
        if waiting := num_waiting(ctx.dataset, str(ctx.params.get("label_field") or forms.first_label_field(ctx))):
            title = f"There is a plan already: {count(waiting, 'question')} not answered yet"
            text = "The new questions take their place; all answers stay."
            inputs.view("planned", types.Notice(label=title, description=text))
        inputs.view_target(ctx, action_description="Ask about")
        inputs.bool("more", default=False, label="More options", view=types.SwitchView())
        if ctx.params.get("more"):
            _more_input(ctx, inputs)
        classes_input(ctx, inputs)

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        chosen = forms.option_params(params, PlanOptions, [*_ASKED, *_UNASKED])
        further = given(params, "label_field", "device", "flips", "scales", "tile")
        return query_planning.plan_correction_queries(
            samples, progress=progress, **source_params(params), **chosen, **further
        )


class UndoRelabelled(Job):
    """Takes back what a plan has relabelled unasked; the form only asks."""

    name = "undo_relabelled"
    label = "Undo what was relabelled unasked"
    description = (
        "3. Fix labels: take back what a plan relabelled because it is like what was answered; all answers stay."
    )
    unlisted = True
    icon = "undo"
    done = "Taken back"

    def is_due(self, dataset: Any) -> bool:
        """Whether something was relabelled."""
        return bool(propagation.relabelled_fields(dataset))

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if corrected_field_input(ctx, inputs, propagation.relabelled_fields(ctx.dataset)):
            text = "All answers stay. A later plan relabels again, unless 'Relabel what is like the answered' is off."
            inputs.view("kept", types.Notice(label="Only what nobody was asked about changes", description=text))

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        return propagation.undo_relabelled(samples, progress=progress, **given(params, "label_field"))


_ASKED = (
    "budget", "superpixels", "acquisition", "audits", "propagate", "propagate_wrong", "recheck", "hidden",
    "missed_objects", "expansion", "superpixel_size", "unmatched", "batch_size", "seed",
)  # fmt: skip
_UNASKED = (
    "superpixel_method", "similarity", "class_mapping", "ignore_index", "on_edited", "output_dir", "engine", "workers",
)  # fmt: skip


def _superpixels_input(ctx: Any, inputs: types.Object) -> None:
    names = [
        name
        for name in ctx.dataset.get_field_schema(embedded_doc_type=fo.Segmentation)
        if name != ctx.params.get("label_field") and not mask_targets_of(ctx.dataset, name)
    ]
    if not names:
        return
    view = types.DropdownView()
    for name in names:
        view.add_choice(name, label=name)
    inputs.enum(
        "superpixels",
        names,
        required=False,
        label="Superpixels",
        description="What questions are about. Empty: cut on the fly.",
        view=view,
    )


def _more_input(ctx: Any, inputs: types.Object) -> None:
    forms.option_inputs(inputs, PlanOptions, [name for name in _ASKED if name not in ("budget", "superpixels")])
    edited_input(ctx, inputs)
    forms.ignore_index_input(inputs)
    inputs.str("device", required=False, label="Device", description="cuda, cpu, ... Empty: the best there is.")
    forms.output_dir_input(inputs, "questions and corrected masks")
