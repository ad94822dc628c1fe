"""Class names, boxes or instances become a field of labels and its superpixels; nothing is lost and nothing wraps."""

from __future__ import annotations

import json
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin import delete_label_quality_run, generate_pseudo_labels, plan_correction_queries
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.foundation.random_checkpoints import (
    save_random_detector,
    save_random_owl,
    save_random_sam,
    save_random_sam3,
)
from fiftyone_plugin.progress import silent

VOC = Path(__file__).parents[4] / "shared" / "data" / "voc_grounded_sam"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    detector = save_random_detector(folder / "detector", ["cat", "dog", "traffic", "light", "sign"])
    return str(detector), str(save_random_sam(folder / "sam.pth"))


@pytest.fixture
def dataset(tmp_path):
    """Three images of 20 x 30 pixels, the third without objects."""
    dataset = fo.Dataset()
    rng = np.random.default_rng(0)
    samples = []
    for number in range(3):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
        samples.append(fo.Sample(filepath=str(path)))
    dataset.add_samples(samples, progress=False)
    objects = [
        [("cat", [0.0, 0.0, 0.5, 0.5], 0.9), ("dog", [0.2, 0.1, 0.1, 0.2], 0.6), ("Bird", [0, 0, 1, 1], 0.9)],
        [("Dog", [0.5, 0.5, 0.5, 0.5], None), ("cat", [0.5, 0.5, 0.5, 0.5], 0.1)],
        [],
    ]
    for sample, rows in zip(dataset, objects, strict=True):
        found = [
            fo.Detection(label=label, bounding_box=box, confidence=score, mask=np.ones((2, 3), bool))
            for label, box, score in rows
        ]
        sample["found"] = fo.Detections(detections=found)
        sample.save()
    yield dataset
    dataset.delete()


def generate(dataset, folder, *arguments, **options):
    return generate_pseudo_labels(dataset, *arguments, output_dir=str(folder), progress=silent, **options)


def masks(dataset, field="pseudo_labels"):
    return [read_mask_file(sample[field].mask_path) for sample in dataset]


def test_instances_are_painted_small_over_large(dataset, tmp_path):
    report = generate(dataset, tmp_path / "run", ["cat", "dog"], instances="found", write_confidence=True)
    expected = np.zeros((20, 30), np.uint8)
    expected[:10, :15] = 1
    expected[2:6, 6:9] = 2
    first, second, third = masks(dataset)
    np.testing.assert_array_equal(first, expected)
    lower = np.zeros((20, 30), np.uint8)
    lower[10:, 15:] = 2  # the cat there is less probable than the threshold
    np.testing.assert_array_equal(second, lower)
    assert not third.any()
    segments = masks(dataset, "pseudo_labels_superpixels")
    np.testing.assert_array_equal(segments[0], expected)  # the cat is the first object, the dog the second
    assert report.by_class == {"cat": 1, "dog": 2}
    assert report.unknown == {"Bird": 1}
    assert [Path(path).name for _, path in report.empty] == ["2.png"]
    assert report.painted_share == pytest.approx(300 / 1800)
    assert dataset.mask_targets["pseudo_labels"] == {0: "background", 1: "cat", 2: "dog"}
    assert dataset.load_saved_view("pseudo_labels empty").values("filepath") == [report.empty[0][1]]
    with Image.open(dataset.first().pseudo_labels_confidence.map_path) as image:
        confidence = np.asarray(image)
    assert confidence[0, 0] == round(0.9 * 255)
    assert confidence[3, 7] == round(0.6 * 255)
    assert confidence[19, 29] == 0
    text = report.markdown()
    assert "1 image has no detection" in text
    assert "Bird (1)" in text


def test_unpainted_pixels_can_be_without_label(dataset, tmp_path):
    generate(dataset, tmp_path / "run", ["cat", "dog"], instances="found", unpainted="ignore")
    first, _, third = masks(dataset)
    assert set(np.unique(first)) == {1, 2, 255}
    assert set(np.unique(third)) == {255}
    assert 0 not in dataset.mask_targets["pseudo_labels"]


def test_synonyms_and_labels_that_occur(dataset, tmp_path):
    report = generate(dataset, tmp_path / "a", {"animal": ["cat", "dog"], "bird": []}, instances="found")
    assert report.by_class == {"animal": 3, "bird": 1}
    report = generate(dataset, tmp_path / "b", instances="found", key="other")
    assert report.by_class == {"Bird": 1, "cat": 1, "Dog": 2}  # dog and Dog are the same


