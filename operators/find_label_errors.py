"""Operator: find the label errors of a dataset, with a model or without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.finding import label_errors
from . import forms
from .job import Job, given
from .progress import run_with_progress, show_report


class FindLabelErrors(Job):
    """Trains the quick model if need be, scores, and shows the worst images; the form asks what cannot be guessed."""

    name = "find_label_errors"
    label = "Find label errors"
    description = "One job, no model needed: which images, regions and pixels of the labels are wrong? Worst first"
    icon = "troubleshoot"
    done = "Label errors"
    takes_hours = True
    default_key = label_errors.DEFAULT_KEY

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        label_field = forms.label_field_input(ctx, inputs, objects=True)
        if label_field is None:
            return
        forms.classes_view(ctx, inputs, label_field)
        view = types.AutocompleteView(allow_user_input=True)
        for run in run_records.list_runs(ctx.dataset):
            if "model_folder" in run.parameters:
                view.add_choice(run.key, label=run.key)
        inputs.str(
            "model",
            required=False,
            label="Model",
            description="Empty: quick ones are trained, so that each image is judged by one that has not seen it. Or a "
            "training run of this dataset, a model folder or file, torchvision:..., transformers:..., zoo:...",
            view=view,
        )
        if label_errors.DEFAULT_KEY in ctx.dataset.list_runs():
            inputs.bool(
                "overwrite",
                default=False,
                label=f"Replace the run '{label_errors.DEFAULT_KEY}'",
                description="Its fields and files are deleted once the new ones are complete; reviews are kept.",
            )

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> label_errors.FindingReport:
        """Call the workflow."""
        names = ("label_field", "model", "key", "group_field", "output_dir", "overwrite", "training")
        return label_errors.find_label_errors(samples, progress=progress, **given(params, *names))

    def execute(self, ctx: Any) -> Iterator[Any]:
        """Find, then show the worst images."""
        samples, params = ctx.target_view(), dict(ctx.params)
        report = yield from run_with_progress(ctx, lambda progress: self.work(samples, params, progress))
        if ctx.delegated:
            return
        yield ctx.ops.open_dataset(ctx.dataset.name)  # unlike a reload, takes up new colours
        yield ctx.ops.set_view(ctx.dataset.load_saved_view(report.scoring.views[0]))
        yield show_report(ctx, self.done, report.markdown())
