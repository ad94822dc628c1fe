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

Each name below is loaded when first used: compiling and PyTorch take seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