def test_more_than_255_objects_do_not_wrap(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    dots = [
        fo.Detection(label="dot", bounding_box=[x / 30, y / 20, 1 / 30, 1 / 20], mask=np.ones((1, 1), bool))
        for y in range(20)
        for x in range(30)
    ]
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(filepath=str(path), found=fo.Detections(detections=dots)))
    generate(dataset, tmp_path / "run", instances="found")
    [segments] = masks(dataset, "pseudo_labels_superpixels")
    np.testing.assert_array_equal(segments, np.arange(1, 601).reshape(20, 30))
    dataset.delete()


def test_boxes_become_masks_by_sam(dataset, tmp_path, checkpoints):
    report = generate(dataset, tmp_path / "run", ["cat", "dog"], boxes="found", checkpoint=checkpoints[1])
    assert report.num_images == 3
    from fiftyone_plugin.models.foundation.sam import load_sam

    sam = load_sam(checkpoints[1], device="cpu")
    sample = list(dataset)[1]
    [[mask], _] = sam.masks_from_boxes(sam.embed(sample.filepath), np.array([[15, 10, 30, 20]], np.float32))
    np.testing.assert_array_equal(masks(dataset)[1], mask.astype(np.uint8) * 2)


@pytest.mark.parametrize("detector", ["grounding-dino", "owlv2", "sam3"])
def test_names_become_labels_by_a_detector_and_sam(dataset, tmp_path, checkpoints, detector):
    words, sam = ["cat", "traffic", "light", "sign"], checkpoints[1]
    if detector == "sam3":  # makes masks by itself
        path, sam = save_random_sam3(tmp_path / "detector", words), None
    else:
        path = checkpoints[0] if detector == "grounding-dino" else save_random_owl(tmp_path / "detector", words)
    options = {"detector": str(path), "checkpoint": sam, "box_threshold": 0.0, "batch_size": 2}
    report = generate(dataset, tmp_path / "run", ["cat", "traffic light", "traffic sign"], **options)
    assert report.num_images == 3
    assert report.num_boxes > 0
    assert set(report.by_class) <= {"cat", "traffic light", "traffic sign"}
    for mask, segments in zip(masks(dataset), masks(dataset, "pseudo_labels_superpixels"), strict=True):
        np.testing.assert_array_equal(mask > 0, segments > 0)
    one_by_one = generate(
        dataset, tmp_path / "run1", ["cat", "traffic light", "traffic sign"], key="one", **(options | {"batch_size": 1})
    )
    assert one_by_one.by_class == report.by_class


def test_an_interrupted_run_goes_on(dataset, tmp_path, monkeypatch):
    calls = []

    def stop(done, total, label):
        calls.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_pseudo_labels(
            dataset, ["cat", "dog"], instances="found", output_dir=str(tmp_path / "run"), progress=stop, batch_size=1
        )
    assert not dataset.has_field("pseudo_labels")
    report = generate(dataset, tmp_path / "run", ["cat", "dog"], instances="found", batch_size=1)
    assert report.num_resumed == 2
    assert report.by_class == {"cat": 1, "dog": 2}


def test_overlaps_are_removed_whatever_the_class(dataset, tmp_path):
    sample = dataset.first()
    sample.found.detections.append(
        fo.Detection(label="dog", bounding_box=[0, 0, 0.5, 0.5], confidence=0.5, mask=np.ones((1, 1), bool))
    )
    sample.save()
    report = generate(dataset, tmp_path / "run", ["cat", "dog"], instances="found", nms_iou=0.7)
    assert report.by_class == {"cat": 1, "dog": 2}
    assert masks(dataset)[0][0, 0] == 1


def test_an_unreadable_image_is_skipped_by_name(dataset, tmp_path):
    Path(dataset.first().filepath).write_bytes(b"no image")
    report = generate(dataset, tmp_path / "run", ["cat", "dog"], instances="found")
    assert [Path(path).name for _, path, _ in report.skipped] == ["0.png"]
    assert report.num_images == 2
    assert "unreadable image" in report.markdown()


def test_deleting_the_run_takes_everything_away(dataset, tmp_path):
    generate(dataset, tmp_path / "run", ["cat", "dog"], instances="found")
    delete_label_quality_run(dataset, "pseudo_labels")
    assert not [name for name in dataset.get_field_schema() if name.startswith("pseudo")]
    assert not dataset.list_saved_views()
    assert not list((tmp_path / "run").rglob("*.png"))


