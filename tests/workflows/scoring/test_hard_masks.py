"""A second mask stands for a model: scores, flags, regions, and a metric of FiftyOne's own evaluation."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin import quality, score_label_quality
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent

WRONG = 2
METRIC = "@label-quality/segmentation/label_quality_metric"


def score(dataset, folder, **arguments):
    options = {"predictions": "second", "output_dir": str(folder), "progress": silent} | arguments
    return score_label_quality(dataset, "ground_truth", **options)


def add_second(dataset, folder, change=lambda mask: mask):
    """The masks of a second annotator, who knows the truth."""
    folder.mkdir()
    for number, sample in enumerate(dataset):
        truth = (np.load(sample.probabilities).argmax(0) + 1).astype(np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(change(truth)).save(path)
        sample["second"] = fo.Segmentation(mask_path=str(path))
        sample.save()
    return dataset


@pytest.fixture
def dataset(make_dataset, tmp_path):
    return add_second(make_dataset(6, wrong=(WRONG,)), tmp_path / "second")


def test_the_image_on_which_the_two_differ_comes_out_worst(dataset, tmp_path):
    report = score(dataset, tmp_path / "run")
    assert dataset.sort_by("label_quality").first().filepath.endswith(f"{WRONG}.png")
    assert report.pairs[0][:2] == ("car", "road")
    worst = dataset.load_saved_view("label_quality regions").first()
    assert worst.filepath.endswith(f"{WRONG}.png")
    assert (worst.label_quality_regions.given, worst.label_quality_regions.suggested) == ("car", "road")
    assert dataset.values("label_quality_num_regions")[WRONG] > 0


def test_the_outputs_are_those_of_the_array_api(dataset, tmp_path):
    score(dataset, tmp_path / "run")
    labels, probs = [], []
    for sample in dataset:
        given = sample.ground_truth.get_mask()
        labels.append(np.where(given == 255, 255, given - 1))
        probs.append(quality.hard_mask_probabilities(sample.second.get_mask() - 1, 3))
    assert np.allclose(dataset.values("label_quality"), quality.image_scores(labels, probs)["softmin"])
    expected = quality.issue_regions(labels, probs)
    assert dataset.count("label_quality_regions.detections") == len(expected)


def test_masks_of_other_sizes(make_dataset, tmp_path):
    same, large = make_dataset(4), make_dataset(4)
    add_second(same, tmp_path / "same")
    add_second(large, tmp_path / "large", lambda mask: mask.repeat(3, 0).repeat(3, 1))
    score(same, tmp_path / "a")
    score(large, tmp_path / "b")
    assert same.values("label_quality") == large.values("label_quality")


def test_a_mask_of_another_shape_is_left_out_with_the_reason(dataset, tmp_path):
    Image.fromarray(np.ones((32, 24), np.uint8)).save(dataset.last().second.mask_path)
    report = score(dataset, tmp_path / "run")
    assert report.num_scored == 5
    assert "32x24" in report.skipped[0][2]


def test_where_the_second_annotator_said_nothing_the_label_is_not_judged(make_dataset, tmp_path):
    def void(mask):
        mask = mask.copy()
        mask[:, :16] = 255
        return mask

    dataset = add_second(make_dataset(6, wrong=(WRONG,)), tmp_path / "second", void)
    report = score(dataset, tmp_path / "run")
    assert report.num_regions == 0, "the wrong half of the road is where the second annotator said nothing"
    assert report.num_pixels == 6 * 23 * 16


def test_values_without_targets_are_those_of_both_fields(make_dataset, tmp_path):
    dataset = add_second(make_dataset(3, wrong=()), tmp_path / "second", lambda mask: np.where(mask == 2, 9, mask))
    dataset.mask_targets = {}
    dataset.save()
    report = score(dataset, tmp_path / "run")
    assert report.classes == ["1", "2", "3", "9"]
    assert ("2", "9") in {(given, predicted) for given, predicted, _ in report.pairs}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"predictions": "nope"}, r"Segmentation fields \['second'\] beside 'ground_truth', but got 'nope'"),
        ({"predictions": "ground_truth"}, r"\['second'\].*but got 'ground_truth'"),
        ({"probabilities": "probabilities"}, "but got `probabilities` and `predictions`"),
        ({"predictions": None}, "but got none.*train_cross_validated"),
    ],
)
def test_wrong_sources_are_refused(dataset, tmp_path, arguments, message):
    with pytest.raises(LabelQualityError, match=message):
        score(dataset, tmp_path / "run", **arguments)


def test_a_class_that_the_second_field_does_not_name_is_refused_by_name(dataset, tmp_path):
    dataset.mask_targets = {**dataset.mask_targets, "second": {1: "road", 2: "bus", 3: "tree"}}
    dataset.save()
    with pytest.raises(LabelQualityError, match=r"none for car .*channels left: bus.*class_mapping"):
        score(dataset, tmp_path / "run")
    assert score(dataset, tmp_path / "run", class_mapping={2: "car"}).pairs[0][:2] == ("car", "road")


@pytest.mark.parametrize(
    ("order", "targets", "default"),
    [
        ([0, 30, 10, 20], {10: "Car", 20: "tree", 30: "road"}, {}),
        ([0, 3, 1, 2], None, {1: "car", 2: "tree", 3: "road"}),
    ],
    ids=["other values, equal names", "the default names of the dataset"],
)
def test_fields_of_other_values_are_matched_by_name(dataset, tmp_path, order, targets, default):
    for sample in dataset:
        mask = np.array(order, np.uint8)[sample.second.get_mask()]
        Image.fromarray(mask).save(sample.second.mask_path)
    own = {"second": targets} if targets else {}
    dataset.mask_targets, dataset.default_mask_targets = {**dataset.mask_targets, **own}, default
    dataset.save()
    report = score(dataset, tmp_path / "run", write_regions=False)
    assert report.pairs[0][:2] == ("car", "road")
    assert int(np.argmin(dataset.values("label_quality"))) == WRONG


@pytest.mark.parametrize(("given", "second"), [([0, 255], [0, 1]), ([0, 1], [0, 255]), ([0, 255], [0, 255])])
def test_two_binary_fields_need_no_names(make_dataset, tmp_path, given, second):
    dataset = add_second(make_dataset(4, wrong=(WRONG,)), tmp_path / "second")
    dataset.mask_targets = {}
    dataset.save()
    for sample in dataset:
        for label, values in ((sample.ground_truth, given), (sample.second, second)):
            Image.fromarray(np.array(values, np.uint8)[(label.get_mask() == 2) * 1]).save(label.mask_path)
    report = score(dataset, tmp_path / "run", write_regions=False)
    assert report.classes == [str(value) for value in given]
    assert int(np.argmin(dataset.values("label_quality"))) == WRONG


def test_an_unknown_value_is_named(dataset, tmp_path):
    for sample in dataset:
        mask = sample.second.get_mask().copy()
        mask[5, 5] = 77
        Image.fromarray(mask).save(sample.second.mask_path)
    with pytest.raises(LabelQualityError, match=r"among 1, 2, 3, but got 77"):
        score(dataset, tmp_path / "run")


def test_metric_of_evaluate_segmentations(dataset):
    before = set(dataset.get_field_schema())
    results = dataset.evaluate_segmentations(
        "second", gt_field="ground_truth", eval_key="eval", custom_metrics=[METRIC], progress=False
    )
    names = [f"eval_label_{name}" for name in ("error_share", "regions", "softmin")]
    shares, counts, scores = dataset.values(names)
    given = np.stack([sample.ground_truth.get_mask() for sample in dataset]).astype(int)
    truth = np.stack([sample.second.get_mask() for sample in dataset]).astype(int)
    wrong = ((given != truth) & (given != 255)).sum((1, 2)) / (given != 255).sum((1, 2))
    assert shares[WRONG] == pytest.approx(wrong[WRONG], rel=0.2)
    assert np.argmax(shares) == np.argmin(scores) == WRONG
    assert counts[WRONG] >= 1
    assert [c for i, c in enumerate(counts) if i != WRONG] == [0] * 5
    metrics = results.metrics()
    assert metrics["label_error_share"] == pytest.approx(np.mean(shares))
    assert metrics["label_regions"] == pytest.approx(np.mean(counts))
    assert metrics["label_softmin"] == pytest.approx(np.mean(scores))
    loaded = dataset.load_evaluation_results("eval", cache=False).metrics()
    assert loaded["label_error_share"] == metrics["label_error_share"]
    dataset.rename_evaluation("eval", "other")
    assert dataset.values("other_label_softmin") == scores
    dataset.delete_evaluation("other")
    assert set(dataset.get_field_schema()) == before


def test_metric_without_a_key_writes_nothing(dataset):
    before = set(dataset.get_field_schema())
    results = dataset.evaluate_segmentations(
        "second", gt_field="ground_truth", custom_metrics={METRIC: {"ignore_index": ["tree", 255]}}, progress=False
    )
    assert 0 < results.metrics()["label_error_share"] < 1
    assert set(dataset.get_field_schema()) == before


@pytest.mark.parametrize("targets", [{1: "road", 2: "car", 3: "tree"}, {2: "car", 1: "road"}], ids=["all", "some"])
def test_the_metric_takes_the_targets_of_the_evaluation(dataset, targets):
    dataset.mask_targets = {"ground_truth": {7: "another table"}}
    dataset.save()
    results = dataset.evaluate_segmentations(
        "second", gt_field="ground_truth", mask_targets=targets, custom_metrics=[METRIC], progress=False
    )
    given = np.stack([sample.ground_truth.get_mask() for sample in dataset])
    truth = np.stack([sample.second.get_mask() for sample in dataset])
    judged = np.isin(given, list(targets)) & np.isin(truth, list(targets))
    share = (((given != truth) & judged).sum((1, 2)) / judged.sum((1, 2))).mean()
    assert results.metrics()["label_error_share"] == pytest.approx(share, rel=0.2)


@pytest.mark.parametrize("targets", [None, {"#010101": "road", "#020202": "car", "#030303": "tree"}])
def test_the_metric_reads_colours_as_the_evaluation_does(dataset, tmp_path, targets):
    before = dataset.evaluate_segmentations(
        "second", gt_field="ground_truth", custom_metrics=[METRIC], progress=False
    ).metrics()
    dataset.mask_targets = {}
    dataset.save()
    colours = np.arange(256, dtype=np.uint8)[:, None] * np.array([1, 1, 1], np.uint8)
    for sample in dataset:
        for name in ("ground_truth", "second"):
            sample[name] = fo.Segmentation(mask=colours[sample[name].get_mask()])
        sample.save()
    after = dataset.evaluate_segmentations(
        "second", gt_field="ground_truth", mask_targets=targets, custom_metrics=[METRIC], progress=False
    ).metrics()
    assert targets is None or after["label_error_share"] == pytest.approx(before["label_error_share"])
    assert after["label_error_share"] > 0
