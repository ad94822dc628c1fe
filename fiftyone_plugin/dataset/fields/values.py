"""What comes from outside, a form, a script or a request, is of the type and size that the database's fields have.

FiftyOne writes whatever it is given and refuses to read it afterwards: a number in a field of text makes all of a
dataset unreadable.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

from ...errors import LabelQualityError

MOST_LETTERS: Final = 200
MOST_IDS: Final = 1_000_000


def text_or_none(name: str, value: Any) -> str | None:
    """A short text, or None.

    Args:
        name: of the parameter, for the message
        value: what came in

    Returns:
        the text without spaces around it; None for an empty one

    Raises:
        LabelQualityError: if it is no text, or too long

    Example:
        >>> text_or_none("reviewer", " ada ")
        'ada'
        >>> text_or_none("reviewer", 7)
        Traceback (most recent call last):
        fiftyone_plugin.errors.LabelQualityError: Expected `reviewer` to be a text or None, but got 7; pass `str(7)`
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise LabelQualityError(
            f"Expected `{name}` to be a text or None, but got {_shown(value)}; pass `str({_shown(value)})`"
        )
    text = value.strip()
    if len(text) > MOST_LETTERS or not text.isprintable():
        raise LabelQualityError(
            f"Expected `{name}` to be at most {MOST_LETTERS} printable characters, but got {len(text):,}; shorten it"
        )
    return text or None


def require_text(name: str, value: Any) -> str:
    """A name that goes into a query of the database, where anything but a text would mean something else.

    Args:
        name: of the parameter, for the message
        value: what came in, such as a key or the name of a field

    Returns:
        the same

    Raises:
        LabelQualityError: if it is no text

    Example:
        >>> require_text("key", {"$gt": ""})
        Traceback (most recent call last):
        fiftyone_plugin.errors.LabelQualityError: Expected `key` to be a text, but got {'$gt': ''}
    """
    if not isinstance(value, str):
        raise LabelQualityError(f"Expected `{name}` to be a text, but got {_shown(value)}")
    return value


def object_ids(name: str, values: Any) -> list[str]:
    """Ids of samples or labels.

    Args:
        name: of the parameter, for the message
        values: one id or several

    Returns:
        the ids, each once

    Raises:
        LabelQualityError: if something else is among them

    Example:
        >>> object_ids("label_ids", "65f0c0ffee65f0c0ffee65f0")
        ['65f0c0ffee65f0c0ffee65f0']
    """
    from bson import ObjectId

    listed = [values] if isinstance(values, str) else values
    if not isinstance(listed, Iterable) or isinstance(listed, dict | bytes):
        raise LabelQualityError(f"Expected `{name}` to be a list of ids, but got {_shown(values)}")
    ids = list(listed)
    wrong = [one for one in ids if not isinstance(one, str) or not ObjectId.is_valid(one)]
    if wrong or len(ids) > MOST_IDS:
        what = _shown(wrong[0]) if wrong else f"{len(ids):,} of them"
        raise LabelQualityError(
            f"Expected `{name}` to be at most {MOST_IDS:,} ids of 24 digits and letters a to f, but got {what}"
        )
    return list(dict.fromkeys(ids))


def number_between(name: str, value: Any, least: float, most: float) -> float:
    """A finite number in a range.

    Args:
        name: of the parameter, for the message
        value: what came in
        least: smallest value
        most: largest value

    Returns:
        the number

    Raises:
        LabelQualityError: if it is none, or not in the range

    Example:
        >>> number_between("x", 3, 0, 10)
        3.0
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise LabelQualityError(f"Expected `{name}` to be a number, but got {_shown(value)}")
    if not least <= value <= most:
        raise LabelQualityError(f"Expected `{name}` from {least:g} to {most:g}, but got {value:g}")
    return float(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
