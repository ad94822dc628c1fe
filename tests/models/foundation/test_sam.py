"""SAM through a checkpoint of random weights: the same masks as segment-anything's own, embeddings kept and found."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.errors import SegmenterError
from fiftyone_plugin.models.files.checkpoints import require_match
from fiftyone_plugin.models.foundation import sam as sam_module
from fiftyone_plugin.models.foundation.checkpoint_names import ZOO_CHECKPOINTS
from fiftyone_plugin.models.foundation.random_checkpoints import save_random_sam
from fiftyone_plugin.models.foundation.sam import EmbeddingCache, ImageEmbedding, cached_sam, load_sam
from fiftyone_plugin.models.foundation.sam_architecture import TINY, build_sam, encoder_pixels, read_sizes
from fiftyone_plugin.models.foundation.sam_automatic import AutomaticMasks
from fiftyone_plugin.models.hardware.precision import half_type

EVERY_MASK = {"points_per_side": 3, "pred_iou_thresh": -1e9, "stability_score_thresh": -1.0, "box_nms_thresh": 1.0}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_random_sam(tmp_path_factory.mktemp("sam") / "tiny.pth")


@pytest.fixture(scope="module")
def sam(checkpoint):
    return load_sam(checkpoint, device="cpu", half=False)


@pytest.fixture
def embedding(sam, image):
    return sam.embed(image)


@pytest.fixture
def predictor(checkpoint, image):
    """segment-anything's own predictor, given the image by itself, its features rounded as ours are."""
    network = build_sam(TINY)
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    own = SamPredictor(network)
    own.set_image(image)
    own.features = own.features.half().float()
    return own


def test_embedding_is_the_predictors(sam, embedding, predictor, image):
    assert embedding.features.shape == (32, 8, 8)
    np.testing.assert_array_equal(embedding.features, predictor.get_image_embedding()[0].half().numpy())
    assert (embedding.original_size, embedding.input_size) == ((40, 60), predictor.input_size)
    other = sam.embed(image[::-1].copy())
    assert not np.array_equal(other.features, embedding.features)


def test_one_point_takes_the_best_of_three(sam, embedding, predictor):
    masks, scores, low_res = predictor.predict(np.array([[13, 7]]), np.array([1]), multimask_output=True)
    found = sam.masks_from_points(embedding, [[13, 7]], [True])
    best = int(scores.argmax())
    assert len(set(scores.tolist())) == 3
    assert found.score == scores[best]
    np.testing.assert_array_equal(found.mask, masks[best])
    np.testing.assert_array_equal(found.low_res, low_res[best : best + 1])
    assert found.mask.dtype == bool
    assert 0 < found.mask.sum() < found.mask.size


def test_several_points_take_the_single_mask(sam, embedding, predictor):
    points, labels = np.array([[13.5, 7], [40, 30], [2, 38]]), np.array([1, 1, 0])
    masks, scores, low_res = predictor.predict(points, labels, multimask_output=False)
    found = sam.masks_from_points(embedding, points, labels == 1)
    np.testing.assert_array_equal(found.mask, masks[0])
    assert found.score == scores[0]
    flipped = sam.masks_from_points(embedding, points, labels == 0)
    assert not np.array_equal(flipped.low_res, low_res)


def test_a_mask_is_refined(sam, embedding, predictor):
    first = sam.masks_from_points(embedding, [[13, 7]], [True])
    masks, _, low_res = predictor.predict(
        np.array([[30, 30]]), np.array([0]), mask_input=first.low_res, multimask_output=False
    )
    found = sam.masks_from_points(embedding, [[30, 30]], [False], mask_input=first.low_res)
    np.testing.assert_array_equal(found.low_res, low_res)
    np.testing.assert_array_equal(found.mask, masks[0])


