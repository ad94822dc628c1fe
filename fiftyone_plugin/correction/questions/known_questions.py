"""Questions whose answer is known, hidden among the others: they tell how reliable a person is.

Would they all show the right class, somebody who always confirms would pass; so most show a wrong one that could be
taken for the right one, and the right one is never the first of the alternatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError

WRONG: Final = 3
"""Of each `WRONG` + 1 hidden questions, so many show a wrong class."""

_KEYS: Final = 4
"""Places behind the first one among which the right class is drawn."""


@dataclass(frozen=True)
class KnownQuestion:
    """What a person sees of a question whose answer is known.

    Attributes:
        truth: the right class
        shown: the class that the label is said to have
        alternatives: other classes, in the order in which they are offered
    """

    truth: int
    shown: int
    alternatives: tuple[int, ...]


def which_are_wrong(number: int, num_classes: int, rng: np.random.Generator) -> list[bool]:
    """Which hidden questions show a wrong class: three in each four, in random order.

    With two classes every other one: the right class is the only alternative there, so that who always takes the first
    one is found by the questions that show the right class.

    Args:
        number: of hidden questions
        num_classes: that can be answered
        rng: of the order

    Returns:
        for each question whether

    Example:
        >>> sum(which_are_wrong(8, 5, np.random.default_rng(0))), sum(which_are_wrong(8, 2, np.random.default_rng(0)))
        (6, 4)
    """
    block = [True] * (WRONG if num_classes > 2 else 1) + [False]
    if num_classes < 2:
        block = [False]
    blocks = [rng.permutation(block) for _ in range(-(-number // len(block)))]
    return [bool(one) for one in np.concatenate([np.zeros(0, bool), *blocks])[:number]]


def known_question(
    truth: int, likely: Sequence[int], confusion: npt.ArrayLike, *, wrong: bool, rng: np.random.Generator
) -> KnownQuestion:
    """What is shown of a question whose answer is known.

    A wrong class is the one that the model takes for the likeliest other one here, or the one that is confused with the
    right one most in all images, either with the same chance.

    Args:
        truth: the right class
        likely: the other classes that can be answered, the likeliest first
        confusion: (K, K) pixels, given x predicted class
        wrong: whether to show a wrong class
        rng: of the choice

    Returns:
        what is shown

    Raises:
        LabelQualityError: if a wrong class is wanted and there is no other one

    Example:
        >>> one = known_question(2, [0, 1, 3], np.ones((4, 4)), wrong=True, rng=np.random.default_rng(0))
        >>> one.shown, one.alternatives[0] == 2, 2 in one.alternatives
        (0, False, True)
    """
    others = [int(value) for value in likely if value != truth]
    if not wrong:
        return KnownQuestion(truth, truth, tuple(others))
    if not others:
        raise LabelQualityError(f"Expected other classes than {truth} to show in its place, but got {list(likely)}")
    pixels = np.asarray(confusion, np.float64)
    mixed_up = max(others, key=lambda value: pixels[truth, value] + pixels[value, truth])
    shown = (others[0], mixed_up)[int(rng.integers(2))]
    offered = [value for value in others if value != shown]
    place = int(rng.integers(1, min(len(offered), _KEYS) + 1)) if offered else 0
    return KnownQuestion(truth, shown, (*offered[:place], truth, *offered[place:]))


def mixed_in(asked: int, known: int, rng: np.random.Generator) -> list[int]:
    """Where hidden questions go: one at a random place in each of as many equal parts of the whole.

    So whoever answers some of the questions meets about the same share of hidden ones.

    Args:
        asked: number of the other questions
        known: number of hidden ones
        rng: of the places

    Returns:
        (known,) places in the whole, from 0, rising

    Example:
        >>> places = mixed_in(8, 2, np.random.default_rng(0))
        >>> 0 <= places[0] < 5 <= places[1] < 10
        True
    """
    edges = np.linspace(0, asked + known, known + 1).round().astype(int)
    return [int(rng.integers(low, high)) for low, high in pairwise(edges)]
