"""Simulated annotators: what a question about a region would have been answered, given the ground truth.

`PublishedOracle` follows Kim et al., "Active Label Correction for Semantic Segmentation with Foundation Models", ICML
2024; `MajorityOracle` follows its successor A2LC (AAAI 2026). Both judge as no person can: whether more than half of
the pixels agree, void included. `HonestAnnotator` sees the region that is shown, says what most of it is, cannot tell
about void, may cut a mixed region down to the part that is wrong, and may err.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ...errors import LabelQualityError
from ..questions.query_costs import CONFIRM_SECONDS, CORRECT_SECONDS

CLICK_SECONDS = 2.73  # M + P + K of the keystroke-level model that the seconds of an answer come from
_SMALLEST_PART = 16  # pixels that somebody would bother to cut out

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What an annotator said.

    Attributes:
        answer: class that the region has; None if the annotator could not tell
        confirmed: the given class is right
        region: (H, W) bool, pixels that the answer holds for
        clicks: points set to cut the region
        seconds: time it took
    """

    answer: int | None
    confirmed: bool
    region: Mask
    clicks: int
    seconds: float


class Annotator(Protocol):
    """Answers questions about regions."""

    def judge(self, true: Labels, labels: Labels, region: Mask, representative: tuple[int, int]) -> Judgement:
        """Say what a region is.

        Args:
            true: (H, W) ground truth
            labels: (H, W) label as given
            region: (H, W) bool, what is asked about
            representative: (row, column) of the pixel that is marked
        """
        ...


@dataclass(frozen=True)
class PublishedOracle:
    """Whole superpixel right if more than half of it agrees; else it gets the true class of the representative.

    Args:
        confirm_seconds: for an answer that the given class is right
        correct_seconds: for another class

    Example:
        >>> true, labels = np.array([[1, 2, 2, 2]]), np.array([[1, 1, 1, 1]])
        >>> said = PublishedOracle().judge(true, labels, labels == 1, (0, 0))
        >>> said.answer, said.confirmed
        (1, False)
    """

    confirm_seconds: float = CONFIRM_SECONDS
    correct_seconds: float = CORRECT_SECONDS

    def judge(self, true: Labels, labels: Labels, region: Mask, representative: tuple[int, int]) -> Judgement:
        """Judge by the share of agreeing pixels.

        Args:
            true: (H, W) ground truth
            labels: (H, W) label as given
            region: (H, W) bool
            representative: (row, column)

        Raises:
            LabelQualityError: shapes differ, or the region is empty
        """
        _check(true, labels, region)
        return _by_agreement(self, true, labels, region, int(true[representative]))


@dataclass(frozen=True)
class MajorityOracle:
    """Whole superpixel right if more than half of it agrees; else it gets its most frequent true class, void too.

    Args:
        confirm_seconds: for an answer that the given class is right
        correct_seconds: for another class

    Example:
        >>> true, labels = np.array([[1, 2, 2, 2]]), np.array([[1, 1, 1, 1]])
        >>> MajorityOracle().judge(true, labels, labels == 1, (0, 0)).answer
        2
    """

    confirm_seconds: float = CONFIRM_SECONDS
    correct_seconds: float = CORRECT_SECONDS

    def judge(self, true: Labels, labels: Labels, region: Mask, representative: tuple[int, int]) -> Judgement:
        """Judge by the share of agreeing pixels.

        Args:
            true: (H, W) ground truth
            labels: (H, W) label as given
            region: (H, W) bool
            representative: (row, column); not used

        Raises:
            LabelQualityError: shapes differ, or the region is empty
        """
        _check(true, labels, region)
        return _by_agreement(self, true, labels, region, _most_frequent(true[region]))


