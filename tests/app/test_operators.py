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
NAMES = (
    "score_label_quality", "train_cross_validated", "inject_label_errors", "delete_label_quality_run",
    "show_label_issues", "accept_label_issues", "reject_label_issues", "rescore_label_issues", "label_quality_metric",
    "train_noise_robust", "find_label_errors",
)  # fmt: skip


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
        dataset, label_field="ground_truth", probabilities="probabilities", output_dir=str(tmp_path / "run"),
        class_mapping={0: "road", 1: "car", 2: 3},
    )  # fmt: skip
    assert {row["found"] for row in report.class_rows if row["channel"]} == {"`class_mapping` says so"}
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
    assert set(sent[:-5]) == {"show_output"}
    phases = [one.body.params["outputs"]["type"]["properties"]["progress"]["view"]["label"] for one in messages[:-5]]
    assert len({phase.partition(":")[0] for phase in phases}) > 6
    assert sent[-5:] == ["reload_dataset", "set_color_scheme", "set_active_fields", "set_view", "show_output"]
    assert "label_quality_regions" in messages[-3].body.params["fields"]
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
    mapping = {0: "road", 1: "car", 2: "tree"}
    queued = op(
        dataset, probabilities="probabilities", class_mapping=mapping, output_dir=str(tmp_path / "run"), delegate=True
    )
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
    assert properties["score"].type.values[:2] == ["combined", "softmin"]
    advanced = form("score_label_quality", dataset, {"more": True})
    assert {"ignore_index", "write_map", "output_dir", "batch_size"} <= set(advanced)


def test_the_form_shows_how_classes_are_understood_before_the_job_starts(dataset):
    def account(properties):
        (text,) = [one.default for name, one in properties.items() if name.startswith("class_account")]
        return text

    properties = form("score_label_quality", dataset)
    assert "| car | 2 |" in account(properties)
    assert "class_mapping" not in properties
    for name in ("train_cross_validated", "train_noise_robust", "inject_label_errors", "find_label_errors"):
        assert "| car | 2 |" in account(form(name, dataset))
    torchvision = {"source": "model", "model": "torchvision:fcn_resnet50"}
    assert (
        "none for road, tree" in form("score_label_quality", dataset, torchvision)["classes_refused"].view.description
    )
    objects = fo.Detections(detections=[fo.Detection(label="bus", bounding_box=[0, 0, 1, 1])])
    dataset.set_values("instances", [objects] * len(dataset))
    properties = form("find_label_errors", dataset, {"label_field": "instances"})
    assert properties["label_field"].type.values == ["ground_truth", "instances"]
    assert "| bus | 1 |" in account(properties)
    assert form("train_cross_validated", dataset)["label_field"].type.values == ["ground_truth"]
    for sample in dataset:
        sample["second"] = fo.Segmentation(mask_path=sample.ground_truth.mask_path)
        sample.save()
    dataset.mask_targets = {**dataset.mask_targets, "second": {1: "Road", 2: "automobile", 3: "tree"}}
    dataset.save()
    chosen = {"source": "masks", "predictions": "second", "label_field": "ground_truth"}
    properties = form("score_label_quality", dataset, chosen)
    assert "none for car" in properties["classes_refused"].view.description
    assert "class_mapping" in properties
    properties = form("score_label_quality", dataset, chosen | {"class_mapping": "automobile: car"})
    assert "classes_refused" not in properties
    assert "| car | 2 | 1 automobile | 'Which channel is which class' says so |" in account(properties)
    assert "class_refused" not in form("plan_correction_queries", dataset, chosen | {"class_mapping": "2: car"})


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
    assert "trained on 3 of 6 images" in one_fold.warnings[0]
    for key in ("one_fold", "label_quality", "cross_validation", "rehearsal"):
        deleted = operator("delete_label_quality_run")(dataset, key)
        assert deleted["key"] == key
    dataset.reload()
    assert set(dataset.get_field_schema()) == fields
    assert dataset.list_runs() == runs_before
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "model").exists()


