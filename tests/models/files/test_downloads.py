"""Weights that cannot be downloaded are given up at once, and the message names the way out."""

from __future__ import annotations

from urllib.error import HTTPError, URLError

import pytest

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.files import downloads
from fiftyone_plugin.models.segmenters.sources import build_smp


@pytest.mark.parametrize(
    ("answer", "reachable"),
    [(URLError("no route"), False), (TimeoutError(), False), (HTTPError("", 401, "", {}, None), True)],
)
def test_whether_the_hub_answers(monkeypatch, answer, reachable):
    def urlopen(*args, **kwargs):
        raise answer

    monkeypatch.setattr(downloads.urllib.request, "urlopen", urlopen)
    assert downloads.hub_is_reachable() is reachable


def test_only_the_disk_is_tried_where_the_hub_is_away(monkeypatch):
    """Each file would be tried for most of a minute otherwise."""
    import segmentation_models_pytorch as smp
    from huggingface_hub import constants

    seen = []

    def create_model(*args, **kwargs):
        seen.append(constants.is_offline_mode())
        raise OSError("not in the cache")

    monkeypatch.setattr(downloads, "hub_is_reachable", lambda: False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(smp, "create_model", create_model)
    with pytest.raises(LabelQualityError, match="weights=None"):
        build_smp("unet", "resnet18", 2, "imagenet")
    assert seen == [True]
    assert constants.HF_HUB_OFFLINE is False
