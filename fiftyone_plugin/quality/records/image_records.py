"""What one image leaves behind for a dataset: scores, mergeable sums, and the pixels that may turn out to be errors."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ..pixels import kernels
from ..pixels.inputs import check_temperature
from ..pixels.measurement import measure_image
from ..pixels.pixel_maps import ClassSums, MeasuredImage, PixelMaps, class_dtype
from ..pixels.workers import run_in_parts
from ..scores.image_scores import scores_of_image
from ..scores.methods import check_methods
from .arrays_file import read_arrays, write_arrays

IntArray = npt.NDArray[np.integer[Any]]
FloatArray = npt.NDArray[np.floating[Any]]

FORMAT: Final = 1


@dataclass(frozen=True, eq=False)
class Suspects:
    """The pixels of one image that confident learning over the whole dataset can still need.

    These are all pixels whose predicted class is not the given one, and all with a self-confidence up to 0.54. No other
    pixel can lie below the cut: the cut is the self-confidence of some disagreeing pixel or less, and a disagreeing
    pixel shares its total probability of 1 with a class that is at least as probable, so it has at most one half.

    Attributes:
        index: (S,) uint32, flat index of the pixel, ascending
        given: (S,) uint8 or uint16, given class
        predicted: (S,) uint8 or uint16, predicted class
        self_confidence: (S,) float
        best_probability: (S,) float
    """

    index: npt.NDArray[np.uint32]
    given: IntArray
    predicted: IntArray
    self_confidence: FloatArray
    best_probability: FloatArray

    def __len__(self) -> int:
        return int(self.index.size)

    @property
    def nbytes(self) -> int:
        """Memory of the table in bytes."""
        columns = (self.index, self.given, self.predicted, self.self_confidence, self.best_probability)
        return sum(column.nbytes for column in columns)


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One scored image; small once the maps are dropped, picklable, and enough for all dataset-wide results.

    Attributes:
        shape: (H, W)
        scores: scores by method, those that need no other image; NaN where every pixel is ignored
        sums: counts and sums by class
        suspects: the pixels that may be label errors
        maps: self-confidence, best probability and predicted class of every pixel, or None once dropped
    """

    shape: tuple[int, int]
    scores: dict[str, float]
    sums: ClassSums
    suspects: Suspects
    maps: PixelMaps | None = field(default=None, repr=False)

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return self.sums.num_classes

    @property
    def num_valid(self) -> int:
        """Number of pixels that are not ignored."""
        return self.sums.num_valid

    def without_maps(self) -> ImageRecord:
        """Return the record without its maps.

        Returns:
            A record that shares everything else.

        Example:
            >>> record = image_record([[0, 0]], np.array([[[0.9, 0.2]], [[0.1, 0.8]]]))
            >>> record.without_maps().maps is None
            True
        """
        return replace(self, maps=None)

    def save(self, path: str | Path) -> Path:
        """Write the record without its maps; a file that exists is replaced at once or not at all.

        Args:
            path: file to write, usually `*.npz`; its folder must exist

        Returns:
            The path.

        Raises:
            OSError: if the file cannot be written; nothing half-written stays.

        Example:
            >>> import tempfile
            >>> record = image_record([[0, 0]], np.array([[[0.9, 0.2]], [[0.1, 0.8]]]))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     load_record(record.save(Path(folder) / "image.npz")).num_valid
            2
        """
        return write_arrays(Path(path), self._arrays(), compressed=False)

    def _arrays(self) -> dict[str, Any]:
        meta = {
            "format": FORMAT,
            "shape": self.shape,
            "scores": self.scores,
            "num_suspects": self.sums.num_suspects,
            "num_certain": self.sums.num_certain,
        }
        arrays = {
            "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8),
            "counts": np.stack([self.sums.given, self.sums.predicted, self.sums.agreeing]),
            "sums": self.sums.self_confidence,
            "index": self.suspects.index,
            "given": self.suspects.given,
            "predicted": self.suspects.predicted,
            "self_confidence": self.suspects.self_confidence,
            "best_probability": self.suspects.best_probability,
        }
        if self.sums.histograms is not None:
            arrays["histograms"] = self.sums.histograms
        return arrays


def load_record(path: str | Path) -> ImageRecord:
    """Read a record that `ImageRecord.save` wrote.

    Args:
        path: the file

    Returns:
        The record, without maps.

    Raises:
        FileNotFoundError: if there is no such file.
        LabelQualityError: if the file is damaged or was written by another version.

    Example:
        >>> load_record("no_such.npz")
        Traceback (most recent call last):
            ...
        FileNotFoundError: [Errno 2] No such file or directory: 'no_such.npz'
    """
    try:
        arrays = read_arrays(Path(path))
        meta = json.loads(arrays["meta"].tobytes())
        if meta["format"] != FORMAT:
            raise LabelQualityError(
                f"Expected a record of format {FORMAT} in {path}, but got format {meta['format']}; "
                "score the image again."
            )
        return _record_from(meta, arrays)
    except (KeyError, EOFError, TypeError, UnicodeDecodeError, json.JSONDecodeError, zipfile.BadZipFile) as error:
        raise LabelQualityError(
            f"Expected a label quality record in {path}, but it is damaged ({error}); delete it and "
            "score the image again."
        ) from error
    except LabelQualityError:
        raise
    except ValueError as error:
        raise LabelQualityError(
            f"Expected a label quality record in {path}, but got another kind of file ({error}); score the image again."
        ) from error


