"""A person opens the learning curves, sees each class with its trigger, and gets from there to the proposals."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

TINY = {
    "encoder": "tu-mobilenetv3_small_050", "weights": None, "epochs": 6, "batch_size": 2, "crop_size": 32,
    "model_options": {"encoder_depth": 3, "decoder_channels": [16, 16, 8]}, "device": "cpu",
    "consistency": False, "latest_epoch": 4, "threshold": 0.34, "min_region_area": 1,
}  # fmt: skip
DRAWN = "[...document.querySelectorAll('.js-plotly-plot')].flatMap(p => p.data.map(t => [t.name, t.mode]))"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_curves_table_and_proposals(app, page, make_dataset, tmp_path, theme):
    from fiftyone_plugin import train_noise_robust
    from fiftyone_plugin.progress import silent

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    dataset = make_dataset(4, wrong=(1,))
    report = train_noise_robust(dataset, output_dir=str(tmp_path / "run"), progress=silent, **TINY)
    torch.set_num_threads(threads)
    page.add_init_script(f"localStorage.setItem('mui-mode', '{theme}')")
    page.goto(f"{app}/datasets/{dataset.name}")
    page.wait_for_selector("[data-cy=spotlight-section-forward]")
    page.wait_for_timeout(2_000)  # just after the server has started, the App may still arrange its panels
    page.locator("[data-cy=new-panel-btn]").first.click()
    page.locator("[data-cy=new-panel-option-learning_curves]").click(modifiers=["Alt", "Shift"])
    page.get_by_text("Show proposals").first.wait_for()
    page.wait_for_selector(".js-plotly-plot .nsewdrag", state="attached")
    page.wait_for_timeout(2_000)  # the App lays plots out again half a second after it has opened them
    drawn = {tuple(trace) for trace in page.evaluate(DRAWN)}
    assert {(name, "lines+markers") for name in ("road", "car", "tree")} <= drawn
    assert {(f"{name}, trigger", "markers") for name in report.fired} <= drawn
    expect(page.locator("table")).to_contain_text("trigger epoch")
    if folder := os.environ.get("LABEL_QUALITY_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"learning-curves-{theme}.png"))
    page.get_by_text("Show proposals").first.click()
    page.wait_for_timeout(1_000)
    page.locator("[data-cy=panel-tab-samples]").click()
    expect(page.locator("[data-cy=entry-counts]")).to_contain_text(f"{report.num_regions} patch", timeout=30_000)
