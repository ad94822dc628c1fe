"""Each superpixel is described as the formulas say, pixel by pixel, whatever type and form the arrays have."""

from __future__ import annotations

import time
from dataclasses import fields

import numpy as np
import pytest
import torch

from fiftyone_plugin.correction.questions.candidates import Candidates, expansion_set, find_candidates
from fiftyone_plugin.errors import LabelQualityError

ROWS = [(0.7, 0.2, 0.1), (0.6, 0.3, 0.1), (0.1, 0.8, 0.1), (0.5, 0.4, 0.1)]
LABELS = [[1, 1, 1, 0]]


def planes(rows):
    """(pixels, K) probabilities as an image of one row."""
    return np.array(rows, np.float64).T[:, None]


def test_the_published_formulas():
    found = find_candidates(LABELS, planes(ROWS), [[1, 1, 1, 1]])
    assert found.dominant.tolist() == [0]
    assert (found.row.tolist(), found.column.tolist()) == ([0], [1])
    assert found.cil == pytest.approx([0.7])
    assert found.mean_cil == pytest.approx([0.55])
    assert found.sim == pytest.approx([2.088186], abs=5e-7)
    assert found.given.tolist() == [1]
    assert found.doubted.tolist() == [2]
    assert found.doubt == pytest.approx([2.2])
    assert found.predicted.tolist() == [[3, 1, 0]]
    assert found.mean_probs[0] == pytest.approx([0.475, 0.425, 0.1])
    assert found.bbox.tolist() == [[0, 0, 1, 4]]


@pytest.mark.parametrize(
    ("threshold", "alike", "sim"),
    [
        (0.0, [True, True, True, True], 2.088186),
        (0.9, [True, True, False, True], 1.975663),
        (0.99, [False, True, False, False], 0.7),
        (1.0, [False, True, False, False], 0.7),
    ],
)
def test_an_answer_reaches_pixels_that_are_alike(threshold, alike, sim):
    assert expansion_set(ROWS, 1, threshold).tolist() == alike
    found = find_candidates(LABELS, planes(ROWS), [[1, 1, 1, 1]], threshold=threshold)
    assert found.sim == pytest.approx([sim], abs=5e-7)
    doubt = np.array([0.8, 0.7, 0.2, 0.5])
    assert found.mean_cil == pytest.approx([doubt[alike].mean()])


def by_hand(labels, probs, segments):
    """The same with loops over pixels."""
    num_classes = len(probs)
    described = []
    for segment in sorted(set(segments[segments > 0].tolist())):
        places = np.argwhere(segments == segment)
        vectors = [probs[:, y, x].astype(float) for y, x in places]
        classes = [int(np.argmax(vector)) for vector in vectors]
        counts = [classes.count(c) for c in range(num_classes)]
        dominant = int(np.argmax(counts))
        mean = np.mean([v for v, c in zip(vectors, classes, strict=True) if c == dominant], axis=0)

        def cosine(one, other):
            return float(one @ other / np.sqrt((one @ one) * (other @ other)))

        likeness = [cosine(v, mean) if c == dominant else -1 for v, c in zip(vectors, classes, strict=True)]
        best = int(np.argmax(likeness))
        own = [int(labels[y, x]) for y, x in places]
        has = [0 <= label < num_classes for label in own]
        doubts = [1 - v[y if h else c] for v, y, h, c in zip(vectors, own, has, classes, strict=True)]
        kinds = [label if h else num_classes for label, h in zip(own, has, strict=True)]
        given = int(np.argmax([kinds.count(c) for c in range(num_classes + 1)]))
        variance = np.mean(vectors, axis=0)
        whole = 1 - variance @ variance
        described.append(
            {
                "segment": segment,
                "area": len(places),
                "bbox": [*places.min(axis=0), *(places.max(axis=0) + 1)],
                "row": places[best][0],
                "column": places[best][1],
                "given": -1 if given == num_classes else given,
                "dominant": dominant,
                "mean_probs": np.mean(vectors, axis=0),
                "predicted": counts,
                "cil": doubts[best],
                "mean_cil": np.mean(doubts),
                "sim": sum(d * cosine(v, vectors[best]) for d, v in zip(doubts, vectors, strict=True)),
                "sim_to_mean": sum(d * cosine(v, mean) for d, v in zip(doubts, vectors, strict=True)),
                "doubt": sum(doubts),
                "doubted": sum(h and y != c for h, y, c in zip(has, own, classes, strict=True)),
                "mixed": sum(np.var(vectors, axis=0)) / whole,
            }
        )
    return described


