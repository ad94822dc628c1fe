"""Cross-validated training: blind models, the same result after any interruption, and refusals before work begins."""

from __future__ import annotations

import json
import signal
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import (
    QUICK_TRAINING,
    CrossValidatedSegmenter,
    Example,
    ImageItem,
    ModelMismatchError,
    cross_validate,
    load_segmenter,
    read_cross_validation,
)
from fiftyone_plugin.models.training import fold_training

SMALL = {
    "num_classes": 3,
    "encoder": "tu-mobilenetv3_small_050",
    "model_options": {"encoder_depth": 3, "decoder_channels": [16, 16, 8]},
    "folds": 2,
    "epochs": 3,
    "batch_size": 2,
    "crop_size": 32,
    "device": "cpu",
}


def make_examples(count=6, seed=0):
    """Coloured squares on grey, whose class is their colour."""
    rng = np.random.default_rng(seed)
    examples = []
    for index in range(count):
        image = np.full((40, 48, 3), 128, np.uint8)
        mask = np.zeros((40, 48), np.uint8)
        for label, channel in ((1, 0), (2, 2)):
            top, left = rng.integers(0, 24, 2)
            image[top : top + 14, left : left + 14] = 30
            image[top : top + 14, left : left + 14, channel] = 230
            mask[top : top + 14, left : left + 14] = label
        mask[0] = 255
        image = np.clip(image + rng.normal(0, 10, image.shape), 0, 255).astype(np.uint8)
        examples.append(Example(f"street_{index}", image, mask))
    return examples


EXAMPLES = make_examples()


class Stop(Exception):
    """Stands for a crash at a chosen moment."""


def weights_of(folder):
    return {
        (fold, name): value
        for fold in range(2)
        for name, value in load_file(folder / f"fold_{fold}" / "model.safetensors").items()
    }


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "folds"
    seen = []
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = cross_validate(
            EXAMPLES, folder, class_names=["road", "car", "sky"], progress=lambda *call: seen.append(call), **SMALL
        )
    torch.set_num_threads(threads)
    assert torch.equal(before, torch.get_rng_state())
    return done, seen


def test_the_result_and_the_folder_say_the_same(finished):
    done, _ = finished
    assert sorted(done.fold_of) == [example.key for example in EXAMPLES]
    assert sorted(done.fold_of.values()) == [0, 0, 0, 1, 1, 1]
    assert [fold.num_images for fold in done.metrics] == [3, 3]
    assert all(0 <= fold.mean_iou <= 1 and 0 <= fold.pixel_accuracy <= 1 for fold in done.metrics)
    assert (done.num_classes, done.class_names, done.skipped) == (3, ("road", "car", "sky"), ())
    assert read_cross_validation(done.folder) == done
    assert sorted(path.name for path in done.folder.iterdir()) == ["fold_0", "fold_1", "folds.json"]


def test_progress_rises_to_its_end_and_says_fold_epoch_and_loss(finished):
    _, seen = finished
    done = [call[0] for call in seen]
    assert done == sorted(done)
    assert seen[-1][0] == seen[-1][1]
    labels = [call[2] for call in seen]
    assert any(label.startswith("model 2 of 2, epoch 3/3, loss ") for label in labels)
    assert labels[0].startswith("reading images")


