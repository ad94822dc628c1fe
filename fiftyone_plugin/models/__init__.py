"""Where probabilities come from: any segmenter, probabilities on disk, cross-validated and noise-robust training.

Importing this room imports no deep-learning library; each name below loads what it needs when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .channels import match_class_names as match_class_names
    from .consistency import Consistency as Consistency
    from .corrected_labels import read_changes as read_changes
    from .cross_validation import QUICK_TRAINING as QUICK_TRAINING
    from .cross_validation import CrossValidatedSegmenter as CrossValidatedSegmenter
    from .cross_validation import CrossValidation as CrossValidation
    from .cross_validation import cross_validate as cross_validate
    from .cross_validation import read_cross_validation as read_cross_validation
    from .devices import choose_device as choose_device
    from .early_learning import PUBLISHED_SEGTHOR as PUBLISHED_SEGTHOR
    from .early_learning import PUBLISHED_VOC as PUBLISHED_VOC
    from .early_learning import TriggerRule as TriggerRule
    from .errors import ModelMismatchError as ModelMismatchError
    from .errors import SegmenterError as SegmenterError
    from .folds import FoldMetrics as FoldMetrics
    from .folds import assign_folds as assign_folds
    from .items import Example as Example
    from .items import ImageItem as ImageItem
    from .label_correction import DEFAULT_CORRECTION as DEFAULT_CORRECTION
    from .label_correction import SEGTHOR_CORRECTION as SEGTHOR_CORRECTION
    from .label_correction import VOC_CORRECTION as VOC_CORRECTION
    from .label_correction import CorrectionRule as CorrectionRule
    from .label_correction import LabelChange as LabelChange
    from .learning_curves import LearningCurves as LearningCurves
    from .learning_curves import read_learning_curves as read_learning_curves
    from .loading import load_segmenter as load_segmenter
    from .network import NetworkSegmenter as NetworkSegmenter
    from .noise_robust import NoiseRobust as NoiseRobust
    from .noise_robust import NoiseRobustResult as NoiseRobustResult
    from .noise_robust import published_method as published_method
    from .noise_robust import read_noise_robust as read_noise_robust
    from .noise_robust import train_noise_robust as train_noise_robust
    from .probabilities import ProbabilityFiles as ProbabilityFiles
    from .probabilities import probability_file as probability_file
    from .segmenter import Segmenter as Segmenter

_HOME = {
    "Consistency": "consistency",
    "CorrectionRule": "label_correction",
    "CrossValidatedSegmenter": "cross_validation",
    "CrossValidation": "cross_validation",
    "DEFAULT_CORRECTION": "label_correction",
    "Example": "items",
    "FoldMetrics": "folds",
    "ImageItem": "items",
    "LabelChange": "label_correction",
    "LearningCurves": "learning_curves",
    "ModelMismatchError": "errors",
    "NetworkSegmenter": "network",
    "NoiseRobust": "noise_robust",
    "NoiseRobustResult": "noise_robust",
    "PUBLISHED_SEGTHOR": "early_learning",
    "PUBLISHED_VOC": "early_learning",
    "ProbabilityFiles": "probabilities",
    "QUICK_TRAINING": "cross_validation",
    "SEGTHOR_CORRECTION": "label_correction",
    "Segmenter": "segmenter",
    "SegmenterError": "errors",
    "TriggerRule": "early_learning",
    "VOC_CORRECTION": "label_correction",
    "assign_folds": "folds",
    "choose_device": "devices",
    "cross_validate": "cross_validation",
    "load_segmenter": "loading",
    "match_class_names": "channels",
    "probability_file": "probabilities",
    "published_method": "noise_robust",
    "read_changes": "corrected_labels",
    "read_cross_validation": "cross_validation",
    "read_learning_curves": "learning_curves",
    "read_noise_robust": "noise_robust",
    "train_noise_robust": "noise_robust",
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
