"""SAM (Segment Anything) of any make: masks from points, from boxes, and of everything in an image.

The slow half of the network, the image encoder, runs once per image; its embedding answers any number of prompts.

References:
    Kirillov et al., Segment Anything, ICCV 2023.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ...errors import LabelQualityError
from ..files.checkpoints import read_state_dict
from ..files.rgb import RgbImage, rgb_pixels
from ..hardware.devices import BatchLimit, choose_device, free_memory, is_out_of_memory
from ..hardware.precision import half_type
from .checkpoint_names import ZOO_CHECKPOINTS, ZOO_ON_THE_HUB
from .mask_networks import MaskNetwork, SegmentAnythingNetwork
from .pretrained import weights_fingerprint
from .sam_architecture import sam_from_state
from .sam_automatic import LARGEST_SIDE, AutomaticMasks, find_masks
from .sam_automatic import AutomaticMask as AutomaticMask
from .sam_embeddings import EmbeddingCache as EmbeddingCache
from .sam_embeddings import ImageEmbedding as ImageEmbedding
from .sam_embeddings import file_fingerprint
from .transformers_sam import load_mask_network

_BOXES_PER_PASS = 32
_POINTS_PER_PASS = 64
_FLOATS_PER_PASS = 1 << 28  # mask logits at the image's size that one pass may make: 1 GiB
_LARGEST_HALF = float(np.finfo(np.float16).max)
FILE_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
_loading = threading.Lock()


class PointMask(NamedTuple):
    """The mask that a few points ask for.

    Attributes:
        mask: (H, W) bool
        score: the IoU that SAM predicts for it, usually in [0, 1]
        low_res: (1, 4h, 4w) float32 logits, `mask_input` of the next prompt
    """

    mask: npt.NDArray[np.bool_]
    score: float
    low_res: npt.NDArray[np.float32]


class Sam:
    """A SAM network on a device.

    Args:
        network: of segment-anything or transformers
        device: where it runs
        checkpoint: fingerprint of the weights
        half: type that the image encoder computes in, None = single precision. Prompts stay in single
            precision: half precision would move a point by pixels, and they cost next to nothing

    Attributes:
        model_type: `vit_b`, `vit_l`, `vit_h` or "custom" of segment-anything; `sam`, `sam2`, `sam3_tracker`, `sam_hq`
            or `edgetam` of transformers
        checkpoint: fingerprint of the weights
        device: where it runs
        half: type that the image encoder computes in, None = single precision

    Example:
        >>> import tempfile
        >>> from .random_checkpoints import save_random_sam
        >>> sam = load_sam(save_random_sam(Path(tempfile.mkdtemp()) / "tiny.pth"), device="cpu")
        >>> embedding = sam.embed(np.zeros((30, 40, 3), np.uint8))
        >>> sam.masks_from_points(embedding, [[20, 10]], [True]).mask.shape
        (30, 40)
        >>> masks, scores = sam.masks_from_boxes(embedding, [[0, 0, 20, 20], [10, 10, 40, 30]])
        >>> masks.shape, scores.shape
        ((2, 30, 40), (2,))
    """

    def __init__(
        self, network: MaskNetwork, device: torch.device, checkpoint: str, half: torch.dtype | None = None
    ) -> None:
        network.module.to(device)
        self.network = network
        self.device = device
        self.checkpoint = checkpoint
        self.model_type = network.name
        self.half = half

    def embed(self, image: RgbImage) -> ImageEmbedding:
        """Run the image encoder.

        Args:
            image: a file, or (H, W, 3) uint8 RGB

        Returns:
            the embedding

        Raises:
            SegmenterError: the file cannot be read
            LabelQualityError: not an 8-bit RGB image, far too narrow, or too large for the device's memory
        """
        pixels = rgb_pixels(image)
        with torch.inference_mode(), _memory_explained(self, "the image encoder"):
            features, inside = self.network.encode(pixels, self.half)
            first, *rest = (half_precision(one[0]) for one in features)
            return ImageEmbedding(first, (pixels.shape[0], pixels.shape[1]), inside, self.checkpoint, tuple(rest))

    def masks_from_points(
        self,
        embedding: ImageEmbedding,
        points: npt.ArrayLike,
        positive: npt.ArrayLike,
        *,
        mask_input: npt.NDArray[np.floating[Any]] | None = None,
    ) -> PointMask:
        """Return the mask that points ask for.

        One point alone is ambiguous (a wheel, or the car?): the best-scored of SAM's three masks is taken. Several
        points, or a point that refines an earlier mask, get SAM's single mask.

        Args:
            embedding: of the image
            points: (n, 2) x, y in pixels of the image
            positive: (n,) True = inside the object, False = outside
            mask_input: `low_res` of an earlier prompt on this image, to be refined

        Returns:
            (mask, score, low_res)

        Raises:
            LabelQualityError: shapes do not fit, or the embedding is another checkpoint's
        """
        places, signs = _require_points(points, positive)
        self._require_own(embedding)
        prompts = {
            "points": self._in_square(places, embedding)[None],
            "labels": torch.as_tensor(signs, dtype=torch.int, device=self.device)[None],
            **self._mask_prompt(mask_input),
        }
        with torch.inference_mode(), _memory_explained(self, "a mask of this size"):
            several = len(places) == 1 and mask_input is None
            low_res, scores = self.network.decode(self._features(embedding), several, prompts)
            best = int(scores[0].argmax())
            chosen = low_res[:, best : best + 1]
            mask = self._at_image_size(chosen, embedding)[0, 0]
            return PointMask(mask, float(scores[0, best]), chosen[0].float().cpu().numpy())

    def masks_from_boxes(
        self, embedding: ImageEmbedding, boxes: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """Return one mask per box.

        Args:
            embedding: of the image
            boxes: (n, 4) x1, y1, x2, y2 in pixels of the image

        Returns:
            ((n, H, W) masks, (n,) IoU that SAM predicts for each)

        Raises:
            LabelQualityError: shapes do not fit, the embedding is another checkpoint's, or memory runs out
        """
        count = len(_require_boxes(boxes))
        masks, scores = np.zeros((count, *embedding.original_size), bool), np.zeros(count, np.float32)
        for index, (mask, score) in enumerate(self.each_mask_from_boxes(embedding, boxes)):
            masks[index], scores[index] = mask, score
        return masks, scores

    def each_mask_from_boxes(
        self, embedding: ImageEmbedding, boxes: npt.ArrayLike
    ) -> Iterator[tuple[npt.NDArray[np.bool_], float]]:
        """Yield one mask per box, so that many masks of a large image need not be in memory together.

        Args:
            embedding: of the image
            boxes: (n, 4) x1, y1, x2, y2 in pixels of the image

        Yields:
            ((H, W) mask, IoU that SAM predicts for it), in the order of the boxes

        Raises:
            LabelQualityError: shapes do not fit, the embedding is another checkpoint's, or memory runs out
        """
        corners = _require_boxes(boxes)
        self._require_own(embedding)
        features = self._features(embedding) if len(corners) else []

        def run(part: Sequence[npt.NDArray[np.float64]]) -> list[tuple[npt.NDArray[np.bool_], float]]:
            with torch.inference_mode():
                boxes = self._in_square(np.reshape(part, (-1, 2)), embedding).reshape(-1, 4)
                low_res, scores = self.network.decode(features, False, {"boxes": boxes})
                masks = self._at_image_size(low_res, embedding)[:, 0]
                return list(zip(masks, scores[:, 0].tolist(), strict=True))

        limit = BatchLimit(self._per_pass(embedding.original_size, 1, _BOXES_PER_PASS))
        with _memory_explained(self, "a mask of this size"):
            for part in limit.passes(run, list(corners)):
                yield from part

    def automatic_masks(
        self,
        image: RgbImage | ImageEmbedding,
        *,
        points_per_side: int = 32,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        **options: Any,
    ) -> AutomaticMasks:
        """Find everything in an image: prompt SAM with a grid of points and keep good and stable masks.

        An image of more than 2,048 pixels along a side is looked at in that size, and its masks are enlarged.

        Args:
            image: a file, (H, W, 3) uint8 RGB, or its embedding
            points_per_side: points along each side of the grid
            pred_iou_thresh: masks whose predicted IoU is not above this are left out
            stability_score_thresh: masks that change more when the cutoff moves are left out
            options: further arguments of `segment_anything.SamAutomaticMaskGenerator`; crops
                (`crop_n_layers`) need the image itself, not its embedding

        Returns:
            sequence of (mask, area, score); of masks whose boxes are nearly the same, only the best-scored

        Raises:
            SegmenterError: the file cannot be read
            LabelQualityError: not an 8-bit RGB image, another checkpoint's embedding, crops of an embedding,
                or memory runs out
        """
        if isinstance(image, ImageEmbedding):
            self._require_own(image)
            if options.get("crop_n_layers"):
                raise LabelQualityError("Crops are embedded anew; pass the image instead of its embedding.")
            size = image.original_size
            seen: npt.NDArray[np.uint8] | ImageEmbedding = replace(image, original_size=_bounded(size))
        else:
            pixels = rgb_pixels(image)
            size = (pixels.shape[0], pixels.shape[1])
            seen = pixels if _bounded(size) == size else _shrunk(pixels, _bounded(size))
        grid = {
            "points_per_side": points_per_side,
            "pred_iou_thresh": pred_iou_thresh,
            "stability_score_thresh": stability_score_thresh,
        }
        points = self._per_pass(_bounded(size), self.network.num_masks, _POINTS_PER_PASS)
        with torch.inference_mode(), _memory_explained(self, "the masks of one point"):
            return AutomaticMasks(find_masks(self.network, seen, {**grid, **options}, points, self.half), size)

    def _features(self, embedding: ImageEmbedding) -> list[torch.Tensor]:
        return embedding.tensors(self.device)

    def _in_square(self, points: npt.NDArray[np.float64], embedding: ImageEmbedding) -> torch.Tensor:
        """Bring (n, 2) x, y of the image into the square that the network sees."""
        (height, width), inside = embedding.original_size, embedding.input_size
        scaled = points * [inside[1] / width, inside[0] / height]
        return torch.as_tensor(scaled, dtype=torch.float, device=self.device)

    def _at_image_size(self, logits: torch.Tensor, embedding: ImageEmbedding) -> npt.NDArray[np.bool_]:
        enlarged = self.network.enlarge(logits, embedding.input_size, embedding.original_size)
        return (enlarged > self.network.mask_threshold).cpu().numpy()

    def _mask_prompt(self, mask_input: npt.NDArray[np.floating[Any]] | None) -> dict[str, torch.Tensor]:
        if mask_input is None:
            return {}
        side = self.network.prompt_side
        if np.shape(mask_input) != (1, side, side):
            raise LabelQualityError(
                f"Expected `mask_input` of shape (1, {side}, {side}), but got {np.shape(mask_input)}; "
                "pass `low_res` of an earlier prompt."
            )
        return {"masks": torch.as_tensor(mask_input, dtype=torch.float, device=self.device)[None]}

    def _per_pass(self, size: tuple[int, int], masks: int, most: int) -> int:
        """Prompts of one pass: `most`, or fewer where their logits at the image's size would need much memory."""
        floats = masks * max(size[0] * size[1], self.network.image_size**2)
        return max(1, min(most, _FLOATS_PER_PASS // floats))

    def _require_own(self, embedding: ImageEmbedding) -> None:
        if embedding.checkpoint != self.checkpoint:
            raise LabelQualityError(
                f"Expected an embedding of checkpoint {self.checkpoint[:8]} ({self.model_type}), but this one is of "
                f"{embedding.checkpoint[:8]}; embed the image again with this checkpoint."
            )


def load_sam(
    checkpoint: str | Path,
    *,
    model_type: str | None = None,
    device: str | torch.device | None = None,
    half: bool | None = None,
) -> Sam:
    """Load a SAM of any make.

    Args:
        checkpoint: a .pth file of the package segment-anything; or, of transformers, a folder that `save_pretrained`
            wrote, a name on the hub such as "facebook/sam2.1-hiera-tiny", or the name of a SAM 2 or SAM 3 in FiftyOne's
            zoo, whose weights are then taken from the hub
        model_type: `Sam.model_type` to insist on; None = what the weights are
        device: None = CUDA, then MPS, then CPU
        half: the image encoder computes in half precision; None = where that is faster (CUDA, recent CPUs)

    Returns:
        the model, ready for images

    Raises:
        LabelQualityError: there is no such checkpoint, it is none of SAM or another model's, the device does not
            exist, half precision is asked for where it is slower, or the weights do not fit the device's memory

    Example:
        >>> import tempfile
        >>> from .random_checkpoints import save_random_mask_model, save_random_sam
        >>> load_sam(save_random_sam(Path(tempfile.mkdtemp()) / "tiny.pth"), device="cpu").model_type
        'custom'
        >>> load_sam(save_random_mask_model(tempfile.mkdtemp(), "edgetam"), device="cpu").model_type
        'edgetam'
    """
    name, chosen = ZOO_ON_THE_HUB.get(str(checkpoint), str(checkpoint)), choose_device(device)
    precision = half_type(chosen, half)
    network, fingerprint = _read_file(name) if _is_file_name(name) else _read_folder(name)
    if model_type not in (None, network.name):
        raise LabelQualityError(f"Expected a checkpoint of {model_type}, but {name} is one of {network.name}.")
    with _memory_explained(None, f"the weights of {Path(name).name}"):
        return Sam(network, chosen, fingerprint, precision)


def _is_file_name(name: str) -> bool:
    path = Path(name).expanduser()
    return path.is_file() or (path.suffix in FILE_ENDINGS and not path.is_dir())


def _read_file(name: str) -> tuple[MaskNetwork, str]:
    path = Path(name).expanduser()
    if not path.is_file():
        raise LabelQualityError(
            f"There is no SAM checkpoint {path}; download one ({', '.join(ZOO_CHECKPOINTS.values())}) from "
            "https://github.com/facebookresearch/segment-anything#model-checkpoints and pass its path."
        )
    module, sizes = sam_from_state(read_state_dict(path), str(path))
    return SegmentAnythingNetwork(module, sizes), file_fingerprint(path)


def _read_folder(name: str) -> tuple[MaskNetwork, str]:
    folder = Path(name).expanduser()
    network = load_mask_network(folder if folder.is_dir() else name)
    return network, weights_fingerprint(network.module)


def cached_sam(checkpoint: str | Path, device: str | torch.device | None = None, half: bool | None = None) -> Sam:
    """Load a checkpoint as `load_sam` does, or return the model if it was among the last two loaded.

    Args:
        checkpoint: file, folder or name; a changed file or folder is loaded anew
        device: None = CUDA, then MPS, then CPU
        half: the image encoder computes in half precision; None = where that is faster

    Returns:
        the model, shared by all who ask

    Raises:
        LabelQualityError: as `load_sam`

    Example:
        >>> import tempfile
        >>> from .random_checkpoints import save_random_sam
        >>> path = save_random_sam(Path(tempfile.mkdtemp()) / "tiny.pth")
        >>> cached_sam(path, "cpu") is cached_sam(str(path), "cpu")
        True
    """
    path = Path(checkpoint).expanduser()
    name = str(path.resolve()) if path.exists() else str(checkpoint)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    version = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file())
    with _loading:
        return _load_once(name, version, str(choose_device(device)), half)


@lru_cache(maxsize=2)
def _load_once(path: str, version: tuple[tuple[int, int], ...], device: str, half: bool | None) -> Sam:
    return load_sam(path, device=device, half=half)


@contextmanager
def _memory_explained(sam: Sam | None, what: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        free_memory()
        model = "the model" if sam is None else f"{sam.model_type} on {sam.device}"
        raise LabelQualityError(
            f"The device's memory is too small for {what} ({model}); close what else uses it, take a "
            "smaller checkpoint (vit_b of SAM, tiny of SAM 2, EdgeTAM) or smaller images, or pass device='cpu'."
        ) from error


def half_precision(values: torch.Tensor) -> npt.NDArray[np.float16]:
    """Values as they are kept on disk; what half precision cannot hold becomes the largest that it can.

    Args:
        values: of any shape

    Returns:
        the same shape

    Example:
        >>> half_precision(torch.tensor([1e9, 0.5])).tolist()
        [65504.0, 0.5]
    """
    return values.clamp(-_LARGEST_HALF, _LARGEST_HALF).half().cpu().numpy()


def _bounded(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, LARGEST_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _shrunk(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    from PIL import Image

    return np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _require_points(
    points: npt.ArrayLike, positive: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    places, signs = np.asarray(points, np.float64), np.asarray(positive, bool)
    if places.ndim != 2 or places.shape[1] != 2 or not len(places) or not np.isfinite(places).all():
        raise LabelQualityError(f"Expected `points` to be one or more finite (x, y), but got {np.asarray(points)!r}.")
    if signs.shape != (len(places),):
        raise LabelQualityError(
            f"Expected one value of `positive` per point, but got {len(places)} points and shape {signs.shape}."
        )
    return places, signs


def _require_boxes(boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
    corners = np.asarray(boxes, np.float64)
    if corners.size == 0:
        return corners.reshape(0, 4)
    if corners.ndim != 2 or corners.shape[1] != 4 or not np.isfinite(corners).all():
        raise LabelQualityError(
            f"Expected `boxes` to be (n, 4) finite x1, y1, x2, y2 in pixels, but got shape {corners.shape}."
        )
    return corners
