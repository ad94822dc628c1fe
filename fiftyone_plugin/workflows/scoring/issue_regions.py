"""The part of a scoring run that finds regions, gives them scores, and writes them, a few images at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ... import quality
from ...dataset.fields.regions import MOST_PER_IMAGE, draw_mask, region_document
from ...dataset.journals.reviews import PERSON, SAME_IOU, Review, overlap
from ...dataset.runs import files
from ...errors import LabelQualityError
from ...models.files.reading import read_ahead
from ...written_files import write_many

_REGIONS_AT_ONCE = 2_000
SCORER = Path("records") / "scorer.json"
"""In a run's folder: how the regions were scored, before any review."""


@dataclass(frozen=True)
class RegionFindings:
    """What a run found in all images together.

    Attributes:
        per_image: sample id to number of regions
        by_kind: kind to number
        dropped: regions beyond the limit per image
        capped: images that have more than the limit
        left_out: regions that a reviewer rejected earlier
        accepted: regions that a reviewer accepted earlier
        num_reviewed: decisions that the scores have learnt from
        num_likely: regions that are more likely wrong than right
        remembered: sample id to row to the review of it
    """

    per_image: dict[str, int]
    by_kind: dict[str, int]
    dropped: int
    capped: int
    left_out: int
    accepted: int
    num_reviewed: int
    num_likely: int
    remembered: dict[str, dict[int, Review]]

    @classmethod
    def of(cls, settled: Iterable[SettledImage], num_reviewed: int) -> RegionFindings:
        """Put the regions of all images together.

        Args:
            settled: of each image
            num_reviewed: decisions that the scores have learnt from

        Returns:
            the findings
        """
        kinds: Counter[str] = Counter()
        per_image: dict[str, int] = {}
        remembered: dict[str, dict[int, Review]] = {}
        dropped = capped = left_out = accepted = likely = 0
        for one in settled:
            kinds.update(one.kinds)
            dropped, capped = dropped + one.dropped, capped + (one.dropped > 0)
            left_out, likely = left_out + one.num_found - one.num_kept, likely + one.likely
            accepted += sum(review.decision == "accepted" for review in one.known.values())
            per_image[one.sample_id] = one.num_kept
            if one.known:
                remembered[one.sample_id] = one.known
        by_kind = {kind: kinds[kind] for kind in quality.KINDS if kinds[kind]}
        return cls(per_image, by_kind, dropped, capped, left_out, accepted, num_reviewed, likely, remembered)

    @property
    def total(self) -> int:
        """Number of regions that are written."""
        return sum(self.per_image.values())


class SettledImage(NamedTuple):
    """What is known of the regions of one image once they have their scores.

    Attributes:
        sample_id: of the image
        num_found: regions
        num_kept: those that are written
        dropped: how many more there are beyond the limit
        likely: those that are more likely wrong than right
        kinds: kind to number of those that are written
        known: row to the newest review of the same region
    """

    sample_id: str
    num_found: int
    num_kept: int
    dropped: int
    likely: int
    kinds: Counter[str]
    known: dict[int, Review]


