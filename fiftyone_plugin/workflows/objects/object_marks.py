"""What a scoring run found about masks of objects, brought back to the objects: a score, an issue and a tag each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...dataset.door.masks import read_mask, resize_nearest
from ...dataset.door.objects import ObjectPixels, object_classes, object_list, object_pixels, objects_in
from ...dataset.door.slices import every_slice
from ...dataset.fields import appearance
from ...dataset.fields.object_findings import ObjectAttributes, ObjectFinding, declare_findings, write_findings
from ...dataset.fields.regions import patches_of
from ...dataset.fields.schema import ScoreFields
from ...dataset.runs import run_records
from ...errors import LabelQualityError
from ...models.segmenters.class_names import plain_name
from ...progress import Progress, silent
from ...wording import count

_HALF = 0.5
"""From which share of its visible pixels on an object is wrong as a whole, and from which score on it is tagged."""

_NEAR = 2
"""Pixels between an object and a region that touches it, which the border of either may leave."""

_IMAGES_AT_ONCE = 100


@dataclass(frozen=True)
class ObjectMarksReport:
    """What was written on objects.

    Attributes:
        label_field: the objects
        key: of the scoring run
        num_objects: objects that were looked at
        num_tagged: of those, objects that are more likely wrong than right
        by_issue: issue to number of tagged objects
        num_unseen: objects that other objects cover, or that have no pixel: they have no score
        num_missing: places where the predictions see an object that nobody has labelled
        view: saved view of the objects, worst first
        notes: what is to be known of the masks: what is hidden, what has no mask, images that were left out
    """

    label_field: str
    key: str
    num_objects: int
    num_tagged: int
    by_issue: dict[str, int]
    num_unseen: int
    num_missing: int
    view: str
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report as lines of markdown."""
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in self.by_issue.items())
        lines = [
            f"- **more likely wrong than right: {self.num_tagged:,} of {count(self.num_objects, 'object')} of "
            f"`{self.label_field}`**{f' ({kinds})' if kinds else ''}; they have the tag `{self.key}_issue`, and "
            f"`{self.key}` is a score of each; view `{self.view}`, worst first"
        ]
        if self.num_missing:
            lines.append(
                f"- {count(self.num_missing, 'place')} where an object seems to have no label: "
                f"`{self.key}_regions` of kind missing"
            )
        if self.num_unseen:
            lines.append(
                f"- {count(self.num_unseen, 'object', 'have')} no score: covered by others, or without a pixel"
            )
        return [*lines, *(f"- {note}" for note in self.notes)]


def object_field_of(dataset: Any, label_field: str) -> str | None:
    """The objects that a field of masks was made of by `objects_to_masks`; None if it was not."""
    record = run_records.find_run(dataset, label_field)
    made = record is not None and record.method == run_records.OBJECT_MASKS
    return str(record.parameters["objects"]) if record is not None and made else None


