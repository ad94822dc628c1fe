"""What a GPU computes: that it is what the CPU computes, and how fast.

    python benchmarks/gpu.py [--seconds 420] [--json FILE] [--only NAME ...] [--data FOLDER] [--cpu-dry-run]

Needs a CUDA device, PyTorch and this folder; neither FiftyOne nor any download. Every check stands alone: one that
fails is reported with its traceback and the others go on; what the time does not suffice for is reported as not run.
The last lines are JSON and a table for RESULTS.md. `--data` has the real images and weights of the other benchmarks, or
some of them, for the checks whose names begin with "real". `--cpu-dry-run` runs the same code in small sizes on a CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import platform
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from fiftyone_plugin import quality
from fiftyone_plugin.models.files.items import Example, ImageItem
from fiftyone_plugin.models.files.reading import read_ahead
from fiftyone_plugin.models.loading import load_segmenter
from fiftyone_plugin.quality.pixels.device_maps import plain_maps
from fiftyone_plugin.quality.pixels.measurement import measure_image

Figures = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """Where and how large checks are."""

    device: torch.device
    small: bool
    folder: Path
    data: Path | None = None

    def size(self, full: Any, small: Any) -> Any:
        """Choose between the size that is reported and that of a dry run."""
        return small if self.small else full

    def wait(self) -> None:
        """Let the device finish."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


