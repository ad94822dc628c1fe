"""Operator: put known errors into a copy of the labels, for a rehearsal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin import rehearsal as kinds_of_errors
from ..fiftyone_plugin.dataset import runs
from ..fiftyone_plugin.workflows import rehearsal
from . import forms
from .progress import execute, run_with_progress, show_report


class InjectLabelErrors(foo.Operator):
    """Copies a label field and corrupts a known share of it."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How the operator appears in the App."""
        return foo.OperatorConfig(
            name="inject_label_errors",
            label="Rehearse with known label errors",
            description="Copy a label field and put known errors into it, to see how many a scoring run finds",
            icon="science",
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def __call__(
        self, sample_collection: Any, label_field: str = "ground_truth", *, delegate: bool = False, **kwargs: Any
    ) -> Any:
        """Inject errors from Python.

        Args:
            sample_collection: the dataset or view
            label_field: its Segmentation field
            delegate: whether to queue the job for `fiftyone delegated launch`
            kwargs: the other arguments of `fiftyone_plugin.inject_label_errors`

        Returns:
            the run's record, or what FiftyOne says of the queued job
        """
        ctx = forms.context_of(sample_collection, label_field=label_field, **kwargs)
        result = execute(self.uri, ctx, delegate=delegate, description="checking labels")
        return result if delegate else runs.find_run(sample_collection._dataset, kwargs.get("key", "rehearsal"))

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form."""
        inputs = types.Object()
        field = forms.label_field_input(ctx, inputs)
        if field is not None:
            inputs.str(
                "into",
                default=f"{field}_with_errors",
                label="New field",
                description="The copy with errors. The given labels are never written.",
            )
            inputs.float(
                "fraction", default=0.2, min=0.01, max=1, label="Share of images", description="One error each."
            )
            view = types.DropdownView(multiple=True)
            for name, title in (kinds_of_errors.ERROR_KINDS | kinds_of_errors.OUTLINE_KINDS).items():
                view.add_choice(name, label=name, description=title)
            inputs.list(
                "kinds",
                types.String(),
                default=[],
                label="Kinds",
                description="Empty: all but erode_all and dilate_all, which concern all objects of an image.",
                view=view,
            )
            inputs.int("seed", default=51, label="Seed")
            forms.key_input(ctx, inputs, "rehearsal", "none; the fields are the new field and `_error`")
            inputs.view_target(ctx, action_description="Copy")
        return types.Property(inputs, view=types.View(label="Rehearse with known label errors"))

    def execute(self, ctx: Any) -> Iterator[Any]:
        """Inject, then say what was made."""
        passed_on = (
            "label_field", "into", "kinds", "seed", "key", "overwrite", "output_dir", "background", "outline_steps",
            "outline_area",
        )  # fmt: skip
        arguments = {name: ctx.params[name] for name in passed_on if ctx.params.get(name) not in (None, "")}
        arguments["fraction"] = forms.number(ctx.params, "fraction", float, 0.2)
        arguments["ignore_index"] = forms.ignore_index_param(ctx.params)
        samples = ctx.target_view()
        report = yield from run_with_progress(
            ctx, lambda progress: rehearsal.inject_label_errors(samples, progress=progress, **arguments)
        )
        if ctx.delegated:
            return
        yield ctx.ops.open_dataset(ctx.dataset.name)  # unlike a reload, takes up new colours
        yield show_report(ctx, "Known errors", report.markdown())
