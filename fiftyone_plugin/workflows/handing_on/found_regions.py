"""The regions of a run as plain values, with their masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...dataset.door.masks import read_mask_file, resize_nearest
from ...dataset.door.slices import every_slice
from ...dataset.fields.schema import ScoreFields
from ...errors import LabelQualityError
from ..reviewing.review import runs_with_regions


@dataclass(frozen=True)
class FoundRegion:
    """A region where the label is probably wrong.

    Attributes:
        sample_id: of its image
        filepath: of its image
        label_id: of the region
        kind: missing, spurious, wrong_class or boundary
        given: class of the label
        suggested: class of the prediction
        score: how surely the label is wrong: 1 = surely
        status: pending, accepted or rejected
        area: pixels
        box: (left, top, width, height), as shares of the image
        mask_path: file of its mask, which fills the box; None where the box is all that is known
        reviewer: who decided
        reviewed_at: when, ISO 8601; "" if nobody did
    """

    sample_id: str
    filepath: str
    label_id: str
    kind: str
    given: str
    suggested: str
    score: float
    status: str
    area: int
    box: tuple[float, float, float, float]
    mask_path: str | None
    reviewer: str
    reviewed_at: str

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """The region on an image of a size.

        Args:
            size: (height, width)

        Returns:
            (height, width) bool
        """
        height, width = size
        left, top, wide, high = self.box
        x, y = round(left * width), round(top * height)
        w, h = max(round(wide * width), 1), max(round(high * height), 1)
        drawn = np.zeros(size, bool)
        window = drawn[y : y + h, x : x + w]
        if window.size:
            found = np.ones(window.shape, bool) if self.mask_path is None else read_mask_file(self.mask_path) > 0
            window[:] = resize_nearest(found.astype(np.uint8), window.shape) > 0
        return drawn


def found_regions(samples: Any, key: str, *, statuses: Sequence[str] | None = None) -> Iterator[FoundRegion]:
    """Read the regions of a run, image by image, worst first within each.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: the run
        statuses: only these of pending, accepted and rejected; None for all

    Yields:
        the regions

    Raises:
        LabelQualityError: if there is no such run with regions
    """
    keys = runs_with_regions(samples._root_dataset)
    if key not in keys:
        raise LabelQualityError(f"Expected the key of a run with regions, but got {key!r}; there are {keys or 'none'}")
    name = ScoreFields(key).regions
    for sample in every_slice(samples).select_fields(name).exists(name).iter_samples():
        found = [_region(sample, one) for one in sample[name].detections]
        kept = [one for one in found if statuses is None or one.status in statuses]
        yield from sorted(kept, key=lambda one: -one.score)


def _region(sample: Any, one: Any) -> FoundRegion:
    reviewed = one.reviewed_at if one.has_field("reviewed_at") else None
    return FoundRegion(
        sample_id=str(sample.id),
        filepath=sample.filepath,
        label_id=str(one.id),
        kind=(one.kind if one.has_field("kind") else None) or one.label,  # views call regions by their classes
        given=one.given,
        suggested=one.suggested,
        score=float(one.score or 0),
        status=one.status,
        area=int(one.area or 0),
        box=tuple(one.bounding_box),
        mask_path=one.mask_path,
        reviewer=(one.reviewer if one.has_field("reviewer") else None) or "",
        reviewed_at=reviewed.isoformat(timespec="seconds") if reviewed else "",
    )
