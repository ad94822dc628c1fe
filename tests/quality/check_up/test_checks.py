"""Each check finds its fault in a small mask and nothing in a right one, however thin or small the things in it are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin.quality import check_up
from fiftyone_plugin.quality.check_up import Legend

LEGEND = Legend(frozenset({0, 1, 2, 3, 255}), frozenset({255}), frozenset({0, 255}))
DATA = Path(__file__).parents[4] / "shared" / "data"


def scene(size=(48, 64)):
    """Background above, road below a slanted border, a car, and a pole of one pixel."""
    rows, columns = np.indices(size)
    mask = (rows > size[0] // 2 + columns // 9).astype(np.uint8)
    mask[(rows - 30) ** 2 + (columns - 20) ** 2 < 60] = 2
    mask[5:28, 50] = 3
    return mask


def put(mask, window, value):
    mask = mask.copy()
    mask[window] = value
    return mask


def random_blobs(size, seed=0):
    """Values 1 and 2 without any order but that of a coarse noise."""
    noise = np.random.default_rng(seed).normal(size=size)
    for axis in (0, 1):
        noise = noise + np.roll(noise, 1, axis)
    return (1 + (noise > 0)).astype(np.uint8)


def compressed(mask):
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "JPEG", quality=85)
    return np.asarray(Image.open(file))


def resized(mask, size, how):
    return np.asarray(Image.fromarray(mask).resize(size, how))


BINARY = put(np.zeros((48, 64), np.uint8), np.s_[10:30, 12:40], 255)
TWO = Legend(frozenset({0, 255}), nothing=frozenset({0}))
DASHED = put(put(scene(), np.s_[12, 50], 0), np.s_[20, 50], 0)
FAR = put(scene(), np.s_[6:9, 8:11], 2)
CASES = {
    "a right scene": (scene(), LEGEND, []),
    "a right scene without names": (scene(), Legend(), []),
    "a diagonal line of one pixel": (put(scene(), (np.arange(3, 23), np.arange(3, 23)), 3), LEGEND, []),
    "a pole in pieces": (DASHED, LEGEND, []),
    "a small far thing": (FAR, LEGEND, []),
    "a thing that the edge cuts": (put(scene(), np.s_[0, 10], 2), LEGEND, []),
    "a class pixel amid ignored ones": (put(put(scene(), np.s_[2:9, 2:9], 255), np.s_[5, 5], 2), LEGEND, []),
    "black and white": (BINARY, TWO, []),
    "black and white without names": (BINARY, Legend(nothing=frozenset({0})), []),
    "hardly enlarged": (resized(scene((60, 80)), (90, 66), Image.Resampling.NEAREST), LEGEND, []),
    "boxes": (put(put(scene(), np.s_[:], 0), np.s_[8:24, 16:40], 1), LEGEND, []),
    "a thin class between two": (put(put(BINARY * 0, np.s_[:, 30:], 3), np.s_[:, 30], 1), LEGEND, []),
    "specks": (put(put(scene(), np.s_[4, 10], 1), np.s_[42, 30:32], 2), LEGEND, ["speck", "speck"]),
    "a pinhole": (put(scene(), np.s_[30, 20], 0), LEGEND, ["pinhole"]),
    "a pinhole of ignored pixels": (put(scene(), np.s_[44, 50], 255), LEGEND, ["pinhole"]),
    "a strip": (put(scene(), np.s_[-1], 255), LEGEND, ["edge_strip"]),
    "a strip with a gap": (put(put(scene(), np.s_[:, 0], 3), np.s_[4, 0], 0), LEGEND, ["edge_strip"]),
    "a wide strip": (put(scene(), np.s_[:, :3], 3), LEGEND, []),
    "nothing": (scene() * 0, LEGEND, ["empty_mask"]),
    "nothing but ignored": (put(scene() * 0, np.s_[:9], 255), LEGEND, ["empty_mask"]),
    "one class": (scene() * 0 + 2, LEGEND, ["constant_mask"]),
    "noise of compression": (compressed(BINARY), TWO, ["lossy_mask"]),
    "noise of compression without names": (compressed(BINARY), Legend(), ["lossy_mask"]),
    "interpolated": (resized(BINARY, (80, 60), Image.Resampling.BILINEAR), TWO, ["blended_border"]),
    "interpolated without names": (resized(BINARY, (80, 60), Image.Resampling.BILINEAR), Legend(), ["blended_border"]),
    "interpolated ids": (
        resized(scene() * 7, (96, 72), Image.Resampling.BICUBIC), Legend(frozenset(range(22))), ["blended_border"],
    ),
    "enlarged by 4": (np.kron(random_blobs((12, 16)), np.ones((4, 4), np.uint8)), LEGEND, ["jagged_mask"]),
    "enlarged by 1.9": (resized(random_blobs((50, 60)), (114, 95), Image.Resampling.NEAREST), LEGEND, ["jagged_mask"]),
}  # fmt: skip


@pytest.mark.parametrize(("mask", "legend", "wanted"), CASES.values(), ids=CASES)
def test_one_mask(mask, legend, wanted):
    assert [spot.code for spot in check_up.look_at_mask(mask, legend).spots] == wanted


def test_a_mask_file_in_a_lossy_format_is_lossy_whatever_it_holds():
    assert [spot.code for spot in check_up.look_at_mask(BINARY, TWO, lossy_file=True).spots] == ["lossy_mask"]


def test_noise_is_not_jagged():
    noise = np.random.default_rng(0).integers(1, 3, (96, 128)).astype(np.uint8)
    assert {spot.code for spot in check_up.look_at_mask(noise, LEGEND).spots} <= {"speck"}


def test_values_without_a_class_are_counted_where_nothing_explains_them():
    mask = put(put(scene(), np.s_[40:44, 5:9], 9), np.s_[2, 2], 77)
    assert check_up.look_at_mask(mask, LEGEND).unnamed == {9: 16, 77: 1}
    assert check_up.look_at_mask(mask, Legend()).unnamed == {}
    assert check_up.look_at_mask(compressed(BINARY), TWO).unnamed == {}


@pytest.mark.parametrize(
    ("mask", "codes", "repaired"),
    [
        (put(scene(), np.s_[4, 10], 1), ("speck",), scene()),
        (put(scene(), np.s_[4, 10], 1), ("pinhole", "blended_border"), put(scene(), np.s_[4, 10], 1)),
        (put(scene(), np.s_[30, 20:22], 0), ("pinhole",), scene()),
        (resized(BINARY, (63, 47), Image.Resampling.BILINEAR), ("blended_border",), None),
        (scene(), check_up.CLEANED, scene()),
    ],
)
def test_a_clean_up_changes_what_was_found_and_nothing_else(mask, codes, repaired):
    legend = TWO if repaired is None else LEGEND
    now = mask.copy()
    for repair in check_up.repairs(mask, codes, legend.named, legend.ignored, legend.nothing):
        now[repair.mask] = repair.value
    if repaired is None:
        assert set(np.unique(now)) == {0, 255}
        repaired = resized(BINARY, (63, 47), Image.Resampling.NEAREST)
        assert (now != repaired).mean() < 0.02
    else:
        assert (now == repaired).all()


def photo(mask, seed, moved=0):
    noise = np.random.default_rng(seed).normal(0, 6, mask.shape)
    return np.roll(mask, (moved, -moved), (0, 1)) * 50.0 + noise + 40


@pytest.mark.parametrize(("moved", "wanted"), [(0, None), (1, None), (3, (3, -3)), (-4, (-4, 4))])
def test_masks_beside_their_images(moved, wanted):
    masks = [np.roll(scene((60, 80)), seed, 1) for seed in range(10)]
    contrasts = [check_up.border_contrast(photo(mask, seed, moved), mask) for seed, mask in enumerate(masks)]
    shift = check_up.common_shift(contrasts)
    assert (shift and (shift.down, shift.right)) == wanted
    assert check_up.common_shift(contrasts[:5]) is None


@pytest.mark.parametrize("moved", [0, 3, -5])
def test_one_mask_beside_its_image_among_others_that_lie_right(moved):
    masks = [np.roll(scene((60, 80)), seed, 1) for seed in range(10)]
    contrasts = [check_up.border_contrast(photo(mask, seed), mask) for seed, mask in enumerate(masks)]
    contrasts[4] = check_up.border_contrast(photo(masks[4], 4, moved), masks[4])
    assert check_up.common_shift(contrasts) is None
    found = check_up.single_shifts(contrasts)
    assert {place: (shift.down, shift.right) for place, shift in found.items()} == (
        {4: (moved, -moved)} if moved else {}
    )
    noise = [check_up.border_contrast(photo(np.zeros_like(mask), seed), mask) for seed, mask in enumerate(masks)]
    assert check_up.single_shifts(noise) == {}


def test_near_duplicates():
    one = resized(photo(scene((160, 160)), 1).astype(np.uint8), (16, 16), Image.Resampling.BOX).astype(np.float32)
    other = np.rot90(one)
    images = np.stack([one, other, one + 2])
    assert check_up.near_pairs(images, [check_up.difference_hash(image) for image in images]) == [(0, 2)]


def test_masks_disagree_only_where_images_are_one():
    mask = scene((64, 64))
    other = put(mask, np.s_[2:12, 2:12], 3)
    image = photo(mask, 1)
    box, share = check_up.disagreement((image, image + 9), (mask, other))
    assert np.allclose(box, np.array([2, 2, 12, 12]) / 64)
    assert share == pytest.approx(100 / 64**2)
    moved = image.copy()
    moved[50:58, 50:58] += 60
    assert check_up.disagreement((image, moved), (mask, other)) is None
    assert check_up.disagreement((image, image), (mask, np.roll(mask, 1, 1))) is None


def street(moved=0, car=20):
    """A picture of 96 x 200 pixels, and its mask: houses, road and a car, all moved to the left."""
    rng = np.random.default_rng(7)
    mask = np.zeros((96, 260), np.uint8)
    mask[60:] = 1
    picture = rng.normal(90, 25, mask.shape).astype(np.float32) + 60 * mask
    mask[52:74, 90 + car : 120 + car] = 2
    picture[52:74, 90 + car : 120 + car] = rng.normal(200, 25, (22, 30))
    return picture[:, moved : moved + 200].clip(0, 255), mask[:, moved : moved + 200]


def forgotten(mask, value=1):
    return np.where(mask == 2, value, mask)


FORGOTTEN = forgotten(street(30)[1])


@pytest.mark.parametrize(
    ("other", "mask", "values"),
    [
        (street(30), street(30)[1], []),  # the camera has turned
        (street(30), FORGOTTEN, [(2, 1)]),
        ((street(30)[0] * 0.9 + 9, FORGOTTEN), FORGOTTEN, [(2, 1)]),  # another exposure
        (street(0, car=24), street(0, car=24)[1], []),  # only the car has moved
        (street(0, car=24), forgotten(street(0, car=24)[1]), [(2, 1)]),
        (street(0, car=90), street(0, car=90)[1], []),  # farther than is looked for: it covers something else
        (street(30), forgotten(street(30)[1], 255), []),  # ignored
        (street(30), np.roll(street(30)[1], 1, 0), []),  # borders a pixel aside
        ((street(30)[0] * 0 + 9, FORGOTTEN), FORGOTTEN, None),  # nothing to be seen
        ((street(30)[0][::-1, ::-1], FORGOTTEN), FORGOTTEN, None),  # another scene
    ],
)
def test_neighbours_differ_only_in_what_both_show(other, mask, values):
    picture, right = street()
    found = check_up.neighbour_differences((picture, other[0]), (right, mask), {255})
    assert (None if found is None else [one.values for one in found]) == values
    for one in found or ():
        assert one.share == pytest.approx(22 * 30 / mask.size, rel=0.35)
        for box, labels, value in zip(one.boxes, (right, mask), one.values, strict=True):
            top, left, bottom, end = np.round(np.array(box) * np.tile(mask.shape, 2)).astype(int)
            assert (labels[top:bottom, left:end] == value).mean() > 0.6


@pytest.mark.parametrize("overlap", [24, 40, 100])
def test_tiles_are_neighbours(overlap):
    picture, mask = street()
    shown = picture[:, : (200 + overlap) // 2], picture[:, (200 - overlap) // 2 :]
    wrong = put(mask, np.s_[20:50, (200 - overlap) // 2 + 4 : (200 + overlap) // 2 - 4], 3)
    masks = mask[:, : (200 + overlap) // 2], wrong[:, (200 - overlap) // 2 :]
    (found,) = check_up.neighbour_differences(shown, masks)
    assert found.values == (0, 3)
    assert check_up.neighbour_differences(shown, (masks[0], mask[:, (200 - overlap) // 2 :])) == []


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        (np.roll(scene(), (3, 2), (0, 1)), (3, 2)),
        (scene(), None),  # equal masks are told by their hashes
        (np.roll(scene(), (3, 2), (0, 1))[::-1], None),
    ],
)
def test_shifted_copies(other, wanted):
    parts = [check_up.look_at_mask(mask, LEGEND).outlines for mask in (scene(), other)]
    assert [(down, right) for _, _, down, right in check_up.copies(parts)] == ([wanted] if wanted else [])


@pytest.mark.parametrize(
    ("folder", "legend", "allowed"),
    [
        ("camvid/val/masks", Legend(frozenset(range(12)), frozenset({11}), frozenset({11})), {"speck", "pinhole"}),
        (
            "voc_grounded_sam/masks", Legend(frozenset(range(21)) | {255}, frozenset({255}), frozenset({0, 255})),
            {"pinhole"},
        ),
    ],
)  # fmt: skip
def test_real_masks(folder, legend, allowed):
    """People drew these; of the grave faults they have none, and hand-drawn crumbs are few."""
    paths = sorted((DATA / folder).glob("*.png"))[:40:2]
    if not paths:
        pytest.skip(f"{folder} is not here")
    looks = [check_up.look_at_mask(np.array(Image.open(path)), legend) for path in paths]
    assert {spot.code for look in looks for spot in look.spots} <= allowed
    assert not any(look.unnamed for look in looks)
