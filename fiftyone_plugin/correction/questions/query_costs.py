"""What questions cost: a correction query against a classification query, in bits and in seconds.

A correction query asks "is this label right? if not, what is it?", a classification query "what is this?". Choosing
among k options costs log2 k bits, so with L classes and a label that is right with probability p

    classification: log2 L        correction: 1 + (1 - p) log2(L - 1)

as the label shown is no option any more once it was found wrong. The comparison of the two queries is that of Kim,
Hwang, Kwak & Ok 2024, Active label correction for semantic segmentation with foundation models (ICML, PMLR 235); these
formulas follow from the convention and may differ from theirs in form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError

Chance = TypeVar("Chance", float, npt.NDArray[np.float64])

CONFIRM_SECONDS: Final = 1.63
"""To confirm before anything was measured: M + K of the keystroke-level model.

Card, Moran & Newell 1980, The keystroke-level model for user performance time with interactive systems, Communications
of the ACM 23: 1.35 s to prepare mentally (M), 0.28 s for a key (K), 0.4 s to change between keyboard and mouse (H),
1.1 s to point (P).
"""

CORRECT_SECONDS: Final = 4.48
"""To correct before anything was measured: 2 M + H + P + K, one M for each of the two decisions."""

PRIOR_ANSWERS: Final = 5.0
"""How many measured answers the seconds assumed beforehand weigh as much as."""

LONGEST_SECONDS: Final = 60.0
"""Answers that took longer were interrupted and are left out."""


def classification_bits(num_classes: int) -> float:
    """Bits of an answer to "what is this?".

    Args:
        num_classes: L, at least 2

    Returns:
        log2 L

    Raises:
        LabelQualityError: if there are fewer than two classes

    Example:
        >>> round(classification_bits(21), 2)
        4.39
    """
    return float(np.log2(_check_classes(num_classes)))


def correction_bits(num_classes: int, right: float, *, ask_all: bool = False) -> float:
    """Expected bits of an answer to "is this label right? if not, what is it?".

    Args:
        num_classes: L, at least 2
        right: probability p that the label is right
        ask_all: whether the label shown is still offered after it was found wrong, so that L instead of L - 1 remain

    Returns:
        1 + (1 - p) log2(L - 1), or with `ask_all` 1 + (1 - p) log2 L

    Raises:
        LabelQualityError: if there are fewer than two classes or `right` is no probability

    Example:
        >>> round(correction_bits(21, 0.5, ask_all=True), 2), round(correction_bits(21, 0.5), 2)
        (3.2, 3.16)
    """
    options = _check_classes(num_classes) - (not ask_all)
    if not 0 <= right <= 1:
        raise LabelQualityError(
            f"Expected `right` in [0, 1], but got {right}; pass a share of labels, not a percentage."
        )
    return float(1 + (1 - right) * np.log2(options))


def break_even(num_classes: int, *, ask_all: bool = False) -> float:
    """Probability that the label is right from which the correction query is the cheaper one.

    Args:
        num_classes: L, at least 2
        ask_all: as in `correction_bits`

    Returns:
        p at which both cost the same number of bits; 0 with two classes, where to find a label wrong is to know the
        class, and 1 with two classes and `ask_all`

    Raises:
        LabelQualityError: if there are fewer than two classes

    Example:
        >>> [round(break_even(count, ask_all=True), 3) for count in (21, 19)], round(break_even(21), 3)
        ([0.228, 0.235], 0.215)
    """
    options = _check_classes(num_classes) - (not ask_all)
    if options == 1:
        return 0.0
    return float(1 - (np.log2(num_classes) - 1) / np.log2(options))


@dataclass(frozen=True)
class SittingCost:
    """What the answers of a sitting cost, and what classification queries would have.

    Attributes:
        bits_spent: of the correction queries
        bits_classification: of as many classification queries
        right: share of the labels that were confirmed; NaN without answers
        break_even: share from which the correction query is the cheaper one
        cheaper: which query would be the cheaper one for labels like these, "correction" or "classification"
    """

    bits_spent: float
    bits_classification: float
    right: float
    break_even: float
    cheaper: str


def sitting_cost(num_classes: int, confirmed: int, corrected: int) -> SittingCost:
    """Count the bits of a sitting.

    Args:
        num_classes: L, at least 2
        confirmed: answers that the label is right
        corrected: answers with another class

    Returns:
        the cost; skipped questions cost nothing because they tell nothing

    Raises:
        LabelQualityError: if there are fewer than two classes or a number is negative

    Example:
        >>> cost = sitting_cost(21, confirmed=5, corrected=5)
        >>> round(cost.bits_spent, 1), round(cost.bits_classification, 1), cost.cheaper
        (31.6, 43.9, 'correction')
    """
    if min(confirmed, corrected) < 0:
        raise LabelQualityError(f"Expected counts from 0, but got {confirmed} and {corrected}; count each answer once.")
    answered = confirmed + corrected
    right = confirmed / answered if answered else float("nan")
    spent = answered * correction_bits(num_classes, right) if answered else 0.0
    limit = break_even(num_classes)
    cheaper = "classification" if answered and right < limit else "correction"
    return SittingCost(spent, answered * classification_bits(num_classes), right, limit, cheaper)


@dataclass(frozen=True)
class AnswerSeconds:
    """Seconds that a person typically needs for an answer.

    Attributes:
        confirm: that the label is right
        correct: that it is wrong, with the right class

    Example:
        >>> AnswerSeconds(confirm=2, correct=5).expected(0.5)
        3.5
    """

    confirm: float = CONFIRM_SECONDS
    correct: float = CORRECT_SECONDS

    @classmethod
    def fit(
        cls, confirm: npt.ArrayLike, correct: npt.ArrayLike, *, prior: AnswerSeconds | None = None
    ) -> AnswerSeconds:
        """Learn from measured times: geometric means, because a few answers take very long.

        Args:
            confirm: (n,) measured seconds of confirmations
            correct: (m,) measured seconds of corrections
            prior: what to assume beforehand, with the weight of five answers of each kind

        Returns:
            the typical seconds. Times that are not above 0, or above a minute (interruptions), are left out.

        Example:
            >>> seconds = AnswerSeconds.fit([1.0] * 95, [300.0], prior=AnswerSeconds(4.0, 5.0))
            >>> round(seconds.confirm, 3), round(seconds.correct, 3)
            (1.072, 5.0)
        """
        start = prior or cls()
        return cls(_typical(confirm, start.confirm), _typical(correct, start.correct))

    def expected(self, wrong: Chance) -> Chance:
        """Expected seconds of a question.

        Args:
            wrong: probability that the label is wrong; a number or an array

        Returns:
            (1 - wrong) confirm + wrong correct
        """
        return self.confirm + wrong * (self.correct - self.confirm)


def _typical(seconds: npt.ArrayLike, prior: float) -> float:
    measured = np.asarray(seconds, np.float64).ravel()
    used = np.log(measured[(measured > 0) & (measured <= LONGEST_SECONDS)])
    return float(np.exp((used.sum() + PRIOR_ANSWERS * np.log(prior)) / (used.size + PRIOR_ANSWERS)))


def _check_classes(num_classes: int) -> int:
    if num_classes < 2:
        raise LabelQualityError(f"Expected at least 2 classes, but got {num_classes}; pass all classes of the labels.")
    return int(num_classes)