def test_training_is_quiet_and_leaves_nothing_else(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    cross_validate(EXAMPLES, tmp_path / "folds", **{**SMALL, "epochs": 1})
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["folds"]


def test_the_fold_models_measure_as_recorded(finished):
    done, _ = finished
    segmenter = load_segmenter(done.folder, device="cpu")
    correct = dict.fromkeys((0, 1), 0)
    labelled = dict.fromkeys((0, 1), 0)
    items = [ImageItem(example.key, image=example.image) for example in EXAMPLES]
    masks = {example.key: torch.from_numpy(example.mask) for example in EXAMPLES}
    for item, probabilities in segmenter.stream(items, batch_size=2):
        fold, mask = segmenter.fold_of(item.name), masks[item.name]
        valid = mask != 255
        correct[fold] += int((probabilities.argmax(0) == mask)[valid].sum())
        labelled[fold] += int(valid.sum())
    for fold, metrics in enumerate(done.metrics):
        assert metrics.pixel_accuracy == pytest.approx(correct[fold] / labelled[fold], abs=1e-6)


def test_each_image_is_predicted_by_the_model_that_has_not_seen_it(finished):
    done, _ = finished
    segmenter = load_segmenter(str(done.folder), device="cpu")
    assert isinstance(segmenter, CrossValidatedSegmenter)
    assert (segmenter.num_classes, segmenter.class_names) == (3, ["road", "car", "sky"])
    alone = [load_segmenter(done.folder / f"fold_{fold}", device="cpu") for fold in range(2)]
    images = [example.image for example in EXAMPLES]
    names = [example.key for example in EXAMPLES]
    for name, image, found in zip(names, images, segmenter.predict(images, names=names), strict=True):
        fold = done.fold_of[name]
        torch.testing.assert_close(found, alone[fold].predict([image])[0])
        assert alone[fold].seen_in_training([name]) == 0
        assert alone[1 - fold].seen_in_training([name]) == 1
    assert segmenter.seen_in_training(names) == 0


@pytest.mark.parametrize("memory_budget", [1, 1 << 30])
def test_unknown_images_get_the_mean_of_all_models_and_a_warning(finished, memory_budget):
    done, _ = finished
    segmenter = CrossValidatedSegmenter(done.folder, device="cpu", memory_budget=memory_budget)
    alone = [load_segmenter(done.folder / f"fold_{fold}", device="cpu") for fold in range(2)]
    image = EXAMPLES[0].image
    items = [ImageItem("new", image=image), ImageItem("street_0", image=image), ImageItem("bad", path="none.png")]
    with pytest.warns(UserWarning, match="Image new is none of the 6"):
        results = {item.name: result for item, result in segmenter.stream(items, batch_size=1)}
    mean = sum(model.predict([image])[0] for model in alone) / 2
    torch.testing.assert_close(results["new"], mean)
    torch.testing.assert_close(results["street_0"], alone[done.fold_of["street_0"]].predict([image])[0])
    assert isinstance(results["bad"], Exception)
    assert segmenter.fold_of("new") is None


def test_paths_are_keys_too(finished):
    done, _ = finished
    segmenter = load_segmenter(done.folder, device="cpu")
    items = [ImageItem("id", path="street_1", image=EXAMPLES[1].image)]
    (found,) = [result for _, result in segmenter.stream(items)]
    torch.testing.assert_close(found, segmenter.predict([EXAMPLES[1].image], names=["street_1"])[0])


def test_wrong_classes_and_meaningless_options_are_refused(finished):
    done, _ = finished
    with pytest.raises(ModelMismatchError, match=r"models of 5 classes, but .* was trained on 3"):
        load_segmenter(done.folder, num_classes=5)
    with pytest.raises(LabelQualityError, match=r"options \['mean'\] have no meaning for the folds in"):
        load_segmenter(done.folder, mean=(0.5, 0.5, 0.5))
    merged = load_segmenter(done.folder, num_classes=2, channel_map=[0, 1, 1], device="cpu")
    assert merged.predict([EXAMPLES[0].image], names=["street_0"])[0].shape == (2, 40, 48)


def test_a_finished_training_is_not_repeated(finished):
    done, _ = finished
    before = {path: path.stat().st_mtime_ns for path in done.folder.rglob("*") if path.suffix != ".json"}
    labels = []
    again = cross_validate(
        EXAMPLES[::-1],
        done.folder,
        class_names=["road", "car", "sky"],
        progress=lambda done, total, label: labels.append(label),
        **SMALL,
    )
    assert again == done
    assert not [label for label in labels if "epoch" in label]
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize(
    ("moment", "steps"),
    [
        ("model 1 of 2, epoch 1/3, loss", 1),
        ("model 1 of 2, epoch 2/3, loss", 1),
        ("model 1 of 2, epoch 3/3, loss", 2),
        ("model 1 of 2 finished", 1),
        ("model 2 of 2, epoch 3/3, loss", 1),
    ],
)
def test_interrupted_anywhere_the_same_call_gives_the_same_models(finished, tmp_path, monkeypatch, moment, steps):
    monkeypatch.setattr(fold_training, "REPORT_SECONDS", 0)
    left = [steps]

    def crash(done, total, label):
        if label.startswith(moment):
            left[0] -= 1
            if not left[0]:
                raise Stop

    with pytest.raises(Stop):
        cross_validate(EXAMPLES, tmp_path / "folds", progress=crash, **SMALL)
    labels = []
    cross_validate(EXAMPLES, tmp_path / "folds", progress=lambda done, total, label: labels.append(label), **SMALL)
    assert_same_weights(weights_of(tmp_path / "folds"), weights_of(finished[0].folder))
    if "epoch 3" in moment:
        assert not [label for label in labels if label.startswith(moment.replace("epoch 3", "epoch 1"))]


def test_ctrl_c_stays_ctrl_c(tmp_path):
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(done, total, label):
        if "loss" in label:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cross_validate(EXAMPLES, tmp_path / "folds", progress=interrupt, **SMALL)
    assert signal.getsignal(signal.SIGINT) is handler


def test_order_and_memory_do_not_change_the_models(finished, tmp_path):
    cross_validate(EXAMPLES[::-1], tmp_path / "folds", memory_budget=0, **SMALL)
    assert_same_weights(weights_of(tmp_path / "folds"), weights_of(finished[0].folder))


def test_another_configuration_in_the_folder_names_both_values(finished, tmp_path):
    done, _ = finished
    with pytest.raises(LabelQualityError, match="epochs=3 there and epochs=5 now"):
        cross_validate(EXAMPLES, done.folder, **{**SMALL, "epochs": 5})
    with pytest.raises(LabelQualityError, match="made with 6 images and now there are 5"):
        cross_validate(EXAMPLES[:5], done.folder, **SMALL)
    with pytest.raises(LabelQualityError, match="have changed since, street_0 for one"):
        cross_validate(make_examples(seed=1), done.folder, **SMALL)


def test_starting_anew_discards_the_folds_and_nothing_else(tmp_path):
    one_epoch = {**SMALL, "epochs": 1}
    cross_validate(EXAMPLES, tmp_path, **one_epoch)
    first = weights_of(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    cross_validate(EXAMPLES, tmp_path, resume=False, **{**one_epoch, "seed": 1})
    name = (0, "segmentation_head.0.weight")
    assert not torch.equal(first[name], weights_of(tmp_path)[name])
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_unreadable_images_are_skipped_and_reported(tmp_path):
    examples = [*EXAMPLES, Example("gone", tmp_path / "gone.png", EXAMPLES[0].mask)]
    done = cross_validate(examples, tmp_path / "folds", **{**SMALL, "epochs": 1})
    assert "gone" not in done.fold_of
    assert [key for key, _ in done.skipped] == ["gone"]
    assert read_cross_validation(tmp_path / "folds").skipped == done.skipped


def test_groups_share_a_fold_and_new_images_of_a_group_its_model(tmp_path):
    examples = [Example(e.key, e.image, e.mask, group=f"drive_{i // 2}") for i, e in enumerate(EXAMPLES)]
    done = cross_validate(examples, tmp_path / "folds", **{**SMALL, "epochs": 1})
    for index in range(0, 6, 2):
        assert done.fold_of[f"street_{index}"] == done.fold_of[f"street_{index + 1}"]
    segmenter = load_segmenter(tmp_path / "folds", device="cpu")
    assert segmenter.fold_of("new", group="drive_1") == done.fold_of["street_2"]


def test_an_interrupted_training_cannot_be_loaded_yet(tmp_path):
    def crash(done, total, label):
        if label == "model 1 of 2 finished":
            raise Stop

    with pytest.raises(Stop):
        cross_validate(EXAMPLES, tmp_path / "folds", progress=crash, **{**SMALL, "epochs": 1})
    with pytest.raises(LabelQualityError, match="was interrupted: 1 of 2 folds are finished"):
        load_segmenter(tmp_path / "folds")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 1}, "at least 2 classes to train on, but got num_classes=1"),
        ({"num_classes": 2}, r"mask of street_0 to hold classes 0..1 and 255 .* also holds \[2\]"),
        ({"folds": 7}, "6 images for 7 folds"),
        ({"folds": 1}, "at least 2 folds, but got 1"),
        ({"epochs": 0}, "`epochs` of at least 1, but got 0"),
        ({"batch_size": 3, "devices": 2}, "2 devices can share, but got 3"),
        ({"class_names": ["a"]}, "3 class names, but got 1"),
        ({"crop_size": 5}, "`crop_size` of at least 32 pixels, but got 5"),
        ({"arch": "unett"}, "Cannot build unett"),
        ({"encoder": "resnet7"}, "Cannot build unet with encoder resnet7"),
        ({"weights": "missing.pth"}, "None, 'imagenet' or the path of a state dict, but missing.pth does not exist"),
    ],
)
def test_wrong_arguments_are_refused_before_training(tmp_path, changes, message):
    with pytest.raises(LabelQualityError, match=message):
        cross_validate(EXAMPLES, tmp_path / "folds", **{**SMALL, **changes})
    assert not (tmp_path / "folds" / "folds.json").exists()


