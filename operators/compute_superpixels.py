"""Operator: the parts of images that correction queries are about."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.starting import superpixels
from . import forms
from .job import Job, given


class ComputeSuperpixels(Job):
    """Writes a field of superpixels; the form only asks."""

    name = "compute_superpixels"
    label = "Compute superpixels"
    description = "7. Prepare correction: cut images into the parts that questions are about, in a new field."
    icon = "grid_on"
    done = "Superpixels"
    positional = ()

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        view = types.RadioGroup()
        for name, text in superpixels.METHODS.items():
            view.add_choice(name, label=name, description=text)
        inputs.enum("method", list(superpixels.METHODS), required=True, default="slic", label="Method", view=view)
        method = ctx.params.get("method") or "slic"
        if method == "sam":
            forms.checkpoint_input(inputs)
        if method in ("instances", "labels"):
            _field_input(ctx, inputs, method)
        inputs.int(
            "size", required=False, min=1, label="Size", description="Pixels per superpixel. Empty: 175 per image."
        )
        inputs.bool("fill_gaps", default=True, label="Cover everything", description="Cut up what no mask covers, too.")
        forms.key_input(ctx, inputs, superpixels.DEFAULT_KEY, "none: the field has this name", run_records.SUPERPIXELS)
        inputs.view_target(ctx, action_description="Cut up")
        forms.output_dir_input(inputs, "the superpixels")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        arguments = given(
            params, "method", "key", "checkpoint", "source_field", "size", "fill_gaps", "output_dir", "overwrite",
            "resume", "device", "points_per_side", "pred_iou_thresh", "stability_score_thresh",
        )  # fmt: skip
        return superpixels.compute_superpixels(samples, progress=progress, **arguments)


def _field_input(ctx: Any, inputs: types.Object, method: str) -> None:
    kinds = [fo.Segmentation] if method == "labels" else [fo.Segmentation, fo.Detections]
    names = [name for kind in kinds for name in ctx.dataset.get_field_schema(embedded_doc_type=kind)]
    if not names:
        forms.blocked(inputs, "no_source", "No field to take superpixels from", "Choose another method.")
        return
    view = types.DropdownView()
    for name in names:
        view.add_choice(name, label=name)
    inputs.enum("source_field", names, required=True, label="Field", view=view)
