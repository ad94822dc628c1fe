"""The panel that shows given and corrected labels: filters, steps, and what goes to the grid."""

from __future__ import annotations

import json

import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

from fiftyone_plugin.workflows.correcting.sitting import open_sitting

URI = "@label-quality/segmentation/label_changes"


@pytest.fixture
def send(make_planned):
    """A function that sends an event to the panel and returns the page, with what was asked of the App."""
    dataset = make_planned(2, most=40)
    for reviewer, images in (("Ann", 1), ("Bob", 2)):
        sitting, seen = open_sitting(dataset, "ground_truth", sitting_id=reviewer, reviewer=reviewer), set()
        while len(seen) < images:
            seen.add(sitting.question.sample_id)
            sitting.correct(sitting.question.alternatives[0])
        sitting.flush()
        sitting.close()
    state = {}

    def event(method, **params):
        panel = foo.get_operator(URI)
        request = {
            "dataset_name": dataset.name,
            "params": {"panel_id": "p", "panel_state": dict(state), "__method__": method, **params},
        }
        ctx = ExecutionContext(request, executor=Executor(), operator_uri=panel.uri)
        panel.execute(ctx)
        state.clear()
        state.update(ctx.panel_state)
        sent = {r.operator_uri.split("/")[-1]: r.params for r in ctx.executor._requests}
        return json.dumps(sent.pop("show_panel_output")["output"], ensure_ascii=False), sent

    return event


def test_images_one_after_the_other_of_a_class_and_a_person(send):
    page, _ = send("on_load")
    assert '"1 of 2"' in page
    assert "pixels changed: " in page
    assert '"2 of 2"' in send("step", by=1)[0]
    assert '"1 of 2"' in send("step", by=1)[0], "round and round"
    assert '"1 of 1"' in send("change_reviewer", value="Ann")[0]
    _, sent = send("show")
    assert len(sent["set_view"]["view"]) == 1
    assert sent["set_active_fields"] == {"fields": ["ground_truth_changes", "ground_truth_corrected"]}
    assert "Nothing has changed" in send("change_class", value="no such class")[0]


def test_without_a_correction_it_says_what_to_do(make_dataset):
    panel = foo.get_operator(URI)
    request = {"dataset_name": make_dataset(2).name,
               "params": {"panel_id": "p", "panel_state": {}, "__method__": "on_load"}}  # fmt: skip
    ctx = ExecutionContext(request, executor=Executor(), operator_uri=panel.uri)
    panel.execute(ctx)
    (page,) = [r.params["output"] for r in ctx.executor._requests if r.operator_uri.endswith("show_panel_output")]
    assert "No label is being corrected yet" in json.dumps(page)
