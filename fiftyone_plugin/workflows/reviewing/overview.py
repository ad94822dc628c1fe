"""A scoring run at a glance: what was found, what reviewing it says, how it compares with another run."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, TypeVar

import numpy as np

from ...dataset.door.scan import mask_targets_of
from ...dataset.door.slices import every_slice
from ...dataset.fields import overview as numbers
from ...dataset.fields import region_columns, regions
from ...dataset.fields.region_columns import ACCEPTED, PENDING, REJECTED, RegionColumns
from ...dataset.fields.schema import ScoreFields
from ...dataset.runs import run_records
from ...dataset.runs.class_names import follow_class_names
from ...errors import LabelQualityError
from ...quality import COMBINED, KINDS, LIKELY, RANKING_TITLES
from ...quality.regions.review_statistics import (
    ErrorEstimate,
    Interval,
    PendingRegions,
    ReviewCurve,
    estimate_errors,
    precision_interval,
    stopping_advice,
)
from ...wording import percent, percent_range
from ..scoring.report import WrongShare, estimated_wrong_share
from . import review

ENOUGH_REVIEWS = 20
"""Regions to review before anything is said about the rest."""

MOST_CLASSES = 25
NUM_WORST = 8
_LATEST = (20, 50)
_POINTS = 60
_CACHED = 16

Result = TypeVar("Result")
_cache: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
_changed: dict[tuple[str, ...], list[str]] = {}
_busy = RLock()


@dataclass(frozen=True)
class ClassQuality:
    """How far one class can be trusted where it is the label.

    Attributes:
        name: the class
        score: mean probability of the class where it is the label, None if unknown
        issue_share: share of its pixels in regions that are pending or accepted, None if unknown
        num_pending: its pending regions
    """

    name: str
    score: float | None
    issue_share: float | None
    num_pending: int


@dataclass(frozen=True)
class PairMatrix:
    """Pending regions by given and suggested class, most frequent first.

    Attributes:
        given: classes of the rows
        suggested: classes of the columns
        counts: regions, row by row
        areas: pixels, row by row
        left_out: regions of rarer classes, which have no row or column
        num_rare: how many classes those are
    """

    given: list[str]
    suggested: list[str]
    counts: list[list[int]]
    areas: list[list[int]]
    left_out: int
    num_rare: int


@dataclass(frozen=True)
class ReviewOverview:
    """What the reviewed regions say.

    Attributes:
        accepted: regions that were errors
        rejected: regions that were not
        precision: share of errors among both
        by_kind: (kind, reviewed, precision)
        latest: (number, precision) of the last regions reviewed
        so_far: (number, precision) of the first regions reviewed, more and more of them
        estimate: of what is left
        pixels_known: whether the run recorded its labelled pixels, without which there is no share of them
        advice: as by `stopping_advice`
    """

    accepted: int
    rejected: int
    precision: Interval
    by_kind: list[tuple[str, int, Interval]]
    latest: list[tuple[int, Interval]]
    so_far: list[tuple[int, Interval]]
    estimate: ErrorEstimate
    pixels_known: bool
    advice: str


@dataclass(frozen=True)
class RegionOverview:
    """What the issue regions of a run are.

    Attributes:
        status: number of regions by status
        kinds: (kind, pending, accepted, rejected), in the order of `KINDS`
        pairs: pending ones by classes
        review: what reviewing says
        likely: pending ones that are more likely wrong than right
    """

    status: dict[str, int]
    kinds: list[tuple[str, int, int, int]]
    pairs: PairMatrix
    review: ReviewOverview
    likely: int

    @property
    def total(self) -> int:
        """All regions."""
        return sum(self.status.values())


@dataclass(frozen=True)
class RunOverview:
    """What a scoring run found.

    Attributes:
        key: the run's key
        label_field: the field that was scored
        method: title of the score
        score_fields: (field, title) of the scores to look at
        num_images: images with a score
        wrong_share: share of the labelled pixels that seem to be wrong, as the run estimated it; None if it did not
        wrong_share_range: lowest and highest share that the dataset speaks for; None if it was not estimated
        warnings: what to know before believing the scores
        classes: least trusted first
        worst: images of the lowest score, worst first
        regions: None where the run has no regions field
    """

    key: str
    label_field: str
    method: str
    score_fields: list[tuple[str, str]]
    num_images: int
    wrong_share: float | None
    wrong_share_range: tuple[float, float] | None
    warnings: list[str]
    classes: list[ClassQuality]
    worst: list[numbers.WorstImage]
    regions: RegionOverview | None


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        keys: of the earlier and the later run
        fields: the score field of each, by the same method
        method: title of that
        histograms: over the same bins
        change: of the score, image by image
        kinds: (kind, regions of the first, regions of the second); rejected ones are not counted
    """

    keys: tuple[str, str]
    fields: tuple[str, str]
    method: str
    histograms: tuple[numbers.Histogram, numbers.Histogram]
    change: numbers.Change
    kinds: list[tuple[str, int, int]]


