"""Images come from anything that can be read one by one; memory does not grow with their number."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from fiftyone_plugin import quality


def as_zarr(array, folder, name):
    zarr = pytest.importorskip("zarr")
    stored = zarr.open(str(folder / f"{name}.zarr"), mode="w", shape=array.shape, dtype=array.dtype)
    stored[...] = array
    return stored


def as_h5py(array, folder, name):
    h5py = pytest.importorskip("h5py")
    return h5py.File(folder / f"{name}.h5", "w").create_dataset("array", data=array)


def as_memmap(array, folder, name):
    np.save(folder / f"{name}.npy", array)
    return np.load(folder / f"{name}.npy", mmap_mode="r")


SOURCES = {
    "array": lambda array, *_: array,
    "list": lambda array, *_: list(array),
    "tuple": lambda array, *_: tuple(array),
    "generator": lambda array, *_: (image for image in array),
    "tensor": lambda array, *_: torch.from_numpy(array),
    "list of tensors": lambda array, *_: [torch.from_numpy(image) for image in array],
    "object array": lambda array, *_: np.array([*array, None], dtype=object)[:-1],
    "memmap": as_memmap,
    "zarr": as_zarr,
    "h5py": as_h5py,
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same(make_dataset, tmp_path, source):
    labels, probs = make_dataset(0, 3, 5, 20, 30)
    make = SOURCES[source]
    flags = quality.label_issues(labels, probs)
    scores = quality.image_scores(labels, probs, quality.METHODS)
    maps = quality.pixel_scores(labels, probs)

    def pair():
        return make(labels, tmp_path, "labels"), make(probs, tmp_path, "probs")

    np.testing.assert_array_equal(quality.label_issues(*pair()), flags)
    np.testing.assert_array_equal(quality.pixel_scores(*pair()), maps)
    found = quality.image_scores(*pair(), quality.METHODS)
    for method in quality.METHODS:
        np.testing.assert_array_equal(found[method], scores[method])


def test_flags_are_lazy_and_clean_up(make_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("fiftyone_plugin.quality.records.spool.MEMORY_BUDGET", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    labels, probs = make_dataset(1, 4, 5, 20, 30)
    flags = quality.iter_label_issues(labels, probs)
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(next(flags), quality.label_issues(labels, probs)[0])
    assert len(list(tmp_path.glob("*/*.npz"))) == 4
    flags.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="Image 1"):
        list(quality.iter_label_issues([labels[0], labels[1] + 99], probs[:2]))
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told(make_dataset):
    labels, probs = make_dataset(2, 4, 5, 8, 8)
    calls = []
    quality.label_issues(labels, probs, progress=lambda *call: calls.append(call))
    assert [call[:2] for call in calls] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_rows_of_the_pair_table():
    counts = np.array([[0, 4, 0], [7, 0, 4], [1, 0, 0]])
    rows = [(row.given, row.predicted, row.pixels) for row in quality.class_pair_table(counts)]
    assert rows == [(1, 0, 7), (0, 1, 4), (1, 2, 4), (2, 0, 1)]
    names = ["road", "car", "sky"]
    rows = quality.class_pair_table(counts, class_names=names, exclude=["sky"], top=1)
    assert rows == [quality.ClassPair("car", "road", 7)]
    assert quality.class_pair_table(counts, exclude=[2]) == quality.class_pair_table(counts)[:2]


@pytest.mark.parametrize(
    ("counts", "options", "says"),
    [
        (np.zeros((2, 3), int), {}, r"\(K, K\), but got \(2, 3\)"),
        (np.zeros((2, 2), int), {"class_names": ["a"]}, "2 `class_names`, one per class, but got 1"),
        (np.zeros((2, 2), int), {"exclude": ["a"]}, "got 'a' and no `class_names`"),
        (np.zeros((2, 2), int), {"exclude": [2]}, r"in 0\.\.1, but got 2"),
    ],
)
def test_tables_that_do_not_fit(counts, options, says):
    with pytest.raises(ValueError, match=says):
        quality.class_pair_table(counts, **options)


def test_flags_must_fit_the_labels(make_dataset):
    labels, probs = make_dataset(3, 2, 5, 8, 9)
    flags = quality.label_issues(labels, probs)
    with pytest.raises(ValueError, match="`flags` ended after 1 images"):
        quality.class_pair_counts(flags[:1], labels, probs)
    with pytest.raises(ValueError, match=r"Image 0: .* got \(9, 8\), \(8, 9\) and \(8, 9\)"):
        quality.filter_by_class(1, [flag.T for flag in flags], labels, probs)


MEMORY_SCRIPT = textwrap.dedent(
    """
    import resource, sys
    import numpy as np
    from fiftyone_plugin import quality

    def images(count):
        for seed in range(count):
            rng = np.random.default_rng(seed)
            probs = rng.random((5, 400, 500), dtype=np.float32)
            yield rng.integers(0, 5, (400, 500)), probs / probs.sum(0)

    def run(count):
        labels = (label for label, _ in images(count))
        probs = (probs for _, probs in images(count))
        return sum(int(flags.sum()) for flags in quality.iter_label_issues(labels, probs))

    import fiftyone_plugin.quality.records.spool as spool
    spool.MEMORY_BUDGET = 2**22
    run(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(int(sys.argv[1]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
)


def grown(num_images):
    """KiB by which the peak memory of a process grows while it flags so many images of 0.2 megapixels."""
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, str(num_images)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ran.stdout)


def test_memory_is_flat_in_the_number_of_images():
    """36 more images have 100 MB of suspects and 29 MB of self-confidence; neither may be in memory."""
    assert grown(40) - grown(4) < 12 * 1024
