"""The check-up and the clean-up work through FiftyOne's loader, form validation and executor."""

from __future__ import annotations

import fiftyone.operators as foo
from fiftyone.operators.executor import ExecutionContext, Executor

from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.quality.check_up import CHECKS

PLUGIN = "@label-quality/segmentation"


def test_check_clean_and_undo_as_the_app_calls_them(make_dataset):
    dataset = make_dataset(4)
    sample = dataset.first()
    mask = read_mask_file(sample.ground_truth.mask_path)
    mask[-5, 3] = 3
    sample.ground_truth.mask = mask
    sample.ground_truth.export_mask(sample.ground_truth.mask_path, update=True, overwrite_path=True)
    sample.save()
    check = foo.get_operator(f"{PLUGIN}/check_labels")
    assert check.config.risk_level.value == "low"
    ctx = ExecutionContext({"dataset_name": dataset.name, "params": {}}, executor=Executor(), operator_uri=check.uri)
    properties = check.resolve_input(ctx).type.properties
    assert {"label_field", "mute"} <= set(properties)
    assert len(properties["mute"].view.choices) == len(CHECKS)
    assert properties["mute"].default == []

    params = {"label_field": "ground_truth", "mute": ["edge_strip"]}
    ctx = ExecutionContext(
        {"dataset_name": dataset.name, "params": params}, executor=Executor(), operator_uri=check.uri
    )
    messages = [message.to_json_line() for message in check.execute(ctx)]
    assert "checking labels" in messages[0]
    assert "| `speck` |" in messages[-1]
    assert dataset.count_values("label_check")["speck"] == 1

    record = check(dataset)  # from Python, what was muted stays so
    assert record.parameters["mute"] == ["edge_strip"]
    assert check.resolve_input(ctx).type.properties["mute"].default == ["edge_strip"]
    assert check(dataset, mute=[]).parameters["mute"] == []
    foo.get_operator(f"{PLUGIN}/clean_labels")(dataset, codes=["speck"])
    dataset.reload()
    assert read_mask_file(dataset.first().ground_truth_corrected.mask_path)[-5, 3] == 1
    foo.get_operator(f"{PLUGIN}/undo_clean_labels")(dataset)
    dataset.reload()
    assert read_mask_file(dataset.first().ground_truth_corrected.mask_path)[-5, 3] == 3
