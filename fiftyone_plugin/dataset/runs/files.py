"""Where a run keeps its PNG files and records, and writing them so that no reader sees half a file."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import LabelQualityError
from ...wording import count
from ...written_files import LIST, MARKER, note, remove_written, settle, sweep, write_file, written_folders

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG}
"""What the system says of a disk that takes nothing more."""


def default_output_dir(dataset: Any, key: str) -> Path:
    """The folder of a run when the user names none: beside FiftyOne's other dataset files.

    Args:
        dataset: the `fiftyone.Dataset`; what its name and id become is a folder's name, whatever the name holds
        key: of the run, an identifier

    Returns:
        the folder, which may not exist
    """
    import fiftyone as fo

    return Path(fo.config.default_dataset_dir).expanduser() / "label-quality" / folder_name(dataset) / key


def folder_name(dataset: Any) -> str:
    """A folder's name for a dataset: readable, of no other dataset, and nothing but a name.

    Args:
        dataset: with `name` and `_doc.id`

    Returns:
        letters, digits and hyphens

    Example:
        >>> from types import SimpleNamespace
        >>> folder_name(SimpleNamespace(name="../../My data!", _doc=SimpleNamespace(id="65f0")))
        'my-data-65f0'
    """
    words = re.sub(r"[^a-z0-9]+", "-", dataset.name.lower()).strip("-")[:60].strip("-")
    return f"{words or 'dataset'}-{dataset._doc.id}"


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
        with tempfile.TemporaryFile(dir=folder) as probe:  # without a name, so that nothing can be left of it
            probe.write(b"x")
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


def num_writers() -> int:
    """How many threads measure and write images beside whatever gives them: one a core, eight at most.

    Each waits for the disk now and then, and each holds an image and its probabilities in memory.
    """
    return min(8, max(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in one step: readers, also those after a power cut, see the old content or the new, never half.

    Args:
        path: where to; its folder is made if need be
        data: all of it

    Raises:
        LabelQualityError: if it cannot be written
    """
    try:
        write_file(path, lambda file: file.write(data))
    except OSError as error:
        raise LabelQualityError(
            f"Could not write {path} ({error.strerror or error}); free disk space or pass another `output_dir`, "
            "then run again: finished images are kept"
        ) from error


@contextmanager
def disk_in_words() -> Iterator[None]:
    """Say in words that the disk is full or read-only, whatever was about to be written.

    Raises:
        LabelQualityError: instead of what the system raises

    Example:
        >>> with disk_in_words():
        ...     raise OSError(errno.ENOSPC, "No space left on device", "masks/1.png")
        Traceback (most recent call last):
        fiftyone_plugin.errors.LabelQualityError: Could not write masks/1.png (No space left on device); free disk space
        or make its folder writable, then do it again: what was finished is kept
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise LabelQualityError(
            f"Could not write {error.filename or 'a file'} ({error.strerror}); free disk space or make its folder "
            "writable, then do it again: what was finished is kept"
        ) from error


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an 8- or 16-bit grey or an RGB image.

    Args:
        path: where to
        image: (H, W) uint8 or uint16, or (H, W, 3) uint8
    """
    write_bytes(path, png_of(image))


