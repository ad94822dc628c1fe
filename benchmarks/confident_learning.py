"""Confident-learning pixel flags: this library and cleanlab on the same arrays in one run.

    python benchmarks/confident_learning.py [--json results.json]

Reports megapixels per second for the maps alone, for the whole flags, and for cleanlab; the memory that each needs on
top of its inputs, measured in a process of its own; how many flags differ; and the largest difference of the softmin
scores. cleanlab runs with `n_jobs=1`, its fastest setting on images (its default starts a pool of processes per image).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from fiftyone_plugin import quality


@dataclass(frozen=True)
class Case:
    """One kind of dataset: `num_images` of (`height`, `width`) with `num_classes`, random or like a real one."""

    name: str
    num_images: int
    num_classes: int
    height: int
    width: int
    realistic: bool


CASES = {
    case.name: case
    for case in (
        Case("street-random", 4, 19, 1024, 2048, realistic=False),
        Case("street-realistic", 4, 19, 1024, 2048, realistic=True),
        Case("objects-random", 20, 21, 480, 640, realistic=False),
        Case("objects-realistic", 20, 21, 480, 640, realistic=True),
    )
}


def make_inputs(case: Case, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, H, W) uint8 labels and (N, K, H, W) float32 probabilities.

    Random: softmax of noise and random labels, so that most pixels disagree. Realistic: large areas of one class, a
    model that is right on about 95 % of pixels and mostly sure, and labels with wrong areas.
    """
    rng = np.random.default_rng(seed)
    shape = (case.num_images, case.height, case.width)
    probs = np.empty((case.num_images, case.num_classes, case.height, case.width), np.float32)
    for image in probs:
        rng.standard_normal(out=image, dtype=np.float32)
    if case.realistic:
        true = areas(rng, case, 32)
        labels = np.where(areas(rng, case, 16) == 0, areas(rng, case, 16), true)
        believed = np.where(areas(rng, case, 8) == 0, areas(rng, case, 8), true)
        for image, classes in zip(probs, believed, strict=True):
            np.put_along_axis(image, classes[None], np.take_along_axis(image, classes[None], 0) + 7, 0)
    else:
        labels = rng.integers(0, case.num_classes, shape)
    for image in probs:
        image -= image.max(axis=0)
        np.exp(image, out=image)
        image /= image.sum(axis=0)
    return labels.astype(np.uint8), probs


def areas(rng: np.random.Generator, case: Case, size: int) -> np.ndarray:
    """Return (N, H, W) class indices, constant in squares of `size` pixels."""
    rows, columns = -(-case.height // size), -(-case.width // size)
    coarse = rng.integers(0, case.num_classes, (case.num_images, rows, columns))
    return coarse.repeat(size, 1).repeat(size, 2)[:, : case.height, : case.width]


def our_maps(labels: np.ndarray, probs: np.ndarray) -> Any:
    return quality.pixel_scores(labels, probs, ignore_index=None)


def our_flags(labels: np.ndarray, probs: np.ndarray) -> Any:
    return quality.label_issues(labels, probs, ignore_index=None)


def cleanlab_flags(labels: np.ndarray, probs: np.ndarray) -> Any:
    from cleanlab.segmentation.filter import find_label_issues

    return find_label_issues(labels, probs, n_jobs=1, verbose=False)


RUNS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "our maps": our_maps,
    "our flags": our_flags,
    "cleanlab flags": cleanlab_flags,
}


def timed(name: str, labels: np.ndarray, probs: np.ndarray, repeats: int) -> tuple[list[float], Any]:
    """Return the seconds of each repeat of a run and its last result."""
    seconds, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = RUNS[name](labels, probs)
        seconds.append(time.perf_counter() - start)
    return seconds, result


