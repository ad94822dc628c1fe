"""Files that survive a power cut, and the list of those that a run wrote.

A file is written beside its place, brought to the disk and only then renamed: a reader, also one after a power cut,
finds the old file or the new one and never half of it. Where the file lies in a run's folder, its name is noted in the
folder's list before, so that deleting the run deletes exactly what it wrote.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, takewhile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

MARKER: Final = "run.json"
"""The file that makes a folder a run's own, and says whose."""

LIST: Final = "files.txt"
"""In a run's folder: what the run wrote there, one path a line; with a slash at its end, a folder and all of it."""

_DEPTH: Final = 8
_FORGOTTEN: Final = 3600.0
"""Seconds after which half a file of another machine is taken to be left over."""


def write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file in one step; its folder is made if need be.

    Args:
        path: where to
        write: told the open file

    Raises:
        OSError: if it cannot be written; nothing half-written stays

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(Path(folder) / "a" / "b.txt", lambda file: file.write(b"whole"))
        ...     (Path(folder) / "a" / "b.txt").read_bytes()
        b'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    note(path)

    def write_down(file: BinaryIO) -> None:
        write(file)
        file.flush()
        os.fsync(file.fileno())

    _put(path, write_down)


def write_many(folder: Path, contents: Iterable[tuple[str, bytes]]) -> None:
    """Write small files into a folder, each in one step; after `all_on_disk` they survive a power cut.

    A run's list names the folder, with all that is in it. Waiting for the disk once instead of for each file makes
    this five times as cheap.

    Args:
        folder: made if need be
        contents: name and content of each

    Raises:
        OSError: if one cannot be written; nothing half-written stays

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_many(Path(folder) / "masks", [("0.png", b"zero"), ("1.png", b"one")])
        ...     all_on_disk([Path(folder) / "masks"])
        ...     (Path(folder) / "masks" / "1.png").read_bytes()
        b'one'
    """
    folder.mkdir(parents=True, exist_ok=True)
    note(folder)
    for name, data in contents:
        _put(folder / name, lambda file, data=data: file.write(data))  # type: ignore[misc]


def _put(path: Path, write: Callable[[BinaryIO], object]) -> None:
    partial = path.with_name(f".{path.name}.{_machine()}-{os.getpid()}-{threading.get_ident()}.part")
    try:
        with partial.open("wb") as file:
            write(file)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def all_on_disk(folders: Iterable[Path]) -> None:
    """Wait until what `write_many` has written is on the disk.

    Args:
        folders: into which it was written
    """
    if sys.platform == "linux":  # elsewhere the system does not wait
        os.sync()
        return
    for folder in folders:
        if folder.is_dir():
            bring_to_disk(folder)


def bring_to_disk(folder: Path) -> None:
    """Wait until the files of a folder are on the disk, where something else has written them.

    Args:
        folder: whose files; not those of folders in it
    """
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def note(path: Path) -> None:
    """Put a file, or a folder and all that will be in it, on the list of the run in whose folder it lies, if any.

    Args:
        path: of the file or folder
    """
    if path.name in (MARKER, LIST):
        return
    for folder in list(path.parents)[:_DEPTH]:
        if (folder / MARKER).is_file():
            entry = path.relative_to(folder).as_posix() + ("/" if path.is_dir() else "")
            with (folder / LIST).open("a", encoding="utf-8") as file:
                file.write(entry + "\n")
            return


def settle(folder: Path) -> None:
    """Name on a run's list every file of the folders on it; what is put into them from now on is not the run's.

    Args:
        folder: of the run
    """
    names = (f"{path.relative_to(folder).as_posix()}\n".encode() for path in written_files(folder))
    write_file(folder / LIST, lambda file: file.writelines(names))


def is_whole(path: Path) -> bool:
    """Whether a file is there and not cut short, as far as its format tells without reading all of it.

    Args:
        path: a PNG, an npz archive, JSON or anything else, which must only hold something

    Returns:
        False also if it cannot be read
    """
    try:
        if path.suffix == ".npz":
            return zipfile.is_zipfile(path)
        if path.suffix == ".json":
            return isinstance(json.loads(path.read_bytes()), dict | list)
        with path.open("rb") as file:
            start = file.read(8)
            if path.suffix != ".png":
                return bool(start)
            file.seek(-12, os.SEEK_END)
            return start == b"\x89PNG\r\n\x1a\n" and file.read()[4:8] == b"IEND"
    except (OSError, ValueError):
        return False


