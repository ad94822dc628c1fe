"""Masks as run lengths, in the compressed form of COCO: column by column, six bits a character."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError

Mask = npt.NDArray[np.bool_]


def encode(mask: Mask) -> str:
    """The run lengths of a mask.

    Args:
        mask: (H, W) bool

    Returns:
        what COCO calls `counts`

    Example:
        >>> encode(np.array([[False, True], [False, True]]))
        '22'
    """
    flat = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([[0] if flat.size and flat[0] else [], changes, [flat.size]]).astype(np.int64)
    counts = np.diff(ends, prepend=0).tolist()
    return "".join(_word(count - counts[place - 2] if place > 2 else count) for place, count in enumerate(counts))


def _word(value: int) -> str:
    letters = []
    while True:
        bits, value = value & 0x1F, value >> 5
        done = value == (-1 if bits & 0x10 else 0)
        letters.append(chr(48 + (bits if done else bits | 0x20)))
        if done:
            return "".join(letters)


def decode(counts: str, shape: tuple[int, int]) -> Mask:
    """The mask of run lengths.

    Args:
        counts: what `encode` made
        shape: (H, W)

    Returns:
        (H, W) bool

    Raises:
        LabelQualityError: if they are no run lengths of a mask of that size

    Example:
        >>> decode("22", (2, 2)).tolist()
        [[False, True], [False, True]]
    """
    lengths: list[int] = []
    value = shift = 0
    for letter in counts:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise LabelQualityError(
                f"Expected run lengths of COCO, but got the character {letter!r} in {counts[:40]!r}"
            )
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            value -= (1 << shift) if bits & 0x10 else 0
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    if shift or min(lengths, default=0) < 0 or sum(lengths) != shape[0] * shape[1]:
        raise LabelQualityError(
            f"Expected run lengths of {shape[0]} x {shape[1]} pixels, but got {sum(lengths)}; is the file damaged?"
        )
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(shape, order="F")
