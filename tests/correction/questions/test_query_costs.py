"""Bits are those of choosing among equal options; seconds are measured, and assumed before that."""

from __future__ import annotations

import math

import pytest

from fiftyone_plugin.correction.questions import query_costs
from fiftyone_plugin.correction.questions.query_costs import AnswerSeconds
from fiftyone_plugin.errors import LabelQualityError


@pytest.mark.parametrize(
    ("num_classes", "right", "ask_all", "bits"),
    [
        (21, 0.5, True, 3.20),
        (21, 0.84, True, 1.70),
        (21, 0.9, True, 1.44),
        (21, 1.0, False, 1.0),
        (21, 0.0, False, 1 + math.log2(20)),
        (2, 0.3, False, 1.0),
        (2, 0.3, True, 1.7),
    ],
)
def test_bits_of_a_correction_query(num_classes, right, ask_all, bits):
    assert query_costs.correction_bits(num_classes, right, ask_all=ask_all) == pytest.approx(bits, abs=0.005)


@pytest.mark.parametrize(("num_classes", "bits"), [(2, 1.0), (16, 4.0), (21, 4.392)])
def test_bits_of_a_classification_query(num_classes, bits):
    assert query_costs.classification_bits(num_classes) == pytest.approx(bits, abs=0.0005)


@pytest.mark.parametrize(
    ("num_classes", "ask_all", "right"),
    [(21, True, 0.228), (19, True, 0.235), (21, False, 0.215), (19, False, 0.221), (2, False, 0.0), (2, True, 1.0)],
)
def test_break_even(num_classes, ask_all, right):
    found = query_costs.break_even(num_classes, ask_all=ask_all)
    assert found == pytest.approx(right, abs=0.0005)
    costs = query_costs.correction_bits(num_classes, found, ask_all=ask_all)
    assert costs == pytest.approx(query_costs.classification_bits(num_classes))


def test_cost_of_a_sitting():
    cost = query_costs.sitting_cost(16, confirmed=6, corrected=2)
    assert cost.bits_spent == pytest.approx(8 + 2 * math.log2(15))
    assert cost.bits_classification == pytest.approx(32)
    assert cost.right == 0.75
    assert cost.cheaper == "correction"
    assert query_costs.sitting_cost(16, confirmed=1, corrected=9).cheaper == "classification"


def test_cost_of_a_sitting_without_answers():
    cost = query_costs.sitting_cost(16, 0, 0)
    assert (cost.bits_spent, cost.bits_classification, cost.cheaper) == (0, 0, "correction")
    assert math.isnan(cost.right)


def test_seconds_are_assumed_until_they_are_measured():
    start = AnswerSeconds.fit([], [])
    assert (start.confirm, start.correct) == (pytest.approx(1.63), pytest.approx(4.48))
    measured = AnswerSeconds.fit([0.5, 2.0] * 500, [3.0])
    assert measured.confirm == pytest.approx(1.0, abs=0.01)
    assert measured.correct == pytest.approx((4.48**5 * 3) ** (1 / 6))


def test_interruptions_are_left_out():
    plain = AnswerSeconds.fit([2.0] * 20, [5.0])
    assert AnswerSeconds.fit([2.0] * 20 + [3600.0, 0.0, -1.0, float("nan")], [5.0]) == plain


def test_expected_seconds_lie_between():
    assert AnswerSeconds(2, 6).expected(0.25) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: query_costs.classification_bits(1), "at least 2 classes, but got 1"),
        (lambda: query_costs.break_even(1), "at least 2 classes"),
        (lambda: query_costs.correction_bits(21, 84), r"in \[0, 1\], but got 84"),
        (lambda: query_costs.correction_bits(21, float("nan")), "got nan"),
        (lambda: query_costs.sitting_cost(21, -1, 3), "-1 and 3"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(LabelQualityError, match=message):
        call()
