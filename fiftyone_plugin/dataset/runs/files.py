"""Where a run keeps its PNG files and records, and writing them so that no reader sees half a file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import LabelQualityError


def default_output_dir(dataset_name: str, key: str) -> Path:
    """The folder of a run when the user names none: beside FiftyOne's other dataset files."""
    import fiftyone as fo

    return Path(fo.config.default_dataset_dir).expanduser() / "label-quality" / dataset_name / key


def require_writable(folder: str | Path, bytes_needed: int) -> Path:
    """Make a folder and check that a run's files will fit, before anything is computed.

    Args:
        folder: made with its parents if it does not exist
        bytes_needed: estimated size of what will be written

    Returns:
        the folder

    Raises:
        LabelQualityError: if the folder cannot be written or the disk is too full

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     require_writable(folder, 10).name != ""
        True
    """
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise LabelQualityError(
            f"Expected a folder that can be written, but {folder} cannot ({error.strerror or error}); "
            "pass another `output_dir`"
        ) from error
    free = shutil.disk_usage(folder).free
    if free < bytes_needed:
        raise LabelQualityError(
            f"Expected {_megabytes(bytes_needed)} of free disk space, but {folder} has {_megabytes(free)}; "
            "free some, pass another `output_dir`, or turn off the map and issue outputs"
        )
    return folder


def _megabytes(count: int) -> str:
    return f"{max(count, 1) / 1e6:,.1f} MB"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in one step: readers see the old content or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise LabelQualityError(
            f"Could not write {path} ({error.strerror or error}); free disk space or pass another `output_dir`, "
            "then run again: finished images are kept"
        ) from error


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an 8- or 16-bit grey or an RGB image.

    Args:
        path: where to
        image: (H, W) uint8 or uint16, or (H, W, 3) uint8
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=4)
    write_bytes(path, buffer.getvalue())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small record as JSON, in one step."""
    write_bytes(path, json.dumps(content, indent=1).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a record, or None where there is none or it is damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def digest_of(parts: Iterable[str]) -> str:
    """One short hash of many strings, whatever their order.

    Example:
        >>> digest_of(["a", "b"]) == digest_of(["b", "a"]) != digest_of(["ab"])
        True
    """
    digest = hashlib.blake2b(digest_size=12)
    for part in sorted(parts):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def suspicion_image(self_confidence: np.ndarray) -> np.ndarray:
    """The heatmap of a label: how suspicious each pixel is.

    Args:
        self_confidence: (H, W) in [0, 1], NaN where ignored

    Returns:
        (H, W) uint8: 255 (1 - self-confidence), 0 where ignored

    Example:
        >>> suspicion_image(np.array([[1.0, 0.0, np.nan]])).tolist()
        [[0, 255, 0]]
    """
    suspicion = np.nan_to_num(1 - self_confidence, nan=0.0)
    return np.rint(np.clip(suspicion, 0, 1) * 255).astype(np.uint8)


RUN_FOLDERS = (
    "issues", "map", "records", "regions", "rehearsals", "masks", "probabilities", "model", "superpixels", "candidates",
    "queries", "corrected", "confidence", "embeddings",
)  # fmt: skip
"""Subfolders that a run fills; nothing else in its folder is ever deleted."""

MARKER = "run.json"
"""The file that makes a folder a run's own."""


def remove_run_files(folder: Path) -> bool:
    """Delete a run's files, and its folder if that is then empty.

    Args:
        folder: the run's folder; one without the marker file is left alone

    Returns:
        whether there was anything to delete
    """
    if not (folder / MARKER).is_file():
        return False
    for name in RUN_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / MARKER).unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
    return True


@dataclass(frozen=True)
class RunFolder:
    """A run's folder on disk, and whether an earlier, interrupted run left results to go on with."""

    path: Path
    resumed: bool

    def finish(self) -> None:
        """Note that the run is complete."""
        write_json(self.path / MARKER, {**(read_json(self.path / MARKER) or {}), "finished": True})


def claim_folder(
    base: str | Path, owner: str, fingerprint: dict[str, Any], *, in_use: str | None = None, resume: bool = True
) -> RunFolder:
    """Find the folder for a run: that of an interrupted equal run, or a fresh one.

    Args:
        base: the wanted folder; `base-2`, `base-3` ... are tried where it belongs to somebody else
        owner: dataset id and key of the run
        fingerprint: everything that decides the results; an interrupted run with another one starts over
        in_use: folder of a finished run that is to be replaced only at the end
        resume: whether to go on with an interrupted run

    Returns:
        the folder, marked as this run's own

    Raises:
        LabelQualityError: if the wanted folder holds files that are no run's
    """
    base = Path(base)
    for number in range(1, 1000):
        path = base if number == 1 else base.with_name(f"{base.name}-{number}")
        marker = read_json(path / MARKER)
        if marker is None and path.is_dir() and any(path.iterdir()):
            raise LabelQualityError(
                f"Expected `output_dir` to be empty or a run's own folder, but {path} holds other files; "
                "pass another folder"
            )
        if str(path) == in_use or (marker is not None and marker.get("owner") != owner):
            continue
        if marker is not None and not marker.get("finished") and marker.get("fingerprint") == fingerprint and resume:
            return RunFolder(path, resumed=True)
        if marker is not None:
            remove_run_files(path)
        write_json(path / MARKER, {"owner": owner, "fingerprint": fingerprint, "finished": False})
        return RunFolder(path, resumed=False)
    raise LabelQualityError(f"Expected a free folder, but {base} and 999 others are taken; pass another `output_dir`")
