"""Errors put into a label on purpose, to learn what an error looks like to this model on this dataset."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ..pixels.boundaries import NOWHERE, components
from ..pixels.inputs import check_label, check_probabilities, is_tensor
from ..pixels.measurement import measure_image
from ..pixels.pixel_maps import PixelMaps
from ..records.arrays_file import read_arrays, write_arrays
from ..regions.cutting import Scene
from ..regions.issue_regions import ImageRegions, RankedRegions, ranked_regions, typed
from ..regions.region_terms import FEATURE_NAMES, MAX_PER_IMAGE
from ..scores.image_scores import softmin

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.integer[Any]]

REHEARSED_KINDS: Final = ("drop_object", "add_object", "wrong_class", "erode", "dilate")
"""Errors of one object each; see `rehearsal.ERROR_KINDS`."""

NUM_REHEARSALS: Final = 256
"""Altered labels that a dataset is judged from; more hardly changed the ranking on our tuning images."""

MOST_PER_IMAGE: Final = 4
HIT_OVERLAP: Final = 0.25
"""Intersection over union with the error from which on a region has found it."""


@dataclass(frozen=True, eq=False)
class RegionRows:
    """The regions of one label without their masks.

    Attributes:
        features: (R, F), see `FEATURE_NAMES`
        given: (R,) most frequent given class
        suggested: (R,) most frequent predicted class
    """

    features: FloatArray
    given: IntArray
    suggested: IntArray

    @classmethod
    def of(cls, regions: ImageRegions) -> RegionRows:
        """Take the rows of an image's regions, in their order.

        Args:
            regions: of one image

        Returns:
            The rows.
        """
        given = np.array([region.given for region in regions], np.int64)
        return cls(regions.features, given, np.array([region.suggested for region in regions], np.int64))

    def __len__(self) -> int:
        return len(self.given)

    @property
    def pairs(self) -> IntArray:
        """(R, 2) given and suggested class."""
        return np.column_stack([self.given, self.suggested])

    def typed(self, background: int | None) -> RegionRows:
        """Return the same regions with kinds that agree with their classes.

        Args:
            background: class that stands for nothing, or None

        Returns:
            New rows.
        """
        return replace(self, features=typed(self.features, self.given, self.suggested, background))


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """A label with one error in it that was not there before.

    Attributes:
        rows: its regions
        hits: (R,) bool, whether a region is the error
        softmin: of the altered label
        pixels: how many are wrong
        classes: what most of them are, and what they are called
        kind: one of `REHEARSED_KINDS`
    """

    rows: RegionRows
    hits: BoolArray
    softmin: float
    pixels: int
    classes: tuple[int, int]
    kind: str


def rehearsals_of(index: int, num_images: int) -> int:
    """Return how many altered labels an image contributes, so that a dataset has about `NUM_REHEARSALS`.

    Args:
        index: of the image, from 0
        num_images: of the dataset

    Returns:
        0 to `MOST_PER_IMAGE`.

    Example:
        >>> [rehearsals_of(i, 512) for i in range(4)], rehearsals_of(0, 10)
        ([1, 0, 1, 0], 4)
    """
    if num_images <= NUM_REHEARSALS:
        return min(MOST_PER_IMAGE, -(-NUM_REHEARSALS // num_images))
    return -(-(index + 1) * NUM_REHEARSALS // num_images) - -(-index * NUM_REHEARSALS // num_images)


def rehearse(
    label: object,
    pred_probs: object,
    *,
    count: int,
    seed: int | Sequence[int],
    ignore_index: int | None = 255,
    temperature: float = 0.1,
    from_logits: bool = False,
    tolerance: float | None = None,
    min_area: int | None = None,
    max_per_image: int = MAX_PER_IMAGE,
) -> list[Rehearsal]:
    """Put one error of a random kind into copies of a label and measure them against the same prediction.

    Args:
        label: (H, W) class indices
        pred_probs: (K, H, W) probabilities or logits
        count: altered labels wanted
        seed: of the errors
        ignore_index: label value of pixels to leave out, or None
        temperature: of softmin
        from_logits: whether `pred_probs` are logits
        tolerance: as for `image_regions`
        min_area: as for `image_regions`
        max_per_image: as for `image_regions`

    Returns:
        At most `count` altered labels; fewer where the label offers no object to alter.

    Example:
        >>> label = np.zeros((60, 80), int)
        >>> label[10:25, 20:40] = 1
        >>> probs = np.stack([np.where(label == 0, 0.9, 0.1), np.where(label == 1, 0.9, 0.1)])
        >>> altered, = rehearse(label, probs, count=1, seed=0)
        >>> bool(altered.hits.any())
        True
    """
    if not count:
        return []
    original = check_label(label)
    probs = check_probabilities(pred_probs, original.shape)
    maps = measure_image(original, probs, ignore_index=ignore_index, from_logits=from_logits).maps
    return rehearse_in_scene(
        Scene.of(original, maps, tolerance), original, probs, count=count, seed=seed, ignore_index=ignore_index,
        temperature=temperature, from_logits=from_logits, min_area=min_area, max_per_image=max_per_image,
    )  # fmt: skip


def rehearse_in_scene(
    scene: Scene,
    label: object,
    pred_probs: object,
    *,
    count: int,
    seed: int | Sequence[int],
    ignore_index: int | None = 255,
    temperature: float = 0.1,
    from_logits: bool = False,
    min_area: int | None = None,
    max_per_image: int = MAX_PER_IMAGE,
) -> list[Rehearsal]:
    """Rehearse errors in an image that has been measured: only the probabilities of the altered pixels are read.

    Args:
        scene: of the same label and probabilities
        label: (H, W) class indices
        pred_probs: (K, H, W) probabilities or logits
        count: as for `rehearse`
        seed: as for `rehearse`
        ignore_index: as for `rehearse`
        temperature: as for `rehearse`
        from_logits: as for `rehearse`
        min_area: as for `image_regions`
        max_per_image: as for `image_regions`

    Returns:
        The same as `rehearse`.
    """
    from ..known_errors.errors import error_subject, inject_into

    original = check_label(label)
    probs = check_probabilities(pred_probs, original.shape)
    rng = np.random.default_rng(seed)
    subject = error_subject(original, class_ids=range(probs.shape[0]), ignore_index=ignore_index)
    altered: list[Rehearsal] = []
    for kind in rng.permutation(REHEARSED_KINDS):
        if len(altered) == count:
            break
        error = inject_into(subject, [str(kind)], rng)
        if error is None:
            continue
        at = np.flatnonzero(error.changed)
        confidence = scene.maps.self_confidence.copy()
        confidence.reshape(-1)[at] = _confidence_at(at, error.mask, probs, ignore_index, from_logits)
        maps = PixelMaps(confidence, scene.maps.best_probability, scene.maps.predicted)
        found = ranked_regions(scene.with_label(error.mask, maps), min_area=min_area, max_per_image=max_per_image)
        table, order = found.table, found.order
        rows = RegionRows(table.features[order], table.given[order], table.suggested[order])
        altered.append(
            Rehearsal(
                rows,
                _hits(found, error.changed),
                softmin(confidence, temperature),
                int(at.size),
                (_most(original[error.changed]), _most(error.mask[error.changed])),
                str(kind),
            )
        )
    return altered


def _most(values: IntArray) -> int:
    return int(np.bincount(values).argmax())


def _confidence_at(
    at: IntArray, label: IntArray, probs: Any, ignore_index: int | None, from_logits: bool
) -> npt.NDArray[np.floating[Any]]:
    """Return the probability of the label at the pixels `at`, read as an image of one row."""
    rows, columns = np.unravel_index(at, label.shape)
    places: list[Any] = [rows, columns]
    if is_tensor(probs):
        import torch

        places = [torch.from_numpy(index).to(probs.device) for index in places]
    part = measure_image(
        label.reshape(1, -1)[:, at],
        probs[:, places[0], places[1]][:, None],
        ignore_index=ignore_index,
        from_logits=from_logits,
    )
    return part.maps.self_confidence[0]


def _hits(found: RankedRegions, changed: BoolArray) -> BoolArray:
    """Tell which regions overlap a connected part of the change well enough to have found it."""
    parts, count = components(np.where(changed, 0, NOWHERE).astype(np.int32))
    sizes = np.bincount(parts[changed], minlength=count)
    regions, inside = found.cut.ids[changed], parts[changed]
    keys = (regions * count + inside)[regions >= 0]
    shared = np.bincount(keys, minlength=found.table.areas.size * count).reshape(-1, count)
    overlap = shared / (found.table.areas[:, None] + sizes - shared)
    return np.asarray(overlap.max(axis=1, initial=0) >= HIT_OVERLAP)[found.order]


def save_rehearsals(rehearsals: Sequence[Rehearsal], path: str | Path) -> Path:
    """Write the altered labels of one image, in one step.

    Args:
        rehearsals: of one image, possibly none
        path: file to write, `*.npz`

    Returns:
        The path.
    """
    empty = np.zeros((0, len(FEATURE_NAMES)))
    return write_arrays(
        Path(path),
        {
            "lengths": np.array([len(one.rows) for one in rehearsals], np.int64),
            "softmins": np.array([one.softmin for one in rehearsals], np.float64),
            "pixels": np.array([one.pixels for one in rehearsals], np.int64),
            "classes": np.array([one.classes for one in rehearsals], np.int64).reshape(-1, 2),
            "kinds": np.array([REHEARSED_KINDS.index(one.kind) for one in rehearsals], np.int64),
            "features": np.concatenate([empty, *(one.rows.features for one in rehearsals)]),
            "given": _joined(one.rows.given for one in rehearsals),
            "suggested": _joined(one.rows.suggested for one in rehearsals),
            "hits": _joined(one.hits for one in rehearsals).astype(np.bool_),
        },
    )


def load_rehearsals(path: str | Path) -> list[Rehearsal]:
    """Read what `save_rehearsals` wrote.

    Args:
        path: the file

    Returns:
        The altered labels.

    Raises:
        FileNotFoundError: if there is no such file.
        LabelQualityError: if it is damaged or was written for other features.
    """
    try:
        arrays = read_arrays(Path(path))
        if arrays["features"].shape[1] != len(FEATURE_NAMES):
            raise ValueError(f"{arrays['features'].shape[1]} features instead of {len(FEATURE_NAMES)}")
        ends = np.cumsum(arrays["lengths"])[:-1]
        columns = (np.split(arrays[name], ends) for name in ("features", "given", "suggested", "hits"))
        about = (arrays[name].tolist() for name in ("softmins", "pixels", "classes", "kinds"))
        rows = zip(*columns, *about, strict=True) if len(arrays["lengths"]) else ()
        return [
            Rehearsal(RegionRows(f, g, s), h, low, size, (a, b), REHEARSED_KINDS[kind])
            for f, g, s, h, low, size, (a, b), kind in rows
        ]
    except (KeyError, IndexError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise LabelQualityError(
            f"Expected rehearsed labels in {path}, but the file is damaged or of another version ({error}); delete it "
            "and score the image again."
        ) from error


def _joined(columns: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, np.int64), *columns])