def png_of(image: np.ndarray) -> bytes:
    """The content of an image file.

    Args:
        image: as for `write_png`

    Returns:
        a PNG

    Example:
        >>> png_of(np.zeros((2, 2), np.uint8))[1:4]
        b'PNG'
    """
    buffer = io.BytesIO()
    grey = image.ndim == 2 and image.dtype == np.uint8  # masks and maps: half the time, no larger
    strategy = zlib.Z_RLE if grey else zlib.Z_DEFAULT_STRATEGY
    Image.fromarray(image).save(buffer, format="PNG", compress_level=4, compress_type=strategy)
    return buffer.getvalue()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small record as JSON, in one step."""
    write_bytes(path, json.dumps(content, indent=1).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a record, or None where there is none or it is damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


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


def remove_run_files(folder: Path, owner: str, keep: Collection[Path] = ()) -> bool:
    """Delete what a run wrote, and its folder if that is then empty; what others put there stays.

    Args:
        folder: the run's folder
        owner: dataset id and key of the run; a folder that is marked as another's, or as nobody's, is left alone
        keep: files that stay, because others name them

    Returns:
        whether there was anything to delete
    """
    marker = read_json(folder / MARKER)
    if marker is None and folder.is_dir():  # killed before it was marked: at most half of the marker is there
        sweep(folder)
        with suppress(OSError):
            folder.rmdir()
    if marker is None or marker.get("owner") != owner:
        return False
    remove_written(folder, keep)
    return True


def why_it_stays(folder: Path, owner: str) -> str | None:
    """Why a folder is still there after its run's files were deleted.

    Args:
        folder: of the run
        owner: dataset id and key of the run

    Returns:
        a sentence that says what to do; None if the folder is gone, or is another run's by now
    """
    rest = [path for path in folder.rglob("*") if not path.is_dir()] if folder.is_dir() else []
    marker = read_json(folder / MARKER)
    if not rest or (marker is not None and marker.get("owner") not in (None, owner)):
        return None
    damaged = (folder / MARKER).exists() or (folder / LIST).exists()
    why = (
        f"its {MARKER} is gone or damaged, so nothing was deleted there"
        if damaged
        else f"not in the run's list of files ({LIST}): they are yours, or the list was damaged"
    )
    return f"{folder} was kept with {count(len(rest), 'file')}: {why}. If you do not need it, delete the folder by hand"


def require_removable(folder: Path) -> None:
    """Check that a run's files can be deleted, before anything is changed.

    Args:
        folder: of the run; one that does not exist needs no deleting

    Raises:
        LabelQualityError: if it is read-only
    """
    for path in chain([folder], written_folders(folder)):
        if path.is_dir() and not is_writable(path):
            raise LabelQualityError(
                f"Expected a folder from which the run's files can be deleted, but {path} is read-only; make it "
                "writable first. Nothing was deleted"
            )


def trouble_with(folder: Path, bytes_needed: int) -> str | None:
    """Why a file cannot be written into a folder, if that is known beforehand.

    Args:
        folder: which exists, or not any more
        bytes_needed: size of the file

    Returns:
        the reason in words; None if there is none

    Example:
        >>> trouble_with(Path("no-such-folder"), 1)
        'the folder no-such-folder is gone'
    """
    if not folder.is_dir():
        return f"the folder {folder} is gone"
    if not is_writable(folder):
        return f"the folder {folder} is read-only, or its disk is full"
    free = shutil.disk_usage(folder).free
    return None if free >= bytes_needed else f"the disk of {folder} is full ({_megabytes(free)} free)"


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder; makes one to know, since permissions do not tell of all disks."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@dataclass(frozen=True)
class RunFolder:
    """A run's folder on disk, and whether an earlier, interrupted run left results to go on with.

    Attributes:
        path: the folder
        resumed: whether there are such results
        restarted: what an interrupted run had that is different now, so that it starts over
    """

    path: Path
    resumed: bool
    restarted: tuple[str, ...] = ()

    def subfolder(self, name: str) -> Path:
        """A folder in it that is the run's with all that is put there until the run is finished.

        Args:
            name: of the folder

        Returns:
            the folder, which exists
        """
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        note(path)
        return path

    def finish(self) -> None:
        """Note that the run is complete, and sweep up what interrupted calls have left half written."""
        for folder in chain([self.path], written_folders(self.path)):
            sweep(folder)
        settle(self.path)
        marker = read_json(self.path / MARKER)
        if marker is not None:  # one that was damaged meanwhile stays so, and deleting the run says it
            write_json(self.path / MARKER, {**marker, "finished": True})


def claim_folder(
    base: str | Path,
    owner: str,
    fingerprint: dict[str, Any],
    *,
    first: str | None = None,
    in_use: str | None = None,
    resume: bool = True,
    announce: Callable[[Path], object] = lambda path: None,
) -> RunFolder:
    """Find the folder for a run: that of an interrupted equal run, or a fresh one.

    Args:
        base: the wanted folder; one named after the run within it where it holds other files, and `base-2`,
            `base-3` ... where it belongs to another run
        owner: dataset id and key of the run
        fingerprint: everything that decides the results; an interrupted run with another one starts over
        first: folder of an interrupted run, which is looked at before the others; all its files may be there
        in_use: folder of a finished run that is to be replaced only at the end
        resume: whether to go on with an interrupted run
        announce: told the folder before anything is written there, so that nothing is left which nobody knows of

    Returns:
        the folder, marked as this run's own

    Raises:
        LabelQualityError: if there is no free folder
    """
    base = Path(base)
    if read_json(base / MARKER) is None and _holds_files(base):
        base = base / owner.rpartition("/")[2]
    numbered = (base if number == 1 else base.with_name(f"{base.name}-{number}") for number in range(1, 1000))
    for path in [*([Path(first)] if first else []), *numbered]:
        marker = read_json(path / MARKER)
        if marker is None and _holds_files(path):
            continue
        if str(path) == in_use or (marker is not None and marker.get("owner") != owner):
            continue
        finished = marker is not None and marker.get("finished") and str(path) != first
        if marker is not None and not finished and marker.get("fingerprint") == fingerprint and resume:
            announce(path)
            return RunFolder(path, resumed=True)
        different: tuple[str, ...] = ()
        announce(path)
        if marker is not None:
            before = marker.get("fingerprint") or {}
            if resume and not marker.get("finished"):
                different = tuple(name for name in fingerprint if before.get(name) != fingerprint[name])
            remove_run_files(path, owner)
        if _holds_files(path):  # others', which stay what they are
            continue
        write_json(path / MARKER, {"owner": owner, "fingerprint": fingerprint, "finished": False})
        return RunFolder(path, resumed=False, restarted=different)
    raise LabelQualityError(f"Expected a free folder, but {base} and 999 others are taken; pass another `output_dir`")


def _holds_files(folder: Path) -> bool:
    """Whether there is anything in a folder besides half of a file that a killed call has left."""
    if not folder.is_dir():
        return False
    sweep(folder)
    return any(folder.iterdir())
