"""A record survives pickling and files unchanged, and a file is written whole or not at all."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from fiftyone_plugin import quality
from fiftyone_plugin.errors import LabelQualityError


@pytest.fixture(params=[("softmin",), quality.METHODS], ids=["softmin", "all methods"])
def record(request, make_dataset):
    labels, probs = make_dataset(0, 1, 5, 20, 30)
    labels[0, :2] = 255
    return quality.image_record(labels[0], probs[0], methods=request.param)


def assert_same(one, other):
    assert (one.shape, one.scores, one.num_valid, one.num_classes) == (
        other.shape,
        other.scores,
        other.num_valid,
        other.num_classes,
    )
    for name in ("index", "given", "predicted", "self_confidence", "best_probability"):
        left, right = getattr(one.suspects, name), getattr(other.suspects, name)
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    for name in ("given", "predicted", "agreeing", "self_confidence", "histograms", "num_suspects", "num_certain"):
        np.testing.assert_array_equal(getattr(one.sums, name), getattr(other.sums, name))


def test_file_and_pickle_keep_everything_but_maps(record, tmp_path):
    loaded = quality.load_record(record.save(tmp_path / "image.npz"))
    assert_same(loaded, record)
    assert_same(pickle.loads(pickle.dumps(record)), record)
    assert loaded.maps is None
    assert record.without_maps().maps is None
    assert record.maps.self_confidence.shape == record.shape


def test_nan_scores_are_kept(tmp_path):
    record = quality.image_record(np.full((2, 3), 255), np.full((2, 2, 3), 0.5))
    assert np.isnan(quality.load_record(record.save(tmp_path / "image.npz")).scores["softmin"])


def test_saving_replaces_the_file_at_once(record, tmp_path):
    path = tmp_path / "image.npz"
    path.write_bytes(b"old")
    record.save(path)
    assert_same(quality.load_record(path), record)
    assert list(tmp_path.iterdir()) == [path]


def test_failed_saving_leaves_the_old_file(record, tmp_path, monkeypatch):
    path = record.save(tmp_path / "image.npz")
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fiftyone_plugin.quality.records.image_records.np.savez", full)
    with pytest.raises(OSError, match="No space left"):
        record.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_made(record, tmp_path):
    record.save(tmp_path / "new" / "image.npz")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["image.npz"]


def truncated(data):
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(truncated, id="truncated"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"not a zip file", id="another file"),
        pytest.param(lambda data: data[:200] + bytes(50) + data[250:], id="overwritten"),
    ],
)
def test_damaged_files_are_named(record, tmp_path, damage):
    path = record.save(tmp_path / "image.npz")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(LabelQualityError, match=r"image\.npz.* score the image again"):
        quality.load_record(path)


def test_other_files_and_versions_are_named(record, tmp_path, monkeypatch):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.save(tmp_path / "other.npy", np.zeros(3))
    for name in ("other.npz", "other.npy"):
        with pytest.raises(LabelQualityError, match=name):
            quality.load_record(tmp_path / name)
    path = record.save(tmp_path / "image.npz")
    monkeypatch.setattr("fiftyone_plugin.quality.records.image_records.FORMAT", 2)
    with pytest.raises(LabelQualityError, match=r"format 2 in .*image\.npz, but got format 1"):
        quality.load_record(path)


@pytest.mark.parametrize("budget", [0, 20_000, 2**30])
def test_spool_goes_to_files_beyond_its_budget(make_dataset, budget):
    labels, probs = make_dataset(1, 5, 5, 30, 40, accuracy=0.5)
    records = [quality.image_record(*pair) for pair in zip(labels, probs, strict=True)]
    with quality.RecordSpool(budget) as spool:
        for record in records:
            spool.append(record)
        assert len(spool) == 5
        for _ in range(2):
            for found, expected in zip(spool, records, strict=True):
                assert_same(found, expected)
        folder = spool.folder
        files = 0 if folder is None else len(list(folder.iterdir()))
        assert files == {0: 5, 2**30: 0}.get(budget, files)
        assert 0 < files < 5 or budget != 20_000
    assert folder is None or not folder.exists()
