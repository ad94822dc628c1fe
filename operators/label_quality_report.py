"""Operator: what a run found, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.workflows.handing_on import html_report
from ..fiftyone_plugin.workflows.reviewing.overview import scoring_runs
from . import forms
from .entry import Action
from .progress import execute
from .words import in_the_app


class LabelQualityReport(Action):
    """Writes a file; the form only asks."""

    name = "label_quality_report"
    label = "Write a report"
    description = (
        "4. Hand on what was found: write how much is wrong, the worst images, classes and reviews of a run into one "
        "HTML file that needs no network. The dataset is not changed."
    )
    icon = "summarize"

    def __call__(self, sample_collection: Any, path: str, *, key: str | None = None) -> dict[str, Any]:
        """Write a report from Python.

        Args:
            sample_collection: the dataset or a view of it
            path: HTML file to write
            key: the scoring run; the newest if None

        Returns:
            `path`
        """
        ctx = forms.context_of(sample_collection, path=path, key=key, confirm=True)
        return execute(self.uri, ctx, description="report").result

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form: which run, and where to."""
        inputs = types.Object()
        keys = [run.key for run in scoring_runs(ctx.dataset)]
        if not keys:
            text = "Run 'Label quality: find label errors' first."
            forms.blocked(inputs, "no_run", "Nothing was scored yet", text)
            return self.form(inputs)
        forms.choice_input(inputs, "key", keys, keys[-1], label="Run")
        forms.file_input(ctx, inputs, f"{ctx.dataset.name}-label-quality.html", "HTML file")
        return self.form(inputs)

    def act(self, ctx: Any) -> dict[str, Any]:
        """Write it."""
        key = ctx.params.get("key") or scoring_runs(ctx.dataset)[-1].key
        return {"path": str(html_report.write_report(ctx.dataset, Path(ctx.params["path"]), key=key, words=in_the_app))}

    def resolve_output(self, ctx: Any) -> types.Property:
        """Where it is."""
        return forms.file_output()