def is_reviewed(found: ReviewOverview) -> bool:
    """Whether enough regions were decided on to say something about the rest."""
    return found.accepted + found.rejected >= ENOUGH_REVIEWS


def how_much_is_wrong(found: RunOverview) -> WrongShare | None:
    """One answer for panel and page: what reviews say once there are enough of them, else what the run says."""
    review = None if found.regions is None else found.regions.review
    if review is None or not review.pixels_known or not is_reviewed(review):
        return estimated_wrong_share(found.wrong_share, found.wrong_share_range)
    share = review.estimate.pixel_share
    ends = percent_range(share.low, share.high)
    said = f"About {percent(share.estimate)} % of the labelled pixels are wrong"
    return WrongShare(said, f"{ends}, as the reviews say" if ends else "as the reviews say")


def run_overview(dataset: Any, key: str) -> RunOverview:
    """What a scoring run found, from the dataset as it is now.

    Args:
        dataset: the `fiftyone.Dataset`
        key: the run's key

    Returns:
        the overview; remembered until a sample or the run changes

    Raises:
        LabelQualityError: if there is no such scoring run
    """
    record = _scoring_run(dataset, key)
    names = record.summary.get("classes", ())
    return _remembered(dataset, ("run", key, *names), lambda: _run_overview(dataset, record))


def score_histogram(dataset: Any, field: str) -> numbers.Histogram:
    """How a score is spread over the images; remembered likewise.

    Args:
        dataset: the `fiftyone.Dataset`
        field: its number field

    Returns:
        the histogram
    """
    return _remembered(dataset, ("histogram", field), lambda: numbers.score_histogram(dataset, field))


def compare_runs(dataset: Any, key: str, other: str) -> Comparison:
    """Two scoring runs side by side, for instance before and after a correction.

    Args:
        dataset: the `fiftyone.Dataset`
        key: the earlier run
        other: the later run

    Returns:
        the comparison; remembered until a sample or a run changes

    Raises:
        LabelQualityError: if one of them is no scoring run
    """
    before, after = _scoring_run(dataset, key), _scoring_run(dataset, other)
    return _remembered(dataset, ("comparison", key, other), lambda: _compare(dataset, before, after))


def state_of(dataset: Any, key: str) -> tuple[str, ...]:
    """What is another one whenever a run or a sample of the dataset has changed, for caches."""
    return *_state_of_run(dataset, key), numbers.version_of(dataset)


def targets(dataset: Any, label_field: str) -> dict[int | str, str]:
    """What the mask values of a label field mean; empty where the dataset does not say."""
    return dict(mask_targets_of(dataset, label_field) or {}) if dataset.has_field(label_field) else {}


