"""Image and mask files as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import LabelQualityError

if TYPE_CHECKING:
    from PIL import Image


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as RGB, turned as its EXIF orientation says (as browsers and FiftyOne show it).

    Args:
        path: image file; grey, palette, RGBA, CMYK and 16-bit files become 8-bit RGB

    Returns:
        (H, W, 3) uint8 array

    Raises:
        OSError: the file is missing or no readable image

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> path = Path(tempfile.mkdtemp()) / "grey.png"
        >>> Image.new("L", (4, 2), 7).save(path)
        >>> read_image(path).shape
        (2, 4, 3)
    """
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
            return _deep_grey(upright)
        return np.array(upright.convert("RGB"))


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask file whose pixel values are class indices.

    Args:
        path: 8- or 16-bit single-channel or palette image, or an npy file

    Returns:
        (H, W) integer array

    Raises:
        OSError: the file is missing or unreadable
        LabelQualityError: the file has several channels

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> path = Path(tempfile.mkdtemp()) / "mask.png"
        >>> Image.fromarray(np.array([[0, 2]], np.uint8)).save(path)
        >>> read_mask(path)
        array([[0, 2]], dtype=uint8)
    """
    from PIL import Image

    if Path(path).suffix.lower() == ".npy":
        mask = np.load(path, allow_pickle=False)
    else:
        with Image.open(path) as image:
            mask = np.array(image)
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    if mask.ndim != 2:
        raise LabelQualityError(
            f"Expected a mask of one channel, but {path} has shape {mask.shape}; turn colours into class indices first."
        )
    return mask.astype(np.uint8) if mask.dtype == bool else mask


def check_image(image: Any, name: str) -> np.ndarray:
    """Return `image` if it is an (H, W, 3) uint8 array with at least one pixel.

    Args:
        image: what a caller calls an image
        name: its name in the message

    Returns:
        the same array

    Raises:
        LabelQualityError: another shape or dtype

    Example:
        >>> check_image(np.zeros((2, 2, 3), np.uint8), "a").shape
        (2, 2, 3)
    """
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or array.size == 0:
        raise LabelQualityError(
            f"Expected image {name} to be a (height, width, 3) uint8 RGB array, "
            f"but got shape {array.shape} and dtype {array.dtype}; convert it to 8-bit RGB."
        )
    return array


def _deep_grey(image: Image.Image) -> np.ndarray:
    """Scale a 16-bit or floating-point grey image to 8 bits; its range decides what white is."""
    values = np.asarray(image).astype(np.float32)
    top = float(values.max(initial=0.0))
    white = 1.0 if top <= 1.0 else 255.0 if top <= 255.0 else 65535.0
    grey = np.clip(values * (255.0 / white), 0, 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
