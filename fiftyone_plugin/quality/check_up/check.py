"""What a check is, and what it says of one label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy.typing as npt

Array = npt.NDArray[Any]

ERROR, WARNING, TIP = "error", "warning", "tip"
SEVERITIES: Final = (ERROR, WARNING, TIP)
"""The label says something else than was meant; probably so; good to know."""

PAGE: Final = "docs/checks.md"


@dataclass(frozen=True)
class Check:
    """One thing that can be wrong with labels.

    Attributes:
        code: by which it is muted, and the heading of its section in `docs/checks.md`
        title: what is wrong, as the title of a list of images
        severity: one of `SEVERITIES`
        meaning: what that is, in one sentence
        way_out: what to do

    Example:
        >>> Check("speck", "Specks", WARNING, "A few pixels.", "Clean them.").page
        'docs/checks.md#speck'
    """

    code: str
    title: str
    severity: str
    meaning: str
    way_out: str

    @property
    def page(self) -> str:
        """Where it is explained."""
        return f"{PAGE}#{self.code}"


@dataclass(frozen=True)
class Spot:
    """What a check found in one label.

    Attributes:
        code: of the check
        bbox: (top, left, bottom, right) in pixels of the mask, half open; None where it is about all of the image
        area: pixels, 0 where it is not about pixels
        note: what is special about this one
    """

    code: str
    bbox: tuple[int, int, int, int] | None = None
    area: int = 0
    note: str = ""


def box_of(rows: Array, columns: Array) -> tuple[int, int, int, int]:
    """The box of some pixels.

    Args:
        rows: (n,) row of each pixel, at least one
        columns: (n,) column of each

    Returns:
        (top, left, bottom, right), half open

    Example:
        >>> import numpy as np
        >>> box_of(np.array([1, 4]), np.array([2, 2]))
        (1, 2, 5, 3)
    """
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1