def scoring_runs(dataset: Any) -> list[run_records.RunRecord]:
    """The scoring runs of a dataset, latest last."""
    return sorted(
        run_records.list_runs(dataset, run_records.SCORING), key=lambda run: run_records.time_of_run(dataset, run.key)
    )


def check_labels(dataset: Any, key: str) -> int:
    """Look whether labels have changed since a run, and remember it; reads the dataset's mask files where in doubt.

    Args:
        dataset: the `fiftyone.Dataset`
        key: the run's key

    Returns:
        how many images have another label than the one that was scored

    Raises:
        LabelQualityError: if there is no such scoring run
    """
    there = dataset.has_field(_scoring_run(dataset, key).label_field)
    found = review.changed_labels(dataset, key=key) if there else []
    _changed[_state_of_run(dataset, key)] = found
    return len(found)


def num_changed_labels(dataset: Any, key: str) -> int:
    """What `check_labels` found when it last looked; 0 before."""
    return len(_changed.get(_state_of_run(dataset, key), ()))


# --- views ---------------------------------------------------------------------------------------------------


def images_between(dataset: Any, field: str, bin_number: int) -> Any:
    """A view of the images in one bin of a score's histogram, worst first.

    Args:
        dataset: the `fiftyone.Dataset`
        field: the score
        bin_number: which bin, from 0

    Raises:
        LabelQualityError: if there is no such bin
    """
    edges = score_histogram(dataset, field).edges
    if not 0 <= bin_number < len(edges) - 1:
        raise LabelQualityError(f"Expected a bin from 0 to {len(edges) - 2}, but got {bin_number}")
    last = bin_number == len(edges) - 2
    return numbers.between(dataset, field, edges[bin_number], edges[bin_number + 1], last=last)


def worst_images(dataset: Any, key: str, count: int = NUM_WORST) -> Any:
    """A view of the images of the lowest score, worst first, with the regions that are likely wrong."""
    if not dataset.has_field(key):
        raise LabelQualityError(
            f"Expected the score of each image in the field {key!r}, but it was deleted; score again with "
            "`overwrite=True`"
        )
    view, name = numbers.lowest(dataset, key, count), regions_field(key)
    if not dataset.has_field(name):
        return view
    return regions.captioned(regions.only_likely(view, name, LIKELY), name)


def regions_of(dataset: Any, key: str, *, status: str | None = PENDING, least: float = 0.0, **wanted: str) -> Any:
    """A patches view of regions, worst first, each called by what is to be decided: "sofa → background".

    Args:
        dataset: the `fiftyone.Dataset`
        key: the run's key
        status: pending, accepted or rejected; None for all
        least: lowest score
        wanted: attribute to value: `label` (the kind), `given`, `suggested`

    Returns:
        the view; a region leaves it when it gets another status
    """
    name = regions_field(key)
    view = regions.patches_view(dataset, name, f"{key} regions")
    return regions.captioned(regions.matched(view, name, least, status=status, **wanted), name)


def same_view(view: Any, other: Any) -> bool:
    """Whether two views of a dataset have the same stages."""
    return bool(view._serialize(include_uuids=False) == other._serialize(include_uuids=False))


def view_as_of(dataset: Any, view: Any, key: str) -> Any:
    """What shows of one run what a view shows of another: its regions, or its worst images.

    Args:
        dataset: the `fiftyone.Dataset`
        view: what is shown
        key: the run that is to be looked at

    Returns:
        the view of that run, None where the view shows nothing of another one
    """
    others = [run.key for run in scoring_runs(dataset) if run.key != key]
    if view._is_generated:
        there = dataset.has_field(regions_field(key))
        return regions_of(dataset, key) if there and any(view.has_field(regions_field(run)) for run in others) else None
    if any(same_view(view, worst_images(dataset, run)) for run in others):
        return worst_images(dataset, key)
    return None


