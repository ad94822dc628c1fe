"""The two ways of getting out-of-sample probabilities without a model, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ... import models
from ...errors import LabelQualityError

FINE_TUNED = "fine_tuned"
FROZEN_FEATURES = "frozen_features"
METHODS: Mapping[str, str] = {
    FROZEN_FEATURES: "a small network on what a ready-made one sees: minutes on a CPU",
    FINE_TUNED: "a whole network per fold: for a GPU, or small images",
}
"""What `method` may be, with the words of forms and the command line."""

_SHARED = ("seed", "device", "memory_budget")
_BYTES_PER_FOLD = 250_000_000
_BYTES_OF_FEATURES = 1_500_000  # of an image of 480 x 360 pixels


@dataclass(frozen=True)
class TrainingMethod:
    """How each fold is trained.

    Attributes:
        train: of `models`, takes examples, a folder and what follows
        arguments: of it, all that decides the result
        said: the same as plain values, for records
        bytes_needed: of a run on so many images, about
    """

    train: Callable[..., models.CrossValidation]
    arguments: Mapping[str, Any]
    said: Mapping[str, Any]
    bytes_needed: Callable[[int], int]


def training_method(name: str, folds: int, given: Mapping[str, Any]) -> TrainingMethod:
    """Settle how to train.

    Args:
        name: of `METHODS`
        folds: number of folds
        given: architecture, encoder, weights, epochs and further options; None = the default of the method

    Returns:
        what to call with what

    Raises:
        LabelQualityError: no such method, or an option that has no meaning for it

    Example:
        >>> training_method("frozen_features", 2, {"stride": 8, "encoder": None}).said["stride"]
        8
    """
    chosen = {option: value for option, value in given.items() if value is not None or option == "weights"}
    if name == FINE_TUNED:
        return _fine_tuned(folds, chosen)
    if name == FROZEN_FEATURES:
        return _frozen_features(folds, chosen)
    raise LabelQualityError(f"Expected `method` among {sorted(METHODS)}, but got {name!r}.")


def quick_method() -> str:
    """The method that forms offer first: whole networks where there is a GPU, else heads on frozen features.

    Example:
        >>> quick_method() in METHODS
        True
    """
    return FINE_TUNED if models.choose_device().type == "cuda" else FROZEN_FEATURES


def _fine_tuned(folds: int, given: Mapping[str, Any]) -> TrainingMethod:
    named = {
        "arch": given.get("architecture", "unet"), "encoder": given.get("encoder", "resnet18"),
        "epochs": given.get("epochs", 20),
    }  # fmt: skip
    rest = {option: value for option, value in given.items() if option != "architecture"}
    arguments = {"folds": folds, **rest, **named}
    said = {"method": FINE_TUNED, **arguments}
    return TrainingMethod(models.cross_validate, arguments, said, lambda images: folds * _BYTES_PER_FOLD)


def _frozen_features(folds: int, given: Mapping[str, Any]) -> TrainingMethod:
    own = [option.name for option in fields(models.FrozenFeatureOptions)]
    foreign = sorted(given.keys() - {*own, *_SHARED})
    if foreign:
        raise LabelQualityError(
            f"The options {foreign} have no meaning for method={FROZEN_FEATURES!r}, which knows {sorted(own)}; leave "
            f"them out, or pass method={FINE_TUNED!r}."
        )
    options = models.FrozenFeatureOptions(**{option: value for option, value in given.items() if option in own})
    shared = {option: value for option, value in given.items() if option in _SHARED}
    return TrainingMethod(
        models.cross_validate_frozen_features,
        {"folds": folds, "options": options, **shared},
        {"method": FROZEN_FEATURES, "folds": folds, **options.config(), **shared},
        lambda images: min(images * _BYTES_OF_FEATURES, options.disk_limit),
    )
