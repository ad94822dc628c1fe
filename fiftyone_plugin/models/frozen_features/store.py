"""Features on disk: one file per image, half precision, at most so many bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ...errors import LabelQualityError
from ...written_files import sweep, write_file
from .encoders import Features, FrozenEncoder

FOLDER = "features"
_RECORD = "features.json"
_FORMAT = 1


class FeatureStore:
    """Features of images by what is in the image; what is not there is computed, and kept while there is room.

    A file is written whole or not at all, so an interrupted pass goes on with the next image. A damaged file is
    computed again.

    Args:
        folder: of the files; None = nothing is kept
        encoder: computes them
        limit: bytes that may be kept

    Raises:
        LabelQualityError: the folder holds features of another encoder

    Example:
        >>> import tempfile, torch
        >>> from .encoders import load_encoder_network
        >>> encoder = load_encoder_network("test_efficientnet", None, torch.device("cpu"))
        >>> store = FeatureStore(Path(tempfile.mkdtemp()), encoder, limit=1 << 20)
        >>> image = np.zeros((32, 32, 3), np.uint8)
        >>> [len(levels) for levels in store.get([image])], store.holds(image)
        ([6], True)
    """

    def __init__(self, folder: Path | None, encoder: FrozenEncoder, limit: int) -> None:
        self.encoder = encoder
        self._folder = folder
        self._left = limit
        if folder is not None:
            self._claim(folder)

    def _claim(self, folder: Path) -> None:
        about = self.encoder.about
        own = {
            "format": _FORMAT, "encoder": about.name, "weights": about.digest, "stride": self.encoder.stride,
            "max_pixels": self.encoder.max_pixels, "enlarge": self.encoder.enlarge,
        }  # fmt: skip
        path = folder / _RECORD
        sweep(folder)
        if path.is_file():
            try:
                there = dict(json.loads(path.read_text()))
            except ValueError:
                there = {}
            if there != own:
                differing = [
                    f"{n}={there.get(n)!r} there and {n}={own[n]!r} now" for n in own if there.get(n) != own[n]
                ]
                raise LabelQualityError(
                    f"{folder} holds features of another encoder: {'; '.join(differing)}. Delete that folder, or use "
                    "another one."
                )
        else:
            write_file(path, lambda file: file.write(json.dumps(own).encode()))
        self._left -= sum(file.stat().st_size for file in folder.glob("*.safetensors"))

    @property
    def room(self) -> bool:
        """Whether more may be kept."""
        return self._folder is not None and self._left > 0

    def size_of(self, image: np.ndarray) -> int:
        """Bytes that the kept features of an image take.

        Args:
            image: (H, W, 3) uint8
        """
        return self._path(image).stat().st_size

    def holds(self, image: np.ndarray) -> bool:
        """Whether the features of an image are kept.

        Args:
            image: (H, W, 3) uint8
        """
        return self._folder is not None and self._path(image).is_file()

    def get(self, images: Sequence[np.ndarray]) -> list[Features]:
        """Features of some images, read or computed.

        Args:
            images: (H, W, 3) uint8 each

        Returns:
            per image, its levels
        """
        found = [self._read(image) for image in images]
        missing = [place for place, levels in enumerate(found) if levels is None]
        computed = self.encoder.features([images[place] for place in missing])
        for place, levels in zip(missing, computed, strict=True):
            self._keep(images[place], levels)
            found[place] = levels
        return [levels for levels in found if levels is not None]

    def _path(self, image: np.ndarray) -> Path:
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16, key=str(image.shape).encode())
        return (self._folder or Path()) / f"{digest.hexdigest()}.safetensors"

    def _read(self, image: np.ndarray) -> Features | None:
        if self._folder is None:
            return None
        path = self._path(image)
        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get("encoder") != self.encoder.about.digest:
                    return None
                return [file.get_tensor(str(level)) for level in range(len(self.encoder.about.channels))]
        except (OSError, SafetensorError):
            return None

    def _keep(self, image: np.ndarray, levels: Features) -> None:
        size = sum(level.numel() * 2 for level in levels)
        if self._folder is None or self._left <= 0:
            return
        if size > self._left:
            self._left = 0  # full from here on: smaller images must not be kept in place of larger ones
            return
        tensors = {str(level): value.contiguous() for level, value in enumerate(levels)}
        content = save(tensors, metadata={"encoder": self.encoder.about.digest})
        write_file(self._path(image), lambda file: file.write(content))
        self._left -= size
