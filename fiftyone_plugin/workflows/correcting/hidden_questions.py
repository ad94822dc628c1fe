"""Hidden questions of a correction: their answer is known, so they tell how reliable a person is.

A file in the run's folder says by query id what is true and what is shown; it is complete before the queries are in
the database, so a question is the same before and after a crash, in every tab and for everybody. What is answered to
one is kept like a skip, with a source of its own: it counts for the person and never changes a label.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from ...correction.answers.reliability import judge_answers
from ...correction.answers.replay import Repaint, replay
from ...correction.questions.acquisition import Chosen
from ...correction.questions.known_questions import KnownQuestion, known_question, mixed_in, which_are_wrong
from ...dataset.door.classes import ClassMap
from ...dataset.door.scan import file_stamp
from ...dataset.fields.queries import StoredQuery
from ...dataset.journals import answers as answer_log
from ...dataset.journals.answers import HIDDEN, Answer
from ...dataset.runs import files
from ...errors import LabelQualityError
from ...quality.certainty.reviewers import Reliability
from ...wording import count, percent
from .correction_run import HIDDEN_QUESTIONS, CorrectionRun
from .found_candidates import Found

CONFIDENCE: Final = 0.95
"""Probability from which a class counts as known."""

SOMEBODY = "somebody"
"""Stands for all who gave no name."""


@dataclass(frozen=True)
class HiddenQuestion:
    """One question whose answer is known.

    Attributes:
        truth: mask value of the right class
        shown: mask value of the class that the label is said to have
    """

    truth: int
    shown: int

    def painted(self, values: np.ndarray, bbox: tuple[int, int, int, int], mask: np.ndarray) -> np.ndarray:
        """The label as it is shown for this question.

        Args:
            values: (H, W) mask values of the label
            bbox: (top, left, bottom, right) of the question, half open
            mask: its pixels

        Returns:
            (H, W) a copy
        """
        return replay(values, [Repaint(bbox, mask, self.shown)])

    def answered(self, answer: Answer, said: str | None) -> Answer:
        """An answer to this question as it is kept.

        Args:
            answer: as it would be kept were the question none of these
            said: class that the person said; None for a skip
        """
        return replace(answer, status="skipped", answer=said, source=HIDDEN, known=self.truth, repaired=0)


class HiddenQuestions:
    """The hidden questions of a run; their file is read again when it has changed.

    Args:
        run: of the correction
    """

    def __init__(self, run: CorrectionRun) -> None:
        self._path = run.folder / HIDDEN_QUESTIONS
        rounds = run.record.summary.get("rounds", [])
        self._rounds = {int(plan["round"]) for plan in rounds if plan.get("hidden")}
        self._stamp: tuple[int, ...] | None = None
        self._known: dict[str, HiddenQuestion] | None = None

    def known(self) -> Mapping[str, HiddenQuestion]:
        """All of them, by query id; none where there is no file."""
        return self._read() or {}

    def find(self, query: StoredQuery) -> HiddenQuestion | None:
        """What is known about a question.

        Args:
            query: the question

        Returns:
            None if it is not one of these

        Raises:
            LabelQualityError: if nobody can tell any more; its answer could spoil a label
        """
        known = self._read()
        if known is None and query.round in self._rounds:
            raise LabelQualityError(
                f"some questions of round {query.round} are hidden known ones, but the file that says which, "
                f"{self._path}, is gone or damaged; plan the questions again"
            )
        return (known or {}).get(query.query_id)

    def _read(self) -> dict[str, HiddenQuestion] | None:
        stamp = file_stamp(str(self._path))
        if stamp is None or stamp != self._stamp:
            rows = (files.read_json(self._path) or {}).get("questions")
            self._known = None if rows is None else {name: HiddenQuestion(*row) for name, row in rows.items()}
            self._stamp = stamp
        return self._known

    def keep(self, questions: Mapping[str, HiddenQuestion]) -> None:
        """Add questions, before anybody can be asked them; those of earlier plans stay.

        Args:
            questions: by query id
        """
        if questions:
            rows = {name: [one.truth, one.shown] for name, one in {**self.known(), **questions}.items()}
            files.write_json(self._path, {"questions": rows})


def choose_hidden(
    sure: Mapping[tuple[int, int], int],
    found: Found,
    classes: ClassMap,
    number: int,
    seed: int,
    taken: Sequence[Chosen] = (),
) -> dict[tuple[int, int], KnownQuestion]:
    """Draw hidden questions and what they show.

    Where too little was answered, as before the first sitting, the rest are rehearsed: superpixels whose label an
    out-of-sample model agrees with, of which the shown error is known because it is put in here.

    Args:
        sure: (image, row) of superpixels that were answered about, with the class that is true beyond doubt
        found: candidates of all images
        classes: of the label field
        number: at most so many
        seed: of the draw
        taken: other questions, which are asked as they are

    Returns:
        what is shown, by (image, row)
    """
    rng = np.random.default_rng([seed, 1])
    usable = [index for index, value in enumerate(classes.values) if value is not None]
    if not number:
        return {}
    asked = {(one.image, one.row) for one in taken}
    answered = [
        (image, row) for image, row in sure
        if (image, row) not in asked and found.candidates[image].given[row] == sure[image, row] in usable
    ]  # fmt: skip
    drawn = [answered[place] for place in rng.permutation(len(answered))[:number].tolist()]
    if len(drawn) < number:
        drawn += _agreed(found, {*asked, *sure}, usable, number - len(drawn), rng)
    wrong = which_are_wrong(len(drawn), len(usable), rng)
    return {
        (image, row): known_question(
            int(found.candidates[image].given[row]), _likely(found, image, row, usable), found.confusion, wrong=one,
            rng=rng,
        )
        for (image, row), one in zip(drawn, wrong, strict=True)
    }  # fmt: skip


def _agreed(
    found: Found, left_out: set[tuple[int, int]], usable: Sequence[int], number: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Superpixels that label and model are sure of, large enough to be seen, drawn from all classes alike."""
    rows = tuple(array("i") for _ in range(3))  # given class, image and row of each, of which there may be millions
    for image, one in enumerate(found.candidates):
        sure = (one.dominant == one.given) & np.isin(one.given, usable) & ~found.asked[image]
        sure[sure] = one.mean_probs[sure, one.given[sure]] >= CONFIDENCE
        sure &= one.area >= np.median(one.area, keepdims=True)
        open_rows = np.flatnonzero(sure)
        found_here: list[np.ndarray] = [one.given[open_rows], np.full(open_rows.size, image), open_rows]
        for kept, values in zip(rows, found_here, strict=True):
            kept.frombytes(values.astype(np.intc).tobytes())
    given, images, places = (np.frombuffer(kept, np.intc) for kept in rows)
    codes = images.astype(np.int64) << 32 | places
    order = rng.permutation(codes.size)
    order = order[~np.isin(codes[order], [image << 32 | row for image, row in left_out])]
    first = order[np.argsort(_turns(given[order]), kind="stable")[:number]]
    return list(zip(images[first].tolist(), places[first].tolist(), strict=True))


