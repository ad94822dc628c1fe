"""Where label and prediction of one image disagree: cut into regions, each measured.

Nothing here looks at a whole image where the disagreeing pixels are enough: `at` are always flat indices of pixels in
reading order, `of` the region of each. What depends on the prediction alone can be kept for further labels of the same
image, see `Scene.with_label`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ..pixels.boundaries import (
    NOWHERE,
    border_distances,
    boundary_tolerance,
    class_maps,
    components,
    count_rims,
    displaced_borders,
    mark_cores,
    raise_to,
    sized_components,
    widen_boxes,
)
from ..pixels.inputs import check_label
from ..pixels.pixel_maps import PixelMaps
from ..scores.image_scores import divide
from .region_terms import FEATURE_NAMES, KINDS

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.integer[Any]]

_FAINT: Final = 1e-6
"""Probability that half-precision predictions cannot tell from 0."""

_TABLE: Final = 2_000_000
"""Most cells of a table of regions by values; beyond it pairs are sorted instead."""


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of a mask: 8-connected components of one class.

    Attributes:
        ids: (P,) int64, object of each pixel, `NOWHERE` where ignored
        sizes: (N,) int64, pixels of each
    """

    ids: IntArray
    sizes: IntArray

    @classmethod
    def of(cls, classes: IntArray) -> Objects:
        """Find the objects of a mask.

        Args:
            classes: (H, W) int32, `NOWHERE` where ignored

        Returns:
            The objects, numbered in reading order.

        Example:
            >>> Objects.of(np.array([[0, 0, -1, 1]], np.int32)).sizes
            array([2, 1])
        """
        ids, sizes = sized_components(classes)
        return cls(ids.reshape(-1), sizes)


@dataclass(frozen=True, eq=False)
class Scene:
    """What all regions of one image are measured on.

    Attributes:
        given: (H, W) int32 classes, `NOWHERE` where ignored
        predicted: (H, W) int32 classes, `NOWHERE` where ignored
        maps: of the image
        tolerance: pixels that a border may be off
        given_objects: of the label
        predicted_objects: of the prediction
        wrong: (M,) flat indices of the pixels whose given class is not the predicted one
    """

    given: IntArray
    predicted: IntArray
    maps: PixelMaps
    tolerance: int
    given_objects: Objects
    predicted_objects: Objects
    wrong: IntArray

    @classmethod
    def of(cls, label: object, maps: PixelMaps, tolerance: float | None = None) -> Scene:
        """Look at a label beside its prediction.

        Args:
            label: (H, W) class indices
            maps: of this image
            tolerance: pixels that a border may be off; None means 1 % of the diagonal, at least 1

        Returns:
            The scene.

        Raises:
            TypeError: if `label` is not integer.
            LabelQualityError: if shapes do not fit or the tolerance is out of range.
        """
        array = check_label(label)
        if array.shape != maps.predicted.shape:
            raise LabelQualityError(
                f"Expected label and maps of one image, but got shapes {array.shape} and {maps.predicted.shape}; pass "
                "the label that the maps were made with."
            )
        given, predicted = class_maps(array, maps)
        reach = boundary_tolerance((array.shape[0], array.shape[1]), tolerance)
        wrong = np.flatnonzero(given != predicted)
        return cls(given, predicted, maps, reach, Objects.of(given), Objects.of(predicted), wrong)

    def with_label(self, label: IntArray, maps: PixelMaps) -> Scene:
        """Look at another label of the same image, which is ignored in the same places.

        Args:
            label: (H, W) class indices
            maps: of this label and the same prediction

        Returns:
            The scene; the objects of the prediction are not sought again.
        """
        given = np.where(self.given == NOWHERE, np.int32(NOWHERE), label.astype(np.int32))
        wrong = np.flatnonzero(given != self.predicted)
        return Scene(given, self.predicted, maps, self.tolerance, Objects.of(given), self.predicted_objects, wrong)

    def wrong_shares(self, objects: Objects) -> FloatArray:
        """Return the share of each object's pixels that disagree."""
        return divide(np.bincount(objects.ids[self.wrong], minlength=objects.sizes.size), objects.sizes)


