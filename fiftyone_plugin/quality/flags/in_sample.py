"""Predictions that agree with the labels too well: made, it seems, by a model trained on these very labels."""

from __future__ import annotations

from typing import Final

from ..records.totals import Totals

MIN_DISAGREEMENT: Final = 0.002
"""Share of disagreeing pixels below which predictions are suspicious on their own."""

MIN_DISAGREEMENT_IF_CERTAIN: Final = 0.01
MAX_CERTAIN: Final = 0.98


def in_sample_suspicion(totals: Totals) -> str | None:
    """Say why the predictions look as if the model had been trained on the images it is asked to judge.

    Held-out predictions disagree with labels along every border: even strong models on clean datasets on about one
    pixel in a hundred. A model that has memorised its labels hides their errors, and scores from it mean nothing. The
    limits are a rule of thumb, not a test: images that are nearly all one class agree as well.

    Args:
        totals: of the dataset

    Returns:
        A sentence with the numbers, or None if nothing is suspicious or no pixel is labelled.

    Example:
        >>> import numpy as np
        >>> from ..records.image_records import image_record
        >>> totals = Totals(2)
        >>> totals.add(image_record(np.zeros((9, 9), int), np.stack([np.ones((9, 9)), np.zeros((9, 9))])))
        >>> print(in_sample_suspicion(totals))
        The predictions disagree with the labels on only 0.000 % of 81 pixels, and 100.0 % of the pixels have a \
self-confidence of at least 0.99: the model was probably trained on these labels and hides their errors. Use \
predictions of a model that has not seen the images (cross-validation).
    """
    if totals.num_valid == 0:
        return None
    disagreeing = 1 - totals.num_agreeing / totals.num_valid
    certain = totals.num_certain / totals.num_valid
    suspicious = disagreeing < MIN_DISAGREEMENT or (disagreeing < MIN_DISAGREEMENT_IF_CERTAIN and certain > MAX_CERTAIN)
    if not suspicious:
        return None
    return (
        f"The predictions disagree with the labels on only {100 * disagreeing:.3f} % of {totals.num_valid} pixels, "
        f"and {100 * certain:.1f} % of the pixels have a self-confidence of at least 0.99: the model was probably "
        "trained on these labels and hides their errors. Use predictions of a model that has not seen the images "
        "(cross-validation)."
    )
