"""Probabilities that are on disk already: npy, npz and zarr files, each found, understood and read in one way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ...errors import LabelQualityError
from ..errors import ModelMismatchError, SegmenterError
from ..files.images import image_size
from ..files.items import ImageItem
from ..hardware.devices import choose_device
from .channels import ChannelMap, ChannelMapping
from .layouts import FIRST, LAST, Size, class_axis, fits, without_single_axes
from .network import resize
from .outputs import FromLogits, class_probabilities, looks_like_logits
from .probability_folder import ProbabilityFolder
from .segmenter import Prediction, Segmenter, image_error
from .stored_array import StoredArray, open_array

FileOfImage = str | Path | tuple[str | Path, int]
_SUM = 0.02


def probability_file(
    path: str | Path, index: int | None = None, *, size: Size | None = None, num_classes: int | None = None
) -> np.ndarray:
    """Open one image's class probabilities (or logits), classes first; npy files are memory-mapped.

    Args:
        path: .npy, .npz (its only array, or the one called pred_probs, probabilities, probs, softmax or logits) or
            .zarr, of shape (K, H, W) or (H, W, K), with axes of length 1 anywhere, or (H, W) of the one class that is
            no background; with a first axis of images where `index` is given
        index: which image of a file that holds several
        size: (H, W) of the image or its label, by which classes first and classes last are told apart; where it is not
            given the classes are taken to be first
        num_classes: K, if it is known

    Returns:
        (K, h, w) floating-point array, as stored; (1, h, w) of one class

    Raises:
        LabelQualityError: no such file, another kind of file, integer values, or a shape that does not fit the image

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npy"
        >>> np.save(path, np.full((2, 3, 4), 0.25, np.float16))
        >>> probability_file(path, size=(4, 6)).shape
        (4, 2, 3)
    """
    stored = open_array(path)
    shape = _image_shape(path, stored, index)
    axes = _axes(path, shape, size)
    values = stored.read(... if index is None else index).reshape([shape[axis] for axis in axes])
    if values.ndim == 2:
        return values[None]
    axis = class_axis(values.shape, size, num_classes) or _axis_that_sums_to_one(values)
    return values if axis == FIRST else np.moveaxis(values, 2, 0)


def num_channels(path: str | Path, index: int | None = None, *, size: Size | None = None) -> int | None:
    """Tell how many channels a file has from its head alone.

    Args:
        path: as for `probability_file`
        index: likewise
        size: likewise

    Returns:
        K; None where only the values tell which axis it is

    Raises:
        LabelQualityError: as for `probability_file`

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npy"
        >>> np.save(path, np.full((4, 2, 3), 0.25))
        >>> num_channels(path, size=(4, 6))
        4
    """
    shape = _image_shape(path, open_array(path), index)
    kept = [shape[axis] for axis in _axes(path, shape, size)]
    if len(kept) == 2:
        return 1
    axis = class_axis(kept, size)
    return None if not axis else kept[0] if axis == FIRST else kept[2]


def _image_shape(path: str | Path, stored: StoredArray, index: int | None) -> tuple[int, ...]:
    """Shape of one image's part of an array."""
    if index is None:
        return stored.shape
    if len(stored.shape) < 4 or not 0 <= index < stored.shape[0]:
        raise LabelQualityError(
            f"Expected {path} to have shape (images, classes, height, width) and an image {index}, "
            f"but it has shape {stored.shape}."
        )
    return stored.shape[1:]


def _axes(path: str | Path, shape: tuple[int, ...], size: Size | None) -> tuple[int, ...]:
    """Axes of (K, H, W), (H, W, K) or (H, W)."""
    axes = without_single_axes(shape, size)
    if axes is None or len(shape) < 2 or 0 in shape:
        raise LabelQualityError(
            f"Expected {path} to have shape (classes, height, width), but it has shape {shape}; "
            "store one image per file, classes first."
        )
    kept = [shape[axis] for axis in axes]
    fitting = size is None or (fits(kept, size) if len(kept) == 2 else class_axis(kept, size) is not None)
    if not fitting:
        raise LabelQualityError(
            f"Expected {path} to have the image's shape of {' x '.join(map(str, size or ()))} pixels (height x width), "
            f"or that shape at another resolution, but it has shape {shape}; store (classes, height, width), without "
            "padding, turning or stretching."
        )
    return axes


def _axis_that_sums_to_one(values: np.ndarray) -> str:
    """Both layouts fit the image: probabilities tell by their sums; logits are as they should be, classes first."""
    sums = {axis: np.asarray(values, np.float32).sum(place) for axis, place in ((FIRST, 0), (LAST, 2))}
    good = [axis for axis, total in sums.items() if float(np.abs(total - 1).max()) <= _SUM]
    return good[0] if good else FIRST


