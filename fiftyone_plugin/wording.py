"""Texts in the words of those who read them: the options of a command, the questions of a form, numbers with nouns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

_VALUE = r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\{[^}]*\}|-?\d+(?:\.\d+)?|\w+"
_MENTION = re.compile(
    rf"(?P<verb>\b(?:pass|choose|set|use) )?(?:`(?P<bare>[a-z]\w*)`|`?\b(?P<name>[a-z]\w*)=(?P<value>{_VALUE})`?)"
)


_OF_ONE: Final = {"are": "is", "were": "was", "have": "has"}

WIDEST: Final = 0.4
"""Of an interval of a share: a wider one says nothing, and is not shown."""


def percent(value: float) -> str:
    """A share in percent, with as many digits as matter.

    Example:
        >>> percent(0.5), percent(0.034), percent(0.00021), percent(0)
        ('50', '3.4', '0.021', '0')
    """
    value *= 100
    if value == 0 or value >= 10:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"


def percent_range(low: float, high: float) -> str:
    """The ends of a share that is not known exactly; nothing where they say nothing.

    Example:
        >>> percent_range(0.008, 0.12), percent_range(0.1, 0.9)
        ('0.8 to 12 %', '')
    """
    return f"{percent(low)} to {percent(high)} %" if high - low <= WIDEST else ""


def of_file(path: str, reason: str) -> str:
    """What is wrong with a file, beginning with its path unless the reason names it.

    Example:
        >>> of_file("a.png", "unreadable mask"), of_file("a.png", "a.png: no probability file")
        ('a.png: unreadable mask', 'a.png: no probability file')
    """
    return reason if path in reason else f"{path}: {reason}"


def left_out(number: int, total: int, path: str, reason: str) -> str:
    """How many images a job could not use, and what is wrong with one of them.

    Example:
        >>> left_out(3, 40, "a.png", "unreadable mask")
        'Left out: 3 of 40 images, for instance a.png: unreadable mask'
    """
    return f"Left out: {number:,} of {count(total, 'image')}, for instance {of_file(path, reason)}"


def count(number: int, noun: str, verb: str = "") -> str:
    """A number with its noun.

    Args:
        number: how many
        noun: of one
        verb: that follows, in the plural: one of `_OF_ONE`

    Returns:
        all of them, in the plural where there is not one

    Example:
        >>> count(1, "region"), count(1200, "region"), count(2, "class")
        ('1 region', '1,200 regions', '2 classes')
        >>> count(1, "image", "were"), count(2, "image", "have")
        ('1 image was', '2 images have')
    """
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    words = [f"{number:,}", noun + ending, _OF_ONE.get(verb, verb) if number == 1 else verb]
    return " ".join(filter(None, words))


def as_flags(text: str, flags: Mapping[str, Sequence[str]]) -> str:
    """A message with the options of a command instead of arguments in Python.

    Args:
        text: the message
        flags: the options of the command by the names of the arguments; of a switch, also what switches it off

    Returns:
        the message; arguments that the command does not have stay as they are

    Example:
        >>> as_flags("pass `overwrite=True`, or weights=None", {"overwrite": ["--overwrite"], "weights": ["--weights"]})
        'pass --overwrite, or --weights none'
    """

    def reworded(found: re.Match[str]) -> str:
        options = flags.get(found["bare"] or found["name"])
        if not options:
            return found[0]
        verb, value = found["verb"] or "", found["value"]
        if found["bare"] or value == "True":
            return f"{verb}{options[0]}"
        if value == "False":
            return f"{verb}{options[-1] if len(options) > 1 else f'no {options[0]}'}"
        word = value.strip("'\"[]").replace(",", "")
        return f"{verb}{options[0]} {word.lower() if value == 'None' else word}"

    return _MENTION.sub(reworded, text)


def as_labels(text: str, labels: Mapping[str, str]) -> str:
    """A message with the labels of a form instead of arguments in Python.

    Args:
        text: the message
        labels: what the form calls each argument

    Returns:
        the message; arguments that the form does not ask for stay as they are

    Example:
        >>> as_labels("pass `overwrite=True`, or weights=None", {"overwrite": "Replace", "weights": "Encoder weights"})
        "tick 'Replace', or 'Encoder weights': none"
        >>> as_labels("set `class_mapping={1: 'road', 7: 'car'}`", {"class_mapping": "Classes"})
        "set 'Classes' to 1: road, 7: car"
    """

    def reworded(found: re.Match[str]) -> str:
        label = labels.get(found["bare"] or found["name"])
        if not label:
            return found[0]
        verb, value = bool(found["verb"]), found["value"]
        if found["bare"]:
            return f"fill in '{label}'" if verb else f"'{label}'"
        if value in ("True", "False"):
            tick = "tick" if value == "True" else "untick"
            return f"{tick} '{label}'" if verb else f"'{label}' {tick}ed"
        word = "none" if value == "None" else re.sub(r"['\"{}\[\]]", "", value)
        return f"set '{label}' to {word}" if verb else f"'{label}': {word}"

    return _MENTION.sub(reworded, text)
