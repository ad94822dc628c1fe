"""Of two who write one run the second is told who the first is; the claim of a dead one is taken over."""

from __future__ import annotations

import os
import signal

import pytest

import fiftyone_plugin as lq
from fiftyone_plugin.dataset.journals.answers import answers_that_count, read_answers
from fiftyone_plugin.dataset.journals.append_log import store_documents
from fiftyone_plugin.dataset.runs.claims import STORE, claim
from fiftyone_plugin.errors import LabelQualityError
from tests.faults.harness import _plan, _score, in_child


def test_the_second_is_told_who_the_first_is(scene):
    told = rf"'label_quality' is being written since .*process {os.getpid()}"
    with claim(scene.dataset, "label_quality"):
        for options in ({}, {"temperature": 0.5}, {"overwrite": True}):
            with pytest.raises(LabelQualityError, match=told):
                _score(scene, **options)
        _, answer = in_child(lambda: str(_score(scene)))
        assert f"process {os.getpid()}" in answer["error"]
    assert _score(scene).num_scored == 4


def test_the_claim_of_the_dead_is_taken_over(scene):
    def die():
        claim(scene.dataset, "label_quality").__enter__()
        os.kill(os.getpid(), signal.SIGKILL)

    assert os.WIFSIGNALED(in_child(die)[0])
    assert _score(scene).num_scored == 4


@pytest.mark.parametrize(("silent_for", "alive"), [(0, True), (10_000_000, False)])
def test_on_another_machine_the_last_sign_of_life_tells(scene, silent_for, alive):
    with claim(scene.dataset, "label_quality") as mine:
        change = [{"$set": {"value.machine": "elsewhere",
                            "value.seen": {"$subtract": ["$value.seen", silent_for]}}}]  # fmt: skip
        store_documents().update_one({"store_name": STORE, "key": "label_quality"}, change)
        if alive:
            with pytest.raises(LabelQualityError, match="is being written"), claim(scene.dataset, "label_quality"):
                pass
            return
        with claim(scene.dataset, "label_quality"):
            with pytest.raises(LabelQualityError, match="taken over"):
                mine.check()
            with pytest.raises(LabelQualityError, match="taken over"):
                mine.watched(lambda *_: None)(1, 2, "scoring")


def test_two_processes_answer_one_plan(scene):
    _plan(scene)
    asked = scene.dataset.count("ground_truth_queries.detections")

    def answer_all(name):
        sitting = lq.open_sitting(scene.dataset, "ground_truth", sitting_id=name)
        while sitting.question is not None:
            sitting.correct(sitting.question.alternatives[0])
        return sitting.flush()

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _, said = in_child(lambda: answer_all("child"))
        os.write(writing, repr(said).encode())
        os._exit(0)
    os.close(writing)
    assert answer_all("parent") == []
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"{'result': []}"
    os.waitpid(child, 0)
    found = read_answers(scene.dataset, "ground_truth")
    assert len(found) == len(answers_that_count(found)) == asked
    assert {answer.sitting for answer in found} <= {"child", "parent"}
