"""Who is writing a run now: one at a time, told by name to the second, and taken over where the first is dead.

A claim is a document in FiftyOne's execution store of the dataset, with a unique key. Its holder says every few seconds
that it is alive, by the clock of the database.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from ...errors import LabelQualityError
from ...progress import Progress
from ..journals.append_log import make_store, store_documents

STORE: Final = "label_quality_claims"
BEAT_SECONDS: Final = 10.0
DEAD_SECONDS: Final = 120.0
"""Silence after which a holder on another machine is taken to be dead."""

_ATTEMPTS = 20


class Claim:
    """The right to write a run, from `claim`.

    Args:
        dataset: the `fiftyone.Dataset`
        key: of the run
        token: tells this claim from all others
    """

    def __init__(self, dataset: Any, key: str, token: str) -> None:
        self._query = {"store_name": STORE, "dataset_id": dataset._doc.id, "key": key, "value.token": token}
        self._key = key
        self._done, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"claim-{key}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure, before something is written, that nobody has taken over.

        Raises:
            LabelQualityError: if somebody has
        """
        self._beat()
        self.require_held()

    def require_held(self) -> None:
        """The same as far as is known since the last beat, which costs nothing.

        Raises:
            LabelQualityError: if somebody has taken over
        """
        if self._lost.is_set():
            raise LabelQualityError(
                f"The run {self._key!r} was taken over by somebody else while this process was silent, or its dataset "
                "was deleted; nothing more is written. Start again once the other has finished"
            )

    def watched(self, progress: Progress) -> Progress:
        """Progress that stops the job where somebody else has taken over.

        Args:
            progress: told how far the job is

        Returns:
            what the job tells
        """

        def report(done: float, total: float, label: str) -> None:
            self.require_held()
            progress(done, total, label)

        return report

    def release(self) -> None:
        """Let others write the run."""
        self._done.set()
        with suppress(Exception):  # a database that is gone has no claims either
            store_documents().delete_one(self._query)

    def _beat(self) -> None:
        change = {"$currentDate": {"value.seen": True}}
        if not store_documents().update_one(self._query, change).matched_count:
            self._lost.set()

    def _live(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            with suppress(Exception):  # the next beat may get through; a claim that is lost is noticed by `check`
                self._beat()


@contextmanager
def claim(dataset: Any, key: str) -> Iterator[Claim]:
    """Hold the right to write a run.

    Args:
        dataset: the `fiftyone.Dataset`
        key: of the run

    Yields:
        the claim

    Raises:
        LabelQualityError: if somebody else who is alive holds it; the message says who
    """
    held = _take(dataset, key)
    try:
        yield held
    finally:
        held.release()


def _take(dataset: Any, key: str) -> Claim:
    from pymongo.errors import DuplicateKeyError

    make_store(dataset, STORE)
    documents, token = store_documents(), uuid4().hex
    place = {"store_name": STORE, "dataset_id": dataset._doc.id, "key": key}
    for _ in range(_ATTEMPTS):
        now = server_time()
        value = {**this_process(), "token": token, "since": now, "seen": now}
        try:
            documents.insert_one({**place, "value": value})
            return Claim(dataset, key, token)
        except DuplicateKeyError:
            held = documents.find_one(place)
        if held is None:
            continue
        holder = held["value"]
        if is_alive(holder, now):
            raise LabelQualityError(
                f"Expected a run that nobody is writing, but {key!r} is being written since "
                f"{holder['since']:%Y-%m-%d %H:%M:%S} UTC by {holder['user']} on {holder['host']} (process "
                f"{holder['process']}); wait until it has finished, stop it, or choose another `key`"
            )
        taken = documents.update_one({**place, "value.token": holder["token"]}, {"$set": {"value": value}})
        if taken.matched_count:
            return Claim(dataset, key, token)
    raise LabelQualityError(f"The run {key!r} is claimed again and again by others; try again")


def is_alive(holder: dict[str, Any], now: datetime) -> bool:
    """Whether a process still works: on this machine the process tells, elsewhere its last sign of life.

    Args:
        holder: what `this_process` said of it, and `seen`: its last sign of life
        now: by the clock of the database
    """
    import psutil

    if holder["machine"] != _machine():
        return (now - holder["seen"]).total_seconds() < DEAD_SECONDS
    try:
        return abs(psutil.Process(holder["process"]).create_time() - holder["started"]) < 1
    except psutil.Error:
        return False


def this_process() -> dict[str, Any]:
    """Who works here: user, host, machine, process and when it started."""
    import psutil

    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"
    process = os.getpid()
    started = psutil.Process(process).create_time()
    return {"user": user, "host": platform.node(), "machine": _machine(), "process": process, "started": started}


def _machine() -> str:
    """Where process numbers mean the same: this machine, or this container on it."""
    try:
        names = os.readlink("/proc/self/ns/pid")
    except OSError:
        names = ""
    return hashlib.blake2b(f"{platform.node()}/{names}".encode(), digest_size=8).hexdigest()


def server_time() -> datetime:
    """Now, by the clock of the database."""
    from fiftyone.core.odm import get_db_conn

    return get_db_conn().command("hello")["localTime"]
