"""What could be asked about an image: one question per superpixel, about one representative pixel of it.

Representative pixel, CIL and SIM are those of Kim, Hwang, Kwak & Ok 2024, Active label correction for semantic
segmentation with foundation models (ICML, PMLR 235), in the form of its released code.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ...quality.pixels.inputs import (
    NEGATIVE_TOLERANCE,
    check_label,
    check_probabilities,
    is_tensor,
    probability_values_error,
    sum_tolerance,
)
from ...quality.records.arrays_file import read_arrays, write_arrays
from ..superpixels.methods import check_same_size, check_segments
from ..superpixels.sums import find_representatives, sum_alike, sum_dominant, sum_probabilities

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]

_SLACK: Final = 1e-9
"""How far below the threshold a cosine may be by rounding: a pixel is always like itself."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The n superpixels of one image and what the model says of each, in the order of their ids.

    Doubt in a pixel is 1 - probability of its given class (CIL, confidence in label); where no class is given, 1 -
    the largest probability.

    Attributes:
        segment: (n,) superpixel id
        area: (n,) pixels
        bbox: (n, 4) top, left, bottom, right; half open
        row: (n,) of the representative pixel: among the pixels of the dominant class, the one whose probabilities
            point most nearly in the direction of their mean
        column: (n,) of the representative pixel
        given: (n,) given class of most pixels, the smallest of equals; -1 = no class
        dominant: (n,) predicted class of most pixels, the smallest of equals
        mean_probs: (n, K) float32 mean of the probabilities
        predicted: (n, K) pixels by predicted class
        cil: (n,) doubt in the representative pixel
        mean_cil: (n,) mean doubt in the pixels that are like the representative one
        sim: (n,) sum of doubt times likeness to the representative pixel: look-ahead acquisition
        sim_to_mean: (n,) sum of doubt times likeness to the mean of the pixels of the dominant class
        doubt: (n,) sum of doubt
        doubted: (n,) pixels whose given class is not the predicted one
        mixed: (n,) in [0, 1], share of the variance of the pixels' classes that their place explains: 0 if the model
            says the same of all pixels, 1 if it is certain about each and says different things
    """

    segment: IntArray
    area: IntArray
    bbox: IntArray
    row: IntArray
    column: IntArray
    given: IntArray
    dominant: IntArray
    mean_probs: npt.NDArray[np.float32]
    predicted: IntArray
    cil: FloatArray
    mean_cil: FloatArray
    sim: FloatArray
    sim_to_mean: FloatArray
    doubt: FloatArray
    doubted: IntArray
    mixed: FloatArray

    def __len__(self) -> int:
        return int(self.segment.size)

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return int(self.mean_probs.shape[1])

    @property
    def suggested(self) -> IntArray:
        """(n,) dominant class, or where that is the given one the next most probable class."""
        others = self.mean_probs.copy()
        known = np.flatnonzero(self.given >= 0)
        others[known, self.given[known]] = -1
        return np.where(self.dominant != self.given, self.dominant, others.argmax(axis=1)).astype(np.int32)

    def alternatives(self, row: int) -> IntArray:
        """Classes that could be the right one instead, the most likely first.

        Args:
            row: of the superpixel

        Returns:
            (K - 1,) class indices without the given one; all K where none is given
        """
        order = np.argsort(-self.mean_probs[row], kind="stable").astype(np.int32)
        suggested = self.suggested[row]
        order = np.concatenate([[suggested], order[order != suggested]]).astype(np.int32)
        return order[order != self.given[row]]

    def save(self, path: str | Path) -> Path:
        """Write to a npz file; one that exists is replaced at once or not at all.

        Args:
            path: file to write; its folder must exist

        Returns:
            the path

        Raises:
            OSError: if the file cannot be written
        """
        return write_arrays(Path(path), {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: str | Path) -> Candidates:
        """Read what `save` wrote.

        Args:
            path: the file

        Returns:
            the candidates

        Raises:
            FileNotFoundError: if there is no such file
            LabelQualityError: if it is damaged or of another version
        """
        try:
            arrays = read_arrays(Path(path))
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise LabelQualityError(
                f"Expected the candidates of an image in {path}, but it cannot be read ({error}); find them again."
            ) from error


def find_candidates(
    labels: npt.ArrayLike, probs: object, segments: npt.ArrayLike, *, threshold: float = 0.0
) -> Candidates:
    """Describe every superpixel of one image.

    Args:
        labels: (H, W) class indices; anything outside 0..K-1 means that no class is given
        probs: (K, H, W) probabilities, NumPy or torch
        segments: (H, W) superpixel ids; 0 = no superpixel
        threshold: pixels are like the representative one from this cosine between their probabilities; 0, as in the
            released code, means all

    Returns:
        the candidates, none if there is no superpixel

    Raises:
        TypeError: if labels are not integers or probabilities not floating point
        LabelQualityError: if the arrays do not fit each other, or values are no probabilities

    Example:
        >>> rows = [(0.7, 0.2, 0.1), (0.6, 0.3, 0.1), (0.1, 0.8, 0.1), (0.5, 0.4, 0.1)]
        >>> probs = np.array(rows).T[:, None]
        >>> found = find_candidates([[1, 1, 1, 0]], probs, [[1, 1, 1, 1]])
        >>> found.column, found.cil.round(2), found.mean_cil.round(2), found.sim.round(6)
        (array([1], dtype=int32), array([0.7]), array([0.55]), array([2.088186]))
    """
    given = check_label(labels)
    ids = check_segments(segments)
    check_same_size("segments", ids.shape, "labels", given.shape)
    planes = _planes(check_probabilities(probs, given.shape))
    tolerance = sum_tolerance(getattr(probs, "dtype", planes.dtype))
    given = given.astype(np.int64)  # -1 is no value of an unsigned label
    given = np.where((given >= 0) & (given < len(planes)), given, -1).astype(np.int32)
    segment, rows = _rows(ids)
    sums = _Sums.of(planes, given.ravel(), rows.ravel(), segment.size, tolerance)
    if sums.invalid:
        raise probability_values_error(planes.reshape(-1, *ids.shape), rows >= 0, tolerance, from_logits=False)
    return _describe(segment, rows, given, planes, sums, threshold)


def _planes(probs: Any) -> Array:
    """(K, H * W) float32 or float64, without a copy where possible."""
    if is_tensor(probs):
        tensor = probs.float() if probs.element_size() < 4 else probs
        probs = tensor.cpu().numpy()
    elif probs.dtype.itemsize < 4:
        probs = probs.astype(np.float32)
    return np.ascontiguousarray(probs).reshape(len(probs), -1)


def _rows(ids: Array) -> tuple[IntArray, IntArray]:
    """Ids in ascending order, and the (H, W) place of each pixel's id among them, -1 where there is no superpixel."""
    highest = int(ids.max())
    if highest > 4 * ids.size + 1024:
        found, places = np.unique(ids, return_inverse=True)
        gaps = int(found[0] == 0)
        return found[gaps:].astype(np.int32), (places.reshape(ids.shape) - gaps).astype(np.int32)
    used = np.bincount(ids.ravel(), minlength=highest + 1) > 0
    used[0] = False
    lookup = (np.cumsum(used) - 1).astype(np.int32)
    lookup[0] = -1
    return np.flatnonzero(used).astype(np.int32), lookup[ids]


