"""Wrong objects are found by way of one mask per image, and say so themselves: by attributes and a tag."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

from fiftyone_plugin import (
    LabelQualityError,
    delete_label_quality_run,
    find_label_errors,
    load_report,
    mark_objects,
    objects_to_masks,
    review_regions,
    score_label_quality,
)
from fiftyone_plugin.dataset.door.scan import require_label_field
from fiftyone_plugin.models.files import opening
from fiftyone_plugin.progress import silent

SIZE, NUM = (40, 60), 10
CAR, TREE = (4, 6, 20, 24), (22, 30, 36, 54)  # top, left, bottom, right
SWAPPED, EXTRA, LARGE, FORGOTTEN = 2, 4, 6, 8


def detection(label, box, *, mask=True, **attributes):
    top, left, bottom, right = box
    bounds = [left / SIZE[1], top / SIZE[0], (right - left) / SIZE[1], (bottom - top) / SIZE[0]]
    pixels = np.ones((bottom - top, right - left), bool) if mask else None
    return fo.Detection(label=label, bounding_box=bounds, mask=pixels, **attributes)


def polygon(label, box, **_):
    top, left, bottom, right = box
    corners = [(left, top), (right - 1, top), (right - 1, bottom - 1), (left, bottom - 1)]
    points = [[((x + 0.5) / SIZE[1], (y + 0.5) / SIZE[0]) for x, y in corners]]
    return fo.Polyline(label=label, points=points, closed=True, filled=True)


def objects_of(number, make, **options):
    """The objects of an image, of which some are wrong."""
    car = "tree" if number == SWAPPED else "Car" if number == 0 else "car"
    large = (4, 6, 38, 26) if number == LARGE else CAR
    made = [make(car, large, **options)]
    if number != FORGOTTEN:
        made.append(make("tree", TREE, **options))
    if number == EXTRA:
        made.append(make("car", (4, 36, 16, 52), **options))
    return made


@pytest.fixture
def build(tmp_path):
    made = []

    def build(label_of):
        dataset = fo.Dataset()
        made.append(dataset)
        rng = np.random.default_rng(0)
        for number in range(NUM):
            truth = np.zeros(SIZE, np.int64)
            for value, (top, left, bottom, right) in ((1, CAR), (2, TREE)):
                truth[top:bottom, left:right] = value
            scores = rng.normal(0, 0.5, (3, *SIZE)) + 4 * (np.arange(3)[:, None, None] == truth)
            probabilities = np.exp(scores) / np.exp(scores).sum(0)
            stem = str(tmp_path / str(number))
            np.save(stem + ".npy", probabilities.astype(np.float32))
            Image.fromarray(np.repeat((truth * 80)[..., None], 3, axis=2).astype(np.uint8)).save(stem + ".png")
            dataset.add_sample(
                fo.Sample(filepath=stem + ".png", probabilities=stem + ".npy", instances=label_of(number))
            )
        return dataset

    yield build
    for dataset in made:
        if not dataset.deleted:
            dataset.delete()


def score(dataset, **options):
    return score_label_quality(dataset, "instances", probabilities="probabilities", progress=silent, **options)


KINDS = {
    "detections": lambda number: fo.Detections(detections=objects_of(number, detection)),
    "polylines": lambda number: fo.Polylines(polylines=objects_of(number, polygon)),
}


def test_wrong_objects_say_so_themselves(build):
    dataset = build(KINDS["detections"])
    report = score(dataset)
    assert dataset.mask_targets["instances_masks"] == {0: "background", 1: "Car", 2: "tree"}
    found = [label.detections for label in dataset.values("instances")]
    found = {(number, place): one for number, objects in enumerate(found) for place, one in enumerate(objects)}
    wrong = {place: (one.label_quality_issue, one.label_quality_suggested) for place, one in found.items()}
    wrong = {place: said for place, said in wrong.items() if said[0] not in (None, "boundary")}
    assert wrong == {
        (SWAPPED, 0): ("wrong_class", "Car"),
        (EXTRA, 2): ("spurious", "background"),
        (LARGE, 0): ("spurious", "background"),
    }
    scores = {place: one.label_quality for place, one in found.items()}
    assert set(sorted(scores, key=scores.__getitem__)[:3]) == set(wrong)
    tagged = {place for place, one in found.items() if one.tags == ["label_quality_issue"]}
    assert tagged == {place for place, one in found.items() if (one.label_quality_issue_score or 0) >= 0.5}
    assert f"{len(tagged)} of 20 objects" in report.markdown()
    assert load_report(dataset).objects == report.objects
    worst = dataset.load_saved_view("label_quality objects").first()
    assert worst.instances.label_quality == min(scores.values())


def test_reviews_are_taken_over_and_deleting_the_run_takes_all_off(build):
    dataset = build(KINDS["detections"])
    dataset.set_values(
        "instances.detections.tags", [[["mine"] for _ in row] for row in dataset.values("instances.detections.label")]
    )
    score(dataset)
    patches = dataset.to_patches("label_quality_regions")
    review_regions(patches.match(F("label_quality_regions.given") == "tree"), "rejected")
    review_regions(patches.match(F("label_quality_regions.given") != "tree"), "accepted")
    report = mark_objects(dataset)
    assert report.by_issue == {"spurious": 2}
    assert report.num_missing == 1
    assert dataset.count_values("instances.detections.tags") == {"mine": 20, "label_quality_issue": 2}
    delete_label_quality_run(dataset, "label_quality")
    assert dataset.count_values("instances.detections.tags") == {"mine": 20}
    assert not dataset.has_field("instances.detections.label_quality")
    assert "label_quality" not in dataset._sample_collection.find_one({})["instances"]["detections"][0]
    assert dataset.list_saved_views() == []


def test_boxes_lines_overlaps_and_objects_without_pixels(build, monkeypatch):
    def label(number):
        return fo.Detections(
            detections=[
                detection("wall", (0, 0, 40, 30)),
                detection("sign", (4, 6, 12, 14)),
                detection("sign", (20, 40, 32, 56), mask=False),
                detection(None, (0, 50, 4, 60)),
                fo.Detection(label="sign", bounding_box=[0.5, 0.5, 0, 0], mask=np.zeros((3, 0), bool)),
            ]
        )

    dataset = build(label)
    report = objects_to_masks(dataset, "instances", progress=silent)
    assert (report.num_objects, report.num_boxes, report.without_pixels, report.without_class) == (40, 10, 10, 10)
    assert [note for note in score(dataset).objects if "boxes without a mask" in note or "without a pixel" in note]
    monkeypatch.setattr(opening, "MAX_PIXELS", 1_000)
    with pytest.raises(LabelQualityError, match=r"at most 1,000 pixels, but .*0.png has 60 x 40"):
        objects_to_masks(dataset, "instances", progress=silent)
    assert report.classes == {0: "background", 1: "sign", 2: "wall"}
    mask = dataset.first().instances_masks.get_mask()
    assert [mask[6, 8], mask[30, 8], mask[26, 48], mask[20, 40], mask[2, 55], mask[39, 59]] == [1, 2, 1, 255, 255, 0]
    assert dataset.mask_targets["instances_masks"][255] == "void"
    assert 0 < report.overlapping < 0.1
    assert len(report.notes()) == 4


def test_one_object_an_image_and_open_lines(build):
    points = [[(0.1, 0.5), (0.9, 0.5)]]
    dataset = build(lambda number: fo.Polyline(label="lane", points=points, closed=False, filled=False))
    report = objects_to_masks(dataset, "instances", progress=silent)
    assert report.classes == {0: "background", 1: "lane"}
    assert 40 < int((dataset.first().instances_masks.get_mask() == 1).sum()) < 120


def test_a_field_of_single_objects_is_marked_and_cleaned_like_a_list(build):
    dataset = build(lambda number: objects_of(number, detection)[0])
    report = score(dataset)
    issues = dataset.values("instances.label_quality_issue")
    assert issues[SWAPPED] == "wrong_class"
    assert (
        dataset.load_saved_view("label_quality objects").first().filepath
        == dataset[SWAPPED : SWAPPED + 1].first().filepath
    )
    assert "of 10 objects" in report.markdown()
    delete_label_quality_run(dataset, "label_quality")
    assert not dataset.has_field("instances.label_quality")
    assert set(dataset.first().instances.to_dict()) & {"label_quality", "label_quality_issue"} == set()
    assert dataset.count_values("instances.tags") == {}


def test_masks_of_other_samples_stay_when_a_view_is_converted(build):
    dataset = build(KINDS["detections"])
    objects_to_masks(dataset[:4], "instances", progress=silent)
    objects_to_masks(dataset[3:5], "instances", progress=silent)
    assert dataset.exists("instances_masks").count() == 5


def test_other_jobs_say_what_to_call(build):
    dataset = build(KINDS["detections"])
    with pytest.raises(LabelQualityError, match=r"objects_to_masks\(dataset, 'instances'\)"):
        require_label_field(dataset, "instances")
    dataset.add_sample_field("instances.detections.label_quality", fo.FloatField)
    with pytest.raises(LabelQualityError, match="choose another `key`"):
        score(dataset)


def test_one_call_finds_wrong_objects(build):
    dataset = build(KINDS["polylines"])
    folder = dataset.first().filepath.rpartition("/")[0]
    report = find_label_errors(dataset, "instances", model=f"probabilities:{folder}", check=False, progress=silent)
    assert report.scoring.objects
    assert dataset.count_values("instances.polylines.label_quality_issue")["wrong_class"] == 1
