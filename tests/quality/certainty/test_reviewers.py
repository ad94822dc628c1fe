"""Careless people are found soon, careful ones hardly ever accused; what people say of the same thing is weighed."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.quality.certainty.reviewers import judge_reviewers, speaks_against


@pytest.mark.parametrize(
    ("slips", "answers", "careless"),
    [(0, 0, False), (0, 30, False), (2, 3, False), (3, 30, False), (5, 30, False), (5, 8, True), (10, 30, True)],
)
def test_slips_against_what_is_tolerable(slips, answers, careless):
    assert (speaks_against(slips, answers) > 20) == careless


@pytest.mark.parametrize(("slips", "lowest", "highest"), [(0.05, 0, 0.02), (0.1, 0, 0.05), (0.5, 0.97, 1)])
def test_found_within_thirty_known_answers_looking_after_each(slips, lowest, highest):
    rng = np.random.default_rng(0)
    wrong = np.cumsum(rng.random((300, 30)) < slips, axis=1)
    ratios = {(s, n): speaks_against(s, n) for n in range(1, 31) for s in range(n + 1)}
    found = np.mean([any(ratios[s, n] > 20 for n, s in enumerate(row.tolist(), start=1)) for row in wrong])
    assert lowest <= found <= highest


def said_by(rng, truth, rights):
    """Everybody answers every question, right with their probability."""
    right = rng.random((len(rights), truth.size)) < np.array(rights)[:, None]
    who, what = np.indices(right.shape)
    return what.ravel(), who.ravel(), np.where(right, truth, ~truth).ravel()


def test_agreement_tells_who_is_right_and_what_is_doubtful():
    rng = np.random.default_rng(1)
    truth = rng.random(300) < 0.5
    unknown = np.full(300, np.nan)
    questions, people, answers = said_by(rng, truth, [0.97, 0.75, 0.7])
    panel = judge_reviewers(questions, people, answers, num_people=3, known=unknown)
    shares = [one.right.estimate for one in panel.people]
    assert np.abs(np.array(shares) - [0.97, 0.75, 0.7]).max() < 0.06
    weights = [one.weight for one in panel.people]
    assert weights == sorted(weights, reverse=True)
    majority = np.bincount(questions, weights=answers) >= 2
    together = panel.chances > 0.5
    assert (together == truth).mean() > (majority == truth).mean()
    wrong = together != truth
    assert panel.doubtful[wrong].mean() > 2 * panel.doubtful[~wrong].mean()


def test_known_answers_count_and_lonely_ones_do_not():
    known = [1, 0, 1, np.nan, np.nan]
    panel = judge_reviewers([0, 1, 2, 3, 4], [0, 0, 0, 0, 1], [1, 1, 1, 1, 0], num_people=3, known=known)
    first, second, third = panel.people
    assert (first.answers, first.known, first.slips) == (3, 3, 1)
    assert first.right.estimate == pytest.approx(2 / 3)
    assert (second.answers, third.answers) == (0, 0)
    assert (third.right.low, third.right.high) == (0, 1)
    assert panel.chances[:3].tolist() == [1, 0, 1]
    assert panel.chances[3] > 0.5 > panel.chances[4]


@pytest.mark.parametrize(
    ("questions", "people", "answers", "said"),
    [([0], [0, 1], [1], "for each answer"), ([2], [0], [1], "from 0 to 1"), ([0], [3], [1], "people from 0 to 0")],
)
def test_what_does_not_fit_is_refused(questions, people, answers, said):
    with pytest.raises(LabelQualityError, match=said):
        judge_reviewers(questions, people, answers, num_people=1, known=[np.nan, np.nan])
    with pytest.raises(LabelQualityError, match="3 of 2"):
        speaks_against(3, 2)
