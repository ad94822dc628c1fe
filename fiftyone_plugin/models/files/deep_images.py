"""Images of more than 8 bits: one scale for a whole dataset, so that nearly equal images stay nearly equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import LabelQualityError
from .opening import open_image, require_size

if TYPE_CHECKING:
    from PIL import Image

Window = tuple[float, float]
"""The values that become black and white."""

_SAMPLED = 64
"""Images that the scale of a dataset is taken from."""

_OUTLIERS = 0.1
"""Per cent of the pixels at each end that may be darker than black or brighter than white."""

_EXIF_ORIENTATION = 0x0112
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}
"""EXIF orientation to quarter turns against the clock, and whether to mirror left and right afterwards."""


class ScaledPath(str):
    """Path of a 16-bit, signed or floating-point image that knows the scale of its dataset.

    Attributes:
        window: the values that become black and white

    Example:
        >>> ScaledPath("scan.png", (0, 4095)).window
        (0, 4095)
    """

    window: Window

    def __new__(cls, path: str, window: Window) -> ScaledPath:
        """Make one from a path and the values of black and white."""
        made = super().__new__(cls, path)
        made.window = window
        return made

    def __reduce__(self) -> tuple[type[ScaledPath], tuple[str, Window]]:
        """Pickle with the scale, so that worker processes read alike."""
        return type(self), (str(self), self.window)


def is_deep(image: Image.Image) -> bool:
    """Whether an open image has values of more than 8 bits, signs or fractions.

    Args:
        image: of PIL, not decoded yet

    Returns:
        True for 16-bit, 32-bit and floating-point images, grey ones and coloured ones
    """
    return image.mode.startswith("I;16") or image.mode in ("I", "F") or _has_deep_colours(image)


def _has_deep_colours(image: Image.Image) -> bool:
    """PIL opens colours of 16 bits as 8 bits and throws the lower halves away; what it reads says so."""
    tile = next(iter(getattr(image, "tile", ())), None)
    arguments = tile[3] if tile is not None else ""
    form = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return isinstance(form, str) and ";16" in form and image.mode in ("LA", "RGB", "RGBA")


def is_deep_file(path: str | Path) -> bool:
    """Whether a file is an image of more than 8 bits; False where it cannot be read."""
    try:
        with open_image(path) as image:
            return is_deep(image)
    except (OSError, ValueError, SyntaxError):
        return False


def deep_values(path: str | Path, image: Image.Image) -> np.ndarray:
    """The values of an image of more than 8 bits, turned as its EXIF orientation says.

    Args:
        path: of the file
        image: of PIL, for which `is_deep` holds

    Returns:
        (H, W) or (H, W, 3) numbers

    Raises:
        OSError: it cannot be decoded
    """
    from PIL import ImageOps

    if not _has_deep_colours(image):
        return np.asarray(ImageOps.exif_transpose(image))
    import cv2

    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise OSError(f"{path} cannot be decoded")
    if values.ndim == 3:
        values = values[..., :3][..., ::-1]
    turns, mirror = _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1), (0, False))
    values = np.rot90(values, turns)
    return np.ascontiguousarray(values[:, ::-1] if mirror else values)


def eight_bits(values: np.ndarray, window: Window | None = None) -> np.ndarray:
    """Bring values to 8 bits.

    Args:
        values: (H, W) or (H, W, 3) numbers
        window: the values of black and white; taken from the image itself if None

    Returns:
        (H, W, 3) uint8

    Example:
        >>> eight_bits(np.array([[0, 2047.5, 4095]]), (0, 4095))[0, :, 0].tolist()
        [0, 128, 255]
    """
    low, high = window or _own_window(values)
    scaled = np.clip((values.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255)
    grey = np.nan_to_num(scaled).round().astype(np.uint8)
    return grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)


def _own_window(values: np.ndarray) -> Window:
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


def declared_window(info: Mapping[str, Any]) -> Window | None:
    """The scale that a person has declared.

    Args:
        info: of a dataset: `window` as [black, white] or, as in DICOM, as {"center": c, "width": w}; or `bit_depth`

    Returns:
        the values of black and white; None if nothing is declared

    Raises:
        LabelQualityError: what is declared is no scale

    Example:
        >>> declared_window({"bit_depth": 12}), declared_window({"window": {"center": 40, "width": 400}})
        ((0.0, 4095.0), (-160.0, 240.0))
    """
    window, depth = info.get("window"), info.get("bit_depth")
    try:
        if isinstance(window, Mapping):
            window = [window["center"] - window["width"] / 2, window["center"] + window["width"] / 2]
        if window is None and depth is not None:
            window = [0, 2 ** int(depth) - 1]
        if window is None:
            return None
        low, high = (float(value) for value in window)
    except (KeyError, TypeError, ValueError):
        low = high = 0.0
    if not low < high or not np.isfinite([low, high]).all():
        raise LabelQualityError(
            'Expected `dataset.info["window"]` to be [black, white] or {"center": c, "width": w}, or '
            f'`dataset.info["bit_depth"]` a number of bits, but got {info.get("window", depth)!r}'
        )
    return low, high


def dataset_window(paths: Sequence[str]) -> Window:
    """The one scale of a dataset's 16-bit, signed or floating-point images, where none is declared.

    Args:
        paths: of these images; some, evenly spread, are read

    Returns:
        the values of black and white: 0 and 1 for fractions of one; else what all but one in a thousand pixels lie
        between, from 0 unless there are negative ones
    """
    found = []
    for path in paths[:: max(len(paths) // _SAMPLED, 1)]:
        try:
            with open_image(path) as image:
                require_size(path, image)
                values = deep_values(path, image).ravel()
        except (OSError, ValueError, SyntaxError):
            continue
        found.append(values[np.isfinite(values)][:: max(values.size // 100_000, 1)])
    together = np.concatenate(found) if found else np.empty(0, np.float32)
    if not together.size or image_is_unit(together):
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(together, [_OUTLIERS, 100 - _OUTLIERS]))
    low = 0.0 if together.min() >= 0 else low
    return low, max(high, low + 1.0)
