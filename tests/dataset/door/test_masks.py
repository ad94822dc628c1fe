"""Masks are read as the user means them, whatever the file format, and anything else is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin.dataset.door.masks import mask_digest, pack_rgb, read_mask, read_mask_file, resize_nearest
from fiftyone_plugin.errors import LabelQualityError

GREY = np.array([[0, 7], [255, 3]], np.uint8)


def _palette(path):
    image = Image.fromarray(GREY, mode="P")
    image.putpalette([value for i in range(256) for value in (i, 255 - i, 128)])
    image.save(path)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda path: Image.fromarray(GREY).save(path), GREY),
        (_palette, GREY),
        (lambda path: Image.fromarray((GREY * 200).astype(np.uint16)).save(path), (GREY * 200).astype(np.uint16)),
        (lambda path: Image.fromarray(np.stack([GREY] * 3, -1)).save(path), GREY),
        (lambda path: Image.fromarray(np.stack([GREY] * 4, -1)).save(path), GREY),
        (lambda path: Image.fromarray(GREY > 3).save(path), (GREY > 3) * np.uint8(255)),
    ],
    ids=["8 bit", "palette", "16 bit", "grey as RGB", "RGBA", "1 bit"],
)
def test_files(tmp_path, write, expected):
    write(tmp_path / "mask.png")
    assert np.array_equal(read_mask_file(tmp_path / "mask.png"), expected)


def test_sixteen_bit_ids_survive(tmp_path):
    ids = np.array([[300, 65535]], np.uint16)
    Image.fromarray(ids).save(tmp_path / "mask.png")
    assert read_mask_file(tmp_path / "mask.png").tolist() == ids.tolist()


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n broken", b"not an image"])
def test_broken_files_raise_os_error(tmp_path, content):
    (tmp_path / "mask.png").write_bytes(content)
    with pytest.raises(OSError, match="mask"):
        read_mask_file(tmp_path / "mask.png")


def test_truncated_png_raises(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (64, 64), dtype=np.uint8)).save(tmp_path / "mask.png")
    data = (tmp_path / "mask.png").read_bytes()
    (tmp_path / "mask.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(OSError, match=r"trunc|mask\.png"):
        read_mask_file(tmp_path / "mask.png")


def test_mask_in_the_database():
    import fiftyone as fo

    assert np.array_equal(read_mask(fo.Segmentation(mask=GREY.astype(np.int64))), GREY)
    assert np.array_equal(read_mask(fo.Segmentation(mask=GREY.astype(float))), GREY)
    with pytest.raises(LabelQualityError, match="both are empty"):
        read_mask(fo.Segmentation())
    with pytest.raises(LabelQualityError, match="fractions"):
        read_mask(fo.Segmentation(mask=GREY / 2.0))


def test_rgb_is_packed_like_hex_targets():
    assert pack_rgb(np.array([[[1, 2, 3]]], np.uint8)).tolist() == [[0x010203]]
    assert pack_rgb(np.array([[5]], np.uint8)).tolist() == [[0x050505]]


def test_digest_sees_one_pixel():
    other = GREY.copy()
    other[0, 0] = 1
    assert mask_digest(GREY) != mask_digest(other)
    assert mask_digest(GREY) != mask_digest(GREY.ravel())


@pytest.mark.parametrize(
    ("mask", "size", "expected"),
    [
        ([[1, 2], [3, 4]], (2, 2), [[1, 2], [3, 4]]),
        ([[1, 2], [3, 4]], (4, 2), [[1, 2], [1, 2], [3, 4], [3, 4]]),
        ([[1, 2, 3]], (1, 1), [[2]]),
        ([[1, 2, 3, 4]], (1, 2), [[2, 4]]),
    ],
)
def test_resizing_takes_values_that_are_there(mask, size, expected):
    assert resize_nearest(np.array(mask), size).tolist() == expected
