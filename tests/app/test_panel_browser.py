"""A person opens the label quality panel, sees every card at any width, clicks marks, and reviews beside the grid."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import TimeoutError as PageTimeout
from playwright.sync_api import expect

from fiftyone_plugin.dataset.runs import run_records

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

PANEL = "label_quality"
CARDS = "[data-cy=label-quality-cards]"
BOXES = """
() => [...document.querySelectorAll('[data-cy^=card-]')].map((card) => {
    const {left, top, right, bottom} = card.getBoundingClientRect();
    return [left, top, right, bottom, card.scrollWidth - card.clientWidth];
})
"""


def apart(page):
    """Cards beside and below each other, nothing wider than its card, none beyond the panel."""
    width = page.evaluate("() => window.innerWidth")
    boxes = page.evaluate(BOXES)
    assert all(right <= width and over <= 1 for _, _, right, _, over in boxes)
    for place, (left, top, right, bottom, _) in enumerate(boxes):
        for other in boxes[place + 1 :]:
            assert other[0] >= right or other[2] <= left or other[1] >= bottom or other[3] <= top


def leads(page, mark, text, key=None):
    """A click or key on a mark makes the grid say this; again if the App has drawn the panel anew meanwhile."""
    for _ in range(4):
        mark.press(key) if key else mark.click()
        page.locator("[data-cy=panel-tab-samples]").click()
        try:
            expect(page.locator("[data-cy=entry-counts]")).to_contain_text(text, timeout=20_000)
        except AssertionError:
            continue
        else:
            return
        finally:
            page.locator(f"[data-cy=panel-tab-{PANEL}]").click()
            page.locator(CARDS).wait_for()
    pytest.fail(f"the grid never showed {text}")


def choose(page, panel, number, name):
    """Choose from a list, which closes if the page is laid out anew meanwhile."""
    for others in (2, 1, 0):
        panel.get_by_role("combobox").nth(number).click()
        try:
            page.get_by_role("option", name=name, exact=True).click(timeout=15_000)
            return
        except PageTimeout:
            page.keyboard.press("Escape")
            if not others:
                raise


def test_every_card_is_in_its_place_and_leads_to_what_it_counts(person, page, make_scored):
    dataset = make_scored(12, reviewed=4, keys=[PANEL, "corrected_quality"])
    panel = person.open_panel(dataset, PANEL, CARDS)
    choose(page, panel, 0, PANEL)
    choose(page, panel, 1, "corrected_quality")
    page.locator("[data-cy=card-compared_scores]").wait_for()
    for width in (700, 1440, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("(width) => document.body.clientWidth === width", arg=width)
        apart(page)
        person.screenshot(f"panel-1-{width}")
        page.locator("[data-cy=card-pairs]").scroll_into_view_if_needed()
        person.screenshot(f"panel-2-{width}")

    leads(page, page.locator("[data-cy=card-scores]").get_by_role("button", name="2 images").first, "2 samples")
    leads(page, page.get_by_role("button", name="8 images got better"), "8 samples")
    leads(page, page.locator("[data-cy=card-pairs]").get_by_title("car → tree"), "2 patches", key="Enter")
    page.locator("[data-cy=card-worst] button").nth(2).click()  # the grid shows patches, in which no image is
    page.locator("[data-cy=modal] canvas").first.wait_for()
    expect(page.get_by_text("not found")).to_have_count(0)
    person.screenshot("panel-3-sample")


def test_regions_are_reviewed_beside_the_grid_by_one_key(person, page, make_scored):
    dataset = make_scored(12, reviewed=4)
    page.set_viewport_size({"width": 1440, "height": 900})
    person.theme("light")
    person.open_panel(dataset, PANEL, CARDS)
    person.screenshot("panel-4-light")
    page.get_by_role("button", name="Split horizontally").first.click()
    page.get_by_role("button", name="Review the worst regions").click()
    expect(page.locator("[data-cy=entry-counts]")).to_contain_text("5 patches", timeout=30_000)
    tile = page.locator("[data-cy=looker]").first
    tile.hover()
    tile.locator("[data-cy^=looker-checkbox-input]").dispatch_event("click")  # a person clicks what is drawn over it
    page.get_by_text("1 region selected").wait_for()
    expect(page.get_by_role("button", name="Accept: it is wrong")).to_be_in_viewport()
    person.screenshot("panel-5-review")
    page.keyboard.press("a")
    expect(page.locator("[data-cy=entry-counts]")).to_contain_text("4 patches", timeout=30_000)
    person.screenshot("panel-6-accepted")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("[data-cy=entry-counts]")).to_contain_text("5 patches", timeout=30_000)
    statuses = dataset.count_values(f"{PANEL}_regions.detections.status")
    assert statuses == {"pending": 5, "accepted": 3, "rejected": 1}


def test_states_without_regions_or_runs_say_what_to_do(person, page, make_scored, make_dataset, tmp_path):
    for name, dataset, text, button, asked in (
        ("agree", make_scored(6, agree=True), "No disagreement", None, None),
        ("no-regions", make_scored(6, regions=False), "has no regions", "Score labels", "Probabilities on disk"),
        (
            "no-run",
            make_dataset(3),
            "No label has been scored here yet",
            "Find label errors",
            "quick models are trained",
        ),
    ):
        panel = person.open_panel(dataset, PANEL, f"text={text}")
        person.screenshot(f"panel-7-{name}")
        if name == "agree":
            a_deleted_run_names_the_folder_that_stays(person, page, dataset, tmp_path)
            expect(panel).to_contain_text("No label has been scored here yet", timeout=30_000)
        else:
            page.get_by_role("button", name=button).click()
            expect(page.locator("[data-cy=operators-prompt-modal]")).to_contain_text(asked)
            person.screenshot(f"panel-8-{name}")


def a_deleted_run_names_the_folder_that_stays(person, page, dataset, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    record = run_records.find_run(dataset, PANEL)
    run_records.register_run(dataset, replace(record, output_dir=str(folder), dataset_id=str(dataset._doc.id)))
    form = person.open_form("Delete a run")
    form.get_by_role("combobox").first.click()
    page.get_by_role("option", name=PANEL).click()
    form.get_by_text(f"Yes: delete the run '{PANEL}' for good", exact=True).click()
    person.screenshot("delete-1-form")
    form.get_by_role("button", name="Execute").first.click()
    page.get_by_text("was kept with 1 file").first.wait_for()
    person.screenshot("delete-2-left")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
