"""A fold's training: full batches in the epoch's order, a loss that never divides by zero, hooks for other methods."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import Example
from fiftyone_plugin.models.training import fold_training
from fiftyone_plugin.models.training.fold_training import (
    EpochOrder,
    FoldPlan,
    SegmentationTraining,
    pixel_cross_entropy,
    train_fold,
)
from fiftyone_plugin.models.training.training_data import LabelSpace, check_examples

PLAN = FoldPlan(
    fold=0,
    epochs=2,
    batch_size=4,
    crop_size=(32, 32),
    lr=1e-2,
    encoder_lr=1e-2,
    seed=0,
    freeze_batchnorm=False,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    device=torch.device("cpu"),
)


class Tiny(nn.Module):
    """The least that can be trained: an encoder and a head."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, images):
        return self.head(self.encoder(images))


class HalfResolution(Tiny):
    """Answers at half the resolution of what it sees."""

    def forward(self, images):
        return super().forward(images)[..., ::2, ::2]


@pytest.fixture
def data(rng):
    examples = [
        Example(str(index), rng.integers(0, 256, (40, 40, 3), dtype=np.uint8), rng.integers(0, 2, (40, 40)))
        for index in range(5)
    ]
    return check_examples(examples, LabelSpace(2, 255), 1 << 20)


@pytest.mark.parametrize(("images", "views"), [(1, 4), (4, 4), (5, 8), (11, 12)])
def test_every_image_is_seen_and_every_batch_is_full(images, views):
    order = EpochOrder(images, PLAN)
    seen = list(order)
    assert len(order) == len(seen) == views
    assert {index for _, _, index in seen} == set(range(images))
    assert sorted(index for _, _, index in seen[:images]) == list(range(images))
    assert [position for _, position, _ in seen] == list(range(views))


def test_the_order_belongs_to_seed_fold_and_epoch():
    def order(plan, epoch):
        sampler = EpochOrder(20, plan)
        sampler.set_epoch(epoch)
        return [index for _, _, index in sampler]

    first = order(PLAN, 1)
    assert first == order(PLAN, 1)
    assert first != order(PLAN, 2)
    assert first != order(replace(PLAN, fold=1), 1)
    assert first != order(replace(PLAN, seed=1), 1)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_the_views_of_one_epoch(monkeypatch, world):
    whole = list(EpochOrder(11, PLAN))
    parts = []
    for rank in range(world):
        monkeypatch.setattr(fold_training, "_world", lambda rank=rank: (rank, world))
        part = EpochOrder(11, PLAN)
        parts.append(list(part))
        assert len(part) == len(parts[-1]) == 12 // world
    assert sorted(view for part in parts for view in part) == sorted(whole)


@pytest.mark.parametrize("total", [1, 2, 4, 9, 10, 400])
def test_the_learning_rate_rises_and_falls(total):
    rates = [fold_training.learning_rate(step, total) for step in range(total + 1)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == 1
    assert min(rates[:-1]) > 0


def test_cross_entropy_is_the_mean_over_labelled_pixels():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0], [5.0, -5.0]]).T.reshape(1, 2, 1, 3).requires_grad_()
    targets = torch.tensor([[[0, 1, 255]]])
    loss = pixel_cross_entropy(logits, targets, 255)
    wanted = (np.log1p(np.exp(-2.0)) + np.log(2.0)) / 2
    assert loss.item() == pytest.approx(wanted)
    nothing = pixel_cross_entropy(logits, torch.full_like(targets, 255), 255)
    nothing.backward()
    assert nothing.item() == 0
    assert bool(torch.isfinite(logits.grad).all())


class Strided(Tiny):
    """Begins as MobileOne does, with a convolution that channels-last training on a CPU would not survive."""

    def __init__(self):
        super().__init__()
        self.encoder.add_module("fourth", nn.Conv2d(4, 4, 1, stride=2))


