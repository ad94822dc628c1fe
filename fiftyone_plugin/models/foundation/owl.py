"""OWLv2 and OWL-ViT: boxes for names, each wording a query of its own.

References:
    Minderer et al., Scaling Open-Vocabulary Object Detection, NeurIPS 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..hardware.precision import in_precision
from .detections import Boxes, TextDetector, cut_off
from .grounding_prompt import ClassPrompts, class_phrases
from .pretrained import tokens_of_texts

_SENTENCE = "a photo of a {}"  # as in the papers' zero-shot evaluation


@dataclass(frozen=True)
class _Queries:
    """Tokens of every wording, and the class that each means."""

    tokens: dict[str, torch.Tensor]
    classes: npt.NDArray[np.intp]


class OwlDetector(TextDetector):
    """An OWLv2 or OWL-ViT; every box has the class of its most likely wording.

    Example:
        >>> import tempfile
        >>> from .detectors import load_detector
        >>> from .random_checkpoints import save_random_owl
        >>> detector = load_detector(save_random_owl(tempfile.mkdtemp(), ["cat", "dog"]), device="cpu")
        >>> [boxes] = detector.detect([np.zeros((30, 40, 3), np.uint8)], ["cat", "dog"], box_threshold=0)
        >>> boxes.xyxy.shape
        (16, 4)
    """

    def questions(self, class_prompts: ClassPrompts) -> list[_Queries]:
        """Turn names into one query a wording; see `TextDetector`."""
        phrases = class_phrases(class_prompts)
        limit = int(self.network.config.text_config.max_position_embeddings)
        texts = [_SENTENCE.format(phrase.text) for phrase in phrases]
        tokens = tokens_of_texts(self.processor.tokenizer, texts, limit, self.device)
        return [_Queries(tokens, np.array([phrase.class_index for phrase in phrases], np.intp))]

    def _detect_together(
        self, images: Sequence[npt.NDArray[np.uint8]], questions: Sequence[Any], box_threshold: float
    ) -> list[Boxes]:
        [queries] = questions
        inputs = self.processor.image_processor(
            images=list(images), return_tensors="pt", input_data_format="channels_last"
        )
        tokens = {name: value.repeat(len(images), 1) for name, value in queries.tokens.items()}
        with in_precision(self.device, self.half):
            outputs = self.network(pixel_values=inputs["pixel_values"].to(self.device), **tokens)
        outputs.logits, outputs.pred_boxes = outputs.logits.float().cpu(), outputs.pred_boxes.float().cpu()
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        found = self.processor.post_process_grounded_object_detection(outputs, box_threshold, sizes)
        return [
            Boxes(cut_off(one["boxes"].numpy(), size), queries.classes[one["labels"].numpy()], one["scores"].numpy())
            for one, size in zip(found, sizes, strict=True)
        ]
