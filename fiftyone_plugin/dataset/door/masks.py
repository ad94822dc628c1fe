"""Masks as FiftyOne keeps them: in the database or on disk, 8 or 16 bit, palette, grey or RGB."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from ...errors import LabelQualityError
from ...models.files.opening import open_image, require_size


@dataclass(frozen=True)
class MaskReading:
    """How the values of mask files are understood, where a file can be read in two ways.

    Attributes:
        colours: whether palette files give their colours, as FiftyOne reads them, or their indices
        white: what white is in a file of one bit per pixel; FiftyOne reads 255
    """

    colours: bool = False
    white: int = 255


PLAIN: Final = MaskReading()
"""Palette files give their indices, white is 255."""


def reading_of(targets: Mapping[int | str, str]) -> MaskReading:
    """How the masks of a field are understood, by its `mask_targets`.

    Hex targets name colours, so palette files are read by their colours, as FiftyOne reads them. White in 1-bit files
    is 255, unless the targets name 1 and no 255.

    Args:
        targets: mask value or hex colour to class name; may be empty

    Returns:
        the reading

    Example:
        >>> reading_of({"#ff0000": "car"}), reading_of({1: "lesion"}).white
        (MaskReading(colours=True, white=255), 1)
    """
    values = {str(key) for key in targets}
    return MaskReading(is_rgb(targets), 1 if "1" in values and "255" not in values else 255)


def is_rgb(targets: Mapping[int | str, str]) -> bool:
    """Whether `mask_targets` name hex colours.

    Example:
        >>> is_rgb({"#ff0000": "car"}), is_rgb({1: "car"}), is_rgb({})
        (True, False, False)
    """
    return bool(targets) and all(isinstance(key, str) and key.startswith("#") for key in targets)


def read_mask(segmentation: Any, reading: MaskReading = PLAIN) -> np.ndarray:
    """Read the pixel values of a `fiftyone.Segmentation`.

    An alpha channel is dropped, and an RGB file whose channels are equal is read as grey.

    Args:
        segmentation: a label with `mask` (array in the database) or `mask_path` (image on disk)
        reading: how palette and 1-bit files are understood

    Returns:
        (H, W) integer mask values, or (H, W, 3) uint8 colours of an RGB mask

    Raises:
        LabelQualityError: if the label holds no mask or an array that is no mask
        OSError: if the file is missing or not an image
    """
    if segmentation.mask is not None:
        return _as_mask(np.asarray(segmentation.mask), "the mask in the database")
    if not segmentation.mask_path:
        raise LabelQualityError("Expected a Segmentation with `mask` or `mask_path`, but both are empty")
    return read_mask_file(segmentation.mask_path, reading)


def read_mask_file(path: str | Path, reading: MaskReading = PLAIN) -> np.ndarray:
    """Read a mask image from disk.

    Args:
        path: an image file
        reading: how palette and 1-bit files are understood

    Returns:
        (H, W) integer mask values, or (H, W, 3) uint8 colours

    Raises:
        OSError: if the file is missing, truncated or not an image

    Example:
        >>> import tempfile, numpy as np
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.fromarray(np.full((2, 3), 7, np.uint8)).save(folder + "/m.png")
        ...     read_mask_file(folder + "/m.png").tolist()
        [[7, 7, 7], [7, 7, 7]]
    """
    with open_image(path) as image:
        require_size(path, image)
        return _as_mask(_pixels(image, reading), str(path))


def _pixels(image: Image.Image, reading: MaskReading) -> np.ndarray:
    if reading.colours and image.mode in ("P", "PA"):
        return np.array(image.convert("RGB"))
    if image.mode == "1":
        return np.array(image).astype(np.uint8) * np.uint8(reading.white)
    return np.array(image)


def _as_mask(mask: np.ndarray, name: str) -> np.ndarray:
    if mask.ndim == 3 and mask.shape[2] in (2, 4):
        mask = mask[..., :-1]
    if mask.ndim == 3 and (mask.shape[2] == 1 or bool((mask == mask[..., :1]).all())):
        mask = mask[..., 0]
    if mask.ndim not in (2, 3) or mask.size == 0:
        raise LabelQualityError(f"Expected a mask of shape (H, W) or (H, W, 3), but {name} has {mask.shape}")
    if mask.dtype == bool:
        return mask.astype(np.uint8)
    if np.issubdtype(mask.dtype, np.floating):
        rounded = np.rint(mask)
        if not np.array_equal(rounded, mask):
            raise LabelQualityError(f"Expected integer mask values, but {name} holds fractions")
        return rounded.astype(np.int32)
    return mask


def pack_rgb(mask: np.ndarray) -> np.ndarray:
    """Pack RGB colours into one integer per pixel, 0xRRGGBB, as in hex `mask_targets`.

    Args:
        mask: (H, W, 3) uint8 colours, or (H, W) grey values, taken as equal channels

    Returns:
        (H, W) int32 packed colours

    Example:
        >>> import numpy as np
        >>> hex(pack_rgb(np.array([[[255, 0, 16]]], np.uint8))[0, 0])
        '0xff0010'
    """
    if mask.ndim == 2:
        mask = np.repeat(mask[..., None], 3, axis=2)
    red, green, blue = (mask[..., i].astype(np.int32) for i in range(3))
    return (red << 16) | (green << 8) | blue


def mask_digest(mask: np.ndarray) -> str:
    """Hash of a mask's pixels, to notice that a label was edited since it was looked at.

    Args:
        mask: integer array of any shape

    Returns:
        16 hexadecimal digits

    Example:
        >>> import numpy as np
        >>> mask_digest(np.zeros((2, 2), np.uint8)) == mask_digest(np.zeros((2, 2), np.int64))
        True
    """
    values = np.ascontiguousarray(mask, dtype=np.int32)
    digest = hashlib.blake2b(values.data, digest_size=8)
    digest.update(repr(mask.shape).encode())
    return digest.hexdigest()


def resize_nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a mask to another size; every pixel takes the value at its middle.

    Args:
        mask: (h, w) values
        size: wanted (H, W)

    Returns:
        (H, W) values, the same array if it has that size

    Example:
        >>> import numpy as np
        >>> resize_nearest(np.array([[1, 2]]), (1, 4)).tolist()
        [[1, 1, 2, 2]]
    """
    if mask.shape[:2] == size:
        return mask
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
        for new, old in zip(size, mask.shape[:2], strict=True)
    )
    return mask[np.ix_(rows, columns)]
