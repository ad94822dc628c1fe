"""Labels from nothing but class names: boxes by a detector, masks by SAM, composed into one label map per image.

The preparation of "Active Label Correction" (Kim et al., ICML 2024), without a hand-written table of tokens, and with
superpixel ids that do not wrap. Boxes and instance masks that are on the dataset already will do, too.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...correction.superpixels.composition import Composition, compose_masks
from ...dataset.door.image_scale import scaled_paths
from ...dataset.door.instance_masks import instance_mask
from ...dataset.door.slices import every_slice, images_of
from ...dataset.fields import appearance
from ...dataset.fields import schema as fields
from ...dataset.runs import files, run_records
from ...dataset.runs.run_writing import RunWriting, write_run
from ...errors import LabelQualityError
from ...models.files.images import read_image
from ...models.foundation.grounding_prompt import class_phrases
from ...models.segmenters.class_names import concept, plain_name
from ...options import exactly, takes
from ...progress import Progress, terminal_bar
from ...wording import count, of_file, percent
from .pseudo_label_options import BACKGROUND, DECIDING, PseudoLabelOptions, require_options
from .sam_embeddings import known_embeddings
from .superpixels import write_superpixels
from .zoo_checkpoints import find_checkpoint

DEFAULT_KEY: Final = "pseudo_labels"


@dataclass(frozen=True)
class PseudoLabelReport:
    """What was generated.

    Attributes:
        key: the field
        classes: names by mask value
        num_images: images with pseudo labels
        num_resumed: of those, images that an interrupted run had finished
        num_boxes: boxes or instances that were painted
        by_class: class to boxes or instances
        painted_share: share of the pixels that some mask covers
        empty: (sample id, file) of images without any detection
        unknown: label of boxes on the dataset that is none of the classes, to number
        skipped: (sample id, file, reason) of images that could not be read
        fields: the fields that were written
        output_dir: folder of the files
        seconds: time taken
    """

    key: str
    classes: dict[int, str]
    num_images: int
    num_resumed: int
    num_boxes: int
    by_class: dict[str, int]
    painted_share: float
    empty: list[tuple[str, str]]
    unknown: dict[str, int]
    skipped: list[tuple[str, str, str]]
    fields: list[str]
    output_dir: str
    seconds: float

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [
            f"**{count(self.num_images, 'image', 'have')} pseudo labels in `{self.key}`**: "
            f"{count(self.num_boxes, 'object')} on {percent(self.painted_share)} % of the pixels ({self.seconds:.0f} s)"
        ]
        most = sorted(self.by_class.items(), key=lambda row: -row[1])[:10]
        if most:
            lines.append("- " + ", ".join(f"{name} {number:,}" for name, number in most))
        missing = [name for name in self.classes.values() if name not in self.by_class and name != "background"]
        if missing:
            lines.append(f"- **Never found:** {', '.join(missing[:12])}")
        if self.empty:
            lines.append(
                f"- **{count(len(self.empty), 'image', 'have')} no detection**, for instance {self.empty[0][1]}: "
                f"saved view '{self.key} empty'"
            )
        if self.unknown:
            listed = ", ".join(f"{name} ({number:,})" for name, number in list(self.unknown.items())[:5])
            lines.append(f"- **Boxes of other classes were left out:** {listed}")
        if self.skipped:
            _, filepath, reason = self.skipped[0]
            lines.append(
                f"- **{count(len(self.skipped), 'image', 'were')} skipped**, for instance {of_file(filepath, reason)}"
            )
        return "\n".join(lines)


@takes(PseudoLabelOptions)
def generate_pseudo_labels(
    samples: Any,
    classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    *,
    key: str = DEFAULT_KEY,
    device: Any = None,
    overwrite: bool = False,
    resume: bool = True,
    progress: Progress | None = None,
    **keywords: Any,
) -> PseudoLabelReport:
    """Label images from class names: boxes for the names, a mask for each box, smaller masks over larger ones.

    An interrupted run goes on where it stopped when it is started again with the same arguments.

    Args:
        samples: a `fiftyone` dataset or view of images
        classes: class names, or {name: [wordings to look for]}; for `boxes` and `instances` the labels that occur if
            None
        key: the field, and the name of the run; superpixels are in `{key}_superpixels`
        device: to run on; chosen by itself if None
        overwrite: whether to replace a run under the same key
        resume: whether to go on with an interrupted run
        progress: told how far the job is; a bar in the terminal if None
        keywords: those of `PseudoLabelOptions`

    Returns:
        what was generated

    Raises:
        LabelQualityError: if the arguments cannot be used; the dataset is then unchanged

    Example:
        >>> generate_pseudo_labels(                                                     # doctest: +SKIP
        ...     dataset, {"person": ["person", "pedestrian"], "car": ["car", "van"]},
        ...     detector="IDEA-Research/grounding-dino-base", checkpoint="sam_vit_h_4b8939.pth",
        ... )
    """
    dataset = samples._root_dataset
    options = exactly(PseudoLabelOptions, keywords, "generate_pseudo_labels")
    prompts = _checked(samples, classes, options)
    plan = _Plan(key, prompts, options, device)
    run_records.require_free_key(
        dataset, key, plan.field_names(), overwrite=overwrite, method=run_records.PSEUDO_LABELS
    )
    base = Path(options.output_dir).expanduser() if options.output_dir else files.default_output_dir(dataset, key)
    files.require_writable(base.parent if not base.exists() else base, 1)
    if progress is not None:
        return _run(samples, plan, base, overwrite, resume, progress)
    with terminal_bar("pseudo labels") as bar:
        return _run(samples, plan, base, overwrite, resume, bar)


# --- where objects come from ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    key: str
    prompts: Mapping[str, Sequence[str]]
    options: PseudoLabelOptions
    device: Any

    def field_names(self) -> list[str]:
        """Every field that the run writes."""
        names = [self.key, f"{self.key}_superpixels", f"{self.key}_num_objects"]
        return names + ([f"{self.key}_confidence"] if self.options.write_confidence else [])

    def targets(self) -> dict[int, str]:
        """Mask value to class name."""
        named = dict(enumerate(self.prompts, start=1))
        return {BACKGROUND: "background", **named} if self.options.unpainted == "background" else named

    @property
    def unpainted_value(self) -> int:
        """Mask value of what no mask covers."""
        if self.options.unpainted == "background":
            return BACKGROUND
        return 255 if len(self.prompts) < 255 else 65_535

    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides the results."""
        options = self.options
        return {
            "source": list(options.source),
            "classes": [[name, list(wordings)] for name, wordings in self.prompts.items()],
            "checkpoint": Path(options.checkpoint).name if options.checkpoint else None,
            **{name: getattr(options, name) for name in DECIDING},
        }


