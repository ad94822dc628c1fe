"""The network inside a model of FiftyOne, whose own predictions are masks without probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ...errors import LabelQualityError
from .sources import Source, module_source
from .transformers_models import is_transformers, transformers_module


def is_fiftyone_model(source: object) -> bool:
    """Tell whether something is a `fiftyone.Model`, without importing that package.

    Args:
        source: anything

    Returns:
        True for its models

    Example:
        >>> is_fiftyone_model(torch.nn.ReLU())
        False
    """
    return any(b.__name__ == "Model" and b.__module__ == "fiftyone.core.models" for b in type(source).__mro__)


def fiftyone_source(model: Any) -> Source:
    """Take the network out of a FiftyOne model, with its classes, normalisation and image processor.

    Args:
        model: of `foz.load_zoo_model`, or any `fiftyone.Model` that keeps a torch module

    Returns:
        the source

    Raises:
        LabelQualityError: there is no torch module inside
    """
    name = str(getattr(model, "name", None) or type(model).__name__)
    network = getattr(model, "_model", None)
    network = network if isinstance(network, torch.nn.Module) else getattr(model, "model", None)
    if not isinstance(network, torch.nn.Module):
        raise LabelQualityError(
            f"Expected a FiftyOne model around a torch module that gives a score per pixel and class, but {name} has "
            "none; pass its network itself, or apply the model and pass the field that it wrote as `predictions`."
        )
    if is_transformers(network):
        return transformers_module(network, name, getattr(getattr(model, "transforms", None), "processor", None))
    source = module_source(network, None)
    config = getattr(model, "config", None)
    mean, std = (getattr(config, field, None) for field in ("image_mean", "image_std"))
    softmax = getattr(getattr(model, "_output_processor", None), "has_softmax_out", None)
    names = _channel_names(model)
    return replace(
        source,
        description=name,
        inputs=replace(
            source.inputs,
            mean=source.inputs.mean if mean is None else tuple(mean),
            std=source.inputs.std if std is None else tuple(std),
        ),
        outputs=replace(
            source.outputs,
            from_logits=source.outputs.from_logits if softmax is None else not softmax,
            channel_names=names or source.outputs.channel_names,
        ),
    )


def _channel_names(model: Any) -> tuple[str, ...]:
    """Names of the channels by the mask values that FiftyOne writes for them.

    The classes of a model that has mask targets are these, but sorted by the alphabet, and not the channels in order.
    """
    targets = getattr(model, "mask_targets", None)
    if targets:
        first = int(bool(getattr(getattr(model, "_output_processor", None), "no_background_cls", False)))
        named = {int(value): str(name) for value, name in targets.items()}
        return tuple(named.get(value, f"class {value}") for value in range(first, max(named) + 1))
    classes = getattr(model, "_classes", None) or getattr(model, "classes", None)
    return tuple(map(str, classes or ()))
