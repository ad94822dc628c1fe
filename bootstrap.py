#!/usr/bin/env python3
"""Set everything up in this folder, then run the demo or the tests.

    python3 bootstrap.py demo [--no-app] [...]     the main job on rendered scenes with known label errors
    python3 bootstrap.py test [...]                the tests; further words go to pytest

It needs Python 3.10 or later with pip, about 8 GB of disk and a way to a package registry. Nothing outside
this folder is changed: uv goes to `.tools` (unless there is one already), everything else to `.venv`. A
second call installs only what changed. Settings of pip and uv (mirrors, proxies, certificates) are
honoured.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools" / "site-packages"  # a name that linters leave alone
STAMP = VENV / "label-quality-install.json"
OLDEST_PYTHON = (3, 10)
NEEDED_GB = 8
STARTED = time.monotonic()


class SetupError(Exception):
    """The set-up cannot go on; the message says why and what to do."""


def main(arguments: Sequence[str]) -> int:
    """Set up and run a command.

    Args:
        arguments: `demo` or `test` and what is passed on

    Returns:
        the exit code of what ran, 1 if the set-up failed, 2 if there is no such command
    """
    if "-h" in arguments[:1] or "--help" in arguments[:1]:
        print((__doc__ or "").strip())
        return 0
    if not arguments or arguments[0] not in ("demo", "test"):
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    command, passed_on = arguments[0], list(arguments[1:])
    try:
        check_python()
        python, mongod = set_up("dev" if command == "test" else "offline")
        return run_tests(python, mongod, passed_on) if command == "test" else run_demo(python, passed_on)
    except (SetupError, OSError) as error:
        print(f"bootstrap: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("bootstrap: interrupted; call it again to go on", file=sys.stderr, flush=True)
        return 130


def say(line: str) -> None:
    """Print a line about the set-up with the time since its start."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {line}", flush=True)


def check_python() -> None:
    """Refuse a Python that is too old, with a message that names both versions.

    Raises:
        SetupError: if it is
    """
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            f"Expected Python {'.'.join(map(str, OLDEST_PYTHON))} or later, but {sys.executable} is "
            f"{sys.version.split()[0]}; call it with a newer one, for instance `python3.11 bootstrap.py`."
        )


# --- installing ----------------------------------------------------------------------------------------------


def set_up(extra: str) -> tuple[Path, Path | None]:
    """Install what a command needs, unless it is there.

    Args:
        extra: optional dependencies of `pyproject.toml` to install as well, or an empty string

    Returns:
        the Python of the environment, and its `mongod`, None where a server of the user's takes its place

    Raises:
        SetupError: if something cannot be installed
    """
    python = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    wanted = _stamp(python)
    installed = _read_stamp()
    extras = set(installed.get("extras", []))
    same = wanted["python"] is not None and all(installed.get(name) == value for name, value in wanted.items())
    uv = None
    if same and (not extra or extra in extras):
        say("the environment is up to date")
    else:
        uv = find_uv()
        _make_environment(uv, python)
        _install(uv, python, sorted(extras | ({extra} if extra else set())))
    return python, _ensure_mongod(python, uv)


def _stamp(python: Path) -> dict[str, str | None]:
    """Return what an installation depends on: it is made again when any of this changes."""
    project = ROOT / "pyproject.toml"
    if not project.is_file():
        raise SetupError(f"Expected {project}, but it is not there; call the bootstrap.py of a complete clone.")
    digest = hashlib.sha256(project.read_bytes()).hexdigest()
    return {"pyproject": digest, "python": _version_of(python), "clone": str(ROOT)}


