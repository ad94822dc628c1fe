"""Predictions at several scales that have to agree: a loss that keeps a network from memorising wrong labels.

After ADELE (Liu et al., "Adaptive Early-Learning Correction for Segmentation from Noisy Annotations", CVPR 2022,
arXiv 2110.03740): with p_k the probabilities at scale k and q their weighted mean, the loss is
sum_k KL(p_k || q), three times the Jensen-Shannon divergence for three equal weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

from ...errors import LabelQualityError

Gate = Literal["image", "pixel"]


@dataclass(frozen=True)
class Consistency:
    """How predictions at several scales are held together.

    Args:
        scales: factors by which the views are resized; 1 must be among them
        weight: of the consistency term beside the cross entropy, lambda
        gate: what has to be confident to count: "image" = any labelled pixel of it (as published, which lets
            nearly every image through), "pixel" = the pixel itself, None = nothing
        confidence: highest class probability in q that is called confident, rho
        floor: q is kept at least so far from 0 and 1
        learn_weights: learn the weights of the scales in q, as published for VOC; otherwise they are equal
        scaled_logits: compute the cross entropy from logits times their scale's weight, as published, which trains
            at a temperature of the number of scales; otherwise from plain logits

    Raises:
        LabelQualityError: a value out of its range

    Example:
        >>> round(Consistency().temperature(1.5, torch.full((3,), 1 / 3)), 3)
        3.0
    """

    scales: tuple[float, ...] = (1.0, 0.7, 1.5)
    weight: float = 1.0
    gate: Gate | None = "image"
    confidence: float = 0.8
    floor: float = 1e-3
    learn_weights: bool = False
    scaled_logits: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        if 1.0 not in self.scales or min(self.scales) <= 0 or len(self.scales) < 2:
            raise LabelQualityError(
                f"Expected two or more positive scales with 1 among them, but got {self.scales}; (1, 0.7, 1.5) are "
                "the published ones."
            )
        if self.gate not in ("image", "pixel", None):
            raise LabelQualityError(f"Expected `gate` to be 'image', 'pixel' or None, but got {self.gate!r}.")
        if self.weight < 0 or not 0 <= self.confidence <= 1 or not 0 < self.floor < 0.5:
            raise LabelQualityError(
                "Expected `weight` of at least 0, `confidence` between 0 and 1 and `floor` between 0 and 0.5, but "
                f"got {self.weight}, {self.confidence} and {self.floor}."
            )

    def temperature(self, scale: float, weights: torch.Tensor) -> float:
        """Return what logits are divided by in training, so that their softmax is a probability afterwards.

        Args:
            scale: of the view; one that is not trained on has the mean weight
            weights: (S,) weights of the scales
        """
        if not self.scaled_logits:
            return 1.0
        trained = scale in self.scales
        return 1 / float(weights[self.scales.index(scale)] if trained else weights.mean())


def consistency_loss(
    logits: Sequence[torch.Tensor],
    labels: torch.Tensor,
    ignored: int,
    weights: torch.Tensor | None = None,
    *,
    gate: Gate | None = "image",
    confidence: float = 0.8,
    floor: float = 1e-3,
) -> torch.Tensor:
    """Return the mean over the pixels of sum_k KL(p_k || q), zero where nothing is confident.

    Gradients flow through q and every scale.

    Args:
        logits: (N, K, H, W) per scale, all resized to the same size
        labels: (N, H, W) class indices, of which only the ignored ones matter
        ignored: value of ignored pixels, which cannot make an image confident
        weights: (S,) of the scales, summing to one; None = equal
        gate: as in `Consistency`
        confidence: as in `Consistency`
        floor: as in `Consistency`

    Returns:
        scalar

    Example:
        >>> p = [torch.tensor(row).reshape(1, 2, 1, 1) for row in ([0.7, 0.3], [0.5, 0.5], [0.9, 0.1])]
        >>> labels = torch.zeros(1, 1, 1, dtype=torch.long)
        >>> round(float(consistency_loss([row.log() for row in p], labels, 255, gate=None)), 6)
        0.203498
    """
    log_p = torch.stack([functional.log_softmax(view, 1) for view in logits])
    shares = log_p.new_full((len(logits),), 1 / len(logits)) if weights is None else weights
    q = (shares.reshape(-1, 1, 1, 1, 1) * log_p.exp()).sum(0).clamp(floor, 1 - floor)
    divergence = (log_p.exp() * (log_p - q.log())).sum((0, 2))
    return (divergence * confident(q.detach(), labels, ignored, gate, confidence)).mean()


def confident(
    q: torch.Tensor, labels: torch.Tensor, ignored: int, gate: Gate | None, confidence: float
) -> torch.Tensor:
    """Return which pixels count, as a factor of 0 or 1 that broadcasts over (N, H, W).

    Args:
        q: (N, K, H, W) mean probabilities
        labels: (N, H, W)
        ignored: value of ignored pixels
        gate: as in `Consistency`
        confidence: as in `Consistency`

    Example:
        >>> q, labels = torch.tensor([[[[0.9, 0.6]], [[0.1, 0.4]]]]), torch.zeros(1, 1, 2, dtype=torch.long)
        >>> [confident(q, labels, 255, gate, 0.8).flatten().tolist() for gate in ("image", "pixel")]
        [[1.0], [1.0, 0.0]]
    """
    if gate is None:
        return q.new_ones(1, 1, 1)
    highest = q.amax(1)
    if gate == "pixel":
        return (highest >= confidence).to(q.dtype)
    return (highest.masked_fill(labels == ignored, 0).amax((1, 2), keepdim=True) >= confidence).to(q.dtype)


def scaled_cross_entropy(
    logits: Sequence[torch.Tensor], targets: torch.Tensor, ignored: int, weights: torch.Tensor | None
) -> torch.Tensor:
    """Return the sum over the scales of the mean cross entropy, zero without labelled pixels.

    Args:
        logits: (N, K, H, W) per scale
        targets: (N, H, W)
        ignored: value of pixels to leave out
        weights: (S,) factors of the logits; None = plain logits

    Returns:
        scalar

    Example:
        >>> views = [torch.zeros(1, 2, 1, 1)] * 3
        >>> round(float(scaled_cross_entropy(views, torch.zeros(1, 1, 1, dtype=torch.long), 255, None)), 4)
        2.0794
    """
    factors = torch.ones(len(logits)) if weights is None else weights
    labelled = (targets != ignored).sum().clamp(min=1)
    losses = [
        functional.cross_entropy(factor * view, targets, ignore_index=ignored, reduction="sum")
        for factor, view in zip(factors, logits, strict=True)
    ]
    return torch.stack(losses).sum() / labelled
