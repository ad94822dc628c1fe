"""The maps of one image in one pass on a GPU, to the same bits as `kernels` gives them on a CPU.

Each logit is read once, and what a class leaves is added in the order of the classes, by the same additions,
multiplications and divisions, each rounded by itself: fusing a multiplication with an addition, as GPUs do, would round
differently (except where the product is exact), and flags near the cut would depend on the machine. Triton comes with
PyTorch for CUDA; `device_maps` does without this module where it cannot be imported.
"""

# mypy: disable-error-code="no-untyped-def, assignment, misc"

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl

BLOCK: Final = 256
WARPS: Final = 4
MOST_KEPT: Final = 32
"""Up to so many classes a pixel's logits stay in registers, which takes seconds to compile, once; beyond, they are read
twice, the second time mostly from the cache."""


@triton.jit
def exponential(x):
    """`kernels.exp_float32`, step by step; what lies below -87 is computed as well, and dropped at the end."""
    rounded = x * 1.4426950408889634 + 12582912.0
    n = rounded - 12582912.0
    r = tl.fma(n, -0.693359375, x) - n * -2.12194440054690583e-4  # 7 bits times 9: exact, so fusing rounds alike
    p = 0.041666666666666664 + r * (0.008333333333333333 + r * (0.001388888888888889 + r * 0.0001984126984126984))
    p = 1.0 + r * (1.0 + r * (0.5 + r * (0.16666666666666666 + r * p)))
    power = (rounded.to(tl.int32, bitcast=True) << 23) + 0x3F800000
    return tl.where(x < -87.0, 0.0, p * power.to(tl.float32, bitcast=True))


@triton.jit
def read_labels(labels, pixel, inside, ignore, NUM_CLASSES: tl.constexpr):
    """Return the given class, -1 where ignored, and whether a label is outside of the classes."""
    value = tl.load(labels + pixel, mask=inside, other=0).to(tl.int64)
    labelled = inside & (value != ignore)
    known = (value >= 0) & (value < NUM_CLASSES)
    return tl.where(labelled & known, value, -1).to(tl.int32), labelled & (known == 0)


@triton.jit
def write_maps(
    pixel, inside, picked, top, arg, given, outside, sound,
    confidence, best, predicted, faults,
) -> None:  # fmt: skip
    """Write the three maps and, where there are any, the faults of one block."""
    valid = given >= 0
    picked = tl.where(picked > 0.0, picked, tl.where(picked <= 0.0, 0.0, picked))  # NaN stays, minus zero goes
    top = tl.where(top > 0.0, top, tl.where(top <= 0.0, 0.0, top))
    tl.store(confidence + pixel, tl.where(valid, tl.where(picked > 1.0, 1.0, picked), float("nan")), mask=inside)
    tl.store(best + pixel, tl.where(top > 1.0, 1.0, top), mask=inside)
    tl.store(predicted + pixel, arg, mask=inside)
    found = tl.max(outside.to(tl.int32)) + 2 * tl.max((valid & (sound == 0)).to(tl.int32))
    if found > 0:
        tl.atomic_or(faults, found)


@triton.jit
def take_class(x, k, top, given, total, picked, near):
    """Take one class into the running sum, the given class' exponential and the first class near the largest."""
    e = exponential(x - top)
    picked = tl.where(given == k, e, picked)
    near = tl.where((near < 0) & (e >= 0.9999998807907104), k, near)
    return total + e, picked, near


@triton.jit
def first_of_ties(rows, pixel, inside, class_stride, pixel_stride, top, total, NUM_CLASSES: tl.constexpr):
    """Return the first class that has the largest probability, where several are near it.

    The largest exponential is 1. Classes share the largest probability where dividing by the sum gives the same
    number: that may hold for 1 - 2^-24 and 1 - 2^-23, the two numbers below 1, and for none smaller.
    """
    none = tl.full(top.shape, -1, tl.int32)
    first, second, third = none, none, none
    at = rows + pixel * pixel_stride
    for k in range(NUM_CLASSES):
        e = exponential(tl.load(at, mask=inside, other=0.0).to(tl.float32) - top)
        first = tl.where((first < 0) & (e >= 1.0), k, first)
        second = tl.where((second < 0) & (e >= 0.99999994), k, second)
        third = tl.where((third < 0) & (e >= 0.9999998807907104), k, third)
        at += class_stride
    largest = tl.div_rn(1.0, total)
    found = tl.where(tl.div_rn(0.99999994, total) == largest, second, first)
    found = tl.where(tl.div_rn(0.9999998807907104, total) == largest, third, found)
    return tl.where(found < 0, 0, found)  # NaN


@triton.jit
def write_softmax(
    rows, pixel, inside, class_stride, pixel_stride, given, outside, top, arg, total, picked, near,
    confidence, best, predicted, faults, NUM_CLASSES: tl.constexpr,
) -> None:  # fmt: skip
    """Divide by the sum and write the maps of one block; `arg` is right where no other class is near the largest."""
    if tl.max((near != arg).to(tl.int32)) > 0:
        arg = first_of_ties(rows, pixel, inside, class_stride, pixel_stride, top, total, NUM_CLASSES)
    best_probability, given_probability = tl.div_rn(1.0, total), tl.div_rn(picked, total)
    finite = total < float("inf")
    write_maps(
        pixel, inside, given_probability, best_probability, arg, given, outside, finite,
        confidence, best, predicted, faults,
    )  # fmt: skip


