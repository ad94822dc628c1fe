"""Image embeddings of SAM: what the slow half of the network makes of an image, kept on disk for every later prompt."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from ...errors import LabelQualityError
from ...written_files import write_file
from ..errors import one_line
from ..files.rgb import RgbImage

_FORMAT = 1


@dataclass(frozen=True)
class ImageEmbedding:
    """What SAM's image encoder says of one image.

    Attributes:
        features: (C, h, w) float16, of the square that the image was fitted into
        original_size: (height, width) of the image
        input_size: (height, width) of the image inside the square
        checkpoint: fingerprint of the weights; prompts of other weights are refused
        further: (c, h, w) float16 of further maps that the decoder reads: finer ones of SAM 2, SAM 3 and EdgeTAM, an
            inner one of SAM-HQ

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "street.npz"
        >>> ImageEmbedding(np.ones((4, 2, 2), np.float16), (30, 40), (24, 32), "a1").save(path)
        >>> ImageEmbedding.load(path).original_size
        (30, 40)
    """

    features: npt.NDArray[np.float16]
    original_size: tuple[int, int]
    input_size: tuple[int, int]
    checkpoint: str
    further: tuple[npt.NDArray[np.float16], ...] = ()

    def tensors(self, device: torch.device) -> list[torch.Tensor]:
        """All maps as the network takes them.

        Args:
            device: of the network

        Returns:
            (1, C, h, w) float32 each, `features` first
        """
        return [torch.as_tensor(one, device=device).float()[None] for one in (self.features, *self.further)]

    def save(self, path: str | Path) -> None:
        """Write the embedding in one step: a reader finds the whole file or none.

        Args:
            path: npz file; its folder is made if need be

        Raises:
            LabelQualityError: the file cannot be written; nothing half-written stays
        """
        path = Path(path)
        content = {
            "features": self.features,
            "sizes": np.array([self.original_size, self.input_size], np.int64),
            "checkpoint": np.array(self.checkpoint),
            "format": np.array(_FORMAT),
            **{f"further_{number}": one for number, one in enumerate(self.further)},
        }
        try:
            write_file(path, lambda file: np.savez(file, **content))  # type: ignore[arg-type]
        except OSError as error:
            raise _cannot_write(path, error) from error

    @classmethod
    def load(cls, path: str | Path) -> ImageEmbedding:
        """Read an embedding that `save` wrote.

        Args:
            path: npz file

        Returns:
            the embedding

        Raises:
            LabelQualityError: there is no such file, or it is damaged
        """
        try:
            with np.load(path, allow_pickle=False) as content:
                if int(content["format"]) != _FORMAT:
                    raise ValueError(f"format {int(content['format'])} instead of {_FORMAT}")
                original, inside = content["sizes"].tolist()
                names = ["features", *(f"further_{number}" for number in range(len(content.files) - 4))]
                features, *further = (content[name].astype(np.float16, copy=False) for name in names)
                checkpoint = str(content["checkpoint"])
                return cls(features, tuple(original), tuple(inside), checkpoint, tuple(further))
        except Exception as error:  # a damaged archive fails in many ways
            raise LabelQualityError(
                f"Cannot read {path} as an image embedding ({one_line(error)}); compute it again."
            ) from error


class Embedder(Protocol):
    """Anything that embeds images and can tell its weights from others."""

    @property
    def checkpoint(self) -> str:
        """Fingerprint of the weights."""

    def embed(self, image: RgbImage) -> ImageEmbedding:
        """Compute an embedding."""


class EmbeddingCache:
    """Embeddings in a folder, found again by the content of the image and by the weights.

    A renamed or copied image file keeps its embedding; a changed one gets another. A file and the array that it
    decodes to are two keys, for a file is never decoded to look its embedding up.

    Args:
        folder: one npz file per image and checkpoint; made when first written to
        sam: computes what is missing

    Example:
        >>> import tempfile
        >>> from .random_checkpoints import save_random_sam
        >>> from .sam import load_sam
        >>> folder = Path(tempfile.mkdtemp())
        >>> cache = EmbeddingCache(folder / "cache", load_sam(save_random_sam(folder / "tiny.pth"), device="cpu"))
        >>> image = np.zeros((30, 40, 3), np.uint8)
        >>> cache.has(image), cache.get(image).original_size, cache.has(image)
        (False, (30, 40), True)
    """

    def __init__(self, folder: str | Path, sam: Embedder) -> None:
        self.folder = Path(folder).expanduser()
        self._sam = sam

    def path(self, image: RgbImage) -> Path:
        """Return where the embedding of an image is or would be kept.

        Args:
            image: a file, or (H, W, 3) uint8

        Returns:
            the npz file

        Raises:
            LabelQualityError: the image file cannot be read
        """
        return self.folder / f"{_content_hash(image)}-{self._sam.checkpoint}.npz"

    def has(self, image: RgbImage) -> bool:
        """Tell whether an embedding is kept for an image; only `get` notices that its file is damaged.

        Args:
            image: a file, or (H, W, 3) uint8

        Returns:
            True if there is a file

        Raises:
            LabelQualityError: the image file cannot be read
        """
        return self.path(image).is_file()

    def get(self, image: RgbImage) -> ImageEmbedding:
        """Return an image's embedding: the kept one, else a new one, which is kept.

        Args:
            image: a file, or (H, W, 3) uint8

        Returns:
            the embedding

        Raises:
            LabelQualityError: the image cannot be read, or the embedding cannot be written
        """
        path = self.path(image)
        try:
            kept = ImageEmbedding.load(path)
            if kept.checkpoint == self._sam.checkpoint:
                return kept
        except LabelQualityError:
            pass
        computed = self._sam.embed(image)
        computed.save(path)
        return computed


def file_fingerprint(path: Path) -> str:
    """Return a short hash of a file's content.

    Args:
        path: any file

    Returns:
        32 hexadecimal digits

    Raises:
        OSError: the file cannot be read

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "empty"
        >>> path.touch()
        >>> file_fingerprint(path)
        'cae66941d9efbd404e4d88758ea67670'
    """
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _content_hash(image: RgbImage) -> str:
    if isinstance(image, (str, Path)):
        window = getattr(image, "window", None)  # the scale decides what the network sees
        try:
            return file_fingerprint(Path(image)) + ("" if window is None else f"-{window[0]:g}-{window[1]:g}")
        except OSError as error:
            raise LabelQualityError(f"Cannot read the image {image} ({one_line(error)}); check the path.") from error
    pixels = np.ascontiguousarray(image)
    digest = hashlib.blake2b(f"{pixels.shape} {pixels.dtype} ".encode(), digest_size=16)
    digest.update(pixels.data)
    return digest.hexdigest()


def _cannot_write(path: Path, error: OSError) -> LabelQualityError:
    return LabelQualityError(
        f"Cannot write the embedding {path} ({error.strerror or error}); free some disk space (an image takes about "
        "2 MB with SAM, 8 with SAM 2) or choose another folder."
    )
