"""What can be told to be wrong with labels without any model: arrays in, findings out.

Each check has a code, a title, a severity and a way out; `docs/checks.md` explains it under its code.
"""

from __future__ import annotations

from .alignment import (
    FEWEST_FOR_SHIFT,
    SHIFTED_MASKS,
    Shift,
    border_contrast,
    common_shift,
    shows_shifts,
    single_shifts,
)
from .check import ERROR, PAGE, SEVERITIES, TIP, WARNING, Check, Spot
from .clean import CLEANED, Repair, repairs
from .copies import (
    COPIED_MASK,
    DUPLICATES_DISAGREE,
    THUMBNAIL,
    comparison_size,
    copies,
    difference_hash,
    disagreement,
    is_other_image,
    near_pairs,
)
from .edges import EDGE_STRIP
from .enlarged import JAGGED_MASK
from .look import Legend, MaskLook, look_at_mask
from .neighbours import NEIGHBOURS_DISAGREE, Difference, name_rows, neighbour_differences
from .parts import PINHOLE, SPECK
from .shapes import (
    GIGANTIC_FILE,
    MOST_PIXELS,
    NAME_NOT_UNIQUE,
    NO_LABEL,
    OTHER_ORIENTATION,
    OTHER_SCALE,
    OTHER_SIZE,
    SHARED_MASK_FILE,
    UNREADABLE_FILE,
    shape_code,
)
from .values import (
    BLENDED_BORDER,
    CLASS_WITHOUT_PIXELS,
    CONSTANT_MASK,
    EMPTY_MASK,
    LOSSY_FORMATS,
    LOSSY_MASK,
    STRAY_VALUE,
    VALUE_WITHOUT_CLASS,
    is_stray,
)

CHECKS = {
    check.code: check
    for check in (
        UNREADABLE_FILE, GIGANTIC_FILE, OTHER_ORIENTATION, OTHER_SIZE, SHARED_MASK_FILE, LOSSY_MASK, BLENDED_BORDER,
        VALUE_WITHOUT_CLASS, STRAY_VALUE, SHIFTED_MASKS, DUPLICATES_DISAGREE, NEIGHBOURS_DISAGREE, COPIED_MASK,
        JAGGED_MASK, EMPTY_MASK, CONSTANT_MASK, SPECK, PINHOLE, EDGE_STRIP, CLASS_WITHOUT_PIXELS, OTHER_SCALE,
        NAME_NOT_UNIQUE, NO_LABEL,
    )
}  # fmt: skip
"""All checks by their codes, the gravest first."""

__all__ = [
    "BLENDED_BORDER",
    "CHECKS",
    "CLASS_WITHOUT_PIXELS",
    "CLEANED",
    "CONSTANT_MASK",
    "COPIED_MASK",
    "DUPLICATES_DISAGREE",
    "EDGE_STRIP",
    "EMPTY_MASK",
    "ERROR",
    "FEWEST_FOR_SHIFT",
    "GIGANTIC_FILE",
    "JAGGED_MASK",
    "LOSSY_FORMATS",
    "LOSSY_MASK",
    "MOST_PIXELS",
    "NAME_NOT_UNIQUE",
    "NEIGHBOURS_DISAGREE",
    "NO_LABEL",
    "OTHER_ORIENTATION",
    "OTHER_SCALE",
    "OTHER_SIZE",
    "PAGE",
    "PINHOLE",
    "SEVERITIES",
    "SHARED_MASK_FILE",
    "SHIFTED_MASKS",
    "SPECK",
    "STRAY_VALUE",
    "THUMBNAIL",
    "TIP",
    "UNREADABLE_FILE",
    "VALUE_WITHOUT_CLASS",
    "WARNING",
    "Check",
    "Difference",
    "Legend",
    "MaskLook",
    "Repair",
    "Shift",
    "Spot",
    "border_contrast",
    "common_shift",
    "comparison_size",
    "copies",
    "difference_hash",
    "disagreement",
    "is_other_image",
    "is_stray",
    "look_at_mask",
    "name_rows",
    "near_pairs",
    "neighbour_differences",
    "repairs",
    "shape_code",
    "shows_shifts",
    "single_shifts",
]
