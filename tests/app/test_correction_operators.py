"""The operators of correction work through FiftyOne's loader, forms and executor."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

from fiftyone_plugin import apply_proposals, open_sitting, review_regions, show_regions
from fiftyone_plugin.models.foundation.random_checkpoints import save_random_sam

PLUGIN = "@label-quality/segmentation"
NAMES = (
    "plan_correction_queries", "apply_corrections", "start_correction_round", "compute_superpixels",
    "generate_pseudo_labels", "precompute_sam_embeddings", "apply_label_proposals", "begin_hand_edits",
    "finish_hand_edits", "export_corrected_labels",
)  # fmt: skip


def operator(name):
    return foo.get_operator(f"{PLUGIN}/{name}")


def form(name, dataset, params=None):
    """The properties of an operator's form, as the App gets them."""
    op = operator(name)
    request = {"dataset_name": dataset.name, "params": params or {}}
    return op.resolve_input(ExecutionContext(request, executor=Executor(), operator_uri=op.uri)).type.properties


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(6, wrong=(2, 4))


def test_a_plan_is_there_where_questions_wait(dataset, tmp_path):
    operator("score_label_quality")(dataset, "ground_truth", probabilities="probabilities", output_dir=str(tmp_path))
    review_regions(dataset, "accepted", label_ids=show_regions(dataset).limit(1).values("id"))
    apply_proposals(dataset, "label_quality")
    assert "planned" not in form("plan_correction_queries", dataset)  # nobody has planned anything
    plan = {"probabilities": "probabilities", "budget": 3, "audits": 0.0, "output_dir": str(tmp_path / "p")}
    operator("plan_correction_queries")(dataset, "ground_truth", **plan)
    dataset.reload()
    sitting = open_sitting(dataset, "ground_truth", sitting_id="x")
    for waiting in ("3 questions", "2 questions", "1 question"):
        title = f"There is a plan already: {waiting} not answered yet"
        assert form("plan_correction_queries", dataset)["planned"].view.label == title
        sitting.correct("road")
    assert "planned" not in form("plan_correction_queries", dataset)
    sitting.close()


def test_they_are_all_registered():
    listed = {op.uri for op in foo.list_operators() if op.uri.startswith(PLUGIN)}
    assert {f"{PLUGIN}/{name}" for name in NAMES} <= listed


def test_the_whole_way_from_superpixels_to_an_export(dataset, tmp_path):
    operator("compute_superpixels")(dataset, method="slic", size=60, output_dir=str(tmp_path / "s"))
    assert dataset.count("superpixels") == 6
    operator("plan_correction_queries")(
        dataset, "ground_truth", probabilities="probabilities", superpixels="superpixels", budget=8, audits=0.0,
        output_dir=str(tmp_path / "p"),
    )  # fmt: skip
    dataset.reload()
    assert dataset.count("ground_truth_queries.detections") == 8
    sitting = open_sitting(dataset, "ground_truth", sitting_id="x")
    while sitting.question is not None:
        sitting.correct("road")
    sitting.close()
    operator("apply_corrections")(dataset)  # the label field is ground_truth unless said otherwise
    operator("export_corrected_labels")(dataset, str(tmp_path / "out"), "ground_truth")
    assert len(list((tmp_path / "out").glob("*.png"))) == 6
    operator("begin_hand_edits")(dataset, "ground_truth")
    dataset.reload()
    assert dataset.count("ground_truth_objects.detections") > 6
    operator("finish_hand_edits")(dataset, "ground_truth")


def test_the_app_is_shown_the_report(dataset, tmp_path):
    op = operator("plan_correction_queries")
    params = {
        "label_field": "ground_truth", "source": "probabilities", "probabilities": "probabilities", "budget": 5,
        "output_dir": str(tmp_path / "p"),
    }  # fmt: skip
    ctx = ExecutionContext({"dataset_name": dataset.name, "params": params}, executor=Executor(), operator_uri=op.uri)
    messages = list(op.execute(ctx))
    assert all(message.to_json_line() for message in messages), "what the server sends must be JSON"
    sent = [message.body.operator_uri.split("/")[-1] for message in messages]
    assert sent[-2:] == ["set_color_scheme", "show_output"]
    assert "5 questions" in messages[-1].body.params["results"]["report"]


def test_pseudo_labels_from_a_form(dataset, tmp_path):
    for sample in dataset:
        box = fo.Detection(label="van", bounding_box=[0, 0, 0.5, 0.5], mask=np.ones((2, 2), bool))
        sample["found"] = fo.Detections(detections=[box])
        sample.save()
    operator("generate_pseudo_labels")(
        dataset, "car: car|van, person", source="instances", instances="found", output_dir=str(tmp_path / "l")
    )
    dataset.reload()
    assert dataset.mask_targets["pseudo_labels"] == {0: "background", 1: "car", 2: "person"}
    assert dataset.values("pseudo_labels_num_objects") == [1] * 6


def test_embeddings_from_a_form(dataset, tmp_path):
    checkpoint = save_random_sam(tmp_path / "sam.pth")
    operator("precompute_sam_embeddings")(dataset.limit(2), str(checkpoint), output_dir=str(tmp_path / "e"))
    assert len(list((tmp_path / "e" / "embeddings").glob("*.npz"))) == 2


def test_errors_reach_the_caller(dataset, tmp_path):
    with pytest.raises(Exception, match="checkpoint"):
        operator("compute_superpixels")(
            dataset, method="sam", checkpoint="/no/such.pth", output_dir=str(tmp_path / "s")
        )
    with pytest.raises(Exception, match="being corrected"):
        operator("apply_corrections")(dataset, "ground_truth")


@pytest.mark.parametrize("name", NAMES)
def test_every_form_opens(dataset, name):
    properties = form(name, dataset)
    assert properties
    if name in ("apply_corrections", "start_correction_round", "export_corrected_labels", "finish_hand_edits"):
        assert properties["no_queries_block"].invalid  # nothing is being corrected yet, and the form says so


def test_forms_ask_for_what_a_method_needs(dataset):
    assert "checkpoint" not in form("compute_superpixels", dataset)
    assert "checkpoint" in form("compute_superpixels", dataset, {"method": "sam"})
    assert form("compute_superpixels", dataset, {"method": "labels"})["source_field"].type.values == ["ground_truth"]
    assert "acquisition" in form("plan_correction_queries", dataset, {"more": True})
    assert "detector" in form("generate_pseudo_labels", dataset)
    assert "no_detections_block" in form("generate_pseudo_labels", dataset, {"source": "boxes"})
