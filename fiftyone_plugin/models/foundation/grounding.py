"""GroundingDINO: boxes for class names, without training.

References:
    Liu et al., Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object Detection, ECCV 2024.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...errors import LabelQualityError
from ..errors import one_line
from ..files.rgb import RgbImage, rgb_pixels
from ..hardware.devices import BatchLimit, choose_device, free_memory, is_out_of_memory
from ..hardware.precision import half_type
from ..segmenters.transformers_models import quiet_transformers
from .grounding_prompt import ClassPrompts, Prompt, box_classes, class_phrases, plan_prompts, token_classes

_IMAGES_PER_PASS = 4
_FAMILIES = ("grounding-dino", "mm-grounding-dino")
_FULL_STOP = 1012  # the number of "." by which the network tells phrases apart, fixed in its code
_loading = threading.Lock()


@dataclass(frozen=True)
class Boxes:
    """Boxes that a detector found in one image.

    Attributes:
        xyxy: (n, 4) float32 x1, y1, x2, y2 in pixels, inside the image
        class_index: (n,) position of each box's class among the names asked for
        score: (n,) float32 probability of the token that decided

    Example:
        >>> len(Boxes(np.zeros((2, 4), np.float32), np.array([0, 3]), np.ones(2, np.float32)))
        2
    """

    xyxy: npt.NDArray[np.float32]
    class_index: npt.NDArray[np.intp]
    score: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True)
class _Question:
    """A prompt as the network takes it, and the class of each of its tokens."""

    tokens: dict[str, torch.Tensor]
    classes: npt.NDArray[np.intp]


class Detector:
    """A grounding detector on a device.

    Args:
        network: of transformers' `AutoModelForZeroShotObjectDetection`
        processor: its tokenizer and image processor
        device: where it runs
        half: type to compute in, None = single precision
        batch: images that one pass takes at first; halved for good when memory runs out

    Example:
        >>> import tempfile
        >>> from .random_checkpoints import save_random_detector
        >>> detector = load_detector(save_random_detector(tempfile.mkdtemp(), ["cat", "dog"]), device="cpu")
        >>> [boxes] = detector.detect([np.zeros((30, 40, 3), np.uint8)], ["cat", "dog"], box_threshold=0)
        >>> boxes.xyxy.shape
        (12, 4)
    """

    def __init__(
        self,
        network: Any,
        processor: Any,
        device: torch.device,
        half: torch.dtype | None = None,
        batch: int = _IMAGES_PER_PASS,
    ) -> None:
        self.network = network.to(device).eval()
        self.device = device
        self._tokenizer = processor.tokenizer
        self._image_processor = processor.image_processor
        self._half = half
        self._limit = BatchLimit(batch)

    def detect(
        self, images: Sequence[RgbImage], class_prompts: ClassPrompts, box_threshold: float = 0.2
    ) -> list[Boxes]:
        """Find boxes of the classes in each image.

        Every box has the class of its single most likely token. Names that need more tokens than the network takes
        at once are asked for in several passes, whose boxes are put together: two of them may be of one object.

        Args:
            images: files, or (H, W, 3) uint8 RGB arrays
            class_prompts: class names, or {name: wordings}; see `class_phrases`
            box_threshold: least probability, itself excluded, of a box's best token

        Returns:
            boxes of each image, in the order of the network's queries

        Raises:
            SegmenterError: a file cannot be read
            LabelQualityError: the names are unusable, or memory is too small for a single image
        """
        if not 0 <= box_threshold < 1:
            raise LabelQualityError(f"Expected `box_threshold` in [0, 1), but got {box_threshold}; 0.2 is usual.")
        questions = [self._question(prompt) for prompt in self.prompts(class_prompts)]

        def run(part: Sequence[RgbImage]) -> list[Boxes]:
            return self._detect_together([rgb_pixels(image) for image in part], questions, box_threshold)

        with _memory_explained(self.device):
            return [boxes for part in self._limit.passes(run, images) for boxes in part]

    def prompts(self, class_prompts: ClassPrompts) -> list[Prompt]:
        """Return the texts that ask for classes, without looking at an image.

        Args:
            class_prompts: class names, or {name: wordings}; see `class_phrases`

        Returns:
            one prompt, or several if one would have too many tokens

        Raises:
            LabelQualityError: the names are unusable, or the tokenizer knows none of the words of one
        """
        phrases = class_phrases(class_prompts)
        names = list(class_prompts)
        for phrase in phrases:
            tokens = self._tokenizer(phrase.text, add_special_tokens=False).input_ids
            if all(token == self._tokenizer.unk_token_id for token in tokens):
                raise LabelQualityError(
                    f"The detector's tokenizer knows nothing of {phrase.text!r}, a wording of class "
                    f"{names[phrase.class_index]!r}; word it in plain English."
                )
        return plan_prompts(phrases, lambda text: len(self._tokenizer(text).input_ids), self._most_tokens())

    def _most_tokens(self) -> int:
        config = self.network.config
        return int(
            min(config.max_text_len, getattr(config.text_config, "max_position_embeddings", config.max_text_len))
        )

    def _precision(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._half is None else torch.autocast(self.device.type, self._half)

    def _question(self, prompt: Prompt) -> _Question:
        encoded = self._tokenizer(prompt.text, return_offsets_mapping=True, return_tensors="pt")
        offsets = encoded.pop("offset_mapping")[0].tolist()
        names = ("input_ids", "token_type_ids", "attention_mask")
        return _Question(
            {name: encoded[name].to(self.device) for name in names if name in encoded}, token_classes(prompt, offsets)
        )

    def _detect_together(
        self, images: Sequence[npt.NDArray[np.uint8]], questions: Sequence[_Question], box_threshold: float
    ) -> list[Boxes]:
        found: list[list[Boxes]] = [[] for _ in images]
        inputs = self._image_processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        pixels = {name: inputs[name].to(self.device) for name in ("pixel_values", "pixel_mask") if name in inputs}
        for question in questions:
            tokens = {name: value.expand(len(images), -1) for name, value in question.tokens.items()}
            with torch.inference_mode(), self._precision():
                outputs = self.network(**pixels, **tokens)
            logits, boxes = (values.float().cpu().numpy() for values in (outputs.logits, outputs.pred_boxes))
            for index, image in enumerate(images):
                kept = box_classes(logits[index], question.classes, box_threshold)
                corners = pixel_corners(boxes[index][kept.queries], (image.shape[0], image.shape[1]))
                found[index].append(Boxes(corners, kept.class_index, kept.score))
        return [_together(parts) for parts in found]


def load_detector(path: str | Path, device: str | torch.device | None = None, half: bool | None = None) -> Detector:
    """Load a GroundingDINO checkpoint of Hugging Face transformers.

    Args:
        path: folder that `save_pretrained` wrote, or a name on the hub such as "IDEA-Research/grounding-dino-tiny"
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
        fiftyone_plugin.errors.LabelQualityError: Cannot load /nowhere as a grounding detector ...
    """
    chosen = choose_device(device)
    precision = half_type(chosen, True) if half else None
    try:
        import transformers
    except ImportError as error:
        raise LabelQualityError(
            f"The package transformers, which the detector {path} needs, is not installed; "
            'run `pip install "fiftyone-label-quality[transformers]"`.'
        ) from error
    with quiet_transformers():
        _require_family(transformers, path)
        processor = _load_processor(transformers, path)
        network = _load_network(transformers, path)
    with _memory_explained(chosen):
        return Detector(network, processor, chosen, precision)


def cached_detector(path: str | Path, device: str | torch.device | None = None, half: bool | None = None) -> Detector:
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
def _load_once(path: str, device: str, half: bool | None) -> Detector:
    return load_detector(path, device, half)


def pixel_corners(boxes: npt.NDArray[np.floating[Any]], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Turn boxes relative to an image into corners in pixels, cut off at the image's edge.

    Args:
        boxes: (n, 4) x and y of the centre, width and height, in parts of the image
        size: (height, width) of the image

    Returns:
        (n, 4) x1, y1, x2, y2

    Example:
        >>> pixel_corners(np.array([[0.5, 0.25, 0.5, 1.0]]), (40, 80))
        array([[20.,  0., 60., 30.]], dtype=float32)
    """
    half_sides = boxes[:, 2:] / 2
    corners = np.concatenate([boxes[:, :2] - half_sides, boxes[:, :2] + half_sides], axis=1)
    return (np.clip(corners, 0, 1) * [size[1], size[0], size[1], size[0]]).astype(np.float32)


