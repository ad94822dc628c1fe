"""The part of a scoring run that works image by image: probabilities become records, maps and regions on disk."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import quality
from ...dataset.door.backgrounds import background_class
from ...dataset.door.classes import IGNORED, ClassMap
from ...dataset.door.scan import LabelledImage, SkippedSample
from ...dataset.journals.reviews import Memory
from ...dataset.runs import files
from ...errors import LabelQualityError
from ...progress import Progress
from ...written_files import is_whole
from .findings import Findings, Records
from .issue_regions import RegionFindings, RegionStage, image_key
from .plan import ScoringPlan
from .sources import ProbabilitySource

LABELS_SEEN = Path("records") / "labels.json"
"""In a run's folder: digest and file stamp of the label of each sample."""


@dataclass(frozen=True)
class RecordStage:
    """The part of a run that works image by image, in one folder.

    Attributes:
        plan: of the run
        classes: of the label field, in the order of their channels
        folder: of the run
        read_mask: sample id to mask values
        places: sample id to place among all images
        source_state: tells whether what an image's probabilities are made of has changed
    """

    plan: ScoringPlan
    classes: ClassMap
    folder: Path
    read_mask: Callable[[str], np.ndarray]
    places: Mapping[str, int]
    source_state: Callable[[LabelledImage], str]

    def record_path(self, image: LabelledImage) -> Path:
        """File of an image's record; what decides it is in its name, so that an edited label is scored again."""
        return self.folder / "records" / f"{image.sample_id}-{image.digest}-{self.source_state(image)}.npz"

    @property
    def regions(self) -> RegionStage:
        """The part that is about regions."""
        return RegionStage(self.folder, self.classes.names, self.plan.min_region_area, self.plan.max_regions_per_image)

    def _is_done(self, image: LabelledImage) -> bool:
        """Whether an interrupted run has left everything of an image."""
        wanted = [self.record_path(image)]
        if self.plan.write_regions:
            wanted += [self.regions.path(image.sample_id), self.regions.rehearsal_path(image.sample_id)]
        return all(is_whole(path) for path in wanted)

    def pending(self, images: Sequence[LabelledImage]) -> list[LabelledImage]:
        """Images that an interrupted run has left to do; records of labels that were edited since are deleted."""
        self._forget_edited(images)
        return [image for image in images if not self._is_done(image)]

    def _forget_edited(self, images: Sequence[LabelledImage]) -> None:
        """Delete records of labels that were edited while the run was interrupted."""
        wanted = {image.sample_id: self.record_path(image).name for image in images}
        for path in (self.folder / "records").glob("*.npz"):
            if wanted.get(path.name.split("-")[0], path.name) != path.name:
                path.unlink(missing_ok=True)

    def remember_labels(self, images: Sequence[LabelledImage]) -> None:
        """Note the state of every label, by which later changes are noticed."""
        seen = {image.sample_id: [image.digest, image.stamp] for image in images}
        files.write_json(self.folder / LABELS_SEEN, seen)

    def settle_regions(
        self, dataset: Any, images: Sequence[LabelledImage], judge: quality.Judge | None, progress: Progress
    ) -> RegionFindings | None:
        """Bring in earlier reviews and draw the masks of regions; None if none are wanted."""
        if judge is None:
            return None
        memory = Memory(dataset, self.plan.label_field)
        return self.regions.settle([image.sample_id for image in images], judge.scorer, memory, progress)

    def map_path(self, image: LabelledImage) -> Path:
        """PNG of how suspicious each pixel is."""
        return self.folder / "map" / f"{image.sample_id}.png"

    def issues_path(self, sample_id: str) -> Path:
        """PNG of the flagged pixels."""
        return self.folder / "issues" / f"{sample_id}.png"

    def predict(
        self, source: ProbabilitySource, images: Sequence[LabelledImage], progress: Progress
    ) -> dict[str, SkippedSample]:
        """Turn probabilities into records on disk; give the images that failed, with the reason."""
        failed: dict[str, SkippedSample] = {}
        for done, (image, result) in enumerate(source.stream(images), start=1):
            try:
                if isinstance(result, Exception):
                    raise result
                self._record(image, result)
            except (OSError, ValueError, TypeError, RuntimeError) as error:
                if (done == 1 and error is not result) or _is_about_the_folder(error):
                    raise _named(error, image) from error
                failed[image.sample_id] = SkippedSample(image.sample_id, image.filepath, str(error))
            progress(done, len(images), "scoring labels")
        return failed

    def _record(self, image: LabelledImage, probabilities: Any) -> None:
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
            files.write_png(self.map_path(image), files.suspicion_image(record.maps.self_confidence))
        if self.plan.write_regions:
            self._find_regions(image, label, probabilities, record)
        path = self.record_path(image)
        path.parent.mkdir(exist_ok=True)
        record.without_maps().save(path)  # last: a record says that everything of its image is written

    def _find_regions(
        self, image: LabelledImage, label: np.ndarray, probabilities: Any, record: quality.ImageRecord
    ) -> None:
        place = self.places[image.sample_id]
        self.regions.find(image.sample_id, place, label, record)
        self.regions.rehearse(
            image.sample_id,
            label,
            probabilities,
            count=quality.rehearsals_of(place, len(self.places)),
            seed=(zlib.crc32(image.digest.encode()), place),
            ignore_index=IGNORED,
            temperature=self.plan.temperature,
        )

    def judge(self, images: Sequence[LabelledImage], progress: Progress) -> Findings:
        """Merge the records: dataset-wide thresholds, flags, final scores."""
        records = Records([self.record_path(image) for image in images])
        totals = quality.Totals(len(self.classes), self.plan.methods)
        for done, record in enumerate(records, start=1):
            totals.add(record)
            progress(done, len(images), "class thresholds")
        cut = quality.confident_learning_cut(records, totals)
        scores: dict[str, dict[str, float]] = {method: {} for method in self.plan.methods}
        shares: dict[str, float] = {}
        paths: dict[str, str] = {}
        pairs = np.zeros((len(self.classes), len(self.classes)), np.int64)
        confusion = np.zeros_like(pairs)
        evidence = None
        if self.plan.write_regions:
            evidence = quality.Evidence(len(self.classes), background_class(self.classes))
        for done, (image, record) in enumerate(zip(images, records, strict=True), start=1):
            for method, value in quality.record_scores(record, totals, cut).items():
                if method in scores:
                    scores[method][image.sample_id] = value
            counts = quality.class_pairs(record, cut)
            pairs += counts
            confusion += quality.class_confusion(record)
            shares[image.sample_id] = float(counts.sum() / record.num_valid) if record.num_valid else float("nan")
            if self.plan.write_issues:
                flags = quality.record_flags(record, cut)
                files.write_png(self.issues_path(image.sample_id), flags.astype(np.uint8))
                paths[image.sample_id] = str(self.issues_path(image.sample_id))
            if evidence is not None:
                self.regions.add_evidence(evidence, image.sample_id, self.places[image.sample_id], record)
            progress(done, len(images), "flagging pixels")
        self.remember_labels(images)
        judge = evidence.judge() if evidence is not None else None
        if judge is not None:
            combined = judge.image_scores()
            places = {image.sample_id: image_key(self.places[image.sample_id]) for image in images}
            scores[quality.COMBINED] = {sample_id: combined[key] for sample_id, key in places.items()}
        return Findings(scores, shares, paths, pairs, confusion, totals, quality.in_sample_suspicion(totals), judge)


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


def _named(error: Exception, image: LabelledImage) -> LabelQualityError:
    text = str(error)
    return LabelQualityError(text if image.filepath in text else f"{image.filepath}: {text}")
