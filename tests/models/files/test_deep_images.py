"""Images of more than 8 bits get one scale, the same for nearly equal images; images of any size end no job."""

from __future__ import annotations

import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import ImageItem
from fiftyone_plugin.models.files import opening
from fiftyone_plugin.models.files.deep_images import ScaledPath, dataset_window, declared_window, is_deep_file
from fiftyone_plugin.models.files.images import image_size, read_image, read_mask
from fiftyone_plugin.models.segmenters import segmenter
from fiftyone_plugin.workflows.checking.small_images import read_header


def write(path, values):
    Image.fromarray(values).save(path)
    return str(path)


def ramp(low, high, dtype):
    return np.linspace(low, high, 1024).reshape(32, 32).astype(dtype)


def test_no_jump_between_nearly_equal_images_that_stand_alone(tmp_path):
    tops = [
        int(read_image(write(tmp_path / "a.png", ramp(0, white, np.uint16))).max()) for white in range(200, 9000, 50)
    ]
    assert max(np.abs(np.diff(tops))) <= 6
    assert tops[-1] == 255


@pytest.mark.parametrize(
    ("low", "high", "dtype", "suffix", "window"),
    [
        (0, 4000, np.uint16, "png", (0, 4000)),
        (0, 250, np.uint16, "png", (0, 250)),
        (-1000, 3000, np.int32, "tif", (-1000, 3000)),
        (0, 1, np.float32, "tif", (0, 1)),
        (-2.5, 2.5, np.float32, "tif", (-2.5, 2.5)),
    ],
)
def test_a_dataset_has_one_scale(tmp_path, low, high, dtype, suffix, window):
    dark = write(tmp_path / f"dark.{suffix}", ramp(low, low + (high - low) / 4, dtype))
    bright = write(tmp_path / f"bright.{suffix}", ramp(low, high, dtype))
    grey = write(tmp_path / "grey.png", np.full((4, 4), 7, np.uint8))
    assert [is_deep_file(path) for path in (dark, bright, grey)] == [True, True, False]
    found = dataset_window([dark, bright])
    assert found == pytest.approx(window, rel=0.01, abs=0.02 * (high - low))
    first, second = ScaledPath(dark, found), ScaledPath(bright, found)
    assert read_image(first).max() == pytest.approx(64, abs=3)
    assert read_image(second).max() == 255
    assert pickle.loads(pickle.dumps(first)).window == first.window


def test_what_is_declared_is_the_scale():
    assert declared_window({}) is None
    assert declared_window({"window": [5, 9], "bit_depth": 12}) == (5, 9)
    for wrong in ({"window": [9, 5]}, {"window": {"center": 4}}, {"bit_depth": "deep"}, {"window": 7}):
        with pytest.raises(LabelQualityError, match=r"to be \[black, white\] or"):
            declared_window(wrong)


@pytest.mark.parametrize("orientation", [None, 6])
def test_colours_of_16_bits_are_not_cut_to_8(tmp_path, orientation):
    import cv2

    values = np.zeros((2, 3, 3), np.uint16)
    values[0, 0] = (4000, 300, 20)  # red, green, blue
    path = tmp_path / "colours.png"
    cv2.imwrite(str(path), values[..., ::-1])
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        chunk = b"eXIf" + exif.tobytes()[6:]
        content = path.read_bytes()
        part = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        path.write_bytes(content[:33] + part + content[33:])
    found = read_image(ScaledPath(str(path), (0, 4000)))
    expected = np.zeros((2, 3, 3), np.uint8)
    expected[0, 0] = (255, 19, 1)
    np.testing.assert_array_equal(found, np.rot90(expected, -1) if orientation else expected)
    assert image_size(path) == found.shape[:2]


def test_large_images_are_looked_at_and_refused_by_name(tmp_path, monkeypatch):
    path = write(tmp_path / "large.png", np.zeros((40, 50), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert image_size(path) == (40, 50)
    assert read_image(path).shape == (40, 50, 3)
    assert Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setattr(opening, "MAX_PIXELS", 1999)
    for read in (read_image, read_mask):
        with pytest.raises(LabelQualityError, match=r"at most 1,999 pixels, but .*large.png has 50 x 40; cut it"):
            read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0" * 128 + b"DICM" + b"\0" * 64, "is a DICOM file.* 16-bit PNG or TIFF first"),
        (b"\x1f\x8b nifti", "no image of a format that is read, or is damaged; write it as PNG or TIFF"),
        (b"", "no image of a format"),
    ],
)
def test_formats_that_are_not_read_say_what_to_do(tmp_path, content, message):
    path = tmp_path / "image"
    path.write_bytes(content)
    for read in (read_image, image_size, read_header):
        with pytest.raises(OSError, match=message):
            read(path)


def test_probabilities_that_memory_cannot_hold_are_refused_by_name(tmp_path, monkeypatch):
    path = write(tmp_path / "large.png", np.zeros((40, 50), np.uint8))
    monkeypatch.setattr(segmenter, "_BYTES_PER_CHANNEL", 10**12)
    assert "large.png has 50 x 40 pixels, whose 21 classes need about" in str(
        segmenter.read_item(ImageItem("a", path=path), channels=21)
    )
