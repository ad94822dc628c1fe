"""Outlines that are too small or too large throughout an image: the label noise of ADELE's SegTHOR experiment.

After Liu et al., "Adaptive Early-Learning Correction for Segmentation from Noisy Annotations" (CVPR 2022,
arXiv 2110.03740) and the generator of their code: every class of an image is eroded, or every class is dilated,
at a scale at which it has about 1000 pixels, so that small and large structures suffer alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ...errors import LabelQualityError

Mask = npt.NDArray[np.integer]
Pixels = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float64]
Mode = Literal["under", "over"]

#: The order in which the experiment treated its classes: esophagus, trachea, aorta, heart.
SEGTHOR_CLASSES = (1, 3, 4, 2)

_SQUARE = np.ones((3, 3), bool)
_CUBIC = -0.75  # sharpness of the cubic kernel, as in OpenCV
_REACH = 2  # pixels that the cubic kernel looks to either side
_TIE = 1e-6  # a half rounds to 0


@dataclass(frozen=True, eq=False)
class BoundaryNoise:
    """A mask whose outlines are wrong, and what was done to it.

    Args:
        mask: (H, W) the noisy copy, of the same dtype as the original
        changed: (H, W) bool, True where it differs from the original
        mode: "under" = drawn too small, "over" = drawn too large
        steps: erosions or dilations
    """

    mask: Mask
    changed: Pixels
    mode: Mode
    steps: int


def add_boundary_noise(
    mask: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    classes: Sequence[int] | None = None,
    background: int = 0,
    area: int = 1000,
    steps: Sequence[int] = (2, 3, 4),
    modes: Sequence[Mode] = ("under", "over"),
    ignore_index: int | None = 255,
) -> BoundaryNoise:
    """Draw all classes of a mask too small, or all of them too large.

    Too small: pixels that erosion takes away become background. Too large: dilation grows into background only,
    so that an earlier class keeps what it took.

    Args:
        mask: (H, W) integers
        rng: decides mode and steps; the same state gives the same noise. `np.random.default_rng((seed, index))`
            gives each image of a data set its own
        classes: those that are changed, in this order; None = all but background, ascending.
            The experiment's order was `SEGTHOR_CLASSES`
        background: value of what is none of the classes
        area: pixels that a class has at the scale at which it is eroded or dilated
        steps: numbers of erosions or dilations by 3 x 3 pixels to choose from
        modes: what to choose from
        ignore_index: value of pixels that never change; None = there are none

    Returns:
        the noisy mask; where no class is in the mask, an unchanged copy

    Raises:
        LabelQualityError: not a 2D array of integers, or nothing to choose from

    Example:
        >>> mask = np.zeros((64, 64), np.uint8)
        >>> mask[16:48, 16:48] = 1
        >>> noisy = add_boundary_noise(mask, np.random.default_rng(0), modes=["under"], steps=[3])
        >>> int((mask == 1).sum()), int((noisy.mask == 1).sum()), int(noisy.changed.sum())
        (1024, 676, 348)
    """
    original = np.asarray(mask)
    if original.ndim != 2 or original.dtype.kind not in "iu":
        raise LabelQualityError(
            f"Expected a mask of two axes of integers, but got shape {original.shape} and dtype {original.dtype}."
        )
    if not len(steps) or min(steps) < 1 or not len(modes) or set(modes) - {"under", "over"} or area < 1:
        raise LabelQualityError(
            "Expected `steps` of at least 1, `modes` among 'under' and 'over' and an `area` of at least 1, but got "
            f"{list(steps)}, {list(modes)} and {area}."
        )
    mode = modes[int(rng.integers(len(modes)))]
    count = int(steps[int(rng.integers(len(steps)))])
    kept = np.zeros(original.shape, bool) if ignore_index is None else original == ignore_index
    noisy = original.copy()
    for value in _order(original, classes, background, ignore_index):
        members = noisy == value
        moved = _moved(members, mode, count, area) & ~kept
        if mode == "under":
            noisy[(moved != members) & ~kept] = background
        else:
            noisy[moved & (noisy == background)] = value
    return BoundaryNoise(noisy, noisy != original, mode, count)


def noisy_masks(
    masks: Sequence[npt.ArrayLike], seed: int = 0, level: float = 1.0, **options: object
) -> list[BoundaryNoise | None]:
    """Give a share of some masks boundary noise; a seed is one realisation of it.

    Args:
        masks: (H, W) integers each
        seed: decides which masks, modes and steps
        level: share of the masks that become noisy; 1 in the experiment
        options: of `add_boundary_noise`

    Returns:
        the noise of each mask, None for those that stay clean

    Raises:
        LabelQualityError: `level` is no share

    Example:
        >>> masks = [np.eye(8, dtype=np.uint8)] * 4
        >>> [noise is None for noise in noisy_masks(masks, seed=0, level=0.5)].count(True)
        2
    """
    if not 0 <= level <= 1:
        raise LabelQualityError(f"Expected `level` between 0 and 1, but got {level}; 1 makes every mask noisy.")
    chosen = set(np.random.default_rng(seed).permutation(len(masks))[: round(level * len(masks))].tolist())
    return [
        add_boundary_noise(mask, np.random.default_rng((seed, index)), **options) if index in chosen else None  # type: ignore[arg-type]
        for index, mask in enumerate(masks)
    ]


def _order(mask: Mask, classes: Sequence[int] | None, background: int, ignore_index: int | None) -> list[int]:
    present = np.unique(mask).tolist()
    wanted = present if classes is None else [int(value) for value in classes]
    return [value for value in wanted if value in present and value not in (background, ignore_index)]


def _moved(members: Pixels, mode: Mode, steps: int, area: int) -> Pixels:
    """Erode or dilate a class at the scale at which it has `area` pixels."""
    if not members.any():  # an earlier class may have taken everything
        return members
    ratio = np.sqrt(area / members.sum())
    height, width = members.shape
    tall, wide = max(1, round(height * ratio)), max(1, round(width * ratio))
    # all that happens lies around the class: the rest of the rescaled mask is never made
    rows = _window(members.sum(1) > 0, tall, steps)
    columns = _window(members.sum(0) > 0, wide, steps)
    rescaled = _resized(members, _cubic(height, tall)[rows], _cubic(width, wide)[columns])
    if mode == "under":
        changed = ndimage.binary_erosion(rescaled, _SQUARE, steps, border_value=1)
    else:
        changed = ndimage.binary_dilation(rescaled, _SQUARE, steps)
    return _resized(changed, _cubic(tall, height)[:, rows], _cubic(wide, width)[:, columns])


def _window(occupied: Pixels, length: int, steps: int) -> slice:
    """Return the rescaled rows that a class and its margins can reach."""
    places = np.flatnonzero(occupied)
    scale = length / len(occupied)
    margin = steps + 2
    first = int(np.floor((places[0] - _REACH) * scale)) - margin
    last = int(np.ceil((places[-1] + 1 + _REACH) * scale)) + margin
    return slice(max(0, first), min(length, last))


def _resized(pixels: Pixels, down: Weights, across: Weights) -> Pixels:
    """Interpolate both axes; what rounds to 1 belongs to the class, as with images of 8 bits."""
    return down @ pixels.astype(float) @ across.T > 0.5 + _TIE


def _cubic(old: int, new: int) -> Weights:
    """Return the (new, old) weights of cubic convolution (Keys 1981) with repeated borders."""
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    base = np.floor(centres).astype(int)
    weights = np.zeros((new, old))
    for offset in range(-1, 3):
        distance = np.abs(centres - (base + offset))
        near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
        far = ((_CUBIC * distance - 5 * _CUBIC) * distance + 8 * _CUBIC) * distance - 4 * _CUBIC
        values = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
        np.add.at(weights, (np.arange(new), np.clip(base + offset, 0, old - 1)), values)
    return weights