def written_files(folder: Path) -> Iterator[Path]:
    """What a run wrote into its folder, as far as it is still there; only the lines of its list are in memory.

    Args:
        folder: of the run

    Yields:
        files within the folder, each once; a list that names others, which no run writes, is not believed
    """
    for path, is_folder in _listed(folder):
        inside = path.rglob("*") if is_folder and not path.is_symlink() else () if is_folder else (path,)
        yield from (one for one in inside if one.is_symlink() or one.is_file())


def written_folders(folder: Path) -> Iterator[Path]:
    """Folders below a run's folder in which it wrote, or was about to write when it was interrupted.

    Args:
        folder: of the run

    Yields:
        those that exist, each once
    """
    known = {str(folder)}
    for path, is_folder in _listed(folder):
        inside = chain([path], path.rglob("*")) if is_folder and not path.is_symlink() else ()
        yield from (one for one in inside if _is_folder(one))
        for parent in takewhile(lambda one: str(one) not in known, path.parents):
            known.add(str(parent))
            if _is_folder(parent):
                yield parent


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _listed(folder: Path) -> Iterator[tuple[Path, bool]]:
    """What is on a run's list and lies below its folder, and whether it is a folder with all of it.

    What lies in a folder that is on the list is left out.
    """
    try:
        lines = dict.fromkeys((folder / LIST).read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return
    root = folder.resolve()
    for line in lines:
        if line and not any(f"{parent}/" in lines for parent in PurePosixPath(line).parents):
            path = folder / line
            if _lies_below(root, path):
                yield path, line.endswith("/")


def _lies_below(root: Path, path: Path) -> bool:
    """Whether a path on a list leads into its folder; one that no file can have does not."""
    try:
        path.is_dir()
        return ".." not in path.parts and path.parent.resolve().is_relative_to(root)
    except (OSError, ValueError):
        return False


def remove_written(folder: Path, keep: Collection[Path] = ()) -> int:
    """Delete what a run wrote into its folder, its list and its marker, and folders that are empty then.

    Args:
        folder: of the run; what is not on its list stays
        keep: files that stay although they are on it; list and marker then stay, too

    Returns:
        number of files that were deleted
    """
    below, removed = list(written_folders(folder)), 0
    kept: list[Path] = []
    for path in written_files(folder):
        if path in keep:
            kept.append(path)
        else:
            path.unlink(missing_ok=True)
            removed += 1
    for path in below:
        sweep(path, everything=True)
    with contextlib.suppress(OSError):
        for path in sorted(below, key=lambda one: -len(one.parts)):
            with contextlib.suppress(OSError):
                path.rmdir()
        sweep(folder, everything=True)
        if kept:  # the list stays with them, so that they can go later
            names = "".join(f"{path.relative_to(folder).as_posix()}\n" for path in kept)
            write_file(folder / LIST, lambda file: file.write(names.encode()))
            return removed
        (folder / LIST).unlink(missing_ok=True)
        (folder / MARKER).unlink(missing_ok=True)
        folder.rmdir()
    return removed


def sweep(folder: Path, *, everything: bool = False) -> int:
    """Delete half-written files that nobody is writing any more.

    Args:
        folder: whose files; not those of folders in it
        everything: also such that somebody may still be writing, where the folder goes anyway

    Returns:
        how many
    """
    swept = 0
    for path in folder.glob(".*.part"):
        if everything or _is_left_over(path):
            path.unlink(missing_ok=True)
            swept += 1
    return swept


def _is_left_over(path: Path) -> bool:
    machine, _, rest = path.name.removesuffix(".part").rpartition(".")[2].partition("-")
    process = rest.partition("-")[0]
    try:
        if machine == _machine() and process.isdigit():
            os.kill(int(process), 0)
        return time.time() - path.stat().st_mtime > _FORGOTTEN
    except ProcessLookupError:
        return True
    except OSError:
        return False


def _machine() -> str:
    """A short name of this machine."""
    return hashlib.blake2b(platform.node().encode(), digest_size=3).hexdigest()
