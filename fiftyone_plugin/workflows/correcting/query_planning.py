"""What to ask next: superpixels of all images, compared by what an answer is expected to repair, as pending queries."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np

from ...correction.answers.replay import replay, tight
from ...correction.questions.acquisition import ACQUISITIONS, DEFAULT_ACQUISITION, acquisition_values, choose_queries
from ...correction.questions.candidates import Candidates, find_candidates
from ...correction.questions.expansion import expand
from ...correction.questions.known_questions import KnownQuestion
from ...correction.superpixels.methods import add_missed_objects, fill_gaps, image_superpixels, split_by_label
from ...dataset.door.account import class_table, recorded_rows
from ...dataset.door.classes import ClassMap
from ...dataset.door.masks import read_mask_file, resize_nearest
from ...dataset.door.scan import LabelledImage, require_label_field, scan_labels
from ...dataset.door.slices import every_slice
from ...dataset.fields import queries
from ...dataset.fields.queries import CorrectionFields
from ...dataset.fields.regions import draw_mask
from ...dataset.journals import answers as answer_log
from ...dataset.journals.answers import Answer
from ...dataset.runs import files, run_records
from ...dataset.runs.claims import claim
from ...dataset.runs.shared_files import named_elsewhere
from ...errors import LabelQualityError
from ...models.files.images import read_image
from ...options import split, takes
from ...progress import Progress, silent, terminal_bar
from ...quality.certainty.reviewers import DOUBTFUL, Reliability
from ...quality.records.arrays_file import write_arrays
from ...quality.records.made_anew import MadeAnew
from ...quality.records.on_disk import OnDisk
from ...wording import count, of_file, percent
from ...written_files import is_whole, sweep
from ..checking.first_look import first_look
from ..engines.dataset_job import DatasetJob
from ..engines.engine import Engine
from ..engines.opening import open_engine
from ..scoring.scoring_warnings import swapped_table
from ..scoring.sources import ProbabilitySource, SourceInputs, closed_source, reopen_source, settle_classes
from .correction_run import CorrectionRun
from .correction_start import begin, keep, next_round, require_correctable, write_all
from .found_candidates import Found
from .hidden_questions import HiddenQuestion, HiddenQuestions, choose_hidden, hide_among, person_in_words
from .plan_options import REMEMBERED, PlanOptions, QueryPlan, require_plan_options
from .propagation import RELABELLED, Beliefs, propagate_answers, relabelled, relabelled_in_words, withdraw_propagated

_ALTERNATIVES = 5
_TRIALS = 0.1
"""Share of the questions that may be about what would be relabelled unasked."""

_ASKED = 0.5
"""Share of a superpixel that was answered about from which on it is not asked about again."""


@dataclass(frozen=True)
class PlanReport:
    """What will be asked.

    Attributes:
        label_field: the field in question
        round: number of the plan, from 1
        num_queries: questions that are pending now
        num_images: images with questions
        num_audits: questions that were drawn at random
        by_class: given class to number of questions
        num_superpixels: parts that could be asked about
        reachable: share of the labelled pixels that some question could be about
        num_answered: answers that earlier rounds gave
        num_propagated: superpixels that were relabelled because the answers make it certain
        relabelled: with which promise, or what it would take, as a sentence; empty where there is nothing to relabel
        num_hidden: questions whose answer is known, hidden among the others
        people: how reliable each reviewer is, by name; from known answers, from others, and from everything else
        acquisition: how the questions were chosen
        skipped: (sample id, file, reason) of images that cannot be asked about
        seconds: time taken
        warnings: what the user should know
        class_rows: the account of classes: mask value, name, channel and how it was found
    """

    label_field: str
    round: int
    num_queries: int
    num_images: int
    num_audits: int
    by_class: dict[str, int]
    num_superpixels: int
    reachable: float
    num_answered: int
    num_propagated: int
    acquisition: str
    skipped: list[tuple[str, str, str]]
    seconds: float
    num_hidden: int = 0
    relabelled: str = ""
    people: dict[str, Reliability] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    class_rows: list[dict[str, str]] = field(default_factory=list)

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [
            f"**Round {self.round}: {count(self.num_queries, 'question')} about {count(self.num_images, 'image')}** in "
            f"`{CorrectionFields(self.label_field).queries}`; open the panel 'Label correction' to answer",
            f"- chosen from {count(self.num_superpixels, 'superpixel')} ({percent(self.reachable)} % of the labelled "
            f"pixels) by {self.acquisition}",
            f"- drawn at random, to estimate what is still wrong: {self.num_audits:,} of them",
        ]
        most = sorted(self.by_class.items(), key=lambda row: -row[1])[:8]
        if most:
            lines.append("- labelled as " + ", ".join(f"{name} {number:,}" for name, number in most))
        if self.num_answered:
            lines.append(f"- decided already, and not asked again: {count(self.num_answered, 'part')}")
        if self.relabelled:
            lines.append(f"- {self.relabelled}")
        if self.num_hidden:
            lines.append(
                f"- {self.num_hidden:,} of the questions are hidden ones whose answer is known: they tell how reliable "
                "each person is, and never change a label"
            )
        lines += [f"- {person_in_words(name, person)}" for name, person in self.people.items()]
        lines += [f"- **{warning}**" for warning in self.warnings]
        if self.skipped:
            _, filepath, reason = self.skipped[0]
            lines.append(
                f"- **{count(len(self.skipped), 'image', 'were')} left out**, for instance {of_file(filepath, reason)}"
            )
        lines += class_table(self.class_rows)
        return "\n".join(lines)


@takes(PlanOptions)
def plan_correction_queries(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    model: Any = None,
    probabilities: str | Sequence[str] | None = None,
    predictions: str | None = None,
    progress: Progress | None = None,
    **keywords: Any,
) -> PlanReport:
    """Plan the questions whose answers repair most.

    Each superpixel is one possible question, "is this label right?". Probabilities stream by; of each image only what
    is known of its superpixels stays. A later call plans the next round: what was answered is not asked again, and its
    labels are the corrected ones. The given labels are never written.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: its `Segmentation` field whose masks are in question
        model: where probabilities come from, as in `score_label_quality`
        probabilities: instead of a model, likewise
        predictions: instead of either, likewise
        progress: told how far the job is; a bar in the terminal if None
        options: those of `PlanOptions`
        keywords: further options of `models.load_segmenter`

    Returns:
        what will be asked

    Raises:
        LabelQualityError: if the arguments or the data cannot be used

    Example:
        >>> plan_correction_queries(dataset, "ground_truth", model="cross_validation", budget=200)  # doctest: +SKIP
    """
    options, model_options = split(PlanOptions, keywords)
    require_plan_options(options)
    plan = QueryPlan(label_field=label_field, **vars(options))
    samples = require_label_field(samples, label_field)
    dataset, names = samples._root_dataset, CorrectionFields(label_field)
    if plan.superpixels is not None:
        _require_superpixels(samples, plan.superpixels, label_field)
    require_correctable(dataset, label_field)
    engine = open_engine(plan.engine, plan.workers)
    inputs = SourceInputs(label_field, model, probabilities, predictions, plan.batch_size, model_options)
    (progress or silent)(0, 1, "opening the model")
    source = inputs.open(samples)
    with claim(dataset, names.run) as held, files.disk_in_words():
        if progress is not None:
            return _run(samples, plan, inputs, source, engine, held.watched(progress))
        with terminal_bar("checking labels") as bar:
            return _run(samples, plan, inputs, source, engine, held.watched(bar))


def _require_superpixels(samples: Any, name: str, label_field: str) -> None:
    import fiftyone as fo

    choices = [one for one in samples.get_field_schema(embedded_doc_type=fo.Segmentation) if one != label_field]
    if name not in choices:
        raise LabelQualityError(
            f"Expected `superpixels` to be one of the Segmentation fields {choices}, but got {name!r}; run "
            "`compute_superpixels` first, or leave it out"
        )
    if len(every_slice(samples).exists(f"{name}.mask")):
        raise LabelQualityError(
            f"Expected superpixels in `{name}` as files, but some are in the database; write them to files with "
            f"`fiftyone.utils.labels.export_segmentations(dataset, {name!r}, folder, update=True)`"
        )


def _run(
    samples: Any,
    plan: QueryPlan,
    inputs: SourceInputs,
    source: ProbabilitySource,
    engine: Engine,
    progress: Progress,
) -> PlanReport:
    started = time.monotonic()
    dataset = samples._root_dataset
    scan = scan_labels(samples, plan.label_field, progress=progress)
    progress(0, 1, "matching the classes of labels and model")
    faults = first_look(samples, plan.label_field, scan, plan.ignore_index)
    classes, source = settle_classes(
        samples, plan.label_field, scan, source, ignore_index=plan.ignore_index, class_mapping=plan.class_mapping,
        unmatched=plan.unmatched,
    )  # fmt: skip
    run = begin(dataset, plan.label_field, scan, classes, output_dir=plan.output_dir, on_edited=plan.on_edited)
    begun, run = run, next_round(run)
    job = LookingJob(dataset, run, plan, classes, inputs, source)
    failed = _look(job, engine, scan.images, progress)
    stage = job.stage
    images = OnDisk(image for image in scan.images if image.sample_id not in failed)
    if not images:
        raise LabelQualityError(f"No image can be asked about: {next(iter(failed.values()))}")
    progress(0, 1, "choosing questions")
    found = stage.load(images)
    withdraw_propagated(run, [image.sample_id for image in images])
    beliefs = propagate_answers(run, classes, found, plan.propagate_wrong if plan.propagate else None, stage)
    found = replace(found, candidates=beliefs.candidates)
    values = _values(found, beliefs, plan, plan.seed + run.record.summary["round"])
    seed = plan.seed + run.record.summary["round"]
    chosen = choose_queries(found.candidates, values, plan.budget, audits=plan.audits, seed=seed)
    known = choose_hidden(beliefs.sure, found, classes, round(plan.hidden * plan.budget), seed, chosen)
    audits = {(one.image, one.row) for one in chosen if one.audit}
    trials = _trials([place for place in beliefs.untried if place not in audits], found, plan, seed)
    others = [one for one in chosen if (one.image, one.row) not in trials]
    chosen = hide_among(others[: plan.budget - len(known) - len(trials)], [*known, *trials], seed)
    keep(begun)
    written = stage.write(images, found, chosen, known, trials, progress)
    write_all(run, images, progress)
    skipped = [(skip.sample_id, skip.filepath, skip.reason) for skip in scan.skipped]
    skipped += [(i.sample_id, i.filepath, failed[i.sample_id]) for i in scan.images if i.sample_id in failed]
    report = PlanReport(
        label_field=plan.label_field,
        round=run.record.summary["round"],
        num_queries=len(chosen),
        num_images=written,
        num_audits=sum(one.audit for one in chosen),
        by_class=dict(Counter(_given_name(classes, found, one) for one in chosen)),
        num_superpixels=sum(len(one) for one in found.candidates),
        reachable=found.reachable(),
        num_answered=found.num_answered,
        num_propagated=beliefs.num_propagated,
        relabelled=relabelled_in_words(
            beliefs.num_propagated, len(beliefs.untried), beliefs.trials, plan.propagate_wrong
        ),
        num_hidden=len(known),
        people=beliefs.people,
        acquisition=ACQUISITIONS[plan.acquisition],
        skipped=skipped,
        seconds=round(time.monotonic() - started, 2),
        warnings=[*_warnings(source, images, chosen, len(known), plan, found.confusion, classes), *faults],
        class_rows=recorded_rows(classes),
    )
    _finish(run, plan, source, report, found, beliefs)
    return report


def _values(found: Found, beliefs: Beliefs, plan: QueryPlan, seed: int) -> list[np.ndarray]:
    """What each question is worth; what was answered is open again where it is doubtful, or worth more than others."""
    open_again = beliefs.again if plan.recheck else {}
    if plan.acquisition != DEFAULT_ACQUISITION:  # which alone knows what another answer to the same question is worth
        open_again = {place: chance for place, chance in open_again.items() if chance < DOUBTFUL}
    for image, row in open_again:
        found.asked[image][row] = False
    values = acquisition_values(
        found.candidates, plan.acquisition, seed=seed, asked=found.asked, beliefs=beliefs.posterior,
        seconds=found.seconds(),
    )  # fmt: skip
    sure = [place for place, chance in open_again.items() if chance >= DOUBTFUL]
    again = [values[image][row] for image, row in sure]
    for image, row in sure:
        values[image][row] = np.nan
    if not sure:
        return values
    first = np.concatenate([each[~np.isnan(each)] for each in values])
    least = np.partition(first, -plan.budget)[-plan.budget] if first.size >= plan.budget else np.inf
    for (image, row), value in zip(sure, again, strict=True):
        found.asked[image][row] = not value > least
        values[image][row] = value if value > least else np.nan
    return values


def _trials(untried: Sequence[tuple[int, int]], found: Found, plan: QueryPlan, seed: int) -> set[tuple[int, int]]:
    """Superpixels to ask about that would be relabelled, drawn by area: only these say whether the others may be."""
    number = min(round(_TRIALS * plan.budget), len(untried))
    if not number:
        return set()
    area = np.array([found.candidates[image].area[row] for image, row in untried], np.float64)
    drawn = np.random.default_rng([seed, 3]).choice(len(untried), number, replace=False, p=area / area.sum())
    return {untried[place] for place in drawn.tolist()}


def _warnings(
    source: ProbabilitySource,
    images: Sequence[LabelledImage],
    chosen: Sequence[Any],
    num_hidden: int,
    plan: QueryPlan,
    confusion: np.ndarray,
    classes: ClassMap,
) -> list[str]:
    swapped = swapped_table(confusion, classes, "plan again")
    found = [swapped] if swapped else []
    trained = source.seen_in_training(images)
    if trained:
        found.append(
            f"The model was trained on {trained:,} of these images with these labels, so it will not doubt them; plan "
            "with out-of-sample predictions: `train_cross_validated`"
        )
    if len(chosen) < plan.budget:
        found.append(f"Only {count(len(chosen), 'question')} instead of {plan.budget:,}: everything else was answered")
    if num_hidden < (wanted := round(plan.hidden * plan.budget)):
        found.append(
            f"Only {num_hidden:,} of {wanted:,} hidden questions can be asked: of too few superpixels the answer is "
            "known, by answers or because label and model are sure of the same class"
        )
    return found


def _given_name(classes: ClassMap, found: Found, one: Any) -> str:
    given = int(found.candidates[one.image].given[one.row])
    return classes.names[given] if given >= 0 else "no class"


# --- the run --------------------------------------------------------------------------------------------------


def _finish(
    run: CorrectionRun, plan: QueryPlan, source: ProbabilitySource, report: PlanReport, found: Found, beliefs: Beliefs
) -> None:
    summary = dict(run.record.summary)
    this = {
        "round": report.round,
        "queries": report.num_queries,
        "audits": report.num_audits,
        "hidden": report.num_hidden,
        "population": found.population(),
    }
    history = [*summary.get("rounds", []), this]
    summary["labelled"] = found.labelled
    summary["people"] = [[name, person.as_row()] for name, person in report.people.items()]
    told = [len(relabelled(run, masks=False)), len(beliefs.untried), beliefs.trials.asked, beliefs.trials.right]
    summary[RELABELLED] = [*told, plan.propagate_wrong]
    asked = {"source": source.description, "budget": plan.budget, "seed": plan.seed}
    record = replace(
        run.record,
        parameters={**asked, **{name: getattr(plan, name) for name in REMEMBERED}},
        output_dir=str(run.folder),
        summary=summary | {"rounds": history, "class_rows": report.class_rows, "report": report.markdown()},
        finished=True,
    )
    run_records.register_run(run.dataset, record)


# --- images ---------------------------------------------------------------------------------------------------


@dataclass
class LookingJob(DatasetJob):
    """What finding the candidates of images needs; a copy in another process opens model and database anew.

    Attributes:
        run: the correction
        plan: of the round
        classes: of the label field
        inputs: where probabilities come from
        source: of the probabilities, as settled
    """

    run: CorrectionRun
    plan: QueryPlan
    classes: ClassMap
    inputs: SourceInputs
    source: ProbabilitySource

    @cached_property
    def stage(self) -> _Stage:
        """What is done with each image."""
        return _Stage(self.run, self.plan, self.classes, self.source)

    @property
    def on_gpu(self) -> bool:
        """Whether the model wants a CUDA device."""
        return self.inputs.on_gpu

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in super().__getstate__().items() if name != "stage"}
        return {**state, "run": replace(self.run, dataset=None), "source": closed_source(self.source)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.run = replace(self.run, dataset=self.dataset)
        self.source = reopen_source(self.dataset, self.inputs, self.source)


def look_at_images(job: LookingJob, images: Iterable[LabelledImage]) -> Iterator[tuple[str, str | None]]:
    """Find the candidates of images and keep them in files; the stage of this job that runs on a cluster.

    Args:
        job: of the round
        images: to look at; what a dead worker has left half done is predicted again as a whole, for the same batches

    Yields:
        sample id, and why the image cannot be asked about, None if it can
    """
    stage, todo = job.stage, list(images)
    if all(stage.is_looked_at(image) for image in todo):
        yield from ((image.sample_id, None) for image in todo)
        return
    for image, result in job.source.stream(todo):
        try:
            if isinstance(result, Exception):
                raise LabelQualityError(str(result))
            stage.look_at(image, result)
            yield image.sample_id, None
        except (OSError, ValueError) as error:
            yield image.sample_id, str(error)


def _look(job: LookingJob, engine: Engine, images: Sequence[LabelledImage], progress: Progress) -> dict[str, str]:
    """Find the candidates of all images that have none yet.

    Returns:
        sample id to reason for those that could not be looked at
    """
    waiting = [image for image in images if not job.stage.is_looked_at(image)]
    failed: dict[str, str] = {}
    with closing(cast(Any, engine.run(look_at_images, job, job.source.batches(waiting)))) as results:
        for done, (sample_id, reason) in enumerate(results, start=1):
            if reason is not None:
                failed[sample_id] = reason
            progress(done, len(waiting), "predicting")
    return failed


class _Stage:
    """What is done image by image."""

    def __init__(self, run: CorrectionRun, plan: QueryPlan, classes: ClassMap, source: ProbabilitySource) -> None:
        self._run, self._plan, self._classes = run, plan, classes
        cut = (plan.superpixels, plan.superpixel_method, plan.superpixel_size)
        self._source_state = source.state
        self._how = repr(
            (source.description, *cut, plan.expansion, plan.similarity, plan.missed_objects, classes, "pairs")
        )
        self._answers: dict[str, list[Answer]] = defaultdict(list)
        said = answer_log.read_answers(run.dataset, run.label_field, but_of=[answer_log.PROPAGATED], masks=False)
        for answer in _counting(said):
            self._answers[answer.sample_id].append(answer)
        self._superpixel_paths: dict[str, str | None] = {}
        if plan.superpixels is not None:
            name = plan.superpixels
            rows = run.dataset._sample_collection.find({}, {f"{name}.mask_path": 1})  # of all slices
            self._superpixel_paths = {str(row["_id"]): (row.get(name) or {}).get("mask_path") for row in rows}

    def _path(self, image: LabelledImage) -> Path:
        """File of an image's candidates: another name where anything that decides them is different."""
        keys = [answer.key for answer in self._answers.get(image.sample_id, ())]
        stamp = self._superpixel_paths.get(image.sample_id)
        state = repr((self._how, self._source_state(image), image.digest, keys, _change_time(stamp)))
        name = f"{image.sample_id}-{hashlib.blake2b(state.encode(), digest_size=8).hexdigest()}.npz"
        return self._run.folder / "candidates" / name

    def answers(self, image: LabelledImage) -> list[Answer]:
        """What was answered about an image, with masks, which are never held of all images."""
        if image.sample_id not in self._answers:
            return []
        return _counting(
            answer_log.read_answers(self._run.dataset, self._run.label_field, sample_ids=[image.sample_id])
        )

    def segments(self, image: LabelledImage) -> np.ndarray:
        """The superpixels that an image was cut into."""
        with np.load(self._path(image).with_suffix(".segments.npz")) as arrays:
            return arrays["segments"]

    def is_looked_at(self, image: LabelledImage) -> bool:
        """Whether its candidates are in its files."""
        path = self._path(image)
        return is_whole(path) and is_whole(path.with_suffix(".segments.npz"))

    def _pairs(self, image: LabelledImage) -> np.ndarray:
        """(n, 3) given class, predicted class, pixels."""
        with np.load(self._path(image).with_suffix(".segments.npz")) as arrays:
            return arrays["pairs"]

    def labels(self, image: LabelledImage) -> np.ndarray:
        """Class indices of the label as people have corrected it."""
        raw = self._classes.mask_values(self._run.read_label(image.sample_id))
        parts = answer_log.repaints(self.answers(image))
        return self._classes.value_indices(replay(raw, parts))

    def look_at(self, image: LabelledImage, probabilities: Any) -> None:
        """Find the candidates of an image and keep them in its files."""
        labels = self.labels(image)
        segments = self._cut(image, labels, probabilities)
        # Hard masks give NaN where they say nothing: all classes are as likely there.
        found = find_candidates(labels, _without_gaps(probabilities), segments)
        path = self._path(image)
        for old in path.parent.glob(f"{image.sample_id}-*"):
            old.unlink(missing_ok=True)
        parts = self._parts(labels, probabilities, segments, found)
        arrays = {"segments": segments, "part": parts, "pairs": _given_and_predicted(labels, probabilities)}
        write_arrays(path.with_suffix(".segments.npz"), arrays)
        found.save(path)

    def _parts(self, labels: np.ndarray, probabilities: Any, segments: np.ndarray, found: Candidates) -> np.ndarray:
        """Of each superpixel the part that a question is about, all in one (H, W) bool map."""
        mode: Any = self._plan.expansion
        part = np.ones(segments.shape, bool)
        if mode == "superpixel":
            return part
        values = np.asarray(probabilities.detach().cpu() if hasattr(probabilities, "detach") else probabilities)
        for row in range(len(found)):
            top, left, bottom, right = (int(edge) for edge in found.bbox[row])
            window = (slice(top, bottom), slice(left, right))
            region = segments[window] == found.segment[row]
            place = (int(found.row[row]) - top, int(found.column[row]) - left)
            asked = expand(
                region, labels[window], values[:, top:bottom, left:right], place, mode, threshold=self._plan.similarity
            )
            part[window] &= asked | ~region
        return part

    def _part(self, image: LabelledImage) -> np.ndarray:
        with np.load(self._path(image).with_suffix(".segments.npz")) as arrays:
            return arrays["part"]

    def _cut(self, image: LabelledImage, labels: np.ndarray, probabilities: Any) -> np.ndarray:
        path = self._superpixel_paths.get(image.sample_id)
        pixels = resize_image(read_image(image.filepath), labels.shape)
        if path is None:
            method: Any = self._plan.superpixel_method
            segments = image_superpixels(pixels, method=method, size=self._plan.superpixel_size)
        else:
            segments = resize_nearest(read_mask_file(path).astype(np.int32), (labels.shape[0], labels.shape[1]))
            if self._plan.missed_objects:
                segments = add_missed_objects(segments, labels, probabilities.argmax(0))
            segments = fill_gaps(segments, pixels, size=self._plan.superpixel_size)
        # What somebody made a superpixel of stays one question, also where other objects lie in front of it.
        return split_by_label(segments, labels, connected=path is None)

    def load(self, images: Sequence[LabelledImage]) -> Found:
        """Look at the candidates of all images, which stay in their files."""
        paths = [str(self._path(image)) for image in images]
        candidates = MadeAnew(len(images), lambda place: Candidates.load(paths[place]))
        asked = []
        confusion = np.zeros((len(self._classes),) * 2, np.int64)
        people: dict[str, list[Answer]] = {}
        for place, image in enumerate(images):
            one = candidates[place]
            given = [a for a in self._answers.get(image.sample_id, ()) if a.source not in answer_log.NOBODY]
            people[image.sample_id] = given
            asked.append(self._asked(image, one) if given else np.zeros(len(one), bool))
            given_class, predicted, pixels = self._pairs(image).T
            np.add.at(confusion, (given_class, predicted), pixels)
        return Found(images, candidates, asked, people, confusion)

    def _asked(self, image: LabelledImage, found: Candidates) -> np.ndarray:
        """Superpixels of which half and more lies in what people were asked about."""
        segments = self.segments(image)
        covered = np.zeros(segments.shape, bool)
        for answer in self.answers(image):
            if answer.source not in answer_log.NOBODY:
                top, left, bottom, right = answer.bbox
                covered[top:bottom, left:right] |= answer.mask[: segments.shape[0] - top, : segments.shape[1] - left]
        counts = np.bincount(segments[covered].ravel(), minlength=int(segments.max()) + 1)
        return counts[found.segment] >= _ASKED * found.area

    def write(
        self,
        images: Sequence[LabelledImage],
        found: Found,
        chosen: Sequence[Any],
        known: Mapping[tuple[int, int], KnownQuestion],
        trials: set[tuple[int, int]],
        progress: Progress,
    ) -> int:
        """Write the chosen questions, of some of which the answer is known, and take the old pending ones away.

        Returns:
            number of images with questions
        """
        name, round_number = self._run.fields.queries, int(self._run.record.summary["round"])
        queries.declare_queries(self._run.dataset, name)
        per_image: dict[int, list[tuple[int, Any]]] = defaultdict(list)
        for rank, one in enumerate(chosen):
            per_image[one.image].append((rank, one))
        documents: dict[str, list[dict[str, Any]]] = {}
        hidden: dict[str, HiddenQuestion] = {}
        for place, image in enumerate(images):
            documents[image.sample_id] = []
            if place not in per_image:
                continue
            segments = np.where(self._part(image), self.segments(image), 0)
            candidates = found.candidates[place]
            for rank, one in per_image[place]:
                path = self._run.folder / "queries" / image.sample_id / f"{round_number}-{rank}-{uuid4().hex[:8]}.png"
                about = known.get((one.image, one.row))
                document = self._document(image, segments, candidates, one, about, rank, round_number, path)
                document["trial"] = (one.image, one.row) in trials
                documents[image.sample_id].append(document)
                if about is not None:
                    values = (self._classes.values[index] for index in (about.truth, about.shown))
                    hidden[str(document["_id"])] = HiddenQuestion(
                        *(int(value) for value in values if value is not None)
                    )
            progress(len(documents), len(images), "writing questions")
        HiddenQuestions(self._run).keep(hidden)
        queries.replace_pending(self._run.dataset, name, documents)
        self._remove_unasked()
        return len(per_image)

    def _remove_unasked(self) -> None:
        """Delete the regions of questions that are asked no more, and of those that an interrupted call has written."""
        name, folder = self._run.fields.queries, self._run.folder / "queries"
        asked = set(self._run.dataset._sample_collection.distinct(f"{name}.detections.mask_path"))
        left = [path for path in folder.rglob("*.png") if str(path) not in asked]
        kept = named_elsewhere(self._run.dataset, [name], folder) if left else set()
        for path in left:
            if path not in kept:
                path.unlink(missing_ok=True)
        for part in folder.glob("*"):
            sweep(part)

    def _document(
        self,
        image: LabelledImage,
        segments: np.ndarray,
        found: Any,
        one: Any,
        known: KnownQuestion | None,
        rank: int,
        round_number: int,
        path: Path,
    ) -> dict[str, Any]:
        top, left, bottom, right = (int(edge) for edge in found.bbox[one.row])
        (dy, dx, below, beside), mask = tight(segments[top:bottom, left:right] == int(found.segment[one.row]))
        top, left, bottom, right = top + dy, left + dx, top + below, left + beside
        files.write_png(path, draw_mask(mask))
        given, suggested = int(found.given[one.row]), int(found.suggested[one.row])
        likely = [int(index) for index in found.alternatives(one.row)]
        if known is not None:
            given, likely = known.shown, list(known.alternatives)
            suggested = likely[0] if likely else given
        named = [self._classes.names[index] for index in likely if self._classes.values[index] is not None]
        return queries.query_document(
            bbox=(top, left, bottom, right),
            shape=image.size,
            mask_path=str(path),
            given=self._classes.names[given] if given >= 0 else "no class",
            alternatives=named[:_ALTERNATIVES],
            suggested=self._classes.names[suggested],
            value=one.value,
            rank=rank,
            point=(int(found.row[one.row]), int(found.column[one.row])),
            area=int(mask.sum()),
            audit=one.audit,
            round_number=round_number,
            value_of=dict(zip(self._classes.names, self._classes.values, strict=True)),
        )


