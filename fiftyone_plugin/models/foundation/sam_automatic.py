"""SAM without prompts: a grid of points over the image, of whose masks the good and stable ones stay.

References:
    Kirillov et al., Segment Anything, ICCV 2023, appendix B; computed by the package segment-anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt
import torch

from ..hardware.devices import free_memory, is_out_of_memory

if TYPE_CHECKING:
    from .mask_networks import MaskNetwork
    from .sam_embeddings import ImageEmbedding

LARGEST_SIDE = 2048  # of the image that masks are computed for; the network itself sees 1,024 pixels


class AutomaticMask(NamedTuple):
    """One of the masks that SAM finds by itself.

    Attributes:
        mask: (H, W) bool
        area: pixels of the mask
        score: the IoU that SAM predicts for it
    """

    mask: npt.NDArray[np.bool_]
    area: int
    score: float


class AutomaticMasks(Sequence[AutomaticMask]):
    """All masks that SAM finds in an image; each is unpacked when it is looked at, so that they fit into memory.

    Args:
        records: of segment-anything's generator, masks run-length encoded
        size: (height, width) of the image, to which the masks are enlarged

    Example:
        >>> runs = {"segmentation": {"size": [1, 2], "counts": [1, 1]}, "predicted_iou": 0.9}
        >>> mask, area, score = AutomaticMasks([runs], (2, 4))[0]
        >>> mask.astype(int), area, score
        (array([[0, 0, 1, 1],
               [0, 0, 1, 1]]), 4, 0.9)
    """

    def __init__(self, records: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> None:
        self._records = records
        self._size = size

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> AutomaticMask: ...
    @overload
    def __getitem__(self, index: slice) -> AutomaticMasks: ...
    def __getitem__(self, index: int | slice) -> AutomaticMask | AutomaticMasks:
        """Return a mask, or some of the masks."""
        if isinstance(index, slice):
            return AutomaticMasks(self._records[index], self._size)
        from segment_anything.utils.amg import rle_to_mask

        record = self._records[index]
        mask = _enlarged(rle_to_mask(record["segmentation"]), self._size)
        return AutomaticMask(mask, int(np.count_nonzero(mask)), float(record["predicted_iou"]))


def find_masks(
    network: MaskNetwork,
    image: npt.NDArray[np.uint8] | ImageEmbedding,
    options: Mapping[str, Any],
    points_per_pass: int,
    half: torch.dtype | None = None,
) -> list[dict[str, Any]]:
    """Run segment-anything's automatic mask generator, with fewer points at once when memory runs out.

    Args:
        network: of the SAM family
        image: (H, W, 3) uint8 RGB, or an embedding, which is not computed again
        options: of `segment_anything.SamAutomaticMaskGenerator`
        points_per_pass: points that one pass of the mask decoder takes at first
        half: type that the image encoder computes in, None = single precision

    Returns:
        the generator's records, masks run-length encoded

    Raises:
        RuntimeError: memory runs out even for a single point

    Example:
        >>> from .mask_networks import SegmentAnythingNetwork
        >>> from .sam_architecture import TINY, build_sam
        >>> network = SegmentAnythingNetwork(build_sam(TINY), TINY)
        >>> find_masks(network, np.zeros((30, 40, 3), np.uint8), {"pred_iou_thresh": 1e9}, 64)
        []
    """
    from segment_anything import SamAutomaticMaskGenerator

    pixels = image if isinstance(image, np.ndarray) else np.broadcast_to(np.uint8(0), (*image.original_size, 3))
    shape_only: Any = SimpleNamespace(image_encoder=SimpleNamespace(img_size=network.image_size))
    while True:
        generator = SamAutomaticMaskGenerator(
            shape_only, **{"points_per_batch": points_per_pass, **options, "output_mode": "uncompressed_rle"}
        )
        generator.predictor = _Predictor(network, None if isinstance(image, np.ndarray) else image, half)
        try:
            return generator.generate(pixels)
        except RuntimeError as error:
            if generator.points_per_batch == 1 or not is_out_of_memory(error):
                raise
            points_per_pass = generator.points_per_batch // 2
            options = {name: value for name, value in options.items() if name != "points_per_batch"}
        free_memory()


class _Predictor:
    """What segment-anything's generator asks of its predictor, answered by any network of the family."""

    def __init__(self, network: MaskNetwork, embedding: ImageEmbedding | None, half: torch.dtype | None) -> None:
        self.model = network  # for its `mask_threshold`
        self.transform = self  # for `apply_coords`
        self.device = next(network.module.parameters()).device
        self._embedding, self._half = embedding, half

    def set_image(self, image: npt.NDArray[np.uint8]) -> None:
        """Look at an image, or at the embedding that stands for it."""
        self._size = (image.shape[0], image.shape[1])
        if self._embedding is not None:
            self._features, self._inside = self._embedding.tensors(self.device), self._embedding.input_size
        else:
            self._features, self._inside = self.model.encode(image, self._half)

    def reset_image(self) -> None:
        """Nothing has to be forgotten: the generator sets an image before it asks."""

    def apply_coords(self, points: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[np.floating[Any]]:
        """Bring (n, 2) x, y into the square that the network sees."""
        scaled = points * [self._inside[1] / size[1], self._inside[0] / size[0]]
        return scaled.astype(np.float32) if self.device.type == "mps" else scaled  # which takes no doubles

    def predict_torch(
        self, points: torch.Tensor, labels: torch.Tensor, multimask_output: bool, return_logits: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return logits at the image's size, predicted IoU, and logits as the network gives them."""
        logits, scores = self.model.decode(self._features, multimask_output, {"points": points, "labels": labels})
        return self.model.enlarge(logits, self._inside, self._size), scores, logits


def _enlarged(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    if mask.shape == size:
        return mask
    rows, columns = (
        ((np.arange(wanted) + 0.5) * (length / wanted)).astype(np.intp)
        for wanted, length in zip(size, mask.shape, strict=True)
    )
    return mask[rows[:, None], columns[None, :]]
