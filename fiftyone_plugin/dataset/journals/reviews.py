"""What reviewers decided about regions, kept with the dataset for later runs; decisions are added, never changed.

They are in FiftyOne's execution store of the dataset, one key per decision, and go when the dataset is deleted. Of
several decisions about one region the newest counts. Regions of two runs are the same if they are of one sample, have
the same given and suggested class, and their masks overlap by an IoU of at least `SAME_IOU`.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import numpy as np

from ..door.renamed_classes import names_now
from ..fields.values import require_text
from . import append_log

STORE: Final = "label_quality_reviews"
SAME_IOU: Final = 0.5
PERSON: Final = "person"
BULK: Final = "bulk"
"""Who decided: a person about this region, or a promise about many regions that nobody has looked at one by one."""

_CHUNK = 200


@dataclass(frozen=True, eq=False)
class Review:
    """One decision about one region.

    Attributes:
        label_field: the field whose label was judged
        sample_id: FiftyOne's id of the sample
        label_id: FiftyOne's id of the Detection that was judged
        run: key of the run that found the region
        kind: missing, spurious, wrong_class or boundary
        given: class that the label says
        suggested: class that the prediction said
        bbox: (top, left, bottom, right) in pixels, half open
        shape: (H, W) of the label's mask
        mask: (bottom - top, right - left) bool, or None where it was not read
        features: feature name to value; empty if they are unknown
        decision: accepted (the label is wrong), rejected (the label is right) or pending (taken back)
        reviewer: who decided
        time: when, UTC
        source: `PERSON`, or `BULK` where the region was accepted unseen
        key: in the store, in the order of adding; empty before `add_reviews`
        values: mask values of the given and the suggested class, by which renamed classes are known
    """

    label_field: str
    sample_id: str
    label_id: str
    run: str
    kind: str
    given: str
    suggested: str
    bbox: tuple[int, int, int, int]
    shape: tuple[int, int]
    mask: np.ndarray | None
    features: Mapping[str, float]
    decision: str
    reviewer: str | None
    time: datetime
    source: str = PERSON
    key: str = ""
    values: tuple[int | None, int | None] = (None, None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the store."""
        mask = b"" if self.mask is None else np.packbits(self.mask).tobytes()
        return {
            "label_field": self.label_field,
            "sample_id": self.sample_id,
            "label_id": self.label_id,
            "run": self.run,
            "kind": self.kind,
            "given": self.given,
            "suggested": self.suggested,
            "bbox": list(self.bbox),
            "shape": list(self.shape),
            "mask": base64.b64encode(mask).decode(),
            "features": dict(self.features),
            "decision": self.decision,
            "reviewer": self.reviewer,
            "time": self.time,
            "values": list(self.values),
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], key: str) -> Review:
        """The review that `as_dict` wrote."""
        top, left, bottom, right = content["bbox"]
        height, width = content["shape"]
        values = {name: value for name, value in content.items() if name in cls.__dataclass_fields__}
        return cls(
            **{
                **values,
                "bbox": (top, left, bottom, right),
                "shape": (height, width),
                "values": tuple(content.get("values") or (None, None)),
                "mask": _unpack(content.get("mask"), (bottom - top, right - left)),
                "key": key,
            }
        )

    def named(self, names: Mapping[int, str]) -> Review:
        """The review with the names that its classes have now.

        Args:
            names: mask value to name
        """
        given, suggested = (
            old if value is None else names.get(value, old)
            for value, old in zip(self.values, (self.given, self.suggested), strict=True)
        )
        return replace(self, given=given, suggested=suggested)

    def is_of(self, region: Review) -> bool:
        """Whether two reviews are about the same region."""
        if self.label_id == region.label_id:
            return True
        classes = (self.sample_id, self.given, self.suggested) == (region.sample_id, region.given, region.suggested)
        if not classes or self.shape != region.shape or self.mask is None or region.mask is None:
            return False
        return overlap(self.bbox, self.mask, region.bbox, region.mask) >= SAME_IOU


def _unpack(text: str | None, shape: tuple[int, int]) -> np.ndarray | None:
    if not text:
        return None
    bits = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(bits, count=shape[0] * shape[1]).astype(bool).reshape(shape)


