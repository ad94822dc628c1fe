"""What to ask an annotator, and what an answer changes: arrays and tensors only.

    segments = split_by_label(fill_gaps(superpixels_from_masks(masks, labels.shape), image), labels)
    candidates = find_candidates(labels, probs, segments)           # once per image, in the stream of predictions
    values = acquisition_values([candidates, ...])                  # once per dataset and round
    questions = choose_queries([candidates, ...], values, budget)

Importing this room imports none of its modules; each name below loads what it needs when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
