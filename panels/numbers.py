"""Numbers as people read them."""

from __future__ import annotations

from typing import Final

from ..fiftyone_plugin.quality.regions.review_statistics import Interval

WIDEST: Final = 0.4
"""Of an interval of a share: a wider one says nothing, and is not shown."""


def percent(value: float) -> str:
    """A share in percent, with as many digits as matter.

    Example:
        >>> percent(0.5), percent(0.034), percent(0.00021), percent(0)
        ('50', '3.4', '0.021', '0')
    """
    value *= 100
    if value == 0 or value >= 10:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"


def is_known(found: Interval) -> bool:
    """Whether an interval of a share says anything.

    Example:
        >>> is_known(Interval(0.1, 0.0, 0.85)), is_known(Interval(0.1, 0.05, 0.2))
        (False, True)
    """
    return found.high - found.low <= WIDEST


def share(found: Interval) -> str:
    """A share with its interval, where that says anything.

    Example:
        >>> share(Interval(0.04, 0.008, 0.12)), share(Interval(0.5, 0.1, 0.9))
        ('4.0 % (0.8 to 12 %)', '50 %')
    """
    ends = f" ({percent(found.low)} to {percent(found.high)} %)" if is_known(found) else ""
    return f"{percent(found.estimate)} %{ends}"
