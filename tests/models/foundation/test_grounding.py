"""Names become prompts, tokens become classes wherever a name shares words, and boxes come from the real detector."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.errors import SegmenterError
from fiftyone_plugin.models.foundation.detectors import cached_detector, load_detector
from fiftyone_plugin.models.foundation.grounding import pixel_corners
from fiftyone_plugin.models.foundation.grounding_prompt import (
    Phrase,
    Prompt,
    box_classes,
    class_phrases,
    plan_prompts,
    token_classes,
)
from fiftyone_plugin.models.foundation.random_checkpoints import save_random_detector

pytest.importorskip("transformers")

WORDS = ["cat", "dog", "traffic", "light", "sign", "pot", "##ted", "plant", "##s", "street", "couch", "sofa"]
NAMES = ["cat", "traffic light", "traffic sign", "potted plants"]
# [CLS] cat . traffic light . traffic sign . pot ##ted plant ##s . [SEP]
TOKENS_OF_NAMES = [-1, 0, -1, 1, 1, -1, 2, 2, -1, 3, 3, 3, 3, -1, -1]
NONE = -float("inf")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_random_detector(tmp_path_factory.mktemp("detector"), WORDS)


@pytest.fixture
def detector(checkpoint):
    return load_detector(checkpoint, device="cpu")


@pytest.fixture
def images(rng):
    return [rng.integers(0, 256, size, dtype=np.uint8) for size in ((40, 60, 3), (60, 45, 3), (64, 64, 3))]


def _offsets(detector, prompt):
    encoded = detector.processor.tokenizer(prompt.text, return_offsets_mapping=True)
    return encoded["offset_mapping"], encoded["input_ids"]


# Names to phrases


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["Cat", "Traffic Light"], [("cat", 0), ("traffic light", 1)]),
        (("traffic_light", " st. bernard  dog? "), [("traffic light", 0), ("st bernard dog", 1)]),
        ({"tvmonitor": ["tv", "Monitor"], "sofa": []}, [("tv", 0), ("monitor", 0), ("sofa", 1)]),
        ({"sofa": ["couch", "Couch", "sofa"], "cat": None}, [("couch", 0), ("sofa", 0), ("cat", 1)]),
        ({"sofa": ["couch"], "couch": ["bench"]}, [("couch", 0), ("bench", 1)]),
    ],
)
def test_phrases(given, expected):
    assert [(phrase.text, phrase.class_index) for phrase in class_phrases(given)] == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "the list is empty"),
        ({}, "the list is empty"),
        ("cat", "but got the text 'cat'; pass"),
        (["car", "Car"], "'car' and 'Car' have the same name"),
        (["car", "dog", "car"], "'car' and 'car' have the same name"),
        (["traffic_light", "Traffic light"], "have the same name"),
        ({"Car": ["auto"], "car": ["van"]}, "have the same name"),
        ({"sofa": ["couch"], "bench": ["Couch"]}, "'couch' stands for the classes 'sofa' and 'bench'"),
        ({"sofa": ["couch"], "couch": []}, "'couch' stands for the classes 'sofa' and 'couch'"),
        ([" "], "a wording without words"),
        (["..."], "a wording without words"),
        ({"sofa": ["couch", ""]}, "'sofa' has a wording without words"),
        ({"sofa": "couch"}, r"got the text 'couch'; pass \['couch'\]"),
    ],
)
def test_unusable_names(given, message):
    with pytest.raises(LabelQualityError, match=message):
        class_phrases(given)


@pytest.mark.parametrize("name", ["\u200b", "犬", "xylophone", "zebra crossing"])
def test_names_that_the_tokenizer_does_not_know(detector, name):
    with pytest.raises(ValueError, match="tokenizer knows nothing of"):
        detector.prompts(["cat", name])


# Phrases to prompts


def test_prompts_keep_to_the_limit_and_lose_no_phrase():
    phrases = [Phrase(text, index) for index, text in enumerate(["a", "b c", "d", "e f g", "h"])]
    prompts = plan_prompts(phrases, lambda text: len(text.split()), 3)
    assert [prompt.text for prompt in prompts] == ["a. b c.", "d.", "e f g.", "h."]
    assert [prompt.class_indices for prompt in prompts] == [(0, 1), (2,), (3,), (4,)]
    for prompt in prompts:
        texts = [prompt.text[start:end] for start, end in prompt.spans]
        assert texts == [phrases[index].text for index in prompt.class_indices]


def test_a_phrase_over_the_limit():
    with pytest.raises(LabelQualityError, match="'a b c d' has 4 tokens, but the detector takes 3"):
        plan_prompts([Phrase("a b c d", 0)], lambda text: len(text.split()), 3)


# Tokens to classes


def test_words_that_names_share_count_for_their_own_name(detector):
    [prompt] = detector.prompts(NAMES)
    assert prompt.text == "cat. traffic light. traffic sign. potted plants."
    offsets, ids = _offsets(detector, prompt)
    assert ids[3] == ids[6]  # "traffic" twice
    assert token_classes(prompt, offsets).tolist() == TOKENS_OF_NAMES


def test_wordings_count_for_their_class(detector):
    [prompt] = detector.prompts({"sofa": ["couch", "sofa"], "Traffic Sign": ["traffic sign", "street sign"]})
    assert prompt.text == "couch. sofa. traffic sign. street sign."
    assert token_classes(prompt, _offsets(detector, prompt)[0]).tolist() == [-1, 0, -1, 0, -1, 1, 1, -1, 1, 1, -1, -1]


def test_a_word_of_which_the_tokenizer_knows_a_part_only(detector):
    [prompt] = detector.prompts(["cat", "zebra light"])
    assert token_classes(prompt, _offsets(detector, prompt)[0]).tolist() == [-1, 0, -1, 1, 1, -1, -1]


def _logits(**at):
    """One box's logits over 16 columns, all unlikely but those named by position."""
    row = np.full((1, 16), -6.0)
    row[0, 15] = NONE
    for position, value in at.items():
        row[0, int(position[1:])] = value
    return row


