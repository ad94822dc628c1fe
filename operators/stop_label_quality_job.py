"""Operator: stop a job that runs now."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.runs import running_jobs
from . import forms
from .entry import Action
from .progress import execute


class StopLabelQualityJob(Action):
    """Asks a job to stop; it does so between two of its steps."""

    name = "stop_label_quality_job"
    label = "Stop a running job"
    description = (
        "9. Stop (cancel, abort) a label quality job that runs now, on any page or in the background. What it has "
        "computed is kept: the same job started again goes on."
    )
    icon = "stop_circle"

    def __call__(self, sample_collection: Any, job: str) -> dict[str, Any]:
        """Stop a job from Python.

        Args:
            sample_collection: the dataset or a view of it
            job: its id, from `dataset.runs.running_jobs`

        Returns:
            `title` of the job
        """
        return execute(self.uri, forms.context_of(sample_collection, job=job), description="stopping").result

    def is_due(self, dataset: Any) -> bool:
        """Whether any job runs."""
        return bool(running_jobs.running_jobs(dataset))

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form: which job."""
        inputs = types.Object()
        jobs = running_jobs.running_jobs(ctx.dataset)
        if not jobs:
            forms.blocked(inputs, "no_job", "Nothing to stop", "No label quality job is running on this dataset.")
            return self.form(inputs)
        view = types.DropdownView()
        for job in jobs:
            view.add_choice(job.job_id, label=f"{job.title}, {job.user} on {job.host}", description=job.phase or None)
        ids = [job.job_id for job in jobs]
        inputs.enum("job", ids, required=True, default=ids[0], label="Job", view=view)
        return self.form(inputs)

    def act(self, ctx: Any) -> dict[str, Any]:
        """Ask it to stop."""
        title = running_jobs.stop_job(ctx.dataset, ctx.params["job"])
        ctx.ops.notify(f"{title} is being stopped", variant="info")
        return {"title": title}

    def resolve_output(self, ctx: Any) -> types.Property:
        """What was stopped."""
        outputs = types.Object()
        outputs.str("title", label="Asked to stop")
        return types.Property(outputs, view=types.View(label=self.title))
