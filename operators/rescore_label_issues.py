"""Operator: let the scores of regions learn from what was reviewed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.journals import append_log, reviews
from ..fiftyone_plugin.workflows.reviewing import review
from . import forms
from .entry import Entry
from .progress import run_with_progress


class RescoreLabelIssues(Entry):
    """Rewrites the scores of pending regions, without any model."""

    name = "rescore_label_issues"
    label = "Rescore label issues"
    description = (
        "2. Review: order the pending regions anew by what accepted and rejected ones have taught. No model is needed; "
        "first scores are kept."
    )
    icon = "autorenew"
    unlisted = True
    long = True

    def is_due(self, dataset: Any) -> bool:
        """Whether regions were decided on."""
        return bool(review.runs_with_regions(dataset)) and append_log.holds_any(dataset, reviews.STORE)

    def __call__(self, sample_collection: Any, *, key: str | None = None) -> dict[str, Any]:
        """Rescore from Python.

        Args:
            sample_collection: the dataset or a view of it
            key: the scoring run; the newest with regions if None

        Returns:
            `num_images`, `num_accepted`, `num_rejected`, `num_missing`
        """
        # An operator with progress has no result of its own, so the job is called without the form in between.
        key = key or next(reversed(review.runs_with_regions(sample_collection._root_dataset)), "label_quality")
        return asdict(review.rescore_regions(sample_collection, key=key))

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form: which run."""
        inputs = types.Object()
        if forms.regions_key_input(ctx, inputs) is not None:
            text = "Accepted and rejected regions keep their scores. No model is needed."
            inputs.view("what", types.Notice(label="New scores for pending regions", description=text))
        return self.form(inputs)

    def execute(self, ctx: Any) -> Iterator[Any]:
        """Rescore, then say from how many reviews."""
        key = ctx.params.get("key") or forms.regions_key(ctx)
        report = yield from run_with_progress(
            ctx, lambda progress: review.rescore_regions(ctx.dataset, key=key, progress=progress)
        )
        if ctx.delegated:
            return
        yield ctx.ops.reload_dataset()
        yield ctx.ops.notify(report.markdown().replace("**", ""), variant="success")
