"""Scenes drawn into files by other processes, while this one loads FiftyOne."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

_PROCESSES = 2

SceneFiles = tuple[Path, Path]
"""An image and its mask."""


def start_drawing(folder: Path, num_images: int) -> list[Future[SceneFiles]]:
    """Begin to draw scenes, and do not wait for them.

    Args:
        folder: receives images/ and masks/
        num_images: how many scenes

    Returns:
        the files of each scene, to be waited for
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    pool = ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn"))
    drawn = [pool.submit(draw, folder, number) for number in range(num_images)]
    pool.shutdown(wait=False)  # takes no more; what was given is done
    return drawn


def draw(folder: Path, number: int) -> SceneFiles:
    """Draw one scene.

    Args:
        folder: with images/ and masks/
        number: which scene

    Returns:
        where it is
    """
    from PIL import Image

    from demo.scenes import render_scene

    scene = render_scene(number)
    files = folder / "images" / f"{number:04d}.png", folder / "masks" / f"{number:04d}.png"
    for path, pixels in zip(files, (scene.image, scene.mask), strict=True):
        Image.fromarray(pixels).save(path, compress_level=4)
    return files
