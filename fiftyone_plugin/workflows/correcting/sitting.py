"""A sitting: one person at one screen answers correction queries, one after the other.

What was answered is in the database before the next question is shown, so nothing is lost with a closed tab or a
crash: a sitting that is opened again goes on where it was. Queries are taken by one sitting at a time.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from ...correction.answers.propagation import WRONG, Trials
from ...correction.answers.replay import replay, tight
from ...dataset.door.classes import ClassMap
from ...dataset.door.scan import file_stamp
from ...dataset.fields import queries
from ...dataset.fields.queries import StoredQuery
from ...dataset.fields.regions import utc_now
from ...dataset.fields.values import number_between, object_ids, text_or_none
from ...dataset.journals import answers
from ...dataset.journals.answers import Answer
from ...dataset.journals.append_log import database_in_words
from ...dataset.runs import files
from ...dataset.runs.seen_labels import LABELS_PLANNED
from ...errors import LabelQualityError
from ..starting.sam_embeddings import known_embeddings
from .corrected_labels import Scribe, reconcile
from .correction_run import CorrectionRun, LabelShelf, open_correction, planned_fields
from .hidden_questions import SOMEBODY, HiddenQuestion, HiddenQuestions
from .propagation import RELABELLED, relabelled_in_words
from .question_views import ImageShelf, Question, cut, enlarge, scale_of, window_around
from .refinement import refiner_of, warm_up
from .sitting_progress import PersonProgress, SittingProgress, people_of, progress_of

__all__ = ["PersonProgress", "Question", "Sitting", "SittingProgress", "open_sitting", "planned_fields"]

_MOST_SITTINGS = 32
_REFRESH = 15.0
_FAR = 1_000_000
_LONGEST = 300.0
"""Seconds after which a person is taken to have been away."""

NO_CLASS: Final = 255
_sittings: OrderedDict[tuple[str, str, str, str | None], Sitting] = OrderedDict()
_lock = threading.Lock()


def open_sitting(
    samples: Any,
    label_field: str,
    *,
    sitting_id: str,
    reviewer: str | None = None,
    sample_id: str | None = None,
    checkpoint: str | None = None,
) -> Sitting:
    """Begin to answer, or go on.

    Args:
        samples: the `fiftyone` dataset or a view of it
        label_field: the field that is corrected
        sitting_id: tells one screen from another; the same id goes on where it was, also after a restart
        reviewer: who answers
        sample_id: only questions about this sample
        checkpoint: of segment-anything, to refine regions with; without one they grow by colour

    Returns:
        the sitting, which shows its first question

    Raises:
        LabelQualityError: if no queries were planned for the field

    Example:
        >>> sitting = open_sitting(dataset, "ground_truth", sitting_id="me")  # doctest: +SKIP
        >>> sitting.correct("car")                                            # doctest: +SKIP
    """
    name = text_or_none("sitting_id", sitting_id)
    if name is None:
        raise LabelQualityError("Expected a `sitting_id`, which tells one screen from another, but got none")
    sitting_id, reviewer = name, text_or_none("reviewer", reviewer)
    if sample_id is not None:
        (sample_id,) = object_ids("sample_id", str(sample_id))
    run = open_correction(samples, label_field)
    key = (str(run.dataset._doc.id), label_field, sitting_id, sample_id)
    with _lock:
        sitting = _sittings.get(key)
        if sitting is None or sitting.closed or sitting.folder != run.folder:
            sitting = _sittings[key] = Sitting(run, sitting_id, sample_id)
        _sittings.move_to_end(key)
        while len(_sittings) > _MOST_SITTINGS:
            _sittings.popitem(last=False)[1].close()
    sitting.follow(run, reviewer, checkpoint)
    return sitting


@dataclass(eq=False)
class _Shown:
    """The question on the screen, and what was done to it."""

    query: StoredQuery
    filepath: str
    shape: tuple[int, int]
    window: tuple[int, int, int, int]
    bbox: tuple[int, int, int, int]
    mask: np.ndarray
    planned: np.ndarray
    region: np.ndarray
    values: np.ndarray
    digest: str
    since: float
    points: list[tuple[int, int, bool]]
    answered: Answer | None
    hidden: HiddenQuestion | None


class Sitting:
    """Questions for one person, one at a time.

    Not to be made directly: `open_sitting` finds the one that is open.

    Attributes:
        version: grows with every change of what is shown
        message: the last remark for the person, empty if there is none
        closed: whether it has ended; `open_sitting` goes on with a new one
    """

    def __init__(self, run: CorrectionRun, sitting_id: str, sample_id: str | None = None) -> None:
        self._run = run
        self._id = sitting_id
        self._sample_id = sample_id
        self._reviewer: str | None = None
        self._checkpoint: str | None = None
        self._own = _history(run, sitting_id, sample_id)
        self._place: int | None = None
        self._open: StoredQuery | None = None
        self._queue: list[tuple[str, str]] | None = None
        self._shown: _Shown | None = None
        self._shelf = ImageShelf()
        self._labels = LabelShelf()
        self._scribe = Scribe(run)
        self._hidden = HiddenQuestions(run)
        self._digests: dict[str, str] = {}
        self._stamp: tuple[int, ...] | None = None
        self._aside: set[str] = set()
        self._settled: set[str] = set()
        self._halfway: str | None = None
        self._interrupted = False
        self._ahead = ThreadPoolExecutor(max_workers=1, thread_name_prefix="next-question")
        self._ahead.submit(warm_up)
        self._guard = threading.RLock()
        self._everyone: list[Answer] | None = None
        self._asked_at = 0.0
        self.closed = False
        self.version = 0
        self.message = ""

    @property
    def folder(self) -> Any:
        """Folder of the run that is being answered."""
        return self._run.folder

    def follow(self, run: CorrectionRun, reviewer: str | None, checkpoint: str | None) -> None:
        """Take up what may have changed since: the dataset as it is now, a new plan, the person, the checkpoint."""
        with self._turn():
            replanned = run.record.summary.get("round") != self._run.record.summary.get("round")
            self._run, self._reviewer, self._checkpoint = run, reviewer, checkpoint
            if replanned:
                self._queue, self._open, self._shown = None, None, None
                self._scribe.close()
                self._scribe = Scribe(run)
                self._hidden = HiddenQuestions(run)
            if self._shown is None:
                self._show_open()

    def close(self) -> None:
        """Give back what was not answered, and finish writing."""
        with self._turn():
            if self._open is not None and not self._run.dataset.deleted:
                self._release(self._open)
            self._open = self._shown = None
            self.closed = True
        self._ahead.shutdown(wait=False, cancel_futures=True)
        self._scribe.close()

    def flush(self) -> list[str]:
        """Wait until the corrected labels are written.

        Returns:
            what went wrong, in words
        """
        return self._scribe.flush()

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """One thing at a time; where the database does not answer, that is said in words, and the next one goes on.

        Yields whether another question is shown now than when the database went away.
        """
        with self._guard, database_in_words():
            shown = self._shown
            if self._interrupted and not self.closed:
                self._recover()
            self._interrupted = False
            try:
                yield shown is not self._shown
            except Exception:
                self._interrupted = True
                raise

    def _recover(self) -> None:
        """Go on after the database was away: perhaps between an answer, which it may have, and what follows from it."""
        if self._halfway is not None:
            reconcile(self._run, self._halfway)
            self._own = _history(self._run, self._id, self._sample_id)
            self._halfway = self._place = self._queue = None
        if self._shown is None:
            self._show_open()

    # --- what is shown -------------------------------------------------------------------------------------

    @property
    def question(self) -> Question | None:
        """The question on the screen; None if there is nothing left to ask."""
        with self._turn():
            return self._question()

    def _question(self) -> Question | None:
        shown = self._shown
        if shown is None:
            return None
        classes = self._run.classes()
        likely = [name for name in shown.query.alternatives if name in classes.names and name != shown.query.given]
        others = [name for name in _named(classes) if name not in likely and name != shown.query.given]
        scale, (top, left) = scale_of(shown.window), shown.window[:2]

        def place(x: float, y: float) -> tuple[int, int]:
            return int((x - left + 0.5) * scale), int((y - top + 0.5) * scale)

        box, (height, width) = shown.bbox, shown.shape
        return Question(
            query_id=shown.query.query_id,
            sample_id=shown.query.sample_id,
            filepath=shown.filepath,
            given=shown.query.given,
            alternatives=(*likely, *others),
            classes=tuple(classes.names),
            number=(len(self._own) if self._place is None else self._place) + 1,
            round=shown.query.round,
            audit=shown.query.audit,
            answered=_said(shown.answered),
            refined=shown.region is not shown.planned,
            window=shown.window,
            scale=scale,
            image=self._shelf.window(shown.filepath, shown.window, shown.shape),
            region=shown.region,
            labels=_indices(classes, cut(shown.values, shown.window)),
            point=place(shown.query.column, shown.query.row),
            points=[(*place(x, y), positive) for x, y, positive in shown.points],
            box=(
                int((box[0] - top) * scale), int((box[1] - left) * scale),
                max(int((box[2] - top) * scale), 1), max(int((box[3] - left) * scale), 1),
            ),
            overview=self._shelf.overview(shown.filepath, shown.window, shown.shape),
            part=(left / width, top / height, shown.window[3] / width, shown.window[2] / height),
        )  # fmt: skip

    def progress(self) -> SittingProgress:
        """How far it is: this sitting's counts, and what is left in all."""
        with database_in_words():
            waiting = queries.count_queries(self._run.dataset, self._run.fields.queries, self._sample_id)
            return progress_of(self._run, self._own, self._of_everyone(), waiting)

    def people(self) -> list[PersonProgress]:
        """How far each person is, and how reliable; of this sitting's person the name is empty."""
        with database_in_words():
            waiting = queries.count_queries(self._run.dataset, self._run.fields.queries)
            found = people_of(self._run, self._of_everyone(), waiting)
            return [replace(one, name="") if one.name == (self._reviewer or SOMEBODY) else one for one in found]

    def relabelled(self) -> tuple[int, str]:
        """How many superpixels the last plan relabelled unasked, and with which promise, or what it would take."""
        number, waiting, asked, right, wrong = self._run.record.summary.get(RELABELLED) or (0, 0, 0, 0, WRONG)
        return number, relabelled_in_words(number, waiting, Trials(asked, right), wrong)

    def _of_everyone(self) -> list[Answer]:
        """What everybody answered, as of a few seconds ago, and what was answered here."""
        now = time.monotonic()
        if self._everyone is None or now - self._asked_at > _REFRESH:
            found = answers.read_answers(self._run.dataset, self._run.label_field, masks=False)
            self._everyone, self._asked_at = answers.answers_that_count(found), now
        return [answer for answer in self._everyone if answer.sitting != self._id] + self._own

    # --- answers -------------------------------------------------------------------------------------------

    def confirm(self, *, seconds: float | None = None) -> None:
        """The label is right. Then shows the next question.

        Args:
            seconds: how long it took; measured if None
        """
        self._answer("confirmed", None, seconds)

    def correct(self, class_name: str, *, seconds: float | None = None) -> None:
        """It is another class. Then shows the next question.

        Args:
            class_name: which one; the given class confirms
            seconds: how long it took; measured if None

        Raises:
            LabelQualityError: if there is no such class
        """
        names = self._run.classes().names
        if class_name not in names:
            raise LabelQualityError(f"Expected one of the classes {list(names)}, but got {class_name!r}")
        self._answer("corrected", class_name, seconds)

    def skip(self, *, seconds: float | None = None) -> None:
        """Cannot say. Then shows the next question.

        Args:
            seconds: how long it took; measured if None
        """
        self._answer("skipped", None, seconds)

    def undo(self) -> bool:
        """Take back this sitting's newest answer and ask again.

        Returns:
            whether there was one
        """
        with self._turn():
            self.message = ""
            last = self._newest()
            if last is None:
                self.message = "There is nothing to take back."
                return False
            self._halfway = last.sample_id
            answers.add_answers(self._run.dataset, [replace(last, status="pending", time=utc_now())])
            self._own.remove(last)
            name = self._run.fields.queries
            queries.set_query_status(
                self._run.dataset, name, last.sample_id, last.query_id, "pending", claimed_by=self._id
            )
            self._halfway = None
            self._scribe.write(last.sample_id)
            if self._open is not None and self._open.query_id != last.query_id:
                self._release(self._open)
                if self._queue is not None:
                    self._queue.insert(0, (self._open.sample_id, self._open.query_id))
            self._place = None
            self._open = queries.claim(self._run.dataset, name, last.sample_id, last.query_id, self._id)
            self._show_open()
            self.message = self._trouble(last) or self.message
            return True

    def back(self) -> None:
        """Look at the question before; answering it again replaces its answer."""
        with self._turn():
            place = len(self._own) if self._place is None else self._place
            any(self._look_at(earlier) for earlier in reversed(range(place)))

    def forward(self) -> None:
        """Look at the question after; behind the last one waits the open question."""
        with self._turn():
            if self._place is None:
                return
            if not any(self._look_at(later) for later in range(self._place + 1, len(self._own))):
                self._place = None
                self._show_open()

    def refine(self, x: int, y: int, positive: bool) -> None:
        """Change the region that the answer will be about by a click.

        Args:
            x: column of the pixel of the label
            y: row of it
            positive: whether the pixel belongs to the region
        """
        with self._turn():
            shown = self._shown
            if shown is None:
                return
            for name, value in (("x", x), ("y", y)):
                number_between(name, value, -_FAR, _FAR)
            if not (0 <= x < shown.shape[1] and 0 <= y < shown.shape[0]):
                raise LabelQualityError(
                    f"Expected a pixel within {shown.shape[1]} x {shown.shape[0]}, but got x={x}, y={y}"
                )
            shown.points = [*shown.points, (int(x), int(y), bool(positive))]
            self._grow(shown)
            self._hold()

    def hold(self) -> None:
        """Keep the question that is shown: its person is still there."""
        with self._turn():
            self._hold()

    def _hold(self) -> None:
        if self._shown is not None and self._place is None:
            query = self._shown.query
            queries.claim(self._run.dataset, self._run.fields.queries, query.sample_id, query.query_id, self._id)

    def unrefine(self) -> None:
        """Forget the last refining click."""
        with self._turn():
            if self._shown is not None and self._shown.points:
                self._shown.points = self._shown.points[:-1]
                self._grow(self._shown)

    def replace_region(self, region: np.ndarray) -> None:
        """Change the region that the answer will be about, drawn by other means than clicks.

        Args:
            region: (h, w) bool, of the size of `question.region`

        Raises:
            LabelQualityError: if it has another size or no pixel
        """
        with self._turn():
            shown = self._shown
            if shown is None:
                return
            drawn = np.asarray(region, bool)
            if drawn.shape != shown.planned.shape or not drawn.any():
                raise LabelQualityError(
                    f"Expected a region of {shown.planned.shape} with at least one pixel, but got {drawn.shape} with "
                    f"{int(drawn.sum())}"
                )
            shown.region = drawn
            self.version += 1

    # --- inside --------------------------------------------------------------------------------------------

    def _answer(self, status: str, class_name: str | None, seconds: float | None) -> None:
        with self._turn() as is_another:
            self.message = "The database was away for a moment; this is the next question." if is_another else ""
            shown = self._shown
            if is_another:
                return
            if shown is None:
                self.message = "There is no question to answer."
                return
            if not self._is_ours(shown):
                self._open = None if self._place is None else self._open
                self._place = None
                self._show_open()
                return
            answer = self._answer_about(shown, status, class_name, seconds)
            name = self._run.fields.queries
            # First the record: were the status first, a crash between would lose the answer.
            self._halfway = answer.sample_id
            (answer,) = answers.add_answers(self._run.dataset, [answer])
            self._remember(answer)
            queries.set_query_status(
                self._run.dataset, name, answer.sample_id, answer.query_id, answer.query_status,
                answer=answer.answer if answer.status == "corrected" else None, reviewer=answer.reviewer,
                seconds=answer.seconds, at=answer.time,
            )  # fmt: skip
            self._halfway = None
            self._scribe.write(answer.sample_id)
            trouble = self._trouble(answer)
            if self._place is not None:
                self.forward()
            else:
                self._next()
            self.message = trouble or self.message

    def _trouble(self, answer: Answer) -> str:
        """What keeps the corrected label from being written; empty if nothing."""
        trouble = files.trouble_with(self._run.folder, int(np.prod(answer.shape))) or self._scribe.trouble()
        if not trouble:
            return ""
        return (
            f"Your answer is kept, but the corrected label cannot be written: {trouble}. Mend that, then run 'Apply "
            "corrections', which writes what is missing."
        )

    def _remember(self, answer: Answer) -> None:
        """Keep an answer in mind that is in the database now, whatever else of it fails."""
        if self._place is not None:
            self._own[self._place] = answer
        else:  # it may have been given before, and the status not been written
            self._own = [*(one for one in self._own if one.query_id != answer.query_id), answer]

    def _is_ours(self, shown: _Shown) -> bool:
        """Whether the answer can be taken: nobody else gave one, and the label is the one that was planned with."""
        if self._place is None:
            query = shown.query
            ours = queries.claim(self._run.dataset, self._run.fields.queries, query.sample_id, query.query_id, self._id)
            if ours is None:
                self.message = "Somebody else has answered that question in the meantime; here is the next one."
                return False
        elif not self._counts(self._own[self._place]):
            del self._own[self._place]
            self.message = "Somebody else has changed that answer in the meantime."
            return False
        try:
            digest = self._labels.get(self._run, shown.query.sample_id)[1]
        except (OSError, LabelQualityError) as error:
            self._set_aside(shown.query, f"The answer was not taken: {error}")
            return False
        if self._planned_digests().get(shown.query.sample_id) in (None, digest):
            return True
        self._set_aside(
            shown.query,
            "The label of that image was edited since the questions were planned, so the answer was not taken. "
            "Choose in the operator 'Apply corrections' whether to replay or to discard the answers about it.",
        )
        return False

    def _planned_digests(self) -> dict[str, str]:
        """Of the labels that answers are about; others once somebody has chosen what to do about edited ones."""
        stamp = file_stamp(str(self._run.folder / LABELS_PLANNED))
        if stamp != self._stamp:
            self._stamp, self._digests = stamp, self._run.digests()
            self._aside.clear()
        return self._digests

    def _counts(self, answer: Answer) -> bool:
        """Whether nobody has replaced an answer or taken it back."""
        found = answers.read_answers(self._run.dataset, self._run.label_field, query_ids=[answer.query_id], masks=False)
        return bool(found) and found[-1].key == answer.key

    def _newest(self) -> Answer | None:
        """This sitting's newest answer that still counts."""
        while self._own:
            last = max(self._own, key=lambda answer: answer.key)
            if self._counts(last):
                return last
            self._own.remove(last)
        return None

    def _answer_about(self, shown: _Shown, status: str, class_name: str | None, seconds: float | None) -> Answer:
        query, classes = shown.query, self._run.classes()
        refined = shown.region is not shown.planned
        if class_name is not None and class_name == query.given:
            status, class_name = "confirmed", None
        said = class_name if status == "corrected" else query.given if status == "confirmed" else None
        value = dict(zip(classes.names, classes.values, strict=True)).get(said) if said else None
        bbox, mask = shown.bbox, shown.mask
        if refined:
            region = enlarge(shown.region, shown.window)
            if not region.any():
                raise LabelQualityError("Expected a region with at least one pixel; take the last click back")
            (top, left, bottom, right), mask = tight(region)
            dy, dx = shown.window[:2]
            bbox = (top + dy, left + dx, bottom + dy, right + dx)
        repaired = 0
        if value is not None:
            now = shown.values[bbox[0] : bbox[2], bbox[1] : bbox[3]]
            repaired = int((mask & (now != value)).sum())
        spent = min(time.monotonic() - shown.since, _LONGEST)
        if seconds is not None:
            spent = number_between("seconds", seconds, 0, 24 * 3600)
        answer = Answer(
            label_field=self._run.label_field,
            sample_id=query.sample_id,
            query_id=query.query_id,
            status=status,
            given=query.given,
            answer=class_name,
            value=value,
            bbox=bbox,
            shape=shown.shape,
            mask=mask,
            digest=shown.digest,
            repaired=repaired,
            area=query.area,
            audit=query.audit,
            trial=query.trial,
            round=query.round,
            sitting=self._id,
            reviewer=self._reviewer,
            seconds=round(float(spent), 2),
        )
        return answer if shown.hidden is None else shown.hidden.answered(answer, said)

    def _next(self) -> None:
        self._place, self._open = None, None
        self._show_open()

    def _show_open(self) -> None:
        """Show the question that is taken, or take the next one that can be shown."""
        self._shown = None
        while self._shown is None:
            if self._open is None:
                self._open = self._take()
            if self._open is None:
                break
            try:
                self._shown = self._view_of(self._open, None)
            except (OSError, LabelQualityError) as error:
                self._set_aside(self._open, f"A question was passed over: {error}")
                self._open = None
        self.version += 1
        self._look_ahead()

    def _take(self) -> StoredQuery | None:
        name = self._run.fields.queries
        for _ in range(2):  # the second time with what has changed since the queue was read
            if self._queue is None:
                self._planned_digests()  # a choice about edited labels makes questions askable again
                self._queue = queries.pending_queries(self._run.dataset, name, self._sample_id)
            while self._queue:
                sample_id, query_id = self._queue.pop(0)
                if self._settle(sample_id):
                    self._queue = queries.pending_queries(self._run.dataset, name, self._sample_id)
                    continue
                if query_id in self._aside:
                    continue
                taken = queries.claim(self._run.dataset, name, sample_id, query_id, self._id)
                if taken is not None:
                    return taken
            self._queue = None
        return None

    def _settle(self, sample_id: str) -> bool:
        """Let questions that a crash kept open follow their answers, once per image; whether any did."""
        if sample_id in self._settled:
            return False
        self._settled.add(sample_id)
        return reconcile(self._run, sample_id) > 0

    def _set_aside(self, query: StoredQuery, reason: str) -> None:
        """A question that cannot be asked now, because its image is gone, for instance, stays pending for later."""
        self.message = reason
        self._aside.add(query.query_id)
        self._release(query)

    def _release(self, query: StoredQuery) -> None:
        queries.release(self._run.dataset, self._run.fields.queries, query.sample_id, query.query_id, self._id)

    def _look_at(self, place: int) -> bool:
        """Show an earlier question, if it can be shown."""
        answer = self._own[place]
        found = queries.find_queries(self._run.dataset, self._run.fields.queries, [answer.query_id])
        if not found:
            self.message = "That question is gone: its image was deleted."
            return False
        try:
            self._shown = self._view_of(found[0], answer)
        except (OSError, LabelQualityError) as error:
            self.message = f"That question cannot be shown: {error}"
            return False
        self._place = place
        self.version += 1
        return True

    def _view_of(self, query: StoredQuery, answered: Answer | None) -> _Shown:
        query = self._run.as_named_now(query)
        raw, digest = self._labels.get(self._run, query.sample_id)
        found = answers.read_answers(self._run.dataset, self._run.label_field, sample_ids=[query.sample_id])
        others = [answer for answer in found if answered is None or answer.query_id != answered.query_id]
        classes = self._run.classes()
        original = classes.mask_values(raw)
        shape = (int(original.shape[0]), int(original.shape[1]))
        try:
            values = replay(original, answers.repaints(others))
        except ValueError as error:
            raise LabelQualityError(str(error)) from error
        hidden = self._hidden.find(query)
        bbox, mask = query.region(shape) if answered is None else (answered.bbox, answered.mask)
        if bbox[2] > shape[0] or bbox[3] > shape[1] or not mask.any():
            raise LabelQualityError(f"its region {bbox} does not lie within the label of {shape[0]}x{shape[1]} pixels")
        if hidden is not None:
            values = hidden.painted(values, bbox, mask)
        window = window_around(bbox, shape)
        filepath = self._run.filepath(query.sample_id)
        self._shelf.window(filepath, window, shape)
        region = _whole(mask, bbox, window)
        return _Shown(
            query=query, filepath=filepath, shape=shape, window=window, bbox=bbox, mask=mask, planned=region,
            region=region, values=values, digest=digest, since=time.monotonic(), points=[], answered=answered,
            hidden=hidden,
        )  # fmt: skip

    def _grow(self, shown: _Shown) -> None:
        if not shown.points:
            shown.region = shown.planned
        else:
            scale, (top, left) = scale_of(shown.window), shown.window[:2]
            points = [
                (int((x - left + 0.5) * scale), int((y - top + 0.5) * scale), good) for x, y, good in shown.points
            ]
            image = self._shelf.window(shown.filepath, shown.window, shown.shape)
            refiner = refiner_of(*self._sam())
            shown.region, self.message = refiner(
                shown.filepath, image, shown.window, shown.shape, shown.planned, points
            )
        self.version += 1

    def _sam(self) -> tuple[str | None, str | None]:
        """Checkpoint and folder of embeddings: those that were asked for, or that embeddings were computed with."""
        checkpoint, embeddings = known_embeddings(self._run.dataset)
        return self._checkpoint or checkpoint, embeddings

    def _look_ahead(self) -> None:
        """Read the image of the question that will probably come next."""
        upcoming = next(iter(self._queue or ()), None)
        if upcoming is not None:
            self._ahead.submit(self._warm, *upcoming)

    def _warm(self, sample_id: str, query_id: str) -> None:
        try:
            found = queries.find_queries(self._run.dataset, self._run.fields.queries, [query_id])
            if found:
                self._view_of(found[0], None)
        except (OSError, LabelQualityError):
            pass  # the person is told when it is the turn of that question


