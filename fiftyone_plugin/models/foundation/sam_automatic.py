"""SAM without prompts: a grid of points over the image, of whose masks the good and stable ones stay.

References:
    Kirillov et al., Segment Anything, ICCV 2023, appendix B; computed by the package segment-anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt
import torch

from ..hardware.devices import free_memory, is_out_of_memory

if TYPE_CHECKING:
    from segment_anything import SamPredictor
    from segment_anything.modeling import Sam as SamNetwork

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
    network: SamNetwork,
    image: npt.NDArray[np.uint8] | ImageEmbedding,
    options: Mapping[str, Any],
    points_per_pass: int,
) -> list[dict[str, Any]]:
    """Run segment-anything's automatic mask generator, with fewer points at once when memory runs out.

    Args:
        network: the SAM network
        image: (H, W, 3) uint8 RGB, or an embedding, which is not computed again
        options: of `segment_anything.SamAutomaticMaskGenerator`
        points_per_pass: points that one pass of the mask decoder takes at first

    Returns:
        the generator's records, masks run-length encoded

    Raises:
        RuntimeError: memory runs out even for a single point

    Example:
        >>> from .sam_architecture import TINY, build_sam
        >>> find_masks(build_sam(TINY), np.zeros((30, 40, 3), np.uint8), {"pred_iou_thresh": 1e9}, 64)
        []
    """
    from segment_anything import SamAutomaticMaskGenerator, SamPredictor

    pixels = image if isinstance(image, np.ndarray) else np.broadcast_to(np.uint8(0), (*image.original_size, 3))
    while True:
        generator = SamAutomaticMaskGenerator(
            network, **{"points_per_batch": points_per_pass, **options, "output_mode": "uncompressed_rle"}
        )
        generator.predictor = SamPredictor(network) if isinstance(image, np.ndarray) else _embedded(network, image)
        if generator.predictor.device.type == "mps":
            generator.predictor.transform = _single_precision(generator.predictor.transform)
        try:
            return generator.generate(pixels)
        except RuntimeError as error:
            if generator.points_per_batch == 1 or not is_out_of_memory(error):
                raise
            points_per_pass = generator.points_per_batch // 2
            options = {name: value for name, value in options.items() if name != "points_per_batch"}
        free_memory()


def _embedded(network: SamNetwork, embedding: ImageEmbedding) -> SamPredictor:
    """A predictor that takes an embedding for the whole image instead of computing one."""
    from segment_anything import SamPredictor

    class EmbeddedImage(SamPredictor):
        def set_image(self, image: npt.NDArray[np.uint8], image_format: str = "RGB") -> None:
            self.features = torch.as_tensor(embedding.features, device=self.device).float()[None]
            self.original_size = embedding.original_size
            self.input_size = embedding.input_size
            self.is_image_set = True

    return EmbeddedImage(network)


def _single_precision(transform: Any) -> Any:
    """Apple's devices take no doubles, and the generator hands its points over as they come."""
    scale = transform.apply_coords
    transform.apply_coords = lambda points, size: scale(points, size).astype(np.float32)
    return transform


def _enlarged(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    if mask.shape == size:
        return mask
    rows, columns = (
        ((np.arange(wanted) + 0.5) * (length / wanted)).astype(np.intp)
        for wanted, length in zip(size, mask.shape, strict=True)
    )
    return mask[rows[:, None], columns[None, :]]
