"""What FiftyOne's `apply_model` wrote with its own detectors and its own SAM becomes labels: the recipe of the docs."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.utils.sam as fosam
import fiftyone.zoo as foz
import numpy as np
import pytest
import torch
from PIL import Image

from fiftyone_plugin import compute_superpixels, generate_pseudo_labels
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.models.foundation.random_checkpoints import (
    save_random_mask_model,
    save_random_owl,
    save_random_sam,
)
from fiftyone_plugin.models.foundation.sam import load_sam
from fiftyone_plugin.models.foundation.sam_architecture import TINY, build_sam
from fiftyone_plugin.progress import silent


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """Two images with boxes of FiftyOne's OWLv2 and instances of FiftyOne's SAM, both of random weights."""
    folder = tmp_path_factory.mktemp("applied")
    torch.manual_seed(0)
    dataset, rng = fo.Dataset(), np.random.default_rng(0)
    for number in range(2):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (16, 32, 3), dtype=np.uint8)).save(path)
        dataset.add_sample(fo.Sample(filepath=str(path)))
    owl = str(save_random_owl(folder / "owl", ["cat", "dog"]))
    detector = foz.load_zoo_model("owlvit-base-patch32-torch", name_or_path=owl, classes=["cat", "dog"])
    dataset.apply_model(detector, label_field="found", confidence_thresh=0.0, progress=False)
    for sample in dataset.iter_samples(autosave=True):
        for place, one in enumerate(sample.found.detections):  # where FiftyOne and we round alike
            one.bounding_box = [(place % 4) / 4, (place // 4 % 2) / 2, 0.25, 0.5]
    weights = str(save_random_sam(folder / "sam.pth"))  # given, so that the zoo downloads none
    sam = fosam.SegmentAnythingModel(
        fosam.SegmentAnythingModelConfig({"model": build_sam(TINY), "model_path": weights})
    )
    dataset.apply_model(sam, label_field="objects", prompt_field="found", progress=False)
    for sample in dataset.iter_samples(autosave=True):
        for one in sample.objects.detections:  # random weights may say anything
            one.confidence = 0.5
    yield dataset, folder
    dataset.delete()


def masks(dataset, field):
    return [read_mask_file(sample[field].mask_path) for sample in dataset]


def test_instances_become_labels(applied):
    dataset, folder = applied
    report = generate_pseudo_labels(
        dataset, instances="objects", output_dir=str(folder / "a"), key="a", box_threshold=0, progress=silent
    )
    assert set(report.classes.values()) <= {"background", "cat", "dog"}
    assert report.num_boxes > 0
    for sample, mask in zip(dataset, masks(dataset, "a"), strict=True):
        painted = np.zeros(mask.shape, bool)
        for one in sample.objects.detections:
            painted |= one.to_segmentation(frame_size=(32, 16)).mask > 0
        np.testing.assert_array_equal(mask > 0, painted)
    compute_superpixels(
        dataset, method="instances", source_field="objects", output_dir=str(folder / "s"), progress=silent
    )
    assert all(segments.min() > 0 for segments in masks(dataset, "superpixels"))


def test_boxes_become_labels_by_another_sam(applied):
    dataset, folder = applied
    checkpoint = save_random_mask_model(folder / "sam2", "sam2")
    generate_pseudo_labels(
        dataset, ["dog"], boxes="found", checkpoint=str(checkpoint), box_threshold=0, key="b",
        output_dir=str(folder / "b"), device="cpu", progress=silent,
    )  # fmt: skip
    sam = load_sam(checkpoint, device="cpu")
    for sample, mask in zip(dataset, masks(dataset, "b"), strict=True):
        dogs = [one.bounding_box for one in sample.found.detections if one.label == "dog"]
        corners = [[32 * x, 16 * y, 32 * (x + w), 16 * (y + h)] for x, y, w, h in dogs]
        expected, _ = sam.masks_from_boxes(sam.embed(sample.filepath), np.clip(corners, 0, [32, 16, 32, 16]))
        np.testing.assert_array_equal(mask > 0, expected.any(axis=0))
