"""Probabilities from heads on frozen features, and of each image by the heads that have not seen it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from ...errors import LabelQualityError
from ..errors import one_line
from ..files.items import ImageItem
from ..hardware.devices import choose_device
from ..segmenters.channels import ChannelMap, ChannelMapping
from ..segmenters.network import resize
from ..segmenters.segmenter import Prediction, Segmenter, image_error
from ..training.cross_validation import CrossValidatedSegmenter, fold_folder
from .encoders import Features, FrozenEncoder, read_encoder
from .head import FeatureHead, place_map
from .store import FOLDER, FeatureStore

METHOD = "frozen_features"
"""What folds.json says of the architecture."""

_ENCODER_FILE = "encoder.safetensors"
_HEADS_FILE = "heads.json"


class FrozenFeatureSegmenter(Segmenter):
    """Predicts by the mean scores of some heads on the features of one encoder.

    Args:
        store: gives features
        heads: at least one
        temperature: what their scores are divided by
        num_classes: label classes K
        class_names: names of the K classes
        description: one line for records
        channel_map: class of each trained class (see `ChannelMap`); None = they are the classes
        mirrored: whether each image is seen mirrored, too, and both scores are averaged
    """

    def __init__(
        self,
        store: FeatureStore,
        heads: Sequence[FeatureHead],
        temperature: float,
        *,
        num_classes: int | None,
        class_names: Sequence[str] | None = None,
        description: str = METHOD,
        channel_map: ChannelMapping | None = None,
        mirrored: bool = False,
    ) -> None:
        device = store.encoder.device
        super().__init__(num_classes=num_classes, class_names=class_names, description=description, device=device)
        self._store = store
        self._heads = [head.to(device) for head in heads]
        self._temperature = temperature
        self._mirrored = mirrored
        self._channels = None
        if channel_map is not None:
            if num_classes is None:
                raise LabelQualityError("A `channel_map` needs `num_classes`, the number of label classes.")
            self._channels = ChannelMap(channel_map, num_classes)

    def _results(self, batch: Sequence[ImageItem]) -> Iterator[tuple[int, Prediction]]:
        images = [np.asarray(item.image) for item in batch]
        flipped = [np.ascontiguousarray(image[:, ::-1]) for image in images] if self._mirrored else []
        try:
            features = self._store.get(images)
            mirrored: list[Features | None] = [*self._store.encoder.features(flipped)] or [None] * len(images)
        except Exception as error:  # one by one, to find the culprit
            if len(batch) == 1:
                yield 0, image_error(batch[0], error)
                return
            for index, item in enumerate(batch):
                yield from ((index, result) for _, result in self._results([item]))
            return
        for index, (item, seen, turned) in enumerate(zip(batch, features, mirrored, strict=True)):
            try:
                yield index, self._probabilities(seen, turned, images[index], item.size)
            except RuntimeError as error:
                yield index, image_error(item, error)

    def _probabilities(
        self, levels: Features, mirrored: Features | None, image: np.ndarray, size: tuple[int, int] | None
    ) -> torch.Tensor:
        scores = self.logits(levels, image)
        if mirrored is not None:
            scores = (scores + self.logits(mirrored, image).flip(2)) / 2
        probabilities = (scores / self._temperature).softmax(0)
        if self._channels is not None:
            probabilities = self._channels(probabilities[None])[0]
        return resize(probabilities, size or image.shape[:2])

    @torch.inference_mode()
    def logits(self, levels: Sequence[torch.Tensor], image: np.ndarray) -> torch.Tensor:
        """Mean scores of the heads.

        Args:
            levels: features of the image
            image: (H, W, 3) uint8

        Returns:
            (K, H, W) on the device
        """
        encoder = self._store.encoder
        size = (int(image.shape[0]), int(image.shape[1]))
        place = place_map(*encoder.grid(size))[None].to(self.device)
        batch = [level[None].to(self.device) for level in levels]
        scores = torch.stack([head(batch, place) for head in self._heads]).mean(0)
        seen = encoder.seen_size(size)
        fine = functional.interpolate(scores, scale_factor=encoder.stride, mode="bilinear", align_corners=False)
        return resize(fine[0, :, : seen[0], : seen[1]], size).clone()


class FrozenFeatureFolds(CrossValidatedSegmenter):
    """Predicts each image with the heads of the fold that has not seen it.

    Args:
        folder: of a finished `cross_validate_frozen_features`
        num_classes: label classes K; None = those of training
        class_names: names of the K classes; None = those of training
        device: None = CUDA, then MPS, then CPU
        channel_map: class of each training class (see `ChannelMap`)

    Raises:
        LabelQualityError: no finished cross-validation there
        ModelMismatchError: trained on another number of classes than `num_classes`
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        device: str | torch.device | None = None,
        channel_map: ChannelMapping | None = None,
    ) -> None:
        super().__init__(
            folder, num_classes=num_classes, class_names=class_names, device=device, channel_map=channel_map
        )
        encoder = kept_encoder(self.folder, self.record.config, self.device)
        # what was not kept in training is computed anew; scoring keeps nothing
        self._store = FeatureStore(self.folder / FOLDER, encoder, limit=0)

    def _load(self, fold: int) -> Segmenter:
        return load_heads(
            fold_folder(self.folder, fold), self.record.config, self._store, self.record.num_classes,
            num_classes=self.num_classes, channel_map=self._channel_map,
        )  # fmt: skip


