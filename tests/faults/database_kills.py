"""Kill MongoDB while somebody answers, start it again, and look whether everything that was acknowledged is there."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import fiftyone as fo
import fiftyone.core.odm.database as odm
import fiftyone.factory.repo_factory as repositories
import mongoengine
import numpy as np
from fiftyone.factory.repos.execution_store import MongoExecutionStoreRepo
from PIL import Image
from pymongo import MongoClient

import fiftyone_plugin as lq
from demo.isolation import free_port
from demo.mongod import program_path
from fiftyone_plugin.dataset.journals import append_log
from fiftyone_plugin.dataset.journals.answers import answers_that_count, read_answers
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent
from tests.faults.harness import Scene, _plan, make_scene

FIELD = "ground_truth"
_UNDO = 0.25
_PATIENCE = 60.0


class Server:
    """A MongoDB with its data in a folder, at one port however often it is started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port(20_000 + os.getpid() % 10_000)  # no port that the system gives to others meanwhile
        self.address = f"mongodb://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it; returns when it answers."""
        words = ["--dbpath", str(self._folder), "--port", str(self._port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
        self._process = subprocess.Popen([str(program_path()), *words], stdout=subprocess.DEVNULL)
        with MongoClient(self.address, serverSelectionTimeoutMS=1_000 * int(_PATIENCE)) as client:
            client.admin.command("ping")

    def kill(self) -> None:
        """End it with SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def kept(self) -> set[str]:
        """Keys of all records that it has."""
        with MongoClient(self.address) as client:
            rows = client[fo.config.database_name][MongoExecutionStoreRepo.COLLECTION_NAME]
            return {row["key"] for row in rows.find({}, {"key": 1})}


@dataclass
class Answering:
    """What came of answering while the database was killed.

    Attributes:
        killed: how often it was
        acknowledged: keys of the records of answers, also of those that took one back
        refused: how often the person was told that the database does not answer
        lost: keys of records that were acknowledged and are gone
        problems: all else that is wrong, in words
    """

    killed: int = 0
    acknowledged: set[str] = field(default_factory=set)
    refused: int = 0
    lost: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def hear(self, pipe: int, seconds: float) -> bool:
        """Take in what the answering process says, at most for some time; whether it may say more."""
        while select.select([pipe], [], [], seconds)[0]:
            said = os.read(pipe, 1 << 16)
            if not said:
                return False
            for line in said.decode().splitlines():
                what, _, rest = line.partition(" ")
                if what == "kept":
                    self.acknowledged.add(rest)
                elif what == "refused":
                    self.refused += 1
                else:
                    self.problems.append(line)
            seconds = 0
        return True


def kill_database(kills: int, rng: random.Random, folder: Path) -> Answering:
    """Answer questions, and kill MongoDB again and again: half the times the moment after it acknowledged an answer.

    Args:
        kills: how often
        rng: says when
        folder: empty, for the data of MongoDB

    Returns:
        what came of it
    """
    server, found = Server(folder), Answering()
    reading, writing = os.pipe()
    stopping, stop = os.pipe()
    server.start()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.close(stop)
        _answer_in_child(server.address, writing, stopping, rng)
    os.close(writing)
    os.close(stopping)
    try:
        while found.killed < kills and _hear_more(found, reading, rng.randint(1, 5)):
            select.select([], [], [], rng.choice([0, rng.uniform(0, 0.1)]))
            server.kill()
            found.killed += 1
            found.hear(reading, 0)
            acknowledged = set(found.acknowledged)
            server.start()
            found.lost |= acknowledged - server.kept()
        os.close(stop)
        end = time.monotonic() + _PATIENCE
        while found.hear(reading, 1):
            if time.monotonic() > end:
                found.problems.append("the answering process does not end")
                os.kill(child, signal.SIGKILL)
        found.lost |= found.acknowledged - server.kept()
    finally:
        os.waitpid(child, 0)
        os.close(reading)
        server.kill()
    return found


def _hear_more(found: Answering, pipe: int, number: int) -> bool:
    """Wait for a number of further answers; whether they came."""
    wanted, end = len(found.acknowledged) + number, time.monotonic() + _PATIENCE
    while len(found.acknowledged) < wanted:
        if time.monotonic() > end or not found.hear(pipe, 1):
            found.problems.append("nothing more was answered")
            return False
    return True


# --- the answering process ------------------------------------------------------------------------------------


def _answer_in_child(address: str, tell: int, stop: int, rng: random.Random) -> NoReturn:
    try:
        _connect(address)
        wrong = _answer_on(tell, stop, rng)
    except BaseException:
        wrong = [traceback.format_exc()[-1500:].replace("\n", " | ")]
    with suppress(OSError):
        os.write(tell, "".join(f"wrong {line}\n" for line in wrong).encode())
    os._exit(0)


def _connect(address: str) -> None:
    """Let this process, which was forked, use another database than its parent."""
    mongoengine.disconnect_all()
    odm._client, repositories._db = None, None
    repositories.RepositoryFactory.repos.clear()
    fo.config.database_uri = address


def _answer_on(tell: int, stop: int, rng: random.Random) -> list[str]:
    """Answer and take back until there is an end; what is wrong then, in words."""
    scene, append = make_scene(), append_log.append
    try:
        _plan(scene)

        def heard(*args: Any) -> list[str]:
            keys = append(*args)
            os.write(tell, "".join(f"kept {key}\n" for key in keys).encode())
            return keys

        append_log.append = heard
        sitting = lq.open_sitting(scene.dataset, FIELD, sitting_id="somebody")
        refused = False
        while refused or not select.select([stop], [], [], 0)[0]:
            refused = False
            try:
                question = sitting.question
                if question is None or rng.random() < _UNDO:
                    sitting.undo()
                else:
                    sitting.correct(rng.choice(question.alternatives))
            except LabelQualityError:
                refused = True
                os.write(tell, b"refused\n")
        sitting.flush()
        lq.apply_corrections(scene.dataset, FIELD, progress=silent)
        return _faults(scene, {answer.key for answer in sitting._own})
    finally:
        shutil.rmtree(scene.root)  # the dataset stays, to be looked for


def _faults(scene: Scene, own: set[str]) -> list[str]:
    """Where questions, corrected labels and what the sitting remembers differ from the answers."""
    counted = answers_that_count(read_answers(scene.dataset, FIELD))
    wanted = {answer.query_id: answer.status for answer in counted}
    rows = list(scene.dataset._sample_collection.find({}))
    found = {str(one["_id"]): one["status"] for row in rows for one in row[f"{FIELD}_queries"]["detections"]}
    wrong = [f"{key} is {said}" for key, said in found.items() if said != wanted.get(key, "pending")]
    if own != {answer.key for answer in counted}:
        wrong.append(f"the sitting remembers {len(own)} answers of {len(counted)}")
    for row in rows:
        given, label = (np.array(Image.open(row[name]["mask_path"])) for name in (FIELD, f"{FIELD}_corrected"))
        for answer in (one for one in counted if one.sample_id == str(row["_id"]) and one.value is not None):
            top, left, bottom, right = answer.bbox
            given[top:bottom, left:right][answer.mask] = answer.value
        if not np.array_equal(given, label):
            wrong.append(f"the corrected label of {row['filepath']} is not what the answers say")
    return wrong
