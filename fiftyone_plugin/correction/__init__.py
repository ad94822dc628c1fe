"""What to ask an annotator, and what an answer changes: arrays and tensors only.

    segments = split_by_label(fill_gaps(superpixels_from_masks(masks, labels.shape), image), labels)
    candidates = find_candidates(labels, probs, segments)           # once per image, in the stream of predictions
    values = acquisition_values([candidates, ...])                  # once per dataset and round
    questions = choose_queries([candidates, ...], values, budget)

Importing this room imports none of its modules; each name below loads what it needs when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .acquisition import ACQUISITIONS as ACQUISITIONS
    from .acquisition import DEFAULT_ACQUISITION as DEFAULT_ACQUISITION
    from .acquisition import Chosen as Chosen
    from .acquisition import acquisition_values as acquisition_values
    from .acquisition import choose_queries as choose_queries
    from .annotators import HonestAnnotator as HonestAnnotator
    from .annotators import Judgement as Judgement
    from .annotators import MajorityOracle as MajorityOracle
    from .annotators import PublishedOracle as PublishedOracle
    from .candidates import Candidates as Candidates
    from .candidates import expansion_set as expansion_set
    from .candidates import find_candidates as find_candidates
    from .composition import Composition as Composition
    from .composition import compose_masks as compose_masks
    from .expansion import EXPANSIONS as EXPANSIONS
    from .expansion import expand as expand
    from .propagation import Answer as Answer
    from .propagation import AnswerModel as AnswerModel
    from .propagation import Proposal as Proposal
    from .propagation import propagate as propagate
    from .query_costs import AnswerSeconds as AnswerSeconds
    from .query_costs import SittingCost as SittingCost
    from .query_costs import break_even as break_even
    from .query_costs import classification_bits as classification_bits
    from .query_costs import correction_bits as correction_bits
    from .query_costs import sitting_cost as sitting_cost
    from .refinement import grow_region as grow_region
    from .remaining import Advice as Advice
    from .remaining import AuditRound as AuditRound
    from .remaining import advice as advice
    from .remaining import remaining_share as remaining_share
    from .replay import Repaint as Repaint
    from .superpixels import add_missed_objects as add_missed_objects
    from .superpixels import fill_gaps as fill_gaps
    from .superpixels import image_superpixels as image_superpixels
    from .superpixels import renumber as renumber
    from .superpixels import split_by_label as split_by_label
    from .superpixels import superpixels_from_instances as superpixels_from_instances
    from .superpixels import superpixels_from_labels as superpixels_from_labels
    from .superpixels import superpixels_from_masks as superpixels_from_masks

_HOME = {
    "ACQUISITIONS": "acquisition",
    "Advice": "remaining",
    "Answer": "propagation",
    "AnswerModel": "propagation",
    "AnswerSeconds": "query_costs",
    "AuditRound": "remaining",
    "Candidates": "candidates",
    "Chosen": "acquisition",
    "Composition": "composition",
    "DEFAULT_ACQUISITION": "acquisition",
    "EXPANSIONS": "expansion",
    "HonestAnnotator": "annotators",
    "Judgement": "annotators",
    "MajorityOracle": "annotators",
    "Proposal": "propagation",
    "PublishedOracle": "annotators",
    "Repaint": "replay",
    "SittingCost": "query_costs",
    "acquisition_values": "acquisition",
    "advice": "remaining",
    "break_even": "query_costs",
    "choose_queries": "acquisition",
    "classification_bits": "query_costs",
    "compose_masks": "composition",
    "correction_bits": "query_costs",
    "expand": "expansion",
    "expansion_set": "candidates",
    "add_missed_objects": "superpixels",
    "fill_gaps": "superpixels",
    "find_candidates": "candidates",
    "grow_region": "refinement",
    "image_superpixels": "superpixels",
    "propagate": "propagation",
    "remaining_share": "remaining",
    "renumber": "superpixels",
    "sitting_cost": "query_costs",
    "split_by_label": "superpixels",
    "superpixels_from_instances": "superpixels",
    "superpixels_from_labels": "superpixels",
    "superpixels_from_masks": "superpixels",
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
