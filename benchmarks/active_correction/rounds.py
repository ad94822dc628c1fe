"""Train, choose questions, answer, correct, and again: the loop, with any model and any annotator."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from active_correction import a2lc

from fiftyone_plugin.correction.answers.annotators import Annotator, Judgement
from fiftyone_plugin.correction.answers.propagation import Answer, AnswerModel, doubtful_answers
from fiftyone_plugin.correction.answers.reliability import judge_answers
from fiftyone_plugin.correction.questions.acquisition import acquisition_values, choose_queries
from fiftyone_plugin.correction.questions.candidates import Candidates, find_candidates
from fiftyone_plugin.correction.questions.query_costs import AnswerSeconds

MOST_TIMES = 3  # that a superpixel is asked about
EVERY = 2  # row and column that candidates are described by; answers hold for all pixels
Map = npt.NDArray[np.integer]
Predict = Callable[[Sequence[Map], int], Sequence[npt.NDArray[np.float32]]]  # labels, round -> (K, H, W) of each image


@dataclass(frozen=True)
class Method:
    """A way to choose questions and to use their answers.

    Attributes:
        superpixels: "sam" as published (gaps cannot be asked about), "filled", "slic"
        acquisition: as in `fiftyone_plugin.correction.acquisition`
        memory: nothing is asked twice
        beliefs: what the answers tell about other superpixels decides what is asked
        relabel: how answers reach superpixels that nobody was asked about: "none" or "a2lc"; ours wait for answers to
            random questions, which are not asked here
        by_second: "expected_repair" goes by what is repaired per second, not per question
        doubt_answers: an answer that is less probable than this by all others may be asked about a second time
        weigh_answers: the reliability of who answers decides which answer counts, and a superpixel may be asked about
            up to three times where that is expected to repair more than any other question
        replans: times in a round that the questions are chosen anew in the light of the answers
        closing: times that the last of these parts is halved, so that hardly an answer of a round remains unchecked
    """

    superpixels: str
    acquisition: str
    memory: bool = True
    beliefs: bool = False
    relabel: str = "none"
    by_second: bool = True
    doubt_answers: float = 0.0
    weigh_answers: bool = False
    replans: int = 1
    closing: int = 0


@dataclass(frozen=True)
class Cost:
    """What answers cost.

    Attributes:
        queries: number of questions
        confirmed: answers that the given class is right
        clicks: points set to cut regions
        bits: of correction queries
        seconds: of the annotator
    """

    queries: int = 0
    confirmed: int = 0
    clicks: int = 0
    bits: float = 0.0
    seconds: float = 0.0

    def plus(self, judgement: Judgement, num_classes: int) -> Cost:
        """Add one answer.

        Args:
            judgement: the answer
            num_classes: K
        """
        bits = 1.0 if judgement.confirmed else 1 + math.log2(num_classes - 1)
        return Cost(
            self.queries + 1,
            self.confirmed + judgement.confirmed,
            self.clicks + judgement.clicks,
            self.bits + bits,
            self.seconds + judgement.seconds,
        )


@dataclass(eq=False)
class Correction:
    """The labels of all images while they are being corrected.

    Attributes:
        labels: (H, W) of each image, changed by answers only
        segments: (H, W) superpixels; a part that was cut out becomes a superpixel of its own
        num_classes: K
        answered: (given, said) by (image, superpixel id)
        relabelled: class by (image, superpixel id), proposed without an answer
        cost: so far
        twice: (image, superpixel id) of what was asked about a second time
        said: all answers about (image, superpixel id), classes
    """

    labels: list[Map]
    segments: list[Map]
    num_classes: int
    answered: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    relabelled: dict[tuple[int, int], int] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    twice: set[tuple[int, int]] = field(default_factory=set)
    said: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(list))

    def current(self) -> list[Map]:
        """The labels with what was proposed without an answer."""
        labels = [label.copy() for label in self.labels]
        for (image, segment), value in self.relabelled.items():
            labels[image][self.segments[image] == segment] = value
        return labels

    def ask(
        self, annotator: Annotator, true: Map, label: Map, image: int, segment: int, place: tuple[int, int]
    ) -> None:
        """Ask about one superpixel and change the label.

        Args:
            annotator: who answers
            true: (H, W) ground truth
            label: (H, W) label that is shown
            image: index
            segment: superpixel id
            place: (row, column) of the representative pixel
        """
        region = self.segments[image] == segment
        given = int(self.labels[image][place])
        if (image, segment) in self.answered:
            given = self.answered[image, segment][0]
            self.twice.add((image, segment))
        said = annotator.judge(true, label, region, place)
        self.cost = self.cost.plus(said, self.num_classes)
        self.relabelled.pop((image, segment), None)
        if said.answer is None:
            self.answered[image, segment] = (given, -1)
            return
        if said.confirmed:
            changed = region & (self.labels[image] != label)
            self.labels[image][changed] = label[changed]
        else:
            self.labels[image][said.region] = said.answer
        if said.region.sum() < region.sum():
            segment = int(self.segments[image].max()) + 1
            self.segments[image][said.region] = segment
        self.answered[image, segment] = (given, said.answer)
        self.said[image, segment].append(said.answer)


@dataclass(frozen=True, eq=False)
class Round:
    """One finished round.

    Attributes:
        number: 0 before any answer
        labels: (H, W) of each image
        cost: of all answers so far
        relabelled: superpixels with a class proposed without an answer
        seconds: computing time of the round
    """

    number: int
    labels: list[Map]
    cost: Cost
    relabelled: int
    seconds: float


def run_rounds(
    start: Sequence[Map],
    segments: Sequence[Map],
    truths: Sequence[Map],
    num_classes: int,
    method: Method,
    annotator: Annotator,
    predict: Predict,
    *,
    budget: int,
    rounds: int,
    seed: int,
    first_candidates: list[Candidates] | None = None,
    report: Callable[[Round], None] | None = None,
) -> list[Round]:
    """Correct labels round by round.

    Args:
        start: (H, W) label of each image
        segments: (H, W) superpixels of each image, 0 = none
        truths: (H, W) ground truth, which only the annotator sees
        num_classes: K
        method: how
        annotator: who answers
        predict: trains on labels and predicts all images
        budget: questions per round
        rounds: number of rounds
        seed: of the questions
        first_candidates: of the labels before any answer, if known; filled if empty
        report: told of each finished round
    """
    state = Correction([np.array(label) for label in start], [np.array(ids) for ids in segments], num_classes)
    finished = [Round(0, state.current(), state.cost, 0, 0.0)]
    for number in range(1, rounds + 1):
        began = time.monotonic()
        if number == 1 and first_candidates:
            candidates = list(first_candidates)
        else:
            candidates = _described(state, predict(state.current(), number), method)
            if number == 1 and first_candidates is not None:
                first_candidates += candidates
        parts = [budget // method.replans + (part < budget % method.replans) for part in range(method.replans)]
        for _ in range(method.closing):
            parts[-1:] = [parts[-1] - parts[-1] // 2, parts[-1] // 2]
        asked_now: set[tuple[int, int]] = set()
        for part, questions in enumerate(parts):
            asked_now |= _ask(state, candidates, method, annotator, truths, questions, seed * 1000 + number * 10 + part)
            candidates = [_refreshed(each, state, image) for image, each in enumerate(candidates)]
        _relabel(state, candidates, method, asked_now, seed * 100 + number)
        seconds = time.monotonic() - began
        finished.append(Round(number, state.current(), state.cost, len(state.relabelled), seconds))
        if report is not None:
            report(finished[-1])
    return finished


def _described(state: Correction, probs: Sequence[npt.NDArray[np.float32]], method: Method) -> list[Candidates]:
    """Candidates on the labels that answers made; A2LC's relabelling is final, so it counts as a label there."""
    labels = state.current() if method.relabel == "a2lc" else state.labels
    found = []
    for image, (label, ids) in enumerate(zip(labels, state.segments, strict=True)):
        seen = (slice(None, None, EVERY), slice(None, None, EVERY))
        each = find_candidates(label[seen].astype(np.int32), probs[image], ids[seen])
        found.append(replace(each, row=each.row * EVERY, column=each.column * EVERY, area=each.area * EVERY**2))
    return found


