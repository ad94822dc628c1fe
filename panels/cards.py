"""Cards of the label quality panel: pure functions from numbers to what the component of `panels/js` shows.

Every mark that can be clicked has an `at`, which comes back with the click. Colours of marks are told apart by people
who see red and green alike; all other colours are the App's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..fiftyone_plugin.dataset.fields.overview import Histogram
from ..fiftyone_plugin.quality.regions.review_statistics import Interval
from ..fiftyone_plugin.wording import count, percent
from ..fiftyone_plugin.workflows.reviewing.overview import (
    ClassQuality,
    Comparison,
    PairMatrix,
    RegionOverview,
    ReviewOverview,
)
from ..fiftyone_plugin.workflows.reviewing.worst_pictures import WorstPicture
from .numbers import share

Card = dict[str, Any]

BLUE, ORANGE, RED, GREY = "#3b82d6", "#e69f00", "#d55e00", "#8a93a0"
STATUS_COLORS: Final = {"pending": BLUE, "accepted": RED, "rejected": GREY}
STATUS_TITLES: Final = {"pending": "not reviewed", "accepted": "accepted: wrong", "rejected": "rejected: right"}
MOST_CLASSES: Final = 20
BETWEEN: Final = "\x1f"
"""Between the given and the suggested class of a click on the matrix."""


FOCUS: Final = {
    "& .Mui-focusVisible": {"outline": "2px solid var(--fo-palette-text-primary, #888)", "outlineOffset": "2px"}
}
"""Style of a page whose buttons are the App's, which shows hardly which of them has the keyboard."""


def card(name: str, title: str, body: Mapping[str, Any] | None = None, **more: Any) -> Card:
    """A part of the page; what is None or empty is left out."""
    whole = {"name": name, "title": title, "body": body, **more}
    return {key: value for key, value in whole.items() if value not in (None, [], "")}


def action(name: str, label: str, **more: Any) -> dict[str, Any]:
    """A button: `primary`, `disabled`, `key`."""
    return {"name": name, "label": label, **more}


