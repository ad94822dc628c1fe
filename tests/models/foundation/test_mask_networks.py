"""Networks of the SAM family answer through one face, from embeddings kept on disk, as transformers itself does."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
import torch

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.foundation.checkpoint_names import ZOO_ON_THE_HUB
from fiftyone_plugin.models.foundation.random_checkpoints import (
    save_random_mask_model,
    save_random_mobile_sam,
    save_random_sam3,
)
from fiftyone_plugin.models.foundation.sam import ImageEmbedding, cached_sam, load_sam

transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")

FAMILIES = {
    "sam": "SamProcessor",
    "sam_hq": "SamHQProcessor",
    "sam2": "Sam2Processor",
    "sam3_tracker": "Sam3TrackerProcessor",
    "edgetam": "Sam2Processor",
}
EVERY_MASK = {"points_per_side": 2, "pred_iou_thresh": -1e9, "stability_score_thresh": -1.0, "box_nms_thresh": 1.0}
BOXES = [[0.0, 0.0, 20.0, 20.0], [10.0, 10.0, 40.0, 30.0]]


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    return save_random_mask_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def sam(folder):
    return load_sam(folder, device="cpu", half=False)


@pytest.fixture
def embedding(sam, image, tmp_path):
    sam.embed(image).save(tmp_path / "image.npz")
    return ImageEmbedding.load(tmp_path / "image.npz")


@functools.cache
def reference(folder):
    network = transformers.AutoModelForMaskGeneration.from_pretrained(folder).eval()
    return network, getattr(transformers, FAMILIES[network.config.model_type]).from_pretrained(folder)


@torch.no_grad()
def by_hand(folder, image, several, **prompts):
    """Logits at the image's size and predicted IoU, with transformers alone."""
    network, processor = reference(folder)
    inputs = processor(images=image, return_tensors="pt", **prompts)
    sizes = [inputs[name] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
    known = {name: value for name, value in inputs.items() if not name.endswith("_sizes")}
    known = {name: value.float() if value.dtype == torch.float64 else value for name, value in known.items()}
    output = network(**known, multimask_output=several)
    [logits] = processor.post_process_masks([output.pred_masks[0]], *sizes, binarize=False)
    return logits.numpy(), output.iou_scores[0].numpy()


def agree(mask, logits):
    """Equal wherever the rounding of the kept embedding cannot have turned the sign."""
    clear = np.abs(logits) > 0.02 * np.abs(logits).max()
    assert clear.mean() > 0.7
    np.testing.assert_array_equal(mask[clear], logits[clear] > 0)


def test_a_click_takes_the_best_of_three(folder, sam, embedding, image):
    logits, scores = by_hand(folder, image, True, input_points=[[[[13, 7]]]], input_labels=[[[1]]])
    found = sam.masks_from_points(embedding, [[13, 7]], [True])
    best = int(scores[0].argmax())
    np.testing.assert_allclose(found.score, scores[0, best], atol=1e-3)
    agree(found.mask, logits[0, best])
    assert found.low_res.shape == (1, 32, 32)


def test_clicks_refine_a_mask(folder, sam, embedding, image):
    first = sam.masks_from_points(embedding, [[13, 7]], [True])
    points, signs = [[[[13, 7], [40, 30]]]], [[[1, 0]]]
    logits, _ = by_hand(folder, image, False, input_points=points, input_labels=signs)
    plain = sam.masks_from_points(embedding, points[0][0], [True, False])
    agree(plain.mask, logits[0, 0])
    refined = sam.masks_from_points(embedding, points[0][0], [True, False], mask_input=first.low_res)
    assert np.isfinite(refined.low_res).all()
    assert not np.array_equal(refined.low_res, plain.low_res)


def test_boxes_give_a_mask_each(folder, sam, embedding, image):
    logits, scores = by_hand(folder, image, False, input_boxes=[BOXES])
    masks, found = sam.masks_from_boxes(embedding, BOXES)
    np.testing.assert_allclose(found, scores[:, 0], atol=1e-3)
    for mask, expected in zip(masks, logits[:, 0], strict=True):
        agree(mask, expected)
    assert sam.masks_from_boxes(embedding, [])[0].shape == (0, 40, 60)


def test_automatic_masks_are_those_of_a_grid_of_clicks(folder, sam, embedding, image):
    found = sam.automatic_masks(embedding, **EVERY_MASK)
    assert len(found) == 12
    logits, scores = by_hand(folder, image, True, input_points=[[[[15, 10]]]], input_labels=[[[1]]])
    for wanted, score in zip(logits[0], scores[0], strict=True):
        alike = min(found, key=lambda one: np.count_nonzero(one.mask != (wanted > 0)))
        agree(alike.mask, wanted)
        assert abs(alike.score - score) < 1e-3
    assert len(sam.automatic_masks(image, **EVERY_MASK)) == 12


def test_half_precision_changes_little(sam, embedding, image, monkeypatch):
    monkeypatch.setattr(sam, "half", torch.bfloat16)
    rounded = sam.embed(image)
    for one, other in zip((embedding.features, *embedding.further), (rounded.features, *rounded.further), strict=True):
        error = np.abs(one.astype(np.float32) - other)
        assert error.max() > 0
        assert error.mean() < 0.05 * np.abs(one).mean()


@torch.no_grad()
def test_the_tracker_inside_a_whole_sam3(tmp_path, image):
    """As facebook/sam3 is: detector and tracker in one checkpoint, the encoder's body shared."""
    folder = save_random_sam3(tmp_path, ["cat"])
    sam = load_sam(folder, device="cpu", half=False)
    whole = transformers.Sam3VideoModel.from_pretrained(folder).eval()
    network = transformers.Sam3TrackerModel(whole.config).eval()
    for name in ("prompt_encoder", "mask_decoder", "shared_image_embedding"):
        getattr(network, name).load_state_dict(getattr(whole.tracker_model, name).state_dict())
    network.vision_encoder.backbone = whole.detector_model.vision_encoder.backbone
    network.vision_encoder.neck = whole.tracker_neck
    network.no_memory_embedding = whole.tracker_model.no_memory_embedding
    inputs = transformers.Sam3ImageProcessor.from_pretrained(folder)(images=image, return_tensors="pt")
    points = torch.tensor([[[[13 * 128 / 60, 7 * 128 / 40]]]])
    output = network(inputs["pixel_values"], input_points=points, input_labels=torch.ones(1, 1, 1, dtype=torch.int))
    found = sam.masks_from_points(sam.embed(image), [[13, 7]], [True])
    assert abs(found.score - float(output.iou_scores.max())) < 1e-3


def test_mobile_sam_is_read_as_its_authors_write_it(tmp_path, image):
    """Compared with the package mobilesam-mirror 1.0.0 when it was written; here only that every job is done."""
    sam = load_sam(save_random_mobile_sam(tmp_path / "mobile_sam.pt"), device="cpu", half=False)
    embedding = sam.embed(image)
    assert embedding.features.shape == (32, 64, 64)
    assert sam.masks_from_points(embedding, [[13, 7]], [True]).low_res.shape == (1, 256, 256)
    assert sam.masks_from_boxes(embedding, BOXES)[0].shape == (2, 40, 60)
    assert len(sam.automatic_masks(embedding, **EVERY_MASK)) == 12
    assert not np.array_equal(sam.embed(image[::-1].copy()).features, embedding.features)
    weights = torch.load(tmp_path / "mobile_sam.pt", weights_only=True)
    for cut in ("image_encoder.layers.1.blocks.0.attn.attention_biases", "mask_decoder.iou_token.weight"):
        torch.save({name: value for name, value in weights.items() if name != cut}, tmp_path / "cut.pt")
        with pytest.raises(LabelQualityError, match="missing"):
            load_sam(tmp_path / "cut.pt", device="cpu")


# Checkpoints that cannot be used


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return save_random_mask_model(tmp_path_factory.mktemp("whole"), "sam2")


def damaged(whole, folder, name, change):
    for file in whole.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    content = change(json.loads((folder / name).read_text()))
    (folder / name).write_text(json.dumps(content))
    return folder


def test_cached_and_told_apart(whole, tmp_path):
    first = cached_sam(whole, "cpu")
    assert cached_sam(str(whole), "cpu") is first
    other = load_sam(save_random_mask_model(tmp_path, "sam2", seed=1), model_type="sam2", device="cpu")
    assert other.checkpoint != first.checkpoint == load_sam(whole, device="cpu").checkpoint


def test_of_another_family(whole, tmp_path):
    folder = damaged(whole, tmp_path, "config.json", lambda _: {"model_type": "sam3"})
    with pytest.raises(LabelQualityError, match="told what to look for in words; pass it as `detector`"):
        load_sam(folder, device="cpu")
    folder = damaged(whole, tmp_path, "config.json", lambda _: {"model_type": "segformer"})
    with pytest.raises(LabelQualityError, match=r"Expected a checkpoint of edgetam, .* is one of segformer"):
        load_sam(folder, device="cpu")


def test_processor_of_another_size(whole, tmp_path):
    def smaller(content):
        content["image_processor"]["size"] = {"height": 64, "width": 64}
        return content

    folder = damaged(whole, tmp_path, "processor_config.json", smaller)
    with pytest.raises(LabelQualityError, match="squares of 64 pixels, but the network takes 128"):
        load_sam(folder, device="cpu")


def test_without_weights(whole, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = damaged(whole, tmp_path, "config.json", lambda content: content)
    kept = {
        name: value for name, value in load_file(folder / "model.safetensors").items() if "mask_decoder" not in name
    }
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LabelQualityError, match=r"weights are missing .mask_decoder"):
        load_sam(folder, device="cpu")
    (folder / "model.safetensors").unlink()
    with pytest.raises(LabelQualityError, match=r"Cannot load .* as a SAM .* model downloaded elsewhere"):
        load_sam(folder, device="cpu")


def test_zoo_names_are_the_zoos():
    from importlib.util import find_spec
    from pathlib import Path

    manifest = json.loads((Path(find_spec("fiftyone").origin).parent / "zoo/models/manifest-torch.json").read_text())
    names = {model["base_name"] for model in manifest["models"]}
    of_images = {name for name in names if name.startswith("segment-anything-") and "-image-" in name}
    assert set(ZOO_ON_THE_HUB) == of_images
