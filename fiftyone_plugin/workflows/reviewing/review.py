"""Look at issue regions, accept or reject them, and let their scores learn from that."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ... import quality
from ...dataset.door.masks import mask_digest, read_mask_file
from ...dataset.door.renamed_classes import values_of_names
from ...dataset.door.scan import file_stamp, mask_reader, segmentation_fields
from ...dataset.door.slices import every_slice, samples_behind
from ...dataset.fields import regions
from ...dataset.fields.regions import STATUSES, StoredRegion
from ...dataset.fields.schema import ScoreFields
from ...dataset.fields.values import object_ids, text_or_none
from ...dataset.journals import answers, reviews
from ...dataset.journals.append_log import order_of
from ...dataset.journals.reviews import Review
from ...dataset.runs import run_records
from ...dataset.runs.claims import claim
from ...dataset.runs.class_names import follow_class_names
from ...dataset.runs.seen_labels import follow_renames, labels_seen
from ...errors import LabelQualityError
from ...progress import Progress, silent
from ...wording import count
from ..scoring.issue_regions import Lesson, load_scorer, region_file, reviewed_features, score_regions, teach

_SAMPLES_AT_ONCE = 500
_NUM_FEATURES = len(quality.FEATURE_NAMES)


@dataclass(frozen=True)
class ReviewReport:
    """What a review did.

    Attributes:
        decision: accepted, rejected or pending
        num_regions: regions that got it
        by_status: status to number of regions of the whole run, afterwards
        changed: samples among them whose label has changed since the run
        num_applied: regions among them that are no longer accepted and that the corrected labels have
        warnings: what the reviewer should know
    """

    decision: str
    num_regions: int
    by_status: dict[str, int]
    changed: list[str]
    warnings: list[str]
    num_applied: int = 0

    def markdown(self) -> str:
        """The report as a person reads it."""
        said = {"accepted": "accepted as label errors", "rejected": "rejected", "pending": "put back to pending"}
        counts = ", ".join(f"{self.by_status.get(status, 0):,} {status}" for status in STATUSES)
        lines = [f"**{count(self.num_regions, 'region')} {said[self.decision]}**; now {counts}"]
        return "\n".join([*lines, *(f"- **{warning}**" for warning in self.warnings)])


@dataclass(frozen=True)
class RescoreReport:
    """What rescoring did.

    Attributes:
        num_images: images whose regions have new scores
        num_accepted: accepted regions that the scores have learnt from
        num_rejected: rejected regions that the scores have learnt from
        num_missing: images whose file of regions is gone; their scores stay
    """

    num_images: int
    num_accepted: int
    num_rejected: int
    num_missing: int

    def markdown(self) -> str:
        """The report as a person reads it."""
        learnt = f"{self.num_accepted:,} accepted and {count(self.num_rejected, 'rejected region')}"
        if not self.num_accepted + self.num_rejected:
            learnt = "no reviewed regions: the fixed score"
        lines = [f"**Pending regions of {count(self.num_images, 'image')} have new scores**, from {learnt}"]
        if self.num_missing:
            lines.append(f"- **the files of {count(self.num_missing, 'image')} are gone; scores stay as they were**")
        return "\n".join(lines)


def show_regions(
    samples: Any,
    *,
    key: str = "label_quality",
    kinds: str | Sequence[str] | None = None,
    given: str | Sequence[str] | None = None,
    suggested: str | Sequence[str] | None = None,
    min_score: float = 0.0,
    status: str | Sequence[str] | None = "pending",
    limit: int | None = None,
) -> Any:
    """The issue regions as patches, worst first.

    The view follows reviews: with the default `status` a region leaves it when it is accepted or rejected. Warns if
    labels have changed since the run.

    Args:
        samples: the `fiftyone` dataset, a view of it, or a view of regions
        key: the scoring run
        kinds: only these of missing, spurious, wrong_class and boundary
        given: only where the label says one of these classes
        suggested: only where the prediction says one of these classes
        min_score: only these that are at least so surely errors
        status: only these of pending, accepted and rejected; None for all
        limit: at most so many

    Returns:
        a `fiftyone.core.patches.PatchesView`

    Raises:
        LabelQualityError: if there is no such run, or it has no regions; if a kind, class or status does not exist

    Example:
        >>> view = show_regions(dataset, kinds="missing", suggested="person")  # doctest: +SKIP
    """
    record = scoring_run(samples, key)
    name = ScoreFields(key).regions
    dataset = samples._root_dataset
    wanted = {
        "label": _among("kinds", kinds, quality.KINDS),
        "given": _among("given", given, _classes(dataset, name, "given", given)),
        "suggested": _among("suggested", suggested, _classes(dataset, name, "suggested", suggested)),
        "status": _among("status", status, STATUSES),
    }
    view = regions.matched(regions.patches_view(samples, name, f"{key} regions"), name, min_score, **wanted)
    for text in _change_warnings(record, changed_labels(dataset, key=key)):
        warnings.warn(text, stacklevel=2)
    return view.limit(limit) if limit is not None else view


def review_regions(
    samples: Any,
    decision: str,
    *,
    key: str = "label_quality",
    label_ids: str | Sequence[str] | None = None,
    reviewer: str | None = None,
) -> ReviewReport:
    """Accept or reject issue regions, or take that back.

    Decisions are remembered with the dataset: in later runs on the same field a rejected region stays away and an
    accepted one is accepted already, and the scores of regions learn from both. Several people may review at once; of
    several decisions about one region the last counts.

    Args:
        samples: the `fiftyone` dataset, a view of samples, or a view of regions, for instance of `show_regions`
        decision: "accepted" (the label is wrong there), "rejected" (the label is right) or "pending" (take it back)
        key: the scoring run
        label_ids: ids of the regions; all regions in `samples` if None
        reviewer: who decided

    Returns:
        what was done

    Raises:
        LabelQualityError: if there is no such run, no such decision, or no region
    """
    reviewer = text_or_none("reviewer", reviewer)
    if not isinstance(decision, str) or decision not in STATUSES:
        raise LabelQualityError(f"Expected `decision` to be one of {list(STATUSES)}, but got {decision!r}")
    record = scoring_run(samples, key)
    name = ScoreFields(key).regions
    dataset = samples._root_dataset
    wanted = object_ids("label_ids", label_ids) if label_ids is not None else regions.region_ids(samples, name)
    found = regions.find_regions(dataset, name, wanted)
    if not found:
        raise LabelQualityError(
            f"Expected regions of the run {key!r} to review, but got "
            + (f"{len(wanted)} ids of which none exists; was the run replaced since?" if wanted else "none")
        )
    keep_decisions(dataset, record, found, decision, reviewer)
    about = every_slice(dataset).select(list(dict.fromkeys(region.sample_id for region in found)))
    changed = changed_labels(about, key=key)
    applied = 0 if decision == "accepted" else answers.taken_over(dataset, record.label_field, wanted)
    warnings = [*_change_warnings(record, changed), *([_applied_warning(applied)] if applied else [])]
    by_status = regions.count_regions(dataset, name, "status")
    return ReviewReport(decision, len(found), by_status, changed, warnings, applied)


def _applied_warning(number: int) -> str:
    return (
        f"{count(number, 'region')} of these {'is' if number == 1 else 'are'} still in the corrected labels; "
        "apply label proposals again (`apply_proposals`), which takes back what is not accepted any more"
    )


def keep_decisions(
    dataset: Any,
    record: run_records.RunRecord,
    found: Sequence[StoredRegion],
    decision: str,
    reviewer: str | None,
    source: str = reviews.PERSON,
) -> None:
    """Remember one decision about regions, then set their status.

    Args:
        dataset: the `fiftyone.Dataset`
        record: of the run
        found: the regions, at least one
        decision: accepted, rejected or pending
        reviewer: who decided
        source: `reviews.PERSON`, or `reviews.BULK` where nobody has looked at them
    """
    at, name = regions.utc_now(), ScoreFields(record.key).regions
    # First what is remembered: were the fields first, a crash between would lose decisions.
    rows = (replace(row, source=source) for row in _reviews_of(record, found, decision, reviewer, at))
    keys = reviews.add_reviews(dataset, rows, len(found))
    unseen = source != reviews.PERSON and decision != "pending"
    regions.set_status(dataset, name, found, decision, at, reviewer, order_of(keys[-1]), unseen=unseen)


def rescore_regions(samples: Any, *, key: str = "label_quality", progress: Progress = silent) -> RescoreReport:
    """Give pending regions scores that have learnt from all reviewed ones, and put the worst first again.

    No model runs: the features of the regions were kept.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: the scoring run
        progress: told how many images are done

    Returns:
        what was done

    Raises:
        LabelQualityError: if there is no such run, or it has no regions
    """
    record = scoring_run(samples, key)
    if record.method != run_records.SCORING:
        raise LabelQualityError(
            f"Expected the key of a scoring run, whose scores can learn from reviews, but {key!r} is a training whose "
            "regions have the confidence of its predictions"
        )
    dataset, fields = samples._root_dataset, ScoreFields(key)
    folder = _folder(record)
    decisions = reviews.newest_reviews(dataset, record.label_field)
    lesson = teach(load_scorer(folder), decisions, record.summary["classes"])
    sample_ids = _with_regions(samples, fields)
    with claim(dataset, key) as held:
        return _rescore(dataset, fields, folder, lesson, sample_ids, held.watched(progress))


def _rescore(
    dataset: Any, fields: ScoreFields, folder: Path, lesson: Lesson, sample_ids: Sequence[str], progress: Progress
) -> RescoreReport:
    missing, done = 0, 0
    for start in range(0, len(sample_ids), _SAMPLES_AT_ONCE):
        scores: dict[str, list[float]] = {}
        for sample_id in sample_ids[start : start + _SAMPLES_AT_ONCE]:
            found = _load(folder, sample_id)
            done += 1
            if found is None or found.features.shape[1] != _NUM_FEATURES:
                missing += 1
                continue
            scores[sample_id] = score_regions(lesson.scorer, found).tolist() if len(found) else []
            progress(done, len(sample_ids), "scoring regions")
        regions.set_scores(dataset, fields.regions, scores)
    return RescoreReport(len(sample_ids) - missing, lesson.num_accepted, lesson.num_rejected, missing)


def review_history(samples: Any, label_field: str = "ground_truth") -> list[Review]:
    """All decisions about the regions of a label field, by any run, oldest first.

    Args:
        samples: the `fiftyone` dataset or a view of it
        label_field: the field whose labels were judged

    Returns:
        the decisions; also those that later ones replaced
    """
    return reviews.read_reviews(samples._root_dataset, label_field)


def reviewed_regions(samples: Any, label_field: str = "ground_truth") -> tuple[np.ndarray, np.ndarray]:
    """What a `quality.RegionVerifier` learns from: the decisions that count, one per region.

    Args:
        samples: the `fiftyone` dataset or a view of it
        label_field: the field whose labels were judged

    Returns:
        (R, F) features in the order of `quality.FEATURE_NAMES`, and (R,) bool, whether the region was accepted
    """
    return reviewed_features(reviews.newest_reviews(samples._root_dataset, label_field))


def changed_labels(samples: Any, *, key: str = "label_quality") -> list[str]:
    """Samples whose label is not the one that a run has scored.

    A mask on disk is read only if its file has changed at all.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: the scoring run

    Returns:
        sample ids; samples that the run left out are not among them

    Raises:
        LabelQualityError: if there is no such run
    """
    record = scoring_run(samples, key, with_regions=False)
    seen = labels_seen(_folder(record))
    dataset, label_field = samples._root_dataset, record.label_field
    if not dataset.has_field(label_field):
        raise LabelQualityError(
            f"Expected the label field {label_field!r} of the run {key!r}, but it is gone and none of "
            f"{segmentation_fields(dataset)} holds its masks; if it was renamed and edited, give it its name back: "
            f"`dataset.rename_sample_field('new name', {label_field!r})`"
        )
    chosen = samples_behind(samples)
    ids, paths = chosen.values(["id", f"{label_field}.mask_path"])
    doubtful = [
        sample_id
        for sample_id, path in zip(ids, paths, strict=True)
        if sample_id in seen and not _is_untouched(path, seen[sample_id][1])
    ]
    if not doubtful:
        return []
    read = mask_reader(dataset, label_field)

    def has_changed(sample_id: str) -> bool:
        try:
            return mask_digest(read(sample_id)) != seen[sample_id][0]
        except (OSError, LabelQualityError):
            return True  # a label that is gone or broken is not what was scored

    with ThreadPoolExecutor(max_workers=4) as pool:
        return [i for i, changed in zip(doubtful, pool.map(has_changed, doubtful), strict=True) if changed]


def _folder(record: run_records.RunRecord) -> Path:
    """The run's folder; for a run without one a path that nothing is under."""
    return Path(record.output_dir or os.devnull)


