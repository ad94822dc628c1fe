"""The App, served by FiftyOne as for a user, with the plugin found in its plugins folder."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def app() -> Iterator[str]:
    """Address of one App for all browser tests: FiftyOne's own server, started as `fiftyone app launch` does."""
    from fiftyone.core.service import ServerService
    from fiftyone.core.session import session

    class Server(ServerService):
        def _wait_for_child_port(self, port: int | None = None, timeout: float = 60) -> int:
            return super()._wait_for_child_port(port, max(timeout, 280))  # a busy machine

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(port, address="127.0.0.1", do_not_track=True)
    session._server_services[port] = server  # `fo.launch_app(port=port)` shows its dataset there
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(scope="module")  # Playwright keeps an event loop running, in which operators are only scheduled
def browser() -> Iterator:
    """Debian's Chromium, headless; browser tests skip where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    flags = (
        "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --use-gl=swiftshader --enable-unsafe-swiftshader"
    )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=flags.split())
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser) -> Iterator:
    context = browser.new_context(viewport={"width": 1500, "height": 950})
    context.add_init_script("window.IS_PLAYWRIGHT = true")
    opened = context.new_page()
    opened.set_default_timeout(90_000)
    yield opened
    context.close()


def look_up(page: Any, label: str) -> None:
    """Type an operator's label, without the prefix that all share, and choose it."""
    from playwright.sync_api import TimeoutError

    search = page.get_by_placeholder("Search operations")
    for _ in range(5):  # a key that is pressed while the App still sets itself up is lost
        page.keyboard.press("`")
        try:
            search.wait_for(timeout=10_000)
            break
        except TimeoutError:
            continue
    title = f"Label quality: {label[0].lower()}{label[1:]}"
    search.fill(title)
    page.get_by_text(title, exact=True).first.click()


class Person:
    """Somebody at the App, who opens datasets and forms, fills them in and presses buttons."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address

    def open(self, dataset: Any) -> None:
        """Open a dataset and wait for its images."""
        self.page.goto(f"{self.address}/datasets/{dataset.name}")
        self.page.wait_for_selector("[data-cy=spotlight-section-forward]")
        self.page.wait_for_selector("canvas[canvas-loaded=true]")

    def open_panel(self, dataset: Any, panel: str, ready: str) -> Any:
        """Open a dataset and a panel over the whole width, and wait for what it must show."""
        from playwright.sync_api import TimeoutError

        here = f"[data-cy=panel-content-{panel}]"
        self.page.goto(f"{self.address}/datasets/{dataset.name}")
        self.page.locator(f"{here}, [data-cy=spotlight-section-forward]").first.wait_for()
        for _ in range(3):  # just after the server has started, the App may still arrange its panels
            if not self.page.locator(here).count():
                self.page.locator("[data-cy=new-panel-btn]").first.click()
                self.page.locator(f"[data-cy=new-panel-option-{panel}]").click(modifiers=["Alt", "Shift"])
            try:
                self.page.locator(ready).first.wait_for(timeout=20_000)
                return self.page.locator(here)
            except TimeoutError:
                continue
        raise AssertionError(f"the panel {panel} did not open")

    def theme(self, name: str) -> None:
        """Dark or light, from the next page on."""
        self.page.add_init_script(f"localStorage.setItem('mui-mode', '{name}')")

    def open_form(self, label: str, button: str | None = None) -> Any:
        """Look an operator up by its label, or press its button beside the images, and open its form."""
        if button is None:
            look_up(self.page, label)
        else:
            self.page.locator(f"[data-item-id$='/{button}']").click()
        return self.page.locator("[data-cy=operators-prompt-modal]")

    def execute(
        self,
        label: str,
        answers: Mapping[str, Any],
        said: str,
        *,
        choose: str | None = None,
        button: str | None = None,
    ) -> None:
        """Choose and fill in an operator's form, press Execute, wait until it has said something, and press Done."""
        from playwright.sync_api import expect

        for others in (2, 1, 0):  # while the App still lays the form out anew, an answer may get into another box
            execute = self._filled_in(label, answers, choose, button)
            try:
                expect(execute).to_be_enabled(timeout=30_000)
                break
            except AssertionError:
                self.screenshot(f"disabled-{label}")
                if not others:
                    raise
                self.page.get_by_role("button", name="Cancel").first.click()
                self.page.locator("[data-cy=operators-prompt-modal]").wait_for(state="detached")
        execute.click()
        self.finish(said, f"report-{label}")

    def finish(self, said: str, picture: str) -> None:
        """Wait for a job's report and press Done; the dialog of its progress has a button of that name, too."""
        report = self.page.get_by_role("dialog").filter(has_text=said)
        report.wait_for(timeout=240_000)
        self.screenshot(picture)
        report.get_by_role("button", name="Done").click()
        report.wait_for(state="detached")

    def _filled_in(self, label: str, answers: Mapping[str, Any], choose: str | None, button: str | None) -> Any:
        form = self.open_form(label, button)
        if choose is not None:
            form.get_by_text(choose, exact=False).first.click()
            form.get_by_text("Architecture", exact=True).first.wait_for()
        for question, answer in answers.items():
            box = form.locator(f"input:below(:text-is('{question}'))").first
            box.fill(str(answer))
            box.press("Tab")
        return form.get_by_role("button", name="Execute").first

    def screenshot(self, name: str) -> None:
        """Keep a picture where LABEL_QUALITY_SCREENSHOTS says; a person looks at them."""
        folder = os.environ.get("LABEL_QUALITY_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"))


@pytest.fixture
def person(page, app) -> Person:
    return Person(page, app)
