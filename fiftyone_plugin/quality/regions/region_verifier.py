"""A regression that tells errors among regions: learnt from rehearsed errors, moved by a reviewer's decisions."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from .issue_regions import FEATURE_NAMES, SCORE_BIAS, SCORE_WEIGHTS, logistic

FloatArray = npt.NDArray[np.float64]

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

MAX_STEPS: Final = 100
SMALLEST_STEP: Final = 1e-10


@dataclass(frozen=True)
class RegionVerifier:
    """A logistic regression on region features that starts from another one, by default the fixed score.

    The coefficients are those it starts from plus a change w that minimises the logistic loss over the judged regions
    plus `strength` / 2 |w|^2, on features scaled to unit spread. Few decisions change the score a little, none leave it
    as it is, and one-sided ones (all accepted) cannot run away.

    Attributes:
        weights: coefficient by feature, in the order of `FEATURE_NAMES` and then `CONTEXT_NAMES`
        bias: intercept
        num_accepted: reviewed regions that were errors
        num_rejected: reviewed regions that were not

    Example:
        >>> features = np.zeros((4, NUM_FEATURES))
        >>> features[:2, 0] = 0.9
        >>> verifier = RegionVerifier.fit(features, [True, True, False, False])
        >>> verifier.predict(features)[0] > verifier.predict(features)[3]
        np.True_
    """

    weights: tuple[float, ...] = SCORE_WEIGHTS + NO_CONTEXT
    bias: float = SCORE_BIAS
    num_accepted: int = 0
    num_rejected: int = 0

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
    def fit(
        cls,
        features: npt.ArrayLike,
        accepted: npt.ArrayLike,
        *,
        strength: float = 1.0,
        prior: RegionVerifier | None = None,
    ) -> RegionVerifier:
        """Learn from judged regions.

        Args:
            features: (R, F) of `region_features`, or (R, F + C) with their context
            accepted: (R,) bool, whether there is a label error
            strength: how firmly to keep to `prior`; larger than 0
            prior: what to start from; None means the fixed score

        Returns:
            The verifier.

        Raises:
            LabelQualityError: if shapes do not fit, a feature is not finite, or `strength` is not larger than 0.
        """
        rows, answers = _check_features(features), np.asarray(accepted, np.bool_)
        if answers.shape != rows.shape[:1]:
            raise LabelQualityError(
                f"Expected one answer for each of {len(rows)} regions, but got shape {answers.shape}; pass one "
                "True or False per row of `features`."
            )
        if not 0 < strength < np.inf:
            raise LabelQualityError(
                f"Expected a finite `strength` larger than 0, but got {strength}; 1 is the default."
            )
        start = prior or cls()
        if not len(rows):
            return start
        spread = rows.std(axis=0)
        center, spread = rows.mean(axis=0), np.where(spread > 0, spread, 1.0)
        scaled = np.column_stack([(rows - center) / spread, np.ones(len(rows))])
        offset = rows @ np.array(start.weights) + start.bias
        change = _minimise(scaled, offset, answers.astype(np.float64), float(strength))
        weights = np.array(start.weights) + change[:-1] / spread
        bias = start.bias + change[-1] - float(change[:-1] @ (center / spread))
        accepted_count = int(answers.sum())
        return cls(tuple(float(weight) for weight in weights), float(bias), accepted_count, len(rows) - accepted_count)

    def predict(self, features: npt.ArrayLike) -> FloatArray:
        """Return how surely regions are label errors.

        Args:
            features: (R, F) of `region_features`, or (R, F + C) with their context

        Returns:
            (R,) float64 in [0, 1].

        Raises:
            LabelQualityError: if the shape does not fit or a feature is not finite.
        """
        return logistic(_check_features(features) @ np.array(self.weights) + self.bias)

    def save(self, path: str | Path) -> Path:
        """Write the verifier as JSON; a file that exists is replaced at once or not at all.

        Args:
            path: file to write; its folder must exist

        Returns:
            The path.

        Raises:
            OSError: if the file cannot be written.
        """
        target = Path(path)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        content = {
            "features": dict(zip((*FEATURE_NAMES, *CONTEXT_NAMES), self.weights, strict=True)),
            "bias": self.bias,
            "num_accepted": self.num_accepted,
            "num_rejected": self.num_rejected,
        }
        try:
            partial.write_text(json.dumps(content, indent=2), encoding="utf-8")
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
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
            return cls(weights, float(content["bias"]), int(content["num_accepted"]), int(content["num_rejected"]))
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


def _minimise(rows: FloatArray, offset: FloatArray, answers: FloatArray, strength: float) -> FloatArray:
    """Newton's method with halved steps where a full one overshoots; the loss is strictly convex."""
    change = np.zeros(rows.shape[1])
    loss = _loss(rows, offset, answers, strength, change)
    for _ in range(MAX_STEPS):
        chances = logistic(rows @ change + offset)
        gradient = rows.T @ (chances - answers) + strength * change
        curvature = (rows * (chances * (1 - chances))[:, None]).T @ rows + strength * np.eye(change.size)
        step = np.linalg.solve(curvature, gradient)
        while (lower := _loss(rows, offset, answers, strength, change - step)) > loss:
            step /= 2
            if np.abs(step).max() < SMALLEST_STEP:
                return change
        change, loss = change - step, lower
        if np.abs(step).max() < SMALLEST_STEP:
            break
    return change


def _loss(rows: FloatArray, offset: FloatArray, answers: FloatArray, strength: float, change: FloatArray) -> float:
    values = rows @ change + offset
    return float((np.logaddexp(0, values) - answers * values).sum() + strength / 2 * change @ change)
