"""Lists of the regions of a run for other tools: CSV, COCO, tags."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...dataset.door.slices import every_slice
from ...dataset.runs import files
from ...errors import LabelQualityError
from ...models.files.images import image_size
from ...written_files import write_file
from .found_regions import FoundRegion, found_regions

FORMATS: Final = {
    "csv": "CSV: a row per region, for spreadsheets",
    "coco": "COCO JSON: an annotation per region, for annotation tools",
}
_COLUMNS: Final = [field.name for field in fields(FoundRegion) if field.name not in ("box", "mask_path")]
_BOX: Final = ("left", "top", "width", "height")


@files.disk_in_words()
def export_label_issues(
    samples: Any,
    path: str | Path,
    *,
    key: str = "label_quality",
    format: str | None = None,
    statuses: str | Sequence[str] | None = ("pending", "accepted"),
    tag: str | None = None,
) -> Path:
    """Write the regions of a run into one file that other tools read.

    Args:
        samples: the `fiftyone` dataset or a view of it
        path: file to write; one that is there is replaced
        key: the run
        format: "csv" (a row per region) or "coco" (an annotation per region, its category the kind); by the ending of
            `path` if None
        statuses: only these of pending, accepted and rejected; None for all
        tag: also tag the samples of these regions so, for a tool that takes tagged samples

    Returns:
        the file

    Raises:
        LabelQualityError: if there is no such run, or the format is unknown

    Example:
        >>> export_label_issues(dataset, "errors.csv")  # doctest: +SKIP
        >>> export_label_issues(dataset, "accepted.json", statuses="accepted", tag="fix me")  # doctest: +SKIP
    """
    path = Path(path).expanduser()
    chosen = format or {".csv": "csv", ".json": "coco"}.get(path.suffix.lower(), path.suffix)
    if chosen not in FORMATS:
        raise LabelQualityError(f"Expected `format` to be one of {list(FORMATS)}, but got {chosen!r}")
    wanted = [statuses] if isinstance(statuses, str) else statuses
    found = list(found_regions(samples, key, statuses=wanted))
    text = (_as_csv if chosen == "csv" else _as_coco)(found)
    write_file(path, lambda file: file.write(text.encode()))
    if tag is not None and found:
        every_slice(samples._root_dataset).select(list({region.sample_id for region in found})).tag_samples(tag)
    return path


def _as_csv(found: list[FoundRegion]) -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow([*_COLUMNS, *_BOX])
    for region in found:
        values = [_plain(getattr(region, name)) for name in _COLUMNS]
        rows.writerow([*values, *(round(end, 5) for end in region.box)])
    return text.getvalue()


def _plain(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula."""
    if isinstance(value, float):
        return round(value, 4)
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _as_coco(found: list[FoundRegion]) -> str:
    kinds = sorted({region.kind for region in found})
    files = {region.sample_id: region.filepath for region in found}
    number_of = {sample_id: number for number, sample_id in enumerate(files, start=1)}
    sizes = {sample_id: image_size(filepath) for sample_id, filepath in files.items()}
    images = [
        {"id": number_of[one], "file_name": files[one], "height": sizes[one][0], "width": sizes[one][1]}
        for one in files
    ]
    annotations = [
        _annotation(number, region, number_of[region.sample_id], kinds.index(region.kind) + 1, sizes[region.sample_id])
        for number, region in enumerate(found, start=1)
    ]
    categories = [{"id": number, "name": kind} for number, kind in enumerate(kinds, start=1)]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def _annotation(number: int, region: FoundRegion, image: int, category: int, size: tuple[int, int]) -> dict[str, Any]:
    height, width = size
    left, top, wide, high = region.box
    mask = region.mask(size)
    attributes = {name: getattr(region, name) for name in ("given", "suggested", "status", "label_id")}
    return {
        "id": number, "image_id": image, "category_id": category, "score": round(region.score, 4), "iscrowd": 1,
        "bbox": [round(left * width, 2), round(top * height, 2), round(wide * width, 2), round(high * height, 2)],
        "area": int(mask.sum()), "segmentation": {"size": [height, width], "counts": run_lengths(mask)},
        "attributes": attributes,
    }  # fmt: skip


def run_lengths(mask: np.ndarray) -> list[int]:
    """Run lengths of a mask column by column, beginning with what is outside, as COCO counts them.

    Args:
        mask: (H, W) bool

    Returns:
        lengths that add up to H W

    Example:
        >>> run_lengths(np.array([[False, True], [False, True]]))
        [2, 2]
    """
    flat = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *ends, flat.size]).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths
