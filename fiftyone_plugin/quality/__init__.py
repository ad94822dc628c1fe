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

from .class_pair_table import ClassPair, class_pair_counts, class_pair_table, filter_by_class
from .confident_learning import Cut, class_pairs, confident_learning_cut, record_flags, record_scores
from .datasets import class_scores, image_scores, iter_label_issues, label_issues, pixel_scores
from .hard_masks import hard_mask_probabilities
from .in_sample import in_sample_suspicion
from .judging import Evidence, Judge, RegionScorer, Rehearsed
from .methods import COMBINED, DATASET_METHODS, METHOD_TITLES, METHODS, PAPER_METHODS, RANKING_TITLES, check_methods
from .pixel_maps import ClassSums, PixelMaps
from .records import ImageRecord, Suspects, image_record, load_record
from .region_verifier import CONTEXT_NAMES, RegionVerifier
from .regions import (
    FEATURE_NAMES,
    KINDS,
    ImageRegions,
    IssueRegion,
    image_regions,
    load_regions,
    region_features,
    region_scores,
)
from .rehearsing import NUM_REHEARSALS, RegionRows, Rehearsal, load_rehearsals, rehearsals_of, rehearse, save_rehearsals
from .scores import softmin
from .spool import RecordSpool
from .totals import Totals
from .verdicts import Verdict, issue_regions, judge_labels

__all__ = [
    "COMBINED",
    "CONTEXT_NAMES",
    "DATASET_METHODS",
    "FEATURE_NAMES",
    "KINDS",
    "METHODS",
    "METHOD_TITLES",
    "NUM_REHEARSALS",
    "PAPER_METHODS",
    "RANKING_TITLES",
    "ClassPair",
    "ClassSums",
    "Cut",
    "Evidence",
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
    "Suspects",
    "Totals",
    "Verdict",
    "check_methods",
    "class_pair_counts",
    "class_pair_table",
    "class_pairs",
    "class_scores",
    "confident_learning_cut",
    "filter_by_class",
    "hard_mask_probabilities",
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
    "rehearsals_of",
    "rehearse",
    "save_rehearsals",
    "softmin",
]
