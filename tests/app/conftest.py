"""The App, served by FiftyOne as for a user, with the plugin found in its plugins folder."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator

import pytest


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def app() -> Iterator:
    """One App for all browser tests: it takes half a minute to answer."""
    import fiftyone as fo

    session = fo.launch_app(remote=True, port=_free_port(), address="127.0.0.1")
    yield session
    session.close()


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
