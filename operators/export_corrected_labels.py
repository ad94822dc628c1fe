"""Operator: give corrected labels away."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators.types as types

from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.correcting import corrected_labels
from ..fiftyone_plugin.workflows.correcting.correction_run import planned_fields
from . import forms
from .job import Job, corrected_field_input, edited_input, given

FORMATS = {
    "png": "PNG masks named like the images",
    "ImageSegmentationDirectory": "images and masks (FiftyOne's ImageSegmentationDirectory)",
    "FiftyOneImageDetectionDataset": "objects as FiftyOne's ImageDetectionDataset",
    "COCODetectionDataset": "objects as COCO instances",
    "FiftyOneDataset": "everything, as a FiftyOne dataset",
}


class ExportCorrectedLabels(Job):
    """Writes a folder; the form only asks."""

    name = "export_corrected_labels"
    label = "Export corrected labels"
    description = "4. Export the fixed labels into an empty folder: PNG masks, COCO or a format of FiftyOne."
    icon = "download"
    done = "Exported"
    positional = ("folder", "label_field")

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        if not corrected_field_input(ctx, inputs, planned_fields(ctx.dataset)):
            return
        default = f"~/{ctx.dataset.name}-corrected"
        text = "On the computer that runs FiftyOne: an empty one, or one that does not exist yet."
        asked = inputs.str("folder", required=True, default=default, label="Folder", description=text)
        folder = str(ctx.params.get("folder") or default)
        forms.refuse_where(asked, corrected_labels.require_empty_folder, folder)
        view = types.DropdownView()
        for name, text in FORMATS.items():
            view.add_choice(name, label=text)
        inputs.enum("format", list(FORMATS), default="png", label="Format", view=view)
        edited_input(ctx, inputs)
        inputs.view_target(ctx, action_description="Export")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        chosen = params.get("format") or "png"
        if chosen not in FORMATS:
            raise LabelQualityError(f"Expected `format` to be one of {list(FORMATS)}, but got {chosen!r}")
        kind = None if chosen == "png" else getattr(fo.types, chosen)
        folder = corrected_labels.export_corrected_labels(
            samples, dataset_type=kind, progress=progress, **given(params, "folder", "label_field", "on_edited")
        )
        return f"**The corrected labels are in `{folder}`**"