def _refreshed(candidates: Candidates, state: Correction, image: int) -> Candidates:
    """The same predictions with the labels as they are now; a part that was cut out comes in the next round."""
    given = candidates.given.copy()
    for row, segment in enumerate(candidates.segment.tolist()):
        if (image, segment) in state.answered:
            value = int(state.labels[image][candidates.row[row], candidates.column[row]])
            given[row] = value if 0 <= value < state.num_classes else -1
    return replace(candidates, given=given)


def _answers(state: Correction, candidates: Sequence[Candidates]) -> list[Answer]:
    rows = [{segment: row for row, segment in enumerate(each.segment.tolist())} for each in candidates]
    return [
        Answer(image, rows[image][segment], given if 0 <= given < state.num_classes else -1, said)
        for (image, segment), (given, said) in state.answered.items()
        if 0 <= said < state.num_classes and segment in rows[image]
    ]


def _ask(
    state: Correction,
    candidates: list[Candidates],
    method: Method,
    annotator: Annotator,
    truths: Sequence[Map],
    questions: int,
    seed: int,
) -> set[tuple[int, int]]:
    """Choose and ask; returns the (image, row) asked."""
    asked = [
        np.array([(image, int(segment)) in state.answered for segment in each.segment], bool)
        for image, each in enumerate(candidates)
    ]
    extra = {}
    if method.beliefs:
        answers = _answers(state, candidates)
        beliefs = AnswerModel.fit(candidates, answers).posterior(candidates, answers)
        extra["beliefs"] = beliefs
        for answer in doubtful_answers(answers, beliefs, method.doubt_answers):
            segment = int(candidates[answer.image].segment[answer.row])
            asked[answer.image][answer.row] = (answer.image, segment) in state.twice
        if method.weigh_answers and answers:
            extra["beliefs"] = _weighed(state, candidates, answers, beliefs, asked)
            candidates = [_refreshed(each, state, image) for image, each in enumerate(candidates)]
    if method.acquisition == "expected_repair":
        extra["seconds"] = AnswerSeconds() if method.by_second else AnswerSeconds(1.0, 1.0)
    values = acquisition_values(
        candidates, method.acquisition, seed=seed, asked=asked if method.memory else None, **extra
    )
    chosen = choose_queries(candidates, values, questions, seed=seed)
    labels = state.current()
    for each in chosen:
        found = candidates[each.image]
        place = (int(found.row[each.row]), int(found.column[each.row]))
        state.ask(annotator, truths[each.image], labels[each.image], each.image, int(found.segment[each.row]), place)
    return {(each.image, each.row) for each in chosen}


