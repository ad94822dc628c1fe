"""The stages of a scoring run, as every engine runs them: a job and a stream of items to a stream of results.

First each image by itself (`record_images`), then a small second pass over the records with what they say together
(`count_records`, `judge_images`), then the regions once they have their scores (`settle_images`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ... import quality
from ...dataset.door.classes import ClassMap
from ...dataset.door.scan import LabelledImage, mask_reader
from ...dataset.journals.reviews import Review
from ...dataset.runs import files
from ...models.files.reading import read_ahead
from ...quality.records.made_anew import MadeAnew
from ...written_files import all_on_disk
from ..engines.dataset_job import DatasetJob
from .issue_regions import SettledImage
from .plan import ScoringPlan
from .record_stage import Attempt, JudgedImage, RecordStage, source_states
from .sources import ProbabilitySource, SourceInputs, closed_source, reopen_source


class Task(NamedTuple):
    """One image of a run.

    Attributes:
        place: among all images of the run
        image: the image
    """

    place: int
    image: LabelledImage


def images_of(tasks: Sequence[Task]) -> Sequence[LabelledImage]:
    """The images of tasks, each taken when it is asked for.

    Args:
        tasks: of a run

    Returns:
        as many images
    """
    return MadeAnew(len(tasks), lambda number: tasks[number].image)


@dataclass
class ScoringJob(DatasetJob):
    """What the stages need besides their images; a copy in another process opens model, masks and database anew.

    Attributes:
        dataset: the `fiftyone.Dataset`
        inputs: where probabilities come from
        source: of the probabilities, as settled
        plan: of the run
        classes: of the label field
        folder: of the run
        num_images: of the run
    """

    inputs: SourceInputs
    source: ProbabilitySource
    plan: ScoringPlan
    classes: ClassMap
    folder: Path
    num_images: int
    _stage: RecordStage | None = field(default=None, repr=False)

    @property
    def stage(self) -> RecordStage:
        """What is done with each image."""
        if self._stage is None:
            read_mask = mask_reader(self.dataset, self.plan.label_field)
            states = source_states(self.source)
            self._stage = RecordStage(self.plan, self.classes, self.folder, read_mask, self.num_images, states)
        return self._stage

    @property
    def on_gpu(self) -> bool:
        """Whether the model wants a CUDA device."""
        return self.inputs.on_gpu

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "source": closed_source(self.source), "_stage": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.source = reopen_source(self.dataset, self.inputs, state["source"])


def record_images(job: ScoringJob, tasks: Iterable[Task]) -> Iterator[Attempt]:
    """Turn probabilities into records, maps and regions on disk, by threads beside the model.

    A part that a dead worker has left half done is predicted again as a whole, so that its batches are the same.

    Args:
        job: of the run
        tasks: images; records that are there already are not written again

    Yields:
        what became of each image
    """
    stage, todo = job.stage, list(tasks)
    if all(stage.is_done(task.image) for task in todo):  # by a worker that died before it could say so
        yield from (Attempt(task.image) for task in todo)
        return
    places = {task.image.sample_id: task.place for task in todo}

    def attempt(predicted: tuple[LabelledImage, Any]) -> Attempt:
        image, result = predicted
        return Attempt(image) if stage.is_done(image) else stage.attempt(places[image.sample_id], image, result)

    yield from _side_by_side(attempt, job.source.stream([task.image for task in todo]))


def count_records(job: ScoringJob, tasks: Iterable[Task]) -> Iterator[quality.Totals]:
    """Add up records.

    Args:
        job: of the run
        tasks: images that have records

    Yields:
        totals of each image; all of a run can be merged in any order
    """

    def count(task: Task) -> quality.Totals:
        totals = quality.Totals(len(job.classes), job.plan.methods)
        totals.add(quality.load_record(job.stage.record_path(task.image)))
        return totals

    yield from _side_by_side(count, tasks)


def judge_images(
    job: ScoringJob, tasks: Iterable[Task], *, totals: quality.Totals, cut: quality.Cut
) -> Iterator[JudgedImage]:
    """Flag pixels, now that the thresholds of the dataset are known.

    Args:
        job: of the run
        tasks: images that have records
        totals: of all records
        cut: of all records

    Yields:
        scores and evidence of each image
    """
    yield from _side_by_side(lambda task: job.stage.judge_image(task.place, task.image, totals, cut), tasks)


def settle_images(
    job: ScoringJob, items: Iterable[tuple[str, Sequence[Review]]], *, scorer: quality.RegionScorer
) -> Iterator[SettledImage]:
    """Score regions and draw their masks.

    Args:
        job: of the run
        items: sample ids, each with what was said about the image's regions earlier
        scorer: of the regions

    Yields:
        what is known of the regions of each image
    """
    regions, drawn = job.stage.regions, []

    def settle(item: tuple[str, Sequence[Review]]) -> SettledImage:
        drawn.append(item[0])
        return regions.settle_image(item[0], item[1], scorer)

    yield from _side_by_side(settle, items)
    all_on_disk(map(regions.mask_folder, drawn))


def _side_by_side(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    threads = files.num_writers()
    return (result for _, result in read_ahead(work, items, 2 * threads, threads))