def random_image(seed, shape=(37, 61), num_classes=5):
    rng = np.random.default_rng(seed)
    probs = rng.random((num_classes, *shape)) ** 6
    labels = rng.choice([*range(num_classes), -1, 255], shape)
    segments = rng.choice([0, 3, 4, 9, 200_000], shape)
    segments[0, 0] = 31  # a single pixel
    segments[5:9, 5:9], labels[5:9, 5:9] = 32, 255  # without a class
    return labels, probs / probs.sum(axis=0), segments


@pytest.mark.parametrize("seed", range(4))
def test_every_number_is_that_of_a_loop_over_pixels(seed):
    labels, probs, segments = random_image(seed)
    found = find_candidates(labels, probs, segments)
    expected = by_hand(labels, probs, segments)
    assert len(found) == len(expected) == 6
    for field in fields(Candidates):
        wanted = np.array([row[field.name] for row in expected], np.float64)
        np.testing.assert_allclose(getattr(found, field.name), wanted, rtol=2e-6, atol=1e-9, err_msg=field.name)


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(torch.from_numpy, id="tensor"),
        pytest.param(lambda probs: torch.from_numpy(probs).requires_grad_(), id="with gradient"),
        pytest.param(lambda probs: probs.astype(np.float32), id="float32"),
        pytest.param(lambda probs: probs.astype(np.float16), id="float16"),
        pytest.param(lambda probs: torch.from_numpy(probs).bfloat16(), id="bfloat16"),
        pytest.param(lambda probs: probs.astype(">f4"), id="other byte order"),
        pytest.param(lambda probs: np.asfortranarray(probs), id="other layout"),
    ],
)
def test_the_type_of_the_probabilities_does_not_matter(convert):
    labels, probs, segments = random_image(0)
    plain, found = find_candidates(labels, probs, segments), find_candidates(labels, convert(probs), segments)
    np.testing.assert_allclose(found.mean_probs, plain.mean_probs, atol=2e-3)
    np.testing.assert_allclose(found.mean_cil, plain.mean_cil, atol=2e-3)
    assert (found.given == plain.given).all()


def test_ties_go_to_the_smaller_class_and_the_first_pixel():
    half = [(0.5, 0.5, 0.0)] * 2
    found = find_candidates([[2, 0]], planes(half), [[1, 1]])
    assert (found.dominant[0], found.column[0], found.given[0]) == (0, 0, 0)
    swapped = find_candidates([[0, 0]], planes([(0.1, 0.9), (0.9, 0.1)]), [[1, 1]])
    assert (swapped.dominant[0], swapped.column[0]) == (0, 1)


def test_what_is_not_labelled_is_not_doubted():
    found = find_candidates([[255, -1]], planes([(0.7, 0.3), (0.6, 0.4)]), [[1, 2]])
    assert found.given.tolist() == [-1, -1]
    assert found.doubted.tolist() == [0, 0]
    assert found.cil == pytest.approx([0.3, 0.4])
    assert found.suggested.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("rows", "mixed"),
    [
        pytest.param([(0.5, 0.5), (0.5, 0.5)], 0.0, id="unsure"),
        pytest.param([(1.0, 0.0), (0.0, 1.0)], 1.0, id="two things"),
        pytest.param([(1.0, 0.0), (1.0, 0.0)], 0.0, id="sure"),
        pytest.param([(0.9, 0.1), (0.5, 0.5)], 0.08 / 0.42, id="in between"),
    ],
)
def test_unsure_is_told_from_mixed(rows, mixed):
    assert find_candidates([[0, 0]], planes(rows), [[1, 1]]).mixed == pytest.approx([mixed])


def test_alternatives_begin_with_the_suggested_class():
    rows = [(0.4, 0.6, 0.0, 0.0), (0.4, 0.6, 0.0, 0.0), (0.9, 0.0, 0.0, 0.1)]
    found = find_candidates([[3, 3, 3]], planes(rows), [[1, 1, 1]])
    assert found.dominant.tolist() == [1]  # although class 0 has the larger mean probability
    assert found.suggested.tolist() == [1]
    assert found.alternatives(0).tolist() == [1, 0, 2]
    agreeing = find_candidates([[1, 1, 1]], planes(rows), [[1, 1, 1]])
    assert agreeing.suggested.tolist() == [0]
    assert agreeing.alternatives(0).tolist() == [0, 3, 2]
    unlabelled = find_candidates([[255, 255, 255]], planes(rows), [[1, 1, 1]])
    assert unlabelled.alternatives(0).tolist() == [1, 0, 3, 2]


