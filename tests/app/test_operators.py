"""Operators work through FiftyOne's own loader, form validation and executor, immediate and delegated."""

from __future__ import annotations

import asyncio

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext, Executor

PLUGIN = "@label-quality/segmentation"
NAMES = ("score_label_quality", "train_cross_validated", "inject_label_errors", "delete_label_quality_run")


def operator(name):
    return foo.get_operator(f"{PLUGIN}/{name}")


def form(name, dataset, params=None, **context):
    """The properties of an operator's form, as the App gets them."""
    op = operator(name)
    request = {"dataset_name": dataset.name, "params": params or {}, **context}
    return op.resolve_input(ExecutionContext(request, executor=Executor(), operator_uri=op.uri)).type.properties


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(6, wrong=(2,))


def test_the_plugin_loads_whole():
    from fiftyone.operators.registry import OperatorRegistry

    registry = OperatorRegistry()
    assert registry.list_errors() == []
    listed = {op.uri for op in foo.list_operators() if op.uri.startswith(PLUGIN)}
    assert {f"{PLUGIN}/{name}" for name in NAMES} <= listed


def test_scoring_by_operator_call(dataset, tmp_path):
    report = operator("score_label_quality")(
        dataset, label_field="ground_truth", probabilities="probabilities", output_dir=str(tmp_path / "run")
    )
    assert report.worst[0].filepath.endswith("2.png")
    assert dataset.sort_by("label_quality").first().filepath.endswith("2.png")


def test_scoring_in_a_notebook(dataset, tmp_path):
    """There an event loop is running, and FiftyOne alone would only have scheduled the operator."""

    async def cell():
        return operator("score_label_quality")(dataset, probabilities="probabilities", output_dir=str(tmp_path / "run"))

    assert asyncio.run(cell()).num_scored == 6


def test_scoring_a_view_by_operator_call(dataset, tmp_path):
    operator("score_label_quality")(
        dataset.limit(3), probabilities="probabilities", output_dir=str(tmp_path / "run"), key="part", methods=["iou"]
    )
    assert dataset.count("part") == 3
    assert dataset.count("part_softmin") == 3


def test_the_app_is_shown_progress_then_the_worst_images(dataset, tmp_path):
    op = operator("score_label_quality")
    params = {
        "label_field": "ground_truth", "source": "probabilities", "probabilities": "probabilities",
        "output_dir": str(tmp_path / "run"), "key": "label_quality",
    }  # fmt: skip
    ctx = ExecutionContext({"dataset_name": dataset.name, "params": params}, executor=Executor(), operator_uri=op.uri)
    messages = list(op.execute(ctx))
    assert all(message.to_json_line() for message in messages), "what the server sends must be JSON"
    sent = [message.body.operator_uri.split("/")[-1] for message in messages]
    assert "set_progress" in sent
    assert sent[-3:] == ["open_dataset", "set_view", "show_output"]
    shown = messages[-1].body.params["results"]["report"]
    assert "6 images scored" in shown
    assert "car → road" in shown


def test_errors_reach_the_app_and_the_caller(dataset, tmp_path):
    op = operator("score_label_quality")
    params = {"label_field": "ground_truth", "source": "model", "model": "/no/such/model", "key": "label_quality"}
    ctx = ExecutionContext({"dataset_name": dataset.name, "params": params}, executor=Executor(), operator_uri=op.uri)
    messages = []
    with pytest.raises(ValueError, match="/no/such/model"):
        messages.extend(op.execute(ctx))
    with pytest.raises(Exception, match="/no/such/model"):
        op(dataset, model="/no/such/model", output_dir=str(tmp_path / "run"))
    assert not dataset.has_field("label_quality")


