"""Records kept for a second pass: in memory as long as they are small, in a temporary folder beyond that."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from .image_records import ImageRecord, load_record

MEMORY_BUDGET: Final = 128 * 2**20
"""Bytes of suspects held in memory before records go to files."""


class RecordSpool:
    """A list of records that can be iterated again and again, in constant memory; its folder goes when it is closed.

    Example:
        >>> import numpy as np
        >>> from .image_records import image_record
        >>> with RecordSpool() as spool:
        ...     spool.append(image_record([[0, 0]], np.array([[[0.9, 0.2]], [[0.1, 0.8]]])))
        ...     [record.num_valid for record in spool]
        [2]
    """

    def __init__(self, memory_budget: int | None = None) -> None:
        """Start empty; nothing is written before the budget is used up.

        Args:
            memory_budget: bytes of suspects to hold in memory; None means `MEMORY_BUDGET`
        """
        self._budget = MEMORY_BUDGET if memory_budget is None else memory_budget
        self._items: list[ImageRecord | Path] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def append(self, record: ImageRecord) -> None:
        """Keep a record, without its maps.

        Args:
            record: of one image

        Raises:
            OSError: if the temporary folder is full or cannot be written; set `TMPDIR` to a larger one.
        """
        kept = record.without_maps()
        size = kept.suspects.nbytes + (0 if kept.sums.histograms is None else kept.sums.histograms.nbytes)
        if size <= self._budget:
            self._budget -= size
            self._items.append(kept)
            return
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="label-quality-")
        self._items.append(kept.save(Path(self._folder.name) / f"{len(self._items)}.npz"))

    @property
    def folder(self) -> Path | None:
        """The temporary folder, None as long as none is needed."""
        return None if self._folder is None else Path(self._folder.name)

    def __iter__(self) -> Iterator[ImageRecord]:
        for item in self._items:
            yield item if isinstance(item, ImageRecord) else load_record(item)

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> None:
        """Forget the records and remove the folder."""
        self._items.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> RecordSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
