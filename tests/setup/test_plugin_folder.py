"""The plugin gets into FiftyOne's plugins folder: as a link from a clone, as a copy from an installed package."""

from __future__ import annotations

import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PureWindowsPath
from threading import Thread

import pytest

from fiftyone_plugin import plugin_folder
from fiftyone_plugin.errors import LabelQualityError

ROOT = Path(__file__).parents[2]


def test_it_is_a_link_to_the_clone(tmp_path):
    plugin = tmp_path / "plugins" / "ours"
    plugin_folder.link_plugin(plugin)
    plugin_folder.link_plugin(plugin)
    assert plugin.is_symlink()
    assert plugin.resolve() == ROOT


def test_it_is_a_copy_where_links_are_refused(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    plugin_folder.link_plugin(tmp_path / "ours")
    assert (tmp_path / "ours" / "fiftyone.yml").is_file()
    assert (tmp_path / "ours" / "__init__.py").is_file()
    assert (tmp_path / "ours" / "fiftyone_plugin" / "errors.py").is_file()
    assert not (tmp_path / "ours" / ".git").exists()


def test_an_installed_package_is_put_together(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "fiftyone_plugin"
    for name in (
        "errors.py",
        "plugin/fiftyone.yml",
        "plugin/__init__.py",
        "plugin/operators/__init__.py",
    ):
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("name: '@label-quality/segmentation'" if name.endswith("yml") else "")
    monkeypatch.setattr(plugin_folder, "_PACKAGE", package)

    made = plugin_folder.install_plugin(tmp_path / "plugins")

    files = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
    assert files == [
        "__init__.py",
        "fiftyone.yml",
        "fiftyone_plugin/errors.py",
        "operators/__init__.py",
    ]


def test_it_is_not_replaced_unasked(tmp_path):
    made = plugin_folder.install_plugin(tmp_path)
    assert made == tmp_path / "@label-quality" / "segmentation"
    with pytest.raises(LabelQualityError, match="pass `overwrite`"):
        plugin_folder.install_plugin(tmp_path)
    assert plugin_folder.install_plugin(tmp_path, overwrite=True) == made


def test_an_older_copy_elsewhere_is_replaced(tmp_path):
    old, other = tmp_path / "downloaded", tmp_path / "other"
    for folder, name in ((old, plugin_folder.PLUGIN_NAME), (other, "@somebody/else")):
        folder.mkdir()
        (folder / "fiftyone.yml").write_text(f"name: '{name}'")
    with pytest.raises(LabelQualityError, match="downloaded"):
        plugin_folder.install_plugin(tmp_path)
    plugin_folder.install_plugin(tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["@label-quality", "other"]


def test_fiftyone_downloads_it_from_an_archive(tmp_path, monkeypatch):
    """As `fiftyone plugins download URL` does, with a ZIP of the plugin."""
    import fiftyone as fo
    import fiftyone.plugins as fop

    plugin_folder._copy_plugin(tmp_path / "repository")
    shutil.make_archive(str(tmp_path / "served" / "plugin"), "zip", tmp_path, "repository")
    monkeypatch.setattr(fo.config, "plugins_dir", str(tmp_path / "plug ins"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        found = fop.download_plugin(f"http://127.0.0.1:{server.server_port}/plugin.zip")
        server.shutdown()
    made = Path(found[plugin_folder.PLUGIN_NAME])
    assert (made / "skills" / "label-quality-audit" / "SKILL.md").is_file()
    assert (made / "panels" / "js" / "dist" / "index.umd.js").is_file()
    assert plugin_folder.PLUGIN_NAME in fop.list_downloaded_plugins()


def test_paths_with_spaces_and_backslashes(tmp_path):
    folder = tmp_path / "Ada Lovelace" / "__plugins__"
    assert plugin_folder.install_plugin(folder) == folder / "@label-quality" / "segmentation"
    windows = PureWindowsPath(r"C:\Users\Ada Lovelace\fiftyone\__plugins__")
    assert str(plugin_folder.folder_of_plugin(windows)).endswith(r"__plugins__\@label-quality\segmentation")
