"""Operators are found by the words that people type, say what they risk, and ask before anything is gone."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import sys
from functools import cache
from pathlib import Path
from threading import Event

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext, Executor

import fiftyone_plugin
from fiftyone_plugin import dataset_status, open_sitting
from fiftyone_plugin.plugin_folder import PLUGIN_NAME
from fiftyone_plugin.workflows.correcting.outside_answers import begin_hand_edits

BY_STATE = {
    "rescore_label_issues", "apply_label_proposals", "finish_hand_edits", "start_correction_round", "undo_clean_labels",
    "undo_relabelled",
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


def context(name, dataset, params=None, **more):
    uri = f"{PLUGIN_NAME}/{name}"
    request = {"dataset_name": dataset.name, "params": params or {}, **more}
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


def test_a_page_shows_something_else_before_what_it_shows_is_deleted(make_scored):
    dataset = make_scored(2)
    name, key = "delete_label_quality_run", "label_quality"
    page = {"spaces": {}, "view": dataset.exists("label_quality")._serialize()}
    first = context(name, dataset, {"key": key, "confirm": True}, **page)
    foo.get_operator(f"{PLUGIN_NAME}/{name}").execute(first)
    cleared, again = first.executor._requests
    assert cleared.operator_uri.endswith("clear_view")
    assert again.operator_uri == f"{PLUGIN_NAME}/{name}"
    assert dataset.has_run(key)  # until the page has asked again
    foo.get_operator(again.operator_uri).execute(context(name, dataset, again.params, **page))
    assert not dataset.has_run(key)


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


def test_every_form_says_what_must_be_filled_in_and_every_result_has_a_form(make_dataset, make_scored):
    datasets, unclear = [make_dataset(1), make_scored(3)], []
    for one in entries():
        if one.name in ("label_quality_metric", "label_quality_status"):
            continue
        for dataset in datasets:
            for name, asked in form(one.name, dataset).items():
                view = asked.view
                if isinstance(view, types.Notice | types.Warning | types.Error | types.HiddenView | types.MarkdownView):
                    continue
                said = (view.description or "") if view else ""
                known = asked.required or asked.default is not None or "mpty" in said
                if not (view.label and (known or isinstance(asked.type, types.Boolean))):
                    unclear.append(f"{one.name}: {name}")
        outputs = one.resolve_output(context(one.name, datasets[1]))
        assert outputs.type.properties, f"{one.name} does not say what it returns"
    assert unclear == []
    op, on_page = foo.get_operator(f"{PLUGIN_NAME}/accept_label_issues"), context(one.name, datasets[1], spaces={})
    assert not op.resolve_output(on_page).type.properties, "the page shows what was done, so no dialog does"


def test_what_is_missing_or_wrong_is_said_and_changes_nothing(make_scored):
    dataset = make_scored(2)
    before = set(dataset.get_field_schema())
    for one in entries():
        if one.name in ("label_quality_metric", "label_quality_status", "check_labels", "rescore_label_issues"):
            continue
        asked = form(one.name, dataset)
        for name, prop in asked.items():
            if isinstance(prop.type, types.Enum) and name != "view_target":
                with pytest.raises(foo.executor.ExecutionError, match="Validation error"):
                    foo.execute_operator(one.uri, {"dataset": dataset, "params": {name: "no such choice"}})
                break
    dataset.reload()
    assert set(dataset.get_field_schema()) == before


@pytest.fixture
def stopping(monkeypatch):
    """The module of running jobs that the plugin has loaded, telling and looking into the database at every step."""
    operator = type(foo.get_operator(f"{PLUGIN_NAME}/stop_label_quality_job"))
    jobs = sys.modules[operator.__module__].running_jobs
    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0.0)
    progress = sys.modules[operator.__module__.rpartition(".")[0] + ".progress"]
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_REPORTS", 0.0)
    return jobs


def test_a_job_is_stopped_by_its_button_and_goes_on_afterwards(make_dataset, tmp_path, stopping, monkeypatch):
    dataset, pressed, beat = make_dataset(6), Event(), stopping.JobEntry.beat

    def waiting(entry, phase):
        if phase.startswith("scoring labels: 1"):
            assert pressed.wait(120), "the button was not pressed"
        beat(entry, phase)

    monkeypatch.setattr(stopping.JobEntry, "beat", waiting)  # the job is quicker than any finger
    params = {"label_field": "ground_truth", "source": "probabilities", "probabilities": "probabilities",
              "output_dir": str(tmp_path / "run")}  # fmt: skip
    op = foo.get_operator(f"{PLUGIN_NAME}/score_label_quality")
    job = op.execute(context("score_label_quality", dataset, params))
    for message in job:
        shown = message.body.params["outputs"]["type"]["properties"]
        if shown["progress"]["view"]["label"].startswith("scoring labels: 1"):
            break
    (running,) = stopping.running_jobs(dataset)
    assert running.title == "Score labels"
    button = shown["stop"]["view"]
    foo.execute_operator(button["operator"], {"dataset": dataset, "params": button["params"]})
    pressed.set()
    with pytest.raises(ValueError, match="was stopped"):
        for message in job:  # noqa: B007 the last one is looked at
            pass
    assert "start it again" in str(message.body.params["outputs"])
    assert stopping.running_jobs(dataset) == []
    assert not dataset.has_field("label_quality")
    records = list((tmp_path / "run").rglob("records/*"))
    assert records
    again = [str(one.body.params) for one in op.execute(context("score_label_quality", dataset, params))]
    assert not any("scoring labels: 1 of 6" in text for text in again), "finished images are not done twice"
    assert "6 images scored" in again[-1]


def test_a_progress_dialog_that_was_closed_comes_back_with_its_stop(monkeypatch):
    progress = sys.modules[words_of_the_app().__name__.replace(".words", ".progress")]
    monkeypatch.setattr(progress, "_SECONDS_UNTIL_AGAIN", 0.01)
    events = progress.SimpleQueue()
    events.put((0.5, "half"))
    reports = progress._reports(events)
    assert [next(reports), next(reports)] == [(0.5, "half")] * 2
    events.put(None)
    assert set(reports) <= {(0.5, "half")}


def test_ctrl_c_and_a_run_marked_as_failed_stop_a_job(make_dataset, stopping):
    dataset, ended = make_dataset(2), []
    operator = type(foo.get_operator(f"{PLUGIN_NAME}/stop_label_quality_job"))
    progress = sys.modules[operator.__module__.rsplit(".", 1)[0] + ".progress"]

    def job(report):
        for step in range(10_000):
            report(step, 10_000, "counting")
            ended.append(step)

    def run(ctx):
        with pytest.raises(ValueError, match="'Counting' was stopped at 'counting'"):
            list(progress.run_with_progress(ctx, job, title="Counting"))

    caller = progress._Caller()
    caller.interrupted.set()
    token = progress._caller.set(caller)
    run(context("score_label_quality", dataset))
    progress._caller.reset(token)
    service = DelegatedOperationService()
    asked = {"dataset": dataset, "params": {"label_field": "ground_truth"}}
    queued = foo.execute_operator(f"{PLUGIN_NAME}/check_labels", asked, request_delegation=True).result["id"]
    ctx = context("check_labels", dataset)
    ctx.request_params |= {"delegated": True, "run_doc": queued}
    service.set_failed(queued)
    run(ctx)
    service.delete_operation(queued)
    assert len(ended) < 10

    def refused(report):
        raise ValueError("give `max_speck_area`")

    with pytest.raises(ValueError, match="give 'Largest speck'"):
        list(
            progress.run_with_progress(ctx, refused, title="Check", labels=lambda: {"max_speck_area": "Largest speck"})
        )


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


@pytest.mark.parametrize(
    ("raised", "said_there"),
    [
        (
            ValueError("Expected `min_region_area` > 0, but got -1; pass `overwrite=True`, or see `check_labels`"),
            "Expected 'Smallest region' > 0.*tick '[A-Z][^']+'.*'Label quality: check labels'",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "masks/1.png"),
            "masks/1.png is not there.*Start this again",
        ),
    ],
)
def test_what_any_operator_refuses_is_said_in_the_words_of_the_app(make_scored, monkeypatch, raised, said_there):
    dataset, unclear = make_scored(1), {}

    def refuse(*args, **kwargs):
        raise raised

    for one in entries():
        if one.name == "label_quality_metric":  # has no form: `evaluate_segmentations` calls it
            continue
        job, ctx = hasattr(one, "work"), context(one.name, dataset, spaces={})
        monkeypatch.setattr(type(one), "work" if job else "act", refuse)
        said = []
        with pytest.raises((ValueError, OSError)) as error:
            said.extend(str(message.body.params["outputs"]) for message in one.execute(ctx))
        text = said[-1] if job else str(error.value)
        if not re.search(said_there, text):
            unclear[one.name] = text
        if not job:
            with pytest.raises(type(raised), match=re.escape(str(raised))):
                one.execute(context(one.name, dataset))
    assert unclear == {}


def words_of_the_app():
    module = type(foo.get_operator(f"{PLUGIN_NAME}/find_label_errors")).__module__
    return sys.modules[f"{module.rpartition('.')[0]}.words"]


def said_in(path):
    """Texts of a module but docstrings, errors, and texts of options, which are labels' business."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    calls = [one for one in nodes if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)]
    left_out = [one for one in nodes if isinstance(one, (ast.Raise, ast.Expr))]
    left_out += [one for one in calls if one.func.id == "option" or one.func.id.endswith("Error")]
    hidden = {id(inner) for one in left_out for inner in ast.walk(one)}
    whole = [one for one in nodes if isinstance(one, ast.JoinedStr)]
    parts = hidden | {id(part) for one in whole for part in one.values}
    said = ["".join(str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else "0" for part in one.values)
            for one in whole if id(one) not in hidden]  # fmt: skip
    return said + [
        n.value for n in nodes if isinstance(n, ast.Constant) and id(n) not in parts and str is type(n.value)
    ]


