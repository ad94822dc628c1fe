"""Lint, types and the direction of imports hold for the whole project."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "fiftyone_plugin"
MAY_IMPORT = {
    "quality": {"rehearsal"},
    "models": {"quality"},
    "rehearsal": set(),
    "correction": {"quality"},
    "dataset": {"quality", "models", "correction"},
    "workflows": {"quality", "models", "rehearsal", "correction", "dataset"},
}


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["lint", "format", "types"],
)
def test_tools_are_content(command, tmp_path):
    cache = ["--cache-dir", str(tmp_path)]
    ran = subprocess.run([sys.executable, "-m", *command, *cache], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import in a file; absolute ones have level 0."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(node.level, name) for name in names]
        elif isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("room", [room for room in MAY_IMPORT if (LIBRARY / room).is_dir()])
def test_imports_point_downwards(room):
    wrong = []
    for path in (LIBRARY / room).rglob("*.py"):
        depth = len(path.relative_to(LIBRARY / room).parts)
        for level, module in _imports(path):
            top = module.split(".")[0]
            if level == depth + 1 and top in MAY_IMPORT and top != room and top not in MAY_IMPORT[room]:
                wrong.append(f"{path.name} imports {top}")
            above = top == "fiftyone" and room not in ("dataset", "workflows")
            if level == 0 and (above or top == "fiftyone_plugin"):
                wrong.append(f"{path.name} imports {module}")
    assert wrong == []


def test_the_sdk_imports_without_fiftyone_and_torch():
    heavy = ("fiftyone", "torch", "pytorch_lightning")
    code = f"import sys, fiftyone_plugin.quality; print([m for m in {heavy} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_requirements_are_those_of_the_package():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line]
    assert needed == [line for line in project["dependencies"] if not line.startswith("fiftyone")]


def test_a_clone_may_have_any_name(request):
    """The root has an `__init__.py`, for FiftyOne; imported as a package, it would have to be called like one."""
    assert not [node for node in request.node.listchain() if isinstance(node, pytest.Package)]