def _weighed(
    state: Correction,
    candidates: Sequence[Candidates],
    answers: Sequence[Answer],
    beliefs: Sequence[npt.NDArray[np.float64]],
    asked: list[npt.NDArray[np.bool_]],
) -> list[npt.NDArray[np.float64]]:
    """Let the likeliest answer count, open what may be asked again, and say what is believed about it."""
    places = [(each.image, int(candidates[each.image].segment[each.row])) for each in answers]
    history = [state.said[place] or [answer.answer] for place, answer in zip(places, answers, strict=True)]
    questions = np.repeat(np.arange(len(answers)), [len(each) for each in history])
    prior = np.stack([beliefs[each.image][each.row] for each in answers])
    panel = judge_answers(prior, questions, np.zeros(len(questions), int), np.concatenate(history), num_people=1)
    known = [np.array(each) for each in beliefs]
    for answer, place, said, chances in zip(answers, places, history, panel.chances, strict=True):
        best = max(set(said), key=lambda value: chances[value])
        if best != state.answered[place][1]:
            state.answered[place] = (state.answered[place][0], best)
            state.labels[place[0]][state.segments[place[0]] == place[1]] = best
        known[answer.image][answer.row] = chances
        asked[answer.image][answer.row] = len(said) >= MOST_TIMES
    return known


def _relabel(
    state: Correction, candidates: list[Candidates], method: Method, asked_now: set[tuple[int, int]], seed: int
) -> None:
    """Let the answers reach superpixels that nobody was asked about, and the likeliest ones count."""
    if method.relabel == "a2lc":
        asked = {
            (image, row)
            for image, each in enumerate(candidates)
            for row, segment in enumerate(each.segment.tolist())
            if (image, segment) in state.answered
        }
        state.relabelled |= _by_segment(candidates, a2lc.relabelled(candidates, asked_now, asked, seed=seed))
    elif method.weigh_answers and (answers := _answers(state, candidates)):
        beliefs = AnswerModel.fit(candidates, answers).posterior(candidates, answers)
        _weighed(state, candidates, answers, beliefs, [np.zeros(len(each), bool) for each in candidates])


def _by_segment(candidates: Sequence[Candidates], found: Sequence[tuple[int, int, int]]) -> dict[tuple[int, int], int]:
    """Class by (image, superpixel id), of (image, row, class)."""
    return {(image, int(candidates[image].segment[row])): value for image, row, value in found}
