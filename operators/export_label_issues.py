"""Operator: the regions of a run as a list for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.fields.regions import STATUSES
from ..fiftyone_plugin.workflows.handing_on import issue_lists
from . import forms
from .entry import Action
from .job import given
from .progress import execute


class ExportLabelIssues(Action):
    """Writes a file; the form only asks."""

    name = "export_label_issues"
    label = "Export label issues"
    description = (
        "4. Hand on the list of errors: write the regions of a run as CSV or COCO JSON, and tag their images, for "
        "other tools. Labels are not changed."
    )
    icon = "table_view"

    def __call__(self, sample_collection: Any, path: str, **kwargs: Any) -> dict[str, Any]:
        """Export from Python.

        Args:
            sample_collection: the dataset or a view of it
            path: file to write
            kwargs: the other arguments of `fiftyone_plugin.export_label_issues`

        Returns:
            `path`
        """
        if isinstance(kwargs.get("statuses"), str):
            kwargs["statuses"] = [kwargs["statuses"]]  # as the form gives them
        ctx = forms.context_of(sample_collection, path=path, confirm=True, **kwargs)
        return execute(self.uri, ctx, description="exporting").result

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form: which regions, and where to."""
        inputs = types.Object()
        if forms.regions_key_input(ctx, inputs) is None:
            return self.form(inputs)
        form = ctx.params.get("format") or "csv"
        forms.choice_input(
            inputs, "format", list(issue_lists.FORMATS), "csv", label="Format", texts=issue_lists.FORMATS
        )
        ending = "csv" if form == "csv" else "json"
        forms.file_input(ctx, inputs, f"{ctx.dataset.name}-label-issues.{ending}", "File")
        view = types.DropdownView(multiple=True)
        for status in STATUSES:
            view.add_choice(status, label=forms.STATUS_LABELS[status])
        inputs.list("statuses", types.String(), default=["pending", "accepted"], label="Which regions", view=view)
        text = "Their images get this tag, for tools that take tagged images. Empty: none."
        inputs.str("tag", required=False, label="Tag", description=text)
        inputs.view_target(ctx, action_description="Export")
        return self.form(inputs)

    def act(self, ctx: Any) -> dict[str, Any]:
        """Write it."""
        key = ctx.params.get("key") or forms.regions_key(ctx)
        chosen = given(ctx.params, "format", "statuses", "tag")
        path = issue_lists.export_label_issues(ctx.target_view(), Path(ctx.params["path"]), key=key, **chosen)
        if chosen.get("tag"):
            ctx.ops.reload_dataset()
        return {"path": str(path)}

    def resolve_output(self, ctx: Any) -> types.Property:
        """Where it is."""
        return forms.file_output()
