"""FiftyOne's server runs in its own folder, whose files come first wherever the plugin imports something."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import fiftyone.constants as foc
import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("fiftyone_plugin", "operators", "panels")
LOAD_AS_FIFTYONE_DOES = """
import importlib, importlib.util, sys
root, *names = sys.argv[1:]
assert importlib.util.find_spec("lightning").origin.startswith(sys.path[0])
spec = importlib.util.spec_from_file_location("plugin", f"{root}/__init__.py", submodule_search_locations=[root])
sys.modules["plugin"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["plugin"])
for name in names:
    try:
        importlib.import_module(f"plugin.{name}")
    except Exception as error:
        print(f"{name}: {error!r}")
"""


def _files() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.timeout(600)
def test_every_module_imports_there():
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in _files()]
    code = f"import sys; sys.path[0] = {foc.SERVER_DIR!r}\n{LOAD_AS_FIFTYONE_DOES}"
    command = [sys.executable, "-c", code, str(ROOT), *names]
    ran = subprocess.run(command, cwd=foc.SERVER_DIR, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stdout + ran.stderr


def test_no_import_anywhere_means_a_file_of_that_folder():
    """Also those inside functions, which happen when a button is pressed."""
    shadowing = {path.stem for path in Path(foc.SERVER_DIR).iterdir()} - {"__init__", "__pycache__"}
    wrong = []
    for path in _files():
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            wrong += [f"{path.relative_to(ROOT)}: {name}" for name in modules if name.split(".")[0] in shadowing]
    assert {"lightning", "main"} <= shadowing
    assert wrong == []
