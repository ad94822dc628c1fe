"""What the documentation says works: code runs, calls fit their functions, pages are in the site, the site is built."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import fiftyone_plugin

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
RUN = ("README.md", "docs/index.md", "docs/guides/find.md", "docs/guides/hand_on.md", "docs/fiftyone.md")


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def test_every_call_in_the_docs_fits_its_function():
    """Also where running it would need models or hours: names and keywords are those that there are."""
    seen, wrong = 0, []
    for page in PAGES:
        for call in (node for text in blocks(page) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
            name = getattr(call.func, "id", "")
            if name not in fiftyone_plugin.__all__:
                continue
            seen += 1
            parameters = inspect.signature(getattr(fiftyone_plugin, name)).parameters
            free = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
            unknown = [one.arg for one in call.keywords if one.arg and one.arg not in parameters and not free]
            wrong += [f"{page.name}: {name}({unknown})"] if unknown else []
    assert wrong == []
    assert seen > 20


def test_labels_of_operators_in_the_docs_are_those_of_the_app():
    import fiftyone.operators as foo

    known = {one.config.label for one in foo.list_operators() if one.uri.startswith("@label-quality/")}
    for page in PAGES:
        said = re.findall(r"\*\*(Label quality: [^*]+)\*\*", page.read_text(encoding="utf-8"))
        assert {" ".join(one.split()) for one in said} <= known, page


@pytest.fixture
def namespace(make_dataset, tmp_path, monkeypatch):
    """The dataset that pages load by name. Nothing is trained: probabilities stand in for quick models."""
    dataset = make_dataset(10, wrong=(2,))
    dataset.name = "my-dataset"
    truth = make_dataset(10, wrong=())
    dataset.set_values("predictions", [sample.ground_truth for sample in truth])
    dataset.mask_targets = {**dataset.mask_targets, "predictions": dataset.mask_targets["ground_truth"]}
    dataset.save()
    from fiftyone_plugin.workflows.finding.label_errors import FindingReport

    def find(samples, label_field="ground_truth", key="label_quality"):
        scored = fiftyone_plugin.score_label_quality(samples, label_field, probabilities="probabilities", key=key)
        return FindingReport(scored, None, None)

    monkeypatch.setattr(fiftyone_plugin, "find_label_errors", find, raising=False)
    monkeypatch.chdir(tmp_path)
    return {"dataset": dataset}


@pytest.mark.parametrize("page", RUN)
def test_code_of_a_page_runs_from_top_to_bottom(page, namespace):
    for number, text in enumerate(blocks(ROOT / page)):
        exec(compile(text, f"{page}, block {number}", "exec"), namespace)
        if "def show_worst" in text:
            session = SimpleNamespace(view=None)
            namespace["show_worst"](session)
            assert 0 < len(session.view) <= 50
    if page == "docs/fiftyone.md":
        assert namespace["left"].count("left_quality") == len(namespace["dataset"])
        assert namespace["share"][2] == max(namespace["share"]) > 0.1
        before, after = (namespace["dataset"].load_evaluation_results(key).metrics() for key in ("before", "after"))
        assert before["accuracy"] < after["accuracy"] > 0.99


def test_code_about_reviews_and_arrays_runs(namespace):
    fiftyone_plugin.find_label_errors(namespace["dataset"])
    for text in blocks(DOCS / "guides" / "review.md"):
        if "evaluate_segmentations" not in text:
            exec(compile(text, "review.md", "exec"), namespace)
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 3, (8, 9)) for _ in range(12)]
    probs = [rng.dirichlet(np.ones(3), (8, 9)).transpose(2, 0, 1) for _ in range(12)]
    for text in blocks(DOCS / "arrays.md"):
        exec(compile(text, "arrays.md", "exec"), {"labels": labels, "pred_probs": probs})


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads((DOCS / "tour.ipynb").read_text())["cells"]
    assert all(cell.get("outputs", []) == [] for cell in cells), "outputs are made when it is run"
    namespace: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "tour.ipynb", "exec"), namespace)
    assert namespace["report"]._repr_markdown_().startswith("**12 images scored")
    assert len(list((tmp_path / "corrected").glob("*.png"))) == 12
    namespace["dataset"].delete()


def test_the_site_is_built_without_a_warning(tmp_path):
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    page = (tmp_path / "site" / "reference" / "index.html").read_text()
    assert "group_field" in page, "the reference has the functions with their arguments"


def test_the_picture_is_small_and_the_citation_is_yaml():
    assert (DOCS / "images" / "label_errors.png").stat().st_size < 300_000
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["license"] == "Apache-2.0"
