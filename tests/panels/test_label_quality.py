"""Every event of the panel through FiftyOne's executor: what is on the page, and which view a click leads to."""

from __future__ import annotations

import json
from dataclasses import replace

import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

URI = "@label-quality/segmentation/label_quality"
KEY = "label_quality"


class Sitting:
    """One open panel, as the App keeps it."""

    def __init__(self, dataset):
        self.dataset, self.state = dataset, {}
        self.send("on_load")

    def send(self, method, *, shown=None, active=(), **params):
        panel = foo.get_operator(URI)
        request = {
            "dataset_name": self.dataset.name,
            "active_fields": list(active),
            "view": [] if shown is None else shown._serialize(),
            "params": {"panel_id": "p", "panel_state": self.state, "__method__": method, **params},
        }
        ctx = ExecutionContext(request, executor=Executor(), operator_uri=panel.uri)
        panel.execute(ctx)
        self.state = ctx.panel_state
        self.requests = [(r.operator_uri.split("/")[-1], r.params) for r in ctx.executor._requests]
        for name, params in self.requests:
            json.dumps(params, default=str)
            if name == "show_panel_output":
                self.page = params["output"]
        return ctx

    def sent(self, name):
        return [params for found, params in self.requests if found == name]

    def view(self):
        """The view that the last event set, as the App loads it."""
        import fiftyone.core.view as fov

        (params,) = self.sent("set_view")
        return fov.DatasetView._build(self.dataset, params["view"])

    def text(self):
        return json.dumps(self.page, ensure_ascii=False)

    def plots(self):
        found = {}

        def walk(node, name):
            if isinstance(node, dict):
                view = node.get("view") or {}
                if isinstance(view, dict) and view.get("name") == "PlotlyView":
                    found[name] = view
                for key, value in node.items():
                    walk(value, key)

        walk(self.page, "")
        return found


@pytest.fixture
def sitting(make_scored):
    return Sitting(make_scored(12, reviewed=4))


def test_the_page_has_every_chart(sitting):
    expected = {"worst_plot", "scores_plot", "kinds_plot", "classes_plot", "pairs_plot", "precision_plot"}
    assert set(sitting.plots()) == expected
    assert "9 regions" in sitting.text()
    assert "Review 5 more regions" in sitting.text()


def test_callbacks_are_methods_of_the_panel(sitting):
    panel = foo.get_operator(URI)
    named = {part.split("#")[1].split('"')[0] for part in sitting.text().split(f"{URI}")[1:] if part.startswith("#")}
    assert {"click_score", "click_kind", "click_pair", "click_class", "click_image", "change_run"} <= named
    assert all(callable(getattr(panel, name)) for name in named)


def test_no_data_in_the_state(sitting):
    assert sitting.state == {
        "bar": {"run": KEY, "other": "-"},
        "cards": {"scores": {"field": KEY}, "pairs": {"measure": "regions"}},
    }
    assert {name for name, _ in sitting.requests} == {"patch_panel_state", "show_panel_output"}
    assert len(sitting.text()) < 40_000


def test_plots_leave_colours_to_the_theme(sitting):
    for plot in sitting.plots().values():
        assert plot["layout"]["paper_bgcolor"] == plot["layout"]["plot_bgcolor"] == "rgba(0,0,0,0)"
        assert "color" not in plot["layout"]["font"]


def test_click_a_score(sitting):
    bars = sitting.plots()["scores_plot"]["data"][0]
    number = bars["y"].index(2)
    sitting.send("click_score", idx=number, x=bars["x"][number])
    view = sitting.view()
    assert len(view) == 2
    assert view.values(KEY) == sorted(view.values(KEY))


def test_click_a_kind(sitting):
    sitting.send("click_kind", x="missing")
    view = sitting.view()
    assert set(view.values(f"{KEY}_regions.label")) == {"missing"}
    assert set(view.values(f"{KEY}_regions.status")) == {"pending"}
    scores = view.values(f"{KEY}_regions.score")
    assert scores == sorted(scores, reverse=True)


def test_click_a_pair(sitting):
    matrix = sitting.plots()["pairs_plot"]["data"][0]
    row, column = next((r, c) for r, line in enumerate(matrix["z"]) for c, value in enumerate(line) if value)
    given, suggested = matrix["y"][row], matrix["x"][column]
    sitting.send("click_pair", x=suggested, y=given)
    view = sitting.view()
    assert set(view.values(f"{KEY}_regions.given")) == {given}
    assert set(view.values(f"{KEY}_regions.suggested")) == {suggested}
    assert len(view) == int(matrix["text"][row][column])


