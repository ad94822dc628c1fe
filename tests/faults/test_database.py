"""MongoDB is killed while answers are given: every answer that was acknowledged is there when it runs again."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError

from demo.mongod import program_path
from fiftyone_plugin.dataset.journals.append_log import store_documents

KILLS = 2


def start(folder: Path) -> tuple[subprocess.Popen, int]:
    """A server with its data in a folder; its process and port."""
    words = [str(program_path()), "--dbpath", str(folder), "--port", "0", "--bind_ip", "127.0.0.1", "--nounixsocket"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in server.stdout:
        if "Waiting for connections" in line:
            return server, int(line.rpartition('"port":')[2].partition(",")[0].partition("}")[0])
    raise AssertionError("the server ended before it took connections")


def test_answers_are_written_with_the_journal():
    assert store_documents().write_concern == WriteConcern(w=1, j=True)


@pytest.mark.timeout(240)
def test_no_acknowledged_answer_is_lost(tmp_path):
    acknowledged, wanted = set(), store_documents().write_concern
    for turn in range(KILLS):
        server, port = start(tmp_path)
        client = MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=20_000)
        log = client.test.get_collection("log", write_concern=wanted)
        assert {row["_id"] for row in log.find()} >= acknowledged, "an answer was lost"
        try:
            for number in range(40 + 7 * turn):
                key = f"{turn}-{number}"
                log.insert_one({"_id": key, "mask": "x" * 2_000})
                acknowledged.add(key)
        except PyMongoError:
            raise AssertionError("the server failed before it was killed") from None
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        server.stdout.close()
        client.close()
    server, port = start(tmp_path)
    with MongoClient("127.0.0.1", port) as client:
        assert {row["_id"] for row in client.test.log.find()} == acknowledged
    server.kill()
    server.wait()
    server.stdout.close()
