"""Superpixels as a field: the parts of each image that correction queries are about."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...correction.superpixels.methods import fill_gaps as cover
from ...correction.superpixels.methods import (
    image_superpixels,
    superpixels_from_instances,
    superpixels_from_labels,
    superpixels_from_masks,
)
from ...dataset.door.account import account_of
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
from ...written_files import is_whole
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
            f"**{self.num_images:,} images have superpixels in `{self.key}`**, {self.per_image:,.0f} on average "
            f"({self.method}, {self.seconds:.0f} s)"
        ]
        if self.skipped:
            _, filepath, reason = self.skipped[0]
            lines.append(f"- **{len(self.skipped):,} images were skipped**, for instance {filepath}: {reason}")
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
    cut = _cutter(samples, method, checkpoint, source_field, size, device, options)
    if progress is not None:
        return _run(samples, method, key, cut, size, fill_gaps, base, overwrite, resume, progress)
    with terminal_bar("superpixels") as bar:
        return _run(samples, method, key, cut, size, fill_gaps, base, overwrite, resume, bar)


@dataclass(frozen=True)
class _Cutter:
    """Makes the superpixels of an image, 0 where there is none; and tells one way of doing so from another."""

    cut: Callable[[str, np.ndarray], np.ndarray]
    description: dict[str, Any]


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
) -> _Cutter:
    if method in ("slic", "felzenszwalb"):
        return _Cutter(
            lambda _, image: image_superpixels(image, method=method, size=size),  # type: ignore[arg-type]
            {"method": method, "size": size},
        )
    if method == "sam":
        return _sam_cutter(str(checkpoint), device, options)
    if method == "labels":
        return _label_cutter(samples, str(source_field))
    dataset = samples._root_dataset

    def cut(sample_id: str, image: np.ndarray) -> np.ndarray:
        ids = _ids_of(dataset[sample_id][source_field], image.shape[:2])
        return superpixels_from_instances(resize_nearest(ids, image.shape[:2]))

    return _Cutter(cut, {"method": method, "field": source_field})


def _label_cutter(samples: Any, source_field: str) -> _Cutter:
    """Connected parts of each class, as the account of classes understands the masks."""
    images = require_label_field(samples, source_field)
    classes = account_of(images, source_field, scan_labels(images, source_field).values)
    read = mask_reader(images, source_field)

    def cut(sample_id: str, image: np.ndarray) -> np.ndarray:
        try:
            indices = classes.indices(read(sample_id))
        except LabelQualityError:  # no label: all of it is a gap
            return np.zeros(image.shape[:2], np.int32)
        return superpixels_from_labels(resize_nearest(indices, image.shape[:2]), ignore_index=None)

    return _Cutter(cut, {"method": "labels", "field": source_field, "ignored": sorted(classes.ignored)})


def _sam_cutter(checkpoint: str, device: Any, options: dict[str, Any]) -> _Cutter:
    from ...models.foundation.sam import load_sam

    path = find_checkpoint(checkpoint)
    sam = load_sam(path, device=device)

    def cut(_: str, image: np.ndarray) -> np.ndarray:
        found = sam.automatic_masks(image, **options)
        return superpixels_from_masks((mask for mask, *_ in found), image.shape[:2])

    return _Cutter(cut, {"method": "sam", "checkpoint": Path(path).name, "options": options})


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


def _run(
    samples: Any,
    method: str,
    key: str,
    cutter: _Cutter,
    size: int | None,
    fill: bool,
    base: Path,
    overwrite: bool,
    resume: bool,
    progress: Progress,
) -> SuperpixelReport:
    files.require_writable(base.parent if not base.exists() else base, 1)
    parameters = cutter.description | {"fill_gaps": fill, "size": size}
    planned = run_records.RunRecord(key, run_records.SUPERPIXELS, "", parameters, [key])
    dataset = samples._root_dataset
    with write_run(dataset, planned, base, parameters, overwrite=overwrite, resume=resume) as run:
        return _write(samples, planned, cutter, size, fill, run, run.watched(progress))


def _write(
    samples: Any,
    planned: run_records.RunRecord,
    cutter: _Cutter,
    size: int | None,
    fill: bool,
    run: RunWriting,
    progress: Progress,
) -> SuperpixelReport:
    started, key, method = time.monotonic(), planned.key, str(cutter.description["method"])
    ids, filepaths = images_of(samples).values(["id", "filepath"])
    filepaths = scaled_paths(samples, filepaths)
    paths, counts, skipped = {}, [], []
    for sample_id, result in _cut_all(list(zip(ids, filepaths, strict=True)), cutter, size, fill, run.path, progress):
        if isinstance(result, Exception):
            skipped.append((sample_id, dict(zip(ids, filepaths, strict=True))[sample_id], str(result)))
            continue
        paths[sample_id], number = str(result[0]), result[1]
        counts.append(number)
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


def _cut_all(
    rows: Sequence[tuple[str, str]], cutter: _Cutter, size: int | None, fill: bool, folder: Path, progress: Progress
) -> Iterator[tuple[str, tuple[Path, int] | Exception]]:
    for done, (sample_id, filepath) in enumerate(rows, start=1):
        path = folder / "superpixels" / f"{sample_id}.png"
        try:
            if not is_whole(path):
                image = read_image(filepath)
                segments = cutter.cut(sample_id, image)
                if fill:
                    segments = cover(segments, image, size=size)
                write_superpixels(path, segments)
            yield sample_id, (path, int(read_mask_file(path).max()))
        except (OSError, ValueError) as error:
            yield sample_id, error
        progress(done, len(rows), "superpixels")


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
