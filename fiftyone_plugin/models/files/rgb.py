"""RGB pixels of an image that is given as a file or as an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ..errors import SegmenterError, one_line
from .images import read_image

RgbImage = str | Path | npt.NDArray[np.uint8]


def rgb_pixels(image: RgbImage) -> npt.NDArray[np.uint8]:
    """Return the pixels of a file, or an array after a look at its shape and type.

    Args:
        image: a file, or (H, W, 3) uint8

    Returns:
        (H, W, 3) uint8

    Raises:
        SegmenterError: the file cannot be read
        LabelQualityError: the array is no 8-bit RGB image

    Example:
        >>> rgb_pixels(np.zeros((2, 4, 3), np.uint8)).shape
        (2, 4, 3)
    """
    if isinstance(image, (str, Path)):
        try:
            return read_image(image)
        except Exception as error:  # an image decoder raises anything on a damaged file
            raise SegmenterError(str(image), f"cannot be read ({one_line(error)})") from error
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise LabelQualityError(
            f"Expected an image of shape (H, W, 3) and type uint8, but got {image.shape} and {image.dtype}; "
            "turn it into 8-bit RGB."
        )
    return image
