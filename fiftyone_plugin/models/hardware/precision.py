"""Half precision, on the devices where it is faster than single precision."""

from __future__ import annotations

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


def compute_in_half(module: torch.nn.Module, device_type: str, dtype: torch.dtype) -> None:
    """Make a module compute in half precision and return single precision; its weights stay as they are.

    Args:
        module: of one input and one output tensor
        device_type: where it runs, such as "cuda"
        dtype: `torch.bfloat16` or `torch.float16`

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> compute_in_half(layer, "cpu", torch.bfloat16)
        >>> layer(torch.ones(1, 2)).dtype
        torch.float32
    """
    forward = module.forward

    def in_half(inputs: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device_type, dtype):
            return forward(inputs).float()

    module.forward = in_half  # type: ignore[method-assign]


def _native_half(device: torch.device) -> torch.dtype | None:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # absent from older versions
    return torch.bfloat16 if device.type == "cpu" and supported is not None and supported() else None