def _turns(given: np.ndarray) -> np.ndarray:
    """(n,) how many of the same class come before each."""
    by_class = np.argsort(given, kind="stable")
    first = np.searchsorted(given[by_class], given[by_class], side="left")
    turns = np.empty(given.size, np.int64)
    turns[by_class] = np.arange(given.size) - first
    return turns


def _likely(found: Found, image: int, row: int, usable: Sequence[int]) -> list[int]:
    return [int(value) for value in found.candidates[image].alternatives(row) if value in usable]


def hide_among(chosen: Sequence[Chosen], hidden: Sequence[tuple[int, int]], seed: int) -> list[Chosen]:
    """Put hidden questions among the others, whose order stays; each looks as valuable as the one before it.

    Args:
        chosen: the other questions
        hidden: (image, row) of the hidden ones
        seed: of the places
    """
    mixed = list(chosen)
    places = mixed_in(len(chosen), len(hidden), np.random.default_rng([seed, 2]))
    for place, (image, row) in zip(places, hidden, strict=True):
        before = mixed[max(place - 1, 0)].value if mixed else 0.0
        mixed.insert(place, Chosen(image, row, value=before, audit=False))
    return mixed


def answers_of(run: CorrectionRun) -> list[Answer]:
    """All answers of people that count, without their masks."""
    found = answer_log.read_answers(run.dataset, run.label_field, but_of=[answer_log.PROPAGATED], masks=False)
    return answer_log.answers_that_count(found)


def hidden_answers(counting: Sequence[Answer], classes: ClassMap) -> list[tuple[str, int, int]]:
    """What people said to hidden questions.

    Args:
        counting: answers that count, oldest first
        classes: of the label field

    Returns:
        who, the class that was said and the right one, oldest first; skips are left out
    """
    index_of: dict[Any, int] = {name: index for index, name in enumerate(classes.names)}
    index_of |= {value: index for index, value in enumerate(classes.values) if value is not None}
    rows = []
    for one in counting:
        if one.source == HIDDEN and one.answer is not None:
            said, truth = index_of.get(one.answer if one.value is None else one.value), index_of.get(one.known)
            if said is not None and truth is not None:
                rows.append((one.reviewer or SOMEBODY, said, truth))
    return rows


def people_by_hidden(counting: Sequence[Answer], classes: ClassMap) -> dict[str, Reliability]:
    """How reliable each person is by hidden questions alone, which takes no probabilities.

    Args:
        counting: answers that count, oldest first
        classes: of the label field

    Returns:
        by name; only who answered some
    """
    known = hidden_answers(counting, classes)
    names = sorted({name for name, _, _ in known})
    flat = np.full((len(known), len(classes)), 1 / max(len(classes), 1))
    panel = judge_answers(
        flat, np.arange(len(known)), [names.index(name) for name, _, _ in known], [said for _, said, _ in known],
        num_people=len(names), known=[truth for _, _, truth in known],
    )  # fmt: skip
    return dict(zip(names, panel.people, strict=True))


def person_in_words(name: str, person: Reliability) -> str:
    """One line about how reliable somebody is.

    Args:
        name: who
        person: by what they answered

    Example:
        >>> from fiftyone_plugin.quality.regions.review_statistics import Interval
        >>> person_in_words("bo", Reliability(40, 8, 1, Interval(0.9, 0.8, 0.96), 2.2, False))
        'bo: about 90 % of 40 answers right (80 to 96 %); 1 slip in 8 hidden known questions'
    """
    right = person.right
    ends = f"{percent(right.low)} to {percent(right.high)} %"
    text = f"{name}: about {percent(right.estimate)} % of {count(person.answers, 'answer')} right ({ends})"
    if person.known:
        text += f"; {count(person.slips, 'slip')} in {count(person.known, 'hidden known question')}"
    return text + (", **more than a careful person makes**" if person.careless else "")
