"""Images for a check-up: what their headers say, and small grey versions of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ...models.files.opening import open_image
from ...quality.check_up import MOST_PIXELS

_TURNED = (5, 6, 7, 8)
_EXIF_ORIENTATION = 0x0112


class GiganticError(ValueError):
    """A file has more pixels than is decoded."""


@dataclass(frozen=True)
class Header:
    """What the header of an image file says.

    Attributes:
        format: Pillow's name of it
        stored: (H, W) in the file
        shown: (H, W) as FiftyOne shows it, turned by the EXIF tag
    """

    format: str
    stored: tuple[int, int]
    shown: tuple[int, int]


def read_header(path: str | Path) -> Header:
    """Look at a file without decoding it.

    Args:
        path: image or mask

    Raises:
        GiganticError: if it has more pixels than is decoded
        OSError: if it is missing or no image
    """
    with open_image(path) as image:
        width, height = image.size
        turned = image.getexif().get(_EXIF_ORIENTATION, 1) in _TURNED
        kind = str(image.format)
    if width * height > MOST_PIXELS:
        raise GiganticError(f"{height} x {width} pixels")
    shown = (width, height) if turned else (height, width)
    return Header(kind, (height, width), shown)


def small_grey(path: str | Path, size: tuple[int, int], *, upright: bool = False) -> np.ndarray:
    """Read an image small and grey, as fast as its format allows.

    Args:
        path: the image
        size: (H, W) wanted
        upright: whether to turn it by its EXIF tag

    Returns:
        (H, W) float32, 0 to 255

    Raises:
        OSError: if it cannot be decoded
    """
    with open_image(path) as image:
        image.draft("L", (2 * size[1], 2 * size[0]))
        turned = ImageOps.exif_transpose(image) if upright else image
        grey = _eight_bit(turned).convert("L").resize(size[::-1], Image.Resampling.BOX)
        return np.asarray(grey, np.float32)


def _eight_bit(image: Any) -> Any:
    """Images of more bits by their own range: only likeness counts here."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.nan_to_num(np.asarray(image, np.float32))
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))
