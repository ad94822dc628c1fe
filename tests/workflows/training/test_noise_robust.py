"""Training on noisy labels proposes corrections beside the given labels, survives interruption, and cleans up."""

from __future__ import annotations

import json
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
import torch

from fiftyone_plugin import (
    changed_labels,
    delete_label_quality_run,
    inject_label_errors,
    models,
    rescore_regions,
    review_history,
    review_regions,
    reviewed_regions,
    score_label_quality,
    show_regions,
    train_noise_robust,
)
from fiftyone_plugin.dataset.door.backgrounds import background_class
from fiftyone_plugin.dataset.door.classes import ClassMap
from fiftyone_plugin.dataset.fields.regions import utc_now
from fiftyone_plugin.dataset.journals import reviews
from fiftyone_plugin.dataset.runs import run_records
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.training.learning_curves import training_progress
from fiftyone_plugin.workflows.training.noise_robust import training_method

TINY = {
    "encoder": "tu-mobilenetv3_small_050", "weights": None, "epochs": 3, "batch_size": 2, "crop_size": 32,
    "model_options": {"encoder_depth": 3, "decoder_channels": [16, 16, 8]}, "device": "cpu",
    "consistency": False, "latest_epoch": 1, "threshold": 0.34, "min_region_area": 1, "progress": silent,
}  # fmt: skip
CLASSES = ClassMap((0, 1, 4), ("background", "road", "car"), frozenset({255}))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the networks are tiny: threads only wait for each other
    yield
    torch.set_num_threads(before)


def train(dataset, folder, **options):
    return train_noise_robust(dataset, "ground_truth", output_dir=str(folder), **{**TINY, **options})


def masks(dataset, field):
    return {sample.id: sample[field].get_mask() for sample in dataset if sample[field] is not None}


def state(dataset):
    """Everything about a dataset that must not have changed."""
    dataset.reload()
    return (
        set(dataset.get_field_schema(flat=True)), dataset.list_runs(), dataset.list_saved_views(),
        dict(dataset.mask_targets), dataset.list_indexes(),
    )  # fmt: skip


class Stop(Exception):
    """Stands for a crash at a chosen moment."""


def stop_at(text):
    def progress(done, total, label):
        if text in label:
            raise Stop

    return progress


