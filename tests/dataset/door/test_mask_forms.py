"""What is made of a label is read by FiftyOne (cv2, unchanged) as the label itself is, and by us as before."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin.dataset.door.mask_forms import encode_mask
from fiftyone_plugin.dataset.door.masks import pack_rgb, read_mask_file, reading_of
from fiftyone_plugin.errors import LabelQualityError

VALUES = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
HEX = {"#000000": "bg", "#800000": "cat", "#008000": "dog"}
NAMED = {0: "bg", 1: "cat", 2: "dog"}


def palette(values, colours=COLOURS, **options):
    image = Image.fromarray(values, mode="P")
    image.putpalette(colours.ravel().tolist())
    image.info.update(options)
    return image


def grey_and_alpha(values):
    image = Image.fromarray(values).convert("LA")
    image.putalpha(Image.fromarray(values * 40))
    return image


FORMS = {
    "8 bit": (Image.fromarray(VALUES), NAMED),
    "16 bit": (Image.fromarray(VALUES.astype(np.uint16) * 300), {0: "bg", 300: "cat", 600: "dog"}),
    "1 bit, 1 named": (Image.fromarray(VALUES > 0), {1: "cat"}),
    "1 bit, unnamed": (Image.fromarray(VALUES > 0), {}),
    "palette of indices": (palette(VALUES), NAMED),
    "palette of colours": (palette(VALUES), HEX),
    "see-through palette": (palette(VALUES, transparency=0), NAMED),
    "see-through palette of colours": (palette(VALUES, transparency=0), HEX),
    "RGB": (Image.fromarray(COLOURS[VALUES]), HEX),
    "grey as RGB": (Image.fromarray(np.stack([VALUES] * 3, -1)), NAMED),
    "RGBA": (Image.fromarray(COLOURS[VALUES]).convert("RGBA"), HEX),
    "grey and alpha": (grey_and_alpha(VALUES), NAMED),
}


@pytest.mark.parametrize(("image", "targets"), FORMS.values(), ids=FORMS)
def test_a_copy_is_read_as_the_original(tmp_path, image, targets):
    original, copy = tmp_path / "original.png", tmp_path / "copy.png"
    image.save(original)
    reading = reading_of(targets)
    ours = read_mask_file(original, reading)
    values = pack_rgb(ours) if reading.colours else ours
    copy.write_bytes(encode_mask(values, rgb=reading.colours, like=original))
    assert np.array_equal(read_mask_file(copy, reading), ours)
    fiftyones, of_copy = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (original, copy))
    assert np.array_equal(fiftyones, of_copy)


def test_a_value_beyond_the_palette_or_the_bit_is_kept(tmp_path):
    path, copy = tmp_path / "original.png", tmp_path / "copy.png"
    for image in (palette(VALUES), Image.fromarray(VALUES > 0)):
        image.save(path)
        copy.write_bytes(encode_mask(VALUES * 3, like=path))
        assert np.array_equal(read_mask_file(copy), VALUES * 3)


@pytest.mark.parametrize("value", [-2, 70_000])
def test_a_value_that_no_png_holds_is_refused(value):
    with pytest.raises(LabelQualityError, match=f"from 0 to 65,535.* but got {value}; store"):
        encode_mask(np.array([[0, value]]))


def test_a_label_that_is_gone_leaves_plain_values(tmp_path):
    (tmp_path / "copy.png").write_bytes(encode_mask(VALUES, like=tmp_path / "gone.png"))
    assert np.array_equal(cv2.imread(str(tmp_path / "copy.png"), cv2.IMREAD_UNCHANGED), VALUES)


@pytest.mark.parametrize(
    ("image", "targets", "expected"),
    [
        (palette(VALUES), HEX, [[0, 0x800000, 0x008000]]),
        (palette(VALUES), NAMED, [[0, 1, 2]]),
        (Image.fromarray(VALUES > 0), {0: "bg", 1: "lesion"}, [[0, 1, 1]]),
        (Image.fromarray(VALUES > 0), {0: "bg", 255: "lesion"}, [[0, 255, 255]]),
        (Image.fromarray(VALUES > 0), {}, [[0, 255, 255]]),
        (Image.fromarray(VALUES > 0), {"#ffffff": "lesion"}, [[0, 0xFFFFFF, 0xFFFFFF]]),
    ],
)
def test_targets_say_how_a_file_is_understood(tmp_path, image, targets, expected):
    image.save(tmp_path / "mask.png")
    reading = reading_of(targets)
    mask = read_mask_file(tmp_path / "mask.png", reading)
    assert (pack_rgb(mask) if reading.colours else mask)[:1].tolist() == expected
