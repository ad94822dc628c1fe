"""Every label is looked at once: what cannot be used is named, what cannot be right is refused."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin.dataset.door.scan import mask_reader, require_label_field, scan_labels
from fiftyone_plugin.errors import LabelQualityError


def test_values_sizes_and_hashes(make_dataset):
    dataset = make_dataset(3)
    scan = scan_labels(dataset, "ground_truth")
    assert [image.size for image in scan.images] == [(24, 32)] * 3
    assert scan.values == {1: 3, 2: 3, 3: 3, 255: 3}
    assert len({image.digest for image in scan.images}) == 3
    assert scan.skipped == []


def test_what_cannot_be_read_is_named_and_skipped(make_dataset):
    dataset = make_dataset(5)
    first, second, third, fourth, _ = dataset
    Path(first.ground_truth.mask_path).write_bytes(b"broken")
    Path(second.ground_truth.mask_path).unlink()
    third["ground_truth"] = None
    third.save()
    Path(fourth.filepath).write_bytes(b"broken")
    scan = scan_labels(dataset, "ground_truth")
    assert len(scan.images) == 1
    reasons = {skip.filepath: skip.reason for skip in scan.skipped}
    assert "unreadable mask" in reasons[first.filepath]
    assert "unreadable mask" in reasons[second.filepath]
    assert reasons[third.filepath] == "no label"
    assert "unreadable image" in reasons[fourth.filepath]


def test_nothing_usable_is_an_error_with_the_reasons(make_dataset):
    dataset = make_dataset(2)
    for sample in dataset:
        Path(sample.ground_truth.mask_path).write_bytes(b"broken")
    with pytest.raises(LabelQualityError, match=r"none of 2 has: unreadable mask \(2\)"):
        scan_labels(dataset, "ground_truth")


def test_a_mask_of_another_shape_is_skipped_with_both_sizes(make_dataset):
    dataset = make_dataset(2)
    sample = dataset.last()
    Image.fromarray(np.ones((32, 24), np.uint8)).save(sample.ground_truth.mask_path)
    scan = scan_labels(dataset, "ground_truth")
    (skipped,) = scan.skipped
    assert len(scan.images) == 1
    assert "mask is 32x24 and the image 24x32" in skipped.reason
    assert skipped.filepath.endswith("1.png")


def test_a_mask_of_half_the_size_is_fine(make_dataset):
    dataset = make_dataset(2)
    sample = dataset.last()
    Image.fromarray(np.ones((12, 16), np.uint8)).save(sample.ground_truth.mask_path)
    assert scan_labels(dataset, "ground_truth").images[1].size == (12, 16)


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (lambda ds: ds, "nope", r"Segmentation fields \['ground_truth'\], but 'nope' is no such field"),
        (lambda ds: ds, "probabilities", "'probabilities' is a field of type StringField"),
        (lambda ds: ds.limit(0), "ground_truth", "at least one sample.*empty"),
        (lambda ds: ds.match(fo.ViewField("filepath") == ""), "ground_truth", "at least one sample.*empty"),
    ],
    ids=["no such field", "wrong type", "limit 0", "match nothing"],
)
def test_wrong_collections_are_refused(make_dataset, change, field, message):
    with pytest.raises(LabelQualityError, match=message):
        require_label_field(change(make_dataset(2)), field)


def test_masks_are_read_fresh_from_disk_and_database(make_dataset):
    for store in ("path", "database"):
        dataset = make_dataset(2, store=store)
        sample = dataset.first()
        read = mask_reader(dataset, "ground_truth")
        assert np.array_equal(read(sample.id), sample.ground_truth.get_mask())
