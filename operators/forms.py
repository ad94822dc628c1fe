"""Pieces that several forms share: only choices that can work, each with a sentence that explains it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.door.objects import object_fields
from ..fiftyone_plugin.dataset.door.scan import segmentation_fields
from ..fiftyone_plugin.dataset.fields.schema import ScoreFields
from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.models.foundation.checkpoint_names import SAM_ON_THE_HUB, ZOO_CHECKPOINTS, ZOO_ON_THE_HUB
from ..fiftyone_plugin.options import about, default_of
from ..fiftyone_plugin.quality import KINDS
from ..fiftyone_plugin.workflows.reviewing import review
from ..fiftyone_plugin.workflows.scoring.class_preview import preview_labels


def label_field_input(ctx: Any, inputs: types.Object, *, objects: bool = False) -> str | None:
    """Ask which field holds the labels.

    Args:
        ctx: of the operator
        inputs: of the form
        objects: whether fields of detections and polylines will do, too

    Returns:
        the chosen field, or None if there is none that could be; the form says so and cannot be sent
    """
    choices = _label_fields(ctx, objects)
    if not choices:
        blocked(
            inputs,
            "no_field",
            "This dataset has no Segmentation field",
            "Labels must be a field of type Segmentation with `mask` or `mask_path`; "
            "'find label errors' and 'score labels' take Detections and Polylines, too.",
        )
        return None
    view = types.DropdownView()
    for name in choices:
        view.add_choice(name, label=name)
    inputs.enum(
        "label_field",
        choices,
        required=True,
        default=choices[0],
        label="Label field",
        description="The masks whose quality is in question. They are read, never written.",
        view=view,
    )
    chosen = ctx.params.get("label_field") or choices[0]
    return chosen if chosen in choices else None  # FiftyOne refuses what is not offered


def classes_view(ctx: Any, inputs: types.Object, label_field: str) -> None:
    """Show the account of classes of a label field, for a job without predictions; last, since it may be long."""
    account_view(inputs, *preview_labels(ctx.dataset, label_field, ignore_index_param(ctx.params)))


def account_view(inputs: types.Object, lines: Sequence[str], refused: str | None) -> None:
    """Show an account of classes, and why the job would refuse it.

    Args:
        inputs: of the form
        lines: the account in markdown
        refused: what does not fit; None if all does
    """
    if refused:
        inputs.view("classes_refused", types.Warning(label="The classes do not fit", description=refused))
    text = "\n".join(lines)
    name = f"class_account_{zlib.crc32(text.encode()):x}"  # a name of its own, or the App keeps the first text
    inputs.str(name, default=text, label="Classes", view=types.MarkdownView(read_only=True))


def first_label_field(ctx: Any) -> str | None:
    """The field that a form with objects offers first."""
    return next(iter(_label_fields(ctx, True)), None)


def _label_fields(ctx: Any, objects: bool) -> list[str]:
    found = _own_last(ctx, segmentation_fields(ctx.dataset))
    if objects:
        own = {name for run in run_records.list_runs(ctx.dataset, unfinished=True) for name in run.fields}
        found += [name for name in object_fields(ctx.dataset) if name not in own]
    scored = [run.label_field for run in run_records.list_runs(ctx.dataset, run_records.SCORING)]
    return sorted(found, key=lambda name: name not in scored[-1:])  # what was scored last is meant most often


def _own_last(ctx: Any, names: list[str]) -> list[str]:
    """Fields that our own runs wrote are seldom what is meant."""
    own = {
        name for run in run_records.list_runs(ctx.dataset) if run.method in run_records.DERIVED for name in run.fields
    }
    return [name for name in names if name not in own] + [name for name in names if name in own]


def blocked(inputs: types.Object, name: str, title: str, text: str) -> None:
    """Say why a form cannot be sent, and keep it from being sent."""
    inputs.view(name, types.Error(label=title, description=text))
    prop = inputs.bool(f"{name}_block", required=True, view=types.HiddenView())
    prop.invalid = True
    prop.error_message = f"{title}. {text}"


def key_input(ctx: Any, inputs: types.Object, default: str, prefix_of: str, method: str) -> None:
    """Ask for the key of a run of a method, and whether to replace a run that has it."""
    asked = inputs.str(
        "key",
        required=False,  # callers from Python leave it out
        default=default,
        label="Key",
        description=f"Name of the run and prefix of its fields: {prefix_of}",
    )
    key = ctx.params.get("key") or default
    existing = run_records.find_run(ctx.dataset, key, unfinished=True) if isinstance(key, str) else None
    refuse_where(asked, run_records.require_free_key, ctx.dataset, key, [], overwrite=True, method=method)
    if existing is not None and existing.finished and existing.method == method:
        tick = inputs.bool(
            "overwrite",
            default=False,
            label=f"Replace the run '{key}'",
            description="There is a run under this key. Replacing it deletes its fields and files once the new ones "
            "are complete; reviews are kept. Otherwise choose another key.",
        )
        if not ctx.params.get("overwrite"):
            tick.invalid = True
            tick.error_message = f"This dataset already has the run '{key}': tick to replace it, or choose another key"


def refuse_where(asked: types.Property, check: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Keep a form from being sent where a check refuses an answer, and show what it says."""
    try:
        check(*args, **kwargs)
    except LabelQualityError as error:
        asked.invalid = True
        asked.error_message = str(error)


