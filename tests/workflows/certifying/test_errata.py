"""Errata made on one copy of a dataset give another copy the same masks, byte by byte; what does not fit is listed."""

from __future__ import annotations

import shutil
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin import apply_errata, make_errata, merge_errata, open_sitting
from fiftyone_plugin.cli.commands import main
from fiftyone_plugin.correction.errata import errata_file
from fiftyone_plugin.dataset.journals import answers as answer_log
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.workflows.correcting.corrected_labels import apply_corrections


@pytest.fixture
def copies(make_planned, tmp_path):
    """A dataset of which some questions are answered, and a copy of the original under other file names."""
    dataset = make_planned(3)
    answer_some(dataset)
    other = fo.Dataset()
    for number, sample in enumerate(dataset):
        paths = [tmp_path / "copy" / f"{kind}{number}.png" for kind in ("renamed", "mask")]
        paths[0].parent.mkdir(exist_ok=True)
        for source, target in zip((sample.filepath, sample.ground_truth.mask_path), paths, strict=True):
            shutil.copyfile(source, target)
        other.add_sample(fo.Sample(str(paths[0]), ground_truth=fo.Segmentation(mask_path=str(paths[1]))))
    other.mask_targets = {"ground_truth": dataset.mask_targets["ground_truth"]}
    other.save()
    yield dataset, other
    other.delete()


def corrected(dataset):
    return [Path(path).read_bytes() for path in dataset.values("ground_truth_corrected.mask_path")]


def given(dataset):
    return [Path(path).read_bytes() for path in dataset.values("ground_truth.mask_path")]


def answer_some(dataset, number=8):
    sitting = open_sitting(dataset, "ground_truth", sitting_id="ada", reviewer="ada")
    for place in range(number):
        if place % 4 == 3:
            sitting.confirm(seconds=1)
        else:
            sitting.correct(sitting.question.alternatives[0], seconds=1)
    assert sitting.flush() == []
    apply_corrections(dataset, "ground_truth")


def test_masks_are_the_same_byte_by_byte(copies, tmp_path, capsys):
    dataset, other = copies
    before = given(other)
    file, table, coco = (str(tmp_path / name) for name in ("errata.json", "errata.csv", "coco.json"))
    assert main(["errata", "make", file, dataset.name, "--csv", table, "--coco", coco]) == 0
    content = errata_file.read(Path(file).read_bytes())
    assert {one.reviewer for one in content.errata} == {"ada"}
    assert "question of round 1: corrected" in {one.evidence for one in content.errata}
    assert len(Path(table).read_text().splitlines()) == len(content.errata) + 1
    assert main(["errata", "apply", file, other.name]) == 0
    assert "Not taken" not in capsys.readouterr().out
    assert corrected(other) == corrected(dataset)
    assert corrected(other) != before
    assert given(other) == before
    again = apply_errata(other, file)
    assert (again.num_errata, again.known, again.conflicts) == (0, len(content.errata), ())
    assert corrected(other) == corrected(dataset)
    assert make_errata(other, tmp_path / "again.json").num_errata == len(content.errata)
    found = answer_log.answers_that_count(answer_log.read_answers(other, "ground_truth"))
    assert {(one.source, one.reviewer) for one in found} == {("errata", "ada")}


def test_what_does_not_fit_is_listed_and_the_rest_is_applied(copies, tmp_path):
    dataset, other = copies
    make_errata(dataset, tmp_path / "errata.json")
    errata = errata_file.read((tmp_path / "errata.json").read_bytes()).errata
    images = sorted({one.image for one in errata})
    assert len(images) >= 2
    edited, lost = other.skip(int(Path(images[0]).stem)).first(), other.skip(int(Path(images[1]).stem)).first()
    Image.fromarray(np.full_like(np.array(Image.open(edited.ground_truth.mask_path)), 255)).save(
        edited.ground_truth.mask_path
    )
    with open(lost.filepath, "ab") as stream:
        stream.write(b"\0")  # another file now
    report = apply_errata(other, tmp_path / "errata.json")
    reasons = {one.erratum.image: one.reason for one in report.conflicts}
    assert "pixels are neither" in reasons[images[0]]
    assert reasons[images[1]] == "no image here has its digest"
    assert set(reasons) == set(images[:2])
    assert report.num_errata + len(report.conflicts) == len(errata)
    assert "Not taken" in report.markdown()


def test_two_files_merge_and_what_people_said_here_stays(copies, tmp_path, capsys):
    dataset, other = copies
    first, second, both = (tmp_path / name for name in ("1.json", "2.json", "both.json"))
    make_errata(dataset, first)
    rows = errata_file.read(first.read_bytes()).errata
    values = {value for value in dataset.mask_targets["ground_truth"] if value != 255}
    third = next(iter(values - {rows[0].given, rows[0].corrected}))
    changed = vars(rows[0]) | {"corrected": third, "corrected_name": ""}
    second.write_bytes(errata_file.write([errata_file.Erratum(**changed), *rows[1:]]))
    assert main(["errata", "merge", str(first), str(second), str(both)]) == 0
    assert "Not taken: 1" in capsys.readouterr().out
    assert both.read_bytes() == first.read_bytes()
    assert apply_errata(other, first).num_errata == len(rows)
    report = apply_errata(other, second)
    assert [one.reason.split(" ", 1)[1] for one in report.conflicts] == ["pixels were corrected here to something else"]
    assert corrected(other) == corrected(dataset)
    merged = merge_errata(second, first, both)
    assert [one.erratum.corrected for one in merged.conflicts] == [rows[0].corrected]


def test_what_cannot_be_read_is_said(copies, tmp_path):
    with pytest.raises(LabelQualityError, match=r"ghost\.json"):
        apply_errata(copies[1], tmp_path / "ghost.json")
    with pytest.raises(LabelQualityError, match="private key"):
        make_errata(copies[0], tmp_path / "errata.json", key=tmp_path / "ghost.pem")
