"""What a person sees of a question: a window of the image, the region in it, and the label as corrected so far."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from PIL import Image

from ...dataset.door.masks import resize_nearest
from ...dataset.door.scan import file_stamp
from ...models.files.images import read_image

WHOLE_IMAGE: Final = 1_500_000
"""Pixels up to which the whole image is shown."""

_CONTEXT = 1.5
"""Of a larger image, this share of the region's size is shown on each side of it, and at least `_LEAST`."""

_LEAST = 160
_MOST_SHOWN = 1_500_000
_OVERVIEW = 210  # pixels of the longer side
_KEPT = 4


@dataclass(frozen=True, eq=False)
class Question:
    """One question as it is shown.

    Attributes:
        query_id: FiftyOne's id of the query
        sample_id: FiftyOne's id of the sample
        filepath: of the image
        given: class that the label says
        alternatives: all other classes, likely ones first
        classes: by class index
        number: in the sitting, from 1
        round: of planning
        audit: whether it was drawn at random
        answered: what was answered, if it is looked at again: confirmed, skipped or a class
        refined: whether the region is not the planned one
        window: (top, left, bottom, right) of the image that is shown, half open
        scale: shown pixels per pixel of the label, at most 1
        image: (h, w, 3) uint8
        region: (h, w) bool, what the answer will be about
        labels: (h, w) uint8 class index in the label as corrected so far, 255 for none
        point: x and y of the representative pixel in the window
        points: x, y and whether positive, of the refining clicks in the window
        box: (top, left, bottom, right) of the planned region in the window
        overview: (h, w, 3) uint8, the whole image made small; None where the window is the whole image
        part: left, top, right, bottom of the window as shares of the whole image
    """

    query_id: str
    sample_id: str
    filepath: str
    given: str
    alternatives: tuple[str, ...]
    classes: tuple[str, ...]
    number: int
    round: int
    audit: bool
    answered: str | None
    refined: bool
    window: tuple[int, int, int, int]
    scale: float
    image: np.ndarray
    region: np.ndarray
    labels: np.ndarray
    point: tuple[int, int]
    points: list[tuple[int, int, bool]] = field(default_factory=list)
    box: tuple[int, int, int, int] = (0, 0, 1, 1)
    overview: np.ndarray | None = None
    part: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


def window_around(bbox: tuple[int, int, int, int], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of an image that is shown for a region.

    Args:
        bbox: (top, left, bottom, right) of the region, half open
        shape: (H, W) of the label

    Returns:
        the whole image unless it is large; else the region with what is around it

    Example:
        >>> window_around((10, 10, 20, 20), (480, 640))
        (0, 0, 480, 640)
        >>> window_around((5000, 5000, 5010, 5010), (10000, 10000))
        (4840, 4840, 5170, 5170)
    """
    height, width = shape
    if height * width <= WHOLE_IMAGE:
        return 0, 0, height, width
    top, left, bottom, right = bbox
    margin = max(_LEAST, round(_CONTEXT * max(bottom - top, right - left)))
    return (
        max(top - margin, 0), max(left - margin, 0), min(bottom + margin, height), min(right + margin, width),
    )  # fmt: skip


def scale_of(window: tuple[int, int, int, int]) -> float:
    """Shown pixels per pixel of the label: less than 1 where a window would be too large for a screen.

    Example:
        >>> scale_of((0, 0, 480, 640)), round(scale_of((0, 0, 3000, 2000)), 2)
        (1.0, 0.5)
    """
    pixels = (window[2] - window[0]) * (window[3] - window[1])
    return min(1.0, (_MOST_SHOWN / max(pixels, 1)) ** 0.5)


def shown_size(window: tuple[int, int, int, int]) -> tuple[int, int]:
    """Height and width of a window as it is shown."""
    scale = scale_of(window)
    return max(round((window[2] - window[0]) * scale), 1), max(round((window[3] - window[1]) * scale), 1)


def cut(values: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """A window of a label or mask, as it is shown."""
    return resize_nearest(values[window[0] : window[2], window[1] : window[3]], shown_size(window))


def enlarge(mask: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of what is shown, in pixels of the label."""
    return resize_nearest(mask, (window[2] - window[0], window[3] - window[1]))


class ImageShelf:
    """The images of the last and the next questions, read once."""

    def __init__(self) -> None:
        self._images: OrderedDict[tuple[Any, ...], np.ndarray] = OrderedDict()
        self._last: tuple[Any, np.ndarray] | None = None
        self._lock = threading.Lock()

    def window(self, filepath: str, window: tuple[int, int, int, int], shape: tuple[int, int]) -> np.ndarray:
        """Read a window of an image, upright, as it is shown.

        Args:
            filepath: the image
            window: in pixels of the label
            shape: (H, W) of the label, which may differ from the image's

        Returns:
            (h, w, 3) uint8

        Raises:
            OSError: if the file is missing or no image
        """
        key = (filepath, window, shape)
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        pixels = cut_image(self._whole(filepath), window, shape)
        with self._lock:
            self._images[key] = pixels
            while len(self._images) > _KEPT:
                self._images.popitem(last=False)
        return pixels

    def overview(self, filepath: str, window: tuple[int, int, int, int], shape: tuple[int, int]) -> np.ndarray | None:
        """The whole image made small, where a window shows only a part of it.

        Args:
            filepath: the image
            window: in pixels of the label
            shape: (H, W) of the label

        Returns:
            (h, w, 3) uint8; None where the window is the whole image
        """
        if window == (0, 0, *shape):
            return None
        key = (filepath, file_stamp(filepath), "overview")
        with self._lock:
            if key in self._images:
                return self._images[key]
        scale = _OVERVIEW / max(shape)
        size = max(round(shape[1] * scale), 1), max(round(shape[0] * scale), 1)
        small = np.asarray(Image.fromarray(self._whole(filepath)).resize(size, Image.Resampling.BILINEAR))
        with self._lock:
            self._images[key] = small
        return small

    def _whole(self, filepath: str) -> np.ndarray:
        """The whole image; the last one is kept, because many questions are about one large image."""
        state = (filepath, file_stamp(filepath))
        with self._lock:
            if self._last is not None and self._last[0] == state:
                return self._last[1]
        image = read_image(filepath)
        with self._lock:
            self._last = (state, image)
        return image


def cut_image(image: np.ndarray, window: tuple[int, int, int, int], shape: tuple[int, int]) -> np.ndarray:
    """Cut a window out of an image, as it is shown.

    Args:
        image: (h, w, 3) uint8, the whole image
        window: in pixels of the label
        shape: (H, W) of the label

    Returns:
        the window, made smaller where it is too large for a screen

    Example:
        >>> cut_image(np.zeros((4, 8, 3), np.uint8), (0, 0, 2, 2), (2, 4)).shape
        (2, 2, 3)
    """
    height, width = shown_size(window)
    y, x = image.shape[0] / shape[0], image.shape[1] / shape[1]
    if image.shape[:2] == shape and scale_of(window) == 1:
        return np.ascontiguousarray(image[window[0] : window[2], window[1] : window[3]])
    box = (window[1] * x, window[0] * y, window[3] * x, window[2] * y)
    # Only the part is handed over: a copy of a whole large image would be as large.
    top, left = int(box[1]), int(box[0])
    part = np.ascontiguousarray(image[top : math.ceil(box[3]), left : math.ceil(box[2])])
    inside = (box[0] - left, box[1] - top, min(box[2] - left, part.shape[1]), min(box[3] - top, part.shape[0]))
    return np.asarray(Image.fromarray(part).resize((width, height), Image.Resampling.BILINEAR, box=inside))