def fields_as_of(dataset: Any, shown: Sequence[str], key: str) -> list[str]:
    """Names of fields, those of other scoring runs replaced by those that hold the same of one run.

    Args:
        dataset: the `fiftyone.Dataset`
        shown: names of fields
        key: the run

    Returns:
        the names; a field of which that run has no like is left out
    """
    run_of = {name: run.key for run in scoring_runs(dataset) if run.key != key for name in run.fields}
    names = [key + name[len(run_of[name]) :] if name in run_of else name for name in shown]
    return [name for name in dict.fromkeys(names) if name not in run_of and (name in shown or dataset.has_field(name))]


def regions_field(key: str) -> str:
    """Name of the field with a run's regions."""
    return ScoreFields(key).regions


def changed_labels(dataset: Any, key: str) -> Any:
    """A view of the images whose label had changed when `check_labels` last looked."""
    return every_slice(dataset).select(_changed.get(_state_of_run(dataset, key), []))


def changed_images(dataset: Any, comparison: Comparison, *, better: bool) -> Any:
    """A view of the images whose score rose (or fell) from one run to the other, most first."""
    return numbers.changed(dataset, *comparison.fields, better=better)


# --- putting it together -------------------------------------------------------------------------------------


def _scoring_run(dataset: Any, key: str) -> run_records.RunRecord:
    record = run_records.find_run(dataset, key)
    if record is None or record.method != run_records.SCORING:
        keys = [run.key for run in scoring_runs(dataset)]
        raise LabelQualityError(f"Expected the key of a scoring run, but got {key!r}; there are {keys or 'none'}")
    return follow_class_names(dataset, record)


def _state_of_run(dataset: Any, key: str) -> tuple[str, ...]:
    return run_records.dataset_id(dataset), key, str(run_records.time_of_run(dataset, key))


def _remembered(dataset: Any, what: tuple[Any, ...], make: Callable[[], Result]) -> Result:
    states = tuple(_state_of_run(dataset, run.key) for run in scoring_runs(dataset))
    key = (run_records.dataset_id(dataset), numbers.version_of(dataset), states, *what)
    with _busy:  # the App asks for the same several times at once
        if key not in _cache:
            _cache[key] = make()
            while len(_cache) > _CACHED:
                _cache.popitem(last=False)
        _cache.move_to_end(key)
        return _cache[key]  # type: ignore[no-any-return]


def _run_overview(dataset: Any, record: run_records.RunRecord) -> RunOverview:
    summary = record.summary
    columns = _columns_of(dataset, record)
    method = str(summary.get("method") or record.key)
    return RunOverview(
        key=record.key,
        label_field=record.label_field,
        method=method,
        score_fields=_score_fields(dataset, record),
        num_images=int(summary.get("num_scored") or 0),
        wrong_share=summary.get("wrong_share"),
        wrong_share_range=summary.get("wrong_share_range"),
        warnings=[str(warning) for warning in summary.get("warnings") or []],
        classes=_classes(summary, columns.table if columns else []),
        worst=_worst(dataset, record.key),
        regions=None if columns is None else _regions(dataset, regions_field(record.key), summary, columns),
    )


def _score_fields(dataset: Any, record: run_records.RunRecord) -> list[tuple[str, str]]:
    """The fields with scores, the chosen one first, with what they hold."""
    titles = {f"{record.key}_{method}": method.replace("_", " ") for method in RANKING_TITLES}
    known = numbers.number_fields(dataset, [record.key, *(name for name in titles if name in record.fields)])
    chosen = str(record.summary.get("method") or "score").replace("_", " ")
    return [(name, f"{name} ({titles.get(name, chosen)})") for name in known]


def _worst(dataset: Any, field: str) -> list[numbers.WorstImage]:
    if not dataset.has_field(field):
        return []
    return numbers.worst_images(dataset, field, NUM_WORST, dataset.app_config.grid_media_field or "filepath")


