"""Objects as one mask per image, so that their labels are scored like any others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...dataset.door.account import class_rows, class_table
from ...dataset.door.classes import list_classes
from ...dataset.door.objects import (
    BACKGROUND,
    ObjectPixels,
    object_classes,
    object_fields,
    object_list,
    object_pixels,
    objects_in,
)
from ...dataset.door.slices import every_slice, images_of
from ...dataset.fields import appearance, schema
from ...dataset.runs import files, run_records
from ...dataset.runs.run_writing import RunWriting, write_run
from ...errors import LabelQualityError
from ...models.files.images import image_size
from ...models.files.opening import require_pixels
from ...models.segmenters.class_names import plain_name
from ...progress import Progress, terminal_bar
from ...wording import count, of_file, percent

_IMAGES_AT_ONCE = 200


@dataclass(frozen=True)
class ObjectMasksReport:
    """What became of the objects.

    Attributes:
        label_field: the objects
        into: the field of masks
        classes: mask value to class
        num_images: images with a mask
        num_objects: objects that were painted
        num_boxes: of those, boxes without a mask
        overlapping: share of the painted pixels that objects of several classes cover; the smallest is on top
        without_pixels: objects that cover no pixel
        without_class: objects without a class, whose pixels count for nothing
        skipped: (sample id, file, reason) of images that could not be read
    """

    label_field: str
    into: str
    classes: dict[int, str]
    num_images: int
    num_objects: int
    num_boxes: int
    overlapping: float
    without_pixels: int = 0
    without_class: int = 0
    skipped: list[tuple[str, str, str]] = field(default_factory=list)

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [
            f"**{count(self.num_objects, 'object')} of `{self.label_field}` in the masks of "
            f"{count(self.num_images, 'image')}**, in `{self.into}`",
            *(f"- {note}" for note in self.notes()),
            *class_table(class_rows(list_classes(dict(self.classes.items()), {}))),
        ]
        return "\n".join(lines)

    def notes(self) -> list[str]:
        """What a person should know, one sentence each."""
        notes = []
        if self.overlapping > 0:
            notes.append(
                f"{percent(self.overlapping)} % of the pixels of objects are under an object of another class: the "
                "smaller object is on top, and an object is judged by what is seen of it"
            )
        if self.num_boxes:
            notes.append(
                f"boxes without a mask: {self.num_boxes:,}; the ellipse in the box stands for the object, and the "
                "corners count for nothing; masks, for instance of SAM, tell more"
            )
        if self.without_pixels:
            notes.append(f"{count(self.without_pixels, 'object')} without a pixel: not judged")
        if self.without_class:
            notes.append(f"{count(self.without_class, 'object', 'have')} no class; their pixels count for nothing")
        if self.skipped:
            _, filepath, reason = self.skipped[0]
            notes.append(
                f"{count(len(self.skipped), 'image', 'were')} left out, for instance {of_file(filepath, reason)}"
            )
        return notes


def mask_field_of(label_field: str) -> str:
    """Name of the field of masks that objects become."""
    return f"{label_field}_masks"


def objects_to_masks(
    samples: Any,
    label_field: str,
    *,
    output_dir: str | None = None,
    progress: Progress | None = None,
) -> ObjectMasksReport:
    """Paint the objects of each image into a mask, large ones first, so that smaller ones stay visible.

    The masks are in the field `{label_field}_masks`; `score_label_quality`, `find_label_errors`,
    `train_cross_validated` and all other jobs take it. A later call paints them anew. The objects are not changed.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: its Detections (with masks or boxes), Polylines, Detection or Polyline field
        output_dir: folder of the masks; beside FiftyOne's dataset files if None
        progress: told how far the job is; a bar in the terminal if None

    Returns:
        what became of the objects

    Raises:
        LabelQualityError: if there is no such field, or no object in it

    Example:
        >>> objects_to_masks(dataset, "instances").into                                     # doctest: +SKIP
        'instances_masks'
    """
    if progress is None:
        with terminal_bar("painting objects") as bar:
            return objects_to_masks(samples, label_field, output_dir=output_dir, progress=bar)
    samples = images_of(samples)
    dataset, into = samples._dataset, mask_field_of(label_field)
    if object_list(samples, label_field) is None:
        raise LabelQualityError(
            f"Expected `label_field` to be one of the fields of objects {object_fields(samples)}, but got "
            f"{label_field!r}"
        )
    classes = object_classes(samples, label_field)
    if not set(classes) - {BACKGROUND}:
        raise LabelQualityError(f"Expected objects with a class in `{label_field}`, but there are none")
    run_records.require_free_key(dataset, into, [into], overwrite=True, method=run_records.OBJECT_MASKS)
    base = Path(output_dir).expanduser() if output_dir else files.default_output_dir(dataset, into)
    files.require_writable(base.parent if not base.exists() else base, 1_000_000)
    parameters = {"objects": label_field}
    planned = run_records.RunRecord(into, run_records.OBJECT_MASKS, label_field, parameters, [into])
    with write_run(dataset, planned, base, parameters, overwrite=True, resume=False) as run:
        return _write(samples, label_field, into, classes, run, run.watched(progress))


def masks_of(samples: Any, label_field: str, progress: Progress | None = None) -> str:
    """The field of masks to work on: objects are painted, anything else is taken as it is.

    Args:
        samples: a `fiftyone` dataset or view
        label_field: that was asked for
        progress: told how far the job is

    Returns:
        the name of a field
    """
    if object_list(samples, label_field) is None:
        return label_field
    return objects_to_masks(samples, label_field, progress=progress).into


def _write(
    samples: Any, label_field: str, into: str, classes: dict[int, str], run: RunWriting, progress: Progress
) -> ObjectMasksReport:
    void = 255 if max(classes) < 255 else 65_535
    painter = _Painter({plain_name(name): value for value, name in classes.items() if value}, void)
    paths: dict[str, str] = {}
    skipped: list[tuple[str, str, str]] = []
    rows = _rows(samples, label_field, into)
    for done, (sample_id, filepath, label) in enumerate(rows, start=1):
        try:
            size = image_size(filepath)
            require_pixels(filepath, size)
            mask = painter.paint(objects_in(label), size)
        except (OSError, SyntaxError, ValueError) as error:
            skipped.append((sample_id, filepath, str(error)))
        else:
            path = run.path / "masks" / f"{sample_id}.png"
            files.write_png(path, mask)
            paths[sample_id] = str(path)
        progress(done, max(done, samples.count("id")), "painting objects")
    if not paths:
        raise LabelQualityError(
            f"No mask could be made of `{label_field}`: {skipped[0][2] if skipped else 'no images'}"
        )
    run.replace_results([])
    targets: dict[int, str] = {**classes, void: "void"} if painter.counts["void"] else classes
    schema.write_segmentations(run.dataset, into, paths, f"Objects of `{label_field}`, small ones on top", targets)
    appearance.color_classes(run.dataset, [into], classes)
    counts = painter.counts
    report = ObjectMasksReport(
        label_field=label_field, into=into, classes=classes, num_images=len(paths), num_objects=counts["objects"],
        num_boxes=counts["boxes"], overlapping=counts["overlapping"] / max(counts["painted"], 1),
        without_pixels=counts["empty"], without_class=counts["unnamed"], skipped=skipped,
    )  # fmt: skip
    run.finish(
        run_records.RunRecord(
            into, run_records.OBJECT_MASKS, label_field, {"objects": label_field}, [into], output_dir=str(run.path),
            summary={"notes": report.notes(), "num_objects": report.num_objects},
        )
    )  # fmt: skip
    return report


def _rows(samples: Any, label_field: str, into: str) -> Iterator[tuple[str, str, Any]]:
    """The samples, and others that have a mask already, so that it is not lost."""
    dataset = samples._dataset
    ids = dict.fromkeys(samples.values("id"))
    if dataset.has_field(into):
        ids |= dict.fromkeys(every_slice(dataset).exists(into).values("id"))
    wanted = list(ids)
    for start in range(0, len(wanted), _IMAGES_AT_ONCE):
        chosen = every_slice(dataset).select(wanted[start : start + _IMAGES_AT_ONCE]).select_fields(label_field)
        for sample in chosen.iter_samples():
            yield sample.id, sample.filepath, sample[label_field]


class _Painter:
    """Paints objects into masks and counts what it meets.

    Args:
        values: name of a class, however it is spelt, to its mask value
        void: mask value of pixels that count for nothing
    """

    def __init__(self, values: dict[str, int], void: int) -> None:
        self._values, self._void = values, void
        self.counts: Counter[str] = Counter()

    def paint(self, objects: Sequence[Any], shape: tuple[int, int]) -> np.ndarray:
        """The mask of an image, uint8 or uint16."""
        drawn = [object_pixels(one, shape) for one in objects]
        drawn = [one for one in sorted(drawn, key=lambda one: -int(one.mask.sum())) if self._has_pixels(one)]
        mask = np.full(shape, BACKGROUND, np.uint8 if max(self._void, *self._values.values()) < 256 else np.uint16)
        hidden = np.zeros(shape, bool)
        for one in drawn:
            value = self._void if one.name is None else self._values[plain_name(one.name)]
            hidden |= one.mask & ~np.isin(mask, [BACKGROUND, value, self._void])
            if one.unsure is not None:
                mask[one.unsure] = self._void
            mask[one.mask] = value
            self._count(one)
        self.counts["painted"] += int((mask != BACKGROUND).sum())
        self.counts["overlapping"] += int(hidden.sum())
        self.counts["void"] += int((mask == self._void).sum())
        return mask

    def _has_pixels(self, one: ObjectPixels) -> bool:
        self.counts["empty"] += not one.mask.any()
        return bool(one.mask.any())

    def _count(self, one: ObjectPixels) -> None:
        self.counts["objects"] += 1
        self.counts["boxes"] += one.unsure is not None
        self.counts["unnamed"] += one.name is None
