"""The plugin's own folder: what belongs to it, and how it gets into FiftyOne's plugins folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TypeVar

from .errors import LabelQualityError

AnyPath = TypeVar("AnyPath", bound=PurePath)

PLUGIN_NAME = "@label-quality/segmentation"

_PACKAGE = Path(__file__).resolve().parent
_PLUGIN_PARTS = ("fiftyone.yml", "__init__.py", "requirements.txt", "operators", "panels", "skills")


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
    folder = Path(plugins_dir).expanduser()
    target = folder_of_plugin(folder)
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


def folder_of_plugin(folder: AnyPath) -> AnyPath:
    r"""Where in FiftyOne's plugins folder this plugin belongs, on any system.

    Args:
        folder: FiftyOne's plugins folder

    Example:
        >>> from pathlib import PureWindowsPath
        >>> print(folder_of_plugin(PureWindowsPath("C:/Users/Ada Lovelace/plugins")))
        C:\Users\Ada Lovelace\plugins\@label-quality\segmentation
    """
    return folder.joinpath(*PLUGIN_NAME.split("/"))


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
