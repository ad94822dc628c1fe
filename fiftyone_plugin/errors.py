"""The error that a user can act on: every message says both values and the way out."""

from __future__ import annotations


class LabelQualityError(ValueError):
    """Input that cannot be used as it is; the message says why and what to do.

    Example:
        >>> raise LabelQualityError("Expected 3 classes, but got 4; pass `class_mapping`.")
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: Expected 3 classes, but got 4; pass `class_mapping`.
    """


def told(error: BaseException) -> str:
    """What a person reads of any error: of files that are gone or locked the way out, of no text at least its kind.

    Args:
        error: whatever a job raised

    Returns:
        one or two sentences

    Example:
        >>> told(FileNotFoundError(2, "No such file or directory", "masks/1.png"))[:24]
        'masks/1.png is not there'
        >>> told(KeyError("road"))
        "KeyError: 'road'"
    """
    if isinstance(error, FileNotFoundError) and error.filename:
        return (
            f"{error.filename} is not there: it was moved or deleted, perhaps by another job while this one ran. Start "
            "this again when no other job runs; what is finished is kept."
        )
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename} may not be read or written here; change its permissions, or choose another folder."
    plain = isinstance(error, ValueError | OSError | RuntimeError) and str(error)
    return str(error) if plain else f"{type(error).__name__}: {error}"
