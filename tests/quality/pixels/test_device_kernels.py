"""The GPU's kernels give the bits of the CPU's, ties and faults included; here they run in Triton's interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="PyTorch comes without Triton on this platform")

ROOT = Path(__file__).parents[3]
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def test_interpreted_kernels_give_the_bits_of_the_host():
    """In a process of its own, because Triton decides when it is imported whether it interprets."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=environment, timeout=240)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def difficult_logits(num_classes, shape, rng):
    """Logits of all sizes, with exact ties, ties within a rounding of the exponential, and minus infinity."""
    logits = rng.standard_normal((num_classes, *shape)) * rng.choice([1, 10, 60], (num_classes, *shape))
    logits[:, :4] = np.round(logits[:, :4] / 30)
    logits[:, 4:8] = rng.integers(0, 4, (num_classes, 4, shape[1])) * 6e-8
    logits[num_classes // 2, :2] = -np.inf
    return logits.astype(np.float32)


def compare(num_classes, dtype, label_dtype, from_logits, ignore=255):
    from fiftyone_plugin.quality.pixels import device_kernels, device_maps
    from fiftyone_plugin.quality.pixels.measurement import measure_image

    rng = np.random.default_rng(num_classes)
    values = torch.from_numpy(difficult_logits(num_classes, (12, 31), rng))
    values = (values if from_logits else values.softmax(0)).to(TYPES[dtype])
    label = rng.integers(0, num_classes, (12, 31))
    label[3] = ignore
    label = label.astype(label_dtype)
    expected = measure_image(label, values, ignore_index=ignore, from_logits=from_logits).maps
    arguments = (values.reshape(num_classes, -1), torch.from_numpy(label).reshape(-1), ignore)
    confidence, best, predicted, faults = device_kernels.fused_maps(*arguments, 1e-2, from_logits=from_logits)
    np.testing.assert_array_equal(confidence.numpy(), expected.self_confidence.reshape(-1))
    np.testing.assert_array_equal(best.numpy(), expected.best_probability.reshape(-1))
    np.testing.assert_array_equal(predicted.numpy().view(expected.predicted.dtype), expected.predicted.reshape(-1))
    assert faults == 0
    plain = device_maps.plain_maps(*arguments, 1e-2, from_logits=from_logits)
    np.testing.assert_allclose(confidence.numpy(), plain[0].numpy(), atol=1e-6)
    np.testing.assert_allclose(best.numpy(), plain[1].numpy(), atol=1e-6)


def faults_of(values, label, from_logits):
    from fiftyone_plugin.quality.pixels import device_kernels, device_maps

    rows, given = torch.tensor(values).reshape(len(values), -1), torch.tensor(label)
    fused = device_kernels.fused_maps(rows, given, 255, 1e-2, from_logits=from_logits)
    plain = device_maps.plain_maps(rows, given, 255, 1e-2, from_logits=from_logits)
    assert int(fused[2].max()) < len(values), "a class that does not exist would be counted beyond the table"
    assert fused[3] == plain[3]
    return fused[3]


if __name__ == "__main__":
    from fiftyone_plugin.quality.pixels import device_kernels
    from fiftyone_plugin.quality.pixels.device_maps import OUTSIDE, UNSOUND

    device_kernels.BLOCK = 128
    compare(2, "float32", np.uint8, True)
    compare(6, "float16", np.int32, True)
    compare(5, "bfloat16", np.int64, True)
    compare(9, "float32", np.uint8, False, ignore=2)
    compare(257, "float32", np.int32, False, ignore=999)
    device_kernels.MOST_KEPT = 1
    compare(5, "float32", np.uint8, True)
    nan, inf = float("nan"), float("inf")
    assert faults_of([[0.5, 0.5], [0.5, 0.5]], [0, 2], False) == OUTSIDE
    assert faults_of([[0.5, -0.5], [0.5, 1.5]], [0, 1], False) == UNSOUND
    assert faults_of([[0.5, nan], [0.5, 0.5]], [0, 255], False) == 0
    assert faults_of([[0.5, 1.0], [2.5, nan]], [0, 255], True) == 0
    assert faults_of([[0.5, 1.0], [inf, 2.0]], [-1, 0], True) == OUTSIDE
    assert faults_of([[0.5, 1.0], [inf, 2.0]], [1, 0], True) == UNSOUND
    assert faults_of([[-inf, 1.0], [-inf, 2.0]], [1, 0], True) == UNSOUND
