"""A list whose items are on the disk: of all of them only eight bytes each are in memory."""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Any, Generic, TypeVar, overload

Item = TypeVar("Item")


class OnDisk(Sequence[Item], Generic[Item]):
    """Items in a temporary file without a name, which goes with the list; each is read when it is asked for.

    Args:
        items: to begin with

    Raises:
        OSError: if the temporary folder is full or cannot be written; set `TMPDIR` to a larger one.

    Example:
        >>> kept = OnDisk([{"a": 1}, "b"])
        >>> kept.append(3)
        >>> len(kept), kept[0], list(kept[1:])
        (3, {'a': 1}, ['b', 3])
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._file = tempfile.TemporaryFile(prefix="label-quality-")  # noqa: SIM115  it lives as long as the list
        self._ends = array("q", [0])
        self._busy = Lock()
        for item in items:
            self.append(item)

    def append(self, item: Item) -> None:
        """Write an item behind the others.

        Args:
            item: which can be pickled
        """
        data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        with self._busy:
            self._file.seek(self._ends[-1])
            self._file.write(data)
            self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        place = range(len(self))[place]
        start, stop = self._ends[place], self._ends[place + 1]
        with self._busy:
            self._file.seek(start)
            data = self._file.read(stop - start)
        item: Item = pickle.loads(data)
        return item

    def __iter__(self) -> Iterator[Item]:
        return map(self.__getitem__, range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return OnDisk, (list(self),)
