"""What README and docs say of the house is what stands there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
HALLS = ("quality", "models", "correction", "dataset", "workflows")
BESIDE = ("operators", "panels", "demo")


def _sentence(package: Path) -> str:
    """The first line of a package's docstring: what the room holds."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0]


def _tree() -> str:
    lines = ["fiftyone_plugin/"]
    for hall in HALLS:
        folder = ROOT / "fiftyone_plugin" / hall
        lines.append(f"  {hall + '/':<21}{_sentence(folder)}")
        rooms = sorted(path.name for path in folder.iterdir() if (path / "__init__.py").is_file())
        lines += [f"    {room + '/':<19}{_sentence(folder / room)}" for room in rooms]
    lines += [f"{name + '/':<23}{_sentence(ROOT / name)}" for name in BESIDE]
    return "\n".join(lines)


def test_the_tree_in_the_readme_is_the_tree():
    blocks = re.findall(r"```text\n(.*?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert _tree() in blocks, f"put this into README.md, between ```text and ```:\n{_tree()}"


def test_links_of_the_docs_lead_somewhere():
    broken = []
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        local = [target for target in targets if "://" not in target]
        broken += [f"{page.relative_to(ROOT)}: {target}" for target in local if not (page.parent / target).exists()]
    assert broken == []


def test_names_of_modules_and_functions_in_the_docs_exist():
    """`room/module.py: function` in docs/architecture.md names what is there."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = re.findall(r"\]\(\.\./(\S+?\.py)\)\s*`([A-Za-z_.]+)`", text)
    assert len(found) > 20
    for path, name in found:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert name.split(".")[-1] in defined, f"{path} has no {name}"
