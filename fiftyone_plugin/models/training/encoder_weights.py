"""What a new model's encoder starts from: random values, downloaded weights, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...errors import LabelQualityError
from ..files.checkpoints import encoder_state, read_state_dict, require_match
from ..files.offline_weights import OFFLINE, offline_state
from ..segmenters.sources import build_smp, smp_normalisation

_FILE_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".bin")
_COUNTER = "num_batches_tracked"  # batch normalisation's step counter, absent from old files, unused here


def is_weights_file(weights: str | Path | None) -> bool:
    """Tell whether `weights` means a file rather than a name that can be downloaded.

    Args:
        weights: as given by the user

    Returns:
        True for a path

    Raises:
        LabelQualityError: it looks like a path, but there is no such file

    Example:
        >>> is_weights_file("imagenet"), is_weights_file(None)
        (False, False)
    """
    if weights is None:
        return False
    path = Path(weights)
    if path.is_file():
        return True
    if isinstance(weights, Path) or path.suffix.lower() in _FILE_SUFFIXES or len(path.parts) > 1:
        raise LabelQualityError(
            f"Expected `weights` to be None, 'imagenet' or the path of a state dict, but {weights} does not exist."
        )
    return False


def new_model(
    arch: str,
    encoder: str,
    num_classes: int,
    weights: str | Path | None,
    options: Mapping[str, Any] | None = None,
) -> tuple[torch.nn.Module, str]:
    """Build a model for training, with its encoder's first weights.

    Args:
        arch: architecture of segmentation-models-pytorch
        encoder: its encoder
        num_classes: channels of the output
        weights: None, a name such as "imagenet", or a state dict file of a classifier or a whole model
        options: further arguments of the architecture

    Returns:
        (model, one sentence that says where the weights came from and what was left out)

    Raises:
        LabelQualityError: the weights cannot be had or do not fit the encoder; the message lists names

    Example:
        >>> model, said = new_model("unet", "resnet18", 3, None)
        >>> said
        'random weights'
    """
    if not is_weights_file(weights):
        name = None if weights is None else str(weights)
        if name == "imagenet" and (installed := _with_installed_weights(arch, encoder, num_classes, options)):
            return installed
        model = build_smp(arch, encoder, num_classes, name, options)
        return model, "random weights" if name is None else f"encoder weights {name}"
    model = build_smp(arch, encoder, num_classes, None, options)
    return model, load_encoder(model, Path(str(weights)), f"encoder {encoder}")


def _with_installed_weights(
    arch: str, encoder: str, num_classes: int, options: Mapping[str, Any] | None
) -> tuple[torch.nn.Module, str] | None:
    """Initialise an encoder by the extra `offline`, without a download; None where there are no weights for it."""
    known = OFFLINE.get(encoder.removeprefix("timm-").removeprefix("tu-"))
    if known is None or known.file() is None:
        return None
    import timm

    state = offline_state(known.architecture, timm.create_model(known.architecture).state_dict()) or {}
    model = build_smp(arch, encoder, num_classes, None, options)
    module: torch.nn.Module = model.encoder  # type: ignore[assignment]
    wanted = module.state_dict()
    found = {name: state[name.removeprefix("model.")] for name in wanted if name.removeprefix("model.") in state}
    require_match(found, wanted, f"encoder {encoder}")
    module.load_state_dict(found)
    return model, f"encoder weights {known.package}: loaded {len(found)} tensors"


def load_encoder(model: torch.nn.Module, path: Path, what: str) -> str:
    """Load an encoder's weights from a file; everything but the classifier has to fit.

    Args:
        model: a segmentation-models-pytorch model
        path: state dict of a classifier (torchvision's format, for instance) or of a whole model
        what: what the values are for, in messages

    Returns:
        one sentence that says what was loaded and what was left out

    Raises:
        LabelQualityError: missing or unexpected names, or other shapes

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "encoder.pth"
        >>> model = build_smp("unet", "resnet18", 3)
        >>> torch.save({**model.encoder.state_dict(), "fc.bias": torch.zeros(9)}, path)
        >>> load_encoder(model, path, "encoder resnet18")
        'encoder weights encoder.pth: loaded 120 tensors, left out fc.bias'
    """
    found, left_out = encoder_state(read_state_dict(path))
    module: torch.nn.Module = model.encoder  # type: ignore[assignment]
    wanted = module.state_dict()
    counters = {name: value for name, value in wanted.items() if name.endswith(_COUNTER) and name not in found}
    require_match({**found, **counters}, wanted, f"{what}, read from {path}")
    module.load_state_dict({**found, **counters})
    without = (
        f"left out {', '.join(left_out[:4])}{', ...' if len(left_out) > 4 else ''}" if left_out else "left out none"
    )
    kept = f", kept {len(counters)} batch counters at zero" if counters else ""
    return f"encoder weights {path.name}: loaded {len(found)} tensors, {without}{kept}"


def encoder_format(encoder: str, weights: str | Path | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and deviation that an encoder's first weights expect of images in [0, 1].

    Args:
        encoder: name of the encoder
        weights: as given by the user

    Returns:
        (mean, std)

    Raises:
        LabelQualityError: weights made for blue-green-red or 0..255 images

    Example:
        >>> encoder_format("resnet18", None)
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    """
    name = None if weights is None or is_weights_file(weights) else str(weights)
    mean, std, value_range, bgr = smp_normalisation(encoder, name)
    if bgr or value_range != 1.0:
        order = "BGR" if bgr else "RGB"
        raise LabelQualityError(
            f"The {weights} weights of {encoder} expect {order} images up to {value_range:g}, which training here "
            "does not offer; choose another encoder or weights=None."
        )
    return mean, std