@dataclass
class Report:
    """What one check found: `expect` notes what must hold, `figures` what was measured."""

    figures: Figures = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def expect(self, holds: bool, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.broken.append(what)

    def note(self, name: str, value: Any) -> None:
        """Keep a figure and show it at once."""
        self.figures[name] = value
        print(f"    {name}: {value}", flush=True)


def seconds_of(run: Callable[[], object], setting: Setting, repeats: int) -> float:
    """Median seconds of a call, results ready, after a first one that is not counted."""
    run()
    taken = []
    for _ in range(repeats):
        setting.wait()
        began = time.perf_counter()
        run()
        setting.wait()
        taken.append(time.perf_counter() - began)
    return median(taken)


def device_seconds(run: Callable[[], object], setting: Setting, repeats: int, inner: int = 10) -> float:
    """Median seconds of a call on the device itself: `inner` calls are queued between two events."""
    if setting.device.type != "cuda":
        return seconds_of(run, setting, 3)
    for _ in range(3):
        run()
    taken = []
    for _ in range(repeats):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(inner):
            run()
        stop.record()
        torch.cuda.synchronize()
        taken.append(start.elapsed_time(stop) / 1e3 / inner)
    return median(taken)


def logits_and_label(num_classes: int, size: tuple[int, int], seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """A mostly sure model that is mostly right, labels with wrong areas and a frame to be ignored."""
    generator = torch.Generator().manual_seed(seed)

    def areas(side: int) -> torch.Tensor:
        shape = (-(-size[0] // side), -(-size[1] // side))
        coarse = torch.randint(num_classes, shape, generator=generator)
        return coarse.repeat_interleave(side, 0).repeat_interleave(side, 1)[: size[0], : size[1]]

    true = areas(32)
    label = torch.where(areas(16) == 0, areas(16), true)
    believed = torch.where(areas(8) == 0, areas(8), true)
    logits = torch.randn(num_classes, *size, generator=generator)
    logits.scatter_add_(0, believed[None], torch.full((1, *size), 7.0))
    given = label.numpy().astype(np.uint8)
    given[:2] = 255
    return logits, given


def rough_images(count: int, size: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    """Images with areas of one colour and some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, -(-size[0] // 32), -(-size[1] // 32), 3))
    smooth = coarse.repeat(32, 1).repeat(32, 2)[:, : size[0], : size[1]]
    return list((smooth + rng.integers(-20, 21, smooth.shape)).clip(0, 255).astype(np.uint8))


def network(num_classes: int, arch: str = "deeplabv3plus", encoder: str = "resnet50") -> torch.nn.Module:
    """A segmenter of random weights whose last layer is enlarged, so that it is sure of something."""
    from fiftyone_plugin.models.segmenters.sources import build_smp

    torch.manual_seed(0)
    model = build_smp(arch, encoder, num_classes)
    with torch.no_grad():
        next(layer for layer in model.segmentation_head.modules() if isinstance(layer, torch.nn.Conv2d)).weight.mul_(20)
    return model


@contextlib.contextmanager
def single_precision() -> Iterator[None]:
    """No TensorFloat-32, which rounds to 10 bits, so that a GPU's convolutions can be compared with a CPU's."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextlib.contextmanager
def memory_of(setting: Setting, more: int) -> Iterator[None]:
    """Let this process have only so many bytes more than it holds."""
    if setting.device.type != "cuda":
        yield
        return
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(setting.device).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def bandwidth(setting: Setting, report: Report) -> None:
    """GB/s of a copy inside the device's memory (bytes read and written), of reading alone, and to the host."""
    count = setting.size(2**29, 2**20)
    source = torch.rand(count, device=setting.device)
    target = torch.empty_like(source)
    copied = device_seconds(lambda: target.copy_(source), setting, 10)
    report.note("copy GB/s", round(2 * source.nbytes / copied / 1e9, 1))
    report.note("read GB/s (sum)", round(source.nbytes / device_seconds(lambda: source.sum(), setting, 10) / 1e9, 1))
    few = source[: setting.size(2**24, 2**18)]
    report.note("to host GB/s", round(few.nbytes / seconds_of(lambda: few.cpu(), setting, 5) / 1e9, 2))
    if setting.device.type == "cuda":
        pinned = torch.empty(few.shape, pin_memory=True)
        seconds = seconds_of(lambda: pinned.copy_(few), setting, 5)
        report.note("to pinned host memory GB/s", round(few.nbytes / seconds / 1e9, 2))


def device_maps(setting: Setting, report: Report) -> None:
    """Maps, class sums and histograms from tensors on the device are the CPU's, bit for bit from float32 and below."""
    cases = setting.size(((19, (1024, 2048)), (2, (333, 500)), (150, (512, 512)), (300, (200, 300))), ((5, (40, 60)),))
    for num_classes, size in cases:
        logits, label = logits_and_label(num_classes, size, num_classes)
        ignore = 255 if num_classes < 255 else 999
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            for from_logits in (True, False):
                values = (logits if from_logits else logits.softmax(0)).to(dtype)
                options = {
                    "ignore_index": ignore,
                    "from_logits": from_logits,
                    "with_histograms": dtype == torch.float32,
                }
                expected = measure_image(label, values, **options)
                found = measure_image(label, values.to(setting.device), **options)
                name = f"{num_classes} classes, {str(dtype).removeprefix('torch.')}, logits: {from_logits}"
                compare_measured(found, expected, name, report, exact=setting.device.type == "cuda" or not from_logits)
    report.note("cases compared", 6 * len(cases))


def compare_measured(found: Any, expected: Any, name: str, report: Report, *, exact: bool) -> None:
    for part in ("self_confidence", "best_probability", "predicted"):
        one, two = getattr(found.maps, part), getattr(expected.maps, part)
        differing = int(((one != two) & ~(np.isnan(one) & np.isnan(two))).sum())
        largest = float(np.nanmax(np.abs(one.astype(float) - two.astype(float))))
        if differing:
            report.note(f"{name}: {part} differs at", f"{differing} of {one.size} pixels, by at most {largest:.3g}")
        report.expect(not differing if exact else largest < 1e-5, f"{name}: {part} differs at {differing} pixels")
    report.expect(
        bool((found.sums.self_confidence == expected.sums.self_confidence).all()) or not exact, f"{name}: sums"
    )
    if expected.sums.histograms is not None:
        moved = int(np.abs(found.sums.histograms - expected.sums.histograms).sum()) // 2
        if moved:
            report.note(f"{name}: histogram entries in another step", moved)
        report.expect(moved <= 1e-5 * expected.sums.histograms.sum(), f"{name}: {moved} histogram entries moved")


def flags_and_scores(setting: Setting, report: Report) -> None:
    """All scores, flags, regions and the ranking of a small dataset are the CPU's."""
    count, num_classes, size = setting.size((12, 21, (480, 640)), (10, 4, (40, 60)))
    pairs = [logits_and_label(num_classes, size, seed) for seed in range(count)]
    labels = [label for _, label in pairs]
    for from_logits in (True, False):
        host = [logits if from_logits else logits.softmax(0) for logits, _ in pairs]
        device = [values.to(setting.device) for values in host]
        options = {"from_logits": from_logits}
        expected, found = (quality.image_scores(labels, v, quality.METHODS, **options) for v in (host, device))
        largest = {name: float(np.abs(found[name] - expected[name]).max()) for name in expected}
        report.note(f"largest difference of a score, logits: {from_logits}", max(largest.values()))
        report.expect(max(largest.values()) <= 1e-4, f"scores differ: {largest}")
        expected, found = (quality.label_issues(labels, values, **options) for values in (host, device))
        flagged, differing = (int(sum(x.sum() for x in xs)) for xs in (expected, map(np.not_equal, expected, found)))
        report.note(f"flags that differ, logits: {from_logits}", f"{differing} of {flagged}")
        report.expect(differing == 0, f"{differing} flags differ")
        one, two = (quality.judge_labels(labels, values, **options) for values in (host, device))
        gap = float(np.nanmax(np.abs(one.scores - two.scores)))
        report.expect(gap <= 1e-4, f"the combined ranking differs by {gap}")
        report.expect(len(one.regions) == len(two.regions), f"{len(one.regions)} regions against {len(two.regions)}")
        report.note(f"regions, logits: {from_logits}", len(two.regions))


def maps_speed(setting: Setting, report: Report) -> None:
    """Maps from logits on the device: Mpx/s and the share of the bandwidth that a copy has, fused and plain."""
    source = torch.rand(setting.size(2**29, 2**20), device=setting.device)
    target = torch.empty_like(source)
    peak = 2 * source.nbytes / device_seconds(partial(target.copy_, source), setting, 10)
    report.note("copy GB/s", round(peak / 1e9))
    del source, target
    cases = setting.size(((19, (1024, 2048)), (21, (480, 640)), (150, (512, 512))), ((5, (40, 60)),))
    for num_classes, size in cases:
        logits, label = logits_and_label(num_classes, size, 0)
        for dtype in (torch.float32, torch.float16):
            for from_logits in (True, False):
                values = (logits if from_logits else logits.softmax(0)).to(setting.device, dtype)
                kind = "logits" if from_logits else "probabilities"
                name = f"{num_classes} x {size[0]} x {size[1]} {kind}, {str(dtype).removeprefix('torch.')}"
                time_maps(values, label, name, peak, setting, report, from_logits=from_logits)


def time_maps(
    values: torch.Tensor,
    label: np.ndarray,
    name: str,
    peak: float,
    setting: Setting,
    report: Report,
    *,
    from_logits: bool,
) -> None:
    """Rotate over copies that no cache holds together; bytes: each value and label read once, nine written."""
    copies = [values.clone().reshape(len(values), -1) for _ in range(setting.size(4, 1))]
    given = torch.from_numpy(label.reshape(-1)).to(setting.device)
    pixels, turn = label.size, iter(range(10**9))
    moved = values.nbytes + pixels * 10
    runs: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_maps(copies[next(turn) % len(copies)], given, 255, 1e-2, from_logits=from_logits)
    }
    if setting.device.type == "cuda":
        from fiftyone_plugin.quality.pixels import device_kernels as kernels

        runs = {**runs, **kernel_variants(kernels, copies, given, turn, len(values), from_logits)}
    for variant, run in runs.items():
        seconds = device_seconds(run, setting, setting.size(7, 2), setting.size(10, 1))
        figures = {"us": round(seconds * 1e6, 1), "Mpx/s": round(pixels / seconds / 1e6)}
        report.note(f"{name}, {variant}", {**figures, "share of copy bandwidth": round(moved / seconds / peak, 3)})
    whole = seconds_of(lambda: measure_image(label, values, from_logits=from_logits), setting, 5)
    report.note(f"{name}, with copies and counts on the host, Mpx/s", round(pixels / whole / 1e6))


def kernel_variants(
    kernels: Any, copies: list[torch.Tensor], given: torch.Tensor, turn: Iterator[int], classes: int, from_logits: bool
) -> dict[str, Callable[[], object]]:
    """The fused kernel as it is, and with other blocks."""

    def variant(block: int, warps: int, kept: int) -> Callable[[], object]:
        def run() -> object:
            kernels.BLOCK, kernels.WARPS, kernels.MOST_KEPT = block, warps, kept
            return kernels.launch(copies[next(turn) % len(copies)], given, 255, 1e-2, from_logits=from_logits)

        return run

    usual = (kernels.BLOCK, kernels.WARPS, kernels.MOST_KEPT)
    runs = {"fused": variant(*usual)}
    if copies[0].dtype == torch.float32 and classes != 21:
        for block, warps in ((128, 4), (256, 4), (512, 4), (1024, 8)):
            runs[f"fused, read again, block {block}"] = variant(block, warps, 0)
    if from_logits and classes == 19:
        runs["fused, kept, block 512"] = variant(512, 4, 32)
    runs["fused again"] = variant(*usual)
    return runs


def autocast(setting: Setting, report: Report) -> None:
    """Probabilities and scores by a network: the CPU's, in single precision, and what half precision changes."""
    model, images = network(11), rough_images(*setting.size((6, (480, 640)), (3, (64, 96))))
    labels = [logits_and_label(11, image.shape[:2], seed)[1] for seed, image in enumerate(images)]

    def predicted(device: torch.device | str, amp: bool) -> list[np.ndarray]:
        segmenter = load_segmenter(model, device=device, amp=amp)
        return [values.cpu().numpy() for values in segmenter.predict(images)]

    expected = predicted("cpu", False)
    with single_precision():
        same = predicted(setting.device, False)
    report.note("largest difference of a probability, single precision", gap := largest_gap(expected, same))
    report.expect(gap <= 1e-3, f"probabilities differ by {gap}")
    compare_scores(labels, expected, same, "single precision", report, must=1e-4)
    for name, amp in (("TensorFloat-32", False), ("half precision", True)):
        other = predicted(setting.device, amp)
        report.note(f"largest difference of a probability, {name}", largest_gap(expected, other))
        shares = [float((a.argmax(0) != b.argmax(0)).mean()) for a, b in zip(expected, other, strict=True)]
        report.note(f"share of pixels with another class, {name}", max(shares))
        compare_scores(labels, expected, other, name, report, must=0.05)


def largest_gap(one: list[np.ndarray], two: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True))


def compare_scores(labels: Any, one: Any, two: Any, name: str, report: Report, must: float) -> None:
    methods = [method for method in quality.METHODS if method not in quality.METHODS[7:]]
    scores, others = (quality.image_scores(labels, values, methods) for values in (one, two))
    gaps = {method: float(np.abs(scores[method] - others[method]).max()) for method in methods}
    report.note(f"largest difference of a score, {name}", gaps)
    report.expect(max(gaps.values()) <= must, f"scores in {name} differ by up to {max(gaps.values()):.3g}")


def overflow(setting: Setting, report: Report) -> None:
    """Half precision that overflows is left by itself, and the result is single precision's."""
    torch.manual_seed(0)
    large, small = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 5, 1)
    with torch.no_grad():
        large.weight.mul_(1e6)
        small.weight.mul_(1e-5)
    model, images = torch.nn.Sequential(large, small), rough_images(2, (64, 96))
    expected = load_segmenter(model, device="cpu").predict(images)
    segmenter = load_segmenter(model, device=setting.device)
    found = segmenter.predict(images)
    report.expect(not segmenter._now.half_precision, "half precision was not left")
    gap = largest_gap([values.numpy() for values in expected], [values.cpu().numpy() for values in found])
    report.note("largest difference of a probability", gap)
    report.expect(gap < 1e-2, f"differs by {gap}")


def out_of_memory(setting: Setting, report: Report) -> None:
    """A batch that is too large is halved, with the same result; an image that is too large is named."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 96, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(96, 5, 1))
    side = setting.size(1024, 32)
    images = rough_images(setting.size(16, 4), (side, side))
    items = [ImageItem(str(index), image=image) for index, image in enumerate(images)]
    tiny = torch.nn.Sequential(model, Stingy(2)) if setting.device.type != "cuda" else model

    def run(used: torch.nn.Module) -> tuple[Any, list[Any]]:
        segmenter = load_segmenter(used, device=setting.device, amp=False)
        return segmenter, [value for _, value in segmenter.stream(items, batch_size=len(items))]

    with single_precision():  # TensorFloat-32 rounds differently in batches of different sizes
        _, expected = run(model)
    expected = [value.cpu() for value in expected]
    with single_precision(), memory_of(setting, 3 << 30):
        segmenter, found = run(tiny)
        found = [value if isinstance(value, Exception) else value.cpu() for value in found]
    report.note("images per pass after halving", segmenter._now.limit.limit)
    report.expect((segmenter._now.limit.limit or 99) < len(items), "the batch was not halved")
    errors = [str(value) for value in found if isinstance(value, Exception)]
    report.expect(not errors, f"images failed: {errors[:1]}")
    if not errors:
        report.expect(largest_gap([v.numpy() for v in expected], [v.numpy() for v in found]) < 1e-4, "results differ")
    if setting.device.type == "cuda":
        del found, expected, segmenter
        with memory_of(setting, 300 << 20):
            _, failed = run(model)
        report.expect(all("tile=512" in str(error) for error in failed), f"an image too large: {failed[0]}")


class Stingy(torch.nn.Module):
    """Says that memory is out for more than so many images, where there is no GPU whose memory can end."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores of few images."""
        if len(scores) > self.most:
            raise RuntimeError("CUDA out of memory")
        return scores


def scenes(count: int, size: tuple[int, int]) -> list[Example]:
    from demo.scenes.scenes import render_scene

    drawn = [render_scene(seed, size) for seed in range(min(count, 16))]
    return [
        Example(f"{index}", drawn[index % len(drawn)].image, dense(drawn[index % len(drawn)].mask))
        for index in range(count)
    ]


def dense(mask: np.ndarray) -> np.ndarray:
    """Class indices of scene values."""
    from demo.scenes.scenes import SCENE_CLASSES

    table = np.full(256, 255, np.uint8)
    table[sorted(SCENE_CLASSES)] = np.arange(len(SCENE_CLASSES))
    return table[mask]


def fine_tuning(setting: Setting, report: Report) -> None:
    """Two folds of a full-size network learn, resume, predict the same on GPU and CPU, and say what fits in memory."""
    from fiftyone_plugin.errors import LabelQualityError
    from fiftyone_plugin.models.training.cross_validation import cross_validate

    examples = scenes(*setting.size((64, (512, 640)), (6, (64, 96))))
    losses: list[str] = []
    options: dict[str, Any] = {
        "num_classes": 8, "folds": 2, "device": setting.device,
        **setting.size(
            {"arch": "deeplabv3plus", "encoder": "resnet50", "epochs": 6, "batch_size": 16, "crop_size": 512},
            {"arch": "fpn", "encoder": "tu-mobilenetv3_small_050", "epochs": 2, "batch_size": 2, "crop_size": 32},
        ),
    }  # fmt: skip
    folder, began = setting.folder / "fine_tuning", time.perf_counter()
    done = cross_validate(examples, folder, **options, progress=lambda _, __, label: losses.append(label))
    report.note("seconds for two folds", round(time.perf_counter() - began, 1))
    said = [label.split("loss ")[1] for label in losses if "loss" in label]
    report.note("first and last loss", (said[0], said[-1]) if said else None)
    report.note("pixel accuracy on held-out images", round(done.pixel_accuracy, 3))
    report.expect(setting.small or done.pixel_accuracy > 0.5, f"nothing learned: {done.pixel_accuracy}")
    again = cross_validate(examples, folder, **options)
    report.expect(again.metrics == done.metrics, "a finished training was not resumed")
    images = [example.image for example in examples[:2]]
    with single_precision():
        host, device = (
            load_segmenter(folder / "fold_0", device=where, amp=False).predict(images)
            for where in ("cpu", setting.device)
        )
    gap = largest_gap([v.numpy() for v in host], [v.cpu().numpy() for v in device])
    report.note("largest difference of a probability on GPU and CPU", gap)
    report.expect(gap < 1e-3, f"differs by {gap}")
    if setting.device.type == "cuda":
        try:
            with memory_of(setting, 4 << 30):
                cross_validate(examples, setting.folder / "large", **{**options, "batch_size": 32})
            report.expect(False, "32 views of 512 pixels fitted into 4 GiB")
        except LabelQualityError as error:
            report.note("memory too small", str(error))
            report.expect("`batch_size=" in str(error), str(error))


def training_step(setting: Setting, report: Report) -> None:
    """Images per second of a training step as `cross_validate` makes it, DeepLabV3+ with ResNet-50, bfloat16."""
    from fiftyone_plugin.models.training.fold_training import FoldPlan, SegmentationTraining

    batch, side = setting.size((16, 512), (2, 64))
    norm = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    plan = FoldPlan(0, 1, batch, (side, side), 1e-3, 1e-3, 0, False, *norm, setting.device)
    model = network(19).to(memory_format=torch.channels_last)
    module = SegmentationTraining(model, plan, 255, 1000).to(setting.device).train()
    optimizer = module.configure_optimizers()["optimizer"]
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=setting.device)
    masks = torch.randint(0, 19, (batch, side, side), device=setting.device)

    def step() -> None:
        with torch.autocast(setting.device.type, torch.bfloat16):
            loss, _ = module.objective({"image": images, "mask": masks}, masks)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    seconds = seconds_of(step, setting, setting.size(10, 1))
    report.note(f"training step of {batch} x {side} x {side}, ms", round(seconds * 1e3, 1))
    report.note("images/s", round(batch / seconds, 1))
    if setting.device.type == "cuda":
        report.note("peak memory, GiB", round(torch.cuda.max_memory_allocated() / 2**30, 2))


def noise_robust(setting: Setting, report: Report) -> None:
    """Noise-robust training runs from beginning to end and proposes changes."""
    from fiftyone_plugin.models.noise_robust.robust_training import train_noise_robust

    small = {"arch": "fpn", "encoder": "tu-mobilenetv3_small_050", "batch_size": 2, "crop_size": 64}
    result = train_noise_robust(
        scenes(8, (64, 96)), setting.folder / "robust", num_classes=8, epochs=3, device=setting.device, **small
    )
    report.note("result", type(result).__name__)


def frozen_features(setting: Setting, report: Report) -> None:
    """Heads on frozen features: features, training and predictions; random weights, so that nothing is downloaded."""
    from fiftyone_plugin import models

    options = models.FrozenFeatureOptions(encoder="tf_efficientnet_lite0", weights=None, steps=setting.size(200, 3))
    examples = scenes(*setting.size((64, (512, 640)), (6, (64, 96))))
    folder, began = setting.folder / "frozen", time.perf_counter()
    done = models.cross_validate_frozen_features(
        examples, folder, num_classes=8, folds=2, options=options, device=setting.device
    )
    report.note("seconds for two folds", round(time.perf_counter() - began, 1))
    report.note("pixel accuracy on held-out images", round(done.pixel_accuracy, 3))
    images, names = [example.image for example in examples[:4]], [example.key for example in examples[:4]]
    with single_precision():
        host, device = (
            load_segmenter(folder, device=where).predict(images, names=names) for where in ("cpu", setting.device)
        )
    gap = largest_gap([v.float().cpu().numpy() for v in host], [v.float().cpu().numpy() for v in device])
    report.note("largest difference of a probability on GPU and CPU", gap)
    report.expect(gap < 1e-2, f"differs by {gap}")


def segment_anything(setting: Setting, report: Report) -> None:
    """SAM of random weights: embeddings in single and half precision against the CPU's, and what a user waits for."""
    from fiftyone_plugin.models.foundation.random_checkpoints import save_random_sam
    from fiftyone_plugin.models.foundation.sam import load_sam
    from fiftyone_plugin.models.foundation.sam_architecture import TINY, SamSizes

    path = save_random_sam(setting.folder / "sam.pth", setting.size(SamSizes(), TINY))
    image = rough_images(1, (375, 500))[0]
    half = True if setting.device.type == "cuda" else None
    host = load_sam(path, device="cpu", half=False)
    expected = host.embed(image)
    center = ([[250, 187]], [True])
    with single_precision():
        single = load_sam(path, device=setting.device, half=False)
        compare_sam(host, single, expected, single.embed(image), "single precision", report, must=0.02)
    halved = load_sam(path, device=setting.device, half=half)
    report.note("half precision", str(halved.half))
    embedding = halved.embed(image)
    compare_sam(host, halved, expected, embedding, "half precision", report, must=0.2)
    boxes = [[10 * i, 10 * i, 10 * i + 200, 10 * i + 150] for i in range(10)]
    for name, sam in (("half", halved), ("single", single)):
        report.note(f"embed an image, {name} precision, ms", ms(lambda sam=sam: sam.embed(image), setting, 10))
    report.note("mask from a point, ms", ms(lambda: halved.masks_from_points(embedding, *center), setting, 20))
    report.note("masks from ten boxes, ms", ms(lambda: halved.masks_from_boxes(embedding, boxes), setting, 10))
    side = setting.size(32, 2)
    found = ms(lambda: len(halved.automatic_masks(embedding, points_per_side=side)), setting, 1)
    report.note(f"automatic masks, {side} x {side} points, ms", found)


def ms(run: Callable[[], object], setting: Setting, repeats: int) -> float:
    return round(seconds_of(run, setting, setting.size(repeats, 1)) * 1e3, 2)


def compare_sam(host: Any, sam: Any, expected: Any, found: Any, name: str, report: Report, must: float) -> None:
    one, two = expected.features.astype(float), found.features.astype(float)
    error = float(np.linalg.norm(one - two) / np.linalg.norm(one))
    report.note(f"relative error of the embedding, {name}", error)
    report.expect(error <= must, f"the embedding in {name} differs by {error:.3g}")
    a = host.masks_from_points(expected, [[250, 187]], [True])
    b = sam.masks_from_points(found, [[250, 187]], [True])
    report.note(f"share of pixels with another mask, {name}", float((a.mask != b.mask).mean()))
    report.expect(math.isfinite(b.score) and bool(np.isfinite(b.low_res).all()), f"masks in {name} are not finite")


def transformers_models(setting: Setting, report: Report) -> None:
    """A per-pixel and a mask classifier of transformers, of random weights, give the CPU's probabilities."""
    import transformers

    swin = transformers.SwinConfig(
        embed_dim=12,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 3, 4],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    masks = transformers.Mask2FormerConfig(
        backbone_config=swin, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=32, num_queries=8, num_labels=5,
    )  # fmt: skip
    pixels = transformers.SegformerConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 4], decoder_hidden_size=16,
        num_labels=5,
    )  # fmt: skip
    torch.manual_seed(0)
    for name, model in (
        ("SegFormer", transformers.SegformerForSemanticSegmentation(pixels)),
        ("Mask2Former", transformers.Mask2FormerForUniversalSegmentation(masks)),
    ):
        folder = setting.folder / name
        model.save_pretrained(folder)
        images = rough_images(3, (96, 128))
        with single_precision():
            host, device = (
                load_segmenter(f"transformers:{folder}", device=where, amp=False).predict(images)
                for where in ("cpu", setting.device)
            )
        gap = largest_gap([v.numpy() for v in host], [v.cpu().numpy() for v in device])
        report.note(f"largest difference of a probability, {name}", gap)
        report.expect(gap < 1e-3, f"{name} differs by {gap}")
        halved = load_segmenter(f"transformers:{folder}", device=setting.device).predict(images)
        gap = largest_gap([v.numpy() for v in host], [v.cpu().numpy() for v in halved])
        report.note(f"largest difference of a probability, {name}, half precision", gap)
        report.expect(gap < 0.1, f"{name} in half precision differs by {gap}")


