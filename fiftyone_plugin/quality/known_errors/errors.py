"""Known label errors, put into masks on purpose: what a method for finding errors is measured on.

Three kinds concern a whole image and are named as by Lad & Mueller ("Estimating label quality and errors in
semantic segmentation data via any model", arXiv 2307.05080): `drop`, `swap` and `shift`. The others are local
and closer to what annotators do: an object forgotten, invented, given the wrong class, or drawn too small or
too large. The paper's magnitudes are not known to us: sizes, distances and shares are our own choice.

Pixels that are ignored, or whose value is not among the classes, are never changed and never copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ...errors import LabelQualityError
from ..pixels.boundaries import NOWHERE, sized_components, widen_boxes

Mask = npt.NDArray[np.integer]
Pixels = npt.NDArray[np.bool_]

#: What each kind of error does, one sentence each, for forms and reports.
ERROR_KINDS: dict[str, str] = {
    "drop": "All pixels of one class become what surrounds them, as if the class had not been annotated.",
    "swap": "Two classes are exchanged in the whole image.",
    "shift": "The whole mask is moved by a few pixels.",
    "drop_object": "One object becomes what surrounds it, as if it had been overlooked.",
    "add_object": "An object is annotated where there is none.",
    "wrong_class": "One object has the class of something else.",
    "erode": "One object is drawn too small.",
    "dilate": "One object is drawn too large.",
}

#: Stands for any of `ERROR_KINDS`, whichever the image allows.
MIXTURE = "mixture"

_TRIES = 24  # objects, or places for one, that are looked at before an image is said to offer nothing


@dataclass(frozen=True)
class InjectedError:
    """A mask with an error in it, and everything there is to know about the error.

    Attributes:
        mask: (H, W) the corrupted copy, of the same dtype as the original
        changed: (H, W) bool, True where it differs from the original
        kind: key of `ERROR_KINDS`
        given: the value that the (most) changed pixels now have; None for a shift
        true: the value that the (most) changed pixels had; None for a shift
        description: one sentence for people
    """

    mask: Mask
    changed: Pixels
    kind: str
    given: int | None
    true: int | None
    description: str


def plan_errors(
    n_images: int, fraction: float, kinds: str | Sequence[str] = MIXTURE, seed: int = 0
) -> list[str | None]:
    """Choose the images that get an error, with as many of each kind as of the others, give or take one.

    Args:
        n_images: number of images
        fraction: share of them to corrupt, in [0, 1]; rounded to whole images, but at least one if not 0
        kinds: keys of `ERROR_KINDS`, or `MIXTURE` for all of them
        seed: the same seed gives the same plan

    Returns:
        for every image the kind of its error, or None

    Raises:
        LabelQualityError: if a kind is unknown, or `fraction` or `n_images` is out of range

    Example:
        >>> plan_errors(8, 0.25, ["drop", "swap"], seed=1)
        ['swap', None, None, None, None, 'drop', None, None]
    """
    if n_images < 0:
        raise LabelQualityError(f"Expected `n_images` of at least 0, but got {n_images}.")
    if not 0 <= fraction <= 1:
        raise LabelQualityError(
            f"Expected `fraction` between 0 and 1, but got {fraction}; 0.2 corrupts every fifth image."
        )
    chosen = _expand(kinds)
    count = min(n_images, max(1, round(n_images * fraction))) if fraction else 0
    plan: list[str | None] = [None] * n_images
    for turn, image in enumerate(np.random.default_rng(seed).permutation(n_images)[:count]):
        plan[image] = chosen[turn % len(chosen)]
    return plan


def inject_error(
    mask: npt.ArrayLike,
    kind: str,
    rng: np.random.Generator,
    *,
    class_ids: Sequence[int] | None = None,
    ignore_index: int | Sequence[int] | None = 255,
    background: int | None = None,
    class_names: Mapping[int, str] | None = None,
    min_area: int | None = None,
    max_object_share: float = 0.1,
    shift_pixels: tuple[int, int] = (4, 12),
    boundary_pixels: tuple[int, int] = (3, 6),
) -> InjectedError | None:
    """Put one error into a copy of a mask.

    Args:
        mask: (H, W) integers of any width
        kind: key of `ERROR_KINDS`, or `MIXTURE` for whichever of them, at random, the mask allows
        rng: where all choices come from; the same state gives the same error
        class_ids: mask values that are classes, the only ones that an error brings in; all values of the mask
            but `ignore_index` if not given
        ignore_index: mask value (or values) of pixels that count for nothing, or None
        background: what `drop` turns a class into; the nearest pixels of other classes if not given
        class_names: names of mask values for the description
        min_area: smallest number of pixels of an object or class to be corrupted and of an error to be made;
            a thousandth of the image but at least 64 if not given
        max_object_share: largest share of the image that still is an object and not a backdrop
        shift_pixels: smallest and largest distance that `shift` moves the mask along either axis
        boundary_pixels: smallest and largest distance that `erode` and `dilate` move a boundary

    Returns:
        the error, or None if the mask offers nothing to corrupt in this way: no object of the right size,
        fewer than two classes, only ignored pixels

    Raises:
        LabelQualityError: if the mask is not a 2D array of integers, or a value is unknown or out of range

    Example:
        >>> mask = np.array([[1, 1, 1, 1], [1, 2, 2, 1], [1, 2, 2, 255], [1, 1, 1, 1]], np.uint8)
        >>> rng = np.random.default_rng(0)
        >>> error = inject_error(mask, "drop_object", rng, min_area=4, max_object_share=0.5)
        >>> error.mask
        array([[  1,   1,   1,   1],
               [  1,   1,   1,   1],
               [  1,   1,   1, 255],
               [  1,   1,   1,   1]], dtype=uint8)
        >>> error.true, error.given, error.description
        (2, 1, 'an object of class 2 dropped: 4 pixels are now class 1')
    """
    kinds = _expand(kind)
    subject = error_subject(
        mask, class_ids=class_ids, ignore_index=ignore_index, background=background, class_names=class_names,
        min_area=min_area, max_object_share=max_object_share, shift_pixels=shift_pixels,
        boundary_pixels=boundary_pixels,
    )  # fmt: skip
    return inject_into(subject, kinds, rng)


def error_subject(
    mask: npt.ArrayLike,
    *,
    class_ids: Sequence[int] | None = None,
    ignore_index: int | Sequence[int] | None = 255,
    background: int | None = None,
    class_names: Mapping[int, str] | None = None,
    min_area: int | None = None,
    max_object_share: float = 0.1,
    shift_pixels: tuple[int, int] = (4, 12),
    boundary_pixels: tuple[int, int] = (3, 6),
) -> ErrorSubject:
    """Look at a mask once, to put several errors into copies of it; the arguments are those of `inject_error`.

    Returns:
        what `inject_into` takes

    Raises:
        LabelQualityError: as `inject_error`
    """
    labels = _checked_mask(mask)
    classes = _checked_classes(labels, class_ids, ignore_index, background)
    _check_range("shift_pixels", shift_pixels)
    _check_range("boundary_pixels", boundary_pixels)
    return ErrorSubject(
        mask=labels,
        editable=np.isin(labels, classes),
        classes=classes,
        names=class_names or {},
        background=background,
        min_area=max(64, labels.size // 1000) if min_area is None else max(1, min_area),
        max_area=round(labels.size * max_object_share),
        shift=shift_pixels,
        boundary=boundary_pixels,
    )


def inject_into(subject: ErrorSubject, kinds: Sequence[str], rng: np.random.Generator) -> InjectedError | None:
    """Put one error of the first kind that the mask allows into a copy of it, the kinds in random order.

    Args:
        subject: of `error_subject`
        kinds: keys of `ERROR_KINDS`
        rng: where all choices come from

    Returns:
        the error, or None if the mask offers nothing
    """
    for choice in rng.permutation(len(kinds)) if len(kinds) > 1 else [0]:
        error = _finish(subject, kinds[choice], _INJECTORS[kinds[choice]](subject, rng))
        if error is not None:
            return error
    return None


# --- at the door -----------------------------------------------------------------------------------------


def _expand(kinds: str | Sequence[str]) -> list[str]:
    asked = [kinds] if isinstance(kinds, str) else list(kinds)
    unknown = [kind for kind in asked if kind not in ERROR_KINDS and kind != MIXTURE]
    if unknown or not asked:
        raise LabelQualityError(f"Expected kinds of error among {[*ERROR_KINDS, MIXTURE]}, but got {unknown or asked}.")
    return list(ERROR_KINDS) if MIXTURE in asked else asked


def _checked_mask(mask: npt.ArrayLike) -> Mask:
    labels = np.asarray(mask)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise LabelQualityError(
            f"Expected `mask` to be a (H, W) array of integers, but got {labels.shape} of {labels.dtype}; "
            "pass one integer per pixel, for instance the array of an 8- or 16-bit PNG."
        )
    return labels


def _checked_classes(
    labels: Mask,
    class_ids: Sequence[int] | None,
    ignore_index: int | Sequence[int] | None,
    background: int | None,
) -> npt.NDArray[np.int64]:
    values = np.unique(labels) if class_ids is None else np.unique(np.asarray(class_ids, np.int64))
    ignored = np.asarray([] if ignore_index is None else ignore_index, np.int64)
    classes = np.setdiff1d(values.astype(np.int64), ignored)
    limits = np.iinfo(labels.dtype)
    outside = [int(value) for value in classes if not limits.min <= value <= limits.max]
    if outside:
        raise LabelQualityError(
            f"Expected `class_ids` that {labels.dtype} holds ({limits.min} to {limits.max}), but got "
            f"{outside}; convert the mask to a wider integer type first."
        )
    if background is not None and background not in classes:
        raise LabelQualityError(
            f"Expected `background` to be one of the classes {classes.tolist()}, but got {background}."
        )
    return classes


def _check_range(name: str, limits: tuple[int, int]) -> None:
    low, high = limits
    if not 1 <= low <= high:
        raise LabelQualityError(f"Expected `{name}` as (smallest, largest) with 1 <= smallest, but got {limits}.")


# --- what all kinds share --------------------------------------------------------------------------------


@dataclass(frozen=True)
class ErrorSubject:
    """A mask and what may be done to it; made by `error_subject`."""

    mask: Mask
    editable: Pixels
    classes: npt.NDArray[np.int64]
    names: Mapping[int, str]
    background: int | None
    min_area: int
    max_area: int
    shift: tuple[int, int]
    boundary: tuple[int, int]

    def name(self, value: int) -> str:
        """Return how people call a mask value."""
        return self.names.get(value, f"class {value}")

    @cached_property
    def frequent_classes(self) -> list[int]:
        """The classes with enough pixels to matter."""
        values, counts = np.unique(self.mask[self.editable], return_counts=True)
        return [int(value) for value, count in zip(values, counts, strict=True) if count >= self.min_area]

    @cached_property
    def objects(self) -> list[_Object]:
        """The objects of the right size."""
        if not self.frequent_classes:
            return []
        wanted = self.editable & np.isin(self.mask, self.frequent_classes)
        lowest = self.frequent_classes[0]
        values = np.where(wanted, self.mask.astype(np.int64) - lowest, NOWHERE)
        ids, sizes = sized_components(values, corners=False)
        at = np.flatnonzero(wanted)
        of = ids.reshape(-1)[at]
        boxes = np.tile(np.array([*ids.shape, 0, 0], np.int64), (sizes.size, 1))
        widen_boxes(at, of, ids.shape[1], boxes)
        value_of = np.zeros(sizes.size, np.int64)
        value_of[of] = values.reshape(-1)[at]
        fitting = np.flatnonzero((sizes >= self.min_area) & (sizes <= self.max_area))
        found = []
        for number in fitting[np.argsort(value_of[fitting], kind="stable")]:
            top, left, bottom, right = (int(edge) for edge in boxes[number])
            box = (slice(top, bottom), slice(left, right))
            found.append(_Object(int(value_of[number]) + lowest, *box, ids[box] == number))
        return found


class _Change(NamedTuple):
    """A corrupted mask, the two main values if there are two, and what was done."""

    mask: Mask
    given: int | None
    true: int | None
    action: str


class _Object(NamedTuple):
    """Connected pixels of one class."""

    value: int
    rows: slice
    columns: slice
    pixels: Pixels  # of the box

    def on(self, shape: tuple[int, ...]) -> Pixels:
        """Return the object as pixels of the whole image."""
        whole = np.zeros(shape, bool)
        whole[self.rows, self.columns] = self.pixels
        return whole


def _finish(subject: ErrorSubject, kind: str, change: _Change | None) -> InjectedError | None:
    if change is None:
        return None
    changed = (change.mask != subject.mask) & subject.editable
    count = int(changed.sum())
    if count < subject.min_area:
        return None
    mask = np.where(changed, change.mask, subject.mask)
    given = _most_common(mask[changed]) if change.given is None and kind != "shift" else change.given
    true = _most_common(subject.mask[changed]) if change.true is None and kind != "shift" else change.true
    result = "pixels changed" if given is None else f"pixels are now {subject.name(given)}"
    return InjectedError(mask, changed, kind, given, true, f"{change.action}: {count} {result}")


def _most_common(values: Mask) -> int:
    present, counts = np.unique(values, return_counts=True)
    return int(present[np.argmax(counts)])


def _objects(subject: ErrorSubject, rng: np.random.Generator) -> Iterator[_Object]:
    """Yield objects of the right size, in random order."""
    found = subject.objects
    for choice in rng.permutation(len(found))[:_TRIES]:
        yield found[choice]


def _surroundings(subject: ErrorSubject, region: Pixels) -> Mask | None:
    """Return the mask with a region overgrown from its rim, None where nothing is around it."""
    sources = subject.editable & ~region
    if not sources.any():
        return None
    rows, columns = _window_around(region, sources)
    nearest = ndimage.distance_transform_edt(~sources[rows, columns], return_distances=False, return_indices=True)
    grown = subject.mask.copy()
    inside = region[rows, columns]
    grown[rows, columns][inside] = subject.mask[rows, columns][tuple(nearest)][inside]
    return grown


def _window_around(region: Pixels, sources: Pixels, margin: int = 32) -> tuple[slice, slice]:
    """Return the part of a large image that decides about a small region, the whole if it is not enough."""
    window = _window(region, margin)
    return window if sources[window].any() else (slice(None), slice(None))


def _window(region: Pixels, margin: int) -> tuple[slice, slice]:
    """Return the box of a region, which has a pixel, with a margin."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + margin + 1),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + margin + 1),
    )


