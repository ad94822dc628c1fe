"""A run's folder is its own: found again, never mixed with other files, and deleted exactly."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin import written_files
from fiftyone_plugin.dataset.runs import files
from fiftyone_plugin.errors import LabelQualityError


def test_interrupted_run_is_resumed_and_a_changed_one_starts_over(tmp_path):
    first = files.claim_folder(tmp_path / "run", "me", {"a": 1})
    files.write_bytes(first.path / "records" / "x.npz", b"x")
    again = files.claim_folder(tmp_path / "run", "me", {"a": 1})
    assert again.resumed
    assert (again.path / "records" / "x.npz").exists()
    changed = files.claim_folder(tmp_path / "run", "me", {"a": 2})
    assert not changed.resumed
    assert changed.path == first.path
    assert not (changed.path / "records").exists()


def test_finished_and_foreign_runs_are_left_alone(tmp_path):
    first = files.claim_folder(tmp_path / "run", "me", {})
    first.finish()
    assert files.claim_folder(tmp_path / "run", "me", {}, in_use=str(first.path)).path.name == "run-2"
    assert files.claim_folder(tmp_path / "run", "you", {}).path.name == "run-3"


def test_in_a_folder_with_other_files_a_run_has_one_of_its_own_name(tmp_path):
    (tmp_path / "thesis.doc").write_text("do not delete")
    (tmp_path / "run.json").write_text("half of a marker {")
    folder = files.claim_folder(tmp_path, "65f0/label_quality", {}).path
    assert folder == tmp_path / "label_quality"
    assert files.remove_run_files(folder, "65f0/label_quality")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "thesis.doc"]


def test_exactly_what_a_run_wrote_is_deleted(tmp_path):
    run = files.claim_folder(tmp_path / "run", "me", {})
    folder = run.path
    files.write_bytes(folder / "map" / "1.png", b"x")
    (run.subfolder("model") / "weights").write_bytes(b"x")
    run.finish()
    for mine in ("notes.txt", "map/2.png", "masks/1.png", "model/notes.txt"):
        (folder / mine).parent.mkdir(exist_ok=True)
        (folder / mine).write_text("mine")
    (folder / "map" / ".1.png.0-1-1.part").write_bytes(b"half")
    assert files.remove_run_files(folder, "me")
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert left == ["map/2.png", "masks/1.png", "model/notes.txt", "notes.txt"]
    assert not files.remove_run_files(folder, "me")


@pytest.mark.parametrize(
    "entry",
    ["../originals/1.png", "{}/originals/1.png", "link/1.png", "../originals/", "link/", "x" * 5_000, "\0", "\0/1.png"],
)
def test_a_forged_list_or_marker_deletes_nothing_of_others(tmp_path, entry):
    original = tmp_path / "originals" / "1.png"
    files.write_bytes(original, b"x")
    folder = files.claim_folder(tmp_path / "run", "me", {}).path
    (folder / "link").symlink_to(tmp_path / "originals")
    (folder / written_files.LIST).write_text(entry.format(tmp_path) + "\n")
    files.remove_run_files(folder, "me")
    files.write_json(tmp_path / "originals" / files.MARKER, {"owner": "you", "finished": False})
    assert not files.remove_run_files(tmp_path / "originals", "me")
    assert original.read_bytes() == b"x"


def test_each_file_and_folder_of_a_run_is_named_once(tmp_path):
    folder = files.claim_folder(tmp_path / "run", "me", {}).path
    written_files.write_many(folder / "regions" / "7", [("0.png", b"x"), ("1.png", b"x")])
    for name in ("regions/7/0.png", "regions/7.npz", "regions/7.npz", "map/a/1.png"):  # some in a folder on the list
        files.write_bytes(folder / name, b"x")
    found = [path.relative_to(folder).as_posix() for path in written_files.written_files(folder)]
    assert sorted(found) == ["map/a/1.png", "regions/7.npz", "regions/7/0.png", "regions/7/1.png"]
    before = sorted(path.relative_to(folder).as_posix() for path in written_files.written_folders(folder))
    assert before == ["map", "map/a", "regions", "regions/7"]
    written_files.settle(folder)
    assert sorted((folder / written_files.LIST).read_text().splitlines()) == sorted(found)
    after = sorted(path.relative_to(folder).as_posix() for path in written_files.written_folders(folder))
    assert after == before


def test_half_written_files_of_the_dead_are_swept_up(tmp_path):
    run = files.claim_folder(tmp_path / "run", "me", {})
    files.write_bytes(run.path / "map" / "1.png", b"x")
    dead, living = (
        run.path / "map" / f".{n}.png.{written_files._machine()}-{p}-1.part"
        for n, p in ((1, 4194303), (2, os.getpid()))
    )
    for path in (dead, living):
        path.write_bytes(b"half")
    run.finish()
    assert not dead.exists()
    assert living.exists()


def test_a_folder_with_half_a_marker_of_a_dead_process_is_free(tmp_path):
    half = tmp_path / "run" / f".run.json.{written_files._machine()}-4194303-1.part"
    half.parent.mkdir()
    half.write_bytes(b"{")
    assert files.claim_folder(tmp_path / "run", "me", {}).path == tmp_path / "run"
    assert not half.exists()
    (tmp_path / "run" / "run.json").rename(half)
    assert not files.remove_run_files(tmp_path / "run", "me"), "it was not marked"
    assert not (tmp_path / "run").exists()


def test_what_is_cut_short_is_not_whole(tmp_path):
    image, arrays = tmp_path / "m.png", tmp_path / "a.npz"
    files.write_png(image, np.arange(64, dtype=np.uint8).reshape(8, 8))
    np.savez(arrays, x=np.arange(99))
    for path in (image, arrays):
        assert written_files.is_whole(path)
        content = path.read_bytes()
        for cut in (0, 7, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:cut])
            assert not written_files.is_whole(path), (path.name, cut)


def test_no_space_and_no_permission(tmp_path, monkeypatch):
    with pytest.raises(LabelQualityError, match=r"free disk space.*output_dir"):
        files.require_writable(tmp_path, 10**18)
    (tmp_path / "file").write_text("")
    with pytest.raises(LabelQualityError, match=r"cannot.*output_dir"):
        files.require_writable(tmp_path / "file" / "below", 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(LabelQualityError, match="cannot"):
        files.require_writable(tmp_path / "run", 1)


def test_png_is_written_whole(tmp_path):
    files.write_png(tmp_path / "deep" / "m.png", np.array([[1, 2]], np.uint8))
    assert np.array(Image.open(tmp_path / "deep" / "m.png")).tolist() == [[1, 2]]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["m.png"]


def test_suspicion_is_zero_where_ignored():
    image = files.suspicion_image(np.array([[0.25, np.nan, 1.0]]))
    assert image.tolist() == [[191, 0, 0]]
