"""Downloads of weights that are given up at once where nothing can be reached."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.error import HTTPError

_SECONDS: Final = 4.0


def hub_is_reachable(seconds: float = _SECONDS) -> bool:
    """Whether the hub from which timm and segmentation-models-pytorch download answers.

    Args:
        seconds: how long to wait for it
    """
    from huggingface_hub import constants

    try:
        with urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=seconds):
            return True
    except HTTPError:
        return True  # it answered
    except (OSError, ValueError):
        return False


@contextmanager
def quick_downloads() -> Iterator[None]:
    """Let downloads in the block fail within seconds where the hub cannot be reached; what is on disk is still found.

    Without it each file is tried for most of a minute.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or hub_is_reachable():
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False
