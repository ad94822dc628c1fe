"""One way in for detectors that are told names: GroundingDINO, OWLv2, SAM 3."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ...errors import LabelQualityError
from ..errors import one_line
from ..hardware.devices import choose_device
from ..hardware.precision import half_type
from ..segmenters.transformers_models import quiet_transformers
from .detections import TextDetector, memory_explained
from .grounding import GroundingDetector, require_tokenizer
from .owl import OwlDetector
from .pretrained import Refusal, load_whole, model_family, transformers_package
from .sam3_concepts import ConceptSegmenter

_FAMILIES: dict[str, Callable[..., TextDetector]] = {
    "grounding-dino": GroundingDetector,
    "mm-grounding-dino": GroundingDetector,
    "owlv2": OwlDetector,
    "owlvit": OwlDetector,
    "sam3": ConceptSegmenter,
    "sam3_video": ConceptSegmenter,
}
_WITH_MASKS = ("sam3", "sam3_video")
_loading = threading.Lock()


def gives_masks(path: str | Path) -> bool:
    """Tell whether a detector needs no SAM, without reading its weights.

    Args:
        path: folder that `save_pretrained` wrote, or a name on the hub

    Returns:
        True for SAM 3

    Raises:
        LabelQualityError: transformers is not installed, there is no such checkpoint, or another kind of model's

    Example:
        >>> import tempfile
        >>> from .random_checkpoints import save_random_detector
        >>> gives_masks(save_random_detector(tempfile.mkdtemp(), ["cat"]))
        False
    """
    return _family(path) in _WITH_MASKS


def load_detector(path: str | Path, device: str | torch.device | None = None, half: bool | None = None) -> TextDetector:
    """Load a detector of Hugging Face transformers that is told names.

    Args:
        path: folder that `save_pretrained` wrote, or a name on the hub: "IDEA-Research/grounding-dino-tiny",
            "google/owlv2-base-patch16-ensemble", "facebook/sam3"
        device: None = CUDA, then MPS, then CPU
        half: True = half precision, which moves boxes by up to a pixel or two; None = single precision

    Returns:
        the detector, ready for images

    Raises:
        LabelQualityError: transformers is not installed, there is no such checkpoint, it is another kind of
            model's, its tokenizer or some of its weights are missing, or the device does not exist

    Example:
        >>> load_detector("/nowhere")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: Cannot load /nowhere as a detector ...
    """
    chosen = choose_device(device)
    precision = half_type(chosen, True) if half else None
    refuse = _refusal(path)
    transformers: Any = transformers_package(f"the detector {path}")
    family = _family(path)
    kind = transformers.Sam3Model if family in _WITH_MASKS else transformers.AutoModelForZeroShotObjectDetection
    with quiet_transformers():
        processor = _load_processor(transformers, path, family, refuse)
        network = load_whole(kind, path, refuse)
    with memory_explained(chosen):
        return _FAMILIES[family](network, processor, chosen, precision)


def cached_detector(
    path: str | Path, device: str | torch.device | None = None, half: bool | None = None
) -> TextDetector:
    """Load a checkpoint as `load_detector` does, or return the detector if it was the last one loaded.

    Args:
        path: folder, or a name on the hub
        device: None = CUDA, then MPS, then CPU
        half: True = half precision

    Returns:
        the detector, shared by all who ask

    Raises:
        LabelQualityError: as `load_detector`

    Example:
        >>> import tempfile
        >>> from .random_checkpoints import save_random_detector
        >>> folder = save_random_detector(tempfile.mkdtemp(), ["cat"])
        >>> cached_detector(folder, "cpu") is cached_detector(str(folder), "cpu")
        True
    """
    with _loading:
        return _load_once(str(path), str(choose_device(device)), half)


@lru_cache(maxsize=1)
def _load_once(path: str, device: str, half: bool | None) -> TextDetector:
    return load_detector(path, device, half)


def _family(path: str | Path) -> str:
    transformers_package(f"the detector {path}")
    with quiet_transformers():
        family = model_family(path, _refusal(path))
    if family not in _FAMILIES:
        raise LabelQualityError(
            f"Expected a checkpoint of {', '.join(_FAMILIES)}, but {path} is one of {family}; "
            "IDEA-Research/grounding-dino-base is one that fits."
        )
    return family


def _load_processor(transformers: Any, path: str | Path, family: str, refuse: Refusal) -> Any:
    kind = transformers.Sam3Processor if family in _WITH_MASKS else transformers.AutoProcessor
    try:
        processor = kind.from_pretrained(path)
        known = len(processor.tokenizer)
    except Exception as error:
        raise refuse(f"its tokenizer or image processor is missing or damaged: {one_line(error)}") from error
    if _FAMILIES[family] is GroundingDetector:
        require_tokenizer(processor, refuse)
    elif known < 5:  # some versions make up an empty tokenizer
        raise refuse("its tokenizer is missing or damaged")
    return processor


def _refusal(path: str | Path) -> Refusal:
    return lambda reason: LabelQualityError(
        f"Cannot load {path} as a detector that is told names ({reason}); pass a folder that `save_pretrained` wrote "
        "for model and processor, or a name on the hub such as IDEA-Research/grounding-dino-base, "
        "google/owlv2-base-patch16-ensemble or facebook/sam3."
    )