def arguments():
    """Names of arguments of jobs."""
    jobs = [getattr(fiftyone_plugin, name) for name in fiftyone_plugin.__all__]
    return {name for job in jobs if inspect.isfunction(job) for name in inspect.signature(job).parameters}


@pytest.mark.parametrize(
    "folder", ["workflows", "dataset", "quality/check_up", "models/frozen_features", "models/segmenters/class_names.py"]
)
def test_warnings_notes_and_reports_speak_the_words_of_the_app(folder):
    words, known = words_of_the_app(), arguments() | {one.name for one in entries()}
    assert {"class_mapping", "min_region_area", "clean_labels"} <= known
    root = Path(fiftyone_plugin.__file__).parent / folder
    found = [text for path in (root.rglob("*.py") if root.is_dir() else [root]) for text in said_in(path)]
    spoken = {text: words.spoken(text) for text in found if "`" in text}
    assert [text for text, said in spoken.items() if known & set(re.findall(r"'([a-z]\w*)(?:'|=)", said))] == []


def test_forms_speak_their_own_words(make_scored):
    scored, names = make_scored(), "|".join(one.name for one in entries())
    for one in entries():
        for more in (False, True):
            asked = one.resolve_input(context(one.name, scored, {"more": more, "key": "no key"}))
            for name, question in asked.type.properties.items() if asked else ():
                said = [question.error_message, question.view.description if question.view else ""]
                wrong = re.search(rf"`|\b({names})\b|\b\w+=(True|False|None|')", " ".join(filter(None, said)))
                assert isinstance(question.view, types.MarkdownView) or not wrong, (one.name, name, wrong)


def test_labels_of_elsewhere_are_labels_of_a_form(make_scored):
    assert doctest.testmod(words_of_the_app()) == (0, 3)
    scored, there = make_scored(), {}
    for name in ("score_label_quality", "train_cross_validated", "check_labels", "find_label_errors"):
        for key, asked in form(name, scored, {"more": True, "key": "label_quality"}).items():
            there.setdefault(key, set()).add(asked.view.label)
    for name, label in words_of_the_app().ELSEWHERE.items():
        assert any(shown.startswith(label) for shown in there[name]), name


def test_the_status_says_what_comes_next(make_dataset, make_scored):
    def steps(dataset):
        return [step.operator for step in dataset_status(dataset).steps]

    assert steps(make_dataset(1)) == ["check_labels", "find_label_errors"]
    scored = make_scored(4)
    assert steps(scored)[:2] == ["show_label_issues", "plan_correction_queries"]
    result = foo.execute_operator(f"{PLUGIN_NAME}/label_quality_status", {"dataset": scored}).result
    assert result["runs"][0]["key"] == "label_quality"
    assert "Probably wrong: " in result["text"]
    empty = fo.Dataset()
    assert steps(empty) == ["generate_pseudo_labels"]
    empty.delete()