def test_questions_can_be_about_the_superpixels(dataset, tmp_path):
    generate(dataset, tmp_path / "run", ["cat", "dog"], instances="found")
    for sample in dataset:
        probs = np.full((3, 20, 30), 0.05, np.float32)
        probs[1] = 0.9
        path = tmp_path / f"{sample.id}.npy"
        np.save(path, probs)
        sample["probabilities"] = str(path)
        sample.save()
    report = plan_correction_queries(
        dataset, "pseudo_labels", probabilities="probabilities", superpixels="pseudo_labels_superpixels",
        superpixel_size=100, budget=500, output_dir=str(tmp_path / "plan"), progress=silent,
    )  # fmt: skip
    assert report.reachable == 1.0
    detections = [d for d in dataset.first().pseudo_labels_queries.detections if d.given == "dog"]
    assert [d.area for d in detections] == [12]


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        ([], {"detector": "x"}, "class"),
        (["cat", "Cat"], {"detector": "x"}, "[Cc]at"),
        (["cat", "??"], {"detector": "x"}, r"\?"),
        (["cat", "background"], {"instances": "found"}, "background"),
        ("cat", {"instances": "found"}, "list of names"),
        (None, {"detector": "x"}, "Expected `classes`"),
        (["cat"], {}, "Expected one of `detector`"),
        (["cat"], {"boxes": "found", "instances": "found"}, "Expected one of"),
        (["cat"], {"boxes": "found", "checkpoint": None}, "`checkpoint`"),
        (["cat"], {"detector": "grounding-dino", "checkpoint": None}, "facebook/sam3 as `detector`"),
        (["cat"], {"boxes": "nope"}, "Detections fields"),
        (["cat"], {"instances": "found", "unpainted": "black"}, "`unpainted`"),
        (["cat"], {"instances": "found", "box_threshold": 1.5}, "`box_threshold`"),
        (["cat"], {"boxes": "found", "checkpoint": "/no/such.pth"}, "checkpoint"),
        (["cat"], {"detector": "/no/such"}, "Cannot load"),
    ],
)
def test_what_cannot_be_used_is_refused(dataset, tmp_path, checkpoints, classes, options, message):
    options = {"checkpoint": checkpoints[1]} | options
    if options.get("detector") == "grounding-dino":
        options["detector"] = checkpoints[0]
    with pytest.raises(LabelQualityError, match=message):
        generate(dataset, tmp_path / "run", classes, **options)
    assert dataset.list_runs() == []
    assert not dataset.has_field("pseudo_labels")


@pytest.mark.skipif(not VOC.is_dir(), reason="voc_grounded_sam is not there")
def test_the_published_label_maps_come_out_again(tmp_path):
    """`masks_grounded_sam` from the published segments and the class of each, image by image."""
    names = [line.split()[1] for line in (VOC / "classes.txt").read_text().splitlines()][:21]
    stems = sorted(path.stem for path in (VOC / "superpixels_sam").glob("*.png"))[:40]
    dataset = fo.Dataset()
    samples = []
    for stem in stems:
        segments, labels = (
            read_mask_file(VOC / kind / f"{stem}.png") for kind in ("superpixels_sam", "masks_grounded_sam")
        )
        height, width = segments.shape
        objects = []
        for segment in np.unique(segments[segments > 0]):
            rows, columns = np.nonzero(segments == segment)
            top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
            [value] = np.unique(labels[rows, columns])
            objects.append(
                fo.Detection(
                    label=names[value],
                    bounding_box=[left / width, top / height, (right - left) / width, (bottom - top) / height],
                    mask=(segments == segment)[top:bottom, left:right],
                )
            )
        image = next((VOC / "images").glob(f"{stem}.*"))
        samples.append(fo.Sample(filepath=str(image), found=fo.Detections(detections=objects), stem=stem))
    dataset.add_samples(samples, progress=False)
    generate(dataset, tmp_path / "run", names[1:], instances="found")
    for sample in dataset:
        expected = read_mask_file(VOC / "masks_grounded_sam" / f"{sample.stem}.png")
        np.testing.assert_array_equal(read_mask_file(sample.pseudo_labels.mask_path), expected)
    assert len(dataset) == 40
    dataset.delete()


def test_notes_of_an_image_are_written_last(dataset, tmp_path):
    generate(dataset, tmp_path / "run", ["cat", "dog"], instances="found")
    notes = json.loads(next((tmp_path / "run" / "records").glob("*.json")).read_text())
    assert set(notes) == {"by_class", "painted", "pixels", "unknown"}
