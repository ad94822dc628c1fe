"""Operators: clean specks, pinholes and blended borders, and take that back."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.journals import answers, append_log
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.quality.check_up import CHECKS, CLEANED
from ..fiftyone_plugin.workflows.correcting import clean_labels
from ..fiftyone_plugin.workflows.correcting.correction_run import planned_fields
from . import forms
from .job import Job, corrected_field_input, edited_input, given


class CleanLabels(Job):
    """Writes the corrected labels; the form only asks."""

    name = "clean_labels"
    label = "Clean labels"
    description = (
        "3. Fix labels without questions: specks, pinholes and blended borders get the class around them, in the "
        "corrected labels. Can be undone."
    )
    icon = "cleaning_services"
    done = "Labels cleaned"

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if forms.label_field_input(ctx, inputs) is None:
            return
        _codes_input(inputs)
        forms.ignore_index_input(inputs)
        inputs.int(
            "max_speck_area",
            required=False,
            min=1,
            label="Largest speck",
            description="Pixels of the largest speck or pinhole. Empty: 2 to 12, by the size of the image.",
        )
        edited_input(ctx, inputs)
        inputs.view_target(ctx, action_description="Clean")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        arguments = given(params, "label_field", "max_speck_area", "on_edited")
        return clean_labels.clean_labels(
            samples,
            codes=params.get("codes") or CLEANED,
            ignore_index=forms.ignore_index_param(params),
            progress=progress,
            **arguments,
        )


class UndoCleanLabels(Job):
    """Takes a clean-up back; the form only asks."""

    name = "undo_clean_labels"
    label = "Undo the cleaning of labels"
    description = "3. Fix labels: take back what 'clean labels' did; all other answers stay."
    unlisted = True
    icon = "undo"
    done = "Cleaning undone"

    def is_due(self, dataset: Any) -> bool:
        """Whether something was cleaned."""
        cleaned = {"value.source": answers.CLEANED}
        return bool(planned_fields(dataset)) and append_log.holds_any(dataset, answers.STORE, cleaned)

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if corrected_field_input(ctx, inputs, planned_fields(ctx.dataset)):
            _codes_input(inputs)
            inputs.view_target(ctx, action_description="Undo for")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        codes = params.get("codes") or CLEANED
        return clean_labels.undo_clean_labels(samples, codes=codes, progress=progress, **given(params, "label_field"))


def _codes_input(inputs: types.Object) -> None:
    view = types.DropdownView(multiple=True)
    for code in CLEANED:
        view.add_choice(code, label=CHECKS[code].title)
    text = "Empty: all of them."
    inputs.list("codes", types.String(), required=False, label="What", description=text, view=view)
