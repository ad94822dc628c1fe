"""What pip installs holds SDK, command and plugin; the plugin works from a plain copy, as a download leaves it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

INSTALL = """
import sys
from fiftyone_plugin.plugin_folder import install_plugin
print(install_plugin(sys.argv[1]))
"""

LIST = """
import json, sys
import fiftyone.operators as foo
from fiftyone.operators.registry import OperatorRegistry
found = [op.name for op in foo.list_operators() if op.uri.startswith("@label-quality/segmentation/")]
mine = [name for name in sys.modules if name == "fiftyone_plugin" or name.startswith("fiftyone_plugin.")]
print(json.dumps({"operators": found, "errors": OperatorRegistry().list_errors(), "absolute": mine}))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def _run(code: str, *words: str, **variables: str) -> str:
    command = [sys.executable, "-c", code, *words]
    outcome = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables}, cwd=ROOT.parent)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.splitlines()[-1]


def test_the_wheel_has_the_command(site):
    (entry,) = site.glob("*.dist-info/entry_points.txt")
    assert "label-quality = fiftyone_plugin.cli:main" in entry.read_text()


def test_the_plugin_of_the_wheel_loads_by_relative_imports_alone(site, tmp_path):
    where = Path(_run(INSTALL, str(tmp_path), PYTHONPATH=str(site)))
    assert not where.is_symlink()
    assert not (where / "fiftyone_plugin" / "plugin").exists()
    assert [path.name for path in (where / "panels" / "js").rglob("*") if path.is_file()] == ["index.umd.js"]
    listed = json.loads(_run(LIST, FIFTYONE_PLUGINS_DIR=str(tmp_path)))
    assert listed["errors"] == []
    assert "score_label_quality" in listed["operators"]
    assert listed["absolute"] == []
