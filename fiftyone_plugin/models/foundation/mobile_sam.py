"""MobileSAM: SAM's prompts and decoder behind a small encoder, a TinyViT whose last stage keeps its resolution.

References:
    Zhang et al., Faster Segment Anything: Towards Lightweight SAM for Mobile Applications, 2023.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from ..files.checkpoints import StateDict

_ENCODER = "image_encoder."
_SIGN = "image_encoder.patch_embed.seq.0.c.weight"
_UNUSED = ("image_encoder.norm_head.", "image_encoder.head.")
_NOT_WEIGHTS = (".attention_bias_idxs", ".ab")


class TinyVitEncoder(torch.nn.Module):
    """An image encoder of MobileSAM, its body by timm.

    Args:
        body: timm's TinyViT
        neck: of segment-anything
        img_size: side of the square that images are fitted into
    """

    def __init__(self, body: Any, neck: torch.nn.Module, img_size: int) -> None:
        super().__init__()
        self.body = body
        self.neck = neck
        self.img_size = img_size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, C, side / 16, side / 16) features of (N, 3, side, side) images."""
        features: torch.Tensor = self.neck(self.body.forward_features(images))
        return features


def is_mobile_sam(state: StateDict) -> bool:
    """Tell whether weights are MobileSAM's.

    Args:
        state: names to tensors

    Returns:
        True if they are named as its authors name them

    Example:
        >>> is_mobile_sam({"image_encoder.pos_embed": torch.zeros(1)})
        False
    """
    return any(name.endswith(_SIGN) for name in state)


def build_tiny_vit(weights: StateDict, width: int, image_size: int) -> TinyVitEncoder:
    """Build the encoder that weights belong to, of random weights.

    Args:
        weights: of `in_timms_names`
        width: channels of an image embedding
        image_size: side of the square that images are fitted into

    Returns:
        the encoder
    """
    from segment_anything.modeling.common import LayerNorm2d
    from timm.models.tiny_vit import TinyVit

    stages = range(1 + max(int(found[1]) for name in weights if (found := re.match(r".*body\.stages\.(\d+)\.", name))))
    blocks = [
        1 + max(int(found[1]) for name in weights if (found := re.match(rf".*stages\.{stage}\.blocks\.(\d+)\.", name)))
        for stage in stages
    ]
    biases = [
        tuple(weights[f"{_ENCODER}body.stages.{stage}.blocks.0.attn.attention_biases"].shape) for stage in stages[1:]
    ]
    widths = [weights[f"{_ENCODER}body.stages.{stage}.blocks.0.{conv}.conv.weight"].shape[0]
              for stage, conv in zip(stages, ["conv3", *["local_conv"] * (len(stages) - 1)], strict=True)]  # fmt: skip
    body: Any = TinyVit(
        num_classes=0, embed_dims=tuple(widths), depths=tuple(blocks), num_heads=(1, *(heads for heads, _ in biases)),
        window_sizes=(7, *(round(offsets**0.5) for _, offsets in biases)),
    )  # fmt: skip
    body.head = torch.nn.Identity()
    body.stages[-1].downsample.conv2.conv.stride = (1, 1)
    neck = torch.nn.Sequential(
        torch.nn.Conv2d(widths[-1], width, 1, bias=False), LayerNorm2d(width),
        torch.nn.Conv2d(width, width, 3, padding=1, bias=False), LayerNorm2d(width),
    )  # fmt: skip
    return TinyVitEncoder(body, neck, image_size)


def in_timms_names(state: StateDict) -> dict[str, torch.Tensor]:
    """Rename weights from the names of MobileSAM's authors to those of timm, and leave out what only a classifier has.

    Args:
        state: names to tensors, without a prefix in front of them

    Returns:
        the same tensors

    Example:
        >>> list(in_timms_names({"image_encoder.layers.0.downsample.conv1.c.weight": torch.zeros(1)}))
        ['image_encoder.body.stages.1.downsample.conv1.conv.weight']
    """
    return {
        _renamed(name): value
        for name, value in state.items()
        if not name.startswith(_UNUSED) and not name.endswith(_NOT_WEIGHTS)
    }


def in_the_authors_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename weights the other way, to write a checkpoint as MobileSAM's authors do.

    Args:
        state: names of `in_timms_names` to tensors

    Returns:
        the same tensors

    Example:
        >>> list(in_the_authors_names({"image_encoder.body.stages.1.downsample.conv1.conv.weight": torch.zeros(1)}))
        ['image_encoder.layers.0.downsample.conv1.c.weight']
    """
    return {_named_by_authors(name): value for name, value in state.items()}


def _renamed(name: str) -> str:
    if not name.startswith(_ENCODER) or name.startswith(f"{_ENCODER}neck."):
        return name
    inner = name.removeprefix(_ENCODER).replace("patch_embed.seq.0.", "patch_embed.conv1.")
    inner = inner.replace("patch_embed.seq.2.", "patch_embed.conv2.").replace(".c.", ".conv.")
    inner = re.sub(r"^layers\.(\d+)\.downsample\.", lambda found: f"stages.{int(found[1]) + 1}.downsample.", inner)
    return f"{_ENCODER}body.{re.sub(r'^layers[.]', 'stages.', inner)}"


def _named_by_authors(name: str) -> str:
    if not name.startswith(f"{_ENCODER}body."):
        return name
    inner = name.removeprefix(f"{_ENCODER}body.").replace("patch_embed.conv1.", "patch_embed.seq.0.")
    inner = inner.replace("patch_embed.conv2.", "patch_embed.seq.2.").replace(".conv.", ".c.")
    inner = inner.replace("seq.0.conv.", "seq.0.c.").replace("seq.2.conv.", "seq.2.c.")
    inner = re.sub(r"^stages\.(\d+)\.downsample\.", lambda found: f"layers.{int(found[1]) - 1}.downsample.", inner)
    return f"{_ENCODER}{re.sub(r'^stages[.]', 'layers.', inner)}"