class ProbabilityFiles(Segmenter):
    """Class probabilities read from files, one per image, so that no model is needed.

    Args:
        files: a folder, see `ProbabilityFolder`; or a mapping from image name or path to a file, or to (file, index)
            in a file of several images
        num_classes: label classes K; None = as many as the first file has
        class_names: names of the K classes
        device: where probabilities are returned
        from_logits: True, False, or "auto" to tell by each file's values
        channel_map: class of each stored channel (see `ChannelMap`)

    Raises:
        LabelQualityError: the folder does not exist

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> np.save(folder / "street_7.npy", np.full((4, 2, 3), 0.25))
        >>> files = ProbabilityFiles(folder, device="cpu")
        >>> for item, result in files.stream([ImageItem("1", path="images/street_7.jpg", size=(4, 6))]):
        ...     print(item.name, result.shape)
        1 torch.Size([4, 4, 6])
    """

    needs_images = False

    def __init__(
        self,
        files: str | Path | ProbabilityFolder | Mapping[str, FileOfImage],
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        device: str | torch.device | None = None,
        from_logits: FromLogits = "auto",
        channel_map: ChannelMapping | None = None,
    ) -> None:
        self._files = files if isinstance(files, (Mapping, ProbabilityFolder)) else ProbabilityFolder(files)
        count = f"{len(files)} files" if isinstance(files, Mapping) else str(files)
        super().__init__(
            num_classes=num_classes,
            class_names=class_names,
            description=f"probabilities:{count}",
            device=choose_device(device),
        )
        self._from_logits = from_logits
        if channel_map is not None and self.num_classes is None:
            raise LabelQualityError("A `channel_map` needs `num_classes`, the number of label classes.")
        self._map = None if channel_map is None else ChannelMap(channel_map, self.num_classes or 0)

    def _results(self, batch: Sequence[ImageItem]) -> Iterator[tuple[int, Prediction]]:
        for index, item in enumerate(batch):
            try:
                path, position = self._find(item)
                yield index, self.read(path, position, size=_size(item))
            except Exception as error:  # a broken file may raise nearly anything
                yield index, image_error(item, error)

    @torch.no_grad()
    def read(self, path: str | Path, index: int | None = None, *, size: Size | None = None) -> torch.Tensor:
        """Read one file.

        Args:
            path: as for `probability_file`
            index: likewise
            size: (H, W) of the label, to which the probabilities are resized; None = as they are

        Returns:
            (K, H, W) float32 probabilities on `device` that sum to one over K

        Raises:
            LabelQualityError: the file cannot be used, or is another kind of file than those before
        """
        wanted = self.num_classes if self._map is None else None
        values = probability_file(path, index, size=size, num_classes=wanted)
        self._check_channels(values.shape[0], str(path))
        scores = torch.from_numpy(np.array(values, dtype=np.float32)).to(self.device)[None]
        probabilities = class_probabilities(scores, self._are_logits(scores, path))
        if self._map is not None:
            probabilities = self._map(probabilities)
        return resize(probabilities[0], size or probabilities.shape[2:])

    def _are_logits(self, scores: torch.Tensor, path: str | Path) -> bool:
        """What was said, or what the file's own values are; a file that is surely something else is refused."""
        if self._from_logits == "auto":
            try:
                return bool(torch.isfinite(scores).all()) and looks_like_logits(scores)
            except ModelMismatchError as error:
                raise LabelQualityError(str(error).replace("The model's values", f"The values of {path}")) from error
        if self._from_logits is True and scores.shape[1] > 1 and _are_probabilities(scores):
            raise LabelQualityError(
                f"Expected logits in {path}, as told, but its values are probabilities; "
                "store all files alike, or leave `from_logits` out."
            )
        return self._from_logits is True

    def _find(self, item: ImageItem) -> tuple[Path, int | None]:
        if isinstance(self._files, ProbabilityFolder):
            return self._files.find(item.name, *([item.path] if item.path else [])), None
        names = [item.name] if item.path is None else [item.name, item.path, Path(item.path).name]
        found = next((self._files[name] for name in names if name in self._files), None)
        if found is None:
            raise SegmenterError(item.name, f"has no probability file among the {len(self._files)} given")
        return (Path(found[0]), int(found[1])) if isinstance(found, tuple) else (Path(found), None)

    def _check_channels(self, count: int, path: str) -> None:
        if self._map is not None:
            self._map.check(max(count, 2))
            return
        classes = max(count, 2)
        if self.num_classes is None:
            self.num_classes = classes
        if classes != self.num_classes:
            raise LabelQualityError(
                f"Expected probabilities of {self.num_classes} classes, but {path} has {count} channels; predict it "
                "again with the same model as the other files."
            )


def _are_probabilities(scores: torch.Tensor) -> bool:
    low, high = (float(value) for value in scores.aminmax())
    return low >= 0 and high <= 1 and float((scores.sum(1) - 1).abs().max()) <= _SUM


def _size(item: ImageItem) -> Size | None:
    """Size of an image's label, or of the image where its file can be looked at."""
    if item.size is not None or item.path is None:
        return item.size
    try:
        return image_size(item.path)
    except (OSError, ValueError):
        return None
