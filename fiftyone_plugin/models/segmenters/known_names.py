"""Class names of a model as far as they can be told without loading it: for a form, before a job starts."""

from __future__ import annotations

import json
from pathlib import Path


def known_class_names(source: str) -> list[str]:
    """The names of a model's channels.

    Args:
        source: as for `load_segmenter`: "torchvision:<name>", "transformers:<folder>", or a folder of either kind

    Returns:
        one name a channel; empty where they are known only when the model is loaded

    Example:
        >>> known_class_names("torchvision:fcn_resnet50")[:2], known_class_names("no such folder")
        (['__background__', 'aeroplane'], [])
    """
    kind, _, rest = source.partition(":")
    if kind == "torchvision":
        return _of_torchvision(rest)
    return _of_config(Path(rest if kind == "transformers" else source) / "config.json")


def _of_torchvision(name: str) -> list[str]:
    from torchvision import models

    try:
        return list(models.get_model_weights(name).DEFAULT.meta["categories"])
    except (ValueError, KeyError, AttributeError):
        return []


def _of_config(path: Path) -> list[str]:
    """The `id2label` of a folder that transformers wrote."""
    try:
        names = json.loads(path.read_text())["id2label"]
        return [str(names[str(channel)]) for channel in range(len(names))]
    except (OSError, ValueError, KeyError, TypeError):
        return []
