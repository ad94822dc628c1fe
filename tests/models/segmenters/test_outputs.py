"""Scores are found in whatever a network returns, and composed once where they are classes and masks of queries."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from fiftyone_plugin.models import ModelMismatchError
from fiftyone_plugin.models.segmenters.outputs import score_map

FINE, COARSE, FEATURES = (torch.rand(2, *shape) for shape in ((3, 8, 12), (3, 4, 6), (16, 16, 24)))


@pytest.mark.parametrize(
    "output",
    [
        FINE,
        FINE.numpy(),
        {"out": FINE, "aux": COARSE},
        SimpleNamespace(logits=FINE),
        {"sem_seg": FINE},
        [{"sem_seg": one} for one in FINE],  # detectron2
        [SimpleNamespace(seg_logits=SimpleNamespace(data=one)) for one in FINE],  # MMSegmentation
        (FINE, COARSE),
        [COARSE, FINE],  # deep supervision, the finest last
        (FINE, torch.rand(2, 16, 4, 6)),  # with features
        (FINE, torch.rand(2, 7)),
    ],
    ids=range(11),
)
def test_scores_are_found(output):
    found = score_map(output, 2)
    torch.testing.assert_close(found.values, FINE)
    assert found.from_logits is None


def test_finer_features_are_not_taken_for_classes():
    with pytest.raises(ModelMismatchError, match=r"\(2, 16, 16, 24\).*returns one"):
        score_map([FINE, FEATURES], 2)


@pytest.mark.parametrize(
    "names", [("class_queries_logits", "masks_queries_logits"), ("pred_logits", "pred_masks"), ("logits", "pred_masks")]
)
def test_queries_are_composed_once(names):
    classes, masks = torch.randn(2, 5, 4), torch.randn(2, 5, 8, 12)
    found = score_map(dict(zip(names, (classes, masks), strict=True)), 2)
    expected = torch.einsum("nqc,nqhw->nchw", classes.softmax(-1)[..., :-1], masks.sigmoid())
    torch.testing.assert_close(found.values, expected / expected.sum(1, keepdim=True))
    assert found.from_logits is False
