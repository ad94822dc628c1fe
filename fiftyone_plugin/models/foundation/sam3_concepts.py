"""SAM 3 asked in words: a mask for every object that a name fits.

References:
    Carion et al., SAM 3: Segment Anything with Concepts, 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..hardware.precision import in_precision
from .detections import Boxes, SmallMasks, TextDetector, cut_off, together
from .grounding_prompt import ClassPrompts, class_phrases
from .pretrained import tokens_of_texts

_MOST_TOKENS = 32  # of a text, fixed in its processor


@dataclass(frozen=True)
class _Concept:
    """Tokens of a wording, and the class that it means."""

    tokens: dict[str, torch.Tensor]
    class_index: int


class ConceptSegmenter(TextDetector):
    """A SAM 3; the image is looked at once, and asked about each wording by itself.

    A score is the probability that the concept is in the image, times that this object is one. An object that two
    names fit is found twice; `nms_iou` of pseudo labels keeps the better one.

    Example:
        >>> import tempfile
        >>> from .detectors import load_detector
        >>> from .random_checkpoints import save_random_sam3
        >>> detector = load_detector(save_random_sam3(tempfile.mkdtemp(), ["cat", "dog"]), device="cpu")
        >>> [found] = detector.detect([np.zeros((30, 40, 3), np.uint8)], ["cat", "dog"], box_threshold=0)
        >>> found.xyxy.shape, found.masks[0].shape
        ((12, 4), (30, 40))
    """

    gives_masks = True

    def questions(self, class_prompts: ClassPrompts) -> list[_Concept]:
        """Turn names into one question a wording; see `TextDetector`."""
        phrases = class_phrases(class_prompts)
        limit = min(_MOST_TOKENS, int(self.network.config.text_config.max_position_embeddings))
        tokens = tokens_of_texts(self.processor.tokenizer, [one.text for one in phrases], limit, self.device)
        return [
            _Concept({name: value[row : row + 1] for name, value in tokens.items()}, phrase.class_index)
            for row, phrase in enumerate(phrases)
        ]

    def _detect_together(
        self, images: Sequence[npt.NDArray[np.uint8]], questions: Sequence[Any], box_threshold: float
    ) -> list[Boxes]:
        inputs = self.processor.image_processor(
            images=list(images), return_tensors="pt", input_data_format="channels_last"
        )
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        found: list[list[Boxes]] = [[] for _ in images]
        with in_precision(self.device, self.half):
            seen = self.network.get_vision_features(inputs["pixel_values"].to(self.device))
            for concept in questions:
                tokens = {name: value.repeat(len(images), 1) for name, value in concept.tokens.items()}
                outputs = self.network(vision_embeds=seen, **tokens)
                for index, size in enumerate(sizes):
                    found[index].append(_objects(outputs, index, size, concept.class_index, box_threshold))
        return [together(parts, size) for parts, size in zip(found, sizes, strict=True)]


def _objects(outputs: Any, index: int, size: tuple[int, int], class_index: int, threshold: float) -> Boxes:
    scores = outputs.pred_logits[index].float().sigmoid()
    if outputs.presence_logits is not None:
        scores = scores * outputs.presence_logits[index].float().sigmoid()
    kept = scores > threshold
    corners = outputs.pred_boxes[index][kept].float().cpu().numpy() * [size[1], size[0], size[1], size[0]]
    logits = outputs.pred_masks[index][kept].float().clamp(-100, 100).half().cpu().numpy()
    classes = np.full(len(corners), class_index, np.intp)
    return Boxes(cut_off(corners, size), classes, scores[kept].cpu().numpy(), SmallMasks(logits, size))
