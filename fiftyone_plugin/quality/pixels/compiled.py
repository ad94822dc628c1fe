"""Compiled functions: kept on disk where numba may write, compiled anew where it may not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile on first call, without the interpreter lock, so that Python threads run it side by side.

    numba keeps the machine code next to the source or in the user's cache folder (`NUMBA_CACHE_DIR`). Where both are
    read-only it refuses to decorate at all; then the code is compiled once per process instead.

    The cached code remembers the name that its module was imported by. FiftyOne imports plugins by names of its own,
    and reading code that was cached under a name unknown to this process fails, so each name gets files of its own.

    Args:
        function: a function that numba can compile; those it calls belong into the same file, because numba compares
            the cache with the age of that file only

    Returns:
        The compiled function.

    Example:
        >>> @compiled
        ... def double(x):
        ...     return 2 * x
        >>> double(4)
        8
    """
    digest = hashlib.sha256(function.__module__.encode()).hexdigest()[:8]
    function.__qualname__ = f"{function.__qualname__}_{digest}"
    try:
        return cast(Function, njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:
        return cast(Function, njit(nogil=True, error_model="numpy")(function))
