"""Which networks can be built, told from their names before anything is."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from ...errors import LabelQualityError

ARCHITECTURES = (
    "unet", "fpn", "deeplabv3plus", "deeplabv3", "unetplusplus", "manet", "linknet", "pspnet", "pan", "upernet",
    "segformer", "dpt",
)  # fmt: skip


def require_network(architecture: str, encoder: str) -> None:
    """Check the names of a network of segmentation-models-pytorch.

    Args:
        architecture: of segmentation-models-pytorch
        encoder: its encoder; those that begin with `tu-` are timm's

    Raises:
        LabelQualityError: if there is none of that name, with the names that are most like it

    Example:
        >>> require_network("unnet", "resnet18")
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: Expected a known architecture, but got 'unnet'; like it: unet...
    """
    if architecture.lower() not in ARCHITECTURES:
        _refuse("architecture", architecture, ARCHITECTURES)
    import segmentation_models_pytorch as smp

    names = smp.encoders.get_encoder_names()
    if encoder.startswith("tu-"):
        import timm

        if not timm.is_model(encoder[3:].split(".")[0]):
            _refuse("encoder", encoder, [f"tu-{name}" for name in timm.list_models()])
    elif encoder not in names:
        _refuse("encoder", encoder, names)


def _refuse(what: str, name: str, names: Sequence[str]) -> None:
    alike = difflib.get_close_matches(name, names, 3) or list(names)[:5]
    raise LabelQualityError(f"Expected a known {what}, but got {name!r}; like it: {', '.join(alike)}")
