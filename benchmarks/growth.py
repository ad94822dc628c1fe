"""How time, memory, disk and database grow with the number of images and of classes: one command, one table.

    python benchmarks/growth.py --images 100 1000 3000 [--classes 4] [--seed 0]
    python benchmarks/growth.py --job plan --images 100 1000 --classes 4 150
    python benchmarks/growth.py --job choose --images 3000 30000 --classes 20
    python benchmarks/growth.py --images 3 9 --classes 19 --size 1024 2048 --equal [--writers 8]

For each number a process of its own renders images with labels that are partly wrong, and does a job by a small
network. `score` is the default job: its time for an image, the largest memory of the process beyond what four images
needed, the same beyond what the model alone needed for such images, and the bytes that a run leaves on disk and in the
database. `plan` plans questions, lets a simulated annotator answer them, and plans again by the answers; its memory is
beyond what a plan of four images needed. `choose` is only what a second plan does once it has predicted, for as many
images as wanted, whose superpixels are made up and need no files. Images have up to four times the pixels of `--size`,
with `--equal` just these. Linear time and flat memory are what to expect.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from demo.isolation import isolated_environment
from demo.mongod import running_database

COLOURS = np.array([[90, 90, 90], [200, 60, 60], [60, 200, 60], [60, 60, 200]], float)
"""Of the classes that labels hold; a network may know more."""

KEY = "label_quality"
COLUMNS = {
    "score": ("ms an image", "MB more at most", "MB beyond the model", "KB on disk an image", "regions an image",
              "bytes of a region in MongoDB", "bytes of a sample in one index", "updates a second"),
    "plan": ("superpixels an image", "ms an image", "MB more at most", "ms an image, second plan",
             "MB more at most after it", "superpixels relabelled"),
    "choose": ("superpixels an image", "ms an image", "MB more at most"),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", choices=list(COLUMNS), default="score")
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1000, 3000])
    parser.add_argument("--classes", type=int, nargs="+", default=[4], help="of the network, at least 4")
    parser.add_argument("--size", type=int, nargs=2, default=[60, 80], help="height and width of the smallest image")
    parser.add_argument("--equal", action="store_true", help="all images of this size")
    parser.add_argument("--writers", type=int, help="threads beside the model, as on a machine of so many cores")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="measure here, and print JSON")
    options = parser.parse_args()
    if options.alone:
        job = measure_choice if options.job == "choose" else measure
        print(json.dumps(job(options)))
        return
    table = Table(title=f"Growth of the job {options.job}, seed {options.seed}, {os.cpu_count()} cores")
    for column in ("images", "classes", *COLUMNS[options.job]):
        table.add_column(column, justify="right")
    for count, classes in itertools.product(options.images, options.classes):
        words = [sys.executable, *sys.argv, "--alone", "--images", str(count), "--classes", str(classes)]
        found = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
        table.add_row(f"{count:,}", f"{classes:,}", *(f"{value:,.1f}" for value in found))
    Console(width=160).print(table)


def measure(options: argparse.Namespace) -> list[float]:
    """Make a dataset in a database of its own, do the job, and look at what is left; in the order of `COLUMNS`."""
    with (
        tempfile.TemporaryDirectory(prefix="growth-", ignore_cleanup_errors=True) as folder,
        running_database(isolated_environment(folder)) as environment,
    ):
        os.environ.clear()
        os.environ.update(environment)
        if options.writers:
            from fiftyone_plugin.dataset.runs import files

            files.num_writers = lambda: options.writers
        dataset = make_dataset(Path(folder) / "data", options)
        job = measure_plans if options.job == "plan" else measure_scoring
        return job(dataset, make_network(options.classes[0]))


def measure_scoring(dataset: Any, network: Any) -> list[float]:
    """The default job."""
    count = len(dataset)
    predict(dataset.limit(8), network)
    alone = peak()
    score(dataset.limit(4), network, "first")  # compiles, and loads what is loaded once
    before, began = peak(), time.perf_counter()
    output = Path(score(dataset, network, KEY))
    seconds, after = time.perf_counter() - began, peak()
    files = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    regions = sum(dataset.values(f"{KEY}_num_regions"))
    stored = dataset._sample_collection.aggregate(
        [{"$group": {"_id": None, "bytes": {"$sum": {"$bsonSize": f"${KEY}_regions"}}}}]
    ).next()["bytes"]
    statistics = dataset._sample_collection.database.command("collStats", dataset._sample_collection_name)
    index = sum(statistics["indexSizes"].values()) / len(statistics["indexSizes"]) / count
    return [
        *(seconds / count * 1e3, (after - before) / 1e6, (after - alone) / 1e6),
        *(files / count / 1e3, regions / count, stored / max(regions, 1), index, updates_per_second(dataset)),
    ]


def measure_plans(dataset: Any, network: Any) -> list[float]:
    """Two plans, and answers between them."""
    from fiftyone_plugin import simulate_answers
    from fiftyone_plugin.progress import silent

    count, found = len(dataset), []
    plan(dataset.limit(4), network)
    before = peak()
    for answered in (True, False):
        began = time.perf_counter()
        report = plan(dataset, network)
        found += [(time.perf_counter() - began) / count * 1e3, (peak() - before) / 1e6]
        if answered:
            simulate_answers(dataset, "ground_truth", "truth", progress=silent)
    return [report.num_superpixels / count, *found, report.num_propagated]


def measure_choice(options: argparse.Namespace) -> list[float]:
    """What a second plan does with the superpixels of all images, of which a few are repeated."""
    from types import SimpleNamespace

    from fiftyone_plugin.correction.answers.propagation import Answer, AnswerModel, certain_proposals
    from fiftyone_plugin.correction.questions.acquisition import acquisition_values, choose_queries
    from fiftyone_plugin.workflows.correcting.found_candidates import Found
    from fiftyone_plugin.workflows.correcting.hidden_questions import choose_hidden

    [count], [num_classes] = options.images, options.classes
    few = [made_candidates(num_classes, np.random.default_rng([options.seed, seed])) for seed in range(7)]
    size = len(few[0])

    def run(candidates: Any) -> None:
        asked = [np.zeros(size, bool) for _ in candidates]
        said = [
            Answer(row, row, int(one.given[row]), int(one.dominant[row]), audit=True) for row, one in enumerate(few)
        ]
        beliefs = AnswerModel.fit(candidates, said).posterior(candidates, said)
        certain_proposals(candidates, said, beliefs, 0.95)
        values = acquisition_values(candidates, asked=asked, beliefs=beliefs)
        chosen = choose_queries(candidates, values, 500, audits=0.1, seed=options.seed)
        found = Found([], candidates, asked, {}, np.ones((num_classes, num_classes)))
        choose_hidden({}, found, SimpleNamespace(values=range(num_classes)), 50, options.seed, chosen)

    run(few)
    before, began = peak(), time.perf_counter()
    run(Repeated(few, count))
    return [size, (time.perf_counter() - began) / count * 1e3, (peak() - before) / 1e6]


class Repeated(Sequence):
    """The same few items over and over.

    Args:
        items: which
        count: how many in all
    """

    def __init__(self, items: list[Any], count: int) -> None:
        self._items, self._count = items, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> Any:
        return self._items[range(self._count)[place] % len(self._items)]


def made_candidates(num_classes: int, rng: np.random.Generator, count: int = 100) -> Any:
    """Superpixels of one image: three in four as labelled, the model sure of most."""
    from fiftyone_plugin.correction.questions.candidates import Candidates

    dominant = rng.integers(0, num_classes, count)
    given = np.where(rng.random(count) < 0.75, dominant, rng.integers(0, num_classes, count))
    area = rng.integers(50, 500, count).astype(np.int32)
    sure = 1 - 0.5 * rng.random((count, 1)) ** 3
    probs = sure * np.eye(num_classes)[dominant] + (1 - sure) / num_classes
    doubt = 1 - probs[np.arange(count), given]
    numbers = {name: np.zeros(count, np.int32) for name in ("row", "column", "doubted")}
    values = {name: doubt for name in ("cil", "mean_cil", "sim", "sim_to_mean", "doubt")}
    return Candidates(
        segment=np.arange(1, count + 1, dtype=np.int32), area=area, bbox=np.zeros((count, 4), np.int32),
        given=given.astype(np.int32), dominant=dominant.astype(np.int32), mean_probs=probs.astype(np.float32),
        predicted=np.zeros((count, num_classes), np.int32), mixed=np.zeros(count), **numbers, **values,
    )  # fmt: skip


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


def make_dataset(folder: Path, options: argparse.Namespace) -> Any:
    """Images of one coloured rectangle; every tenth label misses its object."""
    import fiftyone as fo

    rng = np.random.default_rng(options.seed)
    for name in ("images", "masks", "truth"):
        (folder / name).mkdir(parents=True)
    samples = []
    for number in range(options.images[0]):
        scale = 1 if options.equal else rng.uniform(1, 2)
        height, width = (int(edge * scale) for edge in options.size)
        label = np.zeros((height, width), np.uint8)
        top, left = int(rng.integers(5, height // 2)), int(rng.integers(5, width // 2))
        label[top : top + height // 3, left : left + width // 3] = rng.integers(1, len(COLOURS))
        image = np.clip(COLOURS[label] + rng.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)
        given = np.zeros_like(label) if number % 10 == 9 else label
        paths = {name: folder / name / f"{number:06d}.png" for name in ("images", "masks", "truth")}
        for path, pixels in zip(paths.values(), (image, given, label), strict=True):
            Image.fromarray(pixels).save(path)
        given, truth = (fo.Segmentation(mask_path=str(paths[name])) for name in ("masks", "truth"))
        samples.append(fo.Sample(filepath=str(paths["images"]), ground_truth=given, truth=truth))
    dataset = fo.Dataset()
    dataset.add_samples(samples, progress=False)
    targets = dict(enumerate(class_names(options.classes[0])))
    dataset.mask_targets = {"ground_truth": targets, "truth": targets}
    dataset.save()
    return dataset


def class_names(count: int) -> list[str]:
    """Names of the classes of a network."""
    return [f"class {number}" for number in range(count)]


def make_network(num_classes: int) -> Any:
    """A network that knows the colours, and is never sure of any other class."""
    import torch

    network = torch.nn.Conv2d(3, num_classes, 3, padding=1)
    weights = torch.tensor([[-1.0, -1, -1], [2, -1, -1], [-1, 2, -1], [-1, -1, 2]])
    with torch.no_grad():
        network.weight[:], network.bias[:] = 0, -8
        network.weight[:4] = weights[..., None, None] / 4
        network.bias[:4] = torch.tensor([1.0, -1, -1, -1])
    return network


def predict(samples: Any, network: Any) -> None:
    """The model alone: probabilities of every image, kept nowhere."""
    from fiftyone_plugin.models import ImageItem, load_segmenter

    segmenter = load_segmenter(network, class_names=class_names(network.out_channels), device="cpu")
    for _ in segmenter.stream([ImageItem(name=path, path=path) for path in samples.values("filepath")]):
        pass


def given_model(network: Any) -> dict[str, Any]:
    """The network as a job takes it."""
    from fiftyone_plugin.progress import silent

    return {
        "model": network, "class_names": class_names(network.out_channels), "device": "cpu", "progress": silent,
    }  # fmt: skip


def score(samples: Any, network: Any, key: str) -> str:
    """The default job."""
    from fiftyone_plugin import score_label_quality

    return score_label_quality(samples, key=key, **given_model(network)).output_dir


def plan(samples: Any, network: Any) -> Any:
    """The next questions."""
    from fiftyone_plugin import plan_correction_queries

    return plan_correction_queries(samples, budget=100, audits=0.5, hidden=0.1, **given_model(network))


if __name__ == "__main__":
    main()
