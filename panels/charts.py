"""Charts of the label quality panel: pure functions from numbers to Plotly traces and layouts.

Backgrounds are transparent and colours of text, axes and grid are left to the App, which knows its theme; colours of
marks are readable on dark and light.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from ..fiftyone_plugin.dataset.fields.overview import Histogram, WorstImage
from ..fiftyone_plugin.quality.regions.review_statistics import Interval
from ..fiftyone_plugin.workflows.reviewing.overview import (
    ClassQuality,
    Comparison,
    PairMatrix,
    RegionOverview,
    ReviewOverview,
)

Chart = dict[str, Any]

BLUE, ORANGE, RED, GREEN, GREY = "#4f8ff7", "#f58b3c", "#e5484d", "#2ea878", "#8a93a0"
STATUS_COLORS = {"pending": ORANGE, "accepted": RED, "rejected": GREY}
MOST_CLASSES = 20
CLEAR = "rgba(0,0,0,0)"
_LONGEST_NAME = 16
_ROW = 24


def kind_title(kind: str) -> str:
    """A kind of region as people write it.

    Example:
        >>> kind_title("wrong_class")
        'wrong class'
    """
    return kind.replace("_", " ")


def short(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name that fits beside an axis.

    Example:
        >>> short("a very long class name")
        'a very long cla…'
    """
    return name if len(name) <= longest else name[: longest - 1] + "…"


def score_histogram(found: Histogram) -> Chart:
    """Images by score, with the median; point number = bin."""
    middles, widths = _bars(found)
    hover = [_span(found.edges, i, f"{count:,} images") for i, count in enumerate(found.counts)]
    trace = {
        "type": "bar", "x": middles, "y": found.counts, "width": widths, "name": "images", "hovertext": hover,
        "hoverinfo": "text", "marker": {"color": BLUE},
    }  # fmt: skip
    layout = layout_of(
        xaxis={**_score_axis(found.edges), "title": {"text": "score: low = probably wrong"}},
        yaxis=_count_axis("images", found.counts),
        hovermode="x",
        bargap=0,
    )
    return chart([trace], _with_medians(layout, [(found.median, ORANGE, "median")]), "30vh")


def kinds(regions: RegionOverview) -> Chart:
    """Regions by kind, stacked by status; x = kind."""
    names = [row[0] for row in regions.kinds]
    traces = []
    for place, (status, color) in enumerate(STATUS_COLORS.items(), start=1):
        counts = [row[place] for row in regions.kinds]
        hover = [f"{kind_title(name)}: {count:,} {status}" for name, count in zip(names, counts, strict=True)]
        traces.append({
            "type": "bar", "x": names, "y": counts, "name": status, "hovertext": hover, "hoverinfo": "text",
            "marker": {"color": color},
        })  # fmt: skip
    layout = layout_of(
        xaxis={"type": "category", "tickvals": names, "ticktext": [kind_title(name) for name in names]},
        yaxis=_count_axis("regions", [sum(row[1:]) for row in regions.kinds]),
        barmode="stack",
        hovermode="x",
        **_legend(),
    )
    return chart(traces, layout, "30vh")


def pair_matrix(pairs: PairMatrix, measure: str) -> Chart:
    """Pending regions by given (y) and suggested (x) class.

    Args:
        pairs: what to show
        measure: "regions" or "pixels"
    """
    values = pairs.counts if measure == "regions" else pairs.areas
    shown = [[value if value else None for value in row] for row in values]
    few = len(pairs.given) * len(pairs.suggested) <= 250
    trace = {
        "type": "heatmap", "name": "pairs",
        "x": pairs.suggested, "y": pairs.given, "z": [[_root(v) for v in row] for row in shown],
        "text": [["" if v is None else _compact(v) for v in row] for row in shown],
        "texttemplate": "%{text}" if few else "",
        "textfont": {"color": "#ffffff"},
        "hovertext": [
            [f"{given} → {name}: {value:,} {measure}" for name, value in zip(pairs.suggested, row, strict=True)]
            for given, row in zip(pairs.given, values, strict=True)
        ],
        "hoverinfo": "text", "xgap": 1, "ygap": 1, "showscale": False, "hoverongaps": False, "zmin": 0,
        "zmax": _root(max(map(max, values), default=1)) or 1,
        "colorscale": [[0, "#6b7480"], [0.5, "#a8622f"], [1, "#e05a00"]],
    }  # fmt: skip
    layout = layout_of(
        xaxis={**_names(pairs.suggested), "title": {"text": "suggested class"}, "showgrid": False, "tickangle": -40},
        yaxis={
            **_names(pairs.given), "title": {"text": "given class", "standoff": 12}, "showgrid": False,
            "autorange": "reversed",
        },
        hovermode="closest",
    )  # fmt: skip
    return chart([trace], layout, f"{max(len(pairs.given), 6) * _ROW + 140}px")


