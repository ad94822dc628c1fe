"""Issue regions as Detections: declared, written in bulk, and changed one by one where they are, in the database.

A list of regions is never read, changed and written back: two people who review at once would lose decisions. Every
change after the first writing is one operation of MongoDB on the regions that it is about. Patches views are copies of
the regions that FiftyOne keeps; they are changed with them, so that what is on a screen stays true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from typing import Any, Final

import numpy as np

from ...errors import LabelQualityError
from ..door.slices import every_slice
from .schema import declare_detections

STATUSES: Final = ("pending", "accepted", "rejected")
"""What a reviewer can say: nothing yet, the label is wrong there, the label is right."""

MOST_PER_IMAGE: Final = 10_000
"""Regions of one image that fit into one document of the database with a wide margin."""

_INDEXED: Final = (
    ("score",),
    ("status", "score"),
    ("label", "status", "score"),
    ("given", "suggested", "status", "score"),
)
"""Attributes of patches that views ask for together."""

_CHUNK = 2_000

_ATTRIBUTES: Final = {
    "kind": ("StringField", "missing, spurious, wrong_class or boundary, also where a view shows another label"),
    "given": ("StringField", "Class that the label says"),
    "suggested": ("StringField", "Class that the prediction says"),
    "score": ("FloatField", "How surely the label is wrong here, 0 to 1"),
    "first_score": ("FloatField", "The score before any review, 0 to 1"),
    "area": ("IntField", "Pixels of the region"),
    "status": ("StringField", "pending, accepted (the label is wrong) or rejected (the label is right)"),
    "reviewed_at": ("DateTimeField", "When it was accepted or rejected"),
    "reviewer": ("StringField", "Who accepted or rejected it"),
    "unseen": ("BooleanField", "Accepted in bulk, without a look at it"),
    "row": ("IntField", "Number of the region in the run's file of its image"),
}


@dataclass(frozen=True)
class StoredRegion:
    """A region as it is in the database.

    Attributes:
        sample_id: FiftyOne's id of the sample
        label_id: FiftyOne's id of the Detection
        kind: missing, spurious, wrong_class or boundary
        given: class that the label says
        suggested: class that the prediction says
        box: [x, y, width, height], relative
        mask_path: PNG of its mask
        row: number in the run's file of its image, None if it is not the run's
    """

    sample_id: str
    label_id: str
    kind: str
    given: str
    suggested: str
    box: tuple[float, float, float, float]
    mask_path: str | None
    row: int | None


def utc_now() -> datetime:
    """The time as FiftyOne keeps it: UTC without a zone, to the millisecond."""
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def declare_regions(dataset: Any, name: str) -> None:
    """Declare the field of the regions and their attributes, so that the App filters by them.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
    """
    declare_detections(dataset, name, "Where the label is probably wrong, by kind, worst first", _ATTRIBUTES)
    label = dataset.get_field(f"{name}.detections.label")
    label.description = "Kind: missing, spurious, wrong_class or boundary"
    label.save()


def region_document(
    region: Any,
    *,
    row: int,
    names: Sequence[str],
    shape: tuple[int, int],
    mask_path: str,
    status: str = "pending",
    reviewed_at: datetime | None = None,
    reviewer: str | None = None,
    first_score: float | None = None,
    unseen: bool = False,
) -> dict[str, Any]:
    """A region as FiftyOne keeps a Detection in MongoDB.

    Building `fiftyone.Detection` objects takes ten times as long as writing what they would become.

    Args:
        region: a `quality.IssueRegion`
        row: its number in the run's file of its image
        names: class names by class index
        shape: (H, W) of the mask that it was found in
        mask_path: PNG of its own mask
        status: one of `STATUSES`
        reviewed_at: when it got the status
        reviewer: from whom
        first_score: its score before any review; None if that is the score it has
        unseen: whether it was accepted in bulk

    Returns:
        the document
    """
    from bson import ObjectId

    top, left, bottom, right = region.bbox
    height, width = shape
    scores = {"score": float(region.score), **({} if first_score is None else {"first_score": float(first_score)})}
    return {
        "_id": ObjectId(),
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": region.kind,
        "kind": region.kind,
        "bounding_box": [left / width, top / height, (right - left) / width, (bottom - top) / height],
        "mask_path": mask_path,
        "given": names[region.given],
        "suggested": names[region.suggested],
        **scores,
        "area": int(region.area),
        "status": status,
        "reviewed_at": reviewed_at,
        "reviewer": reviewer,
        "unseen": unseen,
        "row": row,
    }


def write_regions(dataset: Any, name: str, documents: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    """Write the regions of some samples, replacing those that they had.

    Args:
        dataset: the `fiftyone.Dataset`, in which `declare_regions` has declared the field
        name: the field
        documents: sample id to documents of `region_document`
    """
    from bson import ObjectId
    from pymongo import UpdateOne

    now = utc_now()
    operations = [
        UpdateOne(
            {"_id": ObjectId(sample_id)},
            {"$set": {name: {"_cls": "Detections", "detections": list(rows)}, "last_modified_at": now}},
        )
        for sample_id, rows in documents.items()
    ]
    if operations:
        dataset._bulk_write(operations, ids=list(documents))


def count_regions(dataset: Any, name: str, attribute: str = "label") -> dict[str, int]:
    """How many regions there are, by kind or by another attribute.

    Args:
        dataset: the dataset or a view
        name: the field
        attribute: of the regions

    Returns:
        value to number
    """
    return dict(every_slice(dataset).count_values(f"{name}.detections.{attribute}"))


def region_ids(samples: Any, name: str) -> list[str]:
    """Ids of the regions of a dataset, a view (after its filters), or a view of their patches.

    Args:
        samples: the collection
        name: the field

    Returns:
        label ids

    Raises:
        LabelQualityError: if it is a view of other patches
    """
    import fiftyone as fo

    field = samples.get_field(name)
    kind = getattr(field, "document_type", None)
    if kind is fo.Detection:
        return [label_id for label_id in samples.values(f"{name}.id") if label_id]
    if kind is fo.Detections:
        return every_slice(samples).values(f"{name}.detections.id", unwind=True)
    raise LabelQualityError(
        f"Expected samples or patches with the regions `{name}`, but got {type(samples).__name__} without them; pass "
        "the dataset, a view of it, or what `show_regions` returned"
    )


def find_regions(dataset: Any, name: str, label_ids: Iterable[str]) -> list[StoredRegion]:
    """Read regions by their ids.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        label_ids: ids of Detections; others are passed over

    Returns:
        those that exist, as they are now
    """
    found: list[StoredRegion] = []
    for ids in _chunks(_object_ids(label_ids)):
        path = f"{name}.detections"
        pipeline = [
            {"$match": {f"{path}._id": {"$in": ids}}},
            {"$project": {path: 1}},
            {"$unwind": f"${path}"},
            {"$match": {f"{path}._id": {"$in": ids}}},
        ]
        found.extend(_stored(row["_id"], row[name]["detections"]) for row in _collection(dataset).aggregate(pipeline))
    return found


def _stored(sample_id: Any, content: Mapping[str, Any]) -> StoredRegion:
    x, y, width, height = content.get("bounding_box") or (0.0, 0.0, 1.0, 1.0)
    return StoredRegion(
        sample_id=str(sample_id),
        label_id=str(content["_id"]),
        kind=str(content.get("label")),
        given=str(content.get("given")),
        suggested=str(content.get("suggested")),
        box=(x, y, width, height),
        mask_path=content.get("mask_path"),
        row=content.get("row"),
    )


def set_status(
    dataset: Any,
    name: str,
    regions: Sequence[StoredRegion],
    status: str,
    at: datetime,
    reviewer: str | None,
    order: int = 0,
    *,
    unseen: bool = False,
) -> None:
    """Set the status of regions, each by itself; a decision that was kept after this one stays.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        regions: whose status it is
        status: one of `STATUSES`
        at: when it was decided
        reviewer: who decided
        order: number of the decision among all that were kept
        unseen: whether it was decided in bulk
    """
    from bson import ObjectId
    from pymongo import UpdateMany

    values = {"status": status, "reviewed_at": at, "reviewer": reviewer, "unseen": unseen, "order": order}
    if status == "pending":
        values |= {"reviewed_at": None, "reviewer": None}
    for chunk in _chunks(regions):
        label_ids = [ObjectId(region.label_id) for region in chunk]
        sample_ids = list(dict.fromkeys(region.sample_id for region in chunk))
        not_newer = {"$or": [{"region.order": None}, {"region.order": {"$lte": order}}]}
        changes = {f"{name}.detections.$[region].{key}": value for key, value in values.items()}
        sample_keys = [ObjectId(sample_id) for sample_id in sample_ids]
        operation = UpdateMany(
            {"_id": {"$in": sample_keys}},
            {"$set": {**changes, "last_modified_at": utc_now()}},
            array_filters=[{"$and": [{"region._id": {"$in": label_ids}}, not_newer]}],
        )
        dataset._bulk_write([operation], ids=sample_ids)
        for patches in _patches_collections(dataset, name):
            older = {"$or": [{f"{name}.order": None}, {f"{name}.order": {"$lte": order}}]}
            patches.update_many(
                {"_id": {"$in": label_ids}, "_sample_id": {"$in": sample_keys}, **older},
                {"$set": {f"{name}.{key}": value for key, value in values.items()}},
            )


def set_scores(dataset: Any, name: str, scores: Mapping[str, Sequence[float]]) -> None:
    """Give pending regions other scores, in place, and put the worst first again.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        scores: sample id to scores by row of the run's file
    """
    from bson import ObjectId
    from pymongo import UpdateMany, UpdateOne

    path = f"{name}.detections"
    ids = [ObjectId(sample_id) for sample_id in scores]
    if not ids:
        return
    operations: list[Any] = [
        UpdateOne(
            {"_id": ObjectId(sample_id), path: {"$type": "array"}},
            [{"$set": {path: _with_scores(path, [float(score) for score in values])}}],
        )
        for sample_id, values in scores.items()
    ]
    operations.append(
        UpdateMany(
            {"_id": {"$in": ids}, path: {"$type": "array"}},
            {"$push": {path: {"$each": [], "$sort": {"score": -1}}}, "$set": {"last_modified_at": utc_now()}},
        )
    )
    dataset._bulk_write(operations, ids=list(scores), ordered=True)
    for patches in _patches_collections(dataset, name):
        _copy_scores(dataset, name, ids, patches.name)


def _with_scores(path: str, scores: list[float]) -> dict[str, Any]:
    """An expression: the list with the scores of pending regions replaced by those of their rows."""
    pending = {"$eq": ["$$region.status", "pending"]}
    in_file = [{"$gte": ["$$region.row", 0]}, {"$lt": ["$$region.row", len(scores)]}]
    score = {"$arrayElemAt": [scores, {"$toInt": "$$region.row"}]}
    changed = {"$mergeObjects": ["$$region", {"score": score}]}
    return {
        "$map": {
            "input": f"${path}",
            "as": "region",
            "in": {"$cond": [{"$and": [pending, *in_file]}, changed, "$$region"]},
        }
    }


def _copy_scores(dataset: Any, name: str, ids: list[Any], patches: str) -> None:
    path = f"{name}.detections"
    score = {"$cond": [{"$eq": ["$_sample_id", "$$new.sample"]}, "$$new.score", f"${name}.score"]}
    pipeline = [
        {"$match": {"_id": {"$in": ids}}},
        {"$project": {path: 1}},
        {"$unwind": f"${path}"},
        {"$project": {"_id": f"${path}._id", "sample": "$_id", "score": f"${path}.score"}},
        {
            "$merge": {
                "into": patches,
                "whenMatched": [{"$set": {f"{name}.score": score}}],
                "whenNotMatched": "discard",
            }
        },
    ]
    _collection(dataset).aggregate(pipeline)


def rename_class(dataset: Any, name: str, old: str, new: str) -> None:
    """Call a class by another name in all regions.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        old: name of the class
        new: what it is called now
    """
    from pymongo import UpdateMany

    path, attributes = f"{name}.detections", ("given", "suggested")
    with_it = {"$or": [{f"{path}.{attribute}": old} for attribute in attributes]}
    ids = [row["_id"] for row in _collection(dataset).find(with_it, {"_id": 1})]
    if not ids:
        return
    for patches in _patches_collections(dataset, name):  # first, since the samples tell which they are
        for attribute in attributes:
            key = f"{name}.{attribute}"
            patches.update_many({key: old, "_sample_id": {"$in": ids}}, {"$set": {key: new}})
    operations = [
        UpdateMany(
            {"_id": {"$in": ids}},
            {"$set": {f"{path}.$[region].{attribute}": new, "last_modified_at": utc_now()}},
            array_filters=[{f"region.{attribute}": old}],
        )
        for attribute in attributes
    ]
    dataset._bulk_write(operations, ids=[str(one) for one in ids])


def patches_view(samples: Any, name: str, saved_view: str) -> Any:
    """The regions as patches, worst first.

    For the whole dataset this is the view that the run saved, so that a hundred thousand patches are copied once and
    not each time.

    Args:
        samples: the dataset, a view of it, or a view of the patches
        name: the field
        saved_view: name of the run's saved view of all regions

    Returns:
        a `fiftyone.core.patches.PatchesView`

    Raises:
        LabelQualityError: if it is a view of other patches
    """
    import fiftyone as fo

    kind = getattr(samples.get_field(name), "document_type", None)
    if kind is fo.Detection:
        return samples.sort_by(f"{name}.score", reverse=True)
    if kind is not fo.Detections:
        region_ids(samples, name)  # says what is wrong
    dataset = samples._root_dataset
    whole = isinstance(samples, fo.Dataset) or not samples._stages
    if whole and _has_own_view(dataset, saved_view):
        view = dataset.load_saved_view(saved_view)
        if not _has_as_many(view._dataset, _num_regions(dataset, name)):
            with _ids_in_words(name):
                view.reload()  # regions were added or deleted since
        _index_patches(view._dataset, name)
        return view._base_view.sort_by(f"{name}.score", reverse=True)  # called by their kind, not by a caption
    return patches_of(samples, name).sort_by(f"{name}.score", reverse=True)


def patches_of(samples: Any, name: str) -> Any:
    """Objects of all slices as patches.

    Args:
        samples: the dataset or a view of it
        name: field of objects

    Returns:
        a `fiftyone.core.patches.PatchesView`

    Raises:
        LabelQualityError: if two objects have one id, as in samples that were copied with their labels
    """
    with _ids_in_words(name):
        return every_slice(samples).to_patches(name)


@contextmanager
def _ids_in_words(name: str) -> Iterator[None]:
    """Say in words that patches, whose ids are those of objects, cannot be made."""
    from pymongo.errors import DuplicateKeyError

    try:
        yield
    except DuplicateKeyError as error:
        raise LabelQualityError(
            f"Expected objects of {name!r} with ids of their own, but two have the same one, as samples have that were "
            "copied with their labels; regions of a run get new ids when it is made again with `overwrite=True`, give "
            "other objects new ids or delete the copies"
        ) from error


def _has_own_view(dataset: Any, name: str) -> bool:
    """Whether there is a saved view of patches, and not that of the dataset that this one is a clone of."""
    if not dataset.has_saved_view(name):
        return False
    stages = dataset._get_saved_view_doc(name).view_stages
    return any(str(dataset._doc.id) in stage for stage in stages)


def make_patches(dataset: Any, name: str) -> Any:
    """Copy all regions as patches, for a saved view, worst first."""
    patches = patches_of(dataset, name)
    _index_patches(patches._dataset, name)
    return patches.sort_by(f"{name}.score", reverse=True)


def _index_patches(patches: Any, name: str) -> None:
    """Indexes by which what is asked for is found worst first and counted; those that are there cost nothing."""
    from pymongo import IndexModel

    indexes = [[(f"{name}.{part}", -1 if part == "score" else 1) for part in parts] for parts in _INDEXED]
    patches._sample_collection.create_indexes([IndexModel(index) for index in indexes])


def _num_regions(dataset: Any, name: str) -> int:
    path = f"${name}.detections"
    size = {"$cond": [{"$isArray": path}, {"$size": path}, 0]}
    rows = _collection(dataset).aggregate([{"$group": {"_id": None, "number": {"$sum": size}}}])
    return sum(int(row["number"]) for row in rows)


def _has_as_many(patches: Any, number: int) -> bool:
    """Whether there are so many patches; MongoDB's own count may be wrong after a crash."""
    collection = patches._sample_collection
    return number in (collection.estimated_document_count(), collection.count_documents({}))