class TestWhatIsLeft:
    """One finished training, looked at from all sides."""

    @pytest.fixture
    def dataset(self, make_dataset):
        return make_dataset(6, wrong=(2,))

    def test_fields_files_views_and_the_way_back(self, dataset, tmp_path):
        before, given = state(dataset), masks(dataset, "ground_truth")
        report = train(dataset, tmp_path / "run")
        dataset.reload()
        after = masks(dataset, "ground_truth")
        assert all(np.array_equal(after[sample_id], mask) for sample_id, mask in given.items())
        proposed = masks(dataset, "noise_robust_labels")
        assert set(proposed) == set(given), "every image that was trained on has a mask"
        assert dataset.mask_targets["noise_robust_labels"] == dataset.mask_targets["ground_truth"]
        differs = {sample_id: proposed[sample_id] != mask for sample_id, mask in given.items()}
        assert report.num_changed == sum(bool(pixels.any()) for pixels in differs.values()) > 0
        labelled = sum(int((mask != 255).sum()) for mask in given.values())
        assert report.changed_share == pytest.approx(sum(int(p.sum()) for p in differs.values()) / labelled)
        assert all(set(np.unique(mask)) <= {1, 2, 3, 255} for mask in proposed.values())
        assert all((proposed[sample_id][mask == 255] == 255).all() for sample_id, mask in given.items())
        self.regions_are_the_changes(dataset, given, proposed)
        assert dataset.sum("noise_robust_num_regions") == report.num_regions > 0
        assert dataset.list_saved_views() == ["noise_robust changed", "noise_robust regions"]
        assert len(dataset.load_saved_view("noise_robust regions")) == report.num_regions
        assert len(dataset.load_saved_view("noise_robust changed")) == report.num_changed
        assert "regions to accept or reject" in report.markdown()
        record = run_records.find_run(dataset, "noise_robust")
        assert record.method == run_records.NOISE_ROBUST
        assert record.summary["num_regions"] == report.num_regions
        assert models.load_segmenter(report.network_folder, device="cpu").num_classes == 3
        delete_label_quality_run(dataset, "noise_robust")
        assert state(dataset) == before
        assert not (tmp_path / "run").exists()

    @staticmethod
    def regions_are_the_changes(dataset, given, proposed):
        names = {1: "road", 2: "car", 3: "tree"}
        for sample in dataset:
            covered = np.zeros(given[sample.id].shape, bool)
            height, width = covered.shape
            scores = []
            for region in sample.noise_robust_regions.detections:
                x, y, w, h = region.bounding_box
                top, left = round(y * height), round(x * width)
                mask = np.zeros(covered.shape, bool)
                mask[top : top + round(h * height), left : left + round(w * width)] = region.get_mask() > 0
                assert not (covered & mask).any()
                assert int(mask.sum()) == region.area
                old, new = given[sample.id][mask], proposed[sample.id][mask]
                assert region.given == names[np.bincount(old).argmax()]
                assert region.suggested == names[np.bincount(new).argmax()]
                assert region.label in ("missing", "spurious", "wrong_class", "boundary")
                assert (region.status, region.reviewer) == ("pending", None)
                assert 1 <= region.epoch <= 3
                assert 0.34 < region.score <= 1
                scores.append(region.score)
                covered |= mask
            assert scores == sorted(scores, reverse=True)
            assert np.array_equal(covered, given[sample.id] != proposed[sample.id])

    def test_curves_have_names_and_counts(self, dataset, tmp_path):
        report = train(dataset, tmp_path / "run")
        found = training_progress(dataset)
        assert (found.epochs, found.times, found.absent) == (3, [1, 2, 3], [])
        given = np.concatenate([mask.ravel() for mask in masks(dataset, "ground_truth").values()])
        assert {entry.name: entry.pixels for entry in found.classes} == {
            name: int((given == value).sum()) for value, name in ((1, "road"), (2, "car"), (3, "tree"))
        }
        pixels = [entry.pixels for entry in found.classes]
        assert pixels == sorted(pixels, reverse=True)
        assert {entry.name: entry.fired for entry in found.classes} == report.fired
        assert sum(entry.lost for entry in found.classes) == sum(row[2] for row in report.pairs) > 0
        assert sum(entry.won for entry in found.classes) == sum(row[2] for row in report.pairs)
        with pytest.raises(LabelQualityError, match="'another'; there are \\['noise_robust'\\]"):
            training_progress(dataset, "another")

    def test_a_rejected_proposal_does_not_come_back(self, dataset, tmp_path):
        first = train(dataset, tmp_path / "a")
        dataset.reload()
        sample = max(dataset, key=lambda s: max([d.area for d in s.noise_robust_regions.detections], default=0))
        region = max(sample.noise_robust_regions.detections, key=lambda d: d.area)
        given = sample.ground_truth.get_mask()
        x, y = region.bounding_box[:2]
        top, left = round(y * given.shape[0]), round(x * given.shape[1])
        inside = region.get_mask() > 0
        review = reviews.Review(
            "ground_truth", sample.id, region.id, "noise_robust", region.label, region.given, region.suggested,
            (top, left, top + inside.shape[0], left + inside.shape[1]), given.shape, inside, {}, "rejected", "me",
            utc_now(),
        )  # fmt: skip
        reviews.add_reviews(dataset, [review], 1)
        second = train(dataset, tmp_path / "a", overwrite=True)
        dataset.reload()
        assert (second.left_out, second.num_regions) == (1, first.num_regions - 1)
        window = dataset[sample.id].noise_robust_labels.get_mask()[top : top + inside.shape[0], left:]
        window = window[:, : inside.shape[1]]
        assert np.array_equal(window[inside], given[top:, left:][: inside.shape[0], : inside.shape[1]][inside])

    def test_without_correction_only_the_model_is_left(self, dataset, tmp_path):
        before = set(dataset.get_field_schema())
        report = train(dataset, tmp_path / "run", correction=False, epochs=1)
        assert set(dataset.get_field_schema()) == before
        assert (report.num_regions, report.num_changed, report.pairs) == (0, 0, [])
        assert training_progress(dataset).corrects is False