@dataclass(frozen=True, eq=False)
class RegionCut:
    """The disagreement of one image, cut into regions.

    Attributes:
        ids: (H, W) int64, region of each pixel, `NOWHERE` outside
        at: (M,) flat indices of the pixels that are in a region
        of: (M,) region of each
        bounded: (R,) bool, whether a region is displaced border
        owned: (R,) bool, whether it belongs to its predicted object
        too_small: regions that were passed over for their size
    """

    ids: IntArray
    at: IntArray
    of: IntArray
    bounded: BoolArray
    owned: BoolArray
    too_small: int


@dataclass(frozen=True, eq=False)
class RegionTable:
    """Regions of one image as columns, one row each.

    Attributes:
        areas: (R,) pixels
        boxes: (R, 4) top, left, bottom, right, half open
        given: (R,) most frequent given class
        suggested: (R,) most frequent predicted class
        kinds: (R,) positions in `KINDS`
        features: (R, F), see `FEATURE_NAMES`
    """

    areas: IntArray
    boxes: IntArray
    given: IntArray
    suggested: IntArray
    kinds: IntArray
    features: FloatArray


def cut_regions(scene: Scene, smallest: int) -> RegionCut:
    """RegionCut the disagreement of an image into regions; see `issue_regions` for how.

    Args:
        scene: of the image
        smallest: pixels of the smallest region

    Returns:
        The regions, in reading order.
    """
    wrong, shape = scene.wrong, scene.given.shape
    mine, theirs = scene.predicted_objects.ids[wrong], scene.given_objects.ids[wrong]
    predicted_wrong, given_wrong = (scene.wrong_shares(o) for o in (scene.predicted_objects, scene.given_objects))
    to_predicted = predicted_wrong[mine] >= given_wrong[theirs]
    owners = np.where(to_predicted, mine, predicted_wrong.size + theirs)
    displaced = displaced_borders(scene.given, scene.predicted, wrong, scene.tolerance)
    wholes, count = _components_at(owners, wrong, shape)
    bounded = displaced | (_means(wholes, displaced, np.bincount(wholes, minlength=count)) >= 0.5)[wholes]
    ids, count = _components_at(2 * owners + bounded, wrong, shape)
    keep = np.bincount(ids, minlength=count) >= smallest
    kept = keep[ids]
    at, of = wrong[kept], (np.cumsum(keep) - 1)[ids[kept]]
    firsts = np.empty(int(keep.sum()), np.int64)
    places = np.flatnonzero(kept)
    firsts[of[::-1]] = places[::-1]  # of several values for one place NumPy keeps the last
    regions = np.full(scene.given.size, NOWHERE, np.int64)
    regions[at] = of
    return RegionCut(regions.reshape(shape), at, of, bounded[firsts], to_predicted[firsts], count - int(firsts.size))


def measure_regions(scene: Scene, cut: RegionCut) -> RegionTable:
    """Measure all regions of an image.

    Args:
        scene: of the image
        cut: its regions

    Returns:
        One row per region.
    """
    count = int(cut.bounded.size)
    areas = np.bincount(cut.of, minlength=count)
    boxes = np.tile(np.array([*cut.ids.shape, 0, 0], np.int64), (count, 1))
    widen_boxes(cut.at, cut.of, cut.ids.shape[1], boxes)
    overlaps = [_best_overlaps(cut, areas, objects) for objects in (scene.predicted_objects, scene.given_objects)]
    same_shape = (overlaps[0] >= 0.5) & (overlaps[1] >= 0.5)
    kinds = np.select([cut.bounded, same_shape, cut.owned], [3, 2, 0], 1)
    given, suggested = (_most_common(cut.of, _flat(c)[cut.at], count) for c in (scene.given, scene.predicted))
    return RegionTable(areas, boxes, given, suggested, kinds, measure_features(scene, cut, areas, boxes, kinds))