def test_boxes_match_the_predictor_one_by_one(sam, embedding, predictor, monkeypatch):
    boxes = np.array([[1, 2, 20, 30], [0, 0, 60, 40], [30, 10, 59, 39], [5, 5, 6, 6]], float)
    monkeypatch.setattr(sam_module, "_BOXES_PER_PASS", 3)
    masks, scores = sam.masks_from_boxes(embedding, boxes)
    assert (masks.shape, masks.dtype, scores.shape) == ((4, 40, 60), bool, (4,))
    for index, box in enumerate(boxes):
        expected, score, logits = predictor.predict(box=box, multimask_output=False, return_logits=True)
        clear = np.abs(expected[0]) > 1e-4  # a batch of boxes rounds otherwise than one box
        np.testing.assert_array_equal(masks[index][clear], expected[0][clear] > 0)
        assert clear.mean() > 0.99
        assert logits.shape == (1, 32, 32)
        np.testing.assert_allclose(scores[index], score[0], atol=1e-5)


def test_no_boxes(sam, embedding):
    masks, scores = sam.masks_from_boxes(embedding, [])
    assert (masks.shape, scores.shape) == ((0, 40, 60), (0,))


@pytest.mark.parametrize("of", ["image", "embedding"])
def test_automatic_masks_are_the_generators(sam, embedding, predictor, image, of, monkeypatch):
    generator = SamAutomaticMaskGenerator(predictor.model, **EVERY_MASK)
    if of == "embedding":  # the same generator, looking at the rounded features
        monkeypatch.setattr(predictor, "set_image", lambda _: None)
        generator.predictor = predictor
    expected = generator.generate(image)
    found = sam.automatic_masks(embedding if of == "embedding" else image, **EVERY_MASK)
    assert len(found) == len(expected) == 27
    for (mask, area, score), record in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mask, record["segmentation"])
        assert (area, score) == (record["area"], record["predicted_iou"])


def test_automatic_masks_may_be_none(sam, image):
    assert len(sam.automatic_masks(image, points_per_side=2)) == 0


def test_automatic_masks_of_a_large_image_have_its_size(sam, rng, monkeypatch):
    monkeypatch.setattr(sam_module, "LARGEST_SIDE", 50)
    image = rng.integers(0, 256, (60, 100, 3), dtype=np.uint8)
    masks = sam.automatic_masks(image, **EVERY_MASK)
    assert {(mask.shape, mask.sum() == area) for mask, area, _ in masks} == {((60, 100), True)}
    mask = masks[0].mask
    np.testing.assert_array_equal(mask[::2, ::2], mask[1::2, 1::2])  # of twice the size of what was looked at
    assert len(sam.automatic_masks(sam.embed(image), **EVERY_MASK)) > 0


def test_automatic_masks_can_be_sliced():
    runs = [
        {"segmentation": {"size": [1, 3], "counts": counts}, "predicted_iou": 0.5} for counts in ([0, 3], [1, 1, 1])
    ]
    masks = AutomaticMasks(runs, (1, 3))
    assert [masked.mask.astype(int).tolist() for masked in masks[1:]] == [[[0, 1, 0]]]
    assert [area for _, area, _ in masks] == [3, 1]


def test_automatic_masks_take_fewer_points_when_memory_runs_out(sam, image, monkeypatch):
    taken, decode = [], sam.network.module.mask_decoder.forward

    def small_memory(**inputs):
        taken.append(len(inputs["sparse_prompt_embeddings"]))
        if taken[-1] > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return decode(**inputs)

    expected = len(sam.automatic_masks(image, **EVERY_MASK))
    monkeypatch.setattr(sam.network.module.mask_decoder, "forward", small_memory)
    assert len(sam.automatic_masks(image, points_per_batch=8, **EVERY_MASK)) == expected
    assert taken == [8, 4, 2, 2, 2, 2, 1]


def test_boxes_in_smaller_passes_when_memory_runs_out(sam, embedding, monkeypatch):
    decode = sam.network.module.mask_decoder.forward

    def small_memory(most):
        def forward(**inputs):
            if len(inputs["sparse_prompt_embeddings"]) > most:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
            return decode(**inputs)

        return forward

    boxes = [[0, 0, 20 + index, 30] for index in range(5)]
    expected, _ = sam.masks_from_boxes(embedding, boxes)
    monkeypatch.setattr(sam.network.module.mask_decoder, "forward", small_memory(1))
    np.testing.assert_array_equal(sam.masks_from_boxes(embedding, boxes)[0], expected)
    monkeypatch.setattr(sam.network.module.mask_decoder, "forward", small_memory(0))
    for run in (
        lambda: sam.masks_from_boxes(embedding, boxes),
        lambda: sam.masks_from_points(embedding, [[1, 1]], [True]),
        lambda: sam.automatic_masks(embedding, **EVERY_MASK),
    ):
        with pytest.raises(LabelQualityError, match=r"memory is too small .* device='cpu'"):
            run()


