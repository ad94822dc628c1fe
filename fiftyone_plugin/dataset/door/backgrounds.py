"""Which class of a label field stands for none of the others."""

from __future__ import annotations

from ...errors import LabelQualityError
from .classes import ClassMap

BACKGROUND_NAMES = frozenset({"background", "_background_", "bg", "none", "nothing", "unlabeled", "unlabelled"})
"""Names of mask value 0 that mean "none of the classes": always correctable, and guarded from taking over."""


def background_class(classes: ClassMap, background: int | str | None = "auto") -> int | None:
    """Index of the class that stands for none of the others.

    Args:
        classes: of the label field
        background: its name or mask value; None = there is none; "auto" = mask value 0 if its name is one of
            `BACKGROUND_NAMES`

    Returns:
        class index, or None

    Raises:
        LabelQualityError: no such class

    Example:
        >>> background_class(ClassMap((0, 1), ("sky", "car"), frozenset())) is None
        True
        >>> background_class(ClassMap((0, 1), ("Background", "car"), frozenset()))
        0
    """
    if background is None:
        return None
    if background == "auto":
        is_background = 0 in classes.values and classes.names[classes.values.index(0)].lower() in BACKGROUND_NAMES
        return classes.values.index(0) if is_background else None
    if background in classes.names:
        return classes.names.index(str(background))
    value = int(background) if str(background).lstrip("-").isdigit() else None
    if value is None or value not in classes.values:
        raise LabelQualityError(
            f"Expected `background` to be 'auto', None, or one of the classes {list(classes.names)} or mask values "
            f"{classes.value_list()}, but got {background!r}"
        )
    return classes.values.index(value)
