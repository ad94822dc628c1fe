"""What may be chosen about the training of a network, whichever way it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...options import option

MEMORY_BUDGET = 2 << 30


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What may be chosen about the training of a network; see each option's text."""

    arch: str = option("unet", 'architecture of segmentation-models-pytorch, such as "unet", "fpn" or "deeplabv3plus"')
    encoder: str = option("resnet18", 'its encoder, such as "resnet18", "mobilenet_v2" or "tu-mobilenetv3_small_100"')
    weights: str | None = option(
        None,
        'of the encoder: None (random), "imagenet" (downloaded), or the path of a state dict, such as a torchvision '
        "classifier's",
    )
    model_options: Mapping[str, Any] | None = option(
        None, 'further arguments of the architecture, such as {"decoder_channels": (64, 32, 32, 16, 16)}', kind=dict
    )
    epochs: int = option(20, "passes over the training images")
    batch_size: int = option(8, "images per step, over all devices")
    crop_size: int | tuple[int, int] | None = option(
        None, "(height, width) of training views, or one number; None = the median image, up to 512", kind=int
    )
    lr: float | None = option(
        None, "highest learning rate; None = 4e-3 from random weights, 2e-3 otherwise", kind=float
    )
    encoder_lr: float | None = option(
        None, "the encoder's; None = `lr` from random weights, a quarter of it otherwise", kind=float
    )
    freeze_batchnorm: bool = option(
        False, "keep the statistics of the encoder's batch normalisation as they are in `weights`"
    )
    bend_labels: bool = option(
        False,
        "bend the labels of training views at random while their images stay, so that the model relies less on where "
        "borders were drawn (NSegment+)",
    )
    ignore_index: int | None = option(255, "value of pixels without a label; None = every pixel has one")
    class_names: Sequence[str] | None = option(None, "names of the K classes, remembered in the folder", kind=list)
    seed: int = option(0, "decides folds, first weights, order and augmentation")
    device: str | None = option(None, "torch device; None = CUDA, then MPS, then CPU")
    devices: int | Sequence[int] = option(
        1,
        "number of devices, or their indices; several train together, each in a process of its own, and progress is "
        "then told fold by fold",
    )
    memory_budget: int = option(
        MEMORY_BUDGET, "bytes of decoded images and masks to keep in memory; beyond, files are read per epoch"
    )
    resume: bool = option(True, "go on with what `folder` holds; False discards it")
