"""The main job on real street scenes: CamVid with injected label errors, a model trained by cross-validation.

    python benchmarks/camvid.py --data ../shared/data --folder /tmp/camvid

Each seed corrupts a fifth of the masks with one error each (all kinds in turn, or `--kinds`), trains on the corrupted
masks with cross-validation, scores them with every method, and compares the order with the known errors. Nothing is
tuned on the result. `--app` opens the FiftyOne App on the last seed instead of scoring, to run the operator by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

from demo.isolation import isolated_environment
from demo.mongod import running_database


def main() -> None:
    """Run the benchmark in a database of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--folder", type=Path, required=True, help="for masks, models and the database")
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--architecture", default="unet")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--kinds", nargs="+", default=[], help="of errors; all of them if omitted")
    parser.add_argument("--app", action="store_true", help="open the App before scoring")
    parser.add_argument("--port", type=int, default=5151)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or training crawls where another program uses a core
    if not (options.data / "camvid").is_dir():
        parser.error(f"no camvid/ in {options.data}; pass --data")
    with running_database(isolated_environment(options.folder)) as environment:
        os.environ.clear()
        os.environ.update(environment)
        rows = [run_seed(options, seed) for seed in options.seeds]
    print_table(options, rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def make_dataset(options: argparse.Namespace, seed: int):
    """The first images of CamVid's training split; the void class is left out by its name."""
    import fiftyone as fo

    lines = (options.data / "camvid" / "classes.txt").read_text().splitlines()
    targets = {int(number): name for number, name in (line.split() for line in lines)}
    images = sorted((options.data / "camvid" / "train" / "images").iterdir())
    chosen = images[:: max(1, len(images) // options.images)][: options.images]
    masks = options.data / "camvid" / "train" / "masks"
    dataset = fo.Dataset(f"camvid-{seed}", overwrite=True, persistent=True)
    dataset.add_samples(
        [
            fo.Sample(filepath=str(image), ground_truth=fo.Segmentation(mask_path=str(masks / f"{image.stem}.png")))
            for image in chosen
        ],
        progress=False,
    )
    dataset.mask_targets = {"ground_truth": targets}
    dataset.save()
    return dataset


def run_seed(options: argparse.Namespace, seed: int) -> dict[str, float]:
    """Inject, train, score and compare; AUROC and share found for each score."""
    from fiftyone_plugin import inject_label_errors, quality, score_label_quality, train_cross_validated
    from fiftyone_plugin.workflows.rehearsing.rehearsal import rehearsal_result

    started = time.monotonic()
    dataset = make_dataset(options, seed)
    folder = options.folder / f"seed{seed}"
    inject_label_errors(
        dataset, "ground_truth", into="labels", kinds=options.kinds, seed=seed, output_dir=str(folder / "errors")
    )
    trained = train_cross_validated(
        dataset,
        "labels",
        folds=options.folds,
        epochs=options.epochs,
        architecture=options.architecture,
        encoder="mobilenet_v2",
        weights=str(options.data / "weights" / "mobilenet_v2_imagenet.pth"),
        freeze_batchnorm=True,
        crop_size=options.crop,
        seed=seed,
        output_dir=str(folder / "model"),
    )
    if options.app:
        open_app(dataset, options.port)
    report = score_label_quality(
        dataset, "labels", model="cross_validation", methods=quality.METHODS, output_dir=str(folder / "scores")
    )
    row = {"seed": seed, "seconds": time.monotonic() - started}
    row["mean_iou"] = statistics.mean(metrics["mean IoU"] for metrics in trained.metrics)
    for method in quality.METHODS:
        result = rehearsal_result(dataset, f"{report.key}_{method}", "labels_error")
        row[f"{method} AUROC"] = result.auroc
        row[f"{method} found"] = result.found / result.num_errors
        if method == "softmin":
            print(f"seed {seed}: {result.text()}", flush=True)
    return row


def open_app(dataset, port: int) -> None:
    """Show the dataset and wait."""
    import fiftyone as fo

    session = fo.launch_app(dataset, remote=True, port=port)
    print(f"{session.url}\nRun 'Score label quality' there; Ctrl+C ends.", flush=True)
    session.wait(-1)


def print_table(options: argparse.Namespace, rows: list[dict[str, float]]) -> None:
    """Mean and range over the seeds."""
    print(
        f"\nCamVid, {options.images} images, {options.folds} folds of {options.epochs} epochs, "
        f"{options.architecture} with mobilenet_v2, seeds {options.seeds}, kinds {options.kinds or 'all'}; "
        f"{platform.machine()}, {os.cpu_count()} cores"
    )
    print(f"{'':40} mean    min    max")
    for name in rows[0]:
        if name != "seed":
            values = [row[name] for row in rows]
            print(f"{name:40} {statistics.mean(values):.3f}  {min(values):.3f}  {max(values):.3f}")


if __name__ == "__main__":
    main()
