"""Kinds and features of regions by name, and the bounds that forms show: plain values that load nothing."""

from __future__ import annotations

from typing import Final

KINDS: Final = ("missing", "spurious", "wrong_class", "boundary")
"""Kinds of regions; their positions are how they are saved."""

FEATURE_NAMES: Final = (
    "margin",
    "self_confidence",
    "boundary_length",
    "log_area",
    "log_strength",
    "tolerance_share",
    "predicted_contact",
    "given_contact",
    "object_share",
    "label_share",
    "boundary",
    "margin_spread",
    "best_probability",
    "thickness",
    "solidity",
    "at_edge",
    "core_share",
    "missing",
    "wrong_class",
    "doubt",
    "log_doubt",
    "sureness",
    "third_contact",
)
"""Features of a region, in the order of `measure_features`:

- margin: mean of best probability less self-confidence over the core (pixels with all 8 neighbours in the region;
  over all pixels if none has)
- self_confidence: mean probability of the given classes
- boundary_length: edges between the region and other pixels, over four times its area; 1 for a lone pixel
- log_area: decimal logarithm of the region's share of the image
- log_strength: decimal logarithm of (1 + sum of the margin over the core) as a share of the image's pixels
- tolerance_share: share of its pixels within the tolerance of a class border of either mask
- predicted_contact: share of its edges to correct pixels of the predicted class
- given_contact: share of its edges to correct pixels of the given class
- object_share: wrong share of the predicted objects under it
- label_share: wrong share of the given objects under it
- boundary: 1 if its kind is `boundary`, 0 otherwise
- margin_spread: standard deviation of the margin over all pixels
- best_probability: largest best probability
- thickness: decimal logarithm of how deep its deepest pixel lies, over the image's diagonal
- solidity: share of its box that it fills
- at_edge: 1 if it touches the edge of the image
- core_share: share of its pixels that are core
- missing, wrong_class: 1 if its kind is this one
- doubt: mean of -ln(self-confidence) over the core: 0.02 and 0.00001 are both near 0, but not alike
- log_doubt: decimal logarithm of doubt
- sureness: mean of -ln(1 - best probability) over the core
- third_contact: share of its edges to correct pixels of neither its given nor its predicted class
"""

MAX_PER_IMAGE: Final = 200
"""Regions kept of one image unless asked otherwise: more than anybody reviews, little enough to store."""

SMALLEST_SHARE: Final = 20_000
"""A region counts from one such part of the image on: 104 pixels of 1024 x 2048, 8 of 360 x 480, 1 of small images."""

LIKELY: Final = 0.5
"""Score from which on a region is more likely wrong than right."""
