"""The learning curves panel and the operator behind it: what is on the page, and where a click leads."""

from __future__ import annotations

import json
import shutil
import sys

import fiftyone.operators as foo
import pytest
import torch
from fiftyone.operators.executor import ExecutionContext, Executor

from fiftyone_plugin.dataset.runs import run_records
from fiftyone_plugin.progress import silent

PLUGIN = "@label-quality/segmentation"
URI = f"{PLUGIN}/learning_curves"
KEY = "noise_robust"
TINY = {
    "encoder": "tu-mobilenetv3_small_050", "weights": None, "epochs": 3, "batch_size": 2, "crop_size": 32,
    "model_options": {"encoder_depth": 3, "decoder_channels": [16, 16, 8]}, "device": "cpu",
    "consistency": False, "latest_epoch": 2, "threshold": 0.34, "min_region_area": 1,
}  # fmt: skip


class Sitting:
    """One open panel, as the App keeps it."""

    def __init__(self, dataset):
        self.dataset, self.state = dataset, {}
        self.send("on_load")

    def send(self, method, **params):
        panel = foo.get_operator(URI)
        request = {
            "dataset_name": self.dataset.name,
            "params": {"panel_id": "p", "panel_state": self.state, "__method__": method, **params},
        }
        ctx = ExecutionContext(request, executor=Executor(), operator_uri=panel.uri)
        panel.execute(ctx)
        self.state = ctx.panel_state
        self.requests = [(r.operator_uri.split("/")[-1], r.params) for r in ctx.executor._requests]
        for name, sent in self.requests:
            json.dumps(sent, default=str)
            if name == "show_panel_output":
                self.page = sent["output"]

    def sent(self, name):
        return [params for found, params in self.requests if found == name]

    def text(self):
        return json.dumps(self.page, ensure_ascii=False)

    def plot(self):
        return self.page["type"]["properties"]["curves_plot"]["view"]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def dataset(make_dataset, tmp_path):
    """With a run that the operator made."""
    dataset = make_dataset(4, wrong=(1,))
    record = foo.get_operator(f"{PLUGIN}/train_noise_robust")(
        dataset, "ground_truth", output_dir=str(tmp_path / "run"), **TINY
    )
    dataset.reload()
    assert record.method == run_records.find_run(dataset, KEY).method == run_records.NOISE_ROBUST
    return dataset


def test_the_page_has_curves_triggers_and_a_table(dataset):
    sitting = Sitting(dataset)
    names = {"road", "car", "tree"}
    measured = [t for t in sitting.plot()["data"] if t["mode"] == "lines+markers"]
    assert {trace["name"] for trace in measured} == names
    assert all(trace["x"] == [1, 2, 3] and len(trace["y"]) == 3 for trace in measured)
    marks = {t["legendgroup"]: t for t in sitting.plot()["data"] if t["mode"] == "markers"}
    fired = run_records.find_run(dataset, KEY).summary["fired"]
    assert {name: mark["x"] for name, mark in marks.items()} == {name: [epoch] for name, epoch in fired.items()}
    assert set(fired) == names
    for trace in measured:
        assert marks[trace["name"]]["y"] == [trace["y"][fired[trace["name"]] - 1]]
    fits = {t["legendgroup"]: t for t in sitting.plot()["data"] if t["mode"] == "lines"}
    assert set(fits) == names
    assert all(0 <= iou <= 1 for trace in fits.values() for iou in trace["y"])
    table = sitting.page["type"]["properties"]["table"]["default"].splitlines()
    lost = dict.fromkeys(names, 0)
    for given, _, pixels in run_records.find_run(dataset, KEY).summary["pairs"]:
        lost[given] += pixels
    assert sum(lost.values()) > 0
    for name in names:
        (row,) = (line for line in table if line.startswith(f"| {name} |"))
        assert f"| {fired[name]} | {lost[name]:,} |" in row
    assert "3 of 3" in sitting.text()


def test_colours_are_left_to_the_theme_and_nothing_is_in_the_state(dataset):
    sitting = Sitting(dataset)
    layout = sitting.plot()["layout"]
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == layout["legend"]["bgcolor"] == "rgba(0,0,0,0)"
    assert "color" not in layout["font"]
    assert sitting.state == {"bar": {"run": KEY}}


