"""A network's probabilities: sizes restored, sums of one, averages, windows, and errors that name the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import ImageItem, ModelMismatchError, SegmenterError, load_segmenter
from fiftyone_plugin.models.segmenters.network import IMAGENET_MEAN, IMAGENET_STD


def normalised(image):
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std)[None]


@torch.no_grad()
def expected(network, image):
    return network(normalised(image)).softmax(1)[0]


def load(network, **options):
    return load_segmenter(network, device="cpu", **options)


def test_predicts_what_the_network_says(pointwise, image):
    (probabilities,) = load(pointwise).predict([image])
    torch.testing.assert_close(probabilities, expected(pointwise, image))
    assert probabilities.dtype == torch.float32
    assert not probabilities.requires_grad


def test_images_of_different_sizes_keep_their_order_and_sizes(pointwise, image):
    images = [image, image[:20], image, image[:, :30]]
    sizes = [None, (41, 63), (80, 20), None]
    found = load(pointwise).predict(images, sizes=sizes)
    assert [tuple(p.shape) for p in found] == [(4, 40, 60), (4, 41, 63), (4, 80, 20), (4, 40, 30)]
    for probabilities in found:
        torch.testing.assert_close(probabilities.sum(0), torch.ones(probabilities.shape[1:]))
    torch.testing.assert_close(found[3], expected(pointwise, image)[:, :, :30])


def test_lower_resolution_of_the_network_is_undone(blurry, image):
    (probabilities,) = load(blurry).predict([image])
    assert probabilities.shape == (4, 40, 60)


def test_padding_to_a_stride_is_cropped_away(pointwise, image):
    seen = []

    def network(images):
        seen.append(tuple(images.shape[-2:]))
        return pointwise(images)

    (probabilities,) = load(network, stride=32).predict([image])
    assert seen == [(64, 64)]
    torch.testing.assert_close(probabilities, expected(pointwise, image))


def test_input_size_is_what_the_network_gets(pointwise, image):
    seen = []

    def network(images):
        seen.append(tuple(images.shape))
        return pointwise(images)

    found = load(network, input_size=(33, 33)).predict([image, image[:10]])
    assert seen == [(2, 3, 33, 33)]
    assert [tuple(p.shape) for p in found] == [(4, 40, 60), (4, 10, 60)]


def test_own_normalisation(image):
    def network(images):
        return torch.cat([images, 1 - images.sum(1, keepdim=True)], 1) * 5

    (probabilities,) = load(network, mean=(0, 0, 0), std=(1, 1, 1)).predict([image])
    plain = torch.from_numpy(image).permute(2, 0, 1) / 255
    scores = torch.cat([plain, 1 - plain.sum(0, keepdim=True)]) * 5
    torch.testing.assert_close(probabilities, scores.softmax(0))


@pytest.mark.parametrize(
    ("flips", "axes"),
    [
        (True, [(), (3,)]),
        (["vertical"], [(), (2,)]),
        (["horizontal", "vertical"], [(), (3,), (2,), (2, 3)]),
    ],
)
def test_flips_are_averaged(blurry, image, flips, axes):
    def predict(stack):
        with torch.no_grad():
            scores = blurry(stack)
            scores = nn.functional.interpolate(scores, stack.shape[-2:], mode="bilinear", align_corners=False)
            return scores.softmax(1)

    stack = normalised(image)
    mean = sum(predict(stack.flip(a)).flip(a) for a in axes) / len(axes)
    (probabilities,) = load(blurry, flips=flips).predict([image])
    torch.testing.assert_close(probabilities, mean[0])


def test_scales_are_averaged(blurry, image):
    single = [load(blurry, scales=[scale]).predict([image])[0] for scale in (0.5, 1.0, 1.5)]
    (probabilities,) = load(blurry, scales=[0.5, 1.0, 1.5]).predict([image])
    torch.testing.assert_close(probabilities, sum(single) / 3)
    assert not torch.allclose(single[0], single[1])


@pytest.mark.parametrize("tile", [16, (16, 24), (64, 16), (33, 59)])
@pytest.mark.parametrize("overlap", [None, 0, 7])
def test_windows_equal_the_whole_for_a_pointwise_network(pointwise, image, tile, overlap):
    (probabilities,) = load(pointwise, tile=tile, overlap=overlap).predict([image])
    torch.testing.assert_close(probabilities, expected(pointwise, image))


def test_windows_are_resized_to_the_input_size(pointwise, image):
    seen = set()

    def network(images):
        seen.add(tuple(images.shape[-2:]))
        return pointwise(images)

    found = load(network, tile=16, input_size=(24, 24)).predict([image, image[:12, :12]])
    assert seen == {(24, 24)}
    assert [tuple(p.shape) for p in found] == [(4, 40, 60), (4, 12, 12)]


@pytest.mark.parametrize(
    "wrap", [lambda s: {"out": s}, lambda s: {"logits": s}, lambda s: (s, None), lambda s: s.numpy()]
)
def test_containers_of_scores(pointwise, image, wrap):
    with torch.no_grad():
        (probabilities,) = load(lambda images: wrap(pointwise(images).detach())).predict([image])
    torch.testing.assert_close(probabilities, expected(pointwise, image))


def test_probabilities_are_recognised(pointwise, image):
    (probabilities,) = load(lambda images: pointwise(images).softmax(1)).predict([image])
    torch.testing.assert_close(probabilities, expected(pointwise, image))


def test_explicit_logits_win_over_recognition(pointwise, image):
    (probabilities,) = load(lambda images: pointwise(images).softmax(1), from_logits=True).predict([image])
    torch.testing.assert_close(probabilities, expected(pointwise, image).softmax(0))


def test_independent_probabilities_are_refused(pointwise, image):
    with pytest.raises(ModelMismatchError, match=r"lie in \[0, 1\].*sum to .* pass `from_logits=True`"):
        load(lambda images: pointwise(images).sigmoid()).predict([image])


def test_explicit_probabilities_must_sum_to_one(pointwise, image):
    with pytest.raises(SegmenterError, match="Image street: Expected probabilities that sum to 1"):
        load(pointwise, from_logits=False).predict([image], names=["street"])


@pytest.mark.parametrize("sigmoid", [False, True])
def test_one_channel_is_class_one_against_class_zero(image, sigmoid):
    def network(images):
        scores = images[:, :1]
        return scores.sigmoid() if sigmoid else scores

    segmenter = load(network, **({"class_names": ["lesion"]} if sigmoid else {"num_classes": 2}))
    assert segmenter.class_names == (["background", "lesion"] if sigmoid else None)
    (probabilities,) = segmenter.predict([image])
    torch.testing.assert_close(probabilities[1], normalised(image)[0, 0].sigmoid())
    torch.testing.assert_close(probabilities.sum(0), torch.ones(40, 60))


def test_number_of_classes_is_learned_from_the_first_prediction(pointwise, image):
    segmenter = load(pointwise)
    assert segmenter.num_classes is None
    segmenter.predict([image])
    assert segmenter.num_classes == 4


def test_wrong_number_of_channels_says_both_and_ends_the_stream_at_once(pointwise, image):
    items = (ImageItem(str(index), image=image) for index in range(100))
    with pytest.raises(ModelMismatchError, match="has 4 channels and the labels have 7 classes; pass `channel_map"):
        next(load(pointwise, num_classes=7).stream(items, batch_size=1))


def test_channel_map_sums_drops_and_renormalises(pointwise, image):
    plain = expected(pointwise, image)
    (probabilities,) = load(pointwise, num_classes=3, channel_map={0: 2, 1: 0, 3: 2}).predict([image])
    kept = plain[0] + plain[1] + plain[3]
    torch.testing.assert_close(probabilities[2], (plain[0] + plain[3]) / kept)
    torch.testing.assert_close(probabilities[0], plain[1] / kept)
    assert float(probabilities[1].max()) == 0


def test_nan_names_the_image_and_spares_the_others(pointwise, image):
    black = np.zeros_like(image)

    def network(images):
        scores = pointwise(images)
        dark = images.amax((1, 2, 3)) < 0
        scores[dark] = float("nan")
        return scores

    items = [ImageItem("a", image=image), ImageItem("night", image=black), ImageItem("c", image=image)]
    results = dict((item.name, result) for item, result in load(network).stream(items))
    assert isinstance(results["night"], SegmenterError)
    assert "Image night: The model returned 9600 values of 9600 that are NaN" in str(results["night"])
    torch.testing.assert_close(results["c"], expected(pointwise, image))


def test_any_exception_of_the_network_names_the_image(image):
    def network(images):
        raise KeyError("layer")

    with pytest.raises(SegmenterError, match="Image street: KeyError: 'layer'") as caught:
        load(network).predict([image], names=["street"])
    assert isinstance(caught.value.__cause__, KeyError)


class Greedy(nn.Module):
    """Runs out of memory for more than `fits` images at once, as CUDA says it."""

    def __init__(self, layer, fits):
        super().__init__()
        self.layer, self.fits, self.batches = layer, fits, []

    def forward(self, images):
        self.batches.append(len(images))
        if len(images) > self.fits:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB")
        return self.layer(images)


@pytest.mark.parametrize("channels", [1, 4])
def test_a_network_of_other_channels_is_refused_as_a_whole(image, channels):
    segmenter = load(torch.nn.Conv2d(channels, 4, 1))
    with pytest.raises(ModelMismatchError, match=rf"images with 3 channels, but .*Conv2d takes {channels}\. .*mean\(1"):
        segmenter.predict([image])


def test_out_of_memory_halves_the_batch_and_stays_there(pointwise, image):
    network = Greedy(pointwise, fits=2)
    segmenter = load(network)
    items = [ImageItem(str(index), image=image) for index in range(16)]
    results = list(segmenter.stream(items, batch_size=8))
    assert [item.name for item, _ in results] == [item.name for item in items]
    for _, probabilities in results:
        torch.testing.assert_close(probabilities, expected(pointwise, image))
    assert network.batches == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]


def test_out_of_memory_of_windows_halves_their_number(pointwise, image):
    network = Greedy(pointwise, fits=1)
    (probabilities,) = load(network, tile=16).predict([image])
    torch.testing.assert_close(probabilities, expected(pointwise, image))


def test_out_of_memory_for_one_image_says_the_way_out(pointwise, image):
    segmenter = load(Greedy(pointwise, fits=0))
    items = [ImageItem("a", image=image), ImageItem("b", image=image)]
    for item, result in segmenter.stream(items):
        assert isinstance(result, SegmenterError)
        assert f"Image {item.name}: the memory of cpu is too small for a single image of 40 x 60" in str(result)
        assert "tile=512" in str(result)


def test_stream_goes_on_after_unreadable_images(pointwise, image, tmp_path):
    from PIL import Image

    Image.fromarray(image).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:500])
    (tmp_path / "empty.png").touch()
    names = ["good.png", "cut.png", "missing.png", "empty.png"]
    items = [ImageItem(name, path=str(tmp_path / name), size=(20, 30)) for name in names]
    results = [(item.name, result) for item, result in load(pointwise).stream(items, batch_size=2)]
    assert [name for name, _ in results] == names
    assert results[0][1].shape == (4, 20, 30)
    for name, result in results[1:]:
        assert isinstance(result, SegmenterError)
        assert str(result).startswith(f"Image {name}: cannot read {tmp_path / name}")


def test_stream_reads_lazily(pointwise, image):
    drawn = []

    def items():
        for index in range(1000):
            drawn.append(index)
            yield ImageItem(str(index), image=image)

    stream = load(pointwise).stream(items(), batch_size=2)
    next(stream)
    stream.close()
    assert len(drawn) < 10


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)])
def test_wrong_images_say_their_shape(pointwise, wrong):
    with pytest.raises(LabelQualityError, match=r"image street to be a \(height, width, 3\) uint8 RGB array, but got"):
        load(pointwise).predict([wrong], names=["street"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flips": ["diagonal"]}, "Expected flips among"),
        ({"scales": []}, "one or more positive scales"),
        ({"scales": [0.0]}, "one or more positive scales"),
        ({"tile": 16, "overlap": 16}, "less than the tile, but got overlap=16"),
        ({"mean": (0.5,)}, "three means"),
        ({"std": (0.5, 0.0, 1.0)}, "three positive deviations"),
        ({"stride": 0}, "positive stride"),
        ({"num_classes": 1}, "at least 2 classes"),
        ({"num_classes": 4, "class_names": ["a", "b"]}, "2 names and num_classes=4"),
        ({"channel_map": [0, 1, 1, 0]}, "needs `num_classes`"),
        ({"num_classes": 2, "channel_map": [0, 1, 2, 1]}, r"name classes 0..1, but got \[2\]"),
        ({"num_classes": 2, "channel_map": [None, None]}, "keep at least one channel"),
        ({"device": "cuda:99"}, "CUDA devices here"),
        ({"device": "abacus"}, "Unknown device"),
    ],
)
def test_wrong_options_are_refused_when_loading(pointwise, options, message):
    with pytest.raises(LabelQualityError, match=message):
        load_segmenter(pointwise, **{"device": "cpu", **options})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [([0, 1], "each of the model's 4 channels, but it names 2"), ({0: 0, 9: 1}, r"names \[9\]")],
)
def test_channel_map_must_fit_the_model(pointwise, image, mapping, message):
    with pytest.raises(ModelMismatchError, match=message):
        load(pointwise, num_classes=2, channel_map=mapping).predict([image])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda images: images.argmax(1), r"scores of shape \(1, classes, height, width\)"),
        (lambda images: images.argmax(1, keepdim=True), "floating-point scores per class, but got torch.int64"),
        (lambda images: {"masks": images}, "a dict with keys"),
        (lambda images: None, "but got a NoneType"),
        (lambda images: images[:0], r"but got \(0, 3, 40, 60\)"),
    ],
)
def test_outputs_that_are_no_scores_are_refused(image, network, message):
    with pytest.raises(ModelMismatchError, match=message):
        load(network).predict([image])


def test_user_module_is_put_in_evaluation_mode(image):
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Dropout(0.9))
    segmenter = load(network)
    assert torch.equal(segmenter.predict([image])[0], segmenter.predict([image])[0])


def test_predictions_do_not_touch_the_global_generator(pointwise, image):
    before = torch.get_rng_state()
    load(pointwise, tile=16, flips=True).predict([image])
    assert torch.equal(before, torch.get_rng_state())
