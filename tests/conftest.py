"""Tests run against the real FiftyOne with a MongoDB of its own, in a folder that goes when they end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.isolation import isolated_environment
from demo.mongod import SERVER_VARIABLE, running_database

_OPEN = ExitStack()
if SERVER_VARIABLE not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:  # one each for tests side by side
    os.environ.pop(SERVER_VARIABLE, None)
    _folder = _OPEN.enter_context(tempfile.TemporaryDirectory(prefix="label-quality-", ignore_cleanup_errors=True))
    _environment = _OPEN.enter_context(running_database(isolated_environment(_folder)))
    os.environ.clear()
    os.environ.update(_environment)

CLASSES = {1: "road", 2: "car", 3: "tree", 255: "void"}


class _PlainRoot:
    """Keeps pytest from importing the root as a package, for which the clone's folder needs a name without hyphens."""

    @staticmethod
    def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return pytest.Dir.from_parent(parent, path=path) if path == parent.config.rootpath else None


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_PlainRoot())  # the hooks of this file are not asked about the folder above


def pytest_sessionfinish() -> None:
    _OPEN.close()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(51)


def write_image(path: Path, pixels: np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return str(path)


@pytest.fixture
def make_dataset(tmp_path: Path) -> Iterator:
    """A function that makes a dataset of images with masks; `wrong` images have half their road called car.

    Beside each sample, `probabilities` names an npy file of a model that knows the true classes.
    """
    import fiftyone as fo

    made = []

    def make(num_images: int = 6, *, size: tuple[int, int] = (24, 32), wrong: tuple[int, ...] = (2,), store="path"):
        rng = np.random.default_rng(num_images)
        samples = []
        for number in range(num_images):
            truth = np.ones(size, np.uint8)
            truth[: size[0] // 3] = 3
            truth[size[0] // 2 : size[0] // 2 + 6, 4 + number : 12 + number] = 2
            given = truth.copy()
            if number in wrong:
                given[:, : size[1] // 2][given[:, : size[1] // 2] == 1] = 2
            given[0] = 255
            logits = rng.normal(0, 0.3, (3, *size)) + 5 * (np.arange(3)[:, None, None] == truth - 1)
            probs = np.exp(logits) / np.exp(logits).sum(0)
            folder = tmp_path / f"data{len(made)}"
            image = np.repeat((truth * 60)[..., None], 3, axis=2).astype(np.uint8)
            path = write_image(folder / "images" / f"{number}.png", image)
            npy = folder / "probs" / f"{number}.npy"
            npy.parent.mkdir(parents=True, exist_ok=True)
            np.save(npy, probs.astype(np.float32))
            label = (
                fo.Segmentation(mask=given)
                if store == "database"
                else fo.Segmentation(mask_path=write_image(folder / "masks" / f"{number}.png", given))
            )
            samples.append(fo.Sample(filepath=path, ground_truth=label, probabilities=str(npy)))
        dataset = fo.Dataset()
        dataset.add_samples(samples, progress=False)
        dataset.mask_targets = {"ground_truth": CLASSES}
        dataset.save()
        made.append(dataset)
        return dataset

    yield make
    for dataset in made:
        if not dataset.deleted:
            dataset.delete()


@pytest.fixture
def make_scored(tmp_path: Path) -> Iterator:
    """A function that makes a dataset with a finished scoring run, written by its contract and not computed.

    Image i has score (i + 1) / (images + 1) and, unless it is every fourth, one or two regions. The worst `reviewed`
    regions are decided on: two of three accepted. Given and suggested classes and kinds take turns. In a run under a
    second key, two of three images have a higher score and the others a lower one.
    """
    import fiftyone as fo

    from fiftyone_plugin.dataset.runs import run_records

    made = []

    def make(num_images: int = 12, *, reviewed: int = 0, regions: bool = True, agree: bool = False, keys=None):
        keys = keys or ["label_quality"]
        dataset = fo.Dataset()
        made.append(dataset)
        dataset.add_samples([_scene(fo, tmp_path, number) for number in range(num_images)], progress=False)
        dataset.mask_targets = {"ground_truth": CLASSES}
        dataset.save()
        for place, key in enumerate(keys):
            _write_scores(fo, dataset, key, place)
            if regions:
                _write_regions(fo, dataset, key, 0 if agree else num_images - 4 * place, reviewed)
            run_records.register_run(dataset, _scoring_record(dataset, key, place, regions))
        return dataset

    yield make
    for dataset in made:
        if not dataset.deleted:
            dataset.delete()


@cache
def _rendered(number: int):
    from demo.scenes import render_scene

    return render_scene(number)


def _scene(fo, folder: Path, number: int):
    scene = _rendered(number)
    path = write_image(folder / f"scene{number}.png", scene.image)
    label = fo.Segmentation(mask_path=write_image(folder / "masks" / f"scene{number}.png", scene.mask))
    return fo.Sample(filepath=path, ground_truth=label)


def _write_scores(fo, dataset, key: str, place: int) -> None:
    number = len(dataset)
    scores = [(index + 1) / (number + 1) for index in range(number)]
    for name, power in ((key, 1), (f"{key}_softmin", 2)):
        dataset.add_sample_field(name, fo.FloatField)
        gains = [place * (0.1 if index % 3 else -0.05) for index in range(number)]
        dataset.set_values(name, [min(score**power + gain, 1.0) for score, gain in zip(scores, gains, strict=True)])
        dataset.create_index(name)


def _write_regions(fo, dataset, key: str, num_images: int, reviewed: int) -> None:
    from datetime import datetime, timedelta

    names, kinds = ["road", "car", "tree"], ["missing", "spurious", "wrong_class", "boundary"]
    found, rank = [], 0
    for number in range(len(dataset)):
        detections = []
        for place in range(number % 4 % 3 if number < num_images else 0):
            done = rank < reviewed
            status = ("rejected" if rank % 3 == 2 else "accepted") if done else "pending"
            detections.append(
                fo.Detection(
                    label=kinds[rank % 4], bounding_box=[0.1 + 0.4 * place, 0.3, 0.2, 0.3],
                    mask=np.ones((12, 10), np.uint8), given=names[rank % 3], suggested=names[(rank + 1) % 3],
                    score=0.95 - 0.05 * rank, area=100 + rank, status=status, row=place,
                    reviewed_at=datetime(2026, 1, 1) + timedelta(minutes=rank) if done else None,
                    reviewer="me" if done else None,
                )
            )  # fmt: skip
            rank += 1
        found.append(fo.Detections(detections=detections))
    dataset.add_sample_field(f"{key}_regions", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    dataset.set_values(f"{key}_regions", found)
    dataset.add_dynamic_sample_fields()
    dataset.add_sample_field(f"{key}_num_regions", fo.IntField)
    dataset.set_values(f"{key}_num_regions", [len(entry.detections) for entry in found])


def _scoring_record(dataset, key: str, place: int, regions: bool):
    from fiftyone_plugin.dataset.runs import run_records

    fields = [key, f"{key}_softmin"] + ([f"{key}_regions", f"{key}_num_regions"] if regions else [])
    summary = {
        "method": "softmin",
        "num_scored": len(dataset),
        "flagged_share": 0.031 / (place + 1),
        "warnings": [],
        "class_scores": {"road": 0.93, "car": 0.61, "tree": 0.8},
        "class_pixels": {"road": 60_000, "car": 5_000, "tree": 20_000},
    }
    return run_records.RunRecord(key, run_records.SCORING, "ground_truth", {}, fields, summary=summary)


@pytest.fixture
def make_planned(tmp_path: Path) -> Iterator:
    """A function that makes a dataset with planned correction queries, written by their contract and not computed.

    Every part of a label in a square of `block` pixels is asked about, the wrong ones first; their true class is the
    first alternative. Each query knows the right answer as `truth`.
    """
    import fiftyone as fo

    made = []

    def make(num_images: int = 4, *, block: int = 64, most: int = 1_000, fields: tuple[str, ...] = ("ground_truth",)):
        from demo.scenes import SCENE_CLASSES, render_scene
        from fiftyone_plugin.dataset.fields.queries import replace_pending
        from fiftyone_plugin.dataset.runs import run_records
        from fiftyone_plugin.workflows.correcting.correction_start import begin_correction, next_round

        dataset = fo.Dataset()
        made.append(dataset)
        scenes = [render_scene(number) for number in range(num_images)]
        names = dict(SCENE_CLASSES)
        folder = tmp_path / f"planned{len(made)}"
        dataset.add_samples(
            [fo.Sample(write_image(folder / f"{number}.png", scene.image)) for number, scene in enumerate(scenes)],
            progress=False,
        )
        for field in fields:
            documents = {}
            for number, sample in enumerate(dataset.iter_samples(autosave=True)):
                given, asked = _questions(scenes[number].mask, names, block, folder / field / f"queries{number}")
                path = write_image(folder / field / "masks" / f"{number}.png", given)
                sample[field], documents[sample.id] = fo.Segmentation(mask_path=path), asked
            dataset.mask_targets = {**dataset.mask_targets, field: {**names, 255: "void"}}
            dataset.save()
            best = sorted((query for asked in documents.values() for query in asked), key=lambda query: -query["value"])
            for rank, query in enumerate(best):
                query["rank"] = rank
            kept = {key: [query for query in asked if query["rank"] < most] for key, asked in documents.items()}
            run = begin_correction(dataset, field, output_dir=folder / field / "correction")
            replace_pending(dataset, run.fields.queries, kept)
            run_records.register_run(dataset, next_round(run).record)
        return dataset

    yield make
    for dataset in made:
        if not dataset.deleted:
            dataset.delete()


def _questions(truth: np.ndarray, names: dict[int, str], block: int, folder: Path) -> tuple[np.ndarray, list[dict]]:
    """The label with every third block of a class called by the next class, and a query about each block."""
    from fiftyone_plugin.dataset.fields.queries import query_document

    given, queries, number = truth.copy(), [], 0
    for top in range(0, truth.shape[0], block):
        for left in range(0, truth.shape[1], block):
            window = (slice(top, top + block), slice(left, left + block))
            for value in (entry for entry in np.unique(truth[window]).tolist() if entry in names):
                region = truth[window] == value
                if region.sum() < 40:
                    continue
                wrong = number % 3 == 0
                said = value % len(names) + 1 if wrong else value
                given[window][region] = said
                rows, columns = np.nonzero(region)
                box = (top + rows.min(), left + columns.min(), top + rows.max() + 1, left + columns.max() + 1)
                tight = region[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                middle = len(rows) // 2
                likely = [names[value]] if wrong else [names[value % len(names) + 1]]
                document = query_document(
                    bbox=tuple(int(end) for end in box), shape=truth.shape, given=names[said], alternatives=likely,
                    mask_path=write_image(folder / f"{number}.png", tight.astype(np.uint8) * 255), suggested=likely[0],
                    value=float(region.sum()) * (10 if wrong else 1) / (1 + number), rank=0,
                    point=(int(top + rows[middle]), int(left + columns[middle])), area=int(region.sum()),
                    audit=number % 10 == 9, round_number=1,
                )  # fmt: skip
                queries.append({**document, "truth": names[value]})
                number += 1
    return given, queries
