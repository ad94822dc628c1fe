"""How long the numbers of the label quality panel take on a large dataset: one command, one table.

    python benchmarks/overview.py [--images 10000] [--regions 100000] [--reviewed 400]

The dataset has no image files; its documents are written straight into a MongoDB of its own that goes when this ends.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from demo.isolation import isolated_environment
from demo.mongod import running_database

KEY, OTHER = "label_quality", "corrected_quality"
CLASSES = [f"class {number:02d}" for number in range(30)]
KINDS = ("missing", "spurious", "wrong_class", "boundary")
PIXELS_PER_IMAGE = 200_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--regions", type=int, default=100_000)
    parser.add_argument("--reviewed", type=int, default=400, help="regions decided on, worst first")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        environment = stack.enter_context(running_database(isolated_environment(folder)))
        os.environ.clear()
        os.environ.update(environment)
        dataset = make_dataset(options.images, options.regions, options.reviewed, Path(folder) / "runs")
        rows = measure(dataset, options.repeats)
    table = Table(title=f"{options.images:,} images, {options.regions:,} regions, {options.reviewed:,} reviewed")
    for column in ("what", "first, s", "median, s"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, first, usual in rows:
        table.add_row(name, f"{first:.3f}", f"{usual:.3f}")
    Console().print(table)


def make_dataset(num_images: int, num_regions: int, num_reviewed: int, folder: Path, name: str = "overview") -> Any:
    """A dataset with two finished scoring runs, its documents written in bulk."""
    import fiftyone as fo

    from fiftyone_plugin.dataset.fields.region_columns import FILE, keep_regions
    from fiftyone_plugin.dataset.fields.regions import make_patches

    rng = np.random.default_rng(0)
    dataset = fo.Dataset(name)
    dataset.media_type = "image"  # set by itself only where samples are added one by one
    _declare(fo, dataset)
    per_image = np.bincount(rng.integers(0, num_images, num_regions), minlength=num_images)
    scores = np.sort(rng.beta(0.5, 3, num_regions))[::-1]
    reviewed = set(range(num_reviewed))
    order = iter(rng.permutation(num_regions).tolist())
    documents = [
        _document(dataset, number, [next(order) for _ in range(count)], scores, reviewed, rng)
        for number, count in enumerate(per_image)
    ]
    for start in range(0, num_images, 2_000):
        dataset._sample_collection.insert_many(documents[start : start + 2_000])
    for key in (KEY, OTHER):
        dataset.create_index(key)
        dataset.create_index(f"{key}_softmin")
        (folder / key).mkdir(parents=True)
        _register(dataset, key, num_images, folder / key)
        keep_regions(dataset, f"{key}_regions", folder / key / FILE)  # as a run does
        patches = make_patches(dataset, f"{key}_regions")
        dataset.save_view(f"{key} regions", patches)
    return dataset


def _declare(fo: Any, dataset: Any) -> None:
    for key in (KEY, OTHER):
        for name in (key, f"{key}_softmin", f"{key}_issue_share"):
            dataset.add_sample_field(name, fo.FloatField)
        regions = f"{key}_regions"
        dataset.add_sample_field(regions, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
        dataset.add_sample_field(f"{key}_num_regions", fo.IntField)
        path = f"{regions}.detections"
        for name, kind in (("given", fo.StringField), ("suggested", fo.StringField), ("status", fo.StringField),
                           ("score", fo.FloatField), ("area", fo.IntField), ("row", fo.IntField),
                           ("reviewed_at", fo.DateTimeField), ("reviewer", fo.StringField)):  # fmt: skip
            dataset.add_sample_field(f"{path}.{name}", kind)


def _document(
    dataset: Any, number: int, ranks: list[int], scores: np.ndarray, reviewed: set[int], rng: np.random.Generator
) -> dict[str, Any]:
    import fiftyone as fo

    now = datetime(2026, 1, 1)
    score = float(rng.beta(5, 2))
    sample = fo.Sample(filepath=f"/images/{number:06d}.jpg")
    document = {name: value for name, value in sample.to_mongo_dict().items() if name != "_id"}
    regions = [_region(rank, float(scores[rank]), rank in reviewed, rng) for rank in sorted(ranks)]
    return {
        **document, "_media_type": "image", "_dataset_id": dataset._doc.id, "_rand": float(rng.random()),
        "created_at": now, "last_modified_at": now,
        KEY: score, f"{KEY}_softmin": score**2, f"{KEY}_issue_share": float(rng.beta(1, 30)),
        f"{KEY}_num_regions": len(ranks), f"{KEY}_regions": {"_cls": "Detections", "detections": regions},
        OTHER: min(score * 1.1, 1.0), f"{OTHER}_softmin": score, f"{OTHER}_num_regions": len(ranks) // 2,
        f"{OTHER}_regions": {"_cls": "Detections", "detections": regions[: len(ranks) // 2]},
    }  # fmt: skip


def _region(rank: int, score: float, reviewed: bool, rng: np.random.Generator) -> dict[str, Any]:
    from bson import ObjectId

    given, suggested = rng.integers(0, len(CLASSES), 2)
    status = ("accepted" if rng.random() < score else "rejected") if reviewed else "pending"
    return {
        "_id": ObjectId(), "_cls": "Detection", "label": KINDS[rank % 4], "bounding_box": [0.1, 0.2, 0.3, 0.1],
        "mask_path": f"/run/regions/{rank}/0.png", "given": CLASSES[given], "suggested": CLASSES[suggested],
        "score": score, "area": int(rng.lognormal(6, 1.3)), "status": status, "row": rank % 50,
        "reviewed_at": datetime(2026, 1, 1) + timedelta(seconds=rank) if reviewed else None,
        "reviewer": "me" if reviewed else None, "tags": [], "attributes": {},
    }  # fmt: skip


def _register(dataset: Any, key: str, num_images: int, folder: Path) -> None:
    from fiftyone_plugin.dataset.runs import run_records
    from fiftyone_plugin.workflows.scoring.report import ScoringReport

    share = PIXELS_PER_IMAGE * num_images // len(CLASSES)
    fields = [key, f"{key}_softmin", f"{key}_issue_share", f"{key}_regions", f"{key}_num_regions"]
    report = ScoringReport(
        dataset=dataset.name, key=key, label_field="ground_truth", method="softmin", classes=CLASSES,
        num_scored=num_images, num_resumed=0, skipped=[], flagged_share=0.03, worst=[], pairs=[],
        class_scores={name: 0.5 + 0.015 * number for number, name in enumerate(CLASSES)}, warnings=[], fields=fields,
        views=[], output_dir=str(folder), seconds=1.0,
    ).as_dict()  # fmt: skip
    summary = {**report, "class_pixels": dict.fromkeys(CLASSES, share)}
    run_records.register_run(
        dataset,
        run_records.RunRecord(
            key, run_records.SCORING, "ground_truth", {}, fields, output_dir=str(folder), summary=summary
        ),
    )


def measure(dataset: Any, repeats: int) -> list[tuple[str, float, float]]:
    """Seconds by question and for the whole page, as (name, first call, median)."""
    from fiftyone_plugin.dataset.fields import overview as numbers
    from fiftyone_plugin.dataset.fields.region_columns import FILE, RegionColumns, region_columns
    from fiftyone_plugin.dataset.runs import run_records
    from fiftyone_plugin.workflows.reviewing import overview

    regions, turn = f"{KEY}_regions", itertools.count()
    columns = region_columns(dataset, regions, ("two",))
    file = Path(run_records.find_run(dataset, KEY).output_dir) / FILE
    jobs: dict[str, Callable[[], Any]] = {
        "version (cache key)": lambda: numbers.version_of(dataset),
        "score histogram": lambda: numbers.score_histogram(dataset, KEY),
        "worst images": lambda: numbers.worst_images(dataset, KEY, 8),
        "all regions, read anew": lambda: region_columns(dataset, regions, (str(next(turn)),)),
        "all regions, by the run's file": lambda: region_columns(dataset, regions, (str(next(turn)),), file),
        "all regions, one image changed": lambda: written(dataset) or region_columns(dataset, regions, ("one",)),
        "regions by kind, classes, status": lambda: RegionColumns.table.func(columns),
        "score change between runs": lambda: numbers.score_change(dataset, KEY, OTHER),
        "overview of a run": lambda: overview.run_overview(dataset, KEY),
        "comparison of two runs": lambda: overview.compare_runs(dataset, KEY, OTHER),
        "regions of a class pair": lambda: shown(
            overview.regions_of(dataset, KEY, given=CLASSES[0], suggested=CLASSES[1])
        ),
        "regions of a kind": lambda: shown(overview.regions_of(dataset, KEY, label="missing")),
        "classes of the form of regions": lambda: overview.region_classes(dataset, KEY),
        "the same, asked of the database": lambda: [
            dataset.distinct(f"{regions}.detections.{name}") for name in ("given", "suggested")
        ],
        "the likely ones": lambda: shown(overview.regions_of(dataset, KEY, least=0.5)),
    }
    rows = [_timed(name, job, repeats) for name, job in jobs.items()]
    return rows + _panel_seconds(dataset, repeats)


def shown(view: Any) -> None:
    """What the panel and the grid ask of a view first: how many there are, and a page of them."""
    from fiftyone_plugin.dataset.fields.regions import num_shown

    num_shown(view)
    view.limit(20).values("id")


def written(dataset: Any) -> None:
    """Let one image have been written just now."""
    dataset._sample_collection.update_one({}, {"$currentDate": {"last_modified_at": True}})


def _panel_seconds(dataset: Any, repeats: int) -> list[tuple[str, float, float]]:
    """Opening the panel, and an event in it, through FiftyOne as the App does."""
    import fiftyone.operators as foo
    from fiftyone.operators.executor import ExecutionContext, Executor

    panel = foo.get_operator("@label-quality/segmentation/label_quality")

    def event(run: str, other: str | None = None) -> None:
        state = {"bar": {"run": run, "other": other}}
        params = {"panel_id": "p", "panel_state": state, "__method__": "on_change_view"}
        request = {"dataset_name": dataset.name, "params": params}
        panel.execute(ExecutionContext(request, executor=Executor(), operator_uri=panel.uri))

    def changed(run: str, other: str | None = None) -> None:
        written(dataset)
        event(run, other)

    def first(run: str, other: str | None = None) -> None:
        for name in [name for name in sys.modules if name.endswith((".fields.region_columns", ".reviewing.overview"))]:
            getattr(sys.modules[name], "_columns", {}).clear()
            getattr(sys.modules[name], "_cache", {}).clear()
        event(run, other)

    jobs = {
        "panel, first look of a process": lambda: first(KEY),
        "the same with a comparison": lambda: first(KEY, OTHER),
        "panel opened or regions changed": lambda: changed(KEY),
        "panel opened with a comparison": lambda: changed(KEY, OTHER),
        "another event in the panel": lambda: event(KEY, OTHER),
    }
    return [_timed(name, job, repeats) for name, job in jobs.items()]


def _timed(name: str, job: Callable[[], Any], repeats: int) -> tuple[str, float, float]:
    seconds = [_seconds(job) for _ in range(repeats)]
    return name, seconds[0], median(seconds[1:] or seconds)


def _seconds(job: Callable[[], Any]) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
