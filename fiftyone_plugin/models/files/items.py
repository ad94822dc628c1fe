"""What goes in: an image to predict, and an example to train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ImageSource = np.ndarray | str | Path
MaskSource = Callable[[], np.ndarray] | np.ndarray | str | Path


@dataclass(frozen=True, eq=False)
class ImageItem:
    """One image whose probabilities are wanted.

    Args:
        name: what messages and folds call the image; the `key` it had in training
        path: image file; may be None when `image` is given
        image: (H, W, 3) uint8 RGB; read from `path` when None
        size: (height, width) of the label, to which the probabilities are resized; None = the image's own
        group: images of one group (a scene, a patient) belong to one fold

    Example:
        >>> ImageItem("street_7", path="street_7.jpg", size=(480, 640)).name
        'street_7'
    """

    name: str
    path: str | None = None
    image: np.ndarray | None = None
    size: tuple[int, int] | None = None
    group: str | None = None


@dataclass(frozen=True, eq=False)
class Example:
    """One image with its label, to train on.

    Args:
        key: unique name of the image, by which its fold is found again
        image: image file, or (H, W, 3) uint8 RGB array
        mask: (H, W) integer class indices, a file of them, or a function that returns them
        group: images of one group land in one fold; None = a group of its own

    Example:
        >>> Example("street_7", "street_7.jpg", np.zeros((4, 4), np.uint8)).key
        'street_7'
    """

    key: str
    image: ImageSource
    mask: MaskSource
    group: str | None = None
