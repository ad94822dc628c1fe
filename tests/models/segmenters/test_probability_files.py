"""Probabilities on disk: npy, npz and zarr, found by name, resized to the label, never half understood."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import ImageItem, ModelMismatchError, SegmenterError, load_segmenter, probability_file


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
        ("a.npy", np.zeros((4, 6)), r"but it has shape \(4, 6\)"),
        ("a.npy", np.zeros((3, 4, 6), np.uint8), "floating-point probabilities in .* but it holds uint8"),
        ("a.npy", np.zeros((0, 4, 6)), r"but it has shape \(0, 4, 6\)"),
        ("a.npy", np.array([None]), "Cannot read probabilities from"),
    ],
)
def test_wrong_arrays(tmp_path, name, values, message):
    np.save(tmp_path / name, values, allow_pickle=True)
    with pytest.raises(LabelQualityError, match=message):
        probability_file(tmp_path / name)


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
    assert "Image sum: Expected probabilities that sum to 1 over the classes" in str(results["sum"])


def test_wrong_number_of_classes_ends_at_once_and_a_map_helps(tmp_path, probs):
    write(tmp_path / "a.npy", probs)
    source = f"probabilities:{tmp_path}"
    with pytest.raises(ModelMismatchError, match=r"of 2 classes, but .*a.npy has 3 channels; pass `channel_map"):
        next(load_segmenter(source, num_classes=2).stream([ImageItem("a")]))
    (found,) = load_segmenter(source, num_classes=2, channel_map=[0, 1, 1], device="cpu").predict([None], names=["a"])
    torch.testing.assert_close(found[0], torch.from_numpy(probs[0]))


def test_meaningless_options_and_missing_folders(tmp_path):
    with pytest.raises(LabelQualityError, match=r"options \['tile'\] have no meaning for probabilities on disk"):
        load_segmenter(f"probabilities:{tmp_path}", tile=16)
    with pytest.raises(LabelQualityError, match="Expected a folder of probability files"):
        load_segmenter("probabilities:nowhere")
