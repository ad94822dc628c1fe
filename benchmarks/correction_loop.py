"""From no labels to corrected ones in one script, on real images: pseudo labels, training, questions, answers, again.

    python benchmarks/correction_loop.py --folder /tmp/loop --images 60 --rounds 2

Pseudo labels are composed from the segments that Grounded-SAM found in PASCAL VOC images (with `--detector` and
`--checkpoint`, by the models themselves), a small segmenter is trained on them with cross-validation, questions are
planned from its out-of-sample probabilities, a simulated annotator answers them, the labels are corrected, and the next
round trains on those. All of it through the functions that the operators call, on a FiftyOne dataset with a database
of its own. Printed for each round: mean IoU of the labels with the ground truth, and of the model's predictions with
the labels that it was trained on. `benchmarks/active_correction` compares methods; this shows that the way is whole.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from demo.isolation import isolated_environment
from demo.mongod import running_database

VOID = 255


def main() -> None:
    """Run the loop in a database of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--folder", type=Path, required=True, help="for masks, models and the database")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--budget", type=int, help="questions per round (default: 1,000 per 1,464 images)")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--architecture", default="fpn")
    parser.add_argument("--encoder", default="mobilenet_v2")
    parser.add_argument("--detector", help="GroundingDINO: a folder, or a name on the hub")
    parser.add_argument("--checkpoint", help="of segment-anything")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or training crawls where another program uses a core
    if not (options.data / "voc_grounded_sam").is_dir():
        parser.error(f"no voc_grounded_sam/ in {options.data}; pass --data")
    with running_database(isolated_environment(options.folder)) as environment:
        os.environ.clear()
        os.environ.update(environment)
        rows = run_loop(options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def run_loop(options: argparse.Namespace) -> list[dict[str, float]]:
    """Pseudo labels, then rounds of training, asking, answering and correcting."""
    import fiftyone_plugin as quality_plugin

    dataset, names = make_dataset(options)
    source = {"detector": options.detector, "checkpoint": options.checkpoint}
    if not options.detector:
        source = {"instances": "segments"}
    labelled = quality_plugin.generate_pseudo_labels(
        dataset, names[1:], output_dir=options.folder / "pseudo", overwrite=True, **source
    )
    print(labelled.markdown())
    budget = options.budget or max(1, round(options.images * 1000 / 1464))
    rows = [{"round": 0, "answers": 0, "label IoU": label_iou(dataset, "pseudo_labels", len(names))}]
    print(rows[-1])
    training = {
        "folds": options.folds, "epochs": options.epochs, "architecture": options.architecture,
        "encoder": options.encoder, "crop_size": options.crop, "seed": options.seed, "freeze_batchnorm": True,
        "weights": str(options.data / "weights" / "mobilenet_v2_imagenet.pth"),
    }  # fmt: skip
    started, answers = time.monotonic(), 0
    for number in range(1, options.rounds + 1):
        folder = options.folder / f"round-{number}"
        if number == 1:
            quality_plugin.train_cross_validated(
                dataset, "pseudo_labels", key="first", output_dir=str(folder), overwrite=True, **training
            )
            plan = quality_plugin.plan_correction_queries(
                dataset, "pseudo_labels", model="first", superpixels="pseudo_labels_superpixels", budget=budget,
                output_dir=options.folder / "correction", seed=options.seed,
            )  # fmt: skip
        else:
            plan = quality_plugin.start_correction_round(
                dataset, "pseudo_labels", budget=budget, score=False, training={**training, "output_dir": str(folder)}
            ).plan
        done = quality_plugin.simulate_answers(dataset, "pseudo_labels", "ground_truth", sitting_id=f"round {number}")
        answers += done.answered
        quality_plugin.apply_corrections(dataset, "pseudo_labels")
        rows.append(
            {
                "round": number,
                "answers": answers,
                "label IoU": label_iou(dataset, "pseudo_labels_corrected", len(names)),
                "relabelled by what answers tell": plan.num_propagated,
                "estimated wrong": done.wrong_share if done.wrong_share is not None else float("nan"),
                "wrong": wrong_share(dataset, "pseudo_labels_corrected"),
                "minutes": (time.monotonic() - started) / 60,
            }
        )
        print({name: round(value, 4) for name, value in rows[-1].items()}, flush=True)
    return rows


def make_dataset(options: argparse.Namespace):
    """VOC images with ground truth, and the segments behind the published pseudo labels as instances."""
    import fiftyone as fo
    from PIL import Image

    folder = options.data / "voc_grounded_sam"
    names = [line.split()[1] for line in (folder / "classes.txt").read_text().splitlines()][:21]
    stems = sorted(path.stem for path in (folder / "superpixels_sam").glob("*.png"))
    stems = stems[:: max(1, len(stems) // options.images)][: options.images]
    samples = []
    for stem in stems:
        segments, labels = (
            np.array(Image.open(folder / kind / f"{stem}.png")) for kind in ("superpixels_sam", "masks_grounded_sam")
        )
        truth = fo.Segmentation(mask_path=str(folder / "masks" / f"{stem}.png"))
        image = next((folder / "images").glob(f"{stem}.*"))
        objects = fo.Detections(detections=list(instances(fo, segments, labels, names)))
        samples.append(fo.Sample(filepath=str(image), ground_truth=truth, segments=objects))
    dataset = fo.Dataset("correction-loop", overwrite=True, persistent=True)
    dataset.add_samples(samples, progress=False)
    dataset.mask_targets = {"ground_truth": {**dict(enumerate(names)), VOID: "void"}}
    dataset.save()
    return dataset, names


def instances(fo, segments: np.ndarray, labels: np.ndarray, names: list[str]):
    """One Detection with mask per segment."""
    height, width = segments.shape
    for segment in np.unique(segments[segments > 0]):
        rows, columns = np.nonzero(segments == segment)
        top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        yield fo.Detection(
            label=names[int(labels[rows[0], columns[0]])],
            bounding_box=[left / width, top / height, (right - left) / width, (bottom - top) / height],
            mask=(segments == segment)[top:bottom, left:right],
        )


def label_iou(dataset, field: str, num_classes: int) -> float:
    """Mean IoU of a field with the ground truth over the classes that are there, pooled over all pixels."""
    counts = np.zeros((num_classes, num_classes), np.int64)
    for true, given in masks(dataset, field):
        valid = (true != VOID) & (given < num_classes)
        counts += np.bincount(
            true[valid].astype(np.int64) * num_classes + given[valid], minlength=num_classes**2
        ).reshape(num_classes, num_classes)
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    return float((counts.diagonal() / np.maximum(union, 1))[union > 0].mean())


def wrong_share(dataset, field: str) -> float:
    """Share of the pixels with ground truth whose label is another one."""
    wrong = total = 0
    for true, given in masks(dataset, field):
        valid = true != VOID
        wrong += int((true[valid] != given[valid]).sum())
        total += int(valid.sum())
    return wrong / max(total, 1)


def masks(dataset, field: str):
    """Ground truth and label of each image."""
    from PIL import Image

    for true, given in zip(*dataset.values(["ground_truth.mask_path", f"{field}.mask_path"]), strict=True):
        yield np.array(Image.open(true)), np.array(Image.open(given))


if __name__ == "__main__":
    main()
