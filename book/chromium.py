"""A web server for the built site and a headless browser to look at it: to print it, to weigh it, to test it."""

import functools
import http.server
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from autograder.blocks import ROOT

SITE = ROOT / "_build" / "html"
THEMES = ("light", "dark")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-renderer-backgrounding",  # else a page runs at a low priority, since no window shows it
    "--disable-backgrounding-occluded-windows",
)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serve files without a line on the terminal for each one."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(folder: Path = SITE, kind: type[QuietHandler] = QuietHandler) -> Iterator[str]:
    """Serve a folder, the built site by default, on a free local port; yield its address."""
    handler = functools.partial(kind, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def browser() -> Iterator[Chrome]:
    """Start a headless Chromium with an empty profile that records requests and console messages."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def set_width(driver: Chrome, width: int, height: int = 900) -> None:
    """Give the page's viewport a size; a window cannot be as narrow as a phone."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def set_theme(driver: Chrome, theme: str) -> None:
    """Let the system ask for light or dark from the next page on, and for no animations."""
    wishes = [("prefers-color-scheme", theme), ("prefers-reduced-motion", "reduce")]
    features = [{"name": name, "value": value} for name, value in wishes]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def open_page(driver: Chrome, address: str) -> None:
    """Load a page and wait for its fonts."""
    driver.get(address)
    driver.execute_async_script("document.fonts.ready.then(arguments[0])")


def network(driver: Chrome) -> list[dict[str, Any]]:
    """What the browser did on the network since the last call, as events of its own protocol."""
    return [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]


def requests(driver: Chrome) -> list[str]:
    """The addresses that were asked for since the last call."""
    events = network(driver)
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith("data:")]
