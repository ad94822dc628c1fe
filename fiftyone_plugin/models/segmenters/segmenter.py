"""What every source of probabilities can do: predict a list of images, or a stream of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch

from ...errors import LabelQualityError
from ..errors import ModelMismatchError, SegmenterError, one_line
from ..files.images import check_image, image_size, read_image
from ..files.items import ImageItem
from ..files.reading import read_ahead

Prediction = torch.Tensor | Exception
_BYTES_PER_CHANNEL = 12
"""Scores, probabilities, and those at the label's size, in single precision."""

ReadItem = tuple[ImageItem, ImageItem | Exception]  # as given, and with its image or why there is none


class Segmenter(ABC):
    """A source of per-pixel class probabilities; `load_segmenter` makes one of nearly anything.

    Args:
        num_classes: number of classes K; None = known after the first prediction
        class_names: names of the K classes, where known; a single one is that of a binary model, beside background
        description: one line that says what this is, for records and forms
        device: where probabilities are returned
    """

    needs_images = True

    def __init__(
        self,
        *,
        num_classes: int | None,
        class_names: Sequence[str] | None,
        description: str,
        device: torch.device,
    ) -> None:
        if num_classes is not None and num_classes < 2:
            raise LabelQualityError(f"Expected at least 2 classes, but got `num_classes={num_classes}`.")
        if class_names is not None and len(class_names) == 1:
            class_names = ["background", *class_names]
        if class_names is not None and num_classes not in (None, len(class_names)):
            raise LabelQualityError(
                f"Expected as many class names as classes, but got {len(class_names)} names "
                f"and num_classes={num_classes}."
            )
        self.class_names = list(class_names) if class_names is not None else None
        self.num_classes = num_classes if num_classes is not None or class_names is None else len(class_names)
        self.description = description
        self.device = device
        self.trained_on: frozenset[str] = frozenset()

    def seen_in_training(self, names: Iterable[str]) -> int:
        """Count the images whose predictions are in-sample, as far as that is recorded.

        Args:
            names: names of images, as in training

        Returns:
            how many of them the model that would predict them was trained on
        """
        return sum(name in self.trained_on for name in names)

    @abstractmethod
    def _results(self, batch: Sequence[ImageItem]) -> Iterator[tuple[int, Prediction]]:
        """Yield (position in batch, probabilities or the image's error), in any order."""

    def predict(
        self,
        images: Sequence[np.ndarray],
        *,
        sizes: Sequence[tuple[int, int] | None] | None = None,
        names: Sequence[str] | None = None,
    ) -> list[torch.Tensor]:
        """Return the class probabilities of some images, computed together.

        Args:
            images: (H, W, 3) uint8 RGB arrays; sizes may differ
            sizes: (height, width) of the label of each image, to which its probabilities are resized;
                None = the image's own
            names: what messages call each image; cross-validated models and files on disk find their
                fold or file by it

        Returns:
            list of (K, H, W) float32 tensors on `device` that sum to one over K

        Raises:
            SegmenterError: an image cannot be predicted; the message names it
            ModelMismatchError: the model does not fit `num_classes`

        Example:
            >>> from fiftyone_plugin.models import load_segmenter
            >>> segmenter = load_segmenter(torch.nn.Conv2d(3, 5, 1), num_classes=5, device="cpu")
            >>> [p.shape for p in segmenter.predict([np.zeros((4, 6, 3), np.uint8)], sizes=[(8, 12)])]
            [torch.Size([5, 8, 12])]
        """
        count = len(images)
        names = names if names is not None else [str(index) for index in range(count)]
        sizes = sizes if sizes is not None else [None] * count
        if not len(names) == len(sizes) == count:
            raise LabelQualityError(
                f"Expected a name and a size per image, but got {count} images, {len(names)} names "
                f"and {len(sizes)} sizes."
            )
        items = [
            ImageItem(str(name), image=check_image(image, str(name)) if self.needs_images else image, size=size)
            for name, image, size in zip(names, images, sizes, strict=True)
        ]
        found: dict[int, torch.Tensor] = {}
        for index, result in self._results(items):
            if isinstance(result, Exception):
                raise result
            found[index] = result
        return [found[index] for index in range(count)]

    def stream(
        self, items: Iterable[ImageItem], *, batch_size: int | None = None
    ) -> Iterator[tuple[ImageItem, Prediction]]:
        """Yield each image's probabilities as they become ready, reading ahead while the device computes.

        An image that fails yields its exception instead of ending the stream. A model that fits no image at
        all (the wrong number of channels, say) ends the stream at the first batch. A cross-validated
        segmenter may yield in another order than it reads; all others keep the order.

        Args:
            items: images, read once; may be a generator
            batch_size: images per forward pass; None = 16 on a GPU and 4 on a CPU. Halved by itself when
                memory runs out

        Yields:
            (item, (K, H, W) float32 probabilities on `device`, or the exception)

        Raises:
            ModelMismatchError: the model does not fit the classes or the images at all

        Example:
            >>> from fiftyone_plugin.models import load_segmenter
            >>> segmenter = load_segmenter(torch.nn.Conv2d(3, 5, 1), device="cpu")
            >>> items = [ImageItem("a", image=np.zeros((4, 6, 3), np.uint8)), ImageItem("b", path="none.png")]
            >>> for item, result in segmenter.stream(items):
            ...     print(item.name, getattr(result, "shape", result))
            a torch.Size([5, 4, 6])
            b Image b: cannot read none.png (FileNotFoundError: [Errno 2] No such file or directory: 'none.png')
        """
        for batch in self._batches(items, self._batch_size(batch_size)):
            yield from self._batch(batch)

    def _batch_size(self, wanted: int | None) -> int:
        if wanted is not None and wanted < 1:
            raise LabelQualityError(f"Expected `batch_size` of at least 1, but got {wanted}.")
        return wanted or (4 if self.device.type == "cpu" else 16)

    def plan(self, items: Iterable[ImageItem], *, batch_size: int | None = None) -> list[list[ImageItem]]:
        """Return the batches that `stream` makes of items, without reading any; each can be streamed by itself.

        Args:
            items: images
            batch_size: as for `stream`

        Returns:
            lists of items that are predicted together

        Example:
            >>> from fiftyone_plugin.models import load_segmenter
            >>> segmenter = load_segmenter(torch.nn.Conv2d(3, 5, 1), device="cpu")
            >>> plan = segmenter.plan([ImageItem(name) for name in "abc"], batch_size=2)
            >>> [[item.name for item in batch] for batch in plan]
            [['a', 'b'], ['c']]
        """
        size = self._batch_size(batch_size)
        groups: dict[Any, list[ImageItem]] = {}
        for item in items:
            groups.setdefault(self._group_of(item), []).append(item)
        return [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]

    def _group_of(self, item: ImageItem) -> Any:
        """Tell which items may be predicted together."""
        return None

    def _batches(self, items: Iterable[ImageItem], size: int) -> Iterator[list[ReadItem]]:
        """Yield items to predict together, their images read ahead."""
        read: Iterator[ReadItem] = self._read(items, size)
        while batch := list(islice(read, size)):
            yield batch

    def _read(self, items: Iterable[ImageItem], size: int) -> Iterator[ReadItem]:
        read = partial(read_item, channels=self.num_classes or 2)
        return read_ahead(read, items, size) if self.needs_images else ((item, item) for item in items)

    def _batch(self, batch: Sequence[ReadItem]) -> Iterator[tuple[ImageItem, Prediction]]:
        """Yield a batch's results in the batch's order, each as soon as it and those before it are ready."""
        readable = [(index, item) for index, (_, item) in enumerate(batch) if isinstance(item, ImageItem)]
        ready: dict[int, Prediction] = {
            index: item for index, (_, item) in enumerate(batch) if isinstance(item, Exception)
        }
        position = 0
        for index, result in self._results([item for _, item in readable]):
            ready[readable[index][0]] = result
            while position in ready:
                yield batch[position][0], ready.pop(position)
                position += 1
        while position in ready:
            yield batch[position][0], ready.pop(position)
            position += 1


