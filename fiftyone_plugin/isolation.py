"""Environments in which FiftyOne uses nothing of the user's; and installing the plugin.

Standard library only, so that it works before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

PLUGIN_NAME = "@label-quality/segmentation"

#: Names the folder in an isolated environment, and says by being there that an environment is one.
FOLDER_VARIABLE = "LABEL_QUALITY_FOLDER"

#: Has the address of a server that `mongod.running_database` started.
SERVER_VARIABLE = "LABEL_QUALITY_DATABASE_URI"

_PACKAGE = Path(__file__).resolve().parent
_PLUGIN_PARTS = ("fiftyone.yml", "__init__.py", "requirements.txt", "operators", "panels")

# FiftyOne reads settings from variables with these beginnings (among them the address of a database, a port
# to share with another process, backends of its config files), and ETA and the map panel from the others.
_FOREIGN = ("FIFTYONE_", "DEFAULT_FIFTYONE_", "ETA_", "MAPBOX_TOKEN")


def isolated_environment(folder: str | Path, *, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which FiftyOne keeps everything in one folder and sees this plugin.

    Every setting of FiftyOne in the user's environment is left out, and every config file of FiftyOne is
    looked for in the folder and not in the user's home: a `database_uri` there has no effect. Everything
    else stays as it is.

    The database folder alone does not keep FiftyOne from sharing a running server of the same user;
    `fiftyone_plugin.mongod.running_database` gives the environment a server of its own, which environments
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
    link_plugin(plugins / "label-quality-segmentation")
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


def plugin_parts() -> dict[str, Path]:
    """Return what makes up the plugin: names in its folder and where they are now.

    Example:
        >>> sorted(plugin_parts())[:2]
        ['__init__.py', 'fiftyone.yml']
    """
    source = _clone() or _PACKAGE / "plugin"
    parts = {name: source / name for name in _PLUGIN_PARTS if (source / name).exists()}
    return {**parts, _PACKAGE.name: _PACKAGE}


def _clone() -> Path | None:
    """Return the root of the repository if this package is in one, None if it is installed."""
    return _PACKAGE.parent if (_PACKAGE.parent / "fiftyone.yml").is_file() else None


def link_plugin(target: Path) -> None:
    """Make a plugin folder that follows this code: a link to the clone, a copy where links are refused.

    Args:
        target: the folder to make; replaced if it is a link or was made by this function

    Raises:
        OSError: if it cannot be written
    """
    clone = _clone()
    if clone and target.is_symlink() and target.resolve() == clone:
        return
    _remove_plugin(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if clone:
        try:
            target.symlink_to(clone, target_is_directory=True)
        except OSError:  # Windows without the privilege, some network drives
            _copy_plugin(target)
        return
    _copy_plugin(target)


def _copy_plugin(target: Path) -> None:
    for name, part in plugin_parts().items():
        if part.is_dir():
            # The wheel holds the plugin's files inside the package; inside the plugin they are one level up.
            left_out = shutil.ignore_patterns("__pycache__", "node_modules", "plugin" if name == _PACKAGE.name else "")
            shutil.copytree(part, target / name, ignore=left_out, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(part, target / name)


def _remove_plugin(target: Path) -> None:
    if target.is_symlink():
        target.unlink()
    elif target.is_dir():
        shutil.rmtree(target)


def install_plugin(plugins_dir: str | Path, *, overwrite: bool = False) -> Path:
    """Put this plugin into FiftyOne's plugins folder.

    From a clone that is a link, so that changes take effect; from an installed package a copy.

    Args:
        plugins_dir: FiftyOne's plugins folder, `fiftyone.config.plugins_dir`
        overwrite: whether to replace this plugin if it is there already

    Returns:
        the plugin's folder

    Raises:
        LabelQualityError: if the plugin is there already and `overwrite` is False, or the folder cannot be
            written
    """
    from .errors import LabelQualityError

    folder = Path(plugins_dir).expanduser()
    target = folder.joinpath(*PLUGIN_NAME.split("/"))
    installed = [*_installed(folder), *([target] if target.is_symlink() and not target.exists() else [])]
    if installed and not overwrite:
        raise LabelQualityError(
            f"Expected no {PLUGIN_NAME} in {folder}, but it is at {installed[0]}; pass `overwrite` to replace it."
        )
    try:
        for found in installed:
            _remove_plugin(found)
        link_plugin(target)
    except OSError as error:
        raise LabelQualityError(f"Expected {folder} to be writable, but: {error}; check its permissions.") from error
    return target


def _installed(folder: Path) -> Iterator[Path]:
    """Yield the folders of this plugin, where FiftyOne would find them."""
    for root, folders, files in os.walk(folder, followlinks=True):
        manifest = next((name for name in files if name in ("fiftyone.yml", "fiftyone.yaml")), None)
        if manifest is None:
            folders[:] = [name for name in folders if not name.startswith(".")]
            continue
        folders.clear()
        if PLUGIN_NAME in (Path(root) / manifest).read_text(encoding="utf-8", errors="replace"):
            yield Path(root)
