"""A person answers fifty correction queries by keyboard and mouse, reloads the page, and opens a second tab."""

from __future__ import annotations

import statistics
from dataclasses import replace

import numpy as np
import pytest
from playwright.sync_api import expect

from fiftyone_plugin import begin_hand_edits, finish_hand_edits
from fiftyone_plugin.dataset.journals.answers import PROPAGATED, Answer, add_answers
from fiftyone_plugin.dataset.runs import run_records
from fiftyone_plugin.workflows.correcting.corrected_labels import derive
from fiftyone_plugin.workflows.correcting.correction_run import open_correction
from fiftyone_plugin.workflows.correcting.correction_start import begin_correction
from fiftyone_plugin.workflows.correcting.propagation import RELABELLED, relabelled

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

NAME = "label_correction"
CANVAS = "[data-cy=label-correction-canvas]"
WATCH = """
() => {
    const box = document.querySelector('[data-cy=label-correction-canvas]'), seen = window.shownAt = [];
    new MutationObserver(() => seen.push(performance.now()))
        .observe(box, {attributes: true, attributeFilter: ['data-question', 'data-version']});
    const ask = () => window.askedAt = performance.now();
    for (const name of ['keydown', 'pointerup']) window.addEventListener(name, ask, true);
}
"""


READY = f"{CANVAS}[data-question]"


class Screen:
    """The panel on a page, as a person sees it."""

    def __init__(self, page, dataset):
        self.page, self.dataset, self.canvas = page, dataset, page.locator(CANVAS)
        self.panel = page.locator(f"[data-cy=panel-content-{NAME}]")
        self.latencies = []

    @property
    def question(self):
        return self.canvas.get_attribute("data-question")

    @property
    def given(self):
        return self.canvas.get_attribute("aria-label").split("labelled ")[1]

    def changes(self, act, attribute="question"):
        """Do something after which another question, or the same one otherwise, must be on the screen."""
        before = self.canvas.get_attribute(f"data-{attribute}")
        act()
        expect(self.canvas).not_to_have_attribute(f"data-{attribute}", before, timeout=60_000)
        times = self.page.evaluate("() => [window.askedAt, (window.shownAt || []).at(-1)]")
        if all(times):
            self.latencies.append(times[1] - times[0])

    def press(self, key, attribute="question"):
        self.changes(lambda: self.page.keyboard.press(key), attribute)

    def button(self, label, attribute="question"):
        self.changes(lambda: self.panel.get_by_role("button", name=label).first.click(), attribute)

    def alternatives(self):
        """Class to number, as the buttons say."""
        labels = self.panel.get_by_role("button").all_inner_texts()
        numbered = [label.split(" · ", 1) for label in labels if label[:1].isdigit()]
        return {name: number for number, name in numbered}

    def click(self, across, down, *, shift=False):
        """Click a place of the picture, given as parts of its width and height."""
        box = self.canvas.bounding_box()
        self.page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
        if shift:
            self.page.keyboard.down("Shift")
        self.page.mouse.down()
        self.page.mouse.up()
        if shift:
            self.page.keyboard.up("Shift")

    def watch(self):
        self.page.evaluate(WATCH)


def stored(dataset, field="ground_truth"):
    """Queries as they are in the database, by id, each with its sample."""
    rows = dataset._sample_collection.find({"_dataset_id": dataset._doc.id}, {f"{field}_queries": 1})
    found = {}
    for row in rows:
        for query in row[f"{field}_queries"]["detections"]:
            found[str(query["_id"])] = {**query, "sample": str(row["_id"])}
    return found


def answer(screen, truth, way):
    """Answer as `truth` says: by a key, a button, or typing a part of the class."""
    if truth == screen.given:
        return screen.button("Yes") if way == "mouse" else screen.press("Enter")
    number = screen.alternatives()[truth]
    if way == "mouse":
        return screen.button(f"{number} · {truth}")
    if way == "typing":
        screen.page.keyboard.press("c")
        screen.page.locator("[data-cy=class-finder] input").fill(truth[:-1])
        return screen.press("Enter")
    return screen.press(number)


