"""Rendered scenes are the same everywhere, show every class, and cannot be told apart by colour alone."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from demo.scenes import SCENE_CLASSES, SCENE_COLORS, VOID, render_scene


def test_a_seed_means_the_same_pixels_on_every_machine():
    scene = render_scene(3, size=(96, 128))
    digest = hashlib.sha256(scene.image.tobytes() + scene.mask.tobytes()).hexdigest()
    assert digest[:16] == "1dfbbff643bee187"


def test_seeds_differ():
    first, second = render_scene(0, size=(64, 64)), render_scene(1, size=(64, 64))
    assert (first.mask != second.mask).any()
    assert (first.image != second.image).mean() > 0.5


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (192, 256)])
def test_image_and_mask_have_the_size_asked_for(size):
    scene = render_scene(5, size=size)
    assert (scene.image.shape, scene.image.dtype) == ((*size, 3), np.uint8)
    assert (scene.mask.shape, scene.mask.dtype) == (size, np.uint8)


def test_every_pixel_has_a_class_and_every_class_is_common():
    masks = np.stack([render_scene(seed, size=(96, 128)).mask for seed in range(24)])
    assert set(np.unique(masks)) == set(SCENE_CLASSES)
    for value, name in SCENE_CLASSES.items():
        assert (masks == value).any(axis=(1, 2)).mean() > 0.8, name
        assert (masks == value).mean() > 0.005, name


def test_no_class_is_drawn_with_the_value_or_the_colour_that_the_app_leaves_out():
    assert 0 not in SCENE_CLASSES
    assert SCENE_COLORS.keys() == SCENE_CLASSES.keys()
    assert len(set(SCENE_COLORS.values())) == len(SCENE_CLASSES)


def test_colour_alone_does_not_tell_the_classes():
    """The best guess from a coarse colour, learned on some scenes, is often wrong on others."""
    scenes = [render_scene(seed, size=(96, 128)) for seed in range(24)]
    colours = np.stack([scene.image for scene in scenes]).astype(np.int64) >> 4
    codes = (colours[..., 0] << 8) | (colours[..., 1] << 4) | colours[..., 2]
    masks = np.stack([scene.mask for scene in scenes])
    counts = np.zeros((4096, 9), np.int64)
    np.add.at(counts, (codes[:18], masks[:18]), 1)
    assert 0.3 < (counts.argmax(axis=1)[codes[18:]] == masks[18:]).mean() < 0.8


def test_light_differs_between_scenes():
    brightness = [render_scene(seed, size=(64, 96)).image.mean() for seed in range(16)]
    assert np.ptp(brightness) > 30
    assert all(40 < value < 220 for value in brightness)


def test_a_void_border_covers_edges_and_nothing_else():
    plain, bordered = render_scene(2, size=(96, 128)).mask, render_scene(2, size=(96, 128), void_border=1).mask
    void = bordered == VOID
    np.testing.assert_array_equal(bordered[~void], plain[~void])
    differs = np.zeros(plain.shape, bool)
    differs[:, 1:] |= plain[:, 1:] != plain[:, :-1]
    differs[:, :-1] |= plain[:, 1:] != plain[:, :-1]
    differs[1:] |= plain[1:] != plain[:-1]
    differs[:-1] |= plain[1:] != plain[:-1]
    np.testing.assert_array_equal(void, differs)
    assert (render_scene(2, size=(96, 128), void_border=3).mask == VOID).sum() > void.sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "at least 0, but got -1"),
        ({"seed": 0, "size": (63, 64)}, r"at least \(64, 64\) pixels, but got \(63, 64\)"),
        ({"seed": 0, "void_border": -2}, "but got -2"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_scene(**arguments)