def test_out_of_fold_models_score_the_labels(make_dataset, tmp_path):
    dataset = make_dataset(4, wrong=(1,))
    report = train(dataset, tmp_path / "run", out_of_fold=True, folds=2, epochs=1)
    assert sorted(dataset.values("noise_robust_fold")) == [0, 0, 1, 1]
    assert len(report.metrics) == 2
    fold_of = models.read_cross_validation(report.fold_models).fold_of
    assert dict(zip(*dataset.values(["filepath", "noise_robust_fold"]), strict=True)) == fold_of
    scored = score_label_quality(
        dataset, "ground_truth", model=report.fold_models, output_dir=str(tmp_path / "scores"), progress=silent
    )
    assert scored.num_scored == 4
    delete_label_quality_run(dataset, "noise_robust")
    assert not dataset.has_field("noise_robust_fold")


def test_the_noise_of_the_experiment_can_be_injected(make_dataset, tmp_path):
    dataset = make_dataset(6, wrong=())
    options = {"kinds": ["erode_all", "dilate_all"], "fraction": 1, "outline_steps": [1], "outline_area": 50}
    report = inject_label_errors(dataset, into="noisy", output_dir=str(tmp_path / "noise"), progress=silent, **options)
    assert set(report.kinds) == {"erode_all", "dilate_all"}
    dataset.reload()
    for sample in dataset:
        given, noisy = sample.ground_truth.get_mask(), sample.noisy.get_mask()
        fewer = int((noisy == 2).sum()) - int((given == 2).sum())  # the car is the only object
        assert fewer < 0 if sample.noisy_error == "erode_all" else fewer > 0
        assert np.array_equal(given == 255, noisy == 255)
    with pytest.raises(LabelQualityError, match="erode_all"):
        inject_label_errors(dataset, key="other", into="other", kinds=["blur"], progress=silent)


def test_from_a_terminal(make_dataset, tmp_path, capsys):
    from fiftyone_plugin.cli.commands import main

    dataset = make_dataset(3)
    words = ["train-noise-robust", dataset.name, "--encoder", "tu-mobilenetv3_small_050", "--weights", "none"]
    words += ["--epochs", "1", "--no-consistency", "--latest-epoch", "1", "--output-dir", str(tmp_path / "run")]
    assert main(words) == 0
    assert "Trained for 1 epoch on 3 images" in capsys.readouterr().out
    assert run_records.find_run(dataset, "noise_robust").parameters["out_of_fold"] is None


def test_proposals_are_reviewed_like_issue_regions(make_dataset, tmp_path):
    dataset = make_dataset(4, wrong=(1,))
    report = train(dataset, tmp_path / "run")
    view = show_regions(dataset, key="noise_robust")
    assert len(view) == report.num_regions > 1
    review_regions(view.limit(1), "accepted", key="noise_robust", reviewer="me")
    rejected = view.skip(1).first().id
    review_regions(dataset, "rejected", key="noise_robust", label_ids=rejected)
    found = {d.id: d for sample in dataset for d in sample.noise_robust_regions.detections}
    assert sorted(d.status for d in found.values()).count("pending") == report.num_regions - 2
    assert found[rejected].status == "rejected"
    assert [review.decision for review in review_history(dataset)] == ["accepted", "rejected"]
    assert reviewed_regions(dataset)[0].shape[0] == 0, "scores of other runs do not learn from them"
    assert changed_labels(dataset, key="noise_robust") == []
    again = train(dataset, tmp_path / "run", overwrite=True)
    assert (again.left_out, again.num_regions) == (1, report.num_regions - 1)
    assert dataset.count_values("noise_robust_regions.detections.status")["accepted"] == 1
    with pytest.raises(LabelQualityError, match="confidence of its predictions"):
        rescore_regions(dataset, key="noise_robust")