@dataclass(frozen=True, eq=False)
class _Objects:
    """What was found in one image: masks, or boxes that still need one."""

    class_index: np.ndarray
    score: np.ndarray
    boxes: np.ndarray
    masks: Sequence[np.ndarray] | None = None
    unknown: Counter[str] = field(default_factory=Counter)


def _checked(
    samples: Any, classes: Sequence[str] | Mapping[str, Sequence[str]] | None, options: PseudoLabelOptions
) -> dict[str, list[str]]:
    """Every class with the wordings to look for, after all that can be refused without loading anything."""
    kind, name = options.source
    require_options(options)
    if kind == "boxes" and not options.checkpoint:
        raise _no_checkpoint("masks that there are already as `instances`")
    if kind != "detector":
        _require_detections(samples, kind, name)
    prompts = _prompts(samples, classes, kind, name)
    class_phrases(prompts)  # names that cannot be used are refused before anything is loaded
    if "background" in (one.lower() for one in prompts):
        raise LabelQualityError(
            "Expected names of things that can be found, but got 'background'; leave it out: what no mask covers "
            'becomes background by itself (`unpainted="background"`)'
        )
    if kind == "detector" and not options.checkpoint:
        from ...models.foundation.detectors import gives_masks

        if not gives_masks(name):
            raise _no_checkpoint("facebook/sam3 as `detector`, which makes masks by itself")
    return prompts


def _no_checkpoint(instead: str) -> LabelQualityError:
    return LabelQualityError(
        "Expected a `checkpoint` of SAM, which turns boxes into masks, but got none; pass a .pth file of "
        f"segment-anything, a folder or name of transformers (facebook/sam2.1-hiera-tiny), or {instead}"
    )


