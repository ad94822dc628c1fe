"""What a network returns, as probabilities: any container, logits or probabilities, one channel or many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from ...errors import LabelQualityError
from ..errors import ModelMismatchError
from .layouts import FIRST, LAST, Size, class_axis

SUM_TOLERANCE = 0.02  # sixteen-bit softmax outputs miss one by up to about 0.01
FromLogits = bool | Literal["auto"]
_NAMES = ("out", "logits", "sem_seg", "seg_logits")
_QUERIES = (
    ("class_queries_logits", "masks_queries_logits"),  # transformers
    ("pred_logits", "pred_masks"),  # the authors' own code, on detectron2
    ("logits", "pred_masks"),  # DETR in transformers
)


class ScoreMap(NamedTuple):
    """What a network says of each pixel.

    Attributes:
        values: (N, C, h, w) float32
        from_logits: False where these are probabilities because they were composed here; None = not known
    """

    values: torch.Tensor
    from_logits: bool | None = None


def score_map(output: Any, inputs: int, size: Size | None = None, num_classes: int | None = None) -> ScoreMap:
    """Return the (N, C, h, w) floating-point scores inside whatever a network returned.

    Args:
        output: tensor or array, or what holds one: a dict or object ("out", "logits", "sem_seg", "seg_logits", as
            torchvision, transformers, detectron2 and MMSegmentation name it), one of these per image, or a list of
            several scales of one map, of which the finest counts. Classes and masks of queries (MaskFormer and all
            that followed: `class_queries_logits` and `masks_queries_logits`, or `pred_logits` and `pred_masks`)
            become semantic probabilities as in Cheng et al. 2021 (MaskFormer), section 3.4
        inputs: number N of images that went in
        size: their (height, width), by which scores with the classes last are recognised; None = they are first
        num_classes: channels, if they are known

    Returns:
        the scores, and whether they are known to be probabilities

    Raises:
        ModelMismatchError: nothing of that shape is inside, or it has another shape than the images

    Example:
        >>> score_map({"out": torch.zeros(1, 3, 2, 2)}, inputs=1).values.shape
        torch.Size([1, 3, 2, 2])
        >>> score_map([torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 8, 8)], inputs=1).values.shape
        torch.Size([1, 3, 8, 8])
    """
    queries = _queries(output)
    scores = _mask_classification(*queries) if queries else _find_scores(output, inputs)
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
    return ScoreMap(_channels_first(scores, size, num_classes).float(), False if queries else None)


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


def _field(output: Any, name: str) -> Any:
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)


def _queries(output: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return (N, Q, C + 1) class logits and (N, Q, h, w) mask logits, where the output has them."""
    if isinstance(output, (torch.Tensor, np.ndarray)):
        return None
    for classes, masks in _QUERIES:
        found = _field(output, classes), _field(output, masks)
        if all(isinstance(one, torch.Tensor) for one in found) and (found[0].ndim, found[1].ndim) == (3, 4):
            return found
    return None


def _channels_first(scores: torch.Tensor, size: Size | None, num_classes: int | None) -> torch.Tensor:
    axis = FIRST if size is None else class_axis(scores.shape[1:], size, num_classes)
    if axis is None:
        raise ModelMismatchError(
            f"Expected the model to return scores in the shape of its input, {size[0] if size else 0} x "
            f"{size[1] if size else 0} pixels (height x width) or less in proportion, but got {tuple(scores.shape)}; "
            "wrap it in a function that returns (N, C, height, width) scores of the whole image."
        )
    return scores.permute(0, 3, 1, 2) if axis == LAST else scores


def _find_scores(output: Any, inputs: int) -> torch.Tensor | None:
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, np.ndarray):
        return torch.from_numpy(output)
    if isinstance(output, (tuple, list)):
        return _of_several(output, inputs) if output else None
    for name in _NAMES:
        value = _field(output, name)
        if value is not None and not callable(value):
            return _find_scores(getattr(value, "data", value) if name == "seg_logits" else value, inputs)
    return None


def _of_several(outputs: Sequence[Any], inputs: int) -> torch.Tensor | None:
    """Return the scores among several outputs: one per image, several scales of one map, or scores and more."""
    first = outputs[0]
    if not isinstance(first, (torch.Tensor, np.ndarray)):
        each = [_find_scores(output, 1) for output in outputs] if len(outputs) == inputs else []
        maps = [one for one in each if one is not None and one.ndim == 3]
        return torch.stack(maps) if each and len(maps) == len(each) else _find_scores(first, inputs)
    maps = [torch.as_tensor(one) for one in outputs if getattr(one, "ndim", 0) == 4]
    if not maps or first.ndim != 4:
        return torch.as_tensor(first)
    finest = max(maps, key=lambda one: one.shape[2] * one.shape[3])
    if len({one.shape[1] for one in maps}) > 1 and finest.shape[1] != first.shape[1]:
        raise ModelMismatchError(
            f"The model returns several maps, of shapes {[tuple(one.shape) for one in maps]}, and the finest has other "
            "channels than the first, so which holds the classes is not known; wrap the model in a function that "
            "returns one."
        )
    return finest if finest.shape[1] == first.shape[1] else torch.as_tensor(first)


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