def _classes(summary: dict[str, Any], table: Sequence[region_columns.RegionCount]) -> list[ClassQuality]:
    scores, pixels = summary.get("class_scores") or {}, summary.get("class_pixels") or {}
    area: Counter[str] = Counter()
    pending: Counter[str] = Counter()
    for row in table:
        if row.status != REJECTED:
            area[row.given] += row.area
        if row.status == PENDING:
            pending[row.given] += row.count
    found = [
        ClassQuality(name, scores.get(name), _share(area[name], pixels.get(name)), pending[name])
        for name in dict.fromkeys([*scores, *area])
    ]
    return sorted(found, key=lambda entry: (entry.score is None, entry.score, -entry.num_pending))


def _share(area: int, pixels: int | None) -> float | None:
    """Regions overlap, and hold pixels of their neighbours: more than all of a class is all of it."""
    return min(area / pixels, 1.0) if pixels else None


def _regions(dataset: Any, field: str, summary: dict[str, Any], columns: RegionColumns) -> RegionOverview:
    table, waiting = columns.table, columns.pending(KINDS)
    status = Counter({name: 0 for name in (PENDING, ACCEPTED, REJECTED)})
    kinds: Counter[tuple[str, str]] = Counter()
    for row in table:
        status[row.status] += row.count
        kinds[row.kind, row.status] += row.count
    names = [*KINDS, *sorted({kind for kind, _ in kinds} - set(KINDS))]
    order = (PENDING, ACCEPTED, REJECTED)
    return RegionOverview(
        status=dict(status),
        kinds=[(name, *(kinds[name, state] for state in order)) for name in names],  # type: ignore[misc]
        pairs=_pairs([row for row in table if row.status == PENDING]),
        review=_review(numbers.reviews(dataset, field, columns.decided_images()), summary, waiting),
        likely=int((waiting.shown >= LIKELY).sum()),
    )


def _pairs(table: Sequence[region_columns.RegionCount]) -> PairMatrix:
    totals: Counter[str] = Counter()
    for row in table:
        totals.update({row.given: row.count})
        totals.update({row.suggested: row.count})
    shown = [name for name, _ in totals.most_common(MOST_CLASSES)]
    # Rows and columns in the same order, so that confusion both ways is seen as mirrored.
    given = [name for name in shown if any(name == row.given for row in table)]
    suggested = [name for name in shown if any(name == row.suggested for row in table)]
    counts = np.zeros((len(given), len(suggested)), np.int64)
    areas = np.zeros_like(counts)
    left_out = 0
    for row in table:
        if row.given in given and row.suggested in suggested:
            place = given.index(row.given), suggested.index(row.suggested)
            counts[place] += row.count
            areas[place] += row.area
        else:
            left_out += row.count
    return PairMatrix(given, suggested, counts.tolist(), areas.tolist(), left_out, len(totals) - len(shown))


def _review(
    every: Sequence[numbers.Review], summary: dict[str, Any], pending: region_columns.RegionArrays
) -> ReviewOverview:
    decided = [review for review in every if not review.unseen]
    pixels = sum((summary.get("class_pixels") or {}).values())
    accepted = [review for review in every if review.accepted]
    wrong = {review.image_id for review in accepted}
    code = {kind: number for number, kind in enumerate(KINDS)}
    curve = ReviewCurve.fit(
        np.clip([review.score for review in decided], 0, 1),
        [review.accepted for review in decided],
        np.array([code.get(review.kind, len(KINDS) - 1) for review in decided], np.int64),
        num_kinds=len(KINDS),
    )
    estimate = estimate_errors(
        curve,
        PendingRegions(np.clip(pending.scores, 0, 1), pending.kinds, pending.areas, pending.images, pending.shown),
        accepted_area=sum(review.area for review in accepted),
        labelled_pixels=pixels,
        accepted_images=np.flatnonzero([image_id in wrong for image_id in pending.image_ids]),
        num_accepted_images=len(wrong),
        num_images=int(summary.get("num_scored") or len(pending.image_ids)),
    )
    latest = [(number, _precision(decided[-number:])) for number in _LATEST if len(decided) >= number]
    num_latest, last = latest[-1] if latest else (len(decided), _precision(decided))
    return ReviewOverview(
        accepted=len(accepted),
        rejected=len(every) - len(accepted),
        precision=_precision(decided),
        by_kind=_by_kind(decided),
        latest=latest,
        so_far=_so_far(decided),
        estimate=estimate,
        pixels_known=pixels > 0,
        advice=stopping_advice(last, num_latest, estimate.next_precision, pending.scores.size),
    )


