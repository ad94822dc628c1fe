"""One call, with a model or without one, ends with scores, regions and the worst images."""

from __future__ import annotations

from dataclasses import replace

import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

from fiftyone_plugin import LabelQualityError, find_label_errors

NAME = "@label-quality/segmentation/find_label_errors"
TINY = {"encoder": "test_efficientnet", "weights": None, "width": 16, "steps": 30, "crop_size": 32, "lr": 0.02}


def test_without_a_model(make_dataset, tmp_path):
    dataset = make_dataset(6)
    report = find_label_errors(dataset, output_dir=str(tmp_path / "run"), training={"folds": 2, **TINY})
    assert report.scoring.num_scored == 6
    assert len(dataset.load_saved_view("label_quality worst")) == 6
    assert {"label_quality", "label_quality_model", "label_check"} <= set(dataset.list_runs())
    assert "No model was given" in report.markdown()
    assert "all over the labels is learnt by such models, too" in report.markdown()
    assert "all over the labels" not in replace(report, training=None).markdown(), "a model from elsewhere does not"
    assert report.markdown().startswith("**Next:**")
    with pytest.raises(LabelQualityError, match="label_quality"):
        find_label_errors(dataset, output_dir=str(tmp_path / "run"), training={"folds": 2, **TINY})


def test_stopped_while_scoring_it_goes_on_with_the_models_that_it_has(make_dataset, tmp_path):
    dataset, wanted = make_dataset(6), {"output_dir": str(tmp_path / "run"), "training": {"folds": 2, **TINY}}
    phases: list[str] = []
    heads: list[float] = []

    def stop(done: float, total: float, label: str) -> None:
        phases.append(label.partition(",")[0])
        if label.startswith("training model"):
            heads.append(done / total)
        if label == "scoring labels" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_label_errors(dataset, check=False, progress=stop, **wanted)
    assert heads == sorted(heads), "the bar never goes back from fold to fold"
    assert max(heads) > 0.5
    phases.clear()
    scored: list[float] = []

    def note(done: float, total: float, label: str) -> None:
        phases.append(label.partition(",")[0])
        if label == "scoring labels":
            scored.append(total)

    report = find_label_errors(dataset, check=False, progress=note, **wanted)
    assert not any(phase.startswith("training model") for phase in phases)
    assert "are used again" in report.markdown()
    assert scored[0] < 6, "images that were finished are not done twice"
    assert report.scoring.num_scored == 6


def test_the_operator_with_a_given_model(make_dataset, tmp_path):
    dataset = make_dataset(4)
    op = foo.get_operator(NAME)
    request = {"dataset_name": dataset.name, "params": {}}

    def asked() -> list[str]:
        form = op.resolve_input(ExecutionContext(request, executor=Executor(), operator_uri=op.uri)).type.properties
        return [name for name in form if name != "scheduling" and not name.startswith("class_account")]

    assert asked() == ["label_field", "model"]
    training = {"folds": 2, **TINY, "key": "mine"}
    quick = {"check": False, "write_regions": False}
    find_label_errors(dataset, output_dir=str(tmp_path / "first"), training=training, **quick)
    run = op(dataset, "ground_truth", model="mine", overwrite=True, output_dir=str(tmp_path / "second"))
    assert run.key == "label_quality"
    assert "label_quality_model" not in dataset.list_runs()
    assert asked() == ["label_field", "model", "key", "overwrite"]
