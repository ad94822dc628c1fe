"""Whatever a form, a script, a request or a file says: it is refused in words, and the dataset stays readable."""

from __future__ import annotations

import inspect
import io
import os
import pickle
import random
import zipfile
from contextlib import suppress

import fiftyone as fo
import pytest
import torch
from fiftyone.operators.executor import ExecutionContext, Executor
from fiftyone.operators.registry import OperatorRegistry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fiftyone_plugin as lq
from fiftyone_plugin.dataset.fields.values import number_between, object_ids, text_or_none
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.files.program_files import require_only_data
from tests.faults.harness import _plan, _score

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(ANYTHING)
def test_values_are_right_or_refused(value):
    for check in (
        lambda: text_or_none("reviewer", value),
        lambda: object_ids("label_ids", value),
        lambda: number_between("x", value, 0, 10),
    ):
        with suppress(LabelQualityError):
            found = check()
            assert found is None or isinstance(found, str | float | list)


@pytest.mark.timeout(300)
def test_nothing_makes_a_dataset_unreadable(scene):
    _score(scene)
    _plan(scene)
    region = scene.dataset.values("label_quality_regions.detections.id", unwind=True)[0]
    sitting = lq.open_sitting(scene.dataset, "ground_truth", sitting_id="a")

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ANYTHING)
    def try_it(value):
        for call in (
            lambda: lq.review_regions(scene.dataset, "accepted", label_ids=region, reviewer=value),
            lambda: lq.review_regions(scene.dataset, value, label_ids=region),
            lambda: lq.review_regions(scene.dataset, "pending", label_ids=value),
            lambda: lq.open_sitting(scene.dataset, "ground_truth", sitting_id="a", reviewer=value),
            lambda: sitting.skip(seconds=value),
            lambda: sitting.correct(value),
            lambda: sitting.refine(value, 1, True),
        ):
            with suppress(LabelQualityError):
                call()
        fo.Sample._reload_docs(scene.dataset._sample_collection_name, hard=True)
        assert len(list(scene.dataset)) == 4

    try_it()


HOSTILE = (
    None, "", "no such thing", 7, -1, 10**12, float("nan"), True, [], ["a", 3, None], {}, {"a": {"b": 1}}, "x" * 5_000,
    "../../etc/passwd", "\0", [[]], {"$gt": ""},
)  # fmt: skip
NAMED = ("label_field", "key", "kinds", "reviewer", "model", "path")


@pytest.mark.timeout(300)
def test_every_form_stands_any_value(scene):
    """An agent, or a request by hand, may send anything; a form then shows what it would show without it."""
    _score(scene)
    _plan(scene)
    rng, faults = random.Random(7), []
    operators = [one for one in OperatorRegistry().list_operators() if one.uri.startswith("@label-quality/")]
    assert len(operators) > 25
    for operator in operators:
        for name in NAMED:
            value = rng.choice(HOSTILE)
            request = {"dataset_name": scene.dataset.name, "params": {name: value}}
            ctx = ExecutionContext(request, executor=Executor(), operator_uri=operator.uri)
            try:
                operator.resolve_input(ctx)
            except Exception as error:
                faults.append(f"{operator.uri}, {name}={value!r}: {type(error).__name__}: {error}")
    assert faults == []


class _Evil:
    def __reduce__(self):
        return (os.mkdir, (self.path,))

    def __init__(self, path):
        self.path = str(path)


def _with(source, target, part, content):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            if part not in item.filename:
                new.writestr(item.filename, old.read(item.filename))
        new.writestr(f"{old.namelist()[0].partition('/')[0]}/data/{part}", content)
    return target


def test_an_exported_program_runs_nothing_while_it_is_read(tmp_path):
    good, mark = tmp_path / "good.pt2", tmp_path / "mark"
    torch.export.save(torch.export.export(torch.nn.Conv2d(3, 2, 1).eval(), (torch.zeros(1, 3, 8, 8),)), good)
    require_only_data(good)
    buffer = io.BytesIO()
    torch.save({"x": _Evil(mark)}, buffer)
    config = '{"config": {"c": {"path_name": "weight_9", "use_pickle": true}}}'
    pickled = _with(good, tmp_path / "config.pt2", "weights/model_weights_config.json", config)
    hostile = [
        _with(good, tmp_path / "inputs.pt2", "sample_inputs/model.pt", buffer.getvalue()),
        _with(good, tmp_path / "pickle.pt2", "sample_inputs/model.pt", pickle.dumps(_Evil(mark))),
        _with(pickled, tmp_path / "weights.pt2", "weights/weight_9", buffer.getvalue()),
        _with(good, tmp_path / "library.pt2", "aotinductor/model/net.so", b"\x7fELF"),
        _with(good, tmp_path / "none.pt2", "sample_inputs/model.pt", b"not a tensor"),
    ]
    (tmp_path / "text.pt2").write_text("no archive")
    for path in [*hostile, tmp_path / "text.pt2"]:
        with pytest.raises(LabelQualityError, match="was not loaded"):
            lq.models.load_segmenter(str(path))
    assert not mark.exists()


@pytest.mark.parametrize("value", [{"$gt": ""}, 7])
def test_a_query_in_place_of_a_name_is_refused_by_every_job(scene, value):
    """Names of runs and fields go into queries of MongoDB."""
    given = {
        "label_field": "ground_truth", "truth_field": "ground_truth", "key": "label_quality", "sitting_id": "a",
        "decision": "accepted", "first": "a", "second": "b", "name": "a", "reviewer": "me", "checkpoint": "none.pth",
        "path": str(scene.root / "x.html"), "folder": str(scene.root / "x"),
    }  # fmt: skip
    taken = []
    for job in (getattr(lq, name) for name in lq.__all__):
        asked = inspect.signature(job).parameters if inspect.isfunction(job) else {}
        for name in {"key", "label_field"} & set(asked) if "samples" in asked else ():
            needed = [one.name for one in asked.values() if one.default is one.empty and one.name in given]
            try:
                job(scene.dataset, **{**{one: given[one] for one in needed}, name: value})
                taken.append(f"{job.__name__}({name}=...) was done")
            except LabelQualityError:
                pass
            except Exception as error:
                taken.append(f"{job.__name__}({name}=...): {type(error).__name__}: {error}")
    assert taken == []