def class_quality(classes: Sequence[ClassQuality]) -> Chart:
    """Least trusted classes: mean probability, and share of pixels in regions; y = class."""
    shown = list(classes)[:MOST_CLASSES]
    names = [entry.name for entry in shown]
    panes = (
        ("mean probability", BLUE, [entry.score for entry in shown], "x", ".2f"),
        ("share in regions", ORANGE, [entry.issue_share for entry in shown], "x2", ".1%"),
    )
    traces = []
    for title, color, values, axis, form in panes:
        texts = ["" if value is None else format(value, form) for value in values]
        traces.append({
            "type": "bar", "orientation": "h", "x": [value or 0 for value in values], "y": names, "xaxis": axis,
            "name": title, "text": texts, "textposition": "outside", "cliponaxis": False, "marker": {"color": color},
            "hovertext": [f"{name}: {text or 'unknown'} {title}" for name, text in zip(names, texts, strict=True)],
            "hoverinfo": "text",
        })  # fmt: skip
    bare = {"showgrid": False, "zeroline": False, "showticklabels": False, "rangemode": "tozero"}
    layout = layout_of(
        xaxis={**bare, "domain": [0, 0.48], "range": [0, 1.2]},
        xaxis2={**bare, "domain": [0.54, 1.0], "range": [0, _room(entry.issue_share for entry in shown)]},
        yaxis={**_names(names), "autorange": "reversed", "showgrid": False},
        hovermode="closest",
        bargap=0.25,
        annotations=[_heading(title, x) for (title, *_), x in zip(panes, (0.0, 0.54), strict=True)],
    )
    layout["margin"]["t"] = 28
    return chart(traces, layout, f"{max(len(shown), 4) * _ROW + 60}px")


def worst_images(images: Sequence[WorstImage], slots: int) -> Chart:
    """The worst images in a row; point id = sample. The browser loads them; none is in the panel's state."""
    bars = {
        "type": "bar", "x": list(range(len(images))), "y": [1] * len(images), "width": 0.96, "opacity": 0,
        "hovertext": [f"score {image.score:.3f}<br>{quote_html(_file_name(image.path))}" for image in images],
        "hoverinfo": "text", "name": "worst images", "marker": {"color": GREY},
        "ids": [image.sample_id for image in images],
    }  # fmt: skip
    captions = {
        "type": "scatter", "mode": "text", "x": bars["x"], "y": [-0.06] * len(images),
        "text": [f"{image.score:.3f}" for image in images], "textposition": "bottom center", "hoverinfo": "skip",
        "cliponaxis": False,
    }  # fmt: skip
    pictures = [
        {
            "source": media_url(image.path), "xref": "x", "yref": "y", "x": place, "y": 0, "sizex": 0.96, "sizey": 1,
            "xanchor": "center", "yanchor": "bottom", "sizing": "contain", "layer": "above",
        }
        for place, image in enumerate(images)
    ]  # fmt: skip
    hidden = {"visible": False, "fixedrange": True}
    layout = layout_of(
        xaxis={**hidden, "range": [-0.5, slots - 0.5]}, yaxis={**hidden, "range": [-0.24, 1]}, images=pictures,
        hovermode="closest",
    )  # fmt: skip
    layout["margin"] = {"l": 0, "r": 0, "t": 0, "b": 0}
    return chart([bars, captions], layout, "10vw")


