"""Windows cover an axis, stay inside it, overlap enough, and blend to weights above zero."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from fiftyone_plugin.models.segmenters.tiles import blend_weights, tile_starts


@pytest.mark.parametrize("length", [1, 5, 16, 17, 31, 32, 100, 257])
@pytest.mark.parametrize(("tile", "overlap"), [(1, 0), (5, 0), (5, 4), (16, 1), (16, 4), (32, 31)])
def test_windows_cover(length, tile, overlap):
    starts = tile_starts(length, tile, overlap)
    if length <= tile:
        assert starts == [0]
        return
    assert starts[0] == 0
    assert starts[-1] == length - tile
    steps = [later - sooner for sooner, later in pairwise(starts)]
    assert all(0 < step <= tile - overlap for step in steps)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (16, 24)])
@pytest.mark.parametrize("overlap", [(0, 0), (1, 2), (8, 20)])
def test_weights_are_positive_and_symmetric(size, overlap):
    weights = blend_weights(size, overlap)
    assert weights.shape == size
    assert float(weights.min()) > 0
    assert float(weights.max()) <= 1
    torch.testing.assert_close(weights, weights.flip(0, 1))