def test_the_key_of_a_run_with_folds_is_a_model(make_dataset, tmp_path):
    dataset = make_dataset(4, wrong=(1,))
    train(dataset, tmp_path / "run", out_of_fold=True, folds=2, epochs=1)
    scored = score_label_quality(dataset, model="noise_robust", output_dir=str(tmp_path / "s"), progress=silent)
    assert scored.num_scored == 4
    train(dataset, tmp_path / "plain", key="plain", epochs=1)
    with pytest.raises(LabelQualityError, match="out_of_fold=True"):
        score_label_quality(dataset, model="plain", key="other", progress=silent)


@pytest.mark.parametrize(
    "moment", ["epoch 2/3", "correcting labels after epoch 1", "writing proposals", "model 2 of 2"]
)
def test_an_interrupted_training_ends_the_same(make_dataset, tmp_path, moment):
    dataset = make_dataset(4, wrong=(1,))
    options = {"out_of_fold": True, "folds": 2}
    before = state(dataset)
    with pytest.raises(Stop):
        train(dataset, tmp_path / "run", progress=stop_at(moment), **options)
    assert state(dataset) == before, "nothing is written until all is done"
    resumed = train(dataset, tmp_path / "run", **options)
    found = masks(dataset, "noise_robust_labels")
    straight = train(dataset, tmp_path / "other", key="straight", **options)
    expected = masks(dataset, "straight_labels")
    assert (resumed.pairs, resumed.metrics) == (straight.pairs, straight.metrics)
    assert all(np.array_equal(found[sample_id], mask) for sample_id, mask in expected.items())


def test_other_options_start_over_after_an_interruption(make_dataset, tmp_path):
    dataset = make_dataset(4)
    with pytest.raises(Stop):
        train(dataset, tmp_path / "run", progress=stop_at("epoch 2/3"))
    report = train(dataset, tmp_path / "run", architecture="fpn", model_options={}, epochs=1)
    record = json.loads((Path(report.network_folder) / "training.json").read_text())
    assert (record["config"]["arch"], report.epochs) == ("fpn", 1)


def test_a_foreign_checkpoint_is_not_overwritten(make_dataset, tmp_path):
    dataset = make_dataset(4)
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "last.ckpt").write_bytes(b"somebody's")
    train(dataset, tmp_path / "run", epochs=1)  # into a folder of its own name
    assert (tmp_path / "run" / "model" / "last.ckpt").read_bytes() == b"somebody's"


def test_replacing_a_run_keeps_the_old_one_until_the_end(make_dataset, tmp_path):
    dataset = make_dataset(4)
    train(dataset, tmp_path / "run", epochs=2)
    with pytest.raises(LabelQualityError, match="overwrite=True"):
        train(dataset, tmp_path / "run")
    with pytest.raises(Stop):
        train(dataset, tmp_path / "run", overwrite=True, progress=stop_at("epoch 2/3"))
    dataset.reload()
    assert all(Path(label.mask_path).exists() for label in dataset.values("noise_robust_labels"))
    report = train(dataset, tmp_path / "run", overwrite=True)
    assert report.epochs == training_progress(dataset).epochs == 3


