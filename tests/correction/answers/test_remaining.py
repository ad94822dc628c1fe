"""The interval holds the share that is still wrong as often as it says, whatever was asked and repaired besides."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fiftyone_plugin.correction.answers.remaining import AskedRound, AuditRound, advice, remaining_share
from fiftyone_plugin.correction.questions.acquisition import choose_queries
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.quality.regions.review_statistics import Interval


@pytest.mark.parametrize(
    ("rounds", "pixels", "estimate"),
    [
        pytest.param([AuditRound([10] * 4, [10, 0, 0, 0], 1000)], 1000, 0.25, id="a quarter"),
        pytest.param([AuditRound([10] * 4, [5, 0, 0, 0], 1000)], 1000, 0.125, id="partly wrong"),
        pytest.param([AuditRound([5, 20, 40], [5, 0, 0], 1000)], 1000, 1 / 3, id="whatever their size"),
        pytest.param([AuditRound([10] * 4, [10, 0, 0, 0], 800)], 1000, 0.2, id="not everything can be asked about"),
        pytest.param([AuditRound([10] * 4, [10, 0, 0, 0], 1000, repaired=100)], 1000, 0.15, id="repaired since"),
        pytest.param([AuditRound([10] * 4, [0] * 4, 1000, repaired=30)], 1000, 0.0, id="more than was found"),
        pytest.param(
            [AuditRound([10] * 4, [10, 0, 0, 0], 1000, 150), AuditRound([10] * 12, [10] + [0] * 11, 900, 50)],
            1000,
            (4 * (250 - 150) + 12 * (75 - 50)) / 16 / 1000,
            id="two rounds",
        ),
        pytest.param([AuditRound([600, 100], [600, 0], 1000, planned=4)], 1000, 2.4 / 3.4, id="drawn twice"),
    ],
)
def test_the_estimate(rounds, pixels, estimate):
    found = remaining_share(rounds, pixels)
    assert found.estimate == pytest.approx(estimate)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_the_interval_is_what_the_audits_do_not_speak_against():
    """Beta-binomial with 0.2 and 2 for 2 of 50: log chance -11.68; m^2 (1 - m)^48 is a twentieth of it at both ends."""
    found = remaining_share([AuditRound([1] * 50, [1] * 2 + [0] * 48, 1000)], 1000)
    bet = log_beta(2.2, 50) - log_beta(0.2, 2)
    for end in (found.low, found.high):
        assert bet - 2 * np.log(end) - 48 * np.log1p(-end) == pytest.approx(np.log(20), abs=1e-3)
    assert found.low < 0.04 < found.high


def log_beta(first, second):
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)


def test_without_audits_nothing_is_known():
    assert remaining_share([], 1000) is None
    assert remaining_share([AuditRound([], [], 1000)], 1000) is None
    assert remaining_share([AuditRound([], [], 1000), AuditRound([5], [0], 1000)], 1000).estimate == 0


def test_audits_that_find_nothing_leave_some_doubt():
    found = remaining_share([AuditRound([10] * 30, [0] * 30, 1000)], 1000)
    assert (found.estimate, found.low) == (0, 0)
    assert 0.1 < found.high < 0.15


def simulated(seed, made_candidates, *, answered=1.0, rounds=1):
    """A dataset in which small superpixels are wrong more often, asked in the order of noisy values."""
    rng = np.random.default_rng(seed)
    areas = np.ceil(rng.lognormal(5, 1.2, 3000)).astype(int)
    wrong = np.where(rng.random(3000) < 0.25 * areas.astype(float) ** -0.1, areas, 0)
    wrong = np.where(rng.random(3000) < 0.3, wrong // 2, wrong)
    image = made_candidates(np.zeros(3000, int), areas, np.full((3000, 2), 0.5))
    left, open_rows, drawn = wrong.copy(), np.ones(3000, bool), []
    for number in range(rounds):
        values = np.where(open_rows, left / areas + rng.normal(0, 0.4, 3000), np.nan)
        asked = choose_queries([image], [values], 600, audits=0.15, seed=1000 * seed + number)
        population = areas[open_rows].sum()
        planned = sum(one.audit for one in asked)
        asked = asked[: int(answered * len(asked))]
        rows = np.array([one.row for one in asked])
        audits = np.array([one.row for one in asked if one.audit])
        repaired = left[rows].sum()
        drawn = [AuditRound(d.areas, d.wrong, d.population, d.repaired + repaired, d.planned) for d in drawn]
        drawn.append(AuditRound(areas[audits], left[audits], population, repaired, planned))
        left[rows], open_rows[rows] = 0, False
    return remaining_share(drawn, areas.sum()), left.sum() / areas.sum()


@pytest.mark.parametrize(("answered", "rounds"), [(1.0, 1), (0.5, 1), (1.0, 3)])
def test_the_interval_holds_the_truth(made_candidates, answered, rounds):
    results = [simulated(seed, made_candidates, answered=answered, rounds=rounds) for seed in range(100)]
    held = [found.low <= truth <= found.high for found, truth in results]
    bias = np.mean([found.estimate - truth for found, truth in results])
    assert np.mean(held) >= 0.95
    assert abs(bias) < 0.012
    print(f"{np.mean(held):.3f} held, bias {bias:.4f}, truth {np.mean([truth for _, truth in results]):.3f}")


@pytest.mark.parametrize(
    ("values", "audits", "answered", "rest"),
    [
        pytest.param([9, 8, 7, 1], [0, 0, 0, 1], [1, 1, 1, 1], (1, 370, 0, 0), id="all answered"),
        pytest.param([9, 8, 7, 1], [0, 0, 0, 1], [1, 0, 1, 1], (1, 390, 10, 0), id="only down to the first gap"),
        pytest.param([9, 8, 7, 1], [0, 1, 0, 1], [1, 1, 1, 1], (1, 370, 0, 0), id="an audit that was worth asking"),
        pytest.param([9, 8, 7, 1], [0, 1, 0, 1], [1, 0, 1, 1], (1, 370, 0, 10), id="the same without an answer"),
        pytest.param([9, 8, 7, 1], [0, 0, 0, 1], [0, 0, 0, 1], (1, 400, 0, 0), id="nothing but the audit"),
        pytest.param([9, 8, 7, 8], [0, 0, 0, 1], [1, 0, 0, 1], (1, 390, 0, 0), id="as much worth as an open one"),
    ],
)
def test_what_was_not_asked_from_end_to_end(values, audits, answered, rest):
    repaired = [10 * done * (not audit) for done, audit in zip(answered, audits, strict=True)]
    found = AskedRound(values, [10] * 4, repaired, audits, answered, 400, 2).rest()
    assert (len(found.areas), found.population, found.repaired, found.unknown) == rest


@pytest.mark.parametrize(("wrong_share", "budget"), [(0.25, 150), (0.05, 400)])
def test_the_interval_holds_whenever_one_looks_and_all_answers_make_it_narrower(made_candidates, wrong_share, budget):
    held, with_answers, audits_alone = [], [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        areas = np.ceil(rng.lognormal(5, 1.2, 1000)).astype(int)
        wrong = np.where(rng.random(1000) < wrong_share, areas, 0)
        values = areas * np.clip(wrong / areas + rng.normal(0, 0.4, 1000), 0.001, None)
        image = made_candidates(np.zeros(1000, int), areas, np.full((1000, 2), 0.5))
        asked = choose_queries([image], [values], budget, audits=0.1, seed=seed)
        rows, audits = np.array([one.row for one in asked]), np.array([one.audit for one in asked])
        for done in np.arange(1, 5) * budget // 4:
            answered = np.arange(budget) < done
            repaired, found = np.where(answered, wrong[rows], 0), audits & answered
            whole = AuditRound(areas[rows[found]], wrong[rows[found]], areas.sum(), repaired.sum(), audits.sum())
            rest = AskedRound(values[rows], areas[rows], repaired, audits, answered, areas.sum(), audits.sum()).rest()
            truth = (wrong.sum() - repaired.sum()) / areas.sum()
            share, plain = (remaining_share([one], areas.sum()) for one in (rest, whole))
            held.append(share is None or share.low <= truth <= share.high)
            if share is not None:
                with_answers.append(share.high - share.low)
                audits_alone.append(plain.high - plain.low)
    assert np.reshape(held, (200, 4)).all(axis=1).mean() >= 0.95
    assert np.mean(with_answers) < 0.95 * np.mean(audits_alone)


@pytest.mark.parametrize(
    ("rounds", "pixels", "message"),
    [
        ([AuditRound([5, 5], [1], 100)], 100, "area of each audit"),
        ([AuditRound([5], [6], 100)], 100, "between 0 and the area"),
        ([AuditRound([5], [-1], 100)], 100, "between 0 and the area"),
        ([AuditRound([0], [0], 100)], 100, "between 0 and the area"),
        ([AuditRound([50], [0], 40)], 100, "audits' 50 pixels"),
        ([AuditRound([5], [0], 100, repaired=-1)], 100, "100, -1 and 0"),
        ([AuditRound([5], [0], 100)], 90, "at least the 100 pixels"),
    ],
)
def test_bad_input_is_refused(rounds, pixels, message):
    with pytest.raises(LabelQualityError, match=message):
        remaining_share(rounds, pixels)


UNSURE, SURE = Interval(0.02, 0.005, 0.05), Interval(0.004, 0.001, 0.009)


@pytest.mark.parametrize(
    ("remaining", "pending", "repaired", "kind"),
    [
        pytest.param(UNSURE, 0, [], "done", id="nothing left to ask"),
        pytest.param(SURE, 9, [], "target", id="good enough"),
        pytest.param(UNSURE, 9, [500] * 59, "start", id="too little to say"),
        pytest.param(None, 9, [500] * 60, "go on", id="nothing known"),
        pytest.param(UNSURE, 9, [500] * 60, "go on", id="steady"),
        pytest.param(UNSURE, 9, [500] * 60 + [20] * 30, "little", id="little by now"),
        pytest.param(UNSURE, 9, [0] * 90, "go on", id="nothing so far"),
    ],
)
def test_advice(remaining, pending, repaired, kind):
    found = advice(remaining, pending, repaired, [3.0] * len(repaired))
    assert found.kind == kind
    assert found.text.endswith(".")


def test_advice_follows_the_target():
    assert advice(UNSURE, 9, [], [], target=0.06).kind == "target"
    assert "at most 5 %" in advice(UNSURE, 9, [], [], target=0.06).text
    assert "6 % was the target" in advice(UNSURE, 9, [], [], target=0.06).text


def test_advice_goes_by_pixels_per_minute():
    """The same pixels in a tenth of the time are no smaller yield."""
    pixels = [500] * 60 + [40] * 30
    assert advice(UNSURE, 9, pixels, [10.0] * 90).kind == "little"
    assert advice(UNSURE, 9, pixels, [10.0] * 60 + [1.0] * 30).kind == "go on"
    assert "2,400 pixels per minute" in advice(UNSURE, 9, pixels, [10.0] * 60 + [1.0] * 30).text


def test_advice_refuses_what_does_not_fit():
    with pytest.raises(LabelQualityError, match=r"\(2,\) and \(1,\)"):
        advice(UNSURE, 9, [1, 2], [1.0])
