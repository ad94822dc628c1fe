"""One scale for all images of a dataset that have more than 8 bits, whichever job reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...models.files.deep_images import ScaledPath, Window, dataset_window, declared_window, is_deep_file

_LOOKED_AT = 256
"""Files that are opened to find the deep ones among a dataset's."""

_known: dict[Any, Window] = {}


def scaled_paths(samples: Any, paths: Sequence[str]) -> list[str]:
    """Give the paths of 16-bit, signed and floating-point images the scale of their dataset; others stay as they are.

    Args:
        samples: the `fiftyone` dataset or a view of it
        paths: of its images

    Returns:
        the paths, some as `ScaledPath`

    Raises:
        LabelQualityError: what the dataset declares is no scale, see `declared_window`
    """
    deep = {path for path in paths if is_deep_file(path)}
    if not deep:
        return list(paths)
    window = declared_window(samples._dataset.info) or _window(samples._dataset, sorted(deep))
    return [ScaledPath(path, window) if path in deep else path for path in paths]


def scaled_path(samples: Any, path: str) -> str:
    """The same for one image."""
    return scaled_paths(samples, [path])[0]


def _window(dataset: Any, some: Sequence[str]) -> Window:
    """Of all the dataset's images, so that every view of it has the same scale; found once for a state of it."""
    count = dataset._sample_collection.estimated_document_count()
    state = (dataset._doc.id, dataset._sample_collection_name, count)
    if state not in _known:
        rows = dataset._sample_collection.find({}, {"filepath": 1}).sort("_id", 1)
        every = [str(row["filepath"]) for row in rows]
        few = every[:: max(len(every) // _LOOKED_AT, 1)]
        _known[state] = dataset_window([path for path in few if is_deep_file(path)] or list(some))
    return _known[state]
