"""What judging costs beside predicting: one thread, the images of VOC, labels by Grounded-SAM.

    python benchmarks/judging_cost.py --data ../shared/data --folder FOLDER [--images 60 300] [--repeats 3]

`judge_labels` (all scores, regions, rehearsed errors, the ranking) on predictions that are in memory, a forward pass of
the given segmenter (DeepLabV3 with MobileNetV2), and one of MobileNetV2 alone, each at the size of the image. The
rehearsed errors are about 256, however many images there are. Seconds of the processor, since other jobs may run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torchvision
from detection import predictions
from PIL import Image
from rich.console import Console
from rich.table import Table

from fiftyone_plugin.quality import judge_labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--folder", type=Path, required=True, help="for predictions")
    parser.add_argument("--images", type=int, nargs="+", default=[60, 300])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    weights = options.data / "weights"
    collection = predictions.voc(options.data)
    probs = predictions.outside_predictions(collection, weights, options.folder / "voc-outside")
    networks = [predictions.outside_network(weights).eval(), torchvision.models.mobilenet_v2(weights=None).eval()]
    table = Table("images", "judging", "segmenter", "MobileNetV2", "judging / segmenter", "judging / MobileNetV2")
    for number in options.images:
        pictures = collection.pictures[:number]
        labels = [np.asarray(picture.machine_label) for picture in pictures]
        maps = [np.asarray(probs[picture.name], np.float32) for picture in pictures]
        images = [_tensor(picture.image) for picture in pictures]
        judge_labels(labels[:12], maps[:12])  # compiles
        rows = [
            (seconds(judge_labels, labels, maps), *(seconds(_forward, network, images) for network in networks))
            for _ in range(options.repeats)
        ]
        each = np.array(rows) / number
        ratios = [each[:, 0] / each[:, 1], each[:, 0] / each[:, 2]]
        texts = [_spread(values, "ms", 1000) for values in each.T] + [_spread(values, "", 1) for values in ratios]
        table.add_row(f"{number:,}", *texts)
    Console(width=150).print(table)


def _tensor(image: object) -> torch.Tensor:
    pixels = np.asarray(Image.open(str(image)).convert("RGB"), np.float32) / 255
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())


def _forward(network: torch.nn.Module, images: list[torch.Tensor]) -> None:
    with torch.inference_mode():
        for image in images:
            network(image)


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """Of the processor."""
    began = time.process_time()
    work(*arguments)
    return time.process_time() - began


def _spread(values: np.ndarray, unit: str, factor: float) -> str:
    low, middle, high = (factor * value for value in (min(values), median(values), max(values)))
    digits = 0 if unit else 2
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f}) {unit}".strip()


if __name__ == "__main__":
    main()
