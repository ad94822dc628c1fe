"""Operators: edit corrected labels with a brush in FiftyOne's Annotate tab, and bring the edits back."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.correcting import outside_answers
from ..fiftyone_plugin.workflows.correcting.correction_run import planned_fields
from . import forms
from .job import Job, corrected_field_input, given


class BeginHandEdits(Job):
    """Writes objects that the Annotate tab can edit; the form only asks."""

    name = "begin_hand_edits"
    label = "Begin hand edits"
    description = (
        "3. Fix labels by hand with a brush: write the objects of the corrected labels as masks that the Annotate "
        "tab can edit."
    )
    icon = "brush"
    done = "Ready to edit"

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        field = forms.label_field_input(ctx, inputs)
        if field is None:
            return
        if field in _in_hand(ctx.dataset):
            text = f"Objects of '{field}' were written before. Press 'Finish hand edits' first to keep what was edited."
            forms.confirm_input(ctx, inputs, "Write the objects anew", text)
        text = "Masks in the database, as FiftyOne's `annotate` sends them to CVAT. Off: for the Annotate tab."
        inputs.bool("for_tool", default=False, label="For an annotation tool", description=text)
        inputs.view_target(ctx, action_description="Edit")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        chosen = given(params, "label_field", "for_tool")
        field = outside_answers.begin_hand_edits(samples, progress=progress, **chosen)
        if chosen.get("for_tool"):
            return (
                f"**Send the masks of `{field}` with `annotate`, fetch them with `load_annotations`**; then press "
                "'Finish hand edits' beside the grid."
            )
        return (
            f"**Open an image, choose Annotate, and edit the masks of `{field}`**; then press 'Finish hand edits' "
            "beside the grid. Objects lie over each other by size, small ones on top."
        )


class FinishHandEdits(Job):
    """Turns edited objects into answers; the form only asks."""

    name = "finish_hand_edits"
    label = "Finish hand edits"
    description = "3. Fix labels by hand: take what was edited in the Annotate tab into the corrected labels."
    unlisted = True
    icon = "format_paint"
    done = "Edits taken over"

    def is_due(self, dataset: Any) -> bool:
        """Whether objects were written to be edited."""
        return bool(_in_hand(dataset))

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if corrected_field_input(ctx, inputs, _in_hand(ctx.dataset)):
            inputs.view_target(ctx, action_description="Take over from")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        arguments = given(params, "label_field", "objects", "reviewer")
        return outside_answers.finish_hand_edits(samples, progress=progress, **arguments)


def _in_hand(dataset: Any) -> list[str]:
    return [name for name in planned_fields(dataset) if dataset.has_field(f"{name}_objects")]
