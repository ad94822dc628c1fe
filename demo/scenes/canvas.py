"""A pinhole camera and the sheet that it draws on: faces of a world in metres become labelled pixels.

The same drawing gives the same pixels on any processor: polygons are filled by exact integer tests, textures
and noise are made of integers, and only addition, multiplication and division, which IEEE 754 fixes to the
last bit, touch a float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_OVERSAMPLING = 2  # drawn twice as large and averaged, which is what softens the edges of the image
_NEAREST = 0.5  # metres in front of the camera; anything closer is drawn as if it were there
HAZE_HALVES = 140.0  # metres after which half of a colour is that of the air

Colour = tuple[int, int, int]
Point = tuple[float, float, float]  # metres: right of the camera, up from the ground, ahead
Quad = tuple[Point, Point, Point, Point]  # counter-clockwise from bottom left, seen from outside
Region = tuple[slice, slice, npt.NDArray[np.bool_]]


_LIGHTS: list[Colour] = [  # per cent of each channel
    (100, 100, 100),
    (105, 100, 93),
    (95, 99, 106),
    (108, 100, 88),
    (86, 89, 96),
]


class Material(NamedTuple):
    """How a surface looks: its class, its colour, and how strongly fine grain and soft blotches vary it."""

    label: int
    colour: Colour
    grain: int = 6
    mottle: int = 10


@dataclass(frozen=True)
class Canvas:
    """The picture and its labels while they are painted, and the camera that sees the world."""

    image: npt.NDArray[np.int32]  # (H, W, 3), oversampled, still without light and noise
    mask: npt.NDArray[np.uint8]  # (H, W), oversampled
    grain: npt.NDArray[np.int32]  # (H, W) in [-128, 127]
    mottle: npt.NDArray[np.int32]  # (H, W) in [-128, 128], smooth
    focal: float  # pixels
    horizon: float  # row of the horizon
    centre: float  # column of the vanishing point
    eye: float  # height of the camera in metres
    haze: Colour

    @classmethod
    def blank(cls, rng: np.random.Generator, size: tuple[int, int], label: int) -> Canvas:
        """Set up the camera and the textures of a scene of a final size, all of it with one label."""
        height, width = size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING
        return cls(
            image=np.zeros((height, width, 3), np.int32),
            mask=np.full((height, width), label, np.uint8),
            grain=rng.integers(-128, 128, (height, width), dtype=np.int32),
            mottle=smooth_noise(rng, (height, width), (48, 16, 6)),
            focal=min(height * 1.05, width * 0.8) * rng.uniform(0.95, 1.15),
            horizon=height * rng.uniform(0.42, 0.54),
            centre=width * rng.uniform(0.42, 0.58),
            eye=rng.uniform(1.8, 2.6),
            haze=any_of(rng, [(196, 204, 214), (206, 202, 196), (182, 192, 206)]),
        )

    def project(self, point: Point) -> tuple[int, int]:
        """Return the column and row at which a point of the world is seen."""
        right, up, ahead = point
        scale = self.focal / max(ahead, _NEAREST)
        return round(self.centre + right * scale), round(self.horizon + (self.eye - up) * scale)

    def pixels(self, metres: float, ahead: float) -> float:
        """Return how many pixels a length has at a distance."""
        return metres * self.focal / max(ahead, _NEAREST)

    def hazy(self, colour: Colour, ahead: float) -> Colour:
        """Return the colour as it looks through the air at a distance."""
        share = ahead / (ahead + HAZE_HALVES)
        red, green, blue = (round(c + (h - c) * share) for c, h in zip(colour, self.haze, strict=True))
        return red, green, blue

    def fill(self, region: Region | None, material: Material, ahead: float = 0.0) -> None:
        """Paint a region of the picture with a material."""
        if region is None:
            return
        rows, columns, inside = region
        texture = self.grain[rows, columns] * material.grain + self.mottle[rows, columns] * material.mottle
        colour = np.array(self.hazy(material.colour, ahead), np.int32)
        surface = colour + (texture >> 7)[..., None]
        self.image[rows, columns] = np.where(inside[..., None], surface, self.image[rows, columns])
        self.mask[rows, columns] = np.where(inside, np.uint8(material.label), self.mask[rows, columns])

    def shade(self, region: Region | None, percent: int) -> None:
        """Darken (or brighten, above 100) a region without changing its label."""
        if region is None:
            return
        rows, columns, inside = region
        seen = self.image[rows, columns]
        self.image[rows, columns] = np.where(inside[..., None], seen * percent // 100, seen)

    def fill_quad(self, quad: Sequence[Point], material: Material) -> bool:
        """Paint a flat convex face of the world if it can be seen from outside; say whether it can."""
        corners = [self.project(point) for point in quad]
        if _signed_area(corners) >= 0:  # rows grow downwards: counter-clockwise is negative
            return False
        ahead = sum(point[2] for point in quad) / len(quad)
        self.fill(convex_region(self.mask.shape, corners), material, ahead)
        return True

    def develop(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Add the light and the noise of the day and reduce to the final size."""
        height, width = self.mask.shape
        shape = (height // _OVERSAMPLING, _OVERSAMPLING, width // _OVERSAMPLING, _OVERSAMPLING, 3)
        image = np.clip(self.image, 0, 255).reshape(shape).sum(axis=(1, 3)) * 64  # 1/256 of a grey level
        light = any_of(rng, _LIGHTS)
        exposure = int(rng.integers(92, 118))
        tint = np.array([channel * exposure // 100 for channel in light], np.int64)
        lifted = image.astype(np.int64) * tint // 100 + int(rng.integers(0, 14)) * 256
        strength = int(rng.integers(2, 9))
        noise = rng.integers(-256, 257, (2, *image.shape), dtype=np.int64).sum(axis=0) * strength // 2
        picture = np.clip((lifted + noise) >> 8, 0, 255).astype(np.uint8)
        return picture, np.ascontiguousarray(self.mask[::_OVERSAMPLING, ::_OVERSAMPLING])


def _signed_area(corners: Sequence[tuple[int, int]]) -> int:
    pairs = zip(corners, [*corners[1:], corners[0]], strict=True)
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)


def _window(shape: tuple[int, ...], left: int, top: int, right: int, bottom: int) -> tuple[slice, slice] | None:
    """Return the part of the picture inside a box with inclusive bounds, None where they do not meet."""
    top, bottom = max(top, 0), min(bottom + 1, shape[0])
    left, right = max(left, 0), min(right + 1, shape[1])
    if top >= bottom or left >= right:
        return None
    return slice(top, bottom), slice(left, right)


def _grid(rows: slice, columns: slice) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return np.arange(rows.start, rows.stop)[:, None], np.arange(columns.start, columns.stop)[None, :]


def convex_region(shape: tuple[int, ...], corners: Sequence[tuple[int, int]]) -> Region | None:
    """Return the pixels of a convex polygon; exact, because corners and tests are integers.

    Args:
        shape: height and width of the picture
        corners: (column, row) of each corner, in either sense of rotation

    Returns:
        rows, columns and pixels of the part of the picture that holds it, None if none does

    Example:
        >>> rows, columns, inside = convex_region((4, 4), [(0, 0), (2, 0), (0, 2)])
        >>> inside.astype(int)
        array([[1, 1, 1],
               [1, 1, 0],
               [1, 0, 0]])
    """
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    window = _window(shape, min(xs), min(ys), max(xs), max(ys))
    if window is None:
        return None
    row, column = _grid(*window)
    turn = 1 if _signed_area(corners) >= 0 else -1
    inside = np.ones(np.broadcast_shapes(row.shape, column.shape), bool)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        inside &= turn * ((x1 - x0) * (row - y0) - (y1 - y0) * (column - x0)) >= 0
    return *window, inside


def ellipse_region(shape: tuple[int, ...], x: int, y: int, across: int, down: int) -> Region | None:
    """Return the pixels of an axis-parallel ellipse.

    Args:
        shape: height and width of the picture
        x: column of the centre
        y: row of the centre
        across: half axis along the columns, in pixels
        down: half axis along the rows, in pixels

    Returns:
        rows, columns and pixels of the part of the picture that holds it, None if none does

    Example:
        >>> ellipse_region((9, 9), 1, 1, 2, 1)[2].astype(int)
        array([[0, 1, 0, 0],
               [1, 1, 1, 1],
               [0, 1, 0, 0]])
    """
    across, down = max(across, 1), max(down, 1)
    window = _window(shape, x - across, y - down, x + across, y + down)
    if window is None:
        return None
    row, column = _grid(*window)
    return *window, ((column - x) * down) ** 2 + ((row - y) * across) ** 2 <= (across * down) ** 2


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], cells: Sequence[int]) -> npt.NDArray[np.int32]:
    """Return integer noise with blotches.

    Args:
        rng: where the noise comes from
        shape: height and width
        cells: size of the blotches in pixels; several are added

    Returns:
        (H, W) values in [-128, 128]

    Example:
        >>> noise = smooth_noise(np.random.default_rng(0), (5, 7), (4,))
        >>> noise.shape, bool(abs(noise).max() <= 128)
        ((5, 7), True)
    """
    height, width = shape
    total = np.zeros((height, width), np.int64)
    for cell in cells:
        coarse = rng.integers(-128, 128, (height // cell + 3, width // cell + 3), dtype=np.int64)
        wide = np.repeat(np.repeat(coarse, cell, axis=0), cell, axis=1)
        total += _box_mean(_box_mean(wide, cell, 0), cell, 1)[:height, :width]
    return np.clip(total, -128, 128).astype(np.int32)


def _box_mean(values: npt.NDArray[np.int64], length: int, axis: int) -> npt.NDArray[np.int64]:
    """Return running means over `length` integers; the axis becomes `length` shorter."""
    sums = np.cumsum(values, axis=axis)
    later, earlier = [slice(None)] * 2, [slice(None)] * 2
    later[axis], earlier[axis] = slice(length, None), slice(None, -length)
    return (sums[tuple(later)] - sums[tuple(earlier)]) // length


def scaled(colour: Colour, percent: int) -> Colour:
    """Return the colour in more or less light.

    Example:
        >>> scaled((200, 100, 50), 50)
        (100, 50, 25)
    """
    red, green, blue = (c * percent // 100 for c in colour)
    return red, green, blue


def patch(quad: Quad, left: float, bottom: float, right: float, top: float) -> Quad:
    """Return the part of a face between shares, from 0 to 1, of its width and height.

    Example:
        >>> patch(((0, 0, 5), (4, 0, 5), (4, 2, 5), (0, 2, 5)), 0.25, 0.5, 0.75, 1.0)
        ((1.0, 1.0, 5.0), (3.0, 1.0, 5.0), (3.0, 2.0, 5.0), (1.0, 2.0, 5.0))
    """

    def at(across: float, up: float) -> Point:
        low = [a + (b - a) * across for a, b in zip(quad[0], quad[1], strict=True)]
        high = [a + (b - a) * across for a, b in zip(quad[3], quad[2], strict=True)]
        x, y, z = (a + (b - a) * up for a, b in zip(low, high, strict=True))
        return x, y, z

    return at(left, bottom), at(right, bottom), at(right, top), at(left, top)


class Box(NamedTuple):
    """The four upright faces and the top of a box whose top may be smaller than its bottom."""

    front: Quad  # towards the camera
    back: Quad
    left: Quad
    right: Quad
    top: Quad


def make_box(
    x: tuple[float, float],
    y: tuple[float, float],
    z: tuple[float, float],
    inset: tuple[float, float] = (0.0, 0.0),
) -> Box:
    """Return a box in the world.

    Args:
        x: where it begins and ends, in metres to the right
        y: where it begins and ends, in metres up
        z: where it begins and ends, in metres ahead
        inset: how much smaller the top is on each side, along x and along z

    Returns:
        its faces

    Example:
        >>> make_box((-1, 1), (0, 2), (5, 9)).front
        ((-1, 0, 5), (1, 0, 5), (1.0, 2, 5.0), (-1.0, 2, 5.0))
    """
    (x0, x1), (y0, y1), (z0, z1) = x, y, z
    a0, a1, c0, c1 = x0 + inset[0], x1 - inset[0], z0 + inset[1], z1 - inset[1]
    return Box(
        front=((x0, y0, z0), (x1, y0, z0), (a1, y1, c0), (a0, y1, c0)),
        back=((x1, y0, z1), (x0, y0, z1), (a0, y1, c1), (a1, y1, c1)),
        left=((x0, y0, z1), (x0, y0, z0), (a0, y1, c0), (a0, y1, c1)),
        right=((x1, y0, z0), (x1, y0, z1), (a1, y1, c1), (a1, y1, c0)),
        top=((a0, y1, c0), (a1, y1, c0), (a1, y1, c1), (a0, y1, c1)),
    )


def any_of(rng: np.random.Generator, choices: Sequence[Colour]) -> Colour:
    """Return one of the colours.

    Example:
        >>> any_of(np.random.default_rng(0), [(1, 2, 3)])
        (1, 2, 3)
    """
    return choices[int(rng.integers(len(choices)))]


def varied(rng: np.random.Generator, colour: Colour, amount: int = 14) -> Colour:
    """Return the colour, up to `amount` grey levels lighter or darker and half as much warmer or colder.

    Example:
        >>> varied(np.random.default_rng(0), (100, 100, 100), amount=0)
        (100, 100, 100)
    """
    together = int(rng.integers(-amount, amount + 1))
    red, green, blue = (c + together + int(rng.integers(-amount // 2, amount // 2 + 1)) for c in colour)
    return red, green, blue
