"""A folder of probability files, and which of them belongs to which image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from ...errors import LabelQualityError
from .stored_array import SUFFIXES

_DEEPEST = 8
_NNUNET_CHANNEL = "_0000"
"""What nnU-Net adds to the name of an image file, and leaves out of the name of its probabilities."""


class ProbabilityFolder:
    """Finds an image's file in a folder: by its name, and where that is not unique by the folders that it is in.

    The file of `train/street_7.png` is `street_7.npy` or `street_7.png.npy` in the folder or in its subfolder `train`
    (.npz or .zarr likewise); that of nnU-Net's `street_7_0000.png` is also `street_7.npz`. A name that several images
    have is nobody's: their files are looked for in subfolders only.

    Args:
        folder: searched with its subfolders, once
        images: paths of all images there are, so that names which are not unique are known

    Raises:
        LabelQualityError: the folder does not exist

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "7.npy").touch()
        >>> ProbabilityFolder(folder, ["a/7.png", "a/8.png"]).find("a/7.png").name
        '7.npy'
    """

    def __init__(self, folder: str | Path, images: Iterable[str] = ()) -> None:
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise LabelQualityError(f"Expected a folder of probability files, but {folder} is none.")
        self._files = dict(_listed(self.folder))
        self._owners: dict[str, str | None] = {}
        for image in images:
            self._claim(image)

    def __str__(self) -> str:
        return str(self.folder)

    def find(self, *names: str) -> Path:
        """Find the file of an image.

        Args:
            names: the image's path; where it goes by several names, all of them

        Returns:
            its file

        Raises:
            LabelQualityError: there is none, or it may as well be another image's
        """
        shared: list[str] = []
        for name in names:
            self._claim(name)
            for key in _keys(name):
                if key in self._files and self._owners[key] == name:
                    return self._files[key]
                shared += [key] if key in self._files else []
        if shared:
            raise LabelQualityError(
                f"has no probability file of its own: several images are called {PurePath(names[-1]).name}, and "
                f"{self._files[shared[0]]} may be another one's; put the files into subfolders like those of the images"
            )
        stems = " or ".join(dict.fromkeys(PurePath(name).stem for name in names))
        raise LabelQualityError(f"has no probability file {stems} ({', '.join(SUFFIXES)}) in {self.folder}")

    def _claim(self, image: str) -> None:
        """Note that an image may have the files of its names; what two images may have belongs to none."""
        for key in _keys(image):
            if key in self._files and self._owners.setdefault(key, image) != image:
                self._owners[key] = None


def _listed(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (path below the folder without its end, file); of several kinds of file the first of `SUFFIXES` counts."""
    found: list[Path] = []
    for where, folders, names in os.walk(folder, followlinks=True):
        found += [Path(where) / name for name in [*names, *folders]]
        folders[:] = [name for name in folders if not name.endswith(".zarr")]
    for suffix in reversed(SUFFIXES):  # what comes later replaces what came before
        for path in found:
            if path.suffix == suffix:
                yield path.relative_to(folder).as_posix().removesuffix(suffix), path


def _keys(image: str) -> Iterator[str]:
    """Yield what an image's file may be called, the surest first: with many folders, with few, with none."""
    path = PurePath(image)
    folders = [part for part in path.parts[:-1] if part != path.anchor][-_DEEPEST:]
    names = dict.fromkeys([path.name, path.stem, path.stem.removesuffix(_NNUNET_CHANNEL)])
    for start in range(len(folders) + 1):
        for name in names:
            yield "/".join([*folders[start:], name])