def _require_detections(samples: Any, argument: str, name: str) -> None:
    import fiftyone as fo

    choices = list(samples.get_field_schema(embedded_doc_type=fo.Detections))
    if name not in choices:
        raise LabelQualityError(f"Expected `{argument}` to be one of the Detections fields {choices}, but got {name!r}")


def _prompts(
    samples: Any, classes: Sequence[str] | Mapping[str, Sequence[str]] | None, kind: str, name: str
) -> dict[str, list[str]]:
    if classes is None and kind == "detector":
        raise LabelQualityError("Expected `classes` to look for, but got none; pass a list of names")
    if classes is None:
        found = sorted(str(label) for label in samples.distinct(f"{name}.detections.label") if label)
        classes = list({plain_name(label): label for label in reversed(found)}.values())[::-1]  # however it is spelt
    if isinstance(classes, str):
        raise LabelQualityError(f"Expected `classes` to be a list of names, but got the text {classes!r}")
    if isinstance(classes, Mapping):
        return {
            str(one): [str(w) for w in ([words] if isinstance(words, str) else words)] for one, words in classes.items()
        }
    names = [str(one) for one in classes]
    class_phrases(names)  # notices duplicates, which a mapping would swallow
    return {one: [one] for one in names}


# --- image by image -------------------------------------------------------------------------------------------


def _run(samples: Any, plan: _Plan, base: Path, overwrite: bool, resume: bool, progress: Progress) -> PseudoLabelReport:
    fingerprint = plan.fingerprint()
    planned = run_records.RunRecord(plan.key, run_records.PSEUDO_LABELS, plan.key, fingerprint, plan.field_names())
    dataset = samples._root_dataset
    with write_run(dataset, planned, base, fingerprint, overwrite=overwrite, resume=resume) as run:
        return _label(samples, plan, planned, run, run.watched(progress))


def _label(
    samples: Any, plan: _Plan, planned: run_records.RunRecord, run: RunWriting, progress: Progress
) -> PseudoLabelReport:
    started, dataset = time.monotonic(), run.dataset
    ids, filepaths = images_of(samples).values(["id", "filepath"])
    rows = list(zip(ids, scaled_paths(samples, filepaths), strict=True))
    stage = _Stage(plan, run.path, dataset)
    stage.load_models()
    waiting = [row for row in rows if not stage.is_done(row[0])]
    skipped: list[tuple[str, str, str]] = []
    done = len(rows) - len(waiting)
    for sample_id, filepath, failure in stage.label(waiting):
        done += 1
        if failure is not None:
            skipped.append((sample_id, filepath, failure))
        progress(done, len(rows), "pseudo labels")
    failed = {sample_id for sample_id, _, _ in skipped}
    kept = [(sample_id, filepath) for sample_id, filepath in rows if sample_id not in failed]
    if not kept:
        raise LabelQualityError(f"No image could be labelled: {skipped[0][2] if skipped else 'no samples'}")
    report = _report(plan, stage, kept, len(rows) - len(waiting), skipped, run.path, time.monotonic() - started)
    views = [f"{plan.key} empty"] if report.empty else []
    run.replace_results(views)
    _write(dataset, plan, stage, kept, views)
    summary = {"report": report.markdown(), "num_images": report.num_images}
    run.finish(replace(planned, views=views, output_dir=report.output_dir, summary=summary))
    return report