def _is_untouched(path: str | None, stamp: list[int] | None) -> bool:
    return path is not None and stamp is not None and list(file_stamp(path) or ()) == stamp


def _change_warnings(record: run_records.RunRecord, changed: Sequence[str]) -> list[str]:
    if not changed:
        return []
    return [
        f"{count(len(changed), 'label', 'have')} changed since the run '{record.key}', so the regions there may be out "
        "of date; score again with `overwrite=True`"
    ]


def runs_with_regions(dataset: Any) -> list[str]:
    """Keys of the runs whose regions can be reviewed.

    Args:
        dataset: the `fiftyone.Dataset`

    Returns:
        keys, in the order in which they were made
    """
    listed = [run for run in run_records.list_runs(dataset) if run.method in run_records.REVIEWABLE]
    return [run.key for run in listed if ScoreFields(run.key).regions in run.fields]


def scoring_run(samples: Any, key: str, *, with_regions: bool = True) -> run_records.RunRecord:
    """The record of a run whose regions can be reviewed.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: the run
        with_regions: whether it must have regions

    Returns:
        the record

    Raises:
        LabelQualityError: if there is no such run, or it has no regions
    """
    dataset = samples._root_dataset
    follow_renames(dataset)
    record = run_records.find_run(dataset, key)
    if record is None or record.method not in run_records.REVIEWABLE:
        keys = [run.key for run in run_records.list_runs(dataset) if run.method in run_records.REVIEWABLE]
        raise LabelQualityError(
            f"Expected the key of a scoring run, but got {key!r}; there are {keys or 'none'}"
            + _left_behind(dataset, key)
        )
    if with_regions and not dataset.has_field(ScoreFields(key).regions):
        raise LabelQualityError(
            f"Expected the run {key!r} to have regions, but it was made without, or their field was deleted; score "
            "again with `write_regions=True` and `overwrite=True`"
        )
    return follow_class_names(dataset, record)


