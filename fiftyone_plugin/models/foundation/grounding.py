"""GroundingDINO: boxes for class names, without training.

References:
    Liu et al., Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object Detection, ECCV 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...errors import LabelQualityError
from ..hardware.precision import in_precision
from .detections import Boxes, TextDetector, together
from .grounding_prompt import ClassPrompts, Prompt, box_classes, class_phrases, plan_prompts, token_classes
from .pretrained import Refusal

_FULL_STOP = 1012  # the number of "." by which the network tells phrases apart, fixed in its code


@dataclass(frozen=True)
class _Question:
    """A prompt as the network takes it, and the class of each of its tokens."""

    tokens: dict[str, torch.Tensor]
    classes: npt.NDArray[np.intp]


class GroundingDetector(TextDetector):
    """A GroundingDINO or MM-GroundingDINO; every box has the class of its single most likely token.

    Names that need more tokens than the network takes at once are asked for in several passes, whose boxes are put
    together: two of them may be of one object.

    Example:
        >>> import tempfile
        >>> from .detectors import load_detector
        >>> from .random_checkpoints import save_random_detector
        >>> detector = load_detector(save_random_detector(tempfile.mkdtemp(), ["cat", "dog"]), device="cpu")
        >>> [boxes] = detector.detect([np.zeros((30, 40, 3), np.uint8)], ["cat", "dog"], box_threshold=0)
        >>> boxes.xyxy.shape
        (12, 4)
    """

    def questions(self, class_prompts: ClassPrompts) -> list[_Question]:
        """Turn names into prompts of tokens; see `TextDetector`."""
        return [self._question(prompt) for prompt in self.prompts(class_prompts)]

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
            tokens = self.processor.tokenizer(phrase.text, add_special_tokens=False).input_ids
            if all(token == self.processor.tokenizer.unk_token_id for token in tokens):
                raise LabelQualityError(
                    f"The detector's tokenizer knows nothing of {phrase.text!r}, a wording of class "
                    f"{names[phrase.class_index]!r}; word it in plain English."
                )
        return plan_prompts(phrases, lambda text: len(self.processor.tokenizer(text).input_ids), self._most_tokens())

    def _most_tokens(self) -> int:
        config = self.network.config
        return int(
            min(config.max_text_len, getattr(config.text_config, "max_position_embeddings", config.max_text_len))
        )

    def _question(self, prompt: Prompt) -> _Question:
        encoded = self.processor.tokenizer(prompt.text, return_offsets_mapping=True, return_tensors="pt")
        offsets = encoded.pop("offset_mapping")[0].tolist()
        names = ("input_ids", "token_type_ids", "attention_mask")
        return _Question(
            {name: encoded[name].to(self.device) for name in names if name in encoded}, token_classes(prompt, offsets)
        )

    def _detect_together(
        self, images: Sequence[npt.NDArray[np.uint8]], questions: Sequence[_Question], box_threshold: float
    ) -> list[Boxes]:
        found: list[list[Boxes]] = [[] for _ in images]
        inputs = self.processor.image_processor(
            images=list(images), return_tensors="pt", input_data_format="channels_last"
        )
        pixels = {name: inputs[name].to(self.device) for name in ("pixel_values", "pixel_mask") if name in inputs}
        for question in questions:
            tokens = {name: value.expand(len(images), -1) for name, value in question.tokens.items()}
            with in_precision(self.device, self.half):
                outputs = self.network(**pixels, **tokens)
            logits, boxes = (values.float().cpu().numpy() for values in (outputs.logits, outputs.pred_boxes))
            for index, image in enumerate(images):
                kept = box_classes(logits[index], question.classes, box_threshold)
                corners = pixel_corners(boxes[index][kept.queries], (image.shape[0], image.shape[1]))
                found[index].append(Boxes(corners, kept.class_index, kept.score))
        return [together(parts) for parts in found]


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


def require_tokenizer(processor: Any, refuse: Refusal) -> None:
    """Refuse a processor whose tokenizer is not the one that the network splits texts by.

    Args:
        processor: of the checkpoint
        refuse: makes the error

    Raises:
        LabelQualityError: it is missing, another one, or cannot tell where a token stands
    """
    if processor.tokenizer.convert_tokens_to_ids(".") != _FULL_STOP:  # some versions make up an empty tokenizer
        raise refuse("its tokenizer is missing, or not the uncased BERT one that the network splits texts by")
    if not getattr(processor.tokenizer, "is_fast", False):
        raise refuse("its tokenizer cannot tell where a token stands in the text; save a fast tokenizer")
