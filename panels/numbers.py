"""Numbers as people read them."""

from __future__ import annotations

from ..fiftyone_plugin.quality.regions.review_statistics import Interval
from ..fiftyone_plugin.wording import percent, percent_range


def share(found: Interval) -> str:
    """A share with its interval, where that says anything.

    Example:
        >>> share(Interval(0.04, 0.008, 0.12)), share(Interval(0.5, 0.1, 0.9))
        ('4.0 % (0.8 to 12 %)', '50 %')
    """
    ends = percent_range(found.low, found.high)
    return f"{percent(found.estimate)} %" + (f" ({ends})" if ends else "")
