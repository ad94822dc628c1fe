"""Operator: run SAM's image encoder beforehand, so that clicks are answered at once."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.starting import sam_embeddings
from . import forms
from .job import Job, given


class PrecomputeSamEmbeddings(Job):
    """Fills a folder of embeddings; the form only asks."""

    name = "precompute_sam_embeddings"
    label = "Precompute SAM embeddings"
    description = (
        "7. Prepare correction: run SAM once per image, so that clicks in the panel Label correction refine "
        "regions at once."
    )
    icon = "memory"
    done = "SAM embeddings"
    positional = ("checkpoint",)

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        forms.checkpoint_input(inputs)
        inputs.view_target(ctx, action_description="Compute for")
        inputs.str("device", required=False, label="Device", description="cuda, cpu, ... Empty: the best there is.")
        forms.output_dir_input(inputs, "the embeddings, 2 to 11 MB per image,")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        arguments = given(params, "checkpoint", "output_dir", "device", "half")
        return sam_embeddings.precompute_sam_embeddings(samples, progress=progress, **arguments)
