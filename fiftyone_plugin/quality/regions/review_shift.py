"""What a reviewer's decisions change: scores move as far as the number and variety of the decisions allow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from .logistic_regression import FloatArray, log_odds, logistic, regression

FEWEST_VERDICTS: Final = 5
"""Decisions of each verdict below which features teach nothing: fewer can be told apart by any feature."""

REACH: Final = 0.1
"""Log odds by decision that no score moves beyond, once for what all regions share and once for their class pair."""

_OVERALL, _SLOPE, _KIND, _PAIR, _FEATURE = 0.5, 0.5, 0.5, 1.0, 0.7
_STEEP: Final = 4.0
_FARTHEST: Final = 3.0
_USUAL: Final = 20

Pairs = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ReviewShift:
    """A change of log odds, learnt from decisions, in levels: all regions, their score, kind, class pair, features.

    Every level is a coefficient with a normal prior around no change. Decisions about one pair move that pair most, its
    kind less and all others least; decisions that contradict each other move little; features count from
    `FEWEST_VERDICTS` of each verdict on. What the pair changes and what all other levels change are bounded each, to
    r tanh(x / r): for a pair r is `REACH` times its number of decisions, for the rest `REACH` times the geometric mean
    of the number of decisions and of how many pairs, equally frequent ones, they were about.

    Attributes:
        overall: of all regions
        slope: by the score before, in units of 4 log odds
        kinds: (number of kinds,)
        features: (F,) by feature, scaled; all 0 with too few verdicts
        pairs: (given, suggested, change, decisions) of the class pairs that were decided on
        reach: bound of what all regions share, in log odds
        scale: (F,) pairs of the features' centre and spread
        num_accepted: decisions that a region is an error
        num_rejected: decisions that it is none

    Example:
        >>> kinds, pairs = np.zeros(3, int), np.array([[1, 2]] * 3)
        >>> shift = ReviewShift.fit(np.full(3, 0.1), kinds, pairs, np.zeros((3, 2)), [True] * 3, scale=((0, 1), (0, 1)))
        >>> same, other = shift.moved([0.1, 0.1], [0, 1], [[1, 2], [3, 4]], np.zeros((2, 2))).round(2)
        >>> bool(0.1 < other < same < 0.25)
        True
    """

    overall: float = 0.0
    slope: float = 0.0
    kinds: tuple[float, ...] = (0.0,) * 4
    features: tuple[float, ...] = ()
    pairs: tuple[tuple[int, int, float, int], ...] = ()
    reach: float = 0.0
    scale: tuple[tuple[float, float], ...] = ()
    num_accepted: int = 0
    num_rejected: int = 0

    @classmethod
    def fit(
        cls,
        scores: npt.ArrayLike,
        kinds: npt.ArrayLike,
        pairs: npt.ArrayLike,
        features: npt.ArrayLike,
        accepted: npt.ArrayLike,
        *,
        scale: tuple[tuple[float, float], ...],
        strength: float = 1.0,
        num_kinds: int = 4,
    ) -> ReviewShift:
        """Learn from reviewed regions.

        Args:
            scores: (R,) in [0, 1], before any decision
            kinds: (R,) numbers from 0
            pairs: (R, 2) given and suggested class; negative where unknown
            features: (R, F)
            accepted: (R,) bool, whether there is a label error
            scale: (F,) centre and spread of each feature as they usually are; a handful of regions has no spread of its
                own that could be trusted
            strength: how firmly to hold the scores; larger than 0
            num_kinds: how many kinds there are

        Returns:
            The shift; without decisions one that moves nothing.
        """
        answers, classes = np.asarray(accepted, np.bool_), np.asarray(pairs, np.int64).reshape(-1, 2)
        if not answers.size:
            return cls(kinds=(0.0,) * num_kinds)
        scale = _scale_of(features, scale)
        columns = _scaled(features, scale)
        if min(answers.sum(), (~answers).sum()) < FEWEST_VERDICTS:
            columns = columns * 0
        counts = Counter((int(given), int(suggested)) for given, suggested in classes if given >= 0)
        offset, codes = log_odds(scores), _codes(classes, list(counts))
        shared = _shared(offset, np.asarray(kinds, np.int64), columns, num_kinds)
        rows = np.column_stack([shared, _PAIR * (codes[:, None] == np.arange(len(counts)))])
        found = regression(rows, offset, answers.astype(np.float64), strength)
        common, own = np.split(found, [shared.shape[1]])
        by_kind, by_feature = np.split(common[2:], [num_kinds])
        return cls(
            overall=float(common[0]),
            slope=float(common[1]),
            kinds=tuple(by_kind.tolist()),
            features=tuple(by_feature.tolist()),
            pairs=tuple(
                (*pair, float(_PAIR * change), count) for (pair, count), change in zip(counts.items(), own, strict=True)
            ),
            reach=REACH * math.sqrt(answers.size * _variety(list(counts.values()), int(answers.size))),
            scale=scale,
            num_accepted=int(answers.sum()),
            num_rejected=int((~answers).sum()),
        )

    def moved(
        self, scores: npt.ArrayLike, kinds: npt.ArrayLike, pairs: npt.ArrayLike, features: npt.ArrayLike
    ) -> FloatArray:
        """Return scores after the decisions.

        Args:
            scores: (R,) in [0, 1], before any decision
            kinds: (R,) numbers from 0
            pairs: (R, 2) given and suggested class
            features: (R, F)

        Returns:
            (R,) float64 in [0, 1].
        """
        before = np.asarray(scores, np.float64)
        if not self.reach:
            return before
        offset = log_odds(before)
        rows = _shared(offset, np.asarray(kinds, np.int64), _scaled(features, self.scale), len(self.kinds))
        change = _bounded(rows @ np.array([self.overall, self.slope, *self.kinds, *self.features]), self.reach)
        codes = _codes(np.asarray(pairs, np.int64).reshape(-1, 2), [(pair[0], pair[1]) for pair in self.pairs])
        own = [_bounded(np.float64(pair[2]), REACH * pair[3]) for pair in self.pairs]
        return logistic(offset + change + np.array([*own, 0.0])[codes])

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, to be kept as JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ReviewShift:
        """Return the shift that `as_dict` has taken apart.

        Args:
            content: plain values

        Returns:
            The shift.

        Raises:
            LabelQualityError: if a value is missing.
        """
        if missing := sorted(set(cls.__dataclass_fields__) - set(content)):
            raise LabelQualityError(f"Expected a shift of scores with {', '.join(missing)}, but got {sorted(content)}.")
        pairs = tuple(tuple(pair) for pair in content["pairs"])
        lists = {name: tuple(map(float, content[name])) for name in ("kinds", "features")}
        scale = tuple((float(center), float(spread)) for center, spread in content["scale"])
        return cls(**{**content, **lists, "pairs": pairs, "scale": scale})


NO_SHIFT: Final = ReviewShift()
"""Before any decision."""


def _scale_of(features: npt.ArrayLike, usual: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Centre and spread of some regions' features, the usual ones counting as `_USUAL` regions."""
    rows, (center, spread) = np.asarray(features, np.float64), np.array(usual).T
    weight = len(rows) / (len(rows) + _USUAL)
    centers = weight * rows.mean(axis=0) + (1 - weight) * center
    spreads = np.sqrt(weight * rows.var(axis=0) + (1 - weight) * spread**2)
    return tuple(zip(centers.tolist(), spreads.tolist(), strict=True))


