"""Scores of one image, and of its classes, that need nothing but this image.

Seven are from Lad & Mueller 2023, "Estimating label quality and errors in semantic segmentation data via any model"
(arXiv 2307.05080), taken over the pixels that are not ignored. With c the self-confidence of a pixel, l its given and a
its predicted class:

- correctly classified pixels: share of pixels with a = l
- confidence in label: mean of c
- softmin: mean of c weighted by exp((1 - c) / temperature)
- IoU: intersection over union of {a = k} and {l = k}, averaged over the classes k that occur in either
- connected components: mean of c over each 8-connected component of the given mask, averaged over the components

Two more are our own, for errors of one object that the others lose in the image; see `local_scores`.

Sums here are `math.fsum`'s, whose result, unlike that of `np.sum`, does not depend on order or processor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..pixels import kernels
from ..pixels.pixel_maps import ClassSums, MeasuredImage, count_chunks
from ..pixels.workers import run_in_parts
from .local_scores import class_worst_components, interior, worst_component

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]


def softmin(self_confidence: npt.NDArray[np.floating[Any]], temperature: float = 0.1) -> float:
    """Return the soft minimum of self-confidences: the mean, weighted towards the lowest.

    Args:
        self_confidence: float array of any shape; NaN where ignored
        temperature: towards 0 the result is the minimum, towards infinity the mean

    Returns:
        A number in [0, 1], NaN if every value is.

    Example:
        >>> round(softmin(np.array([0.9, 0.1, np.nan])), 4)
        0.1003
    """
    flat = np.ascontiguousarray(self_confidence).reshape(-1)
    num_chunks = count_chunks(flat.size)
    table = np.empty((num_chunks, 3))
    run_in_parts(lambda start, stop: kernels.softmin_chunks(flat, temperature, start, stop, table), num_chunks)
    lowest, weights, products = table[table[:, 0] < np.inf].T
    if not lowest.size:
        return float("nan")
    scale = [math.exp((lowest.min() - low) / temperature) for low in lowest]
    return math.fsum(scale * products) / math.fsum(scale * weights)


def class_ious(sums: ClassSums) -> FloatArray:
    """Return the intersection over union of the given and the predicted mask of each class.

    Args:
        sums: statistics of an image, or of several added up

    Returns:
        (K,) float in [0, 1]; NaN for classes that occur in neither mask.

    Example:
        >>> from ..pixels.measurement import measure_image
        >>> probs = np.array([[[0.9, 0.2]], [[0.1, 0.8]], [[0.0, 0.0]]])
        >>> class_ious(measure_image([[0, 0]], probs).sums)
        array([0.5, 0. , nan])
    """
    return divide(sums.agreeing, sums.given + sums.predicted - sums.agreeing)


def divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    """Divide element by element; NaN where the denominator is zero.

    Args:
        numerator: numbers
        denominator: numbers of the same shape

    Returns:
        Their ratios as float64.

    Example:
        >>> divide([1, 2], [2, 0])
        array([0.5, nan])
    """
    above, below = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def mean_present(values: FloatArray) -> float:
    """Return the mean of the values that are not NaN, NaN if there is none.

    Args:
        values: (K,) float

    Returns:
        The mean.

    Example:
        >>> mean_present(np.array([0.5, np.nan, 1.0]))
        0.75
    """
    present = values[~np.isnan(values)]
    return _share(math.fsum(present), present.size)


def _component_sums(image: MeasuredImage) -> tuple[FloatArray, FloatArray]:
    """Return by class the sum over components of their mean self-confidence, and the number of components."""
    sums, counts = np.zeros(image.sums.num_classes), np.zeros(image.sums.num_classes)
    confidence = image.maps.self_confidence.reshape(-1)
    kernels.component_means(image.label, image.ignore, confidence, sums, counts)
    return sums, counts


def _share(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator else float("nan")


def _connected_components(image: MeasuredImage) -> float:
    sums, counts = _component_sums(image)
    return _share(math.fsum(sums), math.fsum(counts))


_IMAGE_SCORES: Final[dict[str, Callable[[MeasuredImage, float], float]]] = {
    "softmin": lambda image, temperature: softmin(image.maps.self_confidence, temperature),
    "correctly_classified_pixels": lambda image, _: _share(image.sums.agreeing.sum(), image.sums.num_valid),
    "confidence_in_label": lambda image, _: _share(math.fsum(image.sums.self_confidence), image.sums.num_valid),
    "iou": lambda image, _: mean_present(class_ious(image.sums)),
    "connected_components": lambda image, _: _connected_components(image),
    "interior_softmin": lambda image, temperature: softmin(interior(image), temperature),
    "worst_component": lambda image, _: worst_component(image),
}


def scores_of_image(image: MeasuredImage, methods: Iterable[str], temperature: float) -> dict[str, float]:
    """Return those of the asked scores that need no other image.

    Args:
        image: the measured image
        methods: names among `METHODS`; those that need the dataset are passed over
        temperature: of softmin

    Returns:
        Score by method, in [0, 1]; NaN where every pixel is ignored.

    Example:
        >>> from ..pixels.measurement import measure_image
        >>> probs = np.array([[[0.9, 0.2]], [[0.1, 0.8]]])
        >>> scores_of_image(measure_image([[0, 0]], probs), ["confidence_in_label", "iou"], 0.1)
        {'confidence_in_label': 0.55, 'iou': 0.25}
    """
    return {name: _IMAGE_SCORES[name](image, temperature) for name in methods if name in _IMAGE_SCORES}


def _class_interior_softmin(image: MeasuredImage, temperature: float) -> FloatArray:
    """Softmin over the interior pixels given each class, over all its pixels where it has no interior."""
    scores = _class_softmin(image, temperature, interior(image))
    return np.where(np.isnan(scores), _class_softmin(image, temperature), scores)


def _class_softmin(
    image: MeasuredImage, temperature: float, values: npt.NDArray[np.floating[Any]] | None = None
) -> FloatArray:
    """Softmin over the pixels given each class; one class at a time, so that each has its own lowest value."""
    label = image.label.reshape(-1)
    confidence = (image.maps.self_confidence if values is None else values).reshape(-1)
    order = np.argsort(np.where(label == image.ignore, -1, label.astype(np.int64)), kind="stable")
    ends = (order.size - image.sums.num_valid) + np.cumsum(image.sums.given)
    scores = np.full(image.sums.num_classes, np.nan)
    for k in np.flatnonzero(image.sums.given):
        members = order[ends[k] - image.sums.given[k] : ends[k]]
        scores[k] = softmin(confidence[members], temperature)
    return scores


def _present_ious(image: MeasuredImage) -> FloatArray:
    return np.where(image.sums.given > 0, class_ious(image.sums), np.nan)


_CLASS_SCORES: Final[dict[str, Callable[[MeasuredImage, float], FloatArray]]] = {
    "softmin": _class_softmin,
    "correctly_classified_pixels": lambda image, _: divide(image.sums.agreeing, image.sums.given),
    "confidence_in_label": lambda image, _: divide(image.sums.self_confidence, image.sums.given),
    "iou": lambda image, _: _present_ious(image),
    "connected_components": lambda image, _: divide(*_component_sums(image)),
    "interior_softmin": _class_interior_softmin,
    "worst_component": lambda image, _: class_worst_components(image),
}


def class_scores_of_image(image: MeasuredImage, methods: Iterable[str], temperature: float) -> dict[str, FloatArray]:
    """Return the scores of each class in one image, over the pixels given that class.

    Args:
        image: the measured image
        methods: names among `METHODS`; those that need the dataset are passed over
        temperature: of softmin

    Returns:
        (K,) scores by method; NaN for classes that the label does not hold.

    Example:
        >>> from ..pixels.measurement import measure_image
        >>> probs = np.array([[[0.9, 0.2]], [[0.1, 0.8]]])
        >>> class_scores_of_image(measure_image([[0, 0]], probs), ["iou"], 0.1)
        {'iou': array([0.5, nan])}
    """
    return {name: _CLASS_SCORES[name](image, temperature) for name in methods if name in _CLASS_SCORES}