def detector(setting: Setting, report: Report) -> None:
    """GroundingDINO of random weights finds the CPU's boxes."""
    from fiftyone_plugin.models.foundation.detectors import load_detector
    from fiftyone_plugin.models.foundation.random_checkpoints import save_random_detector

    path = save_random_detector(setting.folder / "detector", ["cat", "dog"])
    images = rough_images(5, (60, 80))
    with single_precision():
        host, device = (
            load_detector(path, where).detect(images, ["cat", "dog"], box_threshold=0)
            for where in ("cpu", setting.device)
        )
    gap = max(float(np.abs(a.xyxy - b.xyxy).max()) for a, b in zip(host, device, strict=True))
    report.note("largest difference of a corner, pixels", gap)
    report.expect(gap < 0.5, f"corners differ by {gap}")


@dataclass
class ImageStages:
    """What the default job does with one image without FiftyOne, timed stage by stage.

    Attributes:
        setting: where
        total: images of the dataset, which decides how many errors are rehearsed in each
        spent: seconds by stage
    """

    setting: Setting
    total: int
    spent: dict[str, float] = field(default_factory=dict)

    def timed(self, name: str, run: Callable[[], Any]) -> Any:
        """Run a stage alone."""
        self.setting.wait()
        began = time.perf_counter()
        result = run()
        self.setting.wait()
        self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - began
        return result

    def score(self, index: int, label: np.ndarray, probs: torch.Tensor, stage: Callable[[str, Any], Any]) -> None:
        """All stages of one image."""
        from PIL import Image

        out = self.setting.folder
        record = stage("measure and score", lambda: quality.image_record(label, probs))
        scene = quality.Scene.of(label, record.maps)
        stage("regions", lambda: quality.regions_of_scene(scene, image_index=index))
        seeded = {"count": quality.rehearsals_of(index, self.total), "seed": index}
        stage("rehearse", lambda: quality.rehearse_in_scene(scene, label, probs, **seeded))
        pixels = (np.nan_to_num(1 - record.maps.self_confidence) * 255).astype(np.uint8)
        stage("write the map", lambda: Image.fromarray(pixels).save(out / f"{index}.png", compress_level=4))
        stage("write the record", lambda: record.without_maps().save(out / f"{index}.npz"))


