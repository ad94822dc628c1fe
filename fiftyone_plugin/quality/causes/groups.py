"""Groups of images that may share a cause: by folder, tag, person, time, size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError

FEWEST: Final = 5
"""Images that a group needs."""

_MOST_VALUES: Final = 200  # of one attribute; with more it is a name, no group
_PARTS: Final = 8  # of a number's range, of which every run of neighbours is a group


@dataclass(frozen=True, eq=False)
class Group:
    """Images with something in common.

    Attributes:
        attribute: what it is, for instance "folder"; empty for all images
        value: in words
        members: (N,) bool
    """

    attribute: str
    value: str
    members: npt.NDArray[np.bool_]

    def text(self) -> str:
        """As in "the images whose folder is 7"."""
        return f"the images whose {self.attribute} is {self.value}" if self.attribute else "all images"


def groups_of(attributes: Mapping[str, Sequence[Any]], count: int) -> list[Group]:
    """All groups; of two with the same images the first is kept.

    Args:
        attributes: name to the value of each image: text, truth value, number, time, several of them, or None
        count: images N

    Returns:
        all images first; numbers and times are cut into ranges

    Raises:
        LabelQualityError: if an attribute has another number of values

    Example:
        >>> found = groups_of({"folder": ["a"] * 5 + ["b"] * 6, "tag": [["night"]] * 5 + [None] * 6}, 11)
        >>> [(group.attribute, group.value, int(group.members.sum())) for group in found]
        [('', '', 11), ('folder', 'a', 5), ('folder', 'b', 6)]
    """
    found = {b"": Group("", "", np.ones(count, bool))}
    for name, values in attributes.items():
        if len(values) != count:
            raise LabelQualityError(f"Expected {count} values of {name!r}, one per image, but got {len(values)}")
        made = _ranges(name, values) if _is_ordered(values) else _categories(name, values)
        for group in made:
            if FEWEST <= group.members.sum() < count:
                found.setdefault(np.packbits(group.members).tobytes(), group)
    return list(found.values())


def _is_ordered(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    plain = all(hasattr(value, "__sub__") and not isinstance(value, bool | set | frozenset) for value in known)
    return plain and len(set(known)) > _PARTS


def _categories(name: str, values: Sequence[Any]) -> Iterable[Group]:
    several = [_several(value) for value in values]
    kinds = dict.fromkeys(one for row in several for one in row)
    if len(kinds) > _MOST_VALUES:
        return
    for kind in kinds:
        yield Group(name, str(kind), np.array([kind in row for row in several]))


def _several(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)


def _ranges(name: str, values: Sequence[Any]) -> Iterable[Group]:
    """Runs of neighbouring parts of equal numbers of images."""
    known = np.array([value is not None for value in values])
    ordered = sorted(value for value in values if value is not None)
    edges = sorted({ordered[round(part * (len(ordered) - 1) / _PARTS)] for part in range(_PARTS + 1)})
    for low in range(len(edges) - 1):
        for high in range(low + 1, len(edges)):
            bottom, top = edges[low], edges[high]
            last = high == len(edges) - 1
            inside = [
                value is not None and bottom <= value and (value < top or (last and value == top)) for value in values
            ]
            yield Group(name, f"from {bottom} to {top}", known & np.array(inside))
