"""Features of a frozen ImageNet encoder, computed once for each image: a cheap stand-in for training a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from active_correction.collection import Picture
from rich.progress import track
from torch.nn import functional

from fiftyone_plugin.models.training.encoder_weights import encoder_format, new_model

STRIDE = 8  # pixels between two features
_PADDED_TO = 32
_DEEPEST = 128  # directions kept of the deepest level
_PER_IMAGE = 60  # deepest features of an image from which these directions come


def read_features(pictures: Sequence[Picture], weights: Path, folder: Path) -> list[npt.NDArray[np.float16]]:
    """Compute the features of all images, or read them where an earlier call left them.

    Args:
        pictures: whose images
        weights: state dict of an ImageNet MobileNetV2
        folder: for the features, 3 MB an image

    Returns:
        (D, ceil(H / 8), ceil(W / 8)) of each image, every channel of mean 0 and deviation 1
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{picture.name}.npy" for picture in pictures]
    if not all(path.exists() for path in files):
        _compute(pictures, weights, files)
    return [np.load(path) for path in files]


@torch.inference_mode()
def _compute(pictures: Sequence[Picture], weights: Path, files: Sequence[Path]) -> None:
    model, _ = new_model("unet", "mobilenet_v2", 2, weights)
    encoder: torch.nn.Module = model.encoder.eval()  # type: ignore[assignment, union-attr]
    mean, std = encoder_format("mobilenet_v2", weights)
    mean_map, std_map = (torch.tensor(values).reshape(3, 1, 1) for values in (mean, std))
    levels, sample = [], []
    random = np.random.default_rng(0)
    for picture in track(pictures, "features"):
        image = torch.from_numpy(picture.image).permute(2, 0, 1).float() / 255
        height, width = image.shape[1:]
        padding = (0, -width % _PADDED_TO, 0, -height % _PADDED_TO)
        padded = functional.pad(((image - mean_map) / std_map)[None], padding, mode="replicate")
        found = encoder(padded)[2:]
        levels.append([level[0].half() for level in found])
        cells = found[-1][0].flatten(1).T
        sample.append(cells[random.permutation(len(cells))[:_PER_IMAGE]])
    pool = torch.cat(sample)
    centre = pool.mean(dim=0)
    _, _, directions = torch.linalg.svd(pool - centre, full_matrices=False)
    maps = [_one_grid(each, centre, directions[:_DEEPEST].T, *picture.true.shape)
            for each, picture in zip(levels, pictures, strict=True)]  # fmt: skip
    total = sum(grid.double().sum(dim=(1, 2)) for grid in maps)
    squares = sum((grid.double() ** 2).sum(dim=(1, 2)) for grid in maps)
    count = sum(grid[0].numel() for grid in maps)
    middle = total / count
    spread = (squares / count - middle**2).clamp_min(1e-6).sqrt()
    for path, grid in zip(files, maps, strict=True):
        standard = (grid - middle[:, None, None].float()) / spread[:, None, None].float()
        np.save(path, standard.clamp(-30, 30).half().numpy())


def _one_grid(
    levels: Sequence[torch.Tensor], centre: torch.Tensor, directions: torch.Tensor, height: int, width: int
) -> torch.Tensor:
    """All levels on the grid of stride 8, the deepest one along its main directions, and its mean over the image."""
    fine, middle, coarse, deepest = (level.float()[None] for level in levels)
    deepest = torch.einsum("nchw,cd->ndhw", deepest - centre[:, None, None], directions)
    size = middle.shape[-2:]
    over_image = deepest.mean(dim=(2, 3), keepdim=True).expand(-1, -1, *size)
    parts = [functional.avg_pool2d(fine, 2), middle]
    parts += [functional.interpolate(level, size, mode="bilinear", align_corners=False) for level in (coarse, deepest)]
    grid = torch.cat([*parts, over_image], dim=1)[0]
    return grid[:, : -(-height // STRIDE), : -(-width // STRIDE)]