def test_fifty_questions(person, app, page, make_planned):
    dataset = make_planned(4)
    truths = {key: query["truth"] for key, query in stored(dataset).items()}
    person.open_panel(dataset, NAME, READY)
    screen, answered = Screen(page, dataset), []
    screen.watch()
    expect(screen.canvas).to_be_focused()
    person.screenshot("correction-1-dark")
    page.keyboard.press("?")
    expect(page.locator("[data-cy=correction-keys]")).to_contain_text("undo the newest answer")
    person.screenshot("correction-1-keys")
    page.keyboard.press("?")
    for width, height in ((700, 900), (1440, 900), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)
        over = screen.panel.evaluate("(panel) => panel.scrollHeight - panel.clientHeight")
        assert over <= 0, f"{over} pixels are cut off at {width} x {height}"
        person.screenshot(f"correction-1-{width}")

    for number in range(1, 51):
        question = screen.question
        assert question not in answered
        answer(screen, truths[question], ("key", "key", "mouse", "key", "typing")[number % 5])
        answered.append(question)
        if number == 10:  # take two back, and answer them again
            for back in (9, 8):
                screen.press("z")
                assert screen.question == answered[back]
            answered = answered[:8]
        elif number == 15:
            screen.press("s")
            screen.press("z")
        elif number == 20:  # look at an earlier one, and change the answer twice
            shown = screen.question
            screen.press("ArrowLeft")
            assert screen.question == answered[-1]
            expect(screen.panel).to_contain_text("you said")
            screen.press("ArrowLeft")
            assert screen.question == answered[-2]
            screen.button("Forward")
            screen.press("ArrowRight")
            assert screen.question == shown
        elif number == 25:
            shown = screen.question
            page.reload()
            expect(screen.canvas).to_have_attribute("data-question", shown, timeout=60_000)
            screen.watch()
            expect(screen.canvas).to_be_focused()
        elif number == 30:  # a click on the picture, and one less
            version = screen.canvas.get_attribute("data-version")
            screen.changes(lambda: screen.click(0.45, 0.5), "version")
            expect(screen.panel).to_contain_text("region changed by you")
            screen.changes(lambda: screen.click(0.6, 0.5, shift=True), "version")
            person.screenshot("correction-2-refined")
            screen.press("Backspace", "version")
            screen.button("Undo click", "version")
            expect(screen.panel).not_to_contain_text("region changed by you")
            assert screen.canvas.get_attribute("data-version") != version
    page.keyboard.press("m")
    expect(screen.panel).to_contain_text("Colours · m")
    person.screenshot("correction-3-tint")

    queries = stored(dataset)
    done = {key for key, query in queries.items() if query["status"] != "pending"}
    assert done == set(answered)
    for key in answered:
        right = queries[key]["given"] == truths[key]
        assert queries[key]["status"] == ("confirmed" if right else "corrected")
        assert queries[key]["answer"] == (None if right else truths[key])
    assert_corrected(dataset, {key: queries[key] for key in answered})
    times = sorted(screen.latencies)
    print(
        f"\nclick or key to picture: median {statistics.median(times):.0f} ms, 90 % {times[int(0.9 * len(times))]:.0f}"
    )


def assert_corrected(dataset, answered):
    """Where questions were answered, the corrected label is the truth, and elsewhere what it was."""
    from demo.scenes import render_scene
    from fiftyone_plugin.dataset.door.masks import read_mask_file

    dataset.reload()
    for number, sample in enumerate(dataset):
        given = read_mask_file(sample.ground_truth.mask_path)
        expected = given.copy()
        for query in answered.values():
            if query["sample"] == sample.id and query["status"] == "corrected":
                mask = read_mask_file(query["mask_path"]) > 0
                left, top = (
                    round(end * size) for end, size in zip(query["bounding_box"][:2], given.shape[::-1], strict=True)
                )
                window = (slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1]))
                expected[window][mask] = render_scene(number).mask[window][mask]
        label = sample["ground_truth_corrected"] if dataset.has_field("ground_truth_corrected") else None
        found = read_mask_file(label.mask_path) if label else given
        assert np.array_equal(found, expected)