def test_encoder_out_of_memory(sam, image, monkeypatch):
    def full(_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(sam.network.module.image_encoder, "forward", full)
    with pytest.raises(LabelQualityError, match="too small for the image encoder"):
        sam.embed(image)


def test_half_precision_changes_little(checkpoint, image, embedding):
    half = load_sam(checkpoint, device="cpu", half=False)
    half.half = torch.bfloat16
    rounded = half.embed(image).features.astype(np.float32)
    error = np.abs(rounded - embedding.features)
    assert error.max() > 0
    assert error.mean() < 0.02 * np.abs(embedding.features).mean()


@pytest.mark.parametrize(
    ("device", "fast", "half", "expected"),
    [
        ("cpu", True, None, torch.bfloat16),
        ("cpu", True, True, torch.bfloat16),
        ("cpu", True, False, None),
        ("cpu", False, None, None),
        ("mps", True, None, None),
    ],
)
def test_half_precision_where_it_is_faster(monkeypatch, device, fast, half, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast, raising=False)
    assert half_type(torch.device(device), half) is expected


def test_half_precision_cannot_be_forced(checkpoint, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    with pytest.raises(LabelQualityError, match="Half precision was asked for on device cpu"):
        load_sam(checkpoint, device="cpu", half=True)


# What is read off a checkpoint


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_published_sizes_are_read_off_the_shapes(name):
    with torch.device("meta"):
        theirs = sam_model_registry[name]()
        sizes = read_sizes(theirs.state_dict(), name)
        ours = build_sam(sizes)
    assert sizes.name == name
    require_match(ours.state_dict(), theirs.state_dict(), name)
    assert _layers(ours) == _layers(theirs)


def _layers(network):
    """What the weights' shapes do not show: windows, heads, scales, image sizes."""
    return [
        {
            key: value
            for key, value in vars(module).items()
            if isinstance(value, (int, float, tuple)) and not key.startswith("_")
        }
        for module in network.modules()
    ]


@pytest.mark.parametrize("prefix", ["module.", "sam_model."])
def test_a_prefix_and_a_nest_are_removed(checkpoint, tmp_path, prefix, image, embedding):
    weights = torch.load(checkpoint, weights_only=True)
    path = tmp_path / "wrapped.pth"
    torch.save({"model": {prefix + name: value for name, value in weights.items()}, "epoch": 3}, path)
    np.testing.assert_array_equal(load_sam(path, device="cpu", half=False).embed(image).features, embedding.features)


def test_half_precision_weights_are_read(checkpoint, tmp_path, image):
    weights = torch.load(checkpoint, weights_only=True)
    path = tmp_path / "half.pth"
    torch.save({name: value.half() for name, value in weights.items()}, path)
    assert load_sam(path, device="cpu").embed(image).features.dtype == np.float16


def test_no_such_checkpoint(tmp_path):
    with pytest.raises(LabelQualityError, match=r"There is no SAM checkpoint .*none\.pth; download one"):
        load_sam(tmp_path / "none.pth")


def test_a_file_that_is_no_state_dict(tmp_path):
    path = tmp_path / "text.pth"
    path.write_text("no weights")
    with pytest.raises(LabelQualityError, match=r"Cannot read .*text\.pth as a state dict"):
        load_sam(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {"fc.weight": torch.zeros(2, 2)}, "is not a SAM checkpoint: there is no image_encoder.pos_embed"),
        (lambda w: {k: v for k, v in w.items() if "neck" not in k}, "there is no image_encoder.neck.0.weight"),
        (lambda w: {k: v for k, v in w.items() if "no_mask_embed" not in k}, "1 missing .prompt_encoder.no_mask"),
        (lambda w: w | {"image_encoder.pos_embed": torch.zeros(1, 8, 9, 32)}, "8 x 9 patches"),
        (lambda w: w | {"image_encoder.pos_embed": torch.zeros(64, 32)}, "the shapes of its layers"),
        (lambda w: w | {"mask_decoder.mask_tokens.weight": torch.zeros(5, 32)}, "does not fit SAM .custom."),
    ],
)
def test_not_a_sam_checkpoint(checkpoint, tmp_path, change, message):
    path = tmp_path / "other.pth"
    torch.save(change(torch.load(checkpoint, weights_only=True)), path)
    with pytest.raises(LabelQualityError, match=message):
        load_sam(path, device="cpu")


