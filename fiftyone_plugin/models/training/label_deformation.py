"""Labels bent at random while their images stay: a model then relies less on where exactly a border was drawn.

After NSegment+ (Kim et al. 2025, arXiv 2508.10383), with its published numbers, which are for views of 512 x 512 pixels
and are scaled to others.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from skimage.measure import label as numbered
from torchvision import tv_tensors
from torchvision.transforms import v2

PUBLISHED_SIDE: Final = 512.0
STRENGTHS: Final = (1, 15, 30, 50, 100)
"""Largest displacement before smoothing, in pixels."""
SMOOTHNESSES: Final = (3, 5, 10)
"""Deviation of the smoothing, in pixels."""
SPARED_AREA: Final = 1000
"""Objects up to so many pixels are not bent, nor what is near to them."""
PROBABILITY: Final = 0.5


class LabelDeformation(v2.Transform):
    """Bend masks; images stay as they are.

    Each pixel takes the class of one nearby. The displacements are uniform noise, smoothed; there are none around
    objects that are so small that bending would destroy them.

    Args:
        probability: of bending a mask at all

    Example:
        >>> bend = LabelDeformation(probability=1.0)
        >>> mask = tv_tensors.Mask((torch.arange(128) // 64).repeat(128, 1))
        >>> bent = bend(mask)
        >>> bent.shape, sorted(bent.unique().tolist())
        (torch.Size([128, 128]), [0, 1])
    """

    def __init__(self, probability: float = PROBABILITY) -> None:
        super().__init__()
        self.probability = probability

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw where each pixel takes its class from, by the first mask; None = from itself."""
        mask = next((one for one in flat_inputs if isinstance(one, tv_tensors.Mask)), None)
        draws = torch.rand(3).tolist()  # as many in any case, so that what follows does not depend on them
        if mask is None or draws[0] >= self.probability:
            return {"source": None}
        classes = np.asarray(mask.as_subclass(torch.Tensor)).reshape(-1, *mask.shape[-2:])[0]
        scale = math.sqrt(classes.size) / PUBLISHED_SIDE
        strength = STRENGTHS[int(draws[1] * len(STRENGTHS))]
        smoothness = scale * SMOOTHNESSES[int(draws[2] * len(SMOOTHNESSES))]
        noise = (2 * torch.rand(2, *classes.shape, dtype=torch.float64) - 1).numpy()
        # What smoothing leaves of noise is inverse to its reach, so the noise shrinks by the square of the scale.
        moved = scale**2 * strength * noise
        return {"source": sources(classes, moved, smoothness, scale**2 * SPARED_AREA, scale * strength / 2)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Bend a mask; leave an image."""
        if params["source"] is None or not isinstance(inpt, tv_tensors.Mask):
            return inpt
        rows, columns = params["source"]
        return tv_tensors.wrap(inpt.as_subclass(torch.Tensor)[..., rows, columns], like=inpt)


def sources(
    classes: npt.NDArray[Any], displacements: npt.NDArray[np.float64], smoothness: float, spared: float, margin: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each pixel takes its class from.

    Args:
        classes: (H, W) of a mask
        displacements: (2, H, W) pixels down and to the right, not yet smooth
        smoothness: deviation of the Gaussian that smooths them, in pixels
        spared: objects up to so many pixels stay
        margin: pixels around such an object that are not displaced either, before smoothing

    Returns:
        (H, W) rows and (H, W) columns

    Example:
        >>> rows, columns = sources(np.zeros((2, 2), int), np.ones((2, 2, 2)), 1.0, 0, 0)
        >>> rows.tolist(), columns.tolist()
        ([[1, 1], [1, 1]], [[1, 1], [1, 1]])
    """
    moved = np.where(_small_objects(classes, spared, round(margin)), 0.0, displacements)
    smooth = [ndimage.gaussian_filter(one, smoothness, mode="mirror") for one in moved]
    grid = np.indices(classes.shape)
    found = (
        np.clip(np.rint(places + by), 0, length - 1).astype(np.int64)
        for places, by, length in zip(grid, smooth, classes.shape, strict=True)
    )
    rows, columns = (torch.from_numpy(one) for one in found)
    return rows, columns


def _small_objects(classes: npt.NDArray[Any], spared: float, margin: int) -> npt.NDArray[np.bool_]:
    """The boxes of objects of at most `spared` pixels, `margin` wider on each side."""
    objects = numbered(classes, background=-1, connectivity=2)
    near = np.zeros(classes.shape, np.bool_)
    sizes = np.bincount(objects.reshape(-1))
    for number, box in enumerate(ndimage.find_objects(objects), start=1):
        if box is not None and sizes[number] <= spared:
            near[tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)] = True
    return near
