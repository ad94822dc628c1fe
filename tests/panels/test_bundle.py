"""The script that the App loads is small, is made of what is beside it, and its TypeScript is sound."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

JS = Path(__file__).parents[2] / "panels" / "js"
BUNDLE = JS / "dist" / "index.umd.js"


@pytest.fixture(scope="module")
def node():
    """Node, with the packages that package-lock.json names."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node.js")
    if not (JS / "node_modules").is_dir():
        pytest.skip("no packages: npm ci --prefix panels/js")

    def run(*command: str, **variables: str) -> None:
        environment = {**os.environ, **variables}
        ran = subprocess.run(command, cwd=JS, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    return run


def test_the_bundle_is_small():
    assert 5_000 < len(BUNDLE.read_bytes()) < 40_000


def test_the_bundle_takes_everything_from_the_app():
    code = BUNDLE.read_text()
    assert set(re.findall(r"__f\w+__", code)) == {"__foo__", "__fosp__", "__fop__"}
    assert not re.search(r"https?:|\bimport\b|\brequire\(|\beval\(", code)


def test_the_lock_names_no_registry():
    assert "http" not in (JS / "package-lock.json").read_text()


def test_the_bundle_is_built_from_what_is_beside_it(node, tmp_path):
    node("node", "build.mjs", BUNDLE=str(tmp_path / "bundle.js"))
    assert (tmp_path / "bundle.js").read_bytes() == BUNDLE.read_bytes(), "run `npm run build` in panels/js"


def test_the_types_are_sound(node):
    node("npm", "run", "check")


def test_the_units_work(node):
    node("npm", "test")
