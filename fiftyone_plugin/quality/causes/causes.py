"""Which systematic errors explain what is wrong in which groups of images.

Every rule of `repairs` is a hypothesis: "in the images of this folder, these two classes are swapped". An image shows
it if its label would agree better with the prediction after the repair, or if a class that is predicted is hardly
drawn. A group has the cause if most of its images show it, and hardly any elsewhere (Fisher's exact test,
Bonferroni's correction for all rules and groups tried; of groups the likeliest). The cause that explains most pixels
beyond what the same rule would do elsewhere is taken first; its images are repaired, and what they show then is looked
at again, so that one cause is not named twice.

What people or batches draw otherwise than others in the same scenes is told by comparison with their neighbours, see
`styles`. A class without small parts in a run of scenes is told from the parts that are drawn, without predictions.

Where a run of neighbours elsewhere shows the same, neighbours count as one witness: what comes with a scene is no
cause.

Limits: where no such run is seen, neighbouring frames are counted as if they were independent; a cause in most images
of all is learnt by a model that is trained on them, and cannot be seen by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError
from ...wording import count
from .groups import FEWEST, Group, groups_of
from .repairs import Repair, repaired
from .signs import PART_AREAS, REACH, RINGS, SMALL, WIDEST, ImageSigns, IntArray, image_signs
from .styles import HARDLY, MOSTLY, Styles

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
Load = Callable[[int], tuple[IntArray, IntArray]]

RISK: Final = 0.01
"""Chance, of all tests together, that a cause is named by chance."""

_LEAST: Final = 0.001  # share of an image that a class must have to be judged
_SHOWN: Final = 0.8  # of the images of a group show what it has; set by hand on CamVid's tuning images
_ELSEWHERE: Final = 0.1  # of the others may: models err in some scenes more than in others; set by hand likewise
_EVERYWHERE: Final = ("swapped", "renamed", "moved", "mirrored", "upside_down")
_WHOLE: Final = ("swapped", "mirrored", "upside_down")  # nothing in a scene looks like them
_PLACES: Final = 20  # moves that are tried
_BLOCK: Final = 5  # images that follow each other and count as one witness


@dataclass(frozen=True, eq=False)
class Cause:
    """A systematic error.

    Attributes:
        repair: what would mend it
        group: where it holds
        num_images: images of the group that can show it
        num_shown: of these, those that do
        num_elsewhere: other images that can show it
        shown_elsewhere: of these, those that do
        pixels: that would agree with the predictions in addition after the repair, in the whole group
        chance: that this were seen by chance, corrected for all that was tried
        compared: whether images show it by lying beyond their neighbours, and not by themselves
    """

    repair: Repair
    group: Group
    num_images: int
    num_shown: int
    num_elsewhere: int
    shown_elsewhere: int
    pixels: float
    chance: float
    compared: bool = False

    @property
    def name(self) -> str:
        """A short name, the same for the same repair of the same group."""
        parts = [self.repair.kind, *map(str, self.repair.classes), *map(str, self.repair.amount)]
        return "-".join([*parts, self.group.attribute or "all", self.group.value])

    def text(self, names: Sequence[str]) -> str:
        """What is wrong, why one may think so, and what a repair would do.

        Args:
            names: of the classes
        """
        what = _WORDS[self.repair.kind].format(*(names[value] for value in self.repair.classes), **_amounts(self))
        elsewhere = f", {self.shown_elsewhere:,} of {self.num_elsewhere:,} others do" if self.num_elsewhere else ""
        show = "lie beyond their neighbours" if self.compared else "show it"
        gain = (
            f"A repair would mend about {count(round(self.pixels), 'pixel')}"
            if self.pixels >= 1
            else "The predictions are too weak to repair it: correct these images by hand"
        )
        return f"In {self.group.text()}, {what}: {self.num_shown:,} of {self.num_images:,} {show}{elsewhere}. {gain}."


_WORDS: Final = {
    "swapped": "{0} and {1} are swapped",
    "renamed": "{0} is really {1}",
    "called": "{0} is drawn as {1}",
    "left_out": "{0} is never drawn",
    "small_left_out": "{0} is not drawn where it is smaller than {area:,} pixels",
    "too_wide": "{0} is drawn {width} px too wide",
    "too_narrow": "{0} is drawn {width} px too narrow",
    "moved": "labels must be moved {down} px down and {right} px to the right",
    "mirrored": "labels are mirrored",
    "upside_down": "labels are upside down",
}


def _amounts(cause: Cause) -> dict[str, int]:
    amount = cause.repair.amount
    if cause.repair.kind == "moved":
        return {"down": amount[0], "right": amount[1]}
    return {"area": amount[0], "width": amount[0]} if amount else {}


def find_causes(
    load: Load,
    count: int,
    num_classes: int,
    attributes: Mapping[str, Sequence[Any]],
    *,
    background: int | None = None,
    most: int = 20,
    risk: float = RISK,
    progress: Callable[[int, int], None] | None = None,
) -> list[Cause]:
    """Name systematic errors, those first that explain most.

    Args:
        load: place of an image to its (H, W) given classes and its (H, W) predicted classes, out of sample; -1 where
            ignored or not known. It is called again for images that a cause was found in
        count: images N
        num_classes: K
        attributes: what images may have in common, see `groups_of`
        background: class that is no thing, so that what is drawn as it is left out
        most: causes at most
        risk: chance that a cause is named by chance
        progress: told (done, total) images

    Returns:
        causes; a later one holds for labels that were repaired by those before it

    Raises:
        LabelQualityError: if there are fewer than two classes, or an attribute has not one value per image

    Example:
        >>> rng = np.random.default_rng(0)
        >>> seen = [rng.integers(0, 3, (6, 8)).repeat(5, 0).repeat(5, 1) for _ in range(24)]
        >>> def load(place):
        ...     return (2 - seen[place] if place < 8 else seen[place]), seen[place]
        >>> [cause] = find_causes(load, 24, 3, {"folder": ["a"] * 8 + ["b"] * 16})
        >>> cause.repair.kind, cause.repair.classes, cause.group.value, cause.num_shown
        ('swapped', (0, 2), 'a', 8)
    """
    if num_classes < 2:
        raise LabelQualityError(f"Expected at least 2 classes, but got {num_classes}")
    groups = groups_of(attributes, count)
    signs = []
    for place in range(count):
        signs.append(image_signs(*load(place), num_classes))
        if progress is not None:
            progress(place + 1, count)
    table = _Table.of(signs)
    styles = Styles(table, groups, risk)
    alone = [group for group in groups if not any(group is one for one in styles.groups)]
    repairs: dict[int, list[Repair]] = {}
    found: list[Cause] = []
    known: set[str] = set()
    looks = [
        lambda: _strongest(table, groups, risk, known, _WHOLE),
        lambda: _of_style(table, styles),
        lambda: _strongest(table, alone, risk, known),
        lambda: _without_small_parts(table, alone, risk, found),
    ]
    while looks and len(found) < most:
        cause = looks[0]()
        if cause is None:
            looks.pop(0)
            continue
        known.add(cause.name)
        found.append(cause if cause.compared else _named(cause, table, background))
        styles.forget(found[-1].group, found[-1].repair.classes)
        for place in np.flatnonzero(cause.group.members).tolist():
            repairs.setdefault(place, []).append(found[-1].repair)
            given, predicted = load(place)
            for repair in repairs[place]:
                given = repaired(given, predicted, repair)
            signs_now = image_signs(given, predicted, num_classes)
            table.put(place, signs_now, parts=all(repair.kind in _EVERYWHERE for repair in repairs[place]))
    return found


@dataclass(eq=False)
class _Table:
    """The signs of all images, one row an image."""

    pairs: FloatArray
    small: FloatArray
    parts: FloatArray
    rings: FloatArray
    moves: FloatArray
    flips: FloatArray
    steps: npt.NDArray[np.int64]
    areas: FloatArray

    @classmethod
    def of(cls, signs: Sequence[ImageSigns]) -> _Table:
        columns = {name: np.stack([getattr(one, name) for one in signs]) for name in _COLUMNS}
        steps, areas = np.array([one.step for one in signs]), np.array([one.area for one in signs])
        return cls(**columns, steps=steps, areas=areas)

    def put(self, place: int, signs: ImageSigns, *, parts: bool) -> None:
        """An image after its repair; small parts stay as a person drew them, unless `parts` of the repair are whole."""
        for name in _COLUMNS:
            if name != "parts" or parts:
                getattr(self, name)[place] = getattr(signs, name)


_COLUMNS: Final = ("pairs", "small", "parts", "rings", "moves", "flips")


@dataclass(frozen=True, eq=False)
class _Hypothesis:
    repair: Repair
    able: BoolArray
    shown: BoolArray
    gains: FloatArray


def _hypotheses(table: _Table) -> Iterator[_Hypothesis]:
    """Every rule that at least a few images show."""
    for one in (*_names(table), *_drawing(table), *_places(table)):
        if (one.able & one.shown).sum() >= FEWEST:
            yield one


def _names(table: _Table) -> Iterator[_Hypothesis]:
    """Classes whose names are wrong."""
    pairs, least = table.pairs, _LEAST * table.areas
    given, own = pairs.sum(2), np.diagonal(pairs, axis1=1, axis2=2)
    mostly = pairs > given[:, :, None] / 2  # given a is predicted as b
    for first, second in np.argwhere(mostly.sum(0) >= FEWEST).tolist():
        if first == second:
            continue
        drawn = given[:, first] >= least
        able = drawn | (pairs[:, :, second].sum(1) >= least)  # images without the wrong name speak, too
        gains = pairs[:, first, second] - own[:, first]
        yield _Hypothesis(Repair("renamed", (first, second)), able, drawn & mostly[:, first, second], gains)
        if first < second and mostly[:, second, first].sum() >= FEWEST:
            crossed = pairs[:, first, second] + pairs[:, second, first]
            straight = own[:, first] + own[:, second]
            able = crossed + straight >= least
            yield _Hypothesis(Repair("swapped", (first, second)), able, crossed > straight, crossed - straight)


def _drawing(table: _Table) -> Iterator[_Hypothesis]:
    """Classes that are not drawn, or not where they are small."""
    given, seen = table.pairs.sum(2), table.pairs.sum(1)
    own, least = np.diagonal(table.pairs, axis1=1, axis2=2), _LEAST * table.areas
    for value in range(given.shape[1]):
        able = seen[:, value] >= least
        shown = given[:, value] < HARDLY * seen[:, value]
        yield _Hypothesis(Repair("left_out", (value,)), able, shown, seen[:, value] - own[:, value])
        for place, share in enumerate(SMALL):
            parts, drawn = table.small[:, value, place].T
            area = (max(2, round(share * float(np.median(table.areas)))),)
            able = parts >= least / 2
            yield _Hypothesis(Repair("small_left_out", (value,), area), able, drawn < HARDLY * parts, parts - drawn)


def _places(table: _Table) -> Iterator[_Hypothesis]:
    """Whole labels that lie elsewhere, or the other way round."""
    able = table.areas > 0
    size = table.moves.shape[1]
    best = table.moves.reshape(len(able), -1).argmax(1)
    places, counts = np.unique(best, return_counts=True)
    step = int(np.median(table.steps))
    for place in places[np.argsort(-counts, kind="stable")][:_PLACES].tolist():
        down, right = place // size, place % size
        if (down, right) != (REACH, REACH):
            gains = table.moves[:, down, right]
            amount = ((down - REACH) * step, (right - REACH) * step)
            yield _Hypothesis(Repair("moved", amount=amount), able, gains > 0, gains)
    for kind, gains in zip(("mirrored", "upside_down"), table.flips.T, strict=True):
        yield _Hypothesis(Repair(kind), able, gains > 0, gains)


def _strongest(
    table: _Table, groups: Sequence[Group], risk: float, known: set[str], kinds: Sequence[str] = tuple(_WORDS)
) -> Cause | None:
    """The cause that explains most pixels beyond what its rule would do elsewhere."""
    tried = [one for one in _hypotheses(table) if one.repair.kind in kinds]
    tests = max(len(tried) * len(groups), 1)
    best: dict[tuple[Any, ...], tuple[float, Cause]] = {}
    for one in tried:
        cause = _likeliest(one, groups, tests, risk)
        if cause is None or cause.name in known or cause.pixels <= 0:
            continue
        outside = one.able & ~cause.group.members
        usual = float(one.gains[outside].mean()) if outside.any() else 0.0
        excess = cause.pixels - usual * cause.num_images
        key = (one.repair.kind, one.repair.classes, cause.group.attribute, cause.group.value)
        if excess > 0 and (key not in best or best[key][1].pixels < cause.pixels):  # of amounts the one that mends most
            best[key] = (excess, cause)
    return max(best.values(), key=lambda row: row[0])[1] if best else None


def _of_style(table: _Table, styles: Styles) -> Cause | None:
    """What a group draws otherwise than its neighbours."""
    style = styles.strongest()
    if style is None:
        return None
    inside = style.group.members
    pixels = max(0.0, _expected_pixels(table, style.repair, inside))
    return replace(_counted(style.repair, style.group, style.able, style.shown, pixels, style.chance), compared=True)


def _counted(repair: Repair, group: Group, able: BoolArray, shown: BoolArray, pixels: float, chance: float) -> Cause:
    """A cause with the images that show it."""
    inside = group.members
    return Cause(
        repair=repair,
        group=group,
        num_images=int((able & inside).sum()),
        num_shown=int((able & shown & inside).sum()),
        num_elsewhere=int((able & ~inside).sum()),
        shown_elsewhere=int((able & shown & ~inside).sum()),
        pixels=pixels,
        chance=chance,
    )


def _expected_pixels(table: _Table, repair: Repair, inside: BoolArray) -> float:
    """What a repair mends; what is taken from predictions by how often they are right elsewhere."""
    pairs, own = table.pairs, np.diagonal(table.pairs, axis1=1, axis2=2)
    if repair.kind == "moved":
        shares = table.moves / np.maximum(table.areas, 1)[:, None, None]
        usual = divmod(int(shares[~inside].mean(0).argmax()), shares.shape[1])  # where models see labels of others
        steps = np.array(repair.amount) // int(np.median(table.steps))
        down, right = np.clip(np.array(usual) + steps, 0, 2 * REACH).tolist()
        return float((table.moves[inside, down, right] - table.moves[inside, usual[0], usual[1]]).sum())
    value = repair.classes[0]
    if repair.kind in ("too_wide", "too_narrow"):
        width = min(WIDEST, repair.amount[0] // int(np.median(table.steps)))
        side = slice(RINGS, RINGS + width) if repair.kind == "too_wide" else slice(RINGS - width, RINGS)
        return float(table.rings[inside, value, side, 0].sum())
    if repair.kind == "renamed":
        return float(pairs[inside, value, repair.classes[1]].sum() - own[inside, value].sum())
    if repair.kind == "called":
        new, right = pairs[:, repair.classes[1], value], own[:, value]
    elif repair.kind == "left_out":
        new, right = pairs[:, :, value].sum(1) - own[:, value], own[:, value]
    else:
        shares = np.array(SMALL) * float(np.median(table.areas))
        seen, right = table.small[:, value, int(np.abs(np.log(shares / repair.amount[0])).argmin())].T
        new = seen - right
    precision = right[~inside].sum() / max(float((right + new)[~inside].sum()), 1.0)
    return float(new[inside].sum() * (2 * precision - 1))


def _without_small_parts(table: _Table, groups: Sequence[Group], risk: float, known: Sequence[Cause]) -> Cause | None:
    """A class that has hardly any small parts in a run of scenes, and some in most others.

    Neighbouring images count as one witness (Fisher's exact test, Bonferroni's correction).
    """
    blocks = np.arange(len(table.areas)) // _BLOCK
    sizes = np.bincount(blocks)
    counts = np.stack([np.bincount(blocks, one) for one in table.parts.reshape(len(blocks), -1).T], 1)
    counts = counts.reshape(len(sizes), *table.parts.shape[1:])
    tests = len(groups) * counts.shape[1] * len(PART_AREAS)
    found: list[tuple[float, Cause]] = []
    for group in groups:
        shares = np.bincount(blocks, group.members) / sizes
        for value, cut in np.ndindex(counts.shape[1], len(PART_AREAS)):
            small, large = counts[:, value, : cut + 1].sum(1), counts[:, value, cut + 1 :].sum(1)
            inside, outside = ((shares == part) & (small + large > 0) for part in (1, 0))
            chance, gain = _scarcity(small, large, inside, outside)
            if chance * tests <= risk:
                found.append((gain, _small_parts_cause(table, group, value, cut, chance * tests)))
    named = [(one.repair.classes, one.group.members) for one in known if one.repair.kind == "small_left_out"]
    found = [row for row in found if not any(
        row[1].repair.classes == classes and (row[1].group.members & members).any() for classes, members in named
    )]  # fmt: skip
    enough = 0.9 * max((gain for gain, _ in found), default=0.0)  # a larger area hardly explains more
    return min((row[1] for row in found if row[0] >= enough), key=lambda one: one.repair.amount, default=None)


def _small_parts_cause(table: _Table, group: Group, value: int, cut: int, chance: float) -> Cause:
    repair = Repair("small_left_out", (value,), (PART_AREAS[cut] * int(np.median(table.steps)) ** 2,))
    able, none = table.parts[:, value].sum(1) > 0, table.parts[:, value, : cut + 1].sum(1) == 0
    pixels = max(0.0, _expected_pixels(table, repair, group.members))
    return _counted(repair, group, able, none, pixels, chance)


def _scarcity(small: FloatArray, large: FloatArray, inside: BoolArray, outside: BoolArray) -> tuple[float, float]:
    """Chance that blocks inside have so few small parts, and the likelihood ratio of another share of small ones."""
    none = small == 0
    few, many = small[inside].sum(), small[outside].sum()
    whole, others = few + large[inside].sum(), many + large[outside].sum()
    if not inside.any() or not many or few / max(whole, 1) >= HARDLY * many / others:
        return 1.0, 0.0
    drawn = [int(one.sum()) for one in (none & inside, inside, none & (inside | outside), inside | outside)]
    parts = np.array([[few, many, few + many], [whole, others, whole + others]], np.int64)
    likelihoods = _log_likelihood(parts[0], parts[1])
    return _by_chance(*drawn), float(likelihoods[0] + likelihoods[1] - likelihoods[2])


def _likeliest(one: _Hypothesis, groups: Sequence[Group], tests: int, risk: float) -> Cause | None:
    """The group that explains best which images show a rule, if that is no chance."""
    members = np.stack([group.members for group in groups])
    able, shown = members @ one.able.astype(int), members @ (one.able & one.shown).astype(int)
    all_able, all_shown = int(one.able.sum()), int((one.able & one.shown).sum())
    other, other_shown = all_able - able, all_shown - shown
    fits = (shown >= FEWEST) & (shown >= _SHOWN * able) & (other_shown <= _ELSEWHERE * other)
    if one.repair.kind not in _EVERYWHERE:
        fits &= other > 0
    if not fits.any():
        return None
    likelihood = _log_likelihood(shown, able) + _log_likelihood(other_shown, other)
    place = int(np.where(fits, likelihood, -np.inf).argmax())
    chance = tests * max(
        _by_chance(int(shown[place]), int(able[place]), all_shown, all_able), _chance_of_runs(one, members[place])
    )
    if chance > risk:
        return None
    inside = members[place] & one.able
    return Cause(
        repair=one.repair,
        group=groups[place],
        num_images=int(able[place]),
        num_shown=int(shown[place]),
        num_elsewhere=int(other[place]),
        shown_elsewhere=int(other_shown[place]),
        pixels=float(one.gains[inside].sum()),
        chance=chance,
    )


def _chance_of_runs(one: _Hypothesis, inside: BoolArray) -> float:
    """The chance, neighbouring images as one witness, if some run of neighbours elsewhere shows the rule as well; or 0.

    Then it comes with the scene, and so many images of one scene say little more than one of them.
    """
    runs = np.arange(len(inside)) // _BLOCK
    able, shown = (
        np.stack([np.bincount(runs, which & side) for side in (~inside, inside)])
        for which in (one.able, one.able & one.shown)
    )
    shows = shown >= np.maximum(_SHOWN * able, 1)
    if not (shows[0] & (able[0] > _BLOCK // 2)).any():
        return 0.0
    witnesses, showing = (able > 0).sum(1), shows.sum(1)
    return _by_chance(int(showing[1]), int(witnesses[1]), int(showing.sum()), int(witnesses.sum()))


def _log_likelihood(shown: npt.NDArray[np.int64], able: npt.NDArray[np.int64]) -> FloatArray:
    from scipy.special import xlogy

    rate = shown / np.maximum(able, 1)
    return np.asarray(xlogy(shown, rate) + xlogy(able - shown, 1 - rate))


def _by_chance(shown: int, able: int, all_shown: int, all_able: int) -> float:
    """One-sided: so many or more, of images drawn at random; of all images, were better and worse equally likely."""
    from scipy.stats import binom, hypergeom

    if able == all_able:
        return float(binom.sf(shown - 1, able, 0.5))
    return float(hypergeom.sf(shown - 1, all_able, all_shown, able))


def _named(cause: Cause, table: _Table, background: int | None) -> Cause:
    """A class that is left out where one other is drawn was called by that name; so was a part of one."""
    if cause.repair.kind == "renamed":
        drawn_as, true = cause.repair.classes
        kept = table.pairs[cause.group.members, drawn_as].sum(0)
        if kept[drawn_as] < HARDLY * kept.sum():
            return cause
        return replace(cause, repair=Repair("called", (true, drawn_as)), pixels=float(kept[true]))
    if cause.repair.kind != "left_out":
        return cause
    (value,) = cause.repair.classes
    drawn = table.pairs[cause.group.members, :, value].sum(0)
    drawn[value] = 0
    other = int(drawn.argmax())
    if other == background or drawn[other] < MOSTLY * drawn.sum():
        return cause
    return replace(cause, repair=Repair("called", (value, other)))
