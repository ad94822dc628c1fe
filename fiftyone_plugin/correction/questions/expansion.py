"""How far an answer about a representative pixel reaches: all of its superpixel, or only the part that is like it."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ...quality.pixels.inputs import is_tensor
from ..superpixels.methods import MIN_AREA, check_same_size
from .candidates import expansion_set

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

EXPANSIONS: Final = ("superpixel", "similar", "doubted")


def expand(
    region: npt.ArrayLike,
    labels: npt.ArrayLike,
    predictions: object,
    representative: tuple[int, int],
    mode: Literal["superpixel", "similar", "doubted"] = "superpixel",
    *,
    threshold: float = 0.9,
    min_area: int = MIN_AREA,
) -> Mask:
    """Tell which pixels of a superpixel an answer changes.

    Args:
        region: (H, W) bool, the superpixel
        labels: (H, W) given classes
        predictions: (K, H, W) probabilities, NumPy or torch; for "doubted" the (H, W) predicted classes will do, and
            "superpixel" does not look at them
        representative: (row, column) of the representative pixel
        mode: "superpixel" for all of it; "similar" for pixels whose probabilities have a cosine of at least `threshold`
            with those of the representative pixel (Kim et al. 2024, the expansion set); "doubted" for the part that is
            not predicted as it is labelled, without specks. Where the representative pixel is not in that part, all of
            the superpixel
        threshold: for "similar"
        min_area: for "doubted": smaller specks and holes are filled in

    Returns:
        (H, W) bool; within the region, and the representative pixel is in it

    Raises:
        LabelQualityError: if the arrays do not fit, the pixel is not in the region, the mode is unknown or needs
            probabilities

    Example:
        >>> probs = np.array([[[0.1, 0.1, 0.9]], [[0.9, 0.9, 0.1]]])
        >>> expand([[True] * 3], [[0] * 3], probs, (0, 0), "similar")
        array([[ True,  True, False]])
    """
    mask = np.asarray(region, np.bool_)
    given = np.asarray(labels)
    check_same_size("region", mask.shape, "labels", given.shape)
    place = _check_place(mask, representative)
    if mode not in EXPANSIONS:
        raise LabelQualityError(f"Expected `mode` out of {', '.join(EXPANSIONS)}, but got {mode!r}; pass one of them.")
    if mode == "superpixel":
        return mask.copy()
    values = np.asarray(predictions.detach().cpu() if is_tensor(predictions) else predictions)
    check_same_size("predictions", values.shape[-2:], "region", mask.shape)
    if mode == "similar":
        return _similar(mask, values, place, threshold)
    return _doubted(mask, given != (values.argmax(axis=0) if values.ndim == 3 else values), place, min_area)


def _check_place(mask: Mask, representative: tuple[int, int]) -> tuple[int, int]:
    row, column = (int(number) for number in representative)
    inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
    if not inside or not mask[row, column]:
        raise LabelQualityError(
            f"Expected the representative pixel to be in the region, but got row {row}, column {column} for a region "
            f"of {int(mask.sum())} pixels of {mask.shape[0]}x{mask.shape[1]}; pass row before column, in the same crop."
        )
    return row, column


def _similar(mask: Mask, probs: Array, place: tuple[int, int], threshold: float) -> Mask:
    if probs.ndim != 3:
        raise LabelQualityError(
            f'Expected probabilities of shape (K, H, W) for mode "similar", but got {probs.shape}; predicted classes '
            'are enough for "doubted" only.'
        )
    number = int(mask[: place[0]].sum() + mask[place[0], : place[1]].sum())
    alike = np.zeros_like(mask)
    alike[mask] = expansion_set(probs[:, mask].T, number, threshold)
    return alike


def _doubted(mask: Mask, differs: Mask, place: tuple[int, int], min_area: int) -> Mask:
    part = mask & differs
    if not part[place]:
        return mask.copy()
    cleaned = _without_specks(part, mask, min_area)
    return cleaned if cleaned[place] else part


def _without_specks(part: Mask, mask: Mask, min_area: int) -> Mask:
    """Open a part, as if it went on outside of the mask, and drop specks and holes below an area."""
    from scipy.ndimage import binary_dilation, binary_erosion
    from skimage.morphology import label

    opened = binary_dilation(binary_erosion(part | ~mask, border_value=1)) & mask
    for wanted in (True, False):
        pieces = label((opened == wanted) & mask, connectivity=1)
        small = np.bincount(pieces.ravel()) < min_area
        small[0] = False
        opened = opened ^ small[pieces]
    return np.asarray(opened)