def _together(parts: Sequence[Boxes]) -> Boxes:
    return Boxes(
        np.concatenate([part.xyxy for part in parts]),
        np.concatenate([part.class_index for part in parts]),
        np.concatenate([part.score for part in parts]),
    )


def _require_family(transformers: Any, path: str | Path) -> None:
    try:
        family = transformers.AutoConfig.from_pretrained(path).model_type
    except Exception as error:
        raise _cannot_load(path, one_line(error)) from error
    if family not in _FAMILIES:
        raise LabelQualityError(
            f"Expected a checkpoint of {' or '.join(_FAMILIES)}, but {path} is one of {family}; "
            "IDEA-Research/grounding-dino-base is one that fits."
        )


def _load_processor(transformers: Any, path: str | Path) -> Any:
    try:
        processor = transformers.AutoProcessor.from_pretrained(path)
        tokenizer = processor.tokenizer
    except Exception as error:
        raise _cannot_load(
            path, f"its tokenizer or image processor is missing or damaged: {one_line(error)}"
        ) from error
    if tokenizer.convert_tokens_to_ids(".") != _FULL_STOP:  # some versions make up an empty tokenizer
        raise _cannot_load(
            path, "its tokenizer is missing, or not the uncased BERT one that the network splits texts by"
        )
    if not getattr(tokenizer, "is_fast", False):
        raise _cannot_load(path, "its tokenizer cannot tell where a token stands in the text; save a fast tokenizer")
    return processor


def _load_network(transformers: Any, path: str | Path) -> Any:
    try:
        network, report = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(
            path, output_loading_info=True
        )
    except Exception as error:
        raise _cannot_load(path, one_line(error)) from error
    missing = sorted(set(report["missing_keys"]) & {name for name, _ in network.named_parameters()})
    if missing:
        text = any(".text_" in name for name in missing)
        part = "the text encoder's, without which names cannot be looked for" if text else "parts of the detector"
        raise _cannot_load(path, f"{len(missing)} weights are missing ({missing[0]}, ...), {part}")
    return network


def _cannot_load(path: str | Path, reason: str) -> LabelQualityError:
    return LabelQualityError(
        f"Cannot load {path} as a grounding detector ({reason}); pass a folder that `save_pretrained` wrote for model "
        "and processor, or a name on the hub such as IDEA-Research/grounding-dino-base."
    )


@contextmanager
def _memory_explained(device: torch.device) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        free_memory()
        raise LabelQualityError(
            f"The memory of device {device} is too small for the detector and a single image; close what else uses "
            "it, take a smaller checkpoint (grounding-dino-tiny), or pass device='cpu'."
        ) from error