def test_foreign_and_unwritable_folders_are_refused(tmp_path):
    (tmp_path / "photo.jpg").touch()
    (tmp_path / ".folds.json.a1b2c3-7-7.part").touch()  # half a file of a process that died is nobody's
    with pytest.raises(LabelQualityError, match=r"holds 1 other files \(photo.jpg\) and no cross-validation"):
        cross_validate(EXAMPLES, tmp_path, **SMALL)
    with pytest.raises(LabelQualityError, match=r"Cannot write to the folder .*photo.jpg"):
        cross_validate(EXAMPLES, tmp_path / "photo.jpg" / "folds", **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".folds.json.a1b2c3-7-7.part", "photo.jpg"]


def test_weights_that_cannot_be_downloaded_say_the_way_out(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    options = {**SMALL, "encoder": "resnet18", "weights": "imagenet", "model_options": None}
    with pytest.raises(
        LabelQualityError, match=r"Cannot get the imagenet weights of encoder resnet18 .*`weights=None`"
    ):
        cross_validate(EXAMPLES, tmp_path / "folds", **options)


def test_a_torchvision_state_dict_becomes_the_encoder_and_its_statistics_stay_frozen(tmp_path):
    from torchvision.models import mobilenet_v2

    classifier = mobilenet_v2(weights=None, num_classes=7)
    statistics = "features.1.conv.0.1.running_mean"
    classifier.state_dict()[statistics].fill_(0.25)
    torch.save(classifier.state_dict(), tmp_path / "classifier.pth")
    done = cross_validate(
        EXAMPLES,
        tmp_path / "folds",
        weights=tmp_path / "classifier.pth",
        freeze_batchnorm=True,
        **{**SMALL, "encoder": "mobilenet_v2", "model_options": None, "epochs": 1},
    )
    assert done.weights == (
        "encoder weights classifier.pth: loaded 312 tensors, left out classifier.1.weight, classifier.1.bias"
    )
    state = load_file(tmp_path / "folds" / "fold_0" / "model.safetensors")
    assert bool((state[f"encoder.{statistics}"] == 0.25).all())
    decoder = next(name for name in state if name.startswith("decoder.") and name.endswith("running_mean"))
    assert float(state[decoder].abs().max()) > 0
    first = "encoder.features.0.0.weight"
    assert not torch.equal(state[first], classifier.state_dict()[first.removeprefix("encoder.")])


def test_a_state_dict_that_does_not_fit_lists_names(tmp_path):
    from torchvision.models import mobilenet_v2

    state = mobilenet_v2(weights=None).state_dict()
    state["features.99.weight"] = state.pop("features.0.0.weight")
    torch.save(state, tmp_path / "classifier.pth")
    with pytest.raises(
        LabelQualityError, match=r"1 missing \(features.0.0.weight\), 1 unexpected \(features.99.weight\)"
    ):
        cross_validate(
            EXAMPLES, tmp_path / "folds", weights=tmp_path / "classifier.pth",
            **{**SMALL, "encoder": "mobilenet_v2", "model_options": None},
        )  # fmt: skip


def test_learning_happens(tmp_path):
    options = {**SMALL, "epochs": 25, "crop_size": 64, "batch_size": 4, "lr": 1e-2}
    done = cross_validate(make_examples(12), tmp_path / "folds", **options)
    assert done.pixel_accuracy > 0.9
    assert done.mean_iou > 0.7


def test_the_quick_options_build_and_train(tmp_path):
    options = {**QUICK_TRAINING, "epochs": 1, "folds": 2, "device": "cpu"}
    done = cross_validate(EXAMPLES[:4], tmp_path / "folds", num_classes=3, **options)
    assert len(done.metrics) == 2


def test_folds_json_is_plain(finished):
    content = json.loads((finished[0].folder / "folds.json").read_text())
    assert content["fold_of"] == dict(finished[0].fold_of)
    assert content["config"]["encoder"] == "tu-mobilenetv3_small_050"
