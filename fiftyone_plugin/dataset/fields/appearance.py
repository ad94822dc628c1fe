"""How a run looks in the App: colours that tell classes apart, saved views, a sidebar group."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock, local
from typing import Any

ISSUE_COLOR = "#ff00e6"
KIND_COLORS = {"missing": "#00b8ff", "spurious": "#ff7a00", "wrong_class": "#ff00e6", "boundary": "#ffe600"}
"""Told apart on photos of any kind, also by people who see red and green alike."""

LIGHT = 0.35
"""Opacity of labels over the image, unless the user has chosen one."""


_saving = Lock()
_held = local()


def distinct_colors(count: int) -> list[str]:
    """Colours that neighbours in the list can be told apart by.

    Args:
        count: how many

    Returns:
        hex colours: hues by the golden angle, lightness in three steps

    Example:
        >>> len(set(distinct_colors(40)))
        40
    """
    colors = []
    for index in range(count):
        hue = (0.58 + index * 0.6180339887) % 1
        red, green, blue = colorsys.hls_to_rgb(hue, (0.5, 0.66, 0.4)[index % 3], 0.72)
        colors.append(f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}")
    return colors


@contextmanager
def saved_once(dataset: Any) -> Iterator[None]:
    """Save what is set within at its end only: FiftyOne writes the whole dataset document each time.

    Args:
        dataset: the `fiftyone.Dataset`
    """
    _held.dataset = dataset
    try:
        yield
    finally:
        _held.dataset = None
    dataset.save()


def color_classes(
    dataset: Any, fields: list[str], names: Mapping[int, str], colors: Mapping[int, str] | None = None
) -> None:
    """Give each class of some mask fields a colour of its own, unless the user has set colours already.

    Args:
        dataset: the `fiftyone.Dataset`
        fields: Segmentation fields that share their classes
        names: mask value to class name; 0 is never drawn by FiftyOne
        colors: mask value to hex colour; distinct ones where not given
    """
    scheme = _scheme(dataset)
    values = [value for value in names if value > 0]
    chosen = dict(zip(values, distinct_colors(len(values)), strict=True)) | dict(colors or {})
    targets = [{"intTarget": int(value), "color": chosen[value]} for value in values]
    known = {str(entry.get("path")) for entry in scheme.fields or [] if entry.get("maskTargetsColors")}
    fresh = [{"path": name, "maskTargetsColors": targets} for name in fields if name not in known]
    if not fresh:
        return
    scheme.fields = [*_without(scheme.fields, {str(entry["path"]) for entry in fresh}), *fresh]
    _save_scheme(dataset, scheme)


def class_colors(dataset: Any, field: str, classes: Sequence[str]) -> dict[str, str]:
    """The colours in which the App shows the classes of a mask field.

    Args:
        dataset: the `fiftyone.Dataset`
        field: the Segmentation field
        classes: names of its classes

    Returns:
        class name to hex colour; distinct ones where the dataset has none
    """
    scheme = dataset.app_config.color_scheme
    entries = [entry for entry in (scheme.fields if scheme else None) or [] if entry.get("path") == field]
    named = {int(value): name for value, name in (dataset.mask_targets.get(field) or {}).items() if _is_index(value)}
    chosen = {
        named[target["intTarget"]]: target["color"]
        for entry in entries
        for target in entry.get("maskTargetsColors") or []
        if target.get("intTarget") in named and _is_hex(target.get("color"))
    }
    names = list(dict.fromkeys([*named.values(), *classes]))  # in an order of its own, so that all panels agree
    others = [name for name in names if name not in chosen]
    spare = [color for color in distinct_colors(len(names)) if color not in chosen.values()]
    colors = {**dict(zip(others, spare, strict=False)), **chosen}
    return {name: colors[name] for name in classes}


def _is_index(value: Any) -> bool:
    return isinstance(value, int) or str(value).isdigit()


def _is_hex(color: Any) -> bool:
    return isinstance(color, str) and re.fullmatch("#[0-9a-fA-F]{6}", color) is not None


def color_pixels(dataset: Any, name: str) -> None:
    """The pixels of a mask of zeros and ones in one loud colour."""
    scheme = _scheme(dataset)
    entry = {
        "path": name,
        "fieldColor": ISSUE_COLOR,
        "maskTargetsColors": [{"intTarget": 1, "color": ISSUE_COLOR}],
    }
    scheme.fields = [*_without(scheme.fields, {name}), entry]
    _save_scheme(dataset, scheme)


def color_issues(dataset: Any, issues: str, heatmap: str) -> None:
    """Flagged pixels in one loud colour, suspicion from transparent to hot."""
    color_pixels(dataset, issues)
    scheme = _scheme(dataset)
    scale = {
        "path": heatmap,
        "list": [
            {"value": 0, "color": "rgb(255, 237, 160)"},
            {"value": 0.5, "color": "rgb(253, 141, 60)"},
            {"value": 1, "color": "rgb(189, 0, 38)"},
        ],
    }
    scheme.colorscales = [*_without(scheme.colorscales, {heatmap}), scale]
    _save_scheme(dataset, scheme)


def color_regions(dataset: Any, regions: str) -> None:
    """The kinds of issue regions in fixed colours, the same for every run, as a light fill that hides no object."""
    scheme = _scheme(dataset)
    if scheme.opacity is None:
        scheme.opacity = LIGHT
    entry = {
        "path": regions,
        "fieldColor": ISSUE_COLOR,
        "colorByAttribute": "kind",
        "valueColors": [{"value": kind, "color": color} for kind, color in KIND_COLORS.items()],
    }
    scheme.fields = [*_without(scheme.fields, {regions}), entry]
    _save_scheme(dataset, scheme)


def _scheme(dataset: Any) -> Any:
    import fiftyone as fo

    # By value, or every class of a field has the field's one colour.
    return dataset.app_config.color_scheme or fo.ColorScheme(color_by="value", fields=[], colorscales=[])


def _without(entries: list[dict[str, Any]] | None, paths: set[str]) -> list[dict[str, Any]]:
    return [dict(entry) for entry in entries or [] if entry.get("path") not in paths]


def _save_scheme(dataset: Any, scheme: Any) -> None:
    dataset.app_config.color_scheme = scheme
    _save(dataset)


def _save(dataset: Any) -> None:
    if getattr(_held, "dataset", None) is not dataset:
        dataset.save()


def show_fields(dataset: Any, fields: list[str]) -> None:
    """Tick exactly these fields in the sidebar when the dataset is next opened."""
    import fiftyone as fo

    dataset.app_config.active_fields = fo.ActiveFields(paths=fields)
    _save(dataset)


def save_view(dataset: Any, name: str, view: Any, description: str) -> None:
    """Save a view under a name, replacing one of the same name, also while another page of the App does the same."""

    def save() -> None:
        dataset.save_view(name, view, description=description, color=ISSUE_COLOR, overwrite=True)

    with _saving:
        try:
            save()
        except ValueError:  # another process has deleted it between FiftyOne's look and its own deletion
            save()
