"""Every event of the panel through FiftyOne's executor: what is on the page, and which view a click leads to."""

from __future__ import annotations

import json
from dataclasses import replace

import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

from fiftyone_plugin import review_regions

URI = "@label-quality/segmentation/label_quality"
KEY = "label_quality"
FIELD = f"{KEY}_regions"


class Sitting:
    """One open panel, as the App keeps it."""

    def __init__(self, dataset):
        self.dataset, self.state = dataset, {}
        self.send("on_load")

    def send(self, method, *, shown=None, active=(), selected=(), **params):
        panel = foo.get_operator(URI)
        request = {
            "dataset_name": self.dataset.name,
            "active_fields": list(active),
            "selected": list(selected),
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

    def pick(self, card, at, **more):
        return self.send("pick", card=card, at=at, **more)

    def sent(self, name):
        return [params for found, params in self.requests if found == name]

    def view(self):
        """The view that the last event set, as the App loads it."""
        import fiftyone.core.view as fov

        (params,) = self.sent("set_view")
        return fov.DatasetView._build(self.dataset, params["view"])

    def text(self):
        return json.dumps(self.page, ensure_ascii=False)

    def cards(self):
        """The cards on the page by name."""
        found = {}

        def walk(node):
            if isinstance(node, dict):
                if isinstance(node.get("cards"), list):
                    found.update({card["name"]: card for card in node["cards"]})
                for value in node.values():
                    walk(value)

        walk(self.page)
        return found

    def actions(self):
        """The buttons that can be pressed."""
        steps = [step for card in self.cards().values() for step in card.get("actions", [])]
        return {step["name"] for step in steps if not step.get("disabled")}


@pytest.fixture
def sitting(make_scored):
    return Sitting(make_scored(12, reviewed=4))


def marks(card):
    """Everything on a card that can be clicked, with how many it says that there are."""
    name, body = card["name"], card["body"]
    if name == "scores":
        return [(place, number) for place, number in enumerate(body["counts"]) if number]
    if name == "kinds":
        words = [
            (bar["at"], int(bar["title"].split(": ")[1].split()[0])) for row in body["rows"] for bar in row["bars"]
        ]
        return [*words, *((row["at"], int(row["text"])) for row in body["rows"])]
    if name == "classes":
        return [(row["at"], int(row["text"].split(" · ")[-1].split()[0])) for row in body["rows"]]
    pairs = [(given, suggested) for given in body["rows"] for suggested in body["columns"]]
    texts = [text for row in body["texts"] for text in row]
    return [("\x1f".join(pair), int(text)) for pair, text in zip(pairs, texts, strict=True) if text != "0"]


@pytest.mark.parametrize("card", ["scores", "kinds", "classes", "pairs"])
def test_a_click_shows_exactly_what_a_mark_counts(make_scored, card):
    """Over the whole chart: no image or region is counted and not shown, or shown and not counted."""
    sitting = Sitting(make_scored(16, reviewed=5))
    found = marks(sitting.cards()[card])
    assert found
    for at, number in found:
        sitting.pick(card, at)
        if not number:
            assert sitting.sent("set_view") == []
            continue
        view = sitting.view()
        assert len(view) == number
        worst = view.values(KEY if card == "scores" else f"{FIELD}.score")
        assert worst == sorted(worst, reverse=card != "scores")


def test_clicks_show_what_they_name(sitting):
    sitting.pick("kinds", "missing/accepted")
    assert set(sitting.view().values(f"{FIELD}.status")) == {"accepted"}
    sitting.pick("pairs", "car\x1ftree")
    assert set(sitting.view().values(f"{FIELD}.label")) == {"car → tree"}, "called by what is to be decided"
    assert sitting.sent("set_active_fields") == [{"fields": [FIELD]}]
    sitting.pick("classes", "tree")
    assert set(sitting.view().values(f"{FIELD}.given")) == {"tree"}
    sitting.pick("estimate", "review_worst")
    assert sitting.view().values(f"{FIELD}.score") == sorted(sitting.view().values(f"{FIELD}.score"), reverse=True)
    assert set(sitting.view().values(f"{FIELD}.status")) == {"pending"}, "all, where few are likely wrong"
    sitting.pick("estimate", "nothing like that")
    assert "older" in sitting.sent("notify")[0]["message"]


def test_scores_on_an_edge_are_counted_where_they_are_shown(make_scored):
    dataset = make_scored(12)
    dataset.set_values(KEY, [0.1 * place for place in range(11)] + [0.3])
    sitting = Sitting(dataset)
    for at, number in marks(sitting.cards()["scores"]):
        sitting.pick("scores", at)
        assert len(sitting.view()) == number


def test_the_page_says_first_how_much_is_wrong(sitting):
    assert next(iter(sitting.cards())) == "estimate"
    expected = {"estimate", "bulk", "worst", "scores", "kinds", "classes", "pairs", "precision", "so_far"}
    assert set(sitting.cards()) == expected
    said = " ".join(sitting.cards()["estimate"]["lines"])
    assert "5 regions to review" in said
    assert "review 5 regions" in said
    for jargon in ("[", "1 regions", "bits"):
        assert jargon not in said
    assert "Compare with" not in sitting.text(), "there is nothing to choose from"


def test_callbacks_are_methods_of_the_panel(sitting):
    panel = foo.get_operator(URI)
    named = {part.split("#")[1].split('"')[0] for part in sitting.text().split(f"{URI}")[1:] if part.startswith("#")}
    assert named == {"pick", "choose"}
    assert all(callable(getattr(panel, name)) for name in named)


def test_no_data_in_the_state(sitting):
    assert sitting.state == {
        "bar": {"run": KEY, "other": "-"},
        "chosen": {"field": KEY, "measure": "regions", "allowed": "0.05"},
    }
    assert {name for name, _ in sitting.requests} == {"patch_panel_state", "show_panel_output"}


def test_worst_images_are_pictures_with_what_should_be_what(sitting):
    items = sitting.cards()["worst"]["body"]["items"]
    assert len(items) == 8
    assert all(item["source"].startswith("data:image/jpeg;base64,") for item in items)
    assert any("road → car" in item["text"] for item in items)
    assert sum(len(item["source"]) for item in items) < 600_000


def test_an_image_opens_once_the_grid_shows_it(sitting):
    """FiftyOne's App ends where a sample is opened that its view does not have."""
    ids = [item["at"] for item in sitting.cards()["worst"]["body"]["items"]]
    patches = sitting.dataset.to_patches(FIELD)
    for shown in (None, patches, sitting.dataset.exclude(ids[3])):
        sitting.pick("worst", ids[3], shown=shown)
        worst = sitting.view()
        assert worst.values("id") == ids
        assert sitting.sent("open_sample") == []
        sitting.send("on_change_view", shown=worst)
        assert [opened["id"] for opened in sitting.sent("open_sample")] == [ids[3]]
    sitting.send("on_change_view", shown=worst)
    assert sitting.sent("open_sample") == []
    sitting.pick("worst", ids[5], shown=worst)
    assert [opened["id"] for opened in sitting.sent("open_sample")] == [ids[5]]
    assert sitting.sent("set_view") == []


@pytest.mark.parametrize("name", ["patches", "others"])
def test_an_image_stays_closed_where_the_grid_shows_something_else(sitting, name):
    ids = [item["at"] for item in sitting.cards()["worst"]["body"]["items"]]
    sitting.pick("worst", ids[3])
    other = {"patches": sitting.dataset.to_patches(FIELD), "others": sitting.dataset.exclude(ids[3])}
    for _ in range(2):
        sitting.send("on_change_view", shown=other[name])
        assert sitting.sent("open_sample") == []
    sitting.send("on_change_view")
    assert sitting.sent("open_sample") == []


def test_regions_are_decided_beside_the_grid_and_taken_back(sitting):
    assert "review" not in sitting.cards(), "only where regions are shown"
    sitting.pick("estimate", "review_worst")
    view = sitting.view()
    first, second = view.values("id")[:2]
    sitting.send("on_change_selected", shown=view, selected=[first, second])
    assert "2 regions selected" in sitting.text()
    assert {"accept", "reject"} <= sitting.actions()
    assert "undo" not in sitting.actions()
    sitting.pick("review", "accept", shown=view, selected=[first, second])
    assert {"clear_selected_samples", "reload_dataset"} <= {name for name, _ in sitting.requests}

    def statuses():
        found = zip(*sitting.dataset.values([f"{FIELD}.detections.id", f"{FIELD}.detections.status"], unwind=True),
                    strict=True)  # fmt: skip
        return {label_id: status for label_id, status in found if label_id in (first, second)}

    assert set(statuses().values()) == {"accepted"}
    sitting.send("on_change_dataset", shown=view)  # the App loads it again
    assert {"undo", "reject"} & sitting.actions() == {"undo"}
    sitting.pick("review", "undo", shown=view)
    assert set(statuses().values()) == {"pending"}
    sitting.pick("review", "accept", shown=view)
    assert "Tick regions" in sitting.sent("notify")[0]["message"]


def test_the_grid_follows_to_another_run(make_scored):
    sitting = Sitting(make_scored(12, keys=[KEY, "later"]))
    dataset = sitting.dataset
    active = ["ground_truth", "later", "later_regions"]
    sitting.send("change_run", value=KEY, active=active, shown=dataset.to_patches("later_regions"))
    assert sitting.sent("set_active_fields") == [{"fields": ["ground_truth", KEY, FIELD]}]
    assert sitting.view().has_field(FIELD)
    sitting.pick("worst", dataset.sort_by(KEY).first().id)
    worst = sitting.view()
    sitting.send("change_run", value="later", shown=worst)
    assert sitting.view().values("id") == dataset.sort_by("later").limit(8).values("id")
    sitting.send("change_run", value=KEY, shown=dataset.match_tags("mine"))
    assert sitting.sent("set_view") == []


def test_after_deleting_a_run_the_grid_shows_nothing_of_it(make_scored):
    dataset = make_scored(4, keys=[KEY, "later"])
    op = foo.get_operator("@label-quality/segmentation/delete_label_quality_run")
    for key, shown in (("later", dataset.exists(KEY)), (KEY, dataset.to_patches(FIELD))):
        request = {
            "dataset_name": dataset.name, "view": shown._serialize(), "params": {"key": key}, "spaces": {},
            "active_fields": ["ground_truth", f"{key}_regions"],
        }  # fmt: skip
        sent = {}
        while "set_active_fields" not in sent:
            ctx = ExecutionContext(request, executor=Executor(), operator_uri=op.uri)
            op.execute(ctx)
            sent |= {r.operator_uri.split("/")[-1]: r.params for r in ctx.executor._requests}
            request["params"] = sent.get("delete_label_quality_run")
        assert ("clear_view" in sent) == (key == KEY)
        assert sent["set_active_fields"] == {"fields": ["ground_truth"]}


def test_a_run_that_was_deleted_is_no_error(make_scored):
    sitting = Sitting(make_scored(4))
    sitting.dataset.delete_run(KEY)
    sitting.send("on_change_selected")
    assert set(sitting.cards()) == {"no_run"}


def test_another_score_and_pixels_instead_of_regions(sitting):
    before = sitting.cards()
    sitting.send("choose", path="chosen.field", value=f"{KEY}_softmin")
    sitting.send("choose", path="chosen.measure", value="pixels")
    sitting.send("choose", path="bar.run", value="no path of a choice")
    after = sitting.cards()
    assert after["scores"]["body"]["counts"] != before["scores"]["body"]["counts"]
    assert after["pairs"]["body"]["values"] != before["pairs"]["body"]["values"]
    sitting.pick("scores", 0)
    assert max(sitting.view().values(f"{KEY}_softmin")) < 0.1


def test_comparison(make_scored):
    sitting = Sitting(make_scored(12, reviewed=4, keys=["before", "after"]))
    assert sitting.state["bar"]["run"] == "after", "the latest run"
    sitting.send("change_run", value="before")
    sitting.send("change_other", value="after")
    assert {"compared_scores", "compared_kinds"} <= set(sitting.cards())
    curves = sitting.cards()["compared_scores"]["body"]["series"]
    assert [curve["points"][-1][1] for curve in curves] == [1.0, 1.0]
    assert "8 images got better" in sitting.text()
    sitting.pick("compared_scores", "show_better")
    assert len(sitting.view()) == 8
    sitting.pick("compared_scores", "show_worse")
    assert len(sitting.view()) == 4
    sitting.send("change_run", value="after")
    assert sitting.state["bar"]["other"] == "-", "a run is not compared with itself"
    assert "compared_scores" not in sitting.cards()


@pytest.mark.parametrize(
    ("name", "operator", "key"),
    [
        ("find_errors", "find_label_errors", None),
        ("train", "train_cross_validated", None),
        ("score_labels", "score_label_quality", None),
        ("show_issues", "show_label_issues", KEY),
        ("rescore", "rescore_label_issues", KEY),
    ],
)
def test_buttons_open_forms(sitting, name, operator, key):
    sitting.pick("estimate", name)
    (prompt,) = sitting.sent("prompt_user_for_operation")
    assert prompt["operator_uri"] == f"@label-quality/segmentation/{operator}"
    assert (prompt.get("params") or {}).get("key") == key


def test_jobs_are_about_all_images_whatever_is_shown(sitting):
    sitting.pick("estimate", "review_worst")
    for shown, target in ((None, "DATASET"), (sitting.view(), "BASE_VIEW")):  # what FiftyOne's form offers then
        for name in ("apply", "train", "score_labels"):
            sitting.pick("estimate", name, shown=shown)
            assert sitting.sent("prompt_user_for_operation")[0]["params"]["view_target"] == target


def test_no_run_yet(make_dataset):
    sitting = Sitting(make_dataset(2))
    assert set(sitting.cards()) == {"no_run"}
    assert sitting.actions() == {"find_errors", "train", "score_labels"}
    sitting.send("on_change_view")
    assert set(sitting.cards()) == {"no_run"}


def test_a_run_without_regions(make_scored):
    sitting = Sitting(make_scored(6, regions=False))
    assert "has no regions" in sitting.text()
    assert set(sitting.cards()) == {"estimate", "worst", "scores", "classes"}
    assert "score_labels" in sitting.actions()
    assert "surely wrong" not in str(sitting.cards())  # nobody has looked
    assert not any("region" in row["text"] for row in sitting.cards()["classes"]["body"]["rows"])


def test_no_disagreement_at_all(make_scored):
    sitting = Sitting(make_scored(6, agree=True))
    assert "No disagreement" in sitting.text()
    assert sitting.actions() == {"refresh"}


def test_everything_reviewed(make_scored):
    sitting = Sitting(make_scored(12, reviewed=9))
    assert "Every region has been reviewed" in sitting.text()
    assert "pairs" not in sitting.cards()
    sitting.pick("classes", "tree")
    assert sitting.sent("set_view") == []
    assert "no such regions" in sitting.sent("notify")[0]["message"]


def test_state_of_another_dataset_is_put_right(make_scored):
    sitting = Sitting(make_scored(6, keys=["other_run"]))
    sitting.dataset = make_scored(6)
    sitting.send("on_change_dataset")
    assert (sitting.state["bar"]["run"], sitting.state["chosen"]["field"]) == (KEY, KEY)


def test_warnings_of_the_run_stand_in_one_box(make_scored):
    from fiftyone_plugin.dataset.runs import run_records

    dataset = make_scored(6)
    record = run_records.find_run(dataset, KEY)
    summary = {**json.loads(json.dumps(record.summary)), "warnings": ["The model hardly recognises car", "Few images"]}
    run_records.register_run(
        dataset, replace(record, parameters={}, fields=list(record.fields), views=[], summary=summary)
    )
    assert Sitting(dataset).cards()["warnings"]["lines"] == summary["warnings"]


def test_changed_labels_are_said_and_shown(make_dataset, tmp_path):
    from fiftyone_plugin import score_label_quality

    dataset = make_dataset(4)
    score_label_quality(dataset, probabilities="probabilities", output_dir=str(tmp_path / "run"))
    label = dataset.first().ground_truth
    label.mask = label.get_mask() // 2
    label.export_mask(label.mask_path, overwrite_path=True)
    sitting = Sitting(dataset)
    assert "1 label has changed since the run" in sitting.text()
    sitting.pick("warnings", "show_changed")
    assert sitting.view().values("id") == [dataset.first().id]


def test_accepting_a_region_is_seen(sitting):
    sample = sitting.dataset.match({f"{FIELD}.detections.status": "pending"}).first()
    for region in sample[FIELD].detections:
        region.status = "accepted"
    sample.save()
    accepted = sitting.dataset.count_values(f"{FIELD}.detections.status")["accepted"]
    assert accepted > 3
    sitting.send("on_change_view")
    assert f"{accepted} accepted" in sitting.text()


def test_many_regions_are_accepted_at_once_and_put_back(make_scored):
    dataset = make_scored(12)
    dataset.set_values(
        f"{FIELD}.detections.score", [[0.99] * len(one or []) for one in dataset.values(f"{FIELD}.detections")]
    )
    sitting = Sitting(dataset)
    sitting.send("choose", path="chosen.allowed", value="0.3")
    card = sitting.cards()["bulk"]
    assert (card["choice"]["value"], card["choice"]["slider"]) == ("0.3", True)
    assert [step["name"] for step in card["actions"]] == ["bulk_draw"]
    sitting.pick("bulk", "bulk_draw")
    for _ in range(20):
        if "bulk_accept" in sitting.actions():
            break
        review_regions(sitting.view().limit(4), "accepted")
        sitting.pick("bulk", "bulk_review")
    card, before = sitting.cards()["bulk"], status(sitting.dataset)
    assert "at most 30 % mistakes" in card["lines"][0]
    assert card["actions"][0]["label"] == f"Accept {before['pending']} regions"
    sitting.pick("bulk", "bulk_accept")
    assert status(sitting.dataset) == {"accepted": sum(before.values())}
    sitting.pick("bulk", "bulk_undo")
    assert status(sitting.dataset) == before
    assert "bulk_undo" not in sitting.actions()
    sitting.send("choose", path="chosen.allowed", value="0.1")
    assert "Draw anew" in sitting.cards()["bulk"]["actions"][0]["label"]


def status(dataset):
    return dataset.count_values(f"{FIELD}.detections.status")
