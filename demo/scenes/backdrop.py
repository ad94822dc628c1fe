"""What does not move in a street scene: the sky, the ground and the houses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from demo.scenes.canvas import (
    HAZE_HALVES,
    Canvas,
    Colour,
    Material,
    Point,
    Quad,
    any_of,
    convex_region,
    ellipse_region,
    make_box,
    patch,
    scaled,
    smooth_noise,
    varied,
)
from demo.scenes.scene_classes import BUILDING, PAVEMENT, ROAD, TREE

_STREET_END = 85.0  # metres


@dataclass(frozen=True)
class Street:
    """Where the kerbs and the houses are."""

    left: float  # metres from the camera to the left kerb, negative
    right: float  # to the right kerb
    pavement: float  # width of each pavement

    @classmethod
    def invent(cls, rng: np.random.Generator) -> Street:
        """Choose the width of the street and the camera's place on it."""
        width = rng.uniform(7.0, 10.5)
        offset = rng.uniform(-0.28, 0.28) * width
        return cls(left=-width / 2 + offset, right=width / 2 + offset, pavement=rng.uniform(2.6, 5.0))

    def kerb(self, side: int) -> float:
        """Return where the kerb of a side (-1 left, 1 right) is."""
        return self.left if side < 0 else self.right

    def wall(self, side: int) -> float:
        """Return where the buildings of a side begin."""
        return self.kerb(side) + side * self.pavement


_SKIES: list[tuple[Colour, Colour]] = [  # above, at the horizon
    ((86, 138, 206), (186, 208, 232)),
    ((104, 152, 212), (206, 220, 234)),
    ((118, 156, 204), (214, 220, 226)),
    ((158, 168, 182), (206, 212, 220)),  # overcast: the grey of some walls and cars
    ((112, 124, 164), (232, 196, 158)),  # evening
]