def test_required_parameters_are_checked_by_fiftyone(dataset):
    with pytest.raises(foo.executor.ExecutionError, match="model"):
        foo.execute_operator(
            f"{PLUGIN}/score_label_quality",
            {"dataset": dataset, "params": {"label_field": "ground_truth", "source": "model", "key": "k"}},
        )
    with pytest.raises(foo.executor.ExecutionError, match="label_field"):
        operator("score_label_quality")(dataset, label_field="filepath", probabilities="probabilities")


def test_delegated_scoring_reports_progress(dataset, tmp_path):
    op = operator("score_label_quality")
    queued = op(dataset, probabilities="probabilities", output_dir=str(tmp_path / "run"), delegate=True)
    assert queued.delegated
    assert not dataset.has_field("label_quality")
    service = DelegatedOperationService()
    service.execute_queued_operations(operator=op.uri)
    done = [run for run in service.list_operations(operator=op.uri) if run.context.dataset_name == dataset.name]
    assert [str(run.run_state) for run in done] == ["completed"], done[0].result
    assert done[0].status.progress > 0
    dataset.reload()
    assert dataset.count("label_quality") == 6


def test_forms_offer_only_what_can_work(dataset):
    properties = form("score_label_quality", dataset)
    assert properties["label_field"].type.values == ["ground_truth"]
    assert "trained" not in properties["source"].type.values
    assert "train_cross_validated" not in properties
    assert properties["score"].type.values[0] == "softmin"
    advanced = form("score_label_quality", dataset, {"more": True})
    assert {"ignore_index", "write_map", "output_dir", "batch_size"} <= set(advanced)


def test_a_dataset_without_masks_says_so():
    dataset = fo.Dataset()
    try:
        dataset.add_sample(fo.Sample(filepath="/tmp/none.png"))
        properties = form("score_label_quality", dataset)
        assert any(getattr(prop, "invalid", False) for prop in properties.values())
        with pytest.raises(foo.executor.ExecutionError, match="no Segmentation field"):
            operator("score_label_quality")(dataset, probabilities="x")
    finally:
        dataset.delete()


def test_rehearse_train_score_delete(dataset, tmp_path):
    """The loop of a new user, by operators alone, ending where it began."""
    fields, runs_before = set(dataset.get_field_schema()), dataset.list_runs()
    injected = operator("inject_label_errors")(
        dataset, "ground_truth", fraction=0.4, kinds=["drop"], output_dir=str(tmp_path / "errors"), seed=3
    )
    assert injected.summary["kinds"] == {"drop": 2}
    changed = [
        sample.id
        for sample in dataset
        if not np.array_equal(sample.ground_truth.get_mask(), sample.ground_truth_with_errors.get_mask())
    ]
    assert changed == dataset.exists("ground_truth_with_errors_error").values("id")
    trained = operator("train_cross_validated")(
        dataset, "ground_truth_with_errors", folds=2, epochs=1, weights=None, crop_size=32, batch_size=2,
        output_dir=str(tmp_path / "model"),
    )  # fmt: skip
    assert sorted(dataset.distinct("cross_validation_fold")) == [0, 1]
    assert len(trained.summary["metrics"]) == 2
    assert form("score_label_quality", dataset)["source"].type.values[0] == "trained"
    report = operator("score_label_quality")(
        dataset, "ground_truth_with_errors", model="cross_validation", output_dir=str(tmp_path / "run")
    )
    assert report.num_scored == 6
    assert not any("trained on" in warning for warning in report.warnings)
    one_fold = operator("score_label_quality")(
        dataset, "ground_truth", model=str(tmp_path / "model" / "model" / "fold_0"), key="one_fold",
        output_dir=str(tmp_path / "one"),
    )  # fmt: skip
    assert "trained on 3 of these 6 images" in one_fold.warnings[0]
    for key in ("one_fold", "label_quality", "cross_validation", "rehearsal"):
        deleted = operator("delete_label_quality_run")(dataset, key)
        assert deleted["key"] == key
    dataset.reload()
    assert set(dataset.get_field_schema()) == fields
    assert dataset.list_runs() == runs_before
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "model").exists()
