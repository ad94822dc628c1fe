"""Label errors that are known because we made them: what a method for finding errors is measured on."""

from __future__ import annotations

from .boundary_noise import SEGTHOR_CLASSES, BoundaryNoise, add_boundary_noise, noisy_masks
from .errors import ERROR_KINDS, MIXTURE, InjectedError, inject_error, plan_errors
from .outlines import OUTLINE_KINDS, redraw_outlines

__all__ = [
    "ERROR_KINDS",
    "MIXTURE",
    "OUTLINE_KINDS",
    "SEGTHOR_CLASSES",
    "BoundaryNoise",
    "InjectedError",
    "add_boundary_noise",
    "inject_error",
    "noisy_masks",
    "plan_errors",
    "redraw_outlines",
]