def overlap(
    first_box: tuple[int, int, int, int],
    first: np.ndarray,
    second_box: tuple[int, int, int, int],
    second: np.ndarray,
) -> float:
    """Intersection over union of two regions of one image.

    Args:
        first_box: (top, left, bottom, right), half open
        first: bool mask of that size
        second_box: of the other region
        second: its mask

    Returns:
        IoU in [0, 1]

    Example:
        >>> row = np.ones((1, 2), bool)
        >>> round(overlap((0, 0, 1, 2), row, (0, 1, 1, 3), row), 3)
        0.333
    """
    top, left = max(first_box[0], second_box[0]), max(first_box[1], second_box[1])
    bottom, right = min(first_box[2], second_box[2]), min(first_box[3], second_box[3])
    if top >= bottom or left >= right:
        return 0.0
    a = first[top - first_box[0] : bottom - first_box[0], left - first_box[1] : right - first_box[1]]
    b = second[top - second_box[0] : bottom - second_box[0], left - second_box[1] : right - second_box[1]]
    shared = int((a & b).sum())
    return shared / max(int(first.sum()) + int(second.sum()) - shared, 1)


def add_reviews(dataset: Any, reviews: Iterable[Review], number: int) -> list[str]:
    """Remember decisions; they are on the database's disk when this returns.

    Args:
        dataset: the `fiftyone.Dataset`
        reviews: the decisions
        number: how many there are

    Returns:
        their keys

    Raises:
        LabelQualityError: if the database cannot keep them
    """
    return append_log.append(dataset, STORE, (review.as_dict() for review in reviews), number)


def read_reviews(
    dataset: Any,
    label_field: str | None = None,
    *,
    sample_ids: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    masks: bool = True,
) -> list[Review]:
    """The remembered decisions, oldest first.

    Args:
        dataset: the `fiftyone.Dataset`
        label_field: only those about this field
        sample_ids: only those about these samples
        keys: only these
        masks: whether to read the masks, which are most of it

    Returns:
        the decisions
    """
    query: dict[str, Any] = {}
    if keys is not None:
        query["key"] = {"$in": list(keys)}
    if label_field is not None:
        query["value.label_field"] = require_text("label_field", label_field)
    if sample_ids is not None:
        query["value.sample_id"] = {"$in": list(sample_ids)}
    rows = append_log.read(dataset, STORE, query, without=None if masks else "mask")
    names = names_now(dataset, label_field) if label_field is not None else {}
    return [Review.from_dict(values, key).named(names) for key, values in rows]


def newest_reviews(dataset: Any, label_field: str) -> list[Review]:
    """The decisions that count: the newest one about each region, newest first, without masks.

    Args:
        dataset: the `fiftyone.Dataset`
        label_field: the field

    Returns:
        one review per region; one that was taken back last is `pending`
    """
    by_label: dict[str, Review] = {}
    for review in reversed(read_reviews(dataset, label_field, masks=False)):
        by_label.setdefault(review.label_id, review)
    groups: dict[tuple[str, str, str], list[Review]] = defaultdict(list)
    for review in by_label.values():
        groups[review.sample_id, review.given, review.suggested].append(review)
    older: set[str] = set()
    for sample_ids in _chunks(list(dict.fromkeys(key[0] for key, group in groups.items() if len(group) > 1))):
        wanted = set(sample_ids)
        keys = [review.key for review in by_label.values() if review.sample_id in wanted]
        older |= _older_about_the_same(read_reviews(dataset, label_field, keys=keys))
    return [review for review in by_label.values() if review.key not in older]


def _older_about_the_same(reviews: Sequence[Review]) -> set[str]:
    newest: dict[tuple[str, str, str], list[Review]] = defaultdict(list)
    older = set()
    for review in reversed(reviews):
        known = newest[review.sample_id, review.given, review.suggested]
        if any(review.is_of(other) for other in known):
            older.add(review.key)
        else:
            known.append(review)
    return older


class Memory:
    """The decisions that count, ready to be looked up by the regions of a new run.

    Masks are read for a few samples at a time.

    Args:
        dataset: the `fiftyone.Dataset`
        label_field: the field
    """

    def __init__(self, dataset: Any, label_field: str) -> None:
        self._dataset = dataset
        self._label_field = label_field
        self.reviews = newest_reviews(dataset, label_field)
        self._keys: dict[str, list[str]] = defaultdict(list)
        for review in self.reviews:
            if review.decision != "pending":
                self._keys[review.sample_id].append(review.key)

    def of_samples(self, sample_ids: Iterable[str]) -> dict[str, list[Review]]:
        """The decisions about some samples, masks included, newest first.

        Args:
            sample_ids: the samples

        Returns:
            sample id to reviews; samples without any are left out
        """
        keys = [key for sample_id in sample_ids for key in self._keys.get(sample_id, ())]
        found: dict[str, list[Review]] = defaultdict(list)
        for chunk in _chunks(keys):
            for review in read_reviews(self._dataset, self._label_field, keys=chunk):
                found[review.sample_id].insert(0, review)
        return dict(found)


def _chunks(items: Sequence[str]) -> Iterable[Sequence[str]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
