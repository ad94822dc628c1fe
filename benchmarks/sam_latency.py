"""How long SAM takes per image and per prompt: one command, one table.

    python benchmarks/sam_latency.py [--checkpoint sam_vit_b_01ec64.pth] [--device cuda] [--threads 2]

Without a checkpoint a full-size vit_b of random weights is timed: it computes as long as the real one, but its masks
mean nothing, so the time of automatic masks, which depends on how many masks pass the filters, is a lower bound.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from fiftyone_plugin.models.foundation.random_checkpoints import save_random_sam
from fiftyone_plugin.models.foundation.sam import EmbeddingCache, ImageEmbedding, Sam, load_sam
from fiftyone_plugin.models.foundation.sam_architecture import SamSizes

Row = tuple[str, float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="SAM checkpoint; none = vit_b of random weights")
    parser.add_argument("--device", help="cuda, mps or cpu; none = the fastest one here")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--size", type=int, nargs=2, default=(375, 500), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--single", action="store_true", help="no half precision")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--images", type=int, default=3, help="images embedded")
    parser.add_argument("--automatic", action="store_true", help="time automatic masks too (a minute on a CPU)")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = options.checkpoint or save_random_sam(Path(folder) / "vit_b.pth", SamSizes())
        began = time.perf_counter()
        sam = load_sam(checkpoint, device=options.device, half=False if options.single else None)
        loading = time.perf_counter() - began
        rows = [("load the checkpoint", loading, loading), *measure(sam, Path(folder), options)]
    weights = options.checkpoint.name if options.checkpoint else "random weights"
    show(f"SAM {sam.model_type} ({weights}), image {options.size[0]} x {options.size[1]}, {machine(sam)}", rows)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(sam), "weights": weights, "rows": rows}, indent=1))


def measure(sam: Sam, folder: Path, options: argparse.Namespace) -> list[Row]:
    """(what, first, median) seconds of every step that a user waits for."""
    rng = np.random.default_rng(0)
    height, width = options.size
    images = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(options.images)]
    embedding = sam.embed(images[0])
    corners = rng.uniform(0, 0.5, (10, 4)) * [width, height, width, height]
    boxes = corners + np.array([0, 0, width / 2, height / 2])
    cache = EmbeddingCache(folder / "cache", sam)
    cache.get(images[0])
    found = sam.masks_from_points(embedding, [[width / 2, height / 2]], [True])
    refine = {"points": [[width / 3, height / 3]], "positive": [False], "mask_input": found.low_res}
    rows = [
        timed("embed an image", lambda: sam.embed(images[0]), options.images),
        timed("read a kept embedding", lambda: cache.get(images[0]), options.repeats),
        timed("mask from one point", lambda: one_point(sam, embedding), options.repeats),
        timed("mask refined by a point", lambda: sam.masks_from_points(embedding, **refine), options.repeats),
        timed("masks from ten boxes", lambda: sam.masks_from_boxes(embedding, boxes), options.repeats),
    ]
    if options.automatic:
        rows.append(timed("automatic masks, 32 x 32 points", lambda: len(sam.automatic_masks(embedding)), 1))
    return rows


def one_point(sam: Sam, embedding: ImageEmbedding) -> np.ndarray:
    height, width = embedding.original_size
    return sam.masks_from_points(embedding, [[width / 2, height / 2]], [True]).mask


def timed(what: str, run: Callable[[], object], repeats: int) -> Row:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()  # results are on the CPU, so a GPU has finished
        seconds.append(time.perf_counter() - began)
    return what, seconds[0], median(seconds)


def machine(sam: Sam) -> str:
    precision = "single precision" if sam.half is None else f"image encoder in {str(sam.half).removeprefix('torch.')}"
    if sam.device.type == "cuda":
        return f"{torch.cuda.get_device_name(sam.device)}, {precision}"
    return f"{_processor()}, {torch.get_num_threads()} threads, {precision}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def show(title: str, rows: list[Row]) -> None:
    table = Table(title=title)
    for column in ("what", "first, ms", "median, ms"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for what, first, usual in rows:
        table.add_row(what, f"{first * 1000:,.0f}", f"{usual * 1000:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
