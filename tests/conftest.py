"""Tests run against the real FiftyOne with a MongoDB of its own, in a folder that goes when they end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin.isolation import isolated_environment
from fiftyone_plugin.mongod import SERVER_VARIABLE, running_database

_OPEN = ExitStack()
if SERVER_VARIABLE not in os.environ:  # not started by bootstrap.py, which does the same
    _folder = _OPEN.enter_context(tempfile.TemporaryDirectory(prefix="label-quality-", ignore_cleanup_errors=True))
    _environment = _OPEN.enter_context(running_database(isolated_environment(_folder)))
    os.environ.clear()
    os.environ.update(_environment)

CLASSES = {1: "road", 2: "car", 3: "tree", 255: "void"}


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
