"""Outlines that are too small or too large in a whole image, as an error of masks with or without a background.

The noise is that of `boundary_noise`, which knows objects on one background. Street scenes have none: there, the
classes that fill a tenth of the image and more are what objects stand on, and an object that is drawn too small leaves
what is nearest to it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ...errors import LabelQualityError
from .boundary_noise import add_boundary_noise
from .errors import InjectedError

OutlineKind = Literal["erode_all", "dilate_all"]

#: What each kind does, one sentence each, for forms and reports.
OUTLINE_KINDS: dict[str, str] = {
    "erode_all": "All objects are drawn too small, small and large ones by the same share.",
    "dilate_all": "All objects are drawn too large, small and large ones by the same share.",
}

_BACKDROP_SHARE = 0.1
_BACKDROP, _IGNORED = -1, -2


def redraw_outlines(
    mask: npt.ArrayLike,
    kind: OutlineKind,
    rng: np.random.Generator,
    *,
    class_ids: Sequence[int] | None = None,
    ignore_index: int | Collection[int] | None = 255,
    background: int | None = None,
    steps: Sequence[int] = (2, 3, 4),
    area: int = 1000,
) -> InjectedError | None:
    """Draw all objects of a mask too small, or all of them too large.

    Args:
        mask: (H, W) integers
        kind: key of `OUTLINE_KINDS`
        rng: decides how far; the same state gives the same error
        class_ids: mask values that are classes; all values of the mask that are not ignored if None
        ignore_index: value or values of pixels that never change
        background: class that objects stand on; None = those that fill a tenth of the labelled image and more
        steps: numbers of erosions or dilations by 3 x 3 pixels to choose from
        area: pixels that a class has at the scale at which it is eroded or dilated

    Returns:
        the error; None where the mask has no objects, or nothing that they stand on

    Raises:
        LabelQualityError: an unknown kind, or no mask

    Example:
        >>> mask = np.zeros((64, 64), np.uint8)
        >>> mask[24:36, 24:36] = 1
        >>> error = redraw_outlines(mask, "erode_all", np.random.default_rng(0), steps=[3])
        >>> error.kind, int((mask == 1).sum()), int((error.mask == 1).sum())
        ('erode_all', 144, 100)
    """
    if kind not in OUTLINE_KINDS:
        raise LabelQualityError(f"Expected `kind` among {list(OUTLINE_KINDS)}, but got {kind!r}.")
    original = np.asarray(mask)
    known = _known(original, class_ids, ignore_index)
    values, counts = np.unique(original[known], return_counts=True)
    stood_on = values == background if background is not None else counts >= _BACKDROP_SHARE * counts.sum()
    if not stood_on.any() or stood_on.all():
        return None
    backdrop = known & np.isin(original, values[stood_on])
    flat = original.astype(np.int64)  # first: NumPy would squeeze -1 into an unsigned type as 255
    flat[backdrop], flat[~known] = _BACKDROP, _IGNORED
    noisy = add_boundary_noise(
        flat, rng, classes=values[~stood_on].tolist(), background=_BACKDROP, area=area, steps=steps,
        modes=["under" if kind == "erode_all" else "over"], ignore_index=_IGNORED,
    )  # fmt: skip
    nearest = ndimage.distance_transform_edt(~backdrop, return_distances=False, return_indices=True)
    left = np.where(backdrop, original, original[tuple(nearest)])
    new = np.where(known, np.where(noisy.mask == _BACKDROP, left, noisy.mask), original).astype(original.dtype)
    changed = new != original
    if not changed.any():
        return None
    how = "small" if kind == "erode_all" else "large"
    text = f"all objects drawn too {how}: {int(changed.sum())} pixels, {noisy.steps} steps"
    return InjectedError(new, changed, kind, _most(new[changed]), _most(original[changed]), text)


def _known(
    mask: npt.NDArray[np.integer], class_ids: Sequence[int] | None, ignore_index: int | Collection[int] | None
) -> npt.NDArray[np.bool_]:
    ignored = [] if ignore_index is None else [ignore_index] if isinstance(ignore_index, int) else list(ignore_index)
    known = ~np.isin(mask, ignored)
    return known if class_ids is None else known & np.isin(mask, list(class_ids))


def _most(values: npt.NDArray[np.integer]) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])
