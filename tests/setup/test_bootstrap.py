"""`bootstrap.py` installs once, honours the user's settings, and ends as the command that it ran."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stubs are shell scripts")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with an environment that is there, and a uv that only writes down what it is asked for."""
    folder = tmp_path / "clone"
    (folder / "demo").mkdir(parents=True)
    shutil.copy(ROOT / "bootstrap.py", folder)
    (folder / "demo" / "__main__.py").write_text("import sys; print('demo', sys.argv[1:]); sys.exit(7)")
    (folder / "demo" / "mongod.py").write_text("print('/bin/mongod')")
    (folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    binaries = tmp_path / "bin"
    binaries.mkdir()
    made = folder.parent / "environment"  # with an editable installation of the clone
    packages = made / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "clone.pth").write_text(str(folder))
    (made / "pyvenv.cfg").write_text(f"home = {Path(sys._base_executable).parent}\n")
    (made / "bin").mkdir()
    (made / "bin" / "python").symlink_to(sys._base_executable)
    uv = binaries / "uv"
    uv.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && exit 0\n'
        f'echo "$* index=$UV_DEFAULT_INDEX" >> {tmp_path}/asked\n'
        f'[ "$1" = venv ] && cp -R {made} .venv\n'
        f"[ ! -e {tmp_path}/fail ]\n"
    )
    uv.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "FIFTYONE_DATABASE_URI"):
        monkeypatch.delenv(name, raising=False)
    return folder


