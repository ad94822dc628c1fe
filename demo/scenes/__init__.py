"""Street scenes rendered from nothing, with a label for every pixel, for demo, tests and benchmarks."""

from __future__ import annotations

from .scenes import SCENE_CLASSES, SCENE_COLORS, VOID, Scene, render_scene

__all__ = ["SCENE_CLASSES", "SCENE_COLORS", "VOID", "Scene", "render_scene"]
