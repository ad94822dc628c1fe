"""Texts in the words of the App: what forms call an argument of Python, and how an operator is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import fiftyone.operators.types as types

from ..fiftyone_plugin.options import about
from ..fiftyone_plugin.wording import as_labels
from ..fiftyone_plugin.workflows.scoring.plan import ScoringOptions

_CALL = re.compile(r"(?:in Python )?((?:\b(?:pass|choose|set|use) )?)`([a-z]\w*=[^`]+)`")

ELSEWHERE = MappingProxyType(
    {
        "class_mapping": "Which channel is which class",
        "ignore_index": "Ignored values",
        "key": "Key",
        "model": "Model",
        "mute": "Leave out",
        "overwrite": "Replace the run",
        **{
            name: about(ScoringOptions, name).label
            for name in ("max_regions_per_image", "min_region_area", "unmatched")
        },
    }
)
"""Arguments that texts name where another form asks for them, with the label that they have there."""


def in_the_app(text: str, labels: Mapping[str, str] = MappingProxyType({})) -> str:
    """A text of a job as a person in the App reads it.

    Args:
        text: in the words of Python
        labels: what the form at hand calls each argument

    Returns:
        with labels of forms and titles of operators; what no form asks for is said to be of Python

    Example:
        >>> in_the_app("raise `min_region_area`; `check_labels` lists them")
        "raise 'Smallest region'; 'Label quality: check labels' lists them"
        >>> in_the_app("pass `tile=512`, or set `overwrite=True`")
        "in Python pass tile=512, or tick 'Replace the run'"
    """
    return _CALL.sub(r"in Python \1\2", as_labels(text, {**_titles(), **ELSEWHERE, **labels}))


def spoken(text: str, labels: Mapping[str, str] = MappingProxyType({})) -> str:
    """The same where the App shows no Markdown, so that backticks would be seen.

    Example:
        >>> spoken("as in `score_label_quality`, or `auto`")
        "as in 'Label quality: score labels', or 'auto'"
    """
    return in_the_app(text, labels).replace("`", "'")


@cache
def _titles() -> dict[str, str]:
    from . import OPERATORS  # which import this module

    return {one.name: one().config.label for one in OPERATORS}


def labels_of(inputs: types.Object) -> dict[str, str]:
    """What a form calls each argument."""
    return {name: one.view.label for name, one in inputs.properties.items() if getattr(one.view, "label", None)}


def reword(inputs: types.Object) -> None:
    """Put all texts of a form into the words of the App."""
    labels = labels_of(inputs)
    for one in inputs.properties.values():
        if one.error_message:
            one.error_message = spoken(one.error_message, labels)
        if isinstance(one.view, types.MarkdownView):
            one.default = in_the_app(one.default, labels) if isinstance(one.default, str) else one.default
            continue
        for shown in (one.view, *getattr(one.view, "choices", ())):
            if shown is not None and shown.description:
                shown.description = spoken(shown.description, labels)