def call(clone: Path, *arguments: str, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, str(clone / "bootstrap.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=kwargs.pop("cwd", "/"), **kwargs)


def asked(clone: Path) -> list[str]:
    path = clone.parent / "asked"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_the_first_call_installs_and_the_second_does_not(clone):
    first = call(clone, "demo", "--no-app", "--images", "3")
    assert first.returncode == 7, first.stderr
    assert "demo ['--no-app', '--images', '3']" in first.stdout
    assert [" ".join(line.split()[:2]) for line in asked(clone)] == ["venv --quiet", "pip install"]

    second = call(clone, "demo")
    assert second.returncode == 7
    assert "up to date" in second.stdout
    assert asked(clone) == []


def test_it_runs_the_code_of_its_own_clone_wherever_it_is_called(clone, tmp_path):
    (tmp_path / "other" / "demo").mkdir(parents=True)
    (tmp_path / "other" / "demo" / "__main__.py").write_text("raise SystemExit(8)")
    assert call(clone, "demo", cwd=tmp_path / "other").returncode == 7


def test_what_changed_is_installed_with_all_that_was_there(clone):
    call(clone, "demo")
    asked(clone)
    call(clone, "test", "--version")
    assert [line.split()[-2] for line in asked(clone)] == [".[dev,offline]"]
    call(clone, "demo")
    assert asked(clone) == []
    (clone / "pyproject.toml").write_text("[project]\nname = 'y'\n")
    call(clone, "demo")
    assert [line.split()[-2] for line in asked(clone)] == [".[dev,offline]"]


def test_a_clone_that_was_moved_is_installed_again(clone):
    call(clone, "demo")
    asked(clone)
    moved = clone.rename(clone.parent / "moved")
    call(moved, "demo")
    assert [line.split()[:2] for line in asked(moved)] == [["pip", "install"]]


def test_an_installation_that_failed_is_tried_again(clone):
    (clone.parent / "fail").touch()
    shutil.copytree(clone.parent / "environment", clone / ".venv", symlinks=True)
    failed = call(clone, "demo")
    assert failed.returncode == 1
    assert "uv could not install the packages" in failed.stderr
    (clone.parent / "fail").unlink()
    assert call(clone, "demo").returncode == 7


def test_an_environment_whose_python_is_gone_is_made_anew(clone):
    call(clone, "demo")
    asked(clone)
    (clone / ".venv" / "bin" / "python").unlink()
    assert call(clone, "demo").returncode == 7
    assert len(asked(clone)) == 2


def test_a_mirror_of_pip_is_one_for_uv(clone):
    call(clone, "demo", env={**os.environ, "PIP_INDEX_URL": "https://mirror.invalid/simple"})
    assert all(line.endswith("index=https://mirror.invalid/simple") for line in asked(clone))


def test_a_mirror_of_uv_comes_first(clone):
    mirrors = {"PIP_INDEX_URL": "https://pip.invalid/simple", "UV_DEFAULT_INDEX": "https://uv.invalid/simple"}
    call(clone, "demo", env={**os.environ, **mirrors})
    assert all(line.endswith("index=https://uv.invalid/simple") for line in asked(clone))


@pytest.mark.parametrize(("words", "code"), [((), 2), (("dance",), 2), (("--help",), 0)])
def test_without_a_command_it_says_how_to_call_it(clone, words, code):
    ran = call(clone, *words)
    assert ran.returncode == code
    assert "bootstrap.py demo" in ran.stdout + ran.stderr
    assert asked(clone) == []


def test_an_incomplete_clone_is_said(clone):
    (clone / "pyproject.toml").unlink()
    ran = call(clone, "test")
    assert ran.returncode == 1
    assert "complete clone" in ran.stderr


def test_a_missing_database_program_is_said_unless_the_user_has_a_server(clone):
    (clone / "demo" / "mongod.py").write_text("raise SystemExit('no mongod for this system')")
    ran = call(clone, "demo")
    assert ran.returncode == 1
    assert "no mongod for this system" in ran.stderr
    ran = call(clone, "demo", env={**os.environ, "FIFTYONE_DATABASE_URI": "mongodb://own"})
    assert ran.returncode == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_for_the_command(clone, number):
    (clone / "demo" / "__main__.py").write_text(
        "import signal, sys\n"
        "for number in (signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(number, lambda n, f: sys.exit(40 + n))\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    command = [sys.executable, str(clone / "bootstrap.py"), "demo"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, text=True, cwd=clone.parent) as process:
        assert any(line == "ready\n" for line in process.stdout)
        process.send_signal(number)
        assert process.wait(timeout=60) == 40 + number


class TestInside:
    """What cannot be seen from outside without another Python or a full disk."""

    @pytest.fixture
    def bootstrap(self, monkeypatch):
        import importlib.util

        spec = importlib.util.spec_from_file_location("bootstrap_under_test", ROOT / "bootstrap.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def test_an_old_python_is_refused(self, bootstrap, monkeypatch):
        monkeypatch.setattr(sys, "version_info", (3, 9, 2))
        with pytest.raises(bootstrap.SetupError, match=r"Expected Python 3\.10 or later"):
            bootstrap.check_python()

    def test_a_full_disk_is_named(self, bootstrap, monkeypatch):
        usage = namedtuple("usage", "free")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2e8))
        assert "only 0.2 GB of disk are free" in bootstrap._way_out()
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2e11))
        assert "registry must be reachable" in bootstrap._way_out()

    def test_without_uv_and_pip_the_way_out_is_said(self, bootstrap, monkeypatch, tmp_path):
        monkeypatch.setattr(bootstrap, "TOOLS", tmp_path)
        monkeypatch.setattr(bootstrap, "_runs", lambda command: False)
        with pytest.raises(bootstrap.SetupError, match="python3-pip"):
            bootstrap.find_uv()

    def test_variables_of_pip_win_over_its_files(self, bootstrap, monkeypatch):
        listed = "global.index-url='https://a'\nglobal.cert='/c.pem'\ninstall.cert='/d.pem'\nglobal.proxy='p:1'\n"
        monkeypatch.setattr(subprocess, "run", lambda *args, **_: subprocess.CompletedProcess(args, 0, stdout=listed))
        for name in ("PIP_CERT", "PIP_TRUSTED_HOST", "PIP_INDEX_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_PROXY", "p:2")
        assert bootstrap._pip_settings() == {"index-url": "https://a", "cert": "/d.pem", "proxy": "p:2"}

    def test_what_was_installed_is_kept_in_the_environment(self, bootstrap, monkeypatch, tmp_path):
        monkeypatch.setattr(bootstrap, "STAMP", tmp_path / "stamp.json")
        assert bootstrap._read_stamp() == {}
        (tmp_path / "stamp.json").write_text("half a fi")
        assert bootstrap._read_stamp() == {}
        (tmp_path / "stamp.json").write_text(json.dumps({"extras": ["dev"]}))
        assert bootstrap._read_stamp() == {"extras": ["dev"]}