def _scaled(features: npt.ArrayLike, scale: tuple[tuple[float, float], ...]) -> FloatArray:
    center, spread = np.array(scale).T
    return np.asarray(np.clip((np.asarray(features) - center) / spread, -_FARTHEST, _FARTHEST), np.float64)


def _codes(pairs: Pairs, known: list[tuple[int, int]]) -> Pairs:
    """(R,) place of each pair among the known ones, or -1."""
    places = {pair: place for place, pair in enumerate(known)}
    return np.array([places.get((given, suggested), -1) for given, suggested in pairs.tolist()], np.int64)


def _variety(counts: list[int], decisions: int) -> float:
    """How many equally frequent pairs are as varied as these; decisions about unknown pairs are each their own."""
    shares = np.array([*counts, *[1] * (decisions - sum(counts))]) / decisions
    return float(1 / (shares**2).sum())


def _bounded(change: FloatArray | np.float64, reach: float) -> FloatArray:
    return np.asarray(reach * np.tanh(change / reach), np.float64)


def _shared(offset: FloatArray, kinds: Pairs, features: FloatArray, num_kinds: int) -> FloatArray:
    """(R, C) columns of all levels but the pairs, times the spread of their coefficients before any decision."""
    steep = np.clip(offset, -_STEEP, _STEEP) / _STEEP
    columns = [np.ones(offset.size), steep, kinds[:, None] == np.arange(num_kinds), features]
    priors = [_OVERALL, _SLOPE, *[_KIND] * num_kinds, *[_FEATURE] * features.shape[1]]
    return np.asarray(np.column_stack(columns) * priors, np.float64)