@dataclass(frozen=True, eq=False)
class _Sums:
    """What one pass over the probabilities leaves of each superpixel."""

    total: FloatArray
    squares: FloatArray
    predicted: npt.NDArray[np.int64]
    doubt: FloatArray
    doubted: npt.NDArray[np.int64]
    classes: IntArray
    invalid: int

    @classmethod
    def of(cls, planes: Array, given: Array, rows: Array, count: int, tolerance: float) -> _Sums:
        shape = (count, len(planes))
        total, predicted = np.zeros(shape), np.zeros(shape, np.int64)
        squares, doubt, doubted = np.zeros(count), np.zeros(count), np.zeros(count, np.int64)
        classes = np.zeros(given.size, np.int32)
        invalid = sum_probabilities(
            planes, given, rows, -NEGATIVE_TOLERANCE, tolerance, total, squares, predicted, doubt, doubted, classes
        )
        return cls(total, squares, predicted, doubt, doubted, classes, invalid)


def _describe(
    segment: IntArray, rows: IntArray, given: IntArray, planes: Array, sums: _Sums, threshold: float
) -> Candidates:
    flat_rows, flat_given, count = rows.ravel(), given.ravel(), segment.size
    area = np.bincount(flat_rows[flat_rows >= 0], minlength=count)
    mean = sums.total / np.maximum(area, 1)[:, None]
    dominant = sums.predicted.argmax(axis=1).astype(np.int32)
    centers = np.zeros_like(sums.total)
    sum_dominant(planes, sums.classes, flat_rows, dominant, centers)
    best, places, to_mean = np.full(count, -1.0), np.zeros(count, np.int64), np.zeros(count)
    find_representatives(planes, flat_given, sums.classes, flat_rows, dominant, _unit(centers), best, places, to_mean)
    at_place = planes[:, places].T.astype(np.float64)
    sim, doubt, alike = np.zeros(count), np.zeros(count), np.zeros(count, np.int64)
    sum_alike(planes, flat_given, sums.classes, flat_rows, _unit(at_place), threshold - _SLACK, sim, doubt, alike)
    asked = np.where(flat_given[places] < 0, sums.classes[places], flat_given[places])
    return Candidates(
        segment=segment,
        area=area.astype(np.int32),
        bbox=_boxes(rows, count),
        row=(places // rows.shape[1]).astype(np.int32),
        column=(places % rows.shape[1]).astype(np.int32),
        given=_given(flat_rows, flat_given, count, len(planes)),
        dominant=dominant,
        mean_probs=mean.astype(np.float32),
        predicted=sums.predicted.astype(np.int32),
        cil=1 - at_place[np.arange(count), asked],
        mean_cil=doubt / np.maximum(alike, 1),
        sim=sim,
        sim_to_mean=to_mean,
        doubt=sums.doubt,
        doubted=sums.doubted.astype(np.int32),
        mixed=_mixed(mean, sums.squares, area),
    )


def _unit(vectors: FloatArray) -> FloatArray:
    """Rows scaled to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _mixed(mean: FloatArray, squares: FloatArray, area: Array) -> FloatArray:
    """Law of total variance: variance of the pixels' mean classes over the variance of a pixel's class."""
    whole = 1 - (mean**2).sum(axis=1)
    within = 1 - squares / np.maximum(area, 1)
    share = np.divide(whole - within, whole, out=np.zeros_like(whole), where=whole > 1e-6)
    return np.clip(share, 0, 1)


def _given(rows: Array, given: Array, count: int, num_classes: int) -> IntArray:
    """Most frequent given class; no class only where it is more frequent than each."""
    used = rows >= 0
    codes = rows[used].astype(np.int64) * (num_classes + 1) + np.where(given < 0, num_classes, given)[used]
    counts = np.bincount(codes, minlength=count * (num_classes + 1)).reshape(count, num_classes + 1)
    most = counts.argmax(axis=1)
    return np.where(most == num_classes, -1, most).astype(np.int32)


def _boxes(rows: IntArray, count: int) -> IntArray:
    """(n, 4) bounding boxes."""
    from scipy.ndimage import find_objects

    boxes = [(y.start, x.start, y.stop, x.stop) for y, x in find_objects(rows + 1, max_label=count)]
    return np.array(boxes, np.int32).reshape(count, 4)


def expansion_set(probs_in_superpixel: npt.ArrayLike, representative: int, threshold: float) -> npt.NDArray[np.bool_]:
    """Tell which pixels of a superpixel an answer about its representative pixel is extended to.

    Args:
        probs_in_superpixel: (pixels, K) probabilities
        representative: number of the representative pixel among them
        threshold: smallest cosine between a pixel's probabilities and those of the representative pixel; 0 means all

    Returns:
        (pixels,) bool; the representative pixel is always among them

    Raises:
        LabelQualityError: if the shape does not fit or there is no such pixel

    Example:
        >>> expansion_set([(0.7, 0.2, 0.1), (0.6, 0.3, 0.1), (0.1, 0.8, 0.1)], 1, 0.9)
        array([ True,  True, False])
    """
    probs = np.asarray(probs_in_superpixel, np.float64)
    if probs.ndim != 2 or not 0 <= representative < len(probs):
        raise LabelQualityError(
            f"Expected (pixels, K) probabilities and the number of one of the pixels, but got shape {probs.shape} and "
            f"{representative}; pass `probs[:, mask].T`."
        )
    units = _unit(probs)
    return np.asarray(units @ units[representative] >= threshold - _SLACK)
