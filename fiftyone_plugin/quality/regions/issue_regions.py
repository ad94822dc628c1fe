"""Issue regions: where label and prediction disagree, what kind of error that is, and how surely it is one.

How one image is cut into regions. A pixel disagrees if its given class is not its predicted class.

1. Each mask is cut into its objects: 8-connected components of one class. The wrong share of an object is the share of
   its pixels that disagree.
2. A disagreeing pixel goes to that one of its two objects, the predicted or the given one, that has the larger wrong
   share; to the predicted one if they are equal. So an object that the label misses is one region, of its predicted
   class, even if its surroundings are two classes: each of those is right almost everywhere else. In the same way, an
   object that the label invents is one region, of its given class.
3. Connected pixels that go to one object are a region. If at least half of them are displaced border (see
   `boundaries.displaced_borders`) all of it is a `boundary` region; otherwise the displaced borders are cut off, as
   `boundary` regions of their own, and what is left is, by component, one of:
   - `wrong_class`: the region has an IoU of at least 0.5 both with a predicted and with a given object, so that both
     masks hold about the same shape under two names;
   - `missing`: it went to its predicted object; the given class is what surrounds it;
   - `spurious`: it went to its given object; the predicted class is what surrounds it.
   An object of which the label lacks, or adds, a part that is too wide for a displaced border is `missing` or
   `spurious` too.

The score is a logistic function of a few features of the region (see `FEATURE_NAMES`), most of them those of MetaSeg
(Rottmann et al. 2020; Rottmann & Reese 2022, arXiv 2207.06104). Its coefficients are fixed, see `SCORE_WEIGHTS`; a
`RegionVerifier` moves them to what a reviewer has accepted and rejected.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ..pixels.boundaries import NOWHERE
from ..pixels.pixel_maps import PixelMaps
from ..records.arrays_file import read_arrays, write_arrays
from ..records.image_records import ImageRecord
from .alignment import IN_PLACE, Alignment, alignment
from .cutting import RegionCut, RegionTable, Scene, cut_regions, measure_features, measure_regions
from .logistic_regression import logistic
from .region_terms import FEATURE_NAMES, KINDS, MAX_PER_IMAGE, SMALLEST_SHARE

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.integer[Any]]
Arrays = dict[str, npt.NDArray[Any]]

SCORE_WEIGHTS: Final = (8.231, 0.0, -5.648, 0.515, 0.398, 0.0, -0.456, 1.054, 1.131, 0.606, -0.531, *(0.0,) * 12)
"""Coefficients of the score by feature.

