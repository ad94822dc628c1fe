"""What the default job costs beside the model alone: same model, batch and images, in one run.

    python benchmarks/pipeline.py --data ../shared/data [--images 40] [--repeats 3] [--device cpu] [--threads 1]

The default job is `score_label_quality` with scores, flags, regions, rehearsal, all files and fields, on VOC images
with the labels that Grounded-SAM made, by the given VOC segmenter. Bare inference streams the same images through the
same segmenter and keeps nothing. They take turns; printed are wall and processor time, the ratio of each pair with its
median and range, and the seconds between what the job says of its progress. `--threads` are those of torch: with fewer
than there are cores the rest of the job runs beside the model.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from rich.console import Console
from rich.table import Table

from demo.isolation import isolated_environment
from demo.mongod import running_database

SIZE = (513, 513)


@dataclass
class Stages:
    """A progress that adds up the seconds of each stage.

    Attributes:
        seconds: by stage, in the order of the job
    """

    seconds: dict[str, float] = field(default_factory=dict)
    at: float = field(default_factory=time.perf_counter)

    def __call__(self, done: float, total: float, label: str) -> None:
        """Count the time since the last call for this stage."""
        now = time.perf_counter()
        self.seconds[label] = self.seconds.get(label, 0.0) + now - self.at
        self.at = now


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock and by the processor."""

    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--batch", type=int, default=None, help="images per forward pass; chosen by itself if not given"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None, help="of torch")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pipeline-", ignore_cleanup_errors=True))
        environment = stack.enter_context(running_database(isolated_environment(folder)))
        os.environ.clear()
        os.environ.update(environment)
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Let both take turns, and print."""
    dataset, names = make_dataset(options.data / "voc_grounded_sam", options.images)
    network = voc_network(options.data / "weights")
    given = {"device": options.device, "input_size": SIZE, "class_names": names}
    score(dataset, network, options.batch, given, Stages(), limit=2)  # compiles what is to be compiled
    pairs, stages = [], []
    for _ in range(options.repeats):
        bare = timed(lambda: predict(dataset, network, options.batch, given))
        stages.append(Stages())
        pairs.append((bare, timed(lambda: score(dataset, network, options.batch, given, stages[-1]))))
    show(options, pairs, stages)
    show_files(dataset)


def make_dataset(folder: Path, count: int) -> tuple[Any, list[str]]:
    """The first VOC images with their machine-made labels."""
    import fiftyone as fo

    names = [line.split()[1] for line in (folder / "classes.txt").read_text().splitlines()][:21]
    dataset = fo.Dataset()
    dataset.add_samples(
        [
            fo.Sample(
                filepath=str(path),
                ground_truth=fo.Segmentation(mask_path=str(folder / "masks_grounded_sam" / f"{path.stem}.png")),
            )
            for path in sorted((folder / "images").iterdir())[:count]
        ],
        progress=False,
    )
    dataset.mask_targets = {"ground_truth": dict(enumerate(names))}
    dataset.save()
    return dataset, names


def voc_network(weights: Path) -> torch.nn.Module:
    """The given VOC segmenter."""
    sys.path.insert(0, str(weights))
    network = importlib.import_module("deeplabv3_mobilenet_v2").DeepLabV3MNv2()
    network.load_state_dict(torch.load(weights / "deeplabv3_mobilenet_v2_voc.pth", map_location="cpu"))
    return network.eval()


def predict(dataset: Any, network: torch.nn.Module, batch: int | None, given: dict[str, Any]) -> None:
    """Bare inference: probabilities of every image, kept nowhere."""
    from fiftyone_plugin.models import ImageItem, load_segmenter

    segmenter = load_segmenter(network, **given)
    items = [ImageItem(name=path, path=path) for path in dataset.values("filepath")]
    for _, result in segmenter.stream(items, batch_size=batch):
        if isinstance(result, Exception):
            raise result
    if torch.device(given["device"]).type == "cuda":
        torch.cuda.synchronize()


def score(
    dataset: Any, network: torch.nn.Module, batch: int | None, given: dict[str, Any], stages: Stages, limit: int = 0
) -> None:
    """The default job, deleted again outside of what is timed."""
    from fiftyone_plugin import delete_label_quality_run, score_label_quality

    if "label_quality" in dataset.list_runs():
        delete_label_quality_run(dataset, "label_quality")
    samples = dataset.limit(limit) if limit else dataset
    stages.at = time.perf_counter()
    score_label_quality(
        samples, model=network, batch_size=batch, unmatched="ignore", overwrite=True, progress=stages, **given
    )
    stages(1, 1, "fields and views")


def timed(run: Callable[[], None]) -> Spent:
    """Run once."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def show(options: argparse.Namespace, pairs: list[tuple[Spent, Spent]], stages: list[Stages]) -> None:
    """Print medians, ratios and stages."""
    table = Table(
        title=f"{options.images} VOC images, {options.device}, {torch.get_num_threads()} threads of torch, "
        f"{os.cpu_count()} cores, median of {len(pairs)} (least to most)"
    )
    for column in ("", "model alone, s", "default job, s", "ratio of each pair"):
        table.add_column(column, justify="left" if not column else "right")
    for name in ("wall", "cpu"):
        bare, job = ([getattr(pair[side], name) for pair in pairs] for side in (0, 1))
        ratios = [b / a for a, b in zip(bare, job, strict=True)]
        table.add_row(name, spread(bare), spread(job), spread(ratios))
    Console(width=120).print(table)
    parts = Table("stage", "median, s", title="The default job by stage")
    for label in stages[0].seconds:
        parts.add_row(label, spread([one.seconds.get(label, 0.0) for one in stages]))
    Console(width=120).print(parts)


def show_files(dataset: Any) -> None:
    """Print what a run leaves on disk and in the database, an image."""
    from fiftyone_plugin.dataset.runs.run_records import find_run

    folder, count = Path(find_run(dataset, "label_quality").output_dir), len(dataset)
    table = Table("folder", "files an image", "KB an image", title="What a run leaves")
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        sizes = [path.stat().st_size for path in inner.rglob("*") if path.is_file()]
        table.add_row(inner.name, f"{len(sizes) / count:.1f}", f"{sum(sizes) / count / 1e3:.1f}")
    stored = [{"$group": {"_id": None, "bytes": {"$avg": {"$bsonSize": "$$ROOT"}}}}]
    size = dataset._sample_collection.aggregate(stored).next()["bytes"]
    table.add_row("MongoDB", "", f"{size / 1e3:.1f}")
    Console(width=120).print(table)


def spread(values: list[float]) -> str:
    """Median, least and most."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