@dataclass
class HonestAnnotator:
    """Sees the region as it is shown and says what most of it is.

    Args:
        num_classes: K; truth outside 0..K-1 is what the annotator cannot tell either
        refine: cut a region down to the part that is wrong where less than `pure` of it is one class
        pure: share from which on a region is taken as one thing
        spill: pixels by which a cut part is too wide, within the region
        refine_clicks: points that a cut takes
        error_rate: share of answers that are another class than meant, any with the same probability
        tires_over: answers of a sitting, over which slips rise evenly from none to twice `error_rate`, and then begin
            anew; 0: they are as frequent all along
        confirm_seconds: for an answer that the given class is right
        correct_seconds: for another class
        click_seconds: for a point of a cut
        seed: of the errors

    Example:
        >>> true, labels = np.array([[1, 2, 2, 255]]), np.array([[1, 1, 1, 1]])
        >>> said = HonestAnnotator(3).judge(true, labels, labels == 1, (0, 0))
        >>> said.answer, said.seconds, HonestAnnotator(3).judge(true, labels, true == 255, (0, 3)).answer
        (2, 4.48, None)
    """

    num_classes: int
    refine: bool = False
    pure: float = 0.85
    spill: int = 1
    refine_clicks: int = 2
    error_rate: float = 0.0
    tires_over: int = 0
    confirm_seconds: float = CONFIRM_SECONDS
    correct_seconds: float = CORRECT_SECONDS
    click_seconds: float = CLICK_SECONDS
    seed: int = 0
    _random: np.random.Generator = field(init=False, repr=False)
    _answers: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        most = 0.5 if self.tires_over else 1.0
        if not 0 <= self.error_rate < most or self.tires_over < 0:
            raise LabelQualityError(
                f"Expected `error_rate` from 0 to less than {most:g} and `tires_over` from 0, but got "
                f"{self.error_rate} and {self.tires_over}."
            )
        self._random = np.random.default_rng(self.seed)

    def judge(self, true: Labels, labels: Labels, region: Mask, representative: tuple[int, int]) -> Judgement:
        """Judge by what is seen.

        Args:
            true: (H, W) ground truth
            labels: (H, W) label as given
            region: (H, W) bool
            representative: (row, column); not used

        Raises:
            LabelQualityError: shapes differ, or the region is empty
        """
        _check(true, labels, region)
        given = _most_frequent(labels[region])
        seen = true[region]
        seen = seen[(seen >= 0) & (seen < self.num_classes)]
        if not seen.size:
            return Judgement(None, False, region, 0, self.correct_seconds)
        shares = np.bincount(seen, minlength=self.num_classes) / seen.size
        answer, part, clicks = int(shares.argmax()), region, 0
        if self.refine and shares.max() < self.pure:
            answer, part, clicks = self._cut(true, region, given, shares)
        if self._random.random() < self._slips():
            answer = int(self._random.choice([value for value in range(self.num_classes) if value != answer]))
        seconds = self.confirm_seconds if answer == given else self.correct_seconds
        return Judgement(answer, answer == given, part, clicks, seconds + clicks * self.click_seconds)

    def _slips(self) -> float:
        """Chance that this answer is a slip."""
        self._answers += 1
        if not self.tires_over:
            return self.error_rate
        return 2 * self.error_rate * ((self._answers - 1) % self.tires_over + 0.5) / self.tires_over

    def _cut(self, true: Labels, region: Mask, given: int, shares: npt.NDArray[np.float64]) -> tuple[int, Mask, int]:
        """The largest part that is not what the label says, if it is worth a cut."""
        others = shares.copy()
        if 0 <= given < self.num_classes:
            others[given] = 0
        wrong = int(others.argmax())
        part = region & (true == wrong)
        if part.sum() < _SMALLEST_PART:
            return int(shares.argmax()), region, 0
        if self.spill:
            part = ndimage.binary_dilation(part, iterations=self.spill) & region
        return wrong, part, self.refine_clicks


def _by_agreement(
    oracle: PublishedOracle | MajorityOracle, true: Labels, labels: Labels, region: Mask, truth: int
) -> Judgement:
    if (labels[region] == true[region]).mean() > 0.5:
        return Judgement(_most_frequent(labels[region]), True, region, 0, oracle.confirm_seconds)
    return Judgement(truth, False, region, 0, oracle.correct_seconds)


def _most_frequent(values: Labels) -> int:
    """The most frequent value, the smallest of equally frequent ones."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def _check(true: Labels, labels: Labels, region: Mask) -> None:
    if not true.shape == labels.shape == region.shape:
        raise LabelQualityError(
            "Expected ground truth, label and region of one size, but got "
            f"{true.shape}, {labels.shape} and {region.shape}."
        )
    if not region.any():
        raise LabelQualityError("Expected a region of at least one pixel, but it is empty.")
