"""The examples of a training run: checked once, kept in memory where they fit."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import LabelQualityError
from ..errors import one_line
from ..files.images import check_image, read_image, read_mask
from ..files.items import Example, ImageSource
from ..files.reading import read_ahead

Pair = tuple[np.ndarray, np.ndarray]
_AHEAD = 8  # examples read while one is checked


@dataclass(frozen=True)
class LabelSpace:
    """The classes and the ignored value of given labels, and the form in which they are kept.

    Args:
        num_classes: label classes K
        ignore_index: value of pixels without a label; None = every pixel has one

    Example:
        >>> LabelSpace(3, 255).ignored
        255
    """

    num_classes: int
    ignore_index: int | None

    @property
    def ignored(self) -> int:
        """Value of ignored pixels in kept masks."""
        return 255 if self.num_classes <= 255 else self.num_classes

    @property
    def dtype(self) -> type[np.integer]:
        """Type of kept masks."""
        return np.uint8 if self.num_classes <= 255 else np.int32

    def kept(self, mask: np.ndarray, name: str) -> np.ndarray:
        """Check a mask's values and return it in its smallest form, ignored pixels as `ignored`.

        Args:
            mask: (H, W) integers
            name: of the image, for messages

        Returns:
            (H, W) uint8, or int32 for more than 255 classes

        Raises:
            LabelQualityError: not two axes of integers, or values outside the classes

        Example:
            >>> LabelSpace(3, -1).kept(np.array([[0, 2, -1]]), "a")
            array([[  0,   2, 255]], dtype=uint8)
        """
        if mask.ndim != 2 or mask.dtype.kind not in "iub":
            raise LabelQualityError(
                f"Expected the mask of {name} to be (height, width) integer class indices, but got shape "
                f"{mask.shape} and dtype {mask.dtype}."
            )
        values = mask.astype(np.int64)
        ignored = np.zeros(mask.shape, bool) if self.ignore_index is None else values == self.ignore_index
        outside = np.unique(values[~ignored & ((values < 0) | (values >= self.num_classes))])
        if outside.size:
            shown = outside[:5].tolist()
            raise LabelQualityError(
                f"Expected the mask of {name} to hold classes 0..{self.num_classes - 1} and {self.ignore_index} for "
                f"ignored pixels, but it also holds {shown}{' and more' if outside.size > 5 else ''}; "
                "pass a larger `num_classes`, the right `ignore_index`, or map the values first."
            )
        return np.where(ignored, self.ignored, values).astype(self.dtype)


class PairStore:
    """Decoded images and masks; beyond a memory budget the images go and the masks are compressed.

    Masks stay, so that a caller's function is asked for each mask once and in the caller's process: it may
    read a database whose connection a worker process could not share. Labels compress well.

    Args:
        labels: tells the form of masks
        budget: bytes of decoded pixels that may be kept

    Example:
        >>> store = PairStore(LabelSpace(2, 255), budget=10)
        >>> store.add(np.zeros((4, 6, 3), np.uint8), np.ones((4, 6), np.uint8))
        >>> store.images is None, int(store.mask(0, (4, 6)).sum())
        (True, 24)
    """

    def __init__(self, labels: LabelSpace, budget: int) -> None:
        self.labels = labels
        self.images: list[np.ndarray] | None = []
        self._masks: list[np.ndarray | bytes] = []
        self._left = budget

    def add(self, image: np.ndarray, mask: np.ndarray) -> None:
        """Keep the next pair.

        Args:
            image: (H, W, 3) uint8
            mask: (H, W) in its kept form
        """
        self._left -= image.nbytes + mask.nbytes
        if self._left < 0 and self.images is not None:
            self.images = None
            self._masks = [_compressed(before) for before in self._masks]
        if self.images is None:
            self._masks.append(_compressed(mask))
            return
        self.images.append(image)
        self._masks.append(mask)

    def mask(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Return a mask.

        Args:
            index: its position
            size: its height and width
        """
        stored = self._masks[index]
        if isinstance(stored, np.ndarray):
            return stored
        return np.frombuffer(zlib.decompress(stored), self.labels.dtype).reshape(size)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Checked examples in the order of their keys.

    Masks are in the store and nowhere else, so that this can go to another process.

    Args:
        keys: names of those that can be read
        groups: group of each, or None
        images: file or array of each
        labels: classes and ignored value
        sizes: (height, width) of each
        fingerprints: checksum of each image and mask
        skipped: (key, reason) of those that cannot be read
        store: their pixels
    """

    keys: tuple[str, ...]
    groups: tuple[str | None, ...]
    images: tuple[ImageSource, ...]
    labels: LabelSpace
    sizes: tuple[tuple[int, int], ...]
    fingerprints: tuple[int, ...]
    skipped: tuple[tuple[str, str], ...]
    store: PairStore

    def __len__(self) -> int:
        return len(self.keys)

    def pair(self, index: int) -> Pair:
        """Return one (H, W, 3) uint8 image and its (H, W) kept mask.

        Args:
            index: position among the examples

        Returns:
            (image, mask)

        Raises:
            LabelQualityError: the image file is gone or has changed its size since it was checked
        """
        mask = self.store.mask(index, self.sizes[index])
        if self.store.images is not None:
            return self.store.images[index], mask
        try:
            image = read_source(self.images[index], self.keys[index])
        except OSError as error:
            raise LabelQualityError(
                f"The image {self.keys[index]} can no longer be read ({one_line(error)}); restore it and call again: "
                "finished epochs are kept."
            ) from error
        if image.shape[:2] != mask.shape:
            raise LabelQualityError(
                f"The image {self.keys[index]} changed during training from {mask.shape} to "
                f"{image.shape[:2]} pixels; leave the files alone and start again."
            )
        return image, mask


@dataclass(frozen=True)
class _Checked:
    pair: Pair | None
    reason: str = ""
    fingerprint: int = 0


def check_examples(
    examples: Sequence[Example],
    labels: LabelSpace,
    memory_budget: int,
    report: Callable[[int], None] = lambda done: None,
) -> TrainingData:
    """Read every example once: refuse wrong labels, set aside what cannot be read, keep what fits in memory.

    Args:
        examples: in any order
        labels: classes and ignored value
        memory_budget: bytes of decoded images and masks that may be kept
        report: called with the number of examples read

    Returns:
        the examples ordered by key

    Raises:
        LabelQualityError: no examples, none readable, no labelled pixel, labels outside the classes,
            or an image and mask of different size

    Example:
        >>> image, mask = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8)
        >>> data = check_examples([Example("b", image, mask), Example("a", "none.png", mask)], LabelSpace(2, 255), 999)
        >>> data.keys, data.skipped[0][0]
        (('b',), 'a')
    """
    if not examples:
        raise LabelQualityError("Expected examples to train on, but got none; check the view and its label field.")
    ordered = sorted(examples, key=lambda example: example.key)
    good: list[Example] = []
    fingerprints: list[int] = []
    skipped: list[tuple[str, str]] = []
    sizes: list[tuple[int, int]] = []
    store, labelled = PairStore(labels, memory_budget), False
    asking = threading.Lock()
    checks = read_ahead(lambda example: _check(example, labels, asking), ordered, _AHEAD)
    for done, (example, checked) in enumerate(checks, 1):
        report(done)
        if checked.pair is None:
            skipped.append((example.key, checked.reason))
            continue
        mask = checked.pair[1]
        good.append(example)
        sizes.append((mask.shape[0], mask.shape[1]))
        fingerprints.append(checked.fingerprint)
        labelled = labelled or bool((mask != labels.ignored).any())
        store.add(*checked.pair)
    if not good:
        raise LabelQualityError(
            f"None of the {len(ordered)} examples can be read; the first, {skipped[0][0]}: {skipped[0][1]}."
        )
    if not labelled:
        raise LabelQualityError(
            f"Every pixel of the {len(good)} masks is ignored ({labels.ignore_index}); "
            "check `ignore_index` and the label field."
        )
    return TrainingData(
        keys=tuple(example.key for example in good),
        groups=tuple(example.group for example in good),
        images=tuple(example.image for example in good),
        labels=labels,
        sizes=tuple(sizes),
        fingerprints=tuple(fingerprints),
        skipped=tuple(skipped),
        store=store,
    )


def read_source(image: ImageSource, name: str) -> np.ndarray:
    """Read an image file, or check the array that it is.

    Args:
        image: file or array
        name: what messages call it

    Returns:
        (H, W, 3) uint8 array

    Raises:
        LabelQualityError: an array of another shape or dtype
        OSError: no readable file

    Example:
        >>> read_source(np.zeros((4, 6, 3), np.uint8), "a").shape
        (4, 6, 3)
    """
    return check_image(image, name) if isinstance(image, np.ndarray) else read_image(image)


def _check(example: Example, labels: LabelSpace, asking: threading.Lock) -> _Checked:
    try:
        image = read_source(example.image, example.key)
    except Exception as error:  # a broken file may raise nearly anything
        return _Checked(None, f"cannot read its image ({one_line(error)})")
    try:
        mask = _mask(example, asking)
    except Exception as error:  # a caller's function may raise anything
        return _Checked(None, f"cannot read its mask ({one_line(error)})")
    kept = labels.kept(mask, example.key)
    if image.shape[:2] != kept.shape:
        raise LabelQualityError(
            f"Expected the image and mask of {example.key} to have the same height and width, but got "
            f"{image.shape[:2]} and {kept.shape}; resize the mask, or check the image's EXIF orientation."
        )
    return _Checked((image, kept), fingerprint=zlib.crc32(kept.tobytes(), zlib.crc32(image.tobytes())))


def _mask(example: Example, asking: threading.Lock) -> np.ndarray:
    if callable(example.mask):
        with asking:  # a caller's function need not be ready for threads
            return np.asarray(example.mask())
    if isinstance(example.mask, (str, Path)):
        return read_mask(example.mask)
    return np.asarray(example.mask)


def _compressed(mask: np.ndarray | bytes) -> bytes:
    return zlib.compress(mask.tobytes(), level=1) if isinstance(mask, np.ndarray) else mask
