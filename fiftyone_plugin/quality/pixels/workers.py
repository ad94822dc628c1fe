"""Threads that measure parts of one image side by side."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from numba import config

PARTS_PER_THREAD: Final = 4
FEWEST_ITEMS: Final = 32
"""Below so many (half a million pixels in chunks) the work is done before another thread has begun."""

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def run_in_parts(work: Callable[[int, int], None], num_items: int, num_threads: int | None = None) -> None:
    """Call `work(start, stop)` on consecutive ranges that cover `range(num_items)`, on several threads.

    Plain threads instead of numba's own: those may neither be entered from two threads at once nor survive a fork.

    Args:
        work: handles items start..stop-1; must release the interpreter lock to gain from threads
        num_items: number of items
        num_threads: how many threads; None means `NUMBA_NUM_THREADS`, by default the cores of this process

    Example:
        >>> done = []
        >>> run_in_parts(lambda start, stop: done.extend(range(start, stop)), 3, num_threads=1)
        >>> done
        [0, 1, 2]
    """
    threads = min(num_threads or int(config.NUMBA_NUM_THREADS), num_items)  # type: ignore[attr-defined]
    if threads <= 1 or (num_threads is None and num_items < FEWEST_ITEMS):
        work(0, num_items)
        return
    parts = min(num_items, PARTS_PER_THREAD * threads)
    bounds = [num_items * part // parts for part in range(parts + 1)]
    for _ in _pool(threads).map(work, bounds[:-1], bounds[1:]):
        pass


def _pool(threads: int) -> ThreadPoolExecutor:
    """Return the pool of this process; a forked child inherits the object but not its threads."""
    key = (os.getpid(), threads)
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(threads, thread_name_prefix="label-quality")
    return _pools[key]
