"""The main job from beginning to end on rendered scenes with known label errors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import scenes
from demo.drawing import SceneFiles
from fiftyone_plugin.dataset.fields import appearance
from fiftyone_plugin.progress import Progress, terminal_bar
from fiftyone_plugin.workflows.finding.label_errors import find_label_errors
from fiftyone_plugin.workflows.housekeeping import delete_label_quality_run, list_label_quality_runs
from fiftyone_plugin.workflows.rehearsing.rehearsal import RehearsalResult, inject_label_errors, rehearsal_result
from fiftyone_plugin.workflows.scoring.report import ScoringReport

DATASET_NAME = "label-quality-demo"

LABELS = "labels"
"""The field in question: the true masks, some with an injected error."""

QUICK_MODEL = {
    "encoder": "tf_efficientnet_lite0", "enlarge": 2, "stride": 2, "blocks": 0, "mirrored": False,
}  # fmt: skip
"""Heads that judge each pixel by itself, for small images: quick, and enough to learn from 43 of them."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo found."""

    dataset: Any
    report: ScoringReport
    result: RehearsalResult
    seconds: float


def make_demo_dataset(drawn: Sequence[Future[SceneFiles]], *, progress: Progress) -> Any:
    """Make a dataset of scenes, replacing one of an earlier demo.

    Args:
        drawn: images and true masks
        progress: told after each scene

    Returns:
        a persistent `fiftyone.Dataset` with the field `true_labels`
    """
    import fiftyone as fo

    samples = []
    for number, scene in enumerate(drawn, start=1):
        image, mask = scene.result()
        samples.append(fo.Sample(filepath=str(image), true_labels=fo.Segmentation(mask_path=str(mask))))
        progress(number, len(drawn), "drawing scenes")
    if fo.dataset_exists(DATASET_NAME):
        before = fo.load_dataset(DATASET_NAME)
        for run in list_label_quality_runs(before):
            delete_label_quality_run(before, run.key)
    dataset = fo.Dataset(DATASET_NAME, overwrite=True, persistent=True)
    dataset.add_samples(samples, progress=False)
    dataset.mask_targets = {"true_labels": dict(scenes.SCENE_CLASSES)}
    dataset.save()
    appearance.color_classes(dataset, ["true_labels", LABELS], scenes.SCENE_CLASSES, scenes.SCENE_COLORS)
    return dataset


def run_demo(
    drawn: Sequence[Future[SceneFiles]], folder: Path, *, fraction: float = 0.2, folds: int = 3, steps: int = 600,
    seed: int = 51,
) -> DemoResult:  # fmt: skip
    """Corrupt scenes, find the errors without a model, and compare with what was put in.

    Args:
        drawn: images and true masks
        folder: where models and findings go
        fraction: share of the images that get a label error
        folds: models to train
        steps: of the training of a fold's head
        seed: of the errors and the training

    Returns:
        the dataset, what the scoring found, and how many errors are among the worst-ranked images
    """
    started = time.monotonic()
    with terminal_bar("drawing scenes") as progress:
        dataset = make_demo_dataset(drawn, progress=progress)
    errors = inject_label_errors(
        dataset, "true_labels", into=LABELS, fraction=fraction, seed=seed, output_dir=str(folder / "rehearsal")
    )
    report = find_label_errors(
        dataset, LABELS, output_dir=str(folder), training={**QUICK_MODEL, "folds": folds, "seed": seed, "steps": steps}
    ).scoring
    result = rehearsal_result(dataset, report.key, errors.error_field)
    return DemoResult(dataset, report, result, time.monotonic() - started)
