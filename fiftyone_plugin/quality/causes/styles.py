"""What some people or batches draw otherwise than others draw in the same scenes, by a permutation test.

Models err in some scenes more than in others, so a group is compared with its neighbours only: images that follow each
other make a stratum, and who is who is drawn anew within the strata. For every class it is compared how much of it is
drawn, what is predicted along its border, and how many small parts it has; for the whole label, how
much better it would agree elsewhere. The largest of all these differences in each permutation is what is compared with
(max-T), so all groups, classes and differences are tested together at one risk, however they depend on each other. A
model that is wrong is wrong for all groups alike; most of the differences need none.

What explains a difference is the repair that makes it vanish.

Example:
    >>> strata = strata_of(20)
    >>> [mixed(np.arange(20) % 4 == 0, strata), mixed(np.arange(20) < 10, strata)]
    [True, False]

References:
    Westfall and Young, Resampling-Based Multiple Testing, 1993: the largest statistic of each permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .groups import Group
from .repairs import Repair
from .signs import PART_AREAS, REACH, RINGS, WIDEST

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
Row = tuple[str, int, int]

HARDLY: Final = 0.1
"""Of what is expected of a class, below which it is not drawn."""

MOSTLY: Final = 0.85
"""Of what is missing of a class, from which on another class that is drawn there is taken for its name."""

_SHOWN: Final = 0.8  # of where a class should be, it must be lacking
_STRATUM: Final = 10  # images
_FEWEST_STRATA: Final = 3  # of fewer there are too few permutations
_PERMUTATIONS: Final = 199  # the fewest that can tell half a percent
_LEAST: Final = 0.001  # share of an image that a class must have for its border to be judged
_WINDOW: Final = 4  # pixels on each side of a border
_MOVES: Final = 20  # that are tried


@dataclass(frozen=True, eq=False)
class Style:
    """One difference and what explains it.

    Attributes:
        repair: that makes it vanish
        group: whose images differ
        shown: (N,) bool, images that lie on the group's side of their neighbours
        able: (N,) bool, images that were compared
        size: of the difference in standard deviations of the permutations
        chance: that some difference were as large, of all that were looked at
    """

    repair: Repair
    group: Group
    shown: BoolArray
    able: BoolArray
    size: float
    chance: float


def strata_of(count: int) -> npt.NDArray[np.int64]:
    """Images that follow each other.

    Args:
        count: images N, in an order in which neighbours are alike

    Returns:
        (N,) number of the stratum
    """
    return np.arange(count) * max(1, count // _STRATUM) // max(count, 1)


def mixed(members: BoolArray, strata: npt.NDArray[np.int64]) -> bool:
    """Whether most images of a group have as many others around them.

    Args:
        members: (N,) bool
        strata: (N,) number of the stratum
    """
    inside, everything = np.bincount(strata, members), np.bincount(strata)
    return bool(inside[2 * inside <= everything].sum() > inside.sum() / 2)


class Styles:
    """Compares the mixed groups.

    Args:
        table: signs of all images, see `causes`; read anew whenever a difference is looked for
        groups: all groups
        risk: chance that some difference is named by chance
    """

    def __init__(self, table: Any, groups: Sequence[Group], risk: float) -> None:
        self.table, self.risk = table, risk
        self.strata = strata_of(len(table.areas))
        enough = self.strata.max(initial=0) + 1 >= _FEWEST_STRATA
        self.groups = [group for group in groups if enough and mixed(group.members, self.strata)]
        self.members = np.array([group.members for group in self.groups], float).reshape(-1, len(table.areas))
        self.named: set[tuple[int, int]] = set()
        self.explained = np.zeros(table.pairs.shape[:2], bool)
        self.widened: set[int] = set()
        self.bare: set[int] = set()
        self.moves = self._frequent_moves()
        self.rows: list[Row] = [
            (what, value, cut)
            for value in range(table.pairs.shape[1])
            for what, cuts in (("area", 1), ("ring", 1), ("few", len(PART_AREAS)))
            for cut in range(cuts)
        ] + [("moved", *place) for place in self.moves]
        self._draw()

    def _of(self, value: int) -> list[int]:
        """Where the differences of a class are; of whole labels with -1."""
        return [place for place, row in enumerate(self.rows) if (row[1] if row[0] != "moved" else -1) == value]

    def _frequent_moves(self) -> list[tuple[int, int]]:
        """Where labels agree best, most frequent first; groups are not looked at."""
        size = self.table.moves.shape[1]
        best = self.table.moves.reshape(len(self.strata), -1).argmax(1)
        places, counts = np.unique(best, return_counts=True)
        chosen = places[np.argsort(-counts, kind="stable")][:_MOVES].tolist()
        return [(place // size, place % size) for place in chosen if place != size * size // 2]

    def _draw(self) -> None:
        """Mean, deviation and largest of all differences by chance."""
        ranks = np.stack([self._ranks(row) for row in self.rows], 1)
        rng = np.random.default_rng(0)
        drawn = []
        for _ in range(_PERMUTATIONS):
            order = np.lexsort((rng.random(len(self.strata)), self.strata))
            drawn.append(self.members @ ranks[order])
        by_chance = np.array(drawn)
        self.mean, self.deviation = by_chance.mean(0), by_chance.std(0)
        self.largest = self._sided(self._scaled(by_chance)).reshape(len(by_chance), -1).max(1, initial=0.0)

    def _scaled(self, sums: FloatArray, at: Any = ...) -> FloatArray:
        deviation = np.asarray(self.deviation)[at]
        return np.where(deviation > 0, (sums - np.asarray(self.mean)[at]) / np.where(deviation > 0, deviation, 1), 0.0)

    def _sided(self, sizes: FloatArray) -> FloatArray:
        two = np.array([what in ("area", "ring") for what, *_ in self.rows])
        return np.where(two, np.abs(sizes), sizes)

    def chance(self, size: float) -> float:
        """That some difference were as large by chance."""
        return float((1 + (self.largest >= size).sum()) / (1 + len(self.largest)))

    def strongest(self) -> Style | None:
        """The largest difference that one repair explains, of those not named yet."""
        if not self.groups:
            return None
        ranks = np.stack([self._ranks(row) for row in self.rows], 1)
        sizes = self._scaled(self.members @ ranks)
        for size, number, value in self._different(sizes):
            repair = self._moved(number) if value < 0 else self._explained(number, value, sizes)
            self.named.add((number, value))
            if repair is not None:
                if value < 0:
                    self.bare.add(number)  # what lies at the edge of a moved label is not known
                style = self._style(repair, number, value, size, sizes, ranks)
                self.forget(style.group, repair.classes)
                return style
        return None

    def _different(self, sizes: FloatArray) -> list[tuple[float, int, int]]:
        """Size, group and class of what is no chance: hardly drawn classes first, by pixels, then others by size."""
        found = []
        for number in range(len(self.groups)):
            expected, lacking = self._expected(number, self.table.pairs.sum(2))[1], self._lacking(number)
            bare = number in self.bare
            for value in (-1, *range(len(expected))):
                size = float(self._sided(sizes)[number, self._of(value)].max(initial=0.0))
                gone = value >= 0 and bool(lacking[value] >= _SHOWN)
                if (number, value) not in self.named and (gone or not bare) and self.chance(size) <= self.risk:
                    found.append((gone * expected[value], size, number, value))
        return [row[1:] for row in sorted(found, reverse=True)]

    def forget(self, group: Group, classes: Sequence[int]) -> None:
        """Classes of a group in which something was named: not named again, and no others are compared with them."""
        self.explained[np.ix_(group.members, np.array(classes, int))] = True
        self.named |= {(at, one) for at, own in enumerate(self.groups) if own is group for one in (*classes, -1)}

    def _style(
        self, repair: Repair, number: int, value: int, size: float, sizes: FloatArray, ranks: FloatArray
    ) -> Style:
        here = self._of(value)
        best = max(here, key=lambda place: self._sided(sizes)[number, place])
        side = np.sign(sizes[number, best])
        able = self._measured(self.rows[best])[1]
        return Style(repair, self.groups[number], able & (side * ranks[:, best] > 0), able, size, self.chance(size))

    # --- what is compared -------------------------------------------------------------------------------------

    def _ranks(self, row: Row, wider: int = 0, changed: BoolArray | None = None) -> FloatArray:
        """(N,) ranks among the images of the same stratum, from -1/2 to 1/2; 0 where it cannot be told."""
        values, able = self._measured(row)
        if changed is not None:
            other, able_after = self._measured(row, wider)
            values, able = np.where(changed, other, values), np.where(changed, able_after, able)
        alike = (self.strata[:, None] == self.strata) & able
        below = (alike & (values < values[:, None])).sum(1) + 0.5 * (alike & (values == values[:, None])).sum(1)
        return np.where(able, (below + 0.5) / (alike.sum(1) + 1) - 0.5, 0.0)

    def _measured(self, row: Row, wider: int = 0) -> tuple[FloatArray, BoolArray]:
        """(N,) values and where they count, were the class drawn that much wider."""
        what, value, cut = row
        if what == "moved":
            return self.table.moves[:, value, cut] / np.maximum(self.table.areas, 1), self.table.areas > 0
        if what == "few":
            parts = self.table.parts[:, value]
            return -parts[:, : cut + 1].sum(1), (parts.sum(1) > 0) & ~self.explained[:, value]
        area = self._area(value, wider)
        if what == "area":
            return area, (self.table.areas > 0) & ~self.explained[:, value]
        rings, border = self.table.rings[:, value], RINGS - wider
        able = (area >= _LEAST * self.table.areas) & ~self.explained[:, value]
        near = rings[:, border - _WINDOW : border + _WINDOW].sum(1)
        return near[:, 1] / np.maximum(near[:, 0], 1), able

    def _area(self, value: int, wider: int) -> FloatArray:
        drawn, rings = self.table.pairs[:, value].sum(1), self.table.rings[:, value, :, 0]
        if wider >= 0:
            return np.asarray(drawn + rings[:, RINGS - wider : RINGS].sum(1))
        return np.asarray(drawn - rings[:, RINGS : RINGS - wider].sum(1))

    def _expected(self, number: int, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What a group has, and what it would have if it were like its neighbours; only where it has some."""
        inside = self.groups[number].members
        have, expected = np.zeros(values.shape[1:]), np.zeros(values.shape[1:])
        for stratum in range(int(self.strata[-1]) + 1):
            own, other = ((self.strata == stratum) & where for where in (inside, ~inside))
            if own.any() and other.any():
                have += values[own].sum(0)
                expected += own.sum() * values[other].mean(0)
        return have, expected

    def _lacking(self, number: int) -> FloatArray:
        """(K,) share of what a group should have of each class that lies in images where hardly any is drawn."""
        given, inside = self.table.pairs.sum(2), self.groups[number].members
        bare, everything = np.zeros(given.shape[1]), np.zeros(given.shape[1])
        for stratum in range(int(self.strata[-1]) + 1):
            own, other = ((self.strata == stratum) & where for where in (inside, ~inside))
            if own.any() and other.any():
                expected = given[other].mean(0)
                bare += expected * (given[own] < HARDLY * expected).sum(0)
                everything += expected * own.sum()
        return bare / np.maximum(everything, 1)

    # --- what explains it -------------------------------------------------------------------------------------

    def _explained(self, number: int, value: int, sizes: FloatArray) -> Repair | None:
        have, expected = self._expected(number, self.table.pairs.sum(2))
        if self._lacking(number)[value] >= _SHOWN:
            self.bare.add(number)  # what else differs may be what fills the gap
            found = self._left_out(number, value, sizes, expected - have)
            other = found.classes[-1]
            alone = found.kind == "called" and expected[other] < _LEAST * expected.sum()  # nobody else draws it here
            return Repair("renamed", (other, value)) if alone else found
        width = self._width(number, value)
        self.widened |= {number} if width else set()
        return width or self._small(number, value, sizes)

    def _left_out(self, number: int, value: int, sizes: FloatArray, missing: FloatArray) -> Repair:
        """A class that is never drawn; where one other has its place, it has that name.

        Predictions tell what is drawn in its place: what a group has there beyond what others have, where the class is
        predicted wrongly. Where it is hardly predicted, another class must have grown as much.
        """
        have, expected = self._expected(number, self.table.pairs[:, :, value])
        gone = expected[value] - have[value]
        if gone >= missing[value] / 2:
            taken = have / max(have.sum(), 1) - expected / max(expected.sum(), 1)
            other = int(taken.argmax())
            called = taken[other] >= MOSTLY * expected[value] / max(expected.sum(), 1)
            return Repair("called", (value, other)) if called else Repair("left_out", (value,))
        area, ring = (
            sizes[number, [self.rows.index((what, one, 0)) for one in range(len(missing))]] for what in ("area", "ring")
        )
        grown = np.maximum(area, -ring)  # larger, and along its border less is predicted as it
        other = int(np.where(missing < -missing[value] / 2, grown, -np.inf).argmax())
        called = missing[other] < -missing[value] / 2 and self.chance(float(grown[other])) <= self.risk
        return Repair("called", (value, other)) if called else Repair("left_out", (value,))

    def _width(self, number: int, value: int) -> Repair | None:
        """The width that takes away at least half of what area and border show together."""
        inside = self.groups[number].members
        left = {wider: self._remains(number, value, wider, inside) for wider in range(-WIDEST, WIDEST + 1)}
        best = min(left, key=lambda wider: left[wider])
        if best == 0 or left[best] > left[0] / 2 or left[0] < np.quantile(self.largest, 1 - self.risk) ** 2:
            return None
        pixels = (abs(best) * int(np.median(self.table.steps)),)
        return Repair("too_wide" if best < 0 else "too_narrow", (value,), pixels)

    def _remains(self, number: int, value: int, wider: int, inside: BoolArray) -> float:
        total = 0.0
        for what in ("area", "ring"):
            row = (what, value, 0)
            ranks = self._ranks(row, wider, inside)
            at = (number, self.rows.index(row))
            total += float(self._scaled(np.asarray(self.members[number] @ ranks), at)) ** 2
        return total

    def _small(self, number: int, value: int, sizes: FloatArray) -> Repair | None:
        """The largest area below which hardly any parts are drawn; too wide a class swallows its own parts, too."""
        if number in self.widened:
            return None
        have, expected = self._expected(number, self.table.parts[:, value].cumsum(1))
        for cut in reversed(range(len(PART_AREAS))):
            size = float(sizes[number, self.rows.index(("few", value, cut))])
            if have[cut] < HARDLY * expected[cut] and self.chance(size) <= self.risk:
                area = PART_AREAS[cut] * int(np.median(self.table.steps)) ** 2
                return Repair("small_left_out", (value,), (area,))
        return None

    def _moved(self, number: int) -> Repair | None:
        """From where labels of others agree best to where those of the group do."""
        shares = self.table.moves / np.maximum(self.table.areas, 1)[:, None, None]
        inside = self.groups[number].members
        size = shares.shape[1]
        (down, right), other = (
            np.array(divmod(int(shares[where].mean(0).argmax()), size)) for where in (inside, ~inside)
        )
        amount = (int(down - other[0]), int(right - other[1]))
        step = int(np.median(self.table.steps))
        if amount == (0, 0) or max(map(abs, amount)) > REACH:
            return None
        return Repair("moved", amount=(amount[0] * step, amount[1] * step))