@dataclass(frozen=True)
class RegionStage:
    """Regions of one run, in one folder.

    Attributes:
        folder: of the run
        names: class names by class index
        min_area: pixels of the smallest region, None for a share of the image
        max_per_image: regions to keep of each image
    """

    folder: Path
    names: Sequence[str]
    min_area: int | None
    max_per_image: int

    def path(self, sample_id: str) -> Path:
        """File of an image's regions."""
        return region_file(self.folder, sample_id)

    def mask_path(self, sample_id: str, row: int) -> Path:
        """PNG of one region's mask."""
        return self.mask_folder(sample_id) / f"{row}.png"

    def mask_folder(self, sample_id: str) -> Path:
        """Folder of the masks of an image's regions."""
        return self.folder / "regions" / sample_id

    def rehearsal_path(self, sample_id: str) -> Path:
        """File of what rehearsed errors in an image look like."""
        return self.folder / "rehearsals" / f"{sample_id}.npz"

    def find(self, sample_id: str, index: int, scene: quality.Scene) -> None:
        """Find the regions of one image; `index` is its place in the run."""
        found = quality.regions_of_scene(
            scene, min_area=self.min_area, max_per_image=self.max_per_image, image_index=index
        )
        found.save(self.path(sample_id))

    def rehearse(
        self, sample_id: str, scene: quality.Scene, label: np.ndarray, probabilities: Any, **options: Any
    ) -> None:
        """Put errors into copies of a label and keep what they look like; nothing of it reaches the dataset."""
        altered = quality.rehearse_in_scene(
            scene, label, probabilities, min_area=self.min_area, max_per_image=self.max_per_image, **options
        )
        quality.save_rehearsals(altered, self.rehearsal_path(sample_id))

    def evidence(self, sample_id: str, index: int, record: quality.ImageRecord) -> quality.ImageEvidence:
        """What the dataset is judged by, of one image."""
        altered = quality.load_rehearsals(self.rehearsal_path(sample_id))
        return quality.image_evidence(image_key(index), record, quality.load_regions(self.path(sample_id)), altered)

    def settle_image(self, sample_id: str, reviews: Sequence[Review], scorer: quality.RegionScorer) -> SettledImage:
        """Score the regions of one image, bring in what reviewers said earlier, and draw the masks.

        They are on the disk after `all_on_disk`; nothing names them before.

        Args:
            sample_id: of the image
            reviews: what was said about its regions earlier
            scorer: of the regions, which has learnt from all reviews

        Returns:
            what is known of them
        """
        found = self._load(sample_id, scorer)
        known = self._recognise(found, reviews)
        kept = [row for row in range(len(found)) if not _is_rejected(known.get(row))]
        if kept:
            drawn = ((f"{row}.png", files.png_of(draw_mask(found.regions[row].mask))) for row in kept)
            write_many(self.mask_folder(sample_id), drawn)
        kinds = Counter(found.regions[row].kind for row in kept)
        likely = sum(found.regions[row].score >= quality.LIKELY for row in kept)
        return SettledImage(sample_id, len(found), len(kept), found.dropped, likely, kinds, known)

    def _load(self, sample_id: str, scorer: quality.RegionScorer) -> quality.ImageRegions:
        found = quality.load_regions(self.path(sample_id))
        if not len(found):
            return found
        found = found.retyped(scorer.background)
        found = found.rescored(score_regions(scorer, found))
        found.save(self.path(sample_id))  # its rows are the order of the Detections
        return found

    def _recognise(self, found: quality.ImageRegions, reviews: Sequence[Review]) -> dict[int, Review]:
        """Row to the newest review of the same region."""
        known = {}
        for row, region in enumerate(found.regions) if reviews else ():
            classes = (self.names[region.given], self.names[region.suggested])
            for review in reviews:
                same = (review.given, review.suggested) == classes and review.shape == found.shape
                if same and review.mask is not None:
                    iou = overlap(region.bbox, region.mask, review.bbox, review.mask)
                    if iou >= SAME_IOU:
                        known[row] = review
                        break
        return known

    def documents(self, sample_ids: Iterable[str], findings: RegionFindings) -> Iterator[dict[str, list[Any]]]:
        """Yield the documents of the regions for the database, for as many images as one batch takes.

        Args:
            sample_ids: of the scored images
            findings: of `settle`

        Yields:
            sample id to documents, worst first
        """
        batch: dict[str, list[Any]] = {}
        size = 0
        scorer = load_scorer(self.folder)
        threads = files.num_writers()
        find = partial(self._documents_of, findings=findings, scorer=scorer)
        for sample_id, documents in read_ahead(find, sample_ids, 2 * threads, threads):
            batch[sample_id] = documents
            size += 1 + len(documents)
            if size >= _REGIONS_AT_ONCE:
                yield batch
                batch, size = {}, 0
        if batch:
            yield batch

    def _documents_of(
        self, sample_id: str, findings: RegionFindings, scorer: quality.RegionScorer
    ) -> list[dict[str, Any]]:
        if not findings.per_image[sample_id]:
            return []
        found = quality.load_regions(self.path(sample_id))
        first_scores = score_regions(scorer, found)
        known = findings.remembered.get(sample_id, {})
        documents = []
        for row, region in enumerate(found.regions):
            review = known.get(row)
            if _is_rejected(review):
                continue
            documents.append(
                region_document(
                    region,
                    row=row,
                    names=self.names,
                    shape=found.shape,
                    mask_path=str(self.mask_path(sample_id, row)),
                    status=review.decision if review else "pending",
                    reviewed_at=review.time if review else None,
                    reviewer=review.reviewer if review else None,
                    first_score=first_scores[row],
                    unseen=review is not None and review.source != PERSON,
                )
            )
        return documents


