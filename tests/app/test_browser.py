"""A person runs the operator in the App and sees the wrong images first."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from playwright.sync_api import expect
from scipy.ndimage import gaussian_filter

from demo.scenes import SCENE_CLASSES, SCENE_COLORS, render_scene
from fiftyone_plugin import apply_proposals
from fiftyone_plugin.dataset.fields import appearance
from fiftyone_plugin.dataset.runs import files
from fiftyone_plugin.quality import known_errors

pytestmark = pytest.mark.browser

WRONG = (3, 7)


@pytest.fixture
def scenes(tmp_path):
    """Twelve rendered scenes; two of them have one object labelled as something else."""
    dataset = fo.Dataset()
    samples = []
    for number in range(12):
        scene = render_scene(number)
        given = scene.mask
        if number in WRONG:
            rng = np.random.default_rng(number)
            given = known_errors.inject_error(scene.mask, "drop", rng, class_ids=list(SCENE_CLASSES)).mask
        truth = np.stack([(scene.mask == value).astype(np.float32) for value in SCENE_CLASSES])
        logits = 8 * gaussian_filter(truth, (0, 1.5, 1.5))
        probs = np.exp(logits) / np.exp(logits).sum(0)
        npy = tmp_path / f"{number}.npy"
        np.save(npy, probs)
        files.write_png(tmp_path / f"{number}.png", scene.image)
        files.write_png(tmp_path / "masks" / f"{number}.png", given)
        label = fo.Segmentation(mask_path=str(tmp_path / "masks" / f"{number}.png"))
        samples.append(fo.Sample(filepath=str(tmp_path / f"{number}.png"), labels=label, probabilities=str(npy)))
    dataset.add_samples(samples, progress=False)
    dataset.mask_targets = {"labels": dict(SCENE_CLASSES)}
    dataset.save()
    appearance.color_classes(dataset, ["labels"], SCENE_CLASSES, SCENE_COLORS)
    yield dataset
    dataset.delete()


def test_score_from_the_app_and_review(person, page, scenes):
    person.open(scenes)
    page.locator("[data-cy=new-panel-btn]").first.click()
    page.locator("[data-cy=new-panel-option-label_quality]").click(modifiers=["Alt"])  # beside the images
    panel = page.locator("[data-cy=panel-content-label_quality]")
    expect(panel).to_contain_text("Score with a model I have")
    person.screenshot("1-before")
    person.open_form("Score labels")
    for others in (2, 1, 0):  # while the App still lays the form out anew, a click is lost
        page.get_by_text("Probabilities on disk").click()
        try:
            expect(page.get_by_text("Field or folder")).to_be_visible(timeout=20_000)
            break
        except AssertionError:
            assert others
    page.locator("input:below(:text('Field or folder'))").first.fill("probabilities")
    page.keyboard.press("Enter")
    person.screenshot("2-form")
    execute = page.get_by_role("button", name="Execute").first
    expect(execute).to_be_enabled()
    execute.click()
    person.finish("12 images scored", "3-report")
    page.wait_for_selector("canvas[canvas-loaded=true]")
    expect(panel).to_contain_text("How much is wrong", timeout=60_000)  # open still, with new colours and fields
    expect(page.locator("[data-cy=checkbox-label_quality_regions] input")).to_be_checked()
    person.screenshot("4-worst-first")
    scenes.reload()
    worst = [Path(path).stem for path in scenes.sort_by("label_quality").limit(2).values("filepath")]
    assert sorted(worst) == [str(number) for number in WRONG]

    scores = scenes.values("label_quality_regions.detections.score", unwind=True)
    number = sum(score >= 0.5 for score in scores)  # the form begins with regions that are rather wrong than right
    person.open_form("Show label issues")
    page.get_by_text("Status").first.wait_for()
    person.screenshot("5-show-form")
    page.get_by_role("button", name="Execute").first.click()
    expect(page.locator("[data-cy=entry-counts]")).to_contain_text(f"{number:,} patch", timeout=60_000)
    page.wait_for_selector("canvas[canvas-loaded=true]")
    person.screenshot("6-regions")
    tile = page.locator("[data-cy=looker]").first
    tile.hover()
    tile.locator("[data-cy^=looker-checkbox-input]").dispatch_event("click")  # a person clicks what is drawn over it
    person.open_form("Accept label issues")
    page.get_by_text("Accept the selected regions: 1").wait_for()
    person.screenshot("7-accept-form")
    page.get_by_role("button", name="Execute").first.click()
    expect(page.locator("[data-cy=entry-counts]")).to_contain_text(f"{number - 1:,} patch", timeout=60_000)
    person.screenshot("8-accepted")
    scenes.reload()
    accepted = [d.id for s in scenes for d in s.label_quality_regions.detections if d.status == "accepted"]
    assert len(accepted) == 1
    shows_what_a_session_in_python_says(person, page, scenes)
    evaluations_before_and_after_are_in_fiftyones_own_panel(person, page, scenes)


def shows_what_a_session_in_python_says(person, page, scenes):
    page.goto("about:blank")
    session = fo.launch_app(scenes, remote=True, port=int(person.address.rpartition(":")[2]), address="127.0.0.1")
    page.goto(session.url)
    session.view = scenes.load_saved_view("label_quality worst").limit(5)
    expect(page.locator("[data-cy=entry-counts]")).to_contain_text("5 samples", timeout=60_000)
    session.view = None


def evaluations_before_and_after_are_in_fiftyones_own_panel(person, page, scenes):
    scenes.set_values("predictions", scenes.values("labels"))
    apply_proposals(scenes, "label_quality")
    for key, truth in (("before", "labels"), ("after", "labels_corrected")):
        results = scenes.evaluate_segmentations("predictions", gt_field=truth, eval_key=key, progress=False)
        assert results.metrics()["accuracy"] < 1 if key == "after" else results.metrics()["accuracy"] == 1
    panel = person.open_panel(scenes, "model_evaluation_panel_builtin", "text=before")
    expect(panel).to_contain_text("after", timeout=60_000)
    person.screenshot("9-evaluations")
    for others in (2, 1, 0):  # while the list is still laid out, a click on it is lost
        panel.get_by_text("after", exact=True).first.click()
        try:
            expect(panel).to_contain_text("Accuracy", timeout=30_000)
            break
        except AssertionError:
            assert others
    expect(panel).not_to_contain_text("rror")
    person.screenshot("10-evaluation")
