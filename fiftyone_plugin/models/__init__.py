"""Where probabilities come from: any segmenter, probabilities on disk, and cross-validated training.

Importing this room imports no deep-learning library; each name below loads what it needs when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .channels import match_class_names as match_class_names
    from .cross_validation import QUICK_TRAINING as QUICK_TRAINING
    from .cross_validation import CrossValidatedSegmenter as CrossValidatedSegmenter
    from .cross_validation import CrossValidation as CrossValidation
    from .cross_validation import cross_validate as cross_validate
    from .cross_validation import read_cross_validation as read_cross_validation
    from .devices import choose_device as choose_device
    from .errors import ModelMismatchError as ModelMismatchError
    from .errors import SegmenterError as SegmenterError
    from .folds import FoldMetrics as FoldMetrics
    from .folds import assign_folds as assign_folds
    from .items import Example as Example
    from .items import ImageItem as ImageItem
    from .loading import load_segmenter as load_segmenter
    from .network import NetworkSegmenter as NetworkSegmenter
    from .probabilities import ProbabilityFiles as ProbabilityFiles
    from .probabilities import probability_file as probability_file
    from .segmenter import Segmenter as Segmenter

_HOME = {
    "QUICK_TRAINING": "cross_validation",
    "CrossValidatedSegmenter": "cross_validation",
    "CrossValidation": "cross_validation",
    "Example": "items",
    "FoldMetrics": "folds",
    "ImageItem": "items",
    "ModelMismatchError": "errors",
    "NetworkSegmenter": "network",
    "ProbabilityFiles": "probabilities",
    "Segmenter": "segmenter",
    "SegmenterError": "errors",
    "assign_folds": "folds",
    "choose_device": "devices",
    "cross_validate": "cross_validation",
    "load_segmenter": "loading",
    "match_class_names": "channels",
    "probability_file": "probabilities",
    "read_cross_validation": "cross_validation",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import the module that holds `name` when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    """List the public names without importing what holds them."""
    return sorted(_HOME)