def _read_stamp() -> dict[str, Any]:
    try:
        return dict(json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _version_of(python: Path) -> str | None:
    """Return the version of the environment's Python, None if there is none that runs."""
    command = [str(python), "-I", "-c", "import sys; print(sys.version)"]
    try:
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return outcome.stdout.strip() if outcome.returncode == 0 else None


def find_uv() -> str:
    """Return the uv of the PATH or of an earlier call, or get one with pip into the folder `.tools`.

    pip refuses to install into a Python that belongs to the operating system (PEP 668), but not into a
    folder.

    Returns:
        the program

    Raises:
        SetupError: if there is no pip or it cannot get uv
    """
    own = TOOLS / "bin" / ("uv.exe" if sys.platform == "win32" else "uv")
    for candidate in (shutil.which("uv"), str(own)):
        if candidate and _runs([candidate, "--version"]):
            return candidate
    pip = [sys.executable, "-m", "pip"]
    if not _runs([*pip, "--version"]):
        raise SetupError(
            f"Expected pip for {sys.executable}, but there is none; install it (on Debian and Ubuntu: "
            "`apt-get install python3-pip`), or install uv in any way."
        )
    say(f"getting uv with pip into {TOOLS.parent.name}")
    command = [*pip, "install", "--quiet", "--upgrade", "--no-user", "--target", str(TOOLS), "uv"]
    environment = _without(os.environ, "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_USER")
    environment.setdefault("PIP_ROOT_USER_ACTION", "ignore")  # its warning is about other installations
    outcome = subprocess.run(command, env=environment, check=False)
    if outcome.returncode != 0 or not _runs([str(own), "--version"]):
        raise SetupError(f"pip could not get uv; {_way_out()}")
    return str(own)


def _without(environment: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in names}


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _way_out() -> str:
    """Return what is most likely wrong after an installation failed."""
    free, place = _least_free_disk()
    if free < 1:
        return f"only {free:.1f} GB of disk are free at {place}: about {NEEDED_GB} GB are needed."
    return (
        "its own message is above. If it is about the network: a package registry must be reachable; "
        "HTTPS_PROXY names a proxy, PIP_INDEX_URL a mirror. Call this again to go on where it stopped."
    )


def _least_free_disk() -> tuple[float, Path]:
    """Return the free gigabytes where packages go or where uv keeps what it downloads, whichever has fewer."""
    places = [place for place in (ROOT, Path.home()) if place.is_dir()]
    return min((shutil.disk_usage(place).free / 1e9, place) for place in places)


def _make_environment(uv: str, python: Path) -> None:
    if _version_of(python):
        return
    if (VENV / "pyvenv.cfg").is_file():
        shutil.rmtree(VENV)  # its Python is gone
    say(f"making {VENV.name} for Python {sys.version.split()[0]}")
    if _uv([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)]) != 0:
        raise SetupError(f"uv could not make {VENV}; its own message is above.")


def _install(uv: str, python: Path, extras: list[str]) -> None:
    free, place = _least_free_disk()
    if free < NEEDED_GB and not STAMP.is_file():
        say(f"only {free:.1f} GB of disk are free at {place}; a first installation takes about {NEEDED_GB} GB")
    say("installing the packages (a first time: some gigabytes, a few minutes)")
    STAMP.unlink(missing_ok=True)
    project = f".[{','.join(extras)}]" if extras else "."
    if _uv([uv, "pip", "install", "--python", str(python), "--editable", project]) != 0:
        raise SetupError(f"uv could not install the packages; {_way_out()}")
    STAMP.write_text(json.dumps({**_stamp(python), "extras": extras}, indent=2), encoding="utf-8")
    say("the packages are installed")


def _uv(command: list[str]) -> int:
    """Run uv in the root of the clone, its progress bars going straight to the terminal."""
    return subprocess.run(command, cwd=ROOT, env=_uv_environment(), check=False).returncode


