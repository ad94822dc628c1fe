"""Weights that cannot be downloaded are given up at once, and the message names the way out."""

from __future__ import annotations

import time
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


def test_nothing_is_tried_for_long_where_the_hub_is_away(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(downloads, "hub_is_reachable", lambda: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    begun = time.monotonic()
    with pytest.raises(LabelQualityError, match="weights=None"):
        build_smp("unet", "resnet18", 2, "imagenet")
    assert time.monotonic() - begun < 15, "each file is tried for most of a minute otherwise"
    assert constants.HF_HUB_OFFLINE is False
