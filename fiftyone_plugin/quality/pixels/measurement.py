"""The one pass over an image's probabilities: maps and statistics, on the host or on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import kernels
from .inputs import (
    check_ignore_index,
    check_label,
    check_probabilities,
    is_tensor,
    label_values_error,
    probability_values_error,
    sum_tolerance,
)
from .pixel_maps import (
    ChunkTables,
    MeasuredImage,
    complete_histograms,
    count_chunks,
    empty_maps,
    read_only,
    reject_probabilities,
)
from .workers import run_in_parts

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]


def measure_image(
    label: object,
    pred_probs: object,
    *,
    ignore_index: int | None = 255,
    from_logits: bool = False,
    with_histograms: bool = False,
    num_threads: int | None = None,
) -> MeasuredImage:
    """Take the maps and statistics of one image in one pass over its probabilities.

    Args:
        label: (H, W) class indices
        pred_probs: (K, H, W) probabilities or logits, NumPy or torch on any device
        ignore_index: label value to leave out, or None
        from_logits: whether to apply a softmax over the classes
        with_histograms: whether to count probabilities by threshold, for thresholded CCP
        num_threads: threads to use; None means the cores of this process

    Returns:
        The measured image.

    Raises:
        TypeError: if a type does not fit.
        LabelQualityError: if shapes or values do not fit.

    Example:
        >>> probs = np.array([[[0.9, 0.2]], [[0.1, 0.8]]])
        >>> measure_image([[0, 0]], probs).maps.self_confidence
        array([[0.9, 0.2]])
    """
    given = check_label(label)
    ignore = check_ignore_index(ignore_index)
    probs = check_probabilities(pred_probs, given.shape)
    tolerance = sum_tolerance(probs.dtype)
    if is_tensor(probs) and probs.device.type != "cpu":
        from .device_maps import measure_on_device

        return measure_on_device(given, probs, ignore, tolerance, from_logits=from_logits, histograms=with_histograms)
    array = _host_array(probs)
    return _measure_on_host(
        given, array, ignore, tolerance, from_logits=from_logits, histograms=with_histograms, num_threads=num_threads
    )


def _host_array(probs: Array | torch.Tensor) -> FloatArray:
    """Return float32 or float64 in class-major order; no copy where the input is like that already."""
    if is_tensor(probs):
        import torch

        narrow = probs.dtype in (torch.float16, torch.bfloat16)
        probs = (probs.float() if narrow else probs).resolve_neg().numpy()
    array = np.asarray(probs)
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return np.ascontiguousarray(array)


def _measure_on_host(
    label: IntArray,
    probs: FloatArray,
    ignore: int,
    tolerance: float,
    *,
    from_logits: bool,
    histograms: bool,
    num_threads: int | None,
) -> MeasuredImage:
    if from_logits:
        reject_probabilities(probs)
    num_classes, height, width = probs.shape
    rows, given = read_only(probs.reshape(num_classes, -1)), read_only(label.reshape(-1))
    maps = empty_maps((height, width), num_classes, probs.dtype)
    num_chunks = count_chunks(given.size)
    tables = ChunkTables.empty(num_chunks, num_classes)
    slots = np.zeros((num_chunks if histograms else 0, num_classes, 2 * (kernels.GRID_SIZE + 1)), np.int64)
    outputs = (
        *(values.reshape(-1) for values in (maps.self_confidence, maps.best_probability, maps.predicted)),
        *(tables.faults, tables.counts, tables.sums, tables.others),
    )

    def measure(start: int, stop: int) -> None:
        kernels.measure_chunks(rows, given, ignore, tolerance, start, stop, *outputs)
        if histograms:
            kernels.histogram_chunks(rows, given, ignore, start, stop, slots)

    def measure_logits(start: int, stop: int) -> None:
        for chunk in range(start, stop):
            pixels, row = slice(chunk * kernels.CHUNK, (chunk + 1) * kernels.CHUNK), slice(chunk, chunk + 1)
            part = given[pixels]
            softmax = np.empty((num_classes, part.size), rows.dtype)
            kernels.softmax_pixels(rows, pixels.start, softmax)
            chunk_outputs = (*(output[pixels] for output in outputs[:3]), *(output[row] for output in outputs[3:]))
            kernels.measure_chunks(read_only(softmax), part, ignore, tolerance, 0, 1, *chunk_outputs)
            if histograms:
                kernels.histogram_chunks(read_only(softmax), part, ignore, 0, 1, slots[row])

    run_in_parts(measure_logits if from_logits else measure, num_chunks, num_threads)
    _raise_faults(tables, label, probs, ignore, tolerance, from_logits=from_logits)
    counted = _sum_slots(slots, given, ignore) if histograms else None
    return MeasuredImage(label, ignore, maps, tables.class_sums(counted), tables.others[:, 1])


def _sum_slots(slots: IntArray, given: IntArray, ignore: int) -> IntArray:
    """Return (2, K, 20) histograms from the (chunks, K, 40) counts of `kernels.histogram_chunks`."""
    halves = slots.sum(axis=0).reshape(slots.shape[1], 2, -1)
    return complete_histograms(halves.transpose(1, 0, 2).copy(), given, ignore)


def _raise_faults(
    tables: ChunkTables, label: IntArray, probs: FloatArray, ignore: int, tolerance: float, *, from_logits: bool
) -> None:
    outside, invalid = tables.faults.sum(axis=0)
    if outside:
        raise label_values_error(label, ignore, probs.shape[0])
    if invalid:
        raise probability_values_error(probs, label != ignore, tolerance, from_logits=from_logits)