def _history(run: CorrectionRun, sitting_id: str, sample_id: str | None) -> list[Answer]:
    """This sitting's answers that count, in the order of the questions."""
    about = None if sample_id is None else [sample_id]
    found = answers.read_answers(run.dataset, run.label_field, sample_ids=about, sitting=sitting_id)
    order = list(dict.fromkeys(answer.query_id for answer in found))
    valid = {answer.query_id: answer for answer in answers.answers_that_count(found)}
    return [valid[query_id] for query_id in order if query_id in valid]


def _named(classes: ClassMap) -> Sequence[str]:
    return [name for name, value in zip(classes.names, classes.values, strict=True) if value is not None]


def _indices(classes: ClassMap, values: np.ndarray) -> np.ndarray:
    """Class indices in one byte; classes from the 256th on have none there."""
    known = {value: index for index, value in enumerate(classes.values) if value is not None and index < NO_CLASS}
    keys = np.array(sorted(known), np.int64)
    place = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    table = np.array([known[key] for key in keys.tolist()], np.uint8)
    return np.where(keys[place] == values, table[place], np.uint8(NO_CLASS))


def _said(answer: Answer | None) -> str | None:
    if answer is None:
        return None
    return answer.answer if answer.outcome == "corrected" else answer.outcome


def _whole(mask: np.ndarray, bbox: tuple[int, int, int, int], window: tuple[int, int, int, int]) -> np.ndarray:
    """A region's mask in its window, as it is shown; a thin one does not vanish when it is made smaller."""
    area = np.zeros((window[2] - window[0], window[3] - window[1]), bool)
    area[bbox[0] - window[0] : bbox[2] - window[0], bbox[1] - window[1] : bbox[3] - window[1]] = mask
    shown = cut(area, (0, 0, *area.shape)) if scale_of(window) < 1 else area
    if not shown.any():
        rows, columns = np.nonzero(area)
        scale = scale_of(window)
        shown = shown.copy()
        shown[
            np.minimum((rows * scale).astype(int), shown.shape[0] - 1),
            np.minimum((columns * scale).astype(int), shown.shape[1] - 1),
        ] = True
    return shown
