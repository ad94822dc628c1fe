"""What stands in a street scene: trees, poles, cars and people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from demo.scenes.backdrop import Street, paint_crown
from demo.scenes.canvas import (
    Box,
    Canvas,
    Colour,
    Material,
    Point,
    any_of,
    convex_region,
    ellipse_region,
    make_box,
    patch,
    scaled,
    varied,
)
from demo.scenes.scene_classes import CAR, PERSON, POLE, TREE


class Thing(NamedTuple):
    """Something to paint and how many metres ahead it stands, which decides what hides what."""

    ahead: float
    paint: Callable[[], None]


def paint_things(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Paint everything that stands on the ground, the farthest first."""
    things = [
        *_trees(canvas, street, rng),
        *_poles(canvas, street, rng),
        *_cars(canvas, street, rng),
        *_people(canvas, street, rng),
    ]
    for thing in sorted(things, key=lambda thing: -thing.ahead):
        thing.paint()


def _trees(canvas: Canvas, street: Street, rng: np.random.Generator) -> Iterable[Thing]:
    for side in (-1, 1):
        if rng.random() < 0.3:
            continue
        ahead, gap = rng.uniform(7.0, 18.0), rng.uniform(6.0, 14.0)
        while ahead < 60:
            x = street.kerb(side) + side * rng.uniform(0.5, 1.1)
            size, seed = rng.uniform(3.6, 7.5), int(rng.integers(2**32))
            yield Thing(ahead, partial(_paint_tree, canvas, x, ahead, size, seed))
            ahead += gap * rng.uniform(0.7, 1.6)


