"""The files of corrected labels: what training goes on with, and what a person may accept or reject.

One folder per correction, named by the epochs that were finished, with one file per changed image. A correction
is written beside the one before and takes its place by renaming, so that an interruption leaves a whole one: the
one that the last checkpoint speaks of.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from ...errors import LabelQualityError
from ...written_files import bring_to_disk
from ..errors import one_line
from ..training.training_data import TrainingData
from .label_correction import LabelChange, Mask, first_change

FOLDER_NAME = "corrections"
_INDEX_NAME = "images.json"
_ARRAYS = ("given", "corrected", "confidence", "epoch")


class CorrectedLabels:
    """The labels of a training's images as corrected up to now.

    The number of the correction is in shared memory: workers that read views learn of a new one.

    Args:
        folder: of the training; corrections are kept in a folder inside
        data: all examples, with the given labels

    Example:
        >>> import tempfile
        >>> from ..files.items import Example
        >>> from ..training.training_data import LabelSpace, check_examples
        >>> example = Example("a", np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8))
        >>> labels = CorrectedLabels(Path(tempfile.mkdtemp()), check_examples([example], LabelSpace(2, 255), 1 << 20))
        >>> change = LabelChange("a", labels.given(0), np.eye(2, dtype=np.uint8), np.eye(2), np.eye(2))
        >>> labels.write(3, [(0, change)])
        >>> labels.epoch, labels.mask(0).tolist()
        (3, [[1, 0], [0, 1]])
    """

    def __init__(self, folder: Path, data: TrainingData) -> None:
        self.folder = folder / FOLDER_NAME
        self.data = data
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()

    @property
    def epoch(self) -> int:
        """Epochs that were finished at the correction in use; 0 = none yet."""
        return int(self._epoch)

    def use(self, epoch: int) -> None:
        """Go on with another correction.

        Args:
            epoch: epochs that were finished then; 0 = the given labels

        Raises:
            LabelQualityError: its files are gone
        """
        if epoch and not (self._of(epoch) / _INDEX_NAME).is_file():
            raise LabelQualityError(
                f"The training went on with the corrected labels in {self._of(epoch)}, but they are gone; restore "
                "them, or pass `resume=False` to train anew."
            )
        self._epoch.fill_(epoch)

    def given(self, index: int) -> Mask:
        """Return an image's given label.

        Args:
            index: position among the examples
        """
        return self.data.store.mask(index, self.data.sizes[index])

    def mask(self, index: int) -> Mask:
        """Return the label to train on.

        Args:
            index: position among the examples
        """
        path = self._file(self.epoch, index)
        if not self.epoch or not path.is_file():
            return self.given(index)
        with np.load(path) as arrays:
            return arrays["corrected"]

    def change(self, index: int) -> LabelChange:
        """Return what has become of an image's label.

        Args:
            index: position among the examples
        """
        path = self._file(self.epoch, index)
        if not self.epoch or not path.is_file():
            return first_change(self.data.keys[index], self.given(index))
        return _read(path)

    def write(self, epoch: int, changes: Iterable[tuple[int, LabelChange]]) -> None:
        """Write a correction and go on with it.

        Args:
            epoch: finished epochs
            changes: of the images, by position among the examples; unchanged ones need no file
        """
        self.tidy()
        unfinished = self.folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        files = {}
        for index, change in changes:
            if bool(change.changed.any()):
                files[change.key] = path = self._file(epoch, index).name
                _write(unfinished / path, change)
        (unfinished / _INDEX_NAME).write_text(json.dumps(files, indent=1))
        bring_to_disk(unfinished)
        shutil.rmtree(self._of(epoch), ignore_errors=True)
        os.replace(unfinished, self._of(epoch))
        self.use(epoch)

    def tidy(self) -> None:
        """Remove all corrections but the one in use, which the last checkpoint speaks of."""
        for path in self.folder.glob("epoch_*"):
            if path != self._of(self.epoch):
                shutil.rmtree(path, ignore_errors=True)

    def _of(self, epoch: int) -> Path:
        return correction_folder(self.folder.parent, epoch)

    def _file(self, epoch: int, index: int) -> Path:
        return self._of(epoch) / f"{index:06d}.npz"


def correction_folder(folder: Path, epoch: int) -> Path:
    """Return where a correction is kept.

    Args:
        folder: of the training
        epoch: epochs that were finished

    Example:
        >>> correction_folder(Path("run"), 7).as_posix()
        'run/corrections/epoch_0007'
    """
    return folder / FOLDER_NAME / f"epoch_{epoch:04d}"


def read_changes(folder: Path, epoch: int) -> Iterator[LabelChange]:
    """Yield every image whose label a correction changed, in the order of their keys.

    Args:
        folder: of the training
        epoch: epochs that were finished at the correction; 0 = there was none

    Yields:
        given and corrected label, confidence and epoch of each changed pixel

    Raises:
        LabelQualityError: the files are gone or cannot be read

    Example:
        >>> list(read_changes(Path("nowhere"), 0))
        []
    """
    if not epoch:
        return
    where = correction_folder(folder, epoch)
    try:
        files = json.loads((where / _INDEX_NAME).read_text())
        for key in sorted(files):
            yield _read(where / files[key])
    except (OSError, ValueError, KeyError) as error:
        raise LabelQualityError(f"The corrected labels in {where} cannot be read ({one_line(error)}).") from error


def _write(path: Path, change: LabelChange) -> None:
    """Write what `numpy.load` reads, at the fastest compression: three times as fast as `savez_compressed`."""
    arrays = {"key": np.array(change.key), **{name: getattr(change, name) for name in _ARRAYS}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _read(path: Path) -> LabelChange:
    with np.load(path) as arrays:
        return LabelChange(str(arrays["key"]), *(arrays[name] for name in _ARRAYS))
