"""What can go wrong between an image and its probabilities."""

from __future__ import annotations

from ..errors import LabelQualityError


class SegmenterError(LabelQualityError):
    """One image could not be predicted; the others may still be fine.

    Args:
        image: name of the image
        reason: what went wrong and the way out

    Example:
        >>> raise SegmenterError("street_7", "the file is empty")
        Traceback (most recent call last):
            ...
        fiftyone_plugin.models.errors.SegmenterError: Image street_7: the file is empty
    """

    def __init__(self, image: str, reason: str) -> None:
        super().__init__(f"Image {image}: {reason}")
        self.image = image
        self.reason = reason

    def __reduce__(self) -> tuple[type[SegmenterError], tuple[str, str]]:
        """Pickle by name and reason, so that the error survives a worker process."""
        return type(self), (self.image, self.reason)


class ModelMismatchError(LabelQualityError):
    """The model does not fit the classes or the images at all, so no image can be predicted.

    Example:
        >>> raise ModelMismatchError("Expected 3 channels, but got 4; pass `channel_map`.")
        Traceback (most recent call last):
            ...
        fiftyone_plugin.models.errors.ModelMismatchError: Expected 3 channels, but got 4; pass `channel_map`.
    """


def one_line(error: BaseException) -> str:
    r"""Return an exception as `Type: first line of its message`.

    Args:
        error: any exception

    Returns:
        one line of text

    Example:
        >>> one_line(OSError("no such file\nstack follows"))
        'OSError: no such file'
    """
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
