"""Which axis of an array of scores is the classes: told by the shape of the image, never by stretching one."""

from __future__ import annotations

import math
from collections.abc import Sequence

Size = tuple[int, int]

FIRST = "first"
LAST = "last"


def fits(size: Sequence[int], image: Size) -> bool:
    """Whether a map has the shape of an image, at the same or at another resolution.

    Args:
        size: (height, width) of the map
        image: (height, width) of the image

    Returns:
        whether one factor, and both sides rounded up, down or to the nearest, makes the one of the other

    Example:
        >>> fits((12, 16), (480, 640)), fits((16, 3), (480, 640)), fits((63, 84), (500, 667))
        (True, False, True)
    """
    sides = [(int(side), int(whole)) for side, whole in zip(size, image, strict=True)]
    if min(side for side, _ in sides) < 1:
        return False
    for below, above in ((0.0, 1.0), (1.0, 0.0), (0.5, 0.5)):
        smallest = max(whole / (side + above) for side, whole in sides)
        largest = min(whole / (side - below) if side > below else math.inf for side, whole in sides)
        if smallest < largest - 1e-9:
            return True
    return False


def _closeness(size: Sequence[int], image: Size) -> int:
    """How surely a map is one of an image: 3 of its size, 2 of it divided or multiplied, 1 of its shape, else 0."""
    height, width = int(size[0]), int(size[1])
    if (height, width) == tuple(image):
        return 3
    if not fits(size, image):
        return 0
    whole = height * image[1] == width * image[0] and (image[0] % height == 0 or height % image[0] == 0)
    return 2 if whole else 1


def class_axis(shape: Sequence[int], image: Size | None, num_classes: int | None = None) -> str | None:
    """Tell whether three axes are (classes, height, width) or (height, width, classes).

    Args:
        shape: three sizes
        image: (height, width) of the image; None if it is not known
        num_classes: if it is known

    Returns:
        "first" or "last"; "" if both are as likely; None if neither fits the image

    Example:
        >>> class_axis((3, 48, 64), (48, 64)), class_axis((48, 64, 3), (48, 64)), class_axis((3, 64, 64), (48, 64))
        ('first', 'last', None)
    """
    count = None if num_classes is None else {num_classes, 1 if num_classes == 2 else num_classes}
    if image is None:
        if count is None or (shape[0] in count) == (shape[2] in count):
            return FIRST
        return FIRST if shape[0] in count else LAST
    first, last = _closeness(shape[1:], image), _closeness(shape[:2], image)
    if not first and not last:
        return None
    if first and last and count is not None and (shape[0] in count) != (shape[2] in count):
        return FIRST if shape[0] in count else LAST
    if first == last:
        return ""
    return FIRST if first > last else LAST


def without_single_axes(shape: Sequence[int], image: Size | None) -> tuple[int, ...] | None:
    """Choose which axes of length 1 to drop so that three are left: (K, 1, H, W), (1, K, H, W), (1, H, W, K) ...

    Args:
        shape: any number of sizes
        image: (height, width) of the image, if it is known

    Returns:
        the axes to keep, at most three; None if more than three are longer than 1

    Example:
        >>> without_single_axes((3, 1, 48, 64), (48, 64))
        (0, 2, 3)
    """
    if len(shape) <= 3:
        return tuple(range(len(shape)))
    kept = [axis for axis, length in enumerate(shape) if length != 1]
    if len(kept) > 3:
        return None
    singles = [axis for axis, length in enumerate(shape) if length == 1]
    choices = [tuple(sorted([*kept, *singles[place:][: 3 - len(kept)]])) for place in range(len(singles))]
    good = [axes for axes in choices if len(axes) == 3]
    if not kept or not good:
        return good[0] if good else None
    fitting = [axes for axes in good if class_axis([shape[axis] for axis in axes], image)]
    return (fitting or good)[0]
