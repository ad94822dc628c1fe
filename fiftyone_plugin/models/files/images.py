"""Image and mask files as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import LabelQualityError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 1 << 28
"""Pixels of the largest image or mask that is decoded: 16,384 x 16,384."""

_EXIF_ORIENTATION = 0x0112
_LIMIT = Lock()
_SAMPLED = 64
"""Images that the scale of a dataset is taken from."""

_OUTLIERS = 0.1
"""Per cent of the pixels at each end that may be darker than black or brighter than white."""


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as RGB, turned as its EXIF orientation says (as browsers and FiftyOne show it).

    Args:
        path: image file; grey, palette, RGBA and CMYK files become 8-bit RGB, and so do 16-bit, signed and
            floating-point ones: by the scale of a `ScaledPath`, else of 0 to 4095 or their own brightest pixels

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
        upright = ImageOps.exif_transpose(image)
        if is_deep(image):
            return _deep_grey(upright, getattr(path, "window", None))
        return np.array(upright.convert("RGB"))


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


def require_size(path: str | Path, image: Image.Image) -> None:
    """Check that an image is not too large to be decoded.

    Args:
        path: image file, for the message
        image: opened, not decoded yet

    Raises:
        LabelQualityError: it has more than `MAX_PIXELS` pixels
    """
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise LabelQualityError(
            f"Expected at most {MAX_PIXELS:,} pixels, but {path} has {width:,} x {height:,}; cut it into tiles."
        )


def _deep_grey(image: Image.Image, window: tuple[float, float] | None) -> np.ndarray:
    """Bring a 16-bit, signed or floating-point grey image to 8 bits."""
    values = np.asarray(image)
    low, high = window or _own_window(values)
    grey = np.clip((values.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _own_window(values: np.ndarray) -> tuple[float, float]:
    """Scale of an image of which nothing else is known, the same for nearly equal images."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(min(finite.min(), 0)), float(np.percentile(finite, 100 - _OUTLIERS))
    smallest = 1.0 if image_is_unit(finite) else 4095.0
    return low, max(high, low + smallest)


def image_is_unit(values: np.ndarray) -> bool:
    """Whether values are shares of one, as those of floating-point images mostly are.

    Args:
        values: of any shape, finite

    Returns:
        whether they are of a floating-point type and all lie in [0, 1]

    Example:
        >>> image_is_unit(np.array([0.0, 0.5, 1.0])), image_is_unit(np.array([0.0, 1.0, 250.0]))
        (True, False)
    """
    return np.issubdtype(values.dtype, np.floating) and bool(values.min() >= 0 and values.max() <= 1)


class ScaledPath(str):
    """Path of a 16-bit, signed or floating-point image that knows the scale of its dataset.

    Attributes:
        window: the values that become black and white

    Example:
        >>> ScaledPath("scan.png", (0, 4095)).window
        (0, 4095)
    """

    window: tuple[float, float]

    def __new__(cls, path: str, window: tuple[float, float]) -> ScaledPath:
        """Make one from a path and the values of black and white."""
        made = super().__new__(cls, path)
        made.window = window
        return made

    def __reduce__(self) -> tuple[type[ScaledPath], tuple[str, tuple[float, float]]]:
        """Pickle with the scale, so that worker processes read alike."""
        return type(self), (str(self), self.window)


def is_deep(image: Image.Image) -> bool:
    """Whether an open image has values of more than 8 bits, signs or fractions.

    Args:
        image: of PIL

    Returns:
        True for 16-bit, 32-bit and floating-point grey images
    """
    return image.mode.startswith("I;16") or image.mode in ("I", "F")


def dataset_window(paths: Sequence[str], bit_depth: int | None = None) -> tuple[float, float]:
    """The one scale of a dataset's 16-bit, signed or floating-point images.

    Args:
        paths: of these images; some, evenly spread, are read
        bit_depth: bits that are in use, if that was declared

    Returns:
        the values of black and white: of the declared bits; 0 and 1 for fractions of one; else what all but one in a
        thousand pixels lie between, from 0 unless there are negative ones

    Example:
        >>> dataset_window([], bit_depth=12)
        (0.0, 4095.0)
    """
    if bit_depth is not None:
        return 0.0, float(2**bit_depth - 1)
    found = []
    for path in paths[:: max(len(paths) // _SAMPLED, 1)]:
        try:
            with open_image(path) as image:
                require_size(path, image)
                values = np.asarray(image).ravel()
        except (OSError, ValueError, SyntaxError):
            continue
        found.append(values[np.isfinite(values)][:: max(values.size // 100_000, 1)])
    together = np.concatenate(found) if found else np.empty(0, np.float32)
    if not together.size or image_is_unit(together):
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(together, [_OUTLIERS, 100 - _OUTLIERS]))
    low = 0.0 if together.min() >= 0 else low
    return low, max(high, low + 1.0)


def scaled_paths(paths: Sequence[str], bit_depth: int | None = None) -> list[str]:
    """Give the paths of 16-bit, signed and floating-point images the scale of all of them; others stay as they are.

    Args:
        paths: of a dataset's images
        bit_depth: bits that are in use, if that was declared

    Returns:
        the paths, some as `ScaledPath`
    """
    deep = {path for path in paths if _is_deep_file(path)}
    if not deep:
        return list(paths)
    window = dataset_window(sorted(deep), bit_depth)
    return [ScaledPath(path, window) if path in deep else path for path in paths]


def _is_deep_file(path: str) -> bool:
    try:
        with open_image(path) as image:
            return is_deep(image)
    except (OSError, ValueError, SyntaxError):
        return False


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """Open an image of any size, to look at its head or to read it; the one place where PIL's limit is handled.

    PIL raises an error for large images before their size can be seen, which would end a whole job. Here who decodes
    decides what is too large.

    Args:
        path: image file

    Yields:
        the image, not decoded yet

    Raises:
        OSError: the file is missing or no image
    """
    from PIL import Image

    with _LIMIT:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = before
    with image:
        yield image
