"""Label quality of a whole dataset of arrays: the functions for people without FiftyOne.

Every function reads its images one at a time and once only, so generators and arrays on disk are fine. Images may
differ in size; thresholds are always those of the whole dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..progress import Progress, silent
from .flags.confident_learning import class_error_shares, confident_learning_cut, record_flags, record_scores
from .pixels.image_pairs import image_pairs, named
from .pixels.inputs import check_temperature
from .pixels.measurement import measure_image
from .pixels.pixel_maps import MeasuredImage
from .records.image_records import ImageRecord, record_of_measured
from .records.spool import RecordSpool
from .records.totals import Totals, class_agreements
from .scores.image_scores import class_scores_of_image
from .scores.methods import check_methods

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def image_scores(
    labels: Iterable[Any],
    pred_probs: Iterable[Any],
    methods: str | Iterable[str] = ("softmin",),
    *,
    ignore_index: int | None = 255,
    temperature: float = 0.1,
    from_logits: bool = False,
    progress: Progress | None = None,
) -> dict[str, FloatArray]:
    """Score the label of each image; higher is better.

    The seven methods are those of Lad & Mueller 2023 (arXiv 2307.05080).

    Args:
        labels: (H, W) integer class indices per image
        pred_probs: (K, H, W) float probabilities per image, NumPy or torch, from a model that has not been trained on
            the image
        methods: names among `METHODS`
        ignore_index: label value of pixels to leave out, or None
        temperature: of softmin
        from_logits: whether `pred_probs` are logits
        progress: told how many images are done

    Returns:
        (N,) float64 scores in [0, 1] by method, in the order of the images; NaN where every pixel is ignored.

    Raises:
        TypeError: if a type does not fit; the message names the image's index.
        LabelQualityError: if a shape or value does not fit; the message names the image's index.

    Example:
        >>> labels = np.array([[[0, 0]], [[1, 255]]])
        >>> pred_probs = np.array([[[[0.9, 0.2]], [[0.1, 0.8]]], [[[0.1, 0.5]], [[0.9, 0.5]]]])
        >>> scores = image_scores(labels, pred_probs, ["softmin", "iou"])
        >>> scores["softmin"].round(4), scores["iou"]
        (array([0.2006, 0.9   ]), array([0.25, 1.  ]))
    """
    names, report = check_methods(methods), progress or silent
    totals: Totals | None = None
    with RecordSpool() as spool:
        for record in _records(labels, pred_probs, names, temperature, ignore_index, from_logits, report):
            totals = _added(totals, record, names, len(spool))
            spool.append(record)
        if totals is None:
            return {name: np.empty(0) for name in names}
        cut = confident_learning_cut(spool, totals) if "confident_learning_counts" in names else None
        rows = [record_scores(record, totals, cut) for record in spool]
    return {name: np.array([row[name] for row in rows]) for name in names}


def class_scores(
    labels: Iterable[Any],
    pred_probs: Iterable[Any],
    methods: str | Iterable[str] = ("softmin",),
    *,
    ignore_index: int | None = 255,
    temperature: float = 0.1,
    from_logits: bool = False,
    progress: Progress | None = None,
) -> dict[str, FloatArray]:
    """Score the label of each class in each image, over the pixels that are given that class; higher is better.

    For `iou` and `thresholded_ccp` it is the class's own term of the image score. For the others it is the image score
    taken over the pixels (or components) of the class alone.

    Args:
        labels: (H, W) integer class indices per image
        pred_probs: (K, H, W) float probabilities per image, NumPy or torch
        methods: names among `METHODS`
        ignore_index: label value of pixels to leave out, or None
        temperature: of softmin
        from_logits: whether `pred_probs` are logits
        progress: told how many images are done

    Returns:
        (N, K) float64 scores in [0, 1] by method; NaN where the label does not hold the class.

    Raises:
        TypeError: if a type does not fit; the message names the image's index.
        LabelQualityError: if a shape or value does not fit; the message names the image's index.

    Example:
        >>> labels = np.array([[[0, 0]], [[1, 255]]])
        >>> pred_probs = np.array([[[[0.9, 0.2]], [[0.1, 0.8]]], [[[0.1, 0.5]], [[0.9, 0.5]]]])
        >>> class_scores(labels, pred_probs, "confidence_in_label")["confidence_in_label"]
        array([[0.55,  nan],
               [ nan, 0.9 ]])
    """
    names, heat, report = check_methods(methods), check_temperature(temperature), progress or silent
    totals: Totals | None = None
    rows: list[dict[str, FloatArray]] = []
    with RecordSpool() as spool:
        for image in _measured(labels, pred_probs, ignore_index, from_logits, "thresholded_ccp" in names, report):
            record = record_of_measured(image, (), heat, with_suspects="confident_learning_counts" in names)
            totals = _added(totals, record, names, len(spool))
            spool.append(record)
            rows.append(class_scores_of_image(image, names, heat))
        if totals is None:
            return {name: np.empty((0, 0)) for name in names}
        _complete_class_scores(rows, spool, totals)
    return {name: np.stack([row[name] for row in rows]) for name in names}


def pixel_scores(
    labels: Iterable[Any],
    pred_probs: Iterable[Any],
    *,
    ignore_index: int | None = 255,
    from_logits: bool = False,
    progress: Progress | None = None,
) -> list[npt.NDArray[np.floating[Any]]]:
    """Return the self-confidence of every pixel: the probability of its given class.

    Args:
        labels: (H, W) integer class indices per image
        pred_probs: (K, H, W) float probabilities per image, NumPy or torch
        ignore_index: label value of pixels to leave out, or None
        from_logits: whether `pred_probs` are logits
        progress: told how many images are done

    Returns:
        (H, W) float per image, NaN where ignored.

    Raises:
        TypeError: if a type does not fit; the message names the image's index.
        LabelQualityError: if a shape or value does not fit; the message names the image's index.

    Example:
        >>> pixel_scores([np.array([[0, 255]])], [np.array([[[0.9, 0.2]], [[0.1, 0.8]]])])
        [array([[0.9, nan]])]
    """
    images = _measured(labels, pred_probs, ignore_index, from_logits, False, progress or silent)
    return [image.maps.self_confidence for image in images]


def iter_label_issues(
    labels: Iterable[Any],
    pred_probs: Iterable[Any],
    *,
    ignore_index: int | None = 255,
    from_logits: bool = False,
    progress: Progress | None = None,
) -> Iterator[BoolArray]:
    """Yield for each image the pixels that confident learning flags as label errors; memory stays flat.

    The first flags come after all images have been read, because class thresholds and cut are those of the whole
    dataset. Until then about 14 bytes per suspect pixel are kept, in a temporary folder beyond 128 MiB (`TMPDIR` moves
    it); it is removed when the generator ends or is closed. See `confident_learning` for the rules.

    Args:
        labels: (H, W) integer class indices per image
        pred_probs: (K, H, W) float probabilities per image, NumPy or torch, from a model that has not been trained on
            the image
        ignore_index: label value of pixels to leave out, or None
        from_logits: whether `pred_probs` are logits
        progress: told how many images are done

    Yields:
        (H, W) bool per image, in the order of the images

    Raises:
        TypeError: if a type does not fit; the message names the image's index.
        LabelQualityError: if a shape or value does not fit; the message names the image's index.

    Example:
        >>> labels = (np.array([[0, 0, 1]]) for _ in range(2))
        >>> pred_probs = (np.array([[[0.9, 0.1, 0.4]], [[0.1, 0.9, 0.6]]]) for _ in range(2))
        >>> [int(flags.sum()) for flags in iter_label_issues(labels, pred_probs)]
        [1, 1]
    """
    names = ("confident_learning_counts",)
    totals: Totals | None = None
    with RecordSpool() as spool:
        for record in _records(labels, pred_probs, names, 0.1, ignore_index, from_logits, progress or silent):
            totals = _added(totals, record, names, len(spool))
            spool.append(record)
        if totals is None:
            return
        cut = confident_learning_cut(spool, totals)
        for record in spool:
            yield record_flags(record, cut)


def label_issues(
    labels: Iterable[Any],
    pred_probs: Iterable[Any],
    *,
    ignore_index: int | None = 255,
    from_logits: bool = False,
    progress: Progress | None = None,
) -> list[BoolArray]:
    """Return for each image the pixels that confident learning flags as label errors.

    Args:
        labels: (H, W) integer class indices per image
        pred_probs: (K, H, W) float probabilities per image, NumPy or torch, from a model that has not been trained on
            the image
        ignore_index: label value of pixels to leave out, or None
        from_logits: whether `pred_probs` are logits
        progress: told how many images are done

    Returns:
        (H, W) bool per image.

    Raises:
        TypeError: if a type does not fit; the message names the image's index.
        LabelQualityError: if a shape or value does not fit; the message names the image's index.

    Example:
        >>> label_issues([np.array([[0, 0, 1]])], [np.array([[[0.9, 0.1, 0.4]], [[0.1, 0.9, 0.6]]])])
        [array([[False,  True, False]])]
    """
    return list(
        iter_label_issues(labels, pred_probs, ignore_index=ignore_index, from_logits=from_logits, progress=progress)
    )


def _measured(
    labels: object,
    pred_probs: object,
    ignore_index: int | None,
    from_logits: bool,
    with_histograms: bool,
    report: Progress,
) -> Iterator[MeasuredImage]:
    total = len(labels) if hasattr(labels, "__len__") else 0
    for index, label, probs in image_pairs(labels, pred_probs):
        with named(index):
            image = measure_image(
                label, probs, ignore_index=ignore_index, from_logits=from_logits, with_histograms=with_histograms
            )
        yield image
        report(index + 1, max(total, index + 1), "measuring labels")


def _records(
    labels: object,
    pred_probs: object,
    methods: tuple[str, ...],
    temperature: float,
    ignore_index: int | None,
    from_logits: bool,
    report: Progress,
) -> Iterator[ImageRecord]:
    heat = check_temperature(temperature)
    with_histograms, with_suspects = "thresholded_ccp" in methods, "confident_learning_counts" in methods
    for image in _measured(labels, pred_probs, ignore_index, from_logits, with_histograms, report):
        yield record_of_measured(image, methods, heat, with_suspects=with_suspects)


def _added(totals: Totals | None, record: ImageRecord, methods: tuple[str, ...], index: int) -> Totals:
    """Add a record to the totals, which start with the first image's number of classes."""
    if totals is None:
        totals = Totals(record.num_classes, methods)
    with named(index):
        totals.add(record)
    return totals


def _complete_class_scores(rows: list[dict[str, FloatArray]], spool: RecordSpool, totals: Totals) -> None:
    """Add the class scores that need the whole dataset to the rows of its images."""
    if "confident_learning_counts" in totals.methods:
        cut = confident_learning_cut(spool, totals)
        for row, record in zip(rows, spool, strict=True):
            row["confident_learning_counts"] = 1 - class_error_shares(record, cut)
    if "thresholded_ccp" in totals.methods:
        thresholds = totals.tccp_thresholds
        for row, record in zip(rows, spool, strict=True):
            agreements = class_agreements(record, thresholds)
            row["thresholded_ccp"] = np.where(record.sums.given > 0, agreements, np.nan)
