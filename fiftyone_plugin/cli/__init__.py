"""The `label-quality` command: the jobs of the plugin from a terminal."""

from .commands import main

__all__ = ["main"]
