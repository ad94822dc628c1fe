"""What a scoring run does with one image: probabilities become a record, maps and regions on disk, and later flags."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ... import quality
from ...dataset.door.classes import IGNORED, ClassMap
from ...dataset.door.scan import LabelledImage
from ...dataset.runs import files
from ...dataset.runs.seen_labels import LABELS_SEEN
from ...written_files import is_whole
from .issue_regions import RegionStage
from .plan import ScoringPlan
from .sources import ProbabilitySource


class Attempt(NamedTuple):
    """What became of one image.

    Attributes:
        image: that was predicted
        error: why it has no record, in words; None if it has one
        predicted: whether there were probabilities of it
        ends_all: whether the error is about the folder, in which no other image can be written either
    """

    image: LabelledImage
    error: str | None = None
    predicted: bool = True
    ends_all: bool = False


class JudgedImage(NamedTuple):
    """What all images together say of one.

    Attributes:
        sample_id: of the image
        scores: by method
        issue_share: share of the labelled pixels that are flagged
        pairs: (K, K) flagged pixels, given x predicted
        confusion: (K, K) labelled pixels, given x predicted
        evidence: what the dataset is judged by, if regions were wanted
    """

    sample_id: str
    scores: dict[str, float]
    issue_share: float
    pairs: np.ndarray
    confusion: np.ndarray
    evidence: quality.ImageEvidence | None


@dataclass(frozen=True)
class RecordStage:
    """The part of a run that works image by image, in one folder.

    Attributes:
        plan: of the run
        classes: of the label field, in the order of their channels
        folder: of the run
        read_mask: sample id to mask values
        num_images: of the run
        source_state: tells whether what an image's probabilities are made of has changed
    """

    plan: ScoringPlan
    classes: ClassMap
    folder: Path
    read_mask: Callable[[str], np.ndarray]
    num_images: int
    source_state: Callable[[LabelledImage], str]

    def record_path(self, image: LabelledImage) -> Path:
        """File of an image's record; what decides it is in its name, so that an edited label is scored again."""
        return self.folder / "records" / f"{image.sample_id}-{image.digest}-{self.source_state(image)}.npz"

    @property
    def regions(self) -> RegionStage:
        """The part that is about regions."""
        return RegionStage(self.folder, self.classes.names, self.plan.min_region_area, self.plan.max_regions_per_image)

    def is_done(self, image: LabelledImage) -> bool:
        """Whether everything of an image was left by an interrupted run, or by a worker that died."""
        wanted = [self.record_path(image)]
        if self.plan.write_regions:
            wanted += [self.regions.path(image.sample_id), self.regions.rehearsal_path(image.sample_id)]
        return all(is_whole(path) for path in wanted)

    def forget_edited(self, images: Sequence[LabelledImage]) -> None:
        """Delete records of labels that were edited while the run was interrupted."""
        wanted = {image.sample_id: self.record_path(image).name for image in images}
        for path in (self.folder / "records").glob("*.npz"):
            if wanted.get(path.name.split("-")[0], path.name) != path.name:
                path.unlink(missing_ok=True)

    def remember_labels(self, images: Sequence[LabelledImage]) -> None:
        """Note the state of every label, by which later changes are noticed."""
        seen = {image.sample_id: [image.digest, image.stamp] for image in images}
        files.write_json(self.folder / LABELS_SEEN, seen)

    def map_path(self, sample_id: str) -> Path:
        """PNG of how suspicious each pixel is."""
        return self.folder / "map" / f"{sample_id}.png"

    def issues_path(self, sample_id: str) -> Path:
        """PNG of the flagged pixels."""
        return self.folder / "issues" / f"{sample_id}.png"

    def attempt(self, place: int, image: LabelledImage, result: Any) -> Attempt:
        """Turn the probabilities of one image into its record on disk.

        Args:
            place: of the image in the run
            image: the image
            result: (K, H, W), or the exception that kept it from having probabilities

        Returns:
            what became of it
        """
        if isinstance(result, Exception):
            return Attempt(image, str(result), predicted=False, ends_all=_is_about_the_folder(result))
        try:
            self._record(place, image, result)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            return Attempt(image, str(error), ends_all=_is_about_the_folder(error))
        return Attempt(image)

    def _record(self, place: int, image: LabelledImage, probabilities: Any) -> None:
        label = self.classes.indices(self.read_mask(image.sample_id))
        if self.plan.predicted_mask:  # where there is no second opinion, the label counts for nothing
            label = np.where(np.isnan(probabilities[0]), IGNORED, label)
        record = quality.image_record(
            label,
            probabilities,
            ignore_index=IGNORED,
            methods=self.plan.methods,
            temperature=self.plan.temperature,
        )
        if self.plan.write_map and record.maps is not None:
            files.write_png(self.map_path(image.sample_id), files.suspicion_image(record.maps.self_confidence))
        if self.plan.write_regions and record.maps is not None:
            self._find_regions(place, image, label, probabilities, record.maps)
        record.without_maps().save(self.record_path(image))  # last: it says that everything of its image is written

    def _find_regions(
        self, place: int, image: LabelledImage, label: np.ndarray, probabilities: Any, maps: quality.PixelMaps
    ) -> None:
        scene = quality.Scene.of(label, maps)
        self.regions.find(image.sample_id, place, scene)
        self.regions.rehearse(
            image.sample_id,
            scene,
            label,
            probabilities,
            count=quality.rehearsals_of(place, self.num_images),
            seed=(zlib.crc32(image.digest.encode()), place),
            ignore_index=IGNORED,
            temperature=self.plan.temperature,
        )

    def judge_image(self, place: int, image: LabelledImage, totals: quality.Totals, cut: quality.Cut) -> JudgedImage:
        """Flag the pixels of one image by what is known of all.

        Args:
            place: of the image in the run
            image: the image
            totals: of all records
            cut: of all records

        Returns:
            what is known of it now
        """
        record = quality.load_record(self.record_path(image))
        found = quality.record_scores(record, totals, cut)
        pairs = quality.class_pairs(record, cut)
        if self.plan.write_issues:
            files.write_png(self.issues_path(image.sample_id), quality.record_flags(record, cut).astype(np.uint8))
        return JudgedImage(
            image.sample_id,
            {method: value for method, value in found.items() if method in self.plan.methods},
            float(pairs.sum() / record.num_valid) if record.num_valid else float("nan"),
            pairs,
            quality.class_confusion(record),
            self.regions.evidence(image.sample_id, place, record) if self.plan.write_regions else None,
        )


def source_states(source: ProbabilitySource) -> Callable[[LabelledImage], str]:
    """Short state of what an image's probabilities are made of, looked at once per image.

    Args:
        source: of the probabilities

    Returns:
        image to 8 hexadecimal digits
    """
    known: dict[str, str] = {}

    def state(image: LabelledImage) -> str:
        if image.sample_id not in known:
            known[image.sample_id] = files.digest_of([source.state(image)])[:8]
        return known[image.sample_id]

    return state


def _is_about_the_folder(error: Exception) -> bool:
    return "output_dir" in str(error) or (isinstance(error, OSError) and error.errno == 28)