def mark_objects(samples: Any, key: str = "label_quality", *, progress: Progress = silent) -> ObjectMarksReport:
    """Say of each object what a scoring run of its masks found; called by the run itself, and again after reviews.

    An object's score is the mean self-confidence of its visible pixels (1 in a run without `write_map`), at most one
    minus the score of its issue times the share of the object that is concerned. Issues come from the regions of the
    run: one that covers half of what is seen of an object concerns it as a whole (`spurious`, `wrong_class`), others
    say that it is drawn too large, or too small where they touch it and should be of its class (`boundary`). Rejected
    regions say nothing, accepted ones are certain.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: of a scoring run whose label field `objects_to_masks` made
        progress: told how many images are done

    Returns:
        what was written

    Raises:
        LabelQualityError: if there is no such run, or the attributes are somebody else's
    """
    dataset = samples._root_dataset
    record = run_records.find_run(dataset, key)
    objects = None if record is None else object_field_of(dataset, record.label_field)
    if record is None or record.method != run_records.SCORING or objects is None:
        raise LabelQualityError(
            f"Expected the key of a scoring run of objects, but got {key!r}; run `score_label_quality` with a field of "
            "Detections or Polylines"
        )
    attributes = attributes_of(dataset, key, objects)
    view = f"{key} objects"
    fields = list(dict.fromkeys([*record.fields, *attributes.paths]))
    views = list(dict.fromkeys([*record.views, view]))
    run_records.register_run(dataset, replace(record, fields=fields, views=views))  # owned before it is written
    declare_findings(dataset, attributes)
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    chunk: dict[str, dict[str, ObjectFinding]] = {}
    total = every_slice(dataset).count(key)
    for done, (sample_id, found, missing) in enumerate(_findings(dataset, record, objects), start=1):
        chunk[sample_id] = found
        _count(found, counts, kinds)
        counts["missing"] += missing
        if len(chunk) >= _IMAGES_AT_ONCE:
            write_findings(dataset, attributes, chunk)
            chunk = {}
        progress(done, total, "marking objects")
    write_findings(dataset, attributes, chunk)
    _save_view(dataset, objects, attributes, view)
    masks = run_records.find_run(dataset, record.label_field)
    notes = list(masks.summary.get("notes", [])) if masks is not None else []
    report = ObjectMarksReport(
        objects, key, counts["objects"], counts["tagged"], dict(kinds), counts["unseen"], counts["missing"], view, notes
    )
    summary = {**record.summary, "objects": report.lines()}
    run_records.register_run(dataset, replace(record, fields=fields, views=views, summary=summary))
    return report


def attributes_of(dataset: Any, key: str, objects: str) -> ObjectAttributes:
    """What a run will write on objects.

    Args:
        dataset: the `fiftyone.Dataset`
        key: of the run
        objects: their field

    Returns:
        the names

    Raises:
        LabelQualityError: if the objects have such attributes, and no run under this key wrote them
    """
    path = object_list(dataset, objects)
    if path is None:
        raise LabelQualityError(f"Expected a field of objects, but {objects!r} is none any more")
    attributes = ObjectAttributes(key, path)
    before = run_records.find_run(dataset, key, unfinished=True)
    own = set(before.fields) if before else set()
    taken = [one for one in attributes.paths if dataset.has_field(one) and one not in own]
    if taken:
        raise LabelQualityError(
            f"Expected the attributes {taken} to be free, but objects have them and no run {key!r} wrote them; choose "
            "another `key`"
        )
    return attributes


def _count(found: dict[str, ObjectFinding], counts: Counter[str], kinds: Counter[str]) -> None:
    counts["objects"] += len(found)
    counts["unseen"] += sum(one.score is None for one in found.values())
    tagged = [one for one in found.values() if one.tagged]
    counts["tagged"] += len(tagged)
    kinds.update(str(one.issue) for one in tagged)


def _save_view(dataset: Any, objects: str, attributes: ObjectAttributes, view: str) -> None:
    from fiftyone import ViewField

    score = f"{objects}.{attributes.key}"
    try:
        single = "." not in attributes.path  # FiftyOne has no patches of single ones
        shown = every_slice(dataset) if single else patches_of(dataset, objects)
        shown = shown.match(ViewField(score) != None).sort_by(score)  # noqa: E711
    except LabelQualityError:  # objects that share an id are shown by image
        shown = every_slice(dataset).match_labels(fields=objects, tags=attributes.tag)
    appearance.save_view(dataset, view, shown, "Objects whose label is probably wrong, worst first")


# --- one image ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Region:
    """A region of the run in its image."""

    kind: str
    given: str
    suggested: str
    score: float
    window: tuple[slice, slice]
    mask: np.ndarray
    near_window: tuple[slice, slice]
    near: np.ndarray

    @property
    def area(self) -> int:
        """Its pixels."""
        return int(self.mask.sum())


