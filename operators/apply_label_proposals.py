"""Operator: take a model's proposals into the corrected labels, in bulk."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types
from fiftyone.core.patches import PatchesView

from ..fiftyone_plugin.dataset.journals import append_log, reviews
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.correcting import outside_answers
from ..fiftyone_plugin.workflows.reviewing import review
from . import forms
from .job import Job, edited_input, given


class ApplyLabelProposals(Job):
    """Turns regions into answers; the form only asks."""

    name = "apply_label_proposals"
    label = "Apply label proposals"
    description = (
        "3. Fix labels in bulk: give accepted regions the suggested class, in the corrected labels. Can be undone; "
        "the given labels are not changed."
    )
    unlisted = True
    icon = "playlist_add_check"
    done = "Proposals applied"
    positional = ("key",)

    def is_due(self, dataset: Any) -> bool:
        """Whether regions were decided on."""
        return bool(review.runs_with_regions(dataset)) and append_log.holds_any(dataset, reviews.STORE)

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if forms.regions_key_input(ctx, inputs) is None:
            return
        view = types.DropdownView()
        view.add_choice("accepted", label="Those that were accepted")
        view.add_choice("pending", label="All that were not rejected")
        inputs.enum("status", ["accepted", "pending"], default="accepted", label="Which regions", view=view)
        edited_input(ctx, inputs)
        inputs.view_target(ctx, action_description="Apply to")

    def samples_of(self, ctx: Any) -> Any:
        """Accepted regions leave the patches that wait for a decision: beside those, the whole dataset is meant."""
        samples = ctx.target_view()
        return samples._root_dataset if isinstance(samples, PatchesView) else samples

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        arguments = given(params, "status", "reviewer", "on_edited")
        key = params.get("key") or _newest(samples)
        return outside_answers.apply_proposals(samples, key, progress=progress, **arguments)


def _newest(samples: Any) -> str:
    keys = review.runs_with_regions(samples._root_dataset)
    return keys[-1] if keys else "label_quality"
