"""What a user must know before believing a scoring run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import quality
from ...dataset.door.account import corrected_mapping
from ...dataset.door.classes import ClassMap
from ...dataset.runs.files import RunFolder
from ...wording import count, left_out
from .findings import Findings, Looked
from .issue_regions import RegionFindings
from .plan import ScoringPlan
from .sources import UNKNOWN_STATE, ProbabilitySource

_HARDLY = 0.2
_NAMED = 5
"""Mean self-confidence of a class below which a model does not know the class, a rule of thumb."""

_FOUND_ELSEWHERE = 0.5
"""Share of a class's labelled pixels that a model must find in other places, to be believed that it knows the class."""


def finding_warnings(
    findings: Findings,
    classes: ClassMap,
    source: ProbabilitySource,
    looked: Looked,
) -> list[str]:
    """Say what speaks against the scores.

    Args:
        findings: of the run
        classes: of the label field
        source: of the probabilities
        looked: which samples were looked at

    Returns:
        sentences, the most important first
    """
    warnings, images, skipped = [], looked.images, looked.skipped
    if len(skipped) > len(looked.scored):  # before anything that is said about the few others
        total = len(looked.scored) + len(skipped)
        warnings.append(left_out(len(skipped), total, skipped[0].filepath, skipped[0].reason))
    seen = source.seen_in_training(images)
    if seen:
        warnings.append(
            f"The model was trained on {seen:,} of {count(len(images), 'image')}, so their scores are too good; "
            "choose the whole cross-validation instead of one fold's model"
        )
    if swapped := swapped_table(findings.confusion, classes, "score again", ", overwrite=True"):
        warnings.append(swapped)
    if findings.suspicion:
        warnings.append(findings.suspicion)
    warnings += _class_warnings(findings, classes)
    if findings.judge is not None and findings.judge.warning:
        warnings.append(findings.judge.warning)
    empty = sum(np.isnan(score) for score in findings.scores["softmin"].values())
    if empty:
        warnings.append(f"{count(int(empty), 'image', 'have')} ignored pixels only, and no score")
    return warnings


def _class_warnings(findings: Findings, classes: ClassMap) -> list[str]:
    """Say of which classes the predictions are no evidence, and which labels look wrong everywhere."""
    warnings, scores, counts = [], findings.class_scores(classes), findings.totals.class_pixels
    elsewhere = findings.confusion.sum(axis=0) - findings.confusion.diagonal()
    low = [(index, name) for index, name in enumerate(classes.names) if scores.get(name, 1.0) < _HARDLY]
    low.sort(key=lambda pair: scores[pair[1]])
    moved = [name for index, name in low if elsewhere[index] >= _FOUND_ELSEWHERE * counts[index]]
    if moved:
        warnings.append(
            f"The labels of {_some(moved)} look wrong nearly everywhere: the model finds {_it(moved)} in other places. "
            "Look at a few of these images to tell who is right"
        )
    unknown = [f"{name} ({scores[name]:.2f})" for _, name in low if name not in moved]
    if unknown:
        warnings.append(
            f"The model hardly recognises {_some(unknown)} (0 = never, 1 = wherever the label says so): what it says "
            f"there is no evidence of wrong labels; train longer or take a larger model. Or nearly all labels of "
            f"{_it(unknown)} are wrong: look at a few images to tell"
        )
    blind = findings.judge.blind_classes if findings.judge is not None else []
    named = [classes.names[index] for index in blind if index not in dict(low)]
    if named:
        warnings.append(
            f"Errors in {_some(named)}, put into these labels on purpose, are found no better than by chance: "
            f"that images of {_it(named)} look fine means little"
        )
    return warnings


def _some(names: Sequence[str]) -> str:
    """The first names, and how many others there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _it(names: Sequence[str]) -> str:
    """What stands for classes that were just named."""
    return "this class" if len(names) == 1 else "these classes"


def swapped_table(confusion: np.ndarray, classes: ClassMap, call: str, further: str = "") -> str | None:
    """Whether the channels of some classes seem to be those of others, and what to pass instead.

    Args:
        confusion: (K, K) labelled pixels, given x predicted
        classes: with their channels
        call: what to do then, such as "score again"
        further: more arguments of that call

    Returns:
        a sentence; None where the table of classes seems right

    Example:
        >>> classes = ClassMap((0, 1), ("a", "b"), frozenset(), channels=((0,), (1,)), how=("order", "order"))
        >>> swapped_table(np.array([[9, 991], [995, 5]]), classes, "plan again")[-31:]
        "class_mapping={1: 'a', 0: 'b'}`"
    """
    by_number = {index for index, how in enumerate(classes.how) if how in ("order", "number")}
    unused = {index for index, value in enumerate(classes.values) if value is None} if by_number else set()
    moved = quality.swapped_classes(confusion, unused)
    if not moved:
        return None
    names = [f"{classes.names[given]} as {classes.names[predicted]}" for given, predicted in moved.items()]
    return (
        f"The table of classes seems to be shifted or swapped: the model predicts {', '.join(names[:8])}; if the "
        f"labels are right, {call} with `class_mapping={corrected_mapping(classes, moved)}{further}`"
    )


def region_warnings(plan: ScoringPlan, regions: RegionFindings | None) -> list[str]:
    """Say how many regions were left out, and how to keep them."""
    if regions is None or not regions.dropped:
        return []
    return [
        f"{count(regions.capped, 'image', 'have')} more than {plan.max_regions_per_image} regions; "
        f"{count(regions.dropped, 'region')} with lower scores left out: raise `min_region_area` or "
        "`max_regions_per_image`"
    ]


def restart_warnings(folder: RunFolder, source: ProbabilitySource) -> list[str]:
    """Say why an interrupted run did not go on.

    Args:
        folder: of the run
        source: of the probabilities

    Returns:
        a sentence, or none where nothing was interrupted
    """
    if not folder.restarted:
        return []
    if UNKNOWN_STATE in source.description:
        return ["It cannot be told whether the model is the one of the interrupted run, so all was computed again"]
    return [f"An interrupted run was computed again, because it had another {' and '.join(folder.restarted)}"]