def test_click_a_class(sitting):
    sitting.send("click_class", y="tree")
    assert set(sitting.view().values(f"{KEY}_regions.given")) == {"tree"}


def test_click_where_nothing_is(make_scored):
    sitting = Sitting(make_scored(12, reviewed=9))
    sitting.send("click_class", y="tree")
    assert sitting.sent("set_view") == []
    assert "no such regions" in sitting.sent("notify")[0]["message"]


def test_an_image_opens_once_the_grid_shows_it(sitting):
    """FiftyOne's App ends where a sample is opened that its view does not have."""
    ids = sitting.plots()["worst_plot"]["data"][0]["ids"]
    patches = sitting.dataset.to_patches(f"{KEY}_regions")
    for shown in (None, patches, sitting.dataset.exclude(ids[3])):
        sitting.send("click_image", shown=shown, id=ids[3], idx=3)
        worst = sitting.view()
        assert worst.values("id") == ids
        assert sitting.sent("open_sample") == []
        sitting.send("on_change_view", shown=worst)
        assert [opened["id"] for opened in sitting.sent("open_sample")] == [ids[3]]
    sitting.send("on_change_view", shown=worst)
    assert sitting.sent("open_sample") == []
    sitting.send("click_image", shown=worst, id=ids[5], idx=5)
    assert [opened["id"] for opened in sitting.sent("open_sample")] == [ids[5]]
    assert sitting.sent("set_view") == []


@pytest.mark.parametrize("name", ["patches", "others"])
def test_an_image_stays_closed_where_the_grid_shows_something_else(sitting, name):
    ids = sitting.plots()["worst_plot"]["data"][0]["ids"]
    sitting.send("click_image", id=ids[3], idx=3)
    other = {"patches": sitting.dataset.to_patches(f"{KEY}_regions"), "others": sitting.dataset.exclude(ids[3])}
    for _ in range(2):
        sitting.send("on_change_view", shown=other[name])
        assert sitting.sent("open_sample") == []
    sitting.send("on_change_view")
    assert sitting.sent("open_sample") == []


def test_the_grid_follows_to_another_run(make_scored):
    sitting = Sitting(make_scored(12, keys=[KEY, "later"]))
    dataset = sitting.dataset
    active = ["ground_truth", "later", "later_regions"]
    sitting.send("change_run", value=KEY, active=active, shown=dataset.to_patches("later_regions"))
    assert sitting.sent("set_active_fields") == [{"fields": ["ground_truth", KEY, f"{KEY}_regions"]}]
    assert sitting.view().has_field(f"{KEY}_regions")
    sitting.send("change_run", value="later", shown=dataset.exists(KEY).sort_by(KEY).limit(8))
    assert sitting.view().values("id") == dataset.sort_by("later").limit(8).values("id")
    sitting.send("change_run", value=KEY, shown=dataset.match_tags("mine"))
    assert sitting.sent("set_view") == []


def test_after_deleting_a_run_the_grid_shows_nothing_of_it(make_scored):
    dataset = make_scored(4, keys=[KEY, "later"])
    op = foo.get_operator("@label-quality/segmentation/delete_label_quality_run")
    for key, shown in (("later", dataset.exists(KEY)), (KEY, dataset.to_patches(f"{KEY}_regions"))):
        request = {
            "dataset_name": dataset.name, "view": shown._serialize(), "params": {"key": key},
            "active_fields": ["ground_truth", f"{key}_regions"],
        }  # fmt: skip
        ctx = ExecutionContext(request, executor=Executor(), operator_uri=op.uri)
        op.execute(ctx)
        sent = {r.operator_uri.split("/")[-1]: r.params for r in ctx.executor._requests}
        assert ("clear_view" in sent) == (key == KEY)
        assert sent["set_active_fields"] == {"fields": ["ground_truth"]}


def test_pictures_are_addresses(sitting):
    pictures = sitting.plots()["worst_plot"]["layout"]["images"]
    assert len(pictures) == 8
    assert all(picture["source"].startswith("/media?filepath=%2F") for picture in pictures)


def test_pixels_instead_of_regions(sitting):
    sitting.send("change_measure", value="pixels")
    assert "pixels" in sitting.plots()["pairs_plot"]["data"][0]["hovertext"][0][0]


