"""One pass gives exactly NumPy's gather, max and argmax, for every type, layout and device, on any number of cores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fiftyone_plugin.quality.pixels.device_maps import measure_on_device
from fiftyone_plugin.quality.pixels.kernels import CHUNK
from fiftyone_plugin.quality.pixels.measurement import measure_image
from fiftyone_plugin.quality.pixels.pixel_maps import THRESHOLD_GRID

SHAPES = [(1, 1), (3, 5), (64, 32), (128, 129), (200, 300)]


def assert_same(one, other):
    np.testing.assert_array_equal(one.maps.self_confidence, other.maps.self_confidence)
    np.testing.assert_array_equal(one.maps.best_probability, other.maps.best_probability)
    np.testing.assert_array_equal(one.maps.predicted, other.maps.predicted)
    for name in ("given", "predicted", "agreeing", "self_confidence", "histograms", "num_suspects", "num_certain"):
        np.testing.assert_array_equal(getattr(one.sums, name), getattr(other.sums, name), err_msg=name)


def image(make_dataset, num_classes, shape, dtype=np.float32, seed=0):
    labels, probs = make_dataset(seed, 1, num_classes, *shape, dtype)
    label = labels[0].astype(np.uint8 if num_classes < 256 else np.int64)
    label[0, : shape[1] // 3] = 255
    return label, probs[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_classes", [2, 3, 4, 5, 8, 19])
def test_maps_are_numpys(make_dataset, num_classes, shape, dtype):
    label, probs = image(make_dataset, num_classes, shape, dtype)
    valid = label != 255
    picked = np.take_along_axis(probs, np.where(valid, label, 0)[None].astype(int), 0)[0]
    predicted = probs.argmax(0)

    measured = measure_image(label, probs)

    np.testing.assert_array_equal(measured.maps.self_confidence, np.where(valid, picked, np.nan))
    np.testing.assert_array_equal(measured.maps.best_probability, probs.max(0))
    np.testing.assert_array_equal(measured.maps.predicted, predicted)
    assert measured.maps.self_confidence.dtype == dtype
    np.testing.assert_array_equal(measured.sums.given, np.bincount(label[valid], minlength=num_classes))
    np.testing.assert_array_equal(measured.sums.predicted, np.bincount(predicted[valid], minlength=num_classes))
    agreeing = label[valid & (predicted == label)]
    np.testing.assert_array_equal(measured.sums.agreeing, np.bincount(agreeing, minlength=num_classes))
    sums = np.bincount(label[valid], picked[valid].astype(float), num_classes)
    np.testing.assert_allclose(measured.sums.self_confidence, sums, rtol=1e-13)
    assert measured.sums.num_certain == (picked[valid] >= dtype(0.99)).sum()


def test_many_classes():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(300), (20, 30)).transpose(2, 0, 1)
    label = rng.integers(0, 300, (20, 30))
    measured = measure_image(label, probs, ignore_index=None)
    assert measured.maps.predicted.dtype == np.uint16
    np.testing.assert_array_equal(measured.maps.predicted, probs.argmax(0))


def test_smallest_class_wins_ties():
    probs = np.array([0.1, 0.3, 0.3, 0.0, 0.3]).reshape(5, 1, 1)
    assert measure_image([[4]], probs).maps.predicted[0, 0] == 1


@pytest.mark.parametrize(
    "arrange",
    [
        pytest.param(lambda p: p.transpose(1, 2, 0).copy().transpose(2, 0, 1), id="class axis last"),
        pytest.param(np.asfortranarray, id="Fortran order"),
        pytest.param(lambda p: np.repeat(p, 2, axis=2)[:, :, ::2], id="every second column"),
        pytest.param(lambda p: p[:, ::-1, ::-1].copy()[:, ::-1, ::-1], id="negative strides"),
        pytest.param(lambda p: p.astype(p.dtype.newbyteorder(">")), id="big endian"),
        pytest.param(lambda p: p.tolist(), id="nested lists"),
        pytest.param(torch.from_numpy, id="tensor"),
        pytest.param(lambda p: torch.from_numpy(p).requires_grad_(), id="tensor with gradient"),
        pytest.param(
            lambda p: torch.from_numpy(p).permute(1, 2, 0).contiguous().permute(2, 0, 1), id="tensor permuted"
        ),
    ],
)
def test_layout_does_not_matter(make_dataset, arrange):
    label, probs = image(make_dataset, 5, (40, 30), np.float64)
    assert_same(measure_image(label, arrange(probs)), measure_image(label, probs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(make_dataset, dtype):
    label, probs = image(make_dataset, 5, (40, 30))
    half = torch.from_numpy(probs).to(dtype)
    measured = measure_image(label, half)
    np.testing.assert_array_equal(measured.maps.best_probability, half.float().numpy().max(0))
    np.testing.assert_array_equal(measured.maps.predicted, half.float().numpy().argmax(0))
    if dtype == torch.float16:
        assert_same(measure_image(label, half.numpy()), measured)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_every_integer_label(make_dataset, dtype):
    label, probs = image(make_dataset, 5, (40, 30))
    expected = measure_image(np.where(label == 255, 100, label), probs, ignore_index=100)
    given = np.where(label == 255, 100, label).astype(dtype)
    assert_same(measure_image(given, probs, ignore_index=100), expected)
    assert_same(measure_image(torch.from_numpy(given.astype(np.int64)), probs, ignore_index=100), expected)


def test_inputs_are_never_written(make_dataset, tmp_path):
    label, probs = image(make_dataset, 5, (40, 30))
    np.save(tmp_path / "probs.npy", probs)
    mapped = np.load(tmp_path / "probs.npy", mmap_mode="r")
    label.flags.writeable = False
    assert_same(measure_image(label, mapped), measure_image(label, probs))


def test_threads_do_not_matter(make_dataset):
    label, probs = image(make_dataset, 7, (3 * CHUNK // 100, 211))
    one = measure_image(label, probs, with_histograms=True, num_threads=1)
    for num_threads in (2, 3, 7):
        assert_same(measure_image(label, probs, with_histograms=True, num_threads=num_threads), one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_device_gives_what_the_host_gives(make_dataset, dtype, monkeypatch):
    """The reduction for GPUs runs on any device; here on the CPU, in several parts."""
    monkeypatch.setattr("fiftyone_plugin.quality.pixels.device_maps.CHUNK_ELEMENTS", 5000)
    label, probs = image(make_dataset, 7, (60, 70))
    tensor = torch.from_numpy(probs).to(dtype)
    found = measure_on_device(label, tensor, 255, 1e-2, from_logits=False, histograms=True)
    assert_same(found, measure_image(label, tensor, with_histograms=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_what_the_host_gives(make_dataset):
    label, probs = image(make_dataset, 7, (60, 70))
    found = measure_image(label, torch.from_numpy(probs).cuda(), with_histograms=True)
    assert_same(found, measure_image(label, probs, with_histograms=True))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-7), (np.float64, 2e-15)])
def test_logits_become_their_softmax(dtype, tolerance):
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((9, 70, 80)) * rng.choice([1, 10, 60], (9, 70, 80))).astype(dtype)
    logits[3, :5] = -np.inf
    label = rng.integers(0, 9, (70, 80))
    probs = torch.softmax(torch.from_numpy(logits).double(), 0).numpy()
    found, expected = measure_image(label, logits, from_logits=True), measure_image(label, probs)
    np.testing.assert_allclose(found.maps.self_confidence, expected.maps.self_confidence, atol=tolerance, rtol=0)
    np.testing.assert_allclose(found.maps.best_probability, expected.maps.best_probability, atol=tolerance, rtol=0)
    np.testing.assert_array_equal(found.maps.predicted, logits.argmax(0))
    device = measure_on_device(
        label.astype(np.int32), torch.from_numpy(logits), 255, 1e-3, from_logits=True, histograms=False
    )
    np.testing.assert_allclose(device.maps.self_confidence, expected.maps.self_confidence, atol=tolerance, rtol=0)


@pytest.mark.parametrize("from_logits", [False, True])
def test_histograms_count_thresholds_below(make_dataset, from_logits):
    label, probs = image(make_dataset, 4, (50, 60), np.float64)
    probs[:, :10] = np.array([0.05, 0.15, 0.35, 0.45])[:, None, None]  # on the grid: not above the threshold
    given = np.log(probs) if from_logits else probs
    used = measure_image(label, given, from_logits=from_logits, with_histograms=True)
    if from_logits:  # the grid values move by a rounding in the softmax
        label[:10] = 255
        used = measure_image(label, given, from_logits=True, with_histograms=True)
    steps = (probs[None] > THRESHOLD_GRID[:, None, None, None]).sum(0)
    for k in range(4):
        for inside in (False, True):
            chosen = steps[k][(label != 255) & ((label == k) == inside)]
            np.testing.assert_array_equal(used.sums.histograms[int(inside), k], np.bincount(chosen, minlength=20))


def test_probabilities_may_be_anything_where_ignored():
    probs = np.full((2, 1, 3), 0.5)
    probs[:, 0, 1] = np.nan, 7.0
    measured = measure_image([[0, 255, 1]], probs)
    np.testing.assert_array_equal(measured.maps.self_confidence, [[0.5, np.nan, 0.5]])
    np.testing.assert_array_equal(measured.sums.given, [1, 1])


def test_rounding_below_zero_is_zero():
    probs = np.array([[[1 + 5e-8]], [[-5e-8]]])
    maps = measure_image([[1]], probs).maps
    assert maps.self_confidence[0, 0] == 0
    assert not np.signbit(measure_image([[1]], np.array([[[1.0]], [[-0.0]]])).maps.self_confidence[0, 0])
    assert maps.best_probability[0, 0] == 1


def test_ignored_class_among_the_classes():
    measured = measure_image([[0, 1]], np.full((2, 1, 2), 0.5), ignore_index=0)
    np.testing.assert_array_equal(measured.sums.given, [0, 1])
    assert np.isnan(measured.maps.self_confidence[0, 0])
