"""Entry point that FiftyOne loads (again on every operator call): registration and nothing else."""

from .operators import OPERATORS


def register(plugin) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Register every operator of the plugin."""
    for operator in OPERATORS:
        plugin.register(operator)
