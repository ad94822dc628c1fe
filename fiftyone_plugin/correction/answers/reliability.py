"""How reliable each person's answers to correction questions are, and what is true where people err or differ.

As by Dawid & Skene 1979 (Maximum likelihood estimation of observer error-rates using the EM algorithm, Applied
Statistics 28), with one number a person, and with what all other answers and the model say about a superpixel as the
prior of its class: so slips show even where each question was answered once. An answer that is no slip is the true
class; a slip is any other class, all alike. Questions whose answer is known count as such.

Everything follows from the people themselves: of careful ones hardly an answer is doubted, of careless ones many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ...quality.certainty.reviewers import TOLERATED, Reliability, interval_of_right, speaks_against
from ...quality.regions.review_statistics import LEVEL

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_PRIOR_RIGHT, _PRIOR_WRONG = 19.0, 1.0
_ROUNDS: Final = 50
_LEAST: Final = 1e-4  # a class may be true whatever everything else says


@dataclass(frozen=True, eq=False)
class AnswerPanel:
    """What people's answers are worth.

    Attributes:
        people: how reliable each of them is, by number
        chances: (Q, K) how likely each class is true, after all answers
    """

    people: list[Reliability]
    chances: FloatArray


def judge_answers(
    prior: npt.ArrayLike,
    questions: npt.ArrayLike,
    people: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    num_people: int,
    known: npt.ArrayLike | None = None,
    tolerated: float = TOLERATED,
) -> AnswerPanel:
    """Put together what people answered, what is known, and what everything else says.

    Args:
        prior: (Q, K) probabilities of the true classes without the answers to the question itself, for instance of
            `AnswerModel.posterior`
        questions: (A,) number of the question of each answer, from 0
        people: (A,) number of the person, from 0
        answers: (A,) class; of each person, those to questions whose answer is known oldest first: somebody is careless
            if they ever spoke against it
        num_people: how many people there are
        known: (Q,) true class where it is known, -1 where not; None: of none
        tolerated: share of slips that a careful person may make

    Returns:
        people and questions

    Raises:
        LabelQualityError: if numbers are beyond what there is, or shapes do not fit

    Example:
        >>> prior = np.full((20, 4), 0.005) + 0.98 * np.eye(4)[np.arange(20) % 4]
        >>> said = np.arange(20) % 4
        >>> said[7] = 0
        >>> panel = judge_answers(prior, np.arange(20), np.zeros(20), said, num_people=1)
        >>> panel.chances.argmax(1)[6:9].tolist(), panel.people[0].right.estimate > 0.9
        ([2, 3, 0], True)
    """
    before = np.asarray(prior, np.float64)
    asked, who, said = (np.asarray(one, np.int64) for one in (questions, people, answers))
    truth = np.full(len(before), -1) if known is None else np.asarray(known, np.int64)
    _check(before, asked, who, said, truth, num_people)
    before = (before + _LEAST) / (before + _LEAST).sum(1, keepdims=True)
    right = np.full(num_people, _PRIOR_RIGHT / (_PRIOR_RIGHT + _PRIOR_WRONG))
    counts = np.bincount(who, minlength=num_people)
    for _ in range(_ROUNDS):
        chances = _chances(before, asked, who, said, truth, right)
        agreed = np.bincount(who, weights=chances[asked, said], minlength=num_people)
        last, right = right, (agreed + _PRIOR_RIGHT) / (counts + _PRIOR_RIGHT + _PRIOR_WRONG)
        if np.abs(right - last).max(initial=0) < 1e-9:
            break
    chances = _chances(before, asked, who, said, truth, right)
    return AnswerPanel([_person(one, who, asked, said, truth, chances, right, tolerated) for one in range(num_people)],
                       chances)  # fmt: skip


def _chances(
    before: FloatArray, asked: IntArray, who: IntArray, said: IntArray, truth: IntArray, right: FloatArray
) -> FloatArray:
    logs = np.log(before)
    others = np.log((1 - right) / max(before.shape[1] - 1, 1))
    np.add.at(logs, (asked, said), (np.log(right) - others)[who])
    chances = np.exp(logs - logs.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    settled = truth >= 0
    chances[settled] = np.eye(before.shape[1])[truth[settled]]
    return np.asarray(chances)


def _person(
    person: int,
    who: IntArray,
    asked: IntArray,
    said: IntArray,
    truth: IntArray,
    chances: FloatArray,
    right: FloatArray,
    tolerated: float,
) -> Reliability:
    own = who == person
    on_known = own & (truth[asked] >= 0)
    wrong = said[on_known] != truth[asked[on_known]]
    against = (speaks_against(int(slips), n, tolerated) for n, slips in enumerate(np.cumsum(wrong), start=1))
    return Reliability(
        answers=int(own.sum()),
        known=int(wrong.size),
        slips=int(wrong.sum()),
        right=interval_of_right(float(chances[asked[own], said[own]].sum()), int(own.sum()), LEVEL),
        weight=float(np.log(right[person] / (1 - right[person]))),
        careless=max(against, default=0.0) > 1 / (1 - LEVEL),
    )


def _check(
    before: FloatArray, asked: IntArray, who: IntArray, said: IntArray, truth: IntArray, num_people: int
) -> None:
    if before.ndim != 2 or truth.shape != (len(before),) or not asked.shape == who.shape == said.shape:
        raise LabelQualityError(
            f"Expected (Q, K) probabilities, (Q,) known classes and a question, person and class for each answer, but "
            f"got shapes {before.shape}, {truth.shape}, {asked.shape}, {who.shape} and {said.shape}"
        )
    for name, numbers, end in (("questions", asked, len(before)), ("people", who, num_people),
                               ("answers", said, before.shape[1])):  # fmt: skip
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < end:
            raise LabelQualityError(
                f"Expected `{name}` from 0 to {end - 1}, but got {int(numbers.min())} to {int(numbers.max())}; leave "
                "skipped questions out"
            )