def test_another_model_than_asked_for(checkpoint):
    with pytest.raises(LabelQualityError, match=r"Expected a checkpoint of vit_b, but .* one of custom"):
        load_sam(checkpoint, model_type="vit_b", device="cpu")


def test_zoo_names_are_the_zoos():
    found = find_spec("fiftyone")  # where it is, without the ten seconds of importing it
    manifest = json.loads((Path(found.origin).parent / "zoo/models/manifest-torch.json").read_text())
    files = {model["base_name"]: model.get("base_filename") for model in manifest["models"]}
    assert {name: files[name] for name in ZOO_CHECKPOINTS} == ZOO_CHECKPOINTS


def test_cached_model_follows_the_file(tmp_path):
    path = save_random_sam(tmp_path / "tiny.pth", seed=0)
    first = cached_sam(path, "cpu")
    assert cached_sam(str(path), torch.device("cpu")) is first
    save_random_sam(path, seed=1)
    os.utime(path, ns=(1, 1))
    second = cached_sam(path, "cpu")
    assert second.checkpoint != first.checkpoint
    with pytest.raises(LabelQualityError, match="There is no SAM checkpoint"):
        cached_sam(tmp_path / "none.pth", "cpu")


# Bad images and prompts


@pytest.mark.parametrize(
    ("points", "positive", "message"),
    [
        ([], [], "one or more finite"),
        ([[1, 2, 3]], [True], "one or more finite"),
        ([[1, np.nan]], [True], "one or more finite"),
        ([[1, 2]], [True, False], r"1 points and shape \(2,\)"),
    ],
)
def test_bad_points(sam, embedding, points, positive, message):
    with pytest.raises(LabelQualityError, match=message):
        sam.masks_from_points(embedding, points, positive)


@pytest.mark.parametrize("boxes", [[[1, 2, 3]], [1, 2, 3, 4], [[1, 2, np.inf, 4]]])
def test_bad_boxes(sam, embedding, boxes):
    with pytest.raises(LabelQualityError, match="finite x1, y1, x2, y2"):
        sam.masks_from_boxes(embedding, boxes)


def test_bad_mask_prompt(sam, embedding):
    with pytest.raises(LabelQualityError, match=r"\(1, 32, 32\), but got \(40, 60\)"):
        sam.masks_from_points(embedding, [[1, 1]], [True], mask_input=np.zeros((40, 60)))


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), "u1")]
)
def test_bad_images(sam, image):
    with pytest.raises(LabelQualityError, match=r"Expected an image of shape \(H, W, 3\) and type uint8"):
        sam.embed(image)


def test_an_image_much_too_narrow(sam):
    with pytest.raises(LabelQualityError, match="1 x 400 pixels shrink to 0 x 128"):
        sam.embed(np.zeros((1, 400, 3), np.uint8))


@pytest.mark.parametrize("size", [(375, 500), (500, 333), (1024, 2048), (1, 1), (7, 1023)])
def test_scaling_is_segment_anythings(size):
    from segment_anything.utils.transforms import ResizeLongestSide

    assert encoder_pixels(size, 1024) == ResizeLongestSide.get_preprocess_shape(*size, 1024)