def test_another_score(sitting):
    before = sitting.plots()["scores_plot"]["data"][0]["y"]
    sitting.send("change_field", value=f"{KEY}_softmin")
    assert sitting.plots()["scores_plot"]["data"][0]["y"] != before
    sitting.send("click_score", idx=0)
    assert max(sitting.view().values(f"{KEY}_softmin")) < 0.1


def test_comparison(make_scored):
    sitting = Sitting(make_scored(12, reviewed=4, keys=["before", "after"]))
    assert sitting.state["bar"]["run"] == "after", "the latest run"
    sitting.send("change_run", value="before")
    sitting.send("change_other", value="after")
    assert {"compared_scores_plot", "compared_kinds_plot"} <= set(sitting.plots())
    assert "8 images got better" in sitting.text()
    sitting.send("show_better")
    assert len(sitting.view()) == 8
    sitting.send("show_worse")
    assert len(sitting.view()) == 4
    sitting.send("change_run", value="after")
    assert sitting.state["bar"]["other"] == "-", "a run is not compared with itself"
    assert "compared_scores_plot" not in sitting.plots()


@pytest.mark.parametrize(
    ("method", "operator"),
    [
        ("score_labels", "score_label_quality"),
        ("show_issues", "show_label_issues"),
        ("rescore", "rescore_label_issues"),
    ],
)
def test_buttons_open_forms(sitting, method, operator):
    sitting.send(method)
    (prompt,) = sitting.sent("prompt_user_for_operation")
    assert prompt["operator_uri"] == f"@label-quality/segmentation/{operator}"
    assert (prompt.get("params") or {}).get("key") == (None if method == "score_labels" else KEY)


def test_no_run_yet(make_dataset):
    sitting = Sitting(make_dataset(2))
    assert "No label quality run yet" in sitting.text()
    assert sitting.plots() == {}
    sitting.send("on_change_view")
    assert "score_labels" in sitting.text()


def test_a_run_without_regions(make_scored):
    sitting = Sitting(make_scored(6, regions=False))
    assert "no issue regions" in sitting.text()
    assert set(sitting.plots()) == {"worst_plot", "scores_plot", "classes_plot"}


def test_no_disagreement_at_all(make_scored):
    sitting = Sitting(make_scored(6, agree=True))
    assert "No disagreement" in sitting.text()
    assert "rescore" not in sitting.text()


def test_everything_reviewed(make_scored):
    sitting = Sitting(make_scored(12, reviewed=9))
    assert "Every region has been reviewed" in sitting.text()
    assert "pairs_plot" not in sitting.plots()


def test_state_of_another_dataset_is_put_right(make_scored):
    sitting = Sitting(make_scored(6, keys=["other_run"]))
    sitting.dataset = make_scored(6)
    sitting.send("on_change_dataset")
    assert sitting.state["bar"]["run"] == KEY
    assert sitting.state["cards"]["scores"]["field"] == KEY


def test_warnings_of_the_run_are_said(make_scored):
    from fiftyone_plugin.dataset.runs import run_records

    dataset = make_scored(6)
    record = run_records.find_run(dataset, KEY)
    summary = {**json.loads(json.dumps(record.summary)), "warnings": ["The model hardly recognises car"]}
    run_records.register_run(
        dataset, replace(record, parameters={}, fields=list(record.fields), views=[], summary=summary)
    )
    assert "The model hardly recognises car" in Sitting(dataset).text()


def test_changed_labels_are_said_and_shown(make_dataset, tmp_path):
    from fiftyone_plugin import score_label_quality

    dataset = make_dataset(4)
    score_label_quality(dataset, probabilities="probabilities", output_dir=str(tmp_path / "run"))
    label = dataset.first().ground_truth
    label.mask = label.get_mask() // 2
    label.export_mask(label.mask_path, overwrite_path=True)
    sitting = Sitting(dataset)
    assert "The labels of 1 images" in sitting.text()
    sitting.send("show_changed")
    assert sitting.view().values("id") == [dataset.first().id]


def test_accepting_a_region_is_seen(sitting):
    sample = sitting.dataset.match({f"{KEY}_regions.detections.status": "pending"}).first()
    for region in sample[f"{KEY}_regions"].detections:
        region.status = "accepted"
    sample.save()
    accepted = sitting.dataset.count_values(f"{KEY}_regions.detections.status")["accepted"]
    assert accepted > 3
    sitting.send("on_change_view")
    assert f"{accepted} accepted" in sitting.text()
