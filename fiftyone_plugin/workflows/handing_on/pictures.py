"""Small pictures of images with outlines, as text that a page can hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from PIL import Image

from ...models.files.images import read_image

COLORS: Final[Mapping[str, str]] = {
    "missing": "#56b4e9", "spurious": "#f0e442", "wrong_class": "#d55e00", "boundary": "#cc79a7",
}  # fmt: skip
"""Of the kinds; told apart by colour-blind people, too (Okabe & Ito)."""

_SIDE: Final = 420
_QUALITY: Final = 80


def outlined(filepath: str, masks: Iterable[tuple[np.ndarray, str]], side: int = _SIDE) -> str:
    """An image with outlines, made small.

    Args:
        filepath: of the image
        masks: (H, W) bool of each region, and its colour as #rrggbb
        side: longest side of the picture in pixels

    Returns:
        a data URI of a JPEG
    """
    image = Image.fromarray(read_image(filepath)).convert("RGB")
    image.thumbnail((side, side))
    pixels = np.asarray(image).copy()
    for mask, color in masks:
        small = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))
        draw_outline(pixels, small, color)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"


def draw_outline(pixels: np.ndarray, mask: np.ndarray, color: str) -> np.ndarray:
    """Draw the outline of a region into an image.

    Args:
        pixels: (H, W, 3) uint8, changed in place
        mask: (H, W) bool
        color: #rrggbb

    Returns:
        `pixels`
    """
    rim = _rim(mask)
    pixels[_rim(rim | mask)] = 0  # a dark edge, so that it is seen on any image
    pixels[rim] = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    return pixels


def _rim(mask: np.ndarray) -> np.ndarray:
    """The border of a mask and the pixels beside it: a line that hides little of the object.

    Example:
        >>> _rim(np.pad(np.ones((1, 1), bool), 2)).sum()
        np.int64(9)
    """
    padded = np.pad(mask, 1)
    grown, core = mask.copy(), mask.copy()
    for rows in (0, 1, 2):
        for columns in (0, 1, 2):
            moved = padded[rows : rows + mask.shape[0], columns : columns + mask.shape[1]]
            grown |= moved
            core &= moved
    return grown & ~core
