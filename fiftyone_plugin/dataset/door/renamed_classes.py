"""Classes that got another name since something was written: mask values tell which they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .scan import mask_targets_of


def values_of_names(rows: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """The mask value that each class had when an account was made; a class that was renamed since is known by it.

    Args:
        rows: of `account.class_rows`, as a run keeps them

    Returns:
        name to value, or to the packed colour

    Example:
        >>> rows = [{"value": "7", "name": "car"}, {"value": "#0000ff", "name": "sky"}, {"value": "", "name": "tree"}]
        >>> values_of_names(rows)
        {'car': 7, 'sky': 255}
    """
    first = {row["name"]: row["value"].split(",")[0].strip() for row in rows}
    return {name: _number(text) for name, text in first.items() if text}


def names_now(samples: Any, label_field: str) -> dict[int, str]:
    """Mask value, or packed colour, to the name that it has now; names that several values have are left out.

    Args:
        samples: the `fiftyone` dataset or a view of it
        label_field: its Segmentation field

    Returns:
        value to name
    """
    targets = mask_targets_of(samples, label_field)
    named = {_number(str(key)): str(name) for key, name in targets.items()}
    times = Counter(named.values())
    return {value: name for value, name in named.items() if times[name] == 1}


def _number(text: str) -> int:
    return int(text[1:], 16) if text.startswith("#") else int(text)
