"""Superpixels: the parts of an image that one answer is about.

From masks (SAM's automatic masks, a detector's), from a label or instance field, or from the image alone. Whatever they
come from, `fill_gaps` leaves no pixel that cannot be asked about and `split_by_label` gives each one given class.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from .connected_parts import connected_parts, join_slivers, renumber

__all__ = [
    "fill_gaps",
    "image_superpixels",
    "renumber",
    "split_by_label",
    "superpixels_from_instances",
    "superpixels_from_labels",
    "superpixels_from_masks",
]

Array = npt.NDArray[Any]
Segments = npt.NDArray[np.int32]

PER_IMAGE: Final = 175
"""Superpixels that an image is cut into unless a size is given."""

MIN_AREA: Final = 16
"""Parts with fewer pixels join a neighbour of their label where they have one."""

_MAX_PIXELS: Final = 2_000_000
_SMALLEST_SIZE: Final = 64
_COMPACTNESS: Final = (20.0, 60.0, 180.0)
_SMOOTHING: Final = 1.0
_IGNORE: Final = 255


def superpixels_from_masks(masks: Iterable[npt.ArrayLike], shape: tuple[int, int]) -> Segments:
    """Lay overlapping masks over each other, small ones on top of large ones.

    Args:
        masks: (H, W) bool each, in any number; of masks of equal area the later one lies on top
        shape: (H, W) of the image

    Returns:
        (H, W) int32; i + 1 where the i-th mask is on top, 0 where there is none. A mask that others hide has no pixel.

    Raises:
        LabelQualityError: if a mask is not of the image's size

    Example:
        >>> superpixels_from_masks([[[0, 1, 0]], [[1, 1, 1]]], (1, 3))
        array([[2, 1, 2]], dtype=int32)
    """
    segments, areas = np.zeros(shape, np.int32), np.full(shape, np.iinfo(np.int64).max)
    for number, mask in enumerate(masks):
        layer = np.asarray(mask, np.bool_)
        if layer.shape != tuple(shape):
            raise LabelQualityError(
                f"Expected masks of the image's size {tuple(shape)}, but got {layer.shape} for mask {number}; resize "
                "the mask, or pass the size of the image that it was made for."
            )
        area = int(layer.sum())
        on_top = layer & (areas >= area)
        segments[on_top], areas[on_top] = number + 1, area
    return segments


def superpixels_from_labels(labels: npt.ArrayLike, *, ignore_index: int | None = _IGNORE) -> Segments:
    """Make every connected part of one class a superpixel.

    Args:
        labels: (H, W) class indices
        ignore_index: label of pixels without class; they and negative labels belong to no superpixel. None: every value
            from 0 is a class

    Returns:
        (H, W) int32 ids 1..n in reading order; 0 = no label

    Raises:
        LabelQualityError: if the array is not two-dimensional or holds no integers

    Example:
        >>> superpixels_from_labels([[0, 0, 1, 0], [0, 1, 255, 0]])
        array([[1, 1, 2, 3],
               [1, 2, 0, 3]], dtype=int32)
    """
    classes = _check_integers(labels, "labels")
    has_class = classes >= 0 if ignore_index is None else (classes >= 0) & (classes != ignore_index)
    return connected_parts(has_class, classes)


def superpixels_from_instances(ids: npt.ArrayLike) -> Segments:
    """Make every instance a superpixel.

    Args:
        ids: (H, W) instance ids, in any numbering; 0 = no instance

    Returns:
        (H, W) int32 ids 1..n in the order of the instance ids, 0 where there is none

    Raises:
        LabelQualityError: if the array is not two-dimensional, holds no integers, or a negative one

    Example:
        >>> superpixels_from_instances([[0, 26001], [24000, 26001]])
        array([[0, 2],
               [1, 2]], dtype=int32)
    """
    return renumber(check_segments(ids, "ids"))


def image_superpixels(
    image: npt.ArrayLike, *, method: Literal["slic", "felzenszwalb"] = "slic", size: int | None = None
) -> Segments:
    """Cut an image into parts of like colour that cover all of it.

    SLIC (Achanta et al. 2012, SLIC superpixels compared to state-of-the-art superpixel methods, TPAMI 34) gives parts
    of about equal size, Felzenszwalb & Huttenlocher (2004, Efficient graph-based image segmentation, IJCV 59) parts as
    large as the colour stays alike. Images above 2 megapixels are segmented at reduced size.

    Args:
        image: (H, W, 3) uint8
        method: "slic" or "felzenszwalb"
        size: pixels per superpixel, with "felzenszwalb" about; by default a 175th of the image, 64 at least

    Returns:
        (H, W) int32 ids 1..n, connected, none is 0

    Raises:
        LabelQualityError: if the image is not (H, W, 3) uint8, the size is not positive or the method is unknown

    Example:
        >>> image = np.zeros((8, 16, 3), np.uint8)
        >>> image[:, 8:] = 255
        >>> segments = image_superpixels(image, size=64)
        >>> segments[0, 0], segments[7, 15], segments.max()
        (np.int32(1), np.int32(2), np.int32(2))
    """
    pixels = _check_image(image)
    size = _check_size(size, pixels.shape[0] * pixels.shape[1])
    if method not in ("slic", "felzenszwalb"):
        raise LabelQualityError(f'Expected `method` to be "slic" or "felzenszwalb", but got {method!r}; pass either.')
    factor = int(np.ceil(np.sqrt(pixels.shape[0] * pixels.shape[1] / _MAX_PIXELS)))
    segment = _slic if method == "slic" else _felzenszwalb
    found = segment(_reduce(pixels, factor), max(1, round(size / factor**2)))
    return found if factor == 1 else _enlarge(found, factor, pixels.shape[:2])


def _slic(image: Array, size: int) -> Segments:
    """SLIC, more compact where the texture is so strong that superpixels fall to pieces and are merged into a few."""
    from skimage.segmentation import slic

    count = max(1, round(image.shape[0] * image.shape[1] / size))
    for compactness in _COMPACTNESS:
        found = slic(image, count, compactness=compactness, sigma=_SMOOTHING, start_label=1, channel_axis=-1)
        segments = _connect(found, size)
        if 2 * segments.max() > count:
            break
    return segments


def _felzenszwalb(image: Array, size: int) -> Segments:
    from skimage.segmentation import felzenszwalb

    found = felzenszwalb(image, scale=size / 4, sigma=0.8, min_size=max(1, size // 8), channel_axis=-1)
    return _connect(found + 1, size)


def _connect(segments: Array, size: int) -> Segments:
    """Connected parts of superpixels, slivers joined."""
    nothing = np.zeros(segments.shape, np.bool_)
    return join_slivers(connected_parts(segments, nothing), nothing, max(1, size // 8))


def _reduce(image: Array, factor: int) -> Array:
    """Mean of boxes of `factor` x `factor` pixels."""
    if factor == 1:
        return image
    from PIL import Image

    return np.asarray(Image.fromarray(image).reduce(factor))


def _enlarge(segments: Segments, factor: int, shape: tuple[int, ...]) -> Segments:
    rows, columns = (np.arange(length, dtype=np.int32) // factor for length in shape)
    return segments[rows][:, columns]


def fill_gaps(segments: npt.ArrayLike, image: npt.ArrayLike, *, size: int | None = None) -> Segments:
    """Cut what belongs to no superpixel into superpixels of its own, so that every pixel can be asked about.

    Args:
        segments: (H, W) superpixel ids; 0 = gap
        image: (H, W, 3) uint8
        size: pixels per superpixel in the gaps; by default a 175th of the image, 64 at least

    Returns:
        (H, W) int32 without 0: the ids that were there, and new ones above them, each connected

    Raises:
        LabelQualityError: if the arrays do not fit each other, or hold what they should not

    Example:
        >>> fill_gaps(np.array([[0, 3, 0]]), np.zeros((1, 3, 3), np.uint8))
        array([[4, 3, 5]], dtype=int32)
    """
    ids, pixels = check_segments(segments, "segments"), _check_image(image)
    check_same_size("segments", ids.shape, "image", pixels.shape[:2])
    gaps = ids == 0
    if not gaps.any():
        return ids.astype(np.int32)
    size = _check_size(size, gaps.size)
    nothing = np.zeros(gaps.shape, np.bool_)
    parts = connected_parts(np.where(gaps, image_superpixels(pixels, size=size), 0), nothing)
    parts = join_slivers(parts, nothing, max(1, size // 8))
    highest = int(ids.max())
    if highest + int(parts.max()) > np.iinfo(np.int32).max:
        ids, highest = renumber(ids), int(renumber(ids).max())
    return np.where(gaps, parts + np.int32(highest), ids).astype(np.int32)


def add_missed_objects(
    segments: npt.ArrayLike, labels: npt.ArrayLike, predicted: Any, *, min_area: int | None = None
) -> Segments:
    """Make what a model sees where no superpixel is, and the label does not say, a superpixel of its own.

    Superpixels from a detector's masks leave out what the detector missed; its shape is then only known to a model.

    Args:
        segments: (H, W) superpixel ids; 0 = gap
        labels: (H, W) class indices
        predicted: (H, W) predicted class indices, NumPy or torch
        min_area: pixels of the smallest part; by default a 2,000th of the image, 64 at least

    Returns:
        (H, W) int32: the ids that were there, and new ones above them for connected parts of one predicted class

    Raises:
        LabelQualityError: if the arrays do not fit each other, or hold what they should not

    Example:
        >>> add_missed_objects([[1, 0, 0, 0]], [[0, 0, 0, 0]], np.array([[2, 2, 2, 0]]), min_area=2)
        array([[1, 2, 2, 0]], dtype=int32)
    """
    ids, given = check_segments(segments), _check_integers(labels, "labels")
    seen = _check_integers(predicted.cpu().numpy() if hasattr(predicted, "cpu") else predicted, "predicted")
    check_same_size("segments", ids.shape, "labels", given.shape)
    check_same_size("segments", ids.shape, "predicted", seen.shape)
    least = max(_SMALLEST_SIZE, ids.size // 2_000) if min_area is None else min_area
    missed = (ids == 0) & (seen != given) & (given >= 0)
    parts = connected_parts(missed.astype(np.int32), seen)
    large = np.bincount(parts.ravel()) >= least
    large[0] = False
    parts = renumber(np.where(large[parts], parts, 0)) if large.any() else np.zeros_like(parts)
    return np.where(parts > 0, parts + np.int32(int(ids.max())), ids).astype(np.int32)


def split_by_label(
    segments: npt.ArrayLike, labels: npt.ArrayLike, *, min_area: int = MIN_AREA, connected: bool = True
) -> Segments:
    """Cut superpixels where the given label changes, because a question is about one given class.

    Args:
        segments: (H, W) superpixel ids; 0 = no superpixel
        labels: (H, W) class indices; pixels that are ignored by the same value count as a class of their own
        min_area: a part with fewer pixels joins the neighbour of the same label with which it shares the longest
            border, if it has one; 1 keeps all parts
        connected: whether parts of a superpixel that do not touch become superpixels of their own; not wanted where
            they are of one object that is partly hidden

    Returns:
        (H, W) int32 ids 1..n, each of one label; 0 where there was no superpixel

    Raises:
        LabelQualityError: if the arrays do not fit each other, or hold what they should not

    Example:
        >>> split_by_label(np.array([[1, 1, 1, 2]]), np.array([[0, 0, 5, 5]]), min_area=1)
        array([[1, 1, 2, 3]], dtype=int32)
        >>> split_by_label(np.array([[1, 1, 1, 2]]), np.array([[0, 0, 5, 5]]), min_area=2)
        array([[1, 1, 2, 2]], dtype=int32)
    """
    ids, classes = check_segments(segments, "segments"), _check_integers(labels, "labels")
    check_same_size("segments", ids.shape, "labels", classes.shape)
    if min_area < 1:
        raise LabelQualityError(f"Expected `min_area` of at least 1 pixel, but got {min_area}; 1 keeps all parts.")
    parts = connected_parts(ids, classes) if connected else _pairs(ids, classes)
    return join_slivers(parts, classes, min_area)


def _pairs(ids: Array, classes: Array) -> Segments:
    """Number the pairs of superpixel and label, 0 where there is no superpixel."""
    _, labels = np.unique(classes, return_inverse=True)
    codes = ids.astype(np.int64) * (int(labels.max()) + 1) + labels.reshape(ids.shape)
    return renumber(np.where(ids == 0, 0, np.unique(codes, return_inverse=True)[1].reshape(ids.shape) + 1))


def check_segments(segments: npt.ArrayLike, name: str = "segments") -> Array:
    """Return superpixel ids as a two-dimensional array of integers from 0.

    Args:
        segments: (H, W) ids
        name: what to call them in errors

    Returns:
        the array, not copied where it is one

    Raises:
        LabelQualityError: if it is something else

    Example:
        >>> check_segments([[1, 2]]).shape
        (1, 2)
    """
    ids = _check_integers(segments, name)
    if ids.min() < 0:
        raise LabelQualityError(
            f"Expected ids from 0 in `{name}`, but got {ids.min()}; number superpixels from 1 and gaps 0."
        )
    return ids


def check_same_size(name: str, shape: tuple[int, ...], other_name: str, other: tuple[int, ...]) -> None:
    """Make sure that two arrays show the same image.

    Args:
        name: of the first
        shape: (H, W) of the first
        other_name: of the second
        other: (H, W) of the second

    Raises:
        LabelQualityError: if they differ

    Example:
        >>> check_same_size("segments", (4, 6), "labels", (4, 6))
    """
    if tuple(shape) != tuple(other):
        raise LabelQualityError(
            f"Expected `{name}` and `{other_name}` of the same height and width, but got {tuple(shape)} and "
            f"{tuple(other)}; resize one to the other's size (ids and labels with nearest neighbours)."
        )


def _check_integers(values: npt.ArrayLike, name: str) -> Array:
    array = np.asarray(values)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.ndim != 2 or array.dtype.kind not in "iu" or not array.size:
        raise LabelQualityError(
            f"Expected `{name}` as a (H, W) array of integers, but got shape {array.shape} of {array.dtype}; pass the "
            "ids of one image."
        )
    return array


def _check_image(image: npt.ArrayLike) -> Array:
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise LabelQualityError(
            f"Expected `image` as a (H, W, 3) array of uint8, but got shape {pixels.shape} of {pixels.dtype}; convert "
            'it, for example with `Image.open(path).convert("RGB")`.'
        )
    return pixels


def _check_size(size: int | None, num_pixels: int) -> int:
    if size is None:
        return max(_SMALLEST_SIZE, num_pixels // PER_IMAGE)
    if size < 1:
        raise LabelQualityError(f"Expected `size` of at least 1 pixel per superpixel, but got {size}; leave it out.")
    return int(size)