def _flat(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values.reshape(-1)


def _components_at(values: IntArray, at: IntArray, shape: tuple[int, ...]) -> tuple[IntArray, int]:
    """Return the component of each pixel in `at`, all others being outside; and their number."""
    whole = np.full(shape, NOWHERE, np.int64)
    _flat(whole)[at] = values
    found, count = components(whole)
    return _flat(found)[at], count


def _means(groups: IntArray, values: npt.NDArray[Any], sizes: IntArray) -> FloatArray:
    return divide(np.bincount(groups, values, minlength=sizes.size), sizes)


def _best_overlaps(cut: RegionCut, areas: IntArray, objects: Objects) -> FloatArray:
    """Return the intersection over union of each region with the object that it shares most pixels with."""
    count, under = int(areas.size), objects.ids[cut.at]
    chosen = _most_common(cut.of, under, count)
    if not count:
        return np.zeros(0)
    shared = np.bincount(cut.of, under == chosen[cut.of], minlength=count)
    return divide(shared, areas + objects.sizes[chosen] - shared)


def _most_common(groups: IntArray, values: IntArray, count: int) -> IntArray:
    """Return the most frequent value of each group, the smallest of those that are equally frequent."""
    if not count:
        return np.zeros(0, np.int64)
    span = int(values.max()) + 1
    keys = groups.astype(np.int64) * span + values
    if count * span <= _TABLE:
        return np.bincount(keys, minlength=count * span).reshape(count, span).argmax(axis=1)
    keys, counts = np.unique(keys, return_counts=True)
    order = np.lexsort((-keys, counts, keys // span))
    last = np.flatnonzero(np.diff(keys[order] // span, append=count))
    return keys[order][last] % span


def measure_features(scene: Scene, cut: RegionCut, areas: IntArray, boxes: IntArray, kinds: IntArray) -> FloatArray:
    """Measure what a score can be made of.

    Args:
        scene: of the image
        cut: its regions
        areas: (R,) their pixels
        boxes: (R, 4) their boxes
        kinds: (R,) positions in `KINDS`

    Returns:
        (R, F), see `FEATURE_NAMES`.
    """
    count, at, of, ids = int(areas.size), cut.at, cut.of, cut.ids
    if not count:
        return np.zeros((0, len(FEATURE_NAMES)))
    confidence = _flat(scene.maps.self_confidence)[at].astype(np.float64)
    core = np.zeros(at.size, np.bool_)
    mark_cores(ids, scene.given >= 0, at, core)
    best_probability = _flat(scene.maps.best_probability)[at].astype(np.float64)
    margins = best_probability - confidence
    doubts, sureness = -np.log(np.maximum(confidence, _FAINT)), -np.log(np.maximum(1 - best_probability, _FAINT))
    inner = of[core]
    cores = np.bincount(inner, minlength=count)

    def core_means(values: FloatArray) -> FloatArray:
        """Means over the core of each region, over all of it where it has none."""
        return np.where(cores > 0, _means(inner, values[core], cores), _means(of, values, areas))

    margin, doubt, sure = (core_means(values) for values in (margins, doubts, sureness))
    near = _flat(border_distances(scene.given, scene.predicted))[at] <= scene.tolerance
    rims = np.zeros((count, 4), np.int64)
    count_rims(ids, scene.given, scene.predicted, at, rims)
    edges = np.maximum(rims[:, 0], 1)
    narrow = ids.astype(np.int32)
    depths = _flat(border_distances(narrow, narrow))[at]
    deepest, best = np.zeros(count), np.zeros(count)
    raise_to(of, np.minimum(depths, max(ids.shape)), deepest)
    raise_to(of, best_probability, best)
    mean, square = _means(of, margins, areas), _means(of, margins**2, areas)
    heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    shares = (scene.wrong_shares(o)[o.ids[at]] for o in (scene.predicted_objects, scene.given_objects))
    object_share, label_share = (_means(of, share, areas) for share in shares)
    columns = (
        margin,
        _means(of, confidence, areas),
        rims[:, 0] / (4 * areas),
        np.log10(areas / ids.size),
        np.log10((1 + np.bincount(inner, margins[core], minlength=count)) / ids.size),
        _means(of, near, areas),
        rims[:, 1] / edges,
        rims[:, 2] / edges,
        object_share,
        label_share,
        kinds == KINDS.index("boundary"),
        np.sqrt(np.maximum(square - mean**2, 0)),
        best,
        np.log10(deepest / math.hypot(*ids.shape)),
        areas / (heights * widths),
        (boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2:] == ids.shape).any(axis=1),
        _means(of, core, areas),
        kinds == KINDS.index("missing"),
        kinds == KINDS.index("wrong_class"),
        doubt,
        np.log10(np.maximum(doubt, _FAINT)),
        sure,
        rims[:, 3] / edges,
    )
    return np.stack(columns, axis=1).astype(np.float64)
