"""One floating-point array in an npy, npz or zarr file: looked at before any of its values is read.

A file of probabilities is data and stays data: arrays of Python objects, and zarr codecs that are not known to be
harmless (numcodecs' `pickle` runs what it reads), are refused by what the file's head says.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import LabelQualityError
from ..files.opening import require_file

SUFFIXES = (".npy", ".npz", ".zarr")
"""Ends of the names of files that can hold probabilities, in the order in which they are looked for."""

_NAMES = ("pred_probs", "probabilities", "probs", "softmax", "logits", "arr_0")
_CODECS = frozenset({
    "adler32", "astype", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c", "default", "delta", "fixedscaleoffset",
    "fletcher32", "gzip", "jenkins_lookup3", "lz4", "lzma", "pcodec", "quantize", "regular", "sharding_indexed",
    "shuffle", "transpose", "zfpy", "zlib", "zstd",
})  # fmt: skip
"""zarr's codecs (and grids and keys, which are named like them) that only move numbers about."""


@dataclass(frozen=True)
class StoredArray:
    """An array on disk.

    Attributes:
        shape: of the array
        dtype: of its values
        read: gives the values of an index, such as `...`
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Any], np.ndarray]


def open_array(path: str | Path) -> StoredArray:
    """Look at a file of probabilities; its values are read later.

    Args:
        path: .npy (memory-mapped), .npz (its only array, or the one called pred_probs, probabilities, probs, softmax
            or logits) or .zarr

    Returns:
        the array

    Raises:
        LabelQualityError: no such file, another kind of file, a damaged one, or values that are no floating-point
            numbers

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npz"
        >>> np.savez(path, softmax=np.full((4, 2, 3), 0.25, np.float16))
        >>> open_array(path).shape
        (4, 2, 3)
    """
    path = Path(path)
    if not path.exists():
        raise LabelQualityError(f"Expected a file with probabilities, but {path} does not exist.")
    openers = {".npy": _from_npy, ".npz": _from_archive, ".zarr": _from_zarr}
    if path.suffix not in openers:
        raise LabelQualityError(f"Expected a .npy, .npz or .zarr file, but got {path}.")
    try:
        if path.suffix != ".zarr":
            require_file(path)
        stored = openers[path.suffix](path)
    except LabelQualityError:
        raise
    except Exception as error:  # a damaged file may raise nearly anything
        raise _unreadable(path, error) from error
    if stored.dtype.kind != "f":
        raise LabelQualityError(
            f"Expected floating-point probabilities in {path}, but it holds {stored.dtype}; "
            "store a score per class, not the winning class."
        )

    def read(index: Any) -> np.ndarray:
        try:
            return stored.read(index)
        except Exception as error:  # the head may be whole and the values not
            raise _unreadable(path, error) from error

    return replace(stored, read=read)


def _unreadable(path: Path, error: Exception) -> LabelQualityError:
    return LabelQualityError(f"Cannot read probabilities from {path} ({type(error).__name__}: {error}).")


def _from_npy(path: Path) -> StoredArray:
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    return StoredArray(values.shape, values.dtype, lambda index: values[index])


def _from_archive(path: Path) -> StoredArray:
    with zipfile.ZipFile(path) as archive:
        names = sorted(name.removesuffix(".npy") for name in archive.namelist())
        name = _only_name(names, path)
        with archive.open(f"{name}.npy") as member:
            version = np.lib.format.read_magic(member)
            heads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in heads:
                raise ValueError(f"npy version {version}")
            shape, _, dtype = heads[version](member)

    def read(index: Any) -> np.ndarray:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name][index]

    return StoredArray(shape, dtype, read)


def _from_zarr(path: Path) -> StoredArray:
    try:
        import zarr
    except ImportError as error:
        raise LabelQualityError(
            f'The package zarr, which {path} needs, is not installed; run `pip install "fiftyone-label-quality[zarr]"` '
            "(Python 3.11 or newer), or store npy files."
        ) from error
    if int(zarr.__version__.split(".")[0]) < 3:
        raise LabelQualityError(f"Expected zarr 3 or newer to read {path}, but got {zarr.__version__}; upgrade zarr.")
    store: Any = zarr.open(str(path), mode="r")
    found: Any = store[_only_name(sorted(store.array_keys()), path)] if isinstance(store, zarr.Group) else store
    settings = {key: value for key, value in found.metadata.to_dict().items() if key != "attributes"}
    unknown = sorted(set(_codec_names(settings)) - _CODECS)
    if unknown:
        raise LabelQualityError(
            f"Expected an array of plain numbers in {path}, but it is stored by {', '.join(unknown)}, which may run "
            "code; store it with zarr's own compressors, or as npy."
        )
    return StoredArray(found.shape, np.dtype(found.dtype), lambda index: np.asarray(found[index]))


def _codec_names(settings: Any) -> Iterator[str]:
    """Names of all codecs in an array's metadata, those inside of others too."""
    entries = settings.values() if isinstance(settings, Mapping) else settings
    if isinstance(settings, Mapping):
        for key in ("id", "name"):
            if isinstance(settings.get(key), str):
                yield str(settings[key]).removeprefix("numcodecs.")
    for entry in entries:
        if isinstance(entry, Mapping) or (isinstance(entry, Sequence) and not isinstance(entry, str | bytes)):
            yield from _codec_names(entry)


def _only_name(names: Sequence[str], path: Path) -> str:
    known = [name for name in _NAMES if name in names]
    if len(names) == 1 or known:
        return known[0] if known else names[0]
    raise LabelQualityError(
        f"Expected one array in {path}, or one called {', '.join(_NAMES)}, but it holds {list(names)}."
    )
