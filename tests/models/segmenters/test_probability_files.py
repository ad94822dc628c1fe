"""Probabilities on disk: npy, npz and zarr, found by name, resized to the label, never half understood."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import (
    ImageItem,
    ProbabilityFolder,
    SegmenterError,
    load_segmenter,
    num_channels,
    probability_file,
)


@pytest.fixture
def probs(rng):
    values = rng.random((3, 4, 6))
    return (values / values.sum(0)).astype(np.float32)


def write(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez_compressed(path, other=np.zeros(3), probs=values)
    else:
        zarr = pytest.importorskip("zarr", reason="the package zarr is not installed")
        zarr.save(str(path), values)
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.zarr"])
def test_formats(tmp_path, probs, name):
    found = probability_file(write(tmp_path / name, probs))
    np.testing.assert_array_equal(found, probs)


def test_npy_is_mapped_and_not_read(tmp_path, probs):
    assert isinstance(probability_file(write(tmp_path / "a.npy", probs)), np.memmap)


@pytest.mark.parametrize("name", ["all.npy", "all.npz", "all.zarr"])
def test_one_image_of_a_file_of_many(tmp_path, probs, name):
    path = write(tmp_path / name, np.stack([probs, probs[::-1]]))
    np.testing.assert_array_equal(probability_file(path, index=1), probs[::-1])
    with pytest.raises(LabelQualityError, match=r"an image 2, but it has shape \(2, 3, 4, 6\)"):
        probability_file(path, index=2)
    with pytest.raises(LabelQualityError, match=r"shape \(classes, height, width\), but it has shape \(2, 3, 4, 6\)"):
        probability_file(path)


def test_zarr_groups(tmp_path, probs):
    zarr = pytest.importorskip("zarr", reason="the package zarr is not installed")
    zarr.save_group(str(tmp_path / "a.zarr"), probs=probs)
    np.testing.assert_array_equal(probability_file(tmp_path / "a.zarr"), probs)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("a.npy", np.zeros(4), r"but it has shape \(4,\)"),
        ("a.npy", np.zeros((3, 4, 6), np.uint8), "floating-point probabilities in .* but it holds uint8"),
        ("a.npz", np.zeros((3, 4, 6), np.uint8), "floating-point probabilities in .* but it holds uint8"),
        ("a.npy", np.zeros((0, 4, 6)), r"but it has shape \(0, 4, 6\)"),
        ("a.npy", np.array([None]), "Cannot read probabilities from"),
        ("a.npz", np.array([None]), "it holds object"),
        ("a.npy", np.zeros((3, 6, 4)), r"shape of 8 x 12 pixels .* but it has shape \(3, 6, 4\)"),
    ],
)
def test_wrong_arrays(tmp_path, name, values, message):
    path = tmp_path / name
    np.save(path, values, allow_pickle=True) if path.suffix == ".npy" else np.savez(path, values, allow_pickle=True)
    with pytest.raises(LabelQualityError, match=message):
        probability_file(path, size=(8, 12))


@pytest.mark.parametrize(
    ("shape", "size", "classes"),
    [
        ((3, 4, 6), (8, 12), "first"),
        ((4, 6, 3), (8, 12), "last"),
        ((1, 3, 4, 6), (8, 12), "first"),
        ((3, 1, 4, 6), (4, 6), "first"),
        ((1, 4, 6, 3), (4, 6), "last"),
        ((4, 6, 3, 1), (4, 6), "last"),
        ((3, 48, 64), (96, 128), "first"),
        ((48, 64, 3), (95, 128), "last"),
        ((4, 4, 4), (8, 8), "first"),
        ((64, 48, 64), (48, 64), "first"),
        ((48, 64, 48), (48, 64), "last"),
    ],
)
def test_the_image_tells_which_axis_is_the_classes(tmp_path, rng, shape, size, classes):
    values = rng.random(shape).astype(np.float16)
    np.save(tmp_path / "a.npy", values)
    plain = values.reshape([length for length in shape if length != 1])
    wanted = plain if classes == "first" else np.moveaxis(plain, -1, 0)
    np.testing.assert_array_equal(probability_file(tmp_path / "a.npy", size=size), wanted)
    assert num_channels(tmp_path / "a.npy", size=size) in (len(wanted), None)


def test_where_both_axes_fit_the_values_tell(tmp_path, rng):
    values = rng.random((4, 4, 4))
    np.save(tmp_path / "a.npy", values / values.sum(2, keepdims=True))
    found = probability_file(tmp_path / "a.npy", size=(8, 8))
    np.testing.assert_allclose(found.sum(0), 1)
    assert num_channels(tmp_path / "a.npy", size=(8, 8)) is None


@pytest.mark.parametrize("shape", [(1, 4, 6), (4, 6, 1), (4, 6), (1, 1, 4, 6)])
def test_one_channel_is_the_foreground(tmp_path, rng, shape):
    positive = rng.random((4, 6)).astype(np.float32)
    np.savez(tmp_path / "a.npz", softmax=positive.reshape(shape))
    found = load_segmenter(f"probabilities:{tmp_path}", device="cpu").predict([None], names=["a"], sizes=[(4, 6)])
    np.testing.assert_allclose(found[0], np.stack([1 - positive, positive]), atol=1e-6)


@pytest.mark.parametrize("codec", [{"compressor": {"id": "pickle"}}, {"filters": [{"id": "delta"}, {"id": "json2"}]}])
def test_zarr_codecs_that_may_run_code_are_refused(tmp_path, probs, codec):
    zarr = pytest.importorskip("zarr", reason="the package zarr is not installed")
    folder = tmp_path / "a.zarr"
    zarr.create_array(str(folder), data=probs, zarr_format=2)
    settings = json.loads((folder / ".zarray").read_text())
    (folder / ".zarray").write_text(json.dumps({**settings, **codec}))
    for chunk in folder.glob("0*"):
        chunk.write_bytes(pickle.dumps(_Touch(tmp_path / "ran")))
    with pytest.raises(LabelQualityError):
        probability_file(folder)
    assert not (tmp_path / "ran").exists()


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_name_that_is_not_unique_is_looked_for_by_its_folder(tmp_path, probs):
    for name in ("train/0.npy", "val/0.npy", "0.npy", "1.npy", "deep/a/2.png.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, probs)
    images = [f"/data/{name}" for name in ("train/0.png", "val/0.png", "test/0.png", "val/1.jpg", "a/2.png", "b/2.png")]
    folder = ProbabilityFolder(tmp_path, images)
    assert folder.find("/data/val/0.png") == tmp_path / "val/0.npy"
    assert folder.find("/data/val/1.jpg") == tmp_path / "1.npy"
    for nobodys in ("/data/test/0.png", "/data/a/2.png"):
        with pytest.raises(LabelQualityError, match="has no probability file"):
            folder.find(nobodys)
    with pytest.raises(LabelQualityError, match=r"several images are called 0.png, and .*/0.npy may be another one's"):
        folder.find("/data/test/0.png")


def test_nnunet_leaves_the_channel_out_of_the_name(tmp_path, probs):
    write(tmp_path / "case_7.npz", probs)
    assert ProbabilityFolder(tmp_path).find("imagesTr/case_7_0000.png").name == "case_7.npz"


def test_wrong_files(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    for name, message in [
        ("a.png", r"Expected a .npy, .npz or .zarr file"),
        ("none.npy", "does not exist"),
        ("cut.npy", "Cannot read probabilities from"),
        ("two.npz", r"but it holds \['a', 'b'\]"),
    ]:
        with pytest.raises(LabelQualityError, match=message):
            probability_file(tmp_path / name)


def test_missing_zarr_says_what_to_install(tmp_path, monkeypatch):
    import sys

    (tmp_path / "a.zarr").mkdir()
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(LabelQualityError, match=r'pip install "fiftyone-label-quality\[zarr\]"'):
        probability_file(tmp_path / "a.zarr")


def test_a_folder_is_searched_by_name_and_by_the_stem_of_the_path(tmp_path, probs):
    write(tmp_path / "street_1.npy", probs)
    write(tmp_path / "street_2.jpg.npz", probs)
    segmenter = load_segmenter(f"probabilities:{tmp_path}", device="cpu")
    items = [
        ImageItem("street_1"),
        ImageItem("some id", path="images/street_2.jpg", size=(8, 12)),
        ImageItem("street_3"),
    ]
    results = [result for _, result in segmenter.stream(items)]
    torch.testing.assert_close(results[0], torch.from_numpy(probs))
    assert results[1].shape == (3, 8, 12)
    torch.testing.assert_close(results[1].sum(0), torch.ones(8, 12))
    assert isinstance(results[2], SegmenterError)
    assert "Image street_3: has no probability file street_3" in str(results[2])
    assert segmenter.num_classes == 3


def test_a_mapping_names_files_and_positions(tmp_path, probs):
    path = write(tmp_path / "all.npy", np.stack([probs, probs[::-1]]))
    segmenter = load_segmenter({"a": (path, 1), "b.jpg": (path, 0)}, device="cpu")
    a, b = segmenter.predict([None, None], names=["a", "b.jpg"])
    torch.testing.assert_close(a, torch.from_numpy(probs[::-1].copy()))
    torch.testing.assert_close(b, torch.from_numpy(probs))
    with pytest.raises(SegmenterError, match="Image c: has no probability file among the 2 given"):
        segmenter.predict([None], names=["c"])


def test_logits_are_recognised(tmp_path, probs):
    write(tmp_path / "a.npy", np.log(probs) + 3)
    (found,) = load_segmenter(f"probabilities:{tmp_path}", device="cpu").predict([None], names=["a"])
    torch.testing.assert_close(found, torch.from_numpy(probs))


def test_half_precision_is_normalised(tmp_path, probs):
    write(tmp_path / "a.npy", probs.astype(np.float16))
    (found,) = load_segmenter(f"probabilities:{tmp_path}", device="cpu").predict([None], names=["a"])
    torch.testing.assert_close(found.sum(0), torch.ones(4, 6))


def test_wrong_values_name_the_image(tmp_path, probs):
    write(tmp_path / "a.npy", probs)
    write(tmp_path / "nan.npy", np.full_like(probs, np.nan))
    write(tmp_path / "sum.npy", probs * 0.5)
    segmenter = load_segmenter(f"probabilities:{tmp_path}", device="cpu")
    results = {item.name: result for item, result in segmenter.stream(ImageItem(name) for name in ("a", "nan", "sum"))}
    assert "Image nan: The model returned 72 values of 72 that are NaN" in str(results["nan"])
    assert "sum.npy lie in [0, 1]" in str(results["sum"])


def test_a_file_of_other_classes_is_named_and_a_map_helps(tmp_path, probs):
    write(tmp_path / "a.npy", probs)
    write(tmp_path / "b.npy", np.concatenate([probs, probs]) / 2)
    source = f"probabilities:{tmp_path}"
    results = [result for _, result in load_segmenter(source).stream([ImageItem("a"), ImageItem("b")])]
    assert results[0].shape == (3, 4, 6)
    assert "Image b: Expected probabilities of 3 classes, but" in str(results[1])
    (found,) = load_segmenter(source, num_classes=2, channel_map=[0, 1, 1], device="cpu").predict([None], names=["a"])
    torch.testing.assert_close(found[0], torch.from_numpy(probs[0]))


def test_each_file_tells_whether_it_holds_logits(tmp_path, probs):
    write(tmp_path / "a.npy", np.log(probs))
    write(tmp_path / "b.npy", probs)
    names = [ImageItem("a"), ImageItem("b")]
    first, second = (result for _, result in load_segmenter(f"probabilities:{tmp_path}", device="cpu").stream(names))
    torch.testing.assert_close(first, second)
    told = load_segmenter(f"probabilities:{tmp_path}", from_logits=True, device="cpu")
    assert "Expected logits in" in str([result for _, result in told.stream(names)][1])


def test_meaningless_options_and_missing_folders(tmp_path):
    with pytest.raises(LabelQualityError, match=r"options \['tile'\] have no meaning for probabilities on disk"):
        load_segmenter(f"probabilities:{tmp_path}", tile=16)
    with pytest.raises(LabelQualityError, match="Expected a folder of probability files"):
        load_segmenter("probabilities:nowhere")