def _uv_environment() -> dict[str, str]:
    """Return the environment for uv: with the user's settings of pip where there are none of uv."""
    environment = _without(os.environ, "PYTHONHOME", "PYTHONPATH", "UV_PYTHON", "UV_SYSTEM_PYTHON", "VIRTUAL_ENV")
    environment.setdefault("UV_HTTP_TIMEOUT", "300")  # one package alone has more than a gigabyte
    environment.setdefault("UV_SYSTEM_CERTS", "1")  # as the system's pip: a company's proxy may be among them
    environment.setdefault("UV_NATIVE_TLS", "1")  # the name of that in an older uv
    settings = _pip_settings()
    if not any(name in environment for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE")):
        _adopt(environment, "UV_DEFAULT_INDEX", settings.get("index-url"))
    _adopt(environment, "UV_INSECURE_HOST", settings.get("trusted-host"))
    _adopt(environment, "SSL_CERT_FILE", settings.get("cert"))
    _adopt(environment, "HTTPS_PROXY", settings.get("proxy"))
    _adopt(environment, "HTTP_PROXY", settings.get("proxy"))
    return environment


def _adopt(environment: dict[str, str], name: str, value: str | None) -> None:
    if value and name not in environment and name.lower() not in environment:
        environment[name] = value


@functools.lru_cache
def _pip_settings() -> dict[str, str]:
    """Return the user's settings of pip; its variables win over its files, as for pip itself."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    in_files = re.findall(r"^(global|install)\.([\w-]+)='(.*)'$", listed, flags=re.MULTILINE)
    settings = {name: value for _, name, value in sorted(in_files)}  # install comes after global
    for name in ("index-url", "trusted-host", "cert", "proxy"):
        variable = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
        if variable:
            settings[name] = variable
    return settings


def _ensure_mongod(python: Path, uv: str | None) -> Path | None:
    """Return the `mongod` of the environment, getting one if there is none that runs."""
    command = [str(python), "-I", str(ROOT / "demo" / "mongod.py"), "ensure"]
    program = uv or shutil.which("uv") or str(TOOLS / "bin" / "uv")
    command += ["--uv", program]
    outcome = subprocess.run(command, env=_uv_environment(), stdout=subprocess.PIPE, text=True, check=False)
    if outcome.returncode == 0:
        return Path(outcome.stdout.splitlines()[-1])
    if os.environ.get("FIFTYONE_DATABASE_URI"):
        say("using the server that FIFTYONE_DATABASE_URI names, with a database of its own")
        return None
    raise SetupError("there is no database program for FiftyOne; the lines above say what to do.")


# --- running -------------------------------------------------------------------------------------------------


def run_demo(python: Path, arguments: list[str]) -> int:
    """Run the demo; it keeps to a database and settings of its own, in its output folder.

    Args:
        python: of the environment
        arguments: passed on

    Returns:
        its exit code
    """
    say("starting the demo")
    # -I: not the `demo` of another clone in which this happens to be called
    command = [str(python), "-I", "-m", "demo", *arguments]
    return _run(command, _child_environment(), Path.cwd())


def run_tests(python: Path, mongod: Path | None, arguments: list[str]) -> int:
    """Run pytest with a database, settings and a plugins folder of its own, which are removed afterwards.

    Args:
        python: of the environment
        mongod: its database program, None for the server that FIFTYONE_DATABASE_URI names
        arguments: passed on to pytest

    Returns:
        its exit code
    """
    isolation, server = _module("isolation"), _module("mongod")
    instead = None if mongod else os.environ.get("FIFTYONE_DATABASE_URI")
    words = _side_by_side() if mongod else []  # a server each
    with tempfile.TemporaryDirectory(prefix="label-quality-", ignore_cleanup_errors=True) as folder:
        environment = isolation.isolated_environment(folder, environ=_child_environment())
        try:
            with server.running_database(environment, program=mongod or Path(), instead=instead) as complete:
                say("running the tests")
                return _run([str(python), "-m", "pytest", "-q", *words, *arguments], complete, ROOT)
        except server.MongodError as error:
            raise SetupError(str(error)) from error


def _side_by_side() -> list[str]:
    """Words for pytest that run files of tests at the same time, those of the App first."""
    workers = min(os.cpu_count() or 1, 4)
    return ["--numprocesses", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"] if workers > 1 else []


def _module(name: str) -> ModuleType:
    """Load a module of the demo that needs nothing installed, without the package around it."""
    path = ROOT / "demo" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"bootstrap_{name}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise SetupError(f"Expected {path}, but it is not there; call the bootstrap.py of a complete clone.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _child_environment() -> dict[str, str]:
    """Return the environment without what points at the packages of another Python."""
    # Without the last, every process compiles all packages anew: many containers set it.
    names = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    environment = _without(os.environ, *names)
    # Threads that wait by spinning make training many times slower where another program uses a core.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return environment


def _run(command: list[str], environment: dict[str, str], folder: Path) -> int:
    """Run a program to its end and return its exit code; requests to end are for the program."""
    process = subprocess.Popen(command, env=environment, cwd=folder)
    told_by_terminal = sys.stdin is not None and sys.stdin.isatty()

    def pass_on(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM or not told_by_terminal:
            process.send_signal(number)

    previous = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