def _findings(
    dataset: Any, record: run_records.RunRecord, objects: str
) -> Iterator[tuple[str, dict[str, ObjectFinding], int]]:
    """Sample id, findings by object, and places of missing objects."""
    names = ScoreFields(record.key)
    value_of = {plain_name(name): value for value, name in object_classes(dataset, objects).items()}
    wanted = [name for name in (objects, record.label_field, names.map, names.regions) if dataset.has_field(name)]
    scored = every_slice(dataset).exists(record.key).select_fields(wanted)
    for sample in scored.iter_samples():
        label = read_mask(sample[record.label_field])
        suspicion = _suspicion(sample, names.map, label.shape)
        regions = list(_regions(sample[names.regions] if names.regions in wanted else None, label.shape))
        shape = (int(label.shape[0]), int(label.shape[1]))
        drawn = [object_pixels(one, shape) for one in objects_in(sample[objects])]
        found, used = {}, set[int]()
        for one in drawn:
            value = value_of.get(plain_name(one.name)) if one.name else None
            visible = one.mask & (label == value) if value is not None else np.zeros(shape, bool)
            found[one.label_id] = _judge(one, visible, suspicion, regions, used)
        open_ones = (place for place in range(len(regions)) if place not in used)
        missing = sum(regions[place].kind == "missing" and regions[place].score >= _HALF for place in open_ones)
        yield sample.id, found, missing


def _suspicion(sample: Any, name: str, shape: Sequence[int]) -> np.ndarray | None:
    heatmap = sample[name] if sample.has_field(name) else None
    if heatmap is None or heatmap.get_map() is None:
        return None
    return resize_nearest(np.asarray(heatmap.get_map(), np.float32) / 255, (int(shape[0]), int(shape[1])))


def _regions(label: Any, shape: Sequence[int]) -> Iterator[_Region]:
    from scipy.ndimage import binary_dilation

    for one in objects_in(label):
        if one["status"] == "rejected":
            continue
        mask = np.asarray(one.get_mask()) > 0
        top, left = round(one.bounding_box[1] * shape[0]), round(one.bounding_box[0] * shape[1])
        window = (slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1]))
        near = binary_dilation(np.pad(mask, _NEAR), iterations=_NEAR)
        above, beside = max(_NEAR - top, 0), max(_NEAR - left, 0)
        around = (
            slice(max(top - _NEAR, 0), top + mask.shape[0] + _NEAR),
            slice(max(left - _NEAR, 0), left + mask.shape[1] + _NEAR),
        )
        near = near[above : above + shape[0] - around[0].start, beside : beside + shape[1] - around[1].start]
        score = 1.0 if one["status"] == "accepted" else float(one["score"])
        yield _Region(one.label, one["given"], one["suggested"], score, window, mask, around, near)


def _judge(
    one: ObjectPixels, visible: np.ndarray, suspicion: np.ndarray | None, regions: Sequence[_Region], used: set[int]
) -> ObjectFinding:
    """What regions and self-confidence say of an object; the places of regions that are about it go into `used`."""
    area = int(visible.sum())
    if not area or one.name is None:
        return ObjectFinding()
    score = 1.0 if suspicion is None else float(1 - suspicion[visible].mean())
    best = ObjectFinding(score)
    most = 0.0
    for place, region in enumerate(regions):
        issue, share = concern(plain_name(one.name), visible, area, region)
        if issue is None:
            continue
        used.add(place)
        if region.score * share > most:
            most = region.score * share
            lowered = min(score, 1 - most)
            best = ObjectFinding(lowered, issue, region.suggested, region.score, region.score >= _HALF)
    return best


def concern(name: str, visible: np.ndarray, area: int, region: _Region) -> tuple[str | None, float]:
    """How a region concerns an object.

    Args:
        name: class of the object, as `plain_name` writes it
        visible: (H, W) bool, what is seen of it
        area: pixels of that
        region: of the run

    Returns:
        the issue and the share of the object that it is about; None and 0 if it is not about the object
    """
    if plain_name(region.given) == name:
        share = int((visible[region.window] & region.mask).sum()) / area
        if not share or (region.kind == "missing" and share < _HALF):  # something else lies on the object
            return None, 0.0
        whole = "spurious" if region.kind == "spurious" else "wrong_class"
        return (whole if share >= _HALF and region.kind != "boundary" else "boundary"), share
    wanted = plain_name(region.suggested) == name and region.area <= area
    if wanted and (visible[region.near_window] & region.near).any():
        return "boundary", region.area / (area + region.area)
    return None, 0.0
