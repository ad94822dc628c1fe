"""Operator: delete a run with everything it wrote."""

from __future__ import annotations

import json
from typing import Any, Final

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows import housekeeping
from . import forms
from .entry import Action, is_on_page
from .progress import execute


class DeleteLabelQualityRun(Action):
    """Deletes exactly a run's fields, views and files."""

    name = "delete_label_quality_run"
    label = "Delete a run"
    description = (
        "9. Delete a label quality run with every field, saved view and file that it wrote, and nothing else. "
        "Cannot be undone; reviews and answers are kept."
    )
    icon = "delete"
    risk = "high"

    def __call__(self, sample_collection: Any, key: str) -> dict[str, Any]:
        """Delete a run from Python.

        Args:
            sample_collection: the dataset or a view of it
            key: the run's key

        Returns:
            what was deleted: `key`, `fields`, `views`; and `left`: folders that could not be deleted, and why
        """
        return execute(
            self.uri, forms.context_of(sample_collection, key=key, confirm=True), description="deleting"
        ).result

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form: which run, and what goes with it."""
        inputs = types.Object()
        records = {run.key: run for run in run_records.list_runs(ctx.dataset, unfinished=True)}
        if not records:
            forms.blocked(inputs, "no_run", "No runs", "This dataset has no label quality run to delete.")
            return self.form(inputs)
        view = types.DropdownView()
        for key, run in records.items():
            view.add_choice(key, label=f"{key} ({run.label_field})")
        inputs.enum("key", list(records), required=True, label="Run", view=view)
        chosen = records.get(str(ctx.params.get("key", "")))
        if chosen is not None:
            forms.confirm_input(ctx, inputs, f"Delete the run '{chosen.key}' for good", _what_goes(chosen))
        return self.form(inputs)

    def resolve_output(self, ctx: Any) -> types.Property:
        """What was deleted."""
        outputs = types.Object()
        outputs.str("key", label="Deleted run")
        outputs.list("fields", types.String(), label="Its fields")
        outputs.list("views", types.String(), label="Its saved views")
        outputs.list("left", types.String(), label="What could not be deleted")
        return types.Property(outputs, view=types.View(label="Deleted"))

    def act(self, ctx: Any) -> dict[str, Any] | None:
        """Delete it; a page that shows what is about to go shows the dataset first, and then asks again."""
        if is_on_page(ctx) and not ctx.params.get(_CLEARED) and _is_shown(ctx):
            ctx.ops.clear_view()  # loaded together with the deletion, the old view's fields would be an error page
            ctx.trigger(self.uri, params={**ctx.params, _CLEARED: True})
            return None
        record = housekeeping.delete_label_quality_run(ctx.dataset, ctx.params["key"])
        ctx.ops.set_active_fields([name for name in ctx.active_fields if name not in record.fields])
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"Deleted: the run '{record.key}' and {count(len(record.fields), 'field')}", variant="success")
        for sentence in record.left:
            ctx.ops.notify(sentence, variant="warning")
        return {"key": record.key, "fields": record.fields, "views": record.views, "left": record.left}


_CLEARED: Final = "cleared"
"""Parameter of a page's second call: the grid shows nothing of the run any more."""


def _is_shown(ctx: Any) -> bool:
    """Whether the grid's view needs a field of the run."""
    record = run_records.find_run(ctx.dataset, ctx.params["key"], unfinished=True)
    shown = json.dumps(ctx.view._serialize(), default=str)
    return record is not None and any(name in shown for name in record.fields)


def _what_goes(run: run_records.RunRecord) -> str:
    parts = [f"fields {', '.join(run.fields)}"]
    if run.views:
        parts.append(f"saved views {', '.join(run.views)}")
    if run.output_dir:
        parts.append(f"the run's files in {run.output_dir}")
    return "; ".join(parts)
