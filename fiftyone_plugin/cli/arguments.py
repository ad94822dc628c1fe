"""What several commands take, and how they print."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..errors import LabelQualityError
from ..options import about, default_of
from ..wording import as_flags

Commands = Mapping[str, tuple[str, "Callable[[argparse.ArgumentParser], None]"]]
"""Name of a command to one line about it, and what gives it its arguments."""

_LONGEST_CHOICES: Final = 40  # beyond, they are listed in the text, where lines can be broken


class CommandParser(argparse.ArgumentParser):
    """A command whose arguments are made when it is the one that was typed: some need slow imports."""

    def __init__(
        self, *args: Any, fill: Callable[[argparse.ArgumentParser], None] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **{"formatter_class": _WithDefaults, **kwargs})
        self._fill = fill

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Make the arguments, then read what was typed."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
            self.set_defaults(flags={action.dest: action.option_strings for action in self._actions})
        return super().parse_known_args(*args, **kwargs)


class _WithDefaults(argparse.HelpFormatter):
    """Says the default of every option that does not say it itself."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if not action.option_strings or action.required or isinstance(action, argparse._HelpAction):
            return text
        if "default" in text or "if omitted" in text:
            return text
        if isinstance(action.default, list | tuple):
            shown = " ".join(map(str, action.default)) or "none"
        else:
            words = {"None": "none", "False": "off", "True": "on"}  # by their text, since 0 is False
            shown = words.get(str(action.default), "%(default)s")
        return f"{text} (default: {shown})".strip()


def plain(markdown: str) -> str:
    """A report without marks for bold and code, and with arrows that a terminal of any encoding can show.

    Example:
        >>> plain("**3** in `labels`: car → road")
        '3 in labels: car -> road'
    """
    return markdown.replace("**", "").replace("`", "").replace("→", "->")


def dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Take a dataset, or a view of it."""
    parser.add_argument("dataset", help="name of a FiftyOne dataset")
    parser.add_argument("--view", help="name of a saved view; the whole dataset if omitted")


def option_arguments(parser: argparse.ArgumentParser, options: type, names: Sequence[str], **defaults: Any) -> None:
    """Take options of a job by their names, with the texts and defaults that they are declared with.

    A switch that is on is `--no-...`; lists take several words.

    Args:
        parser: of the command
        options: the options class
        names: which of its options
        defaults: other defaults by name
    """
    flags = {name: [f"--{name.replace('_', '-')}"] for name in names}
    for name in names:
        known, default = about(options, name), defaults.get(name, default_of(options, name))
        flag, text = name.replace("_", "-"), _typed(known.text, flags, default).replace("%", "%%")
        if known.kind is bool:
            parser.add_argument(f"--{flag}", action=argparse.BooleanOptionalAction, default=default, help=text)
            continue
        more: dict[str, Any] = {"choices": list(known.choices)} if known.choices and known.kind is not list else {}
        if len(listed := ", ".join(known.choices)) > _LONGEST_CHOICES:
            more |= {"metavar": name.upper()}
            text += f". One of {listed}"
        if known.kind is list or name == "ignore_index":
            more |= {"nargs": "*"}
        elif known.kind in (int, float):
            more |= {"type": known.kind}
        parser.add_argument(f"--{flag}", default=default, help=text, **more)


_COMMANDS: Final = {
    "apply_corrections": ["`apply-corrections`"],
    "compute_superpixels": ["`superpixels`"],
    "score_label_quality": ["`score`"],
}
"""Jobs that texts name, as commands."""


def _typed(text: str, flags: Mapping[str, Sequence[str]], default: Any) -> str:
    """The text of an option in the words of the command line.

    Example:
        >>> _typed("images at a time; chosen by itself if None", {}, None)
        'images at a time; chosen by itself if omitted'
        >>> _typed("of `methods`; None = the best; see `score_label_quality`", {"methods": ["--methods"]}, None)
        'of --methods; if omitted the best; see `score`'
        >>> _typed("a class; None = there is none", {}, "auto")
        'a class; none = there is none'
    """
    text = as_flags(text, {**_COMMANDS, **flags})
    if default is None:
        text = text.replace("if None", "if omitted").replace("None = ", "if omitted ")
    return text.replace("None", "none")


def chosen_options(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """The options of a job that were given, by name.

    Args:
        options: what was typed
        names: of the job's options

    Returns:
        keyword arguments of the job
    """
    found = {name: getattr(options, name) for name in names}
    if "ignore_index" in found:
        found["ignore_index"] = parse_ignore_index(found["ignore_index"])
    for name in ("weights", "background"):
        if found.get(name) == "none":
            found[name] = None
    return found


def open_samples(options: argparse.Namespace) -> Any:
    """The dataset or view that was named.

    Raises:
        LabelQualityError: if there is none
    """
    import fiftyone as fo

    if not fo.dataset_exists(options.dataset):
        raise LabelQualityError(
            f"Expected the name of a FiftyOne dataset, but got {options.dataset!r}; there are {fo.list_datasets()}"
        )
    dataset = fo.load_dataset(options.dataset)
    view = getattr(options, "view", None)
    return dataset.load_saved_view(view) if view else dataset


def parse_ignore_index(words: str | list[str]) -> Any:
    """Mask values and class names that count for nothing.

    Example:
        >>> parse_ignore_index(["255", "void"]), parse_ignore_index(["none"]), parse_ignore_index("auto")
        ([255, 'void'], None, 'auto')
    """
    if isinstance(words, str):
        return words
    if words == ["none"]:
        return None
    return [int(word) if word.lstrip("-").isdigit() else word for word in words] or None
