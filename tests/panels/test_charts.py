"""Numbers become traces: whole numbers on axes, long names cut, nothing divided by zero."""

from __future__ import annotations

import doctest
import sys

import pytest


@pytest.fixture(scope="module")
def charts():
    """The charts as FiftyOne loads them, in its own package."""
    import fiftyone.operators as foo

    panel = foo.get_operator("@label-quality/segmentation/label_quality")
    return sys.modules[type(panel).__module__.rsplit(".", 1)[0] + ".charts"]


@pytest.fixture(scope="module")
def kinds_of(charts):
    """The classes that the charts take."""
    return vars(charts)


def test_names_are_cut_and_clicks_are_not(charts, kinds_of):
    name = "a very long name of a class"
    found = [kinds_of["ClassQuality"](name, 0.5, None, 3)]
    chart = charts.class_quality(found)
    assert chart["data"][0]["y"] == [name]
    assert chart["layout"]["yaxis"]["ticktext"] == ["a very long nam…"]


def test_classes_called_like_numbers_or_tags_stay_names(charts, kinds_of):
    found = [kinds_of["ClassQuality"](name, 0.5, 0.1, 3) for name in ("1", "<b>", "2")]
    axis = charts.class_quality(found)["layout"]["yaxis"]
    assert axis["type"] == "category"
    assert axis["ticktext"] == ["1", "&lt;b>", "2"]


def test_only_so_many_classes(charts, kinds_of):
    found = [kinds_of["ClassQuality"](str(number), 0.5, 0.1, 3) for number in range(150)]
    assert len(charts.class_quality(found)["data"][0]["y"]) == charts.MOST_CLASSES


def test_large_matrices_have_no_numbers_in_cells(charts, kinds_of):
    names = [str(number) for number in range(20)]
    values = [[number] * 20 for number in range(20)]
    pairs = kinds_of["PairMatrix"](names, names, values, values, 0, 0)
    assert charts.pair_matrix(pairs, "regions")["data"][0]["texttemplate"] == ""


def test_an_empty_score_has_no_median(charts, kinds_of):
    chart = charts.score_histogram(kinds_of["Histogram"]([0.0, 0.5, 1.0], [0, 0], None, None))
    assert chart["layout"]["shapes"] == []


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.00021, "0.021"), (0.0312, "3.1"), (0.1, "10"), (0.999, "100"), (1, "100")]
)
def test_percent(charts, value, text):
    assert charts.percent(value) == text


def test_remote_media_stay_addresses(charts):
    assert charts.media_url("https://host/a b.jpg") == "https://host/a b.jpg"
    assert charts.media_url("/a b.jpg") == "/media?filepath=%2Fa%20b.jpg"


@pytest.mark.parametrize("module", ["charts", "texts"])
def test_examples_of_the_panel(charts, module):
    found = doctest.testmod(sys.modules[charts.__name__.replace("charts", module)])
    assert found.attempted > 0
    assert found.failed == 0