def matched(view: Any, name: str, least: float = 0.0, **wanted: Any) -> Any:
    """A view of patches with only some regions, found by an index.

    Args:
        view: of patches
        name: the field
        least: lowest score
        wanted: attribute to the value or the list of values that it may have; None for all

    Returns:
        the view
    """
    asked = {
        f"{name}.{attribute}": {"$in": list(value)} if isinstance(value, list | tuple) else value
        for attribute, value in wanted.items()
        if value is not None
    }
    if least > 0:
        asked[f"{name}.score"] = {"$gte": least}
    return view.match(asked) if asked else view


def num_shown(view: Any) -> int:
    """How many samples or patches a view has; their order and what they are called are not made for that.

    Args:
        view: a `fiftyone.DatasetView`

    Returns:
        the number
    """
    from fiftyone import SetField, SortBy

    bare, stages = view._base_view, [stage for stage in view._stages if not isinstance(stage, SortBy)]
    while stages and isinstance(stages[-1], SetField):
        stages.pop()
    for stage in stages:
        bare = bare.add_stage(stage)
    return len(bare)


def captioned(view: Any, name: str) -> Any:
    """A view in which regions are called by what is to be decided, "sofa → background", and not by their kind.

    Only what is shown changes; the kind stays in `kind`.

    Args:
        view: of samples, or of patches
        name: the field

    Returns:
        the view
    """
    from fiftyone import ViewField

    path = f"{name}.label" if view._is_generated else f"{name}.detections.label"
    return view.set_field(path, ViewField("given").concat(" → ", ViewField("suggested")))


