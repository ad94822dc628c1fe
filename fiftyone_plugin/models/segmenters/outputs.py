"""What a network returns, as probabilities: any container, logits or probabilities, one channel or many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch

from ...errors import LabelQualityError
from ..errors import ModelMismatchError

SUM_TOLERANCE = 0.02  # sixteen-bit softmax outputs miss one by up to about 0.01
FromLogits = bool | Literal["auto"]


def score_map(output: Any, inputs: int) -> torch.Tensor:
    """Return the (N, C, h, w) floating-point scores inside whatever a network returned.

    Args:
        output: tensor or array, or a tuple, dict ("out", "logits") or object (`.logits`) that holds one;
            mask-classification outputs (`class_queries_logits` and `masks_queries_logits`) become
            semantic scores as in Cheng et al. 2021 (MaskFormer), section 3.4
        inputs: number N of images that went in

    Returns:
        (N, C, h, w) float32 tensor

    Raises:
        ModelMismatchError: nothing of that shape is inside

    Example:
        >>> score_map({"out": torch.zeros(1, 3, 2, 2)}, inputs=1).shape
        torch.Size([1, 3, 2, 2])
    """
    scores = _find_scores(output)
    if scores is None:
        raise ModelMismatchError(
            f"Expected the model to return a tensor, or a dict with 'out' or 'logits', but got {_describe(output)}; "
            "wrap it in a function that returns (N, C, H, W) scores."
        )
    if scores.ndim != 4 or scores.shape[0] != inputs or scores.numel() == 0:
        raise ModelMismatchError(
            f"Expected the model to return scores of shape ({inputs}, classes, height, width) for {inputs} "
            f"images, but got {tuple(scores.shape)}; wrap it in a function that returns that shape."
        )
    if not scores.is_floating_point():
        raise ModelMismatchError(
            f"Expected the model to return floating-point scores per class, but got {scores.dtype}; "
            "return logits or probabilities instead of the winning class."
        )
    return scores.float()


def looks_like_logits(scores: torch.Tensor) -> bool:
    """Decide from values whether scores are logits (True) or probabilities (False).

    Probabilities lie in [0, 1] and sum to one over the channels (within 0.02); a single channel counts as a
    probability when it lies in [0, 1]. Everything with values outside [0, 1] is logits.

    Args:
        scores: (N, C, H, W)

    Returns:
        True for logits

    Raises:
        ModelMismatchError: values in [0, 1] that do not sum to one, which may be either

    Example:
        >>> looks_like_logits(torch.tensor([2.0, -1.0]).reshape(1, 2, 1, 1))
        True
    """
    low, high = (float(value) for value in scores.aminmax())
    if low < -1e-4 or high > 1 + 1e-4:
        return True
    if scores.shape[1] == 1:
        return False
    sums = scores.sum(1)
    if float((sums - 1).abs().max()) <= SUM_TOLERANCE:
        return False
    raise ModelMismatchError(
        f"The model's values lie in [0, 1] ({low:.3g} to {high:.3g}), but sum to {float(sums.min()):.3g} to "
        f"{float(sums.max()):.3g} over {scores.shape[1]} channels, so they may be logits or independent "
        "probabilities; pass `from_logits=True` if a softmax has to follow."
    )


def class_probabilities(scores: torch.Tensor, from_logits: bool) -> torch.Tensor:
    """Turn scores into probabilities that sum to one over at least two channels.

    One channel is taken as the probability (or its logit) of class 1 against class 0.

    Args:
        scores: (N, C, H, W)
        from_logits: True = softmax (sigmoid for one channel), False = values are probabilities

    Returns:
        (N, max(C, 2), H, W)

    Raises:
        LabelQualityError: NaN or infinite values, or probabilities that do not sum to one

    Example:
        >>> class_probabilities(torch.zeros(1, 4, 1, 1), from_logits=True).flatten()
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    if not bool(torch.isfinite(scores).all()):
        count = int((~torch.isfinite(scores)).sum())
        raise LabelQualityError(
            f"The model returned {count} values of {scores.numel()} that are NaN or infinite; "
            "check its weights and the normalisation (`mean`, `std`)."
        )
    if scores.shape[1] == 1:
        return _two_classes(scores, from_logits)
    if from_logits:
        return scores.softmax(1)
    return _normalised(scores)


def _find_scores(output: Any) -> torch.Tensor | None:
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, np.ndarray):
        return torch.from_numpy(output)
    if isinstance(output, (tuple, list)):
        return _find_scores(output[0]) if output else None
    fields: Mapping[str, Any] = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    for name in ("out", "logits"):
        if fields.get(name) is not None:
            return _find_scores(fields[name])
    if fields.get("class_queries_logits") is not None and fields.get("masks_queries_logits") is not None:
        return _mask_classification(fields["class_queries_logits"], fields["masks_queries_logits"])
    return None


def _mask_classification(classes: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Sum the masks' sigmoids weighted by their class probabilities; the last class is "no object"."""
    weights = classes.float().softmax(-1)[..., :-1]
    scores = torch.einsum("nqc,nqhw->nchw", weights, masks.float().sigmoid())
    return scores / scores.sum(1, keepdim=True).clamp(min=1e-6)


def _two_classes(scores: torch.Tensor, from_logits: bool) -> torch.Tensor:
    positive = scores.sigmoid() if from_logits else scores
    if float(positive.min()) < -1e-4 or float(positive.max()) > 1 + 1e-4:
        raise LabelQualityError(
            f"Expected probabilities in [0, 1], but they go from {float(positive.min()):.3g} to "
            f"{float(positive.max()):.3g}; pass `from_logits=True`."
        )
    positive = positive.clamp(0, 1)
    return torch.cat([1 - positive, positive], 1)


def _normalised(scores: torch.Tensor) -> torch.Tensor:
    low = float(scores.min())
    sums = scores.sum(1, keepdim=True)
    if low < -1e-4 or float((sums - 1).abs().max()) > SUM_TOLERANCE:
        raise LabelQualityError(
            f"Expected probabilities that sum to 1 over the classes, but the smallest value is {low:.3g} and "
            f"the sums go from {float(sums.min()):.3g} to {float(sums.max()):.3g}; pass `from_logits=True` "
            "if these are logits, or normalise them."
        )
    positive = scores.clamp(min=0)
    return positive / positive.sum(1, keepdim=True)


def _describe(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with keys {sorted(map(str, output))}"
    return f"a {type(output).__name__}"
