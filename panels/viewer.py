"""The picture of a correction query: the component of our own in the App, and the same by Plotly where that is missing.

Both are built from a question and nothing else. Images travel in the view: what is in a panel's state is sent back to
the server with every later click in the App.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import fiftyone.operators.types as types
import numpy as np
from PIL import Image

from ..fiftyone_plugin.workflows.correcting.sitting import Question

BUNDLE: Final = Path(__file__).parent / "js" / "dist" / "index.umd.js"
COMPONENT: Final = "LabelCorrectionCanvas"

OVERLAYS: Final = ("outline", "tint", "off")
"""How the label is shown on the image."""

NO_CLASS: Final = 255

_HEIGHT = "clamp(260px, calc(100vh - 380px), 1400px)"  # the component then takes what room there is
_SHADE, _TINT = 77, 110  # of 255, as in the component
_LOSSLESS = 100_000
_FRAMED = 2.0  # a first look at a region shows this many times its size
_FRAMED_LEAST = 160


@dataclass(frozen=True)
class Look:
    """How a question is to be shown, beside the question itself.

    Attributes:
        version: another number for anything that has changed
        tab: the browser tab that asks
        overlay: one of `OVERLAYS`
        colors: of the classes by name, as "#rrggbb"
        keys: key to action and its value
        help: keys as a person reads them, and what they do
        held: names of the pictures that the browser has already
    """

    version: int = 0
    tab: str = ""
    overlay: str = OVERLAYS[0]
    colors: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    help: Sequence[tuple[str, str]] = ()
    held: Collection[str] = ()


def canvas_view(question: Question | None, look: Look, on_act: Any) -> types.View:
    """The view that the component of `panels/js` draws.

    Args:
        question: what is asked; None before the browser has said which tab it is
        look: how it is shown
        on_act: method of the panel that is told what the person does, or its address

    Returns:
        the view of a property of the panel
    """
    names = list(question.classes) if question else []
    return types.View(
        component=COMPONENT,
        composite_view=True,
        tab=look.tab,
        version=look.version,
        names=names,
        colours=class_colours(names, look.colors),
        overlay=look.overlay,
        keys={key: list(meant) for key, meant in look.keys.items()},
        help=[list(row) for row in look.help],
        height=_HEIGHT,
        on_act=on_act,
        **(_shown(question, look.held) if question else _NOTHING),
    )


_NOTHING: dict[str, Any] = {
    "question": "", "picture": "", "image": "", "labels": "", "size": [1, 1], "region": "", "region_at": [0, 0],
    "box": [0, 0, 1, 1], "point": [0, 0], "points": [], "given": "", "overview": "", "part": [0, 0, 1, 1],
}  # fmt: skip


def _shown(question: Question, held: Collection[str]) -> dict[str, Any]:
    picture = picture_name(question)
    rows, columns = np.nonzero(question.region)
    top, left = (int(rows.min()), int(columns.min())) if rows.size else (0, 0)
    part = question.region[top : int(rows.max(initial=0)) + 1, left : int(columns.max(initial=0)) + 1]
    return {
        "question": question.query_id,
        "picture": picture,
        "image": "" if picture in held else photo_uri(question.image),
        "labels": "" if picture in held else png_uri(question.labels),
        "size": [question.image.shape[1], question.image.shape[0]],
        "region": png_uri(part),
        "region_at": [left, top],
        "box": [int(end) for end in question.box],
        "point": [int(end) for end in question.point],
        "points": [[int(x), int(y), bool(positive)] for x, y, positive in question.points],
        "given": question.given,
        "overview": "" if picture in held or question.overview is None else photo_uri(question.overview),
        "part": [float(end) for end in question.part],
    }


def picture_name(question: Question) -> str:
    """A name that is another one when the image or the label as corrected so far is."""
    return labels_name(question.query_id, question.labels)


def labels_name(name: str, labels: np.ndarray) -> str:
    """A name that is another one when the labels are."""
    return f"{name}-{zlib.crc32(labels.tobytes()):08x}"


def class_colours(names: Sequence[str], colors: Mapping[str, str]) -> list[list[int]]:
    """Red, green and blue of each class; grey where it has no colour."""
    return [_rgb(colors.get(name, "#808080")) for name in names]


def png_uri(values: np.ndarray) -> str:
    """A grey PNG as data URI.

    Args:
        values: (h, w) uint8, or bool for 0 and 255

    Returns:
        the address

    Example:
        >>> import numpy as np
        >>> png_uri(np.zeros((2, 2), bool))[:22]
        'data:image/png;base64,'
    """
    return _uri(Image.fromarray(values), "PNG", compress_level=1)


def photo_uri(image: np.ndarray) -> str:
    """An image as data URI: exact if it is small, else as JPEG of a quality that hides nothing.

    Args:
        image: (h, w, 3) uint8

    Returns:
        the address
    """
    if image.shape[0] * image.shape[1] <= _LOSSLESS:
        return _uri(Image.fromarray(image), "PNG", compress_level=1)
    return _uri(Image.fromarray(image), "JPEG", quality=92, subsampling=0)


def _uri(image: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _rgb(color: str) -> list[int]:
    return list(bytes.fromhex(color.lstrip("#")[:6]))


# --- Plotly ------------------------------------------------------------------------------------------------------


def plotly_view(question: Question, look: Look) -> dict[str, Any]:
    """The same picture by Plotly: what `panel.plot` wants.

    Data given here, and not set as panel data, leaves the zoom alone when something changes.

    Args:
        question: what is asked
        look: how it is shown

    Returns:
        `data`, `layout`, `config`, `height` and `width`
    """
    height, width = question.region.shape
    across, down = _first_look(question)
    return {
        "data": [
            {"type": "image", "source": _clear(width, height), "opacity": 0, "hoverinfo": "none"},
            _marks([(*question.point, None)], {None: ("cross-thin-open", "#ffd400")}, "question"),
            _marks(question.points, {True: ("circle", "#1b7f3b"), False: ("circle", "#c62828")}, "clicks"),
        ],
        "layout": {
            "dragmode": "pan",
            "hovermode": "closest",
            "showlegend": False,
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "uirevision": question.query_id,
            "images": [
                _layer(photo_uri(question.image), width, height, "below"),
                _layer(_uri(Image.fromarray(overlay_pixels(question, look)), "PNG", compress_level=1), width, height,
                       "above"),
            ],
            "xaxis": {"visible": False, "range": across, "constrain": "domain"},
            "yaxis": {"visible": False, "range": down[::-1], "scaleanchor": "x", "constrain": "domain"},
        },
        "config": {"displayModeBar": False, "scrollZoom": True, "doubleClick": "reset"},
        "height": _HEIGHT,
        "width": "100%",
    }  # fmt: skip


def _first_look(question: Question) -> tuple[list[float], list[float]]:
    """What is seen of x and y at first: the region and its surroundings."""
    top, left, bottom, right = question.box
    height, width = question.region.shape
    size = max(_FRAMED * max(bottom - top, right - left), _FRAMED_LEAST)
    ranges = []
    for middle, length in (((left + right) / 2, width), ((top + bottom) / 2, height)):
        seen = min(size, length)
        start = min(max(middle - seen / 2, 0), length - seen)
        ranges.append([start - 0.5, start + seen - 0.5])
    return ranges[0], ranges[1]


def _layer(source: str, width: int, height: int, layer: str) -> dict[str, Any]:
    return {
        "source": source, "xref": "x", "yref": "y", "x": -0.5, "y": -0.5, "sizex": width, "sizey": height,
        "sizing": "stretch", "layer": layer,
    }  # fmt: skip


def _marks(points: Sequence[Any], kinds: Mapping[Any, tuple[str, str]], name: str) -> dict[str, Any]:
    kind = [kinds[point[2]] for point in points]
    line = {"width": 3 if name == "question" else 2, "color": "#ffd400" if name == "question" else "#ffffff"}
    return {
        "type": "scatter", "mode": "markers", "name": name, "hoverinfo": "skip",
        "x": [int(point[0]) for point in points], "y": [int(point[1]) for point in points],
        "marker": {"size": 14, "symbol": [symbol for symbol, _ in kind], "color": [color for _, color in kind],
                   "line": line},
    }  # fmt: skip


def _clear(width: int, height: int) -> str:
    """A picture that is not seen but says which of its pixels is clicked."""
    return _uri(Image.new("1", (width, height)), "PNG", optimize=True)


def overlay_pixels(question: Question, look: Look) -> np.ndarray:
    """What is drawn over the image: the label, a shade over all but the region, and the region's edge.

    Args:
        question: what is asked
        look: overlay and colours

    Returns:
        (h, w, 4) uint8, RGBA
    """
    region, labels = question.region, question.labels
    pixels = np.zeros((*region.shape, 4), np.uint8)
    pixels[~region, 3] = _SHADE
    if look.overlay != "off":
        table = np.zeros((256, 3), np.uint8)
        for index, name in enumerate(question.classes[:NO_CLASS]):
            table[index] = _rgb(look.colors.get(name, "#808080"))
        where = (labels != NO_CLASS) & (True if look.overlay == "tint" else _border(labels))
        pixels[where, :3] = table[labels[where]]
        pixels[where, 3] = _TINT if look.overlay == "tint" else 255
    edge = _border(region)
    pixels[edge & region] = (255, 255, 255, 255)
    pixels[edge & ~region] = (0, 0, 0, 255)
    return pixels


def _border(values: np.ndarray) -> np.ndarray:
    """Pixels with a neighbour of another value."""
    found = np.zeros(values.shape, bool)
    for one, other in (((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
                       ((slice(None), slice(1, None)), (slice(None), slice(None, -1)))):  # fmt: skip
        differ = values[one] != values[other]
        found[one] |= differ
        found[other] |= differ
    return found
