"""Operator: put known errors into a copy of the labels, for a rehearsal."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.quality import known_errors
from ..fiftyone_plugin.workflows.rehearsing import rehearsal
from . import forms
from .job import Job, given


class InjectLabelErrors(Job):
    """Copies a label field and corrupts a known share of it."""

    name = "inject_label_errors"
    label = "Rehearse with known label errors"
    description = "Copy a label field and put known errors into it, to see how many a scoring run finds"
    icon = "science"
    done = "Known errors"
    default_key = "rehearsal"

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        field = forms.label_field_input(ctx, inputs)
        if field is not None:
            forms.classes_view(ctx, inputs, field)
            inputs.str(
                "into",
                default=f"{field}_with_errors",
                label="New field",
                description="The copy with errors. The given labels are never written.",
            )
            inputs.float(
                "fraction", default=0.2, min=0.01, max=1, label="Share of images", description="One error each."
            )
            view = types.DropdownView(multiple=True)
            for name, title in (known_errors.ERROR_KINDS | known_errors.OUTLINE_KINDS).items():
                view.add_choice(name, label=name, description=title)
            inputs.list(
                "kinds",
                types.String(),
                default=[],
                label="Kinds",
                description="Empty: all but erode_all and dilate_all, which concern all objects of an image.",
                view=view,
            )
            inputs.int("seed", default=51, label="Seed")
            forms.key_input(ctx, inputs, "rehearsal", "none; the fields are the new field and `_error`")
            inputs.view_target(ctx, action_description="Copy")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        arguments = given(
            params, "label_field", "into", "kinds", "seed", "key", "overwrite", "output_dir", "background",
            "outline_steps", "outline_area",
        )  # fmt: skip
        arguments["fraction"] = forms.number(params, "fraction", float, 0.2)
        arguments["ignore_index"] = forms.ignore_index_param(params)
        return rehearsal.inject_label_errors(samples, progress=progress, **arguments)
