"""Labels and predictions as a stream of pairs: stacks, lists, generators, and arrays on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from ...errors import LabelQualityError

_END: Final = object()


def images_of(stack: object) -> Iterator[Any]:
    """Iterate over images one by one.

    Args:
        stack: an iterable of images; or what has them by number, an array (NumPy, torch, memory map, zarr, h5py) or
            anything with `__len__` and `__getitem__`; read image by image

    Returns:
        An iterator over the images.

    Raises:
        TypeError: if it is neither.

    Example:
        >>> import numpy as np
        >>> [image.shape for image in images_of(np.zeros((2, 4, 6)))]
        [(4, 6), (4, 6)]
    """
    shape = getattr(stack, "shape", None)
    if shape is not None and hasattr(stack, "__getitem__"):
        return (stack[i] for i in range(shape[0] if len(shape) else 0))
    if isinstance(stack, Iterable):
        return iter(stack)
    if hasattr(stack, "__len__") and hasattr(stack, "__getitem__"):
        return (stack[i] for i in range(len(stack)))
    raise TypeError(
        f"Expected a list, a generator or an array of images, but got {type(stack).__name__}; pass one array per image."
    )


def image_pairs(labels: object, pred_probs: object) -> Iterator[tuple[int, Any, Any]]:
    """Iterate over (index, label, prediction), checking that both have the same number of images.

    Args:
        labels: images, see `images_of`
        pred_probs: as many images

    Yields:
        index from 0, label, prediction

    Raises:
        LabelQualityError: if one ends before the other.

    Example:
        >>> list(image_pairs(["a", "b"], ["x", "y"]))
        [(0, 'a', 'x'), (1, 'b', 'y')]
    """
    left, right = _length(labels), _length(pred_probs)
    if left is not None and right is not None and left != right:
        raise LabelQualityError(
            f"Expected as many `labels` as `pred_probs`, but got {left} and {right}; pass one prediction per label."
        )
    predictions = images_of(pred_probs)
    index = -1
    for index, label in enumerate(images_of(labels)):
        prediction = next(predictions, _END)
        if prediction is _END:
            raise LabelQualityError(
                f"Expected as many `pred_probs` as `labels`, but `pred_probs` ended after {index} images; pass one "
                "prediction per label."
            )
        yield index, label, prediction
    if next(predictions, _END) is not _END:
        raise LabelQualityError(
            f"Expected as many `labels` as `pred_probs`, but `labels` ended after {index + 1} images; pass one "
            "label per prediction."
        )


def _length(stack: object) -> int | None:
    shape = getattr(stack, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else 0
    return len(stack) if hasattr(stack, "__len__") else None


@contextmanager
def named(index: int) -> Iterator[None]:
    """Add the image's index to errors about it.

    Args:
        index: from 0

    Yields:
        nothing

    Example:
        >>> try:
        ...     with named(3):
        ...         raise LabelQualityError("Expected 3 classes, but got 4; predict 3.")
        ... except LabelQualityError as error:
        ...     print(error)
        Image 3: Expected 3 classes, but got 4; predict 3.
    """
    try:
        yield
    except LabelQualityError as error:
        raise LabelQualityError(f"Image {index}: {error}") from error
    except TypeError as error:
        raise TypeError(f"Image {index}: {error}") from error
