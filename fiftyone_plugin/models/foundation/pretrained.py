"""Checkpoints of transformers: a folder or a name on the hub, read with all their weights or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ...errors import LabelQualityError
from ..errors import one_line

Refusal = Callable[[str], LabelQualityError]
"""Makes an error of the reason why a checkpoint cannot be used."""


def transformers_package(what: str) -> ModuleType:
    """Import the package transformers.

    Args:
        what: needs it, in the message

    Returns:
        the package

    Raises:
        LabelQualityError: it is not installed

    Example:
        >>> transformers_package("a test").__name__
        'transformers'
    """
    try:
        import transformers
    except ImportError as error:
        raise LabelQualityError(
            f"The package transformers, which {what} needs, is not installed; "
            'run `pip install "fiftyone-label-quality[transformers]"`.'
        ) from error
    return transformers


def model_family(path: str | Path, refuse: Refusal) -> str:
    """Read which kind of model a checkpoint is, without its weights.

    Args:
        path: folder that `save_pretrained` wrote, or a name on the hub
        refuse: makes the error

    Returns:
        `model_type` of the configuration

    Raises:
        LabelQualityError: there is no such checkpoint

    Example:
        >>> model_family("/nowhere", LabelQualityError)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: ...
    """
    try:
        return str(transformers_package(str(path)).AutoConfig.from_pretrained(path, trust_remote_code=False).model_type)
    except LabelQualityError:
        raise
    except Exception as error:
        raise refuse(one_line(error)) from error


def load_whole(kind: Any, path: str | Path, refuse: Refusal) -> Any:
    """Load a network, all of whose weights are in the checkpoint.

    Args:
        kind: class of transformers with `from_pretrained`
        path: folder that `save_pretrained` wrote, or a name on the hub
        refuse: makes the error

    Returns:
        the network, in evaluation mode

    Raises:
        LabelQualityError: it cannot be loaded, or weights are missing, which would stay random
    """
    try:
        network, report = kind.from_pretrained(path, output_loading_info=True)
    except Exception as error:
        raise refuse(one_line(error)) from error
    missing = sorted(set(report["missing_keys"]) & {name for name, _ in network.named_parameters()})
    if missing:
        part = "the text encoder's, without which names cannot be looked for" if _of_text(missing) else "parts of it"
        raise refuse(f"{len(missing)} weights are missing ({missing[0]}, ...), {part}")
    return network.eval().requires_grad_(False)


def weights_fingerprint(network: torch.nn.Module) -> str:
    """Return a short hash of all weights, the same wherever they were loaded from.

    Args:
        network: any module

    Returns:
        32 hexadecimal digits

    Example:
        >>> weights_fingerprint(torch.nn.ReLU())
        'cae66941d9efbd404e4d88758ea67670'
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _of_text(names: list[str]) -> bool:
    return any(".text_" in name or name.startswith("text_") for name in names)


def tokens_of_texts(tokenizer: Any, texts: Sequence[str], limit: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Turn texts into tokens of one length, for networks that read each text by itself.

    Args:
        tokenizer: CLIP's
        texts: what is looked for
        limit: tokens of a text, its first and last special token included
        device: where the network runs

    Returns:
        `input_ids` and `attention_mask`, (texts, limit) each

    Raises:
        LabelQualityError: a text is longer, or the tokenizer knows nothing of it
    """
    for text in texts:
        ids = tokenizer(text).input_ids
        if len(ids) > limit:
            raise LabelQualityError(f"{text!r} has {len(ids)} tokens, but the detector takes {limit}; shorten it.")
        if all(one in tokenizer.all_special_ids for one in ids):
            raise LabelQualityError(f"The detector's tokenizer knows nothing of {text!r}; word it in plain English.")
    found = tokenizer(list(texts), padding="max_length", max_length=limit, return_tensors="pt")
    return {name: found[name].to(device) for name in ("input_ids", "attention_mask")}
