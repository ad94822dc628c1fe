"""What a scheduler of stages is, and the one that stays in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, Protocol

ENGINES: Final = {
    "local": "in this process, beside the model",
    "ray": "by workers on a Ray cluster that share database and folder; see docs/scale.md",
}
"""Where a job can run."""

Stage = Callable[[Any, Iterable[Any]], Iterator[Any]]
"""Takes a job and a stream of items to a stream of results that name their items.

What an item gives depends on the items of its part only, and on nothing that was before. A stage that writes does so in
one step a file, so that doing it twice leaves what doing it once leaves.
"""


class Engine(Protocol):
    """Runs stages."""

    def run(self, stage: Stage, job: Any, parts: Iterable[Sequence[Any]]) -> Iterator[Any]:
        """Yield the results of all items, in any order.

        Args:
            stage: what to do
            job: what it needs besides the items; can be pickled, and opens again what cannot
            parts: the items, in groups that belong together

        Yields:
            what the stage yields
        """


class LocalEngine:
    """Runs a stage over all items as one stream, so that whatever it reads ahead goes on from part to part.

    Example:
        >>> list(LocalEngine().run(lambda job, items: (job + item for item in items), 10, [[1, 2], [3]]))
        [11, 12, 13]
    """

    def run(self, stage: Stage, job: Any, parts: Iterable[Sequence[Any]]) -> Iterator[Any]:
        """Yield the results, in the order of the stage."""
        return stage(job, chain.from_iterable(parts))
