"""Environments in which FiftyOne uses nothing of the user's.

Standard library only, so that it works before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

#: Names the folder in an isolated environment, and says by being there that an environment is one.
FOLDER_VARIABLE = "LABEL_QUALITY_FOLDER"

#: Has the address of a server that `mongod.running_database` started.
SERVER_VARIABLE = "LABEL_QUALITY_DATABASE_URI"

_CLONE = Path(__file__).resolve().parents[1]

# FiftyOne reads settings from variables with these beginnings (among them the address of a database, a port
# to share with another process, backends of its config files), and ETA and the map panel from the others.
_FOREIGN = ("FIFTYONE_", "DEFAULT_FIFTYONE_", "ETA_", "MAPBOX_TOKEN")


def isolated_environment(folder: str | Path, *, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which FiftyOne keeps everything in one folder and sees this plugin.

    Every setting of FiftyOne in the user's environment is left out, and every config file of FiftyOne is
    looked for in the folder and not in the user's home: a `database_uri` there has no effect. Everything
    else stays as it is.

    The database folder alone does not keep FiftyOne from sharing a running server of the same user;
    `demo.mongod.running_database` gives the environment a server of its own, which environments
    made inside of it go on using.

    Args:
        folder: where database, datasets, models, config files and plugins go, in a subfolder `fiftyone`;
            made if missing
        environ: what to start from; the environment of this process if not given

    Returns:
        the whole environment, to be handed to a child process, or to replace that of this process before
        `fiftyone` is imported

    Raises:
        OSError: if the folder cannot be written

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     hostile = {"PATH": "/bin", "FIFTYONE_DATABASE_URI": "mongodb://production"}
        ...     environment = isolated_environment(folder, environ=hostile)
        >>> environment["PATH"], environment["FIFTYONE_DO_NOT_TRACK"], "FIFTYONE_DATABASE_URI" in environment
        ('/bin', 'true', False)
    """
    base = Path(folder).resolve() / "fiftyone"
    plugins = base / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    _link_plugin(plugins / "label-quality-segmentation")
    given = os.environ if environ is None else environ
    environment = {name: value for name, value in given.items() if not name.upper().startswith(_FOREIGN)}
    configs = {
        f"FIFTYONE_{kind}CONFIG_PATH": str(base / f"{kind.lower()}config.json")
        for kind in ("", "APP_", "ANNOTATION_", "EVALUATION_", "BRAIN_")
    }
    if SERVER_VARIABLE in environment:
        environment["FIFTYONE_DATABASE_URI"] = environment[SERVER_VARIABLE]
    return {
        **environment,
        **configs,
        FOLDER_VARIABLE: str(Path(folder).resolve()),
        "FIFTYONE_DATABASE_DIR": str(base / "database"),
        "FIFTYONE_DATABASE_NAME": "label_quality",
        "FIFTYONE_DATABASE_VALIDATION": "false",  # no advice about the server's age at each start
        "FIFTYONE_DEFAULT_APP_PORT": str(free_port()),
        "FIFTYONE_DEFAULT_DATASET_DIR": str(base / "datasets"),
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_MODEL_ZOO_DIR": str(base / "models"),
        "FIFTYONE_PLUGINS_DIR": str(plugins),
    }


def free_port(preferred: int = 5151) -> int:
    """Return a port at which no program of this machine listens: `preferred` if it is one.

    FiftyOne does not start an App at the port of another one but silently shows that one, with its database.

    Args:
        preferred: 5151 is FiftyOne's own choice

    Returns:
        the port; another program may still take it before you do

    Example:
        >>> 0 < free_port() < 65536
        True
    """
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", preferred)) != 0:
            return preferred  # nobody answers
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _link_plugin(target: Path) -> None:
    """Make a plugin folder that follows this clone: a link to it, a copy where links are refused."""
    if target.is_symlink():
        target.unlink()
    elif target.is_dir():
        shutil.rmtree(target)
    try:
        target.symlink_to(_CLONE, target_is_directory=True)
    except OSError:  # Windows without the privilege, some network drives
        shutil.copytree(_CLONE, target, ignore=shutil.ignore_patterns(".*", "__pycache__", "node_modules"))
