"""Operators are found by the words that people type, say what they risk, and ask before anything is gone."""

from __future__ import annotations

from functools import cache

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

from fiftyone_plugin import dataset_status, open_sitting
from fiftyone_plugin.plugin_folder import PLUGIN_NAME
from fiftyone_plugin.workflows.correcting.outside_answers import begin_hand_edits

BY_STATE = {
    "rescore_label_issues", "apply_label_proposals", "finish_hand_edits", "start_correction_round", "undo_clean_labels",
}  # fmt: skip


@cache  # FiftyOne loads the plugin anew each time
def operators():
    return foo.list_operators(type="operator")


def entries():
    return [one for one in operators() if one.uri.startswith(f"{PLUGIN_NAME}/")]


def found_by(text):
    """Names of the operators that the App lists for a text, in its order: see `operators/entry.py`."""
    listed = [one for one in operators() if not one.config.unlisted]
    kept = [
        one
        for one in listed
        if any(text.lower() in (part or "").lower() for part in (one.config.label, one.config.description, one.uri))
    ]
    return [one.name for one in sorted(kept, key=lambda one: ord((one.config.description or one.config.label)[0]))]


def context(name, dataset, params=None):
    uri = f"{PLUGIN_NAME}/{name}"
    request = {"dataset_name": dataset.name, "params": params or {}}
    return ExecutionContext(request, executor=Executor(), operator_uri=uri)


def form(name, dataset, params=None):
    op = foo.get_operator(f"{PLUGIN_NAME}/{name}")
    return op.resolve_input(context(name, dataset, params)).type.properties


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("label", "find_label_errors"), ("mislabeled", "find_label_errors"), ("mislabelled", "find_label_errors"),
        ("errors", "find_label_errors"), ("quality", "find_label_errors"), ("review", "show_label_issues"),
        ("next step", "label_quality_status"), ("fix", "clean_labels"), ("export", "export_corrected_labels"),
        ("delete", "delete_label_quality_run"), ("train", "find_label_errors"),
        ("score label quality", "score_label_quality"),
    ],
)  # fmt: skip
def test_what_people_type_finds_what_they_mean(text, first):
    assert found_by(text)[0] == first
    assert "train_noise_robust" not in found_by("review")


def test_every_entry_says_what_it_does_and_risks():
    for one in entries():
        assert one.config.label.startswith("Label quality: ") or one.name == "label_quality_metric"
        assert len(one.config.description) > 60, one.name
        assert one.config.risk_level.value in ("low", "medium", "high"), one.name
    assert {one.name for one in entries() if one.config.unlisted} == {*BY_STATE, "label_quality_metric"}
    assert len({one.config.description for one in entries()}) == len(entries())
    assert foo.get_operator(f"{PLUGIN_NAME}/delete_label_quality_run").config.risk_level.value == "high"


def test_what_follows_from_a_state_has_a_button_from_then_on(make_planned, make_scored):
    def offered(dataset):
        return {
            name
            for name in BY_STATE
            if foo.get_operator(f"{PLUGIN_NAME}/{name}").resolve_placement(context(name, dataset))
        }

    dataset = make_planned(1, most=3)
    assert offered(dataset) == set()
    begin_hand_edits(dataset, "ground_truth")
    assert offered(dataset) == {"finish_hand_edits"}
    sitting = open_sitting(dataset, "ground_truth", sitting_id="x")
    sitting.confirm()
    sitting.close()
    assert offered(dataset) == {"finish_hand_edits", "start_correction_round"}
    scored = make_scored(4)
    assert offered(scored) == set()
    foo.get_operator(f"{PLUGIN_NAME}/accept_label_issues")(scored.limit(2))
    assert offered(scored) == {"rescore_label_issues", "apply_label_proposals"}


def test_nothing_goes_without_a_tick(make_scored):
    dataset = make_scored(3)
    asked = form("delete_label_quality_run", dataset, {"key": "label_quality"})
    assert asked["confirm"].invalid
    assert "label_quality_regions" in asked["what_goes"].view.description
    with pytest.raises(foo.executor.ExecutionError, match="tick the box"):
        foo.execute_operator(
            f"{PLUGIN_NAME}/delete_label_quality_run", {"dataset": dataset, "params": {"key": "label_quality"}}
        )
    assert form("score_label_quality", dataset)["overwrite"].invalid
    assert not form("score_label_quality", dataset, {"overwrite": True})["overwrite"].invalid
    assert "overwrite" not in form("score_label_quality", dataset, {"key": "another"})
    assert form("score_label_quality", dataset, {"key": "no key"})["key"].invalid
    assert form("train_cross_validated", dataset, {"key": "label_quality"})["key"].invalid, "a run of another kind"


def test_wrong_names_are_told_before_execute(make_scored):
    dataset = make_scored(2)
    fine_tuned = {"method": "fine_tuned"}
    for params, name, told in (
        ({"architecture": "unnet"}, "architecture", "unet"),
        ({"encoder": "resnet19"}, "encoder", "resnet1"),
        ({"encoder": "tu-resnet19"}, "encoder", "tu-resnet"),
    ):
        asked = form("train_cross_validated", dataset, {**fine_tuned, **params})[name]
        assert asked.invalid
        assert told in asked.error_message
    assert not form("train_cross_validated", dataset, {**fine_tuned, "encoder": "tu-resnet26"})["encoder"].invalid
    for name, params in (("find_label_errors", {}), ("score_label_quality", {"source": "model"})):
        asked = form(name, dataset, {**params, "model": "no_such_run"})["model"]
        assert "no training run yet" in asked.error_message
        assert not form(name, dataset, {**params, "model": "torchvision:fcn_resnet50"})["model"].invalid


def test_errors_speak_the_words_of_the_form(make_dataset):
    dataset = make_dataset(2)
    params = {
        "label_field": "ground_truth",
        "source": "probabilities",
        "probabilities": "probabilities",
        "key": "no key",
    }
    messages = []
    with pytest.raises(ValueError, match="`key`"):
        messages.extend(foo.get_operator(f"{PLUGIN_NAME}/score_label_quality").execute(
            context("score_label_quality", dataset, params)
        ))  # fmt: skip
    assert "Expected 'Key' to be letters" in str(messages[-1].body.params)


def test_the_status_says_what_comes_next(make_dataset, make_scored):
    def steps(dataset):
        return [step.operator for step in dataset_status(dataset).steps]

    assert steps(make_dataset(1)) == ["check_labels", "find_label_errors"]
    scored = make_scored(4)
    assert steps(scored)[:2] == ["show_label_issues", "plan_correction_queries"]
    result = foo.execute_operator(f"{PLUGIN_NAME}/label_quality_status", {"dataset": scored}).result
    assert result["runs"][0]["key"] == "label_quality"
    assert "regions are probably wrong" in result["text"]
    empty = fo.Dataset()
    assert steps(empty) == ["generate_pseudo_labels"]
    empty.delete()
