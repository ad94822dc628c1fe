"""Superpixels as a field: the parts of each image that correction queries are about."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np

from ...correction.superpixels.methods import fill_gaps as cover
from ...correction.superpixels.methods import (
    image_superpixels,
    superpixels_from_instances,
    superpixels_from_labels,
    superpixels_from_masks,
)
from ...dataset.door.account import account_of
from ...dataset.door.classes import ClassMap
from ...dataset.door.image_scale import scaled_paths
from ...dataset.door.instance_masks import instance_mask
from ...dataset.door.masks import pack_rgb, read_mask, read_mask_file, resize_nearest
from ...dataset.door.scan import mask_reader, require_label_field, scan_labels
from ...dataset.door.slices import images_of
from ...dataset.fields import schema
from ...dataset.runs import files, run_records
from ...dataset.runs.run_writing import RunWriting, write_run
from ...errors import LabelQualityError
from ...models.files.images import read_image
from ...progress import Progress, terminal_bar
from ...wording import count, of_file
from ...written_files import is_whole
from ..checking.first_look import refuse_changed_values
from ..engines.dataset_job import DatasetJob, in_parts
from ..engines.engine import Engine
from ..engines.opening import open_engine
from .zoo_checkpoints import find_checkpoint

METHODS: Final = {
    "sam": "what SAM finds by itself; needs a checkpoint of any network of the SAM family",
    "slic": "parts of about equal size and like colour (scikit-image)",
    "felzenszwalb": "parts as large as the colour stays alike (scikit-image)",
    "instances": "a field with instance masks or ids, for instance of SAM's or a panoptic model's",
    "labels": "connected parts of one class of a Segmentation field",
}
"""Where superpixels can come from."""

DEFAULT_KEY: Final = "superpixels"
_IMAGES_AT_ONCE = 16
"""Images that a worker of a cluster is given at a time."""

MOST: Final = 65_535
"""Superpixels of one image that fit into a 16-bit PNG."""


@dataclass(frozen=True)
class SuperpixelReport:
    """What was computed.

    Attributes:
        key: the field
        method: one of `METHODS`
        num_images: images with superpixels
        per_image: mean number of superpixels of an image
        skipped: (sample id, file, reason) of the others
        seconds: time taken
    """

    key: str
    method: str
    num_images: int
    per_image: float
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [
            f"**{count(self.num_images, 'image', 'have')} superpixels in `{self.key}`**, {self.per_image:,.0f} on "
            f"average ({self.method}, {self.seconds:.0f} s)"
        ]
        if self.skipped:
            _, filepath, reason = self.skipped[0]
            lines.append(
                f"- **{count(len(self.skipped), 'image', 'were')} skipped**, for instance {of_file(filepath, reason)}"
            )
        return "\n".join(lines)


def compute_superpixels(
    samples: Any,
    *,
    method: str = "slic",
    key: str = DEFAULT_KEY,
    checkpoint: str | None = None,
    source_field: str | None = None,
    size: int | None = None,
    fill_gaps: bool = True,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = True,
    device: Any = None,
    engine: str = "local",
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> SuperpixelReport:
    """Compute the parts of each image that correction queries are about, as a Segmentation field of 16-bit ids.

    Args:
        samples: a `fiftyone` dataset or view of images
        method: one of `METHODS`
        key: the field, and the name of the run
        checkpoint: for "sam": a .pth file of segment-anything, a folder or name on the hub of transformers, or a
            model of FiftyOne's zoo
        source_field: for "instances" a Detections field with masks, or a Segmentation field of ids; for "labels" a
            Segmentation field
        size: pixels per superpixel, for SLIC, Felzenszwalb and what fills gaps; a 175th of the image if None
        fill_gaps: whether what no mask covers is cut into superpixels, too, so that it can be asked about
        output_dir: folder of the PNGs; beside FiftyOne's dataset files if None
        overwrite: whether to replace a run under the same key
        resume: whether to go on with an interrupted run
        device: to run segment-anything on; chosen by itself if None
        engine: where the job runs, one of `ENGINES`
        workers: on a cluster; as many as it has room for if None
        progress: told how far the job is; a bar in the terminal if None
        options: of segment-anything's automatic mask generator: points_per_side, pred_iou_thresh, ...

    Returns:
        what was computed

    Raises:
        LabelQualityError: if the arguments or the data cannot be used; the dataset is then unchanged

    Example:
        >>> compute_superpixels(dataset, method="slic")                             # doctest: +SKIP
        >>> compute_superpixels(dataset, method="sam", checkpoint="sam_vit_b.pth")  # doctest: +SKIP
    """
    if method not in METHODS:
        raise LabelQualityError(f"Expected `method` to be one of {list(METHODS)}, but got {method!r}")
    _require_source(samples, method, checkpoint, source_field)
    dataset = samples._root_dataset
    run_records.require_free_key(dataset, key, [key], overwrite=overwrite, method=run_records.SUPERPIXELS)
    base = Path(output_dir).expanduser() if output_dir else files.default_output_dir(dataset, key)
    cutter = _cutter(samples, method, checkpoint, source_field, size, device, options)
    cutter.fill = fill_gaps
    request = _Request(samples, key, cutter, base, overwrite, resume, open_engine(engine, workers))
    if progress is not None:
        return _run(request, progress)
    with terminal_bar("superpixels") as bar:
        return _run(request, bar)


@dataclass
class Cutter(DatasetJob):
    """Makes the superpixels of images; a copy in another process opens dataset and SAM anew.

    Attributes:
        method: one of `METHODS`
        size: pixels per superpixel; None for a 175th of the image
        fill: whether what no mask covers is cut, too
        checkpoint: of SAM
        device: of SAM
        options: of SAM
        source_field: of instances or labels
        classes: of the labels
        folder: of the PNGs
    """

    method: str
    size: int | None = None
    fill: bool = True
    checkpoint: str = ""
    device: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    source_field: str = ""
    classes: ClassMap | None = None
    folder: Path = Path()

    @cached_property
    def read_mask(self) -> Callable[[str], np.ndarray]:
        """Reads the mask of a sample."""
        return mask_reader(self.dataset, self.source_field)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "read_mask"}

    @property
    def on_gpu(self) -> bool:
        """Whether SAM runs on a CUDA device."""
        from ...models import choose_device

        return self.method == "sam" and choose_device(self.device).type == "cuda"

    def description(self) -> dict[str, Any]:
        """What tells one way of cutting from another."""
        found: dict[str, Any] = {"method": self.method, "fill_gaps": self.fill, "size": self.size}
        if self.method == "sam":
            found |= {"checkpoint": Path(self.checkpoint).name, "options": self.options}
        if self.source_field:
            found["field"] = self.source_field
        if self.classes is not None:
            found["ignored"] = sorted(self.classes.ignored)
        return found

    def cut(self, sample_id: str, image: np.ndarray) -> np.ndarray:
        """Cut an image.

        Args:
            sample_id: of the image
            image: (H, W, 3) uint8

        Returns:
            (H, W) ids from 1; 0 where there is no superpixel
        """
        shape = (int(image.shape[0]), int(image.shape[1]))
        found = getattr(self, f"_by_{self.method}")(sample_id, image, shape)
        return cover(found, image, size=self.size) if self.fill else found

    def _by_slic(self, _: str, image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        return image_superpixels(image, method=self.method, size=self.size)  # type: ignore[arg-type]

    _by_felzenszwalb = _by_slic

    def _by_sam(self, _: str, image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        from ...models.foundation.sam import cached_sam

        found = cached_sam(self.checkpoint, self.device).automatic_masks(image, **self.options)
        return superpixels_from_masks((mask for mask, *_ in found), shape)

    def _by_labels(self, sample_id: str, _: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Connected parts of each class, as the account of classes understands the masks."""
        assert self.classes is not None
        try:
            indices = self.classes.indices(self.read_mask(sample_id))
        except LabelQualityError:  # no label: all of it is a gap
            return np.zeros(shape, np.int32)
        return superpixels_from_labels(resize_nearest(indices, shape), ignore_index=None)

    def _by_instances(self, sample_id: str, _: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        ids = _ids_of(self.dataset[sample_id][self.source_field], shape)
        return superpixels_from_instances(resize_nearest(ids, shape))


@dataclass(frozen=True)
class _Request:
    """A call, once its arguments were checked."""

    samples: Any
    key: str
    cutter: Cutter
    base: Path
    overwrite: bool
    resume: bool
    engine: Engine


def _require_source(samples: Any, method: str, checkpoint: str | None, source_field: str | None) -> None:
    import fiftyone as fo

    if method == "sam" and not checkpoint:
        raise LabelQualityError(
            'Expected a `checkpoint` of SAM for method "sam", but got none; pass a file, folder or name, or use '
            '"slic", which needs none'
        )
    if method not in ("instances", "labels"):
        return
    wanted = [fo.Segmentation] if method == "labels" else [fo.Segmentation, fo.Detections]
    choices = [name for kind in wanted for name in samples.get_field_schema(embedded_doc_type=kind)]
    if source_field not in choices:
        raise LabelQualityError(
            f"Expected `source_field` to be one of the fields {choices} for method {method!r}, but got {source_field!r}"
        )


def _cutter(
    samples: Any,
    method: str,
    checkpoint: str | None,
    source_field: str | None,
    size: int | None,
    device: Any,
    options: dict[str, Any],
) -> Cutter:
    cutter = Cutter(samples._root_dataset, method, size)
    if method == "sam":
        from ...models.foundation.sam import cached_sam

        path = find_checkpoint(str(checkpoint))
        cached_sam(path, device)  # complains before the run begins
        return replace(cutter, checkpoint=path, device=device, options=options)
    if method in ("instances", "labels"):
        cutter.source_field = str(source_field)
    if method == "labels":
        images = require_label_field(samples, cutter.source_field)
        scan = scan_labels(images, cutter.source_field)
        refuse_changed_values(images, cutter.source_field, scan)
        cutter.classes = account_of(images, cutter.source_field, scan.values)
    return cutter


def _ids_of(label: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Instance ids of a Segmentation of ids, or of Detections with masks: small ones over large ones."""
    import fiftyone as fo

    if label is None:
        return np.zeros(shape[:2], np.int32)
    if isinstance(label, fo.Segmentation):
        ids = read_mask(label)
        return ids if ids.ndim == 2 else pack_rgb(ids)
    size = (int(shape[0]), int(shape[1]))
    masks = (instance_mask(detection, size) for detection in label.detections)
    return superpixels_from_masks((mask for mask in masks if mask is not None), size)


def _run(request: _Request, progress: Progress) -> SuperpixelReport:
    base = request.base
    files.require_writable(base.parent if not base.exists() else base, 1)
    parameters = request.cutter.description()
    planned = run_records.RunRecord(request.key, run_records.SUPERPIXELS, "", parameters, [request.key])
    dataset, overwrite, resume = request.samples._root_dataset, request.overwrite, request.resume
    with write_run(dataset, planned, base, parameters, overwrite=overwrite, resume=resume) as run:
        return _write(request, planned, run, run.watched(progress))


def _write(request: _Request, planned: run_records.RunRecord, run: RunWriting, progress: Progress) -> SuperpixelReport:
    started, key, method = time.monotonic(), planned.key, request.cutter.method
    ids, filepaths = images_of(request.samples).values(["id", "filepath"])
    rows = list(zip(ids, scaled_paths(request.samples, filepaths), strict=True))
    job = replace(request.cutter, folder=run.path / "superpixels")
    paths, counts, skipped = {}, [], []
    with closing(cast(Any, request.engine.run(cut_images, job, in_parts(rows, _IMAGES_AT_ONCE)))) as results:
        for done, image in enumerate(results, start=1):
            if image.error is None:
                paths[image.sample_id] = str(job.folder / f"{image.sample_id}.png")
                counts.append(image.number)
            else:
                skipped.append((image.sample_id, image.filepath, image.error))
            progress(done, len(rows), "superpixels")
    if not paths:
        raise LabelQualityError(f"No image could be cut into superpixels: {skipped[0][2] if skipped else 'no samples'}")
    run.replace_results([])
    schema.write_segmentations(run.dataset, key, paths, "Superpixels: ids of the parts that questions are about", {})
    report = SuperpixelReport(
        key, method, len(paths), float(np.mean(counts)), skipped, round(time.monotonic() - started, 2)
    )
    summary = {"num_images": len(paths), "per_image": report.per_image}
    run.finish(replace(planned, output_dir=str(run.path), summary=summary))
    return report


class CutImage(NamedTuple):
    """What became of one image.

    Attributes:
        sample_id: of the image
        filepath: of the image
        number: of its superpixels
        error: why it has none
    """

    sample_id: str
    filepath: str
    number: int = 0
    error: str | None = None


def cut_images(job: Cutter, rows: Iterable[tuple[str, str]]) -> Iterator[CutImage]:
    """Cut images into superpixels and keep them as PNGs; the stage of this job.

    Args:
        job: how
        rows: sample id and file of each image; those with a whole PNG are not cut again

    Yields:
        what became of each image
    """
    for sample_id, filepath in rows:
        path = job.folder / f"{sample_id}.png"
        try:
            if not is_whole(path):
                write_superpixels(path, job.cut(sample_id, read_image(filepath)))
            yield CutImage(sample_id, filepath, int(read_mask_file(path).max()))
        except (OSError, ValueError) as error:
            yield CutImage(sample_id, filepath, error=str(error))


def write_superpixels(path: Path, segments: np.ndarray) -> None:
    """Write superpixels as a 16-bit PNG.

    Args:
        path: PNG
        segments: (H, W) ids from 1, 0 = none

    Raises:
        LabelQualityError: if there are more than 65,535
    """
    if int(segments.max()) > MOST:
        raise LabelQualityError(
            f"Expected at most {MOST:,} superpixels in an image, but got {int(segments.max()):,}; pass a larger `size`"
        )
    files.write_png(path, segments.astype(np.uint16))
