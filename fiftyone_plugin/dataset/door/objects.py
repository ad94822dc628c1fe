"""Objects as labels: detections with masks or boxes, and polylines, each as the pixels that it says something about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...models.segmenters.class_names import concept, plain_name
from .instance_masks import box_mask, instance_mask
from .slices import every_slice

_LISTS: Final = {"Detections": "detections", "Polylines": "polylines", "Detection": "", "Polyline": ""}
"""Kinds of label fields that hold objects, and where in a label the list of them is; empty for a single one."""

BACKGROUND: Final = 0
_LINE_SHARE = 0.004
"""Width of an open line, as a share of the longer side of the image."""


@dataclass(frozen=True, eq=False)
class ObjectPixels:
    """What an object says of the pixels of its image.

    Attributes:
        label_id: FiftyOne's id of the object
        name: its class; None if it has none
        mask: (H, W) bool, where the object is
        unsure: (H, W) bool, where it may be: the corners of a box without a mask; None if there is no such place
    """

    label_id: str
    name: str | None
    mask: np.ndarray
    unsure: np.ndarray | None = None


def object_list(samples: Any, name: str) -> str | None:
    """Path of the list of objects in a label field.

    Args:
        samples: a `fiftyone` dataset or view
        name: a field

    Returns:
        such as "instances.detections"; the field itself if it holds one object; None if it holds no objects
    """
    field = samples.get_field(name) if isinstance(name, str) else None
    kind = getattr(getattr(field, "document_type", None), "__name__", "")
    return f"{name}.{_LISTS[kind]}".rstrip(".") if kind in _LISTS else None


def object_fields(samples: Any) -> list[str]:
    """Names of the fields of a collection that hold objects."""
    names = [name for name in samples.get_field_schema() if not name.startswith("_")]
    return [name for name in names if object_list(samples, name) is not None]


def objects_in(label: Any) -> list[Any]:
    """The objects of a label of any of these kinds.

    Args:
        label: `fiftyone.Detections`, `Polylines`, `Detection`, `Polyline`, or None

    Returns:
        `fiftyone.Detection` or `fiftyone.Polyline` objects

    Example:
        >>> objects_in(None)
        []
    """
    if label is None:
        return []
    inside = _LISTS[type(label).__name__]
    return list(getattr(label, inside) or []) if inside else [label]


def object_classes(samples: Any, name: str) -> dict[int, str]:
    """The classes of the objects of a dataset: mask value to name, 0 for what no object covers.

    Names are in the order of `dataset.classes`, others follow by the alphabet; spellings of one name are one class.

    Args:
        samples: the dataset or a view of it, whose whole dataset counts
        name: the field

    Returns:
        the classes; 0 is not named where objects of some class are called background

    Example:
        >>> from types import SimpleNamespace
        >>> _numbered(["car", "Traffic Light", "traffic_light"], ["person", "traffic light"])
        {0: 'background', 1: 'traffic light', 2: 'car'}
    """
    dataset = samples._root_dataset
    path = object_list(dataset, name)
    found = sorted(str(one) for one in every_slice(dataset).distinct(f"{path}.label") if one)
    return _numbered(found, dataset.classes.get(name) or dataset.default_classes or [])


def _numbered(found: Sequence[str], listed: Sequence[str]) -> dict[int, str]:
    there = {plain_name(one) for one in found}
    names: dict[str, str] = {}
    for one in [*(one for one in listed if plain_name(one) in there), *found]:
        names.setdefault(plain_name(one), one)
    numbered = dict(enumerate(names.values(), start=1))
    called = any(concept(one) == concept("background") for one in numbered.values())
    return numbered if called else {BACKGROUND: "background", **numbered}


def object_pixels(one: Any, shape: tuple[int, int]) -> ObjectPixels:
    """Draw an object.

    Args:
        one: a `fiftyone.Detection` or `fiftyone.Polyline`
        shape: (H, W) of the image

    Returns:
        its pixels; of a box without a mask the ellipse in it, and its corners as unsure; of a closed polyline what is
        inside, of an open one a line

    Raises:
        OSError: if its mask is a file that cannot be read
    """
    name = str(one.label) if one.label else None
    if type(one).__name__ == "Polyline":
        return ObjectPixels(str(one.id), name, _polyline_mask(one, shape))
    nothing = np.zeros(shape, bool)
    if not one.bounding_box:
        return ObjectPixels(str(one.id), name, nothing)
    mask = instance_mask(one, shape)
    if mask is not None:
        return ObjectPixels(str(one.id), name, mask)
    box = box_mask(one.bounding_box, shape)
    inside = box & _ellipse(one.bounding_box, shape)
    return ObjectPixels(str(one.id), name, inside, box & ~inside)


def _ellipse(box: Sequence[float], shape: tuple[int, int]) -> np.ndarray:
    x, y, width, height = box
    rows = ((np.arange(shape[0]) + 0.5) / shape[0] - y - height / 2) / max(height / 2, 1e-9)
    columns = ((np.arange(shape[1]) + 0.5) / shape[1] - x - width / 2) / max(width / 2, 1e-9)
    return rows[:, None] ** 2 + columns[None] ** 2 <= 1


def _polyline_mask(polyline: Any, shape: tuple[int, int]) -> np.ndarray:
    import fiftyone as fo

    area = bool(polyline.closed or polyline.filled)
    points = [shape_points for shape_points in polyline.points or [] if len(shape_points) > (2 if area else 1)]
    if not points:
        return np.zeros(shape, bool)
    drawn = fo.Polyline(points=points, closed=area, filled=area)
    width = max(round(max(shape) * _LINE_SHARE), 1)
    segmentation = drawn.to_segmentation(frame_size=(shape[1], shape[0]), target=1, thickness=width)
    return np.asarray(segmentation.get_mask()) > 0
