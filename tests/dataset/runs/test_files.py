"""A run's folder is its own: found again, never mixed with other files, and deleted exactly."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin.dataset.runs import files
from fiftyone_plugin.errors import LabelQualityError


def test_interrupted_run_is_resumed_and_a_changed_one_starts_over(tmp_path):
    first = files.claim_folder(tmp_path / "run", "me", {"a": 1})
    (first.path / "records").mkdir()
    (first.path / "records" / "x.npz").write_bytes(b"x")
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


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.doc").write_text("do not delete")
    with pytest.raises(LabelQualityError, match="other files"):
        files.claim_folder(tmp_path, "me", {})


def test_only_the_run_s_own_files_are_deleted(tmp_path):
    folder = files.claim_folder(tmp_path / "run", "me", {}).path
    (folder / "map").mkdir()
    (folder / "notes.txt").write_text("mine")
    assert files.remove_run_files(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert not files.remove_run_files(folder)


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
