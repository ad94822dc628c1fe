"""Sums over the images of a dataset, exact and in any order, and the class thresholds that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ..pixels.pixel_maps import THRESHOLD_GRID
from ..scores.image_scores import divide, mean_present
from ..scores.methods import check_methods
from .image_records import ImageRecord

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

THRESHOLD_FLOOR: Final = 2e-6
"""Lowest class threshold of confident learning, and that of a class without labels."""

_UNITS: Final = 2**60


class Totals:
    """Statistics of a dataset: add records, merge the totals of several workers, read the class thresholds.

    Probability sums are kept as whole numbers of 2^-60, so adding is exact: totals do not depend on the order of
    images, on batches, or on which worker saw which image.

    Attributes:
        num_classes: number of classes K
        methods: the methods that the dataset is scored by
        num_images: images added
        num_valid: their pixels that are not ignored
        num_agreeing: those whose predicted class is the given one
        num_certain: those with a self-confidence of at least 0.99
        class_pixels: (K,) int64, pixels given each class

    Example:
        >>> from .image_records import image_record
        >>> totals = Totals(2)
        >>> totals.add(image_record([[0, 0, 1]], np.array([[[0.9, 0.7, 0.4]], [[0.1, 0.3, 0.6]]])))
        >>> totals.class_thresholds
        array([0.8, 0.6])
    """

    def __init__(self, num_classes: int, methods: str | Iterable[str] = ("softmin",)) -> None:
        """Start empty totals.

        Args:
            num_classes: number of classes K
            methods: names among `METHODS`
        """
        self.num_classes = int(num_classes)
        self.methods = check_methods(methods)
        self.num_images = 0
        self.num_valid = 0
        self.num_agreeing = 0
        self.num_certain = 0
        self.class_pixels: IntArray = np.zeros(self.num_classes, np.int64)
        self._units = [0] * self.num_classes
        self._histograms: IntArray | None = None

    def add(self, record: ImageRecord) -> None:
        """Add one image.

        Args:
            record: of an image with the same classes

        Raises:
            LabelQualityError: if the number of classes differs, or thresholded CCP was asked for here but not there.
        """
        self._check_classes(record.num_classes)
        if "thresholded_ccp" in self.methods and record.sums.histograms is None:
            raise LabelQualityError(
                f"Expected records made with the methods {self.methods}, but got one without thresholded_ccp; pass the "
                "same `methods` to `image_record`."
            )
        self.num_images += 1
        self.num_valid += record.num_valid
        self.num_agreeing += int(record.sums.agreeing.sum())
        self.num_certain += record.sums.num_certain
        self.class_pixels += record.sums.given
        added = [_units(value) for value in record.sums.self_confidence]
        self._units = [a + b for a, b in zip(self._units, added, strict=True)]
        self._add_histograms(record.sums.histograms)

    def merge(self, other: Totals) -> None:
        """Add the images of another worker.

        Args:
            other: totals over other images of the same dataset

        Raises:
            LabelQualityError: if the number of classes or the methods differ.
        """
        self._check_classes(other.num_classes)
        if set(self.methods) != set(other.methods):
            raise LabelQualityError(
                f"Expected totals of the methods {self.methods}, but got {other.methods}; score all images alike."
            )
        self.num_images += other.num_images
        self.num_valid += other.num_valid
        self.num_agreeing += other.num_agreeing
        self.num_certain += other.num_certain
        self.class_pixels += other.class_pixels
        self._units = [a + b for a, b in zip(self._units, other._units, strict=True)]
        self._add_histograms(other._histograms)

    def _check_classes(self, num_classes: int) -> None:
        if num_classes != self.num_classes:
            raise LabelQualityError(
                f"Expected predictions of {self.num_classes} classes as for the images before, but got {num_classes}; "
                "predict all images with the same classes."
            )

    def _add_histograms(self, histograms: IntArray | None) -> None:
        if histograms is None or "thresholded_ccp" not in self.methods:
            return
        self._histograms = histograms.copy() if self._histograms is None else self._histograms + histograms

    @property
    def class_thresholds(self) -> FloatArray:
        """(K,) mean self-confidence of the pixels given each class, at least 2e-6; 2e-6 for classes without pixels."""
        sums = np.array([units / _UNITS for units in self._units])
        means = divide(sums, self.class_pixels)
        return np.maximum(np.nan_to_num(means, nan=0.0), THRESHOLD_FLOOR)

    @property
    def tccp_thresholds(self) -> FloatArray:
        """(K,) probability threshold of each class with the largest IoU over the dataset, for thresholded CCP.

        Class k counts as predicted where its probability exceeds the threshold. Of thresholds with equal IoU the lowest
        is taken; a class without labelled pixels has none (NaN), nor has any if thresholded CCP was not asked for.
        """
        if self._histograms is None:
            return np.full(self.num_classes, np.nan)
        false_positive, true_positive = _above_thresholds(self._histograms)
        given = self._histograms[1].sum(axis=1)
        ious = divide(true_positive, given[:, None] + false_positive)
        best = THRESHOLD_GRID[np.argmax(np.nan_to_num(ious, nan=-1.0), axis=1)]
        return np.where(given > 0, best, np.nan)

    def __repr__(self) -> str:
        return f"Totals(num_classes={self.num_classes}, num_images={self.num_images}, num_valid={self.num_valid})"


def _units(value: float) -> int:
    """Return the nearest whole number of 2^-60; scaling by a power of two is exact."""
    return round(float(value) * _UNITS)


def _above_thresholds(histograms: IntArray) -> IntArray:
    """Return (2, K, 19) pixels whose probability exceeds each threshold, given another class and given this one."""
    from_above = histograms[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
    return from_above[:, :, 1:]


def class_agreements(record: ImageRecord, thresholds: FloatArray) -> FloatArray:
    """Return by class the share of pixels on which a thresholded prediction and the label agree.

    A pixel agrees on class k when its probability of k exceeds the threshold just where it is given k. This is our
    reading of thresholded CCP in Lad & Mueller 2023 (arXiv 2307.05080).

    Args:
        record: made with the method `thresholded_ccp`
        thresholds: (K,) from `Totals.tccp_thresholds`

    Returns:
        (K,) shares in [0, 1]; NaN for classes without threshold or where every pixel is ignored.

    Raises:
        LabelQualityError: if the record holds no histograms.

    Example:
        >>> from .image_records import image_record
        >>> probs = np.array([[[0.9, 0.2]], [[0.1, 0.8]]])
        >>> record = image_record([[0, 0]], probs, methods="thresholded_ccp")
        >>> class_agreements(record, np.array([0.5, 0.5]))
        array([0.5, 0.5])
    """
    histograms = record.sums.histograms
    if histograms is None:
        raise LabelQualityError(
            "Expected a record made with the method thresholded_ccp, but it holds no histograms; pass it to "
            "`image_record`."
        )
    steps = np.searchsorted(THRESHOLD_GRID, np.nan_to_num(thresholds, nan=THRESHOLD_GRID[0]))
    false_positive, true_positive = _above_thresholds(histograms)[:, np.arange(record.num_classes), steps]
    missed = histograms[1].sum(axis=1) - true_positive
    agreement = divide(record.num_valid - false_positive - missed, np.full(record.num_classes, record.num_valid))
    return np.where(np.isnan(thresholds), np.nan, agreement)


def thresholded_ccp(record: ImageRecord, totals: Totals) -> float:
    """Return the thresholded CCP of one image: its class agreements, averaged over the dataset's labelled classes.

    Args:
        record: made with the method `thresholded_ccp`
        totals: of the dataset that the image belongs to

    Returns:
        A number in [0, 1]; NaN where every pixel is ignored.

    Example:
        >>> from .image_records import image_record
        >>> probs = np.array([[[0.9, 0.2]], [[0.1, 0.8]]])
        >>> record = image_record([[0, 1]], probs, methods="thresholded_ccp")
        >>> totals = Totals(2, "thresholded_ccp")
        >>> totals.add(record)
        >>> thresholded_ccp(record, totals)
        1.0
    """
    return mean_present(class_agreements(record, totals.tccp_thresholds))
