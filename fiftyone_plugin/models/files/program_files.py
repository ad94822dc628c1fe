"""Looking into a file of `torch.export` before torch does: what would run code while it is read is refused.

torch reads the parts of such a file with pickle where nothing else works, and loads compiled libraries. A file that
holds only data passes; what an exported program computes is still its own business.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from ...errors import LabelQualityError

_PROGRAM_CODE = (".so", ".dll", ".dylib", ".cubin", ".o", ".pyd")


def require_only_data(path: Path) -> None:
    """Check that reading an exported program runs no code of whoever made it.

    Args:
        path: a `.pt2` file

    Raises:
        LabelQualityError: if a part of it is no data that torch reads with weights only, is compiled code, or is
            there twice

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "net.pt2"
        >>> graph = torch.export.export(torch.nn.Conv2d(3, 2, 1), (torch.zeros(1, 3, 8, 16),))
        >>> torch.export.save(graph, path)
        >>> require_only_data(path)
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = Counter(archive.namelist())
            compiled = [name for name in names if "aotinductor" in name or name.endswith(_PROGRAM_CODE)]
            twice = [name for name, count in names.items() if count > 1]
            if compiled or twice:
                raise _refused(path, f"{(compiled or twice)[0]} is {'compiled code' if compiled else 'there twice'}")
            pickled = set(_pickled(archive))
            for name in names:
                if name in pickled or PurePosixPath(name).name in pickled:
                    _require_weights(path, archive, name)
    except (OSError, zipfile.BadZipFile, ValueError, RecursionError) as error:
        if isinstance(error, LabelQualityError):
            raise
        raise _refused(path, f"it is no archive of torch.export: {error}") from error


def _pickled(archive: zipfile.ZipFile) -> Iterator[str]:
    """Names of the parts that torch may read with pickle."""
    for name in archive.namelist():
        if name.endswith(".json") and "config" in PurePosixPath(name).name:
            yield from _paths(json.loads(archive.read(name)))
        elif name.endswith((".pt", ".pkl", ".pickle")) or "sample_inputs" in name:
            yield name


def _paths(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if config.get("use_pickle"):
            yield PurePosixPath(str(config.get("path_name"))).name
        for value in config.values():
            yield from _paths(value)


def _require_weights(path: Path, archive: zipfile.ZipFile, name: str) -> None:
    content = archive.read(name)
    if not content:
        return
    try:
        torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:
        raise _refused(path, f"its part {name} is no plain data") from error


def _refused(path: Path, reason: str) -> LabelQualityError:
    return LabelQualityError(
        f"Expected an exported program of data alone, but {path} could run other code while it is read ({reason}), so "
        "it was not loaded. Write it again with `torch.export.save`, with plain tensors as example inputs, or pass a "
        "segmentation-models-pytorch folder"
    )