def _near(region: Pixels, reach: int) -> Pixels:
    """Return the pixels within so many pixels of a region; distances are taken around it only."""
    window, near = _window(region, reach), np.zeros(region.shape, bool)
    near[window] = ndimage.distance_transform_edt(~region[window]) <= reach
    return near


def _rim(region: Pixels, depth: int) -> Pixels:
    """Return the pixels of a region that lie within so many pixels of its edge."""
    window, rim = _window(region, 1), np.zeros(region.shape, bool)
    rim[window] = region[window] & (ndimage.distance_transform_edt(region[window]) <= depth)
    return rim


# --- the kinds -------------------------------------------------------------------------------------------


def _drop(subject: ErrorSubject, rng: np.random.Generator) -> _Change | None:
    candidates = [value for value in subject.frequent_classes if value != subject.background]
    if not candidates:
        return None
    value = candidates[int(rng.integers(len(candidates)))]
    region = (subject.mask == value) & subject.editable
    if subject.background is None:
        mask = _surroundings(subject, region)
    else:
        mask = np.where(region, subject.mask.dtype.type(subject.background), subject.mask)
    return None if mask is None else _Change(mask, None, value, f"{subject.name(value)} dropped")


def _swap(subject: ErrorSubject, rng: np.random.Generator) -> _Change | None:
    candidates = subject.frequent_classes
    if len(candidates) < 2:
        return None
    first, second = (candidates[index] for index in rng.permutation(len(candidates))[:2])
    mask = subject.mask.copy()
    mask[subject.mask == first] = second
    mask[subject.mask == second] = first
    return _Change(mask, second, first, f"{subject.name(first)} and {subject.name(second)} swapped")


