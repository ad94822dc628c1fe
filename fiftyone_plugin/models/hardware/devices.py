"""The device that computes, and how to go on when its memory is too small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch.multiprocessing.spawn import ProcessRaisedException

from ...errors import LabelQualityError

Item = TypeVar("Item")
Result = TypeVar("Result")

_PIXELS_PER_THREAD = 1 << 16
_OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """Return the asked device, or the fastest one here: CUDA, then Apple's MPS, then the CPU.

    Args:
        device: name such as "cuda:1", a torch device, or None to choose

    Returns:
        a device that exists

    Raises:
        LabelQualityError: the asked device does not exist here

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if device is None:
        return torch.device(_fastest())
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise LabelQualityError(f"Unknown device {device!r}; use 'cuda', 'cuda:1', 'mps' or 'cpu'.") from error
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise LabelQualityError(
            f"Device {device} was asked for, but there are {torch.cuda.device_count()} CUDA devices here; "
            "leave `device` out or pass 'cpu'."
        )
    if wanted.type == "mps" and not torch.backends.mps.is_available():
        raise LabelQualityError("Device mps was asked for, but there is none here; leave `device` out.")
    return wanted


@contextmanager
def few_threads(device: torch.device, pixels: int) -> Iterator[None]:
    """Use no more CPU threads than a step of so many pixels can feed, until the block ends.

    Threads of a small step wait for each other longer than they compute: on two cores that another process
    shares, one thread trained the small network of `QUICK_TRAINING` three times faster than two.

    Args:
        device: where the work is done; only a CPU's threads are limited
        pixels: of one step

    Example:
        >>> with few_threads(torch.device("cpu"), pixels=4 * 128 * 160):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(max(1, min(before, pixels // _PIXELS_PER_THREAD)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception says that the device's memory was too small.

    Args:
        error: any exception, also one that a training process of its own passed on

    Returns:
        True for CUDA's, MPS' and the CPU allocator's message

    Example:
        >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
        True
    """
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, (RuntimeError, ProcessRaisedException)) and any(
        words in text for words in _OUT_OF_MEMORY_WORDS
    )


class BatchLimit:
    """How many inputs one forward pass may take; halved, and kept halved, whenever memory runs out.

    Args:
        limit: most inputs of a pass at the start; None = no limit known yet

    Example:
        >>> limit = BatchLimit()
        >>> def double(batch):
        ...     if len(batch) > 2:
        ...         raise RuntimeError("CUDA out of memory")
        ...     return [2 * x for x in batch]
        >>> [result for batch in limit.passes(double, range(5)) for result in batch]
        [0, 2, 4, 6, 8]
        >>> limit.limit
        2
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit

    def passes(self, run: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yield `run` of successive parts of `items`, in order, each small enough for the memory.

        Args:
            run: computes one part
            items: all inputs

        Yields:
            what `run` returns, part after part

        Raises:
            RuntimeError: memory runs out even for a single input
        """
        start = 0
        while start < len(items):
            count = min(self.limit or len(items), len(items) - start)
            result = self._attempt(run, items[start : start + count])
            if result is None:
                self.limit = count // 2
                free_memory()
                continue
            yield result[0]
            start += count

    @staticmethod
    def _attempt(run: Callable[[Sequence[Item]], Result], part: Sequence[Item]) -> tuple[Result] | None:
        """Return the result in a tuple, or None where the part has to become smaller.

        A function of its own, so that the failed pass' tensors die with its frame before the next attempt.
        """
        try:
            return (run(part),)
        except RuntimeError as error:
            if len(part) == 1 or not is_out_of_memory(error):
                raise
        return None


def _fastest() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def free_memory() -> None:
    """Give memory that no tensor uses back to the device.

    Example:
        >>> free_memory()
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
