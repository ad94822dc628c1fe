"""The maps of one image from a tensor on a GPU: reduced there, so that only three small maps are copied.

On CUDA devices one kernel reads each value once and gives the bits that the CPU gives; elsewhere, and for float64,
PyTorch's functions do it, and a softmax may differ from the CPU's by a rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from . import kernels
from .inputs import label_values_error, probability_values_error
from .pixel_maps import (
    THRESHOLD_GRID,
    MeasuredImage,
    PixelMaps,
    class_dtype,
    complete_histograms,
    count_maps,
    reject_probabilities,
)

Array = npt.NDArray[Any]

DeviceMaps = tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]

OUTSIDE: Final = 1
UNSOUND: Final = 2
"""Bits of the faults: a label is neither a class nor ignored; a labelled pixel's values are no probabilities."""

_FUSED_TYPES: Final = (torch.float32, torch.float16, torch.bfloat16)

CHUNK_ELEMENTS: Final = 2**26
"""Probabilities handled at once: 256 MiB in float32, whatever the image's size."""


def measure_on_device(
    label: Array, probs: torch.Tensor, ignore: int, tolerance: float, *, from_logits: bool, histograms: bool
) -> MeasuredImage:
    """Take maps and statistics of one image whose probabilities lie on any torch device.

    Args:
        label: (H, W) uint8 or int32, contiguous
        probs: (K, H, W) floating point tensor, detached
        ignore: value of ignored pixels
        tolerance: how far from 1 a pixel's probabilities may sum
        from_logits: whether to apply a softmax over the classes
        histograms: whether to count probabilities by threshold

    Returns:
        The measured image; class sums are taken on the host, in the same order as for arrays.

    Raises:
        LabelQualityError: if values of label or probabilities do not fit.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2]], [[0.1, 0.8]]])
        >>> label = np.array([[0, 255]], np.uint8)
        >>> measured = measure_on_device(label, probs, 255, 1e-3, from_logits=False, histograms=False)
        >>> measured.sums.given
        array([1, 0])
    """
    num_classes = probs.shape[0]
    rows = probs.reshape(num_classes, -1)
    given = torch.from_numpy(np.require(label.reshape(-1), requirements="W")).to(probs.device)
    if from_logits:
        stride = max(1, rows.shape[1] // 4096)
        reject_probabilities(rows[:, ::stride].float().cpu().numpy())
    take = _fused_maps() if rows.is_cuda and rows.dtype in _FUSED_TYPES else None
    confidence, best, predicted, faults = (take or plain_maps)(rows, given, ignore, tolerance, from_logits=from_logits)
    if faults & OUTSIDE:
        raise label_values_error(label, ignore, num_classes)
    if faults & UNSOUND:
        values = probs.cpu().double().numpy()
        raise probability_values_error(values, label != ignore, tolerance, from_logits=from_logits)
    shape = label.shape
    classes: Array = predicted.cpu().numpy().view(class_dtype(num_classes))
    maps = PixelMaps(confidence.cpu().numpy().reshape(shape), best.cpu().numpy().reshape(shape), classes.reshape(shape))
    counted = _histograms(rows, given, ignore, from_logits) if histograms else None
    return count_maps(label, ignore, maps, num_classes, counted)


def plain_maps(
    rows: torch.Tensor, label: torch.Tensor, ignore: int, tolerance: float, *, from_logits: bool
) -> DeviceMaps:
    """Take the maps with PyTorch's own functions, which read the probabilities several times.

    Args:
        rows: (K, P) floating point on any device
        label: (P,) integer on the same device
        ignore: value of ignored pixels
        tolerance: how far from 1 a pixel's probabilities may sum
        from_logits: whether to apply a softmax over the classes

    Returns:
        (P,) self-confidence, NaN where ignored, (P,) best probability, (P,) uint8 or int16 predicted class (to be read
        as uint16), and the fault bits `OUTSIDE` and `UNSOUND`

    Example:
        >>> rows, label = torch.tensor([[0.9, 0.2], [0.1, 0.8]]), torch.tensor([0, 2])
        >>> plain_maps(rows, label, 255, 1e-3, from_logits=False)[2:]
        (tensor([0, 1], dtype=torch.uint8), 1)
    """
    num_classes, num_pixels = rows.shape
    values = label.long()
    labelled = values != ignore
    known = (values >= 0) & (values < num_classes)
    outside = bool((labelled & ~known).any())
    given = torch.where(labelled & known, values, -1)
    parts = [
        _reduce(rows[:, start:stop], given[start:stop], tolerance, from_logits)
        for start, stop in _ranges(num_pixels, num_classes)
    ]
    confidence, best, predicted = (torch.cat([part[i] for part in parts]) for i in range(3))
    unsound = any(bool(part[3]) for part in parts)
    return confidence, best, predicted, OUTSIDE * outside + UNSOUND * unsound


@cache
def _fused_maps() -> Callable[..., DeviceMaps] | None:
    """Return the one-pass function if Triton can compile it: besides the GPU it needs a C compiler."""
    probs, label = torch.full((2, 1), 0.5, device="cuda"), torch.zeros(1, dtype=torch.uint8, device="cuda")
    try:
        from .device_kernels import fused_maps

        for from_logits in (False, True):
            fused_maps(probs, label, 255, 1e-3, from_logits=from_logits)
    except Exception as error:  # whatever an installation lacks shows in its own way
        warnings.warn(
            "Maps are made by PyTorch's functions, more slowly, because Triton does not work here "
            f"({type(error).__name__}: {error}).",
            stacklevel=2,
        )
        return None
    return fused_maps


def _ranges(num_pixels: int, num_classes: int) -> list[tuple[int, int]]:
    step = max(1, CHUNK_ELEMENTS // num_classes)
    return [(start, min(start + step, num_pixels)) for start in range(0, num_pixels, step)]


def _probabilities(rows: torch.Tensor, from_logits: bool) -> torch.Tensor:
    values = rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
    return torch.softmax(values, dim=0) if from_logits else values


def _reduce(
    rows: torch.Tensor, given: torch.Tensor, tolerance: float, from_logits: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return self-confidence, best probability, predicted class and whether any labelled pixel is invalid."""
    probs = _probabilities(rows, from_logits)
    valid = given >= 0
    best, predicted = probs.max(dim=0)
    sound = ((probs.sum(dim=0) - 1).abs() <= tolerance) & (probs.amin(dim=0) >= -1e-6)
    picked = probs.gather(0, given.clamp_min(0)[None])[0].clamp(0, 1) + 0.0
    confidence = torch.where(valid, picked, torch.full_like(picked, float("nan")))
    classes = torch.uint8 if len(rows) <= 256 else torch.int16
    return confidence, best.clamp(0, 1), predicted.to(classes), (valid & ~sound).any()


def _histograms(rows: torch.Tensor, label: torch.Tensor, ignore: int, from_logits: bool) -> Array:
    if rows.device.type == "mps":  # has no float64, which the comparison with the thresholds needs
        rows, label = rows.cpu(), label.cpu()
    num_classes, steps = rows.shape[0], kernels.GRID_SIZE + 1
    grid = torch.from_numpy(THRESHOLD_GRID).to(rows.device)
    histograms = torch.zeros(2 * num_classes * steps, dtype=torch.int64, device=rows.device)
    for start, stop in _ranges(rows.shape[1], num_classes):
        given = label[start:stop].long()
        probs = _probabilities(rows[:, start:stop], from_logits)
        for k in range(num_classes):
            step = torch.bucketize(probs[k].double(), grid)
            slot = ((given == k).long() * num_classes + k) * steps + step
            histograms += torch.bincount(slot[(given != ignore) & (step > 0)], minlength=histograms.numel())
    counted = histograms.reshape(2, num_classes, steps).cpu().numpy()
    return complete_histograms(counted, label.cpu().numpy(), ignore)