def _left_behind(dataset: Any, key: str) -> str:
    """What to do where the fields of a run came along with a copy, and the run did not."""
    if not dataset.has_field(ScoreFields(key).softmin):
        return ""
    return (
        ". The fields of this run are there and the run is not: a clone of a view has no runs. Clone the dataset and "
        "leave out samples of the clone, or score again under another `key`"
    )


def _among(name: str, values: str | Sequence[str] | None, choices: Sequence[str]) -> list[str] | None:
    """Check values against what there is; None stays None."""
    if values is None:
        return None
    wanted = [values] if isinstance(values, str) or not isinstance(values, Sequence) else list(values)
    unknown = [value for value in wanted if value not in choices]
    if unknown:
        raise LabelQualityError(f"Expected `{name}` among {list(choices)}, but got {unknown}")
    return wanted


def _classes(dataset: Any, name: str, attribute: str, asked: Any) -> list[str]:
    return [] if asked is None else every_slice(dataset).distinct(f"{name}.detections.{attribute}")


def _with_regions(samples: Any, fields: ScoreFields) -> list[str]:
    from fiftyone import ViewField

    counted = samples._root_dataset.has_field(fields.num_regions)
    number = fields.num_regions if counted else ViewField(f"{fields.regions}.detections").length()
    ids, counts = samples_behind(samples).values(["id", number])
    return [sample_id for sample_id, count in zip(ids, counts, strict=True) if count]


