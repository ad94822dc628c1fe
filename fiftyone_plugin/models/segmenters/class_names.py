"""Which channel of a model predicts which class of the labels: by names first, by numbers where there are none."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

SYNONYMS: Final = (
    ("background", "bg", "unlabeled", "unlabelled"),
    ("foreground", "fg"),
    ("aeroplane", "airplane"),
    ("motorbike", "motorcycle"),
    ("tv", "tvmonitor", "television"),
    ("sofa", "couch"),
    ("pottedplant", "houseplant"),
    ("cellphone", "mobilephone"),
    ("hairdrier", "hairdryer"),
    ("donut", "doughnut"),
    ("truck", "lorry"),
)
"""Names of one thing in PASCAL VOC, COCO, Cityscapes and the like, as `plain_name` writes them."""

_GENERIC = re.compile(r"(label|class|channel|category|cls|c)?[\s_-]*\d+", re.IGNORECASE)


@dataclass(frozen=True)
class ChannelMatch:
    """The channels that predict one class of the labels.

    Attributes:
        channels: their numbers; the probabilities of several are summed; empty if there is none
        how: one of `MATCHED_BY`
    """

    channels: tuple[int, ...] = ()
    how: str = ""


MATCHED_BY: Final = {
    "class_mapping": "`class_mapping` says so",
    "name": "equal names",
    "synonym": "names of one thing",
    "value": "the channel is named after the mask value",
    "order": "as many channels as classes, in the order of the mask values",
    "number": "channel number = mask value",
    "trained": "the model is trained on these labels",
    "": "no channel",
}
"""How a class found its channel."""


def plain_name(name: str) -> str:
    """What two spellings of a name have in common: no case, spaces, underscores, dashes or other punctuation.

    Args:
        name: of a class

    Returns:
        the name without them; the name itself if nothing else is left

    Example:
        >>> [plain_name(name) for name in ("__background__", "Traffic Light", "t-shirt", "__")]
        ['background', 'trafficlight', 'tshirt', '__']
    """
    return re.sub(r"[\W_]+", "", name).casefold() or name


def are_names(names: Sequence[str] | None) -> bool:
    """Whether class names say what the classes are, and are not numbers such as "3", "LABEL_3" or "class 3".

    Args:
        names: of channels or classes, if there are any

    Returns:
        whether at least one says something

    Example:
        >>> are_names(["LABEL_0", "LABEL_1"]), are_names(["background", "1"]), are_names(None)
        (False, True, False)
    """
    return any(_GENERIC.fullmatch(name.strip()) is None for name in names or ())


def match_class_names(channel_names: Sequence[str], class_names: Sequence[str]) -> dict[int, int]:
    """Map model channels to label classes of the same name, however it is spelt.

    Args:
        channel_names: name of each model channel
        class_names: name of each label class

    Returns:
        {channel: class} for the names found on both sides

    Example:
        >>> match_class_names(["__background__", "Traffic Light", "sheep"], ["bg", "traffic_light"])
        {0: 0, 1: 1}
    """
    found = match_by_name(class_names, channel_names)
    return dict(sorted((channel, index) for index, match in found.items() for channel in match.channels))


def match_by_name(
    class_names: Sequence[str], channel_names: Sequence[str], taken: Mapping[int, ChannelMatch] | None = None
) -> dict[int, ChannelMatch]:
    """Find the channels of the classes by name: equal ones first, then `SYNONYMS`.

    Classes of one name share the channels of that name; if there are as many, each has its own, in order.

    Args:
        class_names: name of each label class
        channel_names: name of each model channel
        taken: classes that have found their channels otherwise

    Returns:
        class index to channels, also of the classes in `taken`; classes without a channel are left out

    Example:
        >>> match_by_name(["person", "tv", "tram"], ["TVmonitor", "Person"])
        {0: ChannelMatch(channels=(1,), how='name'), 1: ChannelMatch(channels=(0,), how='synonym')}
    """
    found = dict(taken or {})
    for how, key in (("name", plain_name), ("synonym", concept)):
        used = {channel for match in found.values() for channel in match.channels}
        free = _by_key(channel_names, key, skip=used)
        for name, classes in _by_key(class_names, key, skip=set(found)).items():
            channels = free.get(name, [])
            one_each = len(channels) == len(classes)
            for place, index in enumerate(classes if channels else ()):
                found[index] = ChannelMatch((channels[place],) if one_each else tuple(channels), how)
    return dict(sorted(found.items()))


def match_by_number(
    values: Sequence[int], num_channels: int, channel_names: Sequence[str] | None = None
) -> dict[int, ChannelMatch]:
    """Find the channels of classes that have no names.

    In this order: channels that are named after mask values ("7"), as many channels as classes, channel number = mask
    value.

    Args:
        values: mask value of each class, in order
        num_channels: of the model
        channel_names: names of the channels, if they are numbers

    Returns:
        class index to channel; classes without one are left out

    Example:
        >>> match_by_number([3, 7], 2)[1]
        ChannelMatch(channels=(1,), how='order')
        >>> match_by_number([3, 7], 9)[1]
        ChannelMatch(channels=(7,), how='number')
    """
    if channel_names and all(name.strip().isdecimal() for name in channel_names):
        channel_of = {int(name): channel for channel, name in enumerate(channel_names)}
        return {i: ChannelMatch((channel_of[v],), "value") for i, v in enumerate(values) if v in channel_of}
    if num_channels == len(values):
        return {index: ChannelMatch((index,), "order") for index in range(num_channels)}
    return {i: ChannelMatch((v,), "number") for i, v in enumerate(values) if 0 <= v < num_channels}


def closest_names(name: str, others: Sequence[str], most: int = 3) -> list[str]:
    """Names that look most like a name, to offer when none is equal.

    Args:
        name: what was looked for
        others: what there is
        most: how many to give

    Returns:
        the closest first; empty if none is alike

    Example:
        >>> closest_names("traffic light", ["sky", "light", "traffic sign"])
        ['light', 'traffic sign']
    """
    wanted = plain_name(name)
    plain = {plain_name(other): other for other in others}
    parts = [one for one in plain if one in wanted or wanted in one]
    found = dict.fromkeys([*parts, *get_close_matches(wanted, plain, n=most, cutoff=0.5)])
    return [plain[one] for one in found][:most]


def concept(name: str) -> str:
    """One name for all synonyms; of a list of them, as ADE20K has, the first.

    Args:
        name: of a class

    Returns:
        the first of its `SYNONYMS`, or the name as `plain_name` writes it

    Example:
        >>> concept("Airplane"), concept("person, individual")
        ('aeroplane', 'person')
    """
    plain = plain_name(re.split("[,;]", name)[0])
    return next((group[0] for group in SYNONYMS if plain in group), plain)


def _by_key(names: Sequence[str], key: Callable[[str], str], skip: Container[int]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        if index not in skip:
            found.setdefault(key(name), []).append(index)
    return found
