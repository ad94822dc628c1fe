"""Where cleanlab has the function, the results are its results: softmin to 1e-6, flags and tables pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin import quality

filters = pytest.importorskip("cleanlab.segmentation.filter", reason="cleanlab is a development dependency")
rank = pytest.importorskip("cleanlab.segmentation.rank")
summary = pytest.importorskip("cleanlab.segmentation.summary")

CASES = [
    # seed, images, classes, height, width, absent class
    (0, 1, 2, 7, 9, False),
    (1, 3, 3, 33, 17, True),
    (2, 4, 5, 40, 60, False),
    (3, 2, 11, 81, 64, True),
    (4, 5, 19, 48, 80, False),
    (5, 2, 21, 130, 140, False),
    (6, 1, 40, 64, 96, True),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("seed", "images", "classes", "height", "width", "absent"), CASES)
def test_same_flags_and_scores(make_dataset, seed, images, classes, height, width, absent, dtype):
    labels, probs = make_dataset(seed, images, classes, height, width, dtype, absent=absent)
    flags = filters.find_label_issues(labels, probs, n_jobs=1, verbose=False)
    softmin, confidence = rank.get_label_quality_scores(labels, probs, verbose=False)
    counts, _ = rank.get_label_quality_scores(labels, probs, method="num_pixel_issues", n_jobs=1, verbose=False)

    scores = quality.image_scores(labels, probs, ["softmin", "confident_learning_counts"], ignore_index=None)

    np.testing.assert_array_equal(quality.label_issues(labels, probs, ignore_index=None), flags)
    np.testing.assert_array_equal(quality.pixel_scores(labels, probs, ignore_index=None), confidence)
    np.testing.assert_allclose(scores["softmin"], softmin, atol=1e-6, rtol=0)
    np.testing.assert_allclose(scores["confident_learning_counts"], counts, atol=1e-12)


@pytest.mark.parametrize("seed", range(25))
def test_same_flags_on_many_small_datasets(make_dataset, seed):
    rng = np.random.default_rng(1000 + seed)
    images, classes, height, width = (int(rng.integers(*r)) for r in ((1, 6), (2, 41), (3, 40), (3, 40)))
    accuracy, dtype = rng.uniform(0.05, 1), (np.float32, np.float64)[seed % 2]
    labels, probs = make_dataset(seed, images, classes, height, width, dtype, accuracy, absent=seed % 3 == 0)
    flags = filters.find_label_issues(labels, probs, n_jobs=1, verbose=False)
    np.testing.assert_array_equal(quality.label_issues(labels, probs, ignore_index=None), flags)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0, 10.0])
def test_same_softmin_at_every_temperature(make_dataset, temperature):
    labels, probs = make_dataset(7, 3, 6, 30, 50)
    expected, _ = rank.get_label_quality_scores(labels, probs, temperature=temperature, verbose=False)
    found = quality.image_scores(labels, probs, temperature=temperature)["softmin"]
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def test_same_class_pairs_and_class_filter(make_dataset):
    labels, probs = make_dataset(8, 3, 5, 30, 50)
    flags = quality.label_issues(labels, probs)
    table = summary.common_label_issues(np.stack(flags), labels, probs, top=100, verbose=False)
    expected = {(int(r.given_label), int(r.predicted_label)): r.num_pixel_issues for r in table.itertuples()}

    rows = quality.class_pair_table(quality.class_pair_counts(flags, labels, probs))

    assert {(row.given, row.predicted): row.pixels for row in rows} == expected
    assert [row.pixels for row in rows] == sorted(expected.values(), reverse=True)
    np.testing.assert_array_equal(
        quality.filter_by_class(2, flags, labels, probs),
        summary.filter_by_class(2, np.stack(flags), labels, probs),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_class_thresholds_below_the_floor(dtype):
    """Classes whose own probability is next to nothing everywhere count from 2e-6 on."""
    labels = np.array([[[0, 0, 1, 2]]])
    probs = np.array([[[[1e-7, 2e-7, 0.9, 0.6]], [[0.9, 0.7, 0.02, 0.3]], [[0.1 - 1e-7, 0.3 - 2e-7, 0.08, 0.1]]]])
    flags = filters.find_label_issues(labels, probs.astype(dtype), n_jobs=1, verbose=False)
    np.testing.assert_array_equal(quality.label_issues(labels, probs.astype(dtype)), flags)
