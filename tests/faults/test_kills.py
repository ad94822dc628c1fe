"""Jobs are killed at random moments and just before a write; started again, they leave what an undisturbed job leaves.

The moments are other ones each day; a failure names the day, by which it is repeated. `benchmarks/faults.py` tries
hundreds.
"""

from __future__ import annotations

import random
from datetime import date

import pytest

from tests.faults.harness import JOBS, Experiments

KILLS = 60


@pytest.fixture(scope="module")
def experiments():
    return Experiments()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", JOBS)
def test_a_killed_job_goes_on(experiments, name):
    day = date.today().toordinal()
    rng = random.Random(f"{day}/{name}")
    outcomes = [experiments.kill(name, rng) for _ in range(KILLS // len(JOBS))]
    wrong = [f"day {day}, {one.how}, {one.after}: {one.problems}" for one in outcomes if one.problems]
    assert not wrong, "\n".join(wrong)
    assert any(one.killed for one in outcomes), f"day {day}: nothing was killed"