def test_two_tabs_never_get_the_same_question(person, app, page, make_planned):
    dataset = make_planned(2)
    person.open_panel(dataset, NAME, READY)
    first = Screen(page, dataset)
    first.press("Enter")
    other = page.context.new_page()
    type(person)(other, app).open_panel(dataset, NAME, READY)
    second = Screen(other, dataset)
    with page.context.expect_page() as opened:
        page.evaluate("window.open(location.href)")  # takes what this tab remembers with it
    opened.value.locator(f"{CANVAS}[data-question]").wait_for(timeout=60_000)
    copy = Screen(opened.value, dataset)
    screens = [first, second, copy]
    assert len({screen.question for screen in screens}) == 3
    seen = []
    for _ in range(4):
        for screen in screens:
            seen.append(screen.question)
            screen.page.bring_to_front()
            screen.canvas.focus()
            screen.press("Enter")
    assert len(set(seen)) == len(seen)
    queries = stored(dataset)
    assert {queries[key]["status"] for key in seen} == {"confirmed"}
    assert sum(query["status"] == "confirmed" for query in queries.values()) == len(seen) + 1


def test_without_the_script_the_plain_viewer_works(person, app, page, make_planned):
    dataset = make_planned(2)
    page.route("**/index.umd.js*", lambda route: route.fulfill(status=404, body=""))
    person.open_panel(dataset, NAME, "text=Plain viewer")
    panel = page.locator(f"[data-cy=panel-content-{NAME}]")
    person.screenshot("correction-4-no-script")
    panel.get_by_role("button", name="Plain viewer").click()
    page.wait_for_selector(".js-plotly-plot .nsewdrag", state="attached")
    page.wait_for_timeout(2_000)  # the App lays plots out again half a second after it has opened them
    expect(panel).to_contain_text("question 1")
    box = page.locator(".js-plotly-plot .nsewdrag").bounding_box()
    for _ in range(3):
        page.mouse.move(box["x"] + box["width"] / 2 - 5, box["y"] + box["height"] / 2 - 5)
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
        page.wait_for_timeout(300)
        page.mouse.down()
        page.mouse.up()
        try:
            expect(panel).to_contain_text("region changed by you", timeout=5_000)
            break
        except AssertionError:
            continue
    expect(panel).to_contain_text("region changed by you")
    person.screenshot("correction-5-plain")
    panel.get_by_role("button", name="Yes").click()
    expect(panel).to_contain_text("question 2")
    panel.get_by_role("button", name="Undo", exact=True).click()
    expect(panel).to_contain_text("question 1")


def test_in_the_modal_only_its_sample_is_asked_about(person, app, page, make_planned):
    dataset = make_planned(2)
    person.theme("light")
    person.open(dataset)
    page.locator("[data-cy=looker]").first.click()
    page.locator(f"[data-cy=modal] [data-cy=panel-tab-{NAME}]").click()
    page.locator(f"[data-cy=modal] {CANVAS}[data-question]").wait_for()
    screen = Screen(page, dataset)
    person.screenshot("correction-6-modal")
    samples = set()
    for _ in range(6):
        samples.add(stored(dataset)[screen.question]["sample"])
        screen.press("Enter")
    assert len(samples) == 1


def reached_by_tab(page, wanted, most=80):
    """The keyboard alone gets there from the tabs above the panel."""
    page.locator("[data-cy=new-panel-btn]").first.focus()
    for _ in range(most):
        page.keyboard.press("Tab")
        if wanted.evaluate("(element) => element === document.activeElement"):
            return
    pytest.fail(f"Tab has not reached {wanted}")


def relabel(dataset):
    """A superpixel that nobody was asked about gets another class, as a plan does where random questions allow it."""
    sample_id = dataset.last().id
    run = open_correction(dataset, "ground_truth")
    label, classes = run.read_label(sample_id), run.classes()
    value, name = next(pair for pair in zip(classes.values, classes.names, strict=True) if pair[0] != label[2, 2])
    part = np.ones((4, 4), bool)
    told = Answer(
        "ground_truth", sample_id, "propagated-1", "corrected", "given", name, value, (2, 2, 6, 6), label.shape, part,
        source=PROPAGATED,
    )  # fmt: skip
    add_answers(dataset, [told])
    derive(run, sample_id)
    summary = {**run.record.summary, RELABELLED: [1, 0, 46, 45, 0.1]}
    run_records.register_run(dataset, replace(run.record, summary=summary))