From `benchmarks/fit_region_score.py --scenes 80`: a logistic regression with limited signs on the regions of 160
rendered scenes (seed 1,000,000) with simulated predictions, half of them with one error in the label. A region was an
error if its IoU with the wrong pixels was at least 0.25. This score needs one image only; where there are enough
images, `judging` learns coefficients for the dataset and its model instead, over the other features too.
"""

SCORE_BIAS: Final = -7.385
"""Intercept of the score, from the same fit."""


@dataclass(frozen=True, eq=False)
class IssueRegion:
    """Connected pixels of one image that are probably labelled wrongly.

    Attributes:
        image_index: which image, from 0
        bbox: (top, left, bottom, right) in pixels, half open
        mask: (bottom - top, right - left) bool, the pixels within the box
        kind: one of `KINDS`
        given: the most frequent given class
        suggested: the most frequent predicted class
        score: how surely it is an error, in [0, 1]
        area: number of pixels
    """

    image_index: int
    bbox: tuple[int, int, int, int]
    mask: BoolArray
    kind: str
    given: int
    suggested: int
    score: float
    area: int

    def __repr__(self) -> str:
        return (
            f"IssueRegion(image_index={self.image_index}, bbox={self.bbox}, kind={self.kind!r}, given={self.given}, "
            f"suggested={self.suggested}, score={self.score:.3f}, area={self.area})"
        )


@dataclass(frozen=True, eq=False)
class ImageRegions:
    """The issue regions of one image, worst first.

    Attributes:
        shape: (H, W)
        regions: the regions
        features: (R, F) float64, see `FEATURE_NAMES`
        dropped: how many more there are beyond the limit, all with a lower score
        too_small: how many were passed over for their size
        tolerance: boundary tolerance in pixels
        alignment: where the whole label would fit best
    """

    shape: tuple[int, int]
    regions: tuple[IssueRegion, ...]
    features: FloatArray
    dropped: int
    too_small: int
    tolerance: int
    alignment: Alignment = IN_PLACE

    def __len__(self) -> int:
        return len(self.regions)

    def __iter__(self) -> Iterator[IssueRegion]:
        return iter(self.regions)

    def as_arrays(self) -> Arrays:
        """Return everything as plain arrays, to be saved beside a record; masks take one bit per pixel of their box.

        Returns:
            Arrays by name.

        Example:
            >>> from ..pixels.measurement import measure_image
            >>> maps = measure_image([[0, 0]], np.array([[[0.9, 0.2]], [[0.1, 0.8]]])).maps
            >>> image_regions([[0, 0]], maps).as_arrays()["boxes"]
            array([[0, 1, 1, 2]])
        """
        bits = [np.packbits(region.mask) for region in self.regions]

        def column(name: str, dtype: type[np.generic]) -> npt.NDArray[Any]:
            return np.array([getattr(region, name) for region in self.regions], dtype)

        return {
            "about": np.array([*self.shape, self.dropped, self.too_small, self.tolerance], np.int64),
            "boxes": column("bbox", np.int64).reshape(-1, 4),
            "kinds": np.array([KINDS.index(region.kind) for region in self.regions], np.uint8),
            "image_index": column("image_index", np.int64),
            "given": column("given", np.int32),
            "suggested": column("suggested", np.int32),
            "scores": column("score", np.float64),
            "areas": column("area", np.int64),
            "features": self.features,
            "alignment": np.array(self.alignment, np.float64),
            "masks": np.concatenate([np.zeros(0, np.uint8), *bits]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ImageRegions:
        """Return the regions that `as_arrays` has taken apart.

        Args:
            arrays: by name

        Returns:
            The regions.

        Example:
            >>> from ..pixels.measurement import measure_image
            >>> maps = measure_image([[0, 0]], np.array([[[0.9, 0.2]], [[0.1, 0.8]]])).maps
            >>> found = image_regions([[0, 0]], maps)
            >>> ImageRegions.from_arrays(found.as_arrays()).regions[0].bbox
            (0, 1, 1, 2)
        """
        height, width, dropped, too_small, tolerance = (int(value) for value in arrays["about"])
        regions, start = [], 0
        for row, box in enumerate(arrays["boxes"].tolist()):
            top, left, bottom, right = box
            size = (bottom - top) * (right - left)
            stop = start + -(-size // 8)
            mask = np.unpackbits(arrays["masks"][start:stop], count=size).astype(np.bool_)
            regions.append(
                IssueRegion(
                    int(arrays["image_index"][row]),
                    (top, left, bottom, right),
                    mask.reshape(bottom - top, right - left),
                    KINDS[arrays["kinds"][row]],
                    int(arrays["given"][row]),
                    int(arrays["suggested"][row]),
                    float(arrays["scores"][row]),
                    int(arrays["areas"][row]),
                )
            )
            start = stop
        gain, down, right = arrays["alignment"].tolist()
        found = Alignment(gain, int(down), int(right))
        return cls((height, width), tuple(regions), arrays["features"], dropped, too_small, tolerance, found)

    def save(self, path: str | Path) -> Path:
        """Write the regions; a file that exists is replaced at once or not at all.

        Args:
            path: file to write, usually `*.npz`; its folder must exist

        Returns:
            The path.

        Raises:
            OSError: if the file cannot be written; nothing half-written stays.

        Example:
            >>> import tempfile
            >>> from ..pixels.measurement import measure_image
            >>> maps = measure_image([[0, 0]], np.array([[[0.9, 0.2]], [[0.1, 0.8]]])).maps
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     len(load_regions(image_regions([[0, 0]], maps).save(Path(folder) / "image.npz")))
            1
        """
        return write_arrays(Path(path), self.as_arrays())

    def retyped(self, background: int | None) -> ImageRegions:
        """Return the same regions with kinds that agree with their classes, see `typed`.

        Args:
            background: class that stands for nothing, or None

        Returns:
            New regions, in the same order.

        Example:
            >>> from ..pixels.measurement import measure_image
            >>> maps = measure_image([[0]], np.array([[[0.1]], [[0.9]]])).maps
            >>> found = image_regions([[0]], maps)
            >>> found.regions[0].kind, found.retyped(0).regions[0].kind
            ('wrong_class', 'missing')
        """
        given, suggested = (
            np.array([getattr(r, name) for r in self.regions], np.int64) for name in ("given", "suggested")
        )
        features = typed(self.features, given, suggested, background)
        if features is self.features:
            return self
        kinds = kinds_of(features)
        regions = tuple(replace(region, kind=KINDS[kind]) for region, kind in zip(self.regions, kinds, strict=True))
        return replace(self, regions=regions, features=features)

    def rescored(self, scores: npt.ArrayLike) -> ImageRegions:
        """Return the same regions with other scores, worst first again.

        Args:
            scores: (R,) in [0, 1], for instance of a `RegionVerifier`

        Returns:
            New regions.

        Example:
            >>> from ..pixels.measurement import measure_image
            >>> maps = measure_image([[0, 0]], np.array([[[0.9, 0.2]], [[0.1, 0.8]]])).maps
            >>> image_regions([[0, 0]], maps).rescored([0.25]).regions[0].score
            0.25
        """
        values = np.asarray(scores, np.float64)
        order = np.argsort(-values, kind="stable")
        regions = tuple(replace(self.regions[i], score=float(values[i])) for i in order)
        return replace(self, regions=regions, features=self.features[order])


def load_regions(path: str | Path) -> ImageRegions:
    """Read regions that `ImageRegions.save` wrote.

    Args:
        path: the file

    Returns:
        The regions.

    Raises:
        FileNotFoundError: if there is no such file.
        LabelQualityError: if the file is damaged or of another kind.

    Example:
        >>> load_regions("no_such.npz")
        Traceback (most recent call last):
            ...
        FileNotFoundError: [Errno 2] No such file or directory: 'no_such.npz'
    """
    try:
        return ImageRegions.from_arrays(read_arrays(Path(path)))
    except (KeyError, EOFError, IndexError, ValueError, zipfile.BadZipFile) as error:
        raise LabelQualityError(
            f"Expected issue regions in {path}, but the file is damaged or of another kind ({error}); delete it and "
            "find the regions again."
        ) from error


def image_regions(
    label: object,
    maps: PixelMaps | ImageRecord,
    *,
    tolerance: float | None = None,
    min_area: int | None = None,
    max_per_image: int = MAX_PER_IMAGE,
    image_index: int = 0,
) -> ImageRegions:
    """Find the issue regions of one image from its maps; see the module for how regions are cut and typed.

    Args:
        label: (H, W) class indices, as for `image_record`; ignored are the pixels without a self-confidence
        maps: of this image; or its record, maps included
        tolerance: pixels that a border may be off; None means 1 % of the diagonal, at least 1
        min_area: pixels of the smallest region; None means a 20,000th of the image, at least 1
        max_per_image: regions to keep, those with the highest scores
        image_index: number of the image, written to its regions

    Returns:
        The regions, worst first, and how many were left out.

    Raises:
        TypeError: if `label` is not integer.
        LabelQualityError: if shapes do not fit, the record has lost its maps, or an option is out of range.

    Example:
        >>> probs = np.full((2, 5, 6), 0.1)
        >>> probs[0] = 0.9
        >>> probs[:, 1:4, 2:5] = [[[0.1]], [[0.9]]]
        >>> label = np.zeros((5, 6), int)
        >>> from ..pixels.measurement import measure_image
        >>> found = image_regions(label, measure_image(label, probs).maps)
        >>> found.regions[0].kind, found.regions[0].bbox, found.regions[0].area
        ('missing', (1, 2, 4, 5), 9)
    """
    scene = Scene.of(label, _kept_maps(maps), tolerance)
    return regions_of_scene(scene, min_area=min_area, max_per_image=max_per_image, image_index=image_index)


def regions_of_scene(
    scene: Scene, *, min_area: int | None = None, max_per_image: int = MAX_PER_IMAGE, image_index: int = 0
) -> ImageRegions:
    """Find the issue regions of a scene, which may serve for a rehearsal afterwards.

    Args:
        scene: label and prediction of one image
        min_area: as for `image_regions`
        max_per_image: as for `image_regions`
        image_index: as for `image_regions`

    Returns:
        The regions, as of `image_regions`.

    Raises:
        LabelQualityError: if an option is out of range.
    """
    cut, table, order, scores = ranked_regions(scene, min_area=min_area, max_per_image=max_per_image)
    regions = tuple(_region(image_index, cut, table, int(row), float(scores[row])) for row in order)
    height, width = scene.given.shape
    return ImageRegions(
        (height, width), regions, table.features[order], cut.bounded.size - len(regions), cut.too_small,
        scene.tolerance, alignment(scene.given, scene.predicted),
    )  # fmt: skip


class RankedRegions(NamedTuple):
    """The regions of one image in columns.

    Attributes:
        cut: where they are
        table: their measures
        order: (L,) rows to keep, worst first
        scores: (R,) by the fixed coefficients
    """

    cut: RegionCut
    table: RegionTable
    order: IntArray
    scores: FloatArray


def ranked_regions(scene: Scene, *, min_area: int | None = None, max_per_image: int = MAX_PER_IMAGE) -> RankedRegions:
    """RegionCut, measure and rank the regions of one image.

    Args:
        scene: label and prediction
        min_area: as for `image_regions`
        max_per_image: as for `image_regions`

    Returns:
        The regions.

    Raises:
        LabelQualityError: if an option is out of range.
    """
    smallest = _check_count("min_area", max(1, scene.given.size // SMALLEST_SHARE) if min_area is None else min_area)
    limit = _check_count("max_per_image", max_per_image)
    cut = cut_regions(scene, smallest)
    table = measure_regions(scene, cut)
    scores = region_scores(table.features)
    order = np.lexsort((table.boxes[:, 1], table.boxes[:, 0], -table.areas, -scores))[:limit]
    return RankedRegions(cut, table, order, scores)


def region_features(
    label: object, maps: PixelMaps | ImageRecord, regions: Sequence[IssueRegion], *, tolerance: float | None = None
) -> FloatArray:
    """Return the features of regions of one image, for instance of regions that a reviewer has judged.

    Args:
        label: (H, W) class indices
        maps: of this image; or its record, maps included
        regions: of this image; they do not overlap
        tolerance: as the regions were found with

    Returns:
        (R, F) float64 in the order of `FEATURE_NAMES`.

    Raises:
        LabelQualityError: if a region has no labelled pixel in this image.

    Example:
        >>> from ..pixels.measurement import measure_image
        >>> maps = measure_image([[0, 0]], np.array([[[0.9, 0.2]], [[0.1, 0.8]]])).maps
        >>> found = image_regions([[0, 0]], maps)
        >>> bool((region_features([[0, 0]], maps, found.regions) == found.features).all())
        True
    """
    scene = Scene.of(label, _kept_maps(maps), tolerance)
    ids = np.full(scene.given.shape, NOWHERE, np.int64)
    for number, region in enumerate(regions):
        top, left, bottom, right = region.bbox
        window = ids[top:bottom, left:right]
        if window.shape != region.mask.shape:
            raise LabelQualityError(
                f"Expected a region within an image of {scene.given.shape}, but got the box {region.bbox} with a mask "
                f"of {region.mask.shape}; pass the image that the region was found in."
            )
        window[region.mask] = number
    ids[scene.given == NOWHERE] = NOWHERE
    at = np.flatnonzero(ids >= 0)
    cut = RegionCut(ids, at, ids.reshape(-1)[at], np.zeros(len(regions), np.bool_), np.zeros(len(regions), np.bool_), 0)
    areas = np.bincount(cut.of, minlength=len(regions))
    if not areas.all():
        raise LabelQualityError(
            f"Expected {len(regions)} regions that do not overlap and hold labelled pixels, but some are covered or "
            "ignored; pass regions of one `image_regions` call, and the label that it got."
        )
    kinds = np.array([KINDS.index(region.kind) for region in regions], np.int64)
    boxes = np.array([region.bbox for region in regions], np.int64).reshape(-1, 4)
    return measure_features(scene, cut, areas, boxes, kinds)


def region_scores(features: npt.ArrayLike) -> FloatArray:
    """Return how surely regions are label errors, by the fixed coefficients.

    Args:
        features: (R, F), see `FEATURE_NAMES`

    Returns:
        (R,) float64 in [0, 1].

    Example:
        >>> region_scores(np.zeros((0, len(FEATURE_NAMES))))
        array([], dtype=float64)
    """
    return logistic(np.asarray(features, np.float64) @ np.array(SCORE_WEIGHTS) + SCORE_BIAS)


def kinds_of(features: FloatArray) -> IntArray:
    """Return the kinds that features tell.

    Args:
        features: (R, F), see `FEATURE_NAMES`

    Returns:
        (R,) positions in `KINDS`.

    Example:
        >>> KINDS[kinds_of(np.zeros((1, len(FEATURE_NAMES))))[0]]
        'spurious'
    """
    flags = [features[:, FEATURE_NAMES.index(name)] > 0 for name in ("missing", "wrong_class", "boundary")]
    return np.asarray(np.select(flags, [0, 2, 3], 1), np.int64)


def typed(features: FloatArray, given: IntArray, suggested: IntArray, background: int | None) -> FloatArray:
    """Return features whose kinds agree with their classes where a class stands for nothing.

    What has such a class and should have another is missing, the other way round spurious, and what should have
    another of the other classes is of a wrong class. Displaced borders stay what they are.

    Args:
        features: (R, F), see `FEATURE_NAMES`
        given: (R,) most frequent given class
        suggested: (R,) most frequent predicted class
        background: class that stands for nothing; with None the kinds stay what shapes tell

    Returns:
        (R, F) the same array where nothing is to change.

    Example:
        >>> invented = np.zeros((1, len(FEATURE_NAMES)))
        >>> KINDS[kinds_of(typed(invented, np.array([0]), np.array([1]), background=0))[0]]
        'missing'
    """
    before = kinds_of(features)
    if background is None or not before.size:
        return features
    kinds = np.where(given == background, 0, np.where(suggested == background, 1, 2))
    kinds = np.where(before == KINDS.index("boundary"), before, kinds)
    if (kinds == before).all():
        return features
    changed = features.copy()
    for name in ("missing", "wrong_class"):
        changed[:, FEATURE_NAMES.index(name)] = kinds == KINDS.index(name)
    return changed


def _check_count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise LabelQualityError(f"Expected `{name}` to be a whole number of at least 1, but got {value!r}.")
    return int(value)


def _kept_maps(maps: PixelMaps | ImageRecord) -> PixelMaps:
    kept = maps.maps if isinstance(maps, ImageRecord) else maps
    if kept is None:
        raise LabelQualityError(
            "Expected a record with its maps, but got one without; pass what `image_record` returned, before it is "
            "saved or stripped."
        )
    return kept


def _region(image_index: int, cut: RegionCut, table: RegionTable, row: int, score: float) -> IssueRegion:
    top, left, bottom, right = (int(edge) for edge in table.boxes[row])
    return IssueRegion(
        image_index,
        (top, left, bottom, right),
        cut.ids[top:bottom, left:right] == row,
        KINDS[int(table.kinds[row])],
        int(table.given[row]),
        int(table.suggested[row]),
        score,
        int(table.areas[row]),
    )
