"""How time, memory, disk and database grow with the number of images: one command, one table.

    python benchmarks/growth.py --images 100 1000 3000 [--seed 0]

For each number a process of its own renders small images of varied sizes with labels that are partly wrong, scores them
by the default job with a small network, and says how long that took an image, the largest memory of the process beyond
what it had before, and the bytes that a run leaves on disk and in the database. Linear time and flat memory are what to
expect.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from demo.isolation import isolated_environment
from demo.mongod import running_database

CLASSES = ("background", "red", "green", "blue")
KEY = "label_quality"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1000, 3000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="measure here, and print JSON")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.images[0], options.seed)))
        return
    table = Table(title=f"Growth of the default job, seed {options.seed}, {os.cpu_count()} cores")
    for column in ("images", "ms an image", "MB more at most", "KB on disk an image", "regions an image",
                   "bytes of a region in MongoDB", "bytes of a sample in one index", "updates a second"):  # fmt: skip
        table.add_column(column, justify="right")
    for count in options.images:
        words = [sys.executable, __file__, "--alone", "--images", str(count), "--seed", str(options.seed)]
        found = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
        table.add_row(f"{count:,}", *(f"{value:,.1f}" for value in found.values()))
    Console(width=140).print(table)


def measure(count: int, seed: int) -> dict[str, float]:
    """Make a dataset in a database of its own, score it, and look at what is left."""
    with (
        tempfile.TemporaryDirectory(prefix="growth-", ignore_cleanup_errors=True) as folder,
        running_database(isolated_environment(folder)) as environment,
    ):
        os.environ.clear()
        os.environ.update(environment)
        dataset = make_dataset(Path(folder) / "data", count, seed)
        score(dataset.limit(4), "first")  # compiles, and loads what is loaded once
        before, began = peak(), time.perf_counter()
        output = Path(score(dataset, KEY))
        seconds, after = time.perf_counter() - began, peak()
        files = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
        regions = sum(dataset.values(f"{KEY}_num_regions"))
        stored = dataset._sample_collection.aggregate(
            [{"$group": {"_id": None, "bytes": {"$sum": {"$bsonSize": f"${KEY}_regions"}}}}]
        ).next()["bytes"]
        statistics = dataset._sample_collection.database.command("collStats", dataset._sample_collection_name)
        return {
            "ms": seconds / count * 1e3,
            "peak": (after - before) / 1e6,
            "disk": files / count / 1e3,
            "regions": regions / count,
            "bytes": stored / max(regions, 1),
            "index": sum(statistics["indexSizes"].values()) / len(statistics["indexSizes"]) / count,
            "updates": updates_per_second(dataset),
        }


def peak() -> int:
    """Largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def updates_per_second(dataset: Any) -> float:
    """How many samples get the fields of a run in a second: eight numbers and two paths each, in bulk."""
    from fiftyone_plugin.dataset.fields.schema import Columns

    ids = dataset.values("id")
    columns = Columns(dataset)
    for number in range(8):
        columns.add_numbers(f"number_{number}", dict.fromkeys(ids, 0.5), "")
    for number in range(2):
        columns.add_heatmaps(f"map_{number}", dict.fromkeys(ids, "/a/path/of/usual/length/in/a/folder.png"), "")
    began = time.perf_counter()
    columns.write()
    return len(ids) / (time.perf_counter() - began)


def make_dataset(folder: Path, count: int, seed: int) -> Any:
    """Images of one coloured rectangle, sizes from 60 x 80 to 120 x 160; every tenth label misses its object."""
    import fiftyone as fo

    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    samples = []
    for number in range(count):
        scale = rng.uniform(1, 2)
        height, width = int(60 * scale), int(80 * scale)
        label = np.zeros((height, width), np.uint8)
        top, left = int(rng.integers(5, height // 2)), int(rng.integers(5, width // 2))
        label[top : top + height // 3, left : left + width // 3] = rng.integers(1, len(CLASSES))
        colours = np.array([[90, 90, 90], [200, 60, 60], [60, 200, 60], [60, 60, 200]], float)
        image = np.clip(colours[label] + rng.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)
        given = np.zeros_like(label) if number % 10 == 9 else label
        paths = folder / "images" / f"{number:06d}.png", folder / "masks" / f"{number:06d}.png"
        for path, pixels in zip(paths, (image, given), strict=True):
            Image.fromarray(pixels).save(path)
        samples.append(fo.Sample(filepath=str(paths[0]), ground_truth=fo.Segmentation(mask_path=str(paths[1]))))
    dataset = fo.Dataset()
    dataset.add_samples(samples, progress=False)
    dataset.mask_targets = {"ground_truth": dict(enumerate(CLASSES))}
    dataset.save()
    return dataset


def score(samples: Any, key: str) -> str:
    """The default job, by a network that knows the colours."""
    import torch

    from fiftyone_plugin import score_label_quality
    from fiftyone_plugin.progress import silent

    network = torch.nn.Conv2d(3, 4, 3, padding=1)
    weights = torch.tensor([[-1.0, -1, -1], [2, -1, -1], [-1, 2, -1], [-1, -1, 2]])
    with torch.no_grad():
        network.weight[:] = weights[..., None, None] / 4
        network.bias[:] = torch.tensor([1.0, -1, -1, -1])
    report = score_label_quality(
        samples, key=key, model=network, class_names=list(CLASSES), device="cpu", progress=silent
    )
    return report.output_dir


if __name__ == "__main__":
    main()