STATUS_LABELS: Final = {
    "pending": "pending: to be reviewed",
    "accepted": "accepted: the label is wrong",
    "rejected": "rejected: the label is right",
    "all": "all",
}
"""What the statuses of regions mean."""


def kinds_view() -> types.DropdownView:
    """The kinds of regions, to choose some."""
    view = types.DropdownView(multiple=True)
    for kind in KINDS:
        view.add_choice(kind, label=kind.replace("_", " "))
    return view


def whole_dataset(ctx: Any) -> str:
    """What a form's question for the target view is answered with where all images are meant, also beside patches."""
    return "BASE_VIEW" if ctx.view._is_generated else "DATASET"


def confirm_input(ctx: Any, inputs: types.Object, title: str, text: str) -> None:
    """Name what will be gone, and let the form be sent only after a tick."""
    inputs.view("what_goes", types.Warning(label=title, description=text))
    tick = inputs.bool("confirm", default=False, required=True, label=f"Yes: {title[0].lower()}{title[1:]}")
    if not ctx.params.get("confirm"):
        tick.invalid = True
        tick.error_message = f"{title}: tick the box to confirm (in Python: confirm is True)"


def choice_input(
    inputs: types.Object,
    name: str,
    choices: Sequence[str],
    default: str,
    *,
    label: str,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Ask for one of a few values."""
    view = types.DropdownView()
    for choice in choices:
        view.add_choice(choice, label=(texts or {}).get(choice, choice))
    inputs.enum(name, list(choices), required=False, default=default, label=label, view=view)


def file_input(ctx: Any, inputs: types.Object, name: str, label: str) -> None:
    """Ask for a file to write, and whether to replace one that is there."""
    inputs.str(
        "path", required=True, default=f"~/{name}", label=label, description="On the computer that runs FiftyOne."
    )
    path = Path(str(ctx.params.get("path") or f"~/{name}")).expanduser()
    if path.exists():
        confirm_input(ctx, inputs, "Replace the file", f"{path} is there already.")


def file_output() -> types.Property:
    """Where a file was written."""
    outputs = types.Object()
    outputs.str("path", label="File")
    return types.Property(outputs, view=types.View(label="Saved"))


def group_field_input(ctx: Any, inputs: types.Object) -> None:
    """Ask which images belong together."""
    names = [name for name in ctx.dataset.get_field_schema(flat=False) if name not in ("id", "filepath", "metadata")]
    text = "Images with equal values of this field (video, patient) stay in one fold."
    suggestion_input(inputs, "group_field", names, required=False, label="Keep together", description=text)


def regions_key(ctx: Any) -> str:
    """The run whose regions are meant where none is named: of the selected labels, of the view, or the newest.

    Returns:
        its key; `label_quality` if no run has regions, for the message that follows
    """
    keys = review.runs_with_regions(ctx.dataset)
    selected = {label.get("field") for label in ctx.selected_labels or []}
    for key in keys:
        if ScoreFields(key).regions in selected:
            return key
    if ctx.view._is_generated:
        keys = [key for key in keys if ctx.view.has_field(ScoreFields(key).regions)] or keys
    return keys[-1] if keys else "label_quality"


def regions_key_input(ctx: Any, inputs: types.Object) -> str | None:
    """Ask for the run whose regions are meant, where there is a choice.

    Returns:
        the run's key, or None if no run has regions, in which case the form says so and cannot be sent
    """
    keys = review.runs_with_regions(ctx.dataset)
    if not keys:
        text = "Run 'Label quality: find label errors' first."
        blocked(inputs, "no_regions", "This dataset has no issue regions", text)
        return None
    default = regions_key(ctx)
    if len(keys) > 1:
        view = types.DropdownView()
        for key in keys:
            view.add_choice(key, label=key)
        inputs.enum("key", keys, required=False, default=default, label="Run", view=view)
    chosen = ctx.params.get("key") or default
    return chosen if chosen in keys else default


def checkpoint_input(inputs: types.Object, default: str | None = None) -> None:
    """Ask for a checkpoint of the SAM family, with all names that work."""
    suggestion_input(
        inputs,
        "checkpoint",
        [*ZOO_CHECKPOINTS, *ZOO_ON_THE_HUB, *SAM_ON_THE_HUB],
        required=True,
        default=default,
        label="SAM checkpoint",
        description="A .pth file of segment-anything; a folder of transformers or a name on its hub (SAM, SAM 2 and 3, "
        "SAM-HQ, EdgeTAM); or a SAM of FiftyOne's zoo.",
    )


def suggestion_input(inputs: types.Object, name: str, suggestions: Sequence[str], **about_it: Any) -> Any:
    """Ask for a text, with a list of what works; anything else may be typed.

    Returns:
        the property
    """
    view = types.AutocompleteView(allow_user_input=True)
    for one in suggestions:
        view.add_choice(one, label=one)
    return inputs.str(name, view=view, **about_it)


def ignore_index_input(inputs: types.Object) -> None:
    """Ask which mask values count for nothing."""
    inputs.str(
        "ignore_index",
        default="auto",
        label="Ignored values",
        description="Mask values or class names that count for nothing, separated by commas. 'auto': 255 and classes "
        "called void or ignore. 'none': every pixel counts.",
    )


def ignore_index_param(params: dict[str, Any]) -> Any:
    """What the user wrote into `ignore_index`, as the workflow takes it.

    Args:
        params: the operator's parameters; from Python, the value may also be a number, a list or None
    """
    value = params.get("ignore_index", "auto")
    if not isinstance(value, str):
        return value
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    if [entry.lower() for entry in entries] in ([], ["none"]):
        return None
    if [entry.lower() for entry in entries] == ["auto"]:
        return "auto"
    return [int(entry) if entry.lstrip("-").isdigit() else entry for entry in entries]


def output_dir_input(inputs: types.Object, holds: str) -> None:
    """Ask for the folder of the run's files."""
    inputs.str(
        "output_dir",
        required=False,
        label="Folder",
        description=f"Where {holds} go. Empty: beside FiftyOne's dataset files.",
    )


def number(params: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    """A number parameter; what a form left empty is the default."""
    value = params.get(name)
    return default if value in (None, "") else kind(value)


def context_of(sample_collection: Any, **params: Any) -> dict[str, Any]:
    """The context for calling an operator from Python on a dataset or a view."""
    import fiftyone as fo

    kind = "dataset" if isinstance(sample_collection, fo.Dataset) else "view"
    if isinstance(mapping := params.get("class_mapping"), Mapping):  # a queued job keeps names of keys only
        params["class_mapping"] = {str(key): value for key, value in mapping.items()}
    return {kind: sample_collection, "params": {name: value for name, value in params.items() if value is not None}}


def option_inputs(inputs: types.Object, options: type, names: Sequence[str], **defaults: Any) -> None:
    """Ask for options of a job, with the labels, texts, bounds and defaults that they are declared with.

    Args:
        inputs: of the form
        options: the options class
        names: which of its options
        defaults: what the form begins with instead, by name
    """
    for name in names:
        known, default = about(options, name), defaults.get(name, default_of(options, name))
        words = known.text.replace("if None", "if empty").replace("None", "none")
        words = words.removeprefix("whether ").removeprefix("to ") if known.kind is bool else words
        text = f"{words[0].upper()}{words[1:]}."
        common: dict[str, Any] = {"label": known.label, "description": text, "required": False}
        if known.choices:
            _choice_input(inputs, name, known.choices, default, several=known.kind is list, **common)
        elif known.kind is bool:
            inputs.bool(name, default=default, **common)
        elif known.kind in (int, float):
            bounds = {
                key: value for key, value in (("min", known.minimum), ("max", known.maximum)) if value is not None
            }
            (inputs.int if known.kind is int else inputs.float)(name, default=default, **bounds, **common)
        else:
            inputs.str(name, default=default, **common)


def _choice_input(
    inputs: types.Object, name: str, choices: Mapping[str, str], default: Any, *, several: bool, **common: Any
) -> None:
    view = types.DropdownView(multiple=several)
    for choice, text in choices.items():
        view.add_choice(choice, label=choice, description=text or None)
    if several:
        inputs.list(name, types.String(), default=list(default), view=view, **common)
    else:
        inputs.enum(name, list(choices), default=default, view=view, **common)


def option_params(params: dict[str, Any], options: type, names: Sequence[str]) -> dict[str, Any]:
    """The options of a job from the form's or the caller's parameters; what was left empty is left out.

    Args:
        params: the operator's parameters
        options: the options class
        names: which of its options

    Returns:
        keyword arguments of the job
    """
    found = {name: params[name] for name in names if params.get(name) not in (None, "")}
    kinds = {name: about(options, name).kind for name in found}
    chosen = {name: kinds[name](value) if kinds[name] in (int, float) else value for name, value in found.items()}
    if "ignore_index" in names:
        chosen["ignore_index"] = ignore_index_param(params)
    if isinstance(mapping := chosen.get("class_mapping"), Mapping):
        chosen["class_mapping"] = {int(key) if key.isdecimal() else key: value for key, value in mapping.items()}
    return chosen
