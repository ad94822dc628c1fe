"""Arrays in one npz file that no reader ever sees half-written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ...written_files import write_file

Arrays = Mapping[str, npt.NDArray[Any]]


def write_arrays(path: Path, arrays: Arrays, *, compressed: bool = True) -> Path:
    """Write arrays; a file that exists is replaced at once or not at all.

    Args:
        path: file to write, usually `*.npz`; its folder is made if need be
        arrays: by name
        compressed: whether to trade time for space

    Returns:
        The path.

    Raises:
        OSError: if the file cannot be written; nothing half-written stays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     read_arrays(write_arrays(Path(folder) / "a.npz", {"x": np.arange(3)}))["x"]
        array([0, 1, 2])
    """
    save = np.savez_compressed if compressed else np.savez
    write_file(path, lambda file: save(file, **cast(dict[str, Any], dict(arrays))))
    return path


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of a file that `write_arrays` wrote.

    Args:
        path: the file

    Returns:
        Arrays by name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError, EOFError, zipfile.BadZipFile: if it is damaged.
    """
    file = np.load(path, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):  # in a `with`, Python 3.10 says so in another way
        raise ValueError("one array, and not an archive of arrays")
    with file:
        return {name: file[name] for name in file.files}