def _load(folder: Path, sample_id: str) -> quality.ImageRegions | None:
    try:
        return quality.load_regions(region_file(folder, sample_id))
    except (OSError, LabelQualityError):
        return None


def _reviews_of(
    record: run_records.RunRecord, found: Sequence[StoredRegion], decision: str, reviewer: str | None, at: datetime
) -> Iterator[Review]:
    by_sample: dict[str, list[StoredRegion]] = defaultdict(list)
    for region in found:
        by_sample[region.sample_id].append(region)
    folder, value_of = _folder(record), values_of_names(record.summary.get("class_rows", ()))
    for sample_id, stored in by_sample.items():
        saved = _load(folder, sample_id)
        for region in stored:
            bbox, shape, mask, features = _content(saved, region)
            yield Review(
                label_field=record.label_field,
                sample_id=sample_id,
                label_id=region.label_id,
                run=record.key,
                kind=region.kind,
                given=region.given,
                suggested=region.suggested,
                bbox=bbox,
                shape=shape,
                mask=mask,
                features=features,
                decision=decision,
                reviewer=reviewer,
                time=at,
                values=(value_of.get(region.given), value_of.get(region.suggested)),
            )


_Content = tuple[tuple[int, int, int, int], tuple[int, int], np.ndarray | None, dict[str, float]]


def _content(saved: quality.ImageRegions | None, region: StoredRegion) -> _Content:
    """Where a region is and its features: from the run's file, or without features from what the App shows."""
    if saved is not None and region.row is not None and 0 <= region.row < len(saved):
        row = saved.regions[region.row]
        values = saved.features[region.row].tolist()
        features = dict(zip(quality.FEATURE_NAMES, values, strict=True)) if len(values) == _NUM_FEATURES else {}
        return row.bbox, saved.shape, row.mask, features
    x, y, width, height = region.box
    try:
        mask = read_mask_file(region.mask_path or "") > 0
    except (OSError, LabelQualityError):
        return (0, 0, 0, 0), (0, 0), None, {}
    shape = (round(mask.shape[0] / height), round(mask.shape[1] / width))
    top, left = round(y * shape[0]), round(x * shape[1])
    return (top, left, top + mask.shape[0], left + mask.shape[1]), shape, mask, {}