def test_unreadable_image_file(sam, tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8 nothing")
    with pytest.raises(SegmenterError, match=r"broken\.jpg: cannot be read"):
        sam.embed(path)


def test_embedding_of_another_checkpoint(sam, image, tmp_path):
    other = load_sam(save_random_sam(tmp_path / "other.pth", seed=1), device="cpu").embed(image)
    for run in (
        lambda: sam.masks_from_points(other, [[1, 1]], [True]),
        lambda: sam.masks_from_boxes(other, [[1, 1, 2, 2]]),
        lambda: sam.automatic_masks(other),
    ):
        with pytest.raises(LabelQualityError, match="embed the image again"):
            run()


def test_crops_need_the_image(sam, embedding):
    with pytest.raises(LabelQualityError, match="Crops are embedded anew"):
        sam.automatic_masks(embedding, crop_n_layers=1)


# Embeddings on disk


class _Counted:
    """A SAM that counts the images it embeds."""

    def __init__(self, sam):
        self._sam, self.checkpoint, self.calls = sam, sam.checkpoint, 0

    def embed(self, image):
        self.calls += 1
        return self._sam.embed(image)


@pytest.fixture
def counted(sam):
    return _Counted(sam)


def _same(one: ImageEmbedding, other: ImageEmbedding) -> bool:
    rest = [(e.original_size, e.input_size, e.checkpoint) for e in (one, other)]
    return np.array_equal(one.features, other.features) and rest[0] == rest[1]


def test_round_trip(embedding, tmp_path):
    path = tmp_path / "deep" / "a.npz"
    embedding.save(path)
    loaded = ImageEmbedding.load(path)
    assert _same(loaded, embedding)
    assert loaded.features.dtype == np.float16
    assert [file.name for file in path.parent.iterdir()] == ["a.npz"]


def test_kept_by_content(counted, image, tmp_path):
    cache = EmbeddingCache(tmp_path / "cache", counted)
    file, copy = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(image).save(file)
    copy.write_bytes(file.read_bytes())
    assert not cache.has(file)
    first = cache.get(file)
    assert cache.has(copy)
    assert _same(cache.get(str(copy)), first)
    assert counted.calls == 1
    changed = image.copy()
    changed[0, 0, 0] ^= 1
    Image.fromarray(changed).save(file)
    assert not cache.has(file)
    assert not cache.has(image)
    assert _same(cache.get(image), cache.get(image[:, :, :]))
    assert cache.has(np.asfortranarray(image))
    assert not cache.has(image.reshape(60, 40, 3))
    assert counted.calls == 2


def test_another_checkpoint_has_its_own_embeddings(counted, image, tmp_path):
    EmbeddingCache(tmp_path, counted).get(image)
    other = _Counted(load_sam(save_random_sam(tmp_path / "other.pth", seed=1), device="cpu"))
    cache = EmbeddingCache(tmp_path, other)
    assert not cache.has(image)
    assert cache.get(image).checkpoint == other.checkpoint != counted.checkpoint


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(path.read_bytes()[:400] + b"\0" * 50 + path.read_bytes()[450:]),
        lambda path: np.savez(path, features=np.zeros(3)),
        lambda path: np.save(path.open("wb"), np.zeros(3)),
    ],
    ids=["empty", "cut off", "overwritten", "other content", "no archive"],
)
def test_damaged_files_are_computed_again(counted, image, tmp_path, damage):
    cache = EmbeddingCache(tmp_path, counted)
    first = cache.get(image)
    damage(cache.path(image))
    with pytest.raises(LabelQualityError, match="compute it again"):
        ImageEmbedding.load(cache.path(image))
    assert _same(cache.get(image), first)
    assert _same(cache.get(image), first)
    assert counted.calls == 2


def test_a_failed_write_leaves_nothing(embedding, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(LabelQualityError, match="No space left on device"):
        embedding.save(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(counted, image, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LabelQualityError, match="Cannot write the embedding"):
        EmbeddingCache(tmp_path / "file" / "cache", counted).get(image)


def test_a_missing_image_file(counted, tmp_path):
    with pytest.raises(LabelQualityError, match=r"Cannot read the image .*none\.png"):
        EmbeddingCache(tmp_path, counted).get(tmp_path / "none.png")
