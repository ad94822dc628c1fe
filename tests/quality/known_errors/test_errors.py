"""An injected error is the error that it says it is, where it says, and never on an ignored pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from demo.scenes import render_scene
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.quality.known_errors import ERROR_KINDS, MIXTURE, inject_error, plan_errors

OBJECT = np.array(  # an object of class 2 on class 1, an ignored corner, class 3 at the bottom
    [
        [255, 255, 1, 1, 1, 1],
        [255, 1, 1, 1, 1, 1],
        [1, 1, 2, 2, 1, 1],
        [1, 1, 2, 2, 1, 1],
        [1, 1, 1, 1, 1, 1],
        [3, 3, 3, 3, 3, 3],
    ],
    np.uint8,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def inject(mask, kind, seed=0, **kwargs):
    kwargs = {"min_area": 2, "max_object_share": 0.2, "boundary_pixels": (1, 1), "shift_pixels": (1, 1), **kwargs}
    return inject_error(np.asarray(mask), kind, rng(seed), **kwargs)


def outcomes(mask, kind, **kwargs):
    """All different errors that a few seeds give."""
    made = [inject(mask, kind, seed, **kwargs) for seed in range(40)]
    return {error.description: error for error in made if error is not None}


class TestKinds:
    def test_drop_lets_the_surroundings_in(self):
        error = outcomes(OBJECT, "drop")["class 2 dropped: 4 pixels are now class 1"]
        np.testing.assert_array_equal(error.mask, np.where(OBJECT == 2, 1, OBJECT))
        assert (error.kind, error.true, error.given) == ("drop", 2, 1)

    def test_drop_with_a_background_writes_that(self):
        found = outcomes(OBJECT, "drop", background=3)
        assert set(found) == {"class 1 dropped: 23 pixels are now class 3", "class 2 dropped: 4 pixels are now class 3"}
        error = found["class 2 dropped: 4 pixels are now class 3"]
        np.testing.assert_array_equal(error.mask, np.where(OBJECT == 2, 3, OBJECT))

    def test_swap_exchanges_two_classes(self):
        found = outcomes([[1, 1, 2], [3, 3, 255]], "swap", min_area=1, class_names={1: "road", 3: "sky"})
        error = found["road and sky swapped: 4 pixels are now sky"]
        assert error.mask.tolist() == [[3, 3, 2], [1, 1, 255]]

    def test_shift_moves_everything_and_repeats_the_rim(self):
        found = outcomes([[1, 2, 3], [1, 2, 3], [4, 4, 4]], "shift", min_area=1)
        assert found["mask shifted by 0 pixels down and 1 right: 4 pixels changed"].mask.tolist() == [
            [1, 1, 2],
            [1, 1, 2],
            [4, 4, 4],
        ]
        assert found["mask shifted by -1 pixels down and 0 right: 3 pixels changed"].mask.tolist() == [
            [1, 2, 3],
            [4, 4, 4],
            [4, 4, 4],
        ]
        error = next(iter(found.values()))
        assert (error.given, error.true) == (None, None)

    def test_drop_object_takes_one_of_several(self):
        mask = np.ones((8, 8), np.uint8)
        mask[1:3, 1:3] = mask[5:7, 5:7] = 2
        for error in outcomes(mask, "drop_object").values():
            assert (error.mask == 2).sum() == 4
            assert error.changed.sum() == 4

    def test_add_object_puts_a_whole_one_where_its_class_is_not(self):
        mask = np.ones((9, 9), np.uint8)
        mask[1:4, 1:3] = 2
        for error in outcomes(mask, "add_object").values():
            assert (error.given, error.true) == (2, 1)
            assert error.changed.sum() == 6
            assert (error.mask[mask == 2] == 2).all()

    def test_add_object_draws_an_ellipse_where_there_is_none_to_copy(self):
        found = outcomes(np.ones((20, 20), np.uint8), "add_object", class_ids=[1, 7], min_area=6)
        assert found
        for error in found.values():
            assert error.given == 7
            assert 6 <= error.changed.sum() <= 40
            assert ndimage.label(error.changed)[1] == 1

    def test_wrong_class_gives_an_object_one_of_the_other_classes(self):
        found = outcomes(OBJECT, "wrong_class", class_ids=[1, 2, 3, 9], max_object_share=0.15)
        assert {error.given for error in found.values()} == {1, 3, 9}
        for error in found.values():
            assert error.true == 2
            np.testing.assert_array_equal(error.changed, OBJECT == 2)

    def test_erode_takes_the_rim(self):
        mask = np.ones((9, 9), np.uint8)
        mask[2:7, 2:7] = 2
        error = inject(mask, "erode", max_object_share=0.5)
        expected = np.ones((9, 9), np.uint8)
        expected[3:6, 3:6] = 2
        np.testing.assert_array_equal(error.mask, expected)
        assert (error.true, error.given) == (2, 1)

    def test_erode_leaves_at_least_a_quarter(self):
        mask = np.ones((9, 9), np.uint8)
        mask[2:7, 2:7] = 2
        assert inject(mask, "erode", max_object_share=0.5, boundary_pixels=(2, 2)) is None

    def test_dilate_adds_a_rim(self):
        mask = np.ones((7, 7), np.uint8)
        mask[3, 3] = 2
        error = inject(mask, "dilate", min_area=1)
        expected = np.ones((7, 7), np.uint8)
        expected[2:5, 3] = expected[3, 2:5] = 2
        np.testing.assert_array_equal(error.mask, expected)
        assert (error.true, error.given) == (1, 2)

    def test_dilate_crosses_a_band_of_ignored_pixels(self):
        mask = np.ones((11, 11), np.uint8)
        mask[3:8, 3:8] = 255
        mask[5, 5] = 2
        error = inject(mask, "dilate", min_area=1, boundary_pixels=(2, 2))
        assert (error.mask[mask == 255] == 255).all()
        assert error.mask[5, 1] == 2
        assert error.mask[5, 0] == 1

    def test_erode_crosses_a_band_of_ignored_pixels(self):
        mask = np.ones((13, 13), np.uint8)
        mask[3:10, 3:10] = 255
        mask[4:9, 4:9] = 2
        error = inject(mask, "erode", min_area=1)
        assert (error.mask[mask == 255] == 255).all()
        assert error.changed.sum() == 16
        assert error.given == 1

    def test_a_mixture_is_whatever_the_image_allows(self):
        assert {inject(OBJECT, MIXTURE, seed).kind for seed in range(60)} > {"drop", "swap", "drop_object", "dilate"}
        lonely = np.ones((6, 6), np.uint8)
        assert inject(lonely, MIXTURE) is None
        assert inject(lonely, MIXTURE, class_ids=[1, 2], max_object_share=1.0).kind in ("wrong_class", "add_object")


@pytest.mark.parametrize("kind", ERROR_KINDS)
@pytest.mark.parametrize(
    "mask",
    [
        np.full((8, 8), 255, np.uint8),
        np.ones((8, 8), np.uint8),
        np.zeros((0, 8), np.uint8),
        np.array([[1]], np.uint8),
    ],
    ids=["ignored", "one class", "no pixels", "one pixel"],
)
def test_a_mask_that_offers_nothing_stays_as_it_is(kind, mask):
    assert inject(mask, kind) is None


def test_things_smaller_than_the_smallest_area_are_left_alone():
    for kind in ("drop_object", "wrong_class", "erode"):
        assert inject(OBJECT, kind, min_area=5, max_object_share=0.12) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_any_integer_mask_is_understood(kind, dtype):
    """Values beyond 255 give what the same classes with small values give."""
    small = np.ones((16, 16), np.int64)
    small[3:9, 3:9], small[10:, :] = 2, 3
    lookup = np.array([0, 1, 2, 3]) if dtype == np.uint8 else np.array([0, 300, 1000, 20000])
    settings_ = {"min_area": 4, "max_object_share": 0.4}
    expected = inject(small, kind, **settings_)
    error = inject(lookup[small].astype(dtype), kind, **settings_)
    assert error.mask.dtype == dtype
    np.testing.assert_array_equal(error.mask, lookup[expected.mask])


@pytest.mark.parametrize("kind", [*ERROR_KINDS, MIXTURE])
@settings(max_examples=60, deadline=None)
@given(
    mask=arrays(
        np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([1, 2, 3, 9, 255])
    ),
    seed=st.integers(0, 2**32),
)
def test_whatever_the_mask(kind, mask, seed):
    """9 is a value without a class: as untouchable as an ignored pixel, and never brought in."""
    before = mask.copy()
    arguments = {"class_ids": [1, 2, 3, 4], "min_area": 3, "max_object_share": 0.6}
    error = inject(mask, kind, seed, **arguments)
    np.testing.assert_array_equal(mask, before)
    if error is None:
        return
    np.testing.assert_array_equal(error.changed, error.mask != mask)
    assert error.changed.sum() >= 3
    assert not (error.changed & np.isin(mask, [9, 255])).any()
    assert set(np.unique(error.mask[error.changed])) <= {1, 2, 3, 4}
    assert error.kind in ERROR_KINDS
    again = inject(mask, kind, seed, **arguments)
    np.testing.assert_array_equal(again.mask, error.mask)
    assert again.description == error.description


def test_several_values_can_be_ignored():
    mask = np.where(OBJECT == 3, 0, OBJECT)
    for error in outcomes(mask, MIXTURE, ignore_index=[0, 255]).values():
        assert not error.changed[(mask == 0) | (mask == 255)].any()
        assert not (error.mask[error.changed] == 0).any()


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_a_rendered_street_offers_something_for_every_kind(kind):
    for seed in range(4):
        scene = render_scene(seed, void_border=seed % 2)
        error = inject_error(scene.mask, kind, rng(seed))
        assert error is not None
        assert error.changed.sum() >= 64


@pytest.mark.parametrize(
    ("mask", "arguments", "message"),
    [
        (OBJECT, {"kind": "erase"}, r"among \['drop'.*'mixture'\], but got \['erase'\]"),
        (OBJECT.astype(float), {}, "integers, but got .* float64"),
        (np.zeros((2, 3, 3), int), {}, r"but got \(2, 3, 3\)"),
        (OBJECT, {"class_ids": [1, 300]}, r"uint8 holds \(0 to 255\), but got \[300\]"),
        (OBJECT, {"background": 255}, r"one of the classes \[1, 2, 3\], but got 255"),
        (OBJECT, {"shift_pixels": (0, 3)}, r"`shift_pixels`.* but got \(0, 3\)"),
        (OBJECT, {"boundary_pixels": (4, 3)}, r"`boundary_pixels`.* but got \(4, 3\)"),
    ],
)
def test_wrong_arguments_are_named(mask, arguments, message):
    with pytest.raises(LabelQualityError, match=message):
        inject(mask, **{"kind": "drop", **arguments})


class TestPlan:
    @pytest.mark.parametrize(
        ("n_images", "fraction", "count"), [(10, 0.2, 2), (10, 1.0, 10), (10, 0.0, 0), (3, 0.01, 1), (0, 0.5, 0)]
    )
    def test_the_share_is_kept(self, n_images, fraction, count):
        plan = plan_errors(n_images, fraction, "drop")
        assert len(plan) == n_images
        assert sum(kind is not None for kind in plan) == count

    def test_kinds_are_balanced(self):
        plan = plan_errors(100, 0.5, MIXTURE, seed=3)
        counts = [plan.count(kind) for kind in ERROR_KINDS]
        assert sum(counts) == 50
        assert max(counts) - min(counts) <= 1

    def test_it_depends_on_the_seed_alone(self):
        assert plan_errors(50, 0.2, seed=1) == plan_errors(50, 0.2, seed=1)
        assert plan_errors(50, 0.2, seed=1) != plan_errors(50, 0.2, seed=2)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((-1, 0.2), "but got -1"),
            ((5, 1.5), "between 0 and 1, but got 1.5"),
            ((5, 0.5, "erase"), "erase"),
            ((5, 0.5, []), r"but got \[\]"),
        ],
    )
    def test_wrong_arguments_are_named(self, arguments, message):
        with pytest.raises(LabelQualityError, match=message):
            plan_errors(*arguments)
