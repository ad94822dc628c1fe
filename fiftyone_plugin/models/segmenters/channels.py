"""From a model's channels to the label's classes: summing, dropping and renormalising probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import ModelMismatchError

ChannelMapping = Mapping[int, int | None] | Sequence[int | None]


class ChannelMap:
    """Sums the probabilities of model channels into label classes and renormalises what is left.

    Args:
        mapping: class of each model channel; None, or a channel that a mapping leaves out, drops the channel.
            A sequence names every channel in order, a mapping only those that are kept.
        num_classes: number of label classes K

    Raises:
        ModelMismatchError: a class outside 0..K-1, or nothing kept

    Example:
        >>> merge = ChannelMap({0: 0, 1: 1, 2: 1}, num_classes=2)
        >>> merge(torch.tensor([0.2, 0.3, 0.3, 0.2]).reshape(1, 4, 1, 1)).flatten()
        tensor([0.2500, 0.7500])
    """

    def __init__(self, mapping: ChannelMapping, num_classes: int) -> None:
        pairs = mapping.items() if isinstance(mapping, Mapping) else enumerate(mapping)
        self.kept = {int(channel): int(label) for channel, label in pairs if label is not None}
        self.num_classes = num_classes
        self._length = None if isinstance(mapping, Mapping) else len(mapping)
        outside = sorted({label for label in self.kept.values() if not 0 <= label < num_classes})
        if outside:
            raise ModelMismatchError(
                f"Expected `channel_map` to name classes 0..{num_classes - 1}, but got {outside}; "
                "pass a larger `num_classes` or correct the map."
            )
        if not self.kept:
            raise ModelMismatchError(
                f"Expected `channel_map` to keep at least one channel, but it drops all: {mapping!r}."
            )

    def check(self, num_channels: int) -> None:
        """Raise unless the map fits a model of `num_channels` channels.

        Args:
            num_channels: channels of the model

        Raises:
            ModelMismatchError: the map names channels that the model lacks, or is a list of another length
        """
        if self._length not in (None, num_channels):
            raise ModelMismatchError(
                f"Expected `channel_map` to name the class of each of the model's {num_channels} channels, "
                f"but it names {self._length}; use None for a channel to drop."
            )
        beyond = sorted(channel for channel in self.kept if not 0 <= channel < num_channels)
        if beyond:
            raise ModelMismatchError(
                f"Expected `channel_map` to name channels 0..{num_channels - 1} of the model, but it names "
                f"{beyond}; correct the map."
            )

    def __call__(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Return (N, K, H, W) class probabilities of (N, C, H, W) channel probabilities.

        A pixel whose whole mass was on dropped channels says nothing: all classes become equally likely.

        Args:
            probabilities: (N, C, H, W), sums to one over C

        Returns:
            (N, K, H, W), sums to one over K
        """
        self.check(probabilities.shape[1])
        shape = (probabilities.shape[0], self.num_classes, *probabilities.shape[2:])
        summed = probabilities.new_zeros(shape)
        for channel, label in self.kept.items():  # not index_add_, whose order of summing varies on a GPU
            summed[:, label] += probabilities[:, channel]
        mass = summed.sum(1, keepdim=True)
        equal = torch.full_like(summed, 1.0 / self.num_classes)
        return torch.where(mass > 1e-6, summed / mass.clamp(min=1e-6), equal)


def sum_channels(probabilities: Any, channels: Sequence[Sequence[int]]) -> Any:
    """Give the probabilities of classes that several channels predict.

    Args:
        probabilities: (C, H, W) array or tensor of channels
        channels: those of each class

    Returns:
        (K, H, W) of the classes, of the same kind

    Example:
        >>> sum_channels(torch.tensor([0.2, 0.3, 0.5]).reshape(3, 1, 1), [(2,), (0, 1)]).flatten()
        tensor([0.5000, 0.5000])
    """
    given = probabilities if isinstance(probabilities, torch.Tensor) else torch.from_numpy(np.asarray(probabilities))
    parts = [given[list(one)] for one in channels]
    summed = torch.stack([part.sum(0) for part in parts])
    return summed if isinstance(probabilities, torch.Tensor) else summed.numpy()
