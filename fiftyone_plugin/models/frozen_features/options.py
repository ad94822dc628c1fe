"""All that decides how heads on frozen features are trained, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import LabelQualityError

AUTO = "auto"
IMAGENET = "imagenet"
STRIDES = (1, 2, 4, 8, 16)
_SMALL_PIXELS = 90_000
_CROP_CELLS = 48


@dataclass(frozen=True)
class FrozenFeatureOptions:
    """How heads on the features of a frozen encoder are trained.

    Args:
        encoder: any name of timm that gives feature maps, such as "vit_small_patch14_dinov2", or an embeddings model of
            FiftyOne's zoo ("dinov2-vits14-torch"); "auto" = EfficientNet-Lite2, or Lite0 where only its weights are
            installed
        weights: "imagenet" = those of the extra `offline` where they are installed, else timm's download; a file with
            a state dict; None = random ones
        stride: pixels of the grid on which a head predicts, 2 sees smaller objects at four times the cost; None = 4, or
            2 where images have fewer than 90,000 pixels
        width: channels inside a head
        blocks: residual blocks of a head, each of which looks 2 grid cells further; 0 = a head that judges each cell by
            its own features, trained on cells drawn from all images in place of crops: quicker, for small datasets
        steps: gradient steps per head
        batch_size: crops per step
        cells: drawn cells per step, of a head with 0 `blocks`
        crop_size: side of the crops in pixels, rounded to the encoder's stride; None = 48 cells of the grid
        lr: highest learning rate
        heads: heads of different seeds per fold, whose probabilities are averaged
        mirrored: whether each image is predicted as the mean of what is seen in it and in its mirror image
        enlarge: how many times the encoder sees an image larger, up to `max_pixels`; with a `stride` of the same number
            a head predicts every pixel of a small image
        max_pixels: larger images are shrunk to so many pixels for the encoder; probabilities are enlarged again
        disk_limit: bytes of features that may be kept; beyond, images are not trained on, and seen by the encoder
            again when they are predicted

    Raises:
        LabelQualityError: a value that cannot be used

    Example:
        >>> FrozenFeatureOptions(stride=8).stride
        8
    """

    encoder: str = AUTO
    weights: str | None = IMAGENET
    stride: int | None = None
    width: int = 96
    blocks: int = 2
    steps: int = 300
    batch_size: int = 4
    crop_size: int | None = None
    lr: float = 3e-3
    heads: int = 1
    cells: int = 512
    mirrored: bool = True
    enlarge: int = 1
    max_pixels: int = 1 << 20
    disk_limit: int = 8 << 30

    def __post_init__(self) -> None:
        if self.stride not in (None, *STRIDES):
            raise LabelQualityError(f"Expected a `stride` among {STRIDES}, but got {self.stride}.")
        for name in ("width", "steps", "batch_size", "crop_size", "heads", "cells", "enlarge"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise LabelQualityError(f"Expected `{name}` of at least 1, but got {getattr(self, name)}.")
        if self.blocks < 0:
            raise LabelQualityError(f"Expected `blocks` of at least 0, but got {self.blocks}.")
        if self.max_pixels < 1 << 10:
            raise LabelQualityError(f"Expected `max_pixels` of at least 1024, but got {self.max_pixels}.")
        if self.lr <= 0:
            raise LabelQualityError(f"Expected a positive `lr`, but got {self.lr}.")
        if self.weights is not None and self.weights != IMAGENET and not Path(self.weights).is_file():
            raise LabelQualityError(
                f"Expected `weights` to be 'imagenet', None or the path of a state dict, but {self.weights} does not "
                "exist."
            )

    def for_sizes(self, sizes: Sequence[tuple[int, int]]) -> FrozenFeatureOptions:
        """Settle what depends on the images.

        Args:
            sizes: height and width of each

        Returns:
            the options with a grid and a crop

        Example:
            >>> chosen = FrozenFeatureOptions().for_sizes([(192, 256)])
            >>> chosen.stride, chosen.crop_size
            (2, 96)
        """
        small = float(np.median([height * width for height, width in sizes])) < _SMALL_PIXELS
        stride = self.stride or (2 if small else 4)
        return replace(self, stride=stride, crop_size=self.crop_size or _CROP_CELLS * stride)

    def config(self) -> Mapping[str, Any]:
        """What decides the result, as folds.json remembers it; the limit of the disk is none of that."""
        return {name: value for name, value in asdict(self).items() if name != "disk_limit"}