def _shift(subject: ErrorSubject, rng: np.random.Generator) -> _Change | None:
    low, high = subject.shift
    far = int(rng.integers(low, high + 1)) * (1 if rng.random() < 0.5 else -1)
    aside = int(rng.integers(-abs(far), abs(far) + 1))
    down, right = (far, aside) if rng.random() < 0.5 else (aside, far)
    height, width = subject.mask.shape
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    source = np.ix_(rows, columns)
    mask = np.where(subject.editable[source], subject.mask[source], subject.mask)
    return _Change(mask, None, None, f"mask shifted by {down} pixels down and {right} right")


def _drop_object(subject: ErrorSubject, rng: np.random.Generator) -> _Change | None:
    for thing in _objects(subject, rng):
        mask = _surroundings(subject, thing.on(subject.mask.shape))
        if mask is not None:
            return _Change(mask, None, thing.value, f"an object of {subject.name(thing.value)} dropped")
    return None


def _add_object(subject: ErrorSubject, rng: np.random.Generator) -> _Change | None:
    """Paste a mirrored copy of an object where its class is not; an ellipse if there is no object to copy."""
    for thing in _objects(subject, rng):
        change = _paste(subject, thing.value, thing.pixels[:, ::-1], rng)
        if change is not None:
            return change
    if not len(subject.classes):
        return None
    value = int(subject.classes[int(rng.integers(len(subject.classes)))])
    return _paste(subject, value, _ellipse(subject, rng), rng)


