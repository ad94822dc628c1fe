"""Probabilities that are on disk already: npy, npz and zarr files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import LabelQualityError
from ..errors import ModelMismatchError, SegmenterError
from ..files.items import ImageItem
from ..hardware.devices import choose_device
from .channels import ChannelMap, ChannelMapping
from .network import resize
from .outputs import FromLogits, class_probabilities, looks_like_logits
from .segmenter import Prediction, Segmenter, image_error

_SUFFIXES = (".npy", ".npz", ".zarr")
_NAMES = ("pred_probs", "probabilities", "probs", "logits", "arr_0")
FileOfImage = str | Path | tuple[str | Path, int]


def probability_file(path: str | Path, index: int | None = None) -> np.ndarray:
    """Open one image's class probabilities (or logits); npy files are memory-mapped.

    Args:
        path: .npy, .npz (its only array, or the one called pred_probs, probabilities, probs or logits)
            or .zarr, of shape (K, H, W); (N, K, H, W) with `index`
        index: which image of a file that holds several

    Returns:
        (K, H, W) floating-point array, as stored

    Raises:
        LabelQualityError: no such file, another kind of file, another shape or integer values

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npy"
        >>> np.save(path, np.full((4, 2, 3), 0.25, np.float16))
        >>> probability_file(path).shape
        (4, 2, 3)
    """
    path = Path(path)
    if not path.exists():
        raise LabelQualityError(f"Expected a file with probabilities, but {path} does not exist.")
    stored = _open(path)
    if index is not None:
        if len(stored.shape) != 4 or not 0 <= index < stored.shape[0]:
            raise LabelQualityError(
                f"Expected {path} to have shape (images, classes, height, width) and an image {index}, "
                f"but it has shape {tuple(stored.shape)}."
            )
        stored = stored[index]
    values = stored if isinstance(stored, np.ndarray) else np.asarray(stored[...])
    if values.ndim != 3 or values.size == 0:
        raise LabelQualityError(
            f"Expected {path} to have shape (classes, height, width), but it has shape {values.shape}; "
            "store one image per file, classes first."
        )
    if not np.issubdtype(values.dtype, np.floating):
        raise LabelQualityError(
            f"Expected floating-point probabilities in {path}, but it holds {values.dtype}; "
            "store a score per class, not the winning class."
        )
    return values


class ProbabilityFiles(Segmenter):
    """Class probabilities read from files, one per image, so that no model is needed.

    Args:
        files: a folder, where an image's file is called as the image or its path's stem, with .npy, .npz or
            .zarr at the end; or a mapping from image name or path to a file, or to (file, index) in a file
            of several images
        num_classes: label classes K; None = as many as the first file has
        class_names: names of the K classes
        device: where probabilities are returned
        from_logits: True, False, or "auto" to decide from the first file
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
        files: str | Path | Mapping[str, FileOfImage],
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        device: str | torch.device | None = None,
        from_logits: FromLogits = "auto",
        channel_map: ChannelMapping | None = None,
    ) -> None:
        count = f"{len(files)} files" if isinstance(files, Mapping) else str(files)
        super().__init__(
            num_classes=num_classes,
            class_names=class_names,
            description=f"probabilities:{count}",
            device=choose_device(device),
        )
        if not isinstance(files, Mapping) and not Path(files).is_dir():
            raise LabelQualityError(f"Expected a folder of probability files, but {files} is none.")
        self.files = files if isinstance(files, Mapping) else Path(files)
        self._from_logits = from_logits
        if channel_map is not None and self.num_classes is None:
            raise LabelQualityError("A `channel_map` needs `num_classes`, the number of label classes.")
        self._map = None if channel_map is None else ChannelMap(channel_map, self.num_classes or 0)

    def _results(self, batch: Sequence[ImageItem]) -> Iterator[tuple[int, Prediction]]:
        for index, item in enumerate(batch):
            try:
                yield index, self._load(item)
            except ModelMismatchError:
                raise
            except Exception as error:  # a broken file may raise nearly anything
                yield index, image_error(item, error)

    @torch.no_grad()
    def _load(self, item: ImageItem) -> torch.Tensor:
        path, position = self._find(item)
        values = probability_file(path, position)
        scores = torch.from_numpy(np.array(values, dtype=np.float32)).to(self.device)[None]
        self._check_channels(scores.shape[1], str(path))
        if self._from_logits == "auto" and bool(torch.isfinite(scores).all()):
            self._from_logits = looks_like_logits(scores)
        probabilities = class_probabilities(scores, self._from_logits is not False)
        if self._map is not None:
            probabilities = self._map(probabilities)
        return resize(probabilities[0], item.size or probabilities.shape[2:])

    def _find(self, item: ImageItem) -> tuple[Path, int | None]:
        names = [item.name] if item.path is None else [item.name, item.path, Path(item.path).name]
        if isinstance(self.files, Mapping):
            found = next((self.files[name] for name in names if name in self.files), None)
            if found is None:
                raise SegmenterError(item.name, f"has no probability file among the {len(self.files)} given")
            return (Path(found[0]), int(found[1])) if isinstance(found, tuple) else (Path(found), None)
        stems = dict.fromkeys(part for name in names for part in (Path(name).name, Path(name).stem))
        for stem in stems:
            for suffix in _SUFFIXES:
                if (self.files / f"{stem}{suffix}").exists():
                    return self.files / f"{stem}{suffix}", None
        raise SegmenterError(
            item.name, f"has no probability file {' or '.join(stems)} (.npy, .npz, .zarr) in {self.files}"
        )

    def _check_channels(self, count: int, path: str) -> None:
        if self._map is not None:
            self._map.check(max(count, 2))
            return
        classes = max(count, 2)
        if self.num_classes is None:
            self.num_classes = classes
        if classes != self.num_classes:
            raise ModelMismatchError(
                f"Expected probabilities of {self.num_classes} classes, but {path} has {count} channels; pass "
                "`channel_map={channel: class, ...}`, or files of these classes."
            )


def _open(path: Path) -> Any:
    try:
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        if path.suffix == ".npz":
            return _from_archive(path)
        if path.suffix == ".zarr":
            return _from_zarr(path)
    except LabelQualityError:
        raise
    except Exception as error:
        raise LabelQualityError(f"Cannot read probabilities from {path} ({type(error).__name__}: {error}).") from error
    raise LabelQualityError(f"Expected a .npy, .npz or .zarr file, but got {path}.")


def _from_archive(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        return archive[_only_name(sorted(archive.files), path)]


def _from_zarr(path: Path) -> Any:
    try:
        import zarr
    except ImportError as error:
        raise LabelQualityError(
            f'The package zarr, which {path} needs, is not installed; run `pip install "fiftyone-label-quality[zarr]"`.'
        ) from error
    store = zarr.open(str(path), mode="r")
    return store[_only_name(sorted(store.array_keys()), path)] if isinstance(store, zarr.Group) else store


def _only_name(names: Sequence[str], path: Path) -> str:
    known = [name for name in _NAMES if name in names]
    if len(names) == 1 or known:
        return known[0] if known else names[0]
    raise LabelQualityError(
        f"Expected one array in {path}, or one called {', '.join(_NAMES)}, but it holds {list(names)}."
    )
