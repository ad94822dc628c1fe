"""Checkpoints of the SAM family by file, folder or name: on the hub, or of a model in FiftyOne's zoo."""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import LabelQualityError
from ...models.foundation.checkpoint_names import ZOO_CHECKPOINTS, ZOO_ON_THE_HUB


def find_checkpoint(checkpoint: str) -> str:
    """The file of a checkpoint, or what `models.foundation.sam.load_sam` finds it by.

    Args:
        checkpoint: a .pth file, a folder or name on the hub of transformers, or the name of a SAM in FiftyOne's zoo; of
            the first SAM it is downloaded if it is not there yet

    Returns:
        path of the file or folder, or the name

    Raises:
        LabelQualityError: if there is neither

    Example:
        >>> find_checkpoint("no_such.pth")
        Traceback (most recent call last):
        ...
        fiftyone_plugin.errors.LabelQualityError: Expected ...
    """
    path = Path(checkpoint).expanduser()
    if path.exists():
        return str(path)
    if checkpoint in ZOO_ON_THE_HUB or _is_hub_name(checkpoint):
        return checkpoint
    if checkpoint not in ZOO_CHECKPOINTS:
        names = [*ZOO_CHECKPOINTS, *ZOO_ON_THE_HUB]
        raise LabelQualityError(
            f"Expected a checkpoint file of segment-anything, a folder or name of transformers such as "
            f"facebook/sam2.1-hiera-tiny, or one of FiftyOne's zoo models {names}, but got {checkpoint!r}"
        )
    import fiftyone.zoo as foz

    try:
        _, found = foz.download_zoo_model(checkpoint)
    except Exception as error:
        raise LabelQualityError(
            f"Could not download the zoo model {checkpoint!r} ({error}); download it elsewhere and pass the file"
        ) from error
    return str(found)


def _is_hub_name(text: str) -> bool:
    """Tell "facebook/sam2.1-hiera-tiny" from a path that does not exist."""
    from ...models.foundation.sam import FILE_ENDINGS

    return re.fullmatch(r"[\w.-]+/[\w.-]+", text) is not None and Path(text).suffix not in FILE_ENDINGS
