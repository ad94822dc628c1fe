"""Which class of a label field stands for none of the others."""

from __future__ import annotations

from typing import Final

from ...errors import LabelQualityError
from ...models.segmenters.class_names import concept, plain_name
from .classes import ClassMap

NOTHING: Final = frozenset({"none", "nothing"})
"""Further names, as `plain_name` writes them, of a class that stands for none of the others."""


def background_class(classes: ClassMap, background: int | str | None = "auto") -> int | None:
    """Index of the class that stands for none of the others.

    Args:
        classes: of the label field
        background: its name or mask value; None = there is none; "auto" = the class that is called
            background, none or the like, mask value 0 first

    Returns:
        class index, or None

    Raises:
        LabelQualityError: no such class

    Example:
        >>> background_class(ClassMap((0, 1), ("sky", "car"), frozenset())) is None
        True
        >>> background_class(ClassMap((0, 1), ("__Background__", "car"), frozenset()))
        0
    """
    if background is None:
        return None
    if background == "auto":
        called = [value for value, name in classes.value_names.items() if is_nothing(name)]
        return classes.values.index(min(called)) if called else None
    if background in classes.names:
        return classes.names.index(str(background))
    value = int(background) if str(background).lstrip("-").isdigit() else None
    if value is None or value not in classes.values:
        raise LabelQualityError(
            f"Expected `background` to be 'auto', None, or one of the classes {list(classes.names)} or mask values "
            f"{classes.value_list()}, but got {background!r}"
        )
    return classes.values.index(value)


def is_nothing(name: str) -> bool:
    """Whether a class of this name stands for none of the others.

    Args:
        name: of a class

    Returns:
        True for background, none and the like

    Example:
        >>> is_nothing("__background__"), is_nothing("road")
        (True, False)
    """
    return concept(name) == concept("background") or plain_name(name) in NOTHING
