"""Operators: what many label errors have in common, and one repair for all of them."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows.certifying import causes
from . import forms
from .job import Job, edited_input, given

_ACTIONS = {"repair": "Repair it in all its images", "undo": "Take its repair back"}


class FindCauses(Job):
    """Looks for systematic errors; the form only asks."""

    name = "find_causes"
    label = "Find causes of label errors"
    description = (
        "2. Review: what many label errors have in common, such as two classes swapped in a folder or a class that one "
        "annotator never draws. Nothing is changed."
    )
    icon = "hub"
    done = "Causes of label errors"
    positional = ("key",)
    risk = "low"

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if forms.regions_key_input(ctx, inputs) is None:
            return
        text = "Besides folder, tags, size and place, these fields group images. Empty: all fields."
        inputs.list("attributes", types.String(), required=False, label="Fields", description=text)
        inputs.view_target(ctx, action_description="Look at")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        key = params.get("key") or "label_quality"
        return causes.find_causes(samples, key=key, progress=progress, **given(params, "attributes"))


class RepairCause(Job):
    """Repairs a systematic error, or takes that back; the form only asks."""

    name = "repair_cause"
    label = "Repair a cause of label errors"
    description = (
        "3. Fix labels: repair a systematic error in all its images at once, in the corrected labels. Can be undone; "
        "the given labels are not changed."
    )
    icon = "build"
    done = "Cause repaired"
    positional = ("cause",)

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        key = forms.regions_key_input(ctx, inputs)
        if key is None:
            return
        found = causes.known_causes(ctx.dataset, key=key)
        if not found:
            text = "Run 'Label quality: find causes of label errors' first."
            forms.blocked(inputs, "no_causes", "No cause is known", text)
            return
        view = types.RadioGroup()  # sentences, which a list would cut off
        for one in found:
            view.add_choice(one.name, label=one.text)
        names = [one.name for one in found]
        inputs.enum("cause", names, required=False, default=names[0], label="Cause", view=view)
        forms.choice_input(inputs, "action", list(_ACTIONS), "repair", label="What to do", texts=_ACTIONS)
        edited_input(ctx, inputs)

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        key, action = params.get("key") or "label_quality", params.get("action") or "repair"
        if action not in _ACTIONS:
            raise LabelQualityError(f"Expected `action` to be one of {list(_ACTIONS)}, but got {action!r}")
        found = causes.known_causes(samples, key=key)
        name = params.get("cause") or (found[0].name if found else "")
        if action == "undo":
            number = causes.undo_cause_repair(samples, name, key=key)
            return f"**{count(number, 'image', 'have')} the former label again**"
        arguments = given(params, "reviewer", "on_edited")
        return causes.repair_cause(samples, name, key=key, progress=progress, **arguments)
