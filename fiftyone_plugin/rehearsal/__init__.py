"""A dress rehearsal: rendered street scenes, and label errors that are known because we made them."""

from __future__ import annotations

from .boundary_noise import SEGTHOR_CLASSES, BoundaryNoise, add_boundary_noise, noisy_masks
from .errors import ERROR_KINDS, MIXTURE, InjectedError, inject_error, plan_errors
from .outlines import OUTLINE_KINDS, redraw_outlines
from .scenes import SCENE_CLASSES, SCENE_COLORS, VOID, Scene, render_scene

__all__ = [
    "ERROR_KINDS",
    "MIXTURE",
    "OUTLINE_KINDS",
    "SCENE_CLASSES",
    "SCENE_COLORS",
    "SEGTHOR_CLASSES",
    "VOID",
    "BoundaryNoise",
    "InjectedError",
    "Scene",
    "add_boundary_noise",
    "inject_error",
    "noisy_masks",
    "plan_errors",
    "redraw_outlines",
    "render_scene",
]
