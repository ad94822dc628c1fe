"""A changed mask as a file that FiftyOne reads as it reads the original: 1 bit, palette, RGB, 8 or 16 bit."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import LabelQualityError
from ...models.files.opening import open_image

_PALETTE = ("P", "PA")
_MOST = 65_535


def encode_mask(mask: np.ndarray, *, rgb: bool = False, like: str | Path | None = None) -> bytes:
    """Write a mask as a PNG.

    FiftyOne reads palette files as colours and 1-bit files as 0 and 255. So a mask that is made of such a label becomes
    such a file again, and grey that was kept as RGB stays RGB.

    Args:
        mask: (H, W) mask values, packed colours of an RGB field
        rgb: whether the values are packed colours
        like: file of the label that the mask is made of; None for 8 or 16 bit, or RGB

    Returns:
        content of the PNG

    Raises:
        LabelQualityError: a PNG has no such values

    Example:
        >>> folder = __import__("tempfile").mkdtemp()
        >>> Image.fromarray(np.array([[True, False]])).save(folder + "/bits.png")
        >>> Image.open(io.BytesIO(encode_mask(np.array([[0, 1]]), like=folder + "/bits.png"))).mode
        '1'
    """
    image = _plain_image(mask, rgb)
    options: dict[str, Any] = {}
    original = _opened(like)
    if original is not None and image.size == original.size:
        image, options = _in_form_of(image, original)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=4, **options)
    return buffer.getvalue()


def require_png_values(values: Iterable[int]) -> None:
    """Check that a PNG can hold mask values, before anything is computed that will be written so.

    Args:
        values: that occur

    Raises:
        LabelQualityError: it cannot

    Example:
        >>> require_png_values([0, 255, 65_535])
    """
    beyond = sorted(value for value in values if not 0 <= value <= _MOST)
    if beyond:
        raise LabelQualityError(
            f"Expected mask values from 0 to {_MOST:,}, which a PNG file can hold, but got "
            f"{', '.join(map(str, beyond[:5]))}; store masks of other values first, for instance 255 for no label"
        )


def _plain_image(mask: np.ndarray, rgb: bool) -> Image.Image:
    if rgb:
        return Image.fromarray(np.stack([(mask >> 16) & 255, (mask >> 8) & 255, mask & 255], axis=-1).astype(np.uint8))
    mask = np.where(mask == -1, 255, mask)  # both say that there is no label
    require_png_values((int(mask.min()), int(mask.max())))
    return Image.fromarray(mask.astype(np.uint8 if mask.max() <= 255 else np.uint16))


def _opened(path: str | Path | None) -> Image.Image | None:
    if path is None:
        return None
    try:
        with open_image(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError):
        return None  # deleted or broken since: the values are kept, the form is lost


def _in_form_of(image: Image.Image, original: Image.Image) -> tuple[Image.Image, dict[str, Any]]:
    """The same values in the form of another file, and further options of the PNG."""
    values = np.asarray(image)
    if original.mode == "1" and len(np.unique(values)) <= 2 and values.ndim == 2:
        return Image.fromarray(values > 0), {}
    if original.mode in _PALETTE and image.mode == "L":
        return _with_palette(image, original)
    if original.mode in ("RGB", "RGBA", "LA", *_PALETTE) and image.mode in ("L", "RGB"):
        image = image.convert("RGB")
        if "A" in original.getbands() or "transparency" in original.info:
            image.putalpha(original.convert("RGBA").getchannel("A"))
    return image, {}


def _with_palette(image: Image.Image, original: Image.Image) -> tuple[Image.Image, dict[str, Any]]:
    """Indices with the palette of the original; an index that it lacks becomes a grey of that value."""
    colours = original.getpalette("RGB") or []
    known = len(colours) // 3
    most = int(np.asarray(image).max())
    colours = colours[: known * 3] + [value for index in range(known, most + 1) for value in (index,) * 3]
    indexed = Image.fromarray(np.asarray(image), mode="P")
    indexed.putpalette(colours)
    transparency = original.info.get("transparency")
    return indexed, {} if transparency is None else {"transparency": transparency}
