"""Segmenters of Hugging Face transformers, semantic and universal, with what their image processors say."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

import torch

from ...errors import LabelQualityError
from ..errors import one_line
from .network import InputFormat, NetworkOutput
from .sources import Source

_FIXED_SIZE = ("beit", "data2vec-vision", "dpt", "eomt", "eomt_dinov3")
"""Families whose positions are learnt for one size, which their configuration tells where a processor is missing."""


class _Attached(torch.nn.Module):
    """A module called through a function, so that moving it to a device still moves its weights."""

    def __init__(self, module: torch.nn.Module, run: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.module = module
        self._run = run

    def forward(self, images: torch.Tensor) -> Any:
        """Run the function."""
        return self._run(images)


def is_transformers(source: object) -> TypeGuard[torch.nn.Module]:
    """Tell whether something is a model of transformers, without importing that package.

    Args:
        source: anything

    Returns:
        True for its models

    Example:
        >>> is_transformers(torch.nn.ReLU())
        False
    """
    return any(
        b.__name__ == "PreTrainedModel" and b.__module__.startswith("transformers.") for b in type(source).__mro__
    )


def transformers_source(name: str) -> Source:
    """Load a semantic or universal segmenter with its image processor's settings.

    Args:
        name: local folder or name on the hub

    Returns:
        the source; channel names come from the model's `id2label`

    Raises:
        LabelQualityError: transformers is not installed, or the model cannot be loaded

    Example:
        >>> transformers_source("/nowhere")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: ...transformers:/nowhere...
    """
    try:
        import transformers
    except ImportError as error:
        raise LabelQualityError(
            f"The package transformers, which transformers:{name} needs, is not installed; "
            'run `pip install "fiftyone-label-quality[transformers]"`.'
        ) from error
    with quiet_transformers():
        return transformers_module(_load(transformers, name), f"transformers:{name}", _processor(name))


def transformers_module(network: torch.nn.Module, description: str, processor: Any = None) -> Source:
    """Wrap a model of transformers that is loaded already.

    Args:
        network: semantic or universal segmenter
        description: one line for records
        processor: its image processor; None = that of the folder or name that the model was loaded from

    Returns:
        the source

    Raises:
        LabelQualityError: it is told its task in words (OneFormer), and the tokenizer for them is missing
    """
    config: Any = network.config
    if processor is None:
        with quiet_transformers():
            processor = _processor(str(getattr(config, "_name_or_path", "") or ""), local=True)
    names = {int(number): str(text) for number, text in (getattr(config, "id2label", None) or {}).items()}
    real = [name for name in names.values() if not re.fullmatch(r"LABEL_\d+", name)]  # made up where none were given
    channel_names = tuple(names[number] for number in sorted(names)) if real else None
    arguments = _task(network, processor, description)

    def run(images: torch.Tensor) -> Any:
        extra = {name: value.to(images.device).expand(len(images), -1) for name, value in arguments.items()}
        return network(pixel_values=images, **extra)

    outputs = NetworkOutput(len(names) or None, channel_names, from_logits=True)  # of queries: `score_map` knows better
    return Source(_Attached(network, run), description, _input_format(processor, config), outputs)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep the package's remarks and progress bars from the user's terminal.

    Example:
        >>> with quiet_transformers():
        ...     pass
    """
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _load(transformers: Any, name: str) -> torch.nn.Module:
    kinds = ("AutoModelForSemanticSegmentation", "AutoModelForUniversalSegmentation")
    first: Exception | None = None
    for kind in kinds:
        try:
            return getattr(transformers, kind).from_pretrained(name, trust_remote_code=False)
        except Exception as error:
            first = first or error
    raise LabelQualityError(
        f"Cannot load transformers:{name} as a semantic segmenter ({one_line(first or ValueError())}); pass a "
        "folder that `save_pretrained` wrote, or the name of a model that is on the hub."
    ) from first


def _processor(name: str, local: bool = False) -> Any:
    """Return the processor of a folder or name, or None; the whole one, where it has a tokenizer too."""
    import transformers

    if not name:
        return None
    for kind in ("AutoProcessor", "AutoImageProcessor"):
        with contextlib.suppress(Exception):
            return getattr(transformers, kind).from_pretrained(name, local_files_only=local, trust_remote_code=False)
    return None


def _task(network: torch.nn.Module, processor: Any, description: str) -> dict[str, torch.Tensor]:
    """Return the tokens that ask for semantic segmentation, where the network has to be told."""
    if "task_inputs" not in inspect.signature(network.forward).parameters:
        return {}
    try:
        image = torch.zeros(3, 32, 32, dtype=torch.uint8)
        return {"task_inputs": processor(images=[image], task_inputs=["semantic"], return_tensors="pt")["task_inputs"]}
    except Exception as error:
        raise LabelQualityError(
            f"{description} is told its task in words, but its processor or tokenizer is missing or damaged "
            f"({one_line(error)}); pass the folder that `save_pretrained` wrote for model and processor, as "
            "'transformers:<folder>'."
        ) from error


def _input_format(processor: Any, config: Any) -> InputFormat:
    """Take mean, deviation, order of channels and size from the image processor; ImageNet's where there is none."""
    images = getattr(processor, "image_processor", processor)
    if images is None or not hasattr(images, "to_dict"):
        side = getattr(config, "image_size", None) if config.model_type in _FIXED_SIZE else None
        size = (int(side), int(side)) if isinstance(side, int) else None
        return InputFormat(size=size, stride=32, square_windows=size is not None and "eomt" in config.model_type)
    settings: Mapping[str, Any] = images.to_dict()
    factor = float(settings.get("rescale_factor") or 1 / 255) if settings.get("do_rescale", True) else 1.0
    # what is None is left out of the settings, and means no
    normalises = settings.get("do_normalize", getattr(images, "do_normalize", None)) and settings.get("image_mean")
    return InputFormat(
        tuple(settings["image_mean"]) if normalises else (0.0, 0.0, 0.0),
        tuple(settings["image_std"]) if normalises else (1.0, 1.0, 1.0),
        value_range=factor * 255,
        bgr=bool(settings.get("do_flip_channel_order")),
        stride=int(settings.get("size_divisor") or 32),
        **_size(settings),
    )


def _size(settings: Mapping[str, Any]) -> dict[str, Any]:
    size = settings.get("size") if settings.get("do_resize", True) else None
    if isinstance(size, int):
        size = {"shortest_edge": size}
    if not size:
        return {}
    if {"height", "width"} <= set(size):
        return {"size": (int(size["height"]), int(size["width"]))}
    shortest = size.get("shortest_edge")
    if shortest is None:
        return {}
    if settings.get("do_split_image"):
        return {"size": (int(shortest), int(shortest)), "square_windows": True}
    longest = size.get("longest_edge")
    return {"shortest": int(shortest), "longest": None if longest is None else int(longest)}
