"""Superpixels become a field of 16-bit ids that cover every image, from colour, SAM, instances or labels."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_plugin import compute_superpixels, delete_label_quality_run, open_sitting, precompute_sam_embeddings
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.foundation.random_checkpoints import save_random_mask_model, save_random_sam
from fiftyone_plugin.models.foundation.sam import load_sam
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.starting.sam_embeddings import known_embeddings


def compute(dataset, folder, **options):
    return compute_superpixels(dataset, output_dir=str(folder), progress=silent, **options)


def segments(dataset, field="superpixels"):
    return [read_mask_file(sample[field].mask_path) for sample in dataset]


@pytest.fixture(scope="module", params=["segment-anything", "sam2"])
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam")
    if request.param == "sam2":
        return str(save_random_mask_model(folder, "sam2"))
    return str(save_random_sam(folder / "sam.pth"))


@pytest.mark.parametrize("method", ["slic", "felzenszwalb"])
def test_colour_superpixels_cover_everything(make_dataset, tmp_path, method):
    dataset = make_dataset(3)
    report = compute(dataset, tmp_path / "run", method=method, size=60)
    found = segments(dataset)
    assert all(one.dtype == np.uint16 and one.min() >= 1 for one in found)
    assert report.num_images == 3
    assert report.per_image == pytest.approx(np.mean([one.max() for one in found]))
    for one in found:  # every number from 1 on occurs
        np.testing.assert_array_equal(np.unique(one), np.arange(1, one.max() + 1))


def test_labels_become_their_connected_parts(make_dataset, tmp_path):
    dataset = make_dataset(3, wrong=())
    compute(dataset, tmp_path / "run", method="labels", source_field="ground_truth", fill_gaps=False)
    for sample, found in zip(dataset, segments(dataset), strict=True):
        label = read_mask_file(sample.ground_truth.mask_path)
        assert (found[label == 255] == 0).all()
        for part in range(1, int(found.max()) + 1):
            assert len(np.unique(label[found == part])) == 1


def test_instances_with_masks_and_what_is_between_them(make_dataset, tmp_path):
    dataset = make_dataset(2)
    sample = dataset.first()
    sample["objects"] = fo.Detections(
        detections=[
            fo.Detection(label="a", bounding_box=[0, 0, 0.5, 0.5], mask=np.ones((12, 16), bool)),
            fo.Detection(label="b", bounding_box=[0, 0, 0.25, 0.25], mask=np.ones((6, 8), bool)),
            fo.Detection(label="c", bounding_box=[0, 0, 1, 1]),
        ]
    )
    sample.save()
    compute(dataset, tmp_path / "gaps", method="instances", source_field="objects", fill_gaps=False, key="gaps")
    first, second = segments(dataset, "gaps")
    expected = np.zeros((24, 32), int)
    expected[:12, :16], expected[:6, :8] = 1, 2
    np.testing.assert_array_equal(first, expected)
    assert not second.any()
    compute(dataset, tmp_path / "run", method="instances", source_field="objects")
    first, second = segments(dataset)
    np.testing.assert_array_equal(first[:12, :16], expected[:12, :16])
    assert first.min() >= 1
    assert second.min() >= 1


def test_sam_masks_are_those_of_its_generator(make_dataset, tmp_path, checkpoint):
    dataset = make_dataset(2)
    options = {"points_per_side": 3, "pred_iou_thresh": -10.0, "stability_score_thresh": -1.0}
    compute(dataset, tmp_path / "run", method="sam", checkpoint=checkpoint, fill_gaps=False, device="cpu", **options)
    sam = load_sam(checkpoint, device="cpu")
    for sample, found in zip(dataset, segments(dataset), strict=True):
        masks = [mask for mask, *_ in sam.automatic_masks(sample.filepath, **options)]
        np.testing.assert_array_equal(found > 0, np.any(masks, axis=0) if masks else np.zeros((24, 32), bool))


def test_unreadable_images_are_named_and_an_interrupted_run_goes_on(make_dataset, tmp_path):
    dataset = make_dataset(4)
    Path(dataset.first().filepath).write_bytes(b"none")

    def stop(done, total, label):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute_superpixels(dataset, output_dir=str(tmp_path / "run"), progress=stop)
    [path] = (tmp_path / "run" / "superpixels").glob("*.png")
    before = path.stat().st_mtime_ns
    report = compute(dataset, tmp_path / "run")
    assert path.stat().st_mtime_ns == before
    assert [Path(filepath).name for _, filepath, _ in report.skipped] == ["0.png"]
    assert report.num_images == 3
    delete_label_quality_run(dataset, "superpixels")
    assert not dataset.has_field("superpixels")
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "watershed"}, "Expected `method`"),
        ({"method": "sam"}, "`checkpoint`"),
        ({"method": "sam", "checkpoint": "/no/such.pth"}, "checkpoint file"),
        ({"method": "instances", "source_field": "nope"}, "`source_field`"),
        ({"method": "labels"}, "`source_field`"),
        ({"size": 0}, "at least 1 pixel"),
        ({"key": "ground_truth"}, "free"),
    ],
)
def test_what_cannot_be_used_is_refused(make_dataset, tmp_path, options, message):
    dataset = make_dataset(2)
    with pytest.raises(LabelQualityError, match=message):
        compute(dataset, tmp_path / "run", **options)
    assert dataset.list_runs() == []
    assert not dataset.has_field("superpixels")


def test_embeddings_are_computed_once_and_used_for_clicks(make_dataset, tmp_path, checkpoint):
    from fiftyone_plugin import plan_correction_queries

    dataset = make_dataset(3)
    first = precompute_sam_embeddings(
        dataset.limit(2), checkpoint, output_dir=str(tmp_path / "sam"), device="cpu", progress=silent
    )
    assert (first.num_images, first.num_computed) == (2, 2)
    again = precompute_sam_embeddings(dataset, checkpoint, device="cpu", progress=silent)
    assert (again.num_images, again.num_computed) == (3, 1)
    assert known_embeddings(dataset) == (checkpoint, str(tmp_path / "sam" / "embeddings"))
    plan_correction_queries(
        dataset, "ground_truth", probabilities="probabilities", budget=3, superpixel_size=60,
        output_dir=str(tmp_path / "plan"), progress=silent,
    )  # fmt: skip
    sitting = open_sitting(dataset, "ground_truth", sitting_id="sam")
    question = sitting.question
    sitting.refine(5, 7, True)
    sam = load_sam(checkpoint, device="cpu")
    asked = sam.masks_from_points(sam.embed(question.filepath), np.array([[5.0, 7.0]]), np.array([True]))
    if asked.mask.any():
        np.testing.assert_array_equal(sitting.question.region, asked.mask)
    else:
        assert "SAM found nothing" in sitting.message
    sitting.close()


def test_an_image_without_embedding_grows_by_colour_and_says_so(make_dataset, tmp_path, checkpoint):
    from fiftyone_plugin import plan_correction_queries

    dataset = make_dataset(3)
    precompute_sam_embeddings(dataset.limit(1), checkpoint, output_dir=str(tmp_path / "sam"), progress=silent)
    plan_correction_queries(
        dataset, "ground_truth", probabilities="probabilities", budget=3, superpixel_size=60, audits=0.0,
        output_dir=str(tmp_path / "plan"), progress=silent,
    )  # fmt: skip
    sitting = open_sitting(dataset, "ground_truth", sitting_id="no-sam")
    assert sitting.question.sample_id != dataset.first().id  # the wrong image is asked about first
    sitting.refine(5, 7, True)
    assert "no SAM embedding" in sitting.message
    assert sitting.question.region[7, 5]
    sitting.close()
