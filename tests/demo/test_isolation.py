"""In an isolated environment FiftyOne uses no database, setting or folder of the user's, whatever they are."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from demo import isolation, mongod
from fiftyone_plugin import plugin_folder

ROOT = Path(__file__).parents[2]

HOSTILE = {
    "FIFTYONE_DATABASE_URI": "mongodb://production.invalid:27017",
    "FIFTYONE_DATABASE_NAME": "production",
    "FIFTYONE_DATABASE_ADMIN": "false",
    "FIFTYONE_PRIVATE_DATABASE_PORT": "1",
    "FIFTYONE_DISABLE_SERVICES": "1",
    "FIFTYONE_PLUGINS_DIR": "/user/plugins",
    "FIFTYONE_MODULE_PATH": "user.module",
    "FIFTYONE_CVAT_API_KEY": "secret",
    "FIFTYONE_BRAIN_DEFAULT_SIMILARITY_BACKEND": "user",
    "FIFTYONE_APP_THEME": "dark",
    "DEFAULT_FIFTYONE_DETECTION_BACKEND": "user",
    "ETA_OUTPUT_DIR": "/user/eta",
    "fiftyone_lower_case": "windows has no case",
}


def test_settings_of_fiftyone_are_left_out_and_all_others_kept(tmp_path):
    given = {**HOSTILE, "PATH": "/bin", "HTTPS_PROXY": "http://proxy:3128", "HOME": "/home/user"}

    environment = isolation.isolated_environment(tmp_path, environ=given)

    kept = {name: value for name, value in environment.items() if given.get(name) == value}
    assert kept == {"PATH": "/bin", "HTTPS_PROXY": "http://proxy:3128", "HOME": "/home/user"}
    assert "FIFTYONE_DATABASE_URI" not in environment
    assert environment[isolation.FOLDER_VARIABLE] == str(tmp_path)
    for name, value in environment.items():
        if name.endswith(("_DIR", "_PATH")) and name.startswith("FIFTYONE_"):
            assert Path(value).is_relative_to(tmp_path), name


def test_the_environment_of_the_process_is_the_default_and_is_not_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("FIFTYONE_DATABASE_NAME", "production")
    before = dict(os.environ)

    environment = isolation.isolated_environment(tmp_path)

    assert environment["FIFTYONE_DATABASE_NAME"] == "label_quality"
    assert dict(os.environ) == before


def test_an_environment_inside_another_keeps_its_server_and_has_its_own_folders(tmp_path):
    outer = isolation.isolated_environment(tmp_path / "outer", environ={})
    address = "mongodb://127.0.0.1:4711"

    inner = isolation.isolated_environment(
        tmp_path / "inner",
        environ={**outer, mongod.SERVER_VARIABLE: address, "FIFTYONE_DATABASE_URI": "other"},
    )

    assert inner["FIFTYONE_DATABASE_URI"] == address
    assert inner["FIFTYONE_PLUGINS_DIR"] != outer["FIFTYONE_PLUGINS_DIR"]
    assert mongod.SERVER_VARIABLE == isolation.SERVER_VARIABLE


def test_fiftyone_sees_nothing_of_the_user(tmp_path):
    home = tmp_path / "home"
    settings = {
        "config.json": {
            "database_uri": "mongodb://production.invalid",
            "default_app_port": 1,
            "module_path": ["no"],
        },
        "app_config.json": {"theme": "dark"},
        "annotation_config.json": {"backends": {"user": {}}},
        "evaluation_config.json": {"default_detection_backend": "user"},
        "brain_config.json": {"default_similarity_backend": "user"},
    }
    for name, content in settings.items():
        path = home / ".fiftyone" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    before = sorted(str(path) for path in home.rglob("*"))
    given = {name: value for name, value in os.environ.items() if not name.startswith(("FIFTYONE_", "LABEL_"))}
    hostile = {
        **given,
        **HOSTILE,
        "HOME": str(home),
        "USERPROFILE": str(home),
        "MPLCONFIGDIR": str(tmp_path / "mpl"),
    }
    environment = isolation.isolated_environment(tmp_path / "own", environ=hostile)
    code = (
        "import json, fiftyone as fo, fiftyone.brain as fob, fiftyone.plugins as fop; "
        "c = fo.config; dataset = fo.Dataset('mine', persistent=True); "
        "print(json.dumps([c.database_uri, c.database_name, c.database_dir, c.plugins_dir, c.module_path, "
        "c.default_dataset_dir, c.model_zoo_dir, fo.app_config.theme, list(fo.annotation_config.backends), "
        "fo.evaluation_config.default_detection_backend, fob.brain_config.default_similarity_backend, "
        "fo.list_datasets(), c.do_not_track, [p.name for p in fop.list_plugins(builtin=False)]]))"
    )

    with mongod.running_database(environment) as complete:
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env=complete,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    assert ran.returncode == 0, ran.stderr
    uri, name, database, plugins, modules, datasets, models, *rest = json.loads(ran.stdout.splitlines()[-1])
    assert uri == complete["FIFTYONE_DATABASE_URI"]
    assert (name, modules) == ("label_quality", None)
    assert all(Path(path).is_relative_to(tmp_path / "own") for path in (database, plugins, datasets, models))
    theme, backends, detection, similarity, seen, do_not_track, found = rest
    assert (theme, detection, similarity) == ("browser", "coco", "sklearn")
    assert "user" not in backends
    assert seen == ["mine"]
    assert do_not_track
    assert found == [plugin_folder.PLUGIN_NAME]
    assert sorted(str(path) for path in home.rglob("*")) == before


def test_a_port_where_somebody_listens_is_not_offered():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert isolation.free_port(port) != port
    assert isolation.free_port(port) == port
