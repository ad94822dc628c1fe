"""Find, see and repair wrong labels of segmentation datasets in FiftyOne.

    from fiftyone_plugin import score_label_quality, quality

Jobs on a dataset are functions of this module; array-level scores are in `quality`, models in `models`. Nothing
heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_JOBS = {
    "score_label_quality": "workflows.scoring",
    "load_report": "workflows.scoring",
    "show_regions": "workflows.review",
    "review_regions": "workflows.review",
    "rescore_regions": "workflows.review",
    "review_history": "workflows.review",
    "reviewed_regions": "workflows.review",
    "changed_labels": "workflows.review",
    "compute_superpixels": "workflows.superpixels",
    "generate_pseudo_labels": "workflows.pseudo_labels",
    "plan_correction_queries": "workflows.query_planning",
    "open_sitting": "workflows.answering",
    "simulate_answers": "workflows.simulating",
    "apply_corrections": "workflows.corrected_labels",
    "export_corrected_labels": "workflows.corrected_labels",
    "start_correction_round": "workflows.correction_rounds",
    "precompute_sam_embeddings": "workflows.sam_embeddings",
    "apply_proposals": "workflows.outside_answers",
    "begin_hand_edits": "workflows.outside_answers",
    "finish_hand_edits": "workflows.outside_answers",
    "train_cross_validated": "workflows.training",
    "train_noise_robust": "workflows.noise_robust",
    "inject_label_errors": "workflows.rehearsal",
    "list_label_quality_runs": "workflows.housekeeping",
    "delete_label_quality_run": "workflows.housekeeping",
}
_ROOMS = ("quality", "models", "correction", "rehearsal", "dataset", "workflows")

__all__ = ["LabelQualityError", *_JOBS, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _JOBS:
        return getattr(import_module(f".{_JOBS[name]}", __name__), name)
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    if name == "LabelQualityError":
        return import_module(".errors", __name__).LabelQualityError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
