"""The state of a model is equal exactly where the same probabilities follow, and unknown where that cannot be seen."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from fiftyone_plugin.models import UnknownStateError, model_state

FACTOR = 1


def times(x):
    return x * FACTOR


def closure(value):
    return lambda x: x * value


class Scaled(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor, self.inner = factor, torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.inner(x) * self.factor


def scaled(factor, bias=0.0):
    torch.manual_seed(0)
    module = Scaled(factor)
    torch.nn.init.constant_(module.inner.bias, bias)
    return module


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (lambda: closure(2), lambda: closure(3)),
        (lambda: closure(np.ones(3)), lambda: closure(np.zeros(3))),
        (lambda: closure(torch.ones(3)), lambda: closure(torch.zeros(3))),
        (lambda: lambda x: x + 1, lambda: lambda x: x + 2),
        (lambda: functools.partial(times, 1), lambda: functools.partial(times, 2)),
        (lambda: scaled(1), lambda: scaled(2)),
        (lambda: scaled(1), lambda: scaled(1, bias=1.0)),
        (lambda: scaled(1).forward, lambda: scaled(2).forward),
        (lambda: {"mean": (0.5,), "flips": True}, lambda: {"mean": (0.5,), "flips": False}),
    ],
)
def test_equal_where_nothing_differs(same, other):
    assert model_state(same()) == model_state(same()) != model_state(other())


def test_a_global_that_is_used_and_a_file_that_is_named_count(monkeypatch, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"1")
    before = model_state(times), model_state(f"smp:{path}")
    monkeypatch.setitem(globals(), "FACTOR", 2)
    path.write_bytes(b"22")
    assert model_state(times) != before[0]
    assert model_state(f"smp:{path}") != before[1]


def test_predicting_changes_no_state():
    module = scaled(1)
    before = model_state(module)
    module.eval()(torch.zeros(1, 2))
    assert model_state(module) == before


@pytest.mark.parametrize("hidden", [iter(range(3)), (i for i in range(3)), np.random.default_rng(0)])
def test_what_hides_its_state_is_unknown(hidden):
    with pytest.raises(UnknownStateError, match="cannot be seen"):
        model_state(closure(hidden))
