"""Operator: check the labels of a dataset without a model."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.quality.check_up import CHECKS
from ..fiftyone_plugin.workflows.checking import check_labels
from . import forms
from .job import Job, given


class CheckLabels(Job):
    """Lists what is wrong with labels; the form only asks."""

    name = "check_labels"
    label = "Check labels"
    description = (
        "1. Check masks and files for faults that need no model: lossy masks, unknown values, wrong sizes, specks, "
        "copies. Takes seconds. Labels are not changed."
    )
    icon = "fact_check"
    done = "Check-up of the labels"
    risk = "low"
    default_key = check_labels.DEFAULT_KEY

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if forms.label_field_input(ctx, inputs) is None:
            return
        view = types.DropdownView(multiple=True)
        for check in CHECKS.values():
            view.add_choice(check.code, label=check.title)
        inputs.list(
            "mute",
            types.String(),
            required=False,
            default=check_labels.muted_before(ctx.dataset, ctx.params.get("key") or check_labels.DEFAULT_KEY),
            label="Leave out",
            description="Checks that are not wanted; at first those that were left out the last time.",
            view=view,
        )
        forms.ignore_index_input(inputs)
        inputs.int(
            "max_speck_area",
            required=False,
            min=1,
            label="Largest speck",
            description="Pixels of the largest speck or pinhole. Empty: 2 to 12, by the size of the image.",
        )
        inputs.str(
            "key",
            required=False,
            default=check_labels.DEFAULT_KEY,
            label="Key",
            description="Name of the field of codes; places are in the same with `_spots`. An earlier one is replaced.",
        )
        inputs.view_target(ctx, action_description="Check")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        arguments = given(params, "label_field", "max_speck_area", "key")
        return check_labels.check_labels(
            samples,
            mute=params.get("mute"),
            ignore_index=forms.ignore_index_param(params),
            progress=progress,
            **arguments,
        )
