"""How good is a label? Scores of images, classes and pixels from a model's probabilities; arrays and tensors only.

Two ways in. Whole datasets of arrays: `image_scores`, `class_scores`, `pixel_scores`, `label_issues`,
`iter_label_issues`, `class_pair_counts`, `class_pair_table`, `filter_by_class`. One image at a time, on any number of
machines:

    record = image_record(label, pred_probs)        # once per image, the only pass over the probabilities
    totals.add(record)                              # mergeable, in any order
    cut = confident_learning_cut(records, totals)   # once per dataset
    record_scores(record, totals, cut), record_flags(record, cut), class_pairs(record, cut)

Where and what the errors are, and the one ranking to begin with: `judge_labels` (or `issue_regions`) for whole
datasets; `image_regions(label, record)` and `rehearse` image by image, then `Evidence`.
"""

from __future__ import annotations

from .datasets import class_scores, image_scores, iter_label_issues, label_issues, pixel_scores
from .flags.class_pair_table import ClassPair, class_pair_counts, class_pair_table, filter_by_class
from .flags.confident_learning import Cut, class_pairs, confident_learning_cut, record_flags, record_scores
from .flags.in_sample import in_sample_suspicion
from .flags.swapped_classes import class_confusion, swapped_classes
from .judging.judge import Evidence, ImageEvidence, Judge, RegionScorer, Rehearsed, image_evidence
from .judging.rehearsed_labels import (
    NUM_REHEARSALS,
    RegionRows,
    Rehearsal,
    load_rehearsals,
    rehearsals_of,
    rehearse,
    rehearse_in_scene,
    save_rehearsals,
)
from .judging.verdicts import Verdict, issue_regions, judge_labels
from .pixels.hard_masks import hard_mask_probabilities
from .pixels.pixel_maps import ClassSums, PixelMaps
from .records.image_records import ImageRecord, Suspects, image_record, load_record
from .records.spool import RecordSpool
from .records.totals import Totals
from .regions.cutting import FEATURE_NAMES, KINDS, Scene
from .regions.issue_regions import (
    LIKELY,
    MAX_PER_IMAGE,
    SMALLEST_SHARE,
    ImageRegions,
    IssueRegion,
    image_regions,
    load_regions,
    region_features,
    region_scores,
    regions_of_scene,
)
from .regions.region_verifier import CONTEXT_NAMES, RegionVerifier
from .scores.image_scores import softmin
from .scores.methods import (
    COMBINED,
    DATASET_METHODS,
    METHOD_TITLES,
    METHODS,
    PAPER_METHODS,
    RANKING_TITLES,
    check_methods,
)

__all__ = [
    "COMBINED",
    "CONTEXT_NAMES",
    "DATASET_METHODS",
    "FEATURE_NAMES",
    "KINDS",
    "LIKELY",
    "MAX_PER_IMAGE",
    "METHODS",
    "METHOD_TITLES",
    "NUM_REHEARSALS",
    "PAPER_METHODS",
    "RANKING_TITLES",
    "SMALLEST_SHARE",
    "ClassPair",
    "ClassSums",
    "Cut",
    "Evidence",
    "ImageEvidence",
    "ImageRecord",
    "ImageRegions",
    "IssueRegion",
    "Judge",
    "PixelMaps",
    "RecordSpool",
    "RegionRows",
    "RegionScorer",
    "RegionVerifier",
    "Rehearsal",
    "Rehearsed",
    "Scene",
    "Suspects",
    "Totals",
    "Verdict",
    "check_methods",
    "class_confusion",
    "class_pair_counts",
    "class_pair_table",
    "class_pairs",
    "class_scores",
    "confident_learning_cut",
    "filter_by_class",
    "hard_mask_probabilities",
    "image_evidence",
    "image_record",
    "image_regions",
    "image_scores",
    "in_sample_suspicion",
    "issue_regions",
    "iter_label_issues",
    "judge_labels",
    "label_issues",
    "load_record",
    "load_regions",
    "load_rehearsals",
    "pixel_scores",
    "record_flags",
    "record_scores",
    "region_features",
    "region_scores",
    "regions_of_scene",
    "rehearsals_of",
    "rehearse",
    "rehearse_in_scene",
    "save_rehearsals",
    "softmin",
    "swapped_classes",
]
