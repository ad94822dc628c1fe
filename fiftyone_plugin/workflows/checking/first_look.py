"""What a job has seen of the labels while it read them: the cheap part of a check-up, at the start of every job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ...dataset.door.scan import LabelScan, mask_targets_of
from ...errors import LabelQualityError
from ...quality.check_up import (
    CHECKS,
    CLASS_WITHOUT_PIXELS,
    GIGANTIC_FILE,
    LOSSY_MASK,
    NAME_NOT_UNIQUE,
    SHARED_MASK_FILE,
    UNREADABLE_FILE,
)
from .looking import legend_of

_LOSSY_NAMES: Final = (".jpg", ".jpeg", ".jfif", ".jp2")
_LISTED: Final = 5


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
        LabelQualityError: if compression has put values into the masks, which would become classes
    """
    paths = dict(zip(*samples.values(["id", f"{label_field}.mask_path"]), strict=True))
    masks = [path for image in scan.images if (path := paths.get(image.sample_id))]
    legend, names, _ = legend_of(mask_targets_of(samples, label_field), ignore_index)
    lossy = [path for path in masks if Path(path).suffix.lower() in _LOSSY_NAMES]
    strange = set(scan.values) - legend.named if legend.named else set(scan.values) if len(scan.values) > 2 else set()
    if lossy and strange:
        raise LabelQualityError(
            f"Expected masks without loss, but {len(lossy):,} are JPEG files, for instance {lossy[0]}, and compression "
            f"has left {len(strange)} values in them that no class has; export them as PNG, with the values of the "
            "classes only. `check_labels` lists them"
        )
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


def _code_of(reason: str) -> str:
    """The check that a reason for leaving a sample out belongs to; empty if it belongs to none."""
    text = reason.lower()
    if "gigantic" in text or "decompression bomb" in text:
        return GIGANTIC_FILE.code
    return UNREADABLE_FILE.code if text.startswith("unreadable") else ""


def _samples(number: int) -> str:
    return f"{number:,} samples" if number else ""


def _repeated(names: Iterable[str]) -> int:
    """How many have a name that others have, too."""
    return sum(number for number in Counter(names).values() if number > 1)
