"""Pictures of the worst images: the photo, the label's outlines, and what should be something else."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from PIL import Image
from scipy import ndimage

from ..fiftyone_plugin.workflows.reviewing.worst_pictures import SuggestedRegion, WorstPicture

_FILL: Final = 0.3
_DASH: Final = 6  # pixels
_QUALITY: Final = 84


def drawn(picture: WorstPicture, colors: Mapping[str, str], names: Mapping[int, str]) -> str:
    """A picture as data URI: thin outlines of the label, thick dashed ones of what should be another class.

    Lines differ in kind and have a dark rim, so that nobody needs to tell their colours apart.

    Args:
        picture: what to draw
        colors: class name to "#rrggbb"
        names: mask value to class name

    Returns:
        the address; empty where the image cannot be read
    """
    if picture.image is None:
        return ""
    pixels = picture.image.astype(np.float32)
    if picture.labels is not None:
        _outline_labels(pixels, picture.labels, colors, names)
    for region in reversed(picture.regions):
        _draw_region(pixels, region, colors)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _outline_labels(
    pixels: np.ndarray, labels: np.ndarray, colors: Mapping[str, str], names: Mapping[int, str]
) -> None:
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differs = np.diff(labels, axis=axis) != 0
        place: list[Any] = [slice(None), slice(None)]
        for part in (slice(1, None), slice(None, -1)):
            place[axis] = part
            edge[tuple(place)] |= differs
    rim = ndimage.binary_dilation(edge) & ~edge
    pixels[rim] *= 0.55
    for value in np.unique(labels[edge]).tolist():
        pixels[edge & (labels == value)] = _rgb(colors.get(names.get(int(value), ""), "#d0d0d0"))


def _draw_region(pixels: np.ndarray, region: SuggestedRegion, colors: Mapping[str, str]) -> None:
    color = _rgb(colors.get(region.suggested, "#ffffff"))
    mask = region.mask
    pixels[mask] = (1 - _FILL) * pixels[mask] + _FILL * color
    line = ndimage.binary_dilation(mask, iterations=2) & ~ndimage.binary_erosion(mask)
    pixels[ndimage.binary_dilation(line) & ~line & ~mask] = 0
    height, width = mask.shape
    dashes = (np.arange(height)[:, None] + np.arange(width)) // _DASH % 2 == 0
    pixels[line] = color
    pixels[line & dashes] = 255


def _rgb(color: str) -> np.ndarray:
    return np.array(list(bytes.fromhex(color.lstrip("#")[:6])), np.float32)