def _is_rejected(review: Review | None) -> bool:
    return review is not None and review.decision == "rejected"


def region_file(folder: Path, sample_id: str) -> Path:
    """File of an image's regions in a run's folder."""
    return folder / "regions" / f"{sample_id}.npz"


def check_region_options(min_area: int | None, max_per_image: int) -> None:
    """Check the options of regions before anything is computed.

    Args:
        min_area: pixels of the smallest region, or None
        max_per_image: regions to keep of each image

    Raises:
        LabelQualityError: if one is out of range
    """
    if min_area is not None and (not _is_whole(min_area) or min_area < 1):
        raise LabelQualityError(
            f"Expected `min_region_area` to be a whole number of at least 1, or None, but got {min_area!r}"
        )
    if not _is_whole(max_per_image) or not 1 <= max_per_image <= MOST_PER_IMAGE:
        raise LabelQualityError(
            f"Expected `max_regions_per_image` to be a whole number from 1 to {MOST_PER_IMAGE:,}, "
            f"but got {max_per_image!r}; for fewer and larger regions raise `min_region_area`"
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def image_key(index: int) -> str:
    """Name of an image in a run for `quality.Evidence`, the same whenever the same dataset is scored."""
    return f"{index:09d}"


def score_regions(scorer: quality.RegionScorer, found: quality.ImageRegions) -> np.ndarray:
    """Scores of an image's regions.

    Args:
        scorer: of the run
        found: the regions, at least one

    Returns:
        (R,) in [0, 1]
    """
    return scorer.scores(image_key(found.regions[0].image_index), quality.RegionRows.of(found))


class Lesson(NamedTuple):
    """A scorer that has learnt, and from how many accepted and rejected regions."""

    scorer: quality.RegionScorer
    num_accepted: int
    num_rejected: int


def teach(scorer: quality.RegionScorer, reviews: Sequence[Review], names: Sequence[str]) -> Lesson:
    """Let a scorer learn from the decisions about regions whose features are known.

    Args:
        scorer: of the run
        reviews: the decisions that count
        names: class names by class index, of the run

    Returns:
        the lesson; without usable decisions the same scorer
    """
    classes = {name: index for index, name in enumerate(names)}
    usable = [review for review in reviews if _can_teach(review) and {review.given, review.suggested} <= set(classes)]
    if not usable:
        return Lesson(scorer, 0, 0)
    features, accepted = reviewed_features(usable)
    given, suggested = (
        np.array([classes[getattr(review, name)] for review in usable], np.int64) for name in ("given", "suggested")
    )
    taught = scorer.taught(quality.RegionRows(features, given, suggested), accepted)
    return Lesson(taught, int(accepted.sum()), int((~accepted).sum()))


def reviewed_features(reviews: Sequence[Review]) -> tuple[np.ndarray, np.ndarray]:
    """Features and answers of the reviews that can be learnt from.

    Args:
        reviews: the decisions that count

    Returns:
        (R, F) features in the order of `quality.FEATURE_NAMES`, and (R,) bool, whether it was accepted
    """
    usable = [review for review in reviews if _can_teach(review)]
    rows = [[review.features[name] for name in quality.FEATURE_NAMES] for review in usable]
    features = np.array(rows, np.float64).reshape(-1, len(quality.FEATURE_NAMES))
    return features, np.array([review.decision == "accepted" for review in usable], bool)


def _can_teach(review: Review) -> bool:
    """Whether a person has decided on a region whose features are known."""
    known = review.decision != "pending" and review.source == PERSON
    return known and set(review.features) == set(quality.FEATURE_NAMES)


def save_scorer(folder: Path, scorer: quality.RegionScorer) -> None:
    """Keep how the regions of a run are scored, before any review, so that they can be scored again.

    Args:
        folder: of the run
        scorer: of the regions
    """
    files.write_json(folder / SCORER, scorer.as_dict())


def load_scorer(folder: Path) -> quality.RegionScorer:
    """How the regions of a run were scored before any review.

    Args:
        folder: of the run

    Returns:
        the scorer

    Raises:
        LabelQualityError: if it is not there or was made by another version
    """
    content = files.read_json(folder / SCORER)
    if content is None:
        raise LabelQualityError(
            f"Expected {folder / SCORER}, by which the run's regions were scored, but it is missing or damaged; score "
            "the labels again"
        )
    return quality.RegionScorer.from_dict(content)