def _record_from(meta: dict[str, Any], arrays: dict[str, Any]) -> ImageRecord:
    given, predicted, agreeing = arrays["counts"]
    suspects = Suspects(
        arrays["index"], arrays["given"], arrays["predicted"], arrays["self_confidence"], arrays["best_probability"]
    )
    num_suspects, num_certain = meta["num_suspects"], meta["num_certain"]
    histograms = arrays.get("histograms")
    sums = ClassSums(given, predicted, agreeing, arrays["sums"], num_suspects, num_certain, histograms)
    height, width = meta["shape"]
    return ImageRecord((height, width), meta["scores"], sums, suspects)


def image_record(
    label: object,
    pred_probs: object,
    *,
    ignore_index: int | None = 255,
    methods: str | Iterable[str] = ("softmin",),
    temperature: float = 0.1,
    from_logits: bool = False,
) -> ImageRecord:
    """Score one image in one pass over its probabilities and keep what the dataset-wide results need.

    Args:
        label: (H, W) class indices 0..K-1; NumPy, torch or nested lists
        pred_probs: (K, H, W) probabilities, or logits with `from_logits`; float NumPy array or torch tensor on any
            device. They should come from a model that has not been trained on this image.
        ignore_index: label value of pixels to leave out of everything, or None
        methods: names among `METHODS`; `thresholded_ccp` and `confident_learning_counts` are completed by
            `record_scores`
        temperature: of softmin
        from_logits: whether to apply a softmax over the classes

    Returns:
        The record, with its maps.

    Raises:
        TypeError: if `label` is not integer, or `pred_probs` not floating point.
        LabelQualityError: if shapes do not fit; label values are neither classes nor ignored; probabilities are NaN,
            infinite, negative, or do not sum to 1 (±0.001, or ±0.01 for 16 bit types). Predictions at ignored pixels
            may hold anything.

    Example:
        >>> probs = np.array([[[0.9, 0.2]], [[0.1, 0.8]]])
        >>> record = image_record([[0, 0]], probs, methods=("correctly_classified_pixels",))
        >>> record.scores
        {'correctly_classified_pixels': 0.5}
        >>> record.suspects.index
        array([1], dtype=uint32)
    """
    names = check_methods(methods)
    heat = check_temperature(temperature)
    image = measure_image(
        label,
        pred_probs,
        ignore_index=ignore_index,
        from_logits=from_logits,
        with_histograms="thresholded_ccp" in names,
    )
    return record_of_measured(image, names, heat)


def record_of_measured(
    image: MeasuredImage, methods: tuple[str, ...], temperature: float, *, with_suspects: bool = True
) -> ImageRecord:
    """Return the record of an image that has been measured.

    Args:
        image: the measured image
        methods: checked method names
        temperature: of softmin
        with_suspects: False leaves the table of suspects empty, where no confident learning will follow

    Returns:
        The record, with its maps.

    Example:
        >>> probs = np.array([[[0.9, 0.2]], [[0.1, 0.8]]])
        >>> len(record_of_measured(measure_image([[0, 0]], probs), ("iou",), 0.1).suspects)
        1
    """
    scores = scores_of_image(image, methods, temperature)
    height, width = image.label.shape
    counts = image.suspects_per_chunk if with_suspects else np.zeros(0, np.int64)
    return ImageRecord((height, width), scores, image.sums, _gather_suspects(image, counts), image.maps)


def _gather_suspects(image: MeasuredImage, counts: IntArray) -> Suspects:
    """Collect the suspects of the first chunks, of which `counts` tells the numbers."""
    ends = np.cumsum(counts)
    total, classes = int(counts.sum()), class_dtype(image.sums.num_classes)
    confidence, best, predicted = (
        values.reshape(-1) for values in (image.maps.self_confidence, image.maps.best_probability, image.maps.predicted)
    )
    suspects = Suspects(
        np.empty(total, np.uint32),
        np.empty(total, classes),
        np.empty(total, classes),
        np.empty(total, confidence.dtype),
        np.empty(total, confidence.dtype),
    )
    label, offsets = image.label.reshape(-1), ends - counts

    def gather(start: int, stop: int) -> None:
        kernels.gather_suspects(
            label, confidence, best, predicted, image.ignore, start, stop, offsets,
            suspects.index, suspects.given, suspects.predicted, suspects.self_confidence, suspects.best_probability,
        )  # fmt: skip

    if total:
        run_in_parts(gather, offsets.size)
    return suspects