REGIONS = "label_quality_regions"


@pytest.fixture
def scored(dataset, tmp_path):
    """A dataset with three wrong regions."""
    for number, sample in enumerate(dataset):
        probs = np.load(sample.probabilities)
        if number in (0, 4):
            probs[:, 12:16, 20:28] = probs[[2, 0, 1]][:, 12:16, 20:28]
            np.save(sample.probabilities, probs)
    operator("score_label_quality")(dataset, probabilities="probabilities", output_dir=str(tmp_path / "run"))
    dataset.reload()
    return dataset


def run_in_app(name, dataset, params=None, **context):
    """Execute as the App does; gives the result and what the App is asked to do."""
    op = operator(name)
    request = {"dataset_name": dataset.name, "params": params or {}, **context}
    ctx = ExecutionContext(request, executor=Executor(), operator_uri=op.uri)
    result = op.execute(ctx)
    return result, [(r.operator_uri.split("/")[-1], r.params) for r in ctx.executor._requests]


def statuses(dataset):
    dataset.reload()
    return dict(dataset.count_values(f"{REGIONS}.detections.status"))


def view_json(view):
    """A view as the App sends it."""
    return view._serialize()


def test_scoring_form_asks_for_regions(dataset):
    advanced = form("score_label_quality", dataset, {"more": True})
    assert {"write_regions", "min_region_area", "max_regions_per_image"} <= set(advanced)


def test_region_options_reach_the_run(dataset, tmp_path):
    report = operator("score_label_quality")(
        dataset, probabilities="probabilities", output_dir=str(tmp_path / "run"), write_regions=False
    )
    assert report.num_regions is None
    report = operator("score_label_quality")(
        dataset, probabilities="probabilities", output_dir=str(tmp_path / "one"), key="one", max_regions_per_image=1,
        min_region_area=2,
    )  # fmt: skip
    assert set(dataset.distinct("one_num_regions")) <= {0, 1}


def test_scoring_against_another_mask_field(dataset, tmp_path):
    assert "masks" not in form("score_label_quality", dataset)["source"].type.values
    for sample in dataset:
        truth = np.load(sample.probabilities).argmax(0) + 1
        sample["second"] = fo.Segmentation(mask=truth.astype(np.uint8))
        sample.save()
    assert "masks" in form("score_label_quality", dataset)["source"].type.values
    fields = form("score_label_quality", dataset, {"source": "masks", "label_field": "ground_truth"})
    assert fields["predictions"].type.values == ["second"]
    report = operator("score_label_quality")(dataset, predictions="second", output_dir=str(tmp_path / "run"))
    assert report.worst[0].filepath.endswith("2.png")


def test_show_label_issues_sets_the_view(scored):
    properties = form("show_label_issues", scored)
    assert {"kinds", "given", "suggested", "min_score", "status"} <= set(properties)
    choices = {choice.value for choice in properties["given"].view.choices}
    assert choices == set(scored.distinct(f"{REGIONS}.detections.given"))
    result, requests = run_in_app("show_label_issues", scored, {"given": ["car"], "suggested": ["road"]})
    sent = dict(requests)
    assert {"set_view", "set_active_fields", "notify"} <= set(sent)
    view = fo.DatasetView._build(scored, sent["set_view"]["view"])
    expected = [d.id for s in scored for d in s[REGIONS].detections if (d.given, d.suggested) == ("car", "road")]
    assert result["num_regions"] == len(expected) > 0
    assert sorted(view.values("id")) == sorted(expected)
    assert len(expected) < scored.count(f"{REGIONS}.detections")


def test_show_label_issues_where_nothing_fits(scored):
    result, requests = run_in_app("show_label_issues", scored, {"min_score": 1.0})
    assert result["num_regions"] == 0
    assert [name for name, _ in requests] == ["notify"], "the view must stay as it is"


