"""Entry point that FiftyOne loads (again on every operator call): registration and nothing else."""

from .operators import OPERATORS
from .panels import PANELS


def register(plugin) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Register every operator and panel of the plugin."""
    for entry in (*OPERATORS, *PANELS):
        plugin.register(entry)
