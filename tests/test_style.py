"""Lint, types and the direction of imports hold for the whole project; what FiftyOne loads does no harm."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "fiftyone_plugin"
LOADED = ("fiftyone_plugin", "operators", "panels")

# From the bottom to the top: a room imports only rooms that stand before it, and a hall only halls before it.
HALLS = {
    "quality": [
        "pixels", "known_errors", "check_up", "scores", "records", "flags", "datasets", "causes", "regions",
        "certainty", "judging",
    ],
    "models": [
        "errors", "hardware", "files", "segmenters", "training", "frozen_features", "noise_robust", "foundation",
        "loading",
    ],
    "correction": ["superpixels", "questions", "answers", "errata"],
    "dataset": ["door", "fields", "journals", "runs"],
    "workflows": [
        "engines", "checking", "objects", "scoring", "rehearsing", "reviewing", "training", "starting", "correcting",
        "certifying", "finding", "handing_on", "housekeeping",
    ],
}  # fmt: skip
MAY_IMPORT = {
    "quality": set(),
    "models": {"quality"},
    "correction": {"quality"},
    "dataset": {"quality", "models", "correction"},
    "workflows": {"quality", "models", "correction", "dataset"},
}
BESIDE = {
    "errors",
    "options",
    "progress",
    "plugin_folder",
    "wording",
    "written_files",
}  # modules beside the halls, for all of them


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=["lint", "format"])
def test_ruff_is_content(command, tmp_path):
    words = [sys.executable, "-m", "ruff", *command, ".", "--cache-dir", str(tmp_path)]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_types_are_right(tmp_path):
    clone = tmp_path / "clone"  # the root is a package to mypy, so its name must be a name in Python
    for name in LOADED:
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for name in ("__init__.py", "bootstrap.py", "pyproject.toml"):
        shutil.copy(ROOT / name, clone / name)
    words = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache")]
    ran = subprocess.run(words, cwd=clone, capture_output=True, text=True)
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


def _targets(path: Path) -> list[tuple[str, ...]]:
    """The modules of the library that a file of it imports, as parts below the library: ("quality", "pixels", ...)."""
    package = path.relative_to(LIBRARY).parts[:-1]
    return [
        (*package[: len(package) - (level - 1)], *module.split(".")) for level, module in _imports(path) if level > 0
    ]


def test_every_room_has_its_place():
    for hall, rooms in HALLS.items():
        there = {path.stem for path in (LIBRARY / hall).iterdir() if path.name[0] not in "_."}
        assert there == set(rooms), hall


@pytest.mark.parametrize("hall", list(HALLS))
def test_imports_point_downwards(hall):
    wrong = []
    for path in (LIBRARY / hall).rglob("*.py"):
        inside = path.relative_to(LIBRARY / hall).parts
        room = Path(inside[0]).stem
        for target in _targets(path):
            if target[0] != hall:
                if target[0] not in MAY_IMPORT[hall] | BESIDE:
                    wrong.append(f"{path.relative_to(LIBRARY)} imports {'.'.join(target)}")
            elif room != "__init__" and target[1] != room:
                order = HALLS[hall]
                if order.index(target[1]) > order.index(room):
                    wrong.append(f"{path.relative_to(LIBRARY)} imports the room {target[1]} above it")
        for level, module in _imports(path):
            top = module.split(".")[0]
            above = top == "fiftyone" and hall not in ("dataset", "workflows")
            if level == 0 and (above or top in ("fiftyone_plugin", "operators", "panels", "demo")):
                wrong.append(f"{path.relative_to(LIBRARY)} imports {module}")
    assert wrong == []


@pytest.mark.parametrize("hall", list(HALLS))
def test_no_modules_import_each_other_in_a_circle(hall):
    files = {path.relative_to(LIBRARY).with_suffix("").parts: path for path in (LIBRARY / hall).rglob("*.py")}
    graph = {parts: {target for target in _targets(path) if target in files} for parts, path in files.items()}
    while leaves := [parts for parts, targets in graph.items() if not targets & graph.keys()]:
        for parts in leaves:
            del graph[parts]
    assert graph == {}


def test_what_fiftyone_loads_starts_nothing_and_changes_no_environment():
    wrong = []
    for path in (
        path for folder in LOADED for path in (ROOT / folder).rglob("*.py") if "node_modules" not in str(path)
    ):
        for _, module in _imports(path):
            if module.split(".")[0] in ("subprocess", "socket", "ctypes", "lightning"):
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "putenv", "system"):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.attr}")
            called = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            computed = called in ("import_module", "__import__") and not isinstance(node.args[0], ast.Constant)
            if computed or (called in ("eval", "exec") and isinstance(node.func, ast.Name)):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {called}")
    assert wrong == []


def test_the_sdk_imports_without_fiftyone_and_torch():
    heavy = ("fiftyone", "torch", "lightning", "pytorch_lightning")
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


_MANY = re.compile(
    r"\*{0,2} (images|samples|regions|pixels|labels|questions|answers|files|fields|masks|epochs|proposals|objects|"
    r"models|people|reviewers|repairs|corrections|errors|classes)\b"
)


def _is_number(value: ast.FormattedValue) -> bool:
    """Whether a text shows a count, by its thousands or by what it is called."""
    shown, what = ast.unparse(value.format_spec) if value.format_spec else "", value.value
    named = getattr(what, "attr", getattr(what, "id", ""))
    called = getattr(getattr(what, "func", None), "id", "")
    return "," in shown or called in ("len", "sum") or named.startswith(("num_", "number"))


def _is_error(text: ast.JoinedStr) -> bool:
    return isinstance(text.values[0], ast.Constant) and text.values[0].value.startswith("Expected ")


@pytest.mark.parametrize("folder", ["operators", "panels", "fiftyone_plugin/workflows", "fiftyone_plugin/cli"])
def test_reports_say_one_image_and_two_images(folder):
    """`wording.count` writes a number with its noun; errors, which are raised, may name what was expected."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        raised = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Raise) for part in ast.walk(node)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) and id(node) not in raised]
        for text in texts:
            for value, then in pairwise(text.values):
                is_shown = isinstance(value, ast.FormattedValue) and _is_number(value)
                if is_shown and isinstance(then, ast.Constant) and _MANY.match(then.value) and not _is_error(text):
                    found.append(f"{path.relative_to(ROOT)}:{text.lineno}: {ast.unparse(text)[:80]}")
    assert not found, "\n".join(found)
