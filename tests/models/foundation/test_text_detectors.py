"""OWLv2 and SAM 3, tiny and of random weights, find what transformers itself finds, and say what they cannot use."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.foundation.detectors import gives_masks, load_detector
from fiftyone_plugin.models.foundation.random_checkpoints import save_random_owl, save_random_sam3

transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")

WORDS = ["cat", "dog", "traffic", "light"]
NAMES = {"cat": ["cat"], "signal": ["traffic light", "light"], "dog": []}
TEXTS, CLASSES = ["cat", "traffic light", "light", "dog"], [0, 1, 1, 2]


@pytest.fixture(scope="module")
def owl(tmp_path_factory):
    return save_random_owl(tmp_path_factory.mktemp("owl"), WORDS)


@pytest.fixture(scope="module")
def sam3(tmp_path_factory):
    return save_random_sam3(tmp_path_factory.mktemp("sam3"), WORDS)


@pytest.fixture
def images(rng):
    return [rng.integers(0, 256, size, dtype=np.uint8) for size in ((40, 60, 3), (60, 45, 3))]


@functools.cache
def reference(network, processor, folder):
    return network.from_pretrained(folder).eval(), processor.from_pretrained(folder)


@torch.no_grad()
def owl_by_hand(folder, image, threshold):
    network, processor = reference(transformers.Owlv2ForObjectDetection, transformers.Owlv2Processor, folder)
    texts = [[f"a photo of a {text}" for text in TEXTS]]
    output = network(**processor(text=texts, images=image, return_tensors="pt"))
    [found] = processor.post_process_grounded_object_detection(output, threshold, [image.shape[:2]])
    return found


@torch.no_grad()
def sam3_by_hand(folder, image, threshold):
    network, processor = reference(transformers.Sam3Model, transformers.Sam3Processor, folder)
    for text in TEXTS:
        output = network(**processor(images=image, text=text, return_tensors="pt"))
        [found] = processor.post_process_instance_segmentation(output, threshold, 0.5, [image.shape[:2]])
        yield found


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_owl_boxes_are_transformers(owl, images, threshold):
    detector = load_detector(owl, device="cpu")
    for image, boxes in zip(images, detector.detect(images, NAMES, threshold), strict=True):
        expected = owl_by_hand(owl, image, threshold)
        assert len(boxes) == len(expected["scores"])
        assert boxes.class_index.tolist() == [CLASSES[label] for label in expected["labels"]]
        np.testing.assert_allclose(boxes.score, expected["scores"], atol=1e-5)
        limits = [image.shape[1], image.shape[0]] * 2
        np.testing.assert_allclose(boxes.xyxy, np.clip(expected["boxes"], 0, limits), atol=1e-2)
        assert boxes.masks is None
        assert len(boxes) == 16 or threshold


def test_sam3_masks_are_transformers(sam3, images):
    detector = load_detector(sam3, device="cpu")
    scores = np.concatenate([one["scores"] for one in sam3_by_hand(sam3, images[0], 0.0)])
    threshold = float(np.median(scores))
    for image, boxes in zip(images, detector.detect(images, NAMES, threshold), strict=True):
        expected = list(sam3_by_hand(sam3, image, threshold))
        counts = [len(one["scores"]) for one in expected]
        assert boxes.class_index.tolist() == np.repeat(CLASSES, counts).tolist()
        np.testing.assert_allclose(boxes.score, np.concatenate([one["scores"] for one in expected]), atol=1e-5)
        limits = [image.shape[1], image.shape[0]] * 2
        corners = np.clip(np.concatenate([one["boxes"] for one in expected]), 0, limits)
        np.testing.assert_allclose(boxes.xyxy, corners, atol=1e-2)
        masks = np.concatenate([one["masks"].numpy().astype(bool) for one in expected if len(one["masks"])])
        assert len(boxes.masks) == len(masks)
        assert np.mean(np.stack(list(boxes.masks)) != masks) < 1e-3  # half precision may turn a pixel at the cut
    assert 0 < sum(counts) < len(scores)


def test_only_sam3_needs_no_sam(owl, sam3):
    assert [gives_masks(one) for one in (owl, sam3)] == [False, True]


@pytest.mark.parametrize(
    ("kind", "names", "message"),
    [
        ("owl", ["cat", "xylophone of wood with " * 4], "tokens, but the detector takes"),
        ("sam3", ["cat", "xylophone of wood with " * 4], "tokens, but the detector takes"),
        ("sam3", ["cat", "犬"], "knows nothing of"),
    ],
)
def test_names_that_cannot_be_asked_for(request, kind, names, message):
    detector = load_detector(request.getfixturevalue(kind), device="cpu")
    with pytest.raises(LabelQualityError, match=message):
        detector.questions(names)


def test_without_tokenizer(sam3, tmp_path):
    for file in sam3.iterdir():
        if not file.name.startswith("tokenizer"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(LabelQualityError, match="its tokenizer"):
        load_detector(tmp_path, device="cpu")
