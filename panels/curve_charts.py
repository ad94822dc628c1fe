"""Chart and words of the learning curves panel: pure functions from numbers to Plotly and Markdown.

Backgrounds are transparent and colours of text, axes and grid are the App's; the colours of the classes are readable on
dark and light.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows.training.learning_curves import ClassProgress, TrainingProgress

Chart = dict[str, Any]

MOST_CLASSES = 12
COLORS = (
    "#4f8ff7", "#f58b3c", "#2ea878", "#e5484d", "#a678de", "#c7a008", "#1fa8b8", "#d4609e", "#7d8f2e", "#b3704a",
    "#8a93a0", "#5f6fd9",
)  # fmt: skip
CLEAR = "rgba(0,0,0,0)"
_LONGEST_NAME = 24

HELP = """
### Learning curves

How well the network of **Train on noisy labels** predicts the labels that it is trained on, class by class. A network
first learns what is right in noisy labels; when a curve bends, it begins to memorise what is wrong.

- **Points** are the training IoU, the **dashed line** is the curve fitted to it, the **diamond** is the epoch after
  which the labels of that class were corrected.
- A click on a class in the legend hides it, a double click shows it alone.
- **Show proposals** shows what the training would change; accept what is an error of the label, reject what is not.
"""

LEGEND = "Points: training IoU. Dashed line: curve fitted to it. Diamond: labels corrected from here on."

NO_RUN = """
**No noise-robust training yet**

**Train on noisy labels** trains a segmenter that does not memorise wrong labels: it notices, class by class, when that
begins, and proposes corrected labels from then on. The given labels are never written.
"""


def summary(found: TrainingProgress) -> str:
    """One line about a run."""
    fired = [entry for entry in found.classes if entry.fired is not None]
    parts = [f"**{count(found.epochs, 'epoch')}** on `{found.label_field}`"]
    if not found.corrects:
        parts.append("labels were not corrected")
    elif fired:
        parts.append(f"**{len(fired)} of {count(len(found.classes), 'class')}** corrected")
        parts.append(f"**{count(found.num_regions, 'proposal')}**")
    else:
        parts.append("no label was corrected: no class has begun to be memorised; train longer, or set a latest epoch")
    if found.absent:
        parts.append(f"not in the training images: {', '.join(found.absent)}")
    return " · ".join(parts)


def learning_curves(found: TrainingProgress) -> Chart:
    """Training IoU of each class with its fit and a mark where its labels began to be corrected."""
    traces: list[dict[str, Any]] = []
    for place, entry in enumerate(found.classes[:MOST_CLASSES]):
        traces += _class_traces(found.times, entry, COLORS[place % len(COLORS)])
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": CLEAR}
    layout = layout_of(
        xaxis={"title": {"text": "epochs"}, "range": [0, max([found.epochs, *found.times]) * 1.03], "showgrid": False},
        yaxis={"title": {"text": "overlap (IoU) of predictions and labels"}, "range": [0, 1.02]},
        hovermode="closest",
        showlegend=True,
        legend={**legend, "groupclick": "togglegroup"},
    )
    return chart(traces, layout, "52vh")


def _class_traces(times: Sequence[float], entry: ClassProgress, color: str) -> list[dict[str, Any]]:
    name = quote_html(short(entry.name))
    common = {"type": "scatter", "legendgroup": entry.name, "hoverinfo": "text"}
    measured = {
        **common, "mode": "lines+markers", "name": name, "x": list(times), "y": entry.ious,
        "line": {"color": color, "width": 1}, "marker": {"color": color, "size": 5}, "connectgaps": True,
        "hovertext": [
            "" if iou is None else f"{name}: IoU {iou:.3f} after {time:.3g} epochs"
            for time, iou in zip(times, entry.ious, strict=True)
        ],
    }  # fmt: skip
    traces = [measured]
    if entry.fit:
        traces.append({
            **common, "mode": "lines", "name": f"{name}, fit", "showlegend": False, "hoverinfo": "skip",
            "x": [round(time, 3) for time, _ in entry.fit], "y": [round(iou, 4) for _, iou in entry.fit],
            "line": {"color": color, "width": 2, "dash": "dash"},
        })  # fmt: skip
    if entry.fired is not None:
        traces.append({
            **common, "mode": "markers", "name": f"{name}, trigger", "showlegend": False,
            "x": [entry.fired], "y": [_iou_at(times, entry, entry.fired)],
            "marker": {"color": color, "size": 14, "symbol": "diamond", "line": {"color": "#ffffff", "width": 1.5}},
            "hovertext": [f"{name}: labels corrected after {count(entry.fired, 'epoch')}{_between(entry)}"],
        })  # fmt: skip
    return traces


def _iou_at(times: Sequence[float], entry: ClassProgress, epoch: int) -> float:
    """The last IoU that was known when the class fired."""
    known = [iou for time, iou in zip(times, entry.ious, strict=True) if iou is not None and time <= epoch + 1e-6]
    return known[-1] if known else 0.0


def _between(entry: ClassProgress) -> str:
    if entry.interval is None:
        return ""
    return f"; the bend lies between {entry.interval[0]:.1f} and {entry.interval[1]:.1f} (80 %)"


def class_table(found: TrainingProgress) -> str:
    """When each class fired and what would change, as a Markdown table."""
    lines = [
        "| class | labelled pixels | corrected after epoch | pixels taken | pixels added |",
        "|---|---:|---:|---:|---:|",
    ]
    for entry in found.classes:
        fired = "–" if entry.fired is None else str(entry.fired)
        name = entry.name.replace("|", "\\|")
        lines.append(f"| {name} | {entry.pixels:,} | {fired} | {entry.lost:,} | {entry.won:,} |")
    if len(found.classes) > MOST_CLASSES:
        lines.append(f"\nThe chart has the {MOST_CLASSES} classes with the most labelled pixels.")
    return "\n".join(lines)


def short(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name that fits beside an axis.

    Example:
        >>> short("a very long class name", 16)
        'a very long cla…'
    """
    return name if len(name) <= longest else name[: longest - 1] + "…"


def quote_html(text: str) -> str:
    """Text that Plotly must not take for tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


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
