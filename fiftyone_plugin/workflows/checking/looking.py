"""Looking at every sample of a label field once: headers first, then the mask, then a thumbnail of the image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from ...dataset.door.backgrounds import is_nothing
from ...dataset.door.classes import list_classes
from ...dataset.door.masks import PLAIN, MaskReading, mask_digest, pack_rgb, read_mask, reading_of
from ...dataset.door.scan import mask_targets_of
from ...errors import LabelQualityError
from ...progress import Progress
from ...quality import check_up
from ...quality.check_up import Legend, MaskLook, Spot
from .small_images import GiganticError, Header, read_header, small_grey

_CHUNK = 64
_THREADS = 4
_UNLISTED: Final = {0: 1, -1: 1}
"""Values that mean something to jobs though no class has them, as if they occurred."""


@dataclass(frozen=True)
class SampleLook:
    """What one sample says by itself.

    Attributes:
        sample_id: FiftyOne's id
        filepath: the image
        mask_path: the mask's file, if it has one
        size: (H, W) of the mask; None if it was not read
        spots: what was found
        mask: what its mask says; None if it was not read
        digest: of the mask's pixels
        thumbnail: (16, 16) grey; None if the image was not decoded
    """

    sample_id: str
    filepath: str
    mask_path: str | None = None
    size: tuple[int, int] | None = None
    spots: tuple[Spot, ...] = ()
    mask: MaskLook | None = None
    digest: str = ""
    thumbnail: np.ndarray | None = None


@dataclass(frozen=True)
class Looks:
    """All samples of a label field.

    Attributes:
        samples: in the order of the collection
        legend: what mask values mean
        names: value to class, of the classes that the dataset names
        rgb: whether values are packed colours
        reading: how mask files are understood
        max_area: pixels of the largest speck, None for a share of the image
    """

    samples: list[SampleLook]
    legend: Legend
    names: dict[int, str] = field(default_factory=dict)
    rgb: bool = False
    max_area: int | None = None
    reading: MaskReading = PLAIN

    def value_text(self, value: int) -> str:
        """A mask value as the user knows it."""
        return f"#{value:06x}" if self.rgb else str(value)


def legend_of(targets: Mapping[int | str, str], ignore_index: Any) -> tuple[Legend, dict[int, str], bool]:
    """What mask values mean, as far as a check-up needs it.

    Args:
        targets: `mask_targets` of the field
        ignore_index: values or names that count for nothing, None, or "auto"

    Returns:
        the legend, value to class name, and whether values are colours

    Raises:
        LabelQualityError: if `ignore_index` names no class

    Example:
        >>> legend, names, rgb = legend_of({1: "road", 2: "Don't care"}, "auto")
        >>> sorted(legend.named), sorted(legend.ignored), sorted(legend.nothing), names
        ([-1, 0, 1, 2, 255], [-1, 2, 255], [-1, 0, 2, 255], {1: 'road'})
    """
    unknown = not targets and ignore_index == "auto"  # what 255 means is told by the values of all masks
    classes = list_classes(targets, _UNLISTED if targets else {}, None if unknown else ignore_index)
    listed = list_classes(targets, {}, None).values
    ignored = classes.ignored
    empty = {value for value, name in classes.value_names.items() if is_nothing(name)}
    empty |= {0}.difference(listed)
    named = {*classes.value_names, *ignored, *empty} if targets else set()
    names = {value: name for value, name in classes.value_names.items() if value in listed}
    return Legend(frozenset(named), ignored, ignored | empty), names, classes.rgb


def look_at_samples(
    samples: Any, label_field: str, *, ignore_index: Any, max_area: int | None, progress: Progress
) -> Looks:
    """Look at every sample once.

    Args:
        samples: a dataset or view
        label_field: its Segmentation field
        ignore_index: values or names that count for nothing, None, or "auto"
        max_area: pixels of the largest speck, None for a share of the image
        progress: told after each chunk of samples

    Returns:
        what they say
    """
    targets = mask_targets_of(samples, label_field)
    legend, names, rgb = legend_of(targets, ignore_index)
    looks = Looks([], legend, names, rgb, max_area, reading=reading_of(targets))
    total, rows = samples.count("id"), []
    with ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="check-up") as pool:
        for sample in samples.select_fields(label_field).iter_samples():
            rows.append(sample)
            if len(rows) == _CHUNK:
                looks.samples.extend(pool.map(lambda one: _look(one, label_field, looks), rows))
                rows = []
                progress(len(looks.samples), total, "checking labels")
        looks.samples.extend(pool.map(lambda one: _look(one, label_field, looks), rows))
    progress(len(looks.samples), total, "checking labels")
    return looks


def _look(sample: Any, label_field: str, looks: Looks) -> SampleLook:
    label = sample[label_field]
    if label is None or not label.has_mask:
        return SampleLook(sample.id, sample.filepath, spots=(Spot(check_up.NO_LABEL.code),))
    path = label.mask_path if label.mask is None else None
    side = (check_up.THUMBNAIL, check_up.THUMBNAIL)
    spots: list[Spot] = []
    image = _attempt(spots, "image", read_header, sample.filepath)
    thumbnail = None if image is None else _attempt(spots, "image", small_grey, sample.filepath, side)
    header = _attempt(spots, "mask", read_header, path) if path else None
    mask = _attempt(spots, "mask", read_mask, label, looks.reading) if header is not None or not path else None
    look = SampleLook(sample.id, sample.filepath, path, spots=tuple(spots), thumbnail=thumbnail)
    return look if mask is None else _with_mask(look, mask, image, header, looks)


def _attempt(spots: list[Spot], what: str, read: Callable[..., Any], *arguments: Any) -> Any:
    """What reading gives; None where it fails, and then a spot says why."""
    try:
        return read(*arguments)
    except GiganticError as error:
        spots.append(Spot(check_up.GIGANTIC_FILE.code, note=f"{what}: {error}"))
    except (OSError, LabelQualityError) as error:
        spots.append(Spot(check_up.UNREADABLE_FILE.code, note=f"{what}: {error}"))
    return None


def _with_mask(
    look: SampleLook, mask: np.ndarray, image: Header | None, header: Header | None, looks: Looks
) -> SampleLook:
    size = (int(mask.shape[0]), int(mask.shape[1]))
    spots = list(look.spots)
    code = check_up.shape_code(size, image.shown, image.stored) if image is not None else None
    if code and image is not None:
        sizes = f"mask {size[0]} x {size[1]}, image {image.shown[0]} x {image.shown[1]} (height x width)"
        spots.append(Spot(code, note=sizes))
    values = pack_rgb(mask) if looks.rgb else mask
    if values.ndim == 3:
        spots.append(Spot(check_up.VALUE_WITHOUT_CLASS.code, note="colours, but `mask_targets` names none"))
        return replace(look, size=size, spots=tuple(spots))
    lossy = header is not None and header.format in check_up.LOSSY_FORMATS
    looked = check_up.look_at_mask(values, looks.legend, lossy_file=lossy, max_area=looks.max_area)
    return replace(look, size=size, spots=(*spots, *looked.spots), mask=looked, digest=mask_digest(mask))


def values_present(looks: Looks) -> Counter[int]:
    """How many masks each value occurs in."""
    return Counter(value for look in looks.samples if look.mask for value in look.mask.counts)
