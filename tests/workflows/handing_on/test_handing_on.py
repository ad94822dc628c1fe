"""What was found can be handed on: one HTML file, lists for other tools, tags."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import fiftyone.operators as foo
import numpy as np
import pytest

from fiftyone_plugin import apply_proposals, export_label_issues, review_regions, score_label_quality, write_report
from fiftyone_plugin.cli.commands import main
from fiftyone_plugin.dataset.runs import run_records
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.workflows.handing_on.found_regions import found_regions
from fiftyone_plugin.workflows.handing_on.issue_lists import run_lengths
from fiftyone_plugin.workflows.reviewing.overview import worst_images

PLUGIN = "@label-quality/segmentation"


@pytest.fixture
def scored(make_dataset, tmp_path):
    dataset = make_dataset(5, wrong=(2,))
    score_label_quality(dataset, probabilities="probabilities", output_dir=str(tmp_path / "run"))
    dataset.reload()
    return dataset


def test_the_report_tells_the_whole_story_in_one_file(scored, tmp_path):
    review_regions(scored.limit(3), "accepted", reviewer="ada")
    apply_proposals(scored, "label_quality")
    page = write_report(scored, tmp_path / "new" / "r.html", num_images=2).read_text()
    for told in ("How much is wrong", "The worst images", "least trusted", "taken for what", "What people said",
                 "Before and after", "Limits", "accepted as errors", "2.png"):  # fmt: skip
        assert told in page, told
    assert page.count("data:image/jpeg;base64,") == 2
    assert '<th class="n">Pixels</th>' in page, "the head of numbers stands over them"
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "it needs no network"
    assert str(tmp_path) not in page, "no folder of this machine"
    kinds = {one.label for sample in scored for one in sample.label_quality_regions.detections}
    assert {one.kind for one in found_regions(worst_images(scored, "label_quality"), "label_quality")} <= kinds


def test_a_report_by_operator_and_command(scored, tmp_path, capsys):
    path = tmp_path / "o.html"
    record = run_records.find_run(scored, "label_quality")
    record.summary["warnings"] = ["raise `min_region_area` for `car`"]
    run_records.register_run(scored, record)
    assert foo.get_operator(f"{PLUGIN}/label_quality_report")(scored, str(path)) == {"path": str(path)}
    assert "raise &#x27;Smallest region&#x27; for <code>car</code>" in path.read_text()
    with pytest.raises(foo.executor.ExecutionError, match="Replace the file"):
        foo.execute_operator(f"{PLUGIN}/label_quality_report", {"dataset": scored, "params": {"path": str(path)}})
    assert main(["report", scored.name, str(tmp_path / "c.html")]) == 0
    assert (tmp_path / "c.html").stat().st_size > 3_000
    assert main(["report", scored.name, "c.txt"]) == 1
    assert ".html" in capsys.readouterr().err


def test_lists_for_other_tools(scored, tmp_path):
    number = scored.count("label_quality_regions.detections")
    rows = list(csv.DictReader(export_label_issues(scored, tmp_path / "i.csv").read_text().splitlines()))
    assert len(rows) == number > 0
    assert {"kind", "given", "suggested", "score", "status", "left"} <= set(rows[0])
    coco = json.loads(export_label_issues(scored, tmp_path / "i.json", tag="fix me").read_text())
    assert len(coco["annotations"]) == number
    areas = {row["label_id"]: int(row["area"]) for row in rows}
    for one in coco["annotations"]:
        assert sum(one["segmentation"]["counts"]) == 24 * 32
        assert sum(one["segmentation"]["counts"][1::2]) == one["area"] == areas[one["attributes"]["label_id"]]
    scored.reload()
    assert len(scored.match_tags("fix me")) == len(coco["images"])
    by_operator = foo.get_operator(f"{PLUGIN}/export_label_issues")(
        scored, str(tmp_path / "o.csv"), statuses="accepted"
    )
    assert len(Path(by_operator["path"]).read_text().splitlines()) == 1
    assert main(["export-issues", scored.name, str(tmp_path / "c.csv"), "--statuses", "rejected"]) == 0
    with pytest.raises(LabelQualityError, match="format"):
        export_label_issues(scored, tmp_path / "i.txt")


def test_class_names_are_no_formulas_and_no_html(scored, tmp_path):
    names = {"road": "=HYPERLINK(1)", "car": "<script>", "tree": "tree"}
    for sample in scored:
        for one in sample.label_quality_regions.detections:
            one.given, one.suggested = names.get(one.given, one.given), names.get(one.suggested, one.suggested)
        sample.save()
    text = export_label_issues(scored, tmp_path / "i.csv").read_text()
    assert ",=HYPERLINK" not in text
    assert "<script>" not in write_report(scored, tmp_path / "r.html").read_text()


@pytest.mark.parametrize("seed", range(3))
def test_run_lengths_come_back(seed):
    mask = np.random.default_rng(seed).random((4, 5)) < 0.5
    lengths = run_lengths(mask)
    values = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    assert np.array_equal(values.reshape(5, 4).T, mask)
