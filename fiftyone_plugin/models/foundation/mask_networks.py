"""What every network of the SAM family can do, and segment-anything's own behind that face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch

from ..hardware.precision import in_precision
from .sam_architecture import SamSizes, encoder_pixels

if TYPE_CHECKING:
    from segment_anything.modeling import Sam as SamModule

Pixels = npt.NDArray[np.uint8]
Prompts = dict[str, torch.Tensor]
"""Of n prompts: `points` (n, p, 2) and `labels` (n, p), or `boxes` (n, 4), in pixels of the network's square; `masks`
(1, 1, 4h, 4w) beside points."""


class MaskNetwork(Protocol):
    """A network that turns prompts into masks, by an image encoder that runs once per image."""

    @property
    def module(self) -> torch.nn.Module:
        """What holds the weights."""

    @property
    def name(self) -> str:
        """Of the kind of network, such as `vit_b` or `sam2`."""

    @property
    def image_size(self) -> int:
        """Side of the square that the encoder sees, in pixels."""

    @property
    def prompt_side(self) -> int:
        """Side of the mask logits, 4 times the embedding's."""

    @property
    def num_masks(self) -> int:
        """Masks that are offered for an ambiguous prompt."""

    @property
    def mask_threshold(self) -> float:
        """Logits above it are inside a mask."""

    def encode(self, pixels: Pixels, half: torch.dtype | None) -> tuple[list[torch.Tensor], tuple[int, int]]:
        """Run the image encoder.

        Args:
            pixels: (H, W, 3) RGB
            half: type to compute in, None = single precision

        Returns:
            feature maps of which the first is prompted, each with its batch of one in front, and the (height, width)
            of the image inside the square
        """

    def decode(
        self, features: Sequence[torch.Tensor], several: bool, prompts: Prompts
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Answer n prompts.

        Args:
            features: of `encode`
            several: `num_masks` answers to each prompt instead of one
            prompts: see `Prompts`

        Returns:
            ((n, m, 4h, 4w) logits, (n, m) predicted IoU)
        """

    def enlarge(self, logits: torch.Tensor, inside: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
        """Bring logits to the image's size.

        Args:
            logits: (n, m, 4h, 4w)
            inside: (height, width) of the image inside the square
            size: (H, W) of the image

        Returns:
            (n, m, H, W)
        """


class SegmentAnythingNetwork:
    """A network of the package segment-anything; see `MaskNetwork`.

    Args:
        module: as segment-anything builds it
        sizes: of the network

    Example:
        >>> from .sam_architecture import TINY, build_sam
        >>> features, inside = SegmentAnythingNetwork(build_sam(TINY), TINY).encode(np.zeros((30, 40, 3), np.uint8))
        >>> features[0].shape, inside
        (torch.Size([1, 32, 8, 8]), (96, 128))
    """

    def __init__(self, module: SamModule, sizes: SamSizes) -> None:
        self.module = module
        self.name = sizes.name
        self.image_size = sizes.image_size
        self.prompt_side = 4 * sizes.grid
        self.num_masks = sizes.num_masks
        self.mask_threshold = float(module.mask_threshold)

    def encode(self, pixels: Pixels, half: torch.dtype | None = None) -> tuple[list[torch.Tensor], tuple[int, int]]:
        """Run the image encoder; see `MaskNetwork`."""
        from segment_anything.utils.transforms import ResizeLongestSide

        inside = encoder_pixels((pixels.shape[0], pixels.shape[1]), self.image_size)
        resized = np.array(ResizeLongestSide(self.image_size).apply_image(pixels))
        batch = torch.as_tensor(resized, device=self.module.device).permute(2, 0, 1)[None]
        with in_precision(self.module.device, half):
            return [self.module.image_encoder(self.module.preprocess(batch)).float()], inside

    def decode(
        self, features: Sequence[torch.Tensor], several: bool, prompts: Prompts
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Answer prompts; see `MaskNetwork`."""
        points = (prompts["points"], prompts["labels"]) if "points" in prompts else None
        sparse, dense = self.module.prompt_encoder(
            points=points, boxes=prompts.get("boxes"), masks=prompts.get("masks")
        )
        logits, scores = self.module.mask_decoder(
            image_embeddings=features[0],
            image_pe=self.module.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
        )
        return logits, scores

    def enlarge(self, logits: torch.Tensor, inside: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
        """Bring logits to the image's size; see `MaskNetwork`."""
        enlarged: torch.Tensor = self.module.postprocess_masks(logits, inside, size)
        return enlarged