def image_error(item: ImageItem, error: Exception) -> Exception:
    """Return `error` as one that names the image; errors about the whole model stay what they are.

    Args:
        item: the image
        error: what happened to it

    Returns:
        a SegmenterError, or the ModelMismatchError itself

    Example:
        >>> image_error(ImageItem("a"), ValueError("too small"))
        SegmenterError('Image a: ValueError: too small')
    """
    if isinstance(error, (SegmenterError, ModelMismatchError)):
        return error
    reason = str(error) if isinstance(error, LabelQualityError) else one_line(error)
    wrapped = SegmenterError(item.name, reason)
    wrapped.__cause__ = error
    return wrapped


def read_item(item: ImageItem, channels: int = 2) -> ImageItem | Exception:
    """Return an item with its image read, or the error that names it.

    Args:
        item: with `image` or `path`
        channels: of the probabilities, for which there must be memory too

    Returns:
        the item whose `image` is an array, or a SegmenterError

    Example:
        >>> read_item(ImageItem("a"))
        SegmenterError('Image a: has neither `path` nor `image`')
    """
    try:
        if item.image is not None:
            check_image(item.image, item.name)
            return item
        if item.path is None:
            return SegmenterError(item.name, "has neither `path` nor `image`")
        _require_memory(item.path, channels)
        return replace(item, image=read_image(item.path))
    except LabelQualityError as error:
        return image_error(item, error)
    except Exception as error:  # a broken file may raise nearly anything
        wrapped = SegmenterError(item.name, f"cannot read {item.path} ({one_line(error)})")
        wrapped.__cause__ = error
        return wrapped


def _require_memory(path: str, channels: int) -> None:
    """Refuse an image whose probabilities do not fit into memory: the system would end the whole job."""
    import psutil

    height, width = image_size(path)
    needed, free = height * width * _BYTES_PER_CHANNEL * (channels + 3), psutil.virtual_memory().available
    if needed > free:
        raise LabelQualityError(
            f"{path} has {width:,} x {height:,} pixels, whose {channels} classes need about {needed / 1e9:.1f} GB of "
            f"memory where {free / 1e9:.1f} GB are free; cut the image and its mask into tiles."
        )
