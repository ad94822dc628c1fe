"""MongoDB is killed while answers are given: every answer that was acknowledged is there when it runs again.

`benchmarks/faults.py --database-kills 40` tries more.
"""

from __future__ import annotations

import random

import pytest
from pymongo import WriteConcern

from fiftyone_plugin.dataset.journals.append_log import store_documents
from tests.faults.database_kills import kill_database

KILLS = 2


def test_answers_are_written_with_the_journal():
    assert store_documents().write_concern == WriteConcern(w=1, j=True)


@pytest.mark.timeout(240)
def test_no_acknowledged_answer_is_lost(tmp_path):
    found = kill_database(KILLS, random.Random(0), tmp_path)
    assert found.killed == KILLS
    assert len(found.acknowledged) >= KILLS
    assert found.lost == set()
    assert found.problems == []
