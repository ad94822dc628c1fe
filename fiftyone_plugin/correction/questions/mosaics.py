"""One question about many similar regions, shown side by side: answered with a key, exceptions clicked away.

What it costs is computed, nobody was timed: an eye movement a tile (0.23 s; Card, Moran & Newell 1983, The psychology
of human-computer interaction), one answer, and for each exception a decision, a movement of the pointer and a click, by
the keystroke-level model of `query_costs`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from .query_costs import CONFIRM_SECONDS

MOST_TILES: Final = 24
"""Tiles that one look at a screen takes in."""

FEWEST_TILES: Final = 4
"""Fewer are decided on one by one as quickly."""

LOOK_SECONDS: Final = 0.23
EXCEPTION_SECONDS: Final = 2.73


@dataclass(frozen=True)
class Mosaic:
    """One question.

    Attributes:
        kind: what its regions have in common
        members: places of the regions, likeliest errors first
        expected: whether most of them are expected to be errors
        seconds: that it is expected to take
        saved: seconds that it is expected to save against single questions
    """

    kind: Hashable
    members: tuple[int, ...]
    expected: bool
    seconds: float
    saved: float


def mosaic_seconds(number: int, exceptions: float) -> float:
    """What a mosaic takes.

    Args:
        number: tiles
        exceptions: tiles that are clicked away

    Returns:
        seconds

    Example:
        >>> round(mosaic_seconds(20, 1), 2), round(20 * CONFIRM_SECONDS, 2)
        (8.96, 32.6)
    """
    return number * LOOK_SECONDS + CONFIRM_SECONDS + exceptions * EXCEPTION_SECONDS


def make_mosaics(
    kinds: Sequence[Hashable], chances: npt.ArrayLike, *, most: int = MOST_TILES, fewest: int = FEWEST_TILES
) -> list[Mosaic]:
    """Group regions into questions.

    Args:
        kinds: of each region; equal ones are similar, for instance (kind, given class, suggested class)
        chances: (R,) how likely each region is an error
        most: tiles of one question at most
        fewest: tiles of one question at least; what is left over is for single questions

    Returns:
        those that save most seconds first; of a kind, regions of neighbouring chances stand together

    Raises:
        LabelQualityError: if chances are none, or there is not one for each region

    Example:
        >>> found = make_mosaics(["a"] * 6 + ["b"] * 2, [0.99] * 3 + [0.98] * 3 + [0.5] * 2)
        >>> [(one.kind, one.members, one.expected) for one in found]
        [('a', (0, 1, 2, 3, 4, 5), True)]
    """
    values = np.asarray(chances, np.float64)
    if values.shape != (len(kinds),) or not ((values >= 0) & (values <= 1)).all():
        raise LabelQualityError(
            f"Expected a chance in [0, 1] for each of {len(kinds)} regions, but got shape {values.shape}"
        )
    if not 1 <= fewest <= most:
        raise LabelQualityError(f"Expected 1 <= `fewest` <= `most`, but got {fewest} and {most}")
    by_kind: dict[Hashable, list[int]] = defaultdict(list)
    for place in np.argsort(-values, kind="stable").tolist():
        by_kind[kinds[place]].append(place)
    found = []
    for kind, places in by_kind.items():
        for start in range(0, len(places), most):
            members = places[start : start + most]
            if len(members) >= fewest:
                found.append(_mosaic(kind, members, values[members]))
    return sorted(found, key=lambda one: -one.saved)


def _mosaic(kind: Hashable, members: Sequence[int], chances: npt.NDArray[np.float64]) -> Mosaic:
    errors = float(chances.sum())
    expected = errors >= len(members) / 2
    seconds = mosaic_seconds(len(members), len(members) - errors if expected else errors)
    return Mosaic(kind, tuple(members), expected, seconds, len(members) * CONFIRM_SECONDS - seconds)
