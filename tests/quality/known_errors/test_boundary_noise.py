"""Outlines too small or too large: like the published generator, the same for a seed, never on ignored pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.quality.known_errors.boundary_noise import SEGTHOR_CLASSES, add_boundary_noise, noisy_masks


def discs(size=96):
    """Four classes of very different size on background."""
    rows, columns = np.mgrid[:size, :size]
    mask = np.zeros((size, size), np.uint8)
    for value, (row, column, radius) in enumerate([(20, 20, 4), (55, 50, 25), (15, 70, 8), (85, 80, 11)], 1):
        mask[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = value
    return mask


def published(mask, mode, steps):
    """The generator's recipe with OpenCV's operations, on whole images of 8 bits."""
    cv2 = pytest.importorskip("cv2")
    noisy, square = mask.copy(), np.ones((3, 3), np.uint8)
    for value in SEGTHOR_CLASSES:
        members = (noisy == value).astype(np.uint8)
        if not members.any():
            continue
        height, width = noisy.shape
        ratio = np.sqrt(1000 / members.sum())
        size = (round(width * ratio), round(height * ratio))
        large = (cv2.resize(members, size, interpolation=cv2.INTER_CUBIC) > 0).astype(np.uint8)
        large = (cv2.erode if mode == "under" else cv2.dilate)(large, square, iterations=steps)
        moved = cv2.resize(large, (width, height), interpolation=cv2.INTER_CUBIC) > 0
        if mode == "under":
            noisy[moved != (members > 0)] = 0
        else:
            noisy[moved & (noisy == 0)] = value
    return noisy


@pytest.mark.parametrize("mode", ["under", "over"])
@pytest.mark.parametrize("steps", [2, 3, 4])
def test_it_is_the_published_noise(mode, steps):
    rng = np.random.default_rng(0)
    mask = discs()
    noisy = add_boundary_noise(mask, rng, classes=SEGTHOR_CLASSES, modes=[mode], steps=[steps])
    wanted = published(mask, mode, steps)
    assert (wanted != mask).sum() > 500
    np.testing.assert_array_equal(noisy.mask, wanted)
    np.testing.assert_array_equal(noisy.changed, noisy.mask != mask)
    assert (noisy.mode, noisy.steps) == (mode, steps)


@pytest.mark.parametrize("mode", ["under", "over"])
def test_small_and_large_classes_change_by_a_similar_share(mode):
    mask = discs()
    noisy = add_boundary_noise(mask, np.random.default_rng(0), modes=[mode], steps=[3]).mask
    shares = [(noisy == value).sum() / (mask == value).sum() for value in (1, 2, 3, 4)]
    low, high = (0.5, 0.8) if mode == "under" else (1.2, 1.6)
    assert all(low < share < high for share in shares), shares


def test_a_seed_is_one_realisation():
    masks = [discs()] * 6

    def made(seed):
        return [(noise.mode, noise.steps, noise.mask.tobytes()) for noise in noisy_masks(masks, seed)]

    assert made(3) == made(3)
    assert made(3) != made(4)
    assert len({mode for mode, *_ in made(3)}) == 2
    assert {steps for _, steps, _ in made(3)} <= {2, 3, 4}


@pytest.mark.parametrize(("level", "noisy"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_a_level_is_a_share_of_the_images(level, noisy):
    found = noisy_masks([discs()] * 4, seed=0, level=level)
    assert sum(noise is not None for noise in found) == noisy


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_any_mask_survives_and_ignored_pixels_stay(seed, height, width):
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 1, 2, 255], np.uint8), (height, width))
    before = mask.copy()
    noise = add_boundary_noise(mask, rng)
    np.testing.assert_array_equal(mask, before)
    np.testing.assert_array_equal(noise.mask == 255, mask == 255)
    assert noise.mask.dtype == mask.dtype
    if noise.mode == "over":
        assert bool((noise.mask[mask != 0] == mask[mask != 0]).all())  # it grows into background only
    else:
        assert bool((noise.mask[noise.changed] == 0).all())


def test_classes_and_background_are_the_callers():
    mask = np.where(discs() == 0, 9, discs())
    noisy = add_boundary_noise(mask, np.random.default_rng(0), classes=[2], background=9, modes=["under"]).mask
    assert set(np.unique(noisy[noisy != mask])) == {9}
    assert set(np.unique(mask[noisy != mask])) == {2}


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        (np.zeros((2, 2, 3), int), {}, r"two axes of integers, but got shape \(2, 2, 3\)"),
        (np.zeros((2, 2)), {}, "dtype float64"),
        (np.zeros((2, 2), int), {"steps": []}, r"`steps` of at least 1"),
        (np.zeros((2, 2), int), {"modes": ["sideways"]}, r"\['sideways'\]"),
    ],
)
def test_wrong_arguments_are_refused(mask, options, message):
    with pytest.raises(LabelQualityError, match=message):
        add_boundary_noise(mask, np.random.default_rng(0), **options)


def test_a_wrong_level_is_refused():
    with pytest.raises(LabelQualityError, match="`level` between 0 and 1, but got 2"):
        noisy_masks([], level=2)
