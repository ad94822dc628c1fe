"""How reliable each reviewer is, from questions whose answer is known and from what people say about the same thing.

Of answers that two or more people gave, nobody knows the truth; it is estimated together with how often each person is
right (Dawid & Skene 1979, Maximum likelihood estimation of observer error-rates using the EM algorithm, Applied
Statistics 28), with one number a person and a weak prior. Known answers are simply known.

Somebody is called careless when the answers speak against a tolerable share of slips by more than 20 to 1. That ratio
compares a bet, all larger shares alike, with the largest tolerable one, so it may be looked at after every answer: of
careful people at most 5 % are ever called careless (Ville's inequality).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ..regions.review_statistics import LEVEL, Interval, precision_interval

FloatArray = npt.NDArray[np.float64]

TOLERATED: Final = 0.1
"""Share of slips that a careful person may make."""

DOUBTFUL: Final = 0.9
"""Answers whose truth is less sure than this are worth asking again."""

_PRIOR_RIGHT, _PRIOR_WRONG = 9.0, 1.0
_ROUNDS: Final = 100


@dataclass(frozen=True)
class Reliability:
    """How often one person is right.

    Attributes:
        answers: all that were compared, with a known truth or with other people
        known: of those, with a known truth
        slips: wrong answers among the known ones
        right: share of right answers, with its interval
        weight: log odds of being right: what an answer of this person counts
        careless: whether more slips are made than tolerable, beyond doubt
    """

    answers: int
    known: int
    slips: int
    right: Interval
    weight: float
    careless: bool

    def as_row(self) -> list[Any]:
        """Plain values, for a file or a database."""
        right = self.right
        return [
            self.answers,
            self.known,
            self.slips,
            [right.estimate, right.low, right.high],
            self.weight,
            self.careless,
        ]

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Reliability:
        """What `as_row` has made plain.

        Args:
            row: its values

        Example:
            >>> one = Reliability(40, 8, 1, Interval(0.9, 0.8, 0.96), 2.2, False)
            >>> Reliability.from_row(one.as_row()) == one
            True
        """
        answers, known, slips, right, weight, careless = row
        return cls(int(answers), int(known), int(slips), Interval(*right), float(weight), bool(careless))


@dataclass(frozen=True, eq=False)
class Panel:
    """What several people said, put together.

    Attributes:
        people: how reliable each of them is, by number
        chances: (Q,) how likely the answer to each question is yes
        doubtful: (Q,) bool, worth asking again: people differ, or only careless ones have answered
    """

    people: list[Reliability]
    chances: FloatArray
    doubtful: npt.NDArray[np.bool_]


def speaks_against(slips: int, answers: int, tolerated: float = TOLERATED) -> float:
    """How strongly answers speak against a tolerable share of slips.

    Args:
        slips: wrong answers
        answers: all answers
        tolerated: share of slips that is tolerable

    Returns:
        the ratio; above 20 somebody is careless with 95 % confidence, however often one looks

    Example:
        >>> speaks_against(5, 8) > 20, speaks_against(1, 8) > 20
        (True, False)
    """
    from scipy.special import betainc, betaln, xlog1py, xlogy

    if not 0 <= slips <= answers:
        raise LabelQualityError(f"Expected `slips` between 0 and `answers`, but got {slips} of {answers}")
    above = 1 - betainc(slips + 1, answers - slips + 1, tolerated)
    bet = np.log(max(above, 1e-300)) + betaln(slips + 1, answers - slips + 1) - np.log1p(-tolerated)
    return float(np.exp(np.minimum(bet - xlogy(slips, tolerated) - xlog1py(answers - slips, -tolerated), 700)))


def judge_reviewers(
    questions: npt.ArrayLike,
    people: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    num_people: int,
    known: npt.ArrayLike,
    tolerated: float = TOLERATED,
    level: float = LEVEL,
) -> Panel:
    """Put together what several people said about yes-or-no questions.

    Args:
        questions: (A,) number of the question of each answer, from 0
        people: (A,) number of the person, from 0
        answers: (A,) bool
        num_people: how many people there are
        known: (Q,) 1 = yes, 0 = no, NaN = the truth is not known
        tolerated: share of slips that is tolerable
        level: share of intervals that hold the truth

    Returns:
        people and questions

    Raises:
        LabelQualityError: if the arrays do not fit

    Example:
        >>> said = np.array([[1, 1, 0, 0, 1, 0]] * 2 + [[0, 0, 1, 1, 0, 1]], bool)
        >>> who, what = np.indices(said.shape)
        >>> known = [1, 1, 0, 0, np.nan, np.nan]
        >>> panel = judge_reviewers(what.ravel(), who.ravel(), said.ravel(), num_people=3, known=known)
        >>> [person.careless for person in panel.people], panel.chances[4:].round(1).tolist()
        ([False, False, True], [1.0, 0.0])
    """
    asked, who, said = np.asarray(questions, np.int64), np.asarray(people, np.int64), np.asarray(answers, bool)
    truth = np.asarray(known, np.float64)
    _check(asked, who, said, truth, num_people)
    settled = ~np.isnan(truth)
    shared = np.bincount(asked, minlength=truth.size) > 1
    counted = settled[asked] | shared[asked]
    chances, right = _together(asked, who, said, truth, num_people, counted)
    expected = np.where(said, chances[asked], 1 - chances[asked])
    found = []
    for person in range(num_people):
        own = (who == person) & counted
        on_known = own & settled[asked]
        slips = int((said[on_known] != truth[asked[on_known]].astype(bool)).sum())
        agreed = float(expected[own].sum())
        found.append(
            Reliability(
                answers=int(own.sum()),
                known=int(on_known.sum()),
                slips=slips,
                right=interval_of_right(agreed, int(own.sum()), level),
                weight=float(np.log(right[person] / (1 - right[person]))),
                careless=speaks_against(slips, int(on_known.sum()), tolerated) > 1 / (1 - level),
            )
        )
    sure = np.maximum(chances, 1 - chances)
    return Panel(found, chances, (sure < DOUBTFUL) & ~settled)


def _together(
    asked: npt.NDArray[np.int64],
    who: npt.NDArray[np.int64],
    said: npt.NDArray[np.bool_],
    truth: FloatArray,
    num_people: int,
    counted: npt.NDArray[np.bool_],
) -> tuple[FloatArray, FloatArray]:
    """Chance of yes for each question, and how often each person is right, from each other in turn."""
    right = np.full(num_people, _PRIOR_RIGHT / (_PRIOR_RIGHT + _PRIOR_WRONG))
    settled = ~np.isnan(truth)
    chances = np.zeros(truth.size)
    for _ in range(_ROUNDS):
        weights = np.log(right / (1 - right))[who]
        votes = np.bincount(asked, weights=np.where(said, weights, -weights), minlength=truth.size)
        chances = np.where(settled, truth, 1 / (1 + np.exp(-np.clip(votes, -60, 60))))
        agreed = np.where(said, chances[asked], 1 - chances[asked])[counted]
        hits = np.bincount(who[counted], weights=agreed, minlength=num_people) + _PRIOR_RIGHT
        before, right = right, hits / (np.bincount(who[counted], minlength=num_people) + _PRIOR_RIGHT + _PRIOR_WRONG)
        if np.abs(right - before).max(initial=0) < 1e-9:
            break
    return chances, right


def interval_of_right(right: float, answers: int, level: float) -> Interval:
    """Jeffreys' interval of a share of right answers, where their number is an expectation.

    Args:
        right: expected number of right answers
        answers: all answers
        level: share of intervals that hold the truth

    Example:
        >>> interval_of_right(18.5, 20, 0.95).estimate
        0.925
    """
    whole = precision_interval(min(round(right), answers), answers, level)
    if not answers:
        return whole
    share = right / answers
    return Interval(share, min(whole.low, share), max(whole.high, share))


def _check(
    asked: npt.NDArray[np.int64],
    who: npt.NDArray[np.int64],
    said: npt.NDArray[np.bool_],
    truth: FloatArray,
    num_people: int,
) -> None:
    if not asked.shape == who.shape == said.shape or asked.ndim != 1:
        raise LabelQualityError(
            f"Expected a question and a person for each answer, but got shapes {asked.shape}, {who.shape} and "
            f"{said.shape}"
        )
    inside = not asked.size or (asked.min() >= 0 and asked.max() < truth.size)
    if not inside or (who.size and not 0 <= who.min() <= who.max() < num_people):
        raise LabelQualityError(
            f"Expected questions from 0 to {truth.size - 1} and people from 0 to {num_people - 1}, but got numbers "
            "beyond them"
        )