@triton.jit
def logits_kernel(
    rows, labels, confidence, best, predicted, faults,
    num_pixels, class_stride, pixel_stride, ignore, NUM_CLASSES: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """Softmax and maps of one block of pixels, whose logits stay in registers; arguments as `fused_maps`."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < num_pixels
    given, outside = read_labels(labels, pixel, inside, ignore, NUM_CLASSES)
    at = rows + pixel * pixel_stride
    kept = ()
    for _ in tl.static_range(NUM_CLASSES):
        kept = kept + (tl.load(at, mask=inside, other=0.0).to(tl.float32),)  # noqa: RUF005 (Triton has no unpacking)
        at += class_stride
    top, arg = kept[0], tl.zeros([BLOCK], tl.int32)
    for k in tl.static_range(1, NUM_CLASSES):
        larger = kept[k] > top
        top, arg = tl.where(larger, kept[k], top), tl.where(larger, k, arg)
    total, picked, near = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), tl.full([BLOCK], -1, tl.int32)
    for k in tl.static_range(NUM_CLASSES):
        total, picked, near = take_class(kept[k], k, top, given, total, picked, near)
    write_softmax(
        rows, pixel, inside, class_stride, pixel_stride, given, outside, top, arg, total, picked, near,
        confidence, best, predicted, faults, NUM_CLASSES,
    )  # fmt: skip


@triton.jit
def many_logits_kernel(
    rows, labels, confidence, best, predicted, faults,
    num_pixels, class_stride, pixel_stride, ignore, NUM_CLASSES: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """The same for more classes than registers hold: logits are read twice, the second time mostly from the cache."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < num_pixels
    given, outside = read_labels(labels, pixel, inside, ignore, NUM_CLASSES)
    at = rows + pixel * pixel_stride
    top = tl.load(at, mask=inside, other=0.0, eviction_policy="evict_last").to(tl.float32)
    arg = tl.zeros([BLOCK], tl.int32)
    for k in range(1, NUM_CLASSES):
        at += class_stride
        x = tl.load(at, mask=inside, other=0.0, eviction_policy="evict_last").to(tl.float32)
        larger = x > top
        top, arg = tl.where(larger, x, top), tl.where(larger, k, arg)
    total, picked, near = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), tl.full([BLOCK], -1, tl.int32)
    at = rows + pixel * pixel_stride
    for k in range(NUM_CLASSES):
        x = tl.load(at, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
        total, picked, near = take_class(x, k, top, given, total, picked, near)
        at += class_stride
    write_softmax(
        rows, pixel, inside, class_stride, pixel_stride, given, outside, top, arg, total, picked, near,
        confidence, best, predicted, faults, NUM_CLASSES,
    )  # fmt: skip


@triton.jit
def probabilities_kernel(
    rows, labels, confidence, best, predicted, faults,
    num_pixels, class_stride, pixel_stride, ignore, tolerance,
    NUM_CLASSES: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """Maps of one block of pixels from their probabilities."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < num_pixels
    given, outside = read_labels(labels, pixel, inside, ignore, NUM_CLASSES)
    at = rows + pixel * pixel_stride
    top = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    arg, total, picked, lowest = tl.zeros([BLOCK], tl.int32), top, top, top
    for k in range(1, NUM_CLASSES):
        at += class_stride
        p = tl.load(at, mask=inside, other=0.0).to(tl.float32)
        larger = p > top
        top, arg = tl.where(larger, p, top), tl.where(larger, k, arg)
        picked = tl.where(given == k, p, picked)
        lowest = tl.where(p < lowest, p, lowest)
        total += p
    sound = (tl.abs(total - 1.0) <= tolerance) & (lowest >= -1e-6)
    write_maps(pixel, inside, picked, top, arg, given, outside, sound, confidence, best, predicted, faults)


def fused_maps(
    rows: torch.Tensor, label: torch.Tensor, ignore: int, tolerance: float, *, from_logits: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Take the maps of one image in one pass.

    Args:
        rows: (K, P) float32, float16 or bfloat16 on a GPU, at least 2 classes
        label: (P,) integer on the same device
        ignore: value of ignored pixels
        tolerance: how far from 1 a pixel's probabilities may sum
        from_logits: whether to apply a softmax over the classes

    Returns:
        as `device_maps.plain_maps`
    """
    maps, faults = launch(rows, label, ignore, tolerance, from_logits=from_logits)
    return *maps, int(faults)


def launch(
    rows: torch.Tensor, label: torch.Tensor, ignore: int, tolerance: float, *, from_logits: bool
) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """Start the kernel without waiting for it; arguments as `fused_maps`.

    Returns:
        (self-confidence, best probability, predicted class) and the (1,) fault bits
    """
    num_classes, num_pixels = rows.shape
    floats = torch.empty((2, num_pixels), dtype=torch.float32, device=rows.device)
    classes = torch.uint8 if num_classes <= 256 else torch.int16
    maps = (floats[0], floats[1], torch.empty(num_pixels, dtype=classes, device=rows.device))
    faults = torch.zeros(1, dtype=torch.int32, device=rows.device)
    arguments = (rows, label, *maps, faults, num_pixels, rows.stride(0), rows.stride(1), ignore)
    sizes = {"NUM_CLASSES": num_classes, "BLOCK": BLOCK, "num_warps": WARPS, "enable_fp_fusion": False}
    grid = (triton.cdiv(num_pixels, BLOCK),)
    with torch.cuda.device_of(rows):
        if not from_logits:
            probabilities_kernel[grid](*arguments, tolerance, **sizes)
        elif num_classes <= MOST_KEPT:
            logits_kernel[grid](*arguments, **sizes)
        else:
            many_logits_kernel[grid](*arguments, **sizes)
    return maps, faults
