"""Damaged and hostile files are refused in words, or by an OSError, which jobs skip by name; nothing else gets out."""

from __future__ import annotations

import io
import json
import os
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fiftyone_plugin.dataset.door.masks import MaskReading, read_mask_file
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import load_segmenter
from fiftyone_plugin.models.files.checkpoints import read_state_dict
from fiftyone_plugin.models.files.images import image_size, read_image, read_mask
from fiftyone_plugin.models.segmenters.probability_files import ProbabilityFiles, num_channels
from fiftyone_plugin.models.segmenters.stored_array import open_array
from fiftyone_plugin.workflows.checking.small_images import read_header, small_grey

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4)
"""Places in a file, as shares of its length, and what is written there."""


def damaged(content: bytes, places, cut: float) -> bytes:
    changed = bytearray(content)
    for share, piece in places:
        start = int(share * max(len(content) - 1, 0))
        changed[start : start + len(piece)] = piece
    return bytes(changed[: max(int(cut * len(changed)), 1)])


def saved(values: np.ndarray, ending: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format=ending)
    return buffer.getvalue()


GREY = (np.arange(12 * 9) % 5).astype(np.uint8).reshape(12, 9)
IMAGES = {
    "png": saved(GREY, "png"), "deep.png": saved(GREY.astype(np.uint16) * 900, "png"), "tif": saved(GREY, "tiff"),
    "float.tif": saved(GREY.astype(np.float32), "tiff"), "bmp": saved(GREY, "bmp"), "gif": saved(GREY, "gif"),
    "jpg": saved(GREY, "jpeg"), "webp": saved(np.repeat(GREY[..., None], 3, 2), "webp"),
}  # fmt: skip


@QUICK
@given(st.sampled_from(sorted(IMAGES)), DAMAGE, st.sampled_from([1.0, 1.0, 0.9, 0.4, 0.05]))
def test_images_and_masks(tmp_path, ending, places, cut):
    path = tmp_path / f"file.{ending}"
    path.write_bytes(damaged(IMAGES[ending], places, cut))
    calls = (
        lambda: read_mask_file(path), lambda: read_mask_file(path, MaskReading(colours=True)), lambda: read_image(path),
        lambda: image_size(path), lambda: read_header(path), lambda: small_grey(path, (8, 8), upright=True),
    )  # fmt: skip
    for call in calls:
        with suppress(OSError, LabelQualityError):
            found = call()
            assert not isinstance(found, np.ndarray) or found.size > 0


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to itself"])
@pytest.mark.timeout(60)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, kind):
    for ending in ("png", "npy", "npz"):
        path = tmp_path / f"a.{ending}"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero" if kind == "device" else path)
        readers = (read_image, image_size, read_mask, read_mask_file, read_header, open_array)
        for read in readers if ending == "png" else (read_mask, open_array):
            with pytest.raises((OSError, LabelQualityError)):
                read(path)


def arrays(ending: str) -> bytes:
    buffer, values = io.BytesIO(), np.full((3, 4, 6), 1 / 3, np.float32)
    if ending == "npy":
        np.save(buffer, values)
    else:
        np.savez_compressed(buffer, softmax=values)
    return buffer.getvalue()


HUGE = b"(3, 4, 600000000000)"


@QUICK
@given(st.sampled_from(["npy", "npz"]), DAMAGE, st.sampled_from([1.0, 1.0, 0.9, 0.4]))
@example("npy", [(arrays("npy").index(b"(3,") / (len(arrays("npy")) - 1), HUGE)], 1.0)
def test_files_of_probabilities(tmp_path, ending, places, cut):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(damaged(arrays(ending), places, cut))
    files = ProbabilityFiles({"a": path}, device="cpu")
    for call in (lambda: num_channels(path, size=(4, 6)), lambda: files.read(path, size=(4, 6))):
        with suppress(OSError, LabelQualityError):
            call()
    from fiftyone_plugin.models import ImageItem

    for _, result in files.stream([ImageItem("a", path="a.png", size=(4, 6))]):
        assert isinstance(result, Exception) or torch.isfinite(result).all()


def weights() -> bytes:
    buffer = io.BytesIO()
    torch.save(torch.nn.Conv2d(3, 2, 1).state_dict(), buffer)
    return buffer.getvalue()


@QUICK
@given(st.sampled_from(["pth", "ckpt", "safetensors"]), DAMAGE, st.sampled_from([1.0, 1.0, 0.9, 0.4]))
def test_state_dicts(tmp_path, ending, places, cut):
    from safetensors.torch import save

    content = save({"weight": torch.zeros(2, 3)}) if ending == "safetensors" else weights()
    path = tmp_path / f"net.{ending}"
    path.write_bytes(damaged(content, places, cut))
    with suppress(LabelQualityError):
        assert all(isinstance(value, torch.Tensor) for value in read_state_dict(path).values())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
CONFIGS = st.dictionaries(
    st.sampled_from(
        ["model_type", "_model_class", "encoder_name", "fold_of", "config", "format", "classes", "in_channels"]
    ),
    JSON,
)


@settings(QUICK, max_examples=12)
@given(st.sampled_from(["config.json", "folds.json"]), CONFIGS | JSON)
def test_folders_of_models(tmp_path, name, content):
    for path in tmp_path.iterdir():
        path.unlink()
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(LabelQualityError):
        load_segmenter(str(tmp_path), device="cpu")