def test_no_superpixel_no_candidate(tmp_path):
    found = find_candidates(LABELS, planes(ROWS), [[0, 0, 0, 0]])
    assert len(found) == 0
    assert found.num_classes == 3
    assert found.bbox.shape == (0, 4)
    assert found.suggested.shape == (0,)
    assert len(Candidates.load(found.save(tmp_path / "none.npz"))) == 0


def test_candidates_are_read_as_they_were_written(tmp_path):
    found = find_candidates(*random_image(1))
    read = Candidates.load(found.save(tmp_path / "image.npz"))
    for field in fields(Candidates):
        written, again = getattr(found, field.name), getattr(read, field.name)
        assert written.dtype == again.dtype
        assert (written == again).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.npz"]


def test_a_damaged_file_is_refused(tmp_path):
    path = find_candidates(*random_image(1)).save(tmp_path / "image.npz")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(LabelQualityError, match=r"image\.npz, but it cannot be read"):
        Candidates.load(path)
    np.savez(path, segment=np.zeros(3))
    with pytest.raises(LabelQualityError, match="find them again"):
        Candidates.load(path)
    with pytest.raises(FileNotFoundError):
        Candidates.load(tmp_path / "nothing.npz")


def with_value(value):
    probs = planes(ROWS)
    probs[0, 0, 1] = value
    return probs


@pytest.mark.parametrize(
    ("labels", "probs", "segments", "error", "message"),
    [
        ([[0, 1]], planes(ROWS), [[1, 1, 1, 1]], LabelQualityError, r"\(1, 4\) and \(1, 2\)"),
        (LABELS, planes(ROWS[:3]), [[1, 1, 1, 1]], LabelQualityError, r"but got \(3, 1, 3\)"),
        (LABELS, with_value(np.nan), [[1, 1, 1, 1]], LabelQualityError, "1 of 4 pixels holds NaN"),
        (LABELS, with_value(-0.2), [[1, 1, 1, 1]], LabelQualityError, "values from -0.2"),
        (LABELS, with_value(0.9), [[1, 1, 1, 1]], LabelQualityError, "the sums of 1 of 4"),
        (LABELS, planes(ROWS).astype(int), [[1, 1, 1, 1]], TypeError, "floating point"),
        ([[0.5] * 4], planes(ROWS), [[1, 1, 1, 1]], TypeError, "integer class indices"),
        (LABELS, planes(ROWS), [[1, 1, -1, 1]], LabelQualityError, "ids from 0"),
    ],
)
def test_bad_input_is_refused(labels, probs, segments, error, message):
    with pytest.raises(error, match=message):
        find_candidates(labels, probs, segments)


def test_bad_probabilities_outside_of_superpixels_are_nobodys_business():
    assert len(find_candidates(LABELS, with_value(np.nan), [[1, 0, 1, 1]])) == 1


@pytest.mark.parametrize(("rows", "place"), [(ROWS, 4), (ROWS, -1), (ROWS[0], 0)])
def test_there_is_no_such_pixel(rows, place):
    with pytest.raises(LabelQualityError, match=r"\(pixels, K\)"):
        expansion_set(rows, place, 0.5)


def test_how_long_a_large_image_takes():
    rng = np.random.default_rng(0)
    probs = rng.random((21, 1024, 2048), np.float32)
    probs /= probs.sum(axis=0)
    labels = rng.integers(0, 21, (16, 32)).repeat(64, 0).repeat(64, 1)
    segments = np.arange(1, 301).reshape(15, 20).repeat(69, 0)[:1024].repeat(103, 1)[:, :2048]
    find_candidates(*random_image(0))
    started = time.perf_counter()
    assert len(find_candidates(labels, probs, segments)) == 300
    print(f"{time.perf_counter() - started:.2f} s for 1024 x 2048 pixels, 21 classes and 300 superpixels")


def test_unsigned_labels_with_void_are_read_right():
    probs = np.full((2, 1, 4), 0.5)
    labels = np.array([[255, 255, 1, 1]], np.uint8)
    found = find_candidates(labels, probs, [[1, 1, 2, 2]])
    np.testing.assert_array_equal(found.given, [-1, 1])