def warm_up(run: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Import and compile on a tiny dataset of the same types."""
    run(*make_inputs(Case("tiny", 2, 19, 16, 16, realistic=False), 0))


def peak_memory(name: str, case: Case, seed: int) -> float:
    """Return the MiB that a run needs on top of its inputs, measured in a new process."""
    command = [sys.executable, __file__, "--measure-memory", name, "--cases", case.name, "--seed", str(seed)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(ran.stdout.splitlines()[-1])


def measure_memory(name: str, case: Case, seed: int) -> float:
    """Run once in this process and return the MiB by which its peak exceeds what it held before."""
    warm_up(RUNS[name])
    labels, probs = make_inputs(case, seed)
    before = _reset_peak()
    RUNS[name](labels, probs)
    return (_peak() - before) / 1024


def _reset_peak() -> int:
    """Start a new peak where the system can (Linux); return the KiB held now."""
    clear, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not clear.exists():
        return _peak()
    clear.write_text("5")
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))


def _peak() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def compare_scores(labels: np.ndarray, probs: np.ndarray) -> float:
    """Return the largest difference of the softmin scores."""
    from cleanlab.segmentation.rank import get_label_quality_scores

    theirs, _ = get_label_quality_scores(labels, probs, verbose=False)
    ours = quality.image_scores(labels, probs, ignore_index=None)["softmin"]
    return float(np.abs(ours - theirs).max())


def tied_pixels(labels: np.ndarray, probs: np.ndarray, differing: np.ndarray) -> int:
    """Return how many of the differing pixels have exactly the self-confidence of the cut."""
    records = [quality.image_record(*pair, ignore_index=None) for pair in zip(labels, probs, strict=True)]
    totals = quality.Totals(probs.shape[1])
    for record in records:
        totals.add(record)
    cut = quality.confident_learning_cut(records, totals).self_confidence
    confidence = np.stack([record.maps.self_confidence for record in records])
    return int((confidence[differing] == cut).sum())


def run_case(case: Case, seed: int, repeats: int, cleanlab_repeats: int) -> dict[str, Any]:
    """Measure one case and return its figures."""
    labels, probs = make_inputs(case, seed)
    seconds, results = {}, {}
    for name, run in RUNS.items():
        warm_up(run)
        count = cleanlab_repeats if name.startswith("cleanlab") else repeats
        seconds[name], results[name] = timed(name, labels, probs, count)
    ours, theirs = np.stack(results["our flags"]), results["cleanlab flags"]
    differing = ours != theirs
    figures = {
        "case": asdict(case),
        "seconds": seconds,
        "flagged": int(ours.sum()),
        "differing": int(differing.sum()),
        "differing_tied_with_cut": tied_pixels(labels, probs, differing) if differing.any() else 0,
        "softmin_max_difference": compare_scores(labels, probs),
    }
    del labels, probs, results, ours, theirs, differing
    figures["extra_mib"] = {name: peak_memory(name, case, seed) for name in RUNS}
    return figures


def machine() -> dict[str, Any]:
    """Describe where the figures come from."""
    names = [
        line.split(":", 1)[1].strip()
        for line in (Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else [])
        if line.startswith("model name")
    ]
    packages = ("numpy", "numba", "cleanlab")
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def speed(case: dict[str, Any], seconds: list[float]) -> str:
    """Format megapixels per second: the best repeat, and the range of all."""
    pixels = case["num_images"] * case["height"] * case["width"] / 1e6
    rates = sorted(pixels / s for s in seconds)
    return f"{rates[-1]:.1f} ({rates[0]:.1f}-{rates[-1]:.1f})"


def show(results: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Print the tables."""
    console = Console(width=max(Console().width, 150))
    console.print(", ".join(f"{key} {value}" for key, value in about.items()))
    table = Table(title="Mpixel/s: best (slowest-fastest repeat)")
    for column in ("case", "N x K x H x W", *RUNS, "flags: times faster (median)"):
        table.add_column(column)
    for figures in results:
        case, seconds = figures["case"], figures["seconds"]
        ratio = statistics.median(seconds["cleanlab flags"]) / statistics.median(seconds["our flags"])
        size = "{num_images} x {num_classes} x {height} x {width}".format(**case)
        table.add_row(case["name"], size, *(speed(case, seconds[name]) for name in RUNS), f"{ratio:.0f}")
    console.print(table)
    table = Table(title="Memory on top of the inputs, and agreement")
    for column in ("case", *(f"{name}, MiB" for name in RUNS), "flagged", "differ", "of them tied", "softmin differs"):
        table.add_column(column)
    for figures in results:
        extra = [f"{figures['extra_mib'][name]:.0f}" for name in RUNS]
        agreement = [str(figures[key]) for key in ("flagged", "differing", "differing_tied_with_cut")]
        table.add_row(figures["case"]["name"], *extra, *agreement, f"{figures['softmin_max_difference']:.1e}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seed", type=int, default=51)
    parser.add_argument("--repeats", type=int, default=7, help="of this library")
    parser.add_argument("--cleanlab-repeats", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--measure-memory", choices=list(RUNS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure_memory:
        print(measure_memory(options.measure_memory, CASES[options.cases[0]], options.seed))
        return
    about = machine()
    results = []
    for name in options.cases:
        print(f"measuring {name} ...", file=sys.stderr)
        results.append(run_case(CASES[name], options.seed, options.repeats, options.cleanlab_repeats))
    show(results, about)
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "seed": options.seed, "results": results}, indent=2))


if __name__ == "__main__":
    main()
