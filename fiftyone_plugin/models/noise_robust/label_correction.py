"""Labels corrected by confident predictions, and what was changed on the way.

The rules are those of ADELE (Liu et al., "Adaptive Early-Learning Correction for Segmentation from Noisy
Annotations", CVPR 2022, arXiv 2110.03740) as its two experiments run them: `VOC_CORRECTION` for labels from
image-level supervision, `SEGTHOR_CORRECTION` for outlines that are too small or too large.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from ...errors import LabelQualityError

Mask = npt.NDArray[np.integer]
Pixels = npt.NDArray[np.bool_]
Confidences = npt.NDArray[np.floating]


@dataclass(frozen=True)
class CorrectionRule:
    """Which pixels take the class that the model predicts.

    Args:
        threshold: the prediction must be more probable than that; one number, or one per class
        background: class that stands for "none of them": always correctable, and guarded. None = there is none
        fired: what has to be a fired class (or background): the "predicted" one, or "both", the given one, too
        class_constraint: only classes that the label has, and background, may be brought in. Where the label
            knows nothing but background, a rule with `all_background` may bring in any fired class
        all_background: correct images without foreground, too
        least_foreground: leave an image alone whose foreground would shrink below this share of what it was...
        most_background: ...while background would exceed this share of its labelled pixels; None = no guard
        start: correct the "given" labels anew each time, or the "current" ones, so that corrections add up
        removal: a foreground pixel predicted as background becomes "background", or "ignored"

    Raises:
        LabelQualityError: a value out of its range

    Example:
        >>> CorrectionRule(threshold=(0.9, 0.6, 0.6)).threshold_of(3).tolist()
        [0.9, 0.6, 0.6]
    """

    threshold: float | Sequence[float] = 0.8
    background: int | None = 0
    fired: Literal["predicted", "both"] = "predicted"
    class_constraint: bool = True
    all_background: bool = True
    least_foreground: float = 0.5
    most_background: float | None = 0.95
    start: Literal["given", "current"] = "given"
    removal: Literal["background", "ignored"] = "background"

    def __post_init__(self) -> None:
        thresholds = np.atleast_1d(np.asarray(self.threshold, float))
        if not bool(((thresholds >= 0) & (thresholds < 1)).all()):
            raise LabelQualityError(f"Expected `threshold` of at least 0 and below 1, but got {self.threshold}.")
        for name, allowed in (
            ("fired", ("predicted", "both")), ("start", ("given", "current")), ("removal", ("background", "ignored"))
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise LabelQualityError(f"Expected `{name}` among {allowed}, but got {getattr(self, name)!r}.")

    def threshold_of(self, num_classes: int) -> Confidences:
        """Return the threshold of each class.

        Args:
            num_classes: classes K

        Returns:
            (K,) array

        Raises:
            LabelQualityError: another number of thresholds than classes
        """
        thresholds = np.asarray(self.threshold, np.float64)
        if thresholds.ndim and len(thresholds) != num_classes:
            raise LabelQualityError(
                f"Expected one threshold, or one for each of the {num_classes} classes, but got {len(thresholds)}."
            )
        return np.broadcast_to(thresholds, (num_classes,))


#: PASCAL VOC: labels made from image-level classes, corrected from the originals after every epoch.
VOC_CORRECTION = CorrectionRule()

#: SegTHOR: drawn labels with wrong outlines; old and new class must have fired, and corrections add up.
SEGTHOR_CORRECTION = CorrectionRule(
    threshold=0.7, fired="both", all_background=False, most_background=None, start="current"
)


#: Ours: VOC's rule, but what is given as a class that has not fired stays. Otherwise classes that are learned early,
#: and background, which counts as fired all the time, take the pixels of those that are learned late.
DEFAULT_CORRECTION = CorrectionRule(fired="both")


@dataclass(frozen=True, eq=False)
class CorrectedLabel:
    """A label after correction.

    Args:
        label: (H, W), of the same dtype as before
        confidence: (H, W) float32 probability of the prediction behind each changed pixel, 0 elsewhere
        changed: (H, W) bool, where `label` differs from the one before
    """

    label: Mask
    confidence: Confidences
    changed: Pixels


def prediction_probabilities(
    logits: Sequence[torch.Tensor], temperature: float | Sequence[float] = 1.0
) -> torch.Tensor:
    """Average the logits of several views of an image and turn them into probabilities.

    The temperature has to be that of training: where the cross entropy was computed from logits divided by 3
    (three scales with weights of 1/3), the softmax of undivided logits would be far too sure.

    Args:
        logits: (..., K, H, W) per view, flipped and resized back
        temperature: divides the logits; one number, or one per view

    Returns:
        (..., K, H, W)

    Example:
        >>> views = [torch.tensor([3.0, 0.0]).reshape(2, 1, 1), torch.tensor([0.0, 0.0]).reshape(2, 1, 1)]
        >>> [round(float(prediction_probabilities(views, t)[0]), 3) for t in (1.0, 3.0)]
        [0.818, 0.622]
    """
    divisors = temperature if isinstance(temperature, Sequence) else [temperature] * len(logits)
    scaled = torch.stack([view / divisor for view, divisor in zip(logits, divisors, strict=True)])
    return scaled.mean(0).softmax(-3)


def correct_label(
    label: Mask,
    probabilities: npt.ArrayLike | torch.Tensor,
    fired: Collection[int],
    rule: CorrectionRule | None = None,
    ignored: int | None = 255,
) -> CorrectedLabel:
    """Replace the classes of a label by confidently predicted ones.

    Args:
        label: (H, W) class indices, given or current
        probabilities: (K, H, W) that sum to one over K
        fired: classes that are about to be memorised
        rule: None = `VOC_CORRECTION`
        ignored: value of pixels that have no label and get none

    Returns:
        the new label; the given one is left as it is

    Raises:
        LabelQualityError: label and probabilities of different size

    Example:
        >>> label = np.array([[0, 1, 1, 255]], np.uint8)
        >>> probabilities = np.array([[[0.05, 0.1, 0.3, 0.0]], [[0.95, 0.9, 0.7, 1.0]]])
        >>> done = correct_label(label, probabilities, fired={1})
        >>> done.label.tolist(), done.changed.tolist(), done.confidence.tolist()[0][0]
        ([[1, 1, 1, 255]], [[True, False, False, False]], 0.949999988079071)
    """
    scores = torch.as_tensor(probabilities)
    if scores.ndim != 3 or scores.shape[1:] != label.shape:
        raise LabelQualityError(
            f"Expected (classes, height, width) probabilities of the label's size {label.shape}, but got "
            f"{tuple(scores.shape)}; resize the probabilities."
        )
    confidence, predicted = scores.max(0)
    return correct_from_prediction(
        label, predicted.cpu().numpy(), confidence.cpu().numpy(), fired, scores.shape[0], rule, ignored
    )


def correct_from_prediction(
    label: Mask,
    predicted: Mask,
    confidence: Confidences,
    fired: Collection[int],
    num_classes: int,
    rule: CorrectionRule | None = None,
    ignored: int | None = 255,
) -> CorrectedLabel:
    """Do the same as `correct_label` from the winning classes, which are less to move than all probabilities.

    Args:
        label: (H, W) class indices, given or current
        predicted: (H, W) most probable class
        confidence: (H, W) its probability
        fired: classes that are about to be memorised
        num_classes: classes K
        rule: None = `VOC_CORRECTION`
        ignored: value of pixels that have no label and get none

    Returns:
        the new label

    Example:
        >>> done = correct_from_prediction(np.array([[0, 1]]), np.array([[1, 1]]), np.array([[0.9, 0.9]]), {1}, 2)
        >>> done.label.tolist()
        [[1, 1]]
    """
    rule = rule or VOC_CORRECTION
    labelled = np.ones(label.shape, bool) if ignored is None else label != ignored
    background = set() if rule.background is None else {rule.background}
    present = set(np.unique(label[labelled]).tolist())
    if not _concerned(present - background, set(fired) - background, rule):
        return _unchanged(label)
    correctable = _members(background | set(fired), num_classes)
    change = labelled & (predicted != label) & correctable[predicted]
    change &= confidence > rule.threshold_of(num_classes)[predicted]
    if rule.class_constraint and present - background:
        change &= _members(background | present, num_classes)[predicted]
    if rule.fired == "both":
        change &= correctable[np.where(labelled, label, 0)]
    new = np.where(change, predicted, label).astype(label.dtype)
    if _collapses(label, new, labelled, rule):
        return _unchanged(label)
    if rule.removal == "ignored" and ignored is not None and rule.background is not None:
        new[change & (predicted == rule.background)] = ignored
    return CorrectedLabel(new, np.where(change, confidence, 0).astype(np.float32), change)


@dataclass(frozen=True, eq=False)
class LabelChange:
    """What has become of one image's given label, for a person to accept or reject.

    Args:
        key: name of the image
        given: (H, W) label as it was given
        corrected: (H, W) label that training went on with
        confidence: (H, W) float16 probability of the prediction behind each changed pixel, 0 elsewhere
        epoch: (H, W) int32 epochs that were finished when a pixel got its corrected class, 0 where it did not
    """

    key: str
    given: Mask
    corrected: Mask
    confidence: Confidences
    epoch: Mask

    @property
    def changed(self) -> Pixels:
        """(H, W) bool, where the corrected label differs from the given one."""
        return self.given != self.corrected


def first_change(key: str, given: Mask) -> LabelChange:
    """Return the state before any correction.

    Args:
        key: name of the image
        given: (H, W) label

    Example:
        >>> bool(first_change("a", np.zeros((2, 2), np.uint8)).changed.any())
        False
    """
    nothing = np.zeros(given.shape, np.float16), np.zeros(given.shape, np.int32)
    return LabelChange(key, given, given, *nothing)


def next_change(before: LabelChange, new: CorrectedLabel, epoch: int) -> LabelChange:
    """Enter a correction into an image's record; a pixel that keeps its corrected class keeps its epoch.

    Args:
        before: the record up to now
        new: correction of `start_label(before, rule)`
        epoch: finished epochs

    Returns:
        the record now

    Example:
        >>> given = np.array([[0, 1]], np.uint8)
        >>> new = CorrectedLabel(np.array([[1, 1]], np.uint8), np.array([[0.75, 0]]), np.array([[True, False]]))
        >>> record = next_change(first_change("a", given), new, epoch=5)
        >>> next_change(record, new, epoch=6).epoch.tolist()
        [[5, 0]]
    """
    changed = new.label != before.given
    known = changed & (new.label == before.corrected)
    confidence = np.where(new.changed, new.confidence, before.confidence).astype(np.float16)
    epochs = np.where(known, before.epoch, epoch).astype(np.int32)
    return replace(
        before,
        corrected=new.label,
        confidence=np.where(changed, confidence, 0).astype(np.float16),
        epoch=np.where(changed, epochs, 0).astype(np.int32),
    )


def start_label(change: LabelChange, rule: CorrectionRule | None = None) -> Mask:
    """Return the label that a rule's next correction begins with.

    Args:
        change: the record up to now
        rule: None = `VOC_CORRECTION`

    Example:
        >>> start_label(first_change("a", np.array([[0, 1]]))).tolist()
        [[0, 1]]
    """
    return change.given if (rule or VOC_CORRECTION).start == "given" else change.corrected


def _concerned(foreground: set[int], fired: set[int], rule: CorrectionRule) -> bool:
    """Tell whether an image has a fired class, or nothing but background under a rule for such images."""
    if foreground:
        return bool(foreground & fired)
    return rule.all_background and rule.background is not None


def _members(classes: set[int], num_classes: int) -> Pixels:
    table = np.zeros(num_classes, bool)
    table[sorted(classes)] = True
    return table


def _collapses(label: Mask, new: Mask, labelled: Pixels, rule: CorrectionRule) -> bool:
    """Tell whether a change would leave little but background, as a network that has given up predicts."""
    if rule.background is None or rule.most_background is None:
        return False
    before = int((labelled & (label != rule.background)).sum())
    after = int((labelled & (new != rule.background)).sum())
    background = 1 - after / max(1, int(labelled.sum()))
    return after < rule.least_foreground * before and background > rule.most_background


def _unchanged(label: Mask) -> CorrectedLabel:
    return CorrectedLabel(label.copy(), np.zeros(label.shape, np.float32), np.zeros(label.shape, bool))
