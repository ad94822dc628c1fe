"""Operator: plan the questions whose answers repair most."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators.types as types

from ..fiftyone_plugin import correction
from ..fiftyone_plugin.dataset.door.scan import mask_targets_of
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.correcting import query_planning
from . import forms
from .job import Job, edited_input, given
from .probability_source import source_input, source_of_call, source_params


class PlanCorrectionQueries(Job):
    """Writes pending queries; the form only asks."""

    name = "plan_correction_queries"
    label = "Plan correction queries"
    description = "Which questions about the labels repair most when a person answers them?"
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
        inputs.int(
            "budget", default=query_planning.DEFAULT_BUDGET, min=1, label="Questions", description="How many to plan."
        )
        _superpixels_input(ctx, inputs)
        inputs.view_target(ctx, action_description="Ask about")
        inputs.bool("more", default=False, label="More options", view=types.SwitchView())
        if ctx.params.get("more"):
            _more_input(inputs)

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        arguments = given(
            params, "label_field", "superpixels", "superpixel_method", "superpixel_size", "budget", "acquisition",
            "audits", "propagate", "recheck", "missed_objects", "expansion", "similarity", "class_mapping", "unmatched",
            "on_edited", "output_dir", "batch_size", "seed", "device", "flips", "scales", "tile",
        )  # fmt: skip
        return query_planning.plan_correction_queries(
            samples, progress=progress, ignore_index=forms.ignore_index_param(params), **source_params(params),
            **arguments,
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


def _more_input(inputs: types.Object) -> None:
    view = types.DropdownView()
    for name, text in correction.ACQUISITIONS.items():
        view.add_choice(name, label=name, description=text)
    inputs.enum(
        "acquisition",
        list(correction.ACQUISITIONS),
        default=correction.DEFAULT_ACQUISITION,
        label="Order of the questions",
        view=view,
    )
    inputs.float(
        "audits",
        default=query_planning.DEFAULT_AUDITS,
        min=0,
        max=1,
        label="Share of random questions",
        description="They tell how much is still wrong, and when to stop.",
    )
    inputs.bool(
        "propagate",
        default=query_planning.PROPAGATE,
        label="Relabel what is like the answered",
        description="Where the answers make it certain; a person's answer always counts more.",
    )
    inputs.bool(
        "recheck",
        default=query_planning.RECHECK,
        label="Ask again once where an answer is doubtful",
        description="Finds slips, at the price of some questions.",
    )
    inputs.bool(
        "missed_objects",
        default=False,
        label="Ask about objects that only the model sees",
        description="Where no superpixel is, what the model sees is asked about in its shape.",
    )
    part = types.DropdownView()
    part.add_choice("superpixel", label="All of the superpixel")
    part.add_choice("similar", label="Pixels whose prediction is like that of the marked one")
    part.add_choice("doubted", label="The part that is not predicted as it is labelled")
    inputs.enum(
        "expansion",
        ["superpixel", "similar", "doubted"],
        default=query_planning.DEFAULT_EXPANSION,
        label="A question is about",
        view=part,
    )
    inputs.int(
        "superpixel_size", required=False, min=1, label="Pixels per superpixel", description="Empty: 175 per image."
    )
    edited_input(inputs)
    forms.ignore_index_input(inputs)
    inputs.int("batch_size", required=False, min=1, label="Batch size", description="Empty: chosen by itself.")
    inputs.int("seed", default=0, label="Seed")
    inputs.str("device", required=False, label="Device", description="cuda, cpu, ... Empty: the best there is.")
    forms.output_dir_input(inputs, "questions and corrected masks")
