"""What corrections have changed: the pixels as a field, the images as a saved view, and both labels of one image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...dataset.door.masks import read_mask_file
from ...dataset.door.slices import every_slice
from ...dataset.fields import appearance, schema
from ...dataset.journals import answers
from ...dataset.runs import files, run_records
from ...dataset.runs.shared_files import named_elsewhere
from ...errors import LabelQualityError
from ...written_files import sweep
from .correction_run import CorrectionRun, open_correction
from .question_views import ImageShelf, cut

FOLDER: Final = "changes"
NO_CLASS: Final = 255


@dataclass(frozen=True)
class LabelChange:
    """What has changed in one image.

    Attributes:
        sample_id: FiftyOne's id of the sample
        pairs: (given class, class it became) to pixels
        reviewers: who gave the answers
    """

    sample_id: str
    pairs: dict[tuple[str, str], int]
    reviewers: frozenset[str]

    @property
    def pixels(self) -> int:
        """Pixels that have another class now."""
        return sum(self.pairs.values())


@dataclass(frozen=True, eq=False)
class BothLabels:
    """One image with the given and the corrected label.

    Attributes:
        image: (h, w, 3) uint8, made smaller where it is too large for a screen
        given: (h, w) uint8 class index, 255 for none
        corrected: likewise
        classes: by class index
    """

    image: np.ndarray
    given: np.ndarray
    corrected: np.ndarray
    classes: tuple[str, ...]


@files.disk_in_words()
def find_label_changes(samples: Any, label_field: str = "ground_truth") -> list[LabelChange]:
    """Compare the corrected labels with the given ones, and mark the pixels that differ.

    Leaves the field `{label_field}_changes`, 1 where a pixel has another class now, and the saved view
    `{label_field} changes`. Masks of images that were not answered about since are not read again.

    Args:
        samples: the `fiftyone` dataset or a view of it
        label_field: the field that is corrected

    Returns:
        the images in which something changed, most pixels first

    Raises:
        LabelQualityError: if no queries were planned for the field

    Example:
        >>> changes = find_label_changes(dataset)                            # doctest: +SKIP
        >>> dataset.load_saved_view("ground_truth changes")                  # doctest: +SKIP
    """
    run = _owning(open_correction(samples, label_field))
    name = run.fields.corrected
    rows = run.dataset._sample_collection.find({f"{name}.mask_path": {"$ne": None}}, {f"{name}.mask_path": 1})
    reviewers = _reviewers(run)
    found, paths = [], {}
    for row in rows:
        sample_id, corrected = str(row["_id"]), Path(row[name]["mask_path"])
        pairs, path = _compared(run, sample_id, corrected)
        if pairs:
            paths[sample_id] = str(path)
            found.append(LabelChange(sample_id, pairs, reviewers.get(sample_id, frozenset())))
    _write(run, paths)
    return sorted(found, key=lambda change: -change.pixels)


def chosen_changes(
    changes: Sequence[LabelChange], *, class_name: str | None = None, reviewer: str | None = None
) -> list[LabelChange]:
    """Changes from or to a class, or by a reviewer.

    Args:
        changes: of all images
        class_name: only images where a pixel was or became of this class; any if None
        reviewer: only images that this person answered about; anybody if None

    Returns:
        those, in the same order

    Example:
        >>> change = LabelChange("1", {("car", "road"): 9}, frozenset({"Ann"}))
        >>> len(chosen_changes([change], class_name="road")), len(chosen_changes([change], reviewer="Bob"))
        (1, 0)
    """
    return [
        change
        for change in changes
        if (class_name is None or any(class_name in pair for pair in change.pairs))
        and (reviewer is None or reviewer in change.reviewers)
    ]


def both_labels(samples: Any, label_field: str, sample_id: str) -> BothLabels:
    """The given and the corrected label of an image, as they are now.

    Args:
        samples: the `fiftyone` dataset or a view of it
        label_field: the field that is corrected
        sample_id: of the sample

    Returns:
        both

    Raises:
        LabelQualityError: if there is no such correction, or the sample or one of its labels is gone
    """
    run = open_correction(samples, label_field)
    row = run._row(sample_id, run.fields.corrected).get(run.fields.corrected) or {}
    if not row.get("mask_path"):
        raise LabelQualityError(f"Expected a corrected label of sample {sample_id}, but it has none yet")
    classes = run.classes()
    labels = []
    for raw in (run.read_label(sample_id), read_mask_file(row["mask_path"], run.reading)):
        indices = classes.indices(raw)
        labels.append(np.where((indices < 0) | (indices >= min(len(classes.names), NO_CLASS)), NO_CLASS, indices))
    shape = (int(labels[0].shape[0]), int(labels[0].shape[1]))
    window = (0, 0, *shape)
    given, corrected = (cut(label.astype(np.uint8), window) for label in labels)
    return BothLabels(
        ImageShelf().window(run.filepath(sample_id), window, shape), given, corrected, tuple(classes.names)
    )


def changes_view(dataset: Any, changes: Sequence[LabelChange]) -> Any:
    """A view of these images, most changed pixels first."""
    return every_slice(dataset).select([change.sample_id for change in changes], ordered=True)


def _owning(run: CorrectionRun) -> CorrectionRun:
    """The run, which owns the field and the view of its changes before they are written."""
    field, view = run.fields.changes, _view_name(run)
    if field in run.record.fields and view in run.record.views:
        return run
    if run.dataset.has_field(field) and field not in run.record.fields:
        raise LabelQualityError(f"Expected no field {field!r}, but there is one that is not ours; rename it first")
    fields = list(dict.fromkeys([*run.record.fields, field]))
    views = list(dict.fromkeys([*run.record.views, view]))
    record = replace(run.record, fields=fields, views=views)
    run_records.register_run(run.dataset, record)
    return replace(run, record=record)


def _view_name(run: CorrectionRun) -> str:
    return f"{run.label_field} changes"


def _reviewers(run: CorrectionRun) -> dict[str, frozenset[str]]:
    valid = answers.answers_that_count(answers.read_answers(run.dataset, run.label_field, masks=False))
    found: dict[str, set[str]] = {}
    for answer in valid:
        if answer.status == "corrected":
            found.setdefault(answer.sample_id, set()).add(answer.reviewer or "nobody's name")
    return {sample_id: frozenset(names) for sample_id, names in found.items()}


def _compared(run: CorrectionRun, sample_id: str, corrected: Path) -> tuple[dict[tuple[str, str], int], Path]:
    """What changed in an image, and the PNG of where; both are kept as long as the corrected label is the same."""
    path = run.folder / FOLDER / corrected.name
    noted = files.read_json(path.with_suffix(".json"))
    if noted is not None and path.is_file():
        return {(given, became): number for given, became, number in noted["pairs"]}, path
    classes = run.classes()
    try:
        before = classes.indices(run.read_label(sample_id))
        after = classes.indices(read_mask_file(corrected, run.reading))
    except (OSError, LabelQualityError):
        return {}, path  # a label that is gone is not compared
    if before.shape != after.shape:
        return {}, path
    differs = before != after
    files.write_png(path, differs.astype(np.uint8))
    names = (*classes.names, "no class")
    counts = Counter(zip(before[differs].tolist(), after[differs].tolist(), strict=True))
    pairs = {(names[old], names[new]): number for (old, new), number in counts.items()}
    files.write_json(path.with_suffix(".json"), {"pairs": [[*pair, number] for pair, number in pairs.items()]})
    return pairs, path


def _write(run: CorrectionRun, paths: dict[str, str]) -> None:
    dataset, name = run.dataset, run.fields.changes
    text = "Pixels whose corrected label differs from the given one"
    before = every_slice(dataset).exists(name).values("id") if dataset.has_field(name) else []
    schema.write_segmentations(dataset, name, paths, text, {1: "changed"})
    gone = [sample_id for sample_id in before if sample_id not in paths]
    if gone:
        every_slice(dataset).set_values(name, dict.fromkeys(gone), key_field="id")
    appearance.color_pixels(dataset, name)
    appearance.save_view(
        dataset, _view_name(run), every_slice(dataset).exists(name), "Images whose corrected label differs"
    )
    folder, named = run.folder / FOLDER, set(paths.values())
    sweep(folder)
    stale = [path for path in folder.glob("*.png") if str(path) not in named]
    kept = named_elsewhere(dataset, [name], folder) if stale else set()
    for path in stale:
        if path not in kept and not (run.folder / "corrected" / path.name).is_file():
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