def test_show_label_issues_from_python(scored):
    show = operator("show_label_issues")
    everything = show(scored)
    assert len(everything) == scored.count(f"{REGIONS}.detections") >= 3
    assert set(show(everything, given="car").values(f"{REGIONS}.given")) == {"car"}
    assert 0 < len(show(everything, given="car")) < len(everything)
    assert len(show(scored.limit(1))) == scored.values("label_quality_num_regions")[0]
    operator("reject_label_issues")(everything.limit(1))
    assert len(show(scored)) == len(show(scored, status=None)) - 1


def test_a_dataset_without_regions_says_so(dataset):
    for name in ("show_label_issues", "accept_label_issues", "rescore_label_issues"):
        properties = form(name, dataset)
        assert any(getattr(prop, "invalid", False) for prop in properties.values()), name
        op = operator(name)
        ctx = ExecutionContext({"dataset_name": dataset.name, "params": {}}, executor=Executor(), operator_uri=op.uri)
        assert op.resolve_placement(ctx) is None
    with pytest.raises(foo.executor.ExecutionError, match="no issue regions"):
        operator("show_label_issues")(dataset)


def test_selected_labels_are_accepted(scored):
    labels = [
        {"label_id": d.id, "sample_id": sample.id, "field": REGIONS}
        for sample in scored
        for d in sample[REGIONS].detections
    ]
    other = {"label_id": "0" * 24, "sample_id": scored.first().id, "field": "ground_truth"}
    shown = form("accept_label_issues", scored, selected_labels=[labels[0], other])
    assert "confirm" not in shown
    assert shown["which"].view.label == "Accept the selected regions: 1"
    result, requests = run_in_app("accept_label_issues", scored, selected_labels=[labels[0], other])
    assert result["num_regions"] == 1
    assert statuses(scored) == {"accepted": 1, "pending": len(labels) - 1}
    assert {"clear_selected_labels", "reload_dataset", "notify"} <= {name for name, _ in requests}


def test_selected_patches_are_rejected(scored):
    patches = operator("show_label_issues")(scored)
    chosen = patches.values("id")[:2]
    result, _ = run_in_app("reject_label_issues", scored, view=view_json(patches), selected=chosen)
    assert result["num_regions"] == 2
    scored.reload()
    rejected = [d.id for s in scored for d in s[REGIONS].detections if d.status == "rejected"]
    assert sorted(rejected) == sorted(chosen)


def test_the_open_patch_is_rejected(scored):
    patches = operator("show_label_issues")(scored)
    one = patches.last().id
    result, _ = run_in_app("reject_label_issues", scored, view=view_json(patches), current_sample=one)
    assert result["num_regions"] == 1
    assert statuses(scored)["rejected"] == 1


def test_of_selected_images_the_pending_regions_are_meant(scored):
    sample = scored.sort_by("label_quality_num_regions", reverse=True).first()
    first = sample[REGIONS].detections[0].id
    operator("accept_label_issues")(scored, label_ids=first)
    total = scored.count(f"{REGIONS}.detections")
    number = sample.label_quality_num_regions
    if number > 1:
        run_in_app("reject_label_issues", scored, selected=[sample.id])
        assert statuses(scored).get("rejected") == number - 1
    assert statuses(scored)["accepted"] == 1
    assert sum(statuses(scored).values()) == total


def test_a_whole_view_needs_a_confirmation_with_the_count(scored):
    patches = operator("show_label_issues")(scored)
    shown = form("accept_label_issues", scored, view=view_json(patches))
    assert shown["which"].view.label == f"Accept all regions of the view: {len(patches)}"
    assert shown["confirm"].invalid
    assert not form("accept_label_issues", scored, {"confirm": True}, view=view_json(patches))["confirm"].invalid
    with pytest.raises(ValueError, match="confirm=True"):
        run_in_app("accept_label_issues", scored, view=view_json(patches))
    assert set(statuses(scored)) == {"pending"}
    run_in_app("accept_label_issues", scored, {"confirm": True}, view=view_json(patches))
    assert set(statuses(scored)) == {"accepted"}
    shown = form("accept_label_issues", scored, view=view_json(patches))
    assert any(getattr(prop, "invalid", False) for prop in shown.values()), "nothing is left to accept"