def paint_sky(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fill the picture with a sky, clear, cloudy or of the evening."""
    above, below = _SKIES[int(rng.integers(len(_SKIES)))]
    height = canvas.mask.shape[0]
    share = np.minimum(np.arange(height) * 256 // max(int(canvas.horizon), 1), 256)[:, None, None]
    gradient = (np.array(above) * (256 - share) + np.array(below) * share) >> 8
    puffs = smooth_noise(rng, canvas.mask.shape, (96, 40, 18))
    clouds = np.clip(puffs + int(rng.integers(-90, 50)), 0, 128)[..., None]
    bright = np.array([238, 238, 240])
    sky = gradient + (((bright - gradient) * clouds * int(rng.integers(20, 100))) >> 14)
    canvas.image[...] = sky + ((canvas.grain * 2) >> 7)[..., None]


def paint_ground(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Paint road and pavements by asking every pixel below the horizon which metre of ground it sees."""
    height, width = canvas.mask.shape
    first = int(canvas.horizon) + 1
    rows, columns = np.arange(first, height)[:, None], np.arange(width)[None, :]
    ahead = canvas.focal * canvas.eye / (rows - canvas.horizon)
    right = (columns - canvas.centre) * ahead / canvas.focal
    on_road = (right > street.left) & (right < street.right)
    asphalt = varied(rng, any_of(rng, [(92, 94, 99), (106, 105, 104), (80, 82, 88), (114, 113, 112)]), 10)
    slabs = varied(rng, any_of(rng, [(166, 158, 148), (150, 144, 138), (178, 162, 142), (146, 132, 122)]), 10)
    whole = (slice(first, height), slice(0, width))
    canvas.fill((*whole, on_road), Material(ROAD, asphalt, grain=12, mottle=9))
    canvas.fill((*whole, ~on_road), Material(PAVEMENT, slabs, grain=9, mottle=8))
    tile = rng.uniform(0.7, 1.3)
    joints = ((np.floor(right / tile) + np.floor(ahead / tile)) % 2 == 0) & ~on_road & (ahead < 30)
    canvas.shade((*whole, joints), int(rng.integers(90, 97)))
    canvas.shade((*whole, (ahead < 60) & ~on_road & _beside(right, street, 0.18)), 122)  # the kerb stones
    canvas.shade((*whole, on_road & _beside(right, street, 0.35)), 84)  # the gutter
    _paint_markings(canvas, street, rng)
    _cast_shadow_of_the_houses(canvas, street, rng, right, whole)
    distance_haze = np.array(canvas.haze)
    share = (ahead / (ahead + HAZE_HALVES) * 256).astype(np.int64)[..., None]
    ground = canvas.image[whole]
    canvas.image[whole] = ground + (((distance_haze - ground) * share) >> 8)


def _beside(right: npt.NDArray[np.float64], street: Street, width: float) -> npt.NDArray[np.bool_]:
    return (np.abs(right - street.left) < width) | (np.abs(right - street.right) < width)


def _cast_shadow_of_the_houses(
    canvas: Canvas,
    street: Street,
    rng: np.random.Generator,
    right: npt.NDArray[np.float64],
    whole: tuple[slice, slice],
) -> None:
    if rng.random() < 0.45:
        return  # no sun
    side = -1 if rng.random() < 0.5 else 1
    reach = rng.uniform(0.6, street.pavement + 4.0)
    shadow = side * (street.wall(side) - right) < reach
    canvas.shade((*whole, shadow), int(rng.integers(62, 80)))


def _paint_markings(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Paint the centre line and, in some streets, a zebra crossing; both are road."""
    white = Material(ROAD, varied(rng, (206, 206, 202)), grain=16, mottle=16)
    middle = (street.left + street.right) / 2
    dash, start = rng.uniform(1.5, 4.0), rng.uniform(0.0, 3.0)
    for z in np.arange(2.5 + start, 60.0, dash * 2):
        _paint_flat(canvas, middle - 0.08, middle + 0.08, float(z), float(z) + dash, white)
    if rng.random() < 0.35:
        near = rng.uniform(6.5, 15.0)
        for x in np.arange(street.left + 0.4, street.right - 0.5, 1.0):
            _paint_flat(canvas, float(x), float(x) + 0.5, near, near + 3.0, white)


def _paint_flat(canvas: Canvas, x0: float, x1: float, z0: float, z1: float, material: Material) -> None:
    corners = [canvas.project(point) for point in ((x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1))]
    canvas.fill(convex_region(canvas.mask.shape, corners), material)


def paint_skyline(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Close the street with distant buildings and trees."""
    for _ in range(int(rng.integers(8, 15))):
        x, wide, high = rng.uniform(-75, 75), rng.uniform(6, 20), rng.uniform(4, 20)
        wall = varied(rng, any_of(rng, _WALLS))
        house = make_box((x, x + wide), (0, high), (_STREET_END + 15, _STREET_END + 30))
        canvas.fill_quad(house.front, Material(BUILDING, wall))
    for _ in range(int(rng.integers(4, 12))):
        paint_crown(canvas, rng, (rng.uniform(-60, 60), rng.uniform(2, 5), _STREET_END), rng.uniform(3, 6))


_WALLS: list[Colour] = [
    (158, 150, 140),
    (180, 164, 140),
    (150, 92, 76),
    (172, 120, 92),
    (134, 132, 134),
    (200, 190, 172),
    (122, 110, 102),
    (192, 172, 118),
]


def paint_buildings(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Paint both rows of houses, the farthest first, with gaps through which one sees what is behind."""
    for side in (-1, 1):
        lots: list[tuple[float, float]] = []
        ahead = rng.uniform(-4.0, 3.0)
        while ahead < _STREET_END:
            length = rng.uniform(7.0, 16.0)
            if rng.random() < 0.84:
                lots.append((ahead, ahead + length))
            ahead += length + (rng.uniform(0.5, 5.0) if rng.random() < 0.25 else 0.0)
        for start, end in reversed(lots):
            _paint_building(canvas, street.wall(side), side, (start, end), rng)


def _paint_building(
    canvas: Canvas, wall: float, side: int, ahead: tuple[float, float], rng: np.random.Generator
) -> None:
    storeys, storey = int(rng.integers(2, 7)), rng.uniform(2.8, 3.6)
    setback = rng.uniform(0.0, 0.8)
    near, far = wall + side * setback, wall + side * (setback + rng.uniform(7, 12))
    house = make_box((min(near, far), max(near, far)), (0.0, storeys * storey + rng.uniform(0.4, 1.6)), ahead)
    colour = varied(rng, any_of(rng, _WALLS), 20)
    grain, mottle = int(rng.integers(5, 14)), int(rng.integers(10, 26))
    lit = int(rng.integers(84, 116))
    street_face = house.right if side < 0 else house.left
    canvas.fill_quad(house.front, Material(BUILDING, scaled(colour, 200 - lit), grain, mottle))
    style = _WindowStyle.invent(rng, storeys)
    if not canvas.fill_quad(street_face, Material(BUILDING, scaled(colour, lit), grain, mottle)):
        return
    canvas.fill_quad(patch(street_face, 0, 0.96, 1, 1), Material(BUILDING, scaled(colour, lit - 22)))
    _paint_windows(canvas, street_face, style, ahead[1] - ahead[0], rng)
    gable_style = style._replace(bays=max(2, round((far - near) * side / 3.2)))
    if rng.random() < 0.6:
        _paint_windows(canvas, house.front, gable_style, abs(far - near), rng)


class _WindowStyle(NamedTuple):
    storeys: int
    bays: int  # 0: as many as fit
    bay: float  # metres
    wide: float  # share of the bay
    high: float  # share of the storey
    glass: Colour
    frame: Colour
    shop: bool

    @classmethod
    def invent(cls, rng: np.random.Generator, storeys: int) -> _WindowStyle:
        """Choose the windows of a building."""
        glass = varied(rng, any_of(rng, [(62, 72, 88), (88, 104, 122), (48, 50, 56), (132, 150, 168)]))
        frame = varied(rng, any_of(rng, [(204, 202, 196), (84, 78, 72), (228, 226, 222)]))
        return cls(
            storeys=storeys,
            bays=0,
            bay=rng.uniform(2.0, 3.4),
            wide=rng.uniform(0.38, 0.72),
            high=rng.uniform(0.42, 0.66),
            glass=glass,
            frame=frame,
            shop=bool(rng.random() < 0.4),
        )


def _paint_windows(canvas: Canvas, face: Quad, style: _WindowStyle, length: float, rng: np.random.Generator) -> None:
    bays = style.bays or max(2, round(length / style.bay))
    level = 1 / (style.storeys + 0.3)  # share of the face that a storey is high
    for bay in range(bays):
        middle, half = (bay + 0.5) / bays, style.wide / bays / 2
        if _width_in_pixels(canvas, patch(face, middle - half, 0.4, middle + half, 0.6)) < 2:
            continue
        for storey in range(style.storeys):
            low, high = (storey + 0.5 - style.high / 2) * level, (storey + 0.5 + style.high / 2) * level
            if storey == 0 and style.shop:
                _paint_window(canvas, face, (middle, 0.44 / bays), (0.02, 0.8 * level), style, rng)
            else:
                _paint_window(canvas, face, (middle, half), (low, high), style, rng)
    if style.shop and rng.random() < 0.7:
        awning = varied(rng, any_of(rng, [(150, 52, 46), (52, 84, 128), (66, 104, 72), (190, 168, 90)]))
        canvas.fill_quad(patch(face, 0.03, 0.86 * level, 0.97, 0.97 * level), Material(BUILDING, awning))


def _paint_window(
    canvas: Canvas,
    face: Quad,
    place: tuple[float, float],
    levels: tuple[float, float],
    style: _WindowStyle,
    rng: np.random.Generator,
) -> None:
    """Paint a frame and its glass, `place` being the middle and half the width as shares of the face."""
    (middle, half), (low, high) = place, levels
    rim = 0.18 * half
    frame = patch(face, middle - half - rim, low - 0.012, middle + half + rim, high + 0.008)
    canvas.fill_quad(frame, Material(BUILDING, style.frame))
    glass = varied(rng, style.glass, 22)
    if rng.random() < 0.06:
        glass = (222, 196, 132)  # somebody is at home
    canvas.fill_quad(patch(face, middle - half, low, middle + half, high), Material(BUILDING, glass, 3, 22))


def _width_in_pixels(canvas: Canvas, quad: Quad) -> int:
    return abs(canvas.project(quad[1])[0] - canvas.project(quad[0])[0])


_LEAVES: list[Colour] = [
    (66, 104, 46),
    (86, 116, 52),
    (52, 90, 50),
    (108, 122, 56),
    (74, 110, 68),
    (160, 112, 48),  # autumn: the colour of some walls
]


def paint_crown(canvas: Canvas, rng: np.random.Generator, centre: Point, radius: float) -> None:
    """Paint a crown as a heap of balls of leaves, dark ones first, light ones towards the sky."""
    x, y, ahead = centre
    colour = varied(rng, any_of(rng, _LEAVES))
    for step in range(14):
        dx, dy = rng.uniform(-0.75, 0.75), rng.uniform(-0.65, 0.65)
        column, row = canvas.project((x + dx * radius, y + (dy + step / 24) * radius, ahead))
        size = round(canvas.pixels(radius * rng.uniform(0.34, 0.62), ahead))
        leaves = Material(TREE, scaled(colour, 72 + step * 4), grain=26, mottle=26)
        canvas.fill(ellipse_region(canvas.mask.shape, column, row, size, round(size * 0.85)), leaves, ahead)
