"""A regression that tells errors among regions: learnt from rehearsed errors, moved by a reviewer's decisions."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ...written_files import write_file
from .issue_regions import SCORE_BIAS, SCORE_WEIGHTS, kinds_of
from .logistic_regression import FloatArray, logistic, regression
from .region_terms import FEATURE_NAMES
from .review_shift import NO_SHIFT, ReviewShift

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.integer[Any]]

CONTEXT_NAMES: Final = (
    "pair_of_given",
    "pair_of_suggested",
    "given_confidence",
    "suggested_confidence",
    "given_agreement",
    "suggested_agreement",
)
"""What the dataset says of a region's two classes, after `FEATURE_NAMES`; see `judging.ClassContext`:

- pair_of_given, pair_of_suggested: decimal logarithm of the area of all other regions of the same given and suggested
  class, over all pixels given the given, or predicted as the suggested class
- given_confidence, suggested_confidence: mean self-confidence of the pixels given these classes
- given_agreement: share of the pixels given the given class that are predicted as it
- suggested_agreement: share of the pixels predicted as the suggested class that are given it
"""

NUM_FEATURES: Final = len(FEATURE_NAMES) + len(CONTEXT_NAMES)
NO_CONTEXT: Final = (0.0,) * len(CONTEXT_NAMES)

USUAL_SCALE: Final = (
    *((0.5, 0.3), (0.2, 0.15), (0.3, 0.2), (-3.3, 0.75), (-4.25, 1.0), (0.95, 0.15), (0.5, 0.3), (0.25, 0.25)),
    *((0.25, 0.3), (0.4, 0.4), (0.6, 0.5), (0.15, 0.1), (0.8, 0.15), (-1.4, 0.6), (0.45, 0.25), (0.1, 0.3), (0.3, 0.3)),
    *((0.1, 0.3), (0.0, 0.3), (2.0, 1.5), (0.2, 0.4), (2.0, 1.2), (0.1, 0.2)),
    *((-1.6, 1.0), (-1.7, 0.7), (0.7, 0.3), (0.8, 0.2), (0.7, 0.35), (0.75, 0.2)),
)
"""Mean and spread of each feature and its context over the 4,619 regions of the first 120 VOC images that Grounded-SAM
labelled, with the outside model of `benchmarks/detection`, rounded."""


@dataclass(frozen=True)
class RegionVerifier:
    """A logistic regression on region features, by default the fixed score, and what decisions have moved it by.

    Attributes:
        weights: coefficient by feature, in the order of `FEATURE_NAMES` and then `CONTEXT_NAMES`
        bias: intercept
        shift: what a reviewer's decisions have changed

    Example:
        >>> features = np.zeros((4, NUM_FEATURES))
        >>> features[:2, 0] = 0.9
        >>> verifier = RegionVerifier.fit(features, [True, True, False, False])
        >>> bool(verifier.predict(features)[3] < RegionVerifier().predict(features)[3] + 0.01)
        True
    """

    weights: tuple[float, ...] = SCORE_WEIGHTS + NO_CONTEXT
    bias: float = SCORE_BIAS
    shift: ReviewShift = NO_SHIFT

    @property
    def num_accepted(self) -> int:
        """Reviewed regions that were errors."""
        return self.shift.num_accepted

    @property
    def num_rejected(self) -> int:
        """Reviewed regions that were not."""
        return self.shift.num_rejected

    @classmethod
    def uninformed(cls, share: float) -> RegionVerifier:
        """Return a verifier that knows how many regions are errors, but not which.

        Args:
            share: of the regions, in (0, 1)

        Returns:
            A verifier whose predictions are all `share`.

        Example:
            >>> RegionVerifier.uninformed(0.25).predict(np.ones((1, NUM_FEATURES))).round(3)
            array([0.25])
        """
        return cls((0.0,) * NUM_FEATURES, float(np.log(share / (1 - share))))

    @classmethod
    def learnt(cls, features: npt.ArrayLike, errors: npt.ArrayLike, *, strength: float = 1.0) -> RegionVerifier:
        """Learn from many regions that are known, for instance of rehearsed errors; nothing is taken from before.

        Args:
            features: (R, F + C) of `region_features` with their context
            errors: (R,) bool, with both values
            strength: of the ridge on coefficients of features that are scaled to unit spread; larger than 0

        Returns:
            The verifier.

        Raises:
            LabelQualityError: if shapes do not fit, a feature is not finite, or `strength` is not larger than 0.

        Example:
            >>> features = np.eye(4, NUM_FEATURES)
            >>> RegionVerifier.learnt(features, [True, False, False, False]).predict(features).argmax()
            np.int64(0)
        """
        rows, answers = _checked(features, errors, strength)
        start = cls.uninformed(float(answers.mean()))
        center, spread = rows.mean(axis=0), rows.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        scaled = np.column_stack([(rows - center) / spread, np.ones(len(rows))])
        change = regression(scaled, np.full(len(rows), start.bias), answers.astype(np.float64), float(strength))
        weights = change[:-1] / spread
        return cls(tuple(weights.tolist()), float(start.bias + change[-1] - weights @ center))

    @classmethod
    def fit(
        cls,
        features: npt.ArrayLike,
        accepted: npt.ArrayLike,
        *,
        strength: float = 1.0,
        prior: RegionVerifier | None = None,
        pairs: npt.ArrayLike | None = None,
    ) -> RegionVerifier:
        """Learn from a reviewer's decisions; see `ReviewShift` for how far they move a score.

        Args:
            features: (R, F) of `region_features`, or (R, F + C) with their context
            accepted: (R,) bool, whether there is a label error
            strength: how firmly to keep to `prior`; larger than 0
            prior: what to start from; None means the fixed score. Decisions that it has learnt from are forgotten:
                pass all of them
            pairs: (R, 2) given and suggested class of each region, if known

        Returns:
            The verifier.

        Raises:
            LabelQualityError: if shapes do not fit, a feature is not finite, or `strength` is not larger than 0.
        """
        rows, answers = _checked(features, accepted, strength)
        start = replace(prior or cls(), shift=NO_SHIFT)
        shift = ReviewShift.fit(
            start.predict(rows), kinds_of(rows), _pairs(pairs, len(rows)), rows, answers, scale=USUAL_SCALE,
            strength=strength,
        )  # fmt: skip
        return replace(start, shift=shift)

    def predict(self, features: npt.ArrayLike, pairs: npt.ArrayLike | None = None) -> FloatArray:
        """Return how surely regions are label errors.

        Args:
            features: (R, F) of `region_features`, or (R, F + C) with their context
            pairs: (R, 2) given and suggested class of each region, if known

        Returns:
            (R,) float64 in [0, 1].

        Raises:
            LabelQualityError: if the shape does not fit or a feature is not finite.
        """
        rows = _check_features(features)
        before = logistic(rows @ np.array(self.weights) + self.bias)
        return self.shift.moved(before, kinds_of(rows), _pairs(pairs, len(rows)), rows)

    def save(self, path: str | Path) -> Path:
        """Write the verifier as JSON; a file that exists is replaced at once or not at all.

        Args:
            path: file to write; its folder is made if need be

        Returns:
            The path.

        Raises:
            OSError: if the file cannot be written.
        """
        target = Path(path)
        content = {
            "features": dict(zip((*FEATURE_NAMES, *CONTEXT_NAMES), self.weights, strict=True)),
            "bias": self.bias,
            "shift": self.shift.as_dict(),
        }
        write_file(target, lambda file: file.write(json.dumps(content, indent=2).encode()))
        return target

    @classmethod
    def load(cls, path: str | Path) -> RegionVerifier:
        """Read a verifier that `save` wrote.

        Args:
            path: the file

        Returns:
            The verifier.

        Raises:
            FileNotFoundError: if there is no such file.
            LabelQualityError: if it is damaged or was written for other features.
        """
        try:
            content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            found = content["features"]
            names = (*FEATURE_NAMES, *CONTEXT_NAMES)
            if set(found) != set(names):
                raise LabelQualityError(
                    f"Expected a verifier of the features {', '.join(names)} in {path}, but got "
                    f"{', '.join(found)}; fit it again."
                )
            weights = tuple(float(found[name]) for name in names)
            return cls(weights, float(content["bias"]), ReviewShift.from_dict(content["shift"]))
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise LabelQualityError(
                f"Expected a region verifier in {path}, but the file is damaged ({error}); fit it again."
            ) from error


def _check_features(features: npt.ArrayLike) -> FloatArray:
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or rows.shape[1] not in (len(FEATURE_NAMES), NUM_FEATURES):
        raise LabelQualityError(
            f"Expected `features` of shape (R, {len(FEATURE_NAMES)}), or (R, {NUM_FEATURES}) with their context, but "
            f"got {rows.shape}; pass what `region_features` returns."
        )
    rows = np.pad(rows, ((0, 0), (0, NUM_FEATURES - rows.shape[1])))
    if not np.isfinite(rows).all():
        raise LabelQualityError("Expected finite `features`, but got NaN or infinity; leave such regions out.")
    return rows


def _checked(features: npt.ArrayLike, answers: npt.ArrayLike, strength: float) -> tuple[FloatArray, BoolArray]:
    rows, verdicts = _check_features(features), np.asarray(answers, np.bool_)
    if verdicts.shape != rows.shape[:1]:
        raise LabelQualityError(
            f"Expected one answer for each of {len(rows)} regions, but got shape {verdicts.shape}; pass one "
            "True or False per row of `features`."
        )
    if not 0 < strength < np.inf:
        raise LabelQualityError(f"Expected a finite `strength` larger than 0, but got {strength}; 1 is the default.")
    return rows, verdicts


def _pairs(pairs: npt.ArrayLike | None, count: int) -> IntArray:
    return np.full((count, 2), -1) if pairs is None else np.asarray(pairs, np.int64).reshape(-1, 2)
