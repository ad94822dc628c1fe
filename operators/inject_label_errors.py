"""Operator: put known errors into a copy of the labels, for a rehearsal."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.quality import known_errors
from ..fiftyone_plugin.workflows.rehearsing import rehearsal
from . import forms
from .job import Job, given


class InjectLabelErrors(Job):
    """Copies a label field and corrupts a known share of it."""

    name = "inject_label_errors"
    label = "Rehearse with known label errors"
    description = (
        "8. Rehearse: copy a label field and put known errors into the copy, to see how many are found. Labels are "
        "not changed."
    )
    icon = "science"
    done = "Known errors"
    default_key = rehearsal.DEFAULT_KEY

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        field = forms.label_field_input(ctx, inputs)
        if field is not None:
            inputs.str(
                "into",
                required=False,
                label="New field",
                description=f"The copy with errors. Empty: `{field}_with_errors`, and the key behind it where that is "
                "another. The given labels are never written.",
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
            forms.key_input(
                ctx,
                inputs,
                rehearsal.DEFAULT_KEY,
                "none; see the new field",
                run_records.REHEARSAL,
            )
            inputs.view_target(ctx, action_description="Copy")
            forms.classes_view(ctx, inputs, field)

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        arguments = given(
            params, "label_field", "into", "kinds", "seed", "key", "overwrite", "output_dir", "background",
            "outline_steps", "outline_area",
        )  # fmt: skip
        arguments["fraction"] = forms.number(params, "fraction", float, 0.2)
        arguments["ignore_index"] = forms.ignore_index_param(params)
        return rehearsal.inject_label_errors(samples, progress=progress, **arguments)