def _paint_tree(canvas: Canvas, x: float, ahead: float, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    _paint_ground_shadow(canvas, x, ahead, size * 0.3)
    trunk = Material(TREE, varied(rng, (92, 76, 62)), grain=18, mottle=20)
    half = max(0.03 * size, 1.6 / canvas.pixels(1.0, ahead))
    canvas.fill_quad(make_box((x - half, x + half), (0, size * 0.66), (ahead, ahead + 0.1)).front, trunk)
    paint_crown(canvas, rng, (x, size * 0.68, ahead), size * 0.32)


def _paint_ground_shadow(canvas: Canvas, x: float, ahead: float, radius: float) -> None:
    column, row = canvas.project((x, 0.0, ahead))
    across = round(canvas.pixels(radius, ahead))
    flat = round(canvas.pixels(radius, ahead) * min(canvas.eye / ahead, 0.6))
    canvas.shade(ellipse_region(canvas.mask.shape, column, row, across, flat), 70)


def _poles(canvas: Canvas, street: Street, rng: np.random.Generator) -> Iterable[Thing]:
    for side in (-1, 1):
        ahead = rng.uniform(6.5, 13.0)
        while ahead < 34:
            x = street.kerb(side) + side * rng.uniform(0.25, 0.5)
            kind, seed = int(rng.integers(3)), int(rng.integers(2**32))
            yield Thing(ahead, partial(_paint_pole, canvas, x, ahead, side, kind, seed))
            ahead += rng.uniform(7.0, 20.0)


def _paint_pole(canvas: Canvas, x: float, ahead: float, side: int, kind: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    steel = Material(POLE, varied(rng, any_of(rng, [(118, 120, 122), (66, 68, 72), (150, 150, 146)])), 5, 10)
    half = max(0.08, 2.1 / canvas.pixels(1.0, ahead))  # at least two pixels of the final image
    high = (rng.uniform(4.6, 6.4), 2.6, 3.1)[kind]

    def bar(x0: float, x1: float, y0: float, y1: float, material: Material) -> None:
        canvas.fill_quad(make_box((x0, x1), (y0, y1), (ahead, ahead + 0.1)).front, material)

    bar(x - half, x + half, 0.0, high, steel)
    if kind == 0:
        arm = x - side * rng.uniform(1.0, 1.8)
        bar(min(x, arm) - half, max(x, arm) + half, high - 2 * half, high, steel)
        bar(arm - 0.3, arm + 0.3, high - 2 * half - 0.08, high, Material(POLE, varied(rng, (178, 178, 170))))
    elif kind == 1:
        _paint_sign(canvas, (x, high + 0.1, ahead), rng)
    else:
        bar(x - 0.2, x + 0.2, high - 0.95, high, Material(POLE, (44, 46, 44)))
        lamps: list[Colour] = [(70, 180, 96), (206, 160, 52), (206, 58, 46)]
        on = int(rng.integers(3))
        for lamp, lit in enumerate(lamps):
            column, row = canvas.project((x, high - 0.78 + 0.3 * lamp, ahead))
            size = round(canvas.pixels(0.11, ahead))
            colour = lit if lamp == on else scaled(lit, 40)
            canvas.fill(ellipse_region(canvas.mask.shape, column, row, size, size), Material(POLE, colour, 2, 2))


def _paint_sign(canvas: Canvas, centre: Point, rng: np.random.Generator) -> None:
    column, row = canvas.project(centre)
    size = max(3, round(canvas.pixels(0.36, centre[2])))
    rim, inner = [
        ((186, 44, 42), (226, 224, 218)),
        ((44, 82, 152), (62, 102, 176)),
        ((206, 172, 58), (214, 184, 84)),
        ((190, 190, 186), (150, 44, 40)),
    ][int(rng.integers(4))]
    for radius, colour in ((size, rim), (size * 7 // 10, inner)):
        canvas.fill(
            ellipse_region(canvas.mask.shape, column, row, radius, radius),
            Material(POLE, colour, 2, 4),
            centre[2],
        )


_PAINTS: list[Colour] = [
    (150, 152, 154),
    (60, 62, 66),
    (206, 206, 204),
    (140, 40, 38),
    (48, 72, 118),
    (94, 104, 88),
    (176, 150, 92),
    (104, 126, 140),
]


def _cars(canvas: Canvas, street: Street, rng: np.random.Generator) -> Iterable[Thing]:
    """Choose cars in both lanes, parked ones along the kerbs, and now and then one that crosses."""
    middle, width = (street.left + street.right) / 2, street.right - street.left
    places: list[tuple[float, float, bool]] = []
    for side in (-1, 1):
        ahead = rng.uniform(8.0, 30.0)
        for _ in range(int(rng.integers(0, 3))):
            places.append((middle + side * width * 0.23, ahead, False))
            ahead += rng.uniform(8.0, 16.0)
        if rng.random() < 0.6:
            ahead = rng.uniform(7.0, 20.0)
            for _ in range(int(rng.integers(1, 5))):
                places.append((street.kerb(side) - side * 1.15, ahead, False))
                ahead += rng.uniform(5.4, 10.0)
    if rng.random() < 0.45:
        places.append((rng.uniform(street.left + 1.5, street.right - 1.5), rng.uniform(9.0, 20.0), True))
    for x, z, crossing in _apart(places):
        seed = int(rng.integers(2**32))
        yield Thing(z, partial(_paint_car, canvas, x, z, crossing, seed))


def _apart(places: Sequence[tuple[float, float, bool]]) -> list[tuple[float, float, bool]]:
    """Return the places without those that would put one car into another."""
    kept: list[tuple[float, float, bool]] = []
    for x, z, crossing in places:
        room_x, room_z = (3.6, 5.0) if crossing else (2.0, 5.0)
        if all(abs(x - other_x) > room_x or abs(z - other_z) > room_z for other_x, other_z, _ in kept):
            kept.append((x, z, crossing))
    return kept


def _paint_car(canvas: Canvas, x: float, ahead: float, crossing: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wide, long, roof = rng.uniform(1.65, 1.85), rng.uniform(3.7, 4.7), rng.uniform(1.4, 1.75)
    across, along = (long, wide) if crossing else (wide, long)
    xs, zs = (x - across / 2, x + across / 2), (ahead, ahead + along)
    _paint_ground_shadow(canvas, x, ahead + along * 0.4, across * 0.6)
    colour = varied(rng, any_of(rng, _PAINTS), 18)
    body = make_box(xs, (0.28, 0.92), zs, inset=(0.03, 0.03))
    narrow = (0.62, 0.14) if crossing else (0.14, 0.62)
    inner_xs = (xs[0] + 0.06 + 0.1 * crossing, xs[1] - 0.06 - 0.1 * crossing)
    cabin = make_box(inner_xs, (0.92, roof), (zs[0] + 0.1, zs[1] - 0.5), inset=narrow)
    _paint_wheels(canvas, xs, zs, crossing)
    for part in (body, cabin):
        for face, percent in ((part.left, 82), (part.right, 82), (part.front, 96), (part.top, 112)):
            canvas.fill_quad(face, Material(CAR, scaled(colour, percent), 3, 8))
    _paint_car_glass(canvas, cabin, crossing, varied(rng, (58, 66, 78)))
    _paint_lights(canvas, body, crossing, bool(rng.random() < 0.5))


def _paint_car_glass(canvas: Canvas, cabin: Box, crossing: bool, glass: Colour) -> None:
    pane = Material(CAR, glass, 2, 20)
    halves = ((0.08, 0.47), (0.53, 0.92))
    whole = ((0.08, 0.92),)
    for face, panes in (
        (cabin.front, halves if crossing else whole),
        (cabin.left, whole if crossing else halves),
        (cabin.right, whole if crossing else halves),
    ):
        for left, right in panes:
            canvas.fill_quad(patch(face, left, 0.12, right, 0.86), pane)


def _paint_lights(canvas: Canvas, body: Box, crossing: bool, from_behind: bool) -> None:
    lamp: Colour = (178, 40, 36) if from_behind else (232, 226, 198)
    if crossing:
        canvas.fill_quad(patch(body.front, 0.0, 0.5, 0.05, 0.8), Material(CAR, (178, 40, 36), 2, 2))
        canvas.fill_quad(patch(body.front, 0.95, 0.45, 1.0, 0.75), Material(CAR, (232, 226, 198), 2, 2))
        return
    for left in (0.04, 0.78):
        canvas.fill_quad(patch(body.front, left, 0.5, left + 0.18, 0.8), Material(CAR, lamp, 2, 2))
    canvas.fill_quad(patch(body.front, 0.38, 0.2, 0.62, 0.38), Material(CAR, (214, 212, 200), 2, 2))
    canvas.fill_quad(patch(body.front, 0.0, 0.0, 1.0, 0.12), Material(CAR, (52, 52, 54), 2, 4))


def _paint_wheels(canvas: Canvas, xs: tuple[float, float], zs: tuple[float, float], crossing: bool) -> None:
    """Paint the wheels of the sides that can be seen, before the body hides their upper halves."""
    rubber, rim = Material(CAR, (34, 34, 36), 4, 4), Material(CAR, (142, 142, 146), 4, 4)
    if crossing:
        for x in (xs[0] + 0.8, xs[1] - 0.8):
            column, row = canvas.project((x, 0.31, zs[0] - 0.02))
            for radius, material in ((0.34, rubber), (0.18, rim)):
                size = round(canvas.pixels(radius, zs[0]))
                canvas.fill(ellipse_region(canvas.mask.shape, column, row, size, size), material, zs[0])
        return
    for x in xs:
        for z in (zs[0] + 0.75, zs[1] - 0.8):
            for radius, material in ((0.33, rubber), (0.17, rim)):
                _paint_wheel_aside(canvas, x, z, radius, material)
    for x0, x1 in ((xs[0] + 0.05, xs[0] + 0.3), (xs[1] - 0.3, xs[1] - 0.05)):
        canvas.fill_quad(make_box((x0, x1), (0.0, 0.5), (zs[0] + 0.1, zs[0] + 0.4)).front, rubber)


def _paint_wheel_aside(canvas: Canvas, x: float, z: float, radius: float, material: Material) -> None:
    """Paint a wheel that stands along the view: an octagon in the plane of the car's side."""
    ring = ((1, 0.41), (0.41, 1), (-0.41, 1), (-1, 0.41), (-1, -0.41), (-0.41, -1), (0.41, -1), (1, -0.41))
    corners = [canvas.project((x, 0.31 + radius * up, z + radius * along)) for along, up in ring]
    canvas.fill(convex_region(canvas.mask.shape, corners), material, z)


def _people(canvas: Canvas, street: Street, rng: np.random.Generator) -> Iterable[Thing]:
    for _ in range(int(rng.integers(3, 9))):
        side, ahead = (-1 if rng.random() < 0.5 else 1), rng.uniform(5.5, 16.0)
        if rng.random() < 0.2:
            x = rng.uniform(street.left, street.right)
        else:
            x = street.kerb(side) + side * rng.uniform(0.6, max(street.pavement - 0.4, 0.7))
        seed = int(rng.integers(2**32))
        yield Thing(ahead, partial(_paint_person, canvas, x, ahead, seed))


_CLOTHES: list[Colour] = [
    (40, 44, 58),
    (148, 46, 44),
    (90, 94, 100),
    (196, 192, 184),
    (62, 92, 70),
    (52, 84, 140),
    (178, 146, 84),
    (70, 52, 46),
]


def _paint_person(canvas: Canvas, x: float, ahead: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tall, stride = rng.uniform(1.5, 1.9), rng.uniform(0.04, 0.24)
    _paint_ground_shadow(canvas, x, ahead, 0.3)
    coat = Material(PERSON, varied(rng, any_of(rng, _CLOTHES), 18), 4, 12)
    trousers = Material(PERSON, varied(rng, any_of(rng, _CLOTHES), 18), 4, 12)
    skin = varied(rng, any_of(rng, [(198, 156, 130), (142, 100, 76), (92, 66, 52), (214, 178, 152)]))
    hip, shoulder = tall * 0.5, tall * 0.83

    def limb(foot: tuple[float, float], top: tuple[float, float], wide: float, material: Material) -> None:
        corners = [
            canvas.project((px, py, ahead))
            for px, py in (
                (x + foot[0] - wide / 2, foot[1]),
                (x + foot[0] + wide / 2, foot[1]),
                (x + top[0] + wide / 2, top[1]),
                (x + top[0] - wide / 2, top[1]),
            )
        ]
        canvas.fill(convex_region(canvas.mask.shape, corners), material, ahead)

    for sign in (-1, 1):
        limb((sign * stride, 0.0), (sign * 0.08, hip + 0.06), 0.17, trousers)
    swing = rng.uniform(0.02, 0.2)
    for sign in (-1, 1):
        limb((sign * (0.24 + swing), hip * 0.95), (sign * 0.2, shoulder), 0.12, coat)
    _paint_torso(canvas, x, ahead, (hip - 0.04, shoulder + 0.02), coat)
    column, row = canvas.project((x, tall * 0.92, ahead))
    across, down = round(canvas.pixels(0.11, ahead)), round(canvas.pixels(0.145, ahead))
    hair = varied(rng, any_of(rng, [(44, 36, 32), (96, 70, 48), (150, 146, 140), (176, 142, 84)]))
    canvas.fill(ellipse_region(canvas.mask.shape, column, row, across, down), Material(PERSON, hair, 3, 4), ahead)
    face = ellipse_region(canvas.mask.shape, column, row + down // 3, across * 8 // 10, down * 7 // 10)
    canvas.fill(face, Material(PERSON, skin, 3, 4), ahead)


def _paint_torso(canvas: Canvas, x: float, ahead: float, levels: tuple[float, float], coat: Material) -> None:
    low, high = levels
    outline = ((x - 0.17, low), (x + 0.17, low), (x + 0.25, high - 0.08), (x + 0.1, high), (x - 0.1, high))
    corners = [canvas.project((px, py, ahead)) for px, py in (*outline, (x - 0.25, high - 0.08))]
    canvas.fill(convex_region(canvas.mask.shape, corners), coat, ahead)
