"""What noise-robust training would change in the labels: masks and regions in the run's folder, nothing in the dataset.

A region is found and typed as those of a scoring run are, with the corrected label in place of a prediction. So what a
reviewer has said about a region counts here too, and the other way round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import quality
from ...dataset.door.classes import IGNORED, ClassMap
from ...dataset.door.scan import LabelScan, mask_reader
from ...dataset.fields.regions import draw_mask, region_document
from ...dataset.journals.reviews import SAME_IOU, Memory, Review, overlap
from ...dataset.runs import files
from ...dataset.runs.seen_labels import LABELS_SEEN
from ...models.training.training_data import LabelSpace
from ...progress import Progress
from ...written_files import written_files
from ..rehearsing.rehearsal import write_mask
from ..scoring.issue_regions import region_file

if TYPE_CHECKING:
    from ...models import LabelChange, NoiseRobustResult


@dataclass
class Proposals:
    """What a training would change.

    Attributes:
        masks: sample id to PNG of the proposed label
        shares: sample id to share of its labelled pixels that change
        per_image: sample id to number of regions
        pairs: (given class, proposed class) to pixels; `IGNORED` where the label would be taken away
        labelled: pixels in all
        reviews: sample id to row to the earlier review of that region
        passed_over: changed spots without a region
        left_out: rejected earlier
    """

    masks: dict[str, str] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    per_image: dict[str, int] = field(default_factory=dict)
    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    labelled: int = 0
    reviews: dict[str, dict[int, Review]] = field(default_factory=dict)
    passed_over: int = 0
    left_out: int = 0

    @property
    def changed(self) -> int:
        """Pixels that would change."""
        return sum(self.pairs.values())

    def add(self, sample_id: str, mask_path: Path, given: np.ndarray, proposed: np.ndarray) -> None:
        """Count an image.

        Args:
            sample_id: of the image
            mask_path: PNG of its proposed label
            given: (H, W) class indices, `IGNORED` where there is no label
            proposed: likewise
        """
        labelled = int((given != IGNORED).sum())
        differs = given != proposed
        self.masks[sample_id] = str(mask_path)
        self.shares[sample_id] = float(differs.sum() / max(labelled, 1))
        self.labelled += labelled
        self.per_image.setdefault(sample_id, 0)
        found, counts = np.unique(np.stack([given[differs], proposed[differs]], 1), axis=0, return_counts=True)
        for (old, new), count in zip(found.tolist(), counts.tolist(), strict=True):
            self.pairs[old, new] += count


@dataclass(frozen=True)
class ProposalStage:
    """Where the regions of one run go, and how they are cut.

    Attributes:
        folder: of the run
        classes: of the label field
        min_area: pixels of the smallest region, None for a share of the image
        max_per_image: regions to keep of each image
    """

    folder: Path
    classes: ClassMap
    min_area: int | None
    max_per_image: int

    def find(self, sample_id: str, change: _Change) -> quality.ImageRegions:
        """Cut an image's change into regions, most confident first, and keep them."""
        found = quality.image_regions(
            change.given, _maps(change), min_area=self.min_area, max_per_image=self.max_per_image
        )
        scores = [float(_within(change.confidence, region).mean()) for region in found]
        # Without features: the probability of the given class is not known, so the scores of other runs must not
        # learn from what is decided here.
        found = replace(found.rescored(scores), features=np.zeros((len(found), 0)))
        path = region_file(self.folder, sample_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        found.save(path)
        files.write_json(self.epochs_path(sample_id), {"epochs": [_epoch(change, region) for region in found]})
        for row, region in enumerate(found):
            files.write_png(self.mask_path(sample_id, row), draw_mask(region.mask))
        return found

    def mask_path(self, sample_id: str, row: int) -> Path:
        """PNG of one region's mask."""
        return self.folder / "regions" / sample_id / f"{row}.png"

    def epochs_path(self, sample_id: str) -> Path:
        """File with the epochs of an image's regions."""
        return self.folder / "regions" / f"{sample_id}.json"

    def recognise(self, found: quality.ImageRegions, reviews: Sequence[Review]) -> dict[int, Review]:
        """Row to the newest earlier review of the same region."""
        known = {}
        for row, region in enumerate(found):
            about = (self.classes.names[region.given], self.classes.names[region.suggested], found.shape)
            for review in reviews:
                if review.mask is None or (review.given, review.suggested, review.shape) != about:
                    continue
                if overlap(region.bbox, region.mask, review.bbox, review.mask) >= SAME_IOU:
                    known[row] = review
                    break
        return known

    def documents(self, sample_id: str, proposals: Proposals) -> list[dict[str, Any]]:
        """The regions of an image for the database, without rejected ones."""
        if not proposals.per_image[sample_id]:
            return []
        known = proposals.reviews[sample_id]
        found = quality.load_regions(region_file(self.folder, sample_id))
        epochs = (files.read_json(self.epochs_path(sample_id)) or {})["epochs"]
        rows = []
        for row, (region, epoch) in enumerate(zip(found, epochs, strict=True)):
            review = known.get(row)
            if _is_rejected(review):
                continue
            document = region_document(
                region, row=row, names=self.classes.names, shape=found.shape,
                mask_path=str(self.mask_path(sample_id, row)), status=review.decision if review else "pending",
                reviewed_at=review.time if review else None, reviewer=review.reviewer if review else None,
            )  # fmt: skip
            rows.append({**document, "epoch": epoch})
        return rows


@dataclass(frozen=True)
class _Change:
    """A corrected label, as class indices with `IGNORED`; see `models.LabelChange`."""

    given: np.ndarray
    proposed: np.ndarray
    confidence: np.ndarray
    epoch: np.ndarray


def _as_change(change: LabelChange, num_classes: int) -> _Change:
    ignored = LabelSpace(num_classes, IGNORED).ignored
    given, proposed = (
        np.where(mask == ignored, IGNORED, mask.astype(np.int32)) for mask in (change.given, change.corrected)
    )
    return _Change(given, proposed, change.confidence.astype(np.float64), change.epoch)


def _maps(change: _Change) -> quality.PixelMaps:
    """A change as if a model had predicted it, sure of all that it leaves alone; labels taken away are none."""
    new = (change.given != change.proposed) & (change.proposed != IGNORED)
    best = np.where(new, change.confidence, 1.0)
    most = np.minimum(change.confidence, 1 - change.confidence)  # that the given class, which did not win, can have had
    own = np.where(change.given == IGNORED, np.nan, np.where(new, most, 1.0))
    predicted = np.where(new, change.proposed, np.maximum(change.given, 0)).astype(np.uint16)
    return quality.PixelMaps(own, best, predicted)


def _epoch(change: _Change, region: quality.IssueRegion) -> int:
    """The epoch after which most of a region's pixels were corrected."""
    return int(np.bincount(_within(change.epoch, region)).argmax())


def _within(values: np.ndarray, region: quality.IssueRegion) -> np.ndarray:
    top, left, bottom, right = region.bbox
    return values[top:bottom, left:right][region.mask]


def _is_rejected(review: Review | None) -> bool:
    return review is not None and review.decision == "rejected"


def propose(
    samples: Any,
    label_field: str,
    scan: LabelScan,
    trained: NoiseRobustResult,
    stage: ProposalStage,
    progress: Progress,
) -> Proposals:
    """Write the masks and regions of all images that were trained on into the run's folder.

    Args:
        samples: the dataset or view
        label_field: trained on
        scan: of the labels
        trained: the finished training
        stage: where files go, and how regions are cut
        progress: told how many images are done

    Returns:
        what would change
    """
    proposals, classes = Proposals(), stage.classes
    for left in written_files(stage.folder):  # what an interrupted call has left
        if left.relative_to(stage.folder).parts[0] in ("masks", "regions"):
            left.unlink(missing_ok=True)
    image_of = {image.filepath: image for image in scan.images}
    memory = Memory(samples._dataset, label_field)
    read = mask_reader(samples, label_field)
    for done, (path, change) in enumerate(_changes(trained), start=1):
        sample_id, mask_path = image_of[path].sample_id, image_of[path].mask_path
        raw = read(sample_id)
        given = proposed = classes.indices(raw)
        if change is not None:
            reviews = memory.of_samples([sample_id]).get(sample_id, [])
            proposed = _propose_regions(proposals, stage, sample_id, _as_change(change, len(classes)), reviews)
        target = stage.folder / "masks" / f"{sample_id}.png"
        write_mask(target, _repainted(classes.mask_values(raw), given, proposed, classes), classes, mask_path)
        proposals.add(sample_id, target, given, proposed)
        progress(done, len(trained.keys), "writing proposals")
    seen = {image.sample_id: [image.digest, image.stamp] for image in scan.images}
    files.write_json(stage.folder / LABELS_SEEN, seen)
    return proposals


def _changes(trained: NoiseRobustResult) -> Iterator[tuple[str, LabelChange | None]]:
    """Every image that was trained on, with its change if there is one."""
    changes = trained.changes()
    change = next(changes, None)
    for key in sorted(trained.keys):
        if change is not None and change.key == key:
            yield key, change
            change = next(changes, None)
        else:
            yield key, None


def _propose_regions(
    proposals: Proposals, stage: ProposalStage, sample_id: str, change: _Change, reviews: Sequence[Review]
) -> np.ndarray:
    """Find the regions of an image; the proposed label, which is the given one where that was found right before."""
    found = stage.find(sample_id, change)
    known = stage.recognise(found, reviews)
    rejected = [row for row, review in known.items() if _is_rejected(review)]
    proposed = change.proposed.copy()
    for row in rejected:
        region = found.regions[row]
        top, left, bottom, right = region.bbox
        window = (slice(top, bottom), slice(left, right))
        proposed[window] = np.where(region.mask, change.given[window], proposed[window])
    proposals.reviews[sample_id] = known
    proposals.per_image[sample_id] = len(found) - len(rejected)
    proposals.passed_over += found.dropped + found.too_small
    proposals.left_out += len(rejected)
    return proposed


def _repainted(values: np.ndarray, given: np.ndarray, proposed: np.ndarray, classes: ClassMap) -> np.ndarray:
    """Mask values with another class where it changed; all others, ignored ones too, stay what they were."""
    ignored = min(classes.ignored, default=0)
    table = np.array([ignored if value is None else value for value in classes.values] + [ignored], values.dtype)
    return np.where(given == proposed, values, table[proposed])  # `IGNORED` = -1 is the last entry
