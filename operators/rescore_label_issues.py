"""Operator: let the scores of regions learn from what was reviewed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.journals import append_log, reviews
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.reviewing import review
from . import forms
from .job import Job


class RescoreLabelIssues(Job):
    """Rewrites the scores of pending regions, without any model; the form only asks."""

    name = "rescore_label_issues"
    label = "Rescore label issues"
    description = (
        "2. Review: order the pending regions anew by what accepted and rejected ones have taught. No model is needed; "
        "first scores are kept."
    )
    icon = "autorenew"
    unlisted = True
    done = "New scores"

    def is_due(self, dataset: Any) -> bool:
        """Whether regions were decided on."""
        return bool(review.runs_with_regions(dataset)) and append_log.holds_any(dataset, reviews.STORE)

    def __call__(self, sample_collection: Any, *, key: str | None = None) -> dict[str, Any]:  # type: ignore[override]
        """Rescore from Python.

        Args:
            sample_collection: the dataset or a view of it
            key: the scoring run; the newest with regions if None

        Returns:
            `num_images`, `num_accepted`, `num_rejected`, `num_missing`
        """
        # A job has no result of its own, so the workflow is called without the form in between.
        key = key or next(reversed(review.runs_with_regions(sample_collection._root_dataset)), "label_quality")
        return asdict(review.rescore_regions(sample_collection, key=key))

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if forms.regions_key_input(ctx, inputs) is not None:
            text = "Accepted and rejected regions keep their scores. No model is needed."
            inputs.view("what", types.Notice(label="New scores for pending regions", description=text))

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        dataset = samples._root_dataset
        key = params.get("key") or next(reversed(review.runs_with_regions(dataset)), "label_quality")
        return review.rescore_regions(dataset, key=key, progress=progress)
