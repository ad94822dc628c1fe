"""All objects too small or too large, on a background or on large classes, and ignored pixels as they were."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.quality.known_errors import add_boundary_noise, redraw_outlines


def street():
    """Sky (0) over road (1), a car (2) on their border and one on the road, two ignored values."""
    mask = np.zeros((64, 96), np.uint8)
    mask[32:] = 1
    mask[26:40, 20:38] = 2
    mask[46:54, 60:72] = 2
    mask[0], mask[63] = 255, 254
    return mask


def redraw(kind, mask=None, **options):
    options = {"ignore_index": [254, 255], "steps": [2], **options}
    return redraw_outlines(street() if mask is None else mask, kind, np.random.default_rng(0), **options)


def test_too_small_objects_leave_what_is_nearest():
    mask, error = street(), redraw("erode_all")
    lost = (mask == 2) & (error.mask != 2)
    assert np.array_equal(error.changed, lost)
    assert 20 < lost.sum() < (mask == 2).sum()
    rows = np.flatnonzero(lost[:, 20:38].any(1))
    assert set(error.mask[rows.min(), 20:38][lost[rows.min(), 20:38]]) == {0}, "the car's top was before the sky"
    assert set(error.mask[46:54, 60:72][lost[46:54, 60:72]]) == {1}, "the other one stood on the road"
    assert (error.kind, error.true) == ("erode_all", 2)


def test_too_large_objects_cover_what_they_stand_on():
    mask, error = street(), redraw("dilate_all")
    assert np.array_equal(error.changed, (mask != 2) & (error.mask == 2))
    assert set(mask[error.changed]) == {0, 1}
    assert error.given == 2


@pytest.mark.parametrize("kind", ["erode_all", "dilate_all"])
def test_ignored_pixels_stay(kind):
    mask = street()
    mask[26:40, 20:24] = 254
    mask[46:48, 60:72] = 255
    error = redraw(kind, mask)
    assert error.changed.any()
    for value in (254, 255):
        assert np.array_equal(error.mask == value, mask == value)


@pytest.mark.parametrize(("kind", "mode"), [("erode_all", "under"), ("dilate_all", "over")])
def test_with_a_background_it_is_the_published_noise(kind, mode):
    mask = np.zeros((80, 80), np.uint8)
    mask[5:25, 5:25], mask[40:75, 30:70], mask[30:36, 60:70] = 3, 1, 2
    wanted = add_boundary_noise(mask, np.random.default_rng(7), modes=[mode])
    found = redraw_outlines(mask, kind, np.random.default_rng(7), background=0)
    assert wanted.changed.sum() > 100
    if mode == "over":
        assert np.array_equal(found.mask, wanted.mask)
    else:  # where the published noise takes away pixels beside an object, there is nothing to take
        assert np.array_equal(found.mask, np.where(mask == 0, 0, wanted.mask))


def test_nothing_to_draw():
    assert redraw("erode_all", np.zeros((8, 8), np.uint8)) is None
    assert redraw("erode_all", np.full((8, 8), 255, np.uint8)) is None
    assert redraw("dilate_all", street(), background=7) is None
    with pytest.raises(LabelQualityError, match="erode_all"):
        redraw("erode")
