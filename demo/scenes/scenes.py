"""Street scenes rendered from nothing, with a label for every pixel.

A scene is a small world in metres (a road between two pavements, houses, trees, poles, cars, people) seen
through a pinhole camera, so that sizes, overlaps and positions are those of a street. Colours overlap between
the classes on purpose (grey sky, grey walls, grey asphalt, grey cars), and light, haze and noise differ from
scene to scene: a model has to look at shape and place, as with photographs. Nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo.scenes.actors import paint_things
from demo.scenes.backdrop import Street, paint_buildings, paint_ground, paint_sky, paint_skyline
from demo.scenes.canvas import Canvas
from demo.scenes.scene_classes import SCENE_CLASSES, SCENE_COLORS, SKY, VOID

__all__ = ["SCENE_CLASSES", "SCENE_COLORS", "VOID", "Scene", "render_scene"]


@dataclass(frozen=True)
class Scene:
    """A rendered image and its label.

    Attributes:
        image: (H, W, 3) uint8 RGB
        mask: (H, W) uint8 mask values, keys of `SCENE_CLASSES` or `VOID`
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]


def render_scene(seed: int, size: tuple[int, int] = (192, 256), *, void_border: int = 0) -> Scene:
    """Render a street scene and its label.

    Args:
        seed: which scene; the same seed and size give the same pixels everywhere
        size: height and width in pixels, each at least 64
        void_border: width in pixels of the band of `VOID` on each side of an edge between two classes, as in
            PASCAL VOC; 0 for none

    Returns:
        the image and its label

    Raises:
        ValueError: if `seed` or `void_border` is negative or `size` is too small to show a street

    Example:
        >>> scene = render_scene(7, size=(96, 128))
        >>> scene.image.shape, scene.mask.shape, scene.image.dtype
        ((96, 128, 3), (96, 128), dtype('uint8'))
        >>> sorted(SCENE_CLASSES[value] for value in set(scene.mask.flat))[:3]
        ['building', 'car', 'pavement']
    """
    height, width = size
    if height < 64 or width < 64:
        raise ValueError(f"Expected `size` of at least (64, 64) pixels, but got {size}; ask for a larger image.")
    if seed < 0:
        raise ValueError(f"Expected a `seed` of at least 0, but got {seed}.")
    if void_border < 0:
        raise ValueError(f"Expected a `void_border` of at least 0 pixels, but got {void_border}; 0 means none.")
    rng = np.random.default_rng(seed)
    canvas = Canvas.blank(rng, size, SKY)
    street = Street.invent(rng)
    paint_sky(canvas, rng)
    paint_ground(canvas, street, rng)
    paint_skyline(canvas, street, rng)
    paint_buildings(canvas, street, rng)
    paint_things(canvas, street, rng)
    image, mask = canvas.develop(rng)
    if void_border:
        mask[_near_edges(mask, void_border)] = VOID
    return Scene(image, mask)


def _near_edges(mask: npt.NDArray[np.uint8], reach: int) -> npt.NDArray[np.bool_]:
    """Return the pixels at most `reach` - 1 pixels (city blocks) from a pixel of another class."""
    edge = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        differs = np.diff(mask.astype(np.int16), axis=axis) != 0
        before = [(0, 0), (0, 0)]
        after = [(0, 0), (0, 0)]
        before[axis], after[axis] = (1, 0), (0, 1)
        edge |= np.pad(differs, before) | np.pad(differs, after)
    for _ in range(reach - 1):
        padded = np.pad(edge, 1)
        edge = edge | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return edge