class TestBadInput:
    """Nothing is written, and the message says what to do."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"out_of_fold": True, "folds": 9}, "9.*4"),
            ({"threshold": {"lorry": 0.5}}, r"\['road', 'car', 'tree'\], but got \['lorry'\]"),
            ({"threshold": 1.5}, "`threshold`"),
            ({"background": "sky"}, "`background` to be 'auto'"),
            ({"variant": "coco"}, "'voc' or 'segthor'"),
            ({"latest_epoch": 0}, "`latest_epoch`"),
            ({"relative_change": 1.0}, "`relative_change`"),
            ({"gate": "class"}, "`gate`"),
            ({"architecture": "lenet"}, "lenet"),
            ({"max_regions_per_image": 0}, "max_regions_per_image"),
            ({"key": "no key"}, "letters, digits"),
        ],
    )
    def test_arguments(self, make_dataset, tmp_path, options, message):
        dataset = make_dataset(4)
        before = state(dataset)
        with pytest.raises(LabelQualityError, match=message):
            train(dataset, tmp_path / "run", **options)
        assert state(dataset) == before

    def test_labels_that_are_ignored_everywhere(self, make_dataset, tmp_path):
        dataset = make_dataset(4)
        with pytest.raises(LabelQualityError, match=r"at least 2 classes|Every pixel"):
            train(dataset, tmp_path / "run", ignore_index=[1, 2, 3, 255])

    def test_a_class_that_occurs_nowhere(self, make_dataset, tmp_path):
        dataset = make_dataset(4)
        dataset.mask_targets = {"ground_truth": {1: "road", 2: "car", 3: "tree", 9: "lorry", 255: "void"}}
        dataset.save()
        report = train(dataset, tmp_path / "run", epochs=2)
        assert "lorry" not in report.fired
        assert training_progress(dataset).absent == ["lorry"]

    def test_out_of_memory_passes_through(self, make_dataset, tmp_path, monkeypatch):
        dataset = make_dataset(4)
        text = "The memory of cuda:0 is too small for batches of 8; pass `batch_size=4`."

        def fail(*args, **kwargs):
            raise LabelQualityError(text)

        monkeypatch.setattr("fiftyone_plugin.models.train_noise_robust", fail)
        before = state(dataset)
        with pytest.raises(LabelQualityError, match="pass `batch_size=4`"):
            train(dataset, tmp_path / "run")
        assert state(dataset) == before


@pytest.mark.parametrize(
    ("name", "background", "expected"),
    [("background", "auto", 0), ("Unlabeled", "auto", 0), ("sky", "auto", None), ("sky", "road", 1), ("sky", 4, 2),
     ("sky", "4", 2), ("background", None, None)],
)  # fmt: skip
def test_background_is_known_by_its_name(name, background, expected):
    classes = ClassMap((0, 1, 4), (name, "road", "car"), frozenset())
    assert background_class(classes, background) == expected


def test_options_make_the_method():
    method = training_method(CLASSES, variant="segthor", per_class=False, latest_epoch=7, gate="pixel")
    assert (method.correct_every, method.per_class, method.trigger.latest_epoch) == (10, False, 7)
    assert (method.correction.threshold, method.correction.background, method.consistency.gate) == (0.7, 0, "pixel")
    method = training_method(CLASSES, correction=False, consistency=False)
    assert (method.correction, method.consistency) == (None, None)
    assert training_method(CLASSES, threshold={"car": 0.5}).correction.threshold == (0.8, 0.8, 0.5)


def test_masks_with_colours_stay_masks_with_colours(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    colours = {"#ff0000": "car", "#00ff00": "road"}
    dataset = fo.Dataset()
    try:
        for number in range(4):
            car = np.zeros((24, 32), bool)
            car[8:16, 4 + number : 16 + number] = True
            mask = np.where(car[..., None], (255, 0, 0), (0, 255, 0)).astype(np.uint8)
            image = np.clip(mask // 2 + rng.integers(0, 60, mask.shape), 0, 255).astype(np.uint8)
            image[..., 2] = rng.integers(0, 255, car.shape)
            for folder, pixels in (("images", image), ("masks", mask)):
                (tmp_path / folder).mkdir(exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
            label = fo.Segmentation(mask_path=str(tmp_path / "masks" / f"{number}.png"))
            dataset.add_sample(fo.Sample(filepath=str(tmp_path / "images" / f"{number}.png"), ground_truth=label))
        dataset.mask_targets = {"ground_truth": colours}
        dataset.save()
        report = train(dataset, tmp_path / "run", threshold=0.5, epochs=2)
        for mask in masks(dataset, "noise_robust_labels").values():
            assert {tuple(pixel) for pixel in mask.reshape(-1, 3).tolist()} <= {(255, 0, 0), (0, 255, 0)}
        assert set(report.classes) == {"car", "road"}
    finally:
        dataset.delete()
