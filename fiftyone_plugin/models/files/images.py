"""Image and mask files as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import LabelQualityError
from .deep_images import deep_values, eight_bits, is_deep
from .opening import open_image, require_file, require_size

_EXIF_ORIENTATION = 0x0112


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as RGB, turned as its EXIF orientation says (as browsers and FiftyOne show it).

    Args:
        path: image file; grey, palette, RGBA and CMYK files become 8-bit RGB, and so do 16-bit, signed and
            floating-point ones: by the scale of a `deep_images.ScaledPath`, else of 0 to 4095 or their own brightest
            pixels

    Returns:
        (H, W, 3) uint8 array

    Raises:
        OSError: the file is missing or no readable image
        LabelQualityError: it has more than `MAX_PIXELS` pixels

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> path = Path(tempfile.mkdtemp()) / "grey.png"
        >>> Image.new("L", (4, 2), 7).save(path)
        >>> read_image(path).shape
        (2, 4, 3)
    """
    from PIL import ImageOps

    with open_image(path) as image:
        require_size(path, image)
        if is_deep(image):
            return eight_bits(deep_values(path, image), getattr(path, "window", None))
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (height, width) of an image as it is shown, from its header alone.

    Args:
        path: image file

    Returns:
        (H, W) after the EXIF orientation

    Raises:
        OSError: the file is missing or no image

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> path = Path(tempfile.mkdtemp()) / "grey.png"
        >>> Image.new("L", (4, 2), 7).save(path)
        >>> image_size(path)
        (2, 4)
    """
    with open_image(path) as image:
        width, height = image.size
        turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


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
    if Path(path).suffix.lower() == ".npy":
        require_file(path)
        mask = np.load(path, allow_pickle=False)
    else:
        with open_image(path) as image:
            require_size(path, image)
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