def test_when_nothing_is_left_it_says_what_to_do_and_shows_what_changed(person, app, page, make_planned):
    dataset = make_planned(2, most=2)
    relabel(dataset)
    person.theme("light")
    person.open_panel(dataset, NAME, READY)
    screen = Screen(page, dataset)
    reached_by_tab(page, screen.canvas)
    screen.press("1")
    screen.panel.get_by_role("button", name="People", exact=True).click()
    expect(screen.panel).to_contain_text("You: 1 answer")
    person.screenshot("correction-7-people")
    screen.canvas.focus()
    page.keyboard.press("s")
    expect(screen.panel).to_contain_text("all questions are answered", timeout=30_000)
    for step in ("What changed", "Apply", "Export", "Train", "Ask more"):
        expect(screen.panel.get_by_role("button", name=step, exact=True)).to_be_visible()
    for name in ("Forward", "Plain viewer"):  # which would do nothing here
        expect(screen.panel.get_by_role("button", name=name)).to_have_count(0)
    expect(screen.panel).to_contain_text("At most 10 % of them are wrong")
    person.screenshot("correction-7-nothing-left")
    screen.panel.get_by_role("button", name="Undo relabelled", exact=True).click()
    page.get_by_role("button", name="Execute").first.click()
    person.finish("have another class now", "correction-7-relabelled-undone")
    expect(screen.panel.get_by_role("button", name="Undo relabelled", exact=True)).to_have_count(0)
    assert not relabelled(open_correction(dataset, "ground_truth"))
    reached_by_tab(page, screen.panel.get_by_role("button", name="What changed"))
    page.keyboard.press("Enter")
    picture = "[data-cy=label-changes]:not([data-picture=''])"
    both = page.locator("[data-cy=panel-content-label_changes]")
    page.locator(picture).wait_for()
    page.locator("[data-cy=panel-tab-samples]").click()
    expect(page.locator("[data-cy=entry-counts]")).to_contain_text("1 sample", timeout=60_000)
    person.screenshot("changes-0-grid")
    page.locator(f"[data-cy=panel-tab-{NAME}]").click()
    screen.panel.get_by_role("button", name="Apply", exact=True).click()
    page.get_by_role("button", name="Execute").first.click()
    person.finish("have another class now", "correction-7-applied")
    person.screenshot("correction-7-after-applied")
    expect(screen.panel).to_contain_text("all questions are answered", timeout=2_000)  # a job leaves the page as it is
    page.locator("[data-cy=panel-tab-samples]").click()
    expect(page.locator("[data-cy=entry-counts]")).to_contain_text("1 sample")  # nor does it leave the view
    page.locator("[data-cy=panel-tab-label_changes]").click()
    page.locator(picture).wait_for()
    expect(both).to_contain_text("1 of 1")
    person.screenshot("changes-1-slider")
    reached_by_tab(page, page.locator("[data-cy=label-changes]"))
    page.keyboard.press("b")
    expect(both).to_contain_text("Slider")
    person.screenshot("changes-2-beside")
    page.locator(f"[data-cy=panel-tab-{NAME}]").click()
    screen.panel.get_by_role("button", name="Undo", exact=True).click()
    screen.canvas.wait_for()
    expect(screen.panel).to_contain_text("question 2")


def test_without_a_plan_it_says_what_to_do(person, app, page, make_dataset):
    person.open_panel(make_dataset(2), NAME, "text=No questions yet")
    person.screenshot("correction-8-no-plan")


def test_an_object_is_renamed_in_the_annotate_tab(person, page, make_dataset):
    dataset = make_dataset(1, wrong=())
    begin_correction(dataset, "ground_truth")
    begin_hand_edits(dataset, "ground_truth")
    person.open(dataset)
    page.locator("[data-cy=looker]").first.click()
    modal = page.locator("[data-cy=modal]")
    modal.get_by_text("Annotate", exact=True).click()
    modal.get_by_text("tree", exact=True).click()
    modal.get_by_role("combobox").last.click()  # the classes of the dataset, and no others
    expect(page.get_by_role("option")).to_have_text(["road", "car", "tree"])
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        page.get_by_role("option", name="car").click()
    person.screenshot("correction-9-annotate")
    report = finish_hand_edits(dataset, "ground_truth")
    assert (report.num_answers, list(report.corrections.changes)) == (1, [("tree", "car")])
