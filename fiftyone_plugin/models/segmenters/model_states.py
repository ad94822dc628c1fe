"""What tells two states of a model apart: its files, weights, options, and the code and values that it is made of."""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import os
import sys
import sysconfig
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

_DEEPEST = 120
_KEPT_FOR_SPEED = "features"
"""A folder in that of a model which is no part of it."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype, torch.dtype, torch.device, range)
_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_UNSEEN = (types.GeneratorType, types.CoroutineType, io.IOBase)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_RUNTIME = ("_hooks", "_pre_hooks", "_hooks_with_kwargs", "_hooks_always_called")
"""Ends of the names of what torch keeps in a module while it runs."""


class UnknownStateError(ValueError):
    """It cannot be told whether something is still what it was."""


def model_state(*parts: Any) -> str:
    """Describe the state of a model and its options: equal only where the same probabilities follow.

    Weights, arrays and plain values are compared by value, files by size and times, functions and classes by their
    code, the values they close over and the globals they name, those of installed packages by name.

    Args:
        parts: a model (name, path, module, callable, object) and whatever else decides its probabilities

    Returns:
        16 hexadecimal digits

    Raises:
        UnknownStateError: something in it has a state that cannot be seen, such as a generator or an open file

    Example:
        >>> def double(x, by=2): return by * x
        >>> def triple(x, by=3): return by * x
        >>> model_state(double) == model_state(double), model_state(double) == model_state(triple)
        (True, False)
    """
    digest = hashlib.blake2b(digest_size=8)
    try:
        for piece in _pieces(parts, _Seen()):
            digest.update(piece + b"\0")
    except RecursionError as error:
        raise UnknownStateError("it is nested too deeply") from error
    return digest.hexdigest()


class _Seen:
    """Objects on the way down, each described once, so that circles end."""

    def __init__(self) -> None:
        self.known: dict[int, int] = {}
        self.kept: list[Any] = []  # as long as they are kept no other object has their number
        self.depth = 0

    def number(self, value: Any) -> int | None:
        """Where an object was met before; None, and it is noted, where it was not."""
        if id(value) in self.known:
            return self.known[id(value)]
        self.known[id(value)] = len(self.known)
        self.kept.append(value)
        return None


def _pieces(value: Any, seen: _Seen) -> Iterator[bytes]:
    """Yield bytes that differ where the state of a value does."""
    if isinstance(value, _PLAIN):
        yield f"{type(value).__name__}:{value!r}".encode()
        yield from _files(value) if isinstance(value, str) else ()
        return
    before = seen.number(value)
    if before is not None:
        yield f"again:{before}".encode()
        return
    seen.depth += 1
    if seen.depth > _DEEPEST:
        raise UnknownStateError(f"{type(value).__name__} is nested too deeply")
    yield type(value).__qualname__.encode()
    yield from _inner(value, seen)
    seen.depth -= 1


def _inner(value: Any, seen: _Seen) -> Iterator[bytes]:
    describe = next((entry for kind, entry in _DESCRIBED if isinstance(value, kind)), _object)
    yield from describe(value, seen)


def _path(value: Path, seen: _Seen) -> Iterator[bytes]:
    yield str(value).encode()
    yield from _files(str(value))


def _tensor(value: torch.Tensor, seen: _Seen) -> Iterator[bytes]:
    yield f"{value.dtype}{tuple(value.shape)}".encode()
    yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _array(value: np.ndarray, seen: _Seen) -> Iterator[bytes]:
    if value.dtype.hasobject:
        yield from _pieces(value.tolist(), seen)
    else:
        yield f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes()


def _mapping(value: Mapping[Any, Any], seen: _Seen) -> Iterator[bytes]:
    yield from _each(((repr(key), inside) for key, inside in value.items()), seen)


def _set(value: Any, seen: _Seen) -> Iterator[bytes]:
    yield from _each(sorted(value, key=repr), seen)


def _partial(value: Any, seen: _Seen) -> Iterator[bytes]:
    yield from _each((value.func, value.args, value.keywords), seen)


def _method(value: types.MethodType, seen: _Seen) -> Iterator[bytes]:
    yield from _each((value.__func__, value.__self__), seen)


def _code(value: types.CodeType, seen: _Seen) -> Iterator[bytes]:
    yield value.co_code
    yield from _each((value.co_consts, value.co_names), seen)


def _nothing(value: Any, seen: _Seen) -> Iterator[bytes]:
    """Loggers and locks say nothing of what is predicted."""
    yield b""


def _imported(value: types.ModuleType, seen: _Seen) -> Iterator[bytes]:
    yield f"{value.__name__} {getattr(value, '__version__', '')}".encode()


def _builtin(value: Any, seen: _Seen) -> Iterator[bytes]:
    yield str(getattr(value, "__qualname__", value)).encode()
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, (types.ModuleType, type)):
        yield from _pieces(owner, seen)


def _each(values: Iterable[Any], seen: _Seen) -> Iterator[bytes]:
    for value in values:
        yield from _pieces(value, seen)
    yield b"end"


def _files(text: str) -> Iterator[bytes]:
    """State of the files that a path, or what follows the colon of a name such as "smp:folder", leads to."""
    for name in dict.fromkeys([text, text.partition(":")[2]]):
        path = Path(name).expanduser() if name and len(name) < 1024 and "\0" not in name else None
        if path is None or not _exists(path):
            continue
        inside = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        inside = [file for file in inside if file.parent.name != _KEPT_FOR_SPEED]
        for file in inside if path.is_absolute() or len(path.parts) > 1 or path.suffix else ():
            found = os.stat(file)
            yield f"{file} {found.st_size} {found.st_mtime_ns} {found.st_ino}".encode()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _is_library(value: Any) -> bool:
    """Whether something belongs to an installed package, whose code changes with its version only."""
    name = getattr(value, "__module__", None) or ""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    return (
        name == "builtins"
        or (module is not None and name != "__main__" and file is None)
        or (file is not None and file.startswith(_LIBRARIES))
    )


def _name(value: Any, seen: _Seen) -> Iterator[bytes]:
    package = sys.modules.get((value.__module__ or "").partition(".")[0])
    yield f"{value.__module__}.{value.__qualname__} {getattr(package, '__version__', '')}".encode()


def _function(function: types.FunctionType, seen: _Seen) -> Iterator[bytes]:
    yield from _name(function, seen)
    cells: list[Any] = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:
            cells.append("empty")
    yield from _each((function.__defaults__, function.__kwdefaults__, cells), seen)
    if _is_library(function):
        return
    yield from _pieces(function.__code__, seen)
    names = sorted(set(_global_names(function.__code__)) & set(function.__globals__))
    yield from _each(((name, function.__globals__[name]) for name in names), seen)


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _class(kind: type, seen: _Seen) -> Iterator[bytes]:
    yield from _name(kind, seen)
    if _is_library(kind):
        return
    skipped = ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__")
    parts = {name: _unwrapped(part) for name, part in vars(kind).items() if name not in skipped}
    yield from _each((kind.__bases__, parts), seen)


def _unwrapped(part: Any) -> Any:
    if isinstance(part, (staticmethod, classmethod)):
        return part.__func__
    return (part.fget, part.fset) if isinstance(part, property) else part


def _module(module: torch.nn.Module, seen: _Seen) -> Iterator[bytes]:
    """Weights, code and everything else that was set, of a module and of those inside it."""
    yield from _pieces(type(module), seen)
    own = {name: value for name, value in vars(module).items() if not name.endswith(_RUNTIME)}
    if isinstance(module, torch.jit.ScriptModule):
        own = dict(module.state_dict())
        yield repr(module.graph).encode() if hasattr(module, "graph") else b""
    own.pop("training", None)  # every model predicts in the same mode
    yield from _pieces(own, seen)
    hooks = (getattr(module, name, {}) for name in ("_forward_hooks", "_forward_pre_hooks"))
    yield from _each((list(entry.values()) for entry in hooks), seen)


def _object(value: Any, seen: _Seen) -> Iterator[bytes]:
    """An object by its class and attributes; one that keeps its state out of sight is not known."""
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()) if name != "__dict__"]
    if isinstance(value, _UNSEEN) or not (hasattr(value, "__dict__") or slots):
        raise UnknownStateError(f"the state of a {type(value).__name__} cannot be seen")
    own = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    yield from _each((type(value), own, getattr(value, "__dict__", {})), seen)


_DESCRIBED: tuple[tuple[Any, Callable[[Any, _Seen], Iterator[bytes]]], ...] = (
    (Path, _path),
    (torch.Tensor, _tensor),
    (np.ndarray, _array),
    (torch.nn.Module, _module),
    (Mapping, _mapping),
    ((set, frozenset), _set),
    ((list, tuple), _each),
    (functools.partial, _partial),
    (types.MethodType, _method),
    (types.FunctionType, _function),
    (types.CodeType, _code),
    (type, _class),
    ((logging.Logger, *_LOCKS), _nothing),
    (types.ModuleType, _imported),
    ((types.BuiltinFunctionType, types.MethodDescriptorType, np.ufunc), _builtin),
)
"""What is described how; the first kind that fits counts, anything else is an object."""
