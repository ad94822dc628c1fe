"""What a user may choose about noise-robust training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ... import quality
from ...options import option


@dataclass(frozen=True, kw_only=True)
class NoiseRobustOptions:
    """What a user may choose about noise-robust training; see each option's text."""

    key: str = option("noise_robust", "name of the run and prefix of its fields")
    architecture: str = option("unet", "of segmentation-models-pytorch: unet, fpn, deeplabv3plus, ...")
    encoder: str = option("resnet18", "of segmentation-models-pytorch: resnet18, mobilenet_v2, ...")
    weights: str | None = option(
        "imagenet", 'of the encoder: "imagenet", a file with a state dict, or None for random ones'
    )
    epochs: int = option(20, "passes over the images", minimum=1)
    variant: Literal["voc", "segthor"] | None = option(
        None,
        'options of a published experiment instead of ours: "voc" or "segthor"; what follows changes them',
        choices=("voc", "segthor"),
    )
    correction: bool = option(
        True,
        "whether labels are corrected, from the moment a class begins to be memorised, from confident predictions; "
        "without it no field is written",
        label="Correct labels",
    )
    consistency: bool = option(
        True,
        "whether predictions at several scales have to agree; takes about four times as long",
        label="Consistency between scales",
    )
    per_class: bool = option(
        True,
        "each class is corrected from its own moment on; otherwise all from that of their mean IoU",
        label="A moment of its own for each class",
    )
    threshold: float | Mapping[str, float] | None = option(
        None,
        "how probable a prediction must be to replace a label; one number, or numbers by class name (0.8 for the "
        "others); None = the variant's",
        label="Confidence",
        kind=float,
    )
    relative_change: float | None = option(
        None,
        "share of its first slope that a class' curve must have lost to fire; None = 0.9",
        label="Change of the curve's slope",
        kind=float,
        minimum=0,
        maximum=1,
    )
    latest_epoch: int | None = option(
        None, "fires every class after so many epochs at the latest; None = none is forced", kind=int, minimum=1
    )
    gate: Literal["image", "pixel"] | None = option(
        None,
        'what has to be confident for consistency to count, the "image" or the "pixel"; None = the variant\'s',
        label="Scales have to agree in",
        choices={"image": "Images with a confident pixel (as published)", "pixel": "Confident pixels"},
    )
    background: int | str | None = option(
        "auto",
        "class that stands for none of the others, by name or mask value; None = there is none; `auto` = the "
        "class that is called background or the like",
    )
    out_of_fold: bool = option(
        False,
        "whether to train further models, each without a fold, to score the labels with; takes as long again for each",
        label="Out-of-fold models, too",
    )
    folds: int = option(4, "how many of those", minimum=2)
    group_field: str | None = option(
        None, "images with equal values of this field (video, patient) stay in one fold", label="Keep together"
    )
    ignore_index: int | str | Sequence[int | str] | None = option("auto", "as in `score_label_quality`")
    min_region_area: int | None = option(
        None, "pixels of the smallest region; a 20,000th of the image if None", kind=int, minimum=1
    )
    max_regions_per_image: int = option(quality.MAX_PER_IMAGE, "regions to keep of each image", minimum=1)
    output_dir: str | None = option(None, "folder for models and masks; beside FiftyOne's dataset files if None")
    overwrite: bool = option(False, "whether to replace a run under the same key")
    resume: bool = option(True, "whether to go on with an interrupted training")
