"""Every event of the label correction panel through FiftyOne's executor, and both of its viewers."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path

import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor
from PIL import Image

from fiftyone_plugin.quality.certainty.reviewers import Reliability
from fiftyone_plugin.quality.regions.review_statistics import Interval
from fiftyone_plugin.workflows.correcting.sitting_progress import PersonProgress

URI = "@label-quality/segmentation/label_correction"
VIEW = Path(__file__).parents[2] / "panels" / "js" / "src" / "view.ts"


class Screen:
    """One open panel, as the App keeps it."""

    def __init__(self, dataset, *, tab="tab", plain=False, panel_id="p", sample=None):
        self.dataset, self.panel_id, self.sample, self.tab = dataset, panel_id, sample, tab
        self.state = {"options": {"plain": True}} if plain else {}
        self.send("on_load")
        if not plain:
            self.send("act", action="hello", question="", tab=tab, has=[])

    def send(self, method, **params):
        panel = foo.get_operator(URI)
        request = {
            "dataset_name": self.dataset.name,
            "current_sample": self.sample,
            "params": {"panel_id": self.panel_id, "panel_state": self.state, "__method__": method, **params},
        }
        ctx = ExecutionContext(request, executor=Executor(), operator_uri=panel.uri)
        panel.execute(ctx)
        self.state = ctx.panel_state
        self.requests = [(r.operator_uri.split("/")[-1], r.params) for r in ctx.executor._requests]
        for name, sent in self.requests:
            json.dumps(sent)
            if name == "show_panel_output":
                self.page = sent["output"]
        return self

    def act(self, action, **params):
        return self.send("act", action=action, tab=self.tab, has=params.pop("has", []), **params)

    def answer(self, choice=None):
        """Confirm what is shown, or say what it is."""
        about = {"question": self.view["question"], "seconds": 2.0}
        return self.act("choose", choice=choice, **about) if choice else self.act("confirm", **about)

    def part(self, name):
        """The part of the page of this name; None if there is none."""

        def find(node):
            if not isinstance(node, dict):
                return None
            found = node.get(name)
            return (
                found
                if isinstance(found, dict) and "view" in found
                else next(filter(None, map(find, node.values())), None)
            )

        return find(self.page)

    @property
    def view(self):
        return self.part("picture")["view"]

    def text(self):
        return json.dumps(self.page, ensure_ascii=False)

    def notices(self):
        return [params["message"] for name, params in self.requests if name == "notify"]


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def stored(dataset):
    rows = dataset._sample_collection.find({"_dataset_id": dataset._doc.id})
    return {str(query["_id"]): query for row in rows for query in row["ground_truth_queries"]["detections"]}


@pytest.fixture
def screen(make_planned):
    return Screen(make_planned(2))


def test_before_the_browser_has_said_who_it_is_nothing_is_asked(make_planned):
    dataset = make_planned(1)
    screen = Screen(dataset)
    screen.send("on_load")  # the panel was moved, or another tab has opened the same layout
    assert screen.view["question"] == ""
    assert "Plain viewer" in screen.text()
    screen.state = {**screen.state, "options": {"plain": False}}
    assert screen.act("hello").view["question"]


def test_the_view_is_what_the_typescript_expects(screen):
    declared = set(re.findall(r"^  (\w+):", VIEW.read_text(), flags=re.MULTILINE))
    written = set(screen.view) - {"name", "label", "description", "caption", "space", "placeholder", "read_only",
                                  "component", "componentsProps", "container", "composite_view", "type"}  # fmt: skip
    assert written == declared
    screen.send("on_load")
    assert set(screen.view) >= declared


def test_callbacks_are_methods_of_the_panel(make_planned):
    panel = foo.get_operator(URI)
    for plain in (False, True):
        text = Screen(make_planned(1), plain=plain).text()
        named = set(re.findall(rf"{URI}#(\w+)", text))
        assert {"act", "switch_viewer"} | ({"click"} if plain else set()) <= named
        assert all(callable(getattr(panel, name)) for name in named)


def test_the_picture_is_the_question(screen):
    query = stored(screen.dataset)[screen.view["question"]]
    (sample,) = [s for s in screen.dataset if any(str(q["_id"]) == str(query["_id"]) for q in _queries(s))]
    image = np.asarray(Image.open(sample.filepath))
    given = np.asarray(Image.open(sample.ground_truth.mask_path))
    assert screen.view["size"] == [image.shape[1], image.shape[0]]
    assert np.array_equal(pixels(screen.view["image"]), image)
    names = np.array([*screen.view["names"]])
    labels = pixels(screen.view["labels"])
    targets = screen.dataset.mask_targets["ground_truth"]
    known = given != 255
    assert np.array_equal(names[labels[known]], np.array([targets[int(value)] for value in given[known]]))
    assert (labels[~known] == 255).all()

    region, (x, y) = pixels(screen.view["region"]) > 0, screen.view["region_at"]
    left, top, width, height = (
        round(part * size) for part, size in zip(query["bounding_box"], image.shape[1::-1] * 2, strict=True)
    )
    assert ((x, y), region.shape) == ((left, top), (height, width))
    assert np.array_equal(region, np.asarray(Image.open(query["mask_path"])) > 0)
    assert screen.view["box"] == [top, left, top + height, left + width]
    assert screen.view["point"] == [query["column"], query["row"]]
    assert screen.view["given"] == query["given"]
    assert screen.view["keys"]["1"] == ["choose", query["truth"]]


def _queries(sample):
    return [{"_id": detection.id} for detection in sample.ground_truth_queries.detections]


def test_only_choices_are_in_the_state(screen):
    screen.answer().answer()
    assert screen.state == {
        "bar": {"field": "ground_truth"},
        "options": {"overlay": "outline", "plain": False, "tab": "tab"},
    }
    assert len(screen.view["image"]) > 10_000
    assert "patch_panel_data" not in {name for name, _ in screen.requests}


def test_what_the_browser_has_is_not_sent_again(screen):
    first = screen.view
    screen.act("refine", question=first["question"], x=3, y=3, positive=True, has=[first["picture"]])
    assert (screen.view["image"], screen.view["labels"], screen.view["picture"]) == ("", "", first["picture"])
    assert screen.view["region"] != first["region"]
    screen.act("hello", has=[])  # it was reloaded
    assert screen.view["image"] == first["image"]


def test_a_label_that_was_corrected_is_another_picture(screen):
    first = screen.view
    wrong = screen.view["keys"]["1"][1]
    screen.answer(wrong).act("back")
    assert screen.view["question"] == first["question"]
    assert wrong in screen.text()
    screen.act("forward")
    assert screen.view["question"] != first["question"]


def test_answers_reach_the_dataset(screen):
    first = screen.view["question"]
    truth = stored(screen.dataset)[first]["truth"]
    second = screen.answer(truth).view["question"]
    third = screen.answer().view["question"]
    screen.act("skip", question=third)
    found = stored(screen.dataset)
    assert [found[key]["status"] for key in (first, second, third)] == ["corrected", "confirmed", "skipped"]
    assert (found[first]["answer"], found[first]["seconds"]) == (truth, 2.0)
    for expected in (third, second, first):
        assert screen.act("undo").view["question"] == expected
    assert {query["status"] for query in stored(screen.dataset).values()} == {"pending"}


def test_choosing_the_given_class_confirms(screen):
    question = screen.view["question"]
    screen.answer(screen.view["given"])
    assert stored(screen.dataset)[question]["status"] == "confirmed"


def test_what_was_not_seen_is_not_answered(screen):
    first = screen.view["question"]
    second = screen.answer().view["question"]
    screen.act("confirm", question=first)  # a second press of the key, or of the button
    assert screen.notices() == ["That answer was not taken: another question had come up in the meantime. "
                                "Please look at this one."]  # fmt: skip
    assert screen.view["question"] == second
    assert stored(screen.dataset)[second]["status"] == "pending"


def test_two_tabs_have_two_questions(make_planned):
    dataset = make_planned(1)
    one = Screen(dataset, tab="one")
    other = Screen(dataset, tab="other")
    assert one.view["question"] != other.view["question"]
    other.state = one.state  # the App opens a tab with the state of another
    other.tab = "other"
    question = other.act("overlay").view["question"]
    assert question != one.view["question"]
    assert other.state["options"]["tab"] == "other"


def test_the_list_of_other_classes_answers_the_question_that_it_was_shown_with(screen):
    question = screen.view["question"]
    screen.send("choose_other", value=f"{question}/person")
    assert stored(screen.dataset)[question]["answer"] == "person"
    now = screen.view["question"]
    screen.send("choose_other", value=f"{question}/person")
    assert stored(screen.dataset)[now]["status"] == "pending"


def test_clicks_refine_and_the_last_is_taken_back(screen):
    question, before = screen.view["question"], screen.view["region"]
    screen.act("refine", question=question, x=3, y=5, positive=True)
    screen.act("refine", question=question, x=7, y=5, positive=False)
    assert screen.view["points"] == [[3, 5, True], [7, 5, False]]
    region, (left, top) = pixels(screen.view["region"]) > 0, screen.view["region_at"]
    assert region[5 - top, 3 - left]
    assert "region changed by you" in screen.text()
    screen.act("unrefine", question=question)
    screen.act("unrefine", question=question)
    assert (screen.view["points"], screen.view["region"]) == ([], before)


def test_the_label_is_shown_in_three_ways(screen):
    assert screen.view["overlay"] == "outline"
    assert [screen.act("overlay").view["overlay"] for _ in range(3)] == ["tint", "off", "outline"]


def test_the_plain_viewer_is_the_same_sitting(screen):
    question = screen.view["question"]
    screen.send("switch_viewer")
    plot = screen.part("plain_picture")["view"]
    assert plot["question"] == question == plot["layout"]["uirevision"]
    screen.send("click", idx=[5, 3], shift_pressed=False, view=plot)
    screen.send("click", idx=[5, 7], shift_pressed=True, view=plot)
    clicks = screen.part("plain_picture")["view"]["data"][2]
    assert (clicks["x"], clicks["y"]) == ([3, 7], [5, 5])
    screen.send("click", idx=0, x=3, y=5, view=plot)  # on a mark: no pixel
    assert len(screen.part("plain_picture")["view"]["data"][2]["x"]) == 2
    screen.send("act", action="confirm", question=question)
    assert stored(screen.dataset)[question]["status"] == "confirmed"
    screen.send("click", idx=[5, 3], view=plot)
    assert screen.notices()
    screen.send("switch_viewer")
    assert screen.view["question"] not in ("", question)


def test_without_the_bundle_the_plain_viewer_is_shown(make_planned, monkeypatch, tmp_path):
    import sys

    dataset = make_planned(1)
    foo.get_operator(URI)
    (viewer,) = [module for name, module in sys.modules.items() if name.endswith("segmentation.panels.viewer")]
    monkeypatch.setattr(viewer, "BUNDLE", tmp_path / "none.js")
    screen = Screen(dataset, plain=True)
    assert screen.part("plain_picture")["view"]["name"] == "PlotlyView"
    assert "Viewer with keys" not in screen.text()
    tab = screen.state["options"]["tab"]
    assert screen.send("on_load").state["options"]["tab"] == tab


def test_in_the_modal_only_its_sample_is_asked_about(make_planned):
    dataset = make_planned(2)
    for sample in dataset:
        screen = Screen(dataset, panel_id="label_correction", sample=sample.id)
        mine = {str(detection.id) for detection in sample.ground_truth_queries.detections}
        for _ in range(3):
            assert screen.view["question"] in mine
            screen.answer()


def test_another_field_has_other_questions(make_planned):
    screen = Screen(make_planned(1, fields=("ground_truth", "second")))
    first = screen.view["question"]
    screen.send("change_field", value="second")
    assert screen.view["question"] != first
    screen.send("change_field", value="ground_truth")
    assert screen.view["question"] == first


def test_when_nothing_is_left_it_says_so_and_undo_works(make_planned):
    screen = Screen(make_planned(1, most=1))
    question = screen.view["question"]
    screen.answer()
    assert "all questions are answered" in screen.text()
    assert screen.part("picture") is None
    assert screen.act("undo").view["question"] == question
    screen.answer().send("plan")
    (prompted,) = [params for name, params in screen.requests if name == "prompt_user_for_operation"]
    assert prompted["operator_uri"].endswith("plan_correction_queries")
    # 'What changed' has left only the changed images in the grid: more is asked about all, as exports are of all
    assert prompted["params"] == {"label_field": "ground_truth", "view_target": "DATASET"}


def test_without_a_plan_it_says_what_to_do(make_dataset):
    screen = Screen(make_dataset(1), plain=True)
    assert "No questions yet" in screen.text()
    assert "Plan correction queries" in screen.text()


def test_a_plan_that_is_gone_is_said(make_planned):
    from fiftyone_plugin.dataset.runs import run_records

    dataset = make_planned(1)
    screen = Screen(dataset)
    dataset.delete_run("ground_truth_correction")
    assert run_records.find_run(dataset, "ground_truth_correction") is None
    screen.act("hello")
    assert "Label quality: plan correction queries" in screen.text()
    screen.send("on_load")
    assert "No questions yet" in screen.text()


def test_progress_is_counted(screen):
    query = stored(screen.dataset)[screen.view["question"]]
    screen.answer(query["truth"])
    repaired = query["area"] if query["given"] != query["truth"] else 0
    assert f"**1** answered, **{len(stored(screen.dataset)) - 1}** to go" in screen.text()
    assert f"**{repaired:,} pixels** repaired" in screen.text()
    assert "30 a minute" in screen.text()


def test_how_reliable_people_are_is_said(screen):
    screen.answer()
    assert "People" in screen.text()
    screen.send("switch_people")
    assert "**You**: 1 answer · 2.0 s each" in screen.text()
    sure, lost = (Reliability(50, 50, slips, Interval(1 - slips / 50, 0.85, 0.98), 2, slips > 3) for slips in (3, 20))
    people = [
        PersonProgress("", 120, 70, 50, 0, 3.14, sure, None),
        PersonProgress("bo", 60, 60, 0, 0, None, None, lost),
    ]
    panel = sys.modules[type(foo.get_operator(URI)).__module__]
    you, bo = panel.texts.people_text(people).split("\n\n")
    assert you == "**You**: 120 answers · 3.1 s each · 47 of 50 known questions right (85 to 98 %)"
    assert bo.startswith("**bo**: 60 answers · about 30 of 50 answers right (85 to 98 %) by all that was known")
    assert bo.endswith("more slips than a careful person makes**")


def test_an_image_that_was_deleted_is_passed_over(screen):
    query = stored(screen.dataset)[screen.view["question"]]
    (sample,) = [s for s in screen.dataset if any(str(q["_id"]) == str(query["_id"]) for q in _queries(s))]
    left = {str(q["_id"]) for s in screen.dataset if s.id != sample.id for q in _queries(s)}
    screen.dataset.delete_samples([sample.id])
    screen.answer()
    assert screen.view["question"] in left
    assert screen.part("message") is not None
    screen.answer().act("undo")
    assert screen.view["question"] in left


def test_a_label_that_was_edited_is_not_answered_about(screen):
    question = screen.view["question"]
    (sample,) = [s for s in screen.dataset if any(str(q["_id"]) == question for q in _queries(s))]
    given = np.asarray(Image.open(sample.ground_truth.mask_path)).copy()
    given[:3] = 2
    Image.fromarray(given).save(sample.ground_truth.mask_path)
    screen.answer()
    assert "edited" in screen.part("message")["view"]["label"]
    assert stored(screen.dataset)[question]["status"] != "confirmed"


def test_a_class_that_was_added_can_be_chosen(screen):
    screen.dataset.mask_targets["ground_truth"][77] = "tram"
    screen.dataset.save()
    screen.act("hello")
    assert "tram" in screen.view["names"]
    question = screen.view["question"]
    screen.answer("tram")
    assert stored(screen.dataset)[question]["answer"] == "tram"


def test_an_unknown_class_is_said(screen):
    question = screen.view["question"]
    screen.answer("unicorn")
    assert "unicorn" in screen.notices()[0]
    assert screen.view["question"] == question


def test_clicks_at_the_same_time_answer_once(screen):
    import threading

    question, answered = screen.view["question"], []

    def confirm():
        panel = foo.get_operator(URI)
        params = {"panel_id": "p", "panel_state": json.loads(json.dumps(screen.state)), "__method__": "act"}
        about = {"action": "confirm", "question": question, "tab": "tab", "has": []}
        request = {"dataset_name": screen.dataset.name, "params": {**params, **about}}
        ctx = ExecutionContext(request, executor=Executor(), operator_uri=panel.uri)
        panel.execute(ctx)
        answered.append(not any("notify" in r.operator_uri for r in ctx.executor._requests))

    threads = [threading.Thread(target=confirm) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answered) == [False, False, False, True]
    assert [q["status"] for q in stored(screen.dataset).values()].count("confirmed") == 1


def test_who_was_away_has_not_thought_for_an_hour(screen):
    question = screen.view["question"]
    screen.act("confirm", question=question, seconds=3600.0)
    assert stored(screen.dataset)[question]["seconds"] < 300


def test_another_sample_in_the_modal_has_its_own_questions(make_planned):
    dataset = make_planned(2)
    first, second = dataset.values("id")
    screen = Screen(dataset, panel_id="label_correction", sample=first)
    screen.sample = second
    screen.send("on_change_current_sample")
    assert screen.view["question"] in {str(q["_id"]) for q in _queries(dataset[second])}


@pytest.mark.parametrize(
    "made_up",
    [
        {"action": "reformat"}, {"action": None}, {"action": {"$gt": ""}}, {"action": "hello", "tab": {"a": 1}},
        {"action": "refine", "x": float("nan"), "y": 1.0, "positive": True}, {"action": "refine", "y": 1.0},
        {"action": "refine", "x": 10**9, "y": "1", "positive": True}, {"action": "choose", "choice": {"a": 1}},
        {"action": "confirm", "question": {"$ne": None}}, {"action": "choose", "choice": "x" * 100_000},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_page_makes_up_is_refused_in_words(screen, made_up):
    before = stored(screen.dataset)
    screen.send("act", **{"question": screen.view["question"], "tab": screen.tab, "has": [], **made_up})
    assert screen.notices()
    assert stored(screen.dataset) == before
