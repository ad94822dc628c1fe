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