def precision(review: ReviewOverview) -> Chart:
    """Precision of what was reviewed, with intervals: overall, by kind, and of the last regions."""
    rows: list[tuple[str, Interval]] = [(f"all ({review.accepted + review.rejected:,})", review.precision)]
    rows += [(f"{kind_title(kind)} ({number:,})", found) for kind, number, found in review.by_kind]
    rows += [(f"last {number}", found) for number, found in review.latest]
    names = [name for name, _ in rows]
    trace = {
        "type": "scatter", "mode": "markers", "x": [found.estimate for _, found in rows], "y": names,
        "marker": {"color": RED, "size": 10},
        "error_x": {
            "type": "data", "symmetric": False, "array": [found.high - found.estimate for _, found in rows],
            "arrayminus": [found.estimate - found.low for _, found in rows], "color": RED, "thickness": 2, "width": 5,
        },
        "hovertext": [f"{name}: {share(found)}" for name, found in rows], "hoverinfo": "text", "name": "precision",
    }  # fmt: skip
    layout = layout_of(
        xaxis={"range": [-0.02, 1.02], "tickformat": ".0%", "title": {"text": "share that were label errors"}},
        yaxis={**_names(names, longest=24), "autorange": "reversed"},
        hovermode="closest",
    )
    return chart([trace], layout, f"{len(rows) * 30 + 70}px")


def compared_scores(comparison: Comparison) -> Chart:
    """Scores of two runs over each other, with their medians."""
    traces = []
    for key, found, color in zip(comparison.keys, comparison.histograms, (GREY, GREEN), strict=True):
        middles, widths = _bars(found)
        traces.append({
            "type": "bar", "x": middles, "y": found.counts, "width": widths, "name": key, "opacity": 0.6,
            "marker": {"color": color}, "hoverinfo": "text",
            "hovertext": [_span(found.edges, i, f"{count:,} images ({key})") for i, count in enumerate(found.counts)],
        })  # fmt: skip
    layout = layout_of(
        xaxis={**_score_axis(comparison.histograms[0].edges), "title": {"text": f"score by {comparison.method}"}},
        yaxis=_count_axis("images", [count for found in comparison.histograms for count in found.counts]),
        barmode="overlay",
        hovermode="x",
        bargap=0,
        **_legend(),
    )
    medians = [(found.median, color, "") for found, color in zip(comparison.histograms, (GREY, GREEN), strict=True)]
    return chart(traces, _with_medians(layout, medians), "28vh")


def compared_kinds(comparison: Comparison) -> Chart:
    """Regions by kind in two runs."""
    names = [row[0] for row in comparison.kinds]
    traces = [
        {
            "type": "bar", "x": names, "y": [row[place] for row in comparison.kinds], "name": key,
            "marker": {"color": color}, "hoverinfo": "text",
            "hovertext": [f"{kind_title(row[0])}: {row[place]:,} regions ({key})" for row in comparison.kinds],
        }
        for place, (key, color) in enumerate(zip(comparison.keys, (GREY, GREEN), strict=True), start=1)
    ]  # fmt: skip
    layout = layout_of(
        xaxis={"type": "category", "tickvals": names, "ticktext": [kind_title(name) for name in names]},
        yaxis=_count_axis("regions", [max(row[1:]) for row in comparison.kinds]),
        barmode="group",
        hovermode="closest",
        **_legend(),
    )
    return chart(traces, layout, "28vh")


def share(found: Interval) -> str:
    """A share with its interval.

    Example:
        >>> share(Interval(0.04, 0.008, 0.12))
        '4.0 % [0.8, 12]'
    """
    return f"{percent(found.estimate)} % [{percent(found.low)}, {percent(found.high)}]"


def percent(value: float) -> str:
    """A share in percent, with as many digits as matter.

    Example:
        >>> percent(0.5), percent(0.034), percent(0.00021), percent(0)
        ('50', '3.4', '0.021', '0')
    """
    value *= 100
    if value == 0 or value >= 10:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"


def media_url(path: str) -> str:
    """Where the browser gets a file of the dataset.

    Example:
        >>> media_url("/data/a b.jpg")
        '/media?filepath=%2Fdata%2Fa%20b.jpg'
    """
    return path if path.startswith(("http://", "https://")) else f"/media?filepath={quote(path, safe='')}"


