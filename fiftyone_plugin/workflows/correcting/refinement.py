"""Changing a question's region by clicks: by SAM where its embeddings are at hand, else by colour."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from ...dataset.door.masks import resize_nearest
from ...errors import LabelQualityError
from .question_views import scale_of

NO_EMBEDDING = (
    "There is no SAM embedding of this image, so the region grew by colour; run 'Precompute SAM embeddings' to refine "
    "with SAM."
)


class Refiner(Protocol):
    """Changes a region by clicks."""

    def __call__(
        self,
        filepath: str,
        image: np.ndarray,
        window: tuple[int, int, int, int],
        shape: tuple[int, int],
        region: np.ndarray,
        points: Sequence[tuple[int, int, bool]],
    ) -> tuple[np.ndarray, str]:
        """Change a region.

        Args:
            filepath: the whole image
            image: (h, w, 3) uint8, the window of it that is shown
            window: (top, left, bottom, right) in pixels of the label
            shape: (H, W) of the label
            region: (h, w) bool, as it was planned
            points: x, y in the window and whether positive

        Returns:
            (h, w) bool, and what the person should know, empty if nothing
        """


def grow(
    filepath: str,
    image: np.ndarray,
    window: tuple[int, int, int, int],
    shape: tuple[int, int],
    region: np.ndarray,
    points: Sequence[tuple[int, int, bool]],
) -> tuple[np.ndarray, str]:
    """Change a region by colour; see `Refiner`."""
    from ...correction.answers.refinement import grow_region

    return grow_region(image, region, points), ""


def warm_up() -> None:
    """Load what growing needs, so that the first click does not wait for it."""
    image, start = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), bool)
    start[2:4, 2:4] = True
    grow("", image, (0, 0, 8, 8), (8, 8), start, [(5, 5, True)])


class SamRefiner:
    """Changes a region by point prompts to SAM.

    Args:
        checkpoint: of any network of the SAM family
        embeddings: folder in which embeddings were computed; without one, only with a GPU
    """

    def __init__(self, checkpoint: str, embeddings: str | None) -> None:
        from ...models.foundation.sam import cached_sam
        from ...models.foundation.sam_embeddings import EmbeddingCache

        self._sam = cached_sam(checkpoint)
        self._cache = EmbeddingCache(embeddings, self._sam) if embeddings else None

    def __call__(
        self,
        filepath: str,
        image: np.ndarray,
        window: tuple[int, int, int, int],
        shape: tuple[int, int],
        region: np.ndarray,
        points: Sequence[tuple[int, int, bool]],
    ) -> tuple[np.ndarray, str]:
        """Change a region; see `Refiner`."""
        if self._cache is None or not self._cache.has(filepath):
            return grow(filepath, image, window, shape, region, points)[0], NO_EMBEDDING
        embedding = self._cache.get(filepath)
        height, width = embedding.original_size
        y, x = height / shape[0], width / shape[1]
        scale = scale_of(window)
        places = [
            (((px + 0.5) / scale + window[1]) * x - 0.5, ((py + 0.5) / scale + window[0]) * y - 0.5)
            for px, py, _ in points
        ]
        kinds = [good for _, _, good in points]
        if not any(kinds):  # SAM needs to be told where the object is
            rows, columns = np.nonzero(region)
            middle = len(rows) // 2
            place = (columns[middle] + 0.5) / scale + window[1], (rows[middle] + 0.5) / scale + window[0]
            places, kinds = [(place[0] * x - 0.5, place[1] * y - 0.5), *places], [True, *kinds]
        mask, _, _ = self._sam.masks_from_points(embedding, np.array(places, np.float32), np.array(kinds, bool))
        part = (
            round(window[0] * y), round(window[1] * x), round(window[2] * y), round(window[3] * x),
        )  # fmt: skip
        inside = mask[part[0] : part[2], part[1] : part[3]]
        found = resize_nearest(inside, region.shape)
        return (found, "") if found.any() else (region, "SAM found nothing at these clicks; the region was left.")


@lru_cache(maxsize=2)
def refiner_of(checkpoint: str | None, embeddings: str | None = None) -> Refiner:
    """How regions are refined.

    Args:
        checkpoint: of SAM, or None to grow by colour
        embeddings: folder of its embeddings

    Returns:
        the refiner, loaded once

    Raises:
        LabelQualityError: if the checkpoint cannot be loaded
    """
    if checkpoint is None:
        return grow
    if Path(checkpoint).is_absolute() and not Path(checkpoint).exists():
        raise LabelQualityError(
            f"Expected a checkpoint of SAM, but there is no {checkpoint}; precompute the embeddings again with one "
            "that exists"
        )
    return SamRefiner(checkpoint, embeddings)