@pytest.mark.parametrize(("method", "kind"), [("show_regions", "regions"), ("show_images", "changed")])
def test_buttons_show_what_would_change(dataset, method, kind):
    import fiftyone.core.view as fov

    sitting = Sitting(dataset)
    sitting.send(method)
    (params,) = sitting.sent("set_view")
    view = fov.DatasetView._build(dataset, params["view"])
    assert len(view) == len(dataset.load_saved_view(f"{KEY} {kind}")) > 0
    dataset.delete_saved_view(f"{KEY} {kind}")
    sitting.send(method)
    assert not sitting.sent("set_view")


def test_callbacks_are_methods_of_the_panel(dataset):
    panel = foo.get_operator(URI)
    named = {part.split("#")[1].split('"')[0] for part in Sitting(dataset).text().split(URI)[1:] if part[0] == "#"}
    assert {"change_run", "show_regions", "show_images"} <= named
    assert all(callable(getattr(panel, name)) for name in named)


def test_the_newest_run_is_shown_and_another_can_be_chosen(dataset, tmp_path):
    from fiftyone_plugin import delete_label_quality_run, train_noise_robust
    from fiftyone_plugin.progress import silent

    options = {**TINY, "epochs": 1, "correction": False, "progress": silent}
    train_noise_robust(dataset, key="early", output_dir=str(tmp_path / "early"), **options)
    dataset.reload()
    sitting = Sitting(dataset)
    assert "labels were not corrected" in sitting.text()
    sitting.send("change_run", value=KEY)
    assert "3 of 3" in sitting.text()
    delete_label_quality_run(dataset, KEY)
    sitting.send("on_load")
    assert sitting.state["bar"]["run"] == "early"


def test_curves_that_are_gone_are_said(dataset, tmp_path):
    shutil.rmtree(tmp_path / "run")
    assert "holds no learning curves" in Sitting(dataset).text()


def test_no_run_yet(make_dataset):
    sitting = Sitting(make_dataset(2))
    assert "No noise-robust training yet" in sitting.text()
    sitting.send("train")
    (prompt,) = sitting.sent("prompt_user_for_operation")
    assert prompt["operator_uri"] == f"{PLUGIN}/train_noise_robust"


def test_the_operator_tells_progress_and_shows_a_report(make_dataset, tmp_path):
    dataset = make_dataset(4, wrong=(1,))
    op = foo.get_operator(f"{PLUGIN}/train_noise_robust")
    params = {"label_field": "ground_truth", **TINY, "weights": "none", "output_dir": str(tmp_path / "run")}
    ctx = ExecutionContext({"dataset_name": dataset.name, "params": params}, executor=Executor(), operator_uri=op.uri)
    messages = list(op.execute(ctx))
    assert all(message.to_json_line() for message in messages), "what the server sends must be JSON"
    sent = [message.body.operator_uri.split("/")[-1] for message in messages]
    assert set(sent[:-4]) == {"show_output"}
    assert sent[-4:] == ["reload_dataset", "set_color_scheme", "set_active_fields", "show_output"]
    assert "began to memorise" in messages[-1].body.params["results"]["report"]


def test_time_left_is_told_though_labels_change():
    progress = sys.modules[
        type(foo.get_operator(f"{PLUGIN}/train_noise_robust")).__module__.rsplit(".", 1)[0] + ".progress"
    ]
    told = []
    throttle = progress._Throttle(lambda share, text: told.append(text), silent)
    throttle(0, 100, "training, epoch 1/10")
    throttle._started -= 30  # half a minute ago
    throttle(10, 100, "training, epoch 2/10, loss 0.50")
    assert told[-1].endswith("5 min left") or told[-1].endswith("4 min left"), told[-1]
    throttle(0, 8, "writing proposals")
    throttle(1, 8, "writing proposals, one")
    assert told[-1].endswith("1 s left")


def test_the_form(make_dataset):
    op = foo.get_operator(f"{PLUGIN}/train_noise_robust")

    def form(**params):
        request = {"dataset_name": dataset.name, "params": params}
        return op.resolve_input(ExecutionContext(request, executor=Executor(), operator_uri=op.uri)).type.properties

    dataset = make_dataset(2)
    assert {"label_field", "correction", "consistency", "out_of_fold", "epochs"} <= set(form())
    assert not {"folds", "variant", "threshold"} & set(form())
    assert {"folds", "variant", "threshold", "latest_epoch", "background"} <= set(form(more=True, out_of_fold=True))
