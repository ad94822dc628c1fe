"""Numbers become cards: nothing above 100 %, nothing divided by zero, whole names in what a click gives."""

from __future__ import annotations

import doctest
import sys

import pytest


@pytest.fixture(scope="module")
def panels():
    """The panel's modules as FiftyOne loads them, in its own package."""
    import fiftyone.operators as foo

    panel = foo.get_operator("@label-quality/segmentation/label_quality")
    package = type(panel).__module__.rsplit(".", 1)[0]
    return lambda name: sys.modules[f"{package}.{name}"]


@pytest.fixture(scope="module")
def cards(panels):
    return panels("cards")


def test_classes_keep_their_names_and_only_so_many_are_shown(cards):
    found = [cards.ClassQuality(f"<b>{number}", 0.5, None, number) for number in range(150)]
    rows = cards.class_quality(found, {"<b>1": "#00ff00"}, regions=True)["rows"]
    assert [row["at"] for row in rows] == [f"<b>{number}" for number in range(cards.MOST_CLASSES)]
    assert rows[1]["colour"] == "#00ff00"
    assert rows[1]["text"] == "1 region"


def test_classes_are_in_the_order_of_the_bars(cards):
    """By the share that is shown; what is equal stays in the order of how far the model agrees."""
    shares = {"a": 0.02, "b": 0.03, "c": None, "d": 0.03}
    found = [cards.ClassQuality(name, 0.5, share, 1) for name, share in shares.items()]
    order = {regions: [row["name"] for row in cards.class_quality(found, {}, regions=regions)["rows"]]
             for regions in (True, False)}  # fmt: skip
    assert order == {True: ["b", "d", "a", "c"], False: ["a", "b", "c", "d"]}


def test_large_matrices_have_numbers_in_all_cells(cards):
    names = [str(number) for number in range(25)]
    values = [[number * 1_000] * 25 for number in range(25)]
    found = cards.pair_matrix(cards.PairMatrix(names, names, values, values, 0, 0), "regions", {})
    assert found["texts"][12] == ["12k"] * 25


def test_an_empty_score_has_no_middle(cards):
    assert "mark" not in cards.score_histogram(cards.Histogram([0.0, 0.5, 1.0], [0, 0], None, None))


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.00021, "0.021"), (0.0312, "3.1"), (0.1, "10"), (0.999, "100"), (1, "100")]
)
def test_percent(panels, value, text):
    assert panels("numbers").percent(value) == text


@pytest.mark.parametrize("module", ["cards", "texts", "numbers", "curve_charts"])
def test_examples_of_the_panel(panels, module):
    found = doctest.testmod(panels(module))
    assert found.attempted > 0
    assert found.failed == 0
