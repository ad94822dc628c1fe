"""A shifted or swapped table of classes is noticed; models that are merely weak raise no alarm."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin.quality import class_confusion, image_record, swapped_classes


def confusion_of(predicted_as, accuracy=0.8, num_classes=6, pixels=10_000):
    """Pixels by given and predicted class of a model that is right so often, under other numbers."""
    found = np.full((num_classes, num_classes), pixels * (1 - accuracy) / num_classes)
    for given, predicted in enumerate(predicted_as):
        found[given, predicted] += pixels * accuracy
    found[len(predicted_as) :] = 0  # classes that no label has
    return found.astype(np.int64)


@pytest.mark.parametrize(
    ("predicted_as", "unused", "moved"),
    [
        ([0, 1, 2, 3, 4, 5], (), {}),
        ([0, 2, 1, 3, 4, 5], (), {1: 2, 2: 1}),
        ([1, 2, 3, 4, 5], (), {0: 1, 1: 2, 2: 3, 3: 4, 4: 5}),
        ([5, 0, 1, 2, 3, 4], (), {0: 5, 1: 0, 2: 1, 3: 2, 4: 3, 5: 4}),
        ([1, 0], (), {0: 1, 1: 0}),
        ([0, 4], (), {}),
        ([0, 4], (3, 4, 5), {1: 4}),
        ([0, 0, 0, 0, 0, 0], (), {}),
        ([0, 1, 1, 1, 4, 4], (), {}),
    ],
    ids=["right", "two swapped", "off by one", "a cycle", "binary", "one to another", "one to an unused channel",
         "all background", "collapsed"],
)  # fmt: skip
@pytest.mark.parametrize("accuracy", [0.65, 0.95])
def test_permutations_are_found(predicted_as, unused, moved, accuracy):
    assert swapped_classes(confusion_of(predicted_as, accuracy), unused) == moved


def test_classes_of_few_pixels_say_nothing():
    assert swapped_classes(np.array([[9000, 0, 0], [0, 0, 200], [0, 200, 0]])) == {}


def test_weak_models_raise_no_alarm():
    """Each class is predicted as a few others by chance, more often as common ones, and as itself a little more."""
    rng = np.random.default_rng(51)
    alarms = 0
    for _ in range(400):
        size = int(rng.integers(2, 20))
        popular = rng.dirichlet(np.full(size, 0.3))
        rows = np.stack([rng.dirichlet(popular * 8 + 0.02) for _ in range(size)])
        rows = 0.9 * rows + 0.1 * np.eye(size)
        alarms += bool(swapped_classes((rows * rng.integers(300, 100_000, (size, 1))).astype(np.int64)))
    assert alarms == 0


def test_the_confusion_counts_every_labelled_pixel_once():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (20, 30))
    label[0] = 255
    probs = rng.dirichlet(np.ones(3), (20, 30)).transpose(2, 0, 1).astype(np.float32)
    found = class_confusion(image_record(label, probs))
    expected = np.zeros((3, 3), np.int64)
    np.add.at(expected, (label[1:], probs.argmax(0)[1:]), 1)
    assert found.tolist() == expected.tolist()
