"""Colours and ticked fields that the App takes up where a job has changed them.

The App reads both only when a dataset is opened, which closes the panels that are open.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

Looks = dict[str, Any]


def looks_of(dataset: Any) -> Looks:
    """What the App would begin with, were the dataset opened now.

    Args:
        dataset: the `fiftyone.Dataset`

    Returns:
        `colors`, as FiftyOne keeps them, and the ticked `fields`
    """
    config = dataset.app_config
    colors = config.color_scheme.to_dict() if config.color_scheme else {}
    fields = config.active_fields.paths if config.active_fields else []
    return {"colors": {name: value for name, value in colors.items() if value is not None}, "fields": list(fields)}


def take_up_looks(ctx: Any, before: Looks) -> Generator[Any, None, None]:
    """Have the App take up what has changed.

    Args:
        ctx: FiftyOne's execution context
        before: what `looks_of` said then

    Yields:
        messages for the App
    """
    now = looks_of(ctx.dataset)
    if now["colors"] != before["colors"]:
        yield ctx.trigger("set_color_scheme", {name: now["colors"][name] for name in _TAKEN if name in now["colors"]})
    if now["fields"] != before["fields"]:
        yield ctx.ops.set_active_fields(now["fields"])


_TAKEN = ("color_by", "opacity", "fields", "colorscales")
"""Of a dataset's colours, those that this plugin sets."""