def test_a_job_is_about_the_images_of_the_regions_that_are_shown(scored, tmp_path):
    patches = operator("show_label_issues")(scored)
    plan = {"probabilities": "probabilities", "budget": 4, "output_dir": str(tmp_path / "plan")}
    operator("plan_correction_queries")(patches, "ground_truth", **plan)
    scored.reload()
    assert scored.count("ground_truth_queries.detections") > 0
    assert set(scored.exists("ground_truth_queries").values("id")) <= set(patches.distinct("sample_id"))


def test_accepted_proposals_are_applied_beside_the_regions_that_still_wait(scored):
    patches = operator("show_label_issues")(scored)
    first = patches.first()
    operator("accept_label_issues")(scored, label_ids=first.id)
    waiting = patches.match(fo.ViewField("sample_id") != first.sample_id)
    operator("apply_label_proposals")(waiting, "label_quality")
    scored.reload()
    assert not np.array_equal(
        scored[first.sample_id].ground_truth.get_mask(), scored[first.sample_id].ground_truth_corrected.get_mask()
    )


def test_accept_reject_and_undo_from_python(scored):
    total = scored.count(f"{REGIONS}.detections")
    result = operator("reject_label_issues")(scored, reviewer="ada")
    assert result["by_status"] == {"rejected": total}
    assert scored.distinct(f"{REGIONS}.detections.reviewer") == ["ada"]
    ids = operator("show_label_issues")(scored, status="rejected").values("id")
    assert operator("reject_label_issues")(scored, label_ids=ids, undo=True)["by_status"] == {"pending": total}


def test_forms_begin_with_the_field_that_was_scored_last(dataset, tmp_path):
    dataset.set_values("second", dataset.values("ground_truth"))
    dataset.mask_targets = {**dataset.mask_targets, "second": dataset.mask_targets["ground_truth"]}
    dataset.save()
    assert form("plan_correction_queries", dataset)["label_field"].type.values[0] == "ground_truth"
    operator("score_label_quality")(
        dataset, "second", probabilities="probabilities", output_dir=str(tmp_path / "run"), key="of_second"
    )
    assert form("plan_correction_queries", dataset)["label_field"].type.values[0] == "second"


def test_rescoring_by_operator(scored):
    patches = operator("show_label_issues")(scored)
    operator("accept_label_issues")(patches.limit(1))
    result = operator("rescore_label_issues")(scored)
    assert (result["num_accepted"], result["num_rejected"], result["num_missing"]) == (1, 0, 0)
    op = operator("rescore_label_issues")
    ctx = ExecutionContext({"dataset_name": scored.name, "params": {}}, executor=Executor(), operator_uri=op.uri)
    messages = list(op.execute(ctx))
    assert all(message.to_json_line() for message in messages)
    assert [m.body.operator_uri.split("/")[-1] for m in messages][-2:] == ["reload_dataset", "show_output"]


def test_buttons(scored):
    for name in ("accept_label_issues", "reject_label_issues"):
        op = operator(name)
        ctx = ExecutionContext({"dataset_name": scored.name, "params": {}}, executor=Executor(), operator_uri=op.uri)
        placement = op.resolve_placement(ctx).to_json()
        assert placement["place"] == "samples-grid-secondary-actions"


def test_regions_of_two_runs_are_told_apart(scored, tmp_path):
    operator("score_label_quality")(
        scored, probabilities="probabilities", key="second", output_dir=str(tmp_path / "second")
    )
    scored.reload()
    assert form("show_label_issues", scored)["key"].type.values == ["label_quality", "second"]
    patches = operator("show_label_issues")(scored, key="label_quality")
    result = operator("accept_label_issues")(patches.limit(1))
    assert result["by_status"]["accepted"] == 1
    assert statuses(scored)["accepted"] == 1, "the view tells which run is meant"
