"""From labelled images without a model to ranked label errors: `find_label_errors` on real images, as a user calls it.

    python benchmarks/first_findings.py --data ../shared/data --dataset voc [--seed 0] [--images 300] [--json FILE]

VOC: the Grounded-SAM label maps; an image is wrong if more than a tenth of its pixels is. CamVid: a fifth of the masks
get one error each of the given `--kinds` (local ones if omitted); frames of one block of a video stay in one fold. The
time is that from the call to its return, in a database of its own; each change of the progress's label is a stage.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from detection import cases, measures, predictions
from PIL import Image

from demo.isolation import isolated_environment
from demo.mongod import running_database


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--dataset", choices=("voc", "camvid"), default="voc")
    parser.add_argument("--images", type=int, help="the first so many; all if omitted")
    parser.add_argument("--kinds", nargs="+", default=cases.LOCAL, help="of errors put into CamVid's masks")
    parser.add_argument("--folds", type=int, help="other than those that the job chooses")
    parser.add_argument("--steps", type=int, default=300, help="of each head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        running_database(isolated_environment(folder)) as environment,
    ):
        os.environ.clear()
        os.environ.update({"OMP_WAIT_POLICY": "PASSIVE"} | environment)
        found = run(options, Path(folder))
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def run(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Make the dataset, find its errors, and compare the order with what is known."""
    import fiftyone as fo

    from fiftyone_plugin import find_label_errors, quality

    read = predictions.voc if options.dataset == "voc" else predictions.camvid
    collection = read(options.data)
    pictures = collection.pictures[: options.images]
    labels, wrong = cases.labels_in_question(replace(collection, pictures=pictures), options.kinds, options.seed)
    (folder / "labels").mkdir()
    samples = []
    for picture, label in zip(pictures, labels, strict=True):
        path = folder / "labels" / f"{picture.name}.png"
        Image.fromarray(label).save(path)
        sample = fo.Sample(str(picture.image), group_of=picture.group)
        sample["ground_truth"] = fo.Segmentation(mask_path=str(path))
        samples.append(sample)
    dataset = fo.Dataset("first_findings", persistent=False)
    dataset.add_samples(samples, progress=False)
    del samples, sample  # FiftyOne reads every sample that a program still holds again after each write
    dataset.mask_targets = {"ground_truth": {**dict(enumerate(collection.class_names)), 255: "void"}}
    dataset.save()
    folds = {"folds": options.folds} if options.folds else {}
    stages = Stages()
    processor = sum(os.times()[:2])
    find_label_errors(
        dataset, "ground_truth", group_field="group_of" if options.dataset == "camvid" else None,
        training={"seed": options.seed, "steps": options.steps, **folds},
        methods=tuple(quality.RANKING_TITLES), score=quality.COMBINED, progress=stages,
    )  # fmt: skip
    seconds = stages.end()
    scores = {
        name: np.array(dataset.values(name), float)
        for name in dataset.get_field_schema()
        if name.startswith("label_quality_") and dataset.count(name) == len(pictures)
        and isinstance(dataset.get_field(name), fo.FloatField)
    }  # fmt: skip
    return {
        "dataset": options.dataset,
        "images": len(pictures),
        "wrong images": int(wrong.sum()),
        "seconds": round(sum(seconds.values()), 1),
        "processor seconds": round(sum(os.times()[:2]) - processor, 1),
        "GB at most": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "stages": {name: round(value, 1) for name, value in seconds.items()},
        "measures": {name: measures.image_measures(wrong, values) for name, values in scores.items()},
    }


class Stages:
    """A progress that notes how long each label stood."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.label, self.since = "begin", time.perf_counter()

    def __call__(self, _done: int, _total: int, label: str) -> None:
        """Hear of progress."""
        name = label.split(",")[0]  # without fold and loss
        if name != self.label:
            self.end()
            self.label = name

    def end(self) -> Counter[str]:
        """Close the running stage; all of them."""
        now = time.perf_counter()
        self.seconds[self.label] += now - self.since
        self.since = now
        return self.seconds


if __name__ == "__main__":
    main()
