"""Examples are checked once: wrong labels are refused, unreadable files set aside, masks asked for once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import Example
from fiftyone_plugin.models.files.images import read_image, read_mask
from fiftyone_plugin.models.training.augmentation import Augmentation
from fiftyone_plugin.models.training.label_deformation import sources
from fiftyone_plugin.models.training.training_data import LabelSpace, check_examples

IMAGE = np.zeros((4, 6, 3), np.uint8)
MASK = np.array([[0, 1, 2, 255, 0, 1]] * 4, np.uint8)
BUDGET = 1 << 20


@pytest.mark.parametrize(
    ("labels", "given", "kept"),
    [
        (LabelSpace(3, 255), [[0, 2, 255]], [[0, 2, 255]]),
        (LabelSpace(3, -1), [[0, 2, -1]], [[0, 2, 255]]),
        (LabelSpace(3, 0), [[0, 1, 2]], [[255, 1, 2]]),
        (LabelSpace(300, 255), [[0, 299, 255]], [[0, 299, 300]]),
        (LabelSpace(3, None), [[0, 1, 2]], [[0, 1, 2]]),
    ],
)
def test_masks_are_kept_with_one_ignored_value(labels, given, kept):
    found = labels.kept(np.array(given), "a")
    assert found.tolist() == kept
    assert found.dtype == (np.uint8 if labels.num_classes <= 255 else np.int32)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((4, 6), 7), r"mask of street to hold classes 0..2 and 255 .* also holds \[7\]"),
        (np.arange(24).reshape(4, 6), r"also holds \[3, 4, 5, 6, 7\] and more"),
        (np.full((4, 6), -1), r"also holds \[-1\]"),
        (np.zeros((4, 6)), "integer class indices, but got shape .* float64"),
        (np.zeros((4, 6, 3), np.uint8), r"integer class indices, but got shape \(4, 6, 3\)"),
        (np.zeros((5, 6), np.uint8), r"image and mask of street .* but got \(4, 6\) and \(5, 6\)"),
    ],
)
def test_wrong_masks_name_the_image_and_the_values(mask, message):
    with pytest.raises(LabelQualityError, match=message):
        check_examples([Example("street", IMAGE, mask)], LabelSpace(3, 255), BUDGET)


def test_unreadable_images_and_masks_are_set_aside_by_name(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")

    def missing():
        raise OSError("database is away")

    examples = [
        Example("b", tmp_path / "broken.png", MASK),
        Example("c", IMAGE, missing),
        Example("d", IMAGE, tmp_path / "broken.png"),
        Example("a", IMAGE, MASK),
    ]
    data = check_examples(examples, LabelSpace(3, 255), BUDGET)
    assert data.keys == ("a",)
    assert [key for key, _ in data.skipped] == ["b", "c", "d"]
    assert "cannot read its mask (OSError: database is away)" in dict(data.skipped)["c"]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "Expected examples to train on, but got none"),
        (
            [Example("a", "missing.png", MASK)],
            "None of the 1 examples can be read; the first, a: cannot read its image",
        ),
        ([Example("a", IMAGE, np.full((4, 6), 255))], r"Every pixel of the 1 masks is ignored \(255\)"),
    ],
)
def test_nothing_to_train_on(examples, message):
    with pytest.raises(LabelQualityError, match=message):
        check_examples(examples, LabelSpace(3, 255), BUDGET)


@pytest.mark.parametrize("budget", [BUDGET, 0, 100])
def test_masks_are_asked_for_once_and_images_read_again_beyond_the_budget(tmp_path, rng, budget):
    asked = []
    images = [rng.integers(0, 256, (5, 7, 3), dtype=np.uint8) for _ in range(3)]
    masks = [rng.integers(0, 3, (5, 7)) for _ in range(3)]
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index}.png")

    def mask_of(index):
        def read():
            asked.append(index)
            return masks[index]

        return read

    examples = [Example(str(index), tmp_path / f"{index}.png", mask_of(index)) for index in range(3)]
    data = check_examples(examples, LabelSpace(3, 255), budget)
    for _ in range(2):
        for index in range(3):
            image, mask = data.pair(index)
            np.testing.assert_array_equal(image, images[index])
            np.testing.assert_array_equal(mask, masks[index])
    assert sorted(asked) == [0, 1, 2]
    assert (data.store.images is None) == (budget < BUDGET)


def test_a_view_is_decided_by_its_seed_alone(rng):
    pair = (rng.integers(0, 256, (40, 50, 3), dtype=np.uint8), rng.integers(0, 3, (40, 50)).astype(np.uint8))
    augment = Augmentation((32, 32), ignored=255)
    first = augment(pair, seed=7)
    augment(pair, seed=8)
    again, other = augment(pair, seed=7), augment(pair, seed=9)
    assert bool((first[0] == again[0]).all())
    assert bool((first[1] == again[1]).all())
    assert not bool((first[0] == other[0]).all())


def test_image_and_mask_move_together():
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 20:] = 1
    image = np.repeat(mask[..., None] * 200, 3, axis=2)
    augment = Augmentation((48, 48), ignored=255)
    for seed in range(20):
        view, labels = augment((image, mask), seed)
        bright = view.float().mean(0)
        assert float(bright[labels == 1].mean()) > 100 if (labels == 1).any() else True
        inside = bright[labels == 0]
        assert float(inside.median()) < 50 if len(inside) else True


def test_bent_labels_keep_their_image_and_their_small_objects(rng):
    mask = np.zeros((256, 256), np.uint8)
    mask[:, 128:] = 1
    mask[40:50, 40:50] = 2
    image = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    plain, bent = (Augmentation((256, 256), 255, bend_labels=bend) for bend in (False, True))
    moved = []
    for seed in range(12):
        (shown, labels), (same, bends) = plain((image, mask), seed), bent((image, mask), seed)
        assert torch.equal(shown, same)
        assert torch.equal(labels == 2, bends == 2)
        assert set(bends.unique().tolist()) <= set(labels.unique().tolist())
        moved.append(int((labels != bends).sum()))
        assert torch.equal(bends, bent((image, mask), seed)[1])
    assert 2 <= sum(count > 0 for count in moved) <= 11  # half of the time
    assert max(moved) < 0.1 * mask.size


@pytest.mark.parametrize("strength", [0.0, 3.0, 40.0])
def test_a_bent_pixel_takes_the_class_of_a_pixel_within_reach(rng, strength):
    classes = np.arange(64 * 48).reshape(64, 48)
    noise = strength * (2 * rng.random((2, 64, 48)) - 1)
    rows, columns = sources(classes, noise, 2.0, 0, 0)
    down, right = rows.numpy() - np.arange(64)[:, None], columns.numpy() - np.arange(48)
    assert max(np.abs(down).max(), np.abs(right).max()) <= np.ceil(strength)
    assert (strength > 0) == bool(np.any(down) and np.any(right)) or strength == 3.0
    still = sources(np.zeros((64, 48), int), noise, 2.0, 64 * 48, 0)
    assert np.array_equal(still[0].numpy(), np.indices((64, 48))[0])


def test_views_larger_than_the_image_are_ignored_outside():
    augment = Augmentation((64, 64), ignored=255)
    _, labels = augment((np.zeros((16, 16, 3), np.uint8), np.ones((16, 16), np.uint8)), seed=0)
    assert set(labels.unique().tolist()) == {1, 255}


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "I;16", "F"])
def test_any_image_file_becomes_rgb(tmp_path, mode):
    suffix = {"CMYK": "jpg", "F": "tiff"}.get(mode, "png")
    path = tmp_path / f"image.{suffix}"
    if mode == "I;16":
        Image.fromarray(np.full((4, 6), 65535, np.uint16)).save(path)
    elif mode == "F":
        Image.fromarray(np.full((4, 6), 1.0, np.float32)).save(path)
    else:
        Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(path)
    image = read_image(path)
    assert image.shape == (4, 6, 3)
    assert image.dtype == np.uint8
    assert image.min() > 250


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (6, 4))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (6, 4, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_mask_files(tmp_path, dtype):
    values = np.array([[0, 200], [3, 255]], dtype)
    Image.fromarray(values).save(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", values)
    for name in ("mask.png", "mask.npy"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), values)


def test_palette_masks_give_indices_and_colour_masks_are_refused(tmp_path):
    palette = Image.fromarray(np.array([[0, 2]], np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0])
    palette.save(tmp_path / "palette.png")
    assert read_mask(tmp_path / "palette.png").tolist() == [[0, 2]]
    Image.new("RGB", (2, 2)).save(tmp_path / "colour.png")
    with pytest.raises(LabelQualityError, match=r"one channel, but .* has shape \(2, 2, 3\)"):
        read_mask(tmp_path / "colour.png")
