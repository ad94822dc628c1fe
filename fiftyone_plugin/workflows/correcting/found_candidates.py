"""What a plan chooses from: the candidates of all images, and what was answered about them before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...correction.questions.candidates import Candidates
from ...correction.questions.query_costs import AnswerSeconds
from ...dataset.door.scan import LabelledImage
from ...dataset.journals.answers import Answer


@dataclass(frozen=True, eq=False)
class Found:
    """The candidates of all images, and what was asked before.

    Attributes:
        images: in the order of everything else
        candidates: of each image; read from its file when asked for
        asked: (n,) bool of each image
        answers: answers that people gave, by sample id, without their masks
        confusion: (K, K) pixels that have a class, given x predicted
    """

    images: Sequence[LabelledImage]
    candidates: Sequence[Candidates]
    asked: list[np.ndarray]
    answers: dict[str, list[Answer]]
    confusion: np.ndarray

    @property
    def labelled(self) -> int:
        """Pixels that have a class."""
        return int(self.confusion.sum())

    @property
    def num_answered(self) -> int:
        """Answers that people gave."""
        return sum(len(found) for found in self.answers.values())

    def seconds(self) -> AnswerSeconds:
        """What an answer takes, as measured so far."""
        given = [answer for found in self.answers.values() for answer in found if answer.seconds and answer.sitting]
        times = {
            status: [float(answer.seconds or 0) for answer in given if answer.status == status]
            for status in ("confirmed", "corrected")
        }
        return AnswerSeconds.fit(times["confirmed"], times["corrected"])

    def population(self) -> int:
        """Pixels that a question can be about now."""
        open_rows = (one.area[(one.given >= 0) & ~rows] for one, rows in zip(self.candidates, self.asked, strict=True))
        return sum(int(areas.sum()) for areas in open_rows)

    def reachable(self) -> float:
        """Share of the labelled pixels that lie in some superpixel with a class."""
        area = sum(int(one.area[one.given >= 0].sum()) for one in self.candidates)
        return min(area / max(self.labelled, 1), 1.0)
