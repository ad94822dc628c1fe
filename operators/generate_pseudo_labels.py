"""Operator: labels from class names, by GroundingDINO, OWLv2 or SAM 3, and SAM."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.models.foundation.checkpoint_names import DETECTORS
from ..fiftyone_plugin.progress import Progress
from ..fiftyone_plugin.workflows.starting import pseudo_labels
from ..fiftyone_plugin.workflows.starting.pseudo_label_options import PseudoLabelOptions
from . import forms
from .job import Job, given

SOURCES = {
    "detector": ("Class names", "GroundingDINO, OWLv2 or SAM 3 find what has these names, without training."),
    "boxes": ("Boxes on the dataset", "A Detections field of any detector, as `apply_model` writes it."),
    "instances": ("Instance masks on the dataset", "A Detections field with masks; needs no SAM."),
}

_PAINTED = ("box_threshold", "unpainted", "nms_iou", "write_confidence")
_UNASKED = ("min_area", "batch_size", "half", "output_dir")


class GeneratePseudoLabels(Job):
    """Writes a field of pseudo labels and its superpixels; the form only asks."""

    name = "generate_pseudo_labels"
    label = "Generate pseudo labels"
    description = "6. Begin without labels: make masks from class names alone, by a detector and SAM, in a new field."
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
            text = "A folder of transformers, or a name on its hub: GroundingDINO, OWLv2, or SAM 3, which needs no SAM."
            forms.suggestion_input(
                inputs, "detector", DETECTORS, required=True, default=DETECTORS[0], label="Detector", description=text
            )
        else:
            _field_input(ctx, inputs, source)
        if source != "instances":
            _checkpoint_input(ctx, inputs, source)
        forms.option_inputs(inputs, PseudoLabelOptions, _PAINTED)
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
        arguments = forms.option_params(params, PseudoLabelOptions, [*SOURCES, "checkpoint", *_PAINTED, *_UNASKED])
        arguments |= given(params, "key", "device", "overwrite", "resume")
        source = params.get("source")
        if source in SOURCES:
            arguments = {name: value for name, value in arguments.items() if name == source or name not in SOURCES}
        if source == "instances":
            arguments.pop("checkpoint", None)
        return pseudo_labels.generate_pseudo_labels(
            samples, classes_param(params.get("classes")), progress=progress, **arguments
        )


def _checkpoint_input(ctx: Any, inputs: types.Object, source: str) -> None:
    """Ask for a SAM, but not where a SAM 3 that was named makes masks by itself."""
    detector = str(ctx.params.get("detector") or DETECTORS[0])
    if source == "detector" and "sam3" in detector.lower():
        text = "SAM 3 makes masks by itself."
        inputs.view("no_sam_needed", types.Notice(label="No SAM checkpoint needed", description=text))
        return
    forms.checkpoint_input(inputs, "segment-anything-vitb-torch")


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