def smooth_probabilities(count: int, size: tuple[int, int], device: torch.device) -> list[torch.Tensor]:
    """Probabilities of 21 classes in blobs, as of a trained model; a network of random weights gives noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, 21, 6, 8, generator=generator) * 6
    finer = (torch.nn.functional.interpolate(one[None], size, mode="bicubic")[0] for one in coarse)
    return [logits.to(device).softmax(0) for logits in finer]


def pipeline(setting: Setting, report: Report) -> None:
    """The default job without FiftyOne, in threads beside the model and stage by stage, and the same model alone.

    The network's own probabilities are thrown away for smooth ones of the same size, already on the device; the labels
    are theirs with one wrong area. As many errors are rehearsed as in a dataset of 1,000 images.
    """
    from PIL import Image
    from torchvision.models.segmentation import deeplabv3_resnet50

    count, size = setting.size((128, (480, 640)), (4, (64, 96)))
    for index, image in enumerate(rough_images(count, size)):
        Image.fromarray(image).save(setting.folder / f"{index}.jpg")
    items = [ImageItem(str(index), path=setting.folder / f"{index}.jpg") for index in range(count)]
    model = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21)
    segmenter = load_segmenter(model, device=setting.device)
    probs = smooth_probabilities(count, size, setting.device)
    labels = [one.argmax(0).cpu().numpy().astype(np.uint8) for one in probs]
    for index, label in enumerate(labels):
        label[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = index % 21
    stages = ImageStages(setting, 1_000)

    def both(numbered: tuple[int, Any]) -> None:
        index = numbered[0]
        stages.score(index, labels[index], probs[index], lambda name, run: run())

    for _ in read_ahead(both, enumerate(segmenter.stream(items[:16])), 16, 8):
        pass  # what is compiled is compiled now
    ratios = []
    for _ in range(3):
        stages.spent.pop("model alone", None)
        stages.timed("model alone", lambda: [None for _ in segmenter.stream(items)])
        began = time.perf_counter()
        for _ in read_ahead(both, enumerate(segmenter.stream(items)), 16, 8):
            pass
        ratios.append((time.perf_counter() - began) / stages.spent["model alone"])
    found = [round(value, 2) for value in (median(ratios), min(ratios), max(ratios))]
    report.note("whole / model alone, 8 threads beside the model: median, least, most of 3", found)
    for index in range(count):
        stages.score(index, labels[index], probs[index], stages.timed)
    for name, seconds in stages.spent.items():
        report.note(f"{name}, ms per image", round(seconds / count * 1e3, 2))


def real_datasets(setting: Setting, report: Report) -> Iterator[tuple[Any, list[np.ndarray], np.ndarray]]:
    """The collections that are in the folder, with the labels in question and which of them are wrong."""
    from detection import cases, predictions

    for name, read in (("voc", predictions.voc), ("camvid", predictions.camvid)):
        if setting.data is None or not any(setting.data.glob(f"{name}*")):
            report.note(name, "not run: no data")
            continue
        collection = read(setting.data)
        some = replace(collection, pictures=collection.pictures[:: setting.size(1, 40)][: setting.size(None, 8)])
        yield some, *cases.labels_in_question(some, cases.LOCAL, 0)


def real_second_opinions(setting: Setting, report: Report) -> None:
    """Models across folds from ImageNet's EfficientNet-Lite2: the seconds they take, and how well errors are found.

    VOC: Grounded-SAM labels; CamVid: a local error in a fifth of the masks. Both models train on labels with errors.
    """
    from fiftyone_plugin import models

    encoder = "tf_efficientnet_lite2"
    for collection, labels, wrong in real_datasets(setting, report):
        pairs = list(zip(collection.pictures, labels, strict=True))
        examples = [Example(one.name, one.image, label, one.group) for one, label in pairs]
        given = {"num_classes": len(collection.class_names), "folds": 2, "device": setting.device, "resume": False}
        tuned = {"arch": "fpn", "encoder": f"tu-{encoder}", "weights": "imagenet", "batch_size": setting.size(16, 2)}
        heads = models.FrozenFeatureOptions(encoder=encoder, steps=setting.size(300, 2))
        runs: dict[str, Callable[[Path], Any]] = {
            "frozen features": lambda folder, examples=examples, given=given, heads=heads: (
                models.cross_validate_frozen_features(examples, folder, options=heads, **given)
            ),
            "fine-tuned": lambda folder, examples=examples, given=given, tuned=tuned: models.cross_validate(
                examples, folder, epochs=setting.size(30, 1), **tuned, **given
            ),
        }
        probs = []
        for name, run in runs.items():
            folder, began = setting.folder / f"{collection.name} {name}", time.perf_counter()
            done = run(folder)
            report.note(f"{collection.name}, {name}: seconds to train", round(time.perf_counter() - began, 1))
            report.note(f"{collection.name}, {name}: mean IoU against the labels", round(done.mean_iou, 3))
            began = time.perf_counter()
            segmenter = load_segmenter(folder, device=setting.device)
            probs.append([one.astype(np.float16) for one in predictions_of(segmenter, collection.pictures)])
            report.note(f"{collection.name}, {name}: seconds to predict", round(time.perf_counter() - began, 1))
            report.note(f"{collection.name}, {name}: AUPRC", errors_found(probs[-1], labels, wrong))
        mean = [(one.astype(np.float32) + two) / 2 for one, two in zip(*probs, strict=True)]
        report.note(f"{collection.name}, mean of both: AUPRC", errors_found(mean, labels, wrong))


def predictions_of(segmenter: Any, pictures: tuple[Any, ...]) -> list[np.ndarray]:
    """Probabilities of each image, by the model that has not seen it where there are several."""
    found = {}
    for item, probs in segmenter.stream([ImageItem(one.name, path=one.image, group=one.group) for one in pictures]):
        if isinstance(probs, Exception):
            raise RuntimeError(item.name) from probs
        found[item.name] = probs.cpu().numpy()
    return [found[one.name] for one in pictures]


def errors_found(probs: list[np.ndarray], labels: list[np.ndarray], wrong: np.ndarray) -> dict[str, float]:
    """AUPRC of wrong images by the combined score and the best others, judged on all cores."""
    from detection import measures
    from detection.regimes import single_scores

    def judge_one(numbered: tuple[int, np.ndarray]) -> tuple[Any, Any, Any]:
        index, given = numbered
        values = probs[index].astype(np.float32)
        values /= values.sum(0)
        record = quality.image_record(given, values, methods=quality.METHODS)
        scene = quality.Scene.of(given, record.maps)
        seeded = {"count": quality.rehearsals_of(index, len(labels)), "seed": (0, index)}
        regions = quality.regions_of_scene(scene, image_index=index)
        return record.without_maps(), regions, quality.rehearse_in_scene(scene, given, values, **seeded)

    evidence = quality.Evidence(len(probs[0]))
    records = []
    for (index, _), (record, regions, rehearsals) in read_ahead(judge_one, enumerate(labels), 32, 16):
        evidence.add(f"{index:09d}", record, regions, rehearsals)
        records.append(record)
    scores = single_scores(records)
    scores["combined"] = np.array([score for _, score in sorted(evidence.judge().image_scores().items())])
    found = {name: round(measures.image_measures(wrong, values)["AUPRC"], 3) for name, values in scores.items()}
    return dict(sorted(found.items(), key=lambda pair: -pair[1])[:4]) | {"combined": found["combined"]}


def real_outside_model(setting: Setting, report: Report) -> None:
    """A trained segmenter of VOC on photographs: the GPU's scores and flags against the CPU's."""
    from detection.predictions import outside_network, voc

    if setting.data is None or not (setting.data / "weights" / "deeplabv3_mobilenet_v2_voc.pth").exists():
        report.note("voc", "not run: no weights")
        return
    pictures = voc(setting.data).pictures[: setting.size(60, 3)]
    labels = [one.machine_label for one in pictures]
    network = outside_network(setting.data / "weights")
    options = {"input_size": (513, 513), "num_classes": 21}

    def predicted(device: torch.device | str, amp: bool) -> list[np.ndarray]:
        return predictions_of(load_segmenter(network, device=device, amp=amp, **options), pictures)

    expected = predicted("cpu", False)
    with single_precision():
        same = predicted(setting.device, False)
    compare_scores(labels, expected, same, "single precision", report, must=1e-4)
    flags = quality.label_issues(labels, expected)
    for name, other in (("single precision", same), ("half precision", predicted(setting.device, True))):
        found = quality.label_issues(labels, other)
        differing = int(sum(np.not_equal(a, b).sum() for a, b in zip(flags, found, strict=True)))
        report.note(f"flags that differ, {name}", f"{differing} of {int(sum(flag.sum() for flag in flags))}")
        report.note(f"largest difference of a probability, {name}", largest_gap(expected, other))


CHECKS: dict[str, Callable[[Setting, Report], None]] = {
    check.__name__: check
    for check in (
        bandwidth, device_maps, flags_and_scores, maps_speed, autocast, overflow, out_of_memory, segment_anything,
        fine_tuning, training_step, frozen_features, transformers_models, detector, noise_robust, pipeline,
        real_second_opinions, real_outside_model,
    )
}  # fmt: skip


def run_check(name: str, setting: Setting) -> Figures:
    """Run one check; whatever it raises is its result."""
    print(f"{name} ...", flush=True)
    report, began, error = Report(), time.perf_counter(), None
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            CHECKS[name](setting, report)
    except Exception:
        error = traceback.format_exc()
        print(error, flush=True)
    for text in sorted({str(one.message)[:300] for one in said if "Triton" in str(one.message)}):
        report.broken.append(text)
    for text in report.broken:
        print(f"    BROKEN: {text}", flush=True)
    gc.collect()
    if setting.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    status = "error" if error else "broken" if report.broken else "ok"
    seconds = round(time.perf_counter() - began, 1)
    print(f"{name}: {status}, {seconds} s", flush=True)
    return {"status": status, "seconds": seconds, "figures": report.figures, "broken": report.broken, "error": error}


def machine(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU (dry run)"
    return f"{name}, PyTorch {torch.__version__}, Python {platform.python_version()}, NumPy {np.__version__}"


def table(results: dict[str, Figures]) -> str:
    """Rows for RESULTS.md."""
    lines = ["| check | what | value |", "|---|---|---|"]
    for name, result in results.items():
        lines.append(f"| **{name}** | {result['status']} | {result.get('seconds', 0)} s |")
        lines.extend(f"| | {what} | {value} |" for what, value in result.get("figures", {}).items())
        lines.extend(f"| | broken | {text} |" for text in result.get("broken", ()))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=420, help="no check begins after so many")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--only", nargs="+", choices=sorted(CHECKS), help="these checks")
    parser.add_argument("--data", type=Path, help="folder of real images and weights")
    parser.add_argument("--cpu-dry-run", action="store_true", help="small sizes on a CPU, to try the script itself")
    options = parser.parse_args()
    if not options.cpu_dry_run and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --cpu-dry-run tries the script itself")
    began, results = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as folder:
        device = torch.device("cpu" if options.cpu_dry_run else "cuda:0")
        setting = Setting(device, options.cpu_dry_run, Path(folder), options.data)
        print(machine(device), flush=True)
        for name in options.only or CHECKS:
            late = time.monotonic() - began > options.seconds
            results[name] = {"status": "not run: no time left"} if late else run_check(name, setting)
            if options.json:
                options.json.write_text(
                    json.dumps({"machine": machine(device), "checks": results}, indent=1, default=str)
                )
    print(json.dumps({"machine": machine(device), "checks": results}, default=str))
    print(table(results))
    print({name: result["status"] for name, result in results.items()})
    sys.exit(any(result["status"] != "ok" for result in results.values()))


if __name__ == "__main__":
    main()