class _Stage:
    """What is done image by image, in one folder."""

    def __init__(self, plan: _Plan, folder: Path, dataset: Any) -> None:
        self._plan, self._folder, self._dataset = plan, folder, dataset
        self._detector: Any = None
        self._sam: Any = None
        self._cache: Any = None

    def load_models(self) -> None:
        """Load what will be needed, so that a checkpoint that cannot be used is noticed before the first image.

        Raises:
            LabelQualityError: if there is one
        """
        from ...models.foundation.detectors import cached_detector
        from ...models.foundation.sam import cached_sam
        from ...models.foundation.sam_embeddings import EmbeddingCache

        options, (kind, name) = self._plan.options, self._plan.options.source
        if kind == "detector":
            self._detector = cached_detector(name, self._plan.device, options.half)
            self._detector.questions(self._plan.prompts)
        if kind != "instances" and options.checkpoint:
            self._sam = cached_sam(find_checkpoint(options.checkpoint), self._plan.device, options.half)
            _, embeddings = known_embeddings(self._dataset)
            self._cache = EmbeddingCache(embeddings, self._sam) if embeddings else None

    def path(self, kind: str, sample_id: str) -> Path:
        """PNG of one of the fields."""
        return self._folder / kind / f"{sample_id}.png"

    def notes(self, sample_id: str) -> dict[str, Any] | None:
        """What was counted in an image; written last."""
        return files.read_json(self._folder / "records" / f"{sample_id}.json")

    def is_done(self, sample_id: str) -> bool:
        """Whether an interrupted run has finished an image."""
        return self.notes(sample_id) is not None

    def label(self, rows: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str, str | None]]:
        """Label images; yields each with the reason if it failed."""
        waiting = iter(rows)
        while chunk := list(islice(waiting, max(int(self._plan.options.batch_size), 1))):
            readable, failures = self._read(chunk)
            yield from failures
            for (sample_id, filepath, image), objects in zip(readable, self._find(readable), strict=True):
                try:
                    if isinstance(objects, Exception):
                        raise objects
                    self._compose(sample_id, filepath, image, objects)
                except (OSError, LabelQualityError) as error:
                    if "memory" in str(error):  # it would be the same for all others
                        raise
                    yield sample_id, filepath, str(error)
                    continue
                yield sample_id, filepath, None

    def _read(
        self, chunk: Sequence[tuple[str, str]]
    ) -> tuple[list[tuple[str, str, np.ndarray]], list[tuple[str, str, str]]]:
        readable, failures = [], []
        for sample_id, filepath in chunk:
            try:
                readable.append((sample_id, filepath, read_image(filepath)))
            except (OSError, SyntaxError, ValueError) as error:
                failures.append((sample_id, filepath, f"unreadable image: {error}"))
        return readable, failures

    def _find(self, images: Sequence[tuple[str, str, np.ndarray]]) -> list[_Objects | Exception]:
        if not images:
            return []
        if self._detector is None:
            return [self._on_dataset(sample_id, image.shape) for sample_id, _, image in images]
        arrays, threshold = [image for _, _, image in images], self._plan.options.box_threshold
        found = self._detector.detect(arrays, self._plan.prompts, threshold)
        return [_Objects(boxes.class_index, boxes.score, boxes.xyxy, boxes.masks) for boxes in found]

    def _on_dataset(self, sample_id: str, shape: tuple[int, ...]) -> _Objects | Exception:
        kind, name = self._plan.options.source
        label = self._dataset[sample_id][name]
        index_of = _index_of(self._plan.prompts)
        classes, scores, boxes, masks, unknown = [], [], [], [], Counter[str]()
        for detection in label.detections if label is not None else []:
            index = index_of.get(plain_name(str(detection.label)), index_of.get(concept(str(detection.label))))
            score = 1.0 if detection.confidence is None else float(detection.confidence)
            if index is None:
                unknown[str(detection.label)] += 1
                continue
            if score <= self._plan.options.box_threshold and detection.confidence is not None:
                continue
            x, y, width, height = detection.bounding_box
            corners = np.clip([x, y, x + width, y + height], 0, 1) * [shape[1], shape[0], shape[1], shape[0]]
            if kind == "instances":
                mask = instance_mask(detection, (int(shape[0]), int(shape[1])))
                if mask is None:
                    return LabelQualityError(f"an object in `{name}` has no mask; pass the field as `boxes`")
                masks.append(mask)
            classes.append(index)
            scores.append(min(max(score, 0.0), 1.0))
            boxes.append(corners)
        corners_of = np.array(boxes, np.float32).reshape(-1, 4)
        return _Objects(
            np.array(classes, np.int64),
            np.array(scores, np.float32),
            corners_of,
            masks if kind == "instances" else None,
            unknown,
        )

    def _compose(self, sample_id: str, filepath: str, image: np.ndarray, objects: _Objects) -> None:
        shape = (int(image.shape[0]), int(image.shape[1]))
        own = objects.masks if self._sam is None else None
        composed = compose_masks(
            (mask for mask, _ in self._masks(filepath, objects.boxes)) if own is None else own,
            objects.class_index + 1,
            objects.score,
            shape,
            unpainted=self._plan.unpainted_value,
            min_area=self._plan.options.min_area,
            nms_iou=self._plan.options.nms_iou,
            boxes=objects.boxes if own is None else None,
        )
        self._write(sample_id, composed, objects)

    def _masks(self, filepath: str, boxes: np.ndarray) -> Iterable[tuple[np.ndarray, float]]:
        if not len(boxes):
            return []
        known = self._cache is not None and self._cache.has(filepath)
        embedding = self._cache.get(filepath) if known else self._sam.embed(filepath)
        return self._sam.each_mask_from_boxes(embedding, boxes)

    def _write(self, sample_id: str, composed: Composition, objects: _Objects) -> None:
        files.write_png(self.path("masks", sample_id), composed.labels)
        write_superpixels(self.path("superpixels", sample_id), composed.segments)
        if self._plan.options.write_confidence:
            confidence = np.rint(np.clip(composed.confidence, 0, 1) * 255).astype(np.uint8)
            files.write_png(self.path("confidence", sample_id), confidence)
        names = list(self._plan.prompts)
        classes = Counter(names[int(objects.class_index[index])] for index in composed.kept)
        notes = {
            "by_class": dict(classes),
            "painted": int((composed.segments > 0).sum()),
            "pixels": int(composed.segments.size),
            "unknown": dict(objects.unknown),
        }
        files.write_json(self._folder / "records" / f"{sample_id}.json", notes)


