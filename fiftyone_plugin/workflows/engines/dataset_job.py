"""A job about a dataset that can be sent to other machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

_Item = TypeVar("_Item")


@dataclass
class DatasetJob:
    """What stages need besides their items; a copy in another process opens the dataset anew.

    Attributes:
        dataset: the `fiftyone.Dataset`
    """

    dataset: Any

    @property
    def on_gpu(self) -> bool:
        """Whether it wants a CUDA device."""
        return False

    def resources(self) -> dict[str, float]:
        """What one worker takes of a cluster: a GPU where the job wants one, else as many cores as torch here."""
        import torch

        return {"num_gpus": 1} if self.on_gpu else {"num_cpus": torch.get_num_threads()}

    def __getstate__(self) -> dict[str, Any]:
        import torch

        return {**self.__dict__, "dataset": self.dataset.name, "_threads": torch.get_num_threads()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import fiftyone as fo
        import torch

        torch.set_num_threads(state.pop("_threads"))  # as where the job was made: rounding may depend on it
        self.__dict__.update(state)
        self.dataset = fo.load_dataset(state["dataset"])


def in_parts(items: Sequence[_Item], size: int) -> Iterable[list[_Item]]:
    """Cut the items of a job into what a worker is given at a time.

    Args:
        items: of the job
        size: of a part

    Returns:
        the parts

    Example:
        >>> [len(part) for part in in_parts(range(70), 32)]
        [32, 32, 6]
    """
    return (list(items[start : start + size]) for start in range(0, len(items), size))
