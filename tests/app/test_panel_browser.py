"""A person opens the label quality panel, sees every chart, clicks each, and gets those images or regions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError, expect

pytestmark = pytest.mark.browser

PLACE = """
([name, x, y]) => {
    const plot = [...document.querySelectorAll('.js-plotly-plot')].find(p => p.data.some(t => t.name === name));
    const trace = plot.data.find(t => t.name === name), layout = plot._fullLayout;
    const across = layout[(trace.xaxis || 'x').replace('x', 'xaxis')], up = layout.yaxis;
    plot.scrollIntoView({block: 'center'});
    const box = plot.getBoundingClientRect();
    return [box.left + across._offset + across.d2p(x), box.top + up._offset + up.d2p(y)];
}
"""
CHARTS = {"worst images", "images", "pending", "accepted", "rejected", "mean probability", "share in regions", "pairs",
          "precision"}  # fmt: skip


def screenshot(page, name):
    """Keep a picture where LABEL_QUALITY_SCREENSHOTS says; a person looks at them."""
    folder = os.environ.get("LABEL_QUALITY_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def open_panel(page, app, dataset):
    page.goto(f"{app}/datasets/{dataset.name}")
    page.wait_for_selector("[data-cy=spotlight-section-forward]")
    page.set_default_timeout(30_000)
    for _ in range(3):  # just after the server has started, the App may still arrange its panels
        page.locator("[data-cy=new-panel-btn]").first.click()
        page.locator("[data-cy=new-panel-option-label_quality]").click(modifiers=["Alt", "Shift"])
        try:
            page.get_by_text("Refresh").or_(page.get_by_text("No label quality run yet")).first.wait_for(timeout=20_000)
            return
        except TimeoutError:
            continue
    pytest.fail("the panel did not open")


def charts(page):
    """Names of the traces that are on the page, once they are drawn."""
    page.wait_for_selector(".js-plotly-plot .nsewdrag", state="attached")
    page.wait_for_timeout(2_000)  # the App lays plots out again half a second after it has opened them
    return set(page.evaluate("[...document.querySelectorAll('.js-plotly-plot')].flatMap(p => p.data.map(t => t.name))"))


def click(page, name, x, y, method):
    """Click a point of a chart as a person does, again if nothing happens, and wait for the answer."""
    page.evaluate(PLACE, [name, x, y])  # scrolls
    for pause in (300, 1_500, 4_000):  # a busy machine lays the page out late, and Plotly clicks what it hovers
        page.wait_for_timeout(pause)
        left, top = page.evaluate(PLACE, [name, x, y])
        page.mouse.move(left - 6, top - 4)
        page.mouse.move(left, top, steps=4)
        page.wait_for_timeout(200 + pause // 4)
        try:
            wanted = lambda answer: f'"{method}"' in (answer.request.post_data or "")  # noqa: E731
            with page.expect_response(wanted, timeout=15_000) as caught:
                page.mouse.down()
                page.mouse.up()
        except TimeoutError:
            continue
        assert caught.value.ok
        return
    pytest.fail(f"clicking {name!r} at ({x}, {y}) did nothing")


def expect_shown(page, text):
    """The grid says that it shows this much; then back to the panel."""
    page.locator("[data-cy=panel-tab-samples]").click()
    expect(page.locator("[data-cy=entry-counts]")).to_contain_text(text, timeout=30_000)
    page.locator("[data-cy=panel-tab-label_quality]").click()
    charts(page)


def choose(page, number, label):
    page.locator("[data-cy=panel-content-label_quality]").get_by_role("combobox").nth(number).click()
    page.get_by_role("option", name=label).click()


def test_every_chart_is_shown_and_leads_to_what_it_counts(app, page, make_scored):
    dataset = make_scored(12, reviewed=4, keys=["label_quality"])
    open_panel(page, app, dataset)
    assert charts(page) >= CHARTS
    expect(page.get_by_text("9 regions", exact=False).first).to_be_visible()
    screenshot(page, "panel-1-dark")

    click(page, "images", 0.35, 0.5, "click_score")
    expect_shown(page, "2 samples")
    click(page, "pending", "missing", 0.5, "click_kind")
    expect_shown(page, "2 patches")
    click(page, "pairs", "car", "road", "click_pair")
    expect_shown(page, "1 patch")
    click(page, "mean probability", 0.1, "car", "click_class")
    expect_shown(page, "2 patches")
    screenshot(page, "panel-2-after-clicks")
    click(page, "worst images", 2, 0.4, "click_image")  # the grid still shows patches, in which no image is
    page.locator("[data-cy=modal] canvas").first.wait_for()
    expect(page.get_by_text("not found")).to_have_count(0)
    page.wait_for_timeout(1_500)
    screenshot(page, "panel-3-sample")


def test_light_theme_and_pixels(app, page, make_scored):
    dataset = make_scored(12, reviewed=9)
    page.add_init_script("localStorage.setItem('mui-mode', 'light')")
    open_panel(page, app, dataset)
    assert charts(page) >= CHARTS - {"pairs"}
    page.get_by_text("Every region has been reviewed").wait_for()
    screenshot(page, "panel-4-light")


def test_two_runs_are_compared(app, page, make_scored):
    dataset = make_scored(12, reviewed=4, keys=["label_quality", "corrected_quality"])
    open_panel(page, app, dataset)
    choose(page, 0, "label_quality")
    choose(page, 1, "corrected_quality")
    page.get_by_text("images got better").wait_for()
    assert {"label_quality", "corrected_quality"} <= charts(page)
    page.get_by_text("images got better").scroll_into_view_if_needed()
    screenshot(page, "panel-5-comparison")
    page.get_by_text("8 images got better").click()
    expect_shown(page, "8 samples")


@pytest.mark.parametrize(
    ("options", "text", "name"),
    [({"agree": True}, "No disagreement", "agree"), ({"regions": False}, "no issue regions", "no-regions")],
)
def test_runs_without_regions_say_so(app, page, make_scored, options, text, name):
    open_panel(page, app, make_scored(6, **options))
    page.get_by_text(text).first.wait_for()
    assert {"worst images", "images"} <= charts(page)
    screenshot(page, f"panel-6-{name}")


def test_without_a_run_the_panel_leads_to_scoring(app, page, make_dataset):
    open_panel(page, app, make_dataset(3))
    page.get_by_role("button", name="Score label quality").click()
    page.get_by_text("Where probabilities come from").wait_for()
    screenshot(page, "panel-7-no-run")
