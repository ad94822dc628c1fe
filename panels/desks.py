"""What the label correction panel keeps between two clicks: FiftyOne makes a new panel for each of them.

Loading a dataset takes as long as all the rest of an answer. So it is loaded when a panel opens and, while somebody
answers, in the background: what changes elsewhere is seen some seconds later.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from ..fiftyone_plugin.dataset.fields.appearance import class_colors
from ..fiftyone_plugin.dataset.journals.append_log import database_in_words
from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.workflows.correcting import sitting as answering

_MOST = 256
_FRESH: Final = 3.0
"""Seconds for which nothing is looked up again."""

_STALE: Final = 30.0
"""Seconds after which it is looked up before and not after an answer."""


@dataclass(frozen=True)
class Place:
    """Where somebody sits.

    Attributes:
        dataset: name of the dataset
        field: label field that is corrected
        tab: of the browser
        sample_id: only questions about this sample
        reviewer: who answers
    """

    dataset: str
    field: str
    tab: str
    sample_id: str | None = None
    reviewer: str | None = None


@dataclass(frozen=True)
class Desk:
    """A sitting and what the panel shows beside it.

    Attributes:
        sitting: questions and answers
        fields: label fields with questions
        colors: class to colour
        since: when it was looked up
    """

    sitting: answering.Sitting
    fields: list[str]
    colors: dict[str, str]
    since: float


_desks: OrderedDict[Place, Desk] = OrderedDict()
_pictures: OrderedDict[str, list[str]] = OrderedDict()
_locks: weakref.WeakKeyDictionary[answering.Sitting, threading.RLock] = weakref.WeakKeyDictionary()
_guard = threading.Lock()
_background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="correction-desk")


def desk_at(place: Place, *, dataset: Any = None) -> Desk:
    """Find the desk at a place.

    Args:
        place: where somebody sits
        dataset: the `fiftyone.Dataset` if it was just loaded

    Returns:
        the desk, as it was some seconds ago if no dataset is given

    Raises:
        LabelQualityError: if no queries were planned for the field, or the database does not answer
    """
    with _guard:
        desk = _desks.get(place) if dataset is None else _desks.pop(place, None)
    age = time.monotonic() - desk.since if desk else _STALE
    if desk is None or dataset is not None or age >= _STALE:
        with database_in_words():
            return _set_up(place, dataset)
    if age >= _FRESH:
        with _guard:
            _desks[place] = Desk(desk.sitting, desk.fields, desk.colors, time.monotonic())
        _background.submit(_look_again, place)
    return desk


def _look_again(place: Place) -> None:
    try:
        _set_up(place, None)
    except (LabelQualityError, ValueError):  # the plan or the dataset is gone: said when the panel next asks
        with _guard:
            _desks.pop(place, None)


def _set_up(place: Place, dataset: Any) -> Desk:
    if dataset is None:
        import fiftyone as fo

        dataset = fo.load_dataset(place.dataset, reload=True)
    sitting = answering.open_sitting(
        dataset, place.field, sitting_id=place.tab, reviewer=place.reviewer, sample_id=place.sample_id
    )
    with lock_of(sitting):
        question = sitting.question
    colors = class_colors(dataset, place.field, question.classes if question else ())
    desk = Desk(sitting, answering.planned_fields(dataset), colors, time.monotonic())
    with _guard:
        _keep(_desks, place, desk)
    return desk


def lock_of(sitting: answering.Sitting) -> threading.RLock:
    """Lock under which one looks which question is shown and answers it: of two clicks at a time, one is too late."""
    with _guard:
        return _locks.setdefault(sitting, threading.RLock())


def remember_pictures(tab: str, pictures: Sequence[str]) -> None:
    """Note which pictures a browser tab says it has."""
    with _guard:
        _keep(_pictures, tab, list(pictures))


def pictures_of(tab: str) -> list[str]:
    """Pictures that need not be sent to a browser tab again; it says so if it has lost one."""
    with _guard:
        return _pictures.get(tab, [])


def _keep(shelf: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    shelf[key] = value
    shelf.move_to_end(key)
    while len(shelf) > _MOST:
        shelf.popitem(last=False)
