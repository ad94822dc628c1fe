"""The image scores by name: what each one measures, and which of them need the whole dataset."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from ...errors import LabelQualityError

METHOD_TITLES: Final = MappingProxyType(
    {
        "softmin": "Softmin of the pixels' self-confidence: follows the worst pixels, finds most kinds of error.",
        "correctly_classified_pixels": "Share of pixels where the predicted class is the given class.",
        "thresholded_ccp": (
            "Agreement with predictions cut at one probability threshold per class, chosen on the dataset."
        ),
        "confidence_in_label": "Mean probability that the model gives to the labelled class.",
        "confident_learning_counts": "Share of pixels that confident learning does not flag as label errors.",
        "iou": "Mean overlap (intersection over union) of the given and the predicted mask of each class.",
        "connected_components": "Mean self-confidence of each connected part of the mask, averaged over parts.",
        "interior_softmin": "Softmin away from the borders of objects, where even good labels meet unsure predictions.",
        "worst_component": "1 less the strength of the strongest connected disagreement: finds single wrong objects.",
    }
)
"""One line about each method, for forms and reports."""

COMBINED: Final = "combined"
"""The one ranking to begin with, see `judging`; it needs the whole dataset and its probabilities at once."""

RANKING_TITLES: Final = MappingProxyType(
    {
        COMBINED: (
            "All evidence together, weighed by how well errors put into this dataset on purpose are found; where you "
            "know nothing of the errors."
        ),
        **METHOD_TITLES,
    }
)
"""One line about everything that images can be ordered by, the default first."""

METHODS: Final = tuple(METHOD_TITLES)
"""Names of all image scores, `PAPER_METHODS` first, then our own; higher always means a better label."""

PAPER_METHODS: Final = METHODS[:7]
"""Names of the seven image scores of Lad & Mueller 2023 (arXiv 2307.05080)."""

DATASET_METHODS: Final = frozenset({"thresholded_ccp", "confident_learning_counts"})
"""Methods whose score of one image depends on statistics of all images."""


def check_methods(methods: str | Iterable[str]) -> tuple[str, ...]:
    """Return the method names as a tuple without repeats, in the order given.

    Args:
        methods: one name or several, each one of `METHODS`

    Returns:
        The names, each once.

    Raises:
        LabelQualityError: if a name is unknown or none is given.

    Example:
        >>> check_methods("softmin")
        ('softmin',)
        >>> check_methods(["iou", "softmin", "iou"])
        ('iou', 'softmin')
    """
    names = tuple(dict.fromkeys((methods,) if isinstance(methods, str) else methods))
    unknown = [name for name in names if name not in METHOD_TITLES]
    if unknown or not names:
        found = ", ".join(repr(name) for name in unknown) or "none"
        raise LabelQualityError(f"Expected `methods` among {', '.join(METHODS)}, but got {found}.")
    return names