def _given_and_predicted(labels: np.ndarray, probabilities: Any) -> np.ndarray:
    """(n, 3) given class, predicted class and pixels; a prediction of nothing, as hard masks have, counts as given."""
    valid, size = labels >= 0, len(probabilities)
    predicted, first = (
        np.asarray(one.cpu() if hasattr(one, "cpu") else one)[valid]
        for one in (probabilities.argmax(0), probabilities[0])
    )
    given = labels[valid].astype(np.int64)
    counts = np.bincount(given * size + np.where(np.isnan(first), given, predicted), minlength=size**2)
    pairs = np.flatnonzero(counts)
    return np.stack([pairs // size, pairs % size, counts[pairs]], axis=1)


def _change_time(path: str | None) -> int:
    try:
        return Path(path).stat().st_mtime_ns if path else 0
    except OSError:
        return 0


def _without_gaps(probabilities: Any) -> Any:
    if isinstance(probabilities, np.ndarray) and np.isnan(probabilities).any():
        return np.where(np.isnan(probabilities), np.float32(1 / len(probabilities)), probabilities)
    return probabilities


def resize_image(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Bring an image to the size of its label.

    Args:
        image: (h, w, 3) uint8
        shape: (H, W)

    Returns:
        (H, W, 3) uint8
    """
    if image.shape[:2] == tuple(shape[:2]):
        return image
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((int(shape[1]), int(shape[0])), Image.Resampling.BILINEAR))


def _counting(answers: Sequence[Answer]) -> list[Answer]:
    """The answers that count for labels, but for those that follow from the others, anew in each plan."""
    left_out = (answer_log.PROPAGATED, answer_log.HIDDEN)
    return [one for one in answer_log.answers_that_count(answers) if one.source not in left_out]