# log(p / (1 - p)): 0 -> 0.5, -1.3863 -> 0.2, -1.38 -> 0.201, 2 -> 0.881
@pytest.mark.parametrize(
    ("logits", "kept"),
    [
        (_logits(p1=2), [0]),
        (_logits(p3=2), [1]),  # "traffic" of the light
        (_logits(p6=2), [2]),  # "traffic" of the sign
        (_logits(p3=1, p6=2, p4=1.9), [2]),
        (_logits(p10=2), [3]),  # a piece in the middle of a word
        (_logits(p12=2), [3]),
        (_logits(p0=9, p2=9, p14=9, p1=-1), [0]),  # special tokens and separators do not count
        (_logits(p0=9, p2=9, p14=9), []),  # nor do they keep a box
        (_logits(p1=-1.38), [0]),
        (_logits(p1=-1.3864), []),
        (_logits(p1=0.5, p7=0.5), [0]),  # of equals the first
        (np.full((1, 16), NONE), []),
    ],
)
def test_the_most_likely_token_decides(logits, kept):
    found = box_classes(logits, np.array(TOKENS_OF_NAMES), 0.2)
    assert found.class_index.tolist() == kept


def test_boxes_that_are_kept():
    logits = np.concatenate([_logits(p1=-5), _logits(p4=0), _logits(), _logits(p7=2)])
    found = box_classes(logits, np.array(TOKENS_OF_NAMES), 0.2)
    assert found.queries.tolist() == [1, 3]
    assert found.class_index.tolist() == [1, 2]
    np.testing.assert_allclose(found.score, [0.5, 0.880797], atol=1e-6)
    assert found.score.dtype == np.float32


def test_tokens_without_width_stand_for_nothing():
    prompt = Prompt("cat.", ((0, 3),), (5,))
    assert token_classes(prompt, [(0, 0), (0, 3), (3, 4), (2, 2)]).tolist() == [-1, 5, -1, -1]


