"""Operator: accept many issue regions after a few decisions, with a bound on the mistakes among them."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.fields.schema import ScoreFields
from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.quality import KINDS
from ..fiftyone_plugin.quality.certainty.bulk_acceptance import ALLOWED, CONFIDENCE
from ..fiftyone_plugin.workflows.certifying import bulk_acceptance
from . import forms
from .entry import Action
from .progress import execute

_ACTIONS = {
    "review": "Show the regions to decide on next",
    "accept": "Accept those that these decisions allow",
    "undo": "Take back what was accepted in bulk",
    "restart": "Draw anew",
}


class AcceptInBulk(Action):
    """Draws regions to decide on, says what may be accepted, accepts it, takes it back."""

    name = "accept_in_bulk"
    label = "Accept label issues in bulk"
    description = (
        "2. Review: decide on a few issues drawn at random; that tells which of the others can be accepted without "
        "looking, with how many mistakes at most. Can be undone."
    )
    icon = "done_all"

    def __call__(self, sample_collection: Any, action: str = "review", **kwargs: Any) -> dict[str, Any]:
        """Do one step from Python.

        Args:
            sample_collection: the dataset
            action: review, accept, undo or restart; "review" draws where there is no draw yet
            kwargs: `key`, `kinds`, `allowed`, `confidence`, `reviewer`

        Returns:
            `text` (the promise in words), `num_regions` that may be accepted, `num_waiting` of them that are pending,
            `num_accepted` in bulk, `num_to_review` next, and their `to_review` ids
        """
        if isinstance(kwargs.get("kinds"), str):
            kwargs["kinds"] = [kwargs["kinds"]]
        ctx = forms.context_of(sample_collection, action=action, **kwargs)
        return execute(self.uri, ctx, description="accepting in bulk").result

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form: the promise in words, and what to do."""
        inputs = types.Object()
        key = forms.regions_key_input(ctx, inputs)
        if key is not None:
            text = "Empty: all kinds together. Each choice of kinds has a draw of its own."
            inputs.list("kinds", types.String(), default=[], label="Kinds", description=text, view=forms.kinds_view())
            chosen = ctx.params.get("kinds")
            kinds = [kind for kind in KINDS if kind in chosen] if isinstance(chosen, list) else []
            which: dict[str, Any] = {"key": key, "kinds": kinds or None}
            known = bulk_acceptance.bulk_draws_exist(ctx.dataset, **which)
            if known:
                _ask_what_to_do(ctx, inputs, bulk_acceptance.bulk_review_report(ctx.dataset, **which))
            if not known or ctx.params.get("action") == "restart":
                _ask_for_risk(inputs)
        return self.form(inputs)

    def act(self, ctx: Any) -> dict[str, Any]:
        """Do what was chosen."""
        key = ctx.params.get("key") or forms.regions_key(ctx)
        which: dict[str, Any] = {"key": key, "kinds": ctx.params.get("kinds") or None}
        action = ctx.params.get("action") or "review"
        reviewer = ctx.params.get("reviewer") or getattr(ctx.user, "name", None)
        if action not in _ACTIONS:
            raise LabelQualityError(f"Expected `action` to be one of {list(_ACTIONS)}, but got {action!r}")
        dataset = ctx.dataset
        if action in ("review", "restart"):
            report = _review(ctx, which, restart=action == "restart")
        elif action == "accept":
            report = bulk_acceptance.accept_in_bulk(dataset, **which, reviewer=reviewer)
        else:
            bulk_acceptance.undo_accept_in_bulk(dataset, key=key, reviewer=reviewer)
            report = bulk_acceptance.bulk_review_report(dataset, **which)
        if action in ("accept", "undo"):
            ctx.ops.reload_dataset()
        text = report.markdown().replace("**", "").replace("\n- ", ". ")
        ctx.ops.notify(text, variant="success" if report.promise.num_bands else "info")
        return {
            "text": text,
            "num_regions": report.promise.num_regions,
            "num_waiting": len(report.waiting),
            "num_accepted": report.num_accepted,
            "num_to_review": len(report.to_review),
            "to_review": list(report.to_review),
        }

    def resolve_output(self, ctx: Any) -> types.Property:
        """The promise in words, and how many regions it is about."""
        outputs = types.Object()
        outputs.str("text", label="What may be accepted")
        outputs.int("num_regions", label="Regions that may be accepted")
        outputs.int("num_waiting", label="Of them not yet decided on")
        outputs.int("num_accepted", label="Accepted in bulk")
        outputs.int("num_to_review", label="Regions to decide on next")
        outputs.list("to_review", types.String(), label="Their ids")
        return self.output(ctx, outputs)


def _review(ctx: Any, which: dict[str, Any], *, restart: bool) -> bulk_acceptance.BulkReport:
    """Draw where there is no draw, and show what to decide on."""
    if restart or not bulk_acceptance.bulk_draws_exist(ctx.dataset, **which):
        allowed = forms.number(ctx.params, "allowed", float, ALLOWED)
        confidence = forms.number(ctx.params, "confidence", float, CONFIDENCE)
        report = bulk_acceptance.begin_bulk_review(
            ctx.dataset, **which, allowed=allowed, confidence=confidence, restart=restart
        )
    else:
        report = bulk_acceptance.bulk_review_report(ctx.dataset, **which)
    if report.to_review:
        ctx.ops.set_view(bulk_acceptance.show_bulk_review(ctx.dataset, **which))
        ctx.ops.set_active_fields([ScoreFields(which["key"]).regions])
    return report


def _ask_what_to_do(ctx: Any, inputs: types.Object, report: bulk_acceptance.BulkReport) -> None:
    title, *lines = report.markdown().replace("**", "").split("\n- ")
    inputs.view("promise", types.Notice(label=title, description=". ".join(lines)))
    possible = {"review": bool(report.to_review), "accept": bool(report.waiting), "undo": bool(report.num_accepted)}
    view = types.RadioGroup()
    offered = [action for action in _ACTIONS if possible.get(action, True)]
    for action in offered:
        view.add_choice(action, label=_ACTIONS[action])
    inputs.enum("action", list(_ACTIONS), default=offered[0], required=True, label="What to do", view=view)
    if ctx.params.get("action") == "restart":
        text = "Decisions in the order of the present draw count no more. Each draw may fail with its own probability."
        inputs.view("again", types.Warning(label="A draw is thrown away", description=text))


def _ask_for_risk(inputs: types.Object) -> None:
    text = "At most this share of the accepted regions are mistakes: their label is right. 0.05 = 5 %."
    inputs.float("allowed", default=ALLOWED, min=0.001, max=0.5, label="Allowed mistakes", description=text)
    text = "Probability with which that holds. Look as often as you like, it stays true."
    inputs.float("confidence", default=CONFIDENCE, min=0.5, max=0.999, label="Confidence", description=text)
