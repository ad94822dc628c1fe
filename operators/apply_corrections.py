"""Operator: bring the corrected labels in line with the answers."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.correcting import corrected_labels
from ..fiftyone_plugin.workflows.correcting.correction_run import planned_fields
from .job import Job, corrected_field_input, edited_input, given


class ApplyCorrections(Job):
    """Derives corrected labels; the form only asks."""

    name = "apply_corrections"
    label = "Apply corrections"
    description = (
        "3. Fix labels: write all answers into the corrected labels and count them. The given labels are not changed."
    )
    icon = "done_all"
    done = "Corrected labels"

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if corrected_field_input(ctx, inputs, planned_fields(ctx.dataset)):
            edited_input(ctx, inputs)
            inputs.view_target(ctx, action_description="Apply to")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        return corrected_labels.apply_corrections(
            samples, progress=progress, **given(params, "label_field", "on_edited")
        )
