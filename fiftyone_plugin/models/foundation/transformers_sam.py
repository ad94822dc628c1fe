"""SAM 1, SAM 2 and 2.1, SAM 3's tracker, SAM-HQ and EdgeTAM as transformers has them, behind one face.

References:
    Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024.
    Ke et al., Segment Anything in High Quality, NeurIPS 2023.
    Zhou et al., EdgeTAM: On-Device Track Anything Model, CVPR 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ...errors import LabelQualityError
from ..errors import one_line
from ..hardware.precision import in_precision
from ..segmenters.transformers_models import quiet_transformers
from .mask_networks import Pixels, Prompts
from .pretrained import Refusal, load_whole, model_family, transformers_package
from .sam_architecture import encoder_pixels

_TRACKER_PARTS = {
    "tracker_model.": "",
    "tracker_neck.": "vision_encoder.neck.",
    "detector_model.vision_encoder.backbone.": "vision_encoder.backbone.",
}
"""Where the parts of the tracker are in a whole SAM 3 -> where they are in a tracker by itself."""

_TEXT_PROMPTED = ("sam3", "sam3_lite_text")


class TransformersMaskNetwork:
    """A network of `AutoModelForMaskGeneration`; see `MaskNetwork`.

    Args:
        module: of transformers
        processor: its image processor

    Attributes:
        name: family, `sam`, `sam2`, `sam3_tracker`, `sam_hq` or `edgetam`

    Example:
        >>> import tempfile
        >>> from .random_checkpoints import save_random_mask_model
        >>> network = load_mask_network(save_random_mask_model(tempfile.mkdtemp(), "sam2"))
        >>> features, inside = network.encode(torch.zeros(30, 40, 3, dtype=torch.uint8).numpy())
        >>> [tuple(one.shape) for one in features], inside
        ([(1, 32, 8, 8), (1, 4, 32, 32), (1, 8, 16, 16)], (128, 128))
    """

    mask_threshold = 0.0

    def __init__(self, module: Any, processor: Any) -> None:
        prompts, decoder = module.config.prompt_encoder_config, module.config.mask_decoder_config
        self.module = module
        self.name = str(module.config.model_type)
        self.image_size = _side(prompts.image_size)
        self.prompt_side = 4 * (self.image_size // _side(prompts.patch_size))
        self.num_masks = int(decoder.num_multimask_outputs)
        self._processor = processor
        self._fitted = "longest_edge" in dict(processor.size)  # else squeezed into the square

    def encode(self, pixels: Pixels, half: torch.dtype | None = None) -> tuple[list[torch.Tensor], tuple[int, int]]:
        """Run the image encoder; see `MaskNetwork`."""
        if self._fitted:
            encoder_pixels((pixels.shape[0], pixels.shape[1]), self.image_size)
        inputs = self._processor(images=[pixels], return_tensors="pt", input_data_format="channels_last")
        values = inputs["pixel_values"].to(self.module.device)
        height, width = inputs["reshaped_input_sizes"][0] if self._fitted else values.shape[-2:]
        with in_precision(self.module.device, half):
            found = self.module.get_image_embeddings(values)
        return [one.float() for one in _prompted_first(found)], (int(height), int(width))

    def decode(
        self, features: Sequence[torch.Tensor], several: bool, prompts: Prompts
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Answer prompts; see `MaskNetwork`."""
        names = {"points": "input_points", "labels": "input_labels", "boxes": "input_boxes"}
        asked = {names[name]: value[None] for name, value in prompts.items() if name in names}
        for name in ("input_points", "input_boxes"):
            if name in asked:
                asked[name] = asked[name].float()
        if "masks" in prompts:
            asked["input_masks"] = prompts["masks"]
        answer = self.module(**self._embedding(features), **asked, multimask_output=several)
        return answer.pred_masks[0].float(), answer.iou_scores[0].float()

    def enlarge(self, logits: torch.Tensor, inside: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
        """Bring logits to the image's size; see `MaskNetwork`."""
        extra = {"reshaped_input_sizes": [list(inside)]} if self._fitted else {}
        [enlarged] = self._processor.post_process_masks([logits], [list(size)], binarize=False, **extra)
        return torch.as_tensor(enlarged)

    def _embedding(self, features: Sequence[torch.Tensor]) -> dict[str, Any]:
        first, *rest = features
        if self.name == "sam":
            return {"image_embeddings": first}
        if self.name == "sam_hq":  # the decoder reads the first of the encoder's inner maps
            return {"image_embeddings": first, "intermediate_embeddings": rest}
        return {"image_embeddings": [*rest, first]}


def load_mask_network(path: str | Path) -> TransformersMaskNetwork:
    """Load a checkpoint of `AutoModelForMaskGeneration`.

    Args:
        path: folder that `save_pretrained` wrote for model and processor, or a name on the hub such as
            "facebook/sam2.1-hiera-tiny"

    Returns:
        the network, on the CPU

    Raises:
        LabelQualityError: transformers is not installed, there is no such checkpoint, it is another kind of model's,
            weights are missing, or its image processor makes images of another size

    Example:
        >>> load_mask_network("/nowhere")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: Cannot load /nowhere as a SAM ...
    """

    def refuse(reason: str) -> LabelQualityError:
        return LabelQualityError(
            f"Cannot load {path} as a SAM ({reason}); pass a .pth file of segment-anything, a folder that "
            "`save_pretrained` wrote for model and processor, a name on the hub such as facebook/sam2.1-hiera-tiny, or "
            "without a network that model downloaded elsewhere."
        )

    transformers = transformers_package(f"the SAM {path}")
    with quiet_transformers():
        family = model_family(path, refuse)
        _require_mask_model(path, family)
        if family == "sam3_video":
            module = _tracker(transformers, path, refuse)
        else:
            module = load_whole(transformers.AutoModelForMaskGeneration, path, refuse)
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(path, trust_remote_code=False)
        except Exception as error:
            raise refuse(f"its image processor is missing or damaged: {one_line(error)}") from error
    network = TransformersMaskNetwork(module, processor)
    seen = _size_of(processor)
    if seen != network.image_size:
        raise refuse(f"its image processor makes squares of {seen} pixels, but the network takes {network.image_size}")
    return network


def _tracker(transformers: Any, path: str | Path, refuse: Refusal) -> Any:
    """The tracker of a whole SAM 3 (facebook/sam3), which shares the body of its encoder with the detector.

    `Sam3TrackerModel.from_pretrained` should do it, but in transformers 5.24 leaves its prompts and decoder random.
    """
    whole = load_whole(transformers.Sam3VideoModel, path, refuse)
    tracker = transformers.Sam3TrackerModel(whole.config)
    state: dict[str, torch.Tensor] = {}
    for name, value in whole.state_dict().items():
        for part, place in _TRACKER_PARTS.items():
            if name.startswith(part):
                state[place + name.removeprefix(part)] = value
    missing = tracker.load_state_dict(state, strict=False, assign=True).missing_keys
    if missing:
        raise refuse(f"{len(missing)} weights of its tracker are missing ({missing[0]}, ...)")
    return tracker.eval().requires_grad_(False)


def _require_mask_model(path: str | Path, family: str) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASK_GENERATION_MAPPING_NAMES as families

    if family in families:
        return
    if family in _TEXT_PROMPTED:
        raise LabelQualityError(
            f"{path} holds the part of SAM 3 that is told what to look for in words; pass it as `detector`, and as "
            "`checkpoint` one of facebook/sam3 (its tracker takes points and boxes) or of SAM 2."
        )
    raise LabelQualityError(
        f"Expected a checkpoint of {', '.join(sorted(families))}, but {path} is one of {family}; "
        "facebook/sam2.1-hiera-tiny is one that fits."
    )


def _prompted_first(found: Any) -> list[torch.Tensor]:
    """The map that prompts meet, then the others: finer ones of SAM 2 and its kin, one of the encoder's of SAM-HQ."""
    if isinstance(found, torch.Tensor):
        return [found]
    if isinstance(found, tuple):  # SAM-HQ
        return [found[0], found[1][0]]
    return [found[-1], *found[:-1]]


def _side(size: int | Sequence[int]) -> int:
    return int(size if isinstance(size, int) else size[0])


def _size_of(processor: Any) -> int:
    size = dict(processor.size)
    return int(size.get("longest_edge") or size.get("height") or 0)