def _precision(decided: Sequence[numbers.Review]) -> Interval:
    return precision_interval(sum(review.accepted for review in decided), len(decided))


def _so_far(decided: Sequence[numbers.Review]) -> list[tuple[int, Interval]]:
    """Precision of the first 1, 2, ... decisions, at not more than `_POINTS` numbers."""
    ends = np.unique(np.linspace(1, len(decided), _POINTS).round().astype(int)).tolist() if decided else []
    right = np.cumsum([review.accepted for review in decided])
    return [(end, precision_interval(int(right[end - 1]), end)) for end in ends]


def _by_kind(decided: Sequence[numbers.Review]) -> list[tuple[str, int, Interval]]:
    groups: dict[str, list[numbers.Review]] = {kind: [] for kind in KINDS}
    for decision in decided:
        groups.setdefault(decision.kind, []).append(decision)
    return [(kind, len(group), _precision(group)) for kind, group in groups.items() if group]


def _compare(dataset: Any, before: run_records.RunRecord, after: run_records.RunRecord) -> Comparison:
    methods = {run.summary.get("method") for run in (before, after)}
    # The combined score orders the images of one run; its scale is another in each.
    same = len(methods) == 1 and COMBINED not in methods
    keys = before.key, after.key
    first, second = keys if same else (ScoreFields(key).softmin for key in keys)
    ends = [numbers.score_range(dataset, name) for name in (first, second)]
    span = numbers.round_span(min(low for low, _ in ends), max(high for _, high in ends))
    kinds = [_kinds_left(dataset, run) for run in (before, after)]
    return Comparison(
        keys=keys,
        fields=(first, second),
        method=str(before.summary.get("method") if same else "softmin").replace("_", " "),
        histograms=tuple(numbers.score_histogram(dataset, name, span=span) for name in (first, second)),  # type: ignore[arg-type]
        change=numbers.score_change(dataset, first, second),
        kinds=[(kind, kinds[0][kind], kinds[1][kind]) for kind in KINDS],
    )


def _kinds_left(dataset: Any, run: run_records.RunRecord) -> Counter[str]:
    """Regions of a run by kind, those left out that a reviewer rejected."""
    found: Counter[str] = Counter()
    columns = _columns_of(dataset, run)
    for row in columns.table if columns else []:
        if row.status != REJECTED:
            found[row.kind] += row.count
    return found


def region_classes(dataset: Any, key: str) -> tuple[list[str], list[str]]:
    """Given and suggested classes of the regions of a run, from what the panel remembers of them.

    Args:
        dataset: a `fiftyone` dataset
        key: of a run with regions

    Returns:
        the names of each, sorted
    """
    run = run_records.find_run(dataset, key)
    columns = _columns_of(dataset, run) if run else None
    table = columns.table if columns else []
    return sorted({row.given for row in table} - {""}), sorted({row.suggested for row in table} - {""})


def _columns_of(dataset: Any, run: run_records.RunRecord) -> RegionColumns | None:
    """Regions of a run; None where it has no such field."""
    name = regions_field(run.key)
    if not dataset.has_field(name):
        return None
    folder = next((path for path in run_records.own_folders(dataset, run) if path.is_dir()), None)
    file = folder / region_columns.FILE if folder else None
    return region_columns.region_columns(dataset, name, _state_of_run(dataset, run.key), file)
