"""Options of a job, declared once: a frozen class from which call, docstring, form and command line take them.

@dataclass(frozen=True, kw_only=True)
class PlanOptions:
budget: int = option(500, "number of questions", minimum=1)

@takes(PlanOptions)
def plan(samples, **keywords): ...   # plan(samples, budget=3), and help(plan) lists it
"""

from __future__ import annotations

import difflib
import inspect
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from .errors import LabelQualityError

Function = TypeVar("Function", bound=Callable[..., Any])
Options = TypeVar("Options")

_WIDTH = 120
_KEY = "label_quality_option"


@dataclass(frozen=True)
class About:
    """What is known of an option besides its default.

    Attributes:
        text: what it means, as part of a sentence
        label: what a form calls it
        kind: type of its value where there is one
        choices: the values that it may have, with a sentence about each; empty for any
        minimum: the smallest value
        maximum: the largest value
    """

    text: str
    label: str
    kind: type
    choices: Mapping[str, str]
    minimum: float | None
    maximum: float | None


def option(
    default: Any,
    text: str,
    *,
    label: str = "",
    kind: type | None = None,
    choices: Sequence[str] | Mapping[str, str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Declare an option: a field of a frozen options class.

    Args:
        default: its value where none is given
        text: what it means, as part of a sentence that begins with a small letter
        label: what a form calls it; from its name if empty
        kind: type of its value; that of the default if None
        choices: the values that it may have, or a mapping to a sentence about each; empty for any
        minimum: the smallest value
        maximum: the largest value

    Returns:
        the field

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Plan:
        ...     budget: int = option(500, "number of questions", minimum=1)
        >>> Plan().budget, about(Plan, "budget").text
        (500, 'number of questions')
    """
    named = dict(choices) if isinstance(choices, Mapping) else dict.fromkeys(choices, "")
    known = About(text, label, kind or (str if default is None else type(default)), named, minimum, maximum)
    return field(default=default, metadata={_KEY: known})


def about(options: type, name: str) -> About:
    """What is known of an option.

    Args:
        options: the options class
        name: of the option

    Returns:
        its text, label, kind, choices and bounds
    """
    known: About = _field(options, name).metadata[_KEY]
    return known if known.label else About(**{**vars(known), "label": name.replace("_", " ").capitalize()})


def default_of(options: type, name: str) -> Any:
    """The default of an option."""
    return _field(options, name).default


def _field(options: type, name: str) -> Field[Any]:
    return next(one for one in _declared(options) if one.name == name)


def _declared(options: type) -> list[Field[Any]]:
    return [one for one in fields(options) if _KEY in one.metadata]


def split(options: type[Options], keywords: Mapping[str, Any]) -> tuple[Options, dict[str, Any]]:
    """Keywords as an options object, and those that are none of its options.

    Args:
        options: the options class
        keywords: of a call

    Returns:
        the options, and what is left

    Raises:
        LabelQualityError: an option that is a text is given something else

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Plan:
        ...     budget: int = option(500, "number of questions")
        >>> split(Plan, {"budget": 3, "device": "cpu"})
        (Plan(budget=3), {'device': 'cpu'})
    """
    declared = {one.name: one for one in _declared(options)}
    names = set(declared)
    own = {name: value for name, value in keywords.items() if name in names}
    for name, value in own.items():
        is_text = isinstance(value, str | os.PathLike) or (value is None and "None" in str(declared[name].type))
        if declared[name].type in ("str", "str | None") and not is_text:
            raise LabelQualityError(f"Expected `{name}` to be a text, but got {value!r:.60}")
    return options(**own), {name: value for name, value in keywords.items() if name not in names}


def exactly(options: type[Options], keywords: Mapping[str, Any], function: str) -> Options:
    """Keywords as an options object, for a function that takes no others.

    Args:
        options: the options class
        keywords: of a call
        function: its name, for the message

    Returns:
        the options

    Raises:
        TypeError: a keyword that is none of the options, with the one that is most like it
    """
    chosen, rest = split(options, keywords)
    for name in rest:
        alike = difflib.get_close_matches(name, [one.name for one in _declared(options)], 1)
        hint = f"; did you mean `{alike[0]}`?" if alike else ""
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")
    return chosen


def takes(options: type) -> Callable[[Function], Function]:
    """Let a function's keyword arguments be the options of a class, in its signature and in its docstring.

    The docstring has a line in its Args that says "those of `PlanOptions`", or whatever the class is called; the
    options take its place.

    Args:
        options: the options class

    Returns:
        a decorator
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        given = list(signature.parameters.values())
        keyword_only = [
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.type)
            for one in _declared(options)
            if one.default is not MISSING
        ]
        rest = [one for one in given if one.kind is inspect.Parameter.VAR_KEYWORD]
        own = [one for one in given if one.kind is not inspect.Parameter.VAR_KEYWORD]
        function.__signature__ = signature.replace(parameters=[*own, *keyword_only, *rest])  # type: ignore[attr-defined]
        function.__doc__ = _documented(function.__doc__ or "", options)
        return function

    return decorate


def _documented(text: str, options: type) -> str:
    lines = []
    for line in text.splitlines():
        if line.rstrip().endswith(f": those of `{options.__name__}`"):
            indent = line[: len(line) - len(line.lstrip())]
            lines += [_entry(one, indent) for one in _declared(options)]
        else:
            lines.append(line)
    return "\n".join(lines)


def _entry(one: Field[Any], indent: str) -> str:
    text = f"{one.name}: {one.metadata[_KEY].text}"
    return "\n".join(textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent + "    "))
