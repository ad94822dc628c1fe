"""An agent that knows the skill and the operators' forms gets from a check-up to corrected masks, and can go back."""

from __future__ import annotations

import re
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.plugins as fop
import numpy as np
import yaml
from fiftyone.operators.executor import ExecutionContext, Executor
from PIL import Image

ROOT = Path(__file__).parents[2]
PLUGIN = "@label-quality/segmentation"
SKILL = ROOT / "skills" / "label-quality-audit" / "SKILL.md"


def test_the_manifest_declares_what_there_is():
    manifest = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    assert {"name", "version", "description", "author", "license", "tags", "fiftyone"} <= set(manifest)
    registered = {one.name for one in foo.list_operators() if one.uri.startswith(f"{PLUGIN}/")}
    assert set(manifest["operators"]) | set(manifest["panels"]) == registered
    (skill,) = fop.list_skills(plugin=PLUGIN)
    assert (skill.name, skill.category) == ("label-quality-audit", "curate")
    assert "mislabeled" in skill.description
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", skill.content))
    known = registered | {"label_field", "min_score"}
    assert named <= known, named - known


def test_the_skill_says_the_risks_that_the_operators_declare():
    for names, risk in re.findall(r"^\d+\. (`[a-z_]+`[^(]*)\(risk \**(\w+)", SKILL.read_text(), flags=re.MULTILINE):
        for name in re.findall(r"`([a-z_]+)`", names):
            assert foo.get_operator(f"{PLUGIN}/{name}").config.risk_level.value in (risk, "low"), name


class Agent:
    """Knows nothing but schemas: fills in what is required, with defaults, and what it was told."""

    def __init__(self, dataset):
        self.dataset = dataset

    def form(self, name, params, view=None):
        op = foo.get_operator(f"{PLUGIN}/{name}")
        request = {"dataset_name": self.dataset.name, "params": params}
        if view is not None:
            request["view"] = view._serialize()
        ctx = ExecutionContext(request, executor=Executor(), operator_uri=op.uri)
        return op.resolve_input(ctx).to_json()["type"]["properties"]

    def do(self, name, view=None, **told):
        asked = (
            self.form(name, told, view) if foo.get_operator(f"{PLUGIN}/{name}").name != "label_quality_status" else {}
        )
        params = {key: one["default"] for key, one in asked.items() if one.get("default") is not None} | told
        missing = [key for key, one in asked.items() if one.get("required") and params.get(key) is None]
        assert missing == [], f"{name} asks for {missing}"
        target = {"view": view} if view is not None else {"dataset": self.dataset}
        result = foo.execute_operator(f"{PLUGIN}/{name}", {**target, "params": params}).result
        self.dataset.reload()
        return result


def test_from_a_check_up_to_corrected_masks_and_back(make_dataset, tmp_path):
    dataset = make_dataset(6, wrong=(2,))
    agent = Agent(dataset)
    assert [one["operator"] for one in agent.do("label_quality_status")["steps"]] == [
        "check_labels",
        "find_label_errors",
    ]
    agent.do("check_labels")
    agent.do(
        "score_label_quality", source="probabilities", probabilities="probabilities", output_dir=str(tmp_path / "run")
    )
    status = agent.do("label_quality_status")
    assert "6 images scored" in status["report"]
    assert status["steps"][0]["operator"] == "show_label_issues"
    shown = agent.do("show_label_issues")
    view = fo.DatasetView._build(dataset, shown["stages"])
    assert len(view) == shown["num_regions"] > 0
    reviewed = agent.do("accept_label_issues", view, confirm=True)
    assert reviewed["num_regions"] == shown["num_regions"]
    agent.do("apply_label_proposals")
    agent.do("export_corrected_labels", folder=str(tmp_path / "out"), label_field="ground_truth")
    exported = np.asarray(Image.open(tmp_path / "out" / "2.png"))
    given = np.asarray(Image.open(dataset.skip(2).first().ground_truth.mask_path))
    assert (given != exported).sum() > 50, "the half of the road that was called car"
    report = agent.do("label_quality_report", path=str(tmp_path / "r.html"))
    assert "have another class now" in Path(report["path"]).read_text()

    accepted = fo.DatasetView._build(dataset, agent.do("show_label_issues", status="accepted")["stages"])
    agent.do("accept_label_issues", accepted, confirm=True, undo=True)
    agent.do("apply_label_proposals")
    assert np.array_equal(np.asarray(Image.open(dataset.skip(2).first().ground_truth_corrected.mask_path)), given)
    agent.do("delete_label_quality_run", key="label_quality", confirm=True)
    assert not dataset.has_field("label_quality")
