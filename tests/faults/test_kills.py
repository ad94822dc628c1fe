"""Jobs are killed at random moments and just before a write; started again, they leave what an undisturbed job leaves.

A quarter of the jobs each day, at other moments each day; a failure names the day, by which it is repeated.
`benchmarks/faults.py` tries hundreds of all.
"""

from __future__ import annotations

import random
from datetime import date

import pytest

from tests.faults.harness import JOBS, Experiments

KILLS = 2
DAY = date.today().toordinal()


@pytest.fixture(scope="module")
def experiments():
    return Experiments()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(JOBS)[DAY % 4 :: 4])
def test_a_killed_job_goes_on(experiments, name):
    rng = random.Random(f"{DAY}/{name}")
    outcomes = []
    while len(outcomes) < KILLS or (len(outcomes) < 10 and not any(one.killed for one in outcomes)):
        outcomes.append(experiments.kill(name, rng))  # a quick job may end before its time comes
    wrong = [f"day {DAY}, {one.how}, {one.after}: {one.problems}" for one in outcomes if one.problems]
    assert not wrong, "\n".join(wrong)
    assert any(one.killed for one in outcomes), f"day {DAY}: nothing was killed"
