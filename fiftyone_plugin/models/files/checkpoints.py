"""State dicts: reading them, and loading them with every difference said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...errors import LabelQualityError

StateDict = Mapping[str, torch.Tensor]
_NESTS = ("state_dict", "model_state_dict", "model", "model_state")
_WRAPPERS = ("module.", "_orig_mod.", "model.")
_CLASSIFIERS = ("classifier.", "fc.", "head.", "last_linear.", "classifier_", "conv_head.")


def read_state_dict(source: StateDict | str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict, looking inside the usual training checkpoints.

    Args:
        source: a state dict, or a .pth, .pt, .ckpt or .safetensors file that holds one, bare or under
            "state_dict", "model_state_dict" or "model"

    Returns:
        {parameter name: tensor} on the CPU, names as in the file

    Raises:
        LabelQualityError: no such file, or no state dict inside

    Example:
        >>> read_state_dict({"weight": torch.zeros(2)})
        {'weight': tensor([0., 0.])}
    """
    if isinstance(source, Mapping):
        return _tensors(source, "the mapping")
    path = Path(source)
    if not path.is_file():
        raise LabelQualityError(f"Expected a file with a state dict, but {path} is no file; check the path.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise LabelQualityError(
            f"Cannot read {path} as a state dict ({type(error).__name__}); save it with "
            "`torch.save(model.state_dict(), path)`, without pickled Python objects."
        ) from error
    return _tensors(content, str(path))


def load_strictly(module: torch.nn.Module, state: StateDict, what: str) -> None:
    """Load a state dict that has to fit exactly, after removing a wrapper's prefix common to all names.

    Args:
        module: receives the values
        state: names as in the file; "module.", "_orig_mod." or "model." in front of every name (from
            parallel training, compilation, Lightning) is removed if the module has no such names
        what: what the values are, for messages

    Raises:
        LabelQualityError: names or shapes differ; the message lists them

    Example:
        >>> load_strictly(torch.nn.Linear(2, 1), {"module.weight": torch.ones(1, 2), "module.bias": torch.ones(1)}, "x")
    """
    wanted = module.state_dict()
    found = dict(state)
    for prefix in _WRAPPERS:
        if found.keys() != wanted.keys() and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    require_match(found, wanted, what)
    module.load_state_dict(found)


def encoder_state(state: StateDict) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Split a classifier's or a whole segmenter's state dict into encoder values and names left out.

    Args:
        state: ImageNet classifier (its last layer is left out), or a segmentation-models-pytorch model
            (names under "encoder." are taken)

    Returns:
        (encoder values, names that were left out)

    Example:
        >>> encoder_state({"features.0.weight": torch.zeros(1), "classifier.1.bias": torch.zeros(1)})
        ({'features.0.weight': tensor([0.])}, ['classifier.1.bias'])
    """
    if any(name.startswith("encoder.") for name in state):
        inner = {n.removeprefix("encoder."): value for n, value in state.items() if n.startswith("encoder.")}
        return inner, [name for name in state if not name.startswith("encoder.")]
    kept = {name: value for name, value in state.items() if not name.startswith(_CLASSIFIERS)}
    return kept, [name for name in state if name not in kept]


def require_match(found: StateDict, wanted: StateDict, what: str) -> None:
    """Raise unless two state dicts have the same names and shapes.

    Args:
        found: from the file
        wanted: of the module
        what: what the values are, for the message

    Raises:
        LabelQualityError: lists missing and unexpected names and differing shapes

    Example:
        >>> require_match({"a": torch.zeros(1)}, {"a": torch.zeros(1)}, "weights")
    """
    missing = sorted(wanted.keys() - found.keys())
    unexpected = sorted(found.keys() - wanted.keys())
    shapes = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name].shape != wanted[name].shape
    ]
    if missing or unexpected or shapes:
        raise LabelQualityError(
            f"The state dict does not fit {what}: {_some('missing', missing)}, "
            f"{_some('unexpected', unexpected)}, {_some('of another shape', shapes)}; "
            "check the architecture, the encoder and the number of classes."
        )


def _some(kind: str, names: list[str]) -> str:
    if not names:
        return f"0 {kind}"
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {kind} ({listed})"


def _tensors(content: Any, where: str) -> dict[str, torch.Tensor]:
    for name in _NESTS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not any(isinstance(v, torch.Tensor) for v in content.values()):
        raise LabelQualityError(
            f"Expected a state dict (names to tensors) in {where}, but found a {type(content).__name__}; "
            "save it with `torch.save(model.state_dict(), path)`."
        )
    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
