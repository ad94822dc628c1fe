"""What a detector that is told names finds in an image, and what all such detectors have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ...errors import LabelQualityError
from ..files.rgb import RgbImage, rgb_pixels
from ..hardware.devices import BatchLimit, free_memory, is_out_of_memory
from .grounding_prompt import ClassPrompts

_IMAGES_PER_PASS = 4


class SmallMasks(Sequence[npt.NDArray[np.bool_]]):
    """Masks as the network gives them, each enlarged when it is looked at, so that they fit into memory.

    Args:
        logits: (n, h, w) of the whole image
        size: (height, width) of the image

    Example:
        >>> SmallMasks(np.array([[[9.0, -9.0]]], np.float16), (1, 4))[0].astype(int)
        array([[1, 1, 0, 0]])
    """

    def __init__(self, logits: npt.NDArray[np.float16], size: tuple[int, int]) -> None:
        self._logits = logits
        self._size = size

    def __len__(self) -> int:
        return len(self._logits)

    @overload
    def __getitem__(self, index: int) -> npt.NDArray[np.bool_]: ...
    @overload
    def __getitem__(self, index: slice) -> SmallMasks: ...
    def __getitem__(self, index: int | slice) -> npt.NDArray[np.bool_] | SmallMasks:
        """Return a mask, or some of the masks."""
        if isinstance(index, slice):
            return SmallMasks(self._logits[index], self._size)
        inside = torch.as_tensor(self._logits[index]).float().sigmoid()[None, None]
        enlarged = functional.interpolate(inside, self._size, mode="bilinear", align_corners=False)
        return (enlarged[0, 0] > 0.5).numpy()


@dataclass(frozen=True)
class Boxes:
    """Boxes that a detector found in one image.

    Attributes:
        xyxy: (n, 4) float32 x1, y1, x2, y2 in pixels, inside the image
        class_index: (n,) position of each box's class among the names asked for
        score: (n,) float32 probability of the token or wording that decided
        masks: n (H, W) masks, where the detector gives them

    Example:
        >>> len(Boxes(np.zeros((2, 4), np.float32), np.array([0, 3]), np.ones(2, np.float32)))
        2
    """

    xyxy: npt.NDArray[np.float32]
    class_index: npt.NDArray[np.intp]
    score: npt.NDArray[np.float32]
    masks: Sequence[npt.NDArray[np.bool_]] | None = None

    def __len__(self) -> int:
        return len(self.score)


class TextDetector(ABC):
    """A network of transformers that is told in words what to look for, on a device.

    Args:
        network: of transformers
        processor: its tokenizer and image processor
        device: where it runs
        half: type to compute in, None = single precision
        batch: images that one pass takes at first; halved for good when memory runs out

    Attributes:
        gives_masks: whether `Boxes.masks` are there
    """

    gives_masks = False

    def __init__(
        self,
        network: Any,
        processor: Any,
        device: torch.device,
        half: torch.dtype | None = None,
        batch: int = _IMAGES_PER_PASS,
    ) -> None:
        self.network = network.to(device).eval()
        self.processor = processor
        self.device = device
        self.half = half
        self._limit = BatchLimit(batch)

    def detect(
        self, images: Sequence[RgbImage], class_prompts: ClassPrompts, box_threshold: float = 0.2
    ) -> list[Boxes]:
        """Find boxes of the classes in each image.

        Args:
            images: files, or (H, W, 3) uint8 RGB arrays
            class_prompts: class names, or {name: wordings}; see `class_phrases`
            box_threshold: least probability, itself excluded, of a box

        Returns:
            boxes of each image, in the order in which the network gives them

        Raises:
            SegmenterError: a file cannot be read
            LabelQualityError: the names are unusable, or memory is too small for a single image
        """
        if not 0 <= box_threshold < 1:
            raise LabelQualityError(f"Expected `box_threshold` in [0, 1), but got {box_threshold}; 0.2 is usual.")
        questions = self.questions(class_prompts)

        def run(part: Sequence[RgbImage]) -> list[Boxes]:
            return self._detect_together([rgb_pixels(image) for image in part], questions, box_threshold)

        with memory_explained(self.device), torch.inference_mode():
            return [boxes for part in self._limit.passes(run, images) for boxes in part]

    @abstractmethod
    def questions(self, class_prompts: ClassPrompts) -> list[Any]:
        """Turn names into what the network is asked, without looking at an image.

        Args:
            class_prompts: class names, or {name: wordings}; see `class_phrases`

        Returns:
            one or more questions

        Raises:
            LabelQualityError: the names are unusable
        """

    @abstractmethod
    def _detect_together(
        self, images: Sequence[npt.NDArray[np.uint8]], questions: Sequence[Any], box_threshold: float
    ) -> list[Boxes]:
        """Boxes of a few images."""


def together(parts: Sequence[Boxes], size: tuple[int, int] | None = None) -> Boxes:
    """Put the answers to several questions about one image together.

    Args:
        parts: one for each question
        size: (height, width) of the image, if the parts have masks

    Returns:
        all boxes

    Example:
        >>> one = Boxes(np.zeros((2, 4), np.float32), np.array([0, 3]), np.ones(2, np.float32))
        >>> together([one, one]).class_index
        array([0, 3, 0, 3])
    """
    masks = None
    if size is not None:
        masks = SmallMasks(np.concatenate([part.masks._logits for part in parts]), size)  # type: ignore[union-attr]
    return Boxes(
        np.concatenate([part.xyxy for part in parts]),
        np.concatenate([part.class_index for part in parts]),
        np.concatenate([part.score for part in parts]),
        masks,
    )


def cut_off(corners: npt.NDArray[np.floating[Any]], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Cut boxes off at the image's edge.

    Args:
        corners: (n, 4) x1, y1, x2, y2 in pixels
        size: (height, width) of the image

    Returns:
        (n, 4)

    Example:
        >>> cut_off(np.array([[-3.0, 2, 90, 5]]), (40, 80))
        array([[ 0.,  2., 80.,  5.]], dtype=float32)
    """
    return np.clip(corners, 0, [size[1], size[0], size[1], size[0]]).astype(np.float32)


@contextmanager
def memory_explained(device: torch.device) -> Iterator[None]:
    """Say what can be done where memory is too small for a single image.

    Args:
        device: where the detector runs

    Raises:
        LabelQualityError: memory ran out

    Example:
        >>> with memory_explained(torch.device("cpu")):
        ...     pass
    """
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
