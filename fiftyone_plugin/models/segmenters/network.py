"""Probabilities from a network: normalise, pad, predict, average over flips and scales, resize back."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ...errors import LabelQualityError
from ..errors import ModelMismatchError, SegmenterError
from ..files.items import ImageItem
from ..hardware.devices import BatchLimit, choose_device, is_out_of_memory
from .channels import ChannelMap, ChannelMapping
from .outputs import FromLogits, class_probabilities, looks_like_logits, score_map
from .segmenter import Prediction, Segmenter, image_error
from .tiles import predict_tiles

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_FLIPS: dict[str, tuple[int, ...]] = {"horizontal": (3,), "vertical": (2,)}


@dataclass(frozen=True)
class InputFormat:
    """How images must look for a network.

    Args:
        mean: subtracted per channel, after scaling to `value_range`
        std: divided by, per channel
        value_range: what white is, usually 1.0, for some networks 255.0
        bgr: channels in the order blue, green, red
        size: (height, width) to which the image, or each tile, is resized; None = its own size
        shortest: pixels to which the shorter side is resized instead, keeping the proportions; None = not at all
        longest: most pixels of the longer side then
        square_windows: the image is cut along its longer side into squares, each of which is resized to `size`
        stride: height and width are padded to a multiple of it

    Example:
        >>> InputFormat(size=(513, 513)).stride
        1
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    value_range: float = 1.0
    bgr: bool = False
    size: tuple[int, int] | None = None
    stride: int = 1
    shortest: int | None = None
    longest: int | None = None
    square_windows: bool = False

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise LabelQualityError(
                f"Expected three means and three positive deviations, but got mean={self.mean}, std={self.std}."
            )
        if self.stride < 1 or (self.size is not None and min(self.size) < 1):
            raise LabelQualityError(
                f"Expected a positive stride and input size, but got stride={self.stride}, size={self.size}."
            )

    def in_proportion(self, height: int, width: int) -> tuple[int, int]:
        """Return the size to which `shortest` and `longest` resize an image.

        Args:
            height: of the image
            width: of the image

        Returns:
            (height, width)

        Example:
            >>> InputFormat(shortest=512, longest=1024).in_proportion(300, 900)
            (341, 1024)
        """
        if self.shortest is None:
            return height, width
        factor = self.shortest / min(height, width)
        if self.longest is not None:
            factor = min(factor, self.longest / max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))


@dataclass(frozen=True)
class NetworkOutput:
    """What a network returns.

    Args:
        num_channels: channels of its scores, where known before the first prediction
        channel_names: what the channels mean, where known
        from_logits: True, False, or "auto" to decide from the first batch
        batch: the only batch size that an exported graph takes; None = any
    """

    num_channels: int | None = None
    channel_names: tuple[str, ...] | None = None
    from_logits: FromLogits = "auto"
    batch: int | None = None


