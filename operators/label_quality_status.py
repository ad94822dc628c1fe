"""Operator: how far the dataset is, and what to do next."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.workflows.reviewing import next_steps
from . import forms
from .entry import Action, is_on_page
from .progress import execute
from .words import in_the_app


class LabelQualityStatus(Action):
    """Reads what stands on the dataset."""

    name = "label_quality_status"
    label = "Status and next step"
    description = (
        "1. Say how far label quality of this dataset is: runs, what the newest one found (mislabeled share, classes, "
        "warnings), and which operator to use next. Changes nothing."
    )
    icon = "route"
    risk = "low"

    def __call__(self, sample_collection: Any) -> dict[str, Any]:
        """The status from Python.

        Args:
            sample_collection: the dataset or a view of it

        Returns:
            `dataset`, `label_fields`, `runs`, `steps`, `report`, `text`
        """
        return execute(self.uri, forms.context_of(sample_collection), description="status").result

    def act(self, ctx: Any) -> dict[str, Any]:
        """Read it."""
        status = next_steps.dataset_status(ctx.dataset)
        text = status.markdown()
        return {**status.as_dict(), "text": in_the_app(text) if is_on_page(ctx) else text}

    def resolve_output(self, ctx: Any) -> types.Property:
        """The status as text."""
        outputs = types.Object()
        outputs.str("text", label="Status", view=types.MarkdownView())
        return types.Property(outputs, view=types.View(label=self.title))
