"""Clicks change the region where they are, up to the edges of what was clicked on, and are always obeyed."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fiftyone_plugin.correction.answers.refinement import METHODS, grow_region
from fiftyone_plugin.errors import LabelQualityError

SHAPE = (80, 120)


def box(top, left, bottom, right):
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


OBJECT, OTHER = box(20, 20, 60, 60), box(20, 75, 60, 105)


def picture():
    """Two objects of different colours on a background, with a little noise."""
    image = np.full((*SHAPE, 3), (60, 90, 60), np.uint8)
    image[OBJECT], image[OTHER] = (200, 60, 40), (40, 60, 200)
    return image + np.random.default_rng(0).integers(0, 5, image.shape, dtype=np.uint8)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("start", "clicks", "wanted"),
    [
        pytest.param(box(20, 20, 60, 40), [(55, 40, True)], OBJECT, id="the other half"),
        pytest.param(OBJECT | OTHER, [(90, 40, False)], OBJECT, id="another object away"),
        pytest.param(OBJECT, [(90, 40, True)], OBJECT | OTHER, id="another object too"),
        pytest.param(OBJECT | OTHER, [(90, 40, False), (90, 41, True)], None, id="changed mind"),
    ],
)
def test_a_click_is_about_what_was_clicked_on(method, start, clicks, wanted):
    found = grow_region(picture(), start, clicks, method)
    assert found.dtype == bool
    if wanted is not None:
        assert iou(found, wanted) > max(0.8, iou(start, wanted))
    for x, y, positive in clicks:
        assert found[y, x] == positive


def test_region_growing_stops_at_the_edge():
    found = grow_region(picture(), box(20, 20, 60, 40), [(55, 40, True)], "region_growing")
    assert iou(found, OBJECT) > 0.97


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_every_click_is_obeyed(method, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)
    start = rng.random((40, 30)) < 0.5
    clicks = [(int(rng.integers(30)), int(rng.integers(40)), bool(rng.random() < 0.5)) for _ in range(12)]
    latest = {(x, y): positive for x, y, positive in clicks}
    found = grow_region(image, start, clicks, method)
    assert all(found[y, x] == positive for (x, y), positive in latest.items())


@pytest.mark.parametrize("method", METHODS)
def test_an_image_without_colour_changes_little(method):
    """Where everything looks the same, a click must not take the whole region away once another one holds it."""
    start = OBJECT.copy()
    found = grow_region(np.zeros((*SHAPE, 3), np.uint8), start, [(30, 40, True), (50, 40, False)], method)
    assert found[40, 30]
    assert not found[40, 50]
    assert iou(found, start) > 0.3


@pytest.mark.parametrize("method", METHODS)
def test_without_clicks_the_region_stays(method):
    start = OBJECT.copy()
    found = grow_region(picture(), start, [], method)
    assert (found == start).all()
    found[:] = False
    assert start.any()


@pytest.mark.parametrize("method", METHODS)
def test_the_start_is_not_changed_and_may_be_empty(method):
    start = np.zeros(SHAPE, bool)
    found = grow_region(picture(), start, [(40, 40, True)], method)
    assert found[40, 40]
    assert not start.any()
    assert grow_region(picture()[:1, :1], [[True]], [(0, 0, False)], method).tolist() == [[False]]


@pytest.mark.parametrize(
    ("shape", "clicks", "method", "message"),
    [
        (SHAPE, [(120, 0, True)], "random_walker", "height 80 and width 120, but got x=120, y=0"),
        (SHAPE, [(0, -1, True)], "region_growing", "y=-1"),
        ((80, 119), [], "region_growing", r"\(80, 119\) and \(80, 120\)"),
        (SHAPE, [(1, 1, True)], "watershed", "'watershed'"),
    ],
)
def test_bad_input_is_refused(shape, clicks, method, message):
    with pytest.raises(LabelQualityError, match=message):
        grow_region(picture(), np.zeros(shape, bool), clicks, method)


@pytest.mark.parametrize("method", METHODS)
def test_how_long_a_click_takes(method):
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8).repeat(32, 0).repeat(32, 1)
    start = np.zeros((512, 512), bool)
    start[100:300, 100:300] = True
    clicks = [(350, 200, True), (150, 150, False), (400, 200, True)]
    grow_region(image, start, clicks, method)
    started = time.perf_counter()
    grow_region(image, start, clicks, method)
    print(f"{method}: {1000 * (time.perf_counter() - started):.0f} ms for three clicks on 512 x 512 pixels")
