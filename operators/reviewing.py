"""What accepting and rejecting have in common: which regions are meant, the form, and the buttons of the grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fiftyone.operators.types as types
from fiftyone import ViewField

from ..fiftyone_plugin.dataset.door.slices import every_slice
from ..fiftyone_plugin.dataset.fields.regions import STATUSES
from ..fiftyone_plugin.dataset.fields.schema import ScoreFields
from ..fiftyone_plugin.dataset.fields.values import object_ids
from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows.reviewing import review
from . import forms
from .entry import Action
from .progress import execute
from .words import spoken


@dataclass(frozen=True)
class Target:
    """The regions that are meant.

    Attributes:
        samples: samples or patches
        label_ids: their ids, or None for all regions in `samples`
        number: how many
        text: what they are, in words
        whole: whether nothing was selected, so that it is everything in sight
    """

    samples: Any
    label_ids: list[str] | None
    number: int
    text: str
    whole: bool = False


def target_of(ctx: Any, key: str) -> Target:
    """Selected labels, else selected samples or patches, else the open one, else the current view.

    Of whole samples the pending regions are meant, so that nothing that was decided one by one is lost.
    """
    field = ScoreFields(key).regions
    named = ctx.params.get("label_ids")
    if named is not None:
        ids = object_ids("label_ids", named)
        return Target(ctx.dataset, ids, len(ids), "the given regions")
    labels = [str(label["label_id"]) for label in ctx.selected_labels or [] if label.get("field") == field]
    if labels:
        return Target(ctx.dataset, labels, len(labels), "the selected regions")
    chosen = list(ctx.selected or []) or ([ctx.current_sample] if ctx.current_sample else [])
    samples, patches = every_slice(ctx.view), ctx.view._is_generated
    if chosen:
        samples = samples.select(chosen)
    if patches:
        text = "the selected regions" if ctx.selected else "the open region" if chosen else "all regions of the view"
        return Target(samples, None, samples.count("id"), text, whole=not chosen)
    samples = samples.filter_labels(field, ViewField("status") == "pending")
    text = "all pending regions of " + ("the selected images" if chosen else "the current view")
    return Target(samples, None, samples.count(f"{field}.detections"), text, whole=not chosen)


class ReviewOperator(Action):
    """Gives regions a status; subclasses say which."""

    verb = ""
    decision = ""

    def __call__(
        self,
        sample_collection: Any,
        *,
        key: str | None = None,
        label_ids: str | list[str] | None = None,
        reviewer: str | None = None,
        undo: bool = False,
    ) -> dict[str, Any]:
        """Review from Python.

        Args:
            sample_collection: the dataset, a view of samples, or a view of regions
            key: the scoring run; that of the view, or the newest if None
            label_ids: ids of the regions; all in the view of regions, or all pending ones of the samples, if None
            reviewer: who decides
            undo: whether to take the decision back instead

        Returns:
            `num_regions`, `by_status`, `changed`
        """
        ctx = forms.context_of(
            sample_collection, key=key, label_ids=label_ids, reviewer=reviewer, undo=undo, confirm=True
        )
        return execute(self.uri, ctx, description="reviewing").result

    def is_due(self, dataset: Any) -> bool:
        """Whether there is something to review."""
        return bool(review.runs_with_regions(dataset))

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form: which regions, and a question where it is all of them."""
        inputs = types.Object()
        key = forms.regions_key_input(ctx, inputs)
        if key is not None:
            self._ask(ctx, inputs, target_of(ctx, key))
        return self.form(inputs)

    def _ask(self, ctx: Any, inputs: types.Object, target: Target) -> None:
        if not target.number:
            forms.blocked(inputs, "nothing", "Nothing to review", f"There are no regions: {target.text}.")
            return
        text = f"{self.verb} {target.text}: {target.number:,}"
        if not target.whole:
            inputs.view("which", types.Notice(label=text))
        else:
            inputs.view("which", types.Warning(label=text, description="Nothing is selected, so it is all of them."))
            confirm = inputs.bool("confirm", default=False, required=True, label=f"Yes, {text[0].lower()}{text[1:]}")
            if not ctx.params.get("confirm"):
                confirm.invalid = True
                confirm.error_message = f"{text}: tick the box to confirm, or select regions"
        inputs.bool("undo", default=False, label="Take back instead: put them back to pending")

    def act(self, ctx: Any) -> dict[str, Any]:
        """Review them."""
        key = ctx.params.get("key") or forms.regions_key(ctx)
        review.scoring_run(ctx.dataset, key)
        target = target_of(ctx, key)
        if target.whole and not ctx.params.get("confirm"):
            raise LabelQualityError(f"Expected `confirm=True` to review {target.text}: {target.number:,}")
        decision = "pending" if ctx.params.get("undo") else self.decision
        reviewer = ctx.params.get("reviewer") or getattr(ctx.user, "name", None)
        report = review.review_regions(target.samples, decision, key=key, label_ids=target.label_ids, reviewer=reviewer)
        ctx.ops.clear_selected_labels()
        ctx.ops.clear_selected_samples()
        ctx.ops.reload_dataset()
        counts = ", ".join(f"{report.by_status.get(status, 0):,} {status}" for status in STATUSES)
        ctx.ops.notify(f"{count(report.num_regions, 'region')} {decision}; now {counts}", variant="success")
        for warning in report.warnings:
            ctx.ops.notify(spoken(warning), variant="warning")
        return {"num_regions": report.num_regions, "by_status": report.by_status, "changed": report.changed}

    def resolve_output(self, ctx: Any) -> types.Property:
        """How many regions were decided on, and how many of the run have which status now."""
        outputs = types.Object()
        outputs.int("num_regions", label="Regions that were decided on")
        outputs.obj("by_status", label="Regions of the run by status")
        outputs.list("changed", types.String(), label="Images whose label has changed since the run")
        return self.output(ctx, outputs)