def test_corners_are_cut_off_at_the_edge():
    boxes = np.array([[0.5, 0.5, 0.2, 0.4], [0.1, 0.9, 0.4, 0.4], [0.5, 0.5, 3, 3]])
    expected = [[40, 30, 60, 70], [0, 70, 30, 100], [0, 0, 100, 100]]
    np.testing.assert_allclose(pixel_corners(boxes, (100, 100)), expected, atol=1e-5)
    np.testing.assert_allclose(pixel_corners(boxes[:1], (50, 200)), [[80, 15, 120, 35]], atol=1e-5)


# The detector itself


def _by_hand(checkpoint, image, text, classes, threshold):
    """The same detection written with transformers alone, one image and one prompt at a time."""
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    processor = AutoProcessor.from_pretrained(checkpoint)
    network = AutoModelForZeroShotObjectDetection.from_pretrained(checkpoint).eval()
    inputs = processor(images=Image.fromarray(image), text=text, return_tensors="pt")
    with torch.no_grad():
        outputs = network(**inputs)
    probabilities = outputs.logits[0].sigmoid()
    found = []
    for query, box in zip(probabilities, outputs.pred_boxes[0], strict=True):
        best = max((p for p in range(len(classes)) if classes[p] >= 0), key=lambda p: float(query[p]))
        if query[best] > threshold:
            x, y, width, height = (box * torch.tensor([image.shape[1], image.shape[0]] * 2)).tolist()
            found.append(((x - width / 2, y - height / 2, x + width / 2, y + height / 2), classes[best], query[best]))
    return found


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_boxes_are_those_of_the_network(checkpoint, detector, images, threshold):
    text = "cat. traffic light. traffic sign. potted plants."
    counts = []
    for image in images:
        expected = _by_hand(checkpoint, image, text, TOKENS_OF_NAMES, threshold)
        [boxes] = detector.detect([image], NAMES, threshold)
        assert boxes.class_index.tolist() == [kept[1] for kept in expected]
        np.testing.assert_allclose(boxes.score, [float(kept[2]) for kept in expected], atol=1e-5)
        corners = np.clip([kept[0] for kept in expected], 0, [image.shape[1], image.shape[0]] * 2)
        np.testing.assert_allclose(boxes.xyxy, corners, atol=1e-3)
        counts.append(len(boxes))
    assert (set(counts) == {12}) == (threshold == 0)
    assert all(counts)


def test_a_batch_of_images_of_one_size(detector, rng):
    images = [rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(3)]
    together = detector.detect(images, NAMES, 0)
    for boxes, image in zip(together, images, strict=True):
        [alone] = detector.detect([image], NAMES, 0)
        assert boxes.class_index.tolist() == alone.class_index.tolist()
        np.testing.assert_allclose(boxes.xyxy, alone.xyxy, atol=1e-2)


