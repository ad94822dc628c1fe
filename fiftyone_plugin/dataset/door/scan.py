"""A first look at every label: what can be used, what cannot and why, before hours are spent."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

import numpy as np

from ...errors import LabelQualityError
from ...models.files.images import image_size
from ...models.files.opening import TooLargeError
from ...progress import Progress, silent
from ...quality.records.on_disk import OnDisk
from .image_scale import scaled_paths
from .masks import MaskReading, mask_digest, pack_rgb, read_mask, read_mask_file, reading_of
from .objects import object_list
from .slices import changed_elsewhere, images_of

_CHUNK = 64
TOO_LARGE: Final = "gigantic mask"
UNREADABLE: Final = "unreadable"
"""How the reasons begin for which samples are left out."""


@dataclass(frozen=True)
class LabelledImage:
    """One sample whose label can be used.

    Attributes:
        sample_id: FiftyOne's id of the sample
        filepath: the image
        size: (H, W) of the mask
        digest: hash of the mask's pixels
        stamp: of the mask's file when it was read, see `file_stamp`; None where it is in the database
        mask_path: the mask's file; None where it is in the database
    """

    sample_id: str
    filepath: str
    size: tuple[int, int]
    digest: str
    stamp: tuple[int, ...] | None = None
    mask_path: str | None = None


@dataclass(frozen=True)
class SkippedSample:
    """One sample that cannot be used, and why."""

    sample_id: str
    filepath: str
    reason: str


@dataclass(frozen=True)
class LabelScan:
    """What a label field holds.

    Attributes:
        images: the samples that can be used, in the order of the collection; read when one is asked for
        skipped: the others
        values: mask value (packed RGB where the field has hex targets) to number of images
    """

    images: Sequence[LabelledImage]
    skipped: list[SkippedSample]
    values: dict[int, int] = field(default_factory=dict)

    def places(self) -> dict[str, int]:
        """Sample id to the place of its image in the run."""
        return {image.sample_id: place for place, image in enumerate(self.images)}


def require_label_field(samples: Any, label_field: str) -> Any:
    """Check that a collection can be scored before anything is read.

    Args:
        samples: a `fiftyone` dataset or view
        label_field: the name of its `Segmentation` field

    Returns:
        the images to work on, see `images_of`

    Raises:
        LabelQualityError: naming what was found instead, and the fields that would do
    """
    import fiftyone as fo

    if not isinstance(label_field, str):
        raise LabelQualityError(f"Expected `label_field` to be the name of a field, but got {label_field!r:.60}")
    samples = images_of(samples)
    choices = segmentation_fields(samples)
    if label_field not in choices and changed_elsewhere(samples._root_dataset):
        choices = segmentation_fields(samples)
    if label_field not in choices:
        found = samples.get_field(label_field)
        kind = getattr(getattr(found, "document_type", None), "__name__", type(found).__name__)
        got = "no such field" if found is None else f"a field of type {kind}"
        way = ""
        if object_list(samples, label_field) is not None:
            way = (
                f"; make masks of its objects first: `objects_to_masks(dataset, {label_field!r})`, then pass "
                f"{label_field + '_masks'!r}"
            )
        raise LabelQualityError(
            f"Expected `label_field` to be one of the Segmentation fields {choices}, "
            f"but {label_field!r} is {got} of dataset {samples._dataset.name!r}{way}"
        )
    # Counted, since `len` of a dataset is an estimate that a crash of the database makes wrong.
    if not isinstance(samples, fo.Dataset | fo.DatasetView) or samples.count("id") == 0:
        raise LabelQualityError(
            f"Expected at least one sample, but the view of dataset {samples._dataset.name!r} is empty; "
            "clear the filters or pass the dataset"
        )
    return samples


def segmentation_fields(samples: Any) -> list[str]:
    """Names of the `Segmentation` fields of a collection."""
    import fiftyone as fo

    schema = samples.get_field_schema(embedded_doc_type=fo.Segmentation)
    return [name for name in schema if not name.startswith("_")]


def string_fields(samples: Any) -> list[str]:
    """Names of the fields of a collection that may hold the paths of files."""
    import fiftyone as fo

    return [name for name in samples.get_field_schema(ftype=fo.StringField) if name != "filepath"]


def all_values(samples: Any, names: Sequence[str]) -> list[list[Any]]:
    """Values of all samples of a dataset, those of every slice of a grouped one, whatever the view.

    Args:
        samples: the dataset or a view of it
        names: "id", fields, and values inside of labels, such as "ground_truth.mask_path"

    Returns:
        of each name a list, all in the same order; None where a sample has none
    """
    keys = ["_id" if name == "id" else name for name in names]
    rows = samples._dataset._sample_collection.find({}, dict.fromkeys(keys, 1))
    columns: list[list[Any]] = [[] for _ in keys]
    for row in rows:
        for key, column in zip(keys, columns, strict=True):
            value: Any = row
            for part in key.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            column.append(str(value) if key == "_id" else value)
    return columns


def mask_targets_of(samples: Any, label_field: str) -> dict[int | str, str]:
    """The field's `mask_targets`, or the dataset's default ones.

    A default that fits other fields is FiftyOne's own rule (`dataset.default_mask_targets`).
    """
    return dict(samples.mask_targets.get(label_field) or samples.default_mask_targets or {})


def scan_labels(
    samples: Any,
    label_field: str,
    *,
    targets: Mapping[int | str, str] | None = None,
    progress: Progress = silent,
) -> LabelScan:
    """Read every mask once.

    Args:
        samples: a dataset or view whose `label_field` is a Segmentation field
        label_field: its name
        targets: instead of the field's own `mask_targets`
        progress: told after each chunk of samples

    Returns:
        usable samples, skipped ones with reasons, and the mask values that occur

    Raises:
        LabelQualityError: if no sample can be used
    """
    reading = reading_of(mask_targets_of(samples, label_field) if targets is None else targets)
    total = samples.count("id")
    images: OnDisk[LabelledImage] = OnDisk()
    skipped: list[SkippedSample] = []
    values: Counter[int] = Counter()
    with ThreadPoolExecutor(max_workers=4) as pool:
        rows = samples.select_fields(label_field).iter_samples()
        for chunk in _chunks(rows, _CHUNK):
            for result in pool.map(lambda sample: _look_at(sample, label_field, reading), chunk):
                if isinstance(result, SkippedSample):
                    skipped.append(result)
                else:
                    images.append(result[0])
                    values.update(result[1])
            progress(len(images) + len(skipped), total, "checking labels")
    if not images:
        raise LabelQualityError(_nothing_usable(label_field, skipped))
    paths = scaled_paths(samples, [image.filepath for image in images])
    scaled = OnDisk(replace(image, filepath=path) for image, path in zip(images, paths, strict=True))
    return LabelScan(scaled, skipped, dict(values))


def mask_values_in(mask: np.ndarray, targets: Mapping[int | str, str]) -> list[int]:
    """Values that occur in a mask, as a field with these `mask_targets` means them.

    Args:
        mask: (H, W) integers or (H, W, 3) colours
        targets: mask value or hex colour to name

    Returns:
        the values; packed colours where the field has hex targets
    """
    return _present(pack_rgb(mask) if reading_of(targets).colours else mask)


def _nothing_usable(label_field: str, skipped: list[SkippedSample]) -> str:
    reasons = Counter(skip.reason.split(":")[0] for skip in skipped)
    listed = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
    return f"Expected samples with an image and a mask in `{label_field}`, but none of {len(skipped)} has: {listed}"


def _look_at(sample: Any, label_field: str, reading: MaskReading) -> tuple[LabelledImage, list[int]] | SkippedSample:
    def skip(reason: str) -> SkippedSample:
        return SkippedSample(sample.id, sample.filepath, reason)

    label = sample[label_field]
    if label is None or not label.has_mask:
        return skip("no label")
    stamp = file_stamp(label.mask_path) if label.mask is None else None  # taken first: a later change shows
    try:
        mask = read_mask(label, reading)
    except TooLargeError as error:
        return skip(f"{TOO_LARGE}: {error}")
    except (OSError, LabelQualityError) as error:
        return skip(f"{UNREADABLE} mask: {error}")
    try:
        size = image_size(sample.filepath)
    except (OSError, SyntaxError, ValueError) as error:
        return skip(f"{UNREADABLE} image: {error}")
    try:
        require_same_shape(mask.shape[:2], size, sample.filepath)
    except LabelQualityError as error:
        return skip(str(error))
    values = pack_rgb(mask) if reading.colours else mask
    if values.ndim == 3:
        return skip(
            "RGB mask in a field without hex mask_targets: name the colours in "
            f"`dataset.mask_targets[{label_field!r}]`, e.g. {{'#ff0000': 'car'}}"
        )
    size = (int(mask.shape[0]), int(mask.shape[1]))
    path = label.mask_path if label.mask is None else None
    return LabelledImage(sample.id, sample.filepath, size, mask_digest(mask), stamp, path), _present(values)


def _present(values: np.ndarray) -> list[int]:
    if values.dtype == np.uint8:
        return np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()
    return np.unique(values).tolist()


def require_same_shape(mask: tuple[int, ...], image: tuple[int, int], filepath: str) -> None:
    """Check that a mask fits its image: it may be smaller or larger, as in the App, but not of another shape.

    Args:
        mask: (H, W) of the mask
        image: (H, W) of the image
        filepath: the image, for the message

    Raises:
        LabelQualityError: if the shapes differ
    """
    scale = (mask[0] / image[0], mask[1] / image[1])
    fits = abs(mask[0] - image[0] * scale[1]) <= 1 or abs(mask[1] - image[1] * scale[0]) <= 1
    if not fits:
        raise LabelQualityError(
            f"Expected mask and image to have the same height and width, but the mask is {mask[0]}x{mask[1]} and "
            f"the image {image[0]}x{image[1]} (height x width): {filepath}; repair the mask, or leave the "
            "sample out of the view"
        )


def _chunks(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rows = iter(rows)
    while chunk := list(islice(rows, size)):
        yield chunk


def file_stamp(path: str) -> tuple[int, ...] | None:
    """What a file system says of a file's state; it differs after every change, also after one that keeps the times.

    Args:
        path: the file

    Returns:
        size, time of change of content and of entry in nanoseconds, and inode; None if there is no such file

    Example:
        >>> file_stamp("no_such.png") is None
        True
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def mask_reader(
    samples: Any, label_field: str, targets: Mapping[int | str, str] | None = None
) -> Callable[[str], np.ndarray]:
    """A function that reads the mask of a sample by its id, fresh from disk or database.

    Args:
        samples: the dataset or view
        label_field: its Segmentation field
        targets: instead of the field's own `mask_targets`

    Returns:
        sample id -> (H, W) or (H, W, 3) mask values
    """
    dataset = samples._dataset
    ids, paths = all_values(samples, ["id", f"{label_field}.mask_path"])
    path_of = dict(zip(ids, paths, strict=True))
    reading = reading_of(mask_targets_of(samples, label_field) if targets is None else targets)

    def read(sample_id: str) -> np.ndarray:
        path = path_of.get(sample_id)
        if path:
            return read_mask_file(path, reading)
        label = dataset[sample_id][label_field]
        if label is None:
            raise LabelQualityError(f"Expected a mask in `{label_field}`, but sample {sample_id} has none")
        return read_mask(label, reading)

    return read
