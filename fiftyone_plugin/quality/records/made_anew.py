"""A sequence that does not hold its items: each is made when it is asked for, from a file for instance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

Item = TypeVar("Item")


class MadeAnew(Sequence[Item], Generic[Item]):
    """Items by place; only the last one is kept, for those who look at one image several times in a row.

    Args:
        count: number of items
        make: place to item; gives the same whenever it is called

    Example:
        >>> squares = MadeAnew(4, lambda place: place**2)
        >>> squares[3], list(squares), len(squares)
        (9, [0, 1, 4, 9], 4)
    """

    def __init__(self, count: int, make: Callable[[int], Item]) -> None:
        self._count = count
        self._make = make
        self._last: tuple[int, Item] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        if isinstance(place, slice):
            places = range(self._count)[place]
            return MadeAnew(len(places), lambda inner: self[places[inner]])
        place = range(self._count)[place]
        if self._last is None or self._last[0] != place:
            self._last = (place, self._make(place))
        return self._last[1]