def only_likely(view: Any, name: str, least: float) -> Any:
    """A view of samples that shows only regions that are surely enough wrong and that nobody has rejected.

    Args:
        view: of samples
        name: the field
        least: lowest score

    Returns:
        the view; samples without such a region stay in it
    """
    from fiftyone import ViewField

    kept = (ViewField("score") >= least) & (ViewField("status") != "rejected")
    return view.filter_labels(name, kept, only_matches=False)


def draw_mask(mask: np.ndarray) -> np.ndarray:
    """The PNG of a region's mask.

    Args:
        mask: (h, w) bool

    Returns:
        (h, w) uint8, 255 within the region

    Example:
        >>> draw_mask(np.array([[True, False]])).tolist()
        [[255, 0]]
    """
    return mask.astype(np.uint8) * 255


def _collection(dataset: Any) -> Any:
    return dataset._sample_collection


def _patches_collections(dataset: Any, name: str) -> list[Any]:
    """Collections of patches views that hold regions of this field, of this dataset or another one.

    A patch has the ids of its region and its sample, by which foreign ones are told. Only a clone has the same ids:
    patches of it that are on a screen just then show a foreign status until they are loaded again.
    """
    from fiftyone.core.odm import get_db_conn

    connection = get_db_conn()
    query = {"sample_collection_name": {"$regex": "^patches\\."}, "sample_fields.name": name}
    listed = connection.datasets.find(query, {"sample_collection_name": 1})
    return [connection[row["sample_collection_name"]] for row in listed]


def _object_ids(label_ids: Iterable[str]) -> list[Any]:
    from bson import ObjectId

    return [ObjectId(label_id) for label_id in dict.fromkeys(label_ids) if ObjectId.is_valid(label_id)]


def _chunks(items: Iterable[Any]) -> Iterable[list[Any]]:
    rows = iter(items)
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk
