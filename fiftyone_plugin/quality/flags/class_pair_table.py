"""Which classes are taken for which: flagged pixels by given and predicted class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ..pixels.image_pairs import image_pairs, images_of, named
from ..pixels.inputs import is_tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ClassPair:
    """Flagged pixels that are given one class and predicted another.

    Attributes:
        given: given class index, or its name if names were passed
        predicted: predicted class index, or its name
        pixels: number of flagged pixels
    """

    given: int | str
    predicted: int | str
    pixels: int


def class_pair_counts(flags: Iterable[Any], labels: Iterable[Any], predictions: Iterable[Any]) -> npt.NDArray[np.int64]:
    """Count flagged pixels by given and predicted class over a dataset.

    Args:
        flags: (H, W) bool per image, from `label_issues`
        labels: (H, W) class indices per image
        predictions: (K, H, W) probabilities, or (H, W) predicted classes, per image

    Returns:
        (K, K) int64, given class first; K is one more than the largest class met where no probabilities tell it.

    Raises:
        LabelQualityError: if numbers of images or shapes differ.

    Example:
        >>> flags, labels = [np.array([[False, True]])], [np.array([[0, 0]])]
        >>> class_pair_counts(flags, labels, [np.array([[0, 1]])])
        array([[0, 1],
               [0, 0]])
    """
    counts = np.zeros((0, 0), np.int64)
    for flagged, given, predicted, num_classes in _flagged_pixels(flags, labels, predictions):
        size = max(num_classes, counts.shape[0])
        counts = np.pad(counts, (0, size - counts.shape[0]))
        np.add.at(counts, (given[flagged], predicted[flagged]), 1)
    return counts


def class_pair_table(
    counts: Array,
    *,
    class_names: Sequence[str] | None = None,
    exclude: Iterable[int | str] = (),
    top: int | None = None,
) -> list[ClassPair]:
    """List the confused pairs of classes, the most pixels first.

    Args:
        counts: (K, K) flagged pixels by given and predicted class, from `class_pair_counts` or the sum of `class_pairs`
        class_names: (K,) names to show instead of indices
        exclude: classes, by index or name, to leave out whether they are given or predicted
        top: keep this many rows; None keeps all

    Returns:
        Rows with at least one pixel; equal numbers in the order of the classes.

    Raises:
        LabelQualityError: if `counts` is not square, names do not fit it, or an excluded class does not exist.

    Example:
        >>> class_pair_table(np.array([[0, 2], [5, 0]]), class_names=["road", "sky"])
        [ClassPair(given='sky', predicted='road', pixels=5), ClassPair(given='road', predicted='sky', pixels=2)]
    """
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise LabelQualityError(
            f"Expected `counts` of shape (K, K), but got {counts.shape}; make them with `class_pair_counts`."
        )
    num_classes = counts.shape[0]
    if class_names is not None and len(class_names) != num_classes:
        raise LabelQualityError(
            f"Expected {num_classes} `class_names`, one per class, but got {len(class_names)}; pass "
            "them in class order."
        )
    left_out = {_class_index(item, class_names, num_classes) for item in exclude}
    given, predicted = np.nonzero(counts)
    order = np.argsort(-counts[given, predicted], kind="stable")
    pairs = [(int(given[i]), int(predicted[i])) for i in order]
    shown: Sequence[int | str] = range(num_classes) if class_names is None else class_names
    rows = [
        ClassPair(shown[one], shown[other], int(counts[one, other]))
        for one, other in pairs
        if not left_out.intersection((one, other))
    ]
    return rows[:top]


def _class_index(item: int | str, class_names: Sequence[str] | None, num_classes: int) -> int:
    if isinstance(item, str):
        if class_names is None or item not in class_names:
            known = "no `class_names`" if class_names is None else f"`class_names` {list(class_names)}"
            raise LabelQualityError(f"Expected excluded classes to exist, but got {item!r} and {known}; pass an index.")
        return list(class_names).index(item)
    if not 0 <= item < num_classes:
        raise LabelQualityError(f"Expected excluded classes in 0..{num_classes - 1}, but got {item}; leave it out.")
    return int(item)


def filter_by_class(
    class_index: int, flags: Iterable[Any], labels: Iterable[Any], predictions: Iterable[Any]
) -> list[npt.NDArray[np.bool_]]:
    """Keep the flagged pixels whose given or predicted class is the one asked for.

    Args:
        class_index: the class
        flags: (H, W) bool per image, from `label_issues`
        labels: (H, W) class indices per image
        predictions: (K, H, W) probabilities, or (H, W) predicted classes, per image

    Returns:
        (H, W) bool per image.

    Raises:
        LabelQualityError: if numbers of images or shapes differ.

    Example:
        >>> flags, labels = [np.array([[True, True]])], [np.array([[0, 2]])]
        >>> filter_by_class(1, flags, labels, [np.array([[1, 0]])])
        [array([[ True, False]])]
    """
    return [
        flagged & ((given == class_index) | (predicted == class_index))
        for flagged, given, predicted, _ in _flagged_pixels(flags, labels, predictions)
    ]


def _flagged_pixels(flags: object, labels: object, predictions: object) -> Iterator[tuple[Array, Array, Array, int]]:
    """Yield (flags, given classes, predicted classes, number of classes) of each image."""
    flag_maps = images_of(flags)
    for index, label, prediction in image_pairs(labels, predictions):
        flagged = next(flag_maps, None)
        if flagged is None:
            raise LabelQualityError(
                f"Expected as many `flags` as `labels`, but `flags` ended after {index} images; pass all of them."
            )
        flagged, given, predicted = _host(flagged).astype(np.bool_), _host(label), _host(prediction)
        num_classes = predicted.shape[0] if predicted.ndim == 3 else 0
        predicted = predicted.argmax(axis=0) if predicted.ndim == 3 else predicted
        with named(index):
            _check_same_shape(flagged, given, predicted)
        if flagged.any():
            num_classes = max(num_classes, int(given[flagged].max()) + 1, int(predicted[flagged].max()) + 1)
        yield flagged, given, predicted, num_classes


def _host(array: Any) -> Array:
    return np.asarray(array.detach().cpu().float().numpy() if is_tensor(array) else array)


def _check_same_shape(flagged: Array, given: Array, predicted: Array) -> None:
    if not flagged.shape == given.shape == predicted.shape:
        raise LabelQualityError(
            f"Expected flags, label and prediction of one height and width, but got {flagged.shape}, {given.shape} and "
            f"{predicted.shape}; resize the prediction to the label's size."
        )
