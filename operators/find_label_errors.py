"""Operator: find the label errors of a dataset, with a model or without one."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.finding import label_errors
from ..fiftyone_plugin.workflows.scoring.model_names import require_model, training_runs
from . import forms
from .job import Job, given


class FindLabelErrors(Job):
    """Trains the quick model if need be, scores, and shows the worst images; the form asks what cannot be guessed."""

    name = "find_label_errors"
    label = "Find label errors"
    description = (
        "1. Start here: find the mislabeled (mislabelled) images, regions and pixels of a segmentation dataset, "
        "worst first. No model is needed: quick ones are trained. Labels are not changed."
    )
    icon = "troubleshoot"
    done = "Label errors"
    takes_hours = True
    default_key = label_errors.DEFAULT_KEY

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        label_field = forms.label_field_input(ctx, inputs, objects=True)
        if label_field is None:
            return
        view = types.AutocompleteView(allow_user_input=True)
        for key in training_runs(ctx.dataset):
            view.add_choice(key, label=key)
        asked = inputs.str(
            "model",
            required=False,
            label="Model",
            description="Empty: quick models are trained, each image is judged by one that has not seen it. Or a "
            "training run of this dataset, a model folder or file, torchvision:..., transformers:..., zoo:...",
            view=view,
        )
        if ctx.params.get("model"):
            forms.refuse_where(asked, require_model, ctx.dataset, str(ctx.params["model"]))
        if ctx.params.get("key") or run_records.find_run(ctx.dataset, label_errors.DEFAULT_KEY):
            forms.key_input(
                ctx,
                inputs,
                label_errors.DEFAULT_KEY,
                "the score, `_regions`, `_issues`, `_map`, `_model`",
                run_records.SCORING,
            )
        forms.classes_view(ctx, inputs, label_field)

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> label_errors.FindingReport:
        """Call the workflow."""
        names = ("label_field", "model", "key", "group_field", "output_dir", "overwrite", "training")
        return label_errors.find_label_errors(samples, progress=progress, **given(params, *names))

    def view_after(self, report: label_errors.FindingReport) -> str:
        """The worst images."""
        return report.scoring.views[0]
