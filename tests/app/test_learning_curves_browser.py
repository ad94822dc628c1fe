"""A person opens the learning curves, sees each class with its trigger, and gets from there to the proposals."""

from __future__ import annotations

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


def test_curves_table_and_proposals(person, page, make_dataset, tmp_path):
    from fiftyone_plugin import train_noise_robust
    from fiftyone_plugin.progress import silent

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    dataset = make_dataset(4, wrong=(1,))
    report = train_noise_robust(dataset, output_dir=str(tmp_path / "run"), progress=silent, **TINY)
    torch.set_num_threads(threads)
    for theme in ("dark", "light"):
        person.theme(theme)
        person.open_panel(dataset, "learning_curves", ".js-plotly-plot .nsewdrag >> visible=true")
        page.wait_for_timeout(2_000)  # the App lays plots out again half a second after it has opened them
        person.screenshot(f"learning-curves-{theme}")
    drawn = {tuple(trace) for trace in page.evaluate(DRAWN)}
    assert {(name, "lines+markers") for name in ("road", "car", "tree")} <= drawn
    assert {(f"{name}, trigger", "markers") for name in report.fired} <= drawn
    expect(page.locator("table")).to_contain_text("corrected after epoch")
    page.get_by_text("Show proposals").first.click()
    page.wait_for_timeout(1_000)
    page.locator("[data-cy=panel-tab-samples]").click()
    expect(page.locator("[data-cy=entry-counts]")).to_contain_text(f"{report.num_regions} patch", timeout=30_000)
