"""The network behind a SAM checkpoint, its sizes read off the shapes of the weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from ...errors import LabelQualityError
from ..files.checkpoints import StateDict, require_match
from .mobile_sam import build_tiny_vit, in_timms_names, is_mobile_sam

if TYPE_CHECKING:
    from segment_anything.modeling import Sam as SamNetwork

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
_DECODER_HEADS = 8  # the same in every published model, and not to be read off the weights
_NAME_OF = {(768, 12): "vit_b", (1024, 24): "vit_l", (1280, 32): "vit_h", (320, 10): "vit_t"}
_MOBILE_LANDMARK = "image_encoder.patch_embed.seq.0.c"
_LANDMARKS = (
    "image_encoder.pos_embed",
    "image_encoder.patch_embed.proj.weight",
    "image_encoder.blocks.0.attn.rel_pos_h",
    "image_encoder.blocks.0.mlp.lin1.weight",
    "image_encoder.neck.0.weight",
    "prompt_encoder.mask_downscaling.3.weight",
    "mask_decoder.mask_tokens.weight",
    "mask_decoder.transformer.layers.0.mlp.lin1.weight",
    "mask_decoder.iou_prediction_head.layers.0.weight",
)


@dataclass(frozen=True)
class SamSizes:
    """Everything that tells one SAM network from another.

    Attributes:
        image_size: side of the square that images are fitted into
        patch_size: pixels along one side of a patch
        embed_dim: width of the image encoder
        depth: its blocks
        num_heads: attention heads of a block
        mlp_ratio: width of a block's hidden layer relative to `embed_dim`
        window_size: patches along one side of an attention window
        global_blocks: blocks that attend to the whole image
        prompt_dim: channels of an image embedding
        mask_channels: hidden channels for a mask given as a prompt
        num_masks: alternatives offered for an ambiguous prompt
        decoder_depth: blocks of the mask decoder
        decoder_mlp_dim: its hidden width
        iou_depth: layers of the head that predicts a mask's IoU
        iou_dim: its hidden width

    Example:
        >>> SamSizes(embed_dim=768, depth=12).name
        'vit_b'
    """

    image_size: int = 1024
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    window_size: int = 14
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    prompt_dim: int = 256
    mask_channels: int = 16
    num_masks: int = 3
    decoder_depth: int = 2
    decoder_mlp_dim: int = 2048
    iou_depth: int = 3
    iou_dim: int = 256

    @property
    def name(self) -> str:
        """`vit_b`, `vit_l`, `vit_h`, or `vit_t` of MobileSAM; "custom" for any other encoder."""
        return _NAME_OF.get((self.embed_dim, self.depth), "custom")

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size


TINY = SamSizes(
    image_size=128, patch_size=16, embed_dim=32, depth=2, num_heads=2, window_size=4, global_blocks=(1,),
    prompt_dim=32, mask_channels=4, decoder_depth=1, decoder_mlp_dim=32, iou_depth=2, iou_dim=16,
)  # fmt: skip


def build_sam(sizes: SamSizes, encoder: torch.nn.Module | None = None) -> SamNetwork:
    """Build a network of random weights from the classes of the package segment-anything.

    Args:
        sizes: of the network
        encoder: another image encoder than SAM's own

    Returns:
        a `segment_anything.modeling.Sam`, in evaluation mode

    Raises:
        LabelQualityError: the package is not installed

    Example:
        >>> sum(parameter.numel() for parameter in build_sam(TINY).parameters())
        87475
    """
    try:
        from segment_anything import modeling
    except ImportError as error:
        raise LabelQualityError(
            "The package segment-anything, which SAM needs, is not installed; run `pip install segment-anything`."
        ) from error
    own = modeling.ImageEncoderViT if encoder is None else lambda **_: encoder
    image_encoder = own(
        img_size=sizes.image_size,
        patch_size=sizes.patch_size,
        embed_dim=sizes.embed_dim,
        depth=sizes.depth,
        num_heads=sizes.num_heads,
        mlp_ratio=sizes.mlp_ratio,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        qkv_bias=True,
        use_rel_pos=True,
        window_size=sizes.window_size,
        global_attn_indexes=sizes.global_blocks,
        out_chans=sizes.prompt_dim,
    )
    prompts = modeling.PromptEncoder(
        embed_dim=sizes.prompt_dim,
        image_embedding_size=(sizes.grid, sizes.grid),
        input_image_size=(sizes.image_size, sizes.image_size),
        mask_in_chans=sizes.mask_channels,
    )
    decoder = modeling.MaskDecoder(
        transformer_dim=sizes.prompt_dim,
        transformer=modeling.TwoWayTransformer(
            depth=sizes.decoder_depth,
            embedding_dim=sizes.prompt_dim,
            mlp_dim=sizes.decoder_mlp_dim,
            num_heads=_DECODER_HEADS,
        ),
        num_multimask_outputs=sizes.num_masks,
        iou_head_depth=sizes.iou_depth,
        iou_head_hidden_dim=sizes.iou_dim,
    )
    return modeling.Sam(image_encoder, prompts, decoder, list(PIXEL_MEAN), list(PIXEL_STD)).eval()


def sam_from_state(state: StateDict, what: str) -> tuple[SamNetwork, SamSizes]:
    """Build the network that a state dict belongs to and give it the weights.

    Args:
        state: names to tensors; one prefix in front of every name is removed
        what: where the weights come from, in messages

    Returns:
        (network in evaluation mode and single precision, its sizes)

    Raises:
        LabelQualityError: these are not the weights of a SAM network

    Example:
        >>> sam_from_state(build_sam(TINY).state_dict(), "a test")[1] == TINY
        True
    """
    if is_mobile_sam(state):
        weights = in_timms_names(_without_prefix(state, what, f"{_MOBILE_LANDMARK}.weight"))
        try:
            sizes = _mobile_sizes({name: tuple(value.shape) for name, value in weights.items()})
            network = build_sam(sizes, build_tiny_vit(weights, sizes.prompt_dim, sizes.image_size))
        except (KeyError, ValueError) as error:
            raise _not_sam(what, f"a layer that MobileSAM has is missing ({error})") from error
    else:
        weights = _without_prefix(state, what, _LANDMARKS[0])
        sizes = read_sizes(weights, what)
        with torch.device("meta"):  # the random first weights would cost seconds and memory for nothing
            network = build_sam(sizes)
    require_match(weights, network.state_dict(), f"SAM ({sizes.name}), read from {what}")
    single = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    network.load_state_dict(single, assign=True)
    network.pixel_mean = torch.tensor(PIXEL_MEAN).view(-1, 1, 1)
    network.pixel_std = torch.tensor(PIXEL_STD).view(-1, 1, 1)
    return network.requires_grad_(False), sizes


def read_sizes(weights: StateDict, what: str) -> SamSizes:
    """Read a network's sizes off the shapes of its weights.

    Args:
        weights: names to tensors, as segment-anything names them
        what: where they come from, in messages

    Returns:
        the sizes

    Raises:
        LabelQualityError: a layer that every SAM network has is missing, or a shape is not one of SAM's

    Example:
        >>> read_sizes(build_sam(TINY).state_dict(), "a test").num_heads
        2
    """
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    missing = [name for name in _LANDMARKS if name not in shapes]
    if missing:
        raise _not_sam(what, f"there is no {missing[0]}")
    try:
        return _sizes(shapes)
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise _not_sam(what, f"the shapes of its layers are not those of SAM ({error})") from error


def _sizes(shapes: dict[str, tuple[int, ...]]) -> SamSizes:
    _, rows, columns, embed_dim = shapes["image_encoder.pos_embed"]
    if rows != columns:
        raise ValueError(f"{rows} x {columns} patches")
    patch_size = shapes["image_encoder.patch_embed.proj.weight"][-1]
    depth = _count(shapes, r"image_encoder\.blocks\.(\d+)\.")
    reach = [shapes[f"image_encoder.blocks.{block}.attn.rel_pos_h"][0] for block in range(depth)]
    everywhere = 2 * rows - 1
    windows = {(length + 1) // 2 for length in reach if length != everywhere}
    if len(windows) > 1:
        raise ValueError(f"attention windows of {sorted(windows)} patches")
    return SamSizes(
        image_size=rows * patch_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=embed_dim // shapes["image_encoder.blocks.0.attn.rel_pos_h"][1],
        mlp_ratio=shapes["image_encoder.blocks.0.mlp.lin1.weight"][0] / embed_dim,
        window_size=windows.pop() if windows else 0,
        global_blocks=tuple(block for block, length in enumerate(reach) if length == everywhere),
        **_decoder_sizes(shapes),
    )


def _mobile_sizes(shapes: dict[str, tuple[int, ...]]) -> SamSizes:
    """Of MobileSAM, whose convolutions do not tell for which size they were made: 1,024 pixels, as published."""
    width = shapes["image_encoder.neck.0.weight"][1]
    depth = sum(1 for name in shapes if name.endswith("attention_biases"))
    return SamSizes(embed_dim=width, depth=depth, **_decoder_sizes(shapes))


def _decoder_sizes(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    return {
        "prompt_dim": shapes["image_encoder.neck.0.weight"][0],
        "mask_channels": shapes["prompt_encoder.mask_downscaling.3.weight"][0],
        "num_masks": shapes["mask_decoder.mask_tokens.weight"][0] - 1,
        "decoder_depth": _count(shapes, r"mask_decoder\.transformer\.layers\.(\d+)\."),
        "decoder_mlp_dim": shapes["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
        "iou_depth": _count(shapes, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
        "iou_dim": shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
    }


def _count(names: Iterable[str], pattern: str) -> int:
    found = [int(match.group(1)) for name in names if (match := re.match(pattern, name))]
    return max(found) + 1


def _without_prefix(state: StateDict, what: str, landmark: str) -> dict[str, torch.Tensor]:
    prefix = next((name.removesuffix(landmark) for name in state if name.endswith(landmark)), None)
    if prefix is None:
        raise _not_sam(what, f"there is no {landmark}")
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _not_sam(what: str, reason: str) -> LabelQualityError:
    return LabelQualityError(
        f"{what} is not a SAM checkpoint: {reason}. Expected a file such as sam_vit_b_01ec64.pth, written for the "
        "package segment-anything; SAM 2, SAM 3, SAM-HQ and EdgeTAM are read as transformers has them, by a folder or "
        "a name on the hub such as facebook/sam2.1-hiera-tiny."
    )


def encoder_pixels(size: tuple[int, int], image_size: int) -> tuple[int, int]:
    """Return the (height, width) to which an image is scaled, its longer side filling the network's square.

    Args:
        size: (height, width) of the image
        image_size: side of the square

    Returns:
        (height, width)

    Raises:
        LabelQualityError: the image is so narrow that nothing of it would be left

    Example:
        >>> encoder_pixels((300, 400), 1024)
        (768, 1024)
    """
    scale = image_size / max(size)
    height, width = (math.floor(side * scale + 0.5) for side in size)
    if min(height, width) < 1:
        raise LabelQualityError(
            f"Expected an image whose sides differ less, but {size[0]} x {size[1]} pixels shrink to {height} x {width} "
            f"in SAM's {image_size} x {image_size}; cut the image into parts."
        )
    return height, width
