"""The App, served by FiftyOne as for a user, with the plugin found in its plugins folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

import pytest


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    """Address of one App for all browser tests: FiftyOne's own server, in a process that ends with them."""
    import fiftyone.constants as foc

    port = _free_port()
    command = [sys.executable, "main.py", "--port", str(port), "--address", "127.0.0.1"]
    environment = {**os.environ, "FIFTYONE_DISABLE_SERVICES": "1"}
    server = subprocess.Popen(
        command, cwd=foc.SERVER_DIR, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_answered(address, server)
        yield address
    finally:
        server.terminate()
        server.wait()


def _wait_until_answered(address: str, server: subprocess.Popen, seconds: float = 150) -> None:
    pause = threading.Event()
    for _ in range(round(seconds)):
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            assert server.poll() is None, "FiftyOne's server ended before it answered"
            pause.wait(1)
    pytest.fail(f"FiftyOne's server did not answer within {seconds:.0f} s")


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