def _ellipse(subject: ErrorSubject, rng: np.random.Generator) -> Pixels:
    """Return an ellipse of two to four times the smallest area, more or less elongated."""
    side = int(np.ceil(np.sqrt(subject.min_area * rng.uniform(2.0, 4.0) / 0.785)))
    down = max(1, round(side * rng.uniform(0.7, 1.4)))
    across = max(1, -(-side * side // down))
    row, column = np.ogrid[:down, :across]
    return ((2 * row + 1 - down) * across) ** 2 + ((2 * column + 1 - across) * down) ** 2 <= (down * across) ** 2


def _paste(subject: ErrorSubject, value: int, shape: Pixels, rng: np.random.Generator) -> _Change | None:
    """Give a shape a class where at most a fifth of it is lost and it does not meet its own class."""
    height, width = subject.mask.shape
    down, across = shape.shape
    if down > height or across > width:
        return None
    own = (subject.mask == value) & subject.editable
    for _ in range(_TRIES):
        top, left = int(rng.integers(height - down + 1)), int(rng.integers(width - across + 1))
        window = (slice(top, top + down), slice(left, left + across))
        landed = shape & subject.editable[window]
        if (landed & own[window]).any() or landed.sum() * 5 < shape.sum() * 4:
            continue
        mask = subject.mask.copy()
        mask[window][landed] = value
        return _Change(mask, value, None, f"an object of {subject.name(value)} added")
    return None


def _wrong_class(subject: ErrorSubject, rng: np.random.Generator) -> _Change | None:
    for thing in _objects(subject, rng):
        others = [int(value) for value in subject.classes if value != thing.value]
        if not others:
            return None
        value = others[int(rng.integers(len(others)))]
        mask = subject.mask.copy()
        mask[thing.rows, thing.columns][thing.pixels] = value
        return _Change(mask, value, thing.value, f"an object of {subject.name(thing.value)} given the wrong class")
    return None


def _erode(subject: ErrorSubject, rng: np.random.Generator) -> _Change | None:
    """Take the rim off an object that keeps at least a quarter of itself."""
    distance = int(rng.integers(subject.boundary[0], subject.boundary[1] + 1))
    for thing in _objects(subject, rng):
        region = thing.on(subject.mask.shape)
        rim = _rim(region, distance)
        if rim.sum() < subject.min_area or (region.sum() - rim.sum()) * 4 < region.sum():
            continue
        mask = _surroundings(replace(subject, editable=subject.editable & ~region), rim)
        if mask is not None:
            action = f"an object of {subject.name(thing.value)} eroded by {distance} pixels"
            return _Change(mask, None, thing.value, action)
    return None


def _dilate(subject: ErrorSubject, rng: np.random.Generator) -> _Change | None:
    """Let an object grow over its neighbours; a band of ignored pixels around it does not stop it."""
    distance = int(rng.integers(subject.boundary[0], subject.boundary[1] + 1))
    for thing in _objects(subject, rng):
        region = thing.on(subject.mask.shape)
        band = _ignored_around(subject, region, reach=2 * subject.boundary[1])
        grown = subject.editable & _near(region | band, distance)
        mask = np.where(grown, subject.mask.dtype.type(thing.value), subject.mask)
        if (mask != subject.mask).sum() >= subject.min_area:
            action = f"an object of {subject.name(thing.value)} dilated by {distance} pixels"
            return _Change(mask, thing.value, None, action)
    return None


def _ignored_around(subject: ErrorSubject, region: Pixels, reach: int) -> Pixels:
    """Return the pixels without a class that touch a region, up to `reach` pixels away from it."""
    without = ~subject.editable
    if not without.any():
        return without
    window, band = _window(region, reach), np.zeros(region.shape, bool)
    near = without[window] & _near(region, reach)[window]
    band[window] = ndimage.binary_propagation(ndimage.binary_dilation(region[window]) & near, mask=near)
    return band


_INJECTORS: dict[str, Callable[[ErrorSubject, np.random.Generator], _Change | None]] = {
    "drop": _drop,
    "swap": _swap,
    "shift": _shift,
    "drop_object": _drop_object,
    "add_object": _add_object,
    "wrong_class": _wrong_class,
    "erode": _erode,
    "dilate": _dilate,
}
