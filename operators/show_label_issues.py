"""Operator: show the issue regions of a kind or a pair of classes."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators.types as types

from ..fiftyone_plugin import quality
from ..fiftyone_plugin.dataset.fields.regions import STATUSES, captioned, num_shown
from ..fiftyone_plugin.dataset.fields.schema import ScoreFields
from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows.reviewing import overview, review
from . import forms
from .entry import Action
from .progress import execute

_CHOICES = ("key", "kinds", "given", "suggested", "min_score", "limit")


class ShowLabelIssues(Action):
    """Sets a view of regions, worst first."""

    name = "show_label_issues"
    label = "Show label issues"
    description = (
        "2. Review: show the regions that are probably mislabeled (mislabelled), worst first, by kind, class and "
        "score. Changes nothing."
    )
    icon = "find_in_page"
    risk = "low"

    def __call__(self, sample_collection: Any, **kwargs: Any) -> Any:
        """Find regions from Python.

        Args:
            sample_collection: the dataset or a view of it
            kwargs: the arguments of `fiftyone_plugin.show_regions`

        Returns:
            the patches view
        """
        if "status" in kwargs and kwargs["status"] is None:
            kwargs["status"] = "all"  # parameters that are None count as not given
        lists = {name: kwargs[name] for name in ("kinds", "given", "suggested") if isinstance(kwargs.get(name), str)}
        kwargs |= {name: [value] for name, value in lists.items()}  # as the form gives them
        ctx = forms.context_of(sample_collection, within_view=True, **kwargs)
        result = execute(self.uri, ctx, description="finding regions").result
        return fo.DatasetView._build(sample_collection._root_dataset, result["stages"])

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form."""
        inputs = types.Object()
        key = forms.regions_key_input(ctx, inputs)
        if key is not None:
            _filters(ctx, inputs, key)
        return self.form(inputs)

    def act(self, ctx: Any) -> dict[str, Any]:
        """Show them."""
        arguments = {name: ctx.params[name] for name in _CHOICES if ctx.params.get(name) not in (None, "", [])}
        status = ctx.params.get("status") or "pending"
        arguments["key"] = key = ctx.params.get("key") or forms.regions_key(ctx)
        samples = ctx.target_view() if _within_view(ctx) else ctx.dataset
        view = review.show_regions(samples, status=None if status == "all" else status, **arguments)
        number = num_shown(view)
        below = _less_likely(samples, status, arguments, number)
        if not number:
            ctx.ops.notify(f"No region fits these choices{below}", variant="info")
        else:
            ctx.ops.set_view(captioned(view, ScoreFields(key).regions))
            ctx.ops.set_active_fields([ScoreFields(key).regions])
            ctx.ops.notify(f"{count(number, 'region')}, worst first{below}", variant="success")
        return {"num_regions": number, "stages": view._serialize()}

    def resolve_output(self, ctx: Any) -> types.Property:
        """How many regions are in the view, and the view."""
        outputs = types.Object()
        outputs.int("num_regions", label="Regions in the view")
        outputs.list("stages", types.Object(), label="Stages of the view")
        return self.output(ctx, outputs)


def _less_likely(samples: Any, status: str, arguments: dict[str, Any], shown: int) -> str:
    """How many regions only their score keeps out of the view, as the end of a sentence."""
    lowest = arguments.get("min_score", 0.0)
    if lowest <= 0 or "limit" in arguments:
        return ""
    others = {**arguments, "min_score": 0.0}
    more = num_shown(review.show_regions(samples, status=None if status == "all" else status, **others)) - shown
    return f"; {more:,} more have a score below {lowest:g}: lower it to see them" if more else ""


def _within_view(ctx: Any) -> bool:
    """Whether to look in the current view only; by default not in regions that are shown already."""
    return ctx.has_custom_view and bool(ctx.params.get("within_view", not ctx.view._is_generated))


def _filters(ctx: Any, inputs: types.Object, key: str) -> None:
    kinds = forms.kinds_view()
    inputs.list("kinds", types.String(), default=[], label="Kinds", description="Empty: all of them.", view=kinds)
    choices = overview.region_classes(ctx.dataset, key)
    for name, label, values in zip(("given", "suggested"), ("Given class", "Suggested class"), choices, strict=True):
        view = types.DropdownView(multiple=True)
        for value in values:
            view.add_choice(value, label=value)
        inputs.list(name, types.String(), default=[], label=label, description="Empty: any.", view=view)
    inputs.float(
        "min_score",
        default=quality.LIKELY,
        min=0,
        max=1,
        label="Score at least",
        description=f"How surely the label is wrong. {quality.LIKELY}: more likely wrong than right; 0: all regions.",
    )
    status = types.DropdownView()
    for value in (*STATUSES, "all"):
        status.add_choice(value, label=forms.STATUS_LABELS[value])
    inputs.enum("status", [*STATUSES, "all"], default="pending", label="Status", view=status)
    if ctx.has_custom_view:
        inputs.bool("within_view", default=_within_view(ctx), label="In the current view only")
