"""How long jobs tell how far they are: one callable, shown as a bar in a terminal or in the App."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final, Protocol

_SECONDS_BETWEEN_LINES: Final = 5.0


class Progress(Protocol):
    """Called by long jobs with work done, work in all and what is being done."""

    def __call__(self, done: float, total: float, label: str) -> None:
        """Report that `done` of `total` units are finished; `label` says of what."""


def silent(done: float, total: float, label: str) -> None:
    """Report nothing.

    Example:
        >>> silent(1, 2, "scoring")
    """


class _Lines:
    """A line every few seconds, for a file or a pipe; and one when another stage begins."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._stage = ""
        self._told = 0.0

    def __call__(self, done: float, total: float, label: str) -> None:
        now, stage = time.monotonic(), label.partition(",")[0]
        if stage == self._stage and now - self._told < _SECONDS_BETWEEN_LINES and done < total:
            return
        self._stage, self._told = stage, now
        print(f"{label}: {done:g} of {total:g}", file=self._file, flush=True)


@contextmanager
def terminal_bar(description: str) -> Iterator[Progress]:
    """Show a bar with the time left while the block runs.

    Args:
        description: what the job is, shown until the job reports a label of its own

    Yields:
        the callable to hand to the job

    Example:
        >>> with terminal_bar("scoring") as progress:
        ...     progress(1, 2, "scoring")
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)

    def shown(text: str) -> str:  # names in any script, in a terminal of any encoding
        return text.encode(console.encoding, "replace").decode(console.encoding)

    if not console.is_terminal:
        lines = _Lines(console.file)

        def tell(done: float, total: float, label: str) -> None:
            lines(done, total, shown(label))

        yield tell
        return
    with Bar(*columns, console=console) as bar:
        task = bar.add_task(shown(description), total=None)

        def report(done: float, total: float, label: str) -> None:
            bar.update(task, completed=done, total=total, description=shown(label))

        yield report
