"""The account of classes as a table: mask value, name, channel, how it was found, what is left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from ...models.segmenters.class_names import MATCHED_BY
from .classes import ClassMap, classes_of_field, list_classes
from .scan import mask_targets_of

ROWS_SHOWN: Final = 40
_NOT_JUDGED: Final = "not judged: "
_REPEATED: Final = 3  # rows that say the same of how: it is said once, below them


def account_of(
    samples: Any,
    label_field: str,
    seen: Mapping[int, int],
    ignore_index: Any = "auto",
    *,
    targets: Mapping[int | str, str] | None = None,
    otherwise: Mapping[int | str, str] | None = None,
) -> ClassMap:
    """The account of a label field, from which every job takes its classes.

    Args:
        samples: the dataset or view
        label_field: its Segmentation field
        seen: mask values that occur, each with the number of images it occurs in
        ignore_index: as in `classes_of_field`
        targets: instead of the field's own `mask_targets`; values that they do not name are ignored, but 0 is the
            background
        otherwise: names to use where the field has none

    Returns:
        the classes, still without channels

    Raises:
        LabelQualityError: if values occur that are no class, or fewer than two classes are left
    """
    if targets is None:
        named = mask_targets_of(samples, label_field) or otherwise
        return classes_of_field(named, seen, ignore_index, label_field)
    known = {0, *list_classes(targets, {}, None).values}
    seen = {value: count for value, count in seen.items() if value in known}
    return replace(classes_of_field(targets, seen, ignore_index, label_field), only_listed=True)


def own_channels(classes: ClassMap) -> ClassMap:
    """The account of a model that is trained on these labels: each class has the channel of its place.

    Args:
        classes: of the label field

    Returns:
        the same with channels

    Example:
        >>> [row.channel for row in class_rows(own_channels(ClassMap((3, 7), ("sky", "car"), frozenset())))]
        ['0', '1']
    """
    places = tuple((index,) for index in range(len(classes)))
    return replace(classes, channels=places, how=("trained",) * len(classes))


@dataclass(frozen=True)
class ClassRow:
    """One line of the account.

    Attributes:
        value: mask values as the user knows them; empty for a channel of no class
        name: of the class
        channel: number and name of the channels; empty if there is none
        found: how the two were matched, or why the class is not judged
    """

    value: str
    name: str
    channel: str
    found: str


def class_rows(classes: ClassMap) -> list[ClassRow]:
    """The account of classes: first those that are judged, then ignored ones, then channels that no label has.

    Args:
        classes: with or without channels

    Returns:
        one row a class or channel

    Example:
        >>> rows = class_rows(ClassMap((0, 7), ("sky", "car"), frozenset({255}), reasons=((255, "", "no name"),)))
        >>> [(row.value, row.name, row.found) for row in rows]
        [('0', 'sky', ''), ('7', 'car', ''), ('255', '', 'not judged: no name')]
    """
    judged: list[ClassRow] = []
    free: list[ClassRow] = []
    for index, (value, name) in enumerate(zip(classes.values, classes.names, strict=True)):
        own = [] if value is None else [value, *(other for other, place in classes.further if place == index)]
        how = MATCHED_BY.get(classes.how[index], "") if classes.how and own else ""
        row = ClassRow(
            classes.format_values(own), name, _channels(classes, index), how if own else "no counterpart in the labels"
        )
        (judged if own else free).append(row)
    ignored = [ClassRow(classes.format_values([value]), name, "", f"{_NOT_JUDGED}{why}")
               for value, name, why in classes.reasons]  # fmt: skip
    return [*judged, *ignored, *free]


def _channels(classes: ClassMap, index: int) -> str:
    if not classes.channels:
        return ""
    names = classes.channel_names
    return ", ".join(f"{channel} {names[channel]}" if names else str(channel) for channel in classes.channels[index])


def recorded_rows(classes: ClassMap) -> list[dict[str, str]]:
    """The account as a run keeps it, in plain values.

    Args:
        classes: with or without channels

    Returns:
        the rows of `class_rows`
    """
    return [asdict(row) for row in class_rows(classes)]


def class_table(rows: Sequence[ClassRow | Mapping[str, str]]) -> list[str]:
    """The account in markdown, as reports and forms show it; classes of equal names are only counted.

    Args:
        rows: of `class_rows`, or as a run keeps them

    Returns:
        lines; none if there are no rows

    Example:
        >>> class_table([ClassRow("1", "car", "7 car", "equal names"), ClassRow("2", "bus", "3 bus", "equal names")])
        ['', 'All 2 class names are equal in labels and predictions.']
        >>> class_table([ClassRow("255", "", "", "not judged: no name")])
        ['', 'Not judged: mask value 255 (no name)']
        >>> rows = [ClassRow("1", "car", "7 car", "equal names"), ClassRow("2", "bus", "3 coach", "names of one thing")]
        >>> class_table(rows)[3:]
        ['| bus | 2 | 3 coach | names of one thing |', '', 'The other class name is equal in labels and predictions.']
        >>> class_table([{"value": "1", "name": "car", "channel": "0", "found": MATCHED_BY["trained"]}])[1:]
        ['| class | mask value |', '|---|---|', '| car | 1 |']
    """
    found = [row if isinstance(row, ClassRow) else ClassRow(**row) for row in rows]
    if not found:
        return []
    judged, free = [row for row in found if row.value], [row for row in found if not row.value]
    told = [
        replace(row, channel="", found="") if row.found == MATCHED_BY["trained"] else row
        for row in judged
        if row.found != MATCHED_BY["name"]
    ]
    others = ", ".join(row.channel or row.name for row in free[:ROWS_SHOWN])
    left_out = [row for row in told if row.found.startswith(_NOT_JUDGED)]
    told = [row for row in told if row not in left_out]
    lines = _table(told)
    if left_out:
        listed = "; ".join(_left_out(row) for row in left_out[:ROWS_SHOWN])
        more = len(left_out) - ROWS_SHOWN
        lines += ["", f"Not judged: {listed}{f'; and {more:,} more' if more > 0 else ''}"]
    lines += _equal_names(len(judged) - len(left_out) - len(told), alone=not told and not left_out)
    return [*lines, *(["", f"Channels without a class in the labels: {others}"] if others else [])]


def _left_out(row: ClassRow) -> str:
    """A mask value that counts for nothing, with its name and why."""
    named = f" {row.name}" if row.name else ""
    return f"mask value {row.value}{named} ({row.found.removeprefix(_NOT_JUDGED)})"


def _table(rows: Sequence[ClassRow]) -> list[str]:
    if not rows:
        return []
    (most, number), *_ = Counter(row.found for row in rows).most_common(1)
    once = most if number >= _REPEATED else ""
    told = [replace(row, found="") if row.found == once else row for row in rows]
    wanted = [True, True, any(row.channel for row in told), any(row.found for row in told)]
    lines = [["class", "mask value", "channel", "how"], ["---"] * 4]
    lines += [[row.name or "–", row.value, row.channel, row.found] for row in told[:ROWS_SHOWN]]
    lines += [[f"and {len(rows) - ROWS_SHOWN} more", "", "", ""]] if len(rows) > ROWS_SHOWN else []
    table = [_table_line([cell for cell, shown in zip(line, wanted, strict=True) if shown]) for line in lines]
    return [
        "",
        *table,
        *(["", f"How classes were matched{', unless said' if any(wanted[3:]) else ''}: {once}."] if once else []),
    ]


def _equal_names(number: int, *, alone: bool) -> list[str]:
    if not number:
        return []
    which = f"All {number:,}" if alone else f"The other {number:,}" if number > 1 else "The other"
    return ["", f"{which} class name{'s are' if number > 1 else ' is'} equal in labels and predictions."]


def _table_line(cells: Sequence[str]) -> str:
    if cells[0] == "---":
        return f"|{'|'.join(cells)}|"
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def corrected_mapping(classes: ClassMap, moved: Mapping[int, int]) -> dict[int | str, str]:
    """The `class_mapping` that gives some classes the channels of others.

    Args:
        classes: with channels
        moved: class index to the index of the class whose channels are its own in truth

    Returns:
        channel to class name, for all classes; a class whose channels were given away takes those that are left

    Example:
        >>> classes = ClassMap((0, 1, 2), ("a", "b", "c"), frozenset(), channels=((0,), (1,), (2,)))
        >>> corrected_mapping(classes, {1: 2, 2: 1})
        {0: 'a', 2: 'b', 1: 'c'}
    """
    labelled = [index for index, value in enumerate(classes.values) if value is not None]
    place_of = {index: moved.get(index, index) for index in labelled}
    taken = set(moved.values())
    left = [index for index in range(len(classes)) if index not in {*place_of.values()}]
    for index in labelled:
        if index not in moved and index in taken:
            place_of[index] = left.pop(0) if left else index
    names = classes.channel_names
    return {
        names[channel] if names and names.count(names[channel]) == 1 else channel: classes.names[index]
        for index, place in place_of.items()
        for channel in classes.channels[place]
    }
