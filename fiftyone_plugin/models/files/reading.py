"""Reading files ahead of the one who needs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_READERS = 4


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], count: int, threads: int = _READERS
) -> Iterator[tuple[Item, Result]]:
    """Yield items with what `read` makes of them, `count` ahead of the consumer, in order, by a few threads.

    Args:
        read: called once per item, in a thread; what it raises is raised here
        items: read lazily
        count: how many items are read ahead
        threads: how many are read at once

    Yields:
        (item, read(item))

    Example:
        >>> list(read_ahead(str.upper, ["a", "b"], 1))
        [('a', 'A'), ('b', 'B')]
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="read-ahead") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(read, item)))
                if len(waiting) > count:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
