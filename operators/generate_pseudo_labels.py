"""Operator: labels from class names, by GroundingDINO and SAM."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.starting import pseudo_labels
from . import forms
from .job import Job, given

SOURCES = {
    "detector": ("GroundingDINO", "Boxes for class names, without training."),
    "boxes": ("Boxes on the dataset", "A Detections field of any detector."),
    "instances": ("Instance masks on the dataset", "A Detections field with masks; needs no SAM."),
}


class GeneratePseudoLabels(Job):
    """Writes a field of pseudo labels and its superpixels; the form only asks."""

    name = "generate_pseudo_labels"
    label = "Generate pseudo labels"
    description = (
        "6. Begin without labels: make masks from class names alone, by GroundingDINO and SAM, in a new field."
    )
    icon = "auto_awesome"
    done = "Pseudo labels"
    positional = ("classes",)

    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""
        view = types.RadioGroup()
        for name, (label, text) in SOURCES.items():
            view.add_choice(name, label=label, description=text)
        inputs.enum("source", list(SOURCES), required=True, default="detector", label="Objects come from", view=view)
        source = ctx.params.get("source") or "detector"
        inputs.str(
            "classes",
            required=source == "detector",
            label="Classes",
            description="Names separated by commas; wordings to look for after a colon, separated by |: "
            "person: person|pedestrian, car: car|van, road"
            + ("" if source == "detector" else ". Empty: the labels that occur."),
        )
        if source == "detector":
            inputs.str(
                "detector",
                required=True,
                default="IDEA-Research/grounding-dino-base",
                label="Detector",
                description="A GroundingDINO checkpoint of transformers: a folder, or a name on the hub.",
            )
        else:
            _field_input(ctx, inputs, source)
        if source != "instances":
            inputs.str(
                "checkpoint",
                required=True,
                default="segment-anything-vitb-torch",
                label="SAM checkpoint",
                description="A .pth file of segment-anything, or a model of FiftyOne's zoo.",
            )
        _paint_input(inputs)
        forms.key_input(
            ctx,
            inputs,
            pseudo_labels.DEFAULT_KEY,
            "the labels, `_superpixels`, `_confidence`",
            run_records.PSEUDO_LABELS,
        )
        inputs.view_target(ctx, action_description="Label")
        forms.output_dir_input(inputs, "the labels")

    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow."""
        arguments = given(
            params, "detector", "boxes", "instances", "checkpoint", "key", "box_threshold", "unpainted", "nms_iou",
            "min_area", "write_confidence", "batch_size", "half", "device", "output_dir", "overwrite", "resume",
        )  # fmt: skip
        source = params.get("source")
        if source in SOURCES:
            arguments = {name: value for name, value in arguments.items() if name == source or name not in SOURCES}
        if source == "instances":
            arguments.pop("checkpoint", None)
        return pseudo_labels.generate_pseudo_labels(
            samples, classes_param(params.get("classes")), progress=progress, **arguments
        )


def classes_param(value: Any) -> Any:
    """What the user wrote as classes, as the workflow takes it.

    Args:
        value: text as the form explains it, or a list or mapping from Python

    Raises:
        LabelQualityError: if a name is given twice
    """
    if not isinstance(value, str):
        return value
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    if not entries:
        return None
    if not any(":" in entry for entry in entries):
        return entries
    named: dict[str, list[str]] = {}
    for entry in entries:
        name, _, wordings = entry.partition(":")
        if name.strip() in named:
            raise LabelQualityError(f"Expected each class once, but got {name.strip()!r} twice")
        named[name.strip()] = [word.strip() for word in wordings.split("|") if word.strip()] or [name.strip()]
    return named


def _field_input(ctx: Any, inputs: types.Object, source: str) -> None:
    names = list(ctx.dataset.get_field_schema(embedded_doc_type=fo.Detections))
    if not names:
        forms.blocked(inputs, "no_detections", "This dataset has no Detections field", "Choose another source.")
        return
    view = types.DropdownView()
    for name in names:
        view.add_choice(name, label=name)
    inputs.enum(source, names, required=True, label="Field", view=view)


def _paint_input(inputs: types.Object) -> None:
    inputs.float(
        "box_threshold",
        default=pseudo_labels.BOX_THRESHOLD,
        min=0,
        max=1,
        label="Box threshold",
        description="Boxes that are less probable are left out.",
    )
    view = types.DropdownView()
    view.add_choice("background", label="Background (mask value 0)")
    view.add_choice("ignore", label="Nothing: no label there (255)")
    inputs.enum(
        "unpainted", list(pseudo_labels.UNPAINTED), default="background", label="What no mask covers becomes", view=view
    )
    inputs.float(
        "nms_iou",
        required=False,
        min=0,
        max=1,
        label="Remove overlaps",
        description="Of two boxes that overlap by more than this IoU, only the better one stays. Empty: all stay.",
    )
    inputs.bool(
        "write_confidence",
        default=False,
        label="Write confidence",
        description="A heatmap of each pixel's probability.",
    )
