"""Opening image files: the one place where PIL's limit and PIL's errors are handled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ...errors import LabelQualityError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 1 << 28
"""Pixels of the largest image or mask that is decoded: 16,384 x 16,384."""

_LIMIT = Lock()
_DICOM = (128, b"DICM")
"""Where a DICOM file says what it is."""


class TooLargeError(LabelQualityError):
    """An image has more pixels than are decoded."""


def require_size(path: str | Path, image: Image.Image) -> None:
    """Check that an image is not too large to be decoded.

    Args:
        path: image file, for the message
        image: opened, not decoded yet

    Raises:
        TooLargeError: it has more than `MAX_PIXELS` pixels
    """
    require_pixels(path, image.size[::-1])


def require_pixels(path: str | Path, size: tuple[int, int]) -> None:
    """Check that an image is not too large for a mask of its size.

    Args:
        path: image file, for the message
        size: (H, W)

    Raises:
        TooLargeError: it has more than `MAX_PIXELS` pixels

    Example:
        >>> require_pixels("photo.png", (480, 640))
    """
    height, width = size
    if width * height > MAX_PIXELS:
        raise TooLargeError(
            f"Expected at most {MAX_PIXELS:,} pixels, but {path} has {width:,} x {height:,}; cut it into tiles."
        )


def require_file(path: str | Path) -> None:
    """Check that a path leads to a file and nothing else: reading a pipe or a device may never end.

    Args:
        path: of the file

    Raises:
        OSError: there is something else; where there is nothing, whoever opens it says so

    Example:
        >>> require_file("/dev/null")
        Traceback (most recent call last):
        OSError: Expected a file, but /dev/null is a folder, a pipe or a device
    """
    if Path(path).exists() and not Path(path).is_file():
        raise OSError(f"Expected a file, but {path} is a folder, a pipe or a device")


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
        OSError: the file is missing, no image or damaged, whatever PIL makes of that, also while it is decoded
    """
    from PIL import Image, UnidentifiedImageError

    require_file(path)
    try:
        with _LIMIT:
            before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(path)
            finally:
                Image.MAX_IMAGE_PIXELS = before
        with image:
            yield image
    except UnidentifiedImageError as error:
        raise OSError(_unknown_format(path)) from error
    except (OSError, LabelQualityError):
        raise
    except Exception as error:  # a damaged file may raise nearly anything
        raise OSError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def _unknown_format(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        head = file.read(_DICOM[0] + len(_DICOM[1]))
    if head[_DICOM[0] :] == _DICOM[1]:
        return f"{path} is a DICOM file, which is not read; write its pixels as 16-bit PNG or TIFF first"
    return f"{path} is no image of a format that is read, or is damaged; write it as PNG or TIFF"