def choice(path: str, value: str, options: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A list of which one is chosen; `path` is where the panel's state keeps it."""
    return {"path": path, "value": value, "options": [list(option) for option in options]}


def slider(path: str, value: str, options: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The same for values in order."""
    return {**choice(path, value, options), "slider": True}


def pictures(found: Sequence[WorstPicture], sources: Sequence[str], *, regions: bool) -> Card:
    """The worst images; at = sample. Without `regions` nothing was looked for in them."""
    items = []
    for picture, source in zip(found, sources, strict=True):
        says, name = _says(picture, regions), _file_name(picture.path)
        items.append({
            "at": picture.sample_id, "source": source, "text": " · ".join([f"{picture.score:.2f}", *says]),
            "title": ". ".join([f"{name}: score {picture.score:.3f}, 0 = wrong", *says]),
        })  # fmt: skip
    return {"kind": "pictures", "items": items}


def _says(picture: WorstPicture, regions: bool) -> list[str]:
    """What should be what, in words."""
    if picture.image is None:
        return ["the image cannot be read"]
    if not regions:
        return []
    pairs = list(dict.fromkeys(f"{region.given} → {region.suggested}" for region in picture.regions))
    if not pairs:
        return ["no part surely wrong"]
    more = len(pairs) - 2 + picture.others
    return [", ".join(pairs[:2]) + (f", {more} more" if more > 0 else "")]


def score_histogram(found: Histogram) -> Card:
    """Images by score; at = bin."""
    digits = max(2, len(f"{found.edges[1] - found.edges[0]:.1g}") - 2)
    return {
        "kind": "histogram",
        "edges": found.edges,
        "counts": found.counts,
        "texts": [
            f"score {low:.{digits}f} to {high:.{digits}f}: {count(number, 'image')}"
            for low, high, number in zip(found.edges, found.edges[1:], found.counts, strict=False)
        ],
        "axis": ["low score: probably wrong", "high score: probably right"],
        **({} if found.median is None else {"mark": found.median}),
    }


def kinds(regions: RegionOverview) -> Card:
    """Regions by kind and status; at = kind/status, or kind/ for all."""
    most = max([sum(row[1:]) for row in regions.kinds] + [1])
    rows = []
    for name, *numbers in regions.kinds:
        by_status = dict(zip(STATUS_COLORS, numbers, strict=True))
        bars = [
            {"at": f"{name}/{status}", "share": number / most, "colour": STATUS_COLORS[status],
             "title": f"{kind_title(name)}: {count(number, 'region')} {STATUS_TITLES[status]}"}
            for status, number in by_status.items() if number
        ]  # fmt: skip
        rows.append({"at": f"{name}/", "name": kind_title(name), "bars": bars, "text": f"{sum(numbers):,}"})
    legend = [[STATUS_TITLES[status], color] for status, color in STATUS_COLORS.items()]
    return {"kind": "bars", "legend": legend, "rows": rows}


def kind_title(kind: str) -> str:
    """A kind of region as people write it.

    Example:
        >>> kind_title("wrong_class")
        'wrong class'
    """
    return kind.replace("_", " ")


def class_quality(classes: Sequence[ClassQuality], colors: Mapping[str, str], *, regions: bool) -> Card:
    """Classes, least trusted first, with the share of their pixels that regions hold; at = class.

    Without `regions` the share is that to which the model agrees with the labels, in whose order they come.
    """
    rows = []
    ordered = sorted(classes, key=lambda entry: -(entry.issue_share or 0.0)) if regions else list(classes)
    for entry in ordered[:MOST_CLASSES]:
        known = "" if entry.score is None else f"the model agrees with its labels to {percent(entry.score)} %"
        held, title = (entry.issue_share, _held(entry)) if regions else (entry.score, "")
        text = " · ".join(filter(None, ("" if held is None else f"{percent(held)} %", title)))
        rows.append({
            "at": entry.name, "name": entry.name, "colour": colors.get(entry.name), "text": text,
            "bars": [{
                "share": held or 0.0, "colour": RED if regions else BLUE,
                "title": f"{entry.name}: {'; '.join(filter(None, (text if regions else '', known)))}",
            }],
        })  # fmt: skip
    meaning = ["share of the class's pixels in regions", RED] if regions else ["how far the model agrees", BLUE]
    return {"kind": "bars", "legend": [meaning], "rows": rows}


def _held(entry: ClassQuality) -> str:
    """The regions of a class that are left to review."""
    return "all reviewed" if entry.issue_share and not entry.num_pending else count(entry.num_pending, "region")


def pair_matrix(pairs: PairMatrix, measure: str, colors: Mapping[str, str]) -> Card:
    """Pending regions by given (rows) and suggested class (columns); at = both.

    Args:
        pairs: what to show
        measure: "regions" or "pixels"
        colors: of the classes
    """
    values = pairs.counts if measure == "regions" else pairs.areas
    shown = {name: colors[name] for name in (*pairs.given, *pairs.suggested) if name in colors}
    return {
        "kind": "matrix", "rows": pairs.given, "columns": pairs.suggested, "colours": shown, "values": values,
        "texts": [[_compact(value) for value in row] for row in values],
    }  # fmt: skip


def precision(review: ReviewOverview) -> Card:
    """Share of errors among what was reviewed, in all, by kind, and lately."""
    rows: list[tuple[str, Interval]] = [(f"all ({review.accepted + review.rejected:,})", review.precision)]
    rows += [(f"{kind_title(kind)} ({number:,})", found) for kind, number, found in review.by_kind]
    rows += [(f"last {number}", found) for number, found in review.latest]
    return {
        "kind": "intervals",
        "rows": [
            {"name": name, "low": found.low, "high": found.high, "estimate": found.estimate, "text": share(found)}
            for name, found in rows
        ],
    }


def precision_so_far(review: ReviewOverview) -> Card:
    """How the share of errors went while regions were reviewed."""
    series = {
        "name": "share that were errors", "colour": RED,
        "points": [[number, found.estimate] for number, found in review.so_far],
        "band": [[number, found.low, found.high] for number, found in review.so_far],
    }  # fmt: skip
    last = review.so_far[-1][0]
    x = {"title": "regions reviewed", "low": min(1, last - 1), "high": last}
    return {"kind": "curves", "series": [series], "x": x,
            "y": {"title": "share of errors so far", "low": 0, "high": 1, "percent": True}}  # fmt: skip


def compared_scores(comparison: Comparison) -> Card:
    """Two runs as curves: the share of the images below each score. The lower the curve, the better the labels."""
    series = []
    for key, found, color, dashed in zip(comparison.keys, comparison.histograms, (GREY, BLUE), (True, False),
                                         strict=True):  # fmt: skip
        below, points = 0, [[found.edges[0], 0.0]]
        for edge, number in zip(found.edges[1:], found.counts, strict=True):
            below += number
            points.append([edge, below / max(found.total, 1)])
        series.append({"name": key, "colour": color, "dashed": dashed, "points": points})
    edges = comparison.histograms[0].edges
    x = {"title": f"score by {comparison.method}: low = probably wrong", "low": edges[0], "high": edges[-1]}
    return {"kind": "curves", "series": series, "x": x,
            "y": {"title": "share of the images with a lower score", "low": 0, "high": 1, "percent": True}}  # fmt: skip


def compared_kinds(comparison: Comparison) -> Card:
    """Regions by kind in two runs."""
    most = max([number for row in comparison.kinds for number in row[1:]] + [1])
    rows = []
    for kind, *numbers in comparison.kinds:
        for key, color, number in zip(comparison.keys, (GREY, BLUE), numbers, strict=True):
            title = f"{kind_title(kind)}: {count(number, 'region')} ({key})"
            bar = {"share": number / most, "colour": color, "title": title}
            rows.append({"name": kind_title(kind) if key == comparison.keys[0] else "", "bars": [bar],
                         "text": f"{number:,}"})  # fmt: skip
    legend = [[key, color] for key, color in zip(comparison.keys, (GREY, BLUE), strict=True)]
    return {"kind": "bars", "legend": legend, "rows": rows}


def _compact(value: int) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:.0f}{letter}" if value >= 10 * size else f"{value / size:.1f}{letter}"
    return str(value)


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]
