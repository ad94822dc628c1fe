"""The classes of a label field: which mask value is which class, and which channel of a model predicts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from ...errors import LabelQualityError
from ...models.segmenters.class_names import (
    ChannelMatch,
    are_names,
    closest_names,
    concept,
    match_by_name,
    match_by_number,
    plain_name,
)
from .masks import is_rgb, pack_rgb

IGNORED = -1
"""Class index of pixels that count for nothing."""

VOID_NAMES = frozenset({"void", "ignore", "ignored", "ignoreindex", "ignorelabel", "dontcare"})
"""Class names, as `plain_name` writes them, that mean "no label here" in the datasets in use (CamVid's `void`)."""

_SHADES: Final = 128
"""Few values up to this one and more are shades of grey and no numbers of classes."""

UNMATCHED: Final = ("error", "ignore")
"""What to do about classes of the labels that no channel predicts."""


@dataclass(frozen=True)
class ClassMap:
    """Class indices 0..K-1 and the mask values that stand for them.

    Attributes:
        values: mask value of each class index; None for a model channel that no mask value stands for
        names: name of each class; no two are equal
        ignored: mask values that count for nothing
        rgb: whether mask values are packed RGB colours
        channels: the model's channels that predict each class, once they are settled; those of one class are summed
        how: how each class found its channels, see `MATCHED_BY`
        channel_names: of all channels, if they have names
        further: more mask values, each with its class index, where several values are one class
        reasons: (mask value, name, why) of those that are ignored
        only_listed: whether all other mask values are ignored, too, instead of being an error
    """

    values: tuple[int | None, ...]
    names: tuple[str, ...]
    ignored: frozenset[int]
    rgb: bool = False
    channels: tuple[tuple[int, ...], ...] = ()
    further: tuple[tuple[int, int], ...] = ()
    reasons: tuple[tuple[int, str, str], ...] = ()
    only_listed: bool = False
    how: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()

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
        if self.only_listed:
            return np.where(known, targets[position], IGNORED).astype(np.int16)
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
        pairs.update(self.further)
        pairs.update({value: IGNORED for value in self.ignored})
        keys = sorted(pairs)
        return np.array(keys, np.int64), np.array([pairs[key] for key in keys], np.int16)

    @property
    def listed_names(self) -> tuple[str, ...]:
        """The names as the labels' `mask_targets` list them, where several values may have one."""
        return tuple(
            name if value is None else name.removesuffix(f" ({self.format_values([value])})")
            for value, name in zip(self.values, self.names, strict=True)
        )

    @property
    def value_names(self) -> dict[int, str]:
        """Mask value to name, of the classes that the labels have."""
        return {value: name for value, name in zip(self.values, self.names, strict=True) if value is not None}

    @property
    def targets(self) -> dict[int | str, str]:
        """The classes as `mask_targets` of FiftyOne, with ignored ones that have a name: value or hex colour to name.

        Example:
            >>> ClassMap((0, 0xFF0000), ("background", "car"), frozenset(), rgb=True).targets
            {'#000000': 'background', '#ff0000': 'car'}
        """
        named = zip(self.values, self.listed_names, strict=True)
        own = {value: name for value, name in named if value is not None}
        own |= {value: self.listed_names[index] for value, index in self.further}
        own |= {value: name for value, name, _ in self.reasons if name and value not in own}
        return {_format(value, True) if self.rgb else value: name for value, name in own.items()}

    def format_values(self, values: Sequence[int]) -> str:
        """Write mask values as the user knows them: integers, or hex colours."""
        return ", ".join(_format(value, self.rgb) for value in values)

    def value_list(self) -> str:
        """The mask values of all classes, for messages."""
        present = [value for value in self.values if value is not None]
        if len(present) > 12:
            return f"{self.format_values(present[:5])}, ... {self.format_values(present[-1:])}"
        return self.format_values(present)


def _format(value: int, rgb: bool) -> str:
    return f"#{value:06x}" if rgb else str(value)


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
            (unless it is a named class, or nothing but 0 and 255 occurs), for negative values without a name, for
            classes called void or ignore, and for a 0 that is not listed where another value is the background
        field: name of the label field, for messages

    Returns:
        the classes, by ascending mask value; colours as they are listed; an unlisted 0 or black is the background

    Raises:
        LabelQualityError: if values occur that are no class, or fewer than two classes are left

    Example:
        >>> classes = classes_of_field({1: "road", 2: "car", 3: "void"}, {1: 5, 2: 4, 255: 1})
        >>> classes.names, sorted(classes.ignored)
        (('road', 'car'), [3, 255])
    """
    found = list_classes(targets, seen, ignore_index)
    if not targets:
        _require_numbers(found, seen, field)
    _require_classes(found, seen, field)
    return found


def list_classes(
    targets: Mapping[int | str, str] | None,
    seen: Mapping[int, int],
    ignore_index: int | str | Sequence[int | str] | None = "auto",
) -> ClassMap:
    """What `classes_of_field` settles, without asking whether all values that occur are known.

    Args:
        targets: mask value or hex colour to class name; None or empty if there are no names
        seen: mask values that occur
        ignore_index: as in `classes_of_field`

    Returns:
        the classes, of which there may be none

    Example:
        >>> list_classes({"#0000ff": "sky", "#00ff00": "tree"}, {0: 1}).names
        ('background', 'sky', 'tree')
    """
    rgb = is_rgb(targets or {})
    named = {_as_value(key): str(name) for key, name in (targets or {}).items()}
    listed = bool(named)
    named = named if rgb else dict(sorted(named.items() if listed else ((value, str(value)) for value in seen)))
    ignored = _ignored_values(ignore_index, named if listed else {}, rgb, seen)
    if 0 in seen and 0 not in named:  # FiftyOne never draws 0 or #000000, so mask_targets seldom name it
        if _is_auto(ignore_index) and (background := background_value(named)) is not None:
            ignored.setdefault(0, f"not listed, and {named[background]!r} has another value")
        named = {0: "background", **named}
    classes = {value: name for value, name in named.items() if value not in ignored}
    return ClassMap(
        tuple(classes),
        _distinct(list(classes.values()), [_format(value, rgb) for value in classes]),
        frozenset(ignored),
        rgb,
        reasons=tuple((value, named.get(value, ""), reason) for value, reason in sorted(ignored.items())),
    )


def _require_numbers(classes: ClassMap, seen: Mapping[int, int], field: str) -> None:
    """Whether 255 beside other values can be "no label": only where these are numbers of classes, and not shades."""
    others = {value: count for value, count in seen.items() if 0 <= value < 255}
    sparse = others and max(others) >= _SHADES and len(others) < (max(others) + 1) / 2
    if sparse and 255 in seen and any(why == "no name" for _, _, why in classes.reasons):
        listed = ", ".join(f"{value} (in {others[value]} images)" for value in sorted(others)[-5:])
        raise LabelQualityError(
            f"Expected to know what 255 is in `{field}`, a class or pixels without a label, but nothing names it, and "
            f"there are {listed} beside it; name the classes in `dataset.mask_targets[{field!r}]`, or pass "
            "`ignore_index=255`, or None for a class"
        )


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
    named = [value for value in classes.values if value]
    left_out = (255, "", "no name") in classes.reasons
    if {value for value in seen if value >= 0} == {0, 255} and left_out and len(named) == 1:
        raise LabelQualityError(
            f"Expected the value {named[0]} ({classes.names[-1]}) in `{field}`, but only 0 and 255 occur; if 255 is "
            f"{classes.names[-1]}, say so: `dataset.mask_targets[{field!r}] = {{255: {classes.names[-1]!r}}}`, else "
            "pass `ignore_index=255`"
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


def background_value(named: Mapping[int, str]) -> int | None:
    """The mask value whose class is called background or the like; None if none is."""
    return next((value for value, name in named.items() if concept(name) == concept("background")), None)


def _is_auto(ignore_index: object) -> bool:
    return isinstance(ignore_index, str) and ignore_index.strip().lower() == "auto"


def _ignored_values(
    ignore_index: int | str | Sequence[int | str] | None, named: Mapping[int, str], rgb: bool, seen: Mapping[int, int]
) -> dict[int, str]:
    """Mask values that count for nothing, each with the reason."""
    if ignore_index is None:
        return {}
    if _is_auto(ignore_index):
        void = {value: "by its name" for value, name in named.items() if plain_name(name) in VOID_NAMES}
        void |= {value: "negative, no name" for value in seen if value < 0 and value not in named}
        binary = not named and 255 in seen and {value for value in seen if value >= 0} <= {0, 255}
        return void if rgb or 255 in named or binary else void | {255: "no name"}
    entries = [ignore_index] if isinstance(ignore_index, int | str) else list(ignore_index)
    return {value: "by `ignore_index`" for entry in entries for value in _values_meant(entry, named)}


def _values_meant(entry: int | str, named: Mapping[int, str]) -> list[int]:
    """The mask values that a number or a name stands for; a number is never a name."""
    if isinstance(entry, str):
        for spelt in (str, plain_name):
            if found := [value for value, name in named.items() if spelt(name) == spelt(entry)]:
                return found
    try:
        return [_as_value(entry)]
    except ValueError:
        raise LabelQualityError(
            f"Expected `ignore_index` to be a mask value or one of the classes {sorted(named.values())}, "
            f"but got {entry!r}"
        ) from None


def parse_mapping(class_mapping: Mapping[int | str, int | str] | str | None) -> dict[int | str, int | str]:
    """What a form or a command line calls `class_mapping`, as the job takes it.

    Args:
        class_mapping: a mapping, or a text such as "7: car, sheep: dog"; None or empty for none

    Returns:
        channel to class

    Raises:
        LabelQualityError: if the text is something else

    Example:
        >>> parse_mapping("7: car, sheep: dog")
        {7: 'car', 'sheep': 'dog'}
    """
    if not isinstance(class_mapping, str):
        return dict(class_mapping or {})
    pairs = [entry.rsplit(":", 1) for entry in class_mapping.strip("{} ").split(",") if entry.strip()]
    if any(len(pair) != 2 or not pair[0].strip() for pair in pairs):
        raise LabelQualityError(
            f"Expected `class_mapping` to be written as `channel: class, channel: class`, but got {class_mapping!r}"
        )
    words = [(channel.strip(" '\""), name.strip(" '\"")) for channel, name in pairs]
    return {int(channel) if channel.isdecimal() else channel: name for channel, name in words}


def match_channels(
    classes: ClassMap,
    num_channels: int,
    channel_names: Sequence[str] | None = None,
    class_mapping: Mapping[int | str, int | str] | None = None,
    unmatched: str = "error",
) -> ClassMap:
    """Settle which channels of a model predict which class.

    In this order: the caller's `class_mapping`; equal names, then well-known synonyms; and only where the labels or
    the channels have no names: channels named after mask values, as many channels as classes, channel number = mask
    value. The last one does not hold where named classes are numbered without a gap and the model has further channels.

    Args:
        classes: the classes of the label field
        num_channels: how many classes the model predicts
        channel_names: the model's class names, if it knows them
        class_mapping: channel number or name to mask value or class name; several channels of one class are summed
        unmatched: what to do about classes without a channel: "error", or "ignore" their pixels

    Returns:
        the classes in the order of their channels; channels of no class stand for classes that no label has

    Raises:
        LabelQualityError: if a class has no channel and `unmatched` is "error", or less than two classes are left

    Example:
        >>> classes = ClassMap((1, 2), ("road", "car"), frozenset())
        >>> match_channels(classes, 2, ["car", "road"]).values
        (2, 1)
    """
    if unmatched not in UNMATCHED:
        raise LabelQualityError(f"Expected `unmatched` to be one of {list(UNMATCHED)}, but got {unmatched!r}")
    if channel_names and len(channel_names) != num_channels:
        raise LabelQualityError(
            f"Expected a name for each of the {num_channels} channels, but got {len(channel_names)} names "
            f"({', '.join(channel_names[:5])}, ...); correct the model's `class_names`"
        )
    found = _matches(classes, num_channels, channel_names, class_mapping)
    missing = [index for index in range(len(classes)) if index not in found]
    if missing and (unmatched == "error" or len(classes) - len(missing) < 2):
        raise LabelQualityError(_without_channel(classes, missing, num_channels, channel_names, found))
    return _in_channel_order(classes, found, missing, num_channels, channel_names)


def _matches(
    classes: ClassMap,
    num_channels: int,
    channel_names: Sequence[str] | None,
    class_mapping: Mapping[int | str, int | str] | None,
) -> dict[int, ChannelMatch]:
    mapped: dict[int, ChannelMatch] = {}
    for channel, index in _mapping(classes, num_channels, channel_names, class_mapping or {}).items():
        before = mapped[index].channels if index in mapped else ()
        mapped[index] = ChannelMatch((*before, channel), "class_mapping")
    if channel_names and are_names(classes.names) and are_names(channel_names):
        exact = match_by_name(classes.names, channel_names, mapped)
        return match_by_name(classes.listed_names, channel_names, exact)
    if mapped:
        return mapped
    values = [value for value in classes.values if value is not None]
    found = match_by_number(values, num_channels, channel_names)
    if are_names(classes.names) and _is_own_numbering(values, num_channels):
        return {index: match for index, match in found.items() if match.how != "number"}
    return found


def _is_own_numbering(values: Sequence[int], num_channels: int) -> bool:
    """Whether values without a gap say nothing of a model with further channels: its table is another one."""
    first, last = min(values), max(values)
    return first in (0, 1) and len(values) == last - first + 1 and num_channels > last + 1


def _mapping(
    classes: ClassMap,
    num_channels: int,
    channel_names: Sequence[str] | None,
    class_mapping: Mapping[int | str, int | str],
) -> dict[int, int]:
    """Channel to class index, as the user says; channels of ignored values are left out."""
    found: dict[int, int] = {}
    for key, target in class_mapping.items():
        channel, index = _channel_number(key, num_channels, channel_names), _mapped_class(target, classes)
        if found.get(channel, index) != index:
            raise LabelQualityError(
                f"Expected `class_mapping` to name each channel once, but channel {channel} is both "
                f"{classes.names[found[channel]]} and {target}; leave one out"
            )
        if index is not None:
            found[channel] = index
    return found


def _without_channel(
    classes: ClassMap,
    missing: Sequence[int],
    num_channels: int,
    channel_names: Sequence[str] | None,
    found: Mapping[int, ChannelMatch],
) -> str:
    taken = {channel for match in found.values() for channel in match.channels}
    free = [name for channel, name in enumerate(channel_names or ()) if channel not in taken]
    names = [classes.names[index] for index in missing]
    closest = {name: closest_names(name, free) for name in names[:12]}
    alike = "; ".join(f"{name}: {', '.join(others)}" for name, others in closest.items() if others)
    channels = f"closest channels: {alike}" if alike else f"channels left: {', '.join(free[:20]) or 'none'}"
    example = f"{{{(closest[names[0]] or ['name or number of a channel'])[0]!r}: {names[0]!r}}}"
    return (
        f"Expected a model with a channel for each of the {len(classes)} classes ({', '.join(classes.names[:12])}), "
        f"but the model has {num_channels} channels and none for {', '.join(names[:12])}"
        f"{f' ({channels})' if channel_names else ''}; say which channel it is, e.g. `class_mapping={example}`, or "
        'pass `unmatched="ignore"` to leave the pixels of such classes out'
    )


def _in_channel_order(
    classes: ClassMap,
    found: Mapping[int, ChannelMatch],
    missing: Sequence[int],
    num_channels: int,
    channel_names: Sequence[str] | None,
) -> ClassMap:
    """One class per set of channels: classes that share channels become one, free channels stand for themselves."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, match in found.items():
        groups.setdefault(match.channels, []).append(index)
    taken = {channel for channels in groups for channel in channels}
    groups |= {(channel,): [] for channel in range(num_channels) if channel not in taken}
    channels = sorted(groups)
    members = [groups[one] for one in channels]
    values = [classes.values[own[0]] if own else None for own in members]
    names = [classes.names[own[0]] if own else _channel_name(one[0], channel_names)
             for one, own in zip(channels, members, strict=True)]  # fmt: skip
    further = [(classes.values[other], place) for place, own in enumerate(members) for other in own[1:]]
    left_out = [(classes.values[index], classes.names[index]) for index in missing]
    return replace(
        classes,
        values=tuple(values),
        names=_distinct(names, [f"channel {one[0]}" for one in channels]),
        ignored=classes.ignored | {value for value, _ in left_out if value is not None},
        channels=tuple(channels),
        how=tuple(found[own[0]].how if own else "" for own in members),
        channel_names=tuple(channel_names or ()),
        further=tuple((value, place) for value, place in further if value is not None),
        reasons=classes.reasons
        + tuple((value, name, "the model has no such class") for value, name in left_out if value is not None),
    )


def _distinct(names: Sequence[str], marks: Sequence[str]) -> tuple[str, ...]:
    """Names of which no two are equal: equal ones carry a mark.

    Example:
        >>> _distinct(["car", "car", "road"], ["1", "2", "3"])
        ('car (1)', 'car (2)', 'road')
    """
    often = Counter(names)
    return tuple(f"{name} ({mark})" if often[name] > 1 else name for name, mark in zip(names, marks, strict=True))


def _channel_name(channel: int, names: Sequence[str] | None) -> str:
    return names[channel] if names and channel < len(names) else f"channel {channel}"


def _channel_number(key: int | str, num_channels: int, channel_names: Sequence[str] | None) -> int:
    if (named := _place(key, channel_names or ())) is not None:
        return named
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


def _mapped_class(target: int | str, classes: ClassMap) -> int | None:
    """Index of the class that a value of `class_mapping` names; None for a value that is ignored."""
    if (named := _place(target, classes.names)) is not None:
        return named
    try:
        value: int | None = _as_value(target)
    except ValueError:
        value = None
    if value in classes.ignored:
        return None
    if value is None or value not in classes.values:
        raise LabelQualityError(
            f"Expected values of `class_mapping` to be mask values ({classes.value_list()}) or one of "
            f"{sorted(classes.names)}, but got {target!r}"
        )
    return classes.values.index(value)


def _place(name: int | str, names: Sequence[str]) -> int | None:
    """Where a name stands, however it is spelt; None if it does not, or more than once."""
    plain = [plain_name(one) for one in names]
    wanted = plain_name(name) if isinstance(name, str) else None
    return plain.index(wanted) if wanted is not None and plain.count(wanted) == 1 else None
