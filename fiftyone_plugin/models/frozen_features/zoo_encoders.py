"""Embeddings models of FiftyOne's zoo as encoders: the networks of timm that have the same published weights."""

from __future__ import annotations

from ...errors import LabelQualityError

_TORCHVISION = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide-resnet50-2", "wide-resnet101-2",
    "densenet121", "densenet161", "densenet169", "densenet201", "vgg11", "vgg11-bn", "vgg13", "vgg13-bn", "vgg16",
    "vgg16-bn", "vgg19", "vgg19-bn", "inception-v3",
)  # fmt: skip
_LETTERS = {"s": "small", "b": "base", "l": "large", "g": "giant"}

ZOO_ENCODERS: dict[str, str] = {
    **{f"{name}-imagenet-torch": f"{name.replace('-', '_')}.tv_in1k" for name in _TORCHVISION},
    "resnext50-32x4d-imagenet-torch": "resnext50_32x4d.tv_in1k",
    "resnext101-32x8d-imagenet-torch": "resnext101_32x8d.tv_in1k",
    **{f"dinov2-vit{one}14-torch": f"vit_{size}_patch14_dinov2.lvd142m" for one, size in _LETTERS.items()},
    **{f"dinov2-vit{one}14-reg-torch": f"vit_{size}_patch14_reg4_dinov2.lvd142m" for one, size in _LETTERS.items()},
    **{f"dinov3-vit{one}16-torch": f"vit_{_LETTERS[one]}_patch16_dinov3.lvd1689m" for one in "sbl"},
    "dinov3-vith16plus-torch": "vit_huge_plus_patch16_dinov3.lvd1689m",
    **{f"convnext-{size}-224-torch": f"convnext_{size}.fb_in1k" for size in ("tiny", "small", "base", "large")},
    "convnext-xlarge-224-torch": "convnext_xlarge.fb_in22k_ft_in1k",
    **{f"swin-v2-{size}-torch": f"swinv2_{size}_window8_256.ms_in1k" for size in ("tiny", "small", "base")},
    "swin-v2-large-torch": "swinv2_large_window12to16_192to256.ms_in22k_ft_in1k",
}
"""Name in FiftyOne's zoo -> name in timm."""


def timm_name(name: str) -> str:
    """The name in timm of an encoder that may be one of FiftyOne's zoo.

    Args:
        name: of timm, or of the zoo, with or without "zoo:" in front

    Returns:
        a name of timm, unchanged if it was one

    Raises:
        LabelQualityError: "zoo:" and a model that gives no feature maps here

    Example:
        >>> timm_name("dinov2-vits14-torch"), timm_name("resnet18")
        ('vit_small_patch14_dinov2.lvd142m', 'resnet18')
    """
    plain = name.removeprefix("zoo:")
    if plain in ZOO_ENCODERS:
        return ZOO_ENCODERS[plain]
    if plain != name:
        raise LabelQualityError(
            f"Expected one of the zoo's models whose weights timm has, too, as `encoder` ({', '.join(ZOO_ENCODERS)}), "
            f"but got {name!r}; pass the name of an encoder of timm."
        )
    return name
