"""Slips of answers show by what everything else says; how much that counts follows from the person."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin.correction.answers.reliability import judge_answers
from fiftyone_plugin.errors import LabelQualityError

CLASSES = 6


def simulated(slips, number=300, seed=0):
    """Truth, what a fair model believes, and who answered what; slips are shares of wrong answers of each person."""
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.full(CLASSES, 0.15), number)
    truth = np.array([rng.choice(CLASSES, p=row) for row in prior])
    who = rng.integers(0, len(slips), number)
    wrong = rng.random(number) < np.array(slips)[who]
    return truth, prior, who, np.where(wrong, (truth + rng.integers(1, CLASSES, number)) % CLASSES, truth)


@pytest.mark.parametrize("seed", range(3))
def test_reliability_is_estimated_without_a_known_answer(seed):
    slips = (0.0, 0.05, 0.4)
    truth, prior, who, said = simulated(slips, number=600, seed=seed)
    panel = judge_answers(prior, np.arange(600), who, said, num_people=3)
    for number, person in enumerate(panel.people):
        assert person.right.estimate == pytest.approx((said == truth)[who == number].mean(), abs=0.08)
    believed = panel.chances.argmax(1)
    assert (believed != truth).mean() < 0.7 * (said != truth).mean()
    careful = who == 0
    assert (believed[careful] == said[careful]).mean() > 0.99  # where nobody errs, nothing is lost
    assert panel.people[0].weight > panel.people[2].weight


def test_known_answers_and_second_opinions_count():
    flat = np.full((40, CLASSES), 1 / CLASSES)
    truth = np.arange(40) % CLASSES
    known = np.where(np.arange(40) < 30, truth, -1)
    wrong = (truth + 1) % CLASSES
    asked, who = np.tile(np.arange(40), 2), np.repeat([0, 1], 40)
    said = np.r_[truth, np.where(np.arange(40) % 2, wrong, truth)]
    panel = judge_answers(flat, asked, who, said, num_people=2, known=known)
    assert [(one.known, one.slips, one.careless) for one in panel.people] == [(30, 0, False), (30, 15, True)]
    assert (panel.chances.argmax(1) == truth).all()
    late = judge_answers(flat, [0, 1, 2, 3], np.zeros(4), [1, 2, 2, 3], num_people=1, known=known)
    assert (late.people[0].slips, late.people[0].careless) == (2, True)  # found after two, whatever comes then
    again = judge_answers(flat, asked[::-1], who[::-1], said[::-1], num_people=2, known=known)
    assert np.allclose(again.chances, panel.chances)


@pytest.mark.parametrize(
    ("asked", "who", "said", "word"),
    [
        ([5], [0], [0], "questions"),
        ([0], [2], [0], "people"),
        ([0], [0], [-1], "answers"),
        ([0, 1], [0], [0], "shapes"),
    ],
)
def test_numbers_beyond_what_there_is_are_refused(asked, who, said, word):
    with pytest.raises(LabelQualityError, match=word):
        judge_answers(np.full((5, 3), 1 / 3), asked, who, said, num_people=2)
