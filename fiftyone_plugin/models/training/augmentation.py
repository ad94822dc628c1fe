"""Random views of an image and its mask, by torchvision's joint transforms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from .label_deformation import LabelDeformation
from .training_data import Pair

_GREY = [124, 116, 104]  # ImageNet's mean colour, zero after normalisation
_SCALES = (0.75, 1.4)
_JITTER = 0.3


class RandomScaledCrop(v2.Transform):
    """Cut a random window, larger or smaller than the crop, and resize it to the crop's size.

    Cutting first costs the same for every image size. Where the window reaches beyond the image, it is
    padded: the image with grey, the mask with its ignored value.

    Args:
        size: (height, width) of the crop
        scales: smallest and largest magnification
        ignored: fill value of the mask

    Example:
        >>> crop = RandomScaledCrop((8, 8), (0.5, 2.0), ignored=255)
        >>> crop(tv_tensors.Image(torch.zeros(3, 10, 10, dtype=torch.uint8))).shape
        torch.Size([3, 8, 8])
    """

    def __init__(self, size: tuple[int, int], scales: tuple[float, float], ignored: int) -> None:
        super().__init__()
        self.size = size
        self.scales = scales
        self.ignored = ignored

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the window (top, left, height, width), the same for image and mask."""
        height, width = v2.query_size(flat_inputs)
        low, high = (math.log(scale) for scale in self.scales)
        scale = math.exp(low + (high - low) * float(torch.rand(())))
        rows, columns = (max(1, round(length / scale)) for length in self.size)
        return {"top": _start(height, rows), "left": _start(width, columns), "height": rows, "width": columns}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Pad where needed, cut and resize one image or mask."""
        top, left, rows, columns = (params[name] for name in ("top", "left", "height", "width"))
        height, width = functional.get_size(inpt)
        margins = [max(0, -left), max(0, -top), max(0, left + columns - width), max(0, top + rows - height)]
        is_mask = isinstance(inpt, tv_tensors.Mask)
        if any(margins):
            inpt = functional.pad(inpt, margins, fill=self.ignored if is_mask else _GREY)
        cut = functional.crop(inpt, top + margins[1], left + margins[0], rows, columns)
        return functional.resize(cut, list(self.size), antialias=True)


class Augmentation:
    """A random training view of a pair, decided by a seed alone (not by workers, order or earlier calls).

    Args:
        crop_size: (height, width) of the view
        ignored: value of ignored mask pixels
        bend_labels: whether masks are bent without their images, see `LabelDeformation`

    Example:
        >>> augment = Augmentation((8, 8), ignored=255)
        >>> pair = (np.zeros((10, 12, 3), np.uint8), np.zeros((10, 12), np.uint8))
        >>> image, mask = augment(pair, seed=1)
        >>> image.shape, mask.shape, mask.dtype
        (torch.Size([3, 8, 8]), torch.Size([8, 8]), torch.int64)
    """

    def __init__(self, crop_size: tuple[int, int], ignored: int, bend_labels: bool = False) -> None:
        self._transform = v2.Compose(
            [
                RandomScaledCrop(crop_size, _SCALES, ignored),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=_JITTER, contrast=_JITTER, saturation=_JITTER),
                *([LabelDeformation()] if bend_labels else []),
            ]
        )

    def __call__(self, pair: Pair, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (3, h, w) uint8 image and (h, w) int64 mask.

        Args:
            pair: (H, W, 3) image and (H, W) mask
            seed: decides every random draw
        """
        image = tv_tensors.Image(torch.from_numpy(np.array(pair[0])).permute(2, 0, 1))
        mask = tv_tensors.Mask(torch.from_numpy(np.array(pair[1])))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs, too
            image, mask = self._transform(image, mask)
        return image.as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor).long()


def _start(length: int, window: int) -> int:
    """Draw where a window begins; it may hang over when it is longer than the axis."""
    low, high = min(0, length - window), max(0, length - window)
    return int(torch.randint(low, high + 1, ()))
