"""The three maps that one image's probabilities leave behind, and the counts and sums that add up over images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import kernels
from .inputs import (
    label_values_error,
)
from .workers import run_in_parts

if TYPE_CHECKING:
    pass

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

THRESHOLD_GRID: npt.NDArray[np.float64] = np.arange(1, kernels.GRID_SIZE + 1) / (kernels.GRID_SIZE + 1)
"""Thresholds that thresholded CCP chooses from: 0.05 to 0.95 in steps of 0.05. The paper does not give its grid."""


@dataclass(frozen=True, eq=False)
class PixelMaps:
    """What is kept of an image's (K, H, W) probabilities.

    Attributes:
        self_confidence: (H, W) float, probability of the given class; NaN where the label is ignored
        best_probability: (H, W) float, the largest probability of each pixel
        predicted: (H, W) uint8 or uint16, the class that has it; the smallest such class where several do
    """

    self_confidence: FloatArray
    best_probability: FloatArray
    predicted: IntArray


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Statistics of one image by class; they add up over images.

    Attributes:
        given: (K,) int64, labelled pixels of each class
        predicted: (K,) int64, labelled pixels predicted as each class
        agreeing: (K,) int64, labelled pixels where both are this class
        self_confidence: (K,) float64, sum of the self-confidence of the pixels given each class
        num_suspects: pixels that confident learning may need, see `Suspects`
        num_certain: pixels with a self-confidence of at least 0.99
        histograms: (2, K, 20) int64 or None: probabilities of each class by the number of `THRESHOLD_GRID` steps below
            them, over the pixels given another class [0] and given this class [1]
    """

    given: IntArray
    predicted: IntArray
    agreeing: IntArray
    self_confidence: npt.NDArray[np.float64]
    num_suspects: int
    num_certain: int
    histograms: IntArray | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return int(self.given.size)

    @property
    def num_valid(self) -> int:
        """Number of pixels that are not ignored."""
        return int(self.given.sum())


@dataclass(frozen=True, eq=False)
class MeasuredImage:
    """One image after the pass over its probabilities.

    Attributes:
        label: (H, W) uint8 or int32, the label as given
        ignore: value of ignored pixels
        maps: the three maps
        sums: statistics by class
        suspects_per_chunk: how many suspects each chunk of pixels holds
    """

    label: IntArray
    ignore: int
    maps: PixelMaps
    sums: ClassSums
    suspects_per_chunk: IntArray


@dataclass(frozen=True, eq=False)
class ChunkTables:
    """Room for what each chunk of an image leaves; see `kernels.measure_chunks`."""

    faults: IntArray
    counts: IntArray
    sums: npt.NDArray[np.float64]
    others: IntArray

    @classmethod
    def empty(cls, num_chunks: int, num_classes: int) -> ChunkTables:
        """Tables of zeros."""
        return cls(
            np.zeros((num_chunks, 2), np.int64),
            np.zeros((num_chunks, 3, num_classes), np.int64),
            np.zeros((num_chunks, num_classes)),
            np.zeros((num_chunks, 3), np.int64),
        )

    def class_sums(self, histograms: IntArray | None) -> ClassSums:
        """Add the chunks up, in their order."""
        counts = self.counts.sum(axis=0)
        sums = np.zeros(self.sums.shape[1])
        for chunk_sums in self.sums:  # one after the other: the order of np.sum is not promised
            sums += chunk_sums
        _, suspects, certain = self.others.sum(axis=0)
        return ClassSums(counts[0], counts[1], counts[2], sums, int(suspects), int(certain), histograms)


