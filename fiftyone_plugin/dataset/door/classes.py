"""The classes of a label field: which mask value is which class, and which channel of a model predicts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...errors import LabelQualityError
from .masks import pack_rgb

IGNORED = -1
"""Class index of pixels that count for nothing."""

VOID_NAMES = frozenset({"void", "ignore", "ignored", "ignore_index"})
"""Class names that mean "no label here" in the datasets in use (CamVid's `void`, for instance)."""


@dataclass(frozen=True)
class ClassMap:
    """Class indices 0..K-1 and the mask values that stand for them.

    Attributes:
        values: mask value of each class index; None for a model channel that no mask value stands for
        names: name of each class
        ignored: mask values that count for nothing
        rgb: whether mask values are packed RGB colours
    """

    values: tuple[int | None, ...]
    names: tuple[str, ...]
    ignored: frozenset[int]
    rgb: bool = False

    def __len__(self) -> int:
        return len(self.values)

    def indices(self, mask: np.ndarray) -> np.ndarray:
        """Turn mask values into class indices.

        Args:
            mask: (H, W) integer mask values or (H, W, 3) colours

        Returns:
            (H, W) int16 class indices, `IGNORED` where the value is ignored

        Raises:
            LabelQualityError: if a value is neither a class nor ignored

        Example:
            >>> import numpy as np
            >>> ClassMap((1, 4), ("road", "car"), frozenset({255})).indices(np.array([[4, 1, 255]])).tolist()
            [[1, 0, -1]]
        """
        return self.value_indices(self.mask_values(mask))

    def value_indices(self, values: np.ndarray) -> np.ndarray:
        """Turn what `mask_values` gave into class indices.

        Args:
            values: (H, W) integer mask values, packed colours of an RGB mask

        Returns:
            (H, W) int16 class indices, `IGNORED` where the value is ignored

        Raises:
            LabelQualityError: if a value is neither a class nor ignored
        """
        keys, targets = self._lookup
        position = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
        known = keys[position] == values
        if not known.all():
            wrong = sorted(set(np.unique(values[~known]).tolist()))[:5]
            raise LabelQualityError(
                f"Expected mask values among {self.value_list()}, but got {self.format_values(wrong)}; "
                "name them in `mask_targets`, or leave them out with `ignore_index`"
            )
        return targets[position]

    def mask_values(self, mask: np.ndarray) -> np.ndarray:
        """Bring a mask into the form whose values this map knows: (H, W) integers."""
        if self.rgb:
            return pack_rgb(mask)
        if mask.ndim == 3:
            raise LabelQualityError(
                "Expected a mask of integers, but got RGB colours; "
                "name the colours in `mask_targets`, e.g. {'#ff0000': 'car'}"
            )
        return mask

    @cached_property
    def _lookup(self) -> tuple[np.ndarray, np.ndarray]:
        pairs = {value: index for index, value in enumerate(self.values) if value is not None}
        pairs.update({value: IGNORED for value in self.ignored})
        keys = sorted(pairs)
        return np.array(keys, np.int64), np.array([pairs[key] for key in keys], np.int16)

    def format_values(self, values: Sequence[int]) -> str:
        """Write mask values as the user knows them: integers, or hex colours."""
        return ", ".join(f"#{value:06x}" if self.rgb else str(value) for value in values)

    def value_list(self) -> str:
        """The mask values of all classes, for messages."""
        present = [value for value in self.values if value is not None]
        if len(present) > 12:
            return f"{self.format_values(present[:5])}, ... {self.format_values(present[-1:])}"
        return self.format_values(present)


def classes_of_field(
    targets: Mapping[int | str, str] | None,
    seen: Mapping[int, int],
    ignore_index: int | str | Sequence[int | str] | None = "auto",
    field: str = "ground_truth",
) -> ClassMap:
    """Settle which mask values are classes.

    Args:
        targets: the field's `mask_targets`: mask value (or hex colour) to class name; None or empty when the
            dataset names none, then every value that occurs is a class
        seen: mask values that occur, each with the number of images it occurs in
        ignore_index: mask value(s) or class name(s) that count for nothing; None for none; "auto" for 255
            (unless it is a named class) and for classes called void or ignore
        field: name of the label field, for messages

    Returns:
        the classes, by ascending mask value

    Raises:
        LabelQualityError: if values occur that are no class, or fewer than two classes are left

    Example:
        >>> classes = classes_of_field({1: "road", 2: "car", 3: "void"}, {1: 5, 2: 4, 255: 1})
        >>> classes.names, sorted(classes.ignored)
        (('road', 'car'), [3, 255])
    """
    rgb = bool(targets) and all(isinstance(key, str) and key.startswith("#") for key in targets or {})
    named = {_as_value(key): str(name) for key, name in (targets or {}).items()}
    ignored = _ignored_values(ignore_index, named, rgb)
    if not named:
        named = {value: str(value) for value in seen}
    if 0 in seen and 0 not in named and not rgb:
        named[0] = "background"  # FiftyOne never draws 0, so mask_targets seldom name it
    classes = {value: named[value] for value in sorted(named) if value not in ignored}
    found = ClassMap(tuple(classes), tuple(classes.values()), frozenset(ignored), rgb)
    _require_classes(found, seen, field)
    return found


def _require_classes(classes: ClassMap, seen: Mapping[int, int], field: str) -> None:
    if len(classes) < 2:
        raise LabelQualityError(
            f"Expected at least 2 classes in `{field}`, but got {len(classes)} ({classes.value_list() or 'none'}; "
            f"ignored: {classes.format_values(sorted(classes.ignored)) or 'none'}); check `ignore_index`"
        )
    if len(classes) > 1024:
        raise LabelQualityError(
            f"Expected class values in `{field}`, but got {len(classes)} different ones, which looks like instance "
            "ids; pass a semantic field, or name the classes in `dataset.mask_targets`"
        )
    known = {*classes.values, *classes.ignored}
    unknown = {value: count for value, count in seen.items() if value not in known}
    if unknown:
        worst = sorted(unknown, key=lambda value: -unknown[value])[:5]
        listed = ", ".join(f"{classes.format_values([v])} (in {unknown[v]} images)" for v in worst)
        raise LabelQualityError(
            f"Expected values of `{field}` among {classes.value_list()}, but got {listed}; name them in "
            f"`dataset.mask_targets[{field!r}]`, or leave them out with `ignore_index`"
        )


def _as_value(key: int | str) -> int:
    text = str(key)
    return int(text[1:], 16) if text.startswith("#") else int(text)


def _ignored_values(
    ignore_index: int | str | Sequence[int | str] | None, named: Mapping[int, str], rgb: bool
) -> set[int]:
    if ignore_index is None:
        return set()
    if isinstance(ignore_index, str) and ignore_index.strip().lower() == "auto":
        void = {value for value, name in named.items() if name.lower() in VOID_NAMES}
        return void if rgb or 255 in named else void | {255}
    entries = [ignore_index] if isinstance(ignore_index, int | str) else list(ignore_index)
    return {_ignored_value(entry, named) for entry in entries}


def _ignored_value(entry: int | str, named: Mapping[int, str]) -> int:
    for value, name in named.items():
        if str(entry) == name:
            return value
    try:
        return _as_value(entry)
    except ValueError:
        raise LabelQualityError(
            f"Expected `ignore_index` to be a mask value or one of the classes {sorted(named.values())}, "
            f"but got {entry!r}"
        ) from None


def match_channels(
    classes: ClassMap,
    num_channels: int,
    channel_names: Sequence[str] | None = None,
    class_mapping: Mapping[int | str, int | str] | None = None,
) -> ClassMap:
    """Order the classes by the channels of a model.

    In this order: the caller's `class_mapping`; equal names; as many channels as classes (ascending mask
    value); channel number = mask value.

    Args:
        classes: the classes of the label field
        num_channels: how many classes the model predicts
        channel_names: the model's class names, if it knows them
        class_mapping: channel number or name to mask value or class name

    Returns:
        the classes in channel order: class index = channel

    Raises:
        LabelQualityError: if a class has no channel

    Example:
        >>> classes = ClassMap((1, 2), ("road", "car"), frozenset())
        >>> match_channels(classes, 2, ["car", "road"]).values
        (2, 1)
    """
    values = dict(zip(classes.names, (v for v in classes.values if v is not None), strict=True))
    channel_of = _channels(values, num_channels, channel_names, class_mapping)
    missing = [name for name in classes.names if values[name] not in channel_of.values()]
    if missing:
        raise LabelQualityError(
            f"Expected a model with a channel for each of the {len(classes)} classes "
            f"({', '.join(classes.names[:12])}), but the model has {num_channels} channels and none for "
            f"{', '.join(missing[:12])}; pass `class_mapping={{channel: mask value}}`, or leave classes out with "
            "`ignore_index`"
        )
    names = {value: name for name, value in values.items()}
    ordered = tuple(channel_of.get(channel) for channel in range(num_channels))
    labels = tuple(
        names.get(value, "") if value is not None and value in names else _channel_name(channel, channel_names)
        for channel, value in enumerate(ordered)
    )
    return ClassMap(ordered, labels, classes.ignored, classes.rgb)


def _channel_name(channel: int, names: Sequence[str] | None) -> str:
    return names[channel] if names and channel < len(names) else f"channel {channel}"


def _channels(
    values: Mapping[str, int],
    num_channels: int,
    channel_names: Sequence[str] | None,
    class_mapping: Mapping[int | str, int | str] | None,
) -> dict[int, int]:
    if class_mapping:
        return {
            _channel_number(key, num_channels, channel_names): _mapped_value(target, values)
            for key, target in class_mapping.items()
        }
    by_name = {name.lower(): channel for channel, name in enumerate(channel_names or [])}
    if all(name.lower() in by_name for name in values):
        return {by_name[name.lower()]: value for name, value in values.items()}
    if num_channels == len(values):
        return dict(enumerate(sorted(values.values())))
    return {value: value for value in values.values() if 0 <= value < num_channels}


def _channel_number(key: int | str, num_channels: int, channel_names: Sequence[str] | None) -> int:
    if isinstance(key, str) and channel_names and key in channel_names:
        return list(channel_names).index(key)
    try:
        channel = int(key)
    except ValueError:
        channel = -1
    if not 0 <= channel < num_channels:
        raise LabelQualityError(
            f"Expected keys of `class_mapping` to be channels 0..{num_channels - 1} or one of "
            f"{list(channel_names or [])}, but got {key!r}"
        )
    return channel


def _mapped_value(target: int | str, values: Mapping[str, int]) -> int:
    if isinstance(target, str) and target in values:
        return values[target]
    try:
        return _as_value(target)
    except ValueError:
        raise LabelQualityError(
            f"Expected values of `class_mapping` to be mask values or one of {sorted(values)}, but got {target!r}"
        ) from None
