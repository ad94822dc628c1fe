"""What samples say together: values that no class has, classes that no mask has, names that are not unique."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ...quality import check_up
from ...quality.check_up import Spot
from ...wording import count
from .looking import Looks, SampleLook, values_present

_LISTED: Final = 8


@dataclass
class Comparison:
    """What samples say together.

    Attributes:
        spots: sample id to what was found
        notes: code to what is said of all of them
        left_out: code to why it could not be checked
    """

    spots: dict[str, list[Spot]] = field(default_factory=lambda: defaultdict(list))
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def compare_values(looks: Looks, found: Comparison) -> None:
    """Find values and names that are wrong in view of the whole dataset.

    Args:
        looks: at every sample
        found: added to
    """
    _values(looks, found)
    _repeated(found, check_up.NAME_NOT_UNIQUE.code, ((Path(look.filepath).stem, look) for look in looks.samples))
    masks = ((look.mask_path, look) for look in looks.samples if look.mask_path)
    _repeated(found, check_up.SHARED_MASK_FILE.code, masks)


def _values(looks: Looks, found: Comparison) -> None:
    codes = (check_up.VALUE_WITHOUT_CLASS.code, check_up.STRAY_VALUE.code, check_up.CLASS_WITHOUT_PIXELS.code)
    if not looks.names:
        found.left_out |= dict.fromkeys(codes, "the field has no `mask_targets`")
        return
    images: dict[int, list[tuple[SampleLook, int]]] = defaultdict(list)
    for look in looks.samples:
        for value, pixels in (look.mask.unnamed if look.mask else {}).items():
            images[value].append((look, pixels))
    listed: dict[str, list[str]] = defaultdict(list)
    for value, rows in sorted(images.items(), key=lambda item: -len(item[1])):
        stray = all(check_up.is_stray(pixels, look.size[0] * look.size[1]) for look, pixels in rows if look.size)
        code = codes[1] if stray else codes[0]
        listed[code].append(f"{looks.value_text(value)} (in {count(len(rows), 'image')})")
        for look, pixels in rows:
            found.spots[look.sample_id].append(Spot(code, area=pixels, note=f"value {looks.value_text(value)}"))
    found.notes |= {code: _list(texts) for code, texts in listed.items()}
    present = values_present(looks)
    absent = [name for value, name in looks.names.items() if not present[value]]
    if absent and present:
        found.notes[codes[2]] = _list(absent)


def _list(texts: list[str]) -> str:
    more = len(texts) - _LISTED
    return ", ".join(texts[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _repeated(found: Comparison, code: str, rows: Iterable[tuple[str | None, SampleLook]]) -> None:
    groups: dict[str | None, list[SampleLook]] = defaultdict(list)
    for name, look in rows:
        groups[name].append(look)
    for name, looks in groups.items():
        for look in looks if len(looks) > 1 else ():
            found.spots[look.sample_id].append(Spot(code, note=f"{Path(str(name)).name} ({len(looks)} times)"))
