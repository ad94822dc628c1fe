"""What a job has seen of the labels while it read them: the cheap part of a check-up, at the start of every job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...dataset.door.masks import pack_rgb
from ...dataset.door.scan import TOO_LARGE, UNREADABLE, LabelScan, mask_reader, mask_targets_of
from ...errors import LabelQualityError
from ...quality.check_up import (
    BLENDED_BORDER,
    CHECKS,
    CLASS_WITHOUT_PIXELS,
    GIGANTIC_FILE,
    LOSSY_MASK,
    NAME_NOT_UNIQUE,
    SHARED_MASK_FILE,
    UNREADABLE_FILE,
    Legend,
    look_at_mask,
)
from ...wording import count
from .looking import legend_of

_LOSSY_NAMES: Final = (".jpg", ".jpeg", ".jfif", ".jp2")
_LISTED: Final = 5
_LOOKED_AT: Final = 8
"""Masks that are looked at where values occur that no class has: most of them must be changed."""


def first_look(samples: Any, label_field: str, scan: LabelScan, ignore_index: Any = "auto") -> list[str]:
    """Say what is wrong with labels as far as reading them has shown it, before hours are spent.

    Args:
        samples: a dataset or view
        label_field: its Segmentation field
        scan: of its labels
        ignore_index: values or names that count for nothing, None, or "auto"

    Returns:
        one sentence for each code of `check_labels`

    Raises:
        LabelQualityError: if compression or interpolation has put values into the masks, which would become classes
    """
    refuse_changed_values(samples, label_field, scan, ignore_index)
    paths = dict(zip(*samples.values(["id", f"{label_field}.mask_path"]), strict=True))
    masks = [path for image in scan.images if (path := paths.get(image.sample_id))]
    _, names, _ = legend_of(mask_targets_of(samples, label_field), ignore_index)
    lossy = [path for path in masks if _is_lossy_name(path)]
    reasons = Counter(_code_of(skip.reason) for skip in scan.skipped)
    absent = [name for value, name in names.items() if value not in scan.values]
    found = {
        UNREADABLE_FILE.code: _samples(reasons[UNREADABLE_FILE.code]),
        GIGANTIC_FILE.code: _samples(reasons[GIGANTIC_FILE.code]),
        SHARED_MASK_FILE.code: _samples(_repeated(masks)),
        LOSSY_MASK.code: _samples(len(lossy)),
        CLASS_WITHOUT_PIXELS.code: ", ".join(absent[:_LISTED]) + (" and more" if len(absent) > _LISTED else ""),
        NAME_NOT_UNIQUE.code: _samples(_repeated(Path(image.filepath).stem for image in scan.images)),
    }
    return [f"{CHECKS[code].title}: {text}. See `check_labels` ({code})" for code, text in found.items() if text]


def refuse_changed_values(samples: Any, label_field: str, scan: LabelScan, ignore_index: Any = "auto") -> None:
    """Refuse masks into which compression or interpolation has put values, whatever kind of file they are in.

    Args:
        samples: a dataset or view
        label_field: its Segmentation field
        scan: of its labels
        ignore_index: values or names that count for nothing, None, or "auto"

    Raises:
        LabelQualityError: if they have, and these values would become classes
    """
    targets = mask_targets_of(samples, label_field)
    legend, _, rgb = legend_of(targets, ignore_index)
    strange = set(scan.values) - legend.named
    if not strange or (not legend.named and len(strange) <= 2):
        return
    files = [image.mask_path for image in scan.images if image.mask_path and _is_lossy_name(image.mask_path)]
    seen = f"and there are {len(strange)} values in them that no class has"
    if files:
        raise LabelQualityError(
            f"Expected masks without loss, but {len(files):,} are JPEG files, for instance {files[0]}, whose "
            f"compression changes values, {seen}; export them as PNG, with the values of the classes only. "
            "`check_labels` lists them"
        )
    some = scan.images[:: max(len(scan.images) // _LOOKED_AT, 1)][:_LOOKED_AT]
    read = mask_reader(samples, label_field)
    codes = Counter(_change_of(read, image.sample_id, legend, rgb) for image in some)
    what = {LOSSY_MASK.code: "compression", BLENDED_BORDER.code: "resizing that blends"}
    changed = {code: codes[code] for code in what if codes[code]}
    if sum(changed.values()) > len(some) / 2:
        code = max(changed, key=lambda code: changed[code])
        raise LabelQualityError(
            f"Expected masks of classes, but {what[code]} has changed the values of `{label_field}`, {seen}. "
            f"{CHECKS[code].way_out} If these are classes, name them in `dataset.mask_targets[{label_field!r}]`. "
            f"`check_labels` lists them ({code})"
        )


def _change_of(read: Callable[[str], np.ndarray], sample_id: str, legend: Legend, rgb: bool) -> str:
    """Whether a mask was compressed or interpolated: the code of that check, or nothing."""
    mask = read(sample_id)
    spots = look_at_mask(pack_rgb(mask) if rgb else mask, legend).spots
    return next((spot.code for spot in spots if spot.code in (LOSSY_MASK.code, BLENDED_BORDER.code)), "")


def _is_lossy_name(path: str) -> bool:
    return Path(path).suffix.lower() in _LOSSY_NAMES


def _code_of(reason: str) -> str:
    """The check that a reason for leaving a sample out belongs to; empty if it belongs to none."""
    if reason.startswith(TOO_LARGE):
        return GIGANTIC_FILE.code
    return UNREADABLE_FILE.code if reason.startswith(UNREADABLE) else ""


def _samples(number: int) -> str:
    return count(number, "sample") if number else ""


def _repeated(names: Iterable[str]) -> int:
    """How many have a name that others have, too."""
    return sum(number for number in Counter(names).values() if number > 1)
