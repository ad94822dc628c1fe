"""The encoder's pass over the images as a job that other machines can do, which see the same files and folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..files.items import ImageSource
from ..hardware.devices import choose_device
from ..training.folds import derived_seed
from ..training.training_data import read_source
from .encoders import FrozenEncoder, load_encoder_network
from .options import FrozenFeatureOptions
from .store import FeatureStore

Row = tuple[int, ImageSource]
"""Place of an image among the examples, and the image."""

RunStage = Callable[[Any, Any, Iterable[Sequence[Row]]], Iterator[tuple[int, bool]]]
"""Runs a stage: takes `encode_images`, an `EncodingJob` and parts of rows, and yields what the stage yields."""


@dataclass
class EncodingJob:
    """What the pass needs besides the images; a copy in another process loads the encoder anew.

    Attributes:
        folder: of the features
        options: encoder and grid
        seed: of random weights
        device: of the encoder
    """

    folder: Path
    options: FrozenFeatureOptions
    seed: int
    device: str

    @cached_property
    def store(self) -> FeatureStore:
        """The features that there are, and the encoder to compute what is missing."""
        encoder = seeded_encoder(self.options, self.seed, torch.device(self.device))
        return FeatureStore(self.folder, encoder, self.options.disk_limit)

    def resources(self) -> dict[str, float]:
        """What one worker takes of a cluster: a GPU where the encoder is on one, else as many cores as torch here."""
        on_gpu = choose_device(self.device).type == "cuda"
        return {"num_gpus": 1} if on_gpu else {"num_cpus": torch.get_num_threads()}

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "store"}
        return {**state, "_threads": torch.get_num_threads()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        torch.set_num_threads(state.pop("_threads"))  # as where the job was made: rounding may depend on it
        self.__dict__.update(state)


def encode_images(job: EncodingJob, rows: Iterable[Row]) -> Iterator[tuple[int, bool]]:
    """Let the encoder see some images at once and keep their features.

    Args:
        job: of the pass
        rows: of one part

    Yields:
        place of each image, and whether its features are kept
    """
    some = list(rows)
    images = [read_source(image, str(image)) for _, image in some]
    if job.store.room:
        job.store.get(images)
    yield from ((place, job.store.holds(image)) for (place, _), image in zip(some, images, strict=True))


def seeded_encoder(options: FrozenFeatureOptions, seed: int, device: torch.device) -> FrozenEncoder:
    """Load an encoder; random weights are the same for the same seed.

    Args:
        options: encoder and grid
        seed: of the run
        device: to run on

    Returns:
        the encoder
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed, "encoder"))  # matters for random weights only
        return load_encoder_network(
            options.encoder, options.weights, device, stride=options.stride or 4, max_pixels=options.max_pixels,
            enlarge=options.enlarge,
        )  # fmt: skip
