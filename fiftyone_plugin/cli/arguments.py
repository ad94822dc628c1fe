"""What several commands take, and how they print."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import LabelQualityError


def plain(markdown: str) -> str:
    """A report without marks for bold and code.

    Example:
        >>> plain("**3** in `labels`")
        '3 in labels'
    """
    return markdown.replace("**", "").replace("`", "")


def dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Take a dataset, or a view of it."""
    parser.add_argument("dataset", help="name of a FiftyOne dataset")
    parser.add_argument("--view", help="name of a saved view; the whole dataset if omitted")


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
        >>> parse_ignore_index(["255", "void"]), parse_ignore_index([]), parse_ignore_index("auto")
        ([255, 'void'], None, 'auto')
    """
    if isinstance(words, str):
        return words
    return [int(word) if word.lstrip("-").isdigit() else word for word in words] or None
