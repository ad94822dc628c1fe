"""A run says where the label is wrong, what kind of error it is and what it should be, as Detections with masks."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

from fiftyone_plugin import delete_label_quality_run, load_report, quality, score_label_quality
from fiftyone_plugin.dataset.fields import appearance
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.scoring import sources, stages

WRONG = 2


def score(dataset, folder, **arguments):
    options = {"probabilities": "probabilities", "output_dir": str(folder), "progress": silent} | arguments
    return score_label_quality(dataset, "ground_truth", **options)


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(6, wrong=(WRONG,))


def predict(sample, classes):
    """Write probabilities that are sure of the given (H, W) class indices."""
    probs = np.full((3, *classes.shape), 0.05, np.float32)
    np.put_along_axis(probs, classes[None], 0.9, axis=0)
    np.save(sample.probabilities, probs)


def agree(dataset):
    """Predictions that say what the labels say."""
    for sample in dataset:
        given = sample.ground_truth.get_mask().astype(int)
        predict(sample, np.where(given == 255, 0, given - 1))


def test_the_regions_are_those_of_the_array_api(dataset, tmp_path):
    report = score(dataset, tmp_path / "run")
    labels, probs = [], []
    for sample in dataset:
        given = sample.ground_truth.get_mask().astype(int)
        labels.append(np.where(given == 255, 255, given - 1))
        probs.append(np.load(sample.probabilities))
    expected = quality.issue_regions(labels, probs)
    assert report.num_regions == len(expected) > 0
    assert sum(report.regions_by_kind.values()) == len(expected)
    names = {0: "road", 1: "car", 2: "tree"}
    written = {(index, d.row): d for index, s in enumerate(dataset) for d in s.label_quality_regions.detections}
    for region in expected:
        rows = [r for r in expected if r.image_index == region.image_index]
        found = written[region.image_index, rows.index(region)]
        top, left, bottom, right = region.bbox
        assert found.bounding_box == pytest.approx([left / 32, top / 24, (right - left) / 32, (bottom - top) / 24])
        assert (found.label, found.given, found.suggested) == (
            region.kind,
            names[region.given],
            names[region.suggested],
        )
        assert (found.score, found.area) == (pytest.approx(region.score), region.area)
        assert (found.status, found.reviewed_at, found.reviewer) == ("pending", None, None)
        assert found.mask is None
        assert np.array_equal(found.get_mask() > 0, region.mask)
        assert set(np.unique(np.array(Image.open(found.mask_path)))) <= {0, 255}


def test_the_wrong_half_of_the_road_is_the_worst_region(dataset, tmp_path):
    score(dataset, tmp_path / "run")
    worst = dataset.load_saved_view("label_quality regions").first()
    assert worst.filepath.endswith(f"{WRONG}.png")
    assert (worst.label_quality_regions.given, worst.label_quality_regions.suggested) == ("car", "road")


def test_masks_are_on_the_disk_before_anything_names_them(dataset, tmp_path, monkeypatch):
    waited_for = []

    def all_on_disk(folders):
        assert not dataset.has_field("label_quality_regions")
        waited_for.extend(str(path) for folder in folders if folder.is_dir() for path in folder.iterdir())

    monkeypatch.setattr(stages, "all_on_disk", all_on_disk)
    score(dataset, tmp_path / "run")
    named = dataset.values("label_quality_regions.detections.mask_path", unwind=True)
    assert set(named) == set(waited_for) != set()


def test_a_model_is_asked_about_one_image_and_not_about_a_batch():
    asked = []

    class Source:
        def probes(self, images, count):
            return images[:count]

        def stream(self, images):
            asked.extend(images)
            yield from ((image, ValueError("unreadable") if image == "a" else np.zeros((3, 2, 2))) for image in images)

    assert sources._channels_of(Source(), ["a", "b", "c", "d"]) == 3
    assert asked == ["a", "b"]


def test_every_image_lists_its_regions_worst_first(dataset, tmp_path):
    rng = np.random.default_rng(0)
    for sample in dataset:
        truth = np.load(sample.probabilities).argmax(0)
        truth[rng.integers(0, 24, 6), rng.integers(0, 32, 6)] = 2
        predict(sample, truth)
    score(dataset, tmp_path / "run", min_region_area=1)
    for sample in dataset:
        scores = [region.score for region in sample.label_quality_regions.detections]
        assert len(scores) == sample.label_quality_num_regions > 2
        assert scores == sorted(scores, reverse=True)
        assert [region.row for region in sample.label_quality_regions.detections] == list(range(len(scores)))


def test_fields_are_declared_for_the_sidebar(dataset, tmp_path):
    score(dataset, tmp_path / "run")
    schema = dataset.get_field_schema(flat=True)
    expected = {
        "given": fo.StringField, "suggested": fo.StringField, "score": fo.FloatField, "area": fo.IntField,
        "status": fo.StringField, "reviewer": fo.StringField, "reviewed_at": fo.DateTimeField, "label": fo.StringField,
    }  # fmt: skip
    for name, kind in expected.items():
        field = schema[f"label_quality_regions.detections.{name}"]
        assert isinstance(field, kind)
        assert field.description
    assert isinstance(schema["label_quality_num_regions"], fo.IntField)
    assert "label_quality_num_regions" in dataset.list_indexes()
    assert {"label_quality_regions", "label_quality_num_regions"} <= set(load_report(dataset).fields)
    assert "label_quality_regions" in dataset.app_config.active_fields.paths
    entry = next(e for e in dataset.app_config.color_scheme.fields if e["path"] == "label_quality_regions")
    assert {row["value"] for row in entry["valueColors"]} == set(quality.KINDS) == set(appearance.KIND_COLORS)
    assert entry["colorByAttribute"] == "kind"


def test_filters_of_fiftyone_work_on_the_regions(dataset, tmp_path):
    report = score(dataset, tmp_path / "run")
    cars = dataset.filter_labels("label_quality_regions", F("given") == "car")
    assert [Path(path).stem for path in cars.values("filepath")] == [str(WRONG)]
    patches = dataset.to_patches("label_quality_regions")
    assert len(patches) == report.num_regions
    assert patches.first().label_quality_regions.get_mask().any()


def test_the_saved_view_lists_the_worst_first(dataset, tmp_path):
    report = score(dataset, tmp_path / "run")
    assert report.views[2] == "label_quality regions"
    view = dataset.load_saved_view("label_quality regions")
    scores = view.values("label_quality_regions.score")
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == report.num_regions


def test_no_disagreement_gives_no_regions_and_says_so(dataset, tmp_path):
    agree(dataset)
    report = score(dataset, tmp_path / "run")
    assert report.num_regions == 0
    assert "no regions" in report.markdown()
    assert dataset.values("label_quality_num_regions") == [0] * 6
    assert dataset.count("label_quality_regions.detections") == 0
    assert not dataset.has_saved_view("label_quality regions")


def test_a_region_of_one_pixel(dataset, tmp_path):
    agree(dataset)
    sample = dataset.first()
    given = sample.ground_truth.get_mask().astype(int)
    predicted = np.where(given == 255, 0, given - 1)
    predicted[20, 30] = 2
    predict(sample, predicted)
    report = score(dataset, tmp_path / "run", min_region_area=1)
    assert report.num_regions == 1
    (region,) = dataset.first().label_quality_regions.detections
    assert region.area == 1
    assert region.bounding_box == pytest.approx([30 / 32, 20 / 24, 1 / 32, 1 / 24])
    assert region.get_mask().tolist() == [[255]]


def test_labels_of_one_class_only(dataset, tmp_path):
    for sample in dataset:
        Image.fromarray(np.ones((24, 32), np.uint8)).save(sample.ground_truth.mask_path)
    report = score(dataset, tmp_path / "run")
    assert report.num_regions > 0
    assert dataset.distinct("label_quality_regions.detections.given") == ["road"]
    assert report.regions_by_kind.keys() <= {"missing", "wrong_class", "boundary"}


def test_ignored_pixels_only_have_no_regions(dataset, tmp_path):
    sample = dataset.last()
    Image.fromarray(np.full((24, 32), 255, np.uint8)).save(sample.ground_truth.mask_path)
    score(dataset, tmp_path / "run")
    assert dataset.last().label_quality_num_regions == 0


def speckle(sample):
    """Predictions with hundreds of lone wrong pixels."""
    given = sample.ground_truth.get_mask().astype(int)
    predicted = np.where(given == 255, 0, given - 1)
    predicted[2::3, ::3] = (predicted[2::3, ::3] + 1) % 3
    predict(sample, predicted)


def test_regions_beyond_the_limit_are_counted_and_said(dataset, tmp_path):
    agree(dataset)
    speckle(dataset.first())
    every = score(dataset, tmp_path / "a", key="every", min_region_area=1)
    assert every.num_regions > 60
    assert every.dropped == 0
    few = score(dataset, tmp_path / "b", key="few", min_region_area=1, max_regions_per_image=7)
    assert few.num_regions == 7
    assert few.dropped == every.num_regions - 7
    assert any(f"{few.dropped} regions with lower scores left out" in warning for warning in few.warnings)
    assert f"not among them: {few.dropped} regions" in few.markdown()
    kept = dataset.first().few_regions.detections
    best = dataset.first().every_regions.detections[:7]
    assert [region.score for region in kept] == [region.score for region in best]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_regions_per_image": 0}, r"max_regions_per_image.*from 1 to 10,000, but got 0"),
        ({"max_regions_per_image": 10**6}, r"max_regions_per_image.*1000000.*min_region_area"),
        ({"min_region_area": 0}, r"min_region_area.*at least 1, or None, but got 0"),
        ({"min_region_area": 1.5}, r"min_region_area.*1\.5"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_happens(dataset, tmp_path, arguments, message):
    with pytest.raises(LabelQualityError, match=message):
        score(dataset, tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()
    assert dataset.list_runs() == []


def test_without_regions(dataset, tmp_path):
    report = score(dataset, tmp_path / "run", write_regions=False)
    assert report.num_regions is None
    assert "region" not in report.markdown()
    assert not dataset.has_field("label_quality_regions")
    assert not (tmp_path / "run" / "regions").exists()


def test_deleting_the_run_deletes_its_regions(dataset, tmp_path):
    score(dataset, tmp_path / "run")
    assert list((tmp_path / "run" / "regions").glob("*.npz"))
    delete_label_quality_run(dataset, "label_quality")
    assert not (tmp_path / "run").exists()
    assert not dataset.has_field("label_quality_regions")
    assert not dataset.has_saved_view("label_quality regions")
    assert not [e for e in dataset.app_config.color_scheme.fields if e["path"] == "label_quality_regions"]


def test_an_interrupted_run_goes_on_with_its_regions(dataset, tmp_path):
    class Interrupted(Exception):
        pass

    def stop(done, total, label):
        if label == "drawing regions" and done == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        score(dataset, tmp_path / "run", progress=stop)
    assert not dataset.has_field("label_quality_regions")
    found = sorted((tmp_path / "run" / "regions").glob("*.npz"))
    assert len(found) == 6
    found[0].unlink()
    kept = [path for path in (tmp_path / "run" / "records").glob("*.npz") if found[0].stem not in path.name]
    times = {path: path.stat().st_mtime_ns for path in kept}
    assert len(times) == 5
    report = score(dataset, tmp_path / "run")
    assert report.num_resumed == 5, "an image whose regions are gone must be computed again"
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    score(dataset, tmp_path / "fresh", key="fresh")
    assert dataset.values("label_quality_regions.detections.score") == dataset.values("fresh_regions.detections.score")


def test_other_options_start_over(dataset, tmp_path):
    def stop(done, total, label):
        if label == "drawing regions":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(dataset, tmp_path / "run", progress=stop)
    assert score(dataset, tmp_path / "run", max_regions_per_image=3).num_resumed == 0


def test_what_the_panel_needs_is_in_the_record(dataset, tmp_path):
    report = score(dataset, tmp_path / "run")
    given = np.concatenate([sample.ground_truth.get_mask().ravel() for sample in dataset])
    names = {"road": 1, "car": 2, "tree": 3}
    assert report.class_pixels == {name: int((given == value).sum()) for name, value in names.items()}
    assert report.num_pixels == int((given != 255).sum())
    assert load_report(dataset) == report


def test_masks_of_half_the_size_have_boxes_in_place(dataset, tmp_path):
    for sample in dataset:
        mask = sample.ground_truth.get_mask()[::2, ::2]
        Image.fromarray(mask).save(sample.ground_truth.mask_path)
        np.save(sample.probabilities, np.load(sample.probabilities)[:, ::2, ::2])
    score(dataset, tmp_path / "run")
    region = dataset.skip(WRONG).first().label_quality_regions.detections[0]
    x, y, width, height = region.bounding_box
    assert x == 0
    assert width <= 0.5 + 1 / 16
    assert y + height == 1
