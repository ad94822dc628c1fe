"""The main job from beginning to end on rendered scenes with known label errors."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import scenes
from fiftyone_plugin.dataset.fields import appearance
from fiftyone_plugin.dataset.runs import files
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


def make_demo_dataset(folder: Path, num_images: int, *, progress: Progress) -> Any:
    """Render scenes and make a dataset of them, replacing one of an earlier demo.

    Args:
        folder: where images and true masks go
        num_images: how many scenes
        progress: told after each scene

    Returns:
        a persistent `fiftyone.Dataset` with the field `true_labels`
    """
    import fiftyone as fo

    samples = []
    for number in range(num_images):
        scene = scenes.render_scene(number)
        image, mask = folder / "images" / f"{number:04d}.png", folder / "masks" / f"{number:04d}.png"
        files.write_png(image, scene.image)
        files.write_png(mask, scene.mask)
        samples.append(fo.Sample(filepath=str(image), true_labels=fo.Segmentation(mask_path=str(mask))))
        progress(number + 1, num_images, "rendering scenes")
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
    folder: str | Path, *, num_images: int = 64, fraction: float = 0.2, folds: int = 3, steps: int = 600, seed: int = 51
) -> DemoResult:
    """Render, corrupt, find the errors without a model, and compare with what was put in.

    Args:
        folder: where images, masks and models go
        num_images: how many scenes
        fraction: share of the images that get a label error
        folds: models to train
        steps: of the training of a fold's head
        seed: of the errors and the training

    Returns:
        the dataset, what the scoring found, and how many errors are among the worst-ranked images
    """
    started = time.monotonic()
    folder = Path(folder)
    with terminal_bar("rendering scenes") as progress:
        dataset = make_demo_dataset(folder, num_images, progress=progress)
    errors = inject_label_errors(
        dataset, "true_labels", into=LABELS, fraction=fraction, seed=seed, output_dir=str(folder / "rehearsal")
    )
    report = find_label_errors(
        dataset, LABELS, output_dir=str(folder), training={**QUICK_MODEL, "folds": folds, "seed": seed, "steps": steps}
    ).scoring
    result = rehearsal_result(dataset, report.key, errors.error_field)
    return DemoResult(dataset, report, result, time.monotonic() - started)