def count_maps(
    label: IntArray, ignore: int, maps: PixelMaps, num_classes: int, histograms: IntArray | None
) -> MeasuredImage:
    """Take the statistics of maps that were made elsewhere.

    Args:
        label: (H, W) uint8 or int32, contiguous
        ignore: value of ignored pixels
        maps: the maps of the image
        num_classes: number of classes K
        histograms: (2, K, 20) int64 if they were counted

    Returns:
        The measured image.

    Raises:
        LabelQualityError: if the label holds values that are neither classes nor ignored.

    Example:
        >>> label = np.array([[0, 1]], np.uint8)
        >>> maps = PixelMaps(np.array([[0.9, 0.4]]), np.array([[0.9, 0.6]]), np.array([[0, 0]], np.uint8))
        >>> count_maps(label, 255, maps, 2, None).sums.agreeing
        array([1, 0])
    """
    num_chunks = count_chunks(label.size)
    tables = ChunkTables.empty(num_chunks, num_classes)
    given = read_only(label.reshape(-1))
    confidence, predicted = maps.self_confidence.reshape(-1), maps.predicted.reshape(-1)

    def count(start: int, stop: int) -> None:
        kernels.count_chunks(
            given, confidence, predicted, ignore, num_classes, start, stop,
            tables.faults, tables.counts, tables.sums, tables.others,
        )  # fmt: skip

    run_in_parts(count, num_chunks)
    if tables.faults[:, 0].any():
        raise label_values_error(label, ignore, num_classes)
    return MeasuredImage(label, ignore, maps, tables.class_sums(histograms), tables.others[:, 1])


def count_chunks(num_pixels: int) -> int:
    """Return in how many chunks an image of so many pixels is measured.

    Args:
        num_pixels: pixels of the image

    Returns:
        The number of chunks.

    Example:
        >>> count_chunks(1024 * 2048)
        128
    """
    return -(-num_pixels // kernels.CHUNK)


def empty_maps(shape: tuple[int, int], num_classes: int, dtype: npt.DTypeLike) -> PixelMaps:
    """Return maps to be filled.

    Args:
        shape: (H, W)
        num_classes: number of classes K
        dtype: type of the probabilities

    Returns:
        Maps without content.

    Example:
        >>> empty_maps((2, 3), 300, np.float32).predicted.dtype
        dtype('uint16')
    """
    return PixelMaps(np.empty(shape, dtype), np.empty(shape, dtype), np.empty(shape, class_dtype(num_classes)))


def class_dtype(num_classes: int) -> type[np.uint8 | np.uint16]:
    """Return the narrowest type that holds the class indices.

    Args:
        num_classes: number of classes K

    Returns:
        uint8 up to 256 classes, uint16 beyond.

    Example:
        >>> class_dtype(19).__name__
        'uint8'
    """
    return np.uint8 if num_classes <= 256 else np.uint16


def reject_probabilities(logits: Array) -> None:
    """Refuse logits that are probabilities already, judged from up to 4,096 pixels.

    Args:
        logits: (K, H, W) or (K, P) values announced as logits

    Raises:
        LabelQualityError: if all of them are probabilities.

    Example:
        >>> reject_probabilities(np.array([[[2.0]], [[-1.0]]]))
    """
    from ...errors import LabelQualityError

    flat = logits.reshape(logits.shape[0], -1)
    sample = flat[:, :: max(1, flat.shape[1] // 4096)].astype(np.float64)
    if (sample >= 0).all() and (np.abs(sample.sum(axis=0) - 1) <= 1e-3).all():
        raise LabelQualityError(
            "Expected logits because of `from_logits=True`, but got values that are at least 0 and sum to 1 at every "
            "pixel, which are probabilities already; leave `from_logits` out."
        )


def complete_histograms(histograms: IntArray, given: IntArray, ignore: int) -> IntArray:
    """Fill step 0 of threshold histograms: the pixels that are in no other step.

    Args:
        histograms: (2, K, 20) int64 with empty step 0; changed in place
        given: label of the pixels, any shape
        ignore: value of ignored pixels

    Returns:
        `histograms`.

    Example:
        >>> histograms = np.zeros((2, 2, 20), np.int64)
        >>> complete_histograms(histograms, np.array([0, 0, 1]), 255)[:, :, 0]
        array([[1, 2],
               [2, 1]])
    """
    labelled = given[given != ignore]
    pixels = np.bincount(labelled.reshape(-1), minlength=histograms.shape[1])
    histograms[1, :, 0] = pixels - histograms[1, :, 1:].sum(axis=1)
    histograms[0, :, 0] = labelled.size - pixels - histograms[0, :, 1:].sum(axis=1)
    return histograms


def read_only(array: Array) -> Array:
    """Return a view that cannot be written, so that memory maps and arrays use the same compiled code."""
    view = array.view()
    view.flags.writeable = False
    return view