@dataclass(frozen=True)
class PredictionOptions:
    """How much work one prediction is.

    Args:
        flips: True averages over the image and its mirror image; or any of "horizontal", "vertical"
        scales: the probabilities of the image resized by each factor are averaged
        tile: (height, width), or one number for both, of windows over images larger than that
        overlap: pixels that neighbouring windows share at least; None = a quarter of the window
        amp: half precision on a CUDA device; turned off by itself when a value overflows

    Example:
        >>> PredictionOptions(flips=True, tile=512).tile_overlap
        (128, 128)
    """

    flips: bool | Sequence[str] = False
    scales: Sequence[float] = (1.0,)
    tile: int | tuple[int, int] | None = None
    overlap: int | None = None
    amp: bool = True

    def __post_init__(self) -> None:
        unknown = [] if isinstance(self.flips, bool) else [name for name in self.flips if name not in _FLIPS]
        if unknown:
            raise LabelQualityError(f"Expected flips among {sorted(_FLIPS)}, but got {unknown}.")
        if not self.scales or min(self.scales) <= 0:
            raise LabelQualityError(f"Expected one or more positive scales, but got {tuple(self.scales)}.")
        if self.tile_size is None:
            return
        pairs = zip(self.tile_overlap, self.tile_size, strict=True)
        if not all(0 <= overlap < length for overlap, length in pairs):
            raise LabelQualityError(
                f"Expected an overlap of at least 0 and less than the tile, but got overlap={self.overlap} "
                f"and tile={self.tile_size}."
            )

    @property
    def tile_size(self) -> tuple[int, int] | None:
        """(height, width) of a window, or None without windows."""
        return (self.tile, self.tile) if isinstance(self.tile, int) else self.tile

    @property
    def tile_overlap(self) -> tuple[int, int]:
        """Rows and columns that neighbouring windows share at least."""
        if self.tile_size is None:
            return (0, 0)
        if self.overlap is not None:
            return (self.overlap, self.overlap)
        return (self.tile_size[0] // 4, self.tile_size[1] // 4)

    @property
    def flip_axes(self) -> list[tuple[int, ...]]:
        """Axes of an (N, C, H, W) tensor to flip, one tuple per prediction that is averaged."""
        names = ["horizontal"] if self.flips is True else list(self.flips or ())
        axes = [()] + [_FLIPS[name] for name in dict.fromkeys(names)]
        return [*axes, (2, 3)] if len(axes) == 3 else axes


@dataclass
class _Decisions:
    """What the first batch settles."""

    from_logits: FromLogits
    half_precision: bool
    num_channels: int | None = None
    limit: BatchLimit = field(default_factory=BatchLimit)


class NetworkSegmenter(Segmenter):
    """Class probabilities from any `nn.Module` or callable of (N, 3, H, W) normalised float images.

    `load_segmenter` builds it and knows the defaults of each kind of model. The module is moved to the
    device and put in evaluation mode.

    Args:
        network: returns (N, C, h, w) scores of any resolution, or a dict, tuple or object that holds them
        num_classes: label classes K; None = the model's channels
        class_names: names of the K classes
        description: one line for records
        device: None = CUDA, then MPS, then CPU
        inputs: how images must look
        outputs: what the network returns
        options: flips, scales, tiles, precision
        channel_map: class of each model channel (see `ChannelMap`); None = channels are classes

    Raises:
        ModelMismatchError: the known channels do not fit `num_classes` and no map is given

    Example:
        >>> segmenter = NetworkSegmenter(torch.nn.Conv2d(3, 4, 1), num_classes=4, device="cpu")
        >>> segmenter.predict([np.zeros((5, 7, 3), np.uint8)])[0].shape
        torch.Size([4, 5, 7])
    """

    def __init__(
        self,
        network: Callable[[torch.Tensor], Any],
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        description: str = "model",
        device: str | torch.device | None = None,
        inputs: InputFormat | None = None,
        outputs: NetworkOutput | None = None,
        options: PredictionOptions | None = None,
        channel_map: ChannelMapping | None = None,
    ) -> None:
        outputs = outputs or NetworkOutput()
        if class_names is None and channel_map is None and outputs.channel_names is not None:
            # channels are classes; a wrong count is reported below, by its numbers
            class_names = outputs.channel_names if num_classes in (None, len(outputs.channel_names)) else None
        super().__init__(
            num_classes=num_classes,
            class_names=class_names,
            description=description,
            device=choose_device(device),
        )
        self.inputs = inputs or InputFormat()
        self.outputs = outputs
        self.options = options or PredictionOptions()
        self.channel_names = list(outputs.channel_names) if outputs.channel_names else None
        self.network = _ready(network, self.device)
        self._channel_map = self._make_map(channel_map)
        half = self.options.amp and self.device.type == "cuda"
        self._now = _Decisions(outputs.from_logits, half)
        self._windows = BatchLimit(8 if self.device.type == "cpu" else 16)
        mean, std = (torch.tensor(values, device=self.device) for values in (self.inputs.mean, self.inputs.std))
        self._mean, self._std = mean.reshape(3, 1, 1), std.reshape(3, 1, 1)
        if outputs.num_channels is not None:
            self._check_channels(outputs.num_channels)

    def _make_map(self, mapping: ChannelMapping | None) -> ChannelMap | None:
        if mapping is None:
            return None
        if self.num_classes is None:
            raise LabelQualityError("A `channel_map` needs `num_classes`, the number of label classes.")
        return ChannelMap(mapping, self.num_classes)

    def _results(self, batch: Sequence[ImageItem]) -> Iterator[tuple[int, Prediction]]:
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, item in enumerate(batch):
            groups[self._frame(item)].append(index)
        for frame, members in groups.items():
            yield from self._group(frame, [(index, batch[index]) for index in members])

    def _group(
        self, frame: tuple[int, int], members: Sequence[tuple[int, ImageItem]]
    ) -> Iterator[tuple[int, Prediction]]:
        """Predict images of one frame together; where that fails, one by one to find the culprit."""
        run = partial(self._together, frame)
        done = 0
        try:
            for part in self._now.limit.passes(run, members):
                yield from part
                done += len(part)
        except ModelMismatchError:
            raise
        except Exception as error:
            _require_three_channels(error, self.description)
            rest = members[done:]
            if len(rest) == 1 or is_out_of_memory(error):
                yield rest[0][0], self._named(rest[0][1], frame, error)
                rest = rest[1:]
            failed = rest
        else:
            return
        for member in failed:
            yield from self._group(frame, [member])

    def _named(self, item: ImageItem, frame: tuple[int, int], error: Exception) -> Exception:
        if not is_out_of_memory(error):
            return image_error(item, error)
        wrapped = SegmenterError(
            item.name,
            f"the memory of {self.device} is too small for a single image of {frame[0]} x {frame[1]} pixels; "
            "pass `tile=512`, a smaller `input_size`, fewer `scales`, or `device='cpu'`",
        )
        wrapped.__cause__ = error
        return wrapped

    @torch.no_grad()
    def _together(
        self, frame: tuple[int, int], members: Sequence[tuple[int, ImageItem]]
    ) -> list[tuple[int, Prediction]]:
        images = [self._normalise(item) for _, item in members]
        sizes = [item.size or image.shape[1:] for (_, item), image in zip(members, images, strict=True)]
        totals: list[torch.Tensor | None] = [None] * len(images)
        for scale in self.options.scales:
            scaled = (max(1, round(frame[0] * scale)), max(1, round(frame[1] * scale)))
            stack = torch.stack([resize(image, scaled) for image in images])
            for index, probabilities in enumerate(self._probabilities(stack)):
                resized, total = resize(probabilities, sizes[index]), totals[index]
                totals[index] = resized if total is None else total + resized
        count = len(self.options.scales)
        return [
            (index, total if count == 1 else total / count)
            for (index, _), total in zip(members, totals, strict=True)
            if total is not None
        ]

    def _frame(self, item: ImageItem) -> tuple[int, int]:
        """Height and width at which an image is predicted at scale 1; windows are resized one by one."""
        height, width = (int(length) for length in np.asarray(item.image).shape[:2])
        if self.options.tile_size is not None or self.inputs.square_windows:
            return height, width
        return self.inputs.size or self.inputs.in_proportion(height, width)

    def _normalise(self, item: ImageItem) -> torch.Tensor:
        pixels = np.require(item.image, requirements=["C", "W"])  # torch wants memory that it may write to
        image = torch.from_numpy(pixels).to(self.device).permute(2, 0, 1).float()
        if self.inputs.bgr:
            image = image.flip(0)
        return (image * (self.inputs.value_range / 255.0) - self._mean) / self._std

    def _probabilities(self, stack: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) normalised images -> (N, K, H, W) probabilities, in windows where they are large."""
        tile, overlap = self.options.tile_size, self.options.tile_overlap
        if tile is None and self.inputs.square_windows:
            side = min(stack.shape[2:])
            tile, overlap = (side, side), (0, 0)
        if tile is None:
            return self._flipped(stack)
        if stack.shape[2] <= tile[0] and stack.shape[3] <= tile[1]:
            return self._window(stack)
        tiled = [predict_tiles(self._window, image, tile, overlap, self._windows) for image in stack]
        return torch.stack(tiled)

    def _window(self, stack: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) windows -> (N, K, h, w) probabilities, computed at the network's input size."""
        wanted = self.inputs.size or (stack.shape[2], stack.shape[3])
        return resize(self._flipped(resize(stack, wanted)), (stack.shape[2], stack.shape[3]))

    def _flipped(self, stack: torch.Tensor) -> torch.Tensor:
        """Average the probabilities of a stack and its asked mirror images."""
        axes = self.options.flip_axes
        total = self._forward(stack)
        for flip in axes[1:]:
            total += self._forward(stack.flip(flip)).flip(flip)
        return total / len(axes) if len(axes) > 1 else total

    def _forward(self, stack: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, K, H, W) probabilities: pad, run, resize, crop, softmax, map channels."""
        height, width = stack.shape[2:]
        padded = pad_to_multiple(stack, self.inputs.stride)
        scores = self._finite_scores(padded)
        self._first_batch(scores)
        if scores.shape[2:] != padded.shape[2:]:
            scores = resize(scores, (padded.shape[2], padded.shape[3]))
        scores = scores[:, :, :height, :width]
        probabilities = class_probabilities(scores, self._now.from_logits is not False)
        return probabilities if self._channel_map is None else self._channel_map(probabilities)

    def _finite_scores(self, stack: torch.Tensor) -> torch.Tensor:
        scores = self._scores(stack)
        if self._now.half_precision and not bool(torch.isfinite(scores).all()):
            self._now.half_precision = False  # half precision overflowed: single precision from now on
            scores = self._scores(stack)
        return scores

    def _scores(self, stack: torch.Tensor) -> torch.Tensor:
        fixed = self.outputs.batch
        if fixed is None:
            return self._run(stack)
        missing = -len(stack) % fixed
        whole = torch.cat([stack, stack[-1:].expand(missing, -1, -1, -1)]) if missing else stack
        return torch.cat([self._run(part) for part in whole.split(fixed)])[: len(stack)]

    def _run(self, stack: torch.Tensor) -> torch.Tensor:
        with self._precision():
            output = self.network(stack)
        size = (int(stack.shape[2]), int(stack.shape[3]))
        channels = self.outputs.num_channels or (self.num_classes if self._channel_map is None else None)
        scores, known = score_map(output, len(stack), size, channels)
        if known is not None:
            self._now.from_logits = known
        return scores.to(self.device)

    def _precision(self) -> AbstractContextManager[Any]:
        if not self._now.half_precision:
            return nullcontext()
        return torch.autocast("cuda", dtype=torch.float16)

    def _first_batch(self, scores: torch.Tensor) -> None:
        """Settle, on the first scores, what the channels are and whether they are logits."""
        if self._now.num_channels != scores.shape[1]:
            self._check_channels(scores.shape[1])
            self._now.num_channels = scores.shape[1]
        if self._now.from_logits == "auto" and bool(torch.isfinite(scores).all()):
            self._now.from_logits = looks_like_logits(scores)

    def _check_channels(self, count: int) -> None:
        if self._channel_map is not None:
            self._channel_map.check(max(count, 2))
            return
        classes = max(count, 2)  # one channel is class 1 against class 0
        if self.num_classes is None:
            self.num_classes = classes
        if self.num_classes != classes:
            raise ModelMismatchError(
                f"Expected the model to have one channel per class, but it has {count} channels and the labels "
                f"have {self.num_classes} classes; pass `channel_map={{channel: class, ...}}` to sum or drop "
                "channels, or use a model trained on these classes."
            )


def resize(images: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resize by anti-aliased bilinear interpolation, which keeps probabilities summing to one.

    Args:
        images: (C, H, W) or (N, C, H, W) floating point
        size: (height, width) wanted

    Returns:
        the same number of axes; the input itself when it has that size

    Example:
        >>> resize(torch.ones(2, 4, 4), (2, 6)).shape
        torch.Size([2, 2, 6])
    """
    wanted = (int(size[0]), int(size[1]))
    if tuple(images.shape[-2:]) == wanted:
        return images
    shrinks = wanted[0] < images.shape[-2] or wanted[1] < images.shape[-1]
    batch = images if images.ndim == 4 else images[None]
    resized = functional.interpolate(batch, wanted, mode="bilinear", align_corners=False, antialias=shrinks)
    return resized if images.ndim == 4 else resized[0]


def pad_to_multiple(images: torch.Tensor, stride: int) -> torch.Tensor:
    """Repeat the last rows and columns until height and width are multiples of a stride.

    Args:
        images: (N, C, H, W)
        stride: of the network's coarsest features

    Returns:
        (N, C, H', W'), the input at its top left

    Example:
        >>> pad_to_multiple(torch.zeros(1, 3, 5, 8), 4).shape
        torch.Size([1, 3, 8, 8])
    """
    height, width = images.shape[-2:]
    bottom = math.ceil(height / stride) * stride - height
    right = math.ceil(width / stride) * stride - width
    if not bottom and not right:
        return images
    return functional.pad(images, (0, right, 0, bottom), mode="replicate")


def _ready(network: Callable[[torch.Tensor], Any], device: torch.device) -> Callable[[torch.Tensor], Any]:
    if not callable(network):
        raise LabelQualityError(f"Expected a model or a callable, but got a {type(network).__name__}.")
    if not isinstance(network, torch.nn.Module):
        return network
    network = network.to(device)
    try:
        return network.eval()
    except NotImplementedError:  # graphs from torch.export have one mode only
        return network


def _require_three_channels(error: Exception, description: str) -> None:
    """Say it once of the whole model where a network was made for images of another number of channels."""
    found = re.search(r"to have (\d+) channels, but got 3 channels", str(error))
    if found:
        raise ModelMismatchError(
            f"Expected a network of images with 3 channels, but {description} takes {found[1]}. Images are read as "
            "RGB, grey ones with three equal channels; wrap a network of grey images: "
            "`lambda x: network(x.mean(1, keepdim=True))`."
        ) from error
