"""Inputs shared by the tests of `quality`: random datasets and plain NumPy versions of every definition."""

from __future__ import annotations

import numpy as np
import pytest


def make_dataset(seed, num_images, num_classes, height, width, dtype=np.float32, accuracy=0.9, absent=False):
    """Blocky labels with errors and the probabilities of a fairly good model; no two probabilities are alike."""
    rng = np.random.default_rng(seed)
    used = num_classes - 1 if absent else num_classes
    blocks = rng.integers(0, used, (num_images, height // 4 + 1, width // 4 + 1))
    true = blocks.repeat(4, 1).repeat(4, 2)[:, :height, :width]
    logits = rng.standard_normal((num_images, num_classes, height, width)) * 2
    boosted = np.take_along_axis(logits, true[:, None], 1) + 4
    np.put_along_axis(logits, true[:, None], boosted, 1)
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    wrong = rng.integers(0, used, true.shape)
    labels = np.where(rng.random(true.shape) < accuracy, true, wrong)
    return labels, probs.astype(dtype)


def plain_flags(labels, pred_probs, ignore_index=None):
    """Confident learning as its four rules are written, on flat arrays of all pixels; all pixels tied are flagged."""
    given = np.concatenate([np.ravel(label) for label in labels]).astype(int)
    probs = np.concatenate([p.reshape(p.shape[0], -1) for p in pred_probs], axis=1).astype(np.float64)
    flags, valid = np.zeros(given.size, bool), given != ignore_index
    flags[valid] = _flat_flags(given[valid], probs[:, valid])
    ends = np.cumsum([np.size(label) for label in labels])
    return [part.reshape(np.shape(label)) for part, label in zip(np.split(flags, ends[:-1]), labels, strict=True)]


def _flat_flags(given, probs):
    confidence, best, predicted = probs[given, np.arange(given.size)], probs.max(0), probs.argmax(0)
    num_classes = probs.shape[0]
    thresholds = np.array(
        [confidence[given == k].mean() if (given == k).any() else 0 for k in range(num_classes)]
    ).clip(2e-6)
    count = int(((predicted != given) & (best >= thresholds[predicted] - 1e-6)).sum())
    if count == 0:
        return np.zeros(given.size, bool)
    return (confidence <= np.sort(confidence)[count - 1]) & (predicted != given)


@pytest.fixture(name="make_dataset")
def make_dataset_fixture():
    return make_dataset


@pytest.fixture(name="plain_flags")
def plain_flags_fixture():
    return plain_flags


@pytest.fixture
def good_image():
    """One 2 x 3 image of 2 classes whose prediction is sound."""
    label = np.array([[0, 0, 1], [1, 1, 0]])
    second = np.array([[0.1, 0.2, 0.9], [0.6, 0.8, 0.3]])
    return label, np.stack([1 - second, second])
