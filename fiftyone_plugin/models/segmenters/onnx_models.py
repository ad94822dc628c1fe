"""ONNX files, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import LabelQualityError
from ..errors import one_line
from .network import InputFormat, NetworkOutput
from .sources import Source

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def onnx_source(path: Path, device: torch.device) -> Source:
    """Load an ONNX file; the batch and image size that it was exported for are kept to.

    Args:
        path: of the file; weights in files of their own lie beside it
        device: CUDA is used where onnxruntime was installed with it, the CPU otherwise

    Returns:
        the source

    Raises:
        LabelQualityError: onnxruntime is not installed, the file holds something else, or it does not take one
            (N, 3, H, W) or (N, H, W, 3) floating-point tensor

    Example:
        >>> onnx_source(Path("none.onnx"), torch.device("cpu"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: ...none.onnx...
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise LabelQualityError(
            f"The package onnxruntime, which {path} needs, is not installed; "
            'run `pip install "fiftyone-label-quality[onnx]"`.'
        ) from error
    wanted = [*(["CUDAExecutionProvider"] if device.type == "cuda" else []), "CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:
        raise LabelQualityError(
            f"Cannot load {path} as an ONNX model ({one_line(error)}); write it with `torch.onnx.export`."
        ) from error
    return _source(session, path)


def _source(session: Any, path: Path) -> Source:
    inputs = session.get_inputs()
    shape: Sequence[Any] = inputs[0].shape if len(inputs) == 1 else ()
    fits = len(shape) == 4 and (3 in (shape[1], shape[3]) or not isinstance(shape[1], int))
    if not fits or inputs[0].type not in _TYPES:
        found = [(one.name, one.type, tuple(one.shape)) for one in inputs]
        raise LabelQualityError(
            f"Expected {path.name} to take one floating-point tensor (N, 3, H, W) or (N, H, W, 3), but it takes "
            f"{found}; export the network again without what stands before it."
        )
    last = shape[3] == 3 and shape[1] != 3
    dtype, name = _TYPES[inputs[0].type], inputs[0].name
    height, width = (shape[1], shape[2]) if last else (shape[2], shape[3])
    outputs = [one.name for one in session.get_outputs()]

    def run(images: torch.Tensor) -> Any:
        pixels = images.cpu().numpy().astype(dtype)
        found = session.run(outputs, {name: pixels.transpose(0, 2, 3, 1) if last else pixels})
        maps = [np.ascontiguousarray(one.transpose(0, 3, 1, 2) if last and one.ndim == 4 else one) for one in found]
        return [torch.from_numpy(one) for one in maps]

    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    batch = shape[0] if isinstance(shape[0], int) else None
    return Source(run, f"ONNX {path.name}", InputFormat(size=size), NetworkOutput(batch=batch))
