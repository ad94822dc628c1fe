"""Embeddings of SAM, computed beforehand, so that a click is answered at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from ...dataset.door.image_scale import scaled_paths
from ...dataset.door.slices import images_of
from ...dataset.runs import files, run_records
from ...dataset.runs.claims import claim
from ...errors import LabelQualityError
from ...progress import Progress, terminal_bar
from ...wording import count, of_file
from ..engines.dataset_job import DatasetJob, in_parts
from ..engines.engine import Engine
from ..engines.opening import open_engine
from .zoo_checkpoints import find_checkpoint

KEY: Final = "sam_embeddings"
"""Key of the run, of which a dataset has one."""

_IMAGES_AT_ONCE = 16
"""Images that a worker of a cluster is given at a time."""

_BYTES_PER_IMAGE = 11_000_000
"""Of SAM 3, the largest: three maps in half precision. SAM has one, 2.2 MB; SAM 2, EdgeTAM and SAM-HQ need 8.4 MB."""


@dataclass(frozen=True)
class EmbeddingReport:
    """What was computed.

    Attributes:
        num_images: images with an embedding
        num_computed: of those, embeddings that were not there before
        checkpoint: file, folder or name
        output_dir: folder of the embeddings
        skipped: (sample id, file, reason) of images without
        seconds: time taken
    """

    num_images: int
    num_computed: int
    checkpoint: str
    output_dir: str
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [
            f"**{count(self.num_images, 'image', 'have')} a SAM embedding**, {self.num_computed:,} of them new "
            f"({self.seconds:.0f} s); clicks in the panel 'Label correction' refine regions with "
            f"{Path(self.checkpoint).name} now"
        ]
        if self.skipped:
            _, filepath, reason = self.skipped[0]
            lines.append(
                f"- **{count(len(self.skipped), 'image', 'were')} skipped**, for instance {of_file(filepath, reason)}"
            )
        return "\n".join(lines)


def precompute_sam_embeddings(
    samples: Any,
    checkpoint: str,
    *,
    output_dir: str | Path | None = None,
    device: Any = None,
    half: bool | None = None,
    engine: str = "local",
    workers: int | None = None,
    progress: Progress | None = None,
) -> EmbeddingReport:
    """Run SAM's image encoder on all images and keep the results on disk, found again by an image's content.

    Images that have one already are passed over, so an interrupted call goes on where it was.

    Args:
        samples: a `fiftyone` dataset or view of images
        checkpoint: of any network of the SAM family: a .pth file of segment-anything, a folder or name on the hub of
            transformers ("facebook/sam2.1-hiera-tiny"), or a model of FiftyOne's zoo ("segment-anything-vitb-torch")
        output_dir: folder; 2 MB per image with SAM, 8 with SAM 2; beside FiftyOne's dataset files if None
        device: to run on; chosen by itself if None
        half: whether to compute in half precision; where that is faster if None
        engine: where the job runs, one of `ENGINES`
        workers: on a cluster; as many as it has room for if None
        progress: told how many images are done; a bar in the terminal if None

    Returns:
        what was computed

    Raises:
        LabelQualityError: if the checkpoint cannot be loaded or the folder not be written

    Example:
        >>> precompute_sam_embeddings(dataset, "sam_vit_b_01ec64.pth")  # doctest: +SKIP
    """
    dataset = samples._root_dataset
    existing = run_records.find_run(dataset, KEY, unfinished=True)
    run_records.require_free_key(dataset, KEY, [], overwrite=True, method=run_records.SAM_EMBEDDINGS)
    kept = existing.output_dir if existing and existing.dataset_id == run_records.dataset_id(dataset) else None
    base = Path(output_dir or kept or files.default_output_dir(dataset, KEY)).expanduser()
    files.require_writable(base.parent if not base.exists() else base, _BYTES_PER_IMAGE)
    scheduler = open_engine(engine, workers)
    job = EmbeddingJob(dataset, find_checkpoint(str(checkpoint)), device, half)
    with claim(dataset, KEY):
        if progress is not None:
            return _run(samples, job, base, existing, scheduler, progress)
        with terminal_bar("SAM embeddings") as bar:
            return _run(samples, job, base, existing, scheduler, bar)


@dataclass
class EmbeddingJob(DatasetJob):
    """What is computed, and where it is kept; a copy in another process loads SAM anew.

    Attributes:
        checkpoint: file, folder or name
        device: to run on
        half: whether in half precision
        folder: of the embeddings
    """

    checkpoint: str
    device: Any = None
    half: bool | None = None
    folder: Path = Path()

    @property
    def on_gpu(self) -> bool:
        """Whether SAM runs on a CUDA device."""
        from ...models import choose_device

        return choose_device(self.device).type == "cuda"

    def cache(self) -> Any:
        """The embeddings that there are, and SAM to compute what is missing."""
        from ...models.foundation.sam import cached_sam
        from ...models.foundation.sam_embeddings import EmbeddingCache

        return EmbeddingCache(self.folder, cached_sam(self.checkpoint, self.device, self.half))


class EmbeddedImage(NamedTuple):
    """What became of one image.

    Attributes:
        sample_id: of the image
        filepath: of the image
        is_new: whether its embedding was not there before
        error: why it has none
    """

    sample_id: str
    filepath: str
    is_new: bool = False
    error: str | None = None


def embed_images(job: EmbeddingJob, rows: Iterable[tuple[str, str]]) -> Iterator[EmbeddedImage]:
    """Compute the embeddings that are missing and keep them; the stage of this job.

    Args:
        job: what is computed
        rows: sample id and file of each image

    Yields:
        what became of each image
    """
    cache = job.cache()
    for sample_id, filepath in rows:
        try:
            is_new = not cache.has(filepath)
            cache.get(filepath)
            yield EmbeddedImage(sample_id, filepath, is_new)
        except (OSError, LabelQualityError) as error:
            if any(word in str(error) for word in ("memory", "disk", "write")):  # it would be the same for all others
                raise
            yield EmbeddedImage(sample_id, filepath, error=str(error))


def _run(
    samples: Any,
    job: EmbeddingJob,
    base: Path,
    existing: run_records.RunRecord | None,
    engine: Engine,
    progress: Progress,
) -> EmbeddingReport:
    started, dataset, checkpoint = time.monotonic(), job.dataset, job.checkpoint
    job.cache()  # complains before a folder is made
    folders = [] if existing is None else [str(one) for one in run_records.own_folders(dataset, existing)]

    def planned(path: Path) -> run_records.RunRecord:
        others = [one for one in folders if one != str(path)]
        return run_records.RunRecord(
            KEY, run_records.SAM_EMBEDDINGS, "", {"checkpoint": checkpoint}, [], output_dir=str(path), finished=False,
            folders=others,
        )  # fmt: skip

    def announce(path: Path) -> None:
        there = planned(path) if existing is None else replace(existing, folders=[*existing.folders, str(path)])
        run_records.register_run(dataset, there, touch=existing is None)

    folder = base
    if str(base) not in folders:
        owner = f"{run_records.dataset_id(dataset)}/{KEY}"
        folder = files.claim_folder(base, owner, {"kind": "embeddings"}, announce=announce).path
    record = planned(folder)
    job = replace(job, folder=folder / "embeddings")
    ids, filepaths = images_of(samples).values(["id", "filepath"])
    rows = list(zip(ids, scaled_paths(samples, filepaths), strict=True))
    num_new, skipped = 0, []
    with closing(cast(Any, engine.run(embed_images, job, in_parts(rows, _IMAGES_AT_ONCE)))) as results:
        for done, image in enumerate(results, start=1):
            num_new += image.is_new
            if image.error is not None:
                skipped.append((image.sample_id, image.filepath, image.error))
            progress(done, len(rows), "SAM embeddings")
    if len(skipped) == len(rows):
        if existing is None:
            run_records.forget_run(dataset, KEY)
        raise LabelQualityError(f"No image has an embedding: {skipped[0][2] if skipped else 'no samples'}")
    number = len(rows) - len(skipped)
    files.RunFolder(folder, resumed=False).finish()
    run_records.register_run(dataset, replace(record, finished=True, summary={"num_images": number}))
    return EmbeddingReport(number, num_new, checkpoint, str(folder), skipped, round(time.monotonic() - started, 2))


def known_embeddings(dataset: Any) -> tuple[str | None, str | None]:
    """Checkpoint and folder of the embeddings that were computed for a dataset.

    Args:
        dataset: the `fiftyone.Dataset`

    Returns:
        both None if there are none
    """
    record = run_records.find_run(dataset, KEY)
    if record is None or not record.output_dir:
        return None, None
    return str(record.parameters["checkpoint"]), str(Path(record.output_dir) / "embeddings")