def _index_of(prompts: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Name of a class to its place, however it is spelt; names of one thing count where no name is equal.

    Example:
        >>> _index_of({"tv": ["television set"], "car": []})
        {'tv': 0, 'televisionset': 0, 'car': 1}
    """
    named = [(word, index) for index, (name, words) in enumerate(prompts.items()) for word in (name, *words)]
    equal = {plain_name(word): index for word, index in reversed(named)}
    alike = {concept(word): index for word, index in reversed(named)}
    return {**dict(reversed(alike.items())), **dict(reversed(equal.items()))}


def _report(
    plan: _Plan,
    stage: _Stage,
    kept: Sequence[tuple[str, str]],
    resumed: int,
    skipped: list[tuple[str, str, str]],
    folder: Path,
    seconds: float,
) -> PseudoLabelReport:
    by_class: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    painted = pixels = 0
    empty = []
    for sample_id, filepath in kept:
        notes = stage.notes(sample_id) or {}
        by_class.update(notes.get("by_class", {}))
        unknown.update(notes.get("unknown", {}))
        painted += notes.get("painted", 0)
        pixels += notes.get("pixels", 0)
        if not notes.get("by_class"):
            empty.append((sample_id, filepath))
    return PseudoLabelReport(
        key=plan.key,
        classes=plan.targets(),
        num_images=len(kept),
        num_resumed=resumed,
        num_boxes=sum(by_class.values()),
        by_class=dict(by_class),
        painted_share=painted / max(pixels, 1),
        empty=empty,
        unknown=dict(unknown),
        skipped=skipped,
        fields=plan.field_names(),
        output_dir=str(folder),
        seconds=round(seconds, 2),
    )


def _write(
    dataset: Any,
    plan: _Plan,
    stage: _Stage,
    kept: Sequence[tuple[str, str]],
    views: Sequence[str],
) -> None:
    ids = [sample_id for sample_id, _ in kept]

    def paths(kind: str) -> dict[str, str]:
        return {sample_id: str(stage.path(kind, sample_id)) for sample_id in ids}

    how = "from {} {}".format(*plan.options.source)
    fields.write_segmentations(dataset, plan.key, paths("masks"), f"Pseudo labels {how}", plan.targets())
    fields.write_segmentations(
        dataset, f"{plan.key}_superpixels", paths("superpixels"), "The visible part of each object", {}
    )
    if plan.options.write_confidence:
        text = "How probable each pixel's pseudo label is"
        fields.write_heatmaps(dataset, f"{plan.key}_confidence", paths("confidence"), text)
    counts = {i: sum((stage.notes(i) or {}).get("by_class", {}).values()) for i in ids}
    fields.write_numbers(dataset, f"{plan.key}_num_objects", counts, "Objects that were painted", integer=True)
    for name in views:
        from fiftyone import ViewField

        view = every_slice(dataset).match(ViewField(f"{plan.key}_num_objects") == 0)
        appearance.save_view(dataset, name, view, "Images in which nothing was found")
    appearance.color_classes(dataset, [plan.key], plan.targets())