@pytest.mark.parametrize("network", [Tiny, HalfResolution, Strided])
def test_a_fold_trains_and_tells(data, tmp_path, network):
    told = []
    model = train_fold(network(), data, range(5), PLAN, tmp_path, lambda *call: told.append(call))
    assert not model.training
    assert (tmp_path / "last.ckpt").is_file()
    assert told[-1][:2] == (16, 1)


def test_another_method_replaces_labels_adds_to_the_loss_and_watches(data, tmp_path):
    """What noise-robust training needs: other labels, another loss, and every step's logits."""
    watched = []

    class Corrected(SegmentationTraining):
        def targets(self, batch):
            return batch["mask"] if self.current_epoch == 0 else torch.ones_like(batch["mask"])

        def objective(self, batch, targets):
            loss, logits = super().objective(batch, targets)
            return loss + logits.square().mean(), logits

        def observe(self, batch, logits):
            watched.append((self.current_epoch, batch["index"].tolist(), tuple(logits.shape), logits.requires_grad))

    train_fold(Tiny(), data, [1, 3], PLAN, tmp_path, lambda *call: None, method=Corrected)
    assert [epoch for epoch, *_ in watched] == [0, 1]
    for _, indices, shape, needs_gradient in watched:
        assert set(indices) == {1, 3}
        assert shape == (4, 2, 32, 32)
        assert not needs_gradient


def test_a_damaged_checkpoint_is_named(data, tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"half a file")
    with pytest.raises(LabelQualityError, match=r"checkpoint .*last.ckpt cannot be read .* delete it"):
        train_fold(Tiny(), data, range(5), PLAN, tmp_path, lambda *call: None)


def test_a_full_disk_is_said(data, tmp_path, monkeypatch):
    import errno

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pytorch_lightning.trainer.trainer.Trainer.save_checkpoint", full)
    with pytest.raises(LabelQualityError, match=r"No space left on device.*finished epochs are kept"):
        train_fold(Tiny(), data, range(5), PLAN, tmp_path, lambda *call: None)


def test_an_image_that_changes_during_training_is_named(tmp_path, rng):
    from PIL import Image

    path = tmp_path / "a.png"
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    data = check_examples([Example("a", path, np.zeros((40, 40), int))], LabelSpace(2, 255), memory_budget=0)
    Image.new("RGB", (20, 20)).save(path)
    with pytest.raises(LabelQualityError, match=r"image a changed during training from \(40, 40\) to \(20, 20\)"):
        data.pair(0)
    path.unlink()
    with pytest.raises(LabelQualityError, match="image a can no longer be read"):
        data.pair(0)


class Pooled(Tiny):
    """Normalises one value per view, as the image pooling of some architectures does."""

    def __init__(self):
        super().__init__()
        self.pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3))

    def forward(self, images):
        return super().forward(images) + self.pooling(images).mean()


def test_batches_too_small_for_the_normalisation_say_the_way_out(data, tmp_path):
    with pytest.raises(LabelQualityError, match=r"cannot train on 1 views .* pass a larger `batch_size`"):
        train_fold(Pooled(), data, range(5), replace(PLAN, batch_size=1), tmp_path, lambda *call: None)


def test_two_devices_train_together_in_processes_of_their_own(data, tmp_path):
    """Stands for two GPUs: two processes on the CPU, each with half of every batch."""
    from fiftyone_plugin.models.segmenters.sources import build_smp

    def new():
        options = {"encoder_depth": 3, "decoder_channels": [8, 8, 8]}
        return build_smp("unet", "tu-mobilenetv3_small_050", 2, options=options)

    model = new()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plan = replace(PLAN, epochs=1, batch_size=4, crop_size=(64, 64), devices=2)
    trained = train_fold(model, data, range(5), plan, tmp_path, lambda *call: None)
    assert (tmp_path / "last.ckpt").is_file()
    name = "segmentation_head.0.weight"
    assert not torch.equal(trained.state_dict()[name], before[name])
    again = train_fold(new(), data, range(5), plan, tmp_path, lambda *call: None)
    assert torch.equal(trained.state_dict()[name], again.state_dict()[name])
