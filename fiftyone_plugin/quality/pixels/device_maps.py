"""The maps of one image from a tensor on a GPU: reduced there, so that only three small maps are copied."""

from __future__ import annotations

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
    outside = (label != ignore) & ((label < 0) | (label >= num_classes))
    if outside.any():
        raise label_values_error(label, ignore, num_classes)
    rows = probs.reshape(num_classes, -1)
    if from_logits:
        stride = max(1, rows.shape[1] // 4096)
        reject_probabilities(rows[:, ::stride].float().cpu().numpy())
    given = np.where(label == ignore, np.int32(-1), label.astype(np.int32)).reshape(-1)
    parts = [
        _reduce(rows[:, start:stop], torch.from_numpy(given[start:stop]).to(probs.device), tolerance, from_logits)
        for start, stop in _ranges(rows.shape[1], num_classes)
    ]
    if any(bool(part[3]) for part in parts):
        values = probs.cpu().double().numpy()
        raise probability_values_error(values, label != ignore, tolerance, from_logits=from_logits)
    confidence, best, predicted = (
        torch.cat([part[i] for part in parts]).reshape(probs.shape[1:]).cpu().numpy() for i in range(3)
    )
    maps = PixelMaps(confidence, best, predicted.astype(class_dtype(num_classes)))
    counted = _histograms(rows, given, from_logits) if histograms else None
    return count_maps(label, ignore, maps, num_classes, counted)


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
    picked = probs.gather(0, given.clamp_min(0).long()[None])[0].clamp(0, 1) + 0.0
    confidence = torch.where(valid, picked, torch.full_like(picked, float("nan")))
    return confidence, best.clamp(0, 1), predicted.int(), (valid & ~sound).any()


def _histograms(rows: torch.Tensor, given: Array, from_logits: bool) -> Array:
    if rows.device.type == "mps":  # has no float64, which the comparison with the thresholds needs
        rows = rows.cpu()
    num_classes, steps = rows.shape[0], kernels.GRID_SIZE + 1
    grid = torch.from_numpy(THRESHOLD_GRID).to(rows.device)
    histograms = torch.zeros(2 * num_classes * steps, dtype=torch.int64, device=rows.device)
    for start, stop in _ranges(rows.shape[1], num_classes):
        label = torch.from_numpy(given[start:stop]).to(rows.device)
        probs = _probabilities(rows[:, start:stop], from_logits)
        for k in range(num_classes):
            step = torch.bucketize(probs[k].double(), grid)
            slot = ((label == k).long() * num_classes + k) * steps + step
            histograms += torch.bincount(slot[(label >= 0) & (step > 0)], minlength=histograms.numel())
    counted = histograms.reshape(2, num_classes, steps).cpu().numpy()
    return complete_histograms(counted, given, -1)
