"""The consistency loss: published numbers, right gradients, and gates that let the right pixels through."""

from __future__ import annotations

import pytest
import torch

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.noise_robust.consistency import Consistency, consistency_loss, scaled_cross_entropy
from fiftyone_plugin.models.training.fold_training import pixel_cross_entropy

TOY = [torch.tensor(row).reshape(1, 2, 1, 1).log() for row in ([0.7, 0.3], [0.5, 0.5], [0.9, 0.1])]
LABELS = torch.zeros(1, 1, 1, dtype=torch.long)


def loss(logits, labels=LABELS, **options):
    return float(consistency_loss(logits, labels, 255, **options))


def test_the_published_toy_numbers():
    assert loss(TOY, gate=None) == pytest.approx(0.203498, abs=1e-6)
    alone = [loss([row, TOY[0]], gate=None, weights=torch.tensor([0.0, 1.0])) for row in TOY]
    assert alone == pytest.approx([0, 0.087177, 0.116322], abs=1e-6)


def test_equal_predictions_cost_nothing():
    assert loss([TOY[2]] * 3, gate=None) == pytest.approx(0, abs=1e-6)


def test_logits_may_be_shifted_and_extreme():
    shifted = [row + 50 for row in TOY]
    assert loss(shifted, gate=None) == pytest.approx(0.203498, abs=1e-5)
    extreme = [torch.tensor([1e4, -1e4]).reshape(1, 2, 1, 1).requires_grad_(), TOY[1]]
    value = consistency_loss(extreme, LABELS, 255, gate=None)
    value.backward()
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(extreme[0].grad).all())


def two_images():
    """Two images of two pixels; at a mean of 0.9 only the first pixel of the first image is confident."""
    first = torch.tensor([[[[0.9, 0.6]], [[0.1, 0.4]]], [[[0.7, 0.6]], [[0.3, 0.4]]]])
    second = torch.tensor([[[[0.9, 0.5]], [[0.1, 0.5]]], [[[0.6, 0.5]], [[0.4, 0.5]]]])
    return [first.log(), second.log()]


@pytest.mark.parametrize(("gate", "share"), [(None, 1.0), ("image", None), ("pixel", 0.0)])
def test_gates(gate, share):
    logits, labels = two_images(), torch.zeros(2, 1, 2, dtype=torch.long)
    everything = loss(logits, labels, gate=None)
    unsure_first = loss([row[:1] for row in logits], labels[:1], gate=None) / 2
    wanted = unsure_first if share is None else share * everything
    assert loss(logits, labels, gate=gate) == pytest.approx(wanted, abs=1e-7)
    assert 0 < unsure_first < everything


def test_an_ignored_pixel_makes_no_image_confident():
    logits, labels = two_images(), torch.zeros(2, 1, 2, dtype=torch.long)
    labels[0, 0, 0] = 255
    assert loss(logits, labels, gate="image") == 0
    assert loss(logits, torch.full_like(labels, 255), gate="image") == 0


def test_gradients_flow_through_every_scale_the_mean_and_the_weights():
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(1, 3, 2, 2, dtype=torch.double, generator=generator, requires_grad=True) for _ in range(3)]
    weights = torch.randn(3, dtype=torch.double, generator=generator, requires_grad=True)
    labels = torch.zeros(1, 2, 2, dtype=torch.long)

    def value(*inputs):
        return consistency_loss(inputs[:3], labels, 255, inputs[3].softmax(0), gate=None)

    assert torch.autograd.gradcheck(value, (*views, weights))


def test_cross_entropy_sums_over_scales_at_their_temperature():
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(2, 3, 4, 4, generator=generator) for _ in range(3)]
    targets = torch.randint(0, 3, (2, 4, 4), generator=generator)
    targets[0, 0] = 255
    plain = scaled_cross_entropy(views, targets, 255, None)
    assert float(plain) == pytest.approx(sum(float(pixel_cross_entropy(view, targets, 255)) for view in views))
    third = scaled_cross_entropy(views, targets, 255, torch.full((3,), 1 / 3))
    assert float(third) == pytest.approx(sum(float(pixel_cross_entropy(view / 3, targets, 255)) for view in views))
    assert float(scaled_cross_entropy(views, torch.full_like(targets, 255), 255, None)) == 0


def test_the_temperature_is_that_of_the_cross_entropy():
    weights = torch.tensor([0.5, 0.25, 0.25])
    assert Consistency().temperature(1.0, weights) == pytest.approx(2)
    assert Consistency().temperature(1.5, weights) == pytest.approx(4)
    assert Consistency().temperature(2.0, weights) == pytest.approx(3)
    assert Consistency(scaled_logits=False).temperature(1.0, weights) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": (0.7, 1.5)}, r"with 1 among them, but got \(0.7, 1.5\)"),
        ({"scales": (1.0,)}, "two or more"),
        ({"gate": "pixels"}, "but got 'pixels'"),
        ({"floor": 0.0}, "`floor` between 0 and 0.5"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(LabelQualityError, match=message):
        Consistency(**options)
