"""Operators: how reliable reviewers are, and regions for one of them with questions that others have answered."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.fields.schema import ScoreFields
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows.certifying import reviewers
from . import forms
from .entry import Action
from .job import Job, given
from .progress import execute


class CompareReviewers(Job):
    """Shows how reliable each reviewer is; the form only asks."""

    name = "compare_reviewers"
    label = "Compare reviewers"
    description = "2. Review: who decided on how many issues, how often each person is right, and what to ask again"
    icon = "groups"
    done = "Reviewers"
    positional = ("key",)
    risk = "low"

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if forms.regions_key_input(ctx, inputs) is None:
            return
        fields = list(ctx.dataset.get_field_schema(embedded_doc_type=fo.Segmentation))
        view = types.DropdownView()
        for name in fields:
            view.add_choice(name, label=name)
        text = "A field with the truth, such as the original of a rehearsal. Empty: people are compared."
        inputs.enum("truth_field", fields, required=False, label="Known truth", description=text, view=view)

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        key = params.get("key") or "label_quality"
        return reviewers.reviewers_report(samples._root_dataset, key=key, **given(params, "truth_field", "tolerated"))


class ShowSecondLook(Action):
    """Sets a view of regions for one reviewer."""

    name = "show_second_look"
    label = "Show label issues for a reviewer"
    description = "2. Review: pending issues for one person, mixed with some that other people have decided on"
    icon = "person_search"
    risk = "low"

    def __call__(self, sample_collection: Any, reviewer: str, **kwargs: Any) -> Any:
        """Find regions from Python.

        Args:
            sample_collection: the dataset
            reviewer: who will decide
            kwargs: the other arguments of `fiftyone_plugin.show_second_look`

        Returns:
            the patches view
        """
        ctx = forms.context_of(sample_collection, reviewer=reviewer, **kwargs)
        result = execute(self.uri, ctx, description="finding regions").result
        return fo.DatasetView._build(sample_collection._root_dataset, result["stages"])

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form."""
        inputs = types.Object()
        if forms.regions_key_input(ctx, inputs) is not None:
            name = getattr(ctx.user, "name", None)
            inputs.str("reviewer", required=True, default=name, label="Reviewer", description="Who will decide.")
            inputs.int("number", default=30, min=1, label="How many regions")
            text = "What others said about these is not shown. It tells how far people agree."
            inputs.float(
                "hidden", default=0.33, min=0, max=1, label="Share that others have decided on", description=text
            )
        return self.form(inputs)

    def act(self, ctx: Any) -> dict[str, Any]:
        """Show them."""
        key = ctx.params.get("key") or forms.regions_key(ctx)
        arguments = given(ctx.params, "number", "hidden", "seed")
        view = reviewers.show_second_look(ctx.dataset, ctx.params.get("reviewer"), key=key, **arguments)
        ctx.ops.set_view(view)
        ctx.ops.set_active_fields([ScoreFields(key).regions])
        ctx.ops.notify(f"{count(len(view), 'region')} to decide on", variant="success")
        return {"num_regions": len(view), "stages": view._serialize()}

    def resolve_output(self, ctx: Any) -> types.Property:
        """How many regions are in the view, and the view."""
        outputs = types.Object()
        outputs.int("num_regions", label="Regions in the view")
        outputs.list("stages", types.Object(), label="Stages of the view")
        return self.output(ctx, outputs)
