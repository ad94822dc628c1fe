"""Which image belongs to which fold, and the file that remembers it."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...errors import LabelQualityError
from ...written_files import write_file

FORMAT = 1
RECORD_NAME = "folds.json"
WHOLE_RECORD_NAME = "training.json"  # of one model trained on all images
HELD_OUT_BY_NONE = -1  # fold of images that are all trained on


@dataclass(frozen=True)
class FoldMetrics:
    """How well a fold's model predicts the given labels of the images it has not seen.

    Args:
        fold: index of the fold
        num_images: held-out images
        mean_iou: mean intersection over union of the classes that occur
        pixel_accuracy: fraction of the pixels that are not ignored
        class_iou: IoU per class; None for a class that neither labels nor predictions have
        seconds: training time

    Example:
        >>> FoldMetrics(0, 15, 0.7, 0.9, (0.6, 0.8)).mean_iou
        0.7
    """

    fold: int
    num_images: int
    mean_iou: float
    pixel_accuracy: float
    class_iou: tuple[float | None, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class FoldRecord:
    """What a cross-validation folder remembers, as folds.json.

    Args:
        config: everything that decides the result; another value needs another folder
        num_classes: label classes K
        class_names: names of the K classes, or None
        mean: normalisation of the input, per channel
        std: normalisation of the input, per channel
        fold_of: fold of each image by key
        fold_of_group: fold of each named group
        fingerprints: checksum of each image and mask
        skipped: reason of each image that could not be read, by key
        metrics: of each finished fold, None for the others
        weights: where the encoder's first weights came from, and what was left out
        notes: what a person should know of the result, one sentence each
    """

    config: Mapping[str, Any]
    num_classes: int
    class_names: tuple[str, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fold_of: Mapping[str, int]
    fold_of_group: Mapping[str, int]
    fingerprints: Mapping[str, int]
    skipped: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[FoldMetrics | None, ...] = ()
    weights: str = ""
    notes: tuple[str, ...] = ()

    @property
    def num_folds(self) -> int:
        """Number of folds."""
        return int(self.config["folds"])


def assign_folds(
    keys: Sequence[str], folds: int, seed: int = 0, groups: Sequence[str | None] | None = None
) -> dict[str, int]:
    """Assign each key to a fold: balanced, decided by keys and seed alone, groups kept together.

    Groups go, largest first and then in the order of a keyed hash, to the fold with the fewest images.

    Args:
        keys: unique names of the images, in any order
        folds: number of folds, at least 2
        seed: another seed, other folds
        groups: group of each key; None = a group of its own

    Returns:
        {key: fold index}

    Raises:
        LabelQualityError: fewer than 2 folds, fewer images or groups than folds, or a key twice

    Example:
        >>> folds = assign_folds(["a", "b", "c", "d"], 2, groups=["x", "x", "y", "y"])
        >>> folds["a"] == folds["b"] != folds["c"] == folds["d"]
        True
    """
    if folds < 2:
        raise LabelQualityError(f"Expected at least 2 folds, but got {folds}.")
    if len(set(keys)) != len(keys):
        twice = sorted({key for key in keys if list(keys).count(key) > 1})[:3]
        raise LabelQualityError(f"Expected unique keys, but {twice} occur more than once.")
    if groups is not None and len(groups) != len(keys):
        raise LabelQualityError(f"Expected a group per key, but got {len(groups)} for {len(keys)} keys.")
    members: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, group in zip(keys, groups or [None] * len(keys), strict=True):
        members[("image", key) if group is None else ("group", group)].append(key)
    if len(members) < folds:
        grouped = f" in {len(members)} groups" if len(members) < len(keys) else ""
        raise LabelQualityError(
            f"Expected at least as many images or groups as folds, but got {len(keys)} images{grouped} for "
            f"{folds} folds; pass `folds={max(len(members), 2)}` or fewer, or more images."
        )
    counts = [0] * folds
    assigned: dict[str, int] = {}
    for unit in sorted(members, key=lambda unit: (-len(members[unit]), derived_seed(seed, *unit), unit)):
        fold = counts.index(min(counts))
        counts[fold] += len(members[unit])
        assigned.update(dict.fromkeys(members[unit], fold))
    return assigned


def derived_seed(*parts: object) -> int:
    """Hash some values to a seed of 63 bits, the same on every machine.

    Args:
        parts: numbers or text

    Returns:
        a non-negative integer

    Example:
        >>> derived_seed(0, "fold", 1) == derived_seed(0, "fold", 1) != derived_seed(0, "fold", 2)
        True
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def write_record(folder: Path, record: FoldRecord, name: str = RECORD_NAME) -> None:
    """Write folds.json so that a crash leaves the old file or the new one.

    Args:
        folder: of the cross-validation
        record: what to remember
        name: of the file

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_record(folder, FoldRecord({"folds": 2}, 3, None, (0.5,), (0.2,), {"a": 0, "b": 1}, {}, {}))
        >>> read_record(folder).fold_of
        {'a': 0, 'b': 1}
    """
    text = json.dumps({"format": FORMAT, **asdict(record)}, indent=1)
    write_file(folder / name, lambda file: file.write(text.encode()))