def test_files_and_arrays(detector, images, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(images[0]).save(path)
    from_file, from_array = detector.detect([path, images[0]], NAMES, 0)
    np.testing.assert_array_equal(from_file.xyxy, from_array.xyxy)
    path.write_bytes(b"no image")
    with pytest.raises(SegmenterError, match=r"a\.png: cannot be read"):
        detector.detect([path], NAMES)


def test_no_images(detector):
    assert detector.detect([], NAMES) == []


def test_nothing_found(detector, images, monkeypatch):
    forward = detector.network.forward

    def unsure(**inputs):
        outputs = forward(**inputs)
        outputs.logits = outputs.logits - 100  # random weights may be as sure as can be
        return outputs

    monkeypatch.setattr(detector.network, "forward", unsure)
    [boxes] = detector.detect(images[:1], NAMES, 0.01)
    assert len(boxes) == 0
    assert (boxes.xyxy.shape, boxes.class_index.shape) == ((0, 4), (0,))


def test_long_prompts_are_split_and_their_boxes_put_together(detector, images, monkeypatch):
    whole = detector.prompts(NAMES)
    monkeypatch.setattr(detector.network.config, "max_text_len", 8)
    prompts = detector.prompts(NAMES)
    assert [prompt.text for prompt in prompts] == ["cat. traffic light.", "traffic sign.", "potted plants."]
    assert len(whole) == 1
    monkeypatch.undo()
    apart = [detector.detect(images[:1], names, 0)[0] for names in (NAMES[:2], NAMES[2:3], NAMES[3:])]
    monkeypatch.setattr(type(detector), "prompts", lambda *_: prompts)
    [boxes] = detector.detect(images[:1], NAMES, 0)
    np.testing.assert_allclose(boxes.xyxy, np.concatenate([part.xyxy for part in apart]), atol=1e-4)
    first = [apart[0].class_index, apart[1].class_index + 2, apart[2].class_index + 3]
    assert boxes.class_index.tolist() == np.concatenate(first).tolist()


def test_a_hundred_and_fifty_names_at_the_real_limit(tmp_path, images):
    names = [f"{one}{other}" for one in "abcdefghijklmno" for other in "pqrstuvwxy"]
    detector = load_detector(save_random_detector(tmp_path, names), device="cpu")
    prompts = detector.prompts(names)
    assert [index for prompt in prompts for index in prompt.class_indices] == list(range(150))
    lengths = [len(_offsets(detector, prompt)[1]) for prompt in prompts]
    assert lengths == [256, 48]  # [CLS] and [SEP], and two tokens per name
    [boxes] = detector.detect(images[:1], names, 0)
    assert len(boxes) == 24
    assert (boxes.class_index[:12] < 127).all()
    assert (boxes.class_index[12:] >= 127).all()


@pytest.mark.parametrize("most", [0, 1, 2])
def test_memory_runs_out(detector, images, monkeypatch, most):
    forward, sizes = detector.network.forward, []

    def small_memory(**inputs):
        sizes.append(len(inputs["pixel_values"]))
        if sizes[-1] > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(**inputs)

    monkeypatch.setattr(detector.network, "forward", small_memory)
    if most == 0:
        with pytest.raises(LabelQualityError, match="too small for the detector and a single image"):
            detector.detect(images, NAMES)
        return
    assert len(detector.detect(images, NAMES)) == 3
    assert sizes == {1: [3, 1, 1, 1], 2: [3, 1, 1, 1]}[most]


def test_half_precision_runs(checkpoint, images, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    [boxes] = load_detector(checkpoint, "cpu", half=True).detect(images[:1], NAMES, 0)
    assert len(boxes) == 12
    assert np.isfinite(boxes.xyxy).all()


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_bad_threshold(detector, images, threshold):
    with pytest.raises(LabelQualityError, match=r"`box_threshold` in \[0, 1\)"):
        detector.detect(images, NAMES, threshold)


def test_bad_image(detector):
    with pytest.raises(LabelQualityError, match=r"shape \(H, W, 3\)"):
        detector.detect([np.zeros((4, 4), np.uint8)], NAMES)


# Checkpoints that cannot be used


def _copy(checkpoint, folder):
    for file in checkpoint.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_no_checkpoint(tmp_path):
    with pytest.raises(LabelQualityError, match=r"Cannot load .* as a detector"):
        load_detector(tmp_path, device="cpu")


def test_no_tokenizer(checkpoint, tmp_path):
    folder = _copy(checkpoint, tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(LabelQualityError, match=r"its tokenizer (or image processor )?is missing"):
        load_detector(folder, device="cpu")


def test_no_text_encoder(checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = _copy(checkpoint, tmp_path)
    weights = load_file(folder / "model.safetensors")
    rest = {name: value for name, value in weights.items() if "text_backbone" not in name}
    assert len(rest) < len(weights)
    save_file(rest, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LabelQualityError, match=r"weights are missing .*text_backbone.* the text encoder's"):
        load_detector(folder, device="cpu")


def test_another_kind_of_model(checkpoint, tmp_path):
    folder = _copy(checkpoint, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"model_type": "detr"} | {"torch_dtype": config.get("dtype")}))
    with pytest.raises(LabelQualityError, match=r"Expected a checkpoint of grounding-dino.* is one of detr"):
        load_detector(folder, device="cpu")


def test_cached(checkpoint):
    assert cached_detector(checkpoint, "cpu") is cached_detector(str(checkpoint), "cpu")
