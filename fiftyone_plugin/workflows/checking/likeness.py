"""What images and masks say together: copies, near-duplicates, neighbours, and whether masks lie where images are."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np

from ...dataset.door.masks import pack_rgb, resize_nearest
from ...errors import LabelQualityError
from ...progress import Progress
from ...quality import check_up
from ...quality.check_up import Spot
from ...wording import count
from .comparing import Comparison
from .looking import Looks, SampleLook
from .small_images import small_grey

MaskReader = Callable[[str], np.ndarray]
_Box = tuple[float, float, float, float]
_Pair = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

_FLAT: Final = 4.0
"""Spread of a thumbnail below which all images look alike."""

_MOST_PAIRS: Final = 300
_PROBES: Final = 24
"""Neighbours of a row, from all over it, of which some must overlap, so that all of the row are compared."""

_SHIFT_IMAGES: Final = 48
_THREADS: Final = 4


def compare_images(looks: Looks, found: Comparison, read_mask: MaskReader, progress: Progress) -> None:
    """Find masks that belong to other images.

    Args:
        looks: at every sample
        found: added to
        read_mask: sample id to mask values
        progress: told how far it is
    """
    _copied(looks, found)
    _duplicates(looks, found, read_mask, progress)
    _neighbours(looks, found, read_mask, progress)
    _shifted(looks, found, read_mask, progress)


def _copied(looks: Looks, found: Comparison) -> None:
    """Masks that are those of other images, as they are or shifted."""
    samples = [look for look in looks.samples if look.mask and look.thumbnail is not None and len(look.mask.counts) > 1]
    groups: dict[str, list[SampleLook]] = defaultdict(list)
    for look in samples:
        groups[look.digest].append(look)
    pairs = [(group[0], other, "") for group in groups.values() for other in group[1:]]
    for first, second, down, right in check_up.copies([look.mask.outlines for look in samples if look.mask]):
        pairs.append((samples[first], samples[second], f", moved by {down} down and {right} right"))
    for one, other, moved in pairs:
        if one.thumbnail is None or other.thumbnail is None:
            continue
        if check_up.is_other_image(one.thumbnail, other.thumbnail) and one.mask_path != other.mask_path:
            for look, its in ((one, other), (other, one)):
                note = f"the mask of {Path(its.filepath).name}{moved}"
                found.spots[look.sample_id].append(Spot(check_up.COPIED_MASK.code, note=note))


def _duplicates(looks: Looks, found: Comparison, read_mask: MaskReader, progress: Progress) -> None:
    samples = [look for look in looks.samples if look.mask and look.thumbnail is not None]
    samples = [look for look in samples if look.thumbnail is not None and float(look.thumbnail.std()) >= _FLAT]
    if len(samples) < 2:
        return
    thumbnails = np.stack([look.thumbnail for look in samples if look.thumbnail is not None])
    pairs = check_up.near_pairs(thumbnails, [check_up.difference_hash(one) for one in thumbnails])
    differing = [(samples[a], samples[b]) for a, b in pairs if samples[a].digest != samples[b].digest]
    for done, (one, other) in enumerate(differing[:_MOST_PAIRS], start=1):
        place = _disagreement(looks, one, other, read_mask)
        if place is not None:
            for look, its in ((one, other), (other, one)):
                found.spots[look.sample_id].append(_duplicate_spot(look, its, *place))
        progress(done, min(len(differing), _MOST_PAIRS), "comparing near-duplicate images")
    if len(differing) > _MOST_PAIRS:
        found.notes[check_up.DUPLICATES_DISAGREE.code] = (
            f"{len(differing):,} pairs of images look alike; the {_MOST_PAIRS} nearest were compared"
        )


def _neighbours(looks: Looks, found: Comparison, read_mask: MaskReader, progress: Progress) -> None:
    """Frames and tiles that overlap, by the numbers in the names of their files."""
    samples = [look for look in looks.samples if look.mask and look.thumbnail is not None]
    rows = [
        [pair for pair in itertools.pairwise(samples[place] for place in row) if _comparable(*pair, found)]
        for row in check_up.name_rows([look.filepath for look in samples])
    ]
    total, done = sum(map(len, rows)), 0
    for row in rows:
        probes = {len(row) * place // _PROBES for place in range(_PROBES)} if row else set()
        overlap = False
        for number, place in enumerate(sorted(range(len(row)), key=lambda place: place not in probes)):
            if number == len(probes) and not overlap:
                break
            one, other = row[place]
            differences = _differences(looks, one, other, read_mask)
            overlap = overlap or differences is not None
            for difference in differences or ():
                for look, its, side in ((one, other, 0), (other, one, 1)):
                    found.spots[look.sample_id].append(_neighbour_spot(looks, look, its, difference, side))
            progress(done + number + 1, total, "comparing frames and tiles")
        done += len(row)


def _comparable(one: SampleLook, other: SampleLook, found: Comparison) -> bool:
    """Whether two samples may differ in a way that was not told yet."""
    told = {spot.note for spot in found.spots.get(one.sample_id, ())}
    return one.size == other.size and one.digest != other.digest and _same_image(other) not in told


def _differences(
    looks: Looks, one: SampleLook, other: SampleLook, read_mask: MaskReader
) -> list[check_up.Difference] | None:
    pair = _small_pair(looks, one, other, read_mask)
    return None if pair is None else check_up.neighbour_differences(*pair, looks.legend.ignored)


def _neighbour_spot(
    looks: Looks, look: SampleLook, other: SampleLook, difference: check_up.Difference, side: int
) -> Spot:
    height, width = look.size or (1, 1)
    here, there = (_class_of(looks, difference.values[place]) for place in (side, 1 - side))
    note = f"{Path(other.filepath).name} shows the same thing and calls it {there}, not {here}"
    area = round(difference.share * height * width)
    return Spot(check_up.NEIGHBOURS_DISAGREE.code, _pixels(difference.boxes[side], look), area, note)


def _class_of(looks: Looks, value: int) -> str:
    return looks.names.get(value) or ("background" if value == 0 else looks.value_text(value))


def _disagreement(looks: Looks, one: SampleLook, other: SampleLook, read_mask: MaskReader) -> tuple[_Box, float] | None:
    pair = _small_pair(looks, one, other, read_mask)
    return None if pair is None else check_up.disagreement(*pair)


def _small_pair(looks: Looks, one: SampleLook, other: SampleLook, read_mask: MaskReader) -> _Pair | None:
    """Both images in grey, and both masks, at the size at which they are compared; None if one cannot be read."""
    if one.size is None or other.size is None:
        return None
    size = check_up.comparison_size(one.size)
    try:
        first, second = (small_grey(look.filepath, size, upright=True) for look in (one, other))
        masks = [resize_nearest(_values(looks, read_mask(look.sample_id)), size) for look in (one, other)]
    except (OSError, LabelQualityError):
        return None
    return (first, second), (masks[0], masks[1])


def _values(looks: Looks, mask: np.ndarray) -> np.ndarray:
    return pack_rgb(mask) if looks.rgb else mask


def _duplicate_spot(look: SampleLook, other: SampleLook, box: _Box, share: float) -> Spot:
    height, width = look.size or (1, 1)
    area = round(share * height * width)
    return Spot(check_up.DUPLICATES_DISAGREE.code, _pixels(box, look), area, _same_image(other))


def _same_image(other: SampleLook) -> str:
    return f"{Path(other.filepath).name} shows the same, but has another mask"


def _pixels(box: _Box, look: SampleLook) -> tuple[int, int, int, int]:
    height, width = look.size or (1, 1)
    top, left, bottom, right = (round(end * side) for end, side in zip(box, (height, width) * 2, strict=True))
    return top, left, bottom, right


def _shifted(looks: Looks, found: Comparison, read_mask: MaskReader, progress: Progress) -> None:
    """Whether masks lie beside their images: all of them, by some images from all over the dataset, or single ones."""
    code = check_up.SHIFTED_MASKS.code
    usable = [look for look in looks.samples if look.mask and look.mask.outlines and look.thumbnail is not None]
    chosen = usable[:: max(len(usable) // _SHIFT_IMAGES, 1)][:_SHIFT_IMAGES]
    contrasts = _contrasts(looks, chosen, read_mask, progress)
    if len(contrasts) < check_up.FEWEST_FOR_SHIFT:
        found.left_out[code] = (
            f"it takes {check_up.FEWEST_FOR_SHIFT} images with borders, and there are {len(contrasts)}"
        )
    shift = check_up.common_shift(list(contrasts.values()))
    if shift is None:
        if check_up.shows_shifts(list(contrasts.values())):
            rest = [look for look in usable if look.sample_id not in contrasts]
            _single(contrasts | _contrasts(looks, rest, read_mask, progress), found)
        return
    text = f"by {shift.down} pixels down and {shift.right} right they would fit better"
    found.notes[code] = f"{text}; {count(shift.num_images, 'image', 'were')} looked at"
    for sample_id in contrasts:
        found.spots[sample_id].append(Spot(code, note=text))


def _single(contrasts: dict[str, np.ndarray], found: Comparison) -> None:
    code, ids = check_up.SHIFTED_MASKS.code, list(contrasts)
    for place, shift in check_up.single_shifts(list(contrasts.values())).items():
        note = f"by {shift.down} pixels down and {shift.right} right this mask would fit better"
        found.spots[ids[place]].append(Spot(code, note=note))


def _contrasts(
    looks: Looks, chosen: Sequence[SampleLook], read_mask: MaskReader, progress: Progress
) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        for done, (look, contrast) in enumerate(
            zip(chosen, pool.map(lambda one: _contrast(looks, one, read_mask), chosen), strict=True), start=1
        ):
            if contrast is not None:
                found[look.sample_id] = contrast
            progress(done, len(chosen), "comparing masks with images")
    return found


def _contrast(looks: Looks, look: SampleLook, read_mask: MaskReader) -> np.ndarray | None:
    if look.size is None:
        return None
    try:
        grey = small_grey(look.filepath, look.size, upright=True)
        return check_up.border_contrast(grey, _values(looks, read_mask(look.sample_id)))
    except (OSError, LabelQualityError):
        return None