def quote_html(text: str) -> str:
    """Text that Plotly must not take for tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


# --- pieces --------------------------------------------------------------------------------------------------


def chart(traces: list[dict[str, Any]], layout: dict[str, Any], height: str) -> Chart:
    """Arguments of `panel.plot`; in the view, not in panel data, so that a click does not reset what is seen."""
    return {
        "data": traces,
        "layout": layout,
        "config": {"displayModeBar": False, "scrollZoom": False, "doubleClick": "reset"},
        "height": height,
        "width": "100%",
    }


def layout_of(**changes: Any) -> dict[str, Any]:
    """A layout with the App's colours and room for what is written beside the axes."""
    layout = {
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8, "pad": 2},
        "font": {"size": 12},
        "hoverlabel": {"font": {"size": 12}},
        "uirevision": "keep",
        "dragmode": False,
        **changes,
    }
    for name, axis in layout.items():
        if name.startswith(("xaxis", "yaxis")):
            axis.setdefault("automargin", True)
            axis.setdefault("fixedrange", True)
            if "title" in axis:
                axis["title"] = {"font": {"size": 12}, "standoff": 8, **axis["title"]}
    return layout


def _legend() -> dict[str, Any]:
    place = {
        "orientation": "h",
        "traceorder": "normal",
        "x": 1,
        "xanchor": "right",
        "y": 1.02,
        "yanchor": "bottom",
        "bgcolor": CLEAR,
    }
    return {"showlegend": True, "legend": place}


def _bars(found: Histogram) -> tuple[list[float], list[float]]:
    pairs = list(zip(found.edges, found.edges[1:], strict=False))
    return [(low + high) / 2 for low, high in pairs], [(high - low) * 0.94 for low, high in pairs]


def _span(edges: Sequence[float], place: int, text: str) -> str:
    return f"{edges[place]:.3g} to {edges[place + 1]:.3g}: {text}"


def _score_axis(edges: Sequence[float]) -> dict[str, Any]:
    return {"range": [edges[0], edges[-1]], "showgrid": False}


def _count_axis(title: str, counts: Sequence[int]) -> dict[str, Any]:
    """An axis of whole numbers."""
    few = {"dtick": 1} if max(counts, default=0) <= 6 else {}
    return {"title": {"text": title}, "rangemode": "tozero", "tickformat": ",d", "nticks": 6, **few}


def _with_medians(layout: dict[str, Any], medians: Sequence[tuple[float | None, str, str]]) -> dict[str, Any]:
    """Dashed lines at medians, with a word beside them where there is one."""
    known = [(value, color, word) for value, color, word in medians if value is not None]
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1}
    layout["shapes"] = [
        {**line, "x0": value, "x1": value, "line": {"color": color, "width": 2, "dash": "dash"}}
        for value, color, _ in known
    ]
    layout["margin"]["t"] = max(layout["margin"]["t"], 24)
    layout["annotations"] = [
        {
            "x": value, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "text": f"{word} {value:.3g}",
            "xanchor": "center",
        }
        for value, _, word in known if word
    ]  # fmt: skip
    return layout


def _names(names: Sequence[str], longest: int = _LONGEST_NAME) -> dict[str, Any]:
    """A category axis with names cut to a length; full names stay what a click gives."""
    cut = [quote_html(short(name, longest)) for name in names]
    return {"type": "category", "tickmode": "array", "tickvals": list(names), "ticktext": cut}


def _heading(text: str, x: float) -> dict[str, Any]:
    return {
        "text": text, "x": x, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom",
        "showarrow": False, "font": {"size": 12},
    }  # fmt: skip


def _room(shares: Any) -> float:
    """Upper end of an axis that leaves room for a number after the longest bar."""
    return max([value for value in shares if value is not None] + [1e-6]) * 1.25


def _root(value: int | None) -> float | None:
    """Square roots, or a few common pairs would leave all others pale."""
    return None if value is None else round(value**0.5, 3)


def _compact(value: int) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:.0f}{letter}" if value >= 10 * size else f"{value / size:.1f}{letter}"
    return str(value)


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]