def read_record(folder: Path, name: str = RECORD_NAME, what: str = "cross-validation") -> FoldRecord:
    """Read folds.json.

    Args:
        folder: of the cross-validation
        name: of the file
        what: what messages call the training

    Returns:
        the record

    Raises:
        LabelQualityError: there is none, or it cannot be understood

    Example:
        >>> read_record(Path("nowhere"))
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: nowhere holds no cross-validation (no folds.json in it).
    """
    path = folder / name
    if not path.is_file():
        raise LabelQualityError(f"{folder} holds no {what} (no {name} in it).")
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict) or content.pop("format") != FORMAT:
            raise ValueError("another format")
        record = FoldRecord(**{**content, **_tuples(content)})
        if not all(isinstance(value, dict) for value in (record.config, record.fold_of, record.skipped)):
            raise ValueError("values of another kind")
        return record
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabelQualityError(
            f"{path} cannot be understood ({error}); it is damaged or of another version. Train into another folder."
        ) from error


def require_same(folder: Path, old: FoldRecord, new: FoldRecord) -> None:
    """Raise unless a folder was made with the same configuration and data.

    Args:
        folder: for the message
        old: what the folder holds
        new: what is asked for

    Raises:
        LabelQualityError: names what differs, with both values

    Example:
        >>> old, new = (FoldRecord({"folds": n}, 3, None, (0.5,), (0.2,), {}, {}, {}) for n in (2, 4))
        >>> require_same(Path("models"), old, new)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: models was made with folds=2 there and folds=4 now; ...
    """
    way_out = "pass `resume=False` to train anew there, or another folder"
    differing = [
        f"{name}={old.config.get(name)!r} there and {name}={new.config.get(name)!r} now"
        for name in {**old.config, **new.config}
        if old.config.get(name) != new.config.get(name)
    ]
    if differing:
        raise LabelQualityError(f"{folder} was made with {'; '.join(differing)}; {way_out}.")
    gone, added = old.fold_of.keys() - new.fold_of.keys(), new.fold_of.keys() - old.fold_of.keys()
    if gone or added:
        example = sorted(gone or added)[0]
        raise LabelQualityError(
            f"{folder} was made with {len(old.fold_of)} images and now there are {len(new.fold_of)} "
            f"({len(added)} more, {len(gone)} gone, {example} for one); {way_out}."
        )
    changed = sorted(k for k, value in new.fingerprints.items() if old.fingerprints.get(k) != value)
    if changed:
        raise LabelQualityError(
            f"{folder} was made with other pixels: {len(changed)} of {len(new.fingerprints)} images or masks have "
            f"changed since, {changed[0]} for one; {way_out}."
        )
    if dict(old.fold_of) != dict(new.fold_of):
        raise LabelQualityError(f"{folder} was made with other groups; {way_out}.")


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    metrics = tuple(
        None if entry is None else FoldMetrics(**{**entry, "class_iou": tuple(entry["class_iou"])})
        for entry in content["metrics"]
    )
    names = content["class_names"]
    return {
        "metrics": metrics,
        "class_names": None if names is None else tuple(names),
        "mean": tuple(content["mean"]),
        "notes": tuple(content.get("notes", ())),
        "std": tuple(content["std"]),
    }
