"""Logistic regression that is held to what was known before: Newton's method on a strictly convex loss."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MAX_STEPS: Final = 100
SMALLEST_STEP: Final = 1e-10


def logistic(values: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-x)), without overflow.

    Args:
        values: floats

    Returns:
        Numbers in [0, 1].

    Example:
        >>> logistic(np.array([-1e4, 0.0, 1e4]))
        array([0. , 0.5, 1. ])
    """
    result: FloatArray = 0.5 * (1 + np.tanh(0.5 * values))
    return result


def log_odds(chances: npt.ArrayLike, farthest: float = 13.8) -> FloatArray:
    """Return log(p / (1 - p)), the inverse of `logistic`, with an end.

    Args:
        chances: numbers in [0, 1]
        farthest: largest log odds, either way; 13.8 is one in a million

    Returns:
        Finite floats of the same shape.

    Example:
        >>> log_odds([0.0, 0.5, 1.0])
        array([-13.8,   0. ,  13.8])
    """
    values = np.asarray(chances, np.float64)
    with np.errstate(divide="ignore"):
        result: FloatArray = np.clip(np.log(values) - np.log1p(-values), -farthest, farthest)
    return result


def regression(rows: FloatArray, offset: FloatArray, answers: FloatArray, strength: float) -> FloatArray:
    """Return the coefficients w that minimise the logistic loss of rows @ w + offset plus strength / 2 |w|^2.

    Args:
        rows: (R, C) float64; columns of about unit spread
        offset: (R,) log odds that are known before
        answers: (R,) 0 or 1
        strength: how firmly the coefficients are held to 0; larger than 0

    Returns:
        (C,) float64.

    Example:
        >>> regression(np.array([[1.0], [-1.0]]), np.zeros(2), np.array([1.0, 0.0]), 0.1).round(2)
        array([2.13])
    """
    change = np.zeros(rows.shape[1])
    loss = _loss(rows, offset, answers, strength, change)
    for _ in range(MAX_STEPS):
        chances = logistic(rows @ change + offset)
        gradient = rows.T @ (chances - answers) + strength * change
        curvature = (rows * (chances * (1 - chances))[:, None]).T @ rows + strength * np.eye(change.size)
        step = np.linalg.solve(curvature, gradient)
        while (lower := _loss(rows, offset, answers, strength, change - step)) > loss:
            step /= 2
            if np.abs(step).max() < SMALLEST_STEP:
                return change
        change, loss = change - step, lower
        if np.abs(step).max() < SMALLEST_STEP:
            break
    return change


def _loss(rows: FloatArray, offset: FloatArray, answers: FloatArray, strength: float, change: FloatArray) -> float:
    values = rows @ change + offset
    return float((np.logaddexp(0, values) - answers * values).sum() + strength / 2 * change @ change)
