"""ONNX files give what their graph computes, at the batch and size that they were exported for."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import load_segmenter

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
WEIGHT = np.random.default_rng(0).normal(size=(3, 3, 1, 1)).astype(np.float32)


def write(path, batch="N", height="H", width="W", channels=3, last=False):
    """A file with one 1 x 1 convolution, that takes channels first or last."""
    from onnx import TensorProto, helper, numpy_helper

    shape = [batch, height, width, channels] if last else [batch, channels, height, width]
    nodes = [helper.make_node("Conv", ["first" if last else "image", "weight"], ["second" if last else "scores"])]
    if last:
        nodes.insert(0, helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]))
        nodes.append(helper.make_node("Transpose", ["second"], ["scores"], perm=[0, 2, 3, 1]))
    graph = helper.make_graph(
        nodes, "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(WEIGHT[:, :channels], "weight")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("options", [{}, {"last": True}, {"batch": 2, "height": 16, "width": 24}])
def test_scores_of_the_graph(options, tmp_path):
    images = list(np.random.default_rng(1).integers(0, 256, (3, 16, 24, 3), dtype=np.uint8))
    segmenter = load_segmenter(write(tmp_path / "net.onnx", **options), device="cpu", mean=(0,) * 3, std=(1,) * 3)
    found = segmenter.predict(images)
    for image, probabilities in zip(images, found, strict=True):
        logits = np.einsum("kc,hwc->khw", WEIGHT[:, :, 0, 0], image / 255)
        torch.testing.assert_close(probabilities.double(), torch.tensor(logits).softmax(0), atol=1e-5, rtol=1e-4)
    if "height" in options:
        assert segmenter.inputs.size == (16, 24)
        assert segmenter.predict([np.zeros((30, 40, 3), np.uint8)])[0].shape == (3, 30, 40)


def test_files_that_do_not_fit(tmp_path, monkeypatch):
    with pytest.raises(LabelQualityError, match=r"but it takes \[\('image', 'tensor\(float\)', \('N', 1, 'H', 'W'\)\)"):
        load_segmenter(write(tmp_path / "grey.onnx", channels=1))
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(LabelQualityError, match=r"Cannot load .*broken.onnx as an ONNX model"):
        load_segmenter(tmp_path / "broken.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(LabelQualityError, match=r'pip install "fiftyone-label-quality\[onnx\]"'):
        load_segmenter(tmp_path / "grey.onnx")
