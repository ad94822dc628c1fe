"""A dress rehearsal: rendered street scenes, and label errors that are known because we made them."""

from __future__ import annotations

from .errors import ERROR_KINDS, MIXTURE, InjectedError, inject_error, plan_errors
from .scenes import SCENE_CLASSES, SCENE_COLORS, VOID, Scene, render_scene

__all__ = [
    "ERROR_KINDS",
    "MIXTURE",
    "SCENE_CLASSES",
    "SCENE_COLORS",
    "VOID",
    "InjectedError",
    "Scene",
    "inject_error",
    "plan_errors",
    "render_scene",
]
