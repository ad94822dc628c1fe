"""Errata: which regions of which labels are wrong, and what they are, checked by digests and signed if one likes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from .run_lengths import decode, encode

FORMAT: Final = "label-quality errata 1"

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Erratum:
    """One region of one label.

    Attributes:
        image: name of the image's file, for people
        image_digest: SHA-256 of the image's file
        label_digest: of the pixels of the given label, as by `mask_digest`
        height: of the label, pixels
        width: of the label, pixels
        counts: run lengths of the region, as in COCO
        given: mask value that the label says
        corrected: mask value that it should say
        given_name: class of the given value, empty if it has none
        corrected_name: class of the corrected value, empty if it has none
        reviewer: who says so, empty if that is not known
        evidence: why, in words
        time: when, ISO 8601, UTC
    """

    image: str
    image_digest: str
    label_digest: str
    height: int
    width: int
    counts: str
    given: int
    corrected: int
    given_name: str = ""
    corrected_name: str = ""
    reviewer: str = ""
    evidence: str = ""
    time: str = ""

    @property
    def mask(self) -> Mask:
        """(H, W) bool, the region."""
        return decode(self.counts, (self.height, self.width))

    @property
    def name(self) -> str:
        """A name that only the same repair of the same label has, whoever found it."""
        content = [self.image_digest, self.label_digest, self.height, self.width, self.counts, self.corrected]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Conflict:
    """A repair that was not taken over.

    Attributes:
        erratum: the repair
        reason: why not, in words
    """

    erratum: Erratum
    reason: str


def errata_of(
    given: npt.NDArray[np.integer],
    corrected: npt.NDArray[np.integer],
    owners: npt.NDArray[np.integer],
    common: Mapping[str, Any],
    authors: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
) -> list[Erratum]:
    """Everything that was repaired in one label; the regions do not overlap.

    Args:
        given: (H, W) mask values
        corrected: (H, W) mask values
        owners: (H, W) place in `authors` of who changed each pixel last; -1 for nobody
        common: `image`, `image_digest` and `label_digest`
        authors: `reviewer`, `evidence` and `time` of each answer
        names: mask value to class

    Returns:
        one for each author, given and corrected value; none where both labels are equal

    Example:
        >>> label, better = np.array([[1, 1, 2]]), np.array([[1, 3, 3]])
        >>> found = errata_of(label, better, np.zeros((1, 3), int), {"image": "a.png", "image_digest": "",
        ...     "label_digest": ""}, [{"reviewer": "ada"}], {1: "road", 3: "car"})
        >>> [(one.given, one.corrected, one.corrected_name, one.mask.sum().item()) for one in found]
        [(1, 3, 'car', 1), (2, 3, 'car', 1)]
    """
    changed = given != corrected
    rows = np.stack([owners[changed], given[changed], corrected[changed]], axis=1)
    found = []
    for owner, before, after in np.unique(rows, axis=0).tolist():
        region = changed & (owners == owner) & (given == before) & (corrected == after)
        author = authors[owner] if owner >= 0 else {}
        found.append(
            Erratum(
                **common,
                height=given.shape[0],
                width=given.shape[1],
                counts=encode(region),
                given=before,
                corrected=after,
                given_name=names.get(before, ""),
                corrected_name=names.get(after, ""),
                **author,
            )
        )
    return found


def refusal(erratum: Erratum, label: npt.NDArray[np.integer], names: Mapping[int, str]) -> str:
    """Why a repair does not fit a label, in words; empty if it fits.

    Args:
        erratum: the repair
        label: (H, W) mask values as they are now
        names: mask value to class, as they are now

    Example:
        >>> one = Erratum("a.png", "", "", 1, 2, encode(np.array([[True, False]])), 1, 2)
        >>> refusal(one, np.array([[1, 1]]), {}), refusal(one, np.array([[3, 1]]), {})
        ('', '1 of 1 pixels are neither 1 nor 2')
    """
    if label.shape != (erratum.height, erratum.width):
        return f"the label has {label.shape[0]} x {label.shape[1]} pixels, not {erratum.height} x {erratum.width}"
    for value, name in ((erratum.given, erratum.given_name), (erratum.corrected, erratum.corrected_name)):
        if name and name != names.get(value, name):
            return f"mask value {value} is {names[value]!r} here, not {name!r}"
    region = label[erratum.mask]
    foreign = int(((region != erratum.given) & (region != erratum.corrected)).sum())
    if foreign:
        return f"{foreign:,} of {region.size:,} pixels are neither {erratum.given} nor {erratum.corrected}"
    return ""


def merge(first: Iterable[Erratum], second: Iterable[Erratum]) -> tuple[list[Erratum], list[Conflict]]:
    """Put two errata together; where they contradict each other, the first counts.

    Args:
        first: repairs
        second: further ones

    Returns:
        all repairs that fit together, and those of the second that do not; a repair that is in both is taken once

    Example:
        >>> one = Erratum("a.png", "i", "l", 1, 2, encode(np.array([[True, True]])), 1, 2)
        >>> other = Erratum("a.png", "i", "l", 1, 2, encode(np.array([[False, True]])), 1, 3)
        >>> [len(part) for part in merge([one], [one, other])]
        [1, 1]
    """
    kept = list({one.name: one for one in first}.values())
    known = {one.name for one in kept}
    by_image: dict[str, list[Erratum]] = defaultdict(list)
    for one in kept:
        by_image[one.image_digest].append(one)
    conflicts = []
    for one in second:
        if one.name in known:
            continue
        known.add(one.name)
        reason = next(filter(None, (_contradiction(one, other) for other in by_image[one.image_digest])), "")
        if reason:
            conflicts.append(Conflict(one, reason))
        else:
            kept.append(one)
            by_image[one.image_digest].append(one)
    return kept, conflicts


def _contradiction(one: Erratum, other: Erratum) -> str:
    if one.label_digest != other.label_digest:
        return "they are about two versions of the label"
    if one.corrected == other.corrected:
        return ""
    shared = int((one.mask & other.mask).sum())
    if not shared:
        return ""
    return f"{shared:,} pixels are {one.corrected} here, but {other.corrected} by {other.reviewer or 'the other file'}"


# --- files ----------------------------------------------------------------------------------------------------


def write(errata: Iterable[Erratum], private_key: bytes | None = None) -> bytes:
    """The content of an errata file.

    Args:
        errata: the repairs
        private_key: Ed25519 key as PEM to sign with

    Returns:
        JSON, the same for the same repairs

    Raises:
        LabelQualityError: if the key is none

    Example:
        >>> read(write([])).errata
        ()
    """
    rows = sorted((asdict(one) for one in errata), key=lambda row: json.dumps(row, sort_keys=True))
    body = _canonical(rows)
    content: dict[str, Any] = {"format": FORMAT, "digest": hashlib.sha256(body).hexdigest(), "errata": rows}
    if private_key is not None:
        content |= _signed(body, private_key)
    return json.dumps(content, indent=1, ensure_ascii=False).encode()


@dataclass(frozen=True)
class ErrataFile:
    """What is in an errata file.

    Attributes:
        errata: the repairs
        public_key: raw Ed25519 key by which it is signed, hexadecimal; empty if it is not signed
    """

    errata: tuple[Erratum, ...]
    public_key: str = ""


def read(content: bytes, trusted: str | None = None) -> ErrataFile:
    """Read an errata file, and check that it is whole and that its signature is right.

    Args:
        content: of the file
        trusted: public key, hexadecimal, by which it must be signed; None to take any

    Returns:
        what is in it

    Raises:
        LabelQualityError: if it is no errata file, was changed, or is not signed as it must be
    """
    try:
        loaded = json.loads(content)
        rows, said = loaded["errata"], loaded["digest"]
        fits = loaded["format"] == FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise LabelQualityError(f"Expected an errata file, but it cannot be read as one: {error!r}") from error
    if not fits:
        raise LabelQualityError(f"Expected the format {FORMAT!r}, but got {loaded['format']!r}; use a newer version")
    body = _canonical(rows)
    if hashlib.sha256(body).hexdigest() != said:
        raise LabelQualityError("Expected an errata file as it was written, but its content was changed since")
    key = _verified(body, loaded)
    if trusted is not None and key != trusted:
        signer = f"it is signed by {key}" if key else "it is not signed"
        raise LabelQualityError(f"Expected errata that are signed by {trusted}, but {signer}; ask who made it")
    return ErrataFile(tuple(_erratum(row) for row in rows), key)


def _erratum(row: Any) -> Erratum:
    kinds = {item.name: (int if item.type == "int" else str) for item in fields(Erratum)}
    right = isinstance(row, dict) and all(name in kinds and type(row[name]) is kinds[name] for name in row)
    try:
        if not right:
            raise TypeError("a value has another type than it must have")
        one = Erratum(**row)
    except TypeError as error:
        raise LabelQualityError(f"Expected errata with {sorted(kinds)}, but got {str(row)[:200]}: {error}") from error
    if one.height < 1 or one.width < 1:
        raise LabelQualityError(f"Expected a label of at least one pixel, but got {one.height} x {one.width}")
    return one


def _canonical(rows: Any) -> bytes:
    return json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _signed(body: bytes, private_key: bytes) -> dict[str, str]:
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private_key, password=None)
    except (ValueError, TypeError) as error:
        raise LabelQualityError(f"Expected an Ed25519 private key as PEM without a password, but: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise LabelQualityError(f"Expected an Ed25519 private key, but got {type(key).__name__}")
    public = key.public_key().public_bytes_raw()
    return {"public_key": public.hex(), "signature": key.sign(body).hex()}


def _need_cryptography() -> None:
    from importlib.util import find_spec

    if find_spec("cryptography") is None:
        raise LabelQualityError(
            "Expected the package cryptography, for signatures, but it is not installed: "
            "pip install 'fiftyone-label-quality[signed]'"
        )


def _verified(body: bytes, loaded: Mapping[str, Any]) -> str:
    """The key that signed it, hexadecimal; empty if it is not signed."""
    if "signature" not in loaded:
        return ""
    _need_cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = str(loaded["public_key"]).lower()
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(loaded["signature"]), body)
    except (InvalidSignature, ValueError, KeyError, TypeError) as error:
        raise LabelQualityError("Expected a signature that is right, but it is not: the file was changed") from error
    return key


def as_csv(errata: Iterable[Erratum]) -> str:
    """A list for a spreadsheet: one line a region, with its box and area instead of its mask.

    Args:
        errata: the repairs

    Returns:
        the text of a CSV file
    """
    text = io.StringIO()
    columns = ("image", "given", "given_name", "corrected", "corrected_name", "reviewer", "evidence", "time")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, "left", "top", "width", "height", "area"])
    for one in errata:
        values = [_plain_cell(getattr(one, name)) for name in columns]
        writer.writerow([*values, *_box(one.mask), int(one.mask.sum())])
    return text.getvalue()


def _plain_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def as_coco(errata: Iterable[Erratum]) -> dict[str, Any]:
    """The repaired regions as COCO annotations of the corrected class, with run lengths.

    Args:
        errata: the repairs

    Returns:
        the content of a COCO file
    """
    rows = list(errata)
    images = {one.image_digest: one for one in rows}
    numbers = {digest: number for number, digest in enumerate(images, start=1)}
    names = {value: name for one in rows for value, name in ((one.corrected, one.corrected_name),)}
    return {
        "images": [
            {"id": numbers[digest], "file_name": one.image, "height": one.height, "width": one.width}
            for digest, one in images.items()
        ],
        "categories": [{"id": value, "name": name or str(value)} for value, name in sorted(names.items())],
        "annotations": [
            {
                "id": number,
                "image_id": numbers[one.image_digest],
                "category_id": one.corrected,
                "bbox": _box(one.mask),
                "area": int(one.mask.sum()),
                "iscrowd": 1,
                "segmentation": {"size": [one.height, one.width], "counts": one.counts},
                "attributes": {"given": one.given_name or one.given, "reviewer": one.reviewer},
            }
            for number, one in enumerate(rows, start=1)
        ],
    }


def _box(mask: Mask) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return [0, 0, 0, 0]
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
