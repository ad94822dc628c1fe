"""One call scores a dataset: right order, all fields of the contract, nothing half done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin import delete_label_quality_run, load_report, quality, score_label_quality
from fiftyone_plugin.dataset.runs import files
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.scoring import scoring_warnings

WRONG = 2


def score(dataset, folder, **arguments):
    options = {"probabilities": "probabilities", "output_dir": str(folder), "progress": silent} | arguments
    return score_label_quality(dataset, "ground_truth", **options)


def state(dataset):
    """Everything about a dataset that a refused run must not have changed."""
    return (
        set(dataset.get_field_schema()),
        dataset.list_runs(),
        dataset.list_saved_views(),
        dict(dataset.mask_targets),
        dataset.list_indexes(),
    )


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(6, wrong=(WRONG,))


def test_the_wrong_image_comes_out_worst(dataset, tmp_path):
    report = score(dataset, tmp_path / "run")
    worst = dataset.sort_by("label_quality").first()
    assert worst.filepath.endswith(f"{WRONG}.png")
    assert report.worst[0].sample_id == worst.id
    assert report.pairs[0][:2] == ("car", "road")
    assert report.num_scored == 6
    assert report.skipped == []


def test_fields_are_those_of_the_contract(dataset, tmp_path):
    score(dataset, tmp_path / "run", methods=quality.METHODS)
    schema = dataset.get_field_schema()
    assert isinstance(schema["label_quality"], fo.FloatField)
    for method in quality.METHODS:
        assert isinstance(schema[f"label_quality_{method}"], fo.FloatField)
    assert {"label_quality", "label_quality_softmin"} <= set(dataset.list_indexes())
    sample = dataset.sort_by("label_quality").first()
    assert sample.label_quality == sample.label_quality_softmin
    assert 0 <= dataset.bounds("label_quality")[0] <= dataset.bounds("label_quality")[1] <= 1
    issues = sample.label_quality_issues
    assert isinstance(issues, fo.Segmentation)
    assert issues.mask is None
    assert set(np.unique(issues.get_mask())) <= {0, 1}
    heatmap = sample.label_quality_map
    assert isinstance(heatmap, fo.Heatmap)
    assert heatmap.map is None
    assert heatmap.range == [0, 1]
    assert dataset.mask_targets["label_quality_issues"] == {1: "issue"}
    assert dataset.app_config.color_scheme.color_by == "value"


def test_the_flags_are_those_of_the_array_api(dataset, tmp_path):
    score(dataset, tmp_path / "run")
    labels, probs = [], []
    for sample in dataset:
        given = sample.ground_truth.get_mask()
        labels.append(np.where(given == 255, 255, given - 1))
        probs.append(np.load(sample.probabilities))
    expected = quality.label_issues(labels, probs)
    assert sum(flags.sum() for flags in expected) > 50
    for sample, flags in zip(dataset, expected, strict=True):
        assert np.array_equal(sample.label_quality_issues.get_mask().astype(bool), flags)
    scores = quality.image_scores(labels, probs)["softmin"]
    assert np.allclose(dataset.values("label_quality"), scores, atol=1e-12)


def test_views_and_report_are_kept(dataset, tmp_path):
    report = score(dataset, tmp_path / "run")
    assert load_report(dataset) == report
    assert dataset.load_saved_view(report.views[0]).first().filepath.endswith(f"{WRONG}.png")
    flagged = dataset.load_saved_view(report.views[1])
    assert flagged.first().filepath.endswith(f"{WRONG}.png")
    assert 0 < len(flagged) <= len(dataset)


def test_a_view_is_scored_alone(dataset, tmp_path):
    score(dataset.limit(3), tmp_path / "run")
    assert dataset.count("label_quality") == 3
    assert dataset.values("label_quality")[3:] == [None] * 3


def test_deleting_a_run_leaves_the_dataset_as_it_was(dataset, tmp_path):
    before = state(dataset)
    report = score(dataset, tmp_path / "run")
    (tmp_path / "run" / "mine.txt").write_text("not the run's")
    assert state(dataset) != before
    delete_label_quality_run(dataset, "label_quality")
    assert state(dataset) == before
    assert not [name for sample in dataset for name in sample.field_names if name.startswith("label_quality")]
    assert [path.name for path in Path(report.output_dir).iterdir()] == ["mine.txt"]
    scheme = dataset.app_config.color_scheme
    assert not [entry for entry in scheme.fields if entry["path"].startswith("label_quality")]


def test_deleting_a_run_of_a_clone_keeps_the_files_of_the_original(dataset, tmp_path):
    score(dataset, tmp_path / "run")
    clone = dataset.clone()
    try:
        delete_label_quality_run(clone, "label_quality")
        assert not clone.has_field("label_quality_map")
        assert Path(dataset.first().label_quality_map.map_path).exists()
    finally:
        clone.delete()


def test_a_class_that_the_model_does_not_know_is_named(dataset, tmp_path):
    for sample in dataset:
        probs = np.load(sample.probabilities)
        probs[0] += probs[2]  # every tree is called road
        probs[2] = 0
        np.save(sample.probabilities, probs)
    report = score(dataset, tmp_path / "run")
    assert any("hardly recognises tree (0.00)" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("confusion", "blind", "words"),
    [
        ([[90, 60], [100, 0]], [], "labels of tree look wrong nearly everywhere"),
        ([[90, 5], [100, 0]], [], "hardly recognises tree (0.10)"),
        ([[90, 5], [100, 0]], [0], "Errors in road, put into these labels on purpose"),
    ],
)
def test_labels_that_are_wrong_everywhere_are_told_from_a_class_that_the_model_does_not_know(confusion, blind, words):
    findings = SimpleNamespace(
        class_scores=lambda classes: {"road": 0.9, "tree": 0.1},
        totals=SimpleNamespace(class_pixels=np.array([150, 100])),
        confusion=np.array(confusion),
        judge=SimpleNamespace(blind_classes=blind),
    )
    assert words in " ".join(scoring_warnings._class_warnings(findings, SimpleNamespace(names=["road", "tree"])))


def test_two_keys_live_side_by_side(dataset, tmp_path):
    score(dataset, tmp_path / "a", key="first")
    score(dataset, tmp_path / "b", key="second", score="iou")
    delete_label_quality_run(dataset, "first")
    assert not dataset.has_field("first")
    assert dataset.count("second") == 6
    assert Path(dataset.first().second_map.map_path).exists()


@pytest.mark.parametrize("method", quality.METHODS)
def test_any_method_can_be_the_score(dataset, tmp_path, method):
    score(dataset, tmp_path / "run", score=method, methods=[method])
    assert dataset.values("label_quality") == dataset.values(f"label_quality_{method}")


def test_masks_in_the_database_give_the_same_scores(make_dataset, tmp_path):
    on_disk, inside = make_dataset(4), make_dataset(4, store="database")
    score(on_disk, tmp_path / "a")
    score(inside, tmp_path / "b")
    assert on_disk.values("label_quality") == inside.values("label_quality")


def test_sixteen_bit_and_rgb_masks_give_the_same_scores(make_dataset, tmp_path):
    plain, deep, rgb = make_dataset(4), make_dataset(4), make_dataset(4)
    colors = {1: (255, 0, 0), 2: (0, 255, 0), 3: (0, 0, 255), 255: (0, 0, 0)}
    for sample in deep:
        mask = sample.ground_truth.get_mask().astype(np.uint16)
        Image.fromarray(np.where(mask == 255, 255, mask * 300).astype(np.uint16)).save(sample.ground_truth.mask_path)
    deep.mask_targets = {"ground_truth": {300: "road", 600: "car", 900: "tree"}}
    for sample in rgb:
        mask = sample.ground_truth.get_mask()
        image = np.zeros((*mask.shape, 3), np.uint8)
        for value, color in colors.items():
            image[mask == value] = color
        Image.fromarray(image).save(sample.ground_truth.mask_path)
    rgb.mask_targets = {"ground_truth": {"#ff0000": "road", "#00ff00": "car", "#0000ff": "tree", "#000000": "void"}}
    by_channel = {0: "road", 1: "car", 2: "tree"}
    for number, dataset in enumerate((plain, deep, rgb)):
        score(dataset, tmp_path / str(number), class_mapping=by_channel)
    assert plain.values("label_quality") == deep.values("label_quality") == rgb.values("label_quality")


class Interrupted(Exception):
    """Stands for a closed laptop."""


def test_an_interrupted_run_goes_on_where_it_stopped(dataset, tmp_path):
    before = state(dataset)

    def stop(done, total, label):
        if label == "scoring labels" and done == 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        score(dataset, tmp_path / "run", progress=stop)
    assert state(dataset) == before
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "records").iterdir()}
    assert len(records) >= 4  # those that were being written when it stopped are finished
    edited = dataset.skip(1).first()
    mask = edited.ground_truth.get_mask()
    mask[5] = 2
    Image.fromarray(mask).save(edited.ground_truth.mask_path)
    report = score(dataset, tmp_path / "run")
    assert report.num_resumed == len(records) - 1, "the image whose mask was edited meanwhile must be computed again"
    kept = [path for path, time in records.items() if path.exists() and path.stat().st_mtime_ns == time]
    assert len(kept) == len(records) - 1, "of the edited image nothing old may stay"
    fresh = score(dataset, tmp_path / "fresh", key="fresh")
    assert dataset.values("label_quality") == dataset.values("fresh")
    assert fresh.num_resumed == 0


def test_a_model_whose_state_cannot_be_told_is_run_again(dataset, tmp_path):
    shown = open(dataset.first().filepath, "rb")  # what it closes over keeps its state out of sight  # noqa: SIM115

    def model(images):
        shown.tell()
        return images.new_zeros(len(images), 3, *images.shape[2:]) + 1 / 3

    def stop(done, total, label):
        if label == "scoring labels" and done == 4:
            raise Interrupted

    options = {"model": model, "probabilities": None, "from_logits": False}
    with shown:
        with pytest.raises(Interrupted):
            score(dataset, tmp_path / "run", progress=stop, **options)
        report = score(dataset, tmp_path / "run", **options)
    assert report.num_resumed == 0
    assert any("cannot be told whether the model is the one" in warning for warning in report.warnings)


def test_unusable_samples_are_named_and_left_out(dataset, tmp_path):
    broken, missing = dataset.first(), dataset.last()
    Path(broken.ground_truth.mask_path).write_bytes(b"broken")
    missing["probabilities"] = None
    missing.save()
    report = score(dataset, tmp_path / "run")
    assert report.num_scored == 4
    reasons = {path: reason for _, path, reason in report.skipped}
    assert "unreadable mask" in reasons[broken.filepath]
    assert "no probability file" in reasons[missing.filepath]
    assert dataset.count("label_quality") == 4


def test_files_of_another_shape_are_what_is_said_first_and_once(dataset, tmp_path):
    for sample in dataset.skip(1):
        np.save(sample.probabilities, np.load(sample.probabilities)[:, :, :9])
    report = score(dataset, tmp_path / "run", write_regions=False)
    said = next(iter(report.warnings))
    assert said.startswith(f"Left out: 5 of 6 images, for instance {dataset.skip(1).first().filepath}: Expected")
    text = report.markdown()
    assert text.count("Left out") == text.count(str(report.skipped[0][1])) == 1
    assert load_report(dataset).warnings[0] == said  # the panel and the HTML report show the warnings


def test_a_few_that_are_left_out_are_no_warning(dataset, tmp_path):
    _replace(dataset.last(), lambda p: p[:, :7])
    report = score(dataset, tmp_path / "run", write_regions=False)
    assert not any("Left out" in warning for warning in report.warnings)
    assert f"- Left out: 1 of 6 images, for instance {dataset.last().filepath}: Expected" in report.markdown()


def test_ignored_pixels_only(dataset, tmp_path):
    sample = dataset.last()
    Image.fromarray(np.full((24, 32), 255, np.uint8)).save(sample.ground_truth.mask_path)
    report = score(dataset, tmp_path / "run")
    sample.reload()
    assert sample.label_quality is None
    assert any("ignored pixels only" in warning for warning in report.warnings)
    assert not sample.label_quality_issues.get_mask().any()


def test_a_file_of_other_classes_is_named_and_read_again_once_repaired(dataset, tmp_path):
    first = dataset.first()
    given = np.load(first.probabilities)
    np.save(first.probabilities, np.concatenate([given, given]) / 2)
    ((_, path, reason),) = score(dataset, tmp_path / "run").skipped
    assert path == first.filepath
    assert "Expected probabilities of 3 classes" in reason
    np.save(first.probabilities, given)
    assert score(dataset, tmp_path / "run", overwrite=True).skipped == []


def _replace_all(change):
    return lambda dataset: [_replace(sample, change) for sample in dataset]


def _replace(sample, change):
    np.save(sample.probabilities, change(np.load(sample.probabilities)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p * np.nan, "NaN"),
        (lambda p: p * 0.5, "sum to"),
        (lambda p: p[:, :7], "24 x 32 pixels"),
        (lambda p: p.transpose(0, 2, 1), "24 x 32 pixels"),
        (lambda p: p.astype(np.uint8), "floating-point"),
    ],
    ids=["NaN", "not normalised", "cut", "turned", "integers"],
)
def test_a_bad_file_is_skipped_by_name(dataset, tmp_path, change, message):
    _replace(dataset.first(), change)
    ((_, path, reason),) = score(dataset, tmp_path / "run", write_regions=False).skipped
    assert path == dataset.first().filepath
    assert message in reason


@pytest.mark.parametrize("change", [np.log, lambda p: np.moveaxis(p, 0, -1), lambda p: p[:, None].astype(np.float16)])
def test_files_of_other_forms_are_read_alike(dataset, tmp_path, change):
    score(dataset, tmp_path / "run", write_regions=False)
    _replace(dataset.first(), change)
    score(dataset, tmp_path / "other", key="other", write_regions=False)
    np.testing.assert_allclose(dataset.values("other"), dataset.values("label_quality"), atol=2e-3)


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (_replace_all(lambda p: p[:2] / p[:2].sum(0)), {}, "3 classes.*2 channels.*tree"),
        (lambda ds: None, {"key": "1st"}, "identifier|letters"),
        (lambda ds: None, {"key": "filepath"}, r"\['filepath'\].*another `key`"),
        (lambda ds: None, {"methods": ["softmean"]}, r"softmin.*softmean"),
        (lambda ds: None, {"model": "torchvision:fcn_resnet50"}, "but got `model` and `probabilities`"),
        (lambda ds: None, {"probabilities": None}, "got none"),
        (lambda ds: None, {"probabilities": "nowhere"}, "folder or one of the string fields.*nowhere"),
        (lambda ds: None, {"ignore_index": "lorry"}, "lorry"),
        (lambda ds: None, {"probabilities": None, "model": "/no/such/model"}, "/no/such/model"),
    ],
    ids=[
        "too few channels", "bad key", "somebody's field",
        "unknown method", "two sources", "no source", "no such folder", "unknown class", "no such model",
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_the_dataset_unchanged(dataset, tmp_path, spoil, arguments, message):
    spoil(dataset)
    before = state(dataset)
    with pytest.raises(ValueError, match=message):
        score(dataset, tmp_path / "run", **arguments)
    assert state(dataset) == before


def test_labels_outside_the_classes(dataset, tmp_path):
    sample = dataset.first()
    mask = sample.ground_truth.get_mask()
    mask[3, :4] = 77
    Image.fromarray(mask).save(sample.ground_truth.mask_path)
    before = state(dataset)
    with pytest.raises(LabelQualityError, match=r"among 1, 2, 3, but got 77 \(in 1 images\).*ignore_index"):
        score(dataset, tmp_path / "run")
    assert state(dataset) == before
    assert score(dataset, tmp_path / "run", ignore_index=[77, 255]).num_scored == 6


def test_an_existing_key_is_kept_unless_told_otherwise(dataset, tmp_path):
    first = score(dataset, tmp_path / "run")
    with pytest.raises(LabelQualityError, match=r"already has the run 'label_quality'.*overwrite=True"):
        score(dataset, tmp_path / "run")
    second = score(dataset, tmp_path / "run", overwrite=True, score="iou")
    assert second.method == "iou"
    assert first.output_dir != second.output_dir
    assert not Path(first.output_dir).exists()
    assert Path(dataset.first().label_quality_map.map_path).exists()


def test_a_full_disk_stops_the_run_before_it_starts(dataset, tmp_path, monkeypatch):
    before = state(dataset)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(LabelQualityError, match=r"free disk space.*output_dir"):
        score(dataset, tmp_path / "run")
    assert state(dataset) == before


def test_a_folder_that_cannot_be_written(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    before = state(dataset)
    with pytest.raises(LabelQualityError, match=r"cannot.*output_dir"):
        score(dataset, tmp_path / "file" / "run")
    assert state(dataset) == before


def test_logits_of_files_and_of_a_model(dataset, tmp_path):
    import torch

    score(dataset, tmp_path / "a", key="plain")
    for sample in dataset:
        np.save(sample.probabilities, np.log(np.load(sample.probabilities)) + 3)
    score(dataset, tmp_path / "b", key="logits", from_logits=True)
    assert np.allclose(dataset.values("plain"), dataset.values("logits"), atol=1e-5)
    network = torch.nn.Conv2d(3, 3, 1)
    score(dataset, tmp_path / "c", key="noticed", probabilities=None, model=network)
    score(dataset, tmp_path / "d", key="told", probabilities=None, model=network, from_logits=True)
    assert dataset.values("noticed") == dataset.values("told")


def test_the_combined_ranking_is_the_default_and_softmin_stays(make_dataset, tmp_path):
    dataset = make_dataset(12, size=(48, 64), wrong=(2, 5, 9))
    report = score(dataset, tmp_path / "run")
    assert report.method == "combined"
    assert dataset.values("label_quality") == dataset.values("label_quality_combined")
    assert dataset.values("label_quality") != dataset.values("label_quality_softmin")
    worst = dataset.sort_by("label_quality").limit(3).values("filepath")
    assert {Path(path).stem for path in worst} == {"2", "5", "9"}
    assert report.num_rehearsed >= 10
    assert 0.05 < report.wrong_share < 0.2
    assert "put into copies of these labels on purpose" in report.markdown()
    assert not {sample.ground_truth.mask_path for sample in dataset} & set((tmp_path / "run").rglob("*.png"))


def test_another_score_or_no_regions_need_no_rehearsal(dataset, tmp_path):
    report = score(dataset, tmp_path / "run", write_regions=False)
    assert report.method == "softmin"
    assert (report.wrong_share, report.num_rehearsed) == (None, 0)
    assert not (tmp_path / "run" / "rehearsals").exists()
    assert not dataset.has_field("label_quality_combined")
    with pytest.raises(LabelQualityError, match="write_regions=True"):
        score(dataset, tmp_path / "other", key="other", score="combined", write_regions=False)
    assert score(dataset, tmp_path / "third", key="third", score="iou").method == "iou"
    assert dataset.values("third") == dataset.values("third_iou")


def test_the_same_dataset_gives_the_same_scores_again(make_dataset, tmp_path):
    first, again = (make_dataset(12, size=(48, 64), wrong=(2, 5)) for _ in range(2))
    for number, dataset in enumerate((first, again)):
        score(dataset, tmp_path / str(number))
    assert first.values("label_quality") == again.values("label_quality")
    field = "label_quality_regions.detections.score"
    assert first.values(field) == again.values(field)


@pytest.mark.parametrize(
    ("share", "said"), [(0.021, "About 2.1 % of the labelled pixels seem wrong"), (0.0, "Little seems wrong")]
)
def test_the_report_says_how_much_is_wrong_or_that_it_cannot_tell(dataset, tmp_path, share, said):
    report = replace(score(dataset, tmp_path / "run"), wrong_share=share, wrong_share_range=(0.0, 0.03))
    assert said in report.markdown()
    assert "errors that the model makes too do not count" in report.markdown()
