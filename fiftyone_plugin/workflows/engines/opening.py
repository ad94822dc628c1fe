"""Choosing the scheduler of a job by its name."""

from __future__ import annotations

from ...errors import LabelQualityError
from .engine import ENGINES, Engine, LocalEngine
from .ray_engine import open_ray


def open_engine(name: str, workers: int | None) -> Engine:
    """Open a scheduler.

    Args:
        name: of `ENGINES`
        workers: of a cluster; None for as many as it has room for

    Returns:
        the scheduler

    Raises:
        LabelQualityError: if there is none of that name, or it cannot be used here
    """
    if name == "local":
        return LocalEngine()
    if name == "ray":
        return open_ray(workers)
    raise LabelQualityError(f"Expected `engine` to be one of {list(ENGINES)}, but got {name!r}")
