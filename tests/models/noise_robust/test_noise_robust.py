"""Noise-robust training: labels get better, parts can be left out, and any interruption changes nothing."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import Example, cross_validate, load_segmenter
from fiftyone_plugin.models.noise_robust.consistency import Consistency
from fiftyone_plugin.models.noise_robust.corrected_labels import CorrectedLabels, read_changes
from fiftyone_plugin.models.noise_robust.early_learning import TriggerRule
from fiftyone_plugin.models.noise_robust.label_correction import CorrectionRule, LabelChange
from fiftyone_plugin.models.noise_robust.learning_curves import read_learning_curves
from fiftyone_plugin.models.noise_robust.robust_training import (
    CorrectedViews,
    NoiseRobust,
    NoiseRobustTraining,
    published_method,
    read_noise_robust,
    train_noise_robust,
)
from fiftyone_plugin.models.segmenters.network import NetworkSegmenter
from fiftyone_plugin.models.training import fold_training
from fiftyone_plugin.models.training.training_data import LabelSpace, check_examples
from fiftyone_plugin.quality.known_errors.boundary_noise import add_boundary_noise

SMALL = {
    "num_classes": 3,
    "encoder": "tu-mobilenetv3_small_050",
    "model_options": {"encoder_depth": 3, "decoder_channels": [16, 16, 8]},
    "epochs": 4,
    "batch_size": 2,
    "crop_size": 32,
    "device": "cpu",
}
EASY = CorrectionRule(threshold=0.35, most_background=None)
METHOD = NoiseRobust(trigger=TriggerRule(latest_epoch=2), correction=EASY, correct_every=4)
BASELINE = NoiseRobust(correction=None, consistency=None)


def make_examples(count=6, seed=0):
    """Coloured squares on grey whose class is their colour, and labels that are drawn too small or too large."""
    rng = np.random.default_rng(seed)
    examples, clean = [], []
    for index in range(count):
        image = np.full((40, 48, 3), 128, np.uint8)
        mask = np.zeros((40, 48), np.uint8)
        for label, channel in ((1, 0), (2, 2)):
            top, left = rng.integers(0, 22, 2)
            image[top : top + 16, left : left + 16] = 30
            image[top : top + 16, left : left + 16, channel] = 230
            mask[top : top + 16, left : left + 16] = label
        mask[0] = 255
        image = np.clip(image + rng.normal(0, 10, image.shape), 0, 255).astype(np.uint8)
        noisy = add_boundary_noise(mask, np.random.default_rng((seed, index)), area=400, steps=[3]).mask
        examples.append(Example(f"street_{index}", image, noisy))
        clean.append(mask)
    return examples, clean


EXAMPLES, CLEAN = make_examples()


class Stop(Exception):
    """Stands for a crash at a chosen moment."""


def assert_same_result(one, other):
    """The same weights, curves and corrections."""
    weights = [load_file(folder / "model.safetensors") for folder in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    curves = [json.loads((folder / "curves.json").read_text()) for folder in (one, other)]
    assert curves[0] == curves[1]
    changes = [list(read_changes(folder, curves[0]["corrected"])) for folder in (one, other)]
    assert len(changes[0]) == len(changes[1])
    for first, second in zip(*changes, strict=True):
        assert first.key == second.key
        for name in ("given", "corrected", "confidence", "epoch"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "robust"
    seen, threads, state = [], torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    done = train_noise_robust(
        EXAMPLES, folder, method=METHOD, class_names=["road", "car", "sky"],
        progress=lambda *call: seen.append(call), **SMALL,
    )  # fmt: skip
    torch.set_num_threads(threads)
    assert torch.equal(state, torch.get_rng_state())
    return done, seen


def test_the_result_and_the_folder_say_the_same(finished):
    done, _ = finished
    assert read_noise_robust(done.folder) == done
    assert done.keys == tuple(example.key for example in EXAMPLES)
    assert (done.num_classes, done.class_names, done.skipped) == (3, ("road", "car", "sky"), ())
    names = {"config.json", "corrections", "curves.json", "last.ckpt", "model.safetensors", "training.json"}
    assert {path.name for path in done.folder.iterdir()} - {"README.md"} == names
    assert [path.name for path in (done.folder / "corrections").iterdir()] == ["epoch_0004"]


def test_the_model_can_be_loaded(finished):
    done, _ = finished
    segmenter = load_segmenter(done.folder, device="cpu")
    assert segmenter.predict([EXAMPLES[0].image])[0].shape == (3, 40, 48)
    assert segmenter.seen_in_training(["street_0", "another"]) == 1


def test_curves_say_when_each_class_fired(finished):
    curves = finished[0].curves
    assert curves.times == (1, 2, 3, 4)
    assert [curve.fired for curve in curves.classes] == [None, 2, 2]  # background has no trigger
    assert all(0 <= value <= 1 for curve in curves.classes for value in curve.ious)
    labels = np.array([example.mask for example in EXAMPLES])
    assert [curve.pixels for curve in curves.classes] == [int((labels == value).sum()) for value in range(3)]
    assert curves.common is None
    assert [(entry["epoch"], entry["classes"]) for entry in curves.corrections] == [(2, [1, 2]), (4, [1, 2])]


def test_corrections_are_a_record_beside_the_given_labels(finished):
    done, _ = finished
    given = {example.key: example.mask for example in EXAMPLES}
    changes = list(done.changes())
    assert changes
    for change in changes:
        np.testing.assert_array_equal(change.given, given[change.key])
        np.testing.assert_array_equal(change.corrected == 255, change.given == 255)
        assert set(np.unique(change.epoch[change.changed])) <= {2, 4}
        assert bool((change.confidence[change.changed] > 0.35).all())
        assert not change.epoch[~change.changed].any()
    last = done.curves.corrections[-1]
    assert last["images"] == len(changes)
    assert last["pixels"] == sum(int(change.changed.sum()) for change in changes) > 0


def test_progress_says_what_is_done(finished):
    _, seen = finished
    done = [call[0] for call in seen]
    assert done == sorted(done)
    assert seen[-1][0] == seen[-1][1]
    labels = [call[2] for call in seen]
    assert any(label.startswith("training, epoch 4/4, loss ") for label in labels)
    assert "training, correcting labels after epoch 2, 6/6" in labels


@pytest.mark.parametrize(
    ("moment", "calls"),
    [
        ("training, epoch 1/4, loss", 1),
        ("training, epoch 2/4, loss", 3),
        ("training, correcting labels after epoch 2", 2),
        ("training, epoch 3/4, loss", 1),
        ("training, epoch 4/4, loss", 2),
        ("training, correcting labels after epoch 4", 5),
        ("training finished", 1),
    ],
)
def test_interrupted_anywhere_the_same_call_gives_the_same_result(finished, tmp_path, monkeypatch, moment, calls):
    monkeypatch.setattr(fold_training, "REPORT_SECONDS", 0)
    monkeypatch.setattr("fiftyone_plugin.models.noise_robust.robust_training._REPORT_SECONDS", 0)
    left = [calls]

    def crash(done, total, label):
        if label.startswith(moment):
            left[0] -= 1
            if not left[0]:
                raise Stop

    options = {**SMALL, "method": METHOD, "class_names": ["road", "car", "sky"]}
    with pytest.raises(Stop):
        train_noise_robust(EXAMPLES, tmp_path / "robust", progress=crash, **options)
    train_noise_robust(EXAMPLES[::-1], tmp_path / "robust", **options)
    assert_same_result(tmp_path / "robust", finished[0].folder)


@pytest.mark.parametrize("moment", ["write", "save"])
def test_interrupted_between_correction_and_checkpoint(finished, tmp_path, monkeypatch, moment):
    """The new corrections are on disk, but the last checkpoint speaks of the ones before."""
    method = replace(METHOD, correct_every=3)
    owner, name = {
        "write": ("fiftyone_plugin.models.noise_robust.robust_training.History", "write"),
        "save": ("pytorch_lightning.trainer.trainer.Trainer", "save_checkpoint"),
    }[moment]
    whole = train_noise_robust(EXAMPLES, tmp_path / "whole", method=method, **SMALL)
    left = [3]

    def crash(self, *arguments, **options):
        left[0] -= 1
        if not left[0]:
            raise Stop
        return original(self, *arguments, **options)

    module, attribute = owner.rsplit(".", 1)
    original = getattr(getattr(__import__(module, fromlist=[attribute]), attribute), name)
    with monkeypatch.context() as patched:
        patched.setattr(f"{owner}.{name}", crash)
        with pytest.raises(Stop):
            train_noise_robust(EXAMPLES, tmp_path / "robust", method=method, **SMALL)
    found = {path.name for path in (tmp_path / "robust" / "corrections").iterdir()}
    assert found == {"epoch_0002", "epoch_0003"}
    train_noise_robust(EXAMPLES, tmp_path / "robust", method=method, **SMALL)
    assert_same_result(tmp_path / "robust", whole.folder)


def test_workers_that_read_files_see_the_corrections(finished, tmp_path):
    done = train_noise_robust(
        EXAMPLES, tmp_path / "robust", method=METHOD, class_names=["road", "car", "sky"], memory_budget=0, **SMALL
    )
    assert_same_result(done.folder, finished[0].folder)


def test_without_its_parts_it_is_the_usual_training(tmp_path):
    options = {**SMALL, "folds": 2, "epochs": 2}
    cross_validate(EXAMPLES, tmp_path / "plain", **options)
    cross_validate(EXAMPLES, tmp_path / "robust", method=BASELINE, **options)
    for fold in ("fold_0", "fold_1"):
        plain, robust = (load_file(tmp_path / name / fold / "model.safetensors") for name in ("plain", "robust"))
        assert all(torch.equal(value, robust[name]) for name, value in plain.items())
        assert read_learning_curves(tmp_path / "robust" / fold).epochs == 2


def test_each_fold_corrects_its_own_training_labels(tmp_path):
    done = cross_validate(EXAMPLES, tmp_path / "folds", method=METHOD, folds=2, **SMALL)
    for fold in range(2):
        curves = read_learning_curves(done.folder / f"fold_{fold}")
        changed = {change.key for change in read_changes(done.folder / f"fold_{fold}", curves.corrected)}
        assert changed
        assert all(done.fold_of[key] != fold for key in changed)
    with pytest.raises(LabelQualityError, match="method="):
        cross_validate(EXAMPLES, done.folder, folds=2, **SMALL)


@pytest.mark.parametrize(
    "method",
    [
        replace(METHOD, consistency=None),
        replace(METHOD, correction=None),
        replace(METHOD, per_class=False),
        replace(METHOD, correction=replace(EASY, start="current"), flips=False, scales=(1.0,)),
        replace(METHOD, consistency=Consistency(learn_weights=True, gate="pixel")),
        replace(METHOD, trigger=TriggerRule(sample_steps=4, compare="trained", latest_epoch=2)),
        replace(METHOD, consistency=Consistency(scales=(1.0, 0.5), scaled_logits=False)),
    ],
    ids=["no consistency", "no correction", "one trigger", "cumulative", "learned", "steps", "plain logits"],
)
def test_variants_train_and_go_on_after_an_interruption(tmp_path, method):
    options = {**SMALL, "epochs": 3}
    whole = train_noise_robust(EXAMPLES, tmp_path / "whole", method=method, **options)

    def crash(done, total, label):
        if label.startswith("training, epoch 3/3, loss"):
            raise Stop

    with pytest.raises(Stop):
        train_noise_robust(EXAMPLES, tmp_path / "robust", method=method, progress=crash, **options)
    train_noise_robust(EXAMPLES, tmp_path / "robust", method=method, **options)
    assert_same_result(tmp_path / "robust", whole.folder)
    assert bool(list(whole.changes())) == (method.correction is not None)
    assert (whole.curves.common is None) == method.per_class
    if not method.per_class:
        assert whole.curves.common.fired == 2
        assert whole.curves.corrections[0]["classes"] == [0, 1, 2]
    if method.trigger.sample_steps:
        assert whole.curves.times == pytest.approx([4 / 3, 8 / 3])  # of three steps per epoch


def test_views_show_the_same_place_of_image_given_and_corrected_label(tmp_path):
    """The corrected label is where the image is red, the given one is empty."""
    image = np.zeros((60, 70, 3), np.uint8)
    image[10:35, 15:50, 0] = 255
    given = np.zeros((60, 70), np.uint8)
    data = check_examples([Example("a", image, given)], LabelSpace(2, 255), 1 << 20)
    labels = CorrectedLabels(tmp_path, data)
    plan = fold_training.FoldPlan(0, 1, 1, (64, 64), 1e-2, 1e-2, 0, False, (0.5,) * 3, (0.25,) * 3, torch.device("cpu"))
    views = CorrectedViews(labels, [0], plan)
    assert not bool((views[0, 0, 0]["corrected"] == 1).any())
    corrected = (image[..., 0] > 0).astype(np.uint8)
    labels.write(1, [(0, LabelChange("a", given, corrected, corrected.astype(np.float16), corrected.astype(np.int32)))])
    for position in range(4):
        view = views[0, position, 0]
        red = view["image"][0] > view["image"][1].int() + 60
        inside = view["corrected"] != 255
        assert not bool((view["mask"] == 1).any())
        assert bool((view["corrected"] == 1).any())
        assert float(((view["corrected"] == 1) == red)[inside].float().mean()) > 0.97


def test_training_goes_on_with_the_corrected_labels(finished, tmp_path):
    done = train_noise_robust(EXAMPLES, tmp_path / "robust", method=replace(METHOD, correction=None), **SMALL)
    ours, other = (load_file(folder / "model.safetensors") for folder in (finished[0].folder, done.folder))
    assert not torch.equal(ours["segmentation_head.0.weight"], other["segmentation_head.0.weight"])
    same = [row.ious[:2] for row in finished[0].curves.classes]
    assert [row.ious[:2] for row in done.curves.classes] == same  # until the correction after epoch 2


@pytest.mark.parametrize(("start", "left"), [("given", 0), ("current", 6)])
def test_corrections_start_from_given_or_current_labels(tmp_path, monkeypatch, start, left):
    """The model is sure after the first epoch and no longer after the second."""

    def predictions(self):
        sure = 0.9 if self.current_epoch == 0 else 0.1
        for index in self.indices:
            yield index, np.ones((40, 48), int), np.full((40, 48), sure)

    monkeypatch.setattr(NoiseRobustTraining, "_predictions", predictions)
    method = replace(
        METHOD, trigger=TriggerRule(latest_epoch=1), correct_every=1, correction=replace(EASY, start=start)
    )
    done = train_noise_robust(EXAMPLES, tmp_path / "robust", method=method, **{**SMALL, "epochs": 2})
    assert [entry["images"] for entry in done.curves.corrections] == [6, left]
    assert all(set(np.unique(change.epoch)) == {0, 1} for change in done.changes())


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("experiment", ["voc", "segthor"])
def test_the_published_methods_train(tmp_path, experiment, per_class):
    method = replace(published_method(experiment), per_class=per_class)
    done = train_noise_robust(EXAMPLES, tmp_path / "robust", method=method, **{**SMALL, "epochs": 1})
    assert len(done.curves.times) == (0 if experiment == "voc" else 1)  # a sample takes VOC 100 steps
    assert read_noise_robust(done.folder) == done


def test_only_ours_leaves_classes_alone_that_have_not_fired():
    assert NoiseRobust().correction == replace(published_method("voc").correction, fired="both")
    assert published_method("voc").correction.fired == "predicted"
    assert published_method("segthor").correction.fired == "both"


def test_an_unknown_experiment_is_refused():
    with pytest.raises(LabelQualityError, match="'voc' or 'segthor', but got 'cityscapes'"):
        published_method("cityscapes")


def test_learned_weights_of_scales_move_and_sum_to_one(tmp_path):
    method = replace(METHOD, consistency=Consistency(learn_weights=True))
    train_noise_robust(EXAMPLES, tmp_path / "robust", method=method, **{**SMALL, "epochs": 2})
    state = torch.load(tmp_path / "robust" / "last.ckpt", weights_only=True)
    weights = state["state_dict"]["scale_weights"]
    assert weights.shape == (3,)
    assert len(set(weights.tolist())) == 3
    assert state["optimizer_states"][0]["param_groups"][-1]["lr"] == 1e-3
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] < 2e-3


def test_labels_get_better(tmp_path):
    """On labels drawn too small or too large, corrected ones are closer to the clean ones."""
    examples, clean = make_examples(12)
    method = NoiseRobust(
        consistency=None, correction=CorrectionRule(threshold=0.6, start="current", most_background=None)
    )
    options = {**SMALL, "epochs": 24, "crop_size": 64, "batch_size": 4, "lr": 1e-2}
    done = train_noise_robust(examples, tmp_path / "robust", method=method, **options)
    assert [curve.fired for curve in done.curves.classes].count(None) <= 2
    labels = {change.key: change.corrected for change in done.changes()}
    wrong = np.array([(example.mask != mask).sum() for example, mask in zip(examples, clean, strict=True)])
    left = np.array([(labels.get(e.key, e.mask) != mask).sum() for e, mask in zip(examples, clean, strict=True)])
    assert left.sum() < 0.85 * wrong.sum()


def test_a_class_without_pixels_never_fires(tmp_path):
    options = {**SMALL, "num_classes": 4}
    done = train_noise_robust(EXAMPLES, tmp_path / "robust", method=METHOD, **options)
    absent = done.curves.classes[3]
    assert (absent.pixels, absent.fired, absent.detection) == (0, None, None)
    assert all(3 not in change.corrected for change in done.changes())


def test_images_that_are_ignored_stay_so(tmp_path):
    empty = Example("empty", EXAMPLES[0].image, np.full((40, 48), 255, np.uint8))
    done = train_noise_robust([*EXAMPLES, empty], tmp_path / "robust", method=METHOD, **SMALL)
    assert "empty" in done.keys
    assert "empty" not in {change.key for change in done.changes()}
    weights = load_file(done.folder / "model.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_a_fold_without_labels_is_refused(tmp_path):
    empty = [Example(f"empty_{index}", e.image, np.full((40, 48), 255), "empty") for index, e in enumerate(EXAMPLES)]
    examples = [*empty, Example("one", EXAMPLES[0].image, EXAMPLES[0].mask)]
    with pytest.raises(LabelQualityError, match="Every pixel of the 6 training images is ignored"):
        cross_validate(examples, tmp_path / "folds", method=METHOD, folds=2, **SMALL)


def test_no_background_class(tmp_path):
    method = replace(METHOD, correction=replace(EASY, background=None))
    done = train_noise_robust(EXAMPLES, tmp_path / "robust", method=method, **{**SMALL, "epochs": 2})
    assert [curve.fired for curve in done.curves.classes] == [2, 2, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": replace(METHOD, correction=CorrectionRule(background=3))}, r"one of the classes 0..2, but got 3"),
        ({"method": replace(METHOD, correction=CorrectionRule((0.5, 0.5)))}, "each of the 3 classes, but got 2"),
        ({"epochs": 0}, "`epochs` of at least 1, but got 0"),
        ({"num_classes": 2}, r"also holds \[2\]"),
        ({"arch": "unett"}, "Cannot build unett"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, changes, message):
    with pytest.raises(LabelQualityError, match=message):
        train_noise_robust(EXAMPLES, tmp_path / "robust", **{**SMALL, "method": METHOD, **changes})


def test_no_examples_and_fewer_images_than_folds_are_refused(tmp_path):
    with pytest.raises(LabelQualityError, match="Expected examples to train on, but got none"):
        train_noise_robust([], tmp_path / "robust", **SMALL)
    with pytest.raises(LabelQualityError, match="6 images for 7 folds"):
        cross_validate(EXAMPLES, tmp_path / "folds", method=METHOD, folds=7, **SMALL)
    with pytest.raises(LabelQualityError, match="`correct_every` of at least 1"):
        NoiseRobust(correct_every=0)


def test_a_checkpoint_of_another_architecture_is_named(finished, tmp_path):
    folder = tmp_path / "robust"
    shutil.copytree(finished[0].folder, folder)
    options = {**SMALL, "method": METHOD, "class_names": ["road", "car", "sky"]}
    with pytest.raises(LabelQualityError, match="arch='unet' there and arch='fpn' now"):
        train_noise_robust(EXAMPLES, folder, **{**options, "arch": "fpn", "model_options": None})
    other = train_noise_robust(
        EXAMPLES, tmp_path / "other", method=METHOD, **{**SMALL, "epochs": 1, "model_options": None}
    )
    shutil.copy(other.folder / "last.ckpt", folder / "last.ckpt")
    with pytest.raises(LabelQualityError, match=r"does not fit the training that .*last.ckpt should go on with"):
        train_noise_robust(EXAMPLES, folder, **options)


def test_a_checkpoint_of_another_method_is_named(tmp_path):
    options = {**SMALL, "epochs": 2}

    def crash(done, total, label):
        if label.startswith("training, epoch 2/2, loss"):
            raise Stop

    with pytest.raises(Stop):
        train_noise_robust(EXAMPLES, tmp_path / "robust", method=METHOD, progress=crash, **options)
    path = tmp_path / "robust" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    del state["noise_robust"]
    torch.save(state, path)
    with pytest.raises(LabelQualityError, match="was written by training of another kind"):
        train_noise_robust(EXAMPLES, tmp_path / "robust", method=METHOD, **options)


def test_lost_corrections_are_named(tmp_path):
    def crash(done, total, label):
        if label.startswith("training, epoch 4/4, loss"):
            raise Stop

    with pytest.raises(Stop):
        train_noise_robust(EXAMPLES, tmp_path / "robust", method=METHOD, progress=crash, **SMALL)
    with pytest.raises(LabelQualityError, match=r"interrupted: 3 of 4 epochs are finished"):
        read_noise_robust(tmp_path / "robust")
    shutil.rmtree(tmp_path / "robust" / "corrections")
    with pytest.raises(LabelQualityError, match=r"epoch_0002, but they are gone; restore them"):
        train_noise_robust(EXAMPLES, tmp_path / "robust", method=METHOD, **SMALL)


def test_starting_anew_discards_the_training_and_nothing_else(finished, tmp_path):
    shutil.copytree(finished[0].folder, tmp_path / "robust")
    (tmp_path / "robust" / "notes.txt").write_text("mine")
    options = {**SMALL, "epochs": 1, "seed": 1}
    done = train_noise_robust(EXAMPLES, tmp_path / "robust", method=METHOD, resume=False, **options)
    assert (done.curves.epochs, done.curves.corrected) == (1, 0)
    assert (done.folder / "notes.txt").read_text() == "mine"
    assert not (done.folder / "corrections").exists()


def test_foreign_folders_are_refused(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(LabelQualityError, match=r"holds 1 other files \(photo.jpg\) and no noise-robust training"):
        train_noise_robust(EXAMPLES, tmp_path, **SMALL)


class TestPrediction:
    """Predictions that correct, by a module without a trainer."""

    @staticmethod
    def predict(network, image, method, monkeypatch):
        data = check_examples([Example("a", image, np.zeros(image.shape[:2], int))], LabelSpace(4, 255), 1 << 20)
        plan = fold_training.FoldPlan(
            0, 1, 2, (32, 32), 1e-2, 1e-2, 0, False, (0.5,) * 3, (0.25,) * 3, torch.device("cpu")
        )
        module = NoiseRobustTraining(
            network, plan, 255, 1, method=method, data=data, indices=[0], folder=Path("nowhere"), say=print
        )
        trainer = SimpleNamespace(precision_plugin=SimpleNamespace(forward_context=nullcontext))
        monkeypatch.setattr(NoiseRobustTraining, "trainer", trainer)
        ((_, predicted, confidence),) = module.eval()._predict([0])
        return predicted, confidence

    @pytest.mark.parametrize(
        ("consistency", "temperature"),
        [(Consistency(), 3), (Consistency(scaled_logits=False), 1), (None, 1), (Consistency(scales=(1.0, 0.5)), 2)],
    )
    def test_they_are_made_at_the_temperature_of_training(self, pointwise, monkeypatch, consistency, temperature):
        image = np.full((32, 48, 3), 200, np.uint8)
        predicted, confidence = self.predict(pointwise, image, NoiseRobust(consistency=consistency), monkeypatch)
        logits = pointwise(torch.full((1, 3, 1, 1), (200 / 255 - 0.5) / 0.25))
        wanted = (logits / temperature).softmax(1).detach()
        np.testing.assert_allclose(confidence, float(wanted.max()), atol=1e-5)
        assert bool((predicted == int(wanted.argmax())).all())

    def test_they_do_not_depend_on_the_side_from_which_one_looks(self, blurry, image, monkeypatch):
        pixels = np.tile(image, (2, 2, 1))[:64, :64]
        method = NoiseRobust(scales=(0.5, 1.0, 1.5), consistency=None)
        straight, mirrored = (self.predict(blurry, view, method, monkeypatch)[1] for view in (pixels, pixels[:, ::-1]))
        np.testing.assert_allclose(straight, mirrored[:, ::-1], atol=1e-5)
        alone = self.predict(blurry, pixels, replace(method, flips=False), monkeypatch)[1]
        assert np.abs(alone - straight).max() > 1e-3


class TestMemory:
    """A device whose memory holds a few views only."""

    @staticmethod
    def too_small(monkeypatch, views):
        original = NoiseRobustTraining.objective

        def objective(self, batch, targets):
            if len(batch["image"]) > views:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return original(self, batch, targets)

        monkeypatch.setattr(NoiseRobustTraining, "objective", objective)

    def test_the_message_names_a_batch_that_fits(self, tmp_path, monkeypatch):
        self.too_small(monkeypatch, views=3)
        with pytest.raises(
            LabelQualityError, match=r"too small for 8 views of \(32, 32\) pixels; pass `batch_size=2`, which fits"
        ):
            train_noise_robust(EXAMPLES, tmp_path / "robust", method=METHOD, **{**SMALL, "batch_size": 8})

    def test_or_says_that_none_does(self, tmp_path, monkeypatch):
        self.too_small(monkeypatch, views=0)
        with pytest.raises(LabelQualityError, match="not even one view fits: pass a smaller `crop_size`"):
            train_noise_robust(EXAMPLES, tmp_path / "robust", method=METHOD, **SMALL)

    def test_correction_predicts_fewer_images_at_a_time(self, finished, tmp_path, monkeypatch):
        original, seen = NoiseRobustTraining._predict, []

        def predict(self, indices):
            seen.append(len(indices))
            if len(indices) > 1:
                raise RuntimeError("CUDA out of memory")
            return original(self, indices)

        monkeypatch.setattr(NoiseRobustTraining, "_predict", predict)
        done = train_noise_robust(EXAMPLES, tmp_path / "robust", method=METHOD, **SMALL)
        assert seen == [2] + [1] * 12
        assert len(list(done.changes())) == len(list(finished[0].changes()))

    def test_correction_names_the_image_that_is_too_large(self, tmp_path, monkeypatch):
        def predict(self, indices):
            raise RuntimeError("CUDA out of memory")

        monkeypatch.setattr(NoiseRobustTraining, "_predict", predict)
        with pytest.raises(LabelQualityError, match=r"too small to predict image street_0 of \(40, 48\) pixels"):
            train_noise_robust(EXAMPLES, tmp_path / "robust", method=METHOD, **SMALL)


def test_each_epoch_can_be_measured_without_changing_the_result(finished, tmp_path):
    measured = []

    def measure(epoch, segmenter):
        assert isinstance(segmenter, NetworkSegmenter)
        measured.append((epoch, segmenter.predict([EXAMPLES[0].image])[0].shape))

    done = train_noise_robust(
        EXAMPLES, tmp_path / "robust", method=replace(METHOD, after_epoch=measure),
        class_names=["road", "car", "sky"], **SMALL,
    )  # fmt: skip
    assert measured == [(epoch, (3, 40, 48)) for epoch in (1, 2, 3, 4)]
    assert_same_result(done.folder, finished[0].folder)


def test_two_processes_train_together(tmp_path):
    """Stands for two GPUs; the first corrects for both."""
    method = replace(METHOD, trigger=TriggerRule(latest_epoch=1), after_epoch=lambda epoch, segmenter: None)
    options = {**SMALL, "epochs": 2, "devices": 2, "crop_size": 64}
    done = train_noise_robust(EXAMPLES, tmp_path / "robust", method=method, **options)
    assert [entry["epoch"] for entry in done.curves.corrections] == [1]
    assert len(list(done.changes())) == done.curves.corrections[0]["images"] > 0
