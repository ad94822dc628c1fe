"""The stages of a scoring run one after the other, on whichever engine, with progress; and what they give merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from ... import quality
from ...dataset.door.backgrounds import background_class
from ...dataset.door.scan import LabelledImage, SkippedSample
from ...dataset.journals.reviews import Memory, Review
from ...errors import LabelQualityError
from ...progress import Progress
from ...quality.records.on_disk import OnDisk
from ...wording import of_file
from ..engines.dataset_job import in_parts
from ..engines.engine import Engine, Stage
from .findings import Findings, Records
from .issue_regions import RegionFindings, image_key, save_scorer, teach
from .record_stage import Attempt
from .stages import ScoringJob, Task, count_records, images_of, judge_images, record_images, settle_images

_IMAGES_AT_ONCE = 200
"""Images in one part of the later stages."""


@dataclass(frozen=True)
class Run:
    """The stages of one run.

    Attributes:
        job: what they need
        engine: where they run
        progress: told how far each stage is
    """

    job: ScoringJob
    engine: Engine
    progress: Progress

    def record(self, tasks: Sequence[Task]) -> tuple[int, dict[str, SkippedSample]]:
        """Turn the probabilities of all images into records on disk.

        Args:
            tasks: all images of the run

        Returns:
            how many had no record yet, and those that failed, by sample id

        Raises:
            LabelQualityError: if the folder cannot be written, or the first of all images cannot be measured
        """
        stage, source = self.job.stage, self.job.source
        stage.forget_edited(images_of(tasks))
        place_of = {task.image.sample_id: task.place for task in tasks}
        pending = OnDisk(task.image for task in tasks if not stage.is_done(task.image))
        parts = ([Task(place_of[i.sample_id], i) for i in batch] for batch in source.batches(pending))
        failed: dict[str, SkippedSample] = {}
        attempts = self._watched(record_images, parts, len(pending), "scoring labels")
        for done, attempt in enumerate(attempts, start=1):
            if attempt.error is not None:
                if (done == 1 and attempt.predicted) or attempt.ends_all:
                    raise _named(attempt)
                image = attempt.image
                failed[image.sample_id] = SkippedSample(image.sample_id, image.filepath, attempt.error)
        return len(pending), {i.sample_id: failed[i.sample_id] for i in pending if i.sample_id in failed}

    def judge(self, tasks: Sequence[Task]) -> Findings:
        """Merge the records: dataset-wide thresholds, flags, final scores.

        Args:
            tasks: the images that have records

        Returns:
            what all of them say
        """
        plan, stage, images = self.job.plan, self.job.stage, images_of(tasks)
        size = len(self.job.classes)
        totals = quality.Totals(size, plan.methods)
        for some in self._watched(count_records, in_parts(tasks, _IMAGES_AT_ONCE), len(tasks), "class thresholds"):
            totals.merge(some)
        records = Records(images, stage.record_path)
        cut = quality.confident_learning_cut(records, totals, progress=self.progress)
        scores: dict[str, dict[str, float]] = {method: {} for method in plan.methods}
        shares: dict[str, float] = {}
        pairs, confusion = np.zeros((size, size), np.int64), np.zeros((size, size), np.int64)
        evidence = quality.Evidence(size, background_class(self.job.classes))
        judge_some = partial(judge_images, totals=totals, cut=cut)
        for found in self._watched(judge_some, in_parts(tasks, _IMAGES_AT_ONCE), len(tasks), "flagging pixels"):
            for method, value in found.scores.items():
                scores[method][found.sample_id] = value
            shares[found.sample_id] = found.issue_share
            pairs += found.pairs
            confusion += found.confusion
            if found.evidence is not None:
                evidence.add_image(found.evidence)
        stage.remember_labels(images)
        flagged = images if plan.write_issues else []
        paths = {image.sample_id: str(stage.issues_path(image.sample_id)) for image in flagged}
        self.progress(0, 1, "learning what errors look like")
        judge = evidence.judge() if plan.write_regions else None
        if judge is not None:
            combined = judge.image_scores()
            scores[quality.COMBINED] = {task.image.sample_id: combined[image_key(task.place)] for task in tasks}
        return Findings(scores, shares, paths, pairs, confusion, totals, quality.in_sample_suspicion(totals), judge)

    def settle(self, images: Sequence[LabelledImage], judge: quality.Judge | None) -> RegionFindings | None:
        """Score the regions, bring in earlier reviews and draw the masks; None if no regions are wanted.

        Args:
            images: that were scored
            judge: of the dataset

        Returns:
            what is known of all regions
        """
        if judge is None:
            return None
        save_scorer(self.job.folder, judge.scorer)
        memory = Memory(self.job.dataset, self.job.plan.label_field)
        lesson = teach(judge.scorer, memory.reviews, self.job.classes.names)
        sample_ids = [image.sample_id for image in images]
        parts = (self._with_reviews(memory, part) for part in in_parts(sample_ids, _IMAGES_AT_ONCE))
        settle = partial(settle_images, scorer=lesson.scorer)
        settled = self._watched(settle, parts, len(images), "drawing regions")
        return RegionFindings.of(settled, lesson.num_accepted + lesson.num_rejected)

    @staticmethod
    def _with_reviews(memory: Memory, sample_ids: Sequence[str]) -> list[tuple[str, list[Review]]]:
        found = memory.of_samples(sample_ids)
        return [(sample_id, found.get(sample_id, [])) for sample_id in sample_ids]

    def _watched(self, stage: Stage, parts: Iterable[Sequence[Any]], total: int, label: str) -> Iterator[Any]:
        """Run a stage; it ends with the progress, which may raise to cancel the job."""
        self.progress(0, total, label)
        with closing(cast(Any, self.engine.run(stage, self.job, parts))) as results:
            for done, result in enumerate(results, start=1):
                self.progress(done, total, label)
                yield result


def _named(attempt: Attempt) -> LabelQualityError:
    return LabelQualityError(of_file(attempt.image.filepath, str(attempt.error)))