def save_heads(folder: Path, heads: Sequence[FeatureHead], temperature: float) -> None:
    """Write a fold's heads.

    Args:
        folder: of the fold
        heads: of all seeds
        temperature: of their probabilities
    """
    folder.mkdir(exist_ok=True)
    for place, head in enumerate(heads):
        state = {name: value.cpu().contiguous() for name, value in head.state_dict().items()}
        save_file(state, folder / f"head_{place}.safetensors")
    (folder / _HEADS_FILE).write_text(json.dumps({"heads": len(heads), "temperature": temperature}))


def load_heads(
    folder: Path, config: Mapping[str, Any], store: FeatureStore, trained_classes: int, **options: Any
) -> FrozenFeatureSegmenter:
    """Read a fold's heads.

    Args:
        folder: of the fold
        config: of the training
        store: gives features
        trained_classes: that the heads tell apart
        options: of the segmenter

    Returns:
        the fold's segmenter

    Raises:
        LabelQualityError: a file is missing or damaged
    """
    try:
        about = json.loads((folder / _HEADS_FILE).read_text())
        heads = []
        for place in range(int(about["heads"])):
            head = FeatureHead(store.encoder.about.channels, trained_classes, config["width"], config["blocks"])
            head.load_state_dict(load_file(folder / f"head_{place}.safetensors"))
            heads.append(head.eval().requires_grad_(requires_grad=False))
    except Exception as error:  # a damaged file may raise nearly anything
        raise LabelQualityError(
            f"The heads in {folder} cannot be read ({one_line(error)}); train again with `resume=False`."
        ) from error
    mirrored = bool(config.get("mirrored", False))
    return FrozenFeatureSegmenter(store, heads, float(about["temperature"]), mirrored=mirrored, **options)


def keep_encoder(folder: Path, encoder: FrozenEncoder) -> None:
    """Write the encoder's weights beside the heads, which are worth nothing without them.

    Args:
        folder: of the cross-validation
        encoder: in use
    """
    state = {name: value.contiguous() for name, value in encoder.network.state_dict().items()}
    save_file(state, folder / _ENCODER_FILE)


def kept_encoder(folder: Path, config: Mapping[str, Any], device: str | torch.device | None) -> FrozenEncoder:
    """Read the encoder that a folder's heads were trained with.

    Args:
        folder: of the cross-validation
        config: of the training
        device: None = the best there is

    Returns:
        the encoder

    Raises:
        LabelQualityError: its file is missing or damaged
    """
    try:
        state = load_file(folder / _ENCODER_FILE)
    except Exception as error:  # a damaged file may raise nearly anything
        raise LabelQualityError(
            f"The encoder in {folder} cannot be read ({one_line(error)}); train again with `resume=False`."
        ) from error
    return read_encoder(
        config["encoder"],
        state,
        choose_device(device),
        stride=config["stride"],
        max_pixels=config["max_pixels"],
        enlarge=config.get("enlarge", 1),
    )
