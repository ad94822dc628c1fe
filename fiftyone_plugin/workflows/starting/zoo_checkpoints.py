"""Checkpoints of segment-anything by file, or by the name of a model in FiftyOne's zoo."""

from __future__ import annotations

from pathlib import Path

from ...errors import LabelQualityError


def find_checkpoint(checkpoint: str) -> str:
    """The file of a checkpoint.

    Args:
        checkpoint: a .pth file, or the name of a segment-anything model in FiftyOne's zoo, which is downloaded if it is
            not there yet

    Returns:
        path of the file

    Raises:
        LabelQualityError: if there is neither

    Example:
        >>> find_checkpoint("no_such.pth")
        Traceback (most recent call last):
        ...
        fiftyone_plugin.errors.LabelQualityError: Expected ...
    """
    import fiftyone.zoo as foz

    path = Path(checkpoint).expanduser()
    if path.is_file():
        return str(path)
    names = [name for name in foz.list_zoo_models() if name.startswith("segment-anything-vit")]
    if checkpoint not in names:
        raise LabelQualityError(
            f"Expected a checkpoint file of segment-anything, or one of FiftyOne's zoo models {names}, but got "
            f"{checkpoint!r}"
        )
    try:
        _, found = foz.download_zoo_model(checkpoint)
    except Exception as error:
        raise LabelQualityError(
            f"Could not download the zoo model {checkpoint!r} ({error}); download it elsewhere and pass the file"
        ) from error
    return str(found)
