"""Half precision, on the devices where it is faster than single precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from ...errors import LabelQualityError


def half_type(device: torch.device, half: bool | None = None) -> torch.dtype | None:
    """Return the type to compute in, or None for single precision.

    Args:
        device: CUDA devices compute bfloat16 where they can, else float16; CPUs bfloat16 where the processor has
            instructions for it (AVX512-BF16: Intel from 2020, AMD from 2022 on)
        half: True insists, False forbids, None = wherever it is faster

    Returns:
        `torch.bfloat16`, `torch.float16` or None

    Raises:
        LabelQualityError: it is insisted on, but the device would be slower or cannot

    Example:
        >>> half_type(torch.device("cpu"), half=False) is None
        True
    """
    if half is False:
        return None
    native = _native_half(device)
    if half and native is None:
        raise LabelQualityError(
            f"Half precision was asked for on device {device}, where it is slower or missing; leave `half` out."
        )
    return native


def in_precision(device: torch.device, half: torch.dtype | None) -> AbstractContextManager[Any]:
    """Compute in half precision inside a `with`, where a type is given; weights stay as they are.

    Args:
        device: where it is computed
        half: type, None = as the weights are

    Returns:
        the context

    Example:
        >>> with in_precision(torch.device("cpu"), torch.bfloat16):
        ...     torch.nn.Linear(2, 1)(torch.ones(1, 2)).dtype
        torch.bfloat16
    """
    return nullcontext() if half is None else torch.autocast(device.type, half)


def _native_half(device: torch.device) -> torch.dtype | None:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # absent from older versions
    return torch.bfloat16 if device.type == "cpu" and supported is not None and supported() else None
