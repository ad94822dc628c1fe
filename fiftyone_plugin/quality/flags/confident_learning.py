"""Confident learning over all pixels of a dataset, from the suspects of its images only.

For a pixel with given class l, predicted class a, self-confidence c and best probability M (Lad & Mueller 2023,
arXiv 2307.05080; the same rules as cleanlab's `segmentation.filter.find_label_issues`):

1. t_k is the mean self-confidence of all pixels of the dataset that are given class k, at least 2e-6.
2. n is the number of pixels with a != l and M >= t_a - 1e-6.
3. The cut is the n-th lowest self-confidence of all pixels.
4. Flagged is every pixel with a != l whose self-confidence does not exceed the cut.

Without ties at the cut these are the pixels that cleanlab flags. With ties cleanlab takes whichever pixels its sort
puts first, which depends on the processor; here all pixels tied with the cut are flagged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ...progress import Progress, silent
from ..pixels import kernels
from ..records.image_records import ImageRecord
from ..records.totals import Totals, thresholded_ccp
from ..scores.image_scores import divide

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.integer[Any]]

COMPARISON_TOLERANCE: Final = 1e-6
COLLECT_LIMIT: Final = 2**22
"""Self-confidences sorted in memory at once (32 MiB); larger groups are narrowed down by another pass."""

_DIGIT_BITS: Final = 16
_SHIFTS: Final = (46, 30, 14, 0)
"""Where the digits of a key end: the bits of a float64 in [0, 1] read as a whole number, of 62 bits then."""


@dataclass(frozen=True, eq=False)
class Cut:
    """Where confident learning separates label errors from the rest, for one dataset.

    Attributes:
        class_thresholds: (K,) float64, mean self-confidence of the pixels given each class
        num_counted: pixels that are confidently another class than given; their number sets the cut
        self_confidence: the cut; a disagreeing pixel is flagged up to here
        inclusive: whether a self-confidence equal to the cut is flagged; False only if no pixel was counted
    """

    class_thresholds: FloatArray
    num_counted: int
    self_confidence: float
    inclusive: bool = True


def confident_learning_cut(records: Iterable[ImageRecord], totals: Totals, *, progress: Progress | None = None) -> Cut:
    """Find the cut of a dataset; memory does not grow with the number of images.

    Args:
        records: all images of the dataset, in any order; a list, or an object that loads them anew each time it is
            iterated. Read two to five times.
        totals: over the same images
        progress: told how many images have been read

    Returns:
        The cut.

    Raises:
        TypeError: if `records` can be read only once.
        LabelQualityError: if `records` and `totals` are not of the same images.

    Example:
        >>> from ..records.image_records import image_record
        >>> record = image_record([[0, 0, 1]], np.array([[[0.9, 0.1, 0.4]], [[0.1, 0.9, 0.6]]]))
        >>> totals = Totals(2)
        >>> totals.add(record)
        >>> confident_learning_cut([record], totals).self_confidence
        0.1
    """
    if isinstance(records, Iterator):
        raise TypeError(
            "Expected `records` that can be read several times, but got an iterator; pass a list, or an object whose "
            "`__iter__` loads the records anew."
        )
    report = progress or silent
    thresholds = totals.class_thresholds
    num_counted, num_valid, counts = 0, 0, np.zeros(2**_DIGIT_BITS, np.int64)
    for done, record in enumerate(records, start=1):
        num_valid += record.num_valid
        num_counted += _count_confident(record, thresholds, counts)
        report(done, totals.num_images, "confident learning")
    if num_valid != totals.num_valid:
        raise LabelQualityError(
            f"Expected records of the {totals.num_valid} pixels in `totals`, but got {num_valid}; add exactly "
            "the records that are passed here."
        )
    if num_counted == 0:
        return Cut(thresholds, 0, 0.0, inclusive=False)
    return Cut(thresholds, num_counted, _nth_lowest(records, counts, num_counted))


def _count_confident(record: ImageRecord, thresholds: FloatArray, counts: IntArray) -> int:
    """Return the suspects that are confidently another class than given; count all by their first digit."""
    table = record.suspects
    if record.num_classes != thresholds.size:
        raise LabelQualityError(
            f"Expected records of {thresholds.size} classes as in `totals`, but got {record.num_classes}; add exactly "
            "the records that are passed here."
        )
    if len(table) != record.sums.num_suspects:
        raise LabelQualityError(
            f"Expected a record with its {record.sums.num_suspects} suspects, but it holds {len(table)}; make it with "
            "`image_record`."
        )
    lowest = thresholds - COMPARISON_TOLERANCE
    return int(
        kernels.scan_suspects(
            table.given, table.predicted, table.self_confidence, table.best_probability, lowest, _SHIFTS[0], counts
        )
    )


def _nth_lowest(records: Iterable[ImageRecord], counts: IntArray, n: int) -> float:
    """Return the n-th lowest self-confidence (n from 1), given how many suspects have each first digit.

    Radix selection: narrow down to the keys that share their leading bits until they fit into memory.
    """
    shift = _SHIFTS[0]
    prefix, rank, size = _digit_of_rank(counts, n)
    for next_shift in _SHIFTS[1:]:
        if size <= COLLECT_LIMIT:
            break
        counts = np.zeros(2**_DIGIT_BITS, np.int64)
        for record in records:
            kernels.count_digits(record.suspects.self_confidence, prefix, shift, next_shift, counts)
        digit, rank, size = _digit_of_rank(counts, rank)
        prefix, shift = (prefix << (shift - next_shift)) | digit, next_shift
    if shift == 0:
        return float(np.array(prefix, np.int64).view(np.float64))
    found, position = np.empty(size), 0
    for record in records:
        position = kernels.collect_keys(record.suspects.self_confidence, prefix, shift, found, position)
    return float(np.partition(found, rank - 1)[rank - 1])


def _digit_of_rank(counts: IntArray, rank: int) -> tuple[int, int, int]:
    """Return the digit that holds the rank-th lowest key, the rank among the keys of that digit, and their number."""
    digit = int(np.searchsorted(np.cumsum(counts), rank))
    return digit, rank - int(counts[:digit].sum()), int(counts[digit])


def flagged_suspects(record: ImageRecord, cut: Cut) -> BoolArray:
    """Tell which suspects of an image are flagged.

    Args:
        record: of one image
        cut: of the dataset

    Returns:
        (S,) bool.

    Example:
        >>> from ..records.image_records import image_record
        >>> record = image_record([[0, 0, 1]], np.array([[[0.9, 0.1, 0.4]], [[0.1, 0.9, 0.6]]]))
        >>> flagged_suspects(record, Cut(np.array([0.5, 0.6]), 1, 0.1))
        array([ True])
    """
    _check_classes(record, cut)
    if not cut.inclusive:
        return np.zeros(len(record.suspects), np.bool_)
    below = record.suspects.self_confidence <= cut.self_confidence
    flagged: BoolArray = below & (record.suspects.given != record.suspects.predicted)
    return flagged


def _check_classes(record: ImageRecord, cut: Cut) -> None:
    if record.num_classes != cut.class_thresholds.size:
        raise LabelQualityError(
            f"Expected a record of {cut.class_thresholds.size} classes as in the cut, but got {record.num_classes}; "
            "use the cut of the dataset that the image belongs to."
        )


def record_flags(record: ImageRecord, cut: Cut) -> BoolArray:
    """Return the pixels of an image that confident learning flags as label errors.

    Args:
        record: of one image
        cut: of the dataset

    Returns:
        (H, W) bool.

    Raises:
        LabelQualityError: if the number of classes differs.

    Example:
        >>> from ..records.image_records import image_record
        >>> record = image_record([[0, 0, 1]], np.array([[[0.9, 0.1, 0.4]], [[0.1, 0.9, 0.6]]]))
        >>> record_flags(record, Cut(np.array([0.5, 0.6]), 1, 0.1))
        array([[False,  True, False]])
    """
    _check_classes(record, cut)
    flags, table = np.zeros(record.shape, np.bool_), record.suspects
    if cut.inclusive:
        kernels.mark_flags(
            table.index, table.given, table.predicted, table.self_confidence, cut.self_confidence, flags.reshape(-1)
        )
    return flags


def class_pairs(record: ImageRecord, cut: Cut) -> npt.NDArray[np.int64]:
    """Count the flagged pixels of an image by given and predicted class; counts of several images add up.

    Args:
        record: of one image
        cut: of the dataset

    Returns:
        (K, K) int64, given class first.

    Raises:
        LabelQualityError: if the number of classes differs.

    Example:
        >>> from ..records.image_records import image_record
        >>> record = image_record([[0, 0, 1]], np.array([[[0.9, 0.1, 0.4]], [[0.1, 0.9, 0.6]]]))
        >>> class_pairs(record, Cut(np.array([0.5, 0.6]), 1, 0.1))
        array([[0, 1],
               [0, 0]])
    """
    flagged, num_classes = flagged_suspects(record, cut), record.num_classes
    given = record.suspects.given[flagged].astype(np.int64)
    pairs = given * num_classes + record.suspects.predicted[flagged]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


def confident_learning_counts(record: ImageRecord, cut: Cut) -> float:
    """Return the share of an image's pixels that confident learning does not flag.

    Args:
        record: of one image
        cut: of the dataset

    Returns:
        A number in [0, 1]; NaN where every pixel is ignored.

    Example:
        >>> from ..records.image_records import image_record
        >>> record = image_record([[0, 0, 1, 1]], np.array([[[0.9, 0.1, 0.4, 0]], [[0.1, 0.9, 0.6, 1]]]))
        >>> confident_learning_counts(record, Cut(np.array([0.5, 0.8]), 1, 0.1))
        0.75
    """
    flagged = np.count_nonzero(flagged_suspects(record, cut))
    return float(divide(record.num_valid - flagged, record.num_valid))


def class_error_shares(record: ImageRecord, cut: Cut) -> FloatArray:
    """Return by given class the share of an image's pixels that confident learning flags.

    Args:
        record: of one image
        cut: of the dataset

    Returns:
        (K,) shares in [0, 1]; NaN for classes that the label does not hold.

    Example:
        >>> from ..records.image_records import image_record
        >>> record = image_record([[0, 0, 1]], np.array([[[0.9, 0.1, 0.4]], [[0.1, 0.9, 0.6]]]))
        >>> class_error_shares(record, Cut(np.array([0.5, 0.6]), 1, 0.1))
        array([0.5, 0. ])
    """
    given = record.suspects.given[flagged_suspects(record, cut)]
    return divide(np.bincount(given, minlength=record.num_classes), record.sums.given)


def record_scores(record: ImageRecord, totals: Totals, cut: Cut | None = None) -> dict[str, float]:
    """Return all scores of an image, those that need the dataset included.

    Args:
        record: of one image
        totals: of the dataset; thresholded CCP is added if it was asked for there
        cut: of the dataset; confident-learning counts are added if it is given

    Returns:
        Score by method, in [0, 1], higher = better label; NaN where every pixel is ignored.

    Example:
        >>> from ..records.image_records import image_record
        >>> record = image_record([[0, 0]], np.array([[[0.9, 0.2]], [[0.1, 0.8]]]), methods="iou")
        >>> totals = Totals(2, "iou")
        >>> totals.add(record)
        >>> record_scores(record, totals, confident_learning_cut([record], totals))
        {'iou': 0.25, 'confident_learning_counts': 0.5}
    """
    scores = dict(record.scores)
    if "thresholded_ccp" in totals.methods:
        scores["thresholded_ccp"] = thresholded_ccp(record, totals)
    if cut is not None:
        scores["confident_learning_counts"] = confident_learning_counts(record, cut)
    return scores
