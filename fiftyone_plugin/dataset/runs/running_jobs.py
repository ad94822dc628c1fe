"""Jobs that run now on a dataset: what each is doing, and how it is asked to stop, from any page or process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ...errors import LabelQualityError
from ..journals.append_log import make_store, store_documents
from .claims import is_alive, server_time, this_process

STORE: Final = "label_quality_jobs"
BEAT_SECONDS = 1.0
"""Least time between two looks into the database."""


class JobStopped(LabelQualityError):
    """Somebody asked a job to stop, and it did between two of its steps."""

    def __init__(self, title: str, phase: str) -> None:
        name = phase.partition(":")[0].partition(",")[0]  # without how far it was
        during = f" at '{name}'" if name else ""
        super().__init__(
            f"'{title}' was stopped{during}. To go on, start it again with the same answers: images that were finished "
            "are not done twice."
        )


@dataclass(frozen=True)
class RunningJob:
    """A job that is being done.

    Attributes:
        job_id: tells it from others
        title: what it is
        phase: what it is doing, how far it is, and the time left
        since: when it began, by the clock of the database (UTC)
        user: whose it is
        host: the machine
        stopping: whether it was asked to stop
    """

    job_id: str
    title: str
    phase: str
    since: datetime
    user: str
    host: str
    stopping: bool


class JobEntry:
    """What a job says of itself, from `announce`.

    Args:
        place: of its document in the store
        title: what it is
    """

    def __init__(self, place: dict[str, Any], title: str) -> None:
        self._place, self._title = place, title
        self._told = 0.0

    def beat(self, phase: str) -> None:
        """Say what the job is doing; costs nothing where it said so a moment ago.

        Args:
            phase: in words

        Raises:
            JobStopped: if somebody asked it to stop
        """
        now = time.monotonic()
        if now - self._told < BEAT_SECONDS:
            return
        self._told = now
        change = {"$set": {"value.phase": phase}, "$currentDate": {"value.seen": True}}
        with suppress(_database_errors()):  # a job is not ended because it could not say how far it is
            known = store_documents().find_one_and_update(self._place, change, {"value.stop": 1})
            if known and known["value"]["stop"]:
                raise JobStopped(self._title, phase)


@contextmanager
def announce(dataset: Any, job_id: str, title: str) -> Iterator[JobEntry]:
    """Let others see a job and stop it, while the block runs.

    Args:
        dataset: the `fiftyone.Dataset`
        job_id: tells it from others
        title: what it is

    Yields:
        to be told what the job is doing
    """
    make_store(dataset, STORE)
    now = server_time()
    value = {**this_process(), "title": title, "phase": "", "stop": False, "since": now, "seen": now}
    place = _place(dataset, job_id)
    store_documents().insert_one({**place, "value": value})
    try:
        yield JobEntry(place, title)
    finally:
        with suppress(_database_errors()):
            store_documents().delete_one(place)


def running_jobs(dataset: Any) -> list[RunningJob]:
    """The jobs that run now.

    Args:
        dataset: the `fiftyone.Dataset`

    Returns:
        in the order in which they began; not those whose process has died
    """
    found, now = store_documents().find({"store_name": STORE, "dataset_id": dataset._doc.id}), server_time()
    jobs = [
        RunningJob(
            row["key"], said["title"], said["phase"], said["since"], said["user"], said["host"], bool(said["stop"])
        )
        for row in found
        if is_alive(said := row["value"], now)
    ]
    return sorted(jobs, key=lambda job: job.since)


def stop_job(dataset: Any, job_id: str) -> str:
    """Ask a job to stop; it does so between two of its steps.

    Args:
        dataset: the `fiftyone.Dataset`
        job_id: of the job

    Returns:
        its title

    Raises:
        LabelQualityError: if no such job runs
    """
    known = store_documents().find_one_and_update(_place(dataset, job_id), {"$set": {"value.stop": True}})
    if known is None:
        raise LabelQualityError(f"Expected the id of a job that runs on {dataset.name!r}, but got {job_id!r}: it ended")
    return str(known["value"]["title"])


def _place(dataset: Any, job_id: str) -> dict[str, Any]:
    return {"store_name": STORE, "dataset_id": dataset._doc.id, "key": job_id}


def _database_errors() -> type[Exception]:
    from pymongo.errors import PyMongoError

    return PyMongoError
