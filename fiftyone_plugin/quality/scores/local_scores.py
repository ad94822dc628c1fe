"""Two image scores that see one small wrong object in spite of unsure borders.

Predictions are unsure along the borders of objects, in good labels as in bad ones. Softmin follows the lowest
self-confidences, so two per cent of unsure border hide an object of a thousandth of the image.

- interior softmin: softmin over the pixels that are not along a border that both masks have: those farther than the
  tolerance (1 % of the diagonal, at least 1 pixel) from the class borders of the given mask or from those of the
  predicted mask; over all pixels where no pixel is. An object that only one of the masks holds has its border in that
  mask only, so it counts in full, however small, unless it lies along a border of the other mask.
- worst component: 1 - S / (S + s), where S is the strength of the strongest component and s a thousandth of the
  image's pixels. Disagreeing pixels are eroded by 3 x 3, which removes lines of up to two pixels; the strength of an
  8-connected component of what is left is its sum of M - c, best probability less self-confidence. 1 where nothing is
  left. Objects are seen by their size in the image, whatever its resolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ..pixels.boundaries import NOWHERE, border_distances, boundary_tolerance, class_maps, components, eroded

if TYPE_CHECKING:
    from ..pixels.pixel_maps import MeasuredImage

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

HALF_STRENGTH: Final = 1e-3
"""Share of the image's pixels whose disagreement, if certain, halves the score of the worst component."""


def interior(image: MeasuredImage) -> npt.NDArray[np.floating[Any]]:
    """Return the self-confidence of the pixels away from the borders that both masks have, NaN elsewhere.

    Args:
        image: the measured image

    Returns:
        (H, W) float; the self-confidence of all pixels if none is away from them.

    Example:
        >>> from ..pixels.measurement import measure_image
        >>> probs = np.array([[[0.9, 0.8, 0.7, 0.2, 0.1]]])
        >>> interior(measure_image([[0, 0, 0, 1, 1]], np.concatenate([probs, 1 - probs])))
        array([[0.9, 0.8, nan, nan, 0.9]])
    """
    confidence = image.maps.self_confidence
    tolerance = boundary_tolerance((image.label.shape[0], image.label.shape[1]))
    from_borders = [border_distances(mask, mask) for mask in class_maps(image.label, image.maps)]
    inner = np.where(np.maximum(*from_borders) > tolerance, confidence, np.nan)
    return confidence if np.isnan(inner).all() else inner


def worst_component(image: MeasuredImage) -> float:
    """Return 1 less the strength of the strongest connected disagreement, see the module.

    Args:
        image: the measured image

    Returns:
        A number in (0, 1]; NaN where every pixel is ignored.

    Example:
        >>> from ..pixels.measurement import measure_image
        >>> probs = np.stack([np.full((20, 50), 0.75), np.full((20, 50), 0.25)])
        >>> label = np.zeros((20, 50), int)
        >>> label[4:7, 8:12] = 1
        >>> worst_component(measure_image(label, probs))
        0.5
    """
    if not image.sums.num_valid:
        return float("nan")
    given, predicted = class_maps(image.label, image.maps)
    core = eroded(np.where(given != predicted, 0, NOWHERE), given >= 0)
    parts, count = components(np.where(core, 0, NOWHERE))
    strengths = _strengths(image, parts, count)
    return _quality(float(strengths.max(initial=0.0)), image.sums.num_valid)


def class_worst_components(image: MeasuredImage) -> FloatArray:
    """Return the score of the worst component among the pixels given each class.

    Args:
        image: the measured image

    Returns:
        (K,) float64; NaN for classes that the label does not hold.

    Example:
        >>> from ..pixels.measurement import measure_image
        >>> probs = np.stack([np.full((20, 50), 0.75), np.full((20, 50), 0.25)])
        >>> label = np.zeros((20, 50), int)
        >>> label[4:7, 8:12] = 1
        >>> class_worst_components(measure_image(label, probs))
        array([1. , 0.5])
    """
    given, predicted = class_maps(image.label, image.maps)
    core = eroded(np.where(given != predicted, 0, NOWHERE), given >= 0)
    parts, count = components(np.where(core, given, NOWHERE))
    strongest = np.zeros(image.sums.num_classes)
    classes = np.zeros(count, np.int64)
    classes[parts[core]] = given[core]
    np.maximum.at(strongest, classes, _strengths(image, parts, count))
    scores = np.array([_quality(strength, max(image.sums.num_valid, 1)) for strength in strongest])
    return np.where(image.sums.given > 0, scores, np.nan)


def _strengths(image: MeasuredImage, parts: IntArray, count: int) -> FloatArray:
    inside = parts >= 0
    margins = image.maps.best_probability[inside].astype(np.float64) - image.maps.self_confidence[inside]
    return np.bincount(parts[inside], margins, minlength=count).astype(np.float64)


def _quality(strength: float, num_pixels: int) -> float:
    return 1 - strength / (strength + HALF_STRENGTH * num_pixels)
